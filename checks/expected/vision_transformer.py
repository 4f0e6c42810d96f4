"""What gather_tokens and VisionTransformer must give, by torch's own functions, and what their known mistakes give."""

import itertools
from collections.abc import Container

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.expected.vision_transformer_block import (
    EPSILONS,
    as_text,
    block_shapes,
    draw_weights,
    layer,
    normalise,
    other_block,
    part,
    pre_norm,
    without,
)
from checks.tool.expect import Mistakes


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """out[b, k] = tokens[b, indices[b, k]]"""
    return torch.stack([image[row] for image, row in zip(tokens, indices, strict=True)])


def draw_indices(batch: int, length: int, count: int, repeats: bool) -> Tensor:
    """Indices [B, K]: the first one comes again as the last one, or none does as long as K <= N."""
    indices = torch.stack([torch.randperm(length).repeat(2)[:count] for _ in range(batch)])
    if repeats:
        indices[:, -1] = indices[:, 0]
    return indices


def gather_mistakes(tokens: Tensor, indices: Tensor) -> Mistakes:
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
        "They went through float32 on the way: a new tensor needs dtype=tokens.dtype.": right.float().to(tokens.dtype),
        **{sentence: take(tokens, other) for sentence, other in other_indices.items()},
        **{sentence: torch.Size(other) for sentence, other in shapes.items() if other != right.shape},
        "The tokens' dtype is not kept.": right.float(),
        "Off by one: no cls token stands in front, index 0 is the first token.": take(
            F.pad(tokens, (0, 0, 1, 0)), indices
        ),
        "All tokens come from image 0: in tokens flattened to [B*N, D], image b starts at b*N.": tokens[0][indices],
        "All D entries of a token are its first one: expand the index to [B, K, D].": right[..., :1].expand_as(right),
    }


def gather_gradient(tokens: Tensor, indices: Tensor, direction: Tensor) -> Tensor:
    """The gradient of the tokens: the sum over all places that took one."""
    gradient = torch.zeros_like(tokens)
    for b, k in itertools.product(range(len(indices)), range(indices.shape[1])):
        gradient[b, indices[b, k]] += direction[b, k]
    return gradient


def sincos(grid_size: int, dim: int) -> Tensor:
    """The fixed positions [1, N, D]: the first half of D is the column, the second the row, each [sin, cos]."""
    angles = torch.arange(grid_size).double()[:, None] * 10000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([line.repeat(grid_size, 1), line.repeat_interleave(grid_size, 0)], dim=1).float()[None]


def position_mistakes(image_size: int, patch_size: int, dim: int) -> Mistakes:
    grid_size = image_size // patch_size
    expected = sincos(grid_size, dim)
    turned = expected.unflatten(1, (grid_size, grid_size)).transpose(1, 2).flatten(1, 2)
    return {
        "pos_embed is not in the state dict, so it is neither saved nor moved to the GPU: use "
        'self.register_buffer("pos_embed", ...).': None,
        "The batch axis is missing: the table is [1, N, D].": torch.Size([grid_size**2, dim]),
        "There is no cls token: the table has one row a patch.": torch.Size([1, grid_size**2 + 1, dim]),
        "The grid has image_size // patch_size patches a side, not image_size.": torch.Size([1, image_size**2, dim]),
        "The grid has image_size // patch_size patches a side, not patch_size.": torch.Size([1, patch_size**2, dim]),
        "The positions are all zeros: fill the table with sincos_position_embedding.": torch.zeros_like(expected),
        "Rows and columns are exchanged: take the table of sincos_position_embedding as it is.": turned,
    }


def transformer_shapes(patch_size: int, dim: int, depth: int) -> dict[str, list[int]]:
    shapes = layer("patch_embed.proj", dim, 3, patch_size, patch_size)
    for index in range(depth):
        shapes |= block_shapes(dim, f"blocks.{index}.")
    return shapes | layer("norm", dim)


def transformer_parameters(patch_size: int, dim: int, depth: int) -> Mistakes:
    expected = as_text(transformer_shapes(patch_size, dim, depth))
    first = {name: size for name, size in expected.items() if "blocks" not in name or "blocks.0" in name}
    return {
        "The blocks stand in a plain list, where torch finds no parameters: use nn.ModuleList.": without(
            expected, "blocks"
        ),
        "One block is used again and again: make a new Block for each of the depth layers.": first,
        "There is no cls token.": expected | {"cls_token": str([1, 1, dim])},
    }


