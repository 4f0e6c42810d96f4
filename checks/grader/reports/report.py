"""report.html: the class on one page."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from checks.grader.changes import Change, value
from checks.grader.judging.results import Status
from checks.grader.limits import LISTED_FILES
from checks.grader.marks import questions_of
from checks.grader.reports.items import items, unnamed
from checks.grader.reports.pages import LETTERS, TEMPLATES
from checks.grader.reports.text import folder_of, points_text
from checks.grader.settled import SettledExercise, SettledRow, came_late
from checks.tool.exercise import catalogue

# what needs the instructor's eye, most urgent first, and what it means
TROUBLE = {
    Status.FLAGGED: "Tampering was seen.",
    Status.UNGRADED: "The grader itself failed: there are no points, and no 0. Run it again.",
    Status.CRASHED: "The code ended its process, or sent what can't be read.",
    Status.TIMEOUT: "The code ran longer than it may.",
    Status.UNREADABLE: "The submission can't be read.",
    Status.MISSING: "There is nothing to grade.",
}
BANDS = ((1, "a"), (0.75, "b"), (0.5, "c"), (0.25, "d"), (0, "e"))  # share of the points, and the class of its colour
SMALL_CLASS = 60  # up to here each student has a line in the heat map; above, a line is a twentieth of the class
GROUP = 100  # students of a folded part of a large class's table
TOP = 12

OfStudent = Mapping[str, SettledRow]  # a student's rows, by lesson
Lessons = Mapping[str, Mapping[str, int]]  # what each exercise is worth


@dataclass(frozen=True)
class Trouble:
    """A submission that needs the instructor's eye."""

    student: str
    lesson: str
    points: str
    reasons: list[str]
    page: str


@dataclass(frozen=True)
class Group:
    """All of one status."""

    status: Status
    meaning: str
    entries: list[Trouble]
    by_lesson: Counter[str]


@dataclass(frozen=True)
class Line:
    """A line of the heat map; last: up to how many percent of the class, best first."""

    cells: Markup
    total: str
    student: str = ""
    last: int = 100


@dataclass(frozen=True)
class Hardest:
    """An exercise; kinds: how many got all of its points, some, none, or did not write it."""

    name: str
    lesson: str
    mean: float
    kinds: Counter[str]
    entries: int


@dataclass(frozen=True)
class Misconception:
    exercise: str
    likely: str
    students: int


@dataclass(frozen=True)
class Spread:
    """Quarters and a histogram of ten bars, each a tenth of the points, as heights from 0 to 1."""

    name: str
    worth: float
    count: int
    quarters: list[float]
    heights: list[float]


def report_page(rows: Sequence[SettledRow], about: Mapping[str, Any], changes: Sequence[Change] = ()) -> str:
    """report.html: one page that holds all it needs. rows in the order in which students and lessons are to stand."""
    lessons = {name: exercises for name, exercises in catalogue().items() if any(row.lesson == name for row in rows)}
    students: dict[str, dict[str, SettledRow]] = {}
    for row in rows:
        students.setdefault(row.student, {})[row.lesson] = row
    best_first = sorted(students, key=lambda name: -total(students[name]))
    is_small, names = len(students) <= SMALL_CLASS, list(students)
    groups = [] if is_small else [names[start : start + GROUP] for start in range(0, len(names), GROUP)]
    shows = {
        "about": about,
        "ignored": about["ignored"][:LISTED_FILES],
        "changes": [(change, value(change.old), value(change.new)) for change in changes[:LISTED_FILES]],
        "changed": len(changes),
        "unmarked": unmarked(rows),
        "came_late": came_late(rows),
        "students": len(students),
        "lessons": lessons,
        "statuses": Counter(row.status for row in rows),
        "submissions": len(rows),
        "trouble": trouble(rows),
        "twentieths": [] if is_small else twentieths([students[name] for name in best_first], lessons),
        "lines": [line(name, students[name], lessons) for name in best_first] if is_small else [],
        "groups": [[line(name, students[name], lessons) for name in group] for group in groups],
        "hardest": hardest(rows, lessons),
        "misconceptions": misconceptions(rows),
        "items": items(rows, about.get("history", [])),
        "unnamed": unnamed(rows),
        "distributions": distributions(rows, list(students.values()), lessons),
    }
    return TEMPLATES.get_template("report.html.jinja").render(shows)


def unmarked(rows: Sequence[SettledRow]) -> list[tuple[str, str, int, int]]:
    """The questions that wait for a person: name, lesson, how many are marked, and how many handed the lesson in."""
    found = []
    for lesson in catalogue():
        handed_in = [row for row in rows if row.lesson == lesson and row.handed_in]
        for name in questions_of(lesson):
            asked = [row.questions.get(name) for row in handed_in]
            marked = sum(question is not None and question.points is not None for question in asked)
            if marked < len(handed_in):
                found.append((name, lesson, marked, len(handed_in)))
    return found


def total(rows: OfStudent) -> float:
    """The points of one student's rows; those that are not graded don't count."""
    return sum(row.points or 0 for row in rows.values())


