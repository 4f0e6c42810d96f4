"""Lesson 3: masks."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from checks.tool.exercise import exercise
from checks.tool.expect import describe, expect_equal, expect_that, find_difference, shape

# A test of chance rejects a right answer this often (as chi-square reckons; the truth is within a factor of ten at
# 30 draws a cell), so that all those of this file together raise a false alarm in fewer than one of 10^7 runs.
FALSE_ALARM = 1e-9
UNDRAWN = "nothing is drawn, or the generator is seeded anew or copied inside."


def block_size(lesson, grid_size, scale, aspect_ratio, seed):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator)"""
    return block_sizes(lesson, grid_size, scale, aspect_ratio, seed, 1)[0]


def block_sizes(lesson, grid_size, scale, aspect_ratio, seed, count):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [a_size(lesson, grid_size, scale, aspect_ratio, generator) for _ in range(count)]


def block_sizes_twice(lesson, grid_size, scale, aspect_ratio, seed):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator), with two generators of one seed"""
    return twice(lambda generator: a_size(lesson, grid_size, scale, aspect_ratio, generator), seed)


def a_size(lesson, grid_size, scale, aspect_ratio, generator):
    return unnamed(lesson.sample_block_size(grid_size, scale, aspect_ratio, generator))


def blocks(lesson, grid_size, block_size, seed, count):
    """sample_block({grid_size}, {block_size}, generator), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [lesson.sample_block(grid_size, block_size, generator) for _ in range(count)]


def blocks_twice(lesson, grid_size, block_size, seed):
    """sample_block({grid_size}, {block_size}, generator), with two generators of one seed"""
    return twice(lambda generator: lesson.sample_block(grid_size, block_size, generator), seed, 5)


