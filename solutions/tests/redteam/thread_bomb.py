# Starts up to 400 threads that outlive the call.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained
# tiers: bubblewrap rlimits

import threading
import time


def patchify(images, patch_size):
    for _ in range(400):
        try:
            threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        except RuntimeError as error:
            raise RuntimeError(f"contained: {error}") from None
    raise RuntimeError("ESCAPED: 400 threads")
