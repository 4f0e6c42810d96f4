"""What a Block and its parts, Attention and MLP, must give, by torch's own functions, and what known mistakes give."""

import itertools
from collections.abc import Callable, Container
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from checks.calls import vision_transformer as calls
from checks.tool.expect import Mistakes, expect_close

Weights = dict[str, Tensor]  # by their names in the state dict
EPSILONS = {"1e-5, torch's default": 1e-5, "1e-12": 1e-12, "1e-8": 1e-8, "1e-3": 1e-3, "0": 0.0}


# Names and shapes of the weights, which the published checkpoints have too.


def layer(name: str, *size: int) -> dict[str, list[int]]:
    return {f"{name}.weight": list(size), f"{name}.bias": [size[0]]}


def attention_shapes(dim: int, prefix: str = "") -> dict[str, list[int]]:
    return layer(f"{prefix}qkv", 3 * dim, dim) | layer(f"{prefix}proj", dim, dim)


def mlp_shapes(dim: int, hidden_dim: int, prefix: str = "") -> dict[str, list[int]]:
    return layer(f"{prefix}fc1", hidden_dim, dim) | layer(f"{prefix}fc2", dim, hidden_dim)


def block_shapes(dim: int, prefix: str = "") -> dict[str, list[int]]:
    attention, mlp = attention_shapes(dim, f"{prefix}attn."), mlp_shapes(dim, 4 * dim, f"{prefix}mlp.")
    return layer(f"{prefix}norm1", dim) | attention | layer(f"{prefix}norm2", dim) | mlp


def draw_weights(shapes: dict[str, list[int]], dtype: torch.dtype = torch.float32) -> Weights:
    """Random weights, biases and norms too: their first values, zeros and ones, would hide mistakes."""
    return {
        name: torch.randn(size, dtype=dtype) / (size[-1] ** 0.5 if len(size) > 1 else 1)
        for name, size in shapes.items()
    }


def part(weights: Weights, name: str) -> Weights:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def as_text(shapes: dict[str, list[int]]) -> dict[str, str]:
    return {name: str(size) for name, size in shapes.items()}


def without(shapes: dict[str, str], text: str) -> dict[str, str]:
    return {name: size for name, size in shapes.items() if text not in name}


# What comes out.


def attend(tokens: Tensor, weights: Weights, num_heads: int) -> Tensor:
    """Self-attention by F.multi_head_attention_forward, which has the batch on axis 1."""
    places = tokens.transpose(0, 1)
    into, out_of = (weights["qkv.weight"], weights["qkv.bias"]), (weights["proj.weight"], weights["proj.bias"])
    no_extras = (None, None, False, 0.0)  # no added key or value, no dropout
    inputs = (places, places, places, tokens.shape[-1], num_heads, *into, *no_extras, *out_of)
    return F.multi_head_attention_forward(*inputs, need_weights=False)[0].transpose(0, 1)


def two_layers(tokens: Tensor, weights: Weights, activation: Callable = F.gelu) -> Tensor:
    hidden = activation(F.linear(tokens, weights["fc1.weight"], weights["fc1.bias"]))
    return F.linear(hidden, weights["fc2.weight"], weights["fc2.bias"])


def normalise(tokens: Tensor, weights: Weights, eps: float = 1e-6) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], weights["weight"], weights["bias"], eps)


def other_attend(tokens: Tensor, weights: Weights, num_heads: int) -> Tensor:
    return of_stand_in(calls.StandInAttention, (tokens.shape[-1], num_heads), weights, tokens)


def other_layers(tokens: Tensor, weights: Weights) -> Tensor:
    return of_stand_in(calls.StandInMLP, (tokens.shape[-1], len(weights["fc1.bias"])), weights, tokens)


def other_block(tokens: Tensor, weights: Weights, num_heads: int) -> Tensor:
    return of_stand_in(calls.StandInBlock, (tokens.shape[-1], num_heads), weights, tokens)


def of_stand_in(kind: type[nn.Module], sizes: tuple[int, ...], weights: Weights, tokens: Tensor) -> Tensor:
    """What a stand-in gives with these weights."""
    return functional_call(stand_in(kind, *sizes), weights, tokens)


@cache
def stand_in(kind: type[nn.Module], *sizes: int) -> nn.Module:
    with torch.device("meta"):  # no numbers in it: to draw first weights would use up random ones
        return kind(*sizes)


