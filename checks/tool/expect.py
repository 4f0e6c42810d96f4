"""Comparisons that explain themselves: what was called, what was expected, what came, and the likely misconception.

Nothing here broadcasts: the type is compared first, then shape, dtype, NaN and infinity, and only then the values.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WIDTH = 79
Mistakes = Mapping[str, Any]  # a sentence, and what the mistake that it names would have given
NO_MISTAKES: Mistakes = {}


class Failure(AssertionError):
    """A property that does not hold, told to the learner. `str()` gives the four fields, wrapped for a console."""

    def __init__(self, called: str, expected: str, got: str, likely: str = ""):
        fields = {"called": called, "expected": expected, "got": got, "likely": likely}
        super().__init__("\n".join(field(name, text) for name, text in fields.items() if text))
        self.likely = " ".join(likely.split())


def field(name: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{name:<10}", subsequent_indent=" " * 10, break_on_hyphens=False)


def shape(tensor: Tensor) -> str:
    """The shape as it is written in the course: "[2, 3, 32, 48]"."""
    return str(list(tensor.shape))


def describe(value: Any) -> str:
    """A value in a few words: the shape of a tensor, the start of anything else."""
    if isinstance(value, Tensor):
        return shape(value) if value.ndim else f"{value.item():.6g}"
    if type(value) is float:
        return f"{value:.6g}"
    if type(value) in (list, tuple, dict):
        first = list(itertools.islice(value, 20))  # more would be cut off below
        entries = (
            [f"{name!r}: {describe(value[name])}" for name in first] if type(value) is dict else map(describe, first)
        )
        left, right = ("{", "}") if type(value) is dict else ("[", "]") if type(value) is list else ("(", ")")
        more = ", ..." if len(value) > len(first) else ""
        return textwrap.shorten(f"{left}{', '.join(entries)}{more}{right}", 100, placeholder=" ...")
    return textwrap.shorten(repr(value), 100, placeholder=" ...")


class Later:
    """Mistakes that are worked out only if a result is wrong: there are many, and most learners need none of them."""

    def __init__(self, work_out: Callable[..., Mistakes], *inputs: Any):
        self.work_out, self.inputs = work_out, inputs

    def items(self) -> Iterable[tuple[str, Any]]:
        return self.work_out(*self.inputs).items()


def expect_close(
    got: Any,
    expected: Any,
    *,
    called: str,
    mistakes: Mistakes | Later = NO_MISTAKES,
    likely: str = "",
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Compare tensors or floats, also inside lists and dicts: |got - expected| <= atol + rtol * |expected|.

    mistakes maps a sentence to what that mistake would have given (a torch.Size stands for any tensor of that shape):
    the first one that equals `got` is named. Otherwise `likely` is said, and without it what the numbers alone tell.
    Where `got` is of another kind (nothing, a list in place of a tensor, another dtype) its values say nothing: then
    that is told in place of `likely`. Raises Failure.
    """
    difference = find_difference(got, expected, rtol, atol)
    if difference is None:
        return
    expected_text, got_text, guess = difference
    name = named(got, mistakes, rtol, atol)
    raise Failure(called, expected_text, got_text, name or another_kind(got, expected) or likely or guess)


def named(got: Any, mistakes: Mistakes | Later, rtol: float, atol: float) -> str:
    """The first mistake that gives what came, or ""."""
    for sentence, wrong in mistakes.items():
        if isinstance(wrong, torch.Size):
            if isinstance(got, Tensor) and got.shape == wrong:
                return sentence
        elif find_difference(got, wrong, rtol, atol) is None:
            return sentence
    return ""


def expect_equal(
    got: Any, expected: Any, *, called: str, mistakes: Mistakes | Later = NO_MISTAKES, likely: str = ""
) -> None:
    """Compare exactly: integers, booleans, strings, shapes, index tensors. The rest is as in expect_close."""
    expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=0, atol=0)


