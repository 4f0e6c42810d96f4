"""Lesson 6: training."""

import torch
from torch import Tensor

from checks.calls import training as calls
from checks.expected import training as oracle
from checks.expected import training_schedules as schedules
from checks.tool.exercise import exercise
from checks.tool.expect import (
    Later,
    describe,
    expect_close,
    expect_equal,
    expect_some_right,
    expect_that,
    find_difference,
    shape,
)

# total_steps, warmup_steps
SCHEDULES = [(20, 4), (101, 10), (7, 2), (50, 25)]


def rated_schedules() -> list[tuple[int, int, dict[str, float]]]:
    """total_steps, warmup_steps, and the rates that are given: none in the first, so that its defaults hold."""
    return [(*schedule, schedules.draw_rates() if number else {}) for number, schedule in enumerate(SCHEDULES)]


@exercise("learning_rate_at")
def test_learning_rate_at_warms_up_on_a_line(learner):
    """Before warmup_steps, the rate is on the line from start at step 0 to peak at step warmup_steps."""
    for total, warmup, options in rated_schedules():
        rates, steps = schedules.Rates(**options), sorted({0, 1, warmup // 2, warmup - 1})
        expected = schedules.line(rates.start, rates.peak, steps, warmup)
        every = list(range(warmup))
        whole = learner(calls.learning_rates, every, total, warmup, options)
        mistakes = Later(schedules.explaining, schedules.warmup_mistakes, whole, every, steps, total, warmup, rates)
        got = learner(calls.learning_rates, steps, total, warmup, options)
        likely = "In the warm-up the rate is start + (peak - start) * step / warmup_steps."
        schedules.compare(got, expected, learner.called, mistakes, likely)


@exercise("learning_rate_at")
def test_learning_rate_at_falls_on_half_a_cosine(learner):
    """From peak at warmup_steps the rate falls on half a cosine over the steps that remain."""
    for total, warmup, options in rated_schedules():
        rates, steps = schedules.Rates(**options), sorted({warmup, warmup + 1, (warmup + total) // 2, total - 1})
        expected = schedules.half_cosines(rates.peak, rates.end, steps, warmup, total)
        every = list(range(warmup, total + 1))
        whole = learner(calls.learning_rates, every, total, warmup, options)
        mistakes = Later(schedules.explaining, schedules.fall_mistakes, whole, every, steps, total, warmup, rates)
        got = learner(calls.learning_rates, steps, total, warmup, options)
        likely = (
            "progress = (step - warmup_steps) / (total_steps - warmup_steps); end + (peak - end) * (1 + cos(pi * "
            "progress)) / 2."
        )
        schedules.compare(got, expected, learner.called, mistakes, likely)


@exercise("learning_rate_at")
def test_learning_rate_at_ends_at_end(learner):
    """At step == total_steps the rate is end."""
    for total, warmup, options in (*rated_schedules(), (5, 4, schedules.draw_rates())):  # the last: one step of fall
        rates, every = schedules.Rates(**options), list(range(warmup, total + 1))
        whole = learner(calls.learning_rates, every, total, warmup, options)
        mistakes = Later(schedules.explaining, schedules.fall_mistakes, whole, every, [total], total, warmup, rates)
        got = learner(calls.learning_rates, [total], total, warmup, options)
        likely = "The cosine's progress must be exactly 1 at step == total_steps."
        schedules.compare(got, [rates.end], learner.called, mistakes, likely)


@exercise("learning_rate_at")
def test_learning_rate_at_needs_no_warmup(learner):
    """With warmup_steps = 0, the rate falls on half a cosine over all steps."""
    for total, options in ((10, schedules.draw_rates()), (4, {})):
        rates, steps = schedules.Rates(**options), list(range(total))
        expected = schedules.half_cosines(rates.peak, rates.end, steps, 0, total)
        got = learner(calls.learning_rates, steps, total, 0, options)
        # with no step of warm-up, step 0 may have either rate
        if isinstance(got[0], float) and abs(got[0] - rates.start) < 1e-9:
            expected[0] = rates.start
        mistakes = Later(schedules.no_warmup_mistakes, expected[0], steps, total, rates)
        likely = "Without a warm-up the half cosine runs over all steps: progress = step / total_steps."
        schedules.compare(got, expected, learner.called, mistakes, likely)


@exercise("weight_decay_at")
def test_weight_decay_at_reaches_both_ends(learner):
    """The weight decay is start at step 0 and end at step == total_steps."""
    for total, options in ((10, {}), (7, schedules.draw_decays())):
        decays, every = schedules.Decays(**options), list(range(total + 1))
        whole = learner(calls.weight_decays, every, total, options)
        mistakes = Later(schedules.explaining, schedules.decay_mistakes, whole, every, [0, total], total, decays)
        got = learner(calls.weight_decays, [0, total], total, options)
        likely = "progress = step / total_steps is 0 at the first of these steps and 1 at the last."
        schedules.compare(got, list(decays), learner.called, mistakes, likely)


@exercise("weight_decay_at")
def test_weight_decay_at_rises_on_half_a_cosine(learner):
    """Between its ends, the weight decay follows half a cosine."""
    for total, options in ((10, {}), (7, schedules.draw_decays())):
        decays, steps = schedules.Decays(**options), [1, 2, total // 2, total - 1]
        expected = schedules.half_cosines(decays.start, decays.end, steps, 0, total)
        every = list(range(total + 1))
        whole = learner(calls.weight_decays, every, total, options)
        mistakes = Later(schedules.explaining, schedules.decay_mistakes, whole, every, steps, total, decays)
        got = learner(calls.weight_decays, steps, total, options)
        likely = "progress = step / total_steps; start + (end - start) * (1 - cos(pi * progress)) / 2."
        schedules.compare(got, expected, learner.called, mistakes, likely)


@exercise("parameter_groups")
def test_parameter_groups_hold_what_is_trained(learner):
    """Every trained parameter of student and predictor stands in one group; frozen ones and the teacher's in none."""
    expected, mistakes = oracle.once_each(), Later(oracle.membership_mistakes)
    got = oracle.membership(learner(calls.grouped, {}, False))
    likely = (
        "Take the parameters of model.student and model.predictor for which requires_grad holds, each of them once."
    )
    expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("parameter_groups", points=2)
def test_parameter_groups_decay_what_has_two_axes(learner):
    """Tensors of two axes and more have the weight decay asked for, those of fewer have none."""
    for options in ({}, {"weight_decay": 0.1 + round(torch.rand(()).item(), 3) / 5}):
        decay = options.get("weight_decay", 0.04)
        expected = oracle.decays(decay)
        got = dict(learner(calls.grouped, options, False))
        shared = [name for name in expected if name in got]  # what is missing is another check's business
        for decayed, axes in ((True, "two axes and more"), (False, "less than two axes")):
            expect_that(
                any((oracle.TRAINED[name] > 1) == decayed for name in shared),
                called=learner.called,
                expected=f"groups that hold parameters of {axes}",
                got="none of these that student and predictor train",
                likely=f"Where no parameter of {axes} stands in a group, its weight decay can't be right.",
            )
        expect_close(
            {name: got[name] for name in shared},
            {name: expected[name] for name in shared},
            called=learner.called,
            mistakes=Later(oracle.decay_mistakes, decay, shared),
            likely="p.ndim tells the number of axes: weight_decay where it is 2 or more, 0.0 where it is 0 or 1.",
        )


@exercise("parameter_groups")
def test_parameter_groups_hold_a_tied_parameter_once(learner):
    """A parameter that two layers share stands in one group, once."""
    got = oracle.membership(learner(calls.grouped, {}, True))
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


SETTINGS = [(3, 2), (1, 4), (2, 1)]  # batch, target blocks


@exercise("train_step", points=2)
def test_train_step_compares_the_context_with_the_teachers_view(learner):
    """The loss: predictions from the student's view of the context against the teacher's view of the full image."""
    for size in SETTINGS:
        at = oracle.draw_setting(*size)
        expected, mistakes = oracle.loss(at.student, at.predictor, at), Later(oracle.loss_mistakes, at)
        loss = learner(calls.one_step, *at)["loss"]
        likely = (
            "targets: teacher_targets of the full images at masks.targets. predictions: model.predictor of the "
            "student's tokens for keep=masks.context. Then jepa_loss of the two."
        )
        if type(loss) is float:  # another check's business
            loss = torch.tensor(loss)
        # one number: a narrow tolerance, or one mistake would now and then pass for another
        close = {"rtol": 1e-5, "atol": 1e-6}
        expect_close(loss, expected, called=learner.called, mistakes=mistakes, likely=likely, **close)


@exercise("train_step")
def test_train_step_gives_a_detached_scalar(learner):
    """What comes back is a tensor without axes and without a graph."""
    at = oracle.draw_setting(2, 3)
    got = learner(calls.one_step, *at)
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
    expected = {**oracle.after_step(at, *oracle.gradients(at)), "teacher": oracle.average(at, got["student"])}
    expect_some_right(got, expected, called=learner.called)


@exercise("train_step", points=2)
def test_train_step_moves_student_and_predictor(learner):
    """Student and predictor take one step of the optimizer along the gradient of this loss alone."""
    for size in SETTINGS:
        at = oracle.draw_setting(*size)
        expected, mistakes = oracle.after_step(at, *oracle.gradients(at)), Later(oracle.step_mistakes, at)
        got = learner(calls.one_step, *at)
        likely = "zero_grad, backward, step, each once and in this order. A wrong loss moves them wrongly too."
        got = {name: got[name] for name in expected}
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("train_step")
def test_train_step_moves_the_teacher_last(learner):
    """The teacher becomes momentum * teacher + (1 - momentum) * student, with the student after its step."""
    for size in SETTINGS:
        at = oracle.draw_setting(*size)
        got = learner(calls.one_step, *at)
        student = got["student"]
        expect_that(
            isinstance(student, Tensor) and student.shape == at.student.shape and bool(student.isfinite().all()),
            called=learner.called,
            expected=f"a student with finite weights {shape(at.student)}",
            got=describe(student),
            likely="The optimizer alone changes the student.",
        )
        expected, mistakes = oracle.average(at, student), Later(oracle.teacher_mistakes, at, student)
        likely = "At the end, call update_teacher(model.teacher, model.student, momentum)."
        expect_close(got["teacher"], expected, called=learner.called, mistakes=mistakes, likely=likely)
