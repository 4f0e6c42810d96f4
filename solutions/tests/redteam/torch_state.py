# Leaves torch in a state in which others would fail: dtype, gradients, threads, random numbers.
# lesson: patch_embedding
# status: graded
# points: 0

import torch


def leave():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    torch.set_num_threads(4)


def patchify(images, patch_size, now=leave()):
    return torch.zeros(1)
