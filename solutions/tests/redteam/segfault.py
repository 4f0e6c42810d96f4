# Reads address 0.
# lesson: patch_embedding
# status: crashed
# points: 0
# reason: signal 11
# tiers: bubblewrap rlimits

import ctypes


def patchify(images, patch_size):
    return ctypes.string_at(0)
