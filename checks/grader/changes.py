"""What a run changed: old and new points by student and exercise, and why.

points.json holds what the tables said last, so that nothing is lost if a run was stopped between grading and writing;
changes.csv gets a line for each change, the newest last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.grader.settled import SettledRow

NAME = "points.json"
CAUSES = ("submission", "checks", "seed, limits or sandbox")  # of a new grade: the parts of a row's key, in order
LATE = "late days"  # the item of what is deducted
ALL = "all"  # the item of a submission that is there no more
FACTS = ("key", "submitted", "points", LATE, "items")
Points = dict[tuple[str, str], dict[str, Any]]  # by student and lesson: what `facts` gives


@dataclass(frozen=True)
class Change:
    """An item's points before and after; None: not graded, not marked, or not there. why: CAUSES, or "policy"."""

    student: str
    lesson: str
    item: str
    old: float | None
    new: float | None
    why: str


def facts(row: SettledRow) -> dict[str, Any]:
    """What decides about a row's points. items: points, status, and the points that the checks gave."""
    items: dict[str, list[Any]] = {
        name: [entry.points, entry.status.value, entry.earned] for name, entry in row.exercises.items()
    }
    items |= {name: [question.points, "", 0] for name, question in row.questions.items()}
    total = None if row.points is None else round(row.points - sum(item[0] or 0 for item in items.values()), 2)
    return {"key": row.key, "submitted": row.recorded, "points": row.points, LATE: total, "items": items}


def points_text(rows: Iterable[SettledRow]) -> str:
    """points.json of these rows."""
    return json.dumps([[row.student, row.lesson, facts(row)] for row in rows])


def read_points(out: Path) -> Points:
    """What the tables of a grades folder say; {} if there are none, or the file is damaged, which only compares."""
    try:
        lines = json.loads((out / NAME).read_text(encoding="utf-8"))
        return {(student, lesson): {name: found[name] for name in FACTS} for student, lesson, found in lines}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def changes(before: Points, rows: Iterable[SettledRow]) -> list[Change]:
    """What differs from before, in the order of the rows. A row that was not there before is no change."""
    after = {(row.student, row.lesson): facts(row) for row in rows}
    found = [change for place, new in after.items() if place in before for change in changed(place, before[place], new)]
    gone = [place for place in before if place not in after]
    return found + [Change(*place, ALL, before[place]["points"], None, "no longer handed in") for place in gone]


def changed(place: tuple[str, str], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The items of one row whose points differ."""
    parts = zip(CAUSES, old["key"].split(" "), new["key"].split(" "), strict=False)
    regraded = " and ".join(name for name, one, other in parts if one != other)
    found = []
    for name in {**old["items"], **new["items"]}:
        one, other = old["items"].get(name), new["items"].get(name)
        points = one and one[0], other and other[0]
        if points[0] != points[1]:
            # a flag that is cleared changes the status of the same grade
            is_policy = one is None or other is None or (one[2] == other[2] and (not regraded or one[1] == other[1]))
            found.append(Change(*place, name, *points, "policy" if is_policy else regraded or "graded again"))
    if old[LATE] != new[LATE]:
        moved = "submission" if old["submitted"] != new["submitted"] else "policy"
        why = next((change.why for change in found if change.why != "policy"), moved)
        found.append(Change(*place, LATE, old[LATE], new[LATE], why))
    return found


def told(changes: Iterable[Change], most: int) -> list[str]:
    """The changes as lines of text, one for each student and lesson, and no more than this many."""
    by_row: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        by_row.setdefault((change.student, change.lesson), []).append(change)
    lines = []
    for (student, lesson), own in list(by_row.items())[:most]:
        items = ", ".join(f"{change.item} {value(change.old)} -> {value(change.new)} ({change.why})" for change in own)
        lines.append(f"changed: {student}, {lesson}: {items}")
    return lines + ([f"changed: and {len(by_row) - most} more"] if len(by_row) > most else [])


def value(points: float | None) -> str:
    return "none" if points is None else f"{points:g}"