def parts_of(stand_ins: Container[str]) -> tuple[Callable, Callable]:
    """Attention and MLP of a block that borrows these stand-ins."""
    return other_attend if "Attention" in stand_ins else attend, other_layers if "MLP" in stand_ins else two_layers


def pre_norm(tokens: Tensor, weights: Weights, num_heads: int, stand_ins: Container[str], eps: float = 1e-6) -> Tensor:
    """What a Block gives that borrows these stand-ins."""
    attn, mlp = parts_of(stand_ins)
    tokens = tokens + attn(normalise(tokens, part(weights, "norm1"), eps), part(weights, "attn"), num_heads)
    return tokens + mlp(normalise(tokens, part(weights, "norm2"), eps), part(weights, "mlp"))


def draw_block(batch: int, length: int, dim: int, num_heads: int, dtype: torch.dtype) -> tuple[Weights, Tensor]:
    """Weights and tokens with which the eps of the norms makes no difference: another check asks for it."""
    while True:
        weights, tokens = draw_weights(block_shapes(dim), dtype), 3 * torch.randn(batch, length, dim, dtype=dtype)
        both = [
            [pre_norm(tokens, weights, num_heads, stand_ins, eps) for eps in (1e-6, 1e-5)]
            for stand_ins in ((), ("Attention", "MLP"))
        ]
        if all(torch.allclose(*pair, 2e-5, 2e-6) for pair in both):
            return weights, tokens


def gradients(function: Callable, tokens: Tensor, weights: Weights, direction: Tensor, *options: Any) -> Weights:
    """The gradients of function(tokens, weights, *options), along a direction, for the tokens and all weights."""
    leaves = {name: value.clone().requires_grad_() for name, value in ({"tokens": tokens} | weights).items()}
    along = (function(leaves["tokens"], leaves, *options) * direction).sum()
    return dict(zip(leaves, torch.autograd.grad(along, list(leaves.values())), strict=True))


def expect_same_twice(got: Any, again: Any, called: str) -> None:
    likely = "The second answer is another one. Nothing here is random: leave dropout out, if there is any."
    expect_close(again, got, called=f"{called}, a second time", likely=likely)


# What known mistakes give.


def attention_parameters(dim: int) -> Mistakes:
    expected = as_text(attention_shapes(dim))
    three = layer("q", dim, dim) | layer("k", dim, dim) | layer("v", dim, dim) | layer("proj", dim, dim)
    return {
        "Both layers have a bias: leave bias=False out.": without(expected, "bias"),
        ".qkv has a bias: leave bias=False out.": without(expected, "qkv.bias"),
        ".proj has a bias: leave bias=False out.": without(expected, "proj.bias"),
        "The output projection .proj is missing: it mixes what the heads found.": without(expected, "proj"),
        "One Linear .qkv gives queries, keys and values: 3*dim outputs in place of three layers.": as_text(three),
    }


class AttentionSteps:
    """Self-attention step by step, each of which can go wrong."""

    def __init__(self, tokens: Tensor, weights: Weights, num_heads: int):
        self.tokens, self.weights, self.num_heads = tokens, weights, num_heads
        self.batch, self.length, dim = tokens.shape
        self.size = dim // num_heads
        self.stacked = F.linear(tokens, weights["qkv.weight"], weights["qkv.bias"])  # [B, N, 3*D]
        split = self.stacked.reshape(self.batch, self.length, 3, num_heads, self.size)
        self.in_order = split.permute(2, 0, 3, 1, 4)  # query, key, value: [3, B, heads, N, D/heads]
        self.whole = self.heads(*self.in_order)  # [B, heads, N, D/heads]

    heads = staticmethod(F.scaled_dot_product_attention)

    def project(self, gathered: Tensor) -> Tensor:
        return F.linear(gathered.reshape(self.tokens.shape), self.weights["proj.weight"], self.weights["proj.bias"])

    def joined(self, gathered: Tensor) -> Tensor:
        """[B, heads, N, D/heads] -> [B, N, D]"""
        return self.project(gathered.transpose(1, 2))

    def without(self, *names: str) -> Tensor:
        weights = self.weights | {name: torch.zeros_like(self.weights[name]) for name in names}
        return attend(self.tokens, weights, self.num_heads)


def attention_mistakes(tokens: Tensor, weights: Weights, num_heads: int) -> Mistakes:
    steps = AttentionSteps(tokens, weights, num_heads)
    return {**score_mistakes(steps), **output_mistakes(steps), **split_mistakes(steps)}


