# Forks as fast as it can, up to 200 processes, which fork on.
# lesson: patch_embedding
# status: graded, timeout
# points: 0
# tiers: bubblewrap rlimits

import os
import time


def patchify(images, patch_size):
    born = 0
    try:
        for _ in range(200):
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            born += 1
    except OSError as error:
        raise RuntimeError(f"contained: {error}") from None
    raise RuntimeError(f"ESCAPED: {born} processes")