def masks(lesson, batch_size, grid_size, options, seed, count):
    """sample_masks({batch_size}, {grid_size}, generator, **{options}), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [unnamed(lesson.sample_masks(batch_size, grid_size, generator, **options)) for _ in range(count)]


def masks_twice(lesson, batch_size, grid_size, seed):
    """sample_masks({batch_size}, {grid_size}, generator), with two generators of one seed"""
    return twice(lambda generator: unnamed(lesson.sample_masks(batch_size, grid_size, generator)), seed)


def mask_fields(lesson, batch_size, grid_size, seed):
    """sample_masks({batch_size}, {grid_size}, generator)"""
    drawn = lesson.sample_masks(batch_size, grid_size, torch.Generator().manual_seed(seed))
    return [str(name) for name in getattr(drawn, "_fields", ())] or type(drawn).__name__


def unnamed(value):
    return tuple(value) if isinstance(value, tuple | list) else value


def twice(draw: Callable, seed: int, count: int = 3) -> dict[str, Any]:
    """Some draws from each of two equal generators, and whether torch's global random numbers were left alone.

    So many that a right answer's are all alike with a chance of less than 1e-9.
    """
    before = torch.get_rng_state()
    first, again = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    return {
        "first": [draw(first) for _ in range(count)],
        "again": [draw(again) for _ in range(count)],
        "global left alone": torch.equal(before, torch.get_rng_state()),
    }


def new_seed() -> int:
    return int(torch.randint(2**31, ()))


def expect_from_generator_alone(got: dict[str, Any], called: str) -> None:
    expect_that(
        got["global left alone"],
        called=called,
        expected="torch's global random numbers are left alone",
        got="they are used up or seeded anew",
        likely="Random numbers come from torch's global generator: pass generator=generator to every torch.rand, "
        "torch.randint and torch.randperm.",
    )
    likely = "Equal generators must give equal results: every random number comes from generator, none from elsewhere."
    expect_equal(got["again"], got["first"], called=called, likely=likely)
    first, *others = got["first"]
    likely = f"Each call gives the same: {UNDRAWN}"
    expect_that(
        any(find_difference(other, first, 0, 0) for other in others),
        called=called,
        expected="results that differ from call to call",
        got=f"each time {describe(first)}",
        likely="Nothing comes back: is the `return` missing?" if first is None else likely,
    )


def fits(counts: Tensor, expected: Tensor | None = None) -> bool:
    """Whether the counts look like draws with these expectations, or, without any, with equal ones (chi-square)."""
    counts = counts.double()
    expected = counts.mean().expand_as(counts) if expected is None else expected.double()
    statistic = ((counts - expected) ** 2 / expected).nan_to_num().sum()  # 0 / 0 where nothing can come
    freedom = torch.tensor((counts.numel() - 1) / 2, dtype=torch.float64)
    return bool(torch.special.gammaincc(freedom, statistic / 2) > FALSE_ALARM)


def sides(grid_size: int, scale: float, ratio: float) -> tuple[float, float]:
    """Height and width before they are rounded and clamped."""
    area = scale * grid_size**2
    return math.sqrt(area * ratio), math.sqrt(area / ratio)


def clamped(grid_size: int, height: float, width: float) -> tuple[int, ...]:
    return tuple(min(max(round(side), 1), grid_size) for side in (height, width))


def size_mistakes(grid_size: int, scale: float, ratio: float) -> dict[str, tuple[int, ...]]:
    """What each mistake makes of the size, by its sentence."""
    area, root = scale * grid_size**2, math.sqrt(ratio)
    side, (height, width) = math.sqrt(area), sides(grid_size, scale, ratio)
    both = "height = sqrt(area * ratio), width = sqrt(area / ratio)."
    alone = "before the square root: round height and width alone."
    wrong = {
        "Height and width are swapped: aspect_ratio is height / width.": (width, height),
        "The sides are rounded down: round them to the nearest.": (int(height), int(width)),
        "The sides are rounded up: round them to the nearest.": (math.ceil(height), math.ceil(width)),
        "scale is read as a side: it is a fraction of the area, scale * G * G.": (
            scale * grid_size * root,
            scale * grid_size / root,
        ),
        "scale is read as the height: it is a fraction of the area, scale * G * G.": (
            scale * grid_size,
            scale * grid_size / ratio,
        ),
        "scale is read as the width: it is a fraction of the area, scale * G * G.": (
            scale * grid_size * ratio,
            scale * grid_size,
        ),
        "The area is scale * G * G, not scale * G.": (side * root / grid_size**0.5, side / root / grid_size**0.5),
        f"The ratio stands outside of the square root: {both}": (side * ratio, side / ratio),
        f"The ratio changes the height alone, and with it the area: {both}": (side * ratio, side),
        f"The ratio changes the width alone, and with it the area: {both}": (side, side / ratio),
        "The aspect ratio is left out: the block is a square.": (side, side),
        f"The square root is missing: {both}": (area * ratio, area / ratio),
        f"The area is rounded down {alone}": sides(1, int(area), ratio),
        f"The area is rounded {alone}": sides(1, round(area), ratio),
        f"The width comes from the rounded height: {both}": (round(height), area / max(round(height), 1)),
        f"The width is the rounded height / ratio: {both}": (round(height), round(height) / ratio),
        f"The height is the rounded width * ratio: {both}": (round(width) * ratio, round(width)),
    }
    return {sentence: clamped(grid_size, *size) for sentence, size in wrong.items()}


@exercise("sample_block_size", points=2)
def test_sample_block_size_follows_area_and_ratio(learner):
    """height * width is about scale * G * G and height / width about aspect_ratio, both rounded to the nearest int."""
    # grid, scale, ratio; each of size_mistakes shows in two of the first ones at least
    cases = [
        (3, 0.3, 1.0),
        (3, 0.27, 1.0),
        (14, 0.18, 1.0),
        (6, 0.1, 0.5),
        (6, 0.3, 0.6),
        (8, 0.1, 0.5),
        (6, 0.15, 0.8),
    ]
    while len(cases) < 16:
        grid_size = int(torch.randint(6, 25, ()))
        scale, ratio = round(float(0.1 + 0.4 * torch.rand(())), 3), round(float(0.5 + 1.5 * torch.rand(())), 3)
        size = sides(grid_size, scale, ratio)
        # no sides so near a half or a whole number that an error of float32 would change the size
        if max(size) < grid_size and all(0.02 < abs(side % 1 - 0.5) < 0.48 for side in size):
            cases.append((grid_size, scale, ratio))
    likely = (
        "scale is low + (high - low) * u, of which low is left here; then area = scale * G * G, height = sqrt(area * "
        "ratio), width = sqrt(area / ratio), each rounded."
    )
    expect_sizes(learner, cases, size_mistakes, likely)


@exercise("sample_block_size")
def test_sample_block_size_stays_in_the_grid(learner):
    """A side is at least 1 and at most grid_size, and may be either."""
    cases = [(7, 0.9, 3.0), (7, 0.9, 0.3), (5, 0.005, 1.0), (10, 0.01, 8.0), (8, 1.0, 1.0)]
    expect_sizes(learner, cases, clamp_mistakes, "After rounding, clamp: min(max(side, 1), grid_size).")


def clamp_mistakes(grid_size: int, scale: float, ratio: float) -> dict[str, tuple[int, ...]]:
    size = tuple(round(side) for side in sides(grid_size, scale, ratio))
    return {
        "The size is not clamped: a side must be from 1 to grid_size.": size,
        "A side may not be 0: the smallest is 1.": tuple(min(side, grid_size) for side in size),
        "A side may not be larger than the grid.": tuple(max(side, 1) for side in size),
        "A side may be as large as grid_size, so that a block may fill the grid.": tuple(
            min(max(side, 1), grid_size - 1) for side in size
        ),
        **size_mistakes(grid_size, scale, ratio),
    }


def expect_sizes(learner, cases: list[tuple[int, float, float]], mistakes_of: Callable, likely: str) -> None:
    """Each size of (grid, scale, ratio) must be exact. A mistake is named if it explains every size."""
    got = [
        learner(block_size, grid_size, (scale, scale), (ratio, ratio), new_seed()) for grid_size, scale, ratio in cases
    ]
    wrong = [mistakes_of(*case) for case in cases]
    named = [name for name in wrong[0] if [mistakes[name] for mistakes in wrong] == got]
    if not all(isinstance(size, tuple) and [type(side) for side in size] == [int, int] for size in got):
        likely = "Give back a tuple of two ints, (height, width): `int(...)` makes one of a tensor or a float."
    for (grid_size, scale, ratio), size, mistakes in zip(cases, got, wrong, strict=True):
        expect_equal(
            size,
            clamped(grid_size, *sides(grid_size, scale, ratio)),
            called=f"sample_block_size({grid_size}, ({scale}, {scale}), ({ratio}, {ratio}), generator)",
            mistakes={name: mistakes[name] for name in named},
            likely=likely,
        )


@exercise("sample_block_size")
def test_sample_block_size_draws_uniformly(learner):
    """The fraction of the area and height / width are uniform between low and high."""
    square = torch.sqrt, "Here the side is uniform: draw the area, and take the square root of it."
    log = torch.log, "Here the logarithm is uniform: draw the number itself."
    inverse = torch.reciprocal, "Here width / height is uniform: aspect_ratio is height / width."
    for name, scale, ratio, shapes in [
        ("scale", (0.02, 0.8), (1.0, 1.0), [square, log]),
        ("aspect_ratio", (0.1, 0.1), (0.2, 5.0), [log, inverse, square]),
    ]:
        low, high = scale if name == "scale" else ratio
        got = learner(block_sizes, 1000, scale, ratio, new_seed(), 600)
        height, width = as_sizes(got, learner.called).double().unbind(1)
        values = height * width / 1000**2 if name == "scale" else height / width

        def tenths(values: Tensor, low: float, high: float) -> Tensor:
            return torch.histc(((values - low) / (high - low)).clamp(0, 1), 10, 0, 1)

        likely = "Draw low + (high - low) * torch.rand(..., generator=generator)."
        if (values == values[0]).all():
            likely = f"Every call gives the same {name}: no number is drawn, or the generator is seeded anew inside."
        elif values.min() < 0.9 * low or values.max() > 1.1 * high or values.max() < low + 0.9 * (high - low):
            likely = f"The drawn {name} doesn't run from low = {low} to high = {high}: low + (high - low) * rand does."
        else:
            for change, sentence in shapes:
                ends = sorted(float(change(torch.tensor(end, dtype=torch.float64))) for end in (low, high))
                likely = sentence if fits(tenths(change(values), *ends)) else likely
        counts = tenths(values, low, high)
        expect_that(
            bool((values > 0.95 * low).all() and (values < 1.05 * high).all()) and fits(counts),
            called=learner.called,
            expected=f"{name} uniform from {low} to {high}: about 60 in each tenth of the range",
            got=f"from {values.min():.3g} to {values.max():.3g}; in the tenths {[int(count) for count in counts]}",
            likely=likely,
        )


@exercise("sample_block_size")
def test_sample_block_size_draws_two_numbers(learner):
    """Scale and ratio are independent: knowing one tells nothing about the other."""
    scale, ratio = (0.02, 0.42), (0.5, 2.0)
    got = learner(block_sizes, 1000, scale, ratio, new_seed(), 600)
    height, width = as_sizes(got, learner.called).double().unbind(1)
    parts = [
        ((values - low) / (high - low) * 4).long().clamp(0, 3)
        for values, (low, high) in ((height * width / 1000**2, scale), (height / width, ratio))
    ]
    table = torch.bincount(parts[0] * 4 + parts[1], minlength=16).reshape(4, 4)
    expected = table.sum(dim=1, keepdim=True) * table.sum(dim=0) / table.sum()
    likely = "The area depends on the ratio: height = sqrt(area * ratio), width = sqrt(area / ratio)."
    if (table == 0).sum() >= 8:
        likely = "One random number drives scale and ratio: draw a second one."
    # what hardly changes tells nothing about the other
    varied = [bool((table.sum(dim=axis) > 0).sum() > 1) for axis in (0, 1)]
    if not all(varied):
        likely = "Scale, ratio or both hardly differ from call to call: draw each of them anew, from low to high."
    expect_that(
        all(varied) and fits(table, expected),
        called=learner.called,
        expected="in each quarter of the ratios the same mixture of scales",
        got=f"by quarters of the scales (rows) and of the ratios (columns) {table.tolist()} draws",
        likely=likely,
    )


@exercise("sample_block_size")
def test_sample_block_size_uses_the_generator_alone(learner):
    """Equal generators give equal sizes, and no other random numbers are touched."""
    got = learner(block_sizes_twice, 1000, (0.1, 0.4), (0.5, 2.0), new_seed())
    expect_from_generator_alone(got, learner.called)


def as_sizes(got: list, called: str) -> Tensor:
    """The sizes as [count, 2], once each is known to be a pair of numbers."""
    numbers = (int, float, Tensor)
    for size in got:
        expect_that(
            isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, numbers) for side in size),
            called=called,
            expected="a pair (height, width) of ints",
            got=type(size).__name__ if not isinstance(size, tuple) else f"a tuple of {len(size)} entries",
            likely="Give back a tuple of two ints, (height, width).",
        )
    return torch.tensor([[float(side) for side in size] for size in got])


@exercise("sample_block", points=2)
def test_sample_block_is_one_whole_rectangle(learner):
    """A bool [G, G] mask, True inside one whole rectangle of height x width, of any size that fits."""
    for grid_size, size in [(7, (2, 4)), (5, (4, 3)), (6, (1, 1)), (4, (4, 4)), (8, (1, 8)), (1, (1, 1))]:
        got = learner(blocks, grid_size, size, new_seed(), 12)
        expect_rectangles(got, grid_size, size, learner.called)


@exercise("sample_block")
def test_sample_block_is_equally_likely_everywhere(learner):
    """Every place where the block fits is equally likely, the borders included."""
    grid_size, height, width = 6, 3, 1
    got = learner(blocks, grid_size, (height, width), new_seed(), 720)
    corner = expect_rectangles(got, grid_size, (height, width), learner.called).flatten(1).long().argmax(dim=1)
    expect_uniform_places(corner, grid_size, height, width, learner.called)


@exercise("sample_block")
def test_sample_block_uses_the_generator_alone(learner):
    """Equal generators give equal blocks, and no other random numbers are touched."""
    got = learner(blocks_twice, 20, (2, 3), new_seed())
    expect_from_generator_alone(got, learner.called)


def expect_rectangles(got: list, grid_size: int, size: tuple[int, int], called: str) -> Tensor:
    """The masks as bool [count, G, G], once each is known to be a whole rectangle."""
    for block in got:
        if not isinstance(block, Tensor):
            flaw = "Give back the mask itself: start from torch.zeros(G, G, dtype=torch.bool), set the block to True."
        elif block.shape != (grid_size, grid_size):
            flaw = "The mask has one entry for each patch of the grid, [G, G]: no flat list and no list of indices."
        elif block.dtype != torch.bool:
            flaw = "The mask is made of bools: dtype=torch.bool."
        else:
            continue
        expected = f"bool [{grid_size}, {grid_size}], True in the block"
        expect_that(False, called=called, expected=expected, got=picture(block), likely=flaw)
    masks = torch.stack(list(got))
    wrong = masks[~whole(masks, *size)][:20]
    if len(wrong):
        flaws = [rectangle_flaw(block, *size) for block in wrong]
        # of two blocks, one may be turned or empty by chance: the name of these must fit all
        kinds = [flaw for flaw in flaws if not flaw.startswith(FITS_ALL)] or flaws
        likely = max(kinds, key=lambda flaw: sum(other[:16] == flaw[:16] for other in kinds))
        expect_that(
            False,
            called=called,
            expected=f"True in one whole rectangle of {size[0]} x {size[1]} in a grid of {grid_size} x {grid_size}",
            got=picture(wrong[flaws.index(likely)]),
            likely=likely,
        )
    return masks


def whole(masks: Tensor, height: int, width: int) -> Tensor:
    """Which of the masks [count, G, G] are one whole height x width rectangle: bool [count]."""
    rows, columns = spans(masks)
    return (rows == height) & (columns == width) & (masks.sum(dim=(1, 2)) == height * width)


def spans(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Rows from the first to the last with a True, and columns: bool [count, G, G] -> two [count]."""
    rows, columns = masks.any(dim=2).long(), masks.any(dim=1).long()
    return tuple(side.shape[1] - side.argmax(dim=1) - side.flip(1).argmax(dim=1) for side in (rows, columns))


