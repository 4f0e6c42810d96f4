"""How sizes and places of blocks must be distributed, and what known mistakes make of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from checks.calls import masking as calls
from checks.tool.expect import (
    Later,
    Mistakes,
    describe,
    expect_equal,
    expect_some_right,
    expect_that,
    find_difference,
    shape,
)

# A test of chance rejects a right answer this often (as chi-square reckons; the truth is within a factor of ten at
# 30 draws a cell), so that all those of this lesson together raise a false alarm in fewer than one of 10^7 runs.
FALSE_ALARM = 1e-9
UNDRAWN = "nothing is drawn, or the generator is seeded anew or copied inside."
# flaws of a block that are named only if they fit all blocks
FITS_ALL = ("Height and width are swapped", "Nothing is True")


def expect_a_size(learner: Any) -> None:
    """A size that leaves no choice must be right: of others than those asked for it means little how they are drawn."""
    got = learner(calls.block_size, 1000, (0.25, 0.25), (1.0, 1.0), new_seed())
    expect_some_right(got, (500, 500), called=learner.called)


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


def size_mistakes(grid_size: int, scale: float, ratio: float) -> Mistakes:
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


def clamp_mistakes(grid_size: int, scale: float, ratio: float) -> Mistakes:
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


def draw_size_cases(count: int) -> list[tuple[int, float, float]]:
    """Grid, scale and ratio of so many blocks that fit into their grid."""
    cases: list[tuple[int, float, float]] = []
    while len(cases) < count:
        grid_size = int(torch.randint(6, 25, ()))
        scale, ratio = round(float(0.1 + 0.4 * torch.rand(())), 3), round(float(0.5 + 1.5 * torch.rand(())), 3)
        size = sides(grid_size, scale, ratio)
        # no sides so near a half or a whole number that an error of float32 would change the size, nor one that fills
        # the grid, of which another check asks
        if round(max(size)) < grid_size and all(0.02 < abs(side % 1 - 0.5) < 0.48 for side in size):
            cases.append((grid_size, scale, ratio))
    return cases


def expect_sizes(learner: Any, cases: list[tuple[int, float, float]], mistakes_of: Callable, likely: str) -> None:
    """Each size of (grid, scale, ratio) must be exact. A mistake is named if it explains every size."""
    expected = [clamped(grid_size, *sides(grid_size, scale, ratio)) for grid_size, scale, ratio in cases]
    got = []
    for (grid_size, scale, ratio), right in zip(cases, expected, strict=True):
        # several, since one may be right by chance where the range is not the one asked for
        sizes = learner(calls.block_sizes, grid_size, (scale, scale), (ratio, ratio), new_seed(), 8)
        got.append(next((size for size in sizes if find_difference(size, right, 0, 0)), right))
    if not all(isinstance(size, tuple) and [type(side) for side in size] == [int, int] for size in got):
        likely = "Give back a tuple of two ints, (height, width): `int(...)` makes one of a tensor or a float."
    for place, (grid_size, scale, ratio) in enumerate(cases):
        called = f"sample_block_size({grid_size}, ({scale}, {scale}), ({ratio}, {ratio}), generator)"
        mistakes = Later(explaining, mistakes_of, cases, got, place)
        expect_equal(got[place], expected[place], called=called, mistakes=mistakes, likely=likely)


def explaining(mistakes_of: Callable, cases: list[tuple[int, float, float]], got: list, place: int) -> Mistakes:
    """The mistakes that explain every size, and what they make of the one at this place."""
    wrong = [mistakes_of(*case) for case in cases]
    return {
        sentence: size
        for sentence, size in wrong[place].items()
        if all(find_difference(own, mistakes[sentence], 0, 0) is None for own, mistakes in zip(got, wrong, strict=True))
    }


def areas_and_ratios(got: list, grid_size: int, called: str) -> tuple[Tensor, Tensor]:
    """Parts of the grid's area and height / width of the sizes, once each is known to be a pair of numbers."""
    for size in got:
        expect_that(
            isinstance(size, tuple) and len(size) == 2 and all(map(is_number, size)),
            called=called,
            expected="a pair (height, width) of ints",
            got=type(size).__name__ if not isinstance(size, tuple) else f"a tuple of {len(size)} entries",
            likely="Is the `return` missing?" if size is None else "Give back a tuple of two ints, (height, width).",
        )
    height, width = torch.tensor([[float(side) for side in size] for size in got]).double().unbind(1)
    return height * width / grid_size**2, height / width


