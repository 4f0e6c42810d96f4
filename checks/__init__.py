"""What grades a lesson: `check("patchify")` in its notebook, `pytest checks` for all of them."""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from pathlib import Path
from types import ModuleType


def check(name: str, answer: object = ...) -> float | None:
    """Run the checks of an exercise on what `__main__` (this notebook, or this script) defines now; or judge the
    answer to a question of this name.

    Prints the verdict. Under nbgrader it returns the points earned as well, which are partial credit there; a notebook
    would show them as a bare number below the verdict. Under nbgrader's autograde, where only check cells are run, the
    notebook file in the working directory is graded.
    """
    # here, so that `from checks import check` stays free of torch
    from checks.tool.beside import file_beside
    from checks.tool.exercise import catalogue, checks_of_exercise, find_lesson, nearest
    from checks.tool.expect import WIDTH, field
    from checks.tool.learner import fresh_seed, run_checks
    from checks.tool.quiz import find_quiz
    from lessons import other_course

    execution = os.environ.get("NBGRADER_EXECUTION")  # "autograde" or "validate" under nbgrader
    nothing = 0.0 if execution else None
    if sentence := other_course():
        print(sentence)
    if quiz := find_quiz(name):
        print(textwrap.fill(quiz.verdict(answer), WIDTH))
        return nothing
    lesson = find_lesson(name)
    if lesson is None:
        near = nearest(name)
        print(f"There is no exercise {name!r}" + (f": do you mean {near!r}?" if near else "."))
        return nothing
    autograde = execution == "autograde"
    notebook = _submission(lesson) if autograde else sys.modules["__main__"]
    if not autograde and not hasattr(notebook, name):
        print(f"{name} is not defined here yet: run the cell that defines it, then this one again.")
        return nothing
    if not autograde and (file := file_beside(notebook, name)):
        print(f"{name} uses {file}, but only the notebook is graded: copy what you use of that file into a cell.")
        return nothing
    verdicts = run_checks(checks_of_exercise(name), notebook, fresh_seed())
    earned, points = sum(verdict.earned for verdict in verdicts), sum(verdict.points for verdict in verdicts)
    worth = "" if name in catalogue()[lesson] else " (a stretch exercise: they count for you alone)"
    print(f"{name}: {earned} of {points} points{worth}")
    for place, verdict in enumerate(verdicts):
        print(field(verdict.status, verdict.docstring))
        if verdict.status in ("failed", "broken"):
            print(f"\n{verdict.page_after(verdicts[:place])}\n")
    if todo := [verdict.page for verdict in verdicts if verdict.status == "todo"]:
        print(todo[0])
    return float(earned) if execution else None


@functools.cache
def _submission(lesson: str) -> ModuleType:
    """A submitted notebook as `checks.grade` reads it."""
    from checks.tool.learner import graded_lesson
    from lessons import folder_name

    module = graded_lesson(lesson, Path(f"{folder_name(lesson)}.ipynb"))
    for line in module.__report__.lines():
        print(f"note: {line}")
    return module
