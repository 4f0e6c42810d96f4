"""Feedback for students: a page for each student and lesson, as HTML and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from checks.grader.judging.results import Status
from checks.grader.limits import NAME_CHARACTERS
from checks.grader.reports.pages import TEMPLATES, said_of
from checks.grader.reports.text import folder_of, points_text, shown, shown_lines, write_text
from checks.grader.settled import SettledRow

MARKUP = re.compile(r"[\\`*_\[\]<>&|~#]")  # of Markdown, within a line


def write_feedback(rows: Sequence[SettledRow], folder: Path) -> None:
    """Write <student>/<lesson>.html and .md, and index.html, which says whose folder is which."""
    page = TEMPLATES.get_template("feedback.html.jinja")
    students: dict[str, list[str]] = {}
    for row in rows:
        students.setdefault(row.student, []).append(row.lesson)
        path = folder / folder_of(row.student) / row.lesson
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path.with_suffix(".html"), page.render(row=row))
        write_text(path.with_suffix(".md"), markdown(row))
    index = [(student, folder_of(student), lessons) for student, lessons in students.items()]
    write_text(folder / "index.html", TEMPLATES.get_template("index.html.jinja").render(students=index))


def markdown(row: SettledRow) -> str:
    """A student's feedback on a lesson. What others wrote stands in code spans and blocks, where nothing is markup."""
    name = row.lesson.replace("_", " ")
    parts = [f"# {name}: {points_text(row.points, row.max_points)} points"]
    parts.append(f"{code_span(shown(row.student, NAME_CHARACTERS))}, {row.status}")
    if row.reason or row.notes:
        parts.append(code_block([shown(text) for text in (row.reason, *row.notes) if text]))
    for name, exercise in row.exercises.items() if row.status != Status.UNGRADED else ():
        points = points_text(exercise.points, exercise.max_points)
        parts.append(f"## `{name}`: {exercise.status}, {points} points")
        parts += [code_block([shown(text)]) for text in said_of(exercise, row)]
        for check in exercise.checks:
            property_text = MARKUP.sub(r"\\\g<0>", shown(check.property))
            parts.append(f"**{check.status}** {property_text}")
            parts += [code_block(shown_lines(check.page))] if check.page else []
    for name, question in row.questions.items():
        parts.append(f"## `{name}`: {points_text(question.points, question.max_points)} points, marked by hand")
        parts += [code_block([shown(question.comment)])] if question.comment else []
    return "\n\n".join(parts) + "\n"


def code_span(text: str) -> str:
    """Markdown that shows the text as it stands: backticks, one more than it has in a row itself."""
    ticks = "`" * (longest_ticks(text) + 1)
    return f"{ticks} {text} {ticks}"


def code_block(lines: list[str]) -> str:
    ticks = "`" * max(3, longest_ticks("\n".join(lines)) + 1)
    return "\n".join([f"{ticks}text", *lines, ticks])


def longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
