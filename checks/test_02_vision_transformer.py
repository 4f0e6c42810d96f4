"""Lesson 2: the Vision Transformer."""

import itertools
from collections.abc import Callable, Container
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, describe, expect_close, expect_equal, expect_error, expect_that

# What runs where the learner's code lives.


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


# What must come out, by torch's own functions.


def attend(tokens: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """Self-attention by F.multi_head_attention_forward, which has the batch on axis 1."""
    places = tokens.transpose(0, 1)
    into, out_of = (weights["qkv.weight"], weights["qkv.bias"]), (weights["proj.weight"], weights["proj.bias"])
    no_extras = (None, None, False, 0.0)  # no added key or value, no dropout
    inputs = (places, places, places, tokens.shape[-1], num_heads, *into, *no_extras, *out_of)
    return F.multi_head_attention_forward(*inputs, need_weights=False)[0].transpose(0, 1)


def two_layers(tokens: Tensor, weights: dict[str, Tensor], activation=F.gelu) -> Tensor:
    hidden = activation(F.linear(tokens, weights["fc1.weight"], weights["fc1.bias"]))
    return F.linear(hidden, weights["fc2.weight"], weights["fc2.bias"])


def normalise(tokens: Tensor, weights: dict[str, Tensor], eps: float = 1e-6) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], weights["weight"], weights["bias"], eps)


