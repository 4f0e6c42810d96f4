"""Tables that a spreadsheet or a learning platform opens, and Gradescope's results."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checks.grader.changes import Change
from checks.grader.layouts import MOODLES
from checks.grader.reports.text import folder_of, shown, shown_lines, write_text
from checks.grader.roster import Assignment, Roster
from checks.grader.settled import SettledExercise, SettledRow
from checks.tool.exercise import catalogue

FORMULA = tuple("=+-@\t\r＝＋－＠")
MOODLE = re.compile(rf"(?P<name>.+)_(?P<id>\d+){MOODLES}")
Table = list[list[Any]]


def spreadsheet_cell(value: Any) -> Any:
    """The value for a CSV file that a spreadsheet opens: text that it would take for a formula gets a leading ', also
    behind a semicolon, which separates cells where the comma is the decimal point.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str):
        return value
    text = re.sub(rf"(;\s*)(?=[{re.escape(''.join(FORMULA))}])", r"\1'", shown(value))
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def write_table(table: Table, path: Path) -> None:
    """Write a table as UTF-8 with the mark by which spreadsheets know it; Canvas and Moodle read past it."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([spreadsheet_cell(value) for value in line] for line in table)


def grades(rows: Sequence[SettledRow]) -> Table:
    """The lines of grades.csv: a row each, with a column for every exercise and every question that was marked, when it
    was handed in, and what says so.
    """
    items = [name for exercises in catalogue().values() for name in exercises]
    items += list(dict.fromkeys(name for row in rows for name in row.questions))
    columns = ["student", "lesson", "status", "points", "max_points", *items, "submitted", "time_source", "reason"]
    lines: Table = []
    for row in rows:
        points = {name: part.points for name, part in row.exercises.items()}
        points |= {name: part.points for name, part in row.questions.items()}
        facts = [row.student, row.lesson, row.status.value, row.points, row.max_points]
        when = (row.submitted or "time unknown") if row.handed_in else ""
        lines.append([*facts, *(points.get(name) for name in items), when, row.source, row.reason])
    return [columns, *lines]


def canvas(rows: Sequence[SettledRow], roster: Roster | None = None) -> Table:
    """The lines of canvas.csv, for Canvas's "Import Grades"; a column a lesson, an empty cell where there is no grade.

    A lesson that nobody has handed in has no column: imported, it would be 0 for everyone. With a roster, each student
    has Canvas's own ID, and each lesson its column of Canvas's gradebook, where one title names it; who is not in the
    roster has no line, since Canvas would make a new student of it.

    Canvas reads "Student", "ID", ..., "Section" first, then assignments by their titles, and takes a line with
    "Points Possible" in its first cell for what they are worth. A student is found by ID or login, else by name;
    without a roster, the submission's folder stands for both. Source: GradebookImporter in instructure/canvas-lms,
    lib/gradebook_importer.rb.
    """
    worth = {row.lesson: row.max_points for row in rows if row.handed_in}
    columns = {name: Assignment(name) for name in catalogue() if name in worth}
    columns |= {name: known for name, known in (roster.assignments if roster else {}).items() if name in worth}
    points: dict[str, dict[str, Any]] = {}
    for row in rows:
        points.setdefault(row.student, {})[row.lesson] = row.points
    lines: Table = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(c.title for c in columns.values())]]
    lines.append(["Points Possible", "", "", "", "", *(column.worth or worth[n] for n, column in columns.items())])
    for student, earned in points.items():
        name = student.replace("Points Possible", "points possible")  # or Canvas would take it for the line above
        facts = [name, "", "", student, ""]
        if roster:
            person = roster.people.get(student)
            if not person:
                continue
            facts = [person.name, person.id, person.sis, person.login, person.section]
        lines.append([*facts, *(earned.get(lesson) for lesson in columns)])
    return lines


def moodle(rows: Sequence[SettledRow], lesson: str) -> Table:
    """The lines of moodle/<lesson>.csv, a grading worksheet for "Upload grading worksheet" in the lesson's assignment.

    Moodle finds a participant by the number of the download, and reads three columns, by these names. A date that is
    none makes it ask before it replaces grades that are there. Source: mod/assign/feedback/offline/importgradeslib.php.
    """
    lines: Table = [["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)"]]
    for row in rows:
        if row.lesson == lesson and row.points is not None and (found := MOODLE.fullmatch(row.origin)):
            lines.append([f"Participant {found['id']}", found["name"], row.points, row.max_points, "-"])
    return lines


def changed(changes: Sequence[Change], when: str, path: Path) -> Table:
    """The lines of changes.csv: those that stand there, and one for each change of this run."""
    known: Table = []
    if path.exists():
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            known = [line for line in csv.reader(file) if line][1:]
    new = [[when, c.student, c.lesson, c.item, c.old, c.new, c.why] for c in changes]
    return [["when", "student", "lesson", "item", "old", "new", "why"], *known, *new]


def write_gradescope(rows: Sequence[SettledRow], folder: Path) -> None:
    """Write results.json for each student and lesson, as Gradescope's harness reads it from an autograder.

    A test is an exercise or a marked question; "score" is the lesson's, after late days. A row without points has no
    file: one that lacks a score would count as 0. https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    for row in rows:
        if row.points is None:
            continue
        tests = [
            {
                "name": name,
                "score": exercise.points,
                "max_score": exercise.max_points,
                "status": "passed" if exercise.points == exercise.max_points else "failed",
                "output": "\n".join(verdict_lines(exercise)),
                "output_format": "text",
            }
            for name, exercise in row.exercises.items()
        ]
        tests += [
            {
                "name": name,
                "score": question.points,
                "max_score": question.max_points,
                "output": shown(question.comment),
                "output_format": "text",
            }
            for name, question in row.questions.items()
            if question.points is not None
        ]
        result = {"score": row.points, "output": shown(row.reason), "output_format": "text", "tests": tests}
        place = folder / folder_of(row.student) / row.lesson
        place.mkdir(parents=True)
        write_text(place / "results.json", json.dumps(result, ensure_ascii=False))


def verdict_lines(exercise: SettledExercise) -> list[str]:
    """An exercise's verdicts as plain text."""
    lines = [shown(text) for text in (exercise.reason, exercise.decision) if text]
    for check in exercise.checks:
        lines.append(f"{check.status}: {shown(check.property)}")
        lines += [f"    {line}" for line in shown_lines(check.page)] if check.page else []
    return lines
