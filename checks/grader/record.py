"""record.jsonl: what is graded stands there, whatever happens next."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from checks.grader.judging.results import Row
from checks.tool.exercise import catalogue
from lessons import LESSONS

NAME = "record.jsonl"


class RecordError(Exception):
    """The record can't be read or written. The message is one sentence."""


class Record:
    """record.jsonl: append-only, a line for each finished submission, on disk before the next one counts.

    The last line of a student and lesson is the one that holds.
    """

    def __init__(self, path: Path):
        self.path = path
        self.columns = {name: None for exercises in catalogue().values() for name in exercises}
        self.file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115
        self.rows, self.size = read_record(path)
        self.file.truncate(self.size)

    def add(self, row: Row) -> None:
        rest = memoryview(json.dumps(row.to_json(self.columns)).encode() + b"\n")
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
        self.rows[row.student, row.lesson] = row


def read_record(path: Path) -> tuple[dict[tuple[str, str], Row], int]:
    """The rows of a record by student and lesson, and how many bytes are whole lines.

    A last line that a kill or a full disk has cut off is left out. Raises RecordError for any other damage.
    """
    rows: dict[tuple[str, str], Row] = {}
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                row = Row.from_json(json.loads(line))
                whole = row.lesson in LESSONS
            except (ValueError, TypeError, KeyError, AttributeError):
                whole = False
            if not whole:
                raise RecordError(f"{path}, line {number} is damaged: repair or delete this line, then run it again.")
            rows[row.student, row.lesson] = row
            size += len(line)
    return rows, size


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
