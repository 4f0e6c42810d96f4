# A regular expression that backtracks for years.
# lesson: patch_embedding
# status: timeout
# points: 0
# reason: patchify: it was still running

import re


def patchify(images, patch_size):
    return re.match(r"(a+)+b", "a" * 60)
