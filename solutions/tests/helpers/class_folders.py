"""Folders and zips of a class, and what is collected from them."""

import zipfile
from pathlib import Path

from checks.grader.collect import collect
from checks.grader.judging.results import Status

NOTEBOOK = b'{"cells": []}'


def put(folder: Path, name: str, content: bytes = NOTEBOOK) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def submissions(place: Path, *lessons: str) -> dict[tuple[str, str], tuple[Status | None, str | None, str]]:
    """{(student, lesson): (status, file, reason and notes)}; one row for each, or this fails."""
    lessons = list(lessons or ("masking",))
    found = list(collect(place, lessons).submissions(lessons))
    rows = {(s.student, s.lesson): (s.status, s.label, " ".join([s.reason, *s.notes])) for s in found}
    assert len(rows) == len(found) == len({student for student, _ in rows}) * len(lessons)
    return rows


def one(place: Path, student: str = "alice", lesson: str = "masking") -> tuple[Status | None, str | None, str]:
    """What one student handed in for a lesson."""
    return submissions(place, lesson)[student, lesson]


def content(place: Path, student: str = "alice") -> bytes:
    """The bytes of the file that is graded."""
    [submission] = [s for s in collect(place, ["masking"]).submissions(["masking"]) if s.student == student]
    return submission.entry.read()