def picture(block: Any) -> str:
    """A mask in words, and, if it is small, row by row."""
    if not isinstance(block, Tensor):
        return "None" if block is None else f"a {type(block).__name__}"
    text = f"{str(block.dtype).removeprefix('torch.')} {shape(block)}"
    if block.dtype == torch.bool and block.ndim == 2:
        text += ": " + " ".join("".join(".#"[cell] for cell in row) for row in block.tolist())
    return text


FITS_ALL = ("Height and width are swapped", "Nothing is True")


def rectangle_flaw(cells: Tensor, height: int, width: int) -> str:
    """Why the True cells of a bool [G, G] are not one whole height x width rectangle."""
    box = tuple(int(side) for side in spans(cells[None]))
    rows, columns, count = int(cells.any(dim=1).sum()), int(cells.any(dim=0).sum()), int(cells.sum())
    if count == 0:
        return "Nothing is True: has the block been set, and inside the grid?"
    if count == height * width and box == (width, height):
        return "Height and width are swapped: a block size is (height, width), and rows come first."
    if count == box[0] * box[1]:
        return (
            f"The rectangle is {box[0]} x {box[1]}, not {height} x {width}: its size is not the one asked for, an end "
            "is wrong (rows top : top + height, columns left : left + width), or the border cuts it off."
        )
    if count == cells.numel() - height * width:
        return "The mask is the wrong way round: True belongs inside the block, False outside."
    if count == height * width and (rows, columns) == (height, width):
        return "The block wraps around the border: draw its top left corner where the whole block fits."
    if count == height * width:
        return "These are scattered patches: a block is one whole rectangle."
    return "Patches are missing or too many: a block is one whole rectangle, no subset of it."


