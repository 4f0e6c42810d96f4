"""From what a class handed in to one submission for each student and lesson: folders, flat files, or a zip of either.

Nothing is unpacked and no link is followed: a file is opened once, by its place below the folder, and read as bytes.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from lessons import LESSONS, LIMIT, folder_name

FILES_LIMIT = 200_000  # of a class
PER_STUDENT_LIMIT = 2_000
SUFFIXES = (".ipynb", ".py")
HIDDEN = re.compile(r"^(\.|__MACOSX$)")


class CollectError(Exception):
    """There is nothing to grade at this place. The message is one sentence."""


@dataclass(frozen=True)
class Entry:
    """A file or folder below SUBMISSIONS, or what stands in a file's place. read: its bytes, or raises Unreadable."""

    parts: tuple[str, ...]
    read: Callable[[], bytes] | None = None  # None: a folder
    refused: str = ""  # why it may not be opened
    modified: float | None = None  # seconds since the epoch
    outside: bool = False  # a member of a zip whose name leads out of it

    @property
    def is_folder(self) -> bool:
        return self.read is None and not self.refused


class Unreadable(Exception):
    """A file of a submission can't be read. The message is a clause that says why."""


@dataclass
class Submission:
    """What one student handed in for one lesson. status: missing or unreadable, or "" if there is a file to grade."""

    student: str
    lesson: str
    status: str = ""
    reason: str = ""
    entry: Entry | None = None
    notes: list[str] = field(default_factory=list)
    submitted: str | None = None  # ISO 8601

    @property
    def label(self) -> str | None:
        return self.entry.parts[-1] if self.entry else None


@dataclass
class Class:
    """All submissions, students in order of name, and what was left aside, a sentence each."""

    students: dict[str, list[Entry]]
    ignored: list[str]

    def submissions(self, lessons: list[str]) -> Iterator[Submission]:
        for lesson in lessons:
            for student in sorted(self.students):
                yield submission_of(student, lesson, self.students[student])


def collect(place: Path, lessons: list[str]) -> Class:
    """Look through a folder or a zip. Raises CollectError."""
    try:
        if place.is_dir():
            return sort_out(list(folder_entries(place)), lessons, is_zip=False)
        elif zipfile.is_zipfile(place):
            return sort_out(list(zip_entries(place)), lessons, is_zip=True)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        why = (getattr(error, "strerror", "") or str(error)).lower()
        raise CollectError(f"{place} can't be read: {why}.") from None
    if place.exists():
        raise CollectError(f"{place} is neither a folder nor a zip: give the folder that holds the submissions.")
    raise CollectError(f"there is no {place}: give the folder, or the zip, that holds the submissions.")


def sort_out(entries: list[Entry], lessons: list[str], is_zip: bool) -> Class:
    """Which student each entry belongs to."""
    ignored = sorted({f"{entry.parts[0]}: hidden" for entry in entries if HIDDEN.match(entry.parts[0])})
    entries = [entry for entry in entries if not any(HIDDEN.match(part) for part in entry.parts)]
    if is_zip and has_wrapper(entries):
        entries = [replace(entry, parts=entry.parts[1:]) for entry in entries if entry.parts[1:]]
    students: dict[str, list[Entry]] = {}
    flat = not any(entry.is_folder or len(entry.parts) > 1 for entry in entries)
    for entry in entries:
        top, rest = entry.parts[0], entry.parts[1:]
        suffix = PurePosixPath(top).suffix
        if flat and (named := flat_name(top, lessons)):
            student, lesson = named
            students.setdefault(decoded(student), []).append(replace(entry, parts=(folder_name(lesson), top)))
        elif rest or entry.is_folder or (entry.refused and suffix not in SUFFIXES and not entry.outside):
            inner = students.setdefault(decoded(top), [])
            if len(inner) < PER_STUDENT_LIMIT:
                inner.append(replace(entry, parts=rest))
            elif len(inner) == PER_STUDENT_LIMIT:
                inner.append(replace(entry, parts=rest))
                ignored.append(f"{top}: more than {PER_STUDENT_LIMIT} files, the others are left aside")
        else:
            ignored.append(f"{top}: {entry.refused or ('its name tells no lesson' if flat else 'not in a folder')}")
    return Class(students, [decoded(line) for line in ignored])