def trouble(rows: Iterable[SettledRow]) -> list[Group]:
    """The submissions that need the instructor's eye, by status."""
    found: dict[Status, list[Trouble]] = {status: [] for status in TROUBLE}
    for row in rows:
        if row.status in found:
            page = f"feedback/{folder_of(row.student)}/{row.lesson}.html"
            points = points_text(row.points, row.max_points)
            found[row.status].append(Trouble(row.student, row.lesson, points, reasons(row), page))
    order = list(catalogue()).index
    return [
        Group(status, TROUBLE[status], entries, Counter(sorted((entry.lesson for entry in entries), key=order)))
        for status, entries in found.items()
        if entries
    ]


def reasons(row: SettledRow) -> list[str]:
    """Why a row has its status: its own reason, and those of its exercises that have the same."""
    exercises: dict[str, list[str]] = {}
    for name, exercise in row.exercises.items():
        if exercise.status == row.status and exercise.reason and exercise.reason not in row.reason:
            exercises.setdefault(exercise.reason, []).append(name)
    own = [row.reason] if row.reason else []
    return own + [f"{', '.join(names)}: {reason}" for reason, names in exercises.items()]


def line(name: str, rows: OfStudent, lessons: Lessons) -> Line:
    """A student's line in the heat map."""
    cells = "".join(cell(rows.get(lesson), name) for lesson, exercises in lessons.items() for name in exercises)
    ungraded = any(row.points is None for row in rows.values())
    return Line(Markup(cells), f"{total(rows):g}{'?' if ungraded else ''}", name)


def cell(row: SettledRow | None, name: str) -> str:
    """A cell of the heat map, HTML: points on a colour, or the letter of a status."""
    if row is None:
        return "<td>"
    exercise = row.exercises[name]
    if exercise.points is None or (exercise.status in LETTERS and not exercise.marked):
        quiet = exercise.status in (Status.TODO, Status.MISSING)
        return f"<td class={'t' if quiet else 'x'}>{LETTERS[exercise.status]}"
    return f"<td class={band(exercise.points / exercise.max_points)}>{exercise.points:g}"


def band(share: float) -> str:
    return next(name for least, name in BANDS if share >= least)


def twentieths(students: Sequence[OfStudent], lessons: Lessons) -> list[Line]:
    """Lines for a large class, best first: a twentieth of it each, with the mean percent of each exercise's points."""
    lines = []
    for part in range(20):
        members = students[part * len(students) // 20 : (part + 1) * len(students) // 20]
        cells = []
        for lesson, exercises in lessons.items():
            graded = [rows[lesson] for rows in members if lesson in rows and rows[lesson].points is not None]
            for name, worth in exercises.items():
                points = [row.exercises[name].points or 0 for row in graded]
                share = statistics.fmean(points) / worth if points else None
                cells.append("<td>" if share is None else f"<td class={band(share)}>{int(100 * share)}")
        mean = statistics.fmean(map(total, members))
        lines.append(Line(Markup("".join(cells)), f"{mean:.1f}", last=5 * (part + 1)))
    return lines


def hardest(rows: Sequence[SettledRow], lessons: Lessons) -> list[Hardest]:
    """The exercises on which those who handed in lost the largest share of the points, hardest first."""
    found = []
    for lesson, exercises in lessons.items():
        handed_in = [row for row in rows if row.lesson == lesson and row.handed_in]
        for name, worth in exercises.items():
            entries = [row.exercises[name] for row in handed_in]
            if entries:
                kinds = Counter(kind_of(entry, worth) for entry in entries)
                mean = statistics.fmean((entry.points or 0) / worth for entry in entries)
                found.append(Hardest(name, lesson, mean, kinds, len(entries)))
    return sorted(found, key=lambda entry: entry.mean)[:TOP]


def kind_of(entry: SettledExercise, worth: int) -> str:
    if entry.status == Status.TODO:
        return "todo"
    return "full" if entry.points == worth else "part" if entry.points else "none"


def misconceptions(rows: Iterable[SettledRow]) -> list[Misconception]:
    """The likely misconceptions that failed checks named, with the number of students, most frequent first."""
    students: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, exercise in row.exercises.items():
            for check in exercise.checks:
                if check.status == "failed" and check.likely:
                    students.setdefault((name, check.likely), set()).add(row.student)
    counted = [Misconception(*key, len(names)) for key, names in students.items()]
    return sorted(counted, key=lambda entry: -entry.students)[:TOP]


def distributions(rows: Sequence[SettledRow], students: Sequence[OfStudent], lessons: Iterable[str]) -> list[Spread]:
    """How the points of those who handed in are spread, for each lesson and for all of them together."""
    entries: list[tuple[str, float, list[float]]] = []
    for lesson in lessons:
        graded = [row for row in rows if row.lesson == lesson and row.handed_in]
        worth = next(row.max_points for row in rows if row.lesson == lesson)
        entries.append((lesson, worth, [row.points or 0 for row in graded]))
    complete = [rows for rows in students if all(row.points is not None for row in rows.values())]
    entries.append(("all lessons", sum(worth for _, worth, _ in entries), [total(rows) for rows in complete]))
    return [spread(name, worth, points) for name, worth, points in entries if points]


def spread(name: str, worth: float, points: list[float]) -> Spread:
    quarters = statistics.quantiles(points, n=4, method="inclusive") if len(points) > 1 else points * 3
    bars = Counter(min(int(10 * value / worth), 9) for value in points)
    heights = [bars[tenth] / max(bars.values()) for tenth in range(10)]
    return Spread(name, worth, len(points), quarters, heights)
