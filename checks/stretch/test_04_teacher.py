"""Lesson 4, for who wants more: the moving average of all tensors at once."""

import torch
from torch import Tensor, nn

from checks.stretch.counting import counted
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close, expect_equal, expect_some_right, expect_that


def updated(lesson, teacher, student, momentum):
    """update_all(teacher, student, {momentum}), lists of tensors; then a look at both"""
    teacher = [nn.Parameter(value, requires_grad=False) for value in teacher]
    student = [nn.Parameter(value) for value in student]
    held, theirs = list(teacher), list(student)
    lesson.update_all(teacher, student, momentum)
    return {
        "teacher": held,
        "same lists": [id(one) for one in teacher + student] == [id(one) for one in held + theirs],
        "student": theirs,
        "graph": {
            "a graph": any(one.grad_fn is not None for one in held),
            "requires_grad": any(one.requires_grad for one in held),
            "gradients on afterwards": torch.is_grad_enabled(),
        },
    }


def operations(lesson, teacher, student, momentum):
    """update_all(teacher, student, {momentum}), lists of tensors"""
    teacher = [nn.Parameter(value, requires_grad=False) for value in teacher]
    count, _ = counted(lambda: lesson.update_all(teacher, [nn.Parameter(value) for value in student], momentum))
    return count, teacher


def new_tensors(count: int) -> list[Tensor]:
    """Weights of all shapes, the last one a number."""
    sizes = [drawn((1, 5), (1, 5))[: axis % 3] for axis in range(1, count)]
    return [torch.rand(size) + 0.5 for size in (*sizes, ())]


def column(tensors: list[Tensor]) -> Tensor:
    """All numbers in a row of their own: [count, 1]."""
    return torch.cat([value.flatten() for value in tensors])[:, None]


def averaged(teacher: list[Tensor], student: list[Tensor], momentum: float) -> list[Tensor]:
    return [momentum * mine + (1 - momentum) * other for mine, other in zip(teacher, student, strict=True)]


def mistakes_of(teacher: list[Tensor], student: list[Tensor], momentum: float) -> Mistakes:
    """What the known mistakes make of the teacher's tensors."""
    pairs = list(zip(teacher, student, strict=True))
    return {
        "The teacher has not moved: functions of lists change it only if their name ends in `_`, and a name that is "
        "bound to something new changes nothing.": teacher,
        "The momentum is on the wrong side: lerp goes its weight's part of the way to the student.": averaged(
            teacher, student, 1 - momentum
        ),
        "Only the product is left: the sum is computed and thrown away. Does its function end in `_`?": [
            momentum * mine for mine in teacher
        ],
        "The student is added in full: give the sum alpha=1 - momentum.": [
            momentum * mine + other for mine, other in pairs
        ],
        "The teacher is a copy of the student, without any past.": student,
    }


@exercise("update_all")
def test_update_all_averages_in_place(learner):
    """Each tensor of the teacher becomes the average, in its own storage; lists and student stay, and no graph."""
    for momentum in (0.9, 0.996, 1.0, round(float(0.1 + 0.3 * torch.rand(())), 3)):
        teacher = new_tensors(7)
        student = [torch.rand_like(value) for value in teacher]
        expected, mistakes = averaged(teacher, student, momentum), Later(mistakes_of, teacher, student, momentum)
        got = learner(updated, teacher, student, momentum)
        expect_that(
            got["same lists"],
            called=learner.called,
            expected="lists that hold the tensors that they held",
            got="other tensors in them",
            likely="The list holds new tensors, and the model whose tensors these were knows nothing of them: change "
            "the tensors themselves, by functions whose names end in `_`.",
        )
        likely = "Each tensor becomes momentum * teacher + (1 - momentum) * student."
        expect_close(got["teacher"], expected, called=learner.called, mistakes=mistakes, likely=likely)
        likely = "The student is changed: a function whose name ends in `_` changes the first list that it is given."
        expect_equal(got["student"], student, called=f"{learner.called}: the student", likely=likely)
        graph = {"a graph": False, "requires_grad": False, "gradients on afterwards": True}
        likely = (
            "The update is recorded by autograd, or gradients stay switched off: `with torch.no_grad():` around it."
        )
        expect_equal(got["graph"], graph, called=learner.called, likely=likely)


@exercise("update_all")
def test_update_all_takes_all_at_once(learner):
    """Lists of 40 tensors take as many operations of torch as lists of 4."""
    counts = []
    for length in (4, 40):
        teacher = new_tensors(length)
        student = [torch.rand_like(value) for value in teacher]
        count, got = learner(operations, teacher, student, 0.75)
        expect_some_right(column(got), column(averaged(teacher, student, 0.75)), called=learner.called)
        counts.append(count)
    expect_that(
        counts[0] == counts[1],
        called=f"{learner.called} of 4 and of 40",
        expected=f"{counts[0]} operations of torch for either",
        got=f"{counts[0]} for 4 tensors, {counts[1]} for 40",
        likely="There is an operation for each tensor, or several: torch._foreach_mul_, torch._foreach_add_ and "
        "torch._foreach_lerp_ take whole lists.",
    )
