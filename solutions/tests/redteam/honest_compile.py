# Compiles an answer, a method and a layer: torch then replaces methods of its own.
# lesson: vision_transformer
# status: graded
# points: all
# on: reference

import torch
from torch import nn

gather_tokens = torch.compile(gather_tokens, backend="eager")
MLP.forward = torch.compile(MLP.forward)
warm = torch.compile(nn.Linear(2, 2), backend="eager")


@torch.compile
def scaled(tokens):
    return warm(tokens) * 2


gathered = gather_tokens


def gather_tokens(tokens, indices):
    scaled(torch.ones(1, 2))
    return gathered(tokens, indices)
