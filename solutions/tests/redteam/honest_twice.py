# Defines an exercise twice: the last one counts, and the report says so.
# lesson: patch_embedding
# status: graded
# points: all but unpatchify
# on: reference
# says: unpatchify is defined 2 times

import torch


def unpatchify(patches, patch_size, grid_size):
    return torch.zeros(1)
