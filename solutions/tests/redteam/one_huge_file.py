# Writes one file of 200 MB.
# lesson: patch_embedding
# status: graded
# points: 0
# tiers: bubblewrap rlimits

import os
import tempfile


def patchify(images, patch_size):
    with open(os.path.join(tempfile.gettempdir(), "redteam-huge"), "wb", buffering=0) as file:
        for _ in range(200):
            if file.write(bytes(2**20)) < 2**20:
                raise RuntimeError("contained: a short write")
    raise RuntimeError("ESCAPED: 200 MB")
