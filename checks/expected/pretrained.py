"""What translated weights and descriptors must be, and what their known mistakes give."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.calls.pretrained import Encoder
from checks.tool.expect import Mistakes, expect_that

State = dict[str, Tensor]

# a part of a block, ours and theirs, and its shapes in units of D: (weight, bias)
PARTS = (
    ("norm1", "layernorm_before", (1,), (1,)),
    ("attn.proj", "attention.output.dense", (1, 1), (1,)),
    ("norm2", "layernorm_after", (1,), (1,)),
    ("mlp.fc1", "intermediate.dense", (4, 1), (4,)),
    ("mlp.fc2", "output.dense", (1, 4), (1,)),
)
THIRDS = ("query", "key", "value")
KINDS = ("weight", "bias")


def published(depth: int, dim: int, dtype: torch.dtype = torch.float32) -> tuple[State, State]:
    """Random tensors by Hugging Face's names, in no order, and those that only get another name, by ours."""
    theirs: State = {}
    ours: State = {}

    def add(own: str, other: str, *shape: int) -> None:
        ours[own] = theirs[other] = torch.randn(*shape).to(dtype)

    add("patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight", dim, 3, 2, 2)
    add("patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias", dim)
    add("pos_embed", "embeddings.position_embeddings", 1, 9, dim)
    for kind in KINDS:
        add(f"norm.{kind}", f"layernorm.{kind}", dim)
    for number in range(depth):
        for own, other, *shapes in PARTS:
            for kind, shape in zip(KINDS, shapes, strict=True):
                sizes = [dim * times for times in shape]
                add(f"blocks.{number}.{own}.{kind}", f"encoder.layer.{number}.{other}.{kind}", *sizes)
        for third in THIRDS:
            for kind, shape in zip(KINDS, ((dim, dim), (dim,)), strict=True):
                name = f"encoder.layer.{number}.attention.attention.{third}.{kind}"
                theirs[name] = torch.randn(*shape).to(dtype)
    names = list(theirs)
    return {names[place]: theirs[names[place]] for place in torch.randperm(len(names)).tolist()}, ours


def thirds(theirs: State, number: int, kind: str) -> list[Tensor]:
    return [theirs[f"encoder.layer.{number}.attention.attention.{third}.{kind}"] for third in THIRDS]


def joined(theirs: State, depth: int, order: tuple[int, int, int] = (0, 1, 2)) -> State:
    """The qkv tensors by our names, with query, key and value in this order."""
    return {
        f"blocks.{number}.attn.qkv.{kind}": torch.cat([thirds(theirs, number, kind)[place] for place in order])
        for number in range(depth)
        for kind in KINDS
    }


def joined_mistakes(theirs: State, depth: int) -> Mistakes:
    right = joined(theirs, depth)
    weights = {name: tensor for name, tensor in right.items() if name.endswith("weight")}
    biases = {name: tensor for name, tensor in right.items() if name.endswith("bias")}
    places = [(number, kind) for number in range(depth) for kind in KINDS]

    def of_all(make) -> State:
        return {f"blocks.{number}.attn.qkv.{kind}": make(thirds(theirs, number, kind)) for number, kind in places}

    return {
        "Queries and keys are swapped: the order is query, key, value.": joined(theirs, depth, (1, 0, 2)),
        "The order is another one: the first D rows make the queries, the next D the keys, the last D the values.": (
            joined(theirs, depth, (2, 1, 0))
        ),
        "Keys and values are swapped: the order is query, key, value.": joined(theirs, depth, (0, 2, 1)),
        "The biases are missing: query, key and value have them, too.": weights,
        "The weights are missing, and only the biases are joined.": biases,
        "This is the query alone: key and value belong behind it.": of_all(lambda parts: parts[0]),
        "This is the value alone: the last of the three has overwritten the others.": of_all(lambda parts: parts[2]),
        "A new axis of three: join along the first axis that they have (torch.cat, not torch.stack).": of_all(
            torch.stack
        ),
        "Joined along the last axis: a layer's rows are its outputs, so that the first axis is the one.": of_all(
            lambda parts: torch.cat(parts, dim=-1)
        ),
        "The weights are transposed: both sides keep a layer's weight as [outputs, inputs].": {
            name: torch.cat([part.T for part in tensor.chunk(3)]) if tensor.dim() == 2 else tensor
            for name, tensor in right.items()
        },
        "The rows alternate between query, key and value: first all of the query's, then the key's, then the "
        "value's.": of_all(lambda parts: torch.stack(parts, dim=1).flatten(0, 1)),
    }


def translated_mistakes(ours: State) -> Mistakes:
    other = {"norm1": "norm2", "norm2": "norm1"}
    swapped = {re.sub("norm[12]", lambda match: other[match[0]], name): tensor for name, tensor in ours.items()}
    return {
        "norm1 and norm2 are swapped: before the attention comes layernorm_before.": swapped,
        "The values are converted to float32: pass the tensors on in their own dtype.": {
            name: tensor.float() for name, tensor in ours.items()
        },
    }


