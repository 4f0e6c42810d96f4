"""Questions that a learner answers in a word or a number before running an experiment; they earn no points.

`check("moving_teacher", "faster")` in a notebook says whether that is right and why, or what a wrong answer stands for.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

FOLDER = Path(__file__).parents[1] / "quizzes"  # a file a lesson; a kit lacks those of later lessons
TOLERANCE = 0.02  # of a number, as a share of it: a rounded answer is right


@dataclass(frozen=True)
class Quiz:
    """A question's answer, the reasoning behind it, and what each wrong answer stands for.

    A question in words has its options in `answer` and `wrong`. One for a number has the numbers that people give in
    `wrong`, and in `otherwise` what helps after any other one.
    """

    answer: str | float
    why: str
    wrong: dict[Any, str]  # by words, or by numbers
    otherwise: str = ""

    def verdict(self, given: object) -> str:
        """What a learner is told who has given this answer; `...` is none."""
        options = ", ".join(repr(option) for option in sorted([str(self.answer), *map(str, self.wrong)]))
        how = "a number" if isinstance(self.answer, float) else f"one of {options}"
        if given is ...:
            return f"Not answered yet: write {how} in place of the dots, and run this cell again."
        found = self.understood(given)
        if found == self.answer:
            return f"Right: {found if isinstance(found, str) else f'{found:g}'}. {self.why}"
        if found in self.wrong:
            return f"No. {self.wrong[found]}"
        if found is None:
            return f"{given!r} is no answer here: write {how}."
        return f"No. {self.otherwise}"

    def understood(self, given: object) -> str | float | None:
        """The option that is meant, or the known number that is near enough, or any other number; None if neither."""
        if isinstance(self.answer, str):
            word = given.strip().lower() if isinstance(given, str) else None
            return next((option for option in (self.answer, *self.wrong) if option == word), None)
        try:
            number = math.nan if isinstance(given, bool | str) else float(cast(Any, given))
        except (TypeError, ValueError, RuntimeError):
            return None
        near = [known for known in (self.answer, *self.wrong) if math.isclose(number, known, rel_tol=TOLERANCE)]
        return near[0] if near else None if math.isnan(number) else number


def quizzes_of(lesson: str) -> dict[str, Quiz]:
    """The questions of a lesson, in its order; none if there is no file of them."""
    if not (FOLDER / f"{lesson}.py").exists():
        return {}
    quizzes: dict[str, Quiz] = importlib.import_module(f"checks.quizzes.{lesson}").QUIZZES
    return quizzes


def find_quiz(name: str) -> Quiz | None:
    """The question of this name, of any lesson."""
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    return next((quizzes[name] for quizzes in map(quizzes_of, names) if name in quizzes), None)