def expect_gradients(
    got: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    called: str,
    mistakes: Mistakes | Later = NO_MISTAKES,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Compare gradients by their names. That the graph is cut is said as a fact only where none comes.

    got: a gradient, None, or whether there is one, for each name. The rest is as in expect_close.
    """
    absent = [name for name in expected if name not in got]
    cut = [name for name in expected if name in got and is_empty(got[name]) and not is_empty(expected[name])]
    if absent:
        likely = "Some names are not among the parameters: the check of the parameters says more."
    elif cut:
        names = ", ".join(cut[:3]) + f" and {len(cut) - 3} more" * (len(cut) > 3)
        likely = f"No gradient reaches {names}: not used, or the graph is cut on the way (detach, .data or no_grad)."
    else:
        likely = (
            "Gradients come, but other ones. If the check of the outputs fails too, this follows from it; if not, look "
            "for what cuts a part of the graph (detach, .data or no_grad)."
        )
    expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=rtol, atol=atol)


def expect_tensor(got: Any, *, called: str) -> None:
    """Whatever is looked at next, it is a tensor. Raises Failure."""
    if not isinstance(got, Tensor):
        raise Failure(called, "a tensor", kind(got), another_kind(got, torch.empty(0)))


def expect_some_right(got: Any, expected: Any, *, called: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Some value must be right: a row (along the last axis) of a tensor, or one of several tensors, by their names.

    For checks of a dtype, a refusal, an input that is left alone: of an answer that gets no value right they would say
    nothing. Raises Failure.
    """
    expect_that(
        any_right(got, expected, rtol, atol),
        called=called,
        expected="some values that are right, before this property counts",
        got=describe(got) if type(expected) is float else kind(got),
        likely="No value is right yet: the check of the values says more, and this one counts once some are.",
    )


def any_right(got: Any, expected: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, Mapping):
        return any(name in got and any_right(got[name], value, rtol, atol) for name, value in expected.items())
    if not isinstance(expected, Tensor) or not isinstance(got, Tensor) or got.shape != expected.shape or not got.ndim:
        return find_difference(got, expected, rtol, atol) is None
    return bool(got.to(expected.dtype).isclose(expected, rtol, atol).all(dim=-1).any())


def expect_answers(
    answers: list[Any], size: Sequence[int], inputs: tuple[Tensor, ...], what: str, *, called: str
) -> None:
    """Answers to some inputs, to the same ones again, and to others: they depend on the inputs, and on nothing else.

    For properties that hold of an answer too that was never worked out, where values would be too much to ask. size:
    of an answer; inputs: what may not come back as it is. Raises Failure.
    """
    first, again, *others = answers
    expect_tensor(first, called=called)
    if list(first.shape) != list(size):
        got = shape(first)
    elif not first.isfinite().all():
        got = "NaN or infinity"
    elif find_difference(again, first, 1e-4, 1e-5):
        got = f"other values for the same {what}"
    elif any(torch.equal(first, value) for value in inputs):
        got = f"the {what} themselves"
    elif not all(find_difference(other, first, 1e-4, 1e-5) for other in others):
        got = "the same values whatever comes in"
    else:
        return
    expect_that(
        False,
        called=called,
        expected=f"values {list(size)} that are worked out from the {what}, and from nothing else",
        got=got,
        likely="The check of the values says more, and this one counts once there are such values.",
    )


def is_empty(gradient: Any) -> bool:
    """Whether nothing comes along this gradient."""
    return gradient is None or not (gradient if isinstance(gradient, bool) else bool(gradient.any()))


def flaws(names: list[str], flaw: str) -> list[str]:
    """A flaw that these names share: the first ones by name, and how many more there are."""
    shown = [f"{name!r} is {flaw}" for name in names[:3]]
    return shown + [f"{len(names) - 3} more are {flaw}"] * (len(names) > 3)


def expect_that(holds: bool, *, called: str, expected: str, got: str, likely: str) -> None:
    """State a property in words. Raises Failure unless it holds."""
    if not holds:
        raise Failure(called, expected, got, likely)


def expect_error(
    error: type[Exception], learner: Any, function: Callable[..., Any], *inputs: Any, likely: str = ""
) -> None:
    """The call must raise `error`, or a subclass of it. Raises Failure if it raises something else, or nothing."""
    outcome = learner.outcome(function, *inputs)
    if not outcome.error:
        raise Failure(learner.called, error.__name__, f"no error, but {describe(outcome.value)}", likely)
    if error.__name__ not in outcome.error:
        # no refusal, whatever it tests, ends in one of these: they have a cause of their own
        other = outcome.error[0] in ("AttributeError", "NameError", "NotPlain", "Disguised") or re.search(
            "CUDA|NVIDIA", outcome.message
        )
        likely = (other and outcome.hint) or likely
        raise Failure(learner.called, error.__name__, f"{outcome.error[0]}: {outcome.message}", likely)


def find_difference(got: Any, expected: Any, rtol: float, atol: float) -> tuple[str, str, str] | None:
    """None if equal, else (expected, got, guess): the texts of the two, and what can be told from the numbers alone."""
    if isinstance(expected, Tensor):
        return tensor_difference(got, expected, rtol, atol)
    if type(expected) is float:
        if type(got) not in (float, int):
            return f"{expected:.6g}, a float", kind(got), another_kind(got, expected)
        pair = torch.tensor([got, expected], dtype=torch.float64)
        if torch.isclose(pair[0], pair[1], rtol, atol, equal_nan=True):
            return None
        return f"{expected:.6g}", f"{got:.6g}", pattern(pair[0], pair[1], rtol, atol)
    if type(got) is not type(expected):
        return f"{kind(expected)}: {describe(expected)}", kind(got), another_kind(got, expected)
    if isinstance(expected, Mapping):
        if set(got) != set(expected):
            missing = [name for name in expected if name not in got]
            extra = [name for name in got if name not in expected]
            text = "; ".join(flaws(missing, "missing") + flaws(extra, "too many"))
            return f"the names {describe(list(expected))}", text, ""
        return first_difference(expected, got, expected, rtol, atol)
    if isinstance(expected, list | tuple):
        if len(got) != len(expected):
            return f"{len(expected)} entries: {describe(expected)}", f"{len(got)} entries: {describe(got)}", ""
        return first_difference(range(len(expected)), got, expected, rtol, atol)
    return None if got == expected else (describe(expected), describe(got), "")


def first_difference(keys: Any, got: Any, expected: Any, rtol: float, atol: float) -> tuple[str, str, str] | None:
    for key in keys:
        difference = find_difference(got[key], expected[key], rtol, atol)
        if difference:
            expected_text, got_text, guess = difference
            guess = "" if got[key] is None else guess  # something came back: no `return` is missing
            place = key if isinstance(key, str) else f"entry {key}"
            return f"{place}: {expected_text}", f"{place}: {got_text}", guess
    return None


def tensor_difference(got: Any, expected: Tensor, rtol: float, atol: float) -> tuple[str, str, str] | None:
    if not isinstance(got, Tensor):
        return f"a tensor {shape(expected)}", kind(got), another_kind(got, expected)
    if got.shape != expected.shape:
        words = shape_words(list(got.shape), list(expected.shape))
        return shape(expected), f"{shape(got)}: {words}", "Print the shape after each line of your code."
    if got.dtype != expected.dtype:
        names = [str(tensor.dtype).removeprefix("torch.") for tensor in (expected, got)]
        return f"the dtype {names[0]}", f"{names[1]}", another_kind(got, expected)
    if got.numel() == 0:
        return None
    if not (got.is_floating_point() or got.is_complex()):
        wrong = got != expected
        if not wrong.any():
            return None
    else:
        wrong = ~torch.isclose(got, expected, rtol, atol, equal_nan=True)
        if not wrong.any():
            return None
        strange = wrong & ~got.isfinite()
        if strange.any():
            place = strange.nonzero()[0].tolist()
            name = "NaN" if got[tuple(place)].isnan() else "infinity"
            guess = "0 / 0, inf - inf and the root of a negative number give NaN; a division by 0 gives infinity."
            count = f"{int(strange.sum())} of {got.numel()} values are not finite"
            return at(expected, place), f"{name} there; {count}", guess
    wide = torch.complex128 if got.is_complex() else torch.float64
    gap = (got.to(wide) - expected.to(wide)).abs()
    gap = torch.where(wrong, gap.nan_to_num(), -1.0)
    place = (gap == gap.max()).nonzero()[0].tolist()
    text = f"{number(got[tuple(place)])} there, where the difference is largest; "
    text += f"{int(wrong.sum())} of {got.numel()} values differ"
    if got.numel() == 1:
        return number(expected), number(got), pattern(got, expected, rtol, atol)
    if got.numel() <= 12:
        return describe(expected.tolist()), describe(got.tolist()), pattern(got, expected, rtol, atol)
    return at(expected, place), text, pattern(got, expected, rtol, atol)


def at(tensor: Tensor, place: list[int]) -> str:
    return f"{shape(tensor)} with {number(tensor[tuple(place)])} at {place}"


def number(value: Tensor) -> str:
    return f"{value.item():.6g}" if value.is_floating_point() else str(value.item())


def kind(value: Any) -> str:
    if value is None:
        return "None"
    name = f"a tensor {shape(value)}" if isinstance(value, Tensor) else type(value).__name__
    return name if isinstance(value, Tensor) else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def another_kind(got: Any, expected: Any) -> str:
    """What a result of another kind than the expected one tells, whatever its values are; "" if it is of the same."""
    if got is None and expected is not None:
        return "Is the `return` missing?"
    if isinstance(expected, Tensor) and type(got) in (list, tuple):
        return (
            "One tensor is asked for: torch.stack joins the tensors of a list along a new axis, torch.cat along one "
            "that they have."
        )
    both = isinstance(expected, Tensor) and isinstance(got, Tensor)
    if both and got.shape == expected.shape and got.dtype != expected.dtype:
        return "Only the dtype was compared so far: is a new tensor made without dtype=..., or one converted?"
    return ""


def shape_words(got: list[int], expected: list[int]) -> str:
    """How a shape differs from the expected one, in words."""
    if len(got) == len(expected):
        for i, j in sorted(itertools.combinations(range(len(got)), 2), reverse=True):
            swapped = expected.copy()
            swapped[i], swapped[j] = expected[j], expected[i]
            if swapped == got:
                return f"{axes(i, j, len(got))} are swapped"
        if sorted(got) == sorted(expected):
            return "the axes stand in another order"
        different = [i for i in range(len(got)) if got[i] != expected[i]]
        if len(different) == 1:
            i = different[0]
            return f"{axis(i, len(got))} has {got[i]} entries in place of {expected[i]}"
    if len(got) == len(expected) + 1:
        for i in range(len(got)):
            if got[:i] + got[i + 1 :] == expected:
                return f"{axis(i, len(got))} (of size {got[i]}) is too many"
    if len(got) + 1 == len(expected):
        for i in range(len(expected)):
            if expected[:i] + expected[i + 1 :] == got:
                return f"{axis(i, len(expected))} (of size {expected[i]}) is missing"
    if math.prod(got) == math.prod(expected):
        return "the right number of values in another shape"
    return f"{len(got)} axes in place of {len(expected)}" if len(got) != len(expected) else "other sizes"


def axis(index: int, count: int) -> str:
    return {count - 1: "the last axis", 0: "the first axis"}.get(index, f"axis {index}")


def axes(i: int, j: int, count: int) -> str:
    return {(count - 2, count - 1): "the last two axes", (0, 1): "the first two axes"}.get((i, j), f"axes {i} and {j}")


def pattern(got: Tensor, expected: Tensor, rtol: float, atol: float) -> str:
    """What can be told from the values alone, in a sentence."""
    got, expected = got.flatten(), expected.flatten()
    if not got.is_floating_point() or not got.isfinite().all() or not expected.isfinite().all():
        return ""
    got, expected = got.double(), expected.double()

    def equal(other: Tensor) -> bool:
        return torch.allclose(got, other, rtol, atol)

    factor = float((got @ expected) / (expected @ expected).clamp_min(1e-30))
    offset = float((got - expected).mean())
    if equal(torch.zeros_like(got)):
        return "Everything is 0."
    if equal(-expected):
        return "Every value has the opposite sign."
    if len(got) > 1 and equal(got[0].expand_as(got)):
        return f"Every value is the same, {got[0]:.4g}."
    if factor != 0 and equal(factor * expected):
        return f"Every value is {factor:.4g} times what it should be."
    if len(got) > 1 and equal(expected + offset):
        return f"Every value is off by the same {offset:.4g}."
    if torch.allclose(got.sort().values, expected.sort().values, rtol, atol):
        return "The values are right, but they stand in another order."
    return "Work out the first wrong value by hand, on the smallest input you can think of."
