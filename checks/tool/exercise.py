"""Which exercise a check belongs to, and what it is worth: `@exercise("patchify", points=2)`."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, cast

import torch


class Check(Protocol):
    """A test that is marked with its exercise and its points."""

    __name__: str
    __module__: str
    exercise: str
    points: int

    def __call__(self, learner: Any) -> None: ...


def exercise(name: str, points: int = 1) -> Callable[[Callable[[Any], None]], Check]:
    """Mark a test as a check of an exercise. An exercise is worth the sum of its checks' points."""

    def mark(test: Callable[[Any], None]) -> Check:
        check = cast(Check, test)
        check.exercise, check.points = name, points
        return check

    return mark


def drawn(*ranges: tuple[int, int]) -> tuple[int, ...]:
    """A number from each range, ends included: a size that no answer can have been written for."""
    return tuple(int(torch.randint(low, high + 1, ())) for low, high in ranges)


def check_files(stretch: bool = False) -> dict[str, str]:
    """The check module of each lesson, in order: {"patch_embedding": "checks.test_01_patch_embedding"}.

    stretch: those of the exercises that are left to who wants more, which earn nothing.
    """
    package = "checks.stretch" if stretch else "checks"
    folder = Path(__file__).parents[1] / "stretch" if stretch else Path(__file__).parents[1]
    names = sorted(path.stem for path in folder.glob("test_[0-9][0-9]_*.py"))
    return {re.sub(r"^test_\d\d_", "", name): f"{package}.{name}" for name in names}


def checks_of(lesson: str, stretch: bool = False) -> list[Check]:
    """The checks of a lesson, in the order of its check file; none if it has no stretch exercise."""
    files = check_files(stretch)
    if stretch and lesson not in files:
        return []
    module = importlib.import_module(files[lesson])
    found = [test for test in vars(module).values() if inspect.isfunction(test) and hasattr(test, "exercise")]
    return [cast(Check, check) for check in found]


def checks_by_exercise(lesson: str, stretch: bool = False) -> dict[str, list[Check]]:
    """The checks of each exercise of a lesson, in the order of its check file."""
    groups: dict[str, list[Check]] = {}
    for check in checks_of(lesson, stretch):
        groups.setdefault(check.exercise, []).append(check)
    return groups


def checks_of_exercise(name: str) -> list[Check]:
    """The checks of an exercise of any lesson, a stretch exercise too; none if there is no such exercise."""
    groups = [checks_by_exercise(lesson, stretch) for stretch in (False, True) for lesson in check_files(stretch)]
    return next((group[name] for group in groups if name in group), [])


def lesson_of(check: Check) -> str:
    """The lesson that a check belongs to, by the name of its file."""
    files = [pair for stretch in (False, True) for pair in check_files(stretch).items()]
    return next(lesson for lesson, module in files if module == check.__module__)


def find_lesson(name: str) -> str | None:
    """The lesson that has this exercise."""
    return next((lesson_of(check) for check in checks_of_exercise(name)), None)


def nearest(name: str) -> str | None:
    """The exercise whose name is most like this one, capitals and underscores aside; None if none is."""

    def letters(text: str) -> str:
        return text.lower().replace("_", "")

    groups = [checks_by_exercise(lesson, stretch) for stretch in (False, True) for lesson in check_files(stretch)]
    known = {letters(exercise): exercise for exercises in groups for exercise in exercises}
    near = get_close_matches(letters(name), known, n=1)
    return known[near[0]] if near else None


def catalogue() -> dict[str, dict[str, int]]:
    """What can be earned: {lesson: {exercise: points}}, both in the order of the course."""
    return {
        lesson: {name: sum(check.points for check in checks) for name, checks in checks_by_exercise(lesson).items()}
        for lesson in check_files()
    }