def expect_uniform_places(corner: Tensor, grid_size: int, height: int, width: int, called: str) -> None:
    """corner: the patch index [count] of the top left patch of each whole block."""
    rows, columns = grid_size - height + 1, grid_size - width + 1
    top, left = corner // grid_size, corner % grid_size
    table = torch.bincount(top * columns + left, minlength=rows * columns).reshape(rows, columns)
    by_row, by_column = table.sum(dim=1), table.sum(dim=0)
    fair = len(corner) / (rows * columns)
    corners = float(table[[0, 0, -1, -1], [0, -1, 0, -1]].sum()) / 4
    if (table > 0).sum() == 1:
        likely = f"Every block is at the same place: {UNDRAWN}"
    elif by_row[-1] == 0 or by_column[-1] == 0:
        likely = "A block never reaches the last row or column: torch.randint leaves out its upper end, so draw from "
        likely += "G - height + 1 tops and G - width + 1 lefts."
    elif by_row[0] == 0 or by_column[0] == 0:
        likely = "A block never reaches the first row or column: places are counted from 0."
    elif (table > 0).sum() < rows + columns:
        likely = "One random number places row and column: draw a second one."
    elif corners > 1.3 * fair:
        likely = "The borders are too likely: don't push blocks back into the grid, draw from the places that fit."
    elif corners < 0.7 * fair:
        likely = "The borders are too unlikely: round(rand * k) gives both ends half a share, torch.randint doesn't."
    else:
        likely = "Draw top from 0 .. G - height and left from 0 .. G - width, each equally likely."
    expect_that(
        fits(table),
        called=called,
        expected=f"each of the {rows} x {columns} places of a {height} x {width} block about {fair:.0f} times",
        got=f"by the block's top row {by_row.tolist()}, by its left column {by_column.tolist()}",
        likely=likely,
    )


