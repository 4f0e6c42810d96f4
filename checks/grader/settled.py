"""Rows after the instructor's policy: what tables, pages and the gradebook show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from checks.grader.judging.results import CheckResult, Status
from checks.grader.layouts import LATE


@dataclass(frozen=True)
class SettledExercise:
    """An exercise after the instructor's policy. earned: what the checks gave. decision: a sentence, or ""."""

    status: Status
    points: float | None
    earned: int | None
    max_points: int
    reason: str
    checks: tuple[CheckResult, ...]
    marked: bool
    decision: str


@dataclass(frozen=True)
class Question:
    """A question that a person marks. points: None if it is not marked yet."""

    points: float | None
    max_points: int
    comment: str


@dataclass(frozen=True)
class SettledRow:
    """A row after the instructor's policy: points withheld, marks by hand, late days.

    submitted: when, ISO 8601, and source: what says so, or that it came late. recorded: when, as the submissions say.
    key: the record's. origin: what the submissions call the student, where it is another name.
    """

    student: str
    lesson: str
    status: Status
    points: float | None
    max_points: int
    reason: str
    exercises: Mapping[str, SettledExercise]
    questions: Mapping[str, Question]
    notes: tuple[str, ...]
    submitted: str | None
    source: str
    recorded: str | None
    key: str
    origin: str

    @property
    def handed_in(self) -> bool:
        return self.status not in (Status.MISSING, Status.UNGRADED)


def came_late(rows: Iterable[SettledRow]) -> dict[str, list[str]]:
    """Who came late by the platform's word, and nothing says how late, by lesson."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.handed_in and row.submitted is None and row.source == LATE:
            found.setdefault(row.lesson, []).append(row.student)
    return found
