"""What an instructor and a class get from the grader's rows: tables, feedback, a report, and files for other systems.

Names of students, their files, and all that their code has printed or raised is hostile text. A table or a page shows
it as text: what can't be printed as an escape, markup as characters, and not more of it than fits.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import statistics
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from checks.tool.exercise import catalogue
from checks.policy import count

NAME_LIMIT = 100  # characters of a name in a page
TEXT_LIMIT = 500  # characters of a reason, a note, a cell of a table, or a line of a message
PAGE_LIMIT = 120  # lines of a message
LIST_LIMIT = 500  # entries of a list of files
MARKS_LIMIT = 3  # combining marks on one letter: more would grow over the lines around it
PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MARKUP = re.compile(r"[\\`*_\[\]<>&|~#]")  # of Markdown, within a line
FORMULA = tuple("=+-@\t\r＝＋－＠")

# what needs the instructor's eye, most urgent first, and what it means
TROUBLE = {
    "flagged": "Tampering was seen.",
    "ungraded": "The grader itself failed: there are no points, and no 0. Run it again.",
    "crashed": "The code ended its process, or sent what can't be read.",
    "timeout": "The code ran longer than it may.",
    "unreadable": "The submission can't be read.",
    "missing": "There is nothing to grade.",
}
LETTERS = {
    "flagged": "F",
    "ungraded": "?",
    "crashed": "C",
    "timeout": "T",
    "unreadable": "U",
    "missing": "–",
    "todo": "○",
}
BANDS = ((1, "a"), (0.75, "b"), (0.5, "c"), (0.25, "d"), (0, "e"))  # share of the points, and the class of its colour
SMALL_CLASS = 60  # up to here each student has a line in the heat map; above, a line is a twentieth of the class
GROUP = 100  # students of a folded part of a large class's table
SHOWN_AT_ONCE = 12
TOP = 12


def write_outputs(rows: Iterable[dict], out: Path, about: dict[str, Any]) -> None:
    """Write grades.csv, report.html, canvas.csv, feedback/ and gradescope/ below out.

    rows: the settled rows of the whole class; what isn't in them isn't in the files either. about: "course", "started",
    "tier", "promises" (a list of sentences), "limits" ({name: value}) and "ignored" (a list of files).

    Everything is written beside the old files first, and takes their places only when all of it is on the disk.
    Raises OSError, on a full disk say: then the old files stand.
    """
    order = list(catalogue())
    rows = sorted(rows, key=lambda row: (row["student"].casefold(), row["student"], order.index(row["lesson"])))
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".new-*"):  # of a run that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as temporary:
        new = Path(temporary)
        (new / "gradescope").mkdir()
        (new / "feedback").mkdir()
        write_feedback(rows, new / "feedback")
        write_gradescope(rows, new / "gradescope")
        write_table(grades(rows), new / "grades.csv")
        write_table(canvas(rows), new / "canvas.csv")
        write_text(new / "report.html", report_page(rows, about))
        for name in ("feedback", "gradescope", "grades.csv", "canvas.csv", "report.html"):
            put(new / name, out / name)


def put(new: Path, target: Path) -> None:
    """Move a file or a folder to its place; a folder that stands there goes to where the new one came from."""
    if not target.is_dir():
        os.replace(new, target)
        return
    old = new.with_name(f"old-{new.name}")
    os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(old, target)
        raise


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


# Text that others wrote


def shown(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""The text on one line of at most `limit` characters; what can't be printed stands as an escape, \n or \u202e.

    Neither a control character, nor one that turns the direction of the text around it, nor half of a broken
    encoding is printable.
    """
    if text.isascii() and text.isprintable():
        printable = text
    else:
        printable, marks = "", 0
        for character in text[: limit + 1]:
            marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
            fits = character.isprintable() and marks <= MARKS_LIMIT
            printable += character if fits else character.encode("unicode_escape").decode()
    return printable if len(printable) <= limit else f"{printable[: limit - 4]} ..."


def shown_lines(text: str) -> list[str]:
    """The lines of a message, each as `shown`."""
    lines = text.split("\n")
    return [shown(line.expandtabs(4)) for line in lines[:PAGE_LIMIT]] + (["..."] if len(lines) > PAGE_LIMIT else [])


def folder_of(student: str) -> str:
    """The name of a student's folder: safe in any file system, and another one for each name.

    A short name of lower-case ASCII letters, digits, - and _ stands as it is. Any other one is what is left of it,
    then ~ (which no plain name has) and a hash of all of it.
    """
    if PLAIN_NAME.fullmatch(student):
        return student
    ascii_only = unicodedata.normalize("NFKD", student).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:40]
    return f"{readable or 'student'}~{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"


