"""Rows of classes that never were: as the grader makes them, settled, and with names that attack whoever shows them."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from checks.grader.judging.results import CheckResult, ExerciseResult, Row, Status
from checks.grader.policy import Policy, settle
from checks.grader.settled import SettledRow
from checks.tool.exercise import Check, catalogue, checks_of

CATALOGUE = catalogue()
CHECKS = {lesson: checks_of(lesson) for lesson in CATALOGUE}
LIKELY = (
    "The axes of the grid and of the pixels in a patch were not interleaved.",
    "Print the shape after each line of your code.",
    "The targets are still in the context: what the student has to predict is in its input.",
)
PAGE = "called    f([2, 3, 32, 48])\nexpected  [2, 6, 768]\ngot       [2, 768, 6]\nlikely    The axes are swapped."
REASONS = {
    "flagged": "torch.allclose was replaced by the submission.",
    "timeout": "It ran longer than 20 s.",
    "crashed": "The code called os._exit.",
    "unreadable": "The notebook is not valid JSON (line 3).",
    "missing": "There is no notebook in the folder.",
    "ungraded": "The sandbox could not start.",
}
HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table></details><h1>I am the report</h1>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("http://example.org","x")',
    "@SUM(A1:A9)",
    "\tcmd",
    "-2+3",
    "a;=1+1;b",
    "a\u202egnp.exe",
    "bell\x07 null\x00 escape\x1b[31m",
    'two\nlines\r\nof, "text"',
    "x" * 200,
    "e" + "\u0301" * 150,
    "\udcff\udcfe not UTF-8",
    "../../etc/passwd",
    "a/b\\c",
    "..",
    "Ada",
    "ada",
    "ADA",
    "Points Possible",
    "```\n# heading\n<b>bold</b>",
    "👩\u200d🔬 Zoë Müller-Łukasz",
    "محمد",
)


def made_up_row(student: str, lesson: str, status: str = "graded", share: float = 1.0, **changes: Any) -> Row:
    """A row as the grader makes it; share: how many of the checks pass, from the first one on."""
    checks = CHECKS[lesson]
    passed = [status in ("graded", "flagged") and number < share * len(checks) for number in range(len(checks))]
    verdicts: dict[str, list[CheckResult]] = {}
    for number, check in enumerate(checks):
        verdict = made_up_verdict(check, status, passed[number], LIKELY[number % 3])
        verdicts.setdefault(check.exercise, []).append(verdict)
    exercises = {name: made_up_exercise(status, own) for name, own in verdicts.items()}
    row = Row(
        student=student,
        lesson=lesson,
        status=Status(status),
        max_points=sum(CATALOGUE[lesson].values()),
        reason="",
        exercises=exercises,
        file=f"{lesson}.ipynb",
        seconds=0.1,
        key="0" * 64,
        tier="bubblewrap",
    )
    return replace(row, **changes)


def made_up_verdict(check: Check, status: str, passed: bool, likely: str) -> CheckResult:
    if passed:
        return CheckResult(check.__name__, check.__doc__ or "", "passed", check.points, check.points, "", "")
    said = "failed" if status == "graded" else status
    return CheckResult(check.__name__, check.__doc__ or "", said, 0, check.points, PAGE, likely)


def made_up_exercise(status: str, verdicts: list[CheckResult]) -> ExerciseResult:
    """As judging makes it: what is flagged has no points but has earned some, and what is ungraded has neither."""
    earned = None if status == "ungraded" else sum(verdict.points for verdict in verdicts)
    points = 0 if status == "flagged" else earned
    checks = () if status in ("missing", "unreadable", "ungraded") else tuple(verdicts)
    return ExerciseResult(Status(status), points, earned, sum(verdict.max_points for verdict in verdicts), "", checks)


def with_exercises(row: Row, change: Callable[[str, ExerciseResult], ExerciseResult]) -> Row:
    """The row with each exercise as `change(name, exercise)` makes it."""
    return replace(row, exercises={name: change(name, exercise) for name, exercise in row.exercises.items()})


def settled_row(*arguments: Any, **changes: Any) -> SettledRow:
    return settle(made_up_row(*arguments, **changes), Policy())


def made_up_class(size: int, seed: int = 0) -> list[SettledRow]:
    """Settled rows of a class: most have most of it, some have trouble of each kind."""
    draw = random.Random(seed)
    first = "ada bea cleo dov emil fay gus hana ivo june kofi lin mia noor otto pia quin rosa sven tia vera wei".split()
    rows = []
    for number in range(size):
        student, skill = f"{first[number % len(first)]}-{number:04d}", draw.betavariate(4, 1.4)
        below = {"flagged": 0.004, "crashed": 0.008, "timeout": 0.014, "unreadable": 0.016, "ungraded": 0.017}
        below["missing"] = 0.02 + 0.12 * (1 - skill)
        for depth, lesson in enumerate(CATALOGUE):
            share = min(1, max(0, draw.gauss(skill * (1.15 - 0.06 * depth), 0.12)))
            odd = draw.random()
            rest = "todo" if odd > 0.98 else "graded"
            status = next((status for status, limit in below.items() if odd < limit), rest)
            rows.append(settled_row(student, lesson, status, share, reason=REASONS.get(status, "")))
    return rows


def hostile_rows(names: tuple[str, ...] = HOSTILE) -> list[SettledRow]:
    """A class in which all that a student can choose is one of `names`: name, reasons, messages, notes."""
    rows = []
    for name in names:

        def hostile(_: str, exercise: ExerciseResult, name: str = name) -> ExerciseResult:
            checks = tuple(
                replace(check, page=check.page and f"{name}\nprinted   {name}", likely=check.likely and name)
                for check in exercise.checks
            )
            return replace(exercise, reason=f"The code raised {name}", checks=checks)

        for lesson, status in (("masking", "graded"), ("teacher", "flagged"), ("predictor", "crashed")):
            row = made_up_row(name, lesson, status, share=0.5, reason=name, notes=(name,), file=name)
            rows.append(settle(with_exercises(row, hostile), Policy()))
    return rows
