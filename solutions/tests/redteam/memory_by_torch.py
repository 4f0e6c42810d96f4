# A tensor of 6 GB, every page touched.
# lesson: patch_embedding
# status: graded, crashed
# points: 0
# tiers: bubblewrap rlimits

import torch


def patchify(images, patch_size):
    return torch.ones(6 * 2**28)