def score_mistakes(steps: AttentionSteps) -> Mistakes:
    """Mistakes in the scores and the softmax."""
    heads, joined, size = steps.heads, steps.joined, steps.size
    query, key, value = steps.in_order
    scores = query @ key.mT * size**-0.5  # [B, heads, N, N]
    dim = steps.num_heads * size
    scales = {
        "not scaled": 1.0,
        "divided by sqrt(D)": dim**-0.5,
        "divided by D": 1 / dim,
        "divided by D / heads, or twice by its square root": 1 / size,
        "divided by sqrt(heads)": steps.num_heads**-0.5,
        "multiplied by sqrt(D / heads)": size**0.5,
        "multiplied by D / heads": float(size),
    }
    softmax_axes = {"the queries": 2, "the heads": 1, "the images": 0}
    not_itself = ~torch.eye(steps.length, dtype=torch.bool)
    return {
        **{
            f"The scores are {what}: divide them by sqrt(D / heads).": joined(heads(query, key, value, scale=scale))
            for what, scale in scales.items()
        },
        **{
            f"Softmax runs over {what}: it runs over the keys, the last axis.": joined(scores.softmax(axis) @ value)
            for what, axis in softmax_axes.items()
        },
        "Softmax comes before the scaling: scale the scores first.": joined(
            (query @ key.mT).softmax(-1) * size**-0.5 @ value
        ),
        "The softmax is missing.": joined(scores @ value),
        "The attention weights are transposed: each row must sum to 1.": joined(scores.softmax(-1).mT @ value),
        "Attention is causal: every token may see all tokens.": joined(heads(query, key, value, is_causal=True)),
        "A token does not see itself: nothing is masked here.": joined(heads(query, key, value, attn_mask=not_itself)),
    }


def output_mistakes(steps: AttentionSteps) -> Mistakes:
    """Mistakes in what goes in and in what is made of the heads' results."""
    tokens, weights, num_heads, whole = steps.tokens, steps.weights, steps.num_heads, steps.whole
    return {
        "The heads still have an axis of their own: reshape [B, N, heads, D/heads] to [B, N, D].": torch.Size(
            [steps.batch, steps.length, num_heads, steps.size]
        ),
        "The heads still have an axis of their own: swap it back, then reshape to [B, N, D].": whole.shape,
        "The output projection .proj is not applied.": whole.transpose(1, 2).reshape(tokens.shape),
        "The tokens are added to the result: the residual belongs to Block.": tokens + steps.joined(whole),
        "The tokens' dtype is not kept.": steps.joined(whole).float(),
        "The bias of .qkv is left out.": steps.without("qkv.bias"),
        "The bias of .proj is left out.": steps.without("proj.bias"),
        "The biases are left out.": steps.without("qkv.bias", "proj.bias"),
        "There is one head only: num_heads is not used.": attend(tokens, weights, 1),
        "Tokens of different images see each other: attention runs over the batch axis.": attend(
            tokens.transpose(0, 1), weights, num_heads
        ).transpose(0, 1),
    }


