"""Whatever an answer gives back, a check says what is wrong with it: none breaks, and none passes."""

import re

import pytest

from checks.tool.exercise import check_files, checks_by_exercise
from checks.tool.learner import run_checks
from solutions.misconceptions import exercises, load

STRANGE = (
    "None",
    "...",
    "0",
    "-1.5",
    "float('nan')",
    "10**30",
    "True",
    "'text'",
    "()",
    "[[]]",
    "{}",
    "{0: 1}",
    "(1, 2, 3)",
    "(torch.tensor([2, 3]), torch.tensor([2, 3]))",
    "[torch.zeros(2), torch.zeros(3)]",
    "torch.zeros(())",
    "torch.zeros(0)",
    "torch.zeros(3, 0, 2)",
    "torch.full((2, 3), float('nan'))",
    "torch.zeros(2, 2, 2, 2, 2, 2)",
    "torch.zeros(2, 3, dtype=torch.long) - 1",
    "torch.ones(2, 3, dtype=torch.bool)",
    "torch.ones(4, dtype=torch.complex64)",
    "torch.ones(2, 9, 4).half()",
)
SEED = 3
EXERCISES = [(lesson, name) for lesson in check_files() for name in exercises(lesson)]


def giving(cell: str, name: str, value: str) -> str:
    """An exercise's cell whose function, or whose class's forward, gives the value."""
    if re.search(rf"^class {name}\b", cell, re.MULTILINE):
        return f"{cell}\n{name}.forward = lambda self, *inputs, **options: {value}\n"
    return f"def {name}(*inputs, **options):\n    return {value}\n"


@pytest.mark.parametrize(("lesson", "exercise"), EXERCISES)
def test_no_check_breaks_on_a_strange_result(lesson, exercise):
    checks, cell = checks_by_exercise(lesson)[exercise], exercises(lesson)[exercise]
    for value in STRANGE:
        for verdict in run_checks(checks, load(lesson, exercise, giving(cell, exercise, value)), SEED):
            assert verdict.status != "broken", f"{verdict.check} given {value}\n{verdict.page}"


def answer(lesson: str, exercise: str, old: str, new: str) -> list[str]:
    """The statuses of the checks, over seeds, for the reference with other text."""
    cell = exercises(lesson)[exercise]
    assert cell.count(old) == 1
    module = load(lesson, exercise, cell.replace(old, new))
    checks = checks_by_exercise(lesson)[exercise]
    return [verdict.status for seed in range(20) for verdict in run_checks(checks, module, seed)]


def test_a_predictor_that_fails_at_drawn_sizes_alone_breaks_no_check():
    """Widths that are drawn need not be multiples of all the numbers of heads that a mistake may have."""
    wrong = "return 1 + predictions.unflatten(0, (-1, num_blocks))"
    statuses = answer("predictor", "Predictor", "return predictions.unflatten(0, (-1, num_blocks))", wrong)
    assert set(statuses) == {"passed", "failed"}


@pytest.mark.parametrize("name", ["seen", "centre"])
def test_a_teacher_that_loses_a_buffer_breaks_no_check(name):
    lost = f"teacher._buffers.pop({name!r}, None)\n        for mine, other in zip(teacher.buffers()"
    statuses = answer("teacher", "update_teacher", "for mine, other in zip(teacher.buffers()", lost)
    assert set(statuses) <= {"passed", "failed"} and "failed" in statuses