def expect_names(got: object, expected: Mapping[str, Tensor], called: str) -> None:
    """The names must be VisionTransformer's, no more and no fewer."""
    if not isinstance(got, dict):
        return  # another kind of result is told by its comparison
    left = [name for name in got if name not in expected]
    gone = [name for name in expected if name not in got]
    shown = f"{left[0]!r}, a name that it doesn't have" if left else f"no {gone[0]!r}" if gone else "all of them"
    expect_that(
        not left and not gone,
        called=called,
        expected=f"the names of VisionTransformer: {', '.join(list(gone or expected)[:2])}, ...",
        got=shown,
        likely=cause_of_names(left, gone),
    )


def cause_of_names(left: list[object], gone: list[str]) -> str:
    """What the names that are too many, and those that are missing, tell."""
    text = " ".join(map(str, left))
    if left and all(".attention.attention." in str(name) for name in left):
        return "Query, key and value are still there: they become one tensor, .attn.qkv, and go."
    if "attention.mlp.fc2" in text:
        return "`output.dense` is a part of `attention.output.dense`: translate the longer one first."
    if ".norm_before" in text or ".norm_after" in text:
        return "`layernorm` is a part of `layernorm_before` and `layernorm_after`: translate the longer ones first."
    if left:
        return "Each row of the table gives a name: one of them is not translated, or not to its end."
    if all(name.startswith("norm.") for name in gone):
        return "The last norm is missing: `layernorm` is `norm`."
    if gone == ["pos_embed"]:
        return "The positions are missing: they are a part of the weights."
    if all(name.startswith(("blocks.10.", "blocks.11.")) for name in gone):
        return "Blocks from number 10 on are missing: a number may have two digits."
    return "Each row of the table gives a name: one of them is left out."


def scene(batch: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A weight for an Encoder, and so many images."""
    return torch.randn(12, 7).to(dtype), torch.randn(batch, 3, 6, 8) + 0.5


def tokens_of(weight: Tensor, images: Tensor) -> Tensor:
    """What the encoder gives for the images in its dtype, in float32."""
    with torch.no_grad():
        return Encoder(weight).eval()(images.to(weight.dtype)).float()


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(dim=-1, keepdim=True).sqrt()


def descriptor(weight: Tensor, images: Tensor) -> Tensor:
    tokens = tokens_of(weight, images)
    return unit(sum(tokens.unbind(1)) / tokens.shape[1])


def descriptor_mistakes(weight: Tensor, images: Tensor) -> Mistakes:
    tokens = tokens_of(weight, images)
    mean = tokens.mean(dim=1)
    return {
        "The vectors are not brought to length 1.": mean,
        "The vectors are as long as they come, and their sum: divide by the number of tokens and by the length.": (
            tokens.sum(dim=1)
        ),
        "This is token 0, the top left corner: there is no class token, take the average.": unit(tokens[:, 0]),
        "This is token 0 as it is: there is no class token, take the average, at length 1.": tokens[:, 0],
        "This is the last token: take the average of all.": unit(tokens[:, -1]),
        "Token 0 is left out: it is no class token, but the top left corner.": unit(tokens[:, 1:].mean(dim=1)),
        "This is the largest value of each feature: take the average.": unit(tokens.amax(dim=1)),
        "Averaged over the features: the tokens are the second of three axes.": unit(tokens.mean(dim=2)),
        "Averaged over the features: the tokens are the second axis of three.": tokens.mean(dim=2),
        "Each token is brought to length 1, and their average isn't: average first.": unit(tokens).mean(dim=1),
        "Each token is brought to length 1 before the average, too: long tokens may count more.": unit(
            unit(tokens).mean(dim=1)
        ),
        "Divided by the length over the images: each vector has a length of its own.": F.normalize(mean, dim=0),
        "The whole table is brought to length 1: each vector has a length of its own.": mean / mean.norm(),
        "Divided by the sum of the absolute values: the length is the root of the sum of squares.": F.normalize(
            mean, p=1, dim=-1
        ),
        "This is a layer_norm, which takes the mean off: divide by the length alone.": F.layer_norm(
            mean, mean.shape[-1:]
        ),
        "All images are averaged: they must stay apart.": unit(tokens.mean(dim=(0, 1))).expand(mean.shape),
    }


def rounded_mistakes(weight: Tensor, images: Tensor) -> Mistakes:
    tokens = tokens_of(weight, images).to(weight.dtype)
    in_half = F.normalize(tokens.mean(dim=1), dim=-1)
    return {
        "The result has the encoder's dtype: go on in float32 after the encoder (.float()).": in_half,
        "The average is taken in the encoder's dtype, with three digits: first .float(), then the average.": (
            unit(tokens.mean(dim=1).float())
        ),
        "Averaged and divided in the encoder's dtype, with three digits: first .float(), then the average.": (
            F.normalize(tokens.mean(dim=1), dim=-1).float()
        ),
    }
