# Warns on stderr and prints.
# lesson: patch_embedding
# status: graded
# points: all
# on: reference

import sys
import warnings

reference = unpatchify


def unpatchify(patches, patch_size, grid_size):
    warnings.warn("this is slow", stacklevel=1)
    print("patches", patches.shape)
    print("patches", patches.shape, file=sys.stderr)
    return reference(patches, patch_size, grid_size)
