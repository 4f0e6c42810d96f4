"""From the solutions to the lessons: `python -m solutions.release` writes lessons/NN_name/NN_name.ipynb with stubs.

A lesson's source is solutions/<name>.py, a percent script. The notebook is what nbgrader's generate_assignment makes of it:
its preprocessors clear the solutions and write the metadata, so that a collected notebook can be graded by nbgrader.
Everything is built and verified in memory before the first file is written.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from lessons import LESSONS, folder_name, load_lesson

ROOT = Path(__file__).parent.parent
GUARD = 'if __name__ == "__main__":'
BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
REPOSITORY = "ADDRESS"  # of the course's repository, for those who upload a notebook alone
SET_UP = '''# Set-up: run this cell first.
try:
    from lessons import borrow
except ImportError:
    raise SystemExit(
        "The rest of the course is not here. Put these two lines into a new cell above this one, run it, then go on:\\n"
        "    !git clone {repository} course\\n"
        "    %cd course\\n"
        "(On your own machine: pip install -r requirements.txt, in the course's folder.)"
    ) from None
borrow("{lesson}")'''


class ReleaseError(Exception):
    """The course can't be released. The message is one sentence that names file and cell."""


@dataclass(frozen=True)
class Lesson:
    """A lesson as two notebooks: solved (nbgrader's source) and released (with stubs)."""

    name: str
    solved: NotebookNode
    released: NotebookNode


# From a percent script to two notebooks


def build(name: str, source: str, points: dict[str, int]) -> Lesson:
    """Make both notebooks of a lesson.

    source: the percent script; points: what each exercise is worth, which has to name the script's exercises and no other.
    Raises ReleaseError.
    """
    notebook = jupytext.reads(source, fmt="py:percent")
    where = f"solutions/{name}.py"
    exercises: dict[str, str] = {}
    checked: set[str] = set()
    cells = [nbformat.v4.new_code_cell(SET_UP.format(lesson=name, repository=REPOSITORY), id=f"{name}-set-up")]
    anchor, since = name, 0  # ids count from the last cell that has a name, so that few change when a cell is added
    for number, cell in enumerate(notebook.cells, start=1):
        place = f"{where}, cell {number}"
        exercise, question = cell.metadata.get("exercise"), cell.metadata.get("question")
        text = cell.source
        if cell.cell_type == "code":
            text = lift(on_lessons(text), place)
        check = checked_exercise(text) if cell.cell_type == "code" else None
        if exercise:
            if exercise in exercises:
                raise ReleaseError(f"{place}: exercise {exercise} stands in {exercises[exercise]} already")
            check_regions(text, place, exercise)
            if not defines(text, exercise):
                raise ReleaseError(f"{place}: exercise {exercise} is not defined here")
            exercises[exercise] = place
            graded = nbgrader(exercise, solution=True)
        elif check:
            if check not in exercises or check in checked:
                what = "there is a second check" if check in checked else "there is a check, but no exercise above,"
                raise ReleaseError(f"{place}: {what} of the name {check}")
            if check not in points:
                raise ReleaseError(f"{place}: exercise {check} has no check in checks/test_{folder_name(name)}.py")
            checked.add(check)
            graded = nbgrader(f"check_{check}", points=points[check], locked=True)
        elif question:
            if cell.cell_type != "markdown" or not isinstance(cell.metadata.get("points"), int):
                raise ReleaseError(f"{place}: question {question} must be a markdown cell with points=N")
            check_regions(text, place, question)
            graded = nbgrader(question, points=cell.metadata["points"], solution=True)
        else:
            graded = None
            if has_marker(text):
                raise ReleaseError(f"{place}: a solution region stands outside of an exercise")
        if graded:
            anchor, since = f"{name}-{graded['grade_id']}", 0
        else:
            since += 1
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        cells.append(
            make(
                text,
                id=anchor if graded else f"{anchor}-{since}",
                metadata={"nbgrader": graded} if graded else {},
            )
        )
    for exercise, place in exercises.items():
        if exercise not in checked:
            raise ReleaseError(f'{place}: exercise {exercise} has no check cell: check("{exercise}") must follow')
    for exercise in points:
        if exercise not in exercises:
            raise ReleaseError(f"checks/test_{folder_name(name)}.py: {where} has no exercise {exercise}")
    solved = nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))
    solved.nbformat_minor = 5
    return Lesson(name, solved, cleared(solved, where))


def nbgrader(grade_id: str, *, points: int = 0, solution: bool = False, locked: bool = False) -> dict:
    """The metadata of a cell that nbgrader knows (its schema 3)."""
    metadata = {"grade": points > 0, "grade_id": grade_id, "locked": locked, "schema_version": 3, "solution": solution}
    return metadata | {"task": False} | ({"points": points} if points else {})


def on_lessons(text: str) -> str:
    """`from solutions.masking import ...` as it stands in a lesson: `from lessons.masking import ...`."""
    return re.sub(rf"^(\s*(?:from|import) )solutions(?=\.(?:{'|'.join(LESSONS)})\b)", r"\1lessons", text, flags=re.M)


def lift(text: str, place: str) -> str:
    """A cell without its `if __name__ == "__main__":`, the body dedented; comments, blank lines and strings stay as they are.

    Raises ReleaseError if the guard isn't all of the cell.
    """
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None or lines[first].rstrip() != GUARD:
        if re.search(r"^if\b.*__main__", text, re.M):
            raise ReleaseError(f"{place}: `{GUARD}` must be the first line of its cell, with the body on lines of its own")
        return text
    body = lines[first + 1 :]
    if any(line.strip() and not line.startswith((" ", "#")) for number, line in enumerate(body) if number not in in_strings("\n".join(body))):
        raise ReleaseError(f"{place}: after `{GUARD}` the cell must hold nothing else")
    kept = in_strings("\n".join(body))
    lifted = [line if number in kept else line.removeprefix("    ") for number, line in enumerate(body)]
    lifted = "\n".join(lines[:first] + lifted)
    with contextlib.suppress(SyntaxError):  # a magic among the lines: there is nothing to compare
        if ast.dump(ast.Module(ast.parse(text).body[0].body, [])) != ast.dump(ast.parse(lifted)):
            raise ReleaseError(f"{place}: the demo can't be lifted out of its guard without changing it")
    return lifted
