"""What the teacher must be and give, by torch's own functions, and what its known mistakes give."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.calls import teacher as calls
from checks.calls.teacher import LocalTeacher, Student, filled
from checks.tool.expect import (
    Later,
    Mistakes,
    expect_close,
    expect_some_right,
    expect_that,
    find_difference,
    shape,
)

State = dict[str, Tensor]  # values by the names of a state dict
DIM = 6  # of a Student's tokens


def new_state(dtype: torch.dtype = torch.float32) -> State:
    """Random values for all that a Student holds."""
    state = dict(Student(DIM).to(dtype).state_dict())
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = torch.rand_like(value) + 0.5
        elif value.dtype == torch.long:
            state[name] = torch.randint(1, 10**6, value.shape)
        else:
            state[name] = torch.rand(value.shape) < 0.5
    return state


def answer(state: State, tokens: Tensor) -> Tensor:
    """What a Student with these values makes of tokens [B, 4, DIM] in eval mode."""
    with torch.no_grad():
        return filled(state).eval()(tokens)


def parameters(state: State) -> State:
    """The values of a Student's parameters, frozen ones too."""
    return {name: state[name] for name, _ in Student(DIM).named_parameters()}


def float_buffers(state: State) -> State:
    weights = parameters(state)
    return {name: value for name, value in state.items() if value.is_floating_point() and name not in weights}


def other_buffers(state: State) -> State:
    """The buffers of integers and bools."""
    return {name: state[name] for name in sorted(state) if not state[name].is_floating_point()}


def module_names(root: str) -> list[str]:
    """The modules in a Student; the outermost, which has no name, is called `root`."""
    return [name or root for name, _ in Student(DIM).named_modules()]


def teacher_modes() -> dict[str, bool]:
    """.training of the teacher and of every module in it: they are in eval mode."""
    return dict.fromkeys(module_names("teacher"), False)


def teacher_mode_mistakes() -> Mistakes:
    return {
        "Only the outermost module is in eval mode, so dropout still runs inside: call .eval() on the teacher.": {
            name: name != "teacher" for name in module_names("teacher")
        },
    }


def teacher_requires_grad() -> dict[str, bool]:
    return dict.fromkeys(student_requires_grad(), False)


def student_requires_grad() -> dict[str, bool]:
    """.requires_grad of a Student's parameters: the position table is frozen."""
    return {name: value.requires_grad for name, value in Student(DIM).named_parameters()}


def student_gradient_mistakes() -> Mistakes:
    names = student_requires_grad()
    return {
        "The student is frozen as well, so it would never learn: requires_grad_(False) is for the copy "
        "alone.": dict.fromkeys(names, False),
        "The student's frozen weights are made trainable: leave the student as it is.": dict.fromkeys(names, True),
    }


def student_modes() -> dict[str, bool]:
    """.training of the student and of every module in it, where the dropout alone is in eval mode."""
    return {name: name != "blocks.1" for name in module_names("student")}


def student_mode_mistakes() -> Mistakes:
    names = module_names("student")
    return {
        "The student is put in eval mode as well: call .eval() on the copy.": dict.fromkeys(names, False),
        "The student is put in train mode: leave each module in its own mode.": dict.fromkeys(names, True),
    }


def sharing_mistakes(state: State) -> Mistakes:
    """What a teacher shows of a change of the student, whose values were `state`."""
    changed = {name: ~value if value.dtype == torch.bool else value + 1 for name, value in state.items()}
    return {
        "The teacher moves with the student: it is the same module, or shares all its storage. Copy the values "
        "(copy.deepcopy).": changed,
        "The teacher's buffers are the student's own: copy them too.": changed | parameters(state),
        "The teacher's parameters are the student's own: copy them.": state | parameters(changed),
    }


def expect_copied(learner: Any, state: State) -> None:
    """The teacher holds as much as the student, and some of its values: of one that has none every property holds."""
    got, _ = learner(calls.state_of_teacher, state)
    missing = [name for name in state if name not in got]
    expect_that(
        not missing,
        called=learner.called,
        expected="a teacher that holds all that the student does",
        got=f"one without {', '.join(missing)}",
        likely="What came back doesn't hold what the student holds: the teacher is a copy of it (copy.deepcopy).",
    )
    floats = parameters(state) | float_buffers(state)
    expect_some_right(got, floats, called=learner.called, rtol=0, atol=0)


def expect_another(is_student: bool, called: str) -> None:
    """The teacher is not the student."""
    expect_that(
        not is_student,
        called=called,
        expected="another module than the student",
        got="the student itself",
        likely="What came back is the same module, which moves with the student: copy it (copy.deepcopy).",
    )


