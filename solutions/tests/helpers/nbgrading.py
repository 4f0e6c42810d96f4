"""nbgrader by its own commands, in a folder of one's own, and what its database then holds."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from lessons import folder_name
from solutions.release import ROOT, Lesson, notebook_path, to_bytes
from solutions.tests.helpers.course_lessons import lesson_of_the_course


def nbgrader(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A command of the guide, run in the course's folder, but with its files below another folder than build/."""
    command = [sys.executable, "-m", "nbgrader", *arguments, f"--CourseDirectory.root={folder}"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def release_into(folder: Path, name: str) -> Lesson:
    """Build a lesson and have nbgrader release it -> the lesson."""
    lesson = lesson_of_the_course(name)
    source = notebook_path(folder / "source", name)
    source.parent.mkdir(parents=True)
    source.write_bytes(to_bytes(lesson.solved))
    done = nbgrader(folder, "generate_assignment", folder_name(name))
    assert done.returncode == 0, done.stderr
    return lesson


def grades(folder: Path) -> dict[tuple[str, str], tuple[float | None, bool]]:
    """{(student, cell): (points, whether a person has to mark it)}, read from the database itself."""
    query = """SELECT assignment.student_id, cell.name, grade.auto_score, grade.needs_manual_grade FROM grade
        JOIN submitted_notebook AS notebook ON grade.notebook_id = notebook.id
        JOIN submitted_assignment AS assignment ON notebook.assignment_id = assignment.id
        JOIN base_cell AS cell ON cell.id = grade.cell_id"""
    with sqlite3.connect(folder / "gradebook.db") as database:
        return {(student, cell): (points, bool(todo)) for student, cell, points, todo in database.execute(query)}
