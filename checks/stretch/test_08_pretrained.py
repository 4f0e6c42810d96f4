"""Lesson 8, for who wants more: positions for another number of patches."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close


def resized(lesson, table, new_grid):
    """resize_positions(table {table}, {new_grid})"""
    return lesson.resize_positions(table, new_grid)


def pictures(table: Tensor, grid: int) -> Tensor:
    """A table [1, N, D] as D pictures of one channel, [D, 1, G, G]."""
    return torch.stack([feature.view(1, grid, grid) for feature in table[0].unbind(1)])


def flat(drawn_anew: Tensor) -> Tensor:
    """And back: [D, 1, G, G] -> [1, N, D]."""
    return torch.stack([picture.flatten() for picture in drawn_anew], dim=1)[None]


def expected_table(table: Tensor, grid: int, new_grid: int) -> Tensor:
    """Feature by feature."""
    return flat(F.interpolate(pictures(table, grid), size=(new_grid, new_grid), mode="bicubic"))


def mistakes_of(table: Tensor, grid: int, new_grid: int) -> Mistakes:
    """What the known mistakes give."""
    dim, right, size = table.shape[2], expected_table(table, grid, new_grid), (new_grid, new_grid)

    def otherwise(mode: str = "bicubic", **options: bool) -> Tensor:
        return flat(F.interpolate(pictures(table, grid), size=size, mode=mode, **options))

    poured = F.interpolate(table.reshape(1, dim, grid, grid), size=size, mode="bicubic")
    channels_last = table.transpose(1, 2).reshape(1, dim, grid, grid)
    anew = F.interpolate(channels_last, size=size, mode="bicubic")
    in_order = {
        "The axes are in disorder: [1, N, D] becomes [1, D, N] by transpose(1, 2), and only then [1, D, G, G].": (
            poured.flatten(2).transpose(1, 2)
        ),
        "The axes are in disorder, before and after: only transpose or permute changes their order, a reshape pours "
        "the numbers.": poured.reshape(right.shape),
        "The way back is in disorder: [1, D, N] becomes [1, N, D] by transpose(1, 2), not by a reshape.": (
            anew.reshape(right.shape)
        ),
        "Rows and columns are exchanged: the positions stand row by row.": (
            flat(F.interpolate(pictures(table, grid).transpose(2, 3), size=size, mode="bicubic"))
        ),
        'This is bilinear: mode="bicubic".': otherwise(mode="bilinear"),
        'These are the nearest positions: mode="bicubic".': otherwise(mode="nearest"),
        "align_corners is set: the corners of the patches are aligned then, and the table reaches beyond its places.": (
            otherwise(align_corners=True)
        ),
        "antialias is set, which makes another curve of bicubic: leave it out.": otherwise(antialias=True),
        "Interpolated along the N positions, as if they stood in one line: they are a grid.": (
            F.interpolate(table.transpose(1, 2), size=new_grid**2, mode="linear").transpose(1, 2)
        ),
        "This is still the old table.": table,
    }
    shapes = {
        "The axes are still those of a picture: flatten the grid, and bring D to the end.": anew.shape,
        "The axis of one at the front is missing: [1, N, D].": right[0].shape,
        "D stands before the positions: [1, N, D].": torch.Size([1, dim, new_grid**2]),
        "The grid is not flattened: [1, N, D].": torch.Size([1, new_grid, new_grid, dim]),
    }
    return {**in_order, **shapes}


@exercise("resize_positions")
def test_resize_positions_interpolates_the_grid(learner):
    """Each feature is a picture of G x G, resized by bicubic interpolation; positions stay row by row."""
    for grid, new_grid, dim in ((4, 8, 6), (7, 5, 4), (3, 3, 2), (2, 7, 12), drawn((3, 6), (7, 9), (2, 5))):
        table = torch.randn(1, grid**2, dim)
        expected, mistakes = expected_table(table, grid, new_grid), Later(mistakes_of, table, grid, new_grid)
        got = learner(resized, table, new_grid)
        likely = "[1, N, D] -> [1, D, G, G], F.interpolate(..., size=(new_grid, new_grid), mode='bicubic'), and back."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)
