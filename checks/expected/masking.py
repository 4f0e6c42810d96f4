"""What masks must hold, and how known mistakes show in what they hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from checks.calls import masking as calls
from checks.expected.masking_blocks import fits, new_seed, spans, whole
from checks.tool.expect import expect_equal, expect_that, shape

Draws = list[tuple[Tensor, Tensor]]  # (context [B, Nc], targets [B, M, Nt]) of several batches


def draw_masks(learner: Any, batch_size: int, grid_size: int, count: int, **options: Any) -> Draws:
    """(context, targets) of count batches, once they are known to be distinct indices of the right shape."""
    num_targets = options.get("num_targets", 4)
    got = learner(calls.masks, batch_size, grid_size, options, new_seed(), count)
    expect_equal(len(got), count, called=learner.called)
    for pair in got:
        entries = pair if isinstance(pair, tuple) else (pair,)
        expect_that(
            len(entries) == 2 and all(isinstance(entry, Tensor) for entry in entries),
            called=learner.called,
            expected=f"Masks(context [{batch_size}, Nc], targets [{batch_size}, {num_targets}, Nt])",
            got=", ".join(shape(entry) if isinstance(entry, Tensor) else type(entry).__name__ for entry in entries),
            likely="Is the `return` missing?"
            if pair is None
            else "Give back Masks(context, targets), two tensors: stack what is collected in lists.",
        )
    for name, axes, tensors in zip(
        ("context", "targets"), ([batch_size], [batch_size, num_targets]), zip(*got, strict=True), strict=True
    ):
        for positions in alike(tensors):
            stacked = torch.stack([tensors[i] for i in positions])
            expect_indices(name, stacked, axes, grid_size, learner.called)
    return got


def expect_some_block(got: list, grid_size: int, called: str) -> None:
    """A target must be a whole block: of indices that make none, number, form and origin mean nothing."""
    found = False
    for pair in got:
        targets = pair[1] if isinstance(pair, tuple) and len(pair) == 2 else None
        if isinstance(targets, Tensor) and targets.dtype == torch.long and targets.ndim == 3 and targets.numel():
            rows, columns = targets // grid_size, targets % grid_size
            sides = [places.amax(dim=2) - places.amin(dim=2) + 1 for places in (rows, columns)]
            distinct = (targets.sort(dim=2).values.diff(dim=2) > 0).all(dim=2)
            found |= bool((distinct & (sides[0] * sides[1] == targets.shape[2]) & (sides[0] > 1)).any())
    expect_that(
        found,
        called=called,
        expected="targets that are blocks, before this property counts",
        got="none is a rectangle of several rows",
        likely="No target is a block yet: another check says more, and this one counts once some are.",
    )


def alike(tensors: Sequence[Tensor]) -> Iterable[list[int]]:
    """The positions of tensors of one shape and dtype, group by group: a group is worked on at once."""
    groups: dict[tuple, list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault((tensor.shape, tensor.dtype), []).append(i)
    return groups.values()


def expect_indices(name: str, stacked: Tensor, axes: list[int], grid_size: int, called: str) -> None:
    """stacked: indices that are alike, [count, *axes, Nc or Nt] where they are right."""
    indices = stacked[0]
    low, high = (int(stacked.min()), int(stacked.max())) if stacked.numel() else (0, 0)
    if indices.dtype == torch.bool:
        flaw = "Give back patch indices, not a mask of bools: `nonzero` finds them."
    elif name == "targets" and indices.ndim == 3 and indices.shape[1] != axes[1]:
        flaw = "One row of indices for each of num_targets blocks: is this argument used?"
    elif name == "context" and indices.ndim == 3:
        flaw = "An image has one row of context indices. Masks(context, targets) takes the context first."
    elif list(indices.shape[:-1]) != axes:
        flaw = "One row of indices an image, and for the targets one an image and block, also when there is only one."
    elif not indices.numel():
        flaw = "No patch is left. A context that is too short must be drawn again."
    elif indices.dtype != torch.long:
        flaw = "Indices are of the dtype torch.long."
    elif low == 1 and high == grid_size**2:
        flaw = "The indices are one too large: patches count from 0, there is no cls token."
    elif low < 0 or high >= grid_size**2:
        flaw = f"An index is row * G + column, from 0 to {grid_size**2 - 1}: don't pad, keep blocks inside."
    elif (stacked.sort().values.diff() == 0).any():
        flaw = "An index stands twice in a row: draw without replacement, and don't fill up with repeats."
    else:
        return
    wanted = str([*axes, "Nc" if name == "context" else "Nt"]).replace("'", "")
    expect_that(
        False,
        called=called,
        expected=f"{name} int64 {wanted}, distinct indices from 0 to {grid_size**2 - 1}",
        got=f"{name} {str(indices.dtype).removeprefix('torch.')} {shape(indices)}, from {low} to {high}",
        likely=flaw,
    )


def all_blocks(tensors: Sequence[Tensor], grid_size: int) -> Tensor:
    """Patch indices [..., K] of one batch each, with a K of its own -> bool [count, ..., G, G]."""
    cells = torch.zeros(len(tensors), *tensors[0].shape[:-1], grid_size, grid_size, dtype=torch.bool)
    for positions in alike(tensors):
        cells[positions] = as_blocks(torch.stack([tensors[i] for i in positions]), grid_size)
    return cells


def as_blocks(indices: Tensor, grid_size: int) -> Tensor:
    """Patch indices [..., K] -> bool [..., G, G]."""
    cells = torch.zeros(*indices.shape[:-1], grid_size**2, dtype=torch.bool)
    return cells.scatter(-1, indices, True).unflatten(-1, (grid_size, grid_size))


def fixed_scale(grid_size: int, height: int, width: int) -> tuple[float, float]:
    return (round(height * width / grid_size**2, 4),) * 2


def of_size(grid_size: int, height: int, width: int) -> dict[str, tuple[float, float]]:
    """The arguments that ask for targets of height x width, and no other size."""
    return {
        "target_scale": fixed_scale(grid_size, height, width),
        "target_aspect_ratio": (round(height / width, 4),) * 2,
    }


def one_target(grid_size: int, side: int, target: tuple[int, int]) -> dict[str, Any]:
    """The arguments that ask for one target of this size, and for a context block of side x side."""
    return {"num_targets": 1, "context_scale": fixed_scale(grid_size, side, side), **of_size(grid_size, *target)}


def target_sizes(targets: Tensor, grid_size: int) -> set[tuple[int, ...]]:
    """Height and width of all targets [B, M, Nt] of a batch."""
    return set(zip(*(side.tolist() for side in spans(as_blocks(targets, grid_size).flatten(0, 1))), strict=True))


def may_be_rounded(
    size: tuple[int, ...], grid_size: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> bool:
    """Whether these scales and aspect ratios can give this size: the sides before rounding were within .5 of it."""
    height, width = size
    areas = (height - 0.5) * (width - 0.5), (height + 0.5) * (width + 0.5)
    ratios = (height - 0.5) / (width + 0.5), (height + 0.5) / (width - 0.5)
    fits_scale = areas[0] <= scale[1] * grid_size**2 and areas[1] >= scale[0] * grid_size**2
    return fits_scale and ratios[0] <= ratio[1] and ratios[1] >= ratio[0]


def targets_are_whole(got: Draws, grid_size: int, height: int, width: int) -> bool:
    if any(targets.shape[2] != height * width for _, targets in got):
        return False
    stacked = torch.stack([targets for _, targets in got])  # [count, B, M, Nt]
    return bool(whole(as_blocks(stacked, grid_size).flatten(0, 2), height, width).all())


def context_sides(got: Draws, grid_size: int) -> set[int]:
    """Rows and columns that the contexts take up."""
    cells = all_blocks([context for context, _ in got], grid_size)
    return set(torch.cat(spans(cells.flatten(0, 1))).tolist())


def context_corners(got: Draws, grid_size: int, side: int) -> Tensor:
    """The patch index [count, B] of the top left corner of each context that takes up side x side, else -1."""
    cells = all_blocks([context for context, _ in got], grid_size)
    rows, columns = cells.any(dim=3).long(), cells.any(dim=2).long()
    top, left = rows.argmax(dim=2), columns.argmax(dim=2)  # the first ones
    full = torch.stack(spans(cells.flatten(0, 1))).eq(side).all(dim=0).view_as(top)
    return (top * grid_size + left).masked_fill(~full, -1)


def overlap_by_target(got: Draws, grid_size: int) -> Tensor:
    """How many patches of the 1st, 2nd, ... target of an image are in its context: [M]."""
    shared = [as_blocks(context, grid_size)[:, None] & as_blocks(targets, grid_size) for context, targets in got]
    return torch.stack([cells.sum(dim=(0, 2, 3)) for cells in shared]).sum(dim=0)


def count_visible(got: Draws, grid_size: int) -> Tensor:
    """How many patches are no target of their image, and are seen; are targets of others alone, and are seen: [4]."""
    counts = torch.zeros(4, dtype=torch.long)
    for context, targets in got:
        visible, own = as_blocks(context, grid_size), as_blocks(targets, grid_size).any(dim=1)
        others = own.any(dim=0) & ~own
        counts += torch.stack([cells.sum() for cells in (~own, visible & ~own, others, visible & others)])
    return counts


def fewest_visible(got: Draws, grid_size: int) -> list[int]:
    """The smallest count, in each batch, of an image's patches that are in none of its own targets."""
    own = [as_blocks(targets, grid_size).any(dim=1).flatten(1) for _, targets in got]
    return [int((~cells).sum(dim=1).min()) for cells in own]


