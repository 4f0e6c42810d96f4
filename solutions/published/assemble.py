"""An encoder of somebody's own classes, with published weights in it, and none of them in memory twice."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from solutions.published.files import Weights, WeightsError, first_line, free_memory, let_go, size

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# The attention heads of the authors' encoders, by width: shapes don't show them
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
SHOWN = 5  # names that a sentence lists

# which piece a tensor belongs to, by the start of its name, and the lesson it is written in
PIECES = (
    (r"patch_embed\.", "PatchEmbedding, lesson 1"),
    (r"pos_embed$", "the positions, lessons 1 and 2"),
    (r"blocks\.\d+\.attn\.", "Attention, lesson 2"),
    (r"blocks\.\d+\.mlp\.", "MLP, lesson 2"),
    (r"blocks\.", "Block, lesson 2"),
    (r"norm\.", "VisionTransformer, lesson 2"),
)


class Sizes(NamedTuple):
    """What the tensors say of their encoder; sizes in pixels, widths in numbers a token."""

    image_size: int
    patch_size: int
    dim: int
    depth: int
    hidden_dim: int  # of the MLPs

    def __str__(self) -> str:
        return f"{self.dim} x {self.depth}, {self.image_size} px in patches of {self.patch_size}"


def sizes_of(tensors: dict[str, Tensor], path: Path) -> Sizes:
    """Read the sizes off tensors with VisionTransformer's names. Raises WeightsError if they don't show them."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    if missing := [name for name in needed if name not in shapes]:
        raise WeightsError(
            f"{path} shows no size of an encoder: {listed(missing)} missing among {len(shapes)} tensors "
            f"({', '.join(list(shapes)[:3])}, ...)"
        )
    projection, positions, hidden = (shapes[name] for name in needed)
    grid_size = math.isqrt(positions[-2]) if len(positions) == 3 else 0
    if (
        not grid_size
        or grid_size**2 != positions[-2]
        or len(projection) != 4
        or projection[1] != 3
        or projection[2] != projection[3]
    ):
        raise WeightsError(
            f"{path} is for other images than square ones of 3 colours in square patches: patch_embed.proj.weight is "
            f"{list(projection)}, pos_embed {list(positions)}"
        )
    numbers = [int(match[1]) for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))]
    dim, _, patch_size, _ = projection
    return Sizes(grid_size * patch_size, patch_size, dim, max(numbers) + 1, hidden[0])


def assemble(
    encoder_class: Callable[..., nn.Module],
    mlp_class: Callable[[int, int], nn.Module],
    weights: Weights,
    num_heads: int | None,
    dtype: torch.dtype,
) -> nn.Module:
    """An encoder of these classes, VisionTransformer and MLP, with these weights, in eval mode.

    weights: by VisionTransformer's names; its dict is empty afterwards. num_heads: None if the file says it, or the
    width does.

    Raises WeightsError for weights that don't fit into these classes, and for too little memory.
    """
    sizes = sizes_of(weights.tensors, weights.path)
    heads = num_heads or weights.num_heads or HEADS.get(sizes.dim)
    if not heads:
        raise WeightsError(
            f"{weights.path} doesn't say how many attention heads its encoder has, and none that was published is "
            f"{sizes.dim} wide: give num_heads (--heads)"
        )
    expect_memory(weights, dtype)

    def empty(device: str) -> nn.Module:
        with torch.device(device):
            encoder = encoder_class(sizes.image_size, sizes.patch_size, sizes.dim, sizes.depth, heads)
            if sizes.hidden_dim != 4 * sizes.dim:  # the giant's are 48/11 times as wide
                for block in encoder.blocks:
                    block.mlp = mlp_class(sizes.dim, sizes.hidden_dim)
        for norm in (module for module in encoder.modules() if isinstance(module, nn.LayerNorm)):
            norm.eps = weights.eps  # 1e-6 in all that was published, but transformers' default is another
        return encoder

    try:
        try:
            encoder = empty("meta")  # which takes no memory
        except (NotImplementedError, RuntimeError, TypeError):  # a table that is made with numpy, say
            encoder = empty("cpu")
    except Exception as error:
        unwritten = isinstance(error, NotImplementedError)
        reason = "it is not written yet" if unwritten else f"{type(error).__name__}: {first_line(error)}"
        raise WeightsError(
            f"VisionTransformer{(*sizes[:4], heads)} can't be made ({reason}): "
            f"these are the sizes in {weights.path}; see that `pytest checks -k VisionTransformer` passes"
        ) from error
    expect_fit(encoder, weights)
    state = converted(weights.tensors, dtype)
    encoder.load_state_dict(state, assign=True)
    if any(tensor.is_meta for tensor in (*encoder.parameters(), *encoder.buffers())):  # what no file holds
        encoder = empty("cpu")
        encoder.load_state_dict(state, assign=True)
    return encoder.eval()


def expect_memory(weights: Weights, dtype: torch.dtype) -> None:
    """There must be room for the weights. Raises WeightsError."""
    needed = dtype.itemsize * sum(tensor.numel() for tensor in weights.tensors.values())
    free = free_memory()
    if free is not None and needed > free:
        half = "" if dtype.itemsize < 4 else f"; in bf16 (--precision bf16) it takes {size(needed // 2)}"
        raise WeightsError(
            f"the encoder in {weights.path} takes {size(needed)} of memory, and {size(free)} are free: close what else "
            f"runs{half}"
        )


def expect_fit(encoder: nn.Module, weights: Weights) -> None:
    """The names and the shapes must be the encoder's. Raises WeightsError, with the pieces they belong to."""
    tensors = weights.tensors
    own = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    flaws = []
    if missing := [name for name in own if name not in tensors]:
        flaws.append(f"{listed(missing)} missing in the file")
    if surplus := [name for name in tensors if name not in own]:
        flaws.append(f"{listed(surplus)} not in the encoder")
    other = [name for name in own if name in tensors and own[name] != tuple(tensors[name].shape)]
    if other:
        shapes = {name: f"{list(tensors[name].shape)} in the file, {list(own[name])} in the encoder" for name in other}
        flaws.append(f"{listed(other, shapes)}")
    if flaws:
        raise WeightsError(f"{weights.path} doesn't fit into {type(encoder).__module__}: {'; '.join(flaws)}")


def listed(names: list[str], also: dict[str, str] | None = None) -> str:
    """The first names, each with the piece it belongs to, and how many more there are; then "is" or "are"."""
    shown = [f"{name} ({', '.join(filter(None, ((also or {}).get(name), piece(name))))})" for name in names[:SHOWN]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    verb = "" if also else " is" if len(names) == 1 else " are"
    return f"{', '.join(shown)}{more}{verb}"


def piece(name: str) -> str:
    return next((title for pattern, title in PIECES if re.match(pattern, name)), "no piece of I-JEPA's encoder")


def converted(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors in this dtype: those that have it already as they are, the others one by one. The dict is emptied."""
    state = {}
    for name in list(tensors):
        tensor = tensors.pop(name)  # or it would be kept in two dtypes
        state[name] = tensor.to(dtype)
        if state[name] is not tensor:
            let_go(tensor)
    return state
