"""Lesson 6: training."""

import math
from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.tool.exercise import exercise
from checks.tool.expect import describe, expect_close, expect_equal, expect_that, find_difference, shape

# total_steps, warmup_steps
SCHEDULES = [(20, 4), (101, 10), (7, 2), (50, 25)]
A_TENSOR = {"This is a tensor: a schedule gives a float (math.cos, or .item() at the end).": torch.Size([])}


def learning_rates(lesson, steps, total_steps, warmup_steps, options):
    """learning_rate_at(step, {total_steps}, {warmup_steps}, **{options}) for step in {steps}"""
    return [number(lesson.learning_rate_at(step, total_steps, warmup_steps, **options)) for step in steps]


def weight_decays(lesson, steps, total_steps, options):
    """weight_decay_at(step, {total_steps}, **{options}) for step in {steps}"""
    return [number(lesson.weight_decay_at(step, total_steps, **options)) for step in steps]


def number(value):
    return float(value) if isinstance(value, float) else value  # numpy's float64 is a float


def grouped(lesson, options, tied):
    """AdamW(parameter_groups(model, **{options}), weight_decay=0.5)"""
    model = StandIn(*small_parts(tied))
    optimizer = torch.optim.AdamW(lesson.parameter_groups(model, **options), lr=1e-3, weight_decay=0.5)
    names = {id(value): name for name, value in model.named_parameters()}
    return [
        [names.get(id(value), "a tensor that is not the model's"), float(group["weight_decay"])]
        for group in optimizer.param_groups
        for value in group["params"]
    ]


def small_parts(tied):
    """Student, teacher and predictor, whose names do not tell how many axes a parameter has."""
    student = nn.ModuleDict({"patch_embed": nn.Conv2d(3, 4, 2), "norm": nn.LayerNorm(4), "mlp": nn.Linear(4, 4)})
    student.pos_embed = nn.Parameter(torch.zeros(1, 9, 4), requires_grad=False)
    student.frozen = nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    student.gamma = nn.Parameter(torch.ones(4))
    student.temperature = nn.Parameter(torch.ones(()))
    student.relative_bias = nn.Parameter(torch.zeros(2, 3))
    if tied:
        student["head"] = nn.Linear(4, 4)
        student["head"].weight = student["mlp"].weight
    teacher = nn.ModuleDict({"patch_embed": nn.Conv2d(3, 4, 2), "norm": nn.LayerNorm(4)}).requires_grad_(False)
    predictor = nn.ModuleDict({"predictor_embed": nn.Linear(4, 8), "predictor_norm": nn.LayerNorm(8)})
    predictor.mask_token = nn.Parameter(torch.zeros(1, 1, 8))
    predictor.predictor_pos_embed = nn.Parameter(torch.zeros(1, 9, 8), requires_grad=False)
    return student, teacher, predictor


# What small_parts trains, with the number of axes
TRAINED = {
    "student.gamma": 1,
    "student.temperature": 0,
    "student.relative_bias": 2,
    "student.patch_embed.weight": 4,
    "student.patch_embed.bias": 1,
    "student.norm.weight": 1,
    "student.norm.bias": 1,
    "student.mlp.weight": 2,
    "student.mlp.bias": 1,
    "predictor.mask_token": 3,
    "predictor.predictor_embed.weight": 2,
    "predictor.predictor_embed.bias": 1,
    "predictor.predictor_norm.weight": 1,
    "predictor.predictor_norm.bias": 1,
}
FROZEN = ("student.pos_embed", "student.frozen", "predictor.predictor_pos_embed")
TEACHER = tuple(f"teacher.{layer}.{name}" for layer in ("patch_embed", "norm") for name in ("weight", "bias"))


class StandIn(nn.Module):
    """In the place of IJEPA."""

    def __init__(self, student, teacher, predictor):
        super().__init__()
        self.student, self.teacher, self.predictor = student, teacher, predictor

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self


class Encoder(nn.Module):
    """In the place of the student: one matrix, and the mean over all tokens, so that each token sees all.

    It works on a copy of its weight, here and below, so that a step before backward shows in the weights.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images, keep=None):
        if keep is not None and keep.ndim != 2:
            raise ValueError(f"keep {shape(keep)} must be [B, K]: the student keeps masks.context")
        return encode(self.weight.clone(), images, keep)


class Teacher(Encoder):
    """A teacher whose training mode shows, as that of dropout would, but each time alike."""

    def forward(self, images, keep=None):
        tokens = super().forward(images, keep)
        return tokens.flip(2) if self.training else tokens


class Inference(nn.Module):
    """In the place of the predictor."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, context_tokens, context, targets):
        if context.ndim != 2 or targets.ndim != 3:
            raise ValueError(f"context {shape(context)} must be [B, Nc], targets {shape(targets)} must be [B, M, Nt]")
        if context_tokens.shape[:2] != context.shape:
            raise ValueError(
                f"context_tokens {shape(context_tokens)} must be the tokens of context {shape(context)} alone"
            )
        return infer(self.weight.clone(), context_tokens, context, targets)