def other_attend(tokens: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """What StandInAttention gives."""
    first, second, third = F.linear(tokens, weights["qkv.weight"], weights["qkv.bias"]).chunk(3, dim=-1)
    waves = (num_heads * third.mean(dim=1, keepdim=True)).sin()
    return F.linear(first + second * waves, weights["proj.weight"], weights["proj.bias"])


other_layers = partial(two_layers, activation=torch.sin)  # what StandInMLP gives


def other_block(tokens: Tensor, weights: dict[str, Tensor], num_heads: int) -> Tensor:
    """What StandInBlock gives."""
    normed1, normed2 = (normalise(tokens, part(weights, name), eps=1e-5) for name in ("norm1", "norm2"))
    attended = other_attend(normed1, part(weights, "attn"), num_heads)
    return attended + other_layers(normed2, part(weights, "mlp")) - tokens


def parts_of(stand_ins: Container[str]) -> tuple[Callable, Callable]:
    """Attention and MLP of a block that borrows these stand-ins."""
    return other_attend if "Attention" in stand_ins else attend, other_layers if "MLP" in stand_ins else two_layers


def pre_norm(
    tokens: Tensor, weights: dict[str, Tensor], num_heads: int, stand_ins: Container[str], eps: float = 1e-6
) -> Tensor:
    """What a Block gives that borrows these stand-ins."""
    attn, mlp = parts_of(stand_ins)
    tokens = tokens + attn(normalise(tokens, part(weights, "norm1"), eps), part(weights, "attn"), num_heads)
    return tokens + mlp(normalise(tokens, part(weights, "norm2"), eps), part(weights, "mlp"))


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """out[b, k] = tokens[b, indices[b, k]]"""
    return torch.stack([image[row] for image, row in zip(tokens, indices, strict=True)])


def sincos(grid_size: int, dim: int) -> Tensor:
    """The fixed positions [1, N, D]: the first half of D is the column, the second the row, each [sin, cos]."""
    angles = torch.arange(grid_size).double()[:, None] * 10000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([line.repeat(grid_size, 1), line.repeat_interleave(grid_size, 0)], dim=1).float()[None]


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


def transformer_shapes(patch_size: int, dim: int, depth: int) -> dict[str, list[int]]:
    shapes = layer("patch_embed.proj", dim, 3, patch_size, patch_size)
    for index in range(depth):
        shapes |= block_shapes(dim, f"blocks.{index}.")
    return shapes | layer("norm", dim)


def draw(shapes: dict[str, list[int]], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random weights, biases and norms too: their first values, zeros and ones, would hide mistakes."""
    return {
        name: torch.randn(size, dtype=dtype) / (size[-1] ** 0.5 if len(size) > 1 else 1)
        for name, size in shapes.items()
    }


def part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def as_text(shapes: dict[str, list[int]]) -> dict[str, str]:
    return {name: str(size) for name, size in shapes.items()}


def without(shapes: dict[str, str], text: str) -> dict[str, str]:
    return {name: size for name, size in shapes.items() if text not in name}


def expect_same_twice(learner, got, again):
    likely = "Nothing here is random: leave dropout out."
    expect_close(again, got, called=f"{learner.called}, a second time", likely=likely)


def expect_gradients(learner, function, sizes, oracle, weights):
    """Compare the gradients of all weights and of the tokens with the oracle's."""
    dim, num_heads = sizes
    tokens, direction = torch.randn(2, 4, dim), torch.randn(2, 4, dim)
    leaves = {name: value.clone().requires_grad_() for name, value in ({"tokens": tokens} | weights).items()}
    got, stand_ins = learner(function, sizes, weights, tokens, direction)
    along = (oracle(leaves["tokens"], leaves, num_heads, stand_ins) * direction).sum()
    grads = torch.autograd.grad(along, list(leaves.values()))
    likely = "If the outputs are right, the graph is cut on the way: no detach, .data or no_grad in forward."
    expected = dict(zip(leaves, grads, strict=True))
    expect_close(got, expected, called=learner.called, likely=likely, rtol=1e-3, atol=1e-4)


# batch, length, (dim, num_heads), dtype
SIZES = [
    (2, 5, (12, 3), torch.float32),
    (1, 4, (8, 2), torch.float64),
    (3, 1, (6, 1), torch.float32),
]


def sizes() -> list[tuple]:
    batch, length, num_heads, head_dim = drawn((1, 4), (2, 6), (2, 8), (1, 5))
    return [*SIZES, (batch, length, (num_heads * head_dim, num_heads), torch.float32)]


@exercise("Attention")
def test_attention_trains_qkv_and_proj(learner):
    """.qkv [3*D, D] and .proj [D, D] with a bias each are all that is trained."""
    for dim, num_heads in ((12, 3), (8, 1)):
        expected = as_text(attention_shapes(dim))
        three = layer("q", dim, dim) | layer("k", dim, dim) | layer("v", dim, dim) | layer("proj", dim, dim)
        mistakes = {
            "Both layers have a bias: leave bias=False out.": without(expected, "bias"),
            ".qkv has a bias: leave bias=False out.": without(expected, "qkv.bias"),
            ".proj has a bias: leave bias=False out.": without(expected, "proj.bias"),
            "The output projection .proj is missing: it mixes what the heads found.": without(expected, "proj"),
            "One Linear .qkv gives queries, keys and values: 3*dim outputs in place of three layers.": as_text(three),
        }
        got = learner(attention_parameters, (dim, num_heads))
        likely = (
            "Exactly two layers are trained: self.qkv = nn.Linear(dim, 3 * dim) and self.proj = nn.Linear(dim, dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Attention", points=3)
def test_attention_weighs_values_by_scaled_scores(learner):
    """In each head a token gathers values by softmax(query . key / sqrt(D / heads)); .proj mixes the heads."""
    for batch, length, (dim, num_heads), dtype in sizes():
        weights = draw(attention_shapes(dim), dtype)
        tokens = 1.5 * torch.randn(batch, length, dim, dtype=dtype)
        expected = attend(tokens, weights, num_heads)
        got, again = learner(attention_twice, (dim, num_heads), weights, tokens)
        expect_same_twice(learner, got, again)
        mistakes = Later(attention_mistakes, tokens, weights, num_heads)
        likely = (
            "Print the shapes: qkv(tokens) [B, N, 3*D] is three times [B, heads, N, D/heads]; the scores are "
            "[B, heads, N, N], scaled, softmax over the last axis; times the values; heads side by side again; proj."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def attention_mistakes(tokens: Tensor, weights: dict[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    batch, length, dim = tokens.shape
    size = dim // num_heads
    stacked = F.linear(tokens, weights["qkv.weight"], weights["qkv.bias"])
    in_order = stacked.reshape(batch, length, 3, num_heads, size).permute(2, 0, 3, 1, 4)
    query, key, value = in_order
    scores = query @ key.mT * size**-0.5  # [B, heads, N, N]
    heads = F.scaled_dot_product_attention

    def project(gathered):
        return F.linear(gathered.reshape(tokens.shape), weights["proj.weight"], weights["proj.bias"])

    def joined(gathered):  # [B, heads, N, D/heads] -> [B, N, D]
        return project(gathered.transpose(1, 2))

    def split(*axes, order):
        return joined(heads(*stacked.reshape(axes).permute(order)))

    def without_bias(*names):
        return attend(tokens, weights | {name: torch.zeros_like(weights[name]) for name in names}, num_heads)

    scales = {
        "not scaled": 1.0,
        "divided by sqrt(D)": dim**-0.5,
        "divided by D": 1 / dim,
        "divided by D / heads, or twice by its square root": 1 / size,
        "divided by sqrt(heads)": num_heads**-0.5,
        "multiplied by sqrt(D / heads)": size**0.5,
        "multiplied by D / heads": float(size),
    }
    softmax_axes = {"the queries": 2, "the heads": 1, "the images": 0}
    not_itself = ~torch.eye(length, dtype=torch.bool)
    whole = heads(query, key, value)
    own_split = "split the last axis of [B, N, 3*D] into (3, heads, D/heads), then swap axes"
    regrouped = [entry.reshape(batch, num_heads, length, size) for entry in stacked.chunk(3, dim=-1)]
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
        "The heads still have an axis of their own: reshape [B, N, heads, D/heads] to [B, N, D].": torch.Size(
            [batch, length, num_heads, size]
        ),
        "The heads still have an axis of their own: swap it back, then reshape to [B, N, D].": torch.Size(
            [batch, num_heads, length, size]
        ),
        "The output projection .proj is not applied.": whole.transpose(1, 2).reshape(tokens.shape),
        "The tokens are added to the result: the residual belongs to Block.": tokens + joined(whole),
        "The tokens' dtype is not kept.": joined(whole).float(),
        "The bias of .qkv is left out.": without_bias("qkv.bias"),
        "The bias of .proj is left out.": without_bias("proj.bias"),
        "The biases are left out.": without_bias("qkv.bias", "proj.bias"),
        "There is one head only: num_heads is not used.": attend(tokens, weights, 1),
        "Tokens of different images see each other: attention runs over the batch axis.": attend(
            tokens.transpose(0, 1), weights, num_heads
        ).transpose(0, 1),
        "The heads of one token see each other, the tokens don't: swap to [B, heads, N, D/heads] before the "
        "scores.": project(heads(*in_order.transpose(2, 3))),
        "The heads are joined without swapping back: transpose [B, heads, N, D/heads] to [B, N, heads, D/heads], then "
        "reshape.": project(whole),
        "The heads are joined with the head as the fastest axis: reshape [B, N, heads, D/heads] to [B, N, D].": project(
            whole.permute(0, 2, 3, 1)
        ),
        f"reshape to [B, heads, N, D/heads] mixes heads and tokens: {own_split}.": joined(heads(*regrouped)),
        f"reshape to [B, heads, N, D/heads] and back mixes heads and tokens: {own_split}.": project(heads(*regrouped)),
        f"reshape to [B, 3, heads, N, D/heads] mixes heads and tokens: {own_split}.": split(
            batch, 3, num_heads, length, size, order=(1, 0, 2, 3, 4)
        ),
        f"reshape to [3, B, heads, N, D/heads] mixes images, heads and tokens: {own_split}.": split(
            3, batch, num_heads, length, size, order=(0, 1, 2, 3, 4)
        ),
        f"reshape to [3, B, N, heads, D/heads] mixes images and tokens: {own_split}.": split(
            3, batch, length, num_heads, size, order=(0, 1, 3, 2, 4)
        ),
        f"Queries, keys and values are interleaved head by head: {own_split}.": split(
            batch, length, num_heads, 3, size, order=(3, 0, 2, 1, 4)
        ),
        f"Queries, keys and values are interleaved number by number: {own_split}.": split(
            batch, length, num_heads, size, 3, order=(4, 0, 2, 1, 3)
        ),
        f"The head is the fastest axis of the split: {own_split}.": split(
            batch, length, 3, size, num_heads, order=(2, 0, 4, 1, 3)
        ),
        **{
            "The 3*D outputs of .qkv are queries, keys, values, in places 1, 2, 3; here they are taken from places "
            f"{', '.join(str(place + 1) for place in order)}.": joined(heads(*in_order[list(order)]))
            for order in itertools.product(range(3), repeat=3)
        },
    }


@exercise("Attention")
def test_attention_refuses_heads_that_do_not_divide(learner):
    """num_heads that does not divide dim is a ValueError, and one that divides it is not."""
    for sizes in ((10, 4), (9, 2), (4, 8)):
        likely = "In __init__, raise ValueError(...) if dim % num_heads is not 0; an assert raises another error."
        expect_error(ValueError, learner, attention_made, sizes, likely=likely)
    learner(attention_made, (12, 4))


@exercise("Attention")
def test_attention_passes_gradients(learner):
    """Gradients reach the tokens and all weights, through the softmax too."""

    def oracle(tokens, weights, num_heads, stand_ins):
        return attend(tokens, weights, num_heads)

    expect_gradients(learner, attention_gradients, (12, 3), oracle, draw(attention_shapes(12)))


@exercise("MLP")
def test_mlp_trains_two_linear_layers(learner):
    """.fc1 [hidden_dim, dim] and .fc2 [dim, hidden_dim] with a bias each are all that is trained."""
    for dim, hidden_dim in ((6, 20), (8, 5)):
        expected = as_text(mlp_shapes(dim, hidden_dim))
        exchanged = layer("fc1", dim, hidden_dim) | layer("fc2", hidden_dim, dim)
        mistakes = {
            "Both layers have a bias: leave bias=False out.": without(expected, "bias"),
            "fc1 has a bias: leave bias=False out.": without(expected, "fc1.bias"),
            "fc2 has a bias: leave bias=False out.": without(expected, "fc2.bias"),
            "The hidden layer is hidden_dim wide, not 4*dim.": as_text(mlp_shapes(dim, 4 * dim)),
            "The hidden layer is hidden_dim wide, not 4*hidden_dim.": as_text(mlp_shapes(dim, 4 * hidden_dim)),
            "fc1 goes from dim to hidden_dim and fc2 back: here they are exchanged.": as_text(exchanged),
        }
        got = learner(mlp_parameters, (dim, hidden_dim))
        likely = (
            "Exactly two layers are trained: fc1 = nn.Linear(dim, hidden_dim) and fc2 = nn.Linear(hidden_dim, dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("MLP", points=2)
def test_mlp_is_fc2_of_gelu_of_fc1(learner):
    """The result is fc2(gelu(fc1(tokens))) with the exact GELU."""
    for batch, length, (dim, hidden_dim), dtype in (
        (2, 5, (6, 20), torch.float32),
        (1, 3, (4, 16), torch.float64),
        (3, 1, (8, 5), torch.float32),
        (*drawn((1, 3), (1, 5)), drawn((1, 9), (1, 20)), torch.float32),
    ):
        weights = draw(mlp_shapes(dim, hidden_dim), dtype)
        tokens = 2 * torch.randn(batch, length, dim, dtype=dtype)
        got, again = learner(mlp_twice, (dim, hidden_dim), weights, tokens)
        expect_same_twice(learner, got, again)
        likely = "Three steps and no more: fc1, then the exact GELU (F.gelu), then fc2."
        mistakes = Later(mlp_mistakes, tokens, weights)
        expect_close(got, two_layers(tokens, weights), called=learner.called, mistakes=mistakes, likely=likely)


def mlp_mistakes(tokens: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    def same(hidden):
        return hidden

    def tanh_gelu(hidden):
        return F.gelu(hidden, approximate="tanh")

    def sigmoid_gelu(hidden):
        return hidden * (1.702 * hidden).sigmoid()

    others = {
        "a ReLU": F.relu,
        "a SiLU": F.silu,
        "a tanh": torch.tanh,
        "a sigmoid": torch.sigmoid,
        "a LeakyReLU": F.leaky_relu,
    }
    right = two_layers(tokens, weights)
    return {
        "This is GELU's tanh approximation: leave `approximate` out for the exact one.": two_layers(
            tokens, weights, tanh_gelu
        ),
        "This is GELU's approximation x * sigmoid(1.702 x): F.gelu is exact.": two_layers(
            tokens, weights, sigmoid_gelu
        ),
        **{
            f"The activation is {name}: it must be a GELU.": two_layers(tokens, weights, activation)
            for name, activation in others.items()
        },
        "The activation between fc1 and fc2 is missing.": two_layers(tokens, weights, same),
        "The activation comes after fc2: it belongs between fc1 and fc2.": F.gelu(two_layers(tokens, weights, same)),
        "There is a second activation after fc2: only the hidden layer has one.": F.gelu(right),
        "The activation comes before fc1: it belongs between fc1 and fc2.": two_layers(F.gelu(tokens), weights, same),
        "The activation is applied twice.": two_layers(tokens, weights, lambda hidden: F.gelu(F.gelu(hidden))),
        "The tokens are added to the result: the residual belongs to Block.": tokens + right,
        "The tokens are normed first: the norm belongs to Block.": two_layers(
            F.layer_norm(tokens, tokens.shape[-1:]), weights
        ),
    }


@exercise("Block")
def test_block_trains_two_norms_attention_and_mlp(learner):
    """.norm1, .attn, .norm2 and .mlp, 4*dim wide, are all that is trained."""
    for dim, num_heads in ((8, 2), (6, 3)):
        expected = as_text(block_shapes(dim))
        widths = {"dim": dim, "2*dim": 2 * dim, "3*dim": 3 * dim, "num_heads*dim": num_heads * dim, "4": 4}
        mistakes = {
            "There is one norm for both halves: norm1 and norm2 are two LayerNorms.": without(expected, "norm2"),
            "The norms have a weight and a bias: leave elementwise_affine=False out.": without(expected, "norm"),
            **{
                f"The MLP's hidden layer is 4*dim wide, not {text}.": expected | as_text(mlp_shapes(dim, width, "mlp."))
                for text, width in widths.items()
            },
        }
        got = learner(block_parameters, (dim, num_heads))
        likely = (
            "Exactly four parts are trained: norm1 and norm2, an nn.LayerNorm each, attn = Attention(dim, num_heads) "
            "and mlp = MLP(dim, 4 * dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Block", points=3)
def test_block_adds_attention_then_mlp(learner):
    """tokens + attn(norm1(tokens)), and to that + mlp(norm2(...))."""
    for batch, length, (dim, num_heads), dtype in sizes()[1:]:
        weights = draw(block_shapes(dim), dtype)
        tokens = torch.randn(batch, length, dim, dtype=dtype)
        got, again, stand_ins = learner(block_twice, (dim, num_heads), weights, tokens)
        expected = pre_norm(tokens, weights, num_heads, stand_ins)
        expect_same_twice(learner, got, again)
        mistakes = Later(block_mistakes, tokens, weights, num_heads, parts_of(stand_ins))
        likely = "Two lines: tokens = tokens + attn(norm1(tokens)), then tokens + mlp(norm2(tokens))."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def block_mistakes(
    x: Tensor, weights: dict[str, Tensor], num_heads: int, parts: tuple[Callable, Callable]
) -> dict[str, Tensor]:
    attention, layers = parts

    def norm1(tokens):
        return normalise(tokens, part(weights, "norm1"))

    def norm2(tokens):
        return normalise(tokens, part(weights, "norm2"))

    def attn(tokens, num_heads=num_heads):
        return attention(tokens, part(weights, "attn"), num_heads)

    def mlp(tokens):
        return layers(tokens, part(weights, "mlp"))

    def same(tokens):
        return tokens

    def block(norm1=norm1, norm2=norm2, attn=attn):
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


EPSILONS = {"1e-5, torch's default": 1e-5, "1e-12": 1e-12, "1e-8": 1e-8, "1e-3": 1e-3, "0": 0.0}


@exercise("Block")
def test_block_norms_with_eps_1e_6(learner):
    """Both norms have eps 1e-6, which tokens of size 0.001 show."""
    dim, num_heads = 8, 2
    for name, silent in (("norm1", "mlp.fc2"), ("norm2", "attn.proj")):
        weights = draw(block_shapes(dim))
        # the other half of the block adds nothing, so that what reaches this norm is small
        weights |= {key: torch.zeros_like(value) for key, value in weights.items() if silent in key}
        tokens = torch.randn(2, 5, dim) * 1e-3
        got, _, stand_ins = learner(block_twice, (dim, num_heads), weights, tokens)
        expected = pre_norm(tokens, weights, num_heads, stand_ins)
        mistakes = Later(epsilon_mistakes, name, tokens, weights, num_heads, stand_ins)
        called = f"{learner.called} of size 0.001, {silent} all zeros"
        likely = f"{name} is nn.LayerNorm(dim, eps=1e-6). If the block is wrong on ordinary tokens too, start there."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


def epsilon_mistakes(
    norm: str, tokens: Tensor, weights: dict[str, Tensor], num_heads: int, stand_ins: Container[str]
) -> dict[str, Tensor]:
    return {
        f"The eps of {norm} is {text}: write nn.LayerNorm(dim, eps=1e-6).": pre_norm(
            tokens, weights, num_heads, stand_ins, eps
        )
        for text, eps in EPSILONS.items()
    }


@exercise("Block")
def test_block_leaves_its_input(learner):
    """The tokens that go in stay as they were. Kept because the error that the gradients give for it names no cause."""
    weights, tokens = draw(block_shapes(8)), torch.randn(2, 5, 8)
    got = learner(block_input_after, (8, 2), weights, tokens)
    likely = "`tokens += ...` changes the caller's tensor in place: write tokens = tokens + ..."
    expect_equal(got, tokens, called=learner.called, likely=likely)


@exercise("Block")
def test_block_passes_gradients(learner):
    """Gradients reach the tokens and all weights, through both residuals."""
    expect_gradients(learner, block_gradients, (8, 2), pre_norm, draw(block_shapes(8)))


@exercise("gather_tokens", points=2)
def test_gather_tokens_takes_each_images_own(learner):
    """out[b, k] is tokens[b, indices[b, k]]: any order, repeats allowed, any K."""
    # batch, length, dim, count, dtype, repeats
    for batch, length, dim, count, dtype, repeats in (
        (3, 7, 4, 5, torch.float32, False),
        (3, 7, 4, 5, torch.float32, True),
        (2, 5, 3, 8, torch.float64, True),
        (1, 4, 6, 1, torch.float16, False),
        (4, 1, 1, 2, torch.float32, True),
        (*drawn((1, 4), (4, 9), (1, 6), (1, 8)), torch.float32, False),
    ):
        tokens = torch.randn(batch, length, dim).to(dtype)
        indices = torch.stack([torch.randperm(length).repeat(2)[:count] for _ in range(batch)])
        if repeats:
            indices[:, -1] = indices[:, 0]
        got = learner(gather_tokens, tokens, indices)
        likely = "Every image b has its own row indices[b]; torch.gather wants an index for each of the D entries."
        mistakes = Later(gather_mistakes, tokens, indices)
        expect_equal(got, take(tokens, indices), called=learner.called, mistakes=mistakes, likely=likely)


def gather_mistakes(tokens: Tensor, indices: Tensor) -> dict[str, Tensor | torch.Size]:
    batch, length, dim = tokens.shape
    count = indices.shape[1]
    distinct = max(len(set(row)) for row in indices.tolist())
    right = take(tokens, indices)
    own_row = "each image has its own"
    other_indices = {
        f"The indices of image 0 are used for all images: {own_row}.": indices[:1].expand(batch, -1),
        f"The indices of the last image are used for all images: {own_row}.": indices[-1:].expand(batch, -1),
        f"The indices of another image are used: {own_row}.": indices.flip(0),
        "The indices are sorted: the output keeps their order.": indices.sort().values,
        "The indices are sorted downwards: the output keeps their order.": indices.sort(descending=True).values,
        "The output is reversed: it keeps the order of the indices.": indices.flip(1),
        "Off by one, the token after the right one comes: there is no cls token.": (indices + 1) % length,
        "Off by one, the token before the right one comes: there is no cls token.": (indices - 1) % length,
        "The first K tokens are taken: the indices are not used.": (torch.arange(count) % length).expand(batch, -1),
    }
    shapes = {
        "Only the first entry of each token is taken: expand the index to [B, K, D].": (batch, count, 1),
        "`tokens[:, indices]` takes every row of indices for every image: index the batch with "
        "torch.arange(B)[:, None] as well, or use torch.gather.": (batch, batch, count, dim),
        "The batch is lost: the output is [B, K, D].": (count, dim),
        "`tokens[indices]` takes whole images: the indices belong to axis 1.": (batch, count, length, dim),
        "The indices are used along D: they belong to axis 1.": (batch, length, count),
        "All N tokens come back: the output has the K that are asked for.": (batch, length, dim),
        "The images are run together: the output is [B, K, D].": (batch * count, dim),
        "The rows of indices are run together: each image has its own.": (batch, batch * count, dim),
        "A repeated index is taken once: it must repeat its token.": (batch, distinct, dim),
    }
    return {
        **{sentence: take(tokens, other) for sentence, other in other_indices.items()},
        **{sentence: torch.Size(other) for sentence, other in shapes.items() if other != right.shape},
        "The tokens' dtype is not kept.": right.float(),
        "Off by one: no cls token stands in front, index 0 is the first token.": take(
            F.pad(tokens, (0, 0, 1, 0)), indices
        ),
        "All tokens come from image 0: in tokens flattened to [B*N, D], image b starts at b*N.": tokens[0][indices],
        "All D entries of a token are its first one: expand the index to [B, K, D].": right[..., :1].expand_as(right),
    }


@exercise("gather_tokens")
def test_gather_tokens_takes_any_memory_layout(learner):
    """Tokens that are a transposed view are taken too, as the patch embedding gives them."""
    for batch, length, dim, count in ((2, 6, 3, 4), (3, 2, 5, 2)):
        channels, indices = torch.randn(batch, dim, length), torch.randint(length, (batch, count))
        indices[:, -1] = indices[:, 0]  # which the stand-in, handed in, doesn't take
        got = learner(gather_transposed, channels, indices)
        likely = "If freshly made tokens come out right: on a transposed view `reshape` works and `view` does not."
        expect_equal(got, take(channels.transpose(1, 2), indices), called=learner.called, likely=likely)


@exercise("gather_tokens")
def test_gather_tokens_passes_gradients(learner):
    """The gradient of a token is the sum over all places that took it."""
    batch, length, dim, count = 3, 6, 4, 5
    tokens, direction = torch.randn(batch, length, dim), torch.randn(batch, count, dim)
    indices = torch.randint(length, (batch, count))
    indices[:, 1] = indices[:, 0]
    expected = torch.zeros_like(tokens)
    for b, k in itertools.product(range(batch), range(count)):
        expected[b, indices[b, k]] += direction[b, k]
    got = learner(gather_gradient, tokens, indices, direction)
    likely = (
        "If the tokens are the right ones, the graph is cut: no detach, .data, numpy or torch.tensor(...) on the way."
    )
    expect_close(got, expected, called=learner.called, likely=likely)


@exercise("gather_tokens")
def test_gather_tokens_leaves_its_inputs(learner):
    """Neither the tokens nor the indices are changed."""
    tokens, indices = torch.randn(2, 5, 3), torch.tensor([[3, 0, 1], [4, 2, 2]])
    *got, taken = learner(gather_inputs_after, tokens, indices)
    likely = "`+=` and methods that end in _ change the caller's tensor in place: make a new one."
    expect_equal(got, [tokens, indices], called=learner.called, likely=likely)
    expect_that(
        isinstance(taken, Tensor) and taken.shape == (2, 3, 3) and bool(taken.any()),
        called=learner.called,
        expected="a token for each index: [2, 3, 3]",
        got=describe(taken),
        likely="Who takes nothing leaves everything as it is: give back the tokens at the indices.",
    )


# (image_size, patch_size, dim, depth, num_heads), batch, dtype
TRANSFORMERS = [
    ((12, 4, 8, 3, 2), 2, torch.float32),
    ((10, 2, 12, 2, 3), 1, torch.float64),
]


def transformers() -> list[tuple]:
    grid_size, patch_size, quarter, depth, num_heads, batch = drawn((2, 4), (1, 4), (1, 3), (1, 2), (1, 2), (1, 3))
    return [*TRANSFORMERS, ((grid_size * patch_size, patch_size, 4 * quarter, depth, num_heads), batch, torch.float32)]


class Encoder:
    """What a VisionTransformer is made of, step by step, with random weights, images and patches to keep."""

    def __init__(self, sizes: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float32):
        image_size, patch_size, dim, depth, self.num_heads = sizes
        self.weights = draw(transformer_shapes(patch_size, dim, depth), dtype)
        self.weights["patch_embed.proj.weight"] /= patch_size
        self.images = torch.randn(batch, 3, image_size, image_size, dtype=dtype)
        grid_size = image_size // patch_size
        self.positions = sincos(grid_size, dim).to(dtype)
        count = (grid_size**2 + 1) // 2  # about half
        self.keep = torch.stack([torch.randperm(grid_size**2)[:count] for _ in range(batch)])
        self.order = list(range(depth))
        self.stand_ins: Container[str] = ("Block",)
        weight, bias = self.weights["patch_embed.proj.weight"], self.weights["patch_embed.proj.bias"]
        self.tokens = F.conv2d(self.images, weight, bias, stride=patch_size).flatten(2).transpose(1, 2)
        self.placed = self.tokens + self.positions

    def blocks(self, tokens: Tensor, order: list[int] | None = None, num_heads: int | None = None) -> Tensor:
        for index in self.order if order is None else order:
            inputs = tokens, part(self.weights, f"blocks.{index}"), num_heads or self.num_heads
            tokens = other_block(*inputs) if "Block" in self.stand_ins else pre_norm(*inputs, self.stand_ins)
        return tokens

    def norm(self, tokens: Tensor, eps: float = 1e-6) -> Tensor:
        return normalise(tokens, part(self.weights, "norm"), eps)

    def encode(self, tokens: Tensor, order: list[int] | None = None) -> Tensor:
        return self.norm(self.blocks(tokens, order))


@exercise("VisionTransformer")
def test_vision_transformer_trains_its_parts(learner):
    """.patch_embed, .blocks and .norm are all that is trained, each block with weights of its own."""
    for sizes, _, _ in TRANSFORMERS:
        _, patch_size, dim, depth, _ = sizes
        expected = as_text(transformer_shapes(patch_size, dim, depth))
        first = {name: size for name, size in expected.items() if "blocks" not in name or "blocks.0" in name}
        mistakes = {
            "The blocks stand in a plain list, where torch finds no parameters: use nn.ModuleList.": without(
                expected, "blocks"
            ),
            "One block is used again and again: make a new Block for each of the depth layers.": first,
            "There is no cls token.": expected | {"cls_token": str([1, 1, dim])},
        }
        got = learner(transformer_parameters, sizes)
        likely = (
            "Exactly these parts are trained: patch_embed = PatchEmbedding(...), blocks = nn.ModuleList of depth "
            "Blocks, norm = nn.LayerNorm(dim, eps=1e-6)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer")
def test_vision_transformer_has_fixed_positions(learner):
    """.pos_embed is the sin-cos table [1, N, D], an entry of the state dict that is never trained."""
    for sizes, _, _ in TRANSFORMERS:
        image_size, patch_size, dim, _, _ = sizes
        grid_size = image_size // patch_size
        expected = sincos(grid_size, dim)
        turned = expected.unflatten(1, (grid_size, grid_size)).transpose(1, 2).flatten(1, 2)
        mistakes = {
            "pos_embed is not in the state dict, so it is neither saved nor moved to the GPU: use "
            'self.register_buffer("pos_embed", ...).': None,
            "The batch axis is missing: the table is [1, N, D].": torch.Size([grid_size**2, dim]),
            "There is no cls token: the table has one row a patch.": torch.Size([1, grid_size**2 + 1, dim]),
            "The grid has image_size // patch_size patches a side, not image_size.": torch.Size(
                [1, image_size**2, dim]
            ),
            "The grid has image_size // patch_size patches a side, not patch_size.": torch.Size(
                [1, patch_size**2, dim]
            ),
            "The positions are all zeros: fill the table with sincos_position_embedding.": torch.zeros_like(expected),
            "Rows and columns are exchanged: take the table of sincos_position_embedding as it is.": turned,
        }
        got, is_trained = learner(transformer_positions, sizes)
        expect_that(
            not is_trained,
            called=learner.called,
            expected="a fixed table",
            got="a parameter with requires_grad=True",
            likely="Positions are never trained: use register_buffer, or nn.Parameter(..., requires_grad=False).",
        )
        likely = "The table is sincos_position_embedding(image_size // patch_size, dim)[None]."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer", points=2)
def test_vision_transformer_encodes_all_patches(learner):
    """Patch tokens plus positions, through every block in turn, then the norm: [B, 3, H, W] -> [B, N, D]."""
    for sizes, batch, dtype in transformers():
        encoder = Encoder(sizes, batch, dtype)
        got, again, encoder.stand_ins = learner(transformer_twice, sizes, encoder.weights, encoder.images)
        expected = encoder.encode(encoder.placed)
        expect_same_twice(learner, got, again)
        likely = "In this order: patch_embed(images) + pos_embed, each block in turn, norm."
        mistakes = Later(encoding_mistakes, encoder)
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, rtol=1e-3, atol=1e-4)


def encoding_mistakes(encoder: Encoder) -> dict[str, Tensor | torch.Size]:
    tokens, placed, positions, order = encoder.tokens, encoder.placed, encoder.positions, encoder.order
    encode, blocks, norm = encoder.encode, encoder.blocks, encoder.norm
    placed_again, normed_again = tokens, placed
    for index in order:
        placed_again, normed_again = blocks(placed_again + positions, [index]), norm(blocks(normed_again, [index]))
    batch, length, dim = tokens.shape
    return {
        "The positions are not added.": encode(tokens),
        "The positions are added after the blocks: add them before.": norm(blocks(tokens) + positions),
        "The positions are added after the norm: add them before the blocks.": encode(tokens) + positions,
        "The positions are added twice.": encode(placed + positions),
        "The positions are added before every block: add them once.": norm(placed_again),
        "The tokens are multiplied by the positions: add them.": encode(tokens * positions),
        "The final norm is not applied.": blocks(placed),
        "The norm comes before the blocks: it comes last.": blocks(norm(placed)),
        "The norm is applied before the blocks too: only at the end.": encode(norm(placed)),
        "The final norm is applied twice.": norm(encode(placed)),
        "The norm is applied after every block: only at the end.": normed_again,
        "The blocks are not applied.": norm(placed),
        "Only the first block is applied.": encode(placed, order[:1]),
        "Only the last block is applied: each one gets what the one before it gives.": encode(placed, order[-1:]),
        "The first block is applied again and again.": encode(placed, order[:1] * len(order)),
        "The last block is applied again and again, or all blocks are one.": encode(placed, order[-1:] * len(order)),
        "The last block is left out.": encode(placed, order[:-1]),
        "The first block is left out.": encode(placed, order[1:]),
        "The blocks are applied in reverse.": encode(placed, order[::-1]),
        "There is one head only: hand num_heads on to Block.": norm(blocks(placed, num_heads=1)),
        "There is no cls token: the output has one token a patch.": torch.Size([batch, length + 1, dim]),
        "The tokens are averaged away: the output has one token a patch.": torch.Size([batch, dim]),
    }


@exercise("VisionTransformer", points=2)
def test_vision_transformer_keeps_some_patches(learner):
    """With keep [B, K] only these patches, at their own positions, enter the blocks: [B, K, D] in keep's order."""
    for sizes, batch, dtype in transformers():
        encoder = Encoder(sizes, batch, dtype)
        inputs = encoder.weights, encoder.images, encoder.keep
        got, encoder.stand_ins = learner(transformer_kept, sizes, *inputs)
        expected = encoder.encode(take(encoder.placed, encoder.keep))
        likely = (
            "In this order: patch_embed(images) + pos_embed, gather_tokens(tokens, keep), each block in turn, norm."
        )
        mistakes = Later(keeping_mistakes, encoder)
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, rtol=1e-3, atol=1e-4)


def keeping_mistakes(encoder: Encoder) -> dict[str, Tensor | torch.Size]:
    tokens, placed, positions, keep = encoder.tokens, encoder.placed, encoder.positions, encoder.keep
    batch, length, dim = tokens.shape
    count = keep.shape[1]
    kept = torch.zeros(batch, length, 1, dtype=torch.bool).scatter(1, keep[..., None], True)
    first = keep[:1].expand(batch, -1)
    encoded = {
        "The kept patches get the positions of the first K patches: add pos_embed before you gather.": take(
            tokens, keep
        )
        + positions[:, :count],
        "The kept patches all get the positions of image 0's: add pos_embed before you gather.": take(tokens, keep)
        + positions[:, keep[0]],
        "The kept patches have no positions: add pos_embed before you gather.": take(tokens, keep),
        "The positions are added before and after the gathering.": take(placed + positions, keep),
        "The patches come out sorted: the output is in keep's order.": take(placed, keep.sort().values),
        "Image 0's keep is used for all images: each image has its own.": take(placed, first),
        "The first K patches are kept: take the ones that keep names.": placed[:, :count],
        "The indices are off by one: there is no cls token, index 0 is the first patch.": take(
            placed, (keep + 1) % length
        ),
    }
    late = "all patches enter the blocks, and the kept ones see the others: gather first, then encode."
    return {
        **{sentence: encoder.encode(entering) for sentence, entering in encoded.items()},
        f"keep comes too late: {late}": take(encoder.encode(placed), keep),
        f"The other patches are set to 0, and still {late}": take(encoder.encode(placed * kept), keep),
        f"The other patches are set to 0 before the positions are added, and still {late}": take(
            encoder.encode(tokens * kept + positions), keep
        ),
        **(
            {"keep is not used, or all patches come out: gather the kept ones.": tokens.shape} if count < length else {}
        ),
        "There is no cls token: the output has one token a kept patch.": torch.Size([batch, count + 1, dim]),
        "The images are run together: the output is [B, K, D].": torch.Size([batch, batch, count, dim]),
    }


@exercise("VisionTransformer")
def test_vision_transformer_cannot_see_what_is_not_kept(learner):
    """Pixels outside the kept patches change nothing. Kept because it tells a leak from every other mistake."""
    sizes = (12, 4, 8, 1, 2)
    encoder = Encoder(sizes, 2)
    seen = torch.zeros(2, 9).scatter(1, encoder.keep, 1.0).reshape(2, 1, 3, 3)
    seen = seen.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).bool()
    others = torch.where(seen, encoder.images, torch.randn_like(encoder.images))
    inputs = (encoder.weights, encoder.images, others, encoder.keep)
    before, after = learner(transformer_kept_of_both, sizes, *inputs)
    likely = "The dropped patches still enter the blocks: gather the kept tokens before the first block."
    expect_close(after, before, called=learner.called, likely=likely)


@exercise("VisionTransformer")
def test_vision_transformer_norm_has_eps_1e_6(learner):
    """The final norm has eps 1e-6, which tokens of size 0.001 show."""
    sizes = (8, 4, 8, 1, 2)
    encoder = Encoder(sizes, 1)
    tokens = torch.randn(2, 5, 8) * 1e-3
    mistakes = {
        f"The eps of the final norm is {text}: write nn.LayerNorm(dim, eps=1e-6).": encoder.norm(tokens, eps)
        for text, eps in EPSILONS.items()
    }
    got = learner(transformer_norm, sizes, encoder.weights, tokens)
    likely = ".norm is nn.LayerNorm(dim, eps=1e-6)."
    expect_close(got, encoder.norm(tokens), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer")
def test_vision_transformer_trains_all_of_it(learner):
    """A gradient reaches every weight, the patch embedding's too."""
    sizes = (12, 4, 8, 2, 2)
    encoder = Encoder(sizes, 2)
    got = learner(transformer_reached, sizes, encoder.weights, encoder.images, encoder.keep)
    likely = "The graph is cut on the way (detach, .data or no_grad in forward), or this part is not used."
    expect_equal(got, dict.fromkeys(encoder.weights, True), called=learner.called, likely=likely)
