"""Lesson 3, for who wants more: the contexts of a batch without a loop."""

from typing import Any

import torch
from torch import Tensor

from checks.calls.masking import twice
from checks.expected.masking_blocks import expect_from_generator_alone, fits, new_seed
from checks.stretch.counting import counted
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import expect_that, kind, shape


def contexts(lesson, blocks, targets, grid_size, seed, count):
    """sample_contexts(blocks {blocks}, targets {targets}, {grid_size}, generator), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [lesson.sample_contexts(blocks, targets, grid_size, generator) for _ in range(count)]


def contexts_twice(lesson, blocks, targets, grid_size, seed):
    """sample_contexts(blocks {blocks}, targets {targets}, {grid_size}, generator), with two generators of one seed"""
    return twice(lambda generator: lesson.sample_contexts(blocks, targets, grid_size, generator), seed)


def operations(lesson, blocks, targets, grid_size, seed):
    """sample_contexts(blocks {blocks}, targets {targets}, {grid_size}, generator)"""
    generator = torch.Generator().manual_seed(seed)
    return counted(lambda: lesson.sample_contexts(blocks, targets, grid_size, generator))


def placed(batch_size: int, grid_size: int, side: int) -> Tensor:
    """A square block of each image, at random: long [batch_size, side * side]."""
    corners = torch.randint(grid_size - side + 1, (2, batch_size, 1, 1))
    rows, columns = corners[0] + torch.arange(side)[:, None], corners[1] + torch.arange(side)
    return (rows * grid_size + columns).flatten(1)


def scene(
    batch_size: int, grid_size: int, block_side: int, num_targets: int, target_side: int
) -> tuple[Tensor, Tensor]:
    """Context blocks [B, K] and targets [B, M, Nt] that leave each image a patch or more, and not all as many."""
    while True:
        blocks = placed(batch_size, grid_size, block_side)
        targets = torch.stack([placed(batch_size, grid_size, target_side) for _ in range(num_targets)], dim=1)
        lengths = {len(rest) for rest in remaining(blocks, targets)}
        if min(lengths) > 0 and (len(lengths) > 1 or batch_size == 1):
            return blocks, targets


def remaining(blocks: Tensor, targets: Tensor) -> list[set[int]]:
    """What each image's targets leave of its block."""
    pairs = zip(blocks.tolist(), targets.flatten(1).tolist(), strict=True)
    return [set(block) - set(hidden) for block, hidden in pairs]


def expect_contexts(got: Any, blocks: Tensor, targets: Tensor, called: str) -> None:
    """Rows of distinct patches that the block has and the targets leave, as many as the shortest has."""
    rest = remaining(blocks, targets)
    shortest, longest = min(map(len, rest)), max(map(len, rest))
    is_table = isinstance(got, Tensor) and got.dtype == torch.long and got.shape[:-1] == blocks.shape[:1]
    likely = "Give back patch indices: not True and False for each patch, and not the keys."
    expect_that(
        is_table,
        called=called,
        expected=f"long [{len(blocks)}, {shortest}]",
        got=f"{shape(got)} of dtype {got.dtype}" if isinstance(got, Tensor) else kind(got),
        likely="Is the `return` missing?" if got is None else likely,
    )
    rows = [set(row) for row in got.tolist()]
    pairs = list(zip(rows, rest, strict=True))
    everything = set(targets.flatten().tolist())
    likely = "All rows have as many patches as the shortest context of the batch, none more and none less."
    flaw = f"{got.shape[1]} patches a row" * (got.shape[1] != shortest)
    if got.shape[1] == longest < blocks.shape[1] and all(row >= own for row, own in pairs):
        likely = "The longest context decides here. The shortest must: it has no patches to spare."
    elif any(row - set(block) for row, block in zip(rows, blocks.tolist(), strict=True)):
        flaw = "patches that the image's block doesn't have"
        likely = "A context lies in its own image's block: can a patch that isn't visible be among the chosen ones?"
    elif any(row - own for row, own in pairs):
        flaw = "patches that the image's targets cover"
        likely = "The context overlaps the targets of its own image: take all of them out of the block."
    elif any(len(row) < got.shape[1] for row in rows):
        flaw, likely = "a patch twice in a row", "Draw without putting back: each patch once."
    elif got.shape[1] == min(len(set(block) - everything) for block in blocks.tolist()):
        likely = "The targets of other images are taken out as well: each context gives up its own image's alone."
    expected = f"for each image {shortest} patches of its block that its targets leave, as many as the shortest has"
    expect_that(not flaw, called=called, expected=expected, got=flaw, likely=likely)