class Masks(NamedTuple):
    context: Tensor
    targets: Tensor


def one_step(lesson, student, teacher, predictor, images, context, targets, rate, momentum, left):
    """train_step(model, images {images}, Masks({context}, {targets}), SGD of lr {rate}, {momentum}), .grad = {left}"""
    model = StandIn(Encoder(student), Teacher(teacher).requires_grad_(False), Inference(predictor)).train()
    trained = [model.student.weight, model.predictor.weight]
    for weight in trained:
        weight.grad = torch.full_like(weight, left)
    optimizer = torch.optim.SGD(trained, lr=rate)
    loss = lesson.train_step(model, images, Masks(context, targets), optimizer, momentum)
    weights = {name: getattr(model, name).weight for name in ("student", "predictor", "teacher")}
    return {"loss": loss, "graph": getattr(loss, "requires_grad", False), **weights}


def encode(weight: Tensor, images: Tensor, keep: Tensor | None = None) -> Tensor:
    patches = F.unfold(images, 2, stride=2).transpose(1, 2)
    tokens = torch.tanh((patches if keep is None else take(patches, keep)) @ weight)
    return tokens + tokens.mean(dim=1, keepdim=True)


def infer(weight: Tensor, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
    seen = (context_tokens * place(context)).mean(dim=1) @ weight
    return seen[:, None, None] * place(targets)


def place(indices: Tensor) -> Tensor:
    return 1.5 + torch.cos(2.0 * indices)[..., None]


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """tokens [B, N, D] at indices [B, ...] -> [B, ..., D]."""
    return torch.stack([row[chosen] for row, chosen in zip(tokens, indices, strict=True)])


def rates_in(schedule, options):
    """The schedule's total_steps and warmup_steps, and its three rates."""
    return *schedule, *({"peak": 1e-3, "start": 2e-4, "end": 1e-6} | options).values()


def draw_rates() -> dict[str, float]:
    peak, start, end = torch.rand(3).tolist()
    return {"peak": round(1 + 2 * peak, 3), "start": round(0.3 + 0.4 * start, 3), "end": round(0.1 + 0.1 * end, 3)}


def draw_decays() -> dict[str, float]:
    start, end = torch.rand(2).tolist()
    return {"start": round(1 + start, 3), "end": round(3 + end, 3)}


def half_cosine(begin: float, end: float, progress: float) -> float:
    return begin + (end - begin) * (1 - math.cos(math.pi * progress)) / 2


def other_curves(begin: float, end: float, steps: list[int], since: int, total: int) -> dict[str, list[float]]:
    """What goes wrong with half a cosine from begin at step `since` to end at step `total`."""
    span, fall = total - since, begin - end

    def curve(value):
        return [value((step - since) / span) for step in steps]

    return {
        "This is a straight line: it is half a cosine.": curve(lambda x: begin - fall * x),
        "The curve runs the wrong way: swap the two values, or the sign before the cosine.": curve(
            lambda x: half_cosine(end, begin, x)
        ),
        "This is a whole period of the cosine, there and back: the angle goes to pi.": curve(
            lambda x: half_cosine(begin, end, 2 * x)
        ),
        "The angle goes to pi, not to pi / 2.": curve(lambda x: half_cosine(begin, end, x / 2)),
        "This is a quarter of a cosine: half of one, (1 + cos) / 2 to the angle pi, is flat at both ends.": curve(
            lambda x: end + fall * math.cos(math.pi / 2 * x)
        ),
        "This is a sine: it is half a cosine.": curve(lambda x: begin - fall * math.sin(math.pi / 2 * x)),
        "The angle is in degrees: math.cos takes radians, so that it goes to math.pi.": curve(
            lambda x: half_cosine(begin, end, 180 / math.pi * x)
        ),
        "The angle lacks pi: it goes from 0 to pi.": curve(lambda x: half_cosine(begin, end, x / math.pi)),
        "1 + cos goes from 2 to 0: halve it.": curve(lambda x: end + fall * (1 + math.cos(math.pi * x))),
        "cos alone goes from 1 to -1: (1 + cos) / 2 goes from 1 to 0.": curve(
            lambda x: end + fall * math.cos(math.pi * x)
        ),
        "cos / 2 goes from 1/2 to -1/2: (1 + cos) / 2 goes from 1 to 0.": curve(
            lambda x: end + fall * math.cos(math.pi * x) / 2
        ),
        "The curve goes from the first value to 0: it goes to end.": curve(lambda x: half_cosine(begin, 0, x)),
        "The cosine is scaled by the first value: scale it by the difference of the two.": curve(
            lambda x: end + half_cosine(begin, 0, x)
        ),
        "The curve starts from 0: it starts from start.": curve(lambda x: half_cosine(0, end, x)),
        "The curve is one step ahead: progress is 0 where it starts.": curve(
            lambda x: half_cosine(begin, end, x + 1 / span)
        ),
        "The curve is one step late: progress is 0 where it starts.": curve(
            lambda x: half_cosine(begin, end, x - 1 / span)
        ),
        "The curve arrives one step too early: progress is 1 at step == total_steps.": curve(
            lambda x: half_cosine(begin, end, x * span / max(span - 1, 1))
        ),
        "The curve arrives one step too late: progress is 1 at step == total_steps.": curve(
            lambda x: half_cosine(begin, end, x * span / (span + 1))
        ),
    }


@exercise("learning_rate_at")
def test_learning_rate_at_warms_up_on_a_line(learner):
    """Before warmup_steps, the rate is on the line from start at step 0 to peak at step warmup_steps."""
    for schedule, options in zip(SCHEDULES, ({}, draw_rates(), draw_rates(), draw_rates()), strict=True):
        total, warmup, peak, start, end = rates_in(schedule, options)
        steps = sorted({0, 1, warmup // 2, warmup - 1})

        def rise(low, high, by, late=0, steps=steps):
            return [low + (high - low) * (step + late) / by for step in steps]

        mistakes = A_TENSOR | {
            "The warm-up begins at 0: it begins at start.": rise(0, peak, warmup),
            "The line overshoots: it rises by peak - start, not by peak.": rise(start, start + peak, warmup),
            "The warm-up is one step ahead: step 0 has the rate start.": rise(start, peak, warmup, 1),
            "The warm-up begins at 0 and is one step ahead: step 0 has the rate start.": rise(0, peak, warmup, 1),
            "The warm-up takes one step too many: peak is at step == warmup_steps.": rise(start, peak, warmup + 1),
            "The warm-up ends one step too early: peak is at step == warmup_steps.": rise(
                start, peak, max(warmup - 1, 1)
            ),
            "The line rises over all steps: it ends at warmup_steps.": rise(start, peak, total),
            "The warm-up runs the wrong way, from peak to start.": rise(peak, start, warmup),
            "The line goes to end: it goes to peak.": rise(start, end, warmup),
            "The rate stays at start: it rises to peak (and `//` would round the progress down to 0).": [start]
            * len(steps),
            "There is no warm-up: the rate is peak from the first step.": [peak] * len(steps),
            "There is no warm-up: the cosine starts at step 0.": [
                half_cosine(peak, end, step / total) for step in steps
            ],
            "The cosine is used before warmup_steps too: there the rate is on a line.": [
                half_cosine(peak, end, (step - warmup) / (total - warmup)) for step in steps
            ],
            "The warm-up is half a cosine: it is a straight line.": [
                half_cosine(start, peak, step / warmup) for step in steps
            ],
            "The rate grows by the same factor each step: it is on a straight line.": [
                start * (peak / start) ** (step / warmup) for step in steps
            ],
            "The arguments peak and start are ignored: these are the defaults.": rise(2e-4, 1e-3, warmup),
            "The argument peak is ignored: this is its default.": rise(start, 1e-3, warmup),
            "The argument start is ignored: this is its default.": rise(2e-4, peak, warmup),
        }
        got = learner(learning_rates, steps, total, warmup, options)
        likely = "In the warm-up the rate is start + (peak - start) * step / warmup_steps."
        compare(got, rise(start, peak, warmup), learner.called, mistakes, likely)


def compare(got, expected: list[float], called: str, mistakes: dict, likely: str) -> None:
    """Compare floats of any size closely. The first tensor in their place is named as one."""
    if any(value is None for value in got):
        likely = "Is a `return` missing?"
    tensors = [value for value in got if isinstance(value, Tensor)]
    if tensors:
        got, expected = tensors[0], expected[0]
    expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=1e-5, atol=1e-9)


@exercise("learning_rate_at")
def test_learning_rate_at_falls_on_half_a_cosine(learner):
    """From peak at warmup_steps the rate falls on half a cosine over the steps that remain."""
    for schedule, options in zip(SCHEDULES, ({}, draw_rates(), draw_rates(), draw_rates()), strict=True):
        total, warmup, peak, start, end = rates_in(schedule, options)
        steps = sorted({warmup, warmup + 1, (warmup + total) // 2, total - 1})
        span = total - warmup
        mistakes = A_TENSOR | {
            "The cosine runs over all steps: it starts after the warm-up, (step - warmup_steps) / (total_steps - "
            "warmup_steps).": [half_cosine(peak, end, step / total) for step in steps],
            "The steps of the warm-up are not taken off: progress is (step - warmup_steps) / (total_steps - "
            "warmup_steps).": [half_cosine(peak, end, step / span) for step in steps],
            "The steps of the warm-up are taken off above only: divide by total_steps - warmup_steps.": [
                half_cosine(peak, end, (step - warmup) / total) for step in steps
            ],
            "The fall begins at start: it begins at peak.": [
                half_cosine(start, end, (step - warmup) / span) for step in steps
            ],
            "The fall goes to start: it goes to end.": [
                half_cosine(peak, start, (step - warmup) / span) for step in steps
            ],
            "The rate stays at peak after the warm-up (`//` would round the progress down to 0).": [peak] * len(steps),
            "The arguments peak and end are ignored: these are the defaults.": [
                half_cosine(1e-3, 1e-6, (step - warmup) / span) for step in steps
            ],
            "The argument end is ignored: this is its default.": [
                half_cosine(peak, 1e-6, (step - warmup) / span) for step in steps
            ],
            "The argument peak is ignored: this is its default.": [
                half_cosine(1e-3, end, (step - warmup) / span) for step in steps
            ],
            **other_curves(peak, end, steps, warmup, total),
        }
        expected = [half_cosine(peak, end, (step - warmup) / span) for step in steps]
        got = learner(learning_rates, steps, total, warmup, options)
        likely = (
            "progress = (step - warmup_steps) / (total_steps - warmup_steps); end + (peak - end) * (1 + cos(pi * "
            "progress)) / 2."
        )
        compare(got, expected, learner.called, mistakes, likely)


@exercise("learning_rate_at")
def test_learning_rate_at_ends_at_end(learner):
    """At step == total_steps the rate is end."""
    for schedule in (*SCHEDULES, (5, 4)):  # the last one falls in a single step
        options = {} if schedule == SCHEDULES[0] else draw_rates()
        total, warmup, peak, start, end = rates_in(schedule, options)
        mistakes = A_TENSOR | {
            "The rate falls to 0: it falls to end.": [0.0],
            "The rate starts anew at the last step: progress is 1 there, not 0.": [start],
            "The rate is at peak again at the last step: progress is 1 there, not 0.": [peak],
            "This is the rate of the step before: end belongs to step == total_steps.": [
                half_cosine(peak, end, (total - 1 - warmup) / (total - warmup))
            ],
            **other_curves(peak, end, [total], warmup, total),
        }
        got = learner(learning_rates, [total], total, warmup, options)
        likely = "The cosine's progress must be exactly 1 at step == total_steps."
        compare(got, [end], learner.called, mistakes, likely)


@exercise("learning_rate_at")
def test_learning_rate_at_needs_no_warmup(learner):
    """With warmup_steps = 0, the rate falls on half a cosine over all steps."""
    for total, options in ((10, draw_rates()), (4, {})):
        _, _, peak, start, end = rates_in((total, 0), options)
        steps = list(range(total))
        expected = [half_cosine(peak, end, step / total) for step in steps]
        got = learner(learning_rates, steps, total, 0, options)
        # with no step of warm-up, step 0 may have either rate
        if isinstance(got[0], float) and abs(got[0] - start) < 1e-9:
            expected[0] = start
        likely = "Without a warm-up there is no line, nor a division by warmup_steps: step < warmup_steps never holds."
        mistakes = A_TENSOR | {
            sentence: [expected[0], *values[1:]] if values[0] == peak else values
            for sentence, values in other_curves(peak, end, steps, 0, total).items()
        }
        compare(got, expected, learner.called, mistakes, likely)


@exercise("weight_decay_at")
def test_weight_decay_at_reaches_both_ends(learner):
    """The weight decay is start at step 0 and end at step == total_steps."""
    for total, options in ((10, {}), (7, draw_decays())):
        start, end = ({"start": 0.04, "end": 0.4} | options).values()
        mistakes = A_TENSOR | {
            "The curve runs the wrong way, from end to start: the weight decay grows.": [end, start],
            "The last value is start again: progress is 1 at step == total_steps, not 0.": [start, start],
            "The arguments start and end are ignored: these are the defaults.": [0.04, 0.4],
            "The last value is that of the step before: end belongs to step == total_steps.": [
                start,
                half_cosine(start, end, (total - 1) / total),
            ],
            **other_curves(start, end, [0, total], 0, total),
        }
        got = learner(weight_decays, [0, total], total, options)
        likely = "progress = step / total_steps is 0 at the first of these steps and 1 at the last."
        compare(got, [start, end], learner.called, mistakes, likely)


@exercise("weight_decay_at")
def test_weight_decay_at_rises_on_half_a_cosine(learner):
    """Between its ends, the weight decay follows half a cosine."""
    for total, options in ((10, {}), (7, draw_decays())):
        start, end = ({"start": 0.04, "end": 0.4} | options).values()
        steps = [1, 2, total // 2, total - 1]
        mistakes = A_TENSOR | {
            "The weight decay stays at start (`//` would round the progress down to 0).": [start] * len(steps),
            "The weight decay is at end from the start.": [end] * len(steps),
            "The arguments start and end are ignored: these are the defaults.": [
                half_cosine(0.04, 0.4, step / total) for step in steps
            ],
            "The argument start is ignored: this is its default.": [
                half_cosine(0.04, end, step / total) for step in steps
            ],
            "The argument end is ignored: this is its default.": [
                half_cosine(start, 0.4, step / total) for step in steps
            ],
            **other_curves(start, end, steps, 0, total),
        }
        got = learner(weight_decays, steps, total, options)
        likely = "progress = step / total_steps; start + (end - start) * (1 - cos(pi * progress)) / 2."
        compare(got, [half_cosine(start, end, step / total) for step in steps], learner.called, mistakes, likely)


@exercise("parameter_groups")
def test_parameter_groups_hold_what_is_trained(learner):
    """Every trained parameter of student and predictor stands in one group; frozen ones and the teacher's in none."""
    expected = dict.fromkeys(TRAINED, "in one group")

    def only(condition):
        return {name: text for name, text in expected.items() if condition(name)}

    frozen, teacher = dict.fromkeys(FROZEN, "in one group"), dict.fromkeys(TEACHER, "in one group")
    mistakes = {
        "The teacher is included: it only follows the student, no gradient trains it.": expected | teacher,
        "Teacher and frozen parameters are included: take what requires a gradient in student and predictor.": expected
        | teacher
        | frozen,
        "Frozen parameters are included: take those whose requires_grad holds.": expected | frozen,
        "A frozen parameter is included: go by requires_grad, not by the name of the position tables.": expected
        | {"student.frozen": "in one group"},
        "The predictor is left out: it would never learn.": only(lambda name: name.startswith("student")),
        "The student is left out: it would never learn.": only(lambda name: name.startswith("predictor")),
        "The mask token is left out: it is a parameter of the predictor itself, not of one of its layers.": only(
            lambda name: name != "predictor.mask_token"
        ),
        "What belongs to the student or predictor itself, not to a layer, is left out: the mask token is one.": only(
            lambda name: name.count(".") > 1
        ),
        "The patch embedding is left out: it would never learn.": only(lambda name: "patch_embed" not in name),
        "Biases and norms are left out: they are still trained, in a group with weight_decay 0.": only(
            lambda name: TRAINED[name] > 1
        ),
        "Biases are left out: they belong in a group with weight_decay 0.": only(
            lambda name: not name.endswith("bias")
        ),
        "Parameters of one axis only are left out: they belong in a group with weight_decay 0.": only(
            lambda name: TRAINED[name] != 1
        ),
        "A parameter without axes is left out: it belongs with those of one axis.": only(
            lambda name: TRAINED[name] > 0
        ),
        "Parameters of three and four axes are left out: mask token and patch embedding are among those with "
        "weight decay.": only(lambda name: TRAINED[name] < 3),
        "Go by the axes of a parameter: those that are called neither weight nor bias are left out.": only(
            lambda name: name.endswith(("weight", "bias"))
        ),
    }
    got = membership(learner(grouped, {}, False))
    likely = (
        "Take the parameters of model.student and model.predictor for which requires_grad holds, each of them once."
    )
    expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def membership(pairs: list) -> dict[str, str]:
    times = Counter(name for name, _ in pairs)
    return {name: "in one group" if number == 1 else f"{number} times" for name, number in times.items()}


@exercise("parameter_groups", points=2)
def test_parameter_groups_decay_what_has_two_axes(learner):
    """Tensors of two axes and more have the weight decay asked for, those of fewer have none."""
    for options in ({}, {"weight_decay": 0.1 + round(torch.rand(()).item(), 3) / 5}):
        decay = options.get("weight_decay", 0.04)

        def rule(decayed, decay=decay):
            return {name: decay if decayed(name, axes) else 0.0 for name, axes in TRAINED.items()}

        expected = rule(lambda name, axes: axes > 1)
        mistakes = {
            "weight_decay is ignored: this is its default.": rule(lambda name, axes: axes > 1, 0.04),
            "Everything has weight decay: biases and LayerNorm weights must not.": rule(lambda name, axes: True),
            "Nothing has weight decay.": rule(lambda name, axes: False),
            "The two groups are swapped: what has two axes and more has weight decay.": rule(
                lambda name, axes: axes < 2
            ),
            "Go by the number of axes, not by the name: LayerNorm weights have one axis and are decayed here.": rule(
                lambda name, axes: "bias" not in name
            ),
            "Go by the number of axes, not by the name: what is called neither bias nor norm can have one axis.": rule(
                lambda name, axes: "bias" not in name and "norm" not in name
            ),
            "Biases are decayed: they have one axis.": rule(lambda name, axes: axes > 1 or name.endswith("bias")),
            "LayerNorm weights are decayed: they have one axis.": rule(
                lambda name, axes: axes > 1 or name.endswith("norm.weight")
            ),
            "The mask token has no weight decay: it has three axes, so it has one.": rule(
                lambda name, axes: axes > 1 and "mask" not in name
            ),
            "Tensors of three axes and more have no weight decay: only those of at most one have none.": rule(
                lambda name, axes: axes == 2
            ),
            "A parameter without axes is decayed: at most one axis means no weight decay.": rule(
                lambda name, axes: axes != 1
            ),
            "Tensors of one axis are decayed.": rule(lambda name, axes: axes > 0),
            "The predictor has no weight decay.": rule(lambda name, axes: axes > 1 and name.startswith("student")),
            "Go by the number of axes, not by the name: a bias of two axes is decayed.": rule(
                lambda name, axes: axes > 1 and "bias" not in name
            ),
            "A group has no weight_decay of its own, so that it gets the optimizer's (0.5 here): write 0.0.": {
                name: decay if axes > 1 else 0.5 for name, axes in TRAINED.items()
            },
            "The groups have no weight_decay of their own, so that they get the optimizer's (0.5 here).": dict.fromkeys(
                TRAINED, 0.5
            ),
            "A group has no weight_decay of its own, so that it gets the optimizer's (0.5 here).": {
                name: 0.5 if axes > 1 else 0.0 for name, axes in TRAINED.items()
            },
        }
        got = dict(learner(grouped, options, False))
        shared = [name for name in TRAINED if name in got]  # what is missing is another check's business
        for decayed, axes in ((True, "two axes and more"), (False, "less than two axes")):
            expect_that(
                any((TRAINED[name] > 1) == decayed for name in shared),
                called=learner.called,
                expected=f"groups that hold parameters of {axes}",
                got="none of these that student and predictor train",
                likely=f"Where no parameter of {axes} stands in a group, its weight decay can't be right.",
            )
        mistakes = {sentence: {name: wrong[name] for name in shared} for sentence, wrong in mistakes.items()}
        expect_close(
            {name: got[name] for name in shared},
            {name: expected[name] for name in shared},
            called=learner.called,
            mistakes=mistakes,
            likely="p.ndim tells the number of axes: weight_decay where it is 2 or more, 0.0 where it is 0 or 1.",
        )


@exercise("parameter_groups")
def test_parameter_groups_hold_a_tied_parameter_once(learner):
    """A parameter that two layers share stands in one group, once."""
    got = membership(learner(grouped, {}, True))
    called = learner.called + ", with two layers of the student that share their weight"
    expect_that(
        "student.mlp.weight" in got,
        called=called,
        expected="a group that holds the shared weight",
        got="none that does",
        likely="The shared weight stands in no group, so that it would not be trained at all.",
    )
    expect_that(
        "times" not in " ".join(got.values()),
        called=called,
        expected="each parameter once",
        got="; ".join(f"{name}: {text}" for name, text in got.items() if "times" in text),
        likely="Parameters are the same if they are one object: module.parameters() gives each of them once.",
    )


class Setting(NamedTuple):
    """What a step starts from."""

    student: Tensor
    teacher: Tensor
    predictor: Tensor
    images: Tensor
    context: Tensor
    targets: Tensor
    rate: float
    momentum: float
    left: float  # in every .grad, from before


def draw_setting(batch: int, blocks: int) -> Setting:
    patches = torch.rand(batch, 16).argsort(dim=1)
    targets = patches[:, 6:].repeat(1, blocks)[:, : 3 * blocks].view(batch, blocks, 3)
    weights = [torch.randn(12, 5) * 0.4, torch.randn(12, 5) * 0.4, torch.randn(5, 5)]
    rate, momentum = 0.1 + 0.1 * torch.rand(()).item(), 0.3 + 0.4 * torch.rand(()).item()
    return Setting(*weights, torch.randn(batch, 3, 8, 8), patches[:, :5], targets, rate, momentum, 3.0)


def view(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """The student's predictions, from the context alone."""
    return infer(predictor, encode(student, at.images, at.context), at.context, at.targets)


def truth(tokens: Tensor, at: Setting) -> Tensor:
    """The targets, from tokens of all patches."""
    return take(F.layer_norm(tokens, tokens.shape[-1:]), at.targets)


def gradients(at: Setting, loss) -> tuple[Tensor, Tensor]:
    """The gradients of loss(student, predictor)."""
    weights = [at.student.clone().requires_grad_(), at.predictor.clone().requires_grad_()]
    return torch.autograd.grad(loss(*weights), weights)


def step_of(at: Setting) -> tuple[Tensor, Tensor]:
    """The gradients of the right loss."""
    targets = truth(encode(at.teacher, at.images), at)
    return gradients(at, lambda student, predictor: F.mse_loss(view(student, predictor, at), targets))


SETTINGS = [(3, 2), (1, 4), (2, 1)]  # batch, target blocks


@exercise("train_step", points=2)
def test_train_step_compares_the_context_with_the_teachers_view(learner):
    """The loss: predictions from the student's view of the context against the teacher's view of the full image."""
    for size in SETTINGS:
        at = draw_setting(*size)
        full, seen = encode(at.teacher, at.images), view(at.student, at.predictor, at)
        targets = truth(full, at)
        everything = infer(at.predictor, take(encode(at.student, at.images), at.context), at.context, at.targets)
        blocks = torch.stack([encode(at.teacher, at.images, block) for block in at.targets.unbind(1)], dim=1)
        union = encode(at.teacher, at.images, at.targets.flatten(1)).view_as(blocks)
        moved = at.momentum * at.teacher + (1 - at.momentum) * at.student
        by_student, by_predictor = step_of(at)
        later = view(at.student - at.rate * by_student, at.predictor - at.rate * by_predictor, at)
        normal = [5]
        mistakes = {
            "The student sees the full image: pass it keep=masks.context, so that the targets stay hidden.": F.mse_loss(
                everything, targets
            ),
            "The teacher sees only the target patches: it encodes the full image, then targets are taken.": F.mse_loss(
                seen, F.layer_norm(union, normal)
            ),
            "The teacher sees one target block at a time: it encodes the full image, then the targets are "
            "taken.": F.mse_loss(seen, F.layer_norm(blocks, normal)),
            "The targets come from the student: they come from model.teacher.": F.mse_loss(
                seen, truth(encode(at.student, at.images), at)
            ),
            "The predictions come from the teacher's view of the context: the student encodes it.": F.mse_loss(
                view(at.teacher, at.predictor, at), targets
            ),
            "Student and teacher are swapped: the student encodes the context, the teacher the full image.": F.mse_loss(
                view(at.teacher, at.predictor, at), truth(encode(at.student, at.images), at)
            ),
            "The teacher is in training mode: it stays in eval mode.": F.mse_loss(seen, truth(full.flip(2), at)),
            "The targets are not normalised: F.layer_norm over D, as in teacher_targets.": F.mse_loss(
                seen, take(full, at.targets)
            ),
            "The teacher moves before its targets are taken: it moves at the end of the step.": F.mse_loss(
                seen, truth(encode(moved, at.images), at)
            ),
            "This is the loss after the step: give back the one that was minimised.": F.mse_loss(later, targets),
            "The predictions are normalised: only the targets are.": F.mse_loss(F.layer_norm(seen, normal), targets),
            "The squares are summed: the loss is their mean.": F.mse_loss(seen, targets, reduction="sum"),
            "The squares are summed over D: the loss is the mean over all axes.": 5 * F.mse_loss(seen, targets),
            "This is smooth L1: jepa_loss squares the difference.": F.smooth_l1_loss(seen, targets),
            "This is L1: jepa_loss squares the difference.": F.l1_loss(seen, targets),
        }
        loss = learner(one_step, *at)["loss"]
        likely = (
            "targets: teacher_targets of the full images at masks.targets. predictions: model.predictor of the "
            "student's tokens for keep=masks.context. Then jepa_loss of the two."
        )
        if type(loss) is float:  # another check's business
            loss = torch.tensor(loss)
        # one number: a narrow tolerance, or one mistake would now and then pass for another
        close = {"rtol": 1e-5, "atol": 1e-6}
        expect_close(loss, F.mse_loss(seen, targets), called=learner.called, mistakes=mistakes, likely=likely, **close)


@exercise("train_step")
def test_train_step_gives_a_detached_scalar(learner):
    """What comes back is a tensor without axes and without a graph."""
    at = draw_setting(2, 3)
    got = learner(one_step, *at)
    loss = got["loss"]
    what = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
    if isinstance(loss, Tensor):
        likely = "The graph is still attached, and would be kept for as long as the loss is: return loss.detach()."
    elif loss is None:
        likely = "Is the `return` missing?"
    else:
        likely = "A tensor is asked for: return loss.detach(); the caller decides when to call .item()."
    if isinstance(loss, Tensor) and loss.ndim:
        likely = "The loss is one number: the mean over all axes."
    expect_that(
        isinstance(loss, Tensor) and loss.ndim == 0 and not got["graph"],
        called=learner.called,
        expected="a tensor [] that requires no gradient",
        got=what + (" that requires a gradient" if got["graph"] else ""),
        likely=likely,
    )
    # a number of no step has no graph either
    moved = any(find_difference(got[name], getattr(at, name), 0, 0) for name in ("student", "predictor", "teacher"))
    expect_that(
        moved and bool(loss.isfinite()),
        called=learner.called,
        expected="the loss of a step that moves student, predictor and teacher",
        got=f"{describe(loss)}" + ", and none of them moved" * (not moved),
        likely="What comes back is the loss of a step that was taken: jepa_loss, backward, step, then loss.detach().",
    )


@exercise("train_step", points=2)
def test_train_step_moves_student_and_predictor(learner):
    """Student and predictor take one step of the optimizer along the gradient of this loss alone."""
    for size in SETTINGS:
        at = draw_setting(*size)
        by_student, by_predictor = step_of(at)
        norm = torch.cat([by_student.flatten(), by_predictor.flatten()]).norm()
        targets = truth(encode(at.teacher, at.images), at)

        def moved(student=by_student, predictor=by_predictor, at=at):
            return {"student": at.student - at.rate * student, "predictor": at.predictor - at.rate * predictor}

        def self_taught(student, predictor, at=at):
            return F.mse_loss(view(student, predictor, at), truth(encode(student, at.images), at))

        def unmasked(student, predictor, at=at, targets=targets):
            tokens = take(encode(student, at.images), at.context)
            return F.mse_loss(infer(predictor, tokens, at.context, at.targets), targets)

        none, right = torch.zeros_like, moved()
        swapped = at.momentum * right["student"] + (1 - at.momentum) * at.teacher
        mistakes = {
            "Nothing moved: optimizer.step() is missing, comes before loss.backward(), or is another optimizer's; or "
            "zero_grad() comes between backward() and step().": moved(none(by_student), none(by_predictor)),
            "Gradients left from before are added: call optimizer.zero_grad() before loss.backward().": moved(
                by_student + at.left, by_predictor + at.left
            ),
            "Only gradients left from before count: optimizer.step() comes after loss.backward().": moved(
                torch.full_like(by_student, at.left), torch.full_like(by_predictor, at.left)
            ),
            "The optimizer steps twice.": moved(2 * by_student, 2 * by_predictor),
            "The student did not move: its tokens are detached, or computed under no_grad.": moved(none(by_student)),
            "The student's tokens are detached, or computed under no_grad, so that only gradients left from before "
            "move it.": moved(torch.full_like(by_student, at.left)),
            "The predictor did not move.": moved(predictor=none(by_predictor)),
            "The targets come from the student, and the gradient runs through them: they are the teacher's.": moved(
                *gradients(at, self_taught)
            ),
            "The student sees the full image: pass it keep=masks.context.": moved(*gradients(at, unmasked)),
            "The gradient is clipped: the step takes it as it is.": moved(by_student / norm, by_predictor / norm),
            "The step goes up the gradient.": moved(-by_student, -by_predictor),
            "The gradient is of the summed loss, not of the mean.": moved(
                by_student * targets.numel(), by_predictor * targets.numel()
            ),
            "update_teacher has its arguments swapped: the student is moved to the teacher.": right
            | {"student": swapped},
        }
        got = learner(one_step, *at)
        likely = "zero_grad, backward, step, each once and in this order. A wrong loss moves them wrongly too."
        got = {name: got[name] for name in right}
        expect_close(got, right, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("train_step")
def test_train_step_moves_the_teacher_last(learner):
    """The teacher becomes momentum * teacher + (1 - momentum) * student, with the student after its step."""
    for size in SETTINGS:
        at = draw_setting(*size)
        got = learner(one_step, *at)
        student = got["student"]
        expect_that(
            isinstance(student, Tensor) and student.shape == at.student.shape,
            called=learner.called,
            expected=f"a student with weights {shape(at.student)}",
            got=shape(student) if isinstance(student, Tensor) else type(student).__name__,
            likely="The optimizer alone changes the student.",
        )

        def average(student, teacher=at.teacher, momentum=at.momentum):
            return momentum * teacher + (1 - momentum) * student

        after = average(student)
        mistakes = {
            "The teacher moves before the student's step: update_teacher comes after optimizer.step().": average(
                at.student
            ),
            "The teacher did not move: update_teacher is missing, or its arguments are swapped.": at.teacher,
            "The momentum is on the wrong side: it weighs the teacher.": average(student, momentum=1 - at.momentum),
            "momentum is ignored: this is .996.": average(student, momentum=0.996),
            "The teacher is a copy of the student: it moves by 1 - momentum of the way.": student,
            "The teacher moves twice.": average(student, teacher=after),
            "The teacher moves before and after the student's step: once, at the end.": average(
                student, teacher=average(at.student)
            ),
        }
        likely = "At the end, call update_teacher(model.teacher, model.student, momentum)."
        expect_close(got["teacher"], after, called=learner.called, mistakes=mistakes, likely=likely)
