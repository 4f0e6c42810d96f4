"""What runs beside a learner's pretrained: functions of (lesson, ...), and small stand-ins for encoders."""

import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """Tokens [B, N, D] of patches of 2 x 2 pixels, each a linear map of its own, and twice as many as one would think:
    behind each a second one that has looked at all of them. In train mode it drops some.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight, self.drop = nn.Parameter(weight), nn.Dropout(0.5)

    def forward(self, images):
        tokens = F.unfold(images.float(), 2, stride=2).transpose(1, 2).to(images.dtype) @ self.weight
        return self.drop(torch.cat([tokens, tokens.mean(dim=1, keepdim=True) * tokens], dim=1))


def translated(lesson, tensors):
    """from_huggingface(tensors): the tensors that only get another name"""
    return {name: tensor for name, tensor in lesson.from_huggingface(tensors).items() if ".qkv." not in name}


def stacked(lesson, tensors):
    """from_huggingface(tensors): the weights and biases of .attn.qkv"""
    return {name: tensor for name, tensor in lesson.from_huggingface(tensors).items() if ".qkv." in name}


def storage_of_translated(lesson, tensors):
    """from_huggingface(tensors), then a look at which of the tensors given share their memory with what came"""
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    given = dict(tensors)
    found = {tensor.data_ptr() for tensor in lesson.from_huggingface(given).values()}
    left = all(name in given and torch.equal(given[name], tensor) for name, tensor in before.items())
    return {"shared": {name: tensor.data_ptr() in found for name, tensor in tensors.items()}, "as it was": left}


def descriptor(lesson, weight, images):
    """image_descriptor(encoder, images {images}), where the encoder's weight has the dtype of {weight}"""
    return lesson.image_descriptor(Encoder(weight).eval(), images)


def graph_of_descriptor(lesson, weight, images):
    """image_descriptor(encoder, images {images}), whether a graph hangs on it, and the encoder's weight afterwards"""
    encoder = Encoder(weight.clone()).eval()
    got = lesson.image_descriptor(encoder, images)
    return {
        "got": got,
        "requires_grad": getattr(got, "requires_grad", None),
        "gradients on afterwards": torch.is_grad_enabled(),
        "weight": encoder.weight,
        "trained": encoder.weight.requires_grad,
    }
