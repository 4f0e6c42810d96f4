"""The grader's points in nbgrader's gradebook, and the marks that people gave there.

`python -m checks.grade SUBMISSIONS --gradebook sqlite:///gradebook.db` writes the points; `--marks-from-gradebook` with
the same address reads the marks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode, ValidationError
from nbgrader.api import Gradebook, InvalidEntry, MissingEntry, SubmittedNotebook
from nbgrader.preprocessors import SaveCells
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tornado.log import app_log

from checks.grader.judging.results import Status
from checks.grader.layouts import MOODLES
from checks.grader.marks import questions_of
from checks.grader.settled import SettledRow
from checks.tool.exercise import catalogue
from lessons import folder_name
from lessons.reading.cells import is_as_released

COURSE = "build-i-jepa"  # as in nbgrader_config.py
LESSONS = Path(__file__).parents[2] / "lessons"


class GradebookError(Exception):
    """The points can't be written. The message is one sentence that says why, and what to do."""


def write(url: str, rows: Iterable[SettledRow]) -> None:
    """Write the points of each exercise, and what was deducted for late days, as nbgrader's autograde would.

    A row that is missing or ungraded is left out. Students, assignments and submissions that the gradebook lacks are
    made. Marks and comments that a person gave stay.

    Raises GradebookError.
    """
    graded = [row for row in rows if row.points is not None and row.status != Status.MISSING]
    unwritable = [row.student for row in graded if row.student != row.student.encode(errors="ignore").decode()]
    with opened(url) as gradebook:
        for lesson in sorted({row.lesson for row in graded}):
            make_cells(gradebook, url, lesson)
        for row in graded:
            if row.student not in unwritable:
                write_row(gradebook, row)
    if unwritable:
        raise GradebookError(
            f"a database can't hold the names {', '.join(map(ascii, sorted(set(unwritable))))}: rename these folders "
            "and run it again (all other students are in the gradebook)"
        )


def marks_in(url: str) -> list[list[Any]]:
    """What people have marked in the formgrader, as the lines of marks.csv: student, lesson, item, points, comment.

    An answer that was left as it was has 0 points; one that waits for a person is left out. A check cell counts if its
    points were overridden. Raises GradebookError.
    """
    lines: list[list[Any]] = []
    with opened(url) as gradebook:
        known = {assignment.name for assignment in gradebook.assignments}
        for lesson, exercises in catalogue().items():
            name, questions = folder_name(lesson), questions_of(lesson)
            for submission in gradebook.assignment_submissions(name) if name in known else []:
                for notebook in submission.notebooks:
                    comments = {comment.name: comment.comment or "" for comment in notebook.comments}
                    for grade in notebook.grades:
                        item = grade.name.removeprefix("check_")
                        is_marked = grade.manual_score is not None or (
                            item in questions and not grade.needs_manual_grade
                        )
                        if is_marked and item in {**exercises, **questions}:
                            comment = comments.get(grade.name, "")
                            lines.append([submission.student.id, lesson, item, grade.score, comment])
    return lines


@contextlib.contextmanager
def opened(url: str) -> Iterator[Gradebook]:
    """The gradebook at a URL, made if it isn't there. Whatever goes wrong with it is raised as GradebookError."""
    path, silent = os.environ.get("PATH", ""), app_log.disabled
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"  # nbgrader calls alembic by its bare name
    app_log.disabled = True  # nbgrader logs a traceback for what it then raises
    try:
        with Gradebook(url, COURSE) as gradebook:
            yield gradebook
    except (ArgumentError, ModuleNotFoundError):
        raise GradebookError(
            f"{url!r} is no address of a database: write sqlite:///gradebook.db, with three slashes before the file"
        ) from None
    except (SQLAlchemyError, InvalidEntry) as error:
        why = str(getattr(error, "orig", None) or error).split("\n")[0]
        raise GradebookError(f"the gradebook can't be read or written: {why}") from None
    finally:
        os.environ["PATH"], app_log.disabled = path, silent


def make_cells(gradebook: Gradebook, url: str, lesson: str) -> None:
    """Make a lesson's assignment as `nbgrader generate_assignment` does, or see that its points are the course's."""
    name, points = folder_name(lesson), catalogue()[lesson]
    try:
        cells = {cell.name: cell.max_score for cell in gradebook.find_notebook(name, name).grade_cells}
    except MissingEntry:
        released = read_released(name, points)
        gradebook.update_or_create_assignment(name)
        place = {"assignment": name, "notebook": name, "db_url": url}
        SaveCells().preprocess(released, {"nbgrader": place})
        return
    for exercise, worth in points.items():
        if cells.get(f"check_{exercise}") != worth:
            raise GradebookError(
                f"the gradebook is of another version of the course ({exercise} of {name} is worth {worth} points "
                f"now): run nbgrader generate_assignment {name} --force"
            )


def read_released(name: str, points: Mapping[str, int]) -> NotebookNode:
    """A lesson as it was released, whose cells nbgrader knows.

    Raises GradebookError if someone has edited it, or a front-end has dropped what nbgrader knows its cells by.
    """
    path = LESSONS / name / f"{name}.ipynb"
    try:
        notebook: NotebookNode = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        if is_as_released(notebook) and points_in(notebook) == {
            f"check_{name}": worth for name, worth in points.items()
        }:
            return notebook
    except (OSError, ValueError, KeyError, AttributeError, ValidationError):
        pass
    raise GradebookError(
        f"the gradebook doesn't have {name} yet, and {path} is not as it was released: "
        f"run nbgrader generate_assignment {name}, then this again"
    )


def points_in(notebook: NotebookNode) -> dict[str, int]:
    """What the check cells of a notebook are worth, by grade_id."""
    known = [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {cell["grade_id"]: cell["points"] for cell in known if cell["grade"] and not cell["solution"]}


def write_row(gradebook: Gradebook, row: SettledRow) -> None:
    name = folder_name(row.lesson)
    student = row.origin.removesuffix(MOODLES) or row.student  # nbgrader knows no roster
    gradebook.update_or_create_student(student)
    when = {"timestamp": row.submitted} if row.submitted else {}
    (notebook,) = gradebook.update_or_create_submission(name, student, **when).notebooks
    points = {f"check_{name}": exercise.points for name, exercise in row.exercises.items()}
    for grade in notebook.grades:
        earned = points.get(grade.name)
        if earned is not None and earned != grade.auto_score:
            grade.auto_score = earned
            grade.needs_manual_grade = grade.manual_score is not None  # a mark by hand stays: look at it again
    set_penalty(notebook, row)
    gradebook.db.commit()


def set_penalty(notebook: SubmittedNotebook, row: SettledRow) -> None:
    """What a late submission lost: what its exercises and questions sum up to, less the row's points."""
    points = [part.points or 0 for part in row.exercises.values()]
    points += [part.points or 0 for part in row.questions.values()]
    notebook.late_submission_penalty = round(sum(points) - (row.points or 0), 2)