def expect_varied(corner: Tensor, axis: int, got: str, likely: str, called: str) -> None:
    """The places must differ somewhere along this axis."""
    expect_that(
        not (corner == corner.narrow(axis, 0, 1)).all(),
        called=called,
        expected="places that differ",
        got=got,
        likely=likely,
    )


def draw(learner, batch_size: int, grid_size: int, count: int, **options) -> list[tuple[Tensor, Tensor]]:
    """(context, targets) of count batches, once they are known to be distinct indices of the right shape."""
    num_targets = options.get("num_targets", 4)
    got = learner(masks, batch_size, grid_size, options, new_seed(), count)
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


@exercise("sample_masks")
def test_sample_masks_gives_named_index_tensors(learner):
    """The result is a Masks with .context, long [B, Nc], and .targets, long [B, M, Nt]; no index twice in a row."""
    for batch_size, num_targets in ((3, 2), (1, 4), (2, 1), (1, 1)):
        for pair in draw(learner, batch_size, 10, 2, num_targets=num_targets):
            expect_that(
                min(entry.shape[-1] for entry in pair) > 1,
                called=learner.called,
                expected="rows of several indices",
                got=f"context {shape(pair[0])}, targets {shape(pair[1])}",
                likely="A row holds one index alone, so that nothing could stand in it twice: a target of the default "
                "scale has 15 patches or more here, and a context 11 or more.",
            )
    got = learner(mask_fields, 2, 10, new_seed())
    likely = "Give back Masks(context, targets), the NamedTuple given above, not a plain tuple or a dict."
    expect_equal(got, ["context", "targets"], called=learner.called, likely=likely)


