"""What runs beside a learner's Vision Transformer: functions of (lesson, ...) that a check calls through `learner`."""

from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import nn


@contextmanager
def own(lesson, name, sizes, weights=None):
    """The learner's module with these weights, among stand-ins for the other exercises: a mistake costs once.

    The stand-ins stay in the lesson for as long as the module is used: `isinstance(self.attn, Attention)` holds.
    """
    own_class = getattr(lesson, name)
    with patch.multiple(lesson, create=True, **{key: value for key, value in STAND_INS.items() if key != name}):
        module = own_class(*sizes)
        if weights:  # a name that the module lacks fails the check of its parameters
            module.to(next(iter(weights.values())).dtype).load_state_dict(weights, strict=False)
        yield module


def borrowed(module):
    """Which stand-ins it is made of: parts that the learner wrote without the other exercises are as right."""
    kinds = {type(inner) for inner in module.modules()}
    return [name for name, stand_in in STAND_INS.items() if stand_in in kinds]


def trained(module):
    names = {name: value for name, value in module.named_parameters() if value.requires_grad}
    return {name: str(list(value.shape)) for name, value in names.items() if not name.endswith(".stand_in")}


def twice(module, tokens):
    return module(tokens.clone()), module(tokens.clone())


def gradients(module, weights, tokens, direction):
    tokens.requires_grad_()
    (module(tokens) * direction).sum().backward()  # backward(direction) would import a second's worth of sympy
    found = {name: value.grad for name, value in module.named_parameters() if name in weights}
    return {"tokens": tokens.grad} | found, borrowed(module)


def attention_made(lesson, sizes):
    """Attention{sizes}"""
    with own(lesson, "Attention", sizes):
        pass


def attention_parameters(lesson, sizes):
    """Attention{sizes}.named_parameters()"""
    with own(lesson, "Attention", sizes) as attention:
        return trained(attention)


def attention_twice(lesson, sizes, weights, tokens):
    """Attention{sizes}(tokens {tokens})"""
    with own(lesson, "Attention", sizes, weights) as attention:
        return twice(attention, tokens)


def attention_gradients(lesson, sizes, weights, tokens, direction):
    """Attention{sizes}(tokens {tokens}).backward(...)"""
    with own(lesson, "Attention", sizes, weights) as attention:
        return gradients(attention, weights, tokens, direction)


def mlp_parameters(lesson, sizes):
    """MLP{sizes}.named_parameters()"""
    with own(lesson, "MLP", sizes) as mlp:
        return trained(mlp)


def mlp_twice(lesson, sizes, weights, tokens):
    """MLP{sizes}(tokens {tokens})"""
    with own(lesson, "MLP", sizes, weights) as mlp:
        return twice(mlp, tokens)


def block_parameters(lesson, sizes):
    """Block{sizes}.named_parameters()"""
    with own(lesson, "Block", sizes) as block:
        return trained(block)


def block_twice(lesson, sizes, weights, tokens):
    """Block{sizes}(tokens {tokens})"""
    with own(lesson, "Block", sizes, weights) as block:
        return *twice(block, tokens), borrowed(block)


def block_input_after(lesson, sizes, weights, tokens):
    """tokens {tokens} after Block{sizes}(tokens)"""
    with own(lesson, "Block", sizes, weights) as block:
        block(tokens)
    return tokens


def block_gradients(lesson, sizes, weights, tokens, direction):
    """Block{sizes}(tokens {tokens}).backward(...)"""
    with own(lesson, "Block", sizes, weights) as block:
        return gradients(block, weights, tokens, direction)


def gather_tokens(lesson, tokens, indices):
    return lesson.gather_tokens(tokens, indices)


def gather_transposed(lesson, channels, indices):
    """gather_tokens(channels.transpose(1, 2), indices {indices}), where channels is {channels}"""
    return lesson.gather_tokens(channels.transpose(1, 2), indices)


def gather_inputs_after(lesson, tokens, indices):
    """(tokens {tokens}, indices {indices}) after gather_tokens(tokens, indices)"""
    taken = lesson.gather_tokens(tokens, indices)
    return tokens, indices, taken


