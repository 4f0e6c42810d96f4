"""What grading gives: statuses, and a row for each student and lesson with its exercises and checks.

A `Row` is what the checks say; it stands in record.jsonl. What the instructor's policy makes of it is a `SettledRow`
(checks/grader/settled.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Status(str, Enum):
    """How a submission, or an exercise of it, ended. The guide (solutions/README.md) says what each is worth."""

    GRADED = "graded"
    TODO = "todo"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    FLAGGED = "flagged"
    UNREADABLE = "unreadable"
    MISSING = "missing"
    UNGRADED = "ungraded"  # the grader itself failed

    def __str__(self) -> str:
        return self.value


# of a lesson's exercises, the first that one of them has is the lesson's
FAILURES = (Status.MISSING, Status.UNREADABLE, Status.FLAGGED, Status.CRASHED, Status.TIMEOUT)


@dataclass(frozen=True)
class CheckResult:
    """The verdict of one check."""

    check: str
    property: str
    status: str  # as in checks.tool.learner.Verdict
    points: int
    max_points: int
    page: str
    likely: str


@dataclass(frozen=True)
class ExerciseResult:
    """An exercise as the checks see it. earned: before points are withheld; None, as points: not graded."""

    status: Status
    points: int | None
    earned: int | None
    max_points: int
    reason: str = ""
    checks: tuple[CheckResult, ...] = ()

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ExerciseResult:
        checks = tuple(CheckResult(**check) for check in entry["checks"])
        facts = {name: entry[name] for name in ("points", "earned", "max_points", "reason")}
        return cls(status=Status(entry["status"]), checks=checks, **facts)


@dataclass(frozen=True)
class Result:
    """What grading one file for one lesson gives. exercises: {} if the file could not be read."""

    status: Status
    reason: str
    exercises: Mapping[str, ExerciseResult] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One student's submission of one lesson. key: what it is kept under in the record."""

    student: str
    lesson: str
    status: Status
    max_points: int
    reason: str
    exercises: Mapping[str, ExerciseResult]
    file: str | None = None
    notes: tuple[str, ...] = ()
    submitted: str | None = None  # ISO 8601
    seconds: float = 0.0
    key: str = ""
    tier: str = ""
    origin: str = ""  # what the submissions call the student, where it is another name
    source: str = ""  # what says when it was submitted, or that it came late

    @property
    def points(self) -> int | None:
        """The points of all exercises; None: not graded."""
        points = [exercise.points for exercise in self.exercises.values()]
        return None if None in points else sum(value or 0 for value in points)

    def to_json(self, columns: Mapping[str, None]) -> dict[str, Any]:
        """A line of the record: exercises have their points as columns too. columns: those that every line has."""
        facts = {name: getattr(self, name) for name in ("student", "lesson", "status", "points", "max_points")}
        points = {name: exercise.points for name, exercise in self.exercises.items()}
        entries = {name: dataclasses.asdict(exercise) for name, exercise in self.exercises.items()}
        facts |= {**columns, **points, "reason": self.reason, "exercises": entries}
        last = ("file", "notes", "submitted", "seconds", "key", "tier", "origin", "source")
        return facts | {name: getattr(self, name) for name in last}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Row:
        """The row of a line. Raises KeyError, TypeError or ValueError for what is no such line."""
        line = {"origin": "", "source": "", **line}  # lines of the version before have none
        texts = ("student", "lesson", "reason", "key", "tier", "origin", "source")
        if not all(isinstance(line[name], str) for name in texts):
            raise TypeError("a name or a key is no text")
        exercises = {name: ExerciseResult.from_json(entry) for name, entry in line["exercises"].items()}
        facts = {name: line[name] for name in (*texts, "max_points", "file", "submitted", "seconds")}
        return cls(status=Status(line["status"]), exercises=exercises, notes=tuple(line["notes"]), **facts)