@exercise("sample_masks", points=2)
def test_sample_masks_targets_are_whole_blocks(learner):
    """Every target is a whole block of the scale and aspect ratio asked for."""
    for grid_size, height, width, num_targets in ((9, 2, 8, 3), (7, 4, 2, 2), (10, 1, 1, 1)):
        sizes = of_size(grid_size, height, width)
        for _, targets in draw(learner, 3, grid_size, 3, num_targets=num_targets, **sizes):
            cells = as_blocks(targets, grid_size).flatten(0, 1)
            expect_rectangles(list(cells), grid_size, (height, width), learner.called)


@exercise("sample_masks")
def test_sample_masks_draws_one_size_a_batch(learner):
    """All targets of a batch have one height and width, drawn anew for each batch, from the default ranges."""
    seen = set()
    for _, targets in draw(learner, 3, 14, 20):
        sizes = set(zip(*(side.tolist() for side in spans(as_blocks(targets, 14).flatten(0, 1))), strict=True))
        expect_that(
            len(sizes) == 1,
            called=learner.called,
            expected="one height and width for all targets of a batch",
            got=", ".join(f"{height} x {width}" for height, width in sorted(sizes)),
            likely="Call sample_block_size for the targets once a batch, not once a target or image; no block is cut.",
        )
        seen |= sizes
    for height, width in seen:
        # what rounding to height and width leaves open: the sides before it were within .5 of them
        area = (height - 0.5) * (width - 0.5), (height + 0.5) * (width + 0.5)
        ratio = (height - 0.5) / (width + 0.5), (height + 0.5) / (width - 0.5)
        expect_that(
            area[0] <= 0.2 * 196 and area[1] >= 0.15 * 196 and ratio[0] <= 1.5 and ratio[1] >= 0.75,
            called=learner.called,
            expected="targets of .15 to .2 of the 196 patches, height / width from .75 to 1.5",
            got=f"{height} x {width}, {height * width} patches",
            likely="The defaults are target_scale=(.15, .2), target_aspect_ratio=(.75, 1.5): are they the ones used?",
        )
    expect_that(
        len(seen) > 1,
        called=learner.called,
        expected="sizes that differ from batch to batch",
        got=f"always {' x '.join(str(side) for side in min(seen))}",
        likely="The size is fixed, or the generator seeded anew: draw it with sample_block_size in each call.",
    )


@exercise("sample_masks")
def test_sample_masks_places_targets_uniformly(learner):
    """Each target of each image has a place of its own, every place equally likely."""
    grid_size, height, width = 8, 3, 4
    got = draw(learner, 16, grid_size, 25, num_targets=2, context_scale=(1.0, 1.0), **of_size(grid_size, height, width))
    corner = torch.stack([targets.amin(dim=2) for _, targets in got])  # [25, 16, 2]
    for axis, shared, likely in (
        (0, "each call", f"Each call gives the same places: {UNDRAWN}"),
        (1, "all images of a batch", "The places are drawn once for the whole batch: draw them for each image."),
        (2, "all targets of an image", "All targets of an image share one place: draw one for each target."),
    ):
        expect_varied(corner, axis, f"the same places in {shared}", likely, learner.called)
    if any(targets.shape[2] != height * width for _, targets in got):
        return  # another size, that has other places: another check says so
    targets = torch.stack([targets for _, targets in got])  # [25, 16, 2, Nt]
    if not whole(as_blocks(targets, grid_size).flatten(0, 2), height, width).all():
        return  # no whole blocks: another check says so
    expect_uniform_places(corner.flatten(), grid_size, height, width, learner.called)


@exercise("sample_masks")
def test_sample_masks_context_lies_in_a_block(learner):
    """The context lies within a square block of context_scale, by default .85 to 1, and takes up all its sides."""
    for grid_size, scale, wanted in (
        (8, {"context_scale": fixed_scale(8, 5, 5)}, {5}),
        (12, {"context_scale": fixed_scale(12, 7, 7)}, {7}),
        (14, {}, {13, 14}),
    ):
        options = {"num_targets": 1, **scale, **of_size(grid_size, 1, 1)}
        contexts, _ = zip(*draw(learner, 2, grid_size, 8 if scale else 30, **options), strict=True)
        seen = set(torch.cat(spans(all_blocks(contexts, grid_size).flatten(0, 1))).tolist())
        likely = (
            "Draw the size of the context block with sample_block_size, context_scale (by default .85 to 1) and the "
            "aspect ratio (1, 1); the context is that block minus the targets, not the rest of the grid."
        )
        if max(seen) < max(wanted):
            likely = f"The context block is too small. {likely}"
        expect_that(
            max(seen) == max(wanted) and wanted <= seen,
            called=learner.called,
            expected=f"contexts of {' or '.join(str(side) for side in sorted(wanted))} rows and columns",
            got=f"contexts of {', '.join(str(side) for side in sorted(seen))} rows or columns",
            likely=likely,
        )