class Encoder:
    """What a VisionTransformer is made of, step by step, with random weights, images and patches to keep."""

    def __init__(self, sizes: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float32):
        image_size, patch_size, dim, depth, self.num_heads = sizes
        self.weights = draw_weights(transformer_shapes(patch_size, dim, depth), dtype)
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

    @property
    def kept_size(self) -> list[int]:
        return [*self.keep.shape, self.tokens.shape[2]]

    def hides_eps(self) -> bool:
        """Whether the eps of the final norm makes no difference here: another check asks for it."""
        entering = self.placed, take(self.placed, self.keep)
        tokens = [self.blocks(each) for each in entering]
        return all(torch.allclose(self.norm(each), self.norm(each, 1e-5), 2e-4, 2e-5) for each in tokens)

    def images_alike_in_keep(self) -> Tensor:
        """Other images, with the same pixels in the patches of keep."""
        batch, length, _ = self.tokens.shape
        grid_size = round(length**0.5)
        seen = torch.zeros(batch, length).scatter(1, self.keep, 1.0).reshape(batch, 1, grid_size, grid_size)
        seen = F.interpolate(seen, size=self.images.shape[2:]).bool()
        return torch.where(seen, self.images, torch.randn_like(self.images))


def draw_encoder(sizes: tuple[int, ...], batch: int, dtype: torch.dtype) -> Encoder:
    while not (encoder := Encoder(sizes, batch, dtype)).hides_eps():
        pass
    return encoder


def encoding_mistakes(encoder: Encoder) -> Mistakes:
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


def keeping_mistakes(encoder: Encoder) -> Mistakes:
    tokens, placed, positions, keep = encoder.tokens, encoder.placed, encoder.positions, encoder.keep
    batch, length, dim = tokens.shape
    count = keep.shape[1]
    kept = torch.zeros(batch, length, 1, dtype=torch.bool).scatter(1, keep[..., None], True)
    bare, first = take(tokens, keep), keep[:1].expand(batch, -1)
    entering = {
        "The kept patches get the positions of the first K patches: add pos_embed before you gather.": bare
        + positions[:, :count],
        "The kept patches all get the positions of image 0's: add pos_embed before you gather.": bare
        + positions[:, keep[0]],
        "The kept patches have no positions: add pos_embed before you gather.": bare,
        "The positions are added before and after the gathering.": take(placed + positions, keep),
        "The patches come out sorted: the output is in keep's order.": take(placed, keep.sort().values),
        "Image 0's keep is used for all images: each image has its own.": take(placed, first),
        "The first K patches are kept: take the ones that keep names.": placed[:, :count],
        "The indices are off by one: there is no cls token, index 0 is the first patch.": take(
            placed, (keep + 1) % length
        ),
    }
    late = "all patches enter the blocks, and the kept ones see the others: gather first, then encode."
    all_entering = {
        f"keep comes too late: {late}": placed,
        f"The other patches are set to 0, and still {late}": placed * kept,
        f"The other patches are set to 0 before the positions are added, and still {late}": tokens * kept + positions,
    }
    shapes = {
        "keep is not used, or all patches come out: gather the kept ones.": (batch, length, dim),
        "There is no cls token: the output has one token a kept patch.": (batch, count + 1, dim),
        "The images are run together: the output is [B, K, D].": (batch, batch, count, dim),
    }
    return {
        **{sentence: encoder.encode(inputs) for sentence, inputs in entering.items()},
        **{sentence: take(encoder.encode(inputs), keep) for sentence, inputs in all_entering.items()},
        **{sentence: torch.Size(other) for sentence, other in shapes.items() if other != (batch, count, dim)},
    }


def final_epsilon_mistakes(encoder: Encoder, tokens: Tensor) -> Mistakes:
    return {
        f"The eps of the final norm is {text}: write nn.LayerNorm(dim, eps=1e-6).": encoder.norm(tokens, eps)
        for text, eps in EPSILONS.items()
    }
