"""What the instructor decides after the checks have run: late days, marks by hand, and the points of flagged exercises.

None of it is stored in the record, so a change of mind takes a rerun and no new grading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from checks.grader.judging.results import FAILURES, ExerciseResult, Row, Status
from checks.grader.late import LateDays, read_late_days, utc
from checks.grader.layouts import LATE
from checks.grader.marks import CENT, Mark, Marks, read_marks
from checks.grader.settled import Question, SettledExercise, SettledRow
from checks.grader.texts import PolicyError
from checks.grader.times import Given

TIME_UNKNOWN = "It is not known when this was handed in"


@dataclass(frozen=True)
class Policy:
    """What `settle` needs to know. The defaults: nothing is late, nothing is marked by hand, flagged is withheld.

    cleared: why flagged submissions are cleared, by student and lesson. times: when lessons were handed in, where the
    instructor says it.
    """

    flagged: str = "withhold"
    late: LateDays = field(default_factory=LateDays)
    marks: Marks = field(default_factory=Marks)
    cleared: Mapping[tuple[str, str], str] = field(default_factory=dict)
    times: Given = field(default_factory=dict)


def read_policy(
    late: Path | None = None, marks: Iterable[Path] = (), flagged: str = "withhold", others: Collection[str] = ()
) -> Policy:
    """The instructor's policy: a file of late days, files of marks, and what becomes of flagged points.

    others: settings of the first file that are not of late days. Raises PolicyError.
    """
    return Policy(flagged, read_late_days(late, others) if late else LateDays(), read_marks(marks))


def renamed(policy: Policy, name_of: Callable[[str], str | None]) -> Policy:
    """The policy with the names that students have here in place of those in its files. name_of: None if it knows none.

    Raises PolicyError if two names are of one student and both have a mark for one item.
    """
    names = {name: name_of(name) or name for name in (*policy.marks.named, *policy.late.named)}
    given: dict[tuple[str, str, str], Mark] = {}
    for (student, lesson, item), mark in policy.marks.given.items():
        key = names[student], lesson, item
        if key in given:
            raise PolicyError(f"{policy.marks.named[student]}: {item} of {names[student]!r} is marked twice; keep one")
        given[key] = mark
    extensions = {(names[student], lesson): due for (student, lesson), due in policy.late.extensions.items()}
    marks = replace(policy.marks, given=given, named={names[name]: at for name, at in policy.marks.named.items()})
    late = replace(
        policy.late, extensions=extensions, named={names[name]: at for name, at in policy.late.named.items()}
    )
    return replace(policy, marks=marks, late=late)


def unknown_students(policy: Policy, rows: Iterable[Row]) -> list[str]:
    """A sentence for each student whom late days or marks name and who has no row: most likely a misspelling."""
    students = {row.student for row in rows}
    named = {**policy.marks.named, **policy.late.named}
    return [
        f"{place}: no submission is from a student called {student!r}"
        for student, place in named.items()
        if student not in students
    ]


def settle(row: Row, policy: Policy) -> SettledRow:
    """The row as the policy makes it: flagged points are withheld, marks by hand replace, late days are deducted.

    A row that is "ungraded" has no points, whatever was marked. One that is cleared is flagged no more.
    """
    row, cleared = unflagged(row, policy.cleared.get((row.student, row.lesson)))
    recorded = row.submitted
    if known := policy.times.get((row.student, row.lesson)):
        row = replace(row, submitted=known[0], source=known[1])
    given, worths = policy.marks.given, policy.marks.questions.get(row.lesson, {})
    marks = {name: given.get((row.student, row.lesson, name)) for name in (*row.exercises, *worths)}
    exercises = {name: settle_exercise(entry, marks[name], policy) for name, entry in row.exercises.items()}
    questions = {name: question(worth, marks[name]) for name, worth in worths.items()}
    parts: list[SettledExercise | Question] = [*exercises.values(), *questions.values()]
    total = sum((Decimal(str(part.points or 0)) for part in parts), Decimal(0))
    deducted, late = lateness(row, total, policy)
    reasons = (row.reason, cleared, *decisions(row, exercises, questions), late)
    return SettledRow(
        student=row.student,
        lesson=row.lesson,
        status=row.status,
        points=None if row.status == Status.UNGRADED else number(total - deducted),
        max_points=row.max_points + sum(worths.values()),
        reason=" ".join(text for text in reasons if text),
        exercises=exercises,
        questions=questions,
        notes=row.notes,
        submitted=row.submitted,
        source=row.source,
        recorded=recorded,
        key=row.key,
        origin=row.origin,
    )


def unflagged(row: Row, why: str | None) -> tuple[Row, str]:
    """A flagged row without its flags, if an instructor has said why, and a sentence that says it."""
    if row.status != Status.FLAGGED or why is None:
        return row, ""
    exercises = {
        name: replace(entry, status=Status.GRADED, points=entry.earned) if entry.status == Status.FLAGGED else entry
        for name, entry in row.exercises.items()
    }
    statuses = {entry.status for entry in exercises.values()}
    status = next((status for status in FAILURES if status in statuses), Status.GRADED)
    return replace(row, status=status, exercises=exercises), f"Cleared by hand: {why}"


def settle_exercise(entry: ExerciseResult, mark: Mark | None, policy: Policy) -> SettledExercise:
    points: float | None = entry.earned
    decision = ""
    if mark:
        points = number(mark.points)
        decision = f"Marked by hand: {points} of {entry.max_points} points. {mark.comment}".strip()
    elif entry.status == Status.FLAGGED and policy.flagged == "withhold" and entry.earned:
        points = 0
        decision = f"{count(entry.earned, 'point')} withheld."
    marked = mark is not None
    return SettledExercise(
        entry.status, points, entry.earned, entry.max_points, entry.reason, entry.checks, marked, decision
    )


def question(worth: int, mark: Mark | None) -> Question:
    return Question(number(mark.points), worth, mark.comment) if mark else Question(None, worth, "")


def decisions(row: Row, exercises: dict[str, SettledExercise], questions: dict[str, Question]) -> list[str]:
    """What was decided about a row, a sentence each."""
    withheld = sum(
        entry.earned or 0
        for name, entry in row.exercises.items()
        if entry.status == Status.FLAGGED and not exercises[name].marked and exercises[name].points == 0
    )
    parts: dict[str, SettledExercise | Question] = {
        **{name: entry for name, entry in exercises.items() if entry.marked},
        **{name: entry for name, entry in questions.items() if entry.points is not None},
    }
    marked = [f"{name} {entry.points} of {entry.max_points}" for name, entry in parts.items()]
    unmarked = [name for name, entry in questions.items() if entry.points is None]
    sentences = [f"{count(withheld, 'point')} withheld."] if withheld else []
    sentences += [f"Marked by hand: {', '.join(marked)}."] if marked else []
    missing = row.status == Status.MISSING
    return sentences + ([f"Not marked yet: {', '.join(unmarked)}."] if unmarked and not missing else [])


def lateness(row: Row, points: Decimal, policy: Policy) -> tuple[Decimal, str]:
    """The points that are deducted because the lesson came late, and a sentence, "" if it is in time.

    A day is 24 hours, and one that has begun counts. Points are rounded to two decimals, a half away from zero.
    """
    late = policy.late
    due = late.due(row.student, row.lesson)
    if due is None or row.status in (Status.MISSING, Status.UNGRADED):
        return Decimal(0), ""
    if row.submitted is None:
        what = "This came late, says the platform, and not when" if row.source == LATE else TIME_UNKNOWN
        return Decimal(0), f"{what}: no late days are counted."
    when = datetime.fromisoformat(row.submitted)
    when = when if when.tzinfo else when.replace(tzinfo=late.zone)  # a platform's own clock
    days = -((utc(due) - utc(when)) // timedelta(days=1))
    if days <= 0:
        return Decimal(0), ""
    percent = min(max(days - late.free_days, 0) * late.penalty, late.max_penalty)
    deducted = (points * percent / 100).quantize(CENT, ROUND_HALF_UP)
    how_late = f"{count(days, 'day')} late (due {due:%Y-%m-%d %H:%M %Z})"
    if not deducted:
        return deducted, f"{how_late}, which costs nothing."
    return deducted, f"{how_late}: {number(percent)} % of {number(points)} points, {number(deducted)}, deducted."


def number(value: Decimal) -> int | float:
    """An int if it is whole, so that 3 points are not written 3.0."""
    return int(value) if value == int(value) else float(value)


def count(value: float, noun: str) -> str:
    return f"{value} {noun}{'' if value == 1 else 's'}"
