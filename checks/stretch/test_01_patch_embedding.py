"""Lesson 1, for who wants more: from the code of a place to the code of another one."""

import torch
from torch import Tensor

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close


def shift_positions(lesson, codes, rows, columns):
    """shift_positions(codes {codes}, rows={rows}, columns={columns})"""
    return lesson.shift_positions(codes, rows, columns)


def shift_sum(lesson, codes, rows, columns):
    """shift_positions(a sum of codes {codes}, rows={rows}, columns={columns})"""
    return lesson.shift_positions(codes, rows, columns)


def codes_of(places: Tensor, dim: int) -> Tensor:
    """Places [..., 2], each a row and a column in float64 -> their codes [..., dim]."""
    frequencies = torch.logspace(0, -4, dim // 4 + 1, dtype=torch.float64)[:-1]
    clocks = [
        torch.polar(torch.ones_like(angles), angles) for angles in (places.flip(-1)[..., None] * frequencies).unbind(-2)
    ]
    return torch.cat([part for clock in clocks for part in (clock.imag, clock.real)], dim=-1)


def mistakes_of(places: Tensor, shift: Tensor, dim: int, dtype: torch.dtype) -> Mistakes:
    """What the known mistakes give for places [..., 2] and a shift [2], in rows and columns."""
    codes, turn, right = codes_of(places, dim), codes_of(shift, dim), codes_of(places + shift, dim)
    is_sine = (torch.arange(dim) // (dim // 4)) % 2 == 0
    pairs = codes.unflatten(-1, (-1, 2))  # as if sine and cosine took turns
    b = turn.unflatten(-1, (2, 2, -1))
    sines, cosines = b[:, 0].flatten(), b[:, 1].flatten()
    taking_turns = torch.stack(
        [pairs[..., 0] * cosines + pairs[..., 1] * sines, pairs[..., 1] * cosines - pairs[..., 0] * sines], dim=-1
    )
    other_sign = torch.where(is_sine, right, 2 * codes * torch.cat([b[:, 1], b[:, 1]], dim=1).flatten() - right)
    mistakes = {
        "Rows and columns are exchanged: the first half of a code is the column, the second the row.": codes_of(
            places + shift.flip(0), dim
        ),
        "It goes the other way: up and left, where down and right are asked for.": codes_of(places - shift, dim),
        "The second half of the code is left as it was, and it has to be shifted by `rows`.": torch.cat(
            [right[..., : dim // 2], codes[..., dim // 2 :]], dim=-1
        ),
        "Codes are added, and the sine of a sum is not the sum of the sines.": codes + turn,
        "Codes are multiplied, entry by entry: each new entry needs the sine and the cosine of its clock.": codes
        * turn,
        "The sign is wrong in the cosine of a sum: cos a cos b - sin a sin b.": other_sign,
        "Sine and cosine are read as if they took turns: within a half, D/4 sines come first, then their D/4 "
        "cosines.": taking_turns.flatten(-2),
        "`rows` and `columns` are made whole numbers, and may be fractions.": codes_of(places + shift.trunc(), dim),
        "`rows` and `columns` are rounded, and may be fractions.": codes_of(places + shift.round(), dim),
    }
    return {sentence: wrong.to(dtype) for sentence, wrong in mistakes.items()}


@exercise("shift_positions")
def test_shift_positions_goes_from_any_place_to_any_other(learner):
    """Codes of any places become the codes of the places that lie so far down and to the right."""
    quarter, rows, columns = drawn((2, 9), (-5, -1), (2, 6))
    for size, dim, shift, dtype in (
        ((3,), 16, (0.0, 2.0), torch.float32),
        ((2, 3), 8, (-3.0, 1.0), torch.float64),
        ((), 4 * quarter, (rows + 0.75, columns + 0.25), torch.float32),
    ):
        places, move = 12 * torch.rand(*size, 2, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64)
        codes, expected = codes_of(places, dim).to(dtype), codes_of(places + move, dim).to(dtype)
        got = learner(shift_positions, codes, *shift)
        mistakes = Later(mistakes_of, places, move, dim, dtype)
        likely = (
            "Cut a code into sines and cosines of the column, then of the row; each clock turns by distance times its "
            "speed. The place itself need not be known, and may lie between patches."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("shift_positions")
def test_shift_positions_is_linear(learner):
    """A sum of codes becomes the sum of the shifted codes."""
    (quarter,) = drawn((3, 8))
    places, move = 9 * torch.rand(3, 4, 2, dtype=torch.float64), torch.tensor([2.0, -3.0], dtype=torch.float64)
    before, after = (codes_of(each, 4 * quarter).sum(dim=1).float() for each in (places, places + move))
    got = learner(shift_sum, before, 2.0, -3.0)
    likely = (
        "Look for what is no sum of multiples of the entries: finding the angle, or the place, of a code works for a "
        "single code only."
    )
    expect_close(got, after, called=learner.called, likely=likely)