@exercise("sample_masks")
def test_sample_masks_places_the_context_uniformly(learner):
    """The context block of each image has a place of its own, every place equally likely."""
    grid_size, side = 8, 6
    options = {"num_targets": 1, "context_scale": fixed_scale(grid_size, side, side), **of_size(grid_size, 1, 1)}
    contexts, _ = zip(*draw(learner, 18, grid_size, 25, **options), strict=True)
    cells = all_blocks(contexts, grid_size)
    rows, columns = cells.any(dim=3).long(), cells.any(dim=2).long()
    top, left = rows.argmax(dim=2), columns.argmax(dim=2)  # the first ones
    full = torch.stack(spans(cells.flatten(0, 1))).eq(side).all(dim=0).view_as(top)
    corner = (top * grid_size + left).masked_fill(~full, -1)  # [25, 18]
    known = corner[corner >= 0]
    expect_that(
        len(known) >= 300,
        called=learner.called,
        expected=f"contexts of {side} rows and columns, as context_scale asks for: their places are counted",
        got=f"{len(known)} of {corner.numel()}",
        likely=f"Too few contexts are blocks of {side} x {side} to tell anything about their places.",
    )
    if not (known == known[0]).all():  # one fixed place is named by what follows
        likely = f"Each call gives the same place: {UNDRAWN}"
        expect_varied(corner, 0, "the same context block in each call", likely, learner.called)
        likely = "The context block is placed once for the whole batch: place it for each image."
        expect_varied(corner, 1, "the same context block in all images of a batch", likely, learner.called)
    expect_uniform_places(known, grid_size, side, side, learner.called)


@exercise("sample_masks", points=2)
def test_sample_masks_context_leaves_out_its_own_targets(learner):
    """No target of an image is in its context; targets of other images may be."""
    # patches that are no targets of their image, those of them that are targets of others; and those in the context
    free = elsewhere = free_seen = elsewhere_seen = 0
    redrawn = {"num_targets": 1, "context_scale": fixed_scale(12, 11, 11), **of_size(12, 11, 11)}
    for batch_size, grid_size, options in ((3, 14, {}), (2, 10, {"num_targets": 2}), (3, 12, redrawn)):
        overlap = 0  # patches that are in the context, by target [M]
        for context, targets in draw(learner, batch_size, grid_size, 6, **options):
            visible, hidden = as_blocks(context, grid_size), as_blocks(targets, grid_size)
            overlap = overlap + (visible[:, None] & hidden).sum(dim=(0, 2, 3))
            if options is not redrawn:
                own = hidden.any(dim=1)
                others = own.any(dim=0) & ~own
                free, elsewhere = free + int((~own).sum()), elsewhere + int(others.sum())
                free_seen += int((visible & ~own).sum())
                elsewhere_seen += int((visible & others).sum())
        likely = "The context overlaps the targets of its own image: take all of them out of the context block."
        if (overlap == 0).any():
            likely = "Only some of the targets are taken out of the context: take out all of them."
        expect_that(
            bool((overlap == 0).all()),
            called=learner.called,
            expected="a context without any patch of its own targets",
            got=f"by target {overlap.tolist()} patches that are in the context",
            likely=likely,
        )
    expect_that(
        free_seen > free / 10,
        called="sample_masks(3, 14, generator) and sample_masks(2, 10, generator, num_targets=2), 6 times each",
        expected="contexts that hold a good part of what no target covers",
        got=f"{free_seen} of {free} patches",
        likely="The contexts are so small that they tell nothing: take a block of context_scale, and then the targets "
        "out of it.",
    )
    # both shares are about equal; among hundreds of patches drawn at random, less than a third of it never comes
    expect_that(
        not elsewhere or elsewhere_seen / elsewhere > free_seen / free / 3,
        called=learner.called,
        expected=f"targets of other images in a context as often as any patch, about {free_seen / free:.0%}",
        got=f"{elsewhere_seen / max(elsewhere, 1):.0%}",
        likely="The targets of the other images are taken out as well: a context loses those of its own image only.",
    )


