"""Deadlines, late days and extensions, as they stand in late.toml, and in the course.toml of a grades folder.

time_zone = "Europe/Berlin"     # of the times below that have no offset of their own
free_days = 1                   # days late that cost nothing, in each lesson; 0 if left out
penalty = 10                    # percent of the points earned, for each day begun after these
max_penalty = 50                # percent, the most that is deducted; 100 if left out

[deadlines]
masking = 2026-11-01T23:59:00

[extensions.alice]              # "quoted" where the name holds more than letters, digits, - and _
masking = 3                     # days after the deadline, or a date and time: the new deadline
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from checks.grader.limits import MOST_DAYS
from checks.grader.texts import PolicyError, read_text
from checks.tool.exercise import catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS = ("time_zone", "free_days", "penalty", "max_penalty", "deadlines", "extensions")


@dataclass(frozen=True)
class LateDays:
    """What late.toml says. The default: nothing is late.

    extensions: new deadlines, by (student, lesson). penalty: percent a day. named: where a student is named.
    """

    deadlines: Mapping[str, datetime] = field(default_factory=dict)
    extensions: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    free_days: int = 0
    penalty: Decimal = Decimal(0)
    max_penalty: Decimal = Decimal(100)
    zone: tzinfo | None = None  # of times without an offset; None: this machine's
    named: Mapping[str, str] = field(default_factory=dict)

    def due(self, student: str, lesson: str) -> datetime | None:
        """When a lesson has to be in; None: at any time."""
        return self.extensions.get((student, lesson)) or self.deadlines.get(lesson)


def read_late_days(path: Path, others: Collection[str] = ()) -> LateDays:
    """Read late.toml, or a file that holds these other settings too. Raises PolicyError."""
    file = LateFile(path, others)
    if not file.settings:
        return LateDays()
    deadlines = file.deadlines()
    return LateDays(
        deadlines=deadlines,
        extensions=file.extensions(deadlines),
        free_days=file.amount("free_days", 0, MOST_DAYS, (int,)),
        penalty=Decimal(file.amount("penalty", None, 100, (int, Decimal))),
        max_penalty=Decimal(file.amount("max_penalty", 100, 100, (int, Decimal))),
        zone=file.zone,
        named={student: file.place("extensions", student) for student in file.table("extensions")},
    )


class LateFile:
    """The file as it stands. Every method raises PolicyError, which names the line, for what can't be meant."""

    def __init__(self, path: Path, others: Collection[str]):
        self.path, self.text = path, read_text(path)
        try:
            found = tomllib.loads(self.text, parse_float=Decimal)
        except (tomllib.TOMLDecodeError, DecimalException) as error:
            raise PolicyError(f"{path} is not valid TOML: {error}") from None
        self.settings = {key: value for key, value in found.items() if key not in others}
        for key in self.settings:
            if key not in SETTINGS:
                self.refuse(f"there is no setting {key!r}; the settings are {', '.join((*others, *SETTINGS))}", key)
        self.zone = self.time_zone()

    def place(self, *keys: str) -> str:
        return f"{self.path}, line {line_of(self.text, keys)}"

    def refuse(self, why: str, *keys: str) -> NoReturn:
        raise PolicyError(f"{self.place(*keys)}: {why}")

    def time_zone(self) -> tzinfo | None:
        if "time_zone" not in self.settings:
            return None
        try:
            return ZoneInfo(self.settings["time_zone"])
        except (KeyError, ValueError, TypeError, OSError):
            why = 'time_zone is not known here; write it as in "Europe/Berlin", or put an offset behind each time'
        self.refuse(why, "time_zone")

    def amount(self, key: str, default: int | None, most: int, kinds: tuple[type, ...]) -> Any:
        """A number from 0 to most, of one of these kinds."""
        if key not in self.settings and default is None:
            example = f"the percent that each day late costs, as in `{key} = 10`"
            raise PolicyError(f"{self.path}: {key} is missing, {example}")
        value: Any = self.settings.get(key, default)
        if type(value) not in kinds or not Decimal(value).is_finite() or not 0 <= value <= most:
            whole = "a number" if Decimal in kinds else "a whole number"
            self.refuse(f"{key} must be {whole} from 0 to {most}", key)
        return value

    def table(self, key: str) -> dict[str, Any]:
        found = self.settings.get(key, {})
        if not isinstance(found, dict):
            self.refuse(f"{key} must be a table, [{key}]", key)
        return found

    def known(self, lesson: str, *keys: str) -> None:
        if lesson not in catalogue():
            self.refuse(f"there is no lesson {lesson!r}; the lessons are {', '.join(catalogue())}", *keys)

    def moment(self, value: Any, *keys: str) -> datetime:
        """A time with its zone."""
        if type(value) is not datetime:
            what = "has no time" if type(value) is date else "is no date with a time"
            self.refuse(f"the deadline of {keys[-1]} {what}; write 2026-11-01T23:59:00", *keys)
        if value.tzinfo is None and self.zone is None:
            self.refuse(
                f"the deadline of {keys[-1]} has no time zone; "
                'put `time_zone = "Europe/Berlin"` at the top of the file, or an offset such as +01:00 behind the time',
                *keys,
            )
        if not 2000 <= value.year <= 2100:
            self.refuse(f"the year of the deadline of {keys[-1]} is {value.year}", *keys)
        return value if value.tzinfo else value.replace(tzinfo=self.zone)

    def deadlines(self) -> dict[str, datetime]:
        found = {}
        for lesson, value in self.table("deadlines").items():
            self.known(lesson, "deadlines", lesson)
            found[lesson] = self.moment(value, "deadlines", lesson)
        return found

    def extensions(self, deadlines: Mapping[str, datetime]) -> dict[tuple[str, str], datetime]:
        found = {}
        for student, granted in self.table("extensions").items():
            if not isinstance(granted, dict):
                why = "an extension needs the lesson, as in `masking = 3` below [extensions.alice]"
                self.refuse(why, "extensions", student)
            for lesson, value in granted.items():
                found[student, lesson] = self.extension(value, deadlines, student, lesson)
        return found

    def extension(self, value: Any, deadlines: Mapping[str, datetime], student: str, lesson: str) -> datetime:
        """The new deadline: days after the old one, or a time."""
        keys = ("extensions", student, lesson)
        self.known(lesson, *keys)
        if lesson not in deadlines:
            self.refuse(f"{lesson} has an extension, but no deadline; add it below [deadlines]", *keys)
        if type(value) is int and 0 <= value <= MOST_DAYS:
            return deadlines[lesson] + timedelta(days=value)
        if not isinstance(value, date):
            self.refuse(f"an extension is a number of days up to {MOST_DAYS}, or a date with a time", *keys)
        due = self.moment(value, *keys)
        if utc(due) < utc(deadlines[lesson]):
            self.refuse("this extension ends before the deadline", *keys)
        return due


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of a TOML text on which a key stands: the first one up to which the text already has the key."""
    lines = text.split("\n")
    for number in range(1, len(lines)):
        try:
            table = tomllib.loads("\n".join(lines[:number]), parse_float=Decimal)
            for key in keys:
                table = table[key]
            return number
        except (tomllib.TOMLDecodeError, KeyError):
            pass
    return len(lines)


def utc(moment: datetime) -> datetime:
    """The moment in UTC: two moments of one zone are otherwise subtracted as wall clocks."""
    return moment.astimezone(timezone.utc)