def points_text(points: float | None, max_points: float) -> str:
    return f"not graded, of {max_points}" if points is None else f"{points} of {max_points}"


# Tables for spreadsheets


def spreadsheet_cell(value: Any) -> Any:
    """The value for a CSV file that a spreadsheet opens: text that it would take for a formula gets a leading ', also
    behind a semicolon, which separates cells where the comma is the decimal point.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str):
        return value
    text = re.sub(rf"(;\s*)(?=[{re.escape(''.join(FORMULA))}])", r"\1'", shown(value))
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def write_table(table: list[list], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([spreadsheet_cell(value) for value in line] for line in table)


def grades(rows: list[dict]) -> list[list]:
    """The lines of grades.csv: a row each, with a column for every exercise and every question that was marked."""
    items = [name for exercises in catalogue().values() for name in exercises]
    items += list(dict.fromkeys(name for row in rows for name in row["questions"]))
    columns = ["student", "lesson", "status", "points", "max_points", *items, "reason"]
    return [columns, *([row.get(column) for column in columns] for row in rows)]


def canvas(rows: list[dict]) -> list[list]:
    """The lines of canvas.csv, for Canvas's "Import Grades"; a column a lesson, an empty cell where there is no grade.

    Canvas reads "Student", "ID", ..., "Section" first, then assignments by their titles, and takes a line with
    "Points Possible" in its first cell for what they are worth. A student is found by ID or login, else by name; here
    the submission's folder stands for both. Source: GradebookImporter in instructure/canvas-lms,
    lib/gradebook_importer.rb.
    """
    worth = {row["lesson"]: row["max_points"] for row in rows}
    lessons = [name for name in catalogue() if name in worth]
    points: dict[str, dict[str, Any]] = {}
    for row in rows:
        points.setdefault(row["student"], {})[row["lesson"]] = row["points"]
    lines = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *lessons]]
    lines.append(["Points Possible", "", "", "", "", *(worth[lesson] for lesson in lessons)])
    for student, earned in points.items():
        name = student.replace("Points Possible", "points possible")  # or Canvas would take it for the line above
        lines.append([name, "", "", student, "", *(earned.get(lesson) for lesson in lessons)])
    return lines


def write_gradescope(rows: list[dict], folder: Path) -> None:
    """Write results.json for each student and lesson, as Gradescope's harness reads it from an autograder.

    A test is an exercise or a marked question; "score" is the lesson's, after late days. A row without points has no
    file: one that lacks a score would count as 0. https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    for row in rows:
        if row["points"] is None:
            continue
        tests = [
            {
                "name": name,
                "score": exercise["points"],
                "max_score": exercise["max_points"],
                "status": "passed" if exercise["points"] == exercise["max_points"] else "failed",
                "output": "\n".join(verdict_lines(exercise)),
                "output_format": "text",
            }
            for name, exercise in row["exercises"].items()
        ]
        tests += [
            {
                "name": name,
                "score": question["points"],
                "max_score": question["max_points"],
                "output": shown(question["comment"]),
                "output_format": "text",
            }
            for name, question in row["questions"].items()
            if question["points"] is not None
        ]
        result = {"score": row["points"], "output": shown(row["reason"]), "output_format": "text", "tests": tests}
        place = folder / folder_of(row["student"]) / row["lesson"]
        place.mkdir(parents=True)
        write_text(place / "results.json", json.dumps(result, ensure_ascii=False))


def verdict_lines(exercise: dict) -> list[str]:
    """An exercise's verdicts as plain text."""
    lines = [shown(text) for text in (exercise["reason"], exercise["decision"]) if text]
    for check in exercise["checks"]:
        lines.append(f"{check['status']}: {shown(check['property'])}")
        lines += [f"    {line}" for line in shown_lines(check["page"])] if check["page"] else []
    return lines


# Feedback


def write_feedback(rows: list[dict], folder: Path) -> None:
    """Write <student>/<lesson>.html and .md, and index.html, which says whose folder is which."""
    page = TEMPLATES.get_template("feedback.html.jinja")
    students: dict[str, list[str]] = {}
    for row in rows:
        students.setdefault(row["student"], []).append(row["lesson"])
        path = folder / folder_of(row["student"]) / row["lesson"]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path.with_suffix(".html"), page.render(row=row))
        write_text(path.with_suffix(".md"), markdown(row))
    index = [(student, folder_of(student), lessons) for student, lessons in students.items()]
    write_text(folder / "index.html", TEMPLATES.get_template("index.html.jinja").render(students=index))


def said_of(exercise: dict, row: dict) -> list[str]:
    """Why an exercise ended as it did, if that is not said of the whole submission, and what was decided."""
    return [text for text in (exercise["reason"], exercise["decision"]) if text and text != row["reason"]]