@exercise("sample_masks", points=2)
def test_sample_masks_cuts_contexts_at_random(learner):
    """Contexts are cut to one length by a random choice: no part of the image is left out more often."""
    grid_size, bins = 10, 8
    got = draw(learner, 16, grid_size, 10, num_targets=2, context_scale=(1.0, 1.0), **of_size(grid_size, 4, 4))
    dropped_in, expected_in = torch.zeros(bins), torch.zeros(bins)
    first, last, more, kept_in = True, True, False, 0
    for context, targets in got:
        length = context.shape[1]
        visible = ~as_blocks(targets, grid_size).any(dim=1).flatten(1)  # the context block is the whole grid
        kept = as_blocks(context, grid_size).flatten(1) & visible
        dropped = visible & ~kept
        kept_in += int(kept.sum())
        count = visible.sum(dim=1, keepdim=True)
        rank = visible.cumsum(dim=1) - 1
        first &= bool((rank[dropped] >= length).all())
        more |= bool(dropped[count[:, 0] == count.min()].any())  # the shortest context is cut, too
        last &= bool((rank[dropped] < (count - length).expand_as(rank)[dropped]).all())
        part = rank * bins // count
        share = (dropped.sum(dim=1, keepdim=True) / count).expand_as(rank)
        dropped_in += torch.bincount(part[dropped], minlength=bins)
        expected_in += torch.bincount(part[visible], share[visible], minlength=bins)
    if kept_in < dropped_in.sum():
        likely = "Too little is left to tell: context_scale is (1, 1) here, and only few patches of it must go."
    elif first:
        likely = "The first patches in raster order are kept: the top rows are seen too often, the bottom ones seldom."
    elif last:
        likely = "The last patches in raster order are kept: the bottom rows are seen too often, the top ones seldom."
    elif more:
        likely = "context_scale is (1, 1) here: the context is all of the grid but its own targets, before it is cut."
    else:
        likely = "The subset is not random."
    expect_that(
        kept_in >= dropped_in.sum() and (dropped_in.sum() == 0 or fits(dropped_in, expected_in)),
        called=learner.called,
        expected=f"by eighths of the image from the top, about {expected_in.round().int().tolist()} patches left out",
        got=f"{dropped_in.int().tolist()}",
        likely=f"{likely} Cut with a random subset, from torch.randperm or the largest of random keys.",
    )


@exercise("sample_masks")
def test_sample_masks_redraws_short_contexts_only(learner):
    """A context of min(10, G*G // 8) patches or fewer is drawn again, a longer one is kept."""
    # Batch, grid, side of the context block, target, number of draws, and a length that is common: never to see it is a
    # chance of less than 1e-8. Wherever the target lies, some contexts are too short and others long enough, so that it
    # doesn't matter whether the context, the image or the batch is drawn again.
    for batch_size, grid_size, side, target, count, common in (
        (1, 6, 5, (4, 4), 36, 9),
        (1, 6, 5, (5, 5), 20, 5),
        (8, 5, 3, (3, 2), 8, 5),
        (1, 12, 11, (11, 11), 20, 11),
        (1, 10, 5, (3, 8), 10, None),
        (1, 6, 4, (3, 5), 10, None),
    ):
        fewest = min(10, grid_size**2 // 8) + 1
        options = {"num_targets": 1, "context_scale": fixed_scale(grid_size, side, side), **of_size(grid_size, *target)}
        got = draw(learner, batch_size, grid_size, count, **options)
        contexts, targets = zip(*got, strict=True)
        lengths = [context.shape[1] for context in contexts]
        seen, hidden = all_blocks(contexts, grid_size), all_blocks(targets, grid_size)
        longest = max(int(span.max()) for span in spans(seen.flatten(0, 1)))
        overlap = int((seen & hidden[:, :, 0]).sum())
        expect_that(
            longest == side and not overlap,
            called=learner.called,
            expected=f"contexts that are a block of {side} x {side} minus the target",
            got=f"up to {longest} rows or columns, and {overlap} patches that are in the target",
            likely="Only for such contexts can be told which are too short.",
        )
        expect_that(
            min(lengths) >= fewest,
            called=learner.called,
            expected=f"contexts of {fewest} patches or more in a grid of {grid_size}",
            got=f"one of {min(lengths)}",
            likely="A context of min(10, G*G // 8) patches or fewer must be drawn again.",
        )
        expect_that(
            common is None or min(lengths) <= common,
            called=learner.called,
            expected=f"contexts of {common} patches now and then: more than min(10, G*G // 8) = {fewest - 1} is enough",
            got=f"none below {min(lengths)}",
            likely="Contexts that are long enough are drawn again: the limit is min(10, G*G // 8), at most 10 and less "
            "in a small grid.",
        )


@exercise("sample_masks")
def test_sample_masks_uses_the_generator_alone(learner):
    """Equal generators give equal masks, and no other random numbers are touched."""
    got = learner(masks_twice, 4, 14, new_seed())
    expect_from_generator_alone(got, learner.called)