def decoded(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 as escapes."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def has_wrapper(entries: list[Entry]) -> bool:
    """Whether all members of a zip lie in one folder which is no student's: a student's holds lessons."""
    names = {name for lesson in LESSONS for name in (lesson, folder_name(lesson))}
    second, third = ({PurePosixPath(e.parts[depth]).stem for e in entries if len(e.parts) > depth} for depth in (1, 2))
    flat = any(flat_name(e.parts[1], list(LESSONS)) for e in entries if len(e.parts) == 2 and e.read)
    return len({e.parts[0] for e in entries}) == 1 and not second & names and (flat or bool(third & names))


def flat_name(name: str, lessons: list[str]) -> tuple[str, str] | None:
    """Student and lesson of `<student>_<anything>.ipynb`; the lesson's name is in it, or only one lesson is graded."""
    path = PurePosixPath(name)
    student, underscore, rest = path.stem.partition("_")
    if path.suffix not in SUFFIXES or not underscore or not student:
        return None
    found = [lesson for lesson in LESSONS if lesson in rest.lower()]
    if not found and len(lessons) == 1:
        found = lessons
    return (student, found[-1]) if found else None


def submission_of(student: str, lesson: str, entries: list[Entry]) -> Submission:
    """Choose the file that is graded: `<lesson>.ipynb`, or the only other notebook, or the script."""
    whole = next((entry for entry in entries if entry.parts == () and entry.refused), None)
    if whole:
        return Submission(student, lesson, "unreadable", f"the student's folder is {whole.refused}.")
    names = (folder_name(lesson), lesson)
    link = next((entry for entry in entries if entry.refused and entry.parts in [(name,) for name in names]), None)
    if link:
        return Submission(student, lesson, "unreadable", f"the folder {link.parts[0]} is {link.refused}.")
    inside = [entry for entry in entries if len(entry.parts) == 2 and entry.parts[0] in names]
    if not inside:  # a student's files beside each other, as Moodle gives them
        inside = [entry for entry in entries if len(entry.parts) == 1 and PurePosixPath(entry.parts[0]).stem in names]
    files = [entry for entry in inside if entry.read or entry.refused]
    made = Submission(student, lesson)
    stamp = next((entry for entry in files if entry.parts[-1] == "timestamp.txt" and entry.read), None)
    for suffix in SUFFIXES:
        candidates = [entry for entry in files if PurePosixPath(entry.parts[-1]).suffix == suffix]
        exact = [entry for entry in candidates if PurePosixPath(entry.parts[-1]).stem in names]
        if len(exact) == 1 or (not exact and len(candidates) == 1):
            made.entry = (exact or candidates)[0]
            if not exact:
                made.notes.append(f"{made.label} was graded: there is no {folder_name(lesson)}{suffix}.")
            break
        if candidates:
            several = ", ".join(sorted(entry.parts[-1] for entry in (exact or candidates)))
            made.status, made.reason = "missing", f"several files could be meant, so none was graded: {several}."
            return made
    if made.entry is None:
        made.status, made.reason = "missing", "no notebook was handed in."
    elif made.entry.refused:
        made.status, made.reason = "unreadable", f"{made.label} is {made.entry.refused}."
    else:
        made.submitted = submitted_at(made.entry, stamp)
    return made


def submitted_at(entry: Entry, stamp: Entry | None) -> str | None:
    """When it was handed in: nbgrader's timestamp.txt, or when the file was changed last."""
    if stamp:
        with contextlib.suppress(Unreadable, ValueError):
            words = re.sub(r"(\.\d+)? ?(UTC|Z)$", "+00:00", stamp.read()[:100].decode(errors="replace").strip())
            when = datetime.fromisoformat(words)
            return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).isoformat()
    if entry.modified is None:
        return None
    with contextlib.suppress(OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(int(entry.modified), timezone.utc).isoformat()
    return None


# A folder


def folder_entries(place: Path) -> Iterator[Entry]:
    """Everything below a folder, three levels deep."""
    for count, entry in enumerate(walk(place, (), 3)):
        if count == FILES_LIMIT:
            raise CollectError(f"{place} holds more than {FILES_LIMIT} files: give the folder of one class.")
        yield entry


def walk(place: Path, parts: tuple[str, ...], depth: int) -> Iterator[Entry]:
    try:
        with os.scandir(place.joinpath(*parts)) as found:
            inner = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Entry(parts, None, f"closed to the grader ({(error.strerror or str(error)).lower()})")
        return
    for entry in inner:
        here = (*parts, entry.name)
        if any(HIDDEN.match(part) for part in here):
            if len(here) == 1:
                yield Entry(here)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            yield Entry(here, None, f"not readable ({(error.strerror or str(error)).lower()})")
            continue
        if stat.S_ISDIR(status.st_mode):
            yield Entry(here)
            if depth > 1:
                yield from walk(place, here, depth - 1)
        elif stat.S_ISREG(status.st_mode):
            yield Entry(here, lambda here=here: read_below(place, here), modified=status.st_mtime)
        else:
            yield Entry(here, None, kind_of(status.st_mode))


def kind_of(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a link, which is never followed",
        stat.S_IFIFO: "a pipe and no file",
        stat.S_IFSOCK: "a socket and no file",
    }
    return kinds.get(stat.S_IFMT(mode), "a device and no file")


def read_below(place: Path, parts: tuple[str, ...]) -> bytes:
    """The bytes of a regular file, reached without following a link anywhere below place. Raises Unreadable."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with contextlib.ExitStack() as stack:
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for part in parts[:-1]:
                folder = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
                stack.callback(os.close, folder)
            file = os.open(parts[-1], flags, dir_fd=folder)
            with os.fdopen(file, "rb") as opened:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise Unreadable("it is no file")
                content = opened.read(LIMIT + 1)
    except OSError as error:
        raise Unreadable(f"it can't be opened ({(error.strerror or str(error)).lower()})") from None
    if len(content) > LIMIT:
        raise Unreadable(f"it has more than {LIMIT >> 20} MB: clear its outputs, then save it")
    return content


# A zip


def zip_entries(place: Path) -> Iterator[Entry]:
    """The members of a zip, those that could reach outside refused and named."""
    archive = zipfile.ZipFile(place)
    seen: set[tuple[str, ...]] = set()
    for number, info in enumerate(archive.infolist()):
        parts = tuple(part for part in PurePosixPath(info.filename).parts)
        refused = ""
        if info.filename.startswith("/") or re.match(r"[A-Za-z]:", info.filename):
            refused = "a member with an absolute path"
        elif ".." in parts:
            refused = "a member that points outside (..)"
        elif not parts or "\0" in info.filename:
            refused = "a member without a name"
        elif (mode := info.external_attr >> 16) and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refused = kind_of(mode)
        elif info.file_size > LIMIT:
            refused = f"a member of more than {LIMIT >> 20} MB"
        elif info.flag_bits & 1:
            refused = "an encrypted member"
        elif number >= FILES_LIMIT:
            refused = f"beyond the {FILES_LIMIT} members that are read"
        elif not info.is_dir() and parts in seen:
            refused = "a second member of the same name"
        if refused and (not parts or ".." in parts or refused.startswith(("a member with", "beyond"))):
            yield Entry((info.filename or "(no name)",), None, refused, outside=True)
            continue
        seen.add(parts)
        modified = None
        with contextlib.suppress(ValueError):
            modified = datetime(*info.date_time, tzinfo=timezone.utc).timestamp()
        for depth in range(1, len(parts)):  # folders have no members of their own in some zips
            if parts[:depth] not in seen:
                seen.add(parts[:depth])
                yield Entry(parts[:depth])
        if info.is_dir() and not refused:
            yield Entry(parts)
        elif refused:
            yield Entry(parts, None, refused)
        else:
            yield Entry(parts, lambda info=info: read_member(archive, info), modified=modified)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member; its stated size is not believed. Raises Unreadable."""
    try:
        with archive.open(info) as member:
            content = member.read(LIMIT + 1)
    except Exception as error:  # zipfile.BadZipFile, zlib.error, lzma.LZMAError, whatever damage makes a decoder raise
        raise Unreadable(f"it can't be unpacked ({type(error).__name__})") from None
    if len(content) > LIMIT:
        raise Unreadable(f"it unpacks to more than {LIMIT >> 20} MB")
    return content
