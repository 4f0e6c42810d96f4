"""record.jsonl: what is graded stands there, whatever happens next."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from checks.grader.judging.results import Row
from checks.tool.exercise import catalogue
from lessons import LESSONS

NAME = "record.jsonl"
Place = tuple[str, str]  # student and lesson


class RecordError(Exception):
    """The record can't be read or written. The message is one sentence."""


class Record:
    """record.jsonl: append-only, a line for each finished submission, on disk before the next one counts.

    The last line of a student and lesson is the one that holds. gone: those that are among the submissions no more.
    cleared: why an instructor has cleared a flagged submission, and the key that its row had.
    """

    def __init__(self, path: Path):
        self.path = path
        self.columns = {name: None for exercises in catalogue().values() for name in exercises}
        self.file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115
        found = read_record(path)
        self.rows, self.gone, self.cleared, self.size = found.rows, found.gone, found.cleared, found.size
        self.file.truncate(self.size)

    def add(self, row: Row) -> None:
        """Write a row down. Raises RecordError."""
        self._write(row.to_json(self.columns))
        self.rows[row.student, row.lesson] = row
        self.gone.discard((row.student, row.lesson))

    def leave(self, place: Place) -> None:
        """Write down that a student's submission of a lesson is there no more: its row shows in no table."""
        self._write({"student": place[0], "lesson": place[1], "gone": True})
        self.gone.add(place)

    def clear(self, place: Place, key: str, reason: str) -> None:
        """Write down that an instructor has looked at a flagged submission and gives the points of its checks."""
        self._write({"student": place[0], "lesson": place[1], "cleared": reason, "key": key})
        self.cleared[place] = key, reason

    def reasons(self) -> dict[Place, str]:
        """Why submissions are cleared; one that was handed in anew since then is not."""
        return {
            place: reason
            for place, (key, reason) in self.cleared.items()
            if place in self.rows and self.rows[place].key.split(" ")[0] == key.split(" ")[0]
        }

    def _write(self, line: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(line).encode() + b"\n")
        size = self.size + len(rest)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
            os.fsync(self.file)
        except OSError as error:
            with contextlib.suppress(OSError):
                self.file.truncate(self.size)
            raise RecordError(
                f"{self.path} can't be written ({error.strerror}): make room, then run the same command to go on."
            ) from None
        self.size = size


@dataclass
class Contents:
    """What a record holds, by student and lesson. size: how many bytes are whole lines."""

    rows: dict[Place, Row] = field(default_factory=dict)
    gone: set[Place] = field(default_factory=set)
    cleared: dict[Place, tuple[str, str]] = field(default_factory=dict)
    size: int = 0

    def take(self, line: Any) -> None:
        """Take a line in. Raises ValueError, TypeError, KeyError or AttributeError for what is none."""
        place = line["student"], line["lesson"]
        if place[1] not in LESSONS:
            raise ValueError("no lesson of the course")
        if "cleared" in line and place in self.rows:
            self.cleared[place] = str(line["key"]), str(line["cleared"])
        elif line.get("gone") is True and place in self.rows:
            self.gone.add(place)
        else:
            self.rows[place] = Row.from_json(line)
            self.gone.discard(place)


def read_record(path: Path) -> Contents:
    """Read a record.

    A last line that a kill or a full disk has cut off is left out. Raises RecordError for any other damage.
    """
    found = Contents()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                found.take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise RecordError(
                    f"{path}, line {number} is damaged: repair or delete this line, then run it again."
                ) from None
            found.size += len(line)
    return found


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """One grader at a time in a folder. Raises RecordError."""
    with open(out / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecordError(
                f"another grader is at work in {out}: wait until it is done, or choose another --out."
            ) from None
        yield