@dataclass
class Cuts:
    """Patches of the context blocks that were left out, to bring all contexts of a batch to one length."""

    left_out: Tensor  # how many, by part of the image from the top
    expected: Tensor  # how many if they are chosen at random
    kept: int = 0
    keeps_first: bool = True  # of the patches in raster order
    keeps_last: bool = True
    cuts_shortest: bool = False  # which has the right length


def count_cuts(got: Draws, grid_size: int, parts: int) -> Cuts:
    """The cuts of contexts whose block is the whole grid."""
    cuts = Cuts(torch.zeros(parts), torch.zeros(parts))
    for context, targets in got:
        length = context.shape[1]
        visible = ~as_blocks(targets, grid_size).any(dim=1).flatten(1)
        kept = as_blocks(context, grid_size).flatten(1) & visible
        dropped = visible & ~kept
        cuts.kept += int(kept.sum())
        count = visible.sum(dim=1, keepdim=True)
        rank = visible.cumsum(dim=1) - 1
        cuts.keeps_first &= bool((rank[dropped] >= length).all())
        cuts.keeps_last &= bool((rank[dropped] < (count - length).expand_as(rank)[dropped]).all())
        cuts.cuts_shortest |= bool(dropped[count[:, 0] == count.min()].any())
        part = rank * parts // count
        share = (dropped.sum(dim=1, keepdim=True) / count).expand_as(rank)
        cuts.left_out += torch.bincount(part[dropped], minlength=parts)
        cuts.expected += torch.bincount(part[visible], share[visible], minlength=parts)
    return cuts


def are_random(cuts: Cuts) -> bool:
    total = cuts.left_out.sum()
    return bool(cuts.kept >= total and (total == 0 or fits(cuts.left_out, cuts.expected)))


def cut_flaw(cuts: Cuts) -> str:
    """Why the cuts are not random."""
    if cuts.kept < cuts.left_out.sum():
        return "Too little is left to tell: context_scale is (1, 1) here, and only few patches of it must go."
    if cuts.keeps_first:
        return "The first patches in raster order are kept: the top rows are seen too often, the bottom ones seldom."
    if cuts.keeps_last:
        return "The last patches in raster order are kept: the bottom rows are seen too often, the top ones seldom."
    if cuts.cuts_shortest:
        return "context_scale is (1, 1) here: the context is all of the grid but its own targets, before it is cut."
    return "The subset is not random."