def split_mistakes(steps: AttentionSteps) -> Mistakes:
    """Mistakes in the split into heads, and in joining them again."""
    batch, length, size, num_heads = steps.batch, steps.length, steps.size, steps.num_heads
    heads, joined, project = steps.heads, steps.joined, steps.project
    own_split = "split the last axis of [B, N, 3*D] into (3, heads, D/heads), then swap axes"
    regrouped = [entry.reshape(batch, num_heads, length, size) for entry in steps.stacked.chunk(3, dim=-1)]
    # the axes into which [B, N, 3*D] is reshaped, and their order in [3, B, heads, N, D/heads]
    other_splits = {
        "reshape to [B, 3, heads, N, D/heads] mixes heads and tokens": (
            (batch, 3, num_heads, length, size),
            (1, 0, 2, 3, 4),
        ),
        "reshape to [3, B, heads, N, D/heads] mixes images, heads and tokens": (
            (3, batch, num_heads, length, size),
            (0, 1, 2, 3, 4),
        ),
        "reshape to [3, B, N, heads, D/heads] mixes images and tokens": (
            (3, batch, length, num_heads, size),
            (0, 1, 3, 2, 4),
        ),
        "Queries, keys and values are interleaved head by head": (
            (batch, length, num_heads, 3, size),
            (3, 0, 2, 1, 4),
        ),
        "Queries, keys and values are interleaved number by number": (
            (batch, length, num_heads, size, 3),
            (4, 0, 2, 1, 3),
        ),
        "The head is the fastest axis of the split": ((batch, length, 3, size, num_heads), (2, 0, 4, 1, 3)),
    }
    return {
        "The heads of one token see each other, the tokens don't: swap to [B, heads, N, D/heads] before the "
        "scores.": project(heads(*steps.in_order.transpose(2, 3))),
        "The heads are joined without swapping back: transpose [B, heads, N, D/heads] to [B, N, heads, D/heads], then "
        "reshape.": project(steps.whole),
        "The heads are joined with the head as the fastest axis: reshape [B, N, heads, D/heads] to [B, N, D].": project(
            steps.whole.permute(0, 2, 3, 1)
        ),
        f"reshape to [B, heads, N, D/heads] mixes heads and tokens: {own_split}.": joined(heads(*regrouped)),
        f"reshape to [B, heads, N, D/heads] and back mixes heads and tokens: {own_split}.": project(heads(*regrouped)),
        **{
            f"{what}: {own_split}.": joined(heads(*steps.stacked.reshape(axes).permute(order)))
            for what, (axes, order) in other_splits.items()
        },
        **{
            "The 3*D outputs of .qkv are queries, keys, values, in places 1, 2, 3; here they are taken from places "
            f"{', '.join(str(place + 1) for place in order)}.": joined(heads(*steps.in_order[list(order)]))
            for order in itertools.product(range(3), repeat=3)
        },
    }


def mlp_parameters(dim: int, hidden_dim: int) -> Mistakes:
    expected = as_text(mlp_shapes(dim, hidden_dim))
    exchanged = layer("fc1", dim, hidden_dim) | layer("fc2", hidden_dim, dim)
    return {
        "Both layers have a bias: leave bias=False out.": without(expected, "bias"),
        "fc1 has a bias: leave bias=False out.": without(expected, "fc1.bias"),
        "fc2 has a bias: leave bias=False out.": without(expected, "fc2.bias"),
        "The hidden layer is hidden_dim wide, not 4*dim.": as_text(mlp_shapes(dim, 4 * dim)),
        "The hidden layer is hidden_dim wide, not 4*hidden_dim.": as_text(mlp_shapes(dim, 4 * hidden_dim)),
        "fc1 goes from dim to hidden_dim and fc2 back: here they are exchanged.": as_text(exchanged),
    }


def same(tokens: Tensor) -> Tensor:
    """In the place of a step that is left out."""
    return tokens


def tanh_gelu(hidden: Tensor) -> Tensor:
    return F.gelu(hidden, approximate="tanh")


def sigmoid_gelu(hidden: Tensor) -> Tensor:
    return hidden * (1.702 * hidden).sigmoid()


def mlp_mistakes(tokens: Tensor, weights: Weights) -> Mistakes:
    activations = {
        "This is GELU's tanh approximation: leave `approximate` out for the exact one.": tanh_gelu,
        "This is GELU's approximation x * sigmoid(1.702 x): F.gelu is exact.": sigmoid_gelu,
        "The activation is a ReLU: it must be a GELU.": F.relu,
        "The activation is a SiLU: it must be a GELU.": F.silu,
        "The activation is a tanh: it must be a GELU.": torch.tanh,
        "The activation is a sigmoid: it must be a GELU.": torch.sigmoid,
        "The activation is a LeakyReLU: it must be a GELU.": F.leaky_relu,
        "The activation between fc1 and fc2 is missing.": same,
    }
    right, normed = two_layers(tokens, weights), F.layer_norm(tokens, tokens.shape[-1:])
    return {
        **{sentence: two_layers(tokens, weights, activation) for sentence, activation in activations.items()},
        "The activation comes after fc2: it belongs between fc1 and fc2.": F.gelu(two_layers(tokens, weights, same)),
        "There is a second activation after fc2: only the hidden layer has one.": F.gelu(right),
        "The activation comes before fc1: it belongs between fc1 and fc2.": two_layers(F.gelu(tokens), weights, same),
        "The activation is applied twice.": two_layers(tokens, weights, lambda hidden: F.gelu(F.gelu(hidden))),
        "The tokens are added to the result: the residual belongs to Block.": tokens + right,
        "The tokens are normed first: the norm belongs to Block.": two_layers(normed, weights),
    }


