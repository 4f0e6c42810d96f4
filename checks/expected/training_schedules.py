"""What the schedules of training must give, by their formulas, and what their known mistakes give."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from checks.tool.expect import Later, Mistakes, expect_close, find_difference

A_TENSOR: Mistakes = {"This is a tensor: a schedule gives a float (math.cos, or .item() at the end).": torch.Size([])}


class Rates(NamedTuple):
    """The rates of learning_rate_at, with their defaults."""

    peak: float = 1e-3
    start: float = 2e-4
    end: float = 1e-6


class Decays(NamedTuple):
    """The two ends of weight_decay_at, with their defaults."""

    start: float = 0.04
    end: float = 0.4


def draw_rates() -> dict[str, float]:
    peak, start, end = torch.rand(3).tolist()
    return {"peak": round(1 + 2 * peak, 3), "start": round(0.3 + 0.4 * start, 3), "end": round(0.1 + 0.1 * end, 3)}


def draw_decays() -> dict[str, float]:
    start, end = torch.rand(2).tolist()
    return {"start": round(1 + start, 3), "end": round(3 + end, 3)}


def line(low: float, high: float, steps: list[int], by: int) -> list[float]:
    """A straight line from low at step 0 to high at step `by`."""
    return [low + (high - low) * step / by for step in steps]


def half_cosine(begin: float, end: float, progress: float) -> float:
    return begin + (end - begin) * (1 - math.cos(math.pi * progress)) / 2


def half_cosines(begin: float, end: float, steps: list[int], since: int, total: int) -> list[float]:
    """Half a cosine from begin at step `since` to end at step `total`."""
    return [half_cosine(begin, end, (step - since) / (total - since)) for step in steps]


def compare(got: list[Any], expected: list[float], called: str, mistakes: Mistakes | Later, likely: str) -> None:
    """Compare floats of any size closely. The first tensor in their place is named as one."""
    if any(value is None for value in got):
        likely = "Is a `return` missing?"
    tensors = [value for value in got if isinstance(value, Tensor)]
    first = (tensors[0], expected[0]) if tensors else (got, expected)
    expect_close(*first, called=called, mistakes=mistakes, likely=likely, rtol=1e-5, atol=1e-9)


def explaining(
    work_out: Callable[..., Mistakes], whole: list[Any], every: list[int], steps: list[int], *rest: Any
) -> Mistakes:
    """The mistakes that explain all of the values at the steps `every`, and what they give at `steps` among them.

    Two values alone would fit several: a whole period of the cosine ends where one does that never left its start.
    """
    return {
        sentence: wrong if isinstance(wrong, torch.Size) else [wrong[every.index(step)] for step in steps]
        for sentence, wrong in work_out(every, *rest).items()
        if isinstance(wrong, torch.Size) or find_difference(whole, wrong, 1e-5, 1e-9) is None
    }


def but_the_last(right: list[float], wrong: dict[str, float], step_before: str) -> Mistakes:
    """What comes if the value at the last step alone is wrong."""
    return {sentence: [*right[:-1], value] for sentence, value in {**wrong, step_before: right[-2]}.items()}


def other_curves(begin: float, end: float, steps: list[int], since: int, total: int) -> Mistakes:
    """What goes wrong with half a cosine from begin at step `since` to end at step `total`."""
    span, fall = total - since, begin - end
    curves: dict[str, Callable[[float], float]] = {  # of the progress x, 0 to 1
        "This is a straight line: it is half a cosine.": lambda x: begin - fall * x,
        "The curve runs the wrong way: swap the two values, or the sign before the cosine.": lambda x: half_cosine(
            end, begin, x
        ),
        "This is a whole period of the cosine, there and back: the angle goes to pi.": lambda x: half_cosine(
            begin, end, 2 * x
        ),
        "The angle goes to pi, not to pi / 2.": lambda x: half_cosine(begin, end, x / 2),
        "This is a quarter of a cosine: half of one, (1 + cos) / 2 to the angle pi, is flat at both ends.": lambda x: (
            end + fall * math.cos(math.pi / 2 * x)
        ),
        "This is a sine: it is half a cosine.": lambda x: begin - fall * math.sin(math.pi / 2 * x),
        "The angle is in degrees: math.cos takes radians, so that it goes to math.pi.": lambda x: half_cosine(
            begin, end, 180 / math.pi * x
        ),
        "The angle lacks pi: it goes from 0 to pi.": lambda x: half_cosine(begin, end, x / math.pi),
        "1 + cos goes from 2 to 0: halve it.": lambda x: end + fall * (1 + math.cos(math.pi * x)),
        "cos alone goes from 1 to -1: (1 + cos) / 2 goes from 1 to 0.": lambda x: end + fall * math.cos(math.pi * x),
        "cos / 2 goes from 1/2 to -1/2: (1 + cos) / 2 goes from 1 to 0.": lambda x: (
            end + fall * math.cos(math.pi * x) / 2
        ),
        "The curve goes from the first value to 0: it goes to end.": lambda x: half_cosine(begin, 0, x),
        "The cosine is scaled by the first value: scale it by the difference of the two.": lambda x: (
            end + half_cosine(begin, 0, x)
        ),
        "The curve starts from 0: it starts from start.": lambda x: half_cosine(0, end, x),
        "The curve is one step ahead: progress is 0 where it starts.": lambda x: half_cosine(begin, end, x + 1 / span),
        "The curve is one step late: progress is 0 where it starts.": lambda x: half_cosine(begin, end, x - 1 / span),
        "The curve arrives one step too early: progress is 1 at step == total_steps.": lambda x: half_cosine(
            begin, end, x * span / max(span - 1, 1)
        ),
        "The curve arrives one step too late: progress is 1 at step == total_steps.": lambda x: half_cosine(
            begin, end, x * span / (span + 1)
        ),
    }
    return {sentence: [curve((step - since) / span) for step in steps] for sentence, curve in curves.items()}


def warmup_mistakes(steps: list[int], total: int, warmup: int, rates: Rates) -> Mistakes:
    peak, start, end = rates
    next_steps = [step + 1 for step in steps]
    return {
        **A_TENSOR,
        "The warm-up begins at 0: it begins at start.": line(0, peak, steps, warmup),
        "The line overshoots: it rises by peak - start, not by peak.": line(start, start + peak, steps, warmup),
        "The warm-up is one step ahead: step 0 has the rate start.": line(start, peak, next_steps, warmup),
        "The warm-up begins at 0 and is one step ahead: step 0 has the rate start.": line(0, peak, next_steps, warmup),
        "The warm-up takes one step too many: peak is at step == warmup_steps.": line(start, peak, steps, warmup + 1),
        "The warm-up ends one step too early: peak is at step == warmup_steps.": line(
            start, peak, steps, max(warmup - 1, 1)
        ),
        "The line rises over all steps: it ends at warmup_steps.": line(start, peak, steps, total),
        "The warm-up runs the wrong way, from peak to start.": line(peak, start, steps, warmup),
        "The line goes to end: it goes to peak.": line(start, end, steps, warmup),
        "The rate stays at start: it rises to peak (and `//` would round the progress down to 0).": [start]
        * len(steps),
        "There is no warm-up: the rate is peak from the first step.": [peak] * len(steps),
        "There is no warm-up: the cosine starts at step 0.": half_cosines(peak, end, steps, 0, total),
        "The cosine is used before warmup_steps too: there the rate is on a line.": half_cosines(
            peak, end, steps, warmup, total
        ),
        "The warm-up is half a cosine: it is a straight line.": half_cosines(start, peak, steps, 0, warmup),
        "The rate grows by the same factor each step: it is on a straight line.": [
            start * (peak / start) ** (step / warmup) for step in steps
        ],
        "The arguments peak and start are ignored: these are the defaults.": line(2e-4, 1e-3, steps, warmup),
        "The argument peak is ignored: this is its default.": line(start, 1e-3, steps, warmup),
        "The argument start is ignored: this is its default.": line(2e-4, peak, steps, warmup),
    }


def fall_mistakes(steps: list[int], total: int, warmup: int, rates: Rates) -> Mistakes:
    peak, start, end = rates
    return {
        **A_TENSOR,
        "The rate falls to 0: it falls to end.": half_cosines(peak, 0, steps, warmup, total),
        **but_the_last(
            half_cosines(peak, end, steps, warmup, total),
            {
                "The rate starts anew at the last step: progress is 1 there, not 0.": start,
                "The rate is at peak again at the last step: progress is 1 there, not 0.": peak,
            },
            "This is the rate of the step before: end belongs to step == total_steps.",
        ),
        "The cosine runs over all steps: it starts after the warm-up, (step - warmup_steps) / (total_steps - "
        "warmup_steps).": half_cosines(peak, end, steps, 0, total),
        "The steps of the warm-up are not taken off: progress is (step - warmup_steps) / (total_steps - "
        "warmup_steps).": half_cosines(peak, end, steps, 0, total - warmup),
        "The steps of the warm-up are taken off above only: divide by total_steps - warmup_steps.": half_cosines(
            peak, end, steps, warmup, warmup + total
        ),
        "The fall begins at start: it begins at peak.": half_cosines(start, end, steps, warmup, total),
        "The fall goes to start: it goes to end.": half_cosines(peak, start, steps, warmup, total),
        "The rate stays at peak after the warm-up (`//` would round the progress down to 0).": [peak] * len(steps),
        "The rate stays at peak up to the last step (`//` would round the progress down to 0).": [
            peak if step < total else end for step in steps
        ],
        "The arguments peak and end are ignored: these are the defaults.": half_cosines(
            1e-3, 1e-6, steps, warmup, total
        ),
        "The argument end is ignored: this is its default.": half_cosines(peak, 1e-6, steps, warmup, total),
        "The argument peak is ignored: this is its default.": half_cosines(1e-3, end, steps, warmup, total),
        **other_curves(peak, end, steps, warmup, total),
    }


def no_warmup_mistakes(first: float, steps: list[int], total: int, rates: Rates) -> Mistakes:
    """Step 0 may have either rate, peak or start: `first` is the one that came, or peak."""
    return {
        **A_TENSOR,
        **{
            sentence: [first, *values[1:]] if values[0] == rates.peak else values
            for sentence, values in other_curves(rates.peak, rates.end, steps, 0, total).items()
        },
    }


def decay_mistakes(steps: list[int], total: int, decays: Decays) -> Mistakes:
    start, end = decays
    return {
        **A_TENSOR,
        "The curve runs the wrong way, from end to start: the weight decay grows.": half_cosines(
            end, start, steps, 0, total
        ),
        **but_the_last(
            half_cosines(start, end, steps, 0, total),
            {"The last value is start again: progress is 1 at step == total_steps, not 0.": start},
            "The last value is that of the step before: end belongs to step == total_steps.",
        ),
        "The weight decay stays at start (`//` would round the progress down to 0).": [start] * len(steps),
        "The weight decay stays at start up to the last step (`//` would round the progress down to 0).": [
            start if step < total else end for step in steps
        ],
        "The weight decay is at end from the start.": [end] * len(steps),
        "The arguments start and end are ignored: these are the defaults.": half_cosines(0.04, 0.4, steps, 0, total),
        "The argument start is ignored: this is its default.": half_cosines(0.04, end, steps, 0, total),
        "The argument end is ignored: this is its default.": half_cosines(start, 0.4, steps, 0, total),
        **other_curves(start, end, steps, 0, total),
    }
