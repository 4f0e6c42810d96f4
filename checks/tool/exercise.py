"""Which exercise a check belongs to, and what it is worth: `@exercise("patchify", points=2)`."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import torch


def exercise(name: str, points: int = 1) -> Callable[[Callable], Callable]:
    """Mark a test as a check of an exercise. An exercise is worth the sum of its checks' points."""

    def mark(check: Callable) -> Callable:
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


def checks_of(lesson: str) -> list[Callable]:
    """The checks of a lesson, in the order of its check file."""
    module = importlib.import_module(check_files()[lesson])
    return [check for check in vars(module).values() if inspect.isfunction(check) and hasattr(check, "exercise")]


def lesson_of(check: Callable) -> str:
    """The lesson that a check belongs to, by the name of its file."""
    return next(lesson for lesson, module in check_files().items() if module == check.__module__)


def find_lesson(name: str) -> str | None:
    """The lesson that has this exercise."""
    return next((lesson for lesson, exercises in catalogue().items() if name in exercises), None)


def catalogue() -> dict[str, dict[str, int]]:
    """What can be earned: {lesson: {exercise: points}}, both in the order of the course."""
    points: dict[str, dict[str, int]] = {}
    for lesson in check_files():
        exercises = points[lesson] = {}
        for check in checks_of(lesson):
            exercises[check.exercise] = exercises.get(check.exercise, 0) + check.points
    return points