def is_number(side: object) -> bool:
    """Also a tensor of one entry: that it is no int is said by other checks."""
    return isinstance(side, int | float) or (isinstance(side, Tensor) and side.numel() == 1 and not side.is_complex())


def tenths(values: Tensor, low: float, high: float) -> Tensor:
    """How many of the values lie in each tenth of the range."""
    return torch.histc(((values - low) / (high - low)).clamp(0, 1), 10, 0, 1)


def uniform_flaw(name: str, values: Tensor, low: float, high: float) -> str:
    """Why scales or aspect ratios are not uniform from low to high."""
    if (values == values[0]).all():
        return f"Every call gives the same {name}: no number is drawn, or the generator is seeded anew inside."
    if values.min() < 0.9 * low or values.max() > 1.1 * high or values.max() < low + 0.9 * (high - low):
        return f"The drawn {name} doesn't run from low = {low} to high = {high}: low + (high - low) * rand does."
    square = torch.sqrt, "Here the side is uniform: draw the area, and take the square root of it."
    log = torch.log, "Here the logarithm is uniform: draw the number itself."
    inverse = torch.reciprocal, "Here width / height is uniform: aspect_ratio is height / width."
    likely = "Draw low + (high - low) * torch.rand(..., generator=generator)."
    for change, sentence in {"scale": [square, log], "aspect_ratio": [log, inverse, square]}[name]:
        ends = sorted(float(change(torch.tensor(end, dtype=torch.float64))) for end in (low, high))
        likely = sentence if fits(tenths(change(values), *ends)) else likely
    return likely


def quarters(areas: Tensor, scale: tuple[float, float], ratios: Tensor, aspect_ratio: tuple[float, float]) -> Tensor:
    """How many sizes lie in each quarter of the scales (rows) and of the ratios (columns): [4, 4]."""
    row, column = (
        ((values - low) / (high - low) * 4).long().clamp(0, 3)
        for values, (low, high) in ((areas, scale), (ratios, aspect_ratio))
    )
    return torch.bincount(row * 4 + column, minlength=16).reshape(4, 4)


def are_independent(table: Tensor) -> bool:
    expected = table.sum(dim=1, keepdim=True) * table.sum(dim=0) / table.sum()
    return varies(table) and fits(table, expected)


def varies(table: Tensor) -> bool:
    """Whether rows and columns differ from draw to draw: what hardly changes tells nothing about the other."""
    return all(bool((table.sum(dim=axis) > 0).sum() > 1) for axis in (0, 1))


def dependence_flaw(table: Tensor) -> str:
    """Why the scales (rows) and ratios (columns) are not independent."""
    if not varies(table):
        return "Scale, ratio or both hardly differ from call to call: draw each of them anew, from low to high."
    if (table == 0).sum() >= 8:
        return "One random number drives scale and ratio: draw a second one."
    return "The area depends on the ratio: height = sqrt(area * ratio), width = sqrt(area / ratio)."


def expect_rectangles(got: list, grid_size: int, size: tuple[int, int], called: str) -> Tensor:
    """The masks as bool [count, G, G], once each is known to be a whole rectangle."""
    for block in got:
        if block is None:
            flaw = "Is the `return` missing?"
        elif not isinstance(block, Tensor):
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


def expect_mostly_rectangles(got: list, grid_size: int, size: tuple[int, int], called: str) -> None:
    """Most blocks must be right: of what is no block it means nothing that it comes from the generator."""
    right = [
        isinstance(block, Tensor)
        and block.shape == (grid_size, grid_size)
        and block.dtype == torch.bool
        and bool(whole(block[None], *size))
        for block in got
    ]
    expect_that(
        2 * sum(right) > len(right),
        called=called,
        expected=f"blocks of {size[0]} x {size[1]}, before this property counts",
        got=f"{sum(right)} of {len(right)} masks hold one",
        likely="These are no such blocks yet: another check says more, and this one counts once they are.",
    )


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
