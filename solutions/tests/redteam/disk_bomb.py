# Writes up to 200 MB to its own /tmp, in one file and in many.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained

import os
import tempfile


def patchify(images, patch_size):
    written = 0
    try:
        for number in range(50):
            with open(os.path.join(tempfile.gettempdir(), f"redteam-{number}"), "wb") as file:
                written += file.write(bytes(2**22))
    except OSError as error:
        raise RuntimeError(f"contained: {error}") from None
    raise RuntimeError(f"ESCAPED: {written} bytes")