def markdown(row: dict) -> str:
    """A student's feedback on a lesson. What others wrote stands in code spans and blocks, where nothing is markup."""
    name = row["lesson"].replace("_", " ")
    parts = [f"# {name}: {points_text(row['points'], row['max_points'])} points"]
    parts.append(f"{code_span(shown(row['student'], NAME_LIMIT))}, {row['status']}")
    if row["reason"] or row["notes"]:
        parts.append(code_block([shown(text) for text in (row["reason"], *row["notes"]) if text]))
    for name, exercise in row["exercises"].items() if row["status"] != "ungraded" else ():
        points = points_text(exercise["points"], exercise["max_points"])
        parts.append(f"## `{name}`: {exercise['status']}, {points} points")
        parts += [code_block([shown(text)]) for text in said_of(exercise, row)]
        for check in exercise["checks"]:
            property_text = MARKUP.sub(r"\\\g<0>", shown(check["property"]))
            parts.append(f"**{check['status']}** {property_text}")
            parts += [code_block(shown_lines(check["page"]))] if check["page"] else []
    for name, question in row["questions"].items():
        parts.append(f"## `{name}`: {points_text(question['points'], question['max_points'])} points, marked by hand")
        parts += [code_block([shown(question["comment"])])] if question["comment"] else []
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


# The report


def report_page(rows: list[dict], about: dict[str, Any]) -> str:
    """report.html: one page that holds all it needs. rows in the order in which students and lessons are to stand."""
    lessons = {name: exercises for name, exercises in catalogue().items() if any(row["lesson"] == name for row in rows)}
    students: dict[str, dict[str, dict]] = {}
    for row in rows:
        students.setdefault(row["student"], {})[row["lesson"]] = row
    best_first = sorted(students, key=lambda name: -total(students[name]))
    is_small, names = len(students) <= SMALL_CLASS, list(students)
    groups = [] if is_small else [names[start : start + GROUP] for start in range(0, len(names), GROUP)]
    shows = {
        "about": about,
        "ignored": about["ignored"][:LIST_LIMIT],
        "students": len(students),
        "lessons": lessons,
        "statuses": Counter(row["status"] for row in rows),
        "submissions": len(rows),
        "trouble": trouble(rows),
        "twentieths": [] if is_small else twentieths([students[name] for name in best_first], lessons),
        "lines": [line(name, students[name], lessons) for name in best_first] if is_small else [],
        "groups": [[line(name, students[name], lessons) for name in group] for group in groups],
        "hardest": hardest(rows, lessons),
        "misconceptions": misconceptions(rows),
        "distributions": distributions(rows, list(students.values()), lessons),
    }
    return TEMPLATES.get_template("report.html.jinja").render(shows)


def total(lessons: dict[str, dict]) -> float:
    """The points of one student's rows; those that are not graded don't count."""
    return sum(row["points"] or 0 for row in lessons.values())


def trouble(rows: list[dict]) -> list[dict]:
    """The submissions that need the instructor's eye, by status."""
    groups = []
    for status, meaning in TROUBLE.items():
        entries = [
            {
                "student": row["student"],
                "lesson": row["lesson"],
                "points": points_text(row["points"], row["max_points"]),
                "reasons": reasons(row, status),
                "page": f"feedback/{folder_of(row['student'])}/{row['lesson']}.html",
            }
            for row in rows
            if row["status"] == status
        ]
        by_lesson = Counter(sorted((entry["lesson"] for entry in entries), key=list(catalogue()).index))
        if entries:
            groups.append({"status": status, "meaning": meaning, "entries": entries, "by_lesson": by_lesson})
    return groups


def reasons(row: dict, status: str) -> list[str]:
    """Why a row has its status: its own reason, and those of its exercises that have the same."""
    exercises: dict[str, list[str]] = {}
    for name, exercise in row["exercises"].items():
        if exercise["status"] == status and exercise["reason"] and exercise["reason"] not in row["reason"]:
            exercises.setdefault(exercise["reason"], []).append(name)
    own = [row["reason"]] if row["reason"] else []
    return own + [f"{', '.join(names)}: {reason}" for reason, names in exercises.items()]


def line(name: str, rows: dict[str, dict], lessons: dict[str, dict[str, int]]) -> dict:
    """A student's line in the heat map."""
    cells = "".join(cell(rows.get(lesson), name) for lesson, exercises in lessons.items() for name in exercises)
    ungraded = any(row["points"] is None for row in rows.values())
    return {"student": name, "cells": Markup(cells), "total": f"{total(rows):g}{'?' if ungraded else ''}"}