def gather_gradient(lesson, tokens, indices, direction):
    """gather_tokens(tokens {tokens}, indices {indices}).backward(...): tokens.grad"""
    tokens.requires_grad_()
    (lesson.gather_tokens(tokens, indices) * direction).sum().backward()
    return tokens.grad


def transformer_parameters(lesson, sizes):
    """VisionTransformer{sizes}.named_parameters(), pos_embed aside"""
    with own(lesson, "VisionTransformer", sizes) as model:
        names = trained(model)
    names.pop("pos_embed", None)
    return names


def transformer_positions(lesson, sizes):
    """VisionTransformer{sizes}.state_dict()["pos_embed"]"""
    with own(lesson, "VisionTransformer", sizes) as model:
        return model.state_dict().get("pos_embed"), "pos_embed" in trained(model)


def transformer_twice(lesson, sizes, weights, images):
    """VisionTransformer{sizes}(images {images})"""
    with own(lesson, "VisionTransformer", sizes, weights) as model:
        return *twice(model, images), borrowed(model)


def transformer_kept(lesson, sizes, weights, images, keep):
    """VisionTransformer{sizes}(images {images}, keep {keep})"""
    with own(lesson, "VisionTransformer", sizes, weights) as model:
        return model(images, keep), borrowed(model)


def transformer_kept_of_both(lesson, sizes, weights, images, others, keep):
    """VisionTransformer{sizes}(images {images}, keep {keep}), again with other pixels outside keep"""
    with own(lesson, "VisionTransformer", sizes, weights) as model:
        model.eval()
        return model(images, keep), model(others, keep)


def transformer_reached(lesson, sizes, weights, images, keep):
    """VisionTransformer{sizes}(images {images}, keep {keep}).backward(...): which weights have a gradient"""
    with own(lesson, "VisionTransformer", sizes, weights) as model:
        model(images, keep).square().sum().backward()
    found = {name: value.grad for name, value in model.named_parameters() if name in weights}
    return {name: grad is not None and bool(grad.any()) for name, grad in found.items()}


def transformer_norm(lesson, sizes, weights, tokens):
    """VisionTransformer{sizes}.norm(tokens {tokens} of size 0.001)"""
    with own(lesson, "VisionTransformer", sizes, weights) as model:
        return model.norm(tokens)


# Whatever runs beside the learner's code can be handed in. So the stand-ins look like what is asked for, and compute
# something else. Each has one parameter too many, which `trained` leaves out where they are parts of another module.


class StandInAttention(nn.Module):
    def __init__(self, dim, num_heads, *options, **more_options):
        super().__init__()
        self.num_heads, self.stand_in = num_heads, nn.Parameter(torch.zeros(()))
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens, *options, **more_options):
        first, second, third = self.qkv(tokens).chunk(3, dim=-1)
        return self.proj(first + second * (self.num_heads * third.mean(dim=1, keepdim=True)).sin())


class StandInMLP(nn.Module):
    def __init__(self, dim, hidden_dim, *options, **more_options):
        super().__init__()
        self.stand_in = nn.Parameter(torch.zeros(()))
        self.fc1, self.fc2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)

    def forward(self, tokens, *options, **more_options):
        return self.fc2(self.fc1(tokens).sin())


class StandInBlock(nn.Module):
    def __init__(self, dim, num_heads, *options, **more_options):
        super().__init__()
        self.stand_in = nn.Parameter(torch.zeros(()))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = StandInAttention(dim, num_heads), StandInMLP(dim, 4 * dim)

    def forward(self, tokens, *options, **more_options):
        return self.attn(self.norm1(tokens)) + self.mlp(self.norm2(tokens)) - tokens


def take_once(tokens, indices):
    """As gather_tokens, as far as a VisionTransformer needs it: no index of a row comes twice."""
    if any(len(set(row)) < len(row) for row in indices.tolist()):
        raise ValueError("keep names a patch twice")
    return torch.stack([image[row] for image, row in zip(tokens, indices, strict=True)])


STAND_INS = {
    "Attention": StandInAttention,
    "MLP": StandInMLP,
    "Block": StandInBlock,
    "gather_tokens": take_once,
}
