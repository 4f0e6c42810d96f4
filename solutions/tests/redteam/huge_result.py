# Answers with a tensor of 40 MB, and with a list of a hundred thousand numbers.
# lesson: patch_embedding
# status: graded, crashed, timeout
# points: 0
# says: the result is huge

import torch


def patchify(images, patch_size):
    return torch.zeros(1).expand(10_000_000)


def unpatchify(patches, patch_size, grid_size):
    return [0.1] * 100_000