def block_parameters(dim: int, num_heads: int) -> Mistakes:
    expected = as_text(block_shapes(dim))
    widths = {"dim": dim, "2*dim": 2 * dim, "3*dim": 3 * dim, "num_heads*dim": num_heads * dim, "4": 4}
    return {
        "There is one norm for both halves: norm1 and norm2 are two LayerNorms.": without(expected, "norm2"),
        "The norms have a weight and a bias: leave elementwise_affine=False out.": without(expected, "norm"),
        **{
            f"The MLP's hidden layer is 4*dim wide, not {text}.": expected | as_text(mlp_shapes(dim, width, "mlp."))
            for text, width in widths.items()
        },
    }


def block_mistakes(x: Tensor, weights: Weights, num_heads: int, stand_ins: Container[str]) -> Mistakes:
    attention, layers = parts_of(stand_ins)

    def norm1(tokens: Tensor) -> Tensor:
        return normalise(tokens, part(weights, "norm1"))

    def norm2(tokens: Tensor) -> Tensor:
        return normalise(tokens, part(weights, "norm2"))

    def attn(tokens: Tensor, num_heads: int = num_heads) -> Tensor:
        return attention(tokens, part(weights, "attn"), num_heads)

    def mlp(tokens: Tensor) -> Tensor:
        return layers(tokens, part(weights, "mlp"))

    def block(norm1: Callable = norm1, norm2: Callable = norm2, attn: Callable = attn) -> Tensor:
        half = x + attn(norm1(x))
        return half + mlp(norm2(half))

    half, alone = x + attn(norm1(x)), attn(norm1(x))
    post, branch = norm1(x + attn(x)), x + norm1(attn(x))
    from_normed = norm1(x) + attn(norm1(x))
    mlp_first, mlp_first_in_order = x + mlp(norm2(x)), x + mlp(norm1(x))
    return {
        "This is post-norm: norm what goes into attention and MLP, not the sum.": norm2(post + mlp(post)),
        "The norms come after attention and MLP: norm what goes into them.": branch + norm2(mlp(branch)),
        "The residual around attention is missing.": alone + mlp(norm2(alone)),
        "The residual around the MLP is missing.": mlp(norm2(half)),
        "Both residuals are missing.": mlp(norm2(alone)),
        "norm1 is not applied: attention gets norm1(tokens).": block(norm1=same),
        "norm2 is not applied: the MLP gets norm2(tokens).": block(norm2=same),
        "The norms are not applied.": block(norm1=same, norm2=same),
        "norm1 is used twice: the MLP has a norm2 of its own.": block(norm2=norm1),
        "norm2 is used twice, or both names are one norm: attention has a norm1 of its own.": block(norm1=norm2),
        "The norms are exchanged: norm1 belongs to attention, norm2 to the MLP.": block(norm1=norm2, norm2=norm1),
        "The MLP comes before attention.": mlp_first + attn(norm1(mlp_first)),
        "The MLP comes before attention, each with the other's norm.": mlp_first_in_order
        + attn(norm2(mlp_first_in_order)),
        "Attention and MLP work side by side: the MLP must get tokens + attention.": half + mlp(norm2(x)),
        "Attention and MLP work side by side, on one norm.": half + mlp(norm1(x)),
        "The second residual adds the block's input: add tokens + attention.": x + mlp(norm2(half)),
        "The residuals add the normed tokens: add the tokens themselves.": norm2(from_normed) + mlp(norm2(from_normed)),
        "The first residual adds the normed tokens: add the tokens themselves.": from_normed + mlp(norm2(from_normed)),
        "The second residual adds the normed sum: add the sum itself.": norm2(half) + mlp(norm2(half)),
        "The MLP is not applied.": half,
        "Attention is not applied.": mlp_first,
        "The input is added once too often.": x + half + mlp(norm2(half)),
        "There is one head only: hand num_heads on to Attention.": block(attn=lambda tokens: attn(tokens, 1)),
    }


def epsilon_mistakes(
    norm: str, tokens: Tensor, weights: Weights, num_heads: int, stand_ins: Container[str]
) -> Mistakes:
    return {
        f"The eps of {norm} is {text}: write nn.LayerNorm(dim, eps=1e-6).": pre_norm(
            tokens, weights, num_heads, stand_ins, eps
        )
        for text, eps in EPSILONS.items()
    }