def cell(row: dict | None, name: str) -> str:
    """A cell of the heat map, HTML: points on a colour, or the letter of a status."""
    if row is None:
        return "<td>"
    exercise = row["exercises"].get(name, {"status": row["status"], "marked": False})
    status = exercise["status"]
    if status in LETTERS and not exercise["marked"]:
        return f"<td class={'t' if status in ('todo', 'missing') else 'x'}>{LETTERS[status]}"
    return f"<td class={band(exercise['points'] / exercise['max_points'])}>{exercise['points']:g}"


def band(share: float) -> str:
    return next(name for least, name in BANDS if share >= least)


def twentieths(students: list[dict[str, dict]], lessons: dict[str, dict[str, int]]) -> list[dict]:
    """Lines for a large class, best first: a twentieth of it each, with the mean percent of each exercise's points."""
    lines = []
    for part in range(20):
        members = students[part * len(students) // 20 : (part + 1) * len(students) // 20]
        cells = []
        for lesson, exercises in lessons.items():
            graded = [rows[lesson] for rows in members if lesson in rows and rows[lesson]["points"] is not None]
            for name, worth in exercises.items():
                points = [row["exercises"][name]["points"] for row in graded]
                share = statistics.fmean(points) / worth if points else None
                cells.append("<td>" if share is None else f"<td class={band(share)}>{int(100 * share)}")
        mean = statistics.fmean(map(total, members))
        lines.append({"last": 5 * (part + 1), "cells": Markup("".join(cells)), "total": f"{mean:.1f}"})
    return lines


def hardest(rows: list[dict], lessons: dict[str, dict[str, int]]) -> list[dict]:
    """The exercises on which those who handed in lost the largest share of the points, hardest first."""
    found = []
    for lesson, exercises in lessons.items():
        handed_in = [row for row in rows if row["lesson"] == lesson and row["status"] not in ("missing", "ungraded")]
        for name, worth in exercises.items():
            entries = [row["exercises"][name] for row in handed_in if name in row["exercises"]]
            if not entries:
                continue
            kinds = Counter(
                "todo"
                if entry["status"] == "todo"
                else "full"
                if entry["points"] == worth
                else "part"
                if entry["points"]
                else "none"
                for entry in entries
            )
            mean = statistics.fmean(entry["points"] / worth for entry in entries)
            found.append({"name": name, "lesson": lesson, "mean": mean, "kinds": kinds, "entries": len(entries)})
    return sorted(found, key=lambda entry: entry["mean"])[:TOP]


def misconceptions(rows: list[dict]) -> list[dict]:
    """The likely misconceptions that failed checks named, with the number of students, most frequent first."""
    students: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, exercise in row["exercises"].items():
            for check in exercise["checks"]:
                if check["status"] == "failed" and check["likely"]:
                    students.setdefault((name, check["likely"]), set()).add(row["student"])
    counted = [{"exercise": key[0], "likely": key[1], "students": len(names)} for key, names in students.items()]
    return sorted(counted, key=lambda entry: -entry["students"])[:TOP]


def distributions(rows: list[dict], students: list[dict[str, dict]], lessons: Iterable[str]) -> list[dict]:
    """How the points of those who handed in are spread, for each lesson and for all of them together."""
    entries = []
    for lesson in lessons:
        graded = [row for row in rows if row["lesson"] == lesson and row["status"] not in ("missing", "ungraded")]
        worth = next(row["max_points"] for row in rows if row["lesson"] == lesson)
        entries.append((lesson, worth, [row["points"] for row in graded]))
    complete = [rows for rows in students if all(row["points"] is not None for row in rows.values())]
    entries.append(("all lessons", sum(worth for _, worth, _ in entries), [total(rows) for rows in complete]))
    return [spread(name, worth, points) for name, worth, points in entries if points]


def spread(name: str, worth: int, points: list[float]) -> dict:
    """Quarters and a histogram of ten bars, each a tenth of the points, as heights from 0 to 1."""
    quarters = statistics.quantiles(points, n=4, method="inclusive") if len(points) > 1 else points * 3
    bars = Counter(min(int(10 * value / worth), 9) for value in points)
    heights = [bars[tenth] / max(bars.values()) for tenth in range(10)]
    return {"name": name, "worth": worth, "count": len(points), "quarters": quarters, "heights": heights}


def finalize(value: Any) -> Any:
    """Every text that a template shows goes through `shown`, so that none can be forgotten."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"shown": shown, "lines": shown_lines, "of": points_text, "count": count}
TEMPLATES.globals |= {"said_of": said_of, "LETTERS": LETTERS, "NAME_LIMIT": NAME_LIMIT, "SHOWN_AT_ONCE": SHOWN_AT_ONCE}