@exercise("sample_contexts")
def test_sample_contexts_holds_what_the_targets_leave(learner):
    """Each context lies in its block and outside of its targets, no patch twice, as many as the shortest has."""
    grid_size = drawn((8, 12))[0]
    for sizes in ((3, 7, 5, 2, 3), (1, 6, 4, 1, 2), (5, grid_size, grid_size - 1, 3, grid_size // 3)):
        blocks, targets = scene(*sizes)
        got = learner(contexts, blocks, targets, sizes[1], new_seed(), 1)[0]
        expect_contexts(got, blocks, targets, learner.called)


@exercise("sample_contexts")
def test_sample_contexts_cuts_at_random(learner):
    """Where patches are left over, every subset is equally likely, each image has its own, and all from generator."""
    # two images that keep 6 of the same 16 patches, and one that has 6
    wide, narrow = torch.arange(36).reshape(6, 6)[:4, :4].flatten(), torch.tensor([0, 1, 2, 3, 4, 5, *range(26, 36)])
    blocks, targets, draws = torch.stack([wide, wide, narrow]), torch.arange(26, 36).expand(3, 1, 10), 200
    got = learner(contexts, blocks, targets, 6, new_seed(), draws)
    for one in got:
        expect_contexts(one, blocks, targets, learner.called)
    called = learner.called
    expect_from_generator_alone(learner(contexts_twice, blocks, targets, 6, new_seed()), learner.called)
    kept = torch.stack(got)[:, :2].sort(dim=2).values  # [draws, 2, 6]
    counts = torch.bincount(kept.flatten(), minlength=36)[wide]
    distinct = len(kept.flatten(0, 1).unique(dim=0))
    likely = "Random keys for all patches, hidden ones below all others: the k largest are a random subset."
    if counts[:6].min() == 2 * draws:
        likely = "The first patches in raster order are kept: shuffle before the cut, not after it."
    expect_that(
        fits(counts) and distinct > draws / 2,
        called=called,
        expected=f"each of the 16 patches about {2 * draws * 6 // 16} times, in ever new subsets",
        got=f"{counts.tolist()} times, in {distinct} different subsets",
        likely=likely,
    )
    expect_that(
        not torch.equal(kept[:, 0], kept[:, 1]),
        called=called,
        expected="two images with equal blocks that keep different patches",
        got="the same ones in each call",
        likely="One draw decides for all images: each row needs random numbers of its own.",
    )


@exercise("sample_contexts")
def test_sample_contexts_has_no_loop(learner):
    """A batch of 40 images takes as many operations of torch as one of 4."""
    counts = []
    for batch_size in (4, 40):
        blocks, targets = scene(batch_size, 9, 8, 1, 4)
        count, got = learner(operations, blocks, targets, 9, new_seed())
        expect_contexts(got, blocks, targets, learner.called)
        counts.append(count)
    expect_that(
        counts[0] == counts[1],
        called=f"{learner.called}, and for 4 images",
        expected=f"{counts[0]} operations of torch for either",
        got=f"{counts[0]} for 4 images, {counts[1]} for 40",
        likely="There is a loop over the images: let each operation work on all rows, along dim=1.",
    )