def scene(
    batch: int, rows: int, columns: int, dim: int, blocks: int, count: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, images and targets: each image's own patches, in no order, the same ones in several blocks."""
    weight = 3 * torch.randn(12, dim, dtype=dtype)  # so large that eps doesn't show
    images = torch.randn(batch, 3, 2 * rows, 2 * columns, dtype=dtype)
    order = torch.rand(batch, blocks, rows * columns).argsort(dim=2)
    return weight, images, order[:, :, :count].contiguous()


def faint_scene() -> tuple[Tensor, Tensor, Tensor]:
    """As scene, with weights so small that eps shows; one block of all 6 patches of one image, in their order."""
    weight, images, _ = scene(1, 2, 3, 5, 1, 6)
    return weight / 3000, images, torch.arange(6).reshape(1, 1, 6)


def tokens_of(weight: Tensor, images: Tensor) -> Tensor:
    """The tokens [B, N, D] of a LocalTeacher for the full images."""
    with torch.no_grad():
        return LocalTeacher(weight)(images)


def take(tokens: Tensor, targets: Tensor) -> Tensor:
    """The tokens [B, N, D] at targets [B, M, Nt], image by image: [B, M, Nt, D]."""
    return torch.stack([row[indices] for row, indices in zip(tokens, targets, strict=True)])


def normalised(tokens: Tensor, dims: tuple[int, ...] = (-1,), eps: float = 1e-5, correction: int = 0) -> Tensor:
    """Mean 0 and variance 1 over dims, as layer_norm does it over (D,)."""
    variance, mean = torch.var_mean(tokens, dims, correction=correction, keepdim=True)
    return (tokens - mean) / (variance + eps).sqrt()


def local_targets(weight: Tensor, images: Tensor, targets: Tensor) -> Tensor:
    """The targets [B, M, Nt, D] that a LocalTeacher gives."""
    return take(normalised(tokens_of(weight, images)), targets)


def target_mistakes(weight: Tensor, images: Tensor, targets: Tensor) -> Mistakes:
    tokens = tokens_of(weight, images)
    raw, right = take(tokens, targets), normalised(tokens)
    return {
        "layer_norm is missing: normalise the tokens over D.": raw,
        "Normalised over patches and D together: each token is normalised by itself, over (D,).": take(
            normalised(tokens, (1, 2)), targets
        ),
        "Normalised over the patches, not over D.": take(normalised(tokens, (1,)), targets),
        "Normalised over the images, not over D.": take(normalised(tokens, (0,)), targets),
        "Normalised over images and patches as batch norm does, not over D.": take(normalised(tokens, (0, 1)), targets),
        "Normalised over the whole batch: each token is normalised by itself, over (D,).": take(
            normalised(tokens, (0, 1, 2)), targets
        ),
        "Normalised over the patches of a block, not over D.": normalised(raw, (2,)),
        "Normalised over the patches of a block and D together: each token by itself, over (D,).": normalised(
            raw, (2, 3)
        ),
        "Divided by the length of the token (F.normalize): layer_norm takes the mean off and divides by the "
        "standard deviation.": F.normalize(raw, dim=-1),
        "The mean is not taken off.": raw / (raw.var(-1, correction=0, keepdim=True) + 1e-5).sqrt(),
        "The mean is taken off, but the division by the standard deviation is missing.": raw
        - raw.mean(-1, keepdim=True),
        "The variance is divided by D - 1: layer_norm divides by D.": normalised(raw, correction=1),
        "All images get the targets of image 0.": take(right, targets[:1].expand_as(targets)),
        "All targets are taken from image 0.": take(normalised(tokens[:1].expand_as(tokens)), targets),
        "The indices are sorted: keep the order of targets.": take(right, targets.sort(2).values),
    }


def eps_mistakes(weight: Tensor, images: Tensor, targets: Tensor) -> Mistakes:
    tokens = take(tokens_of(weight, images), targets)
    return {
        "eps is 1e-6: here it is torch's default, 1e-5.": normalised(tokens, eps=1e-6),
        "eps is left out: F.layer_norm adds 1e-5 to the variance.": normalised(tokens, eps=0),
        "eps is added to the standard deviation: it belongs to the variance, under the root.": (
            (tokens - tokens.mean(-1, keepdim=True)) / (tokens.std(-1, correction=0, keepdim=True) + 1e-5)
        ),
    }


def target_pixels(targets: Tensor, rows: int, columns: int) -> Tensor:
    """1 at the pixels of target patches, 0 elsewhere: [B, 1, H, W]."""
    batch = len(targets)
    inside = torch.zeros(batch, rows * columns).scatter(1, targets.flatten(1), 1.0)
    return F.interpolate(inside.reshape(batch, 1, rows, columns), scale_factor=2)


def expect_changed(targets: Tensor, before: Tensor, pixels: str, called: str, likely: str) -> None:
    """Every target must be another one since these pixels changed."""
    same = torch.isclose(targets, before, rtol=1e-4, atol=1e-5).all(dim=3)
    expect_that(
        not same.any(),
        called=called,
        expected=f"other targets after a change of the pixels {pixels}",
        got=f"{int(same.sum())} of {same.numel()} are the same",
        likely=likely,
    )


def target_graph_mistakes() -> Mistakes:
    return {
        "The targets hang on a graph, so that the loss would train the teacher: compute them under torch.no_grad().": {
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "Gradients stay switched off afterwards, so the student would not learn: use `with torch.no_grad():`.": {
            "requires_grad": False,
            "gradients on afterwards": False,
        },
    }


def expect_shape(got: Any, weight: Tensor, targets: Tensor, called: str) -> None:
    """There must be one token, of the width of the weight, for each index."""
    batch, blocks, count = targets.shape
    likely = "Give back one token for each index, block by block: [B, M, Nt, D]."
    if got is None:
        likely = "Is the `return` missing?"
    elif isinstance(got, Tensor) and got.shape == (batch, blocks * count, weight.shape[1]):
        likely = "The blocks stand in one row: split M * Nt into (M, Nt) again, with unflatten or reshape."
    expected = [batch, blocks, count, weight.shape[1]]
    expect_that(
        isinstance(got, Tensor) and list(got.shape) == expected,
        called=called,
        expected=f"a tensor {expected}",
        got=shape(got) if isinstance(got, Tensor) else type(got).__name__,
        likely=likely,
    )


def moved(teacher: State, students: list[State], change: Callable[[Tensor, Tensor], Tensor]) -> State:
    """What the teacher's values become if each step makes change(teacher, student) of them."""
    for student in students:
        teacher = {name: change(value, student[name]) for name, value in teacher.items()}
    return teacher


def averaged(teacher: State, students: list[State], m: float) -> State:
    """What these values of the teacher must become, one step for each student."""
    return moved(teacher, students, lambda t, s: m * t + (1 - m) * s)


DECAY = (
    "The student never arrives and the teacher decays to 0: `.add(...)` makes a new tensor that is thrown away, and "
    "`.add_(...)` works in place."
)


def average_mistakes(teacher: State, students: list[State], m: float) -> Mistakes:
    """What each mistake makes of these values of the teacher, be they parameters or buffers."""
    changes = {
        "The teacher has not moved: write the new values into its parameters and buffers, in place.": lambda t, s: t,
        "The momentum is on the wrong side: it belongs to the teacher, 1 - momentum to the student.": lambda t, s: (
            (1 - m) * t + m * s
        ),
        DECAY: lambda t, s: m * t,
        "The student is copied: the teacher must keep the share `momentum` of its own value.": lambda t, s: s,
        "The student's factor 1 - momentum is missing.": lambda t, s: m * t + s,
        "The teacher's factor momentum is missing.": lambda t, s: t + (1 - m) * s,
        "The sign is wrong: the teacher moves away from the student.": lambda t, s: t - (1 - m) * (s - t),
        "Both have the factor momentum: the student's is 1 - momentum.": lambda t, s: m * (t + s),
        "The student is added before the teacher is scaled: scale first, then add.": lambda t, s: m * (t + (1 - m) * s),
        "The average is taken twice in one call.": lambda t, s: m * (m * t + (1 - m) * s) + (1 - m) * s,
    }
    return {sentence: moved(teacher, students, change) for sentence, change in changes.items()}


def parameter_mistakes(weights: State, students: list[State], m: float) -> Mistakes:
    left_out = averaged(weights, students, m) | {"pos_embed": weights["pos_embed"]}
    return {
        "Frozen parameters are left out, such as a position table: average them too.": left_out,
        **average_mistakes(weights, students, m),
    }


def decay_mistakes(weight: Tensor, m: float, steps: int) -> Mistakes:
    return {DECAY: m**steps * weight}


def float_buffer_mistakes(floats: State, students: list[State], m: float) -> Mistakes:
    return {
        "Buffers of floats are left out: average them as the parameters.": floats,
        "Buffers of floats are copied from the student: average them as the parameters.": {
            name: students[-1][name] for name in floats
        },
        **average_mistakes(floats, students, m),
    }


def other_buffer_mistakes(teacher: State, student: State, m: float) -> Mistakes:
    old, new = other_buffers(teacher), other_buffers(student)
    return {
        "Buffers of integers and bools are left as they were: copy the student's.": old,
        "Integers and bools are averaged: copy the student's, test `is_floating_point()`.": {
            name: (m * old[name] + (1 - m) * new[name]).to(old[name].dtype) for name in old
        },
        "Buffers of integers are left as they were: copy the student's.": old | {"flags": new["flags"]},
    }


def expect_moved(new: State, old: State, student: State, momentum: float, called: str) -> None:
    """The teacher's values must have changed, and some rightly: how they are written can't be seen where none is."""
    expect_that(
        bool(find_difference(new, old, 0, 0)),
        called=called,
        expected="a teacher with other values than before",
        got="all values are as they were",
        likely="The teacher did not move: write the new values into its parameters and buffers, in place.",
    )
    floats = parameters(old) | float_buffers(old)
    expect_some_right(new, averaged(floats, [student], momentum), called=called)


IN_PLACE = "write into the ones it has (mul_ and add_, lerp_, copy_), no `p.data = ...` and no new Parameter."


def storage_mistakes(old: State, weights: State, new: State) -> Mistakes:
    """What references from before an update show, where the values, of which weights are parameters, go to new."""
    kept = {name: new[name] for name in weights if name in new}
    return {
        f"The teacher's tensors are replaced by new ones: {IN_PLACE}": old,
        f"The teacher's parameters are replaced by new tensors: {IN_PLACE}": new | weights,
        f"The teacher's buffers are replaced by new tensors: {IN_PLACE}": old | kept,
    }


def update_graph_mistakes() -> Mistakes:
    return {
        "The update is recorded by autograd, and the graph grows with each step: update under torch.no_grad().": {
            "a graph": True,
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "The teacher's weights require gradients after the update: leave requires_grad alone.": {
            "a graph": False,
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "Gradients stay switched off afterwards, so the student would not learn: use `with torch.no_grad():`.": {
            "a graph": False,
            "requires_grad": False,
            "gradients on afterwards": False,
        },
    }


Steps = list[tuple[int, int]]  # step, total_steps


def line(steps: Steps, start: float, end: float) -> list[float]:
    """The momentum at each of the steps."""
    return [start + (end - start) * step / total for step, total in steps]


def expect_line(got: list, expected: list[float], steps: Steps, start: float, end: float) -> None:
    """The momenta must be the line from start to end; a mistake is named only if it explains all of them."""
    numbers = all(type(value) in (int, float) for value in got)
    likely = "start + (end - start) * step / total_steps." if numbers else "Give back a float: no tensor is needed."
    for i, (step, total) in enumerate(steps):
        arguments = f"{step}, {total}" + ("" if (start, end) == (0.996, 1.0) else f", start={start}, end={end}")
        expect_close(
            got[i],
            expected[i],
            called=f"momentum_at({arguments})",
            mistakes=Later(explaining_mistakes, got if numbers else [], i, steps, start, end),
            likely=likely,
            rtol=0,
            atol=1e-6,
        )


def explaining_mistakes(got: list, i: int, steps: Steps, start: float, end: float) -> Mistakes:
    """The mistakes that explain all of the values, each with its value i."""
    lines = [line_mistakes(step, total, start, end) for step, total in steps[: len(got)]]
    return {
        name: float(lines[i][name])
        for name in (lines[0] if lines else {})
        if torch.allclose(doubles(got), doubles([float(line[name]) for line in lines]), 0, 1e-6)
    }


def doubles(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def line_mistakes(step: int, total: int, start: float, end: float) -> dict[str, float]:
    """What each mistake makes of the momentum, by its sentence."""
    progress, span, cosine = step / total, end - start, math.cos(step / total * math.pi)
    early = "end is reached one step too early: progress is step / total_steps, not step / (total_steps - 1)."
    geometric = start * (end / start) ** progress if start else 0.0
    return {
        "The schedule runs backwards: it must go from start to end.": end - span * progress,
        "This is half a cosine: the momentum is a straight line.": start + span * (1 - cosine) / 2,
        "This is half a cosine, backwards: a straight line from start to end.": start + span * (1 + cosine) / 2,
        "The momentum never falls below start, but the line goes down where end is smaller.": max(
            start, start + span * progress
        ),
        "The momentum is constant: it must move from start to end.": start,
        "The momentum is constant, at end: it must move from start to end.": end,
        "`//` divides to a whole number: use `/`.": start + span * (step // total),
        early: start + span * step / max(total - 1, 1),
        f"{early} ": start + span * min(step / max(total - 1, 1), 1.0),  # the same, then held
        "end is never reached: progress is step / total_steps, not step / (total_steps + 1).": start
        + span * step / (total + 1),
        "It is one step ahead: progress is step / total_steps, not (step + 1) / total_steps.": start
        + span * (step + 1) / total,
        "This is quadratic: the momentum is a straight line.": start + span * progress**2,
        "This is geometric: the momentum is a straight line.": geometric,
        "end stands where end - start belongs: start + (end - start) * progress.": start + end * progress,
        "start is missing: start + (end - start) * progress.": span * progress,
        "start and end are not used, but .996 and 1 whatever is asked for.": 0.996 + 0.004 * progress,
        "Steps are not divided by total_steps.": start + span * step,
    }
