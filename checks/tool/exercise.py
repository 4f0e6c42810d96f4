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


def check_files() -> dict[str, str]:
    """The check module of each lesson, in order: {"patch_embedding": "checks.test_01_patch_embedding"}."""
    names = sorted(path.stem for path in Path(__file__).parents[1].glob("test_[0-9][0-9]_*.py"))
    return {re.sub(r"^test_\d\d_", "", name): f"checks.{name}" for name in names}


def checks_of(lesson: str) -> list[Check]:
    """The checks of a lesson, in the order of its check file."""
    module = importlib.import_module(check_files()[lesson])
    found = [test for test in vars(module).values() if inspect.isfunction(test) and hasattr(test, "exercise")]
    return [cast(Check, check) for check in found]


def checks_by_exercise(lesson: str) -> dict[str, list[Check]]:
    """The checks of each exercise of a lesson, in the order of its check file."""
    groups: dict[str, list[Check]] = {}
    for check in checks_of(lesson):
        groups.setdefault(check.exercise, []).append(check)
    return groups


def lesson_of(check: Check) -> str:
    """The lesson that a check belongs to, by the name of its file."""
    return next(lesson for lesson, module in check_files().items() if module == check.__module__)


def find_lesson(name: str) -> str | None:
    """The lesson that has this exercise."""
    return next((lesson for lesson, exercises in catalogue().items() if name in exercises), None)


def nearest(name: str) -> str | None:
    """The exercise whose name is most like this one, capitals and underscores aside; None if none is."""

    def letters(text: str) -> str:
        return text.lower().replace("_", "")

    known = {letters(exercise): exercise for exercises in catalogue().values() for exercise in exercises}
    near = get_close_matches(letters(name), known, n=1)
    return known[near[0]] if near else None


def catalogue() -> dict[str, dict[str, int]]:
    """What can be earned: {lesson: {exercise: points}}, both in the order of the course."""
    return {
        lesson: {name: sum(check.points for check in checks) for name, checks in checks_by_exercise(lesson).items()}
        for lesson in check_files()
    }
