"""A file or folder that was handed in, wherever it lies: in a folder or in a zip."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass

HIDDEN = re.compile(r"^(\.|__MACOSX$)")


class Unreadable(Exception):
    """A file of a submission can't be read. The message is a clause that says why."""


@dataclass(frozen=True)
class Entry:
    """A file or folder below SUBMISSIONS, or what stands in its place. read: its bytes, or raises Unreadable."""

    parts: tuple[str, ...]
    read: Callable[[], bytes] | None = None  # None: a folder
    refused: str = ""  # why it may not be opened
    flat: bool = False  # its name holds a student and a lesson
    submitted: str | None = None  # ISO 8601, where its name says so
    source: str = ""  # what says so, or that it came late
    committed: Callable[[], tuple[str | None, str]] | None = None  # in a clone: when, and what says so
    origin: str = ""  # what the submissions call its student, where it is another name than the grader's

    @property
    def is_folder(self) -> bool:
        return self.read is None and not self.refused

    @property
    def name(self) -> str:
        return decoded(self.parts[-1])


def decoded(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 as escapes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def kind_of(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a link, which is never followed",
        stat.S_IFIFO: "a pipe and no file",
        stat.S_IFSOCK: "a socket and no file",
    }
    return kinds.get(stat.S_IFMT(mode), "a device and no file")
