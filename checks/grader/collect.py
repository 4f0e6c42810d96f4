"""From what a class handed in to one submission for each student and lesson: folders, flat files, or a zip of either.

Nothing is unpacked and no link is followed: a file is opened once, by its place below the folder, and read as bytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from checks.grader import layouts
from checks.grader.clones import committed
from checks.grader.entries import HIDDEN, Entry, Unreadable, decoded, kind_of
from checks.grader.judging.results import Status
from checks.grader.limits import CLASS_FILES, FOLDER_FILES, NAMED
from checks.grader.zips import zip_entries
from lessons import LESSONS, NOTEBOOK_LIMIT, folder_name

SUFFIXES = (".ipynb", ".py")
STAMP = "timestamp.txt"  # nbgrader's
LESSON_NAMES = {name for lesson in LESSONS for name in (lesson, folder_name(lesson))}
REPOSITORY = "lessons"  # the folder of a clone of the course in which the lessons lie


class CollectError(Exception):
    """There is nothing to grade at this place. The message is one sentence."""


@dataclass
class Submission:
    """What one student handed in for one lesson. status: missing or unreadable, or None if there is a file to grade."""

    student: str
    lesson: str
    status: Status | None = None
    reason: str = ""
    entry: Entry | None = None
    notes: list[str] = field(default_factory=list)
    submitted: str | None = None  # ISO 8601
    source: str = ""  # what says so, or that it came late
    origin: str = ""

    @property
    def label(self) -> str | None:
        """The name of the file."""
        return self.entry.name if self.entry else None

    def content(self) -> bytes | None:
        """The bytes of the file; None if there is nothing to grade, and then status and reason say why."""
        if self.entry is None or self.entry.read is None or self.status:
            return None
        try:
            return self.entry.read()
        except Unreadable as error:
            self.status, self.reason = Status.UNREADABLE, f"{self.label}: {error}."
            return None


@dataclass
class Class:
    """All submissions, students in order of name, and what was left aside, a sentence each."""

    students: dict[str, list[Entry]]  # parts: below the student's folder
    ignored: list[str]
    form: str = "folders"  # one of layouts.NAMES

    def submissions(self, lessons: list[str]) -> Iterator[Submission]:
        for lesson in lessons:
            for student in sorted(self.students):
                yield submission_of(student, lesson, self.students[student], lessons)


def collect(place: Path, lessons: list[str], form: str | None = None) -> Class:
    """Look through a folder or a zip. form: one of layouts.NAMES, or None: see which. Raises CollectError."""
    ignored: list[str] = []
    try:
        if place.is_dir():
            entries = list(walk(place, ()))
        elif zipfile.is_zipfile(place):
            entries = without_wrapper(list(zip_entries(place, ignored)))
        elif place.exists():
            raise CollectError(f"{place} is neither a folder nor a zip: give the folder that holds the submissions.")
        else:
            raise CollectError(f"there is no {place}: give the folder, or the zip, that holds the submissions.")
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        why = (getattr(error, "strerror", "") or str(error)).lower()
        raise CollectError(f"{place} can't be read: {why}.") from None
    found = sort_out(entries, ignored, lessons, form)
    if not found.students:
        left = f" ({found.ignored[0]})" if found.ignored else ""
        raise CollectError(f"{place} holds no submission{left}: give the folder that holds a folder for each student.")
    return found


def sort_out(entries: list[Entry], ignored: list[str], lessons: list[str], form: str | None) -> Class:
    """Which student each entry belongs to. ignored: what was left aside already."""
    students: dict[str, list[Entry]] = {}
    ignored = [*ignored, *sorted({f"{entry.parts[0]}: hidden" for entry in entries if HIDDEN.match(entry.parts[0])})]
    entries = [entry for entry in entries if not any(map(HIDDEN.match, entry.parts))]
    layout, form = form_of(entries, form)
    flat = form == "files"
    members, entries = members_of(entries, ignored) if form == "gradescope" else ({}, entries)
    for entry in entries:
        top, rest = entry.parts[0], below(entry.parts[1:])
        owner = layout.owner(top, entry.is_folder or len(entry.parts) > 1) if layout else None
        if layout and (owner is None or owner.aside):
            why = owner.aside if owner else entry.refused or f"its name is none of {form}'s"
            ignored += [f"{top}: {why}"] if len(entry.parts) == 1 else []
        elif owner and owner.file:
            files = students.setdefault(owner.student, [])
            entry = replace(entry, submitted=owner.submitted, source=owner.source, origin=owner.origin)
            if owner.file.lower().endswith(".zip"):
                files += unpacked(replace(entry, parts=(owner.file,)))
            elif lesson := names_lesson(owner.file, lessons):
                files.append(replace(entry, parts=(folder_name(lesson), owner.file), flat=True))
            else:
                ignored.append(f"{top}: its name tells no lesson")
        elif flat and (named := flat_name(top, lessons)):
            student, lesson = named
            students.setdefault(student, []).append(replace(entry, parts=(folder_name(lesson), top), flat=True))
        elif not flat and (rest or entry.is_folder or (entry.refused and suffix(top) not in SUFFIXES)):
            owner = owner or layouts.Owner(top)
            people, submitted = members.get(top, ([owner.student], owner.submitted))
            source = layouts.METADATA if top in members and submitted else owner.source
            entry = replace(entry, submitted=submitted, source=source, origin=owner.origin)
            found: list[Entry] = []
            if not matters(rest):
                ignored += [f"{'/'.join(entry.parts)}: {entry.refused}"] if entry.refused else []
            elif len(rest) == 1 and suffix(rest[0]) == ".zip" and not entry.is_folder:
                found = unpacked(replace(entry, parts=rest))
            elif len(rest) == 1 and not entry.is_folder and not names_lesson(rest[0], lessons):
                ignored.append(f"{'/'.join(entry.parts)}: its name tells no lesson")
            else:
                found = [replace(entry, parts=rest)]
            for student in people:
                students.setdefault(student, []).extend(found)
        elif len(entry.parts) == 1:
            why = entry.refused or ("its name tells no student and lesson" if flat else "not in a folder")
            ignored.append(f"{top}: {why}")
    names = no_two_alike(students)
    by_name = {names[name]: files for name, files in students.items()}
    return Class(by_name, [decoded(line) for line in ignored], form)


def members_of(entries: list[Entry], ignored: list[str]) -> tuple[dict[str, tuple[list[str], str | None]], list[Entry]]:
    """Who is behind the folders of a Gradescope export, and the entries without the file that says it."""
    others = [entry for entry in entries if entry.parts != (layouts.METADATA,)]
    for entry in entries:
        if entry.parts == (layouts.METADATA,) and entry.read:
            try:
                return layouts.submitters(entry.read()), others
            except (Unreadable, ValueError) as error:
                ignored.append(f"{layouts.METADATA}: it can't be read ({error}), so that students have no names")
    return {}, others


def form_of(entries: list[Entry], form: str | None) -> tuple[layouts.Layout | None, str]:
    """The form that was asked for, or the one that it is: a platform's, flat files, or a folder for each student."""
    folders = {entry.parts[0] for entry in entries if entry.is_folder or len(entry.parts) > 1}
    files = {entry.parts[0] for entry in entries} - folders
    if form in ("folders", "files"):
        return None, form
    layout = layouts.named(form) if form else layouts.recognise(files, folders)
    if layout:
        return layout, layout.name
    in_folders = any(len(entry.parts) > 1 and matters(below(entry.parts[1:])) for entry in entries)
    flat = not in_folders and (not folders or any(flat_name(name, list(LESSONS)) for name in files))
    return None, "files" if flat else "folders"


def below(rest: tuple[str, ...]) -> tuple[str, ...]:
    """A place below a student's folder, the same for a clone of the course, which has its lessons in lessons/."""
    return rest[1:] if rest[:1] == (REPOSITORY,) else rest


def suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def matters(rest: tuple[str, ...]) -> bool:
    """Whether what has this place below a student's folder can be a submission, or stand in the way of one."""
    *folders, name = rest or ("",)
    is_file = suffix(name) in SUFFIXES
    if not folders:
        return is_file or suffix(name) == ".zip" or name in (*LESSON_NAMES, REPOSITORY) or not name
    return len(folders) == 1 and folders[0] in LESSON_NAMES and (is_file or name == STAMP)


def unpacked(entry: Entry) -> list[Entry]:
    """The notebooks and scripts in a zip that one student has handed in, each with the folder of its lesson, if it lies
    in one. A zip that can't be read is one entry that says so.
    """
    if entry.read is None:
        return [entry]
    try:
        members = list(zip_entries(io.BytesIO(entry.read()), []))
    except (Unreadable, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [replace(entry, read=None, refused=f"a zip that can't be read ({str(error).lower()})")]
    found = []
    for member in members:
        if suffix(member.parts[-1]) in SUFFIXES and not any(map(HIDDEN.match, member.parts)) and not member.is_folder:
            in_lesson = member.parts[-2:-1] and member.parts[-2] in LESSON_NAMES
            parts = member.parts[-2:] if in_lesson else member.parts[-1:]
            found.append(replace(entry, parts=parts, read=member.read, refused=member.refused))
    return found[:FOLDER_FILES]


def no_two_alike(names: Iterable[str]) -> dict[str, str]:
    """The text of each name; what is text already keeps it, and escapes that look like it get a number."""
    texts: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: (decoded(name) != name, name)):
        text, number = decoded(name), 2
        while text in taken:
            text, number = f"{decoded(name)} ({number})", number + 1
        taken.add(text)
        texts[name] = text
    return texts


def flat_name(name: str, lessons: list[str]) -> tuple[str, str] | None:
    """Student and lesson of `<student>_<anything>.ipynb`."""
    path = PurePosixPath(name)
    student, _, rest = path.stem.partition("_")
    is_lesson = path.stem in LESSONS or any(path.stem.startswith(folder_name(lesson)) for lesson in LESSONS)
    if path.suffix not in SUFFIXES or is_lesson or not student or not rest:
        return None
    lesson = names_lesson(rest, lessons)
    return (student, lesson) if lesson else None


def names_lesson(name: str, lessons: list[str]) -> str | None:
    """The lesson that a file's name tells, or the only one that is graded.

    A name may hold those of two lessons, as in 03_masking_after_training: then the one with its number counts.
    """
    numbered = [lesson for lesson in LESSONS if folder_name(lesson) in name.lower()]
    found = numbered or [lesson for lesson in LESSONS if lesson in name.lower()]
    if len(found) == 1:
        return found[0]
    return lessons[0] if len(lessons) == 1 and (not found or lessons[0] in found) else None


def submission_of(student: str, lesson: str, entries: list[Entry], lessons: list[str]) -> Submission:
    """Choose the file that is graded: `<lesson>.ipynb`, or the only other notebook, or the script."""
    names = (folder_name(lesson), lesson)
    for entry in entries:
        if entry.refused and (not entry.parts or entry.parts in [(name,) for name in names]):
            what = f"the folder {entry.name}" if entry.parts else "the student's folder"
            return Submission(student, lesson, Status.UNREADABLE, f"{what} is {entry.refused}.")
    files = [entry for entry in entries if not entry.is_folder and len(entry.parts) == 2 and entry.parts[0] in names]
    stamp = next((entry for entry in files if entry.name == STAMP and entry.read), None)
    if all(entry.name == STAMP for entry in files):  # a student's files beside each other, as Moodle gives them
        beside = [entry for entry in entries if not entry.is_folder and len(entry.parts) == 1]
        files = [entry for entry in beside if names_lesson(entry.name, lessons) == lesson]
    candidates = next((found for suffix in SUFFIXES if (found := with_suffix(files, suffix))), [])
    exact = [[e for e in candidates if e.flat or PurePosixPath(e.name).stem == name] for name in names]
    meant = exact[0] or exact[1] or candidates
    if not meant:
        for entry in entries:
            if entry.refused and suffix(entry.name) == ".zip" and names_lesson(entry.name, lessons) in (lesson, None):
                return Submission(student, lesson, Status.UNREADABLE, f"{entry.name} is {entry.refused}.")
        return Submission(student, lesson, Status.MISSING, "no notebook was handed in.")
    if len(meant) > 1 and all(entry.submitted for entry in meant):  # attempts: the last one counts
        meant = sorted(meant, key=lambda entry: entry.submitted or "")[-1:]
    if len(meant) > 1:
        several = ", ".join(sorted(entry.name for entry in meant)[:NAMED])
        several += f" and {len(meant) - NAMED} more" if len(meant) > NAMED else ""
        return Submission(
            student, lesson, Status.MISSING, f"several files could be meant, so none was graded: {several}."
        )
    made = Submission(student, lesson, entry=meant[0], origin=meant[0].origin)
    if not any(exact):
        expected = f"{folder_name(lesson)}{PurePosixPath(meant[0].name).suffix}"
        made.notes.append(f"{made.label} was graded: there is no {expected}.")
    if meant[0].refused:
        made.status, made.reason = Status.UNREADABLE, f"{made.label} is {meant[0].refused}."
    else:
        made.submitted, made.source, why = submitted_at(meant[0], stamp)
        made.notes += [why] if why else []
    return made


def with_suffix(entries: Iterable[Entry], ending: str) -> list[Entry]:
    return [entry for entry in entries if suffix(entry.name) == ending]


def submitted_at(entry: Entry, stamp: Entry | None) -> tuple[str | None, str, str]:
    """When it was handed in, what says so, and a sentence if the time is not to be read: by nbgrader's timestamp.txt,
    the platform's name for it, or its last commit. (The date of a file is that of the download, or of the clone.)
    """
    if not stamp or not stamp.read:
        known = entry.submitted, entry.source
        return *(known if any(known) or not entry.committed else entry.committed()), ""
    text = ""
    with contextlib.suppress(Unreadable, ValueError, OverflowError, OSError, KeyError):
        text = stamp.read()[:100].decode("utf-8-sig", errors="replace").strip()
        date, _, zone = re.sub(r"(\d)Z$", r"\1 UTC", text).rpartition(" ")
        if re.fullmatch(r"[\d:.+-]+", zone):  # no name of a zone
            date, zone = text, "UTC"
        when = datetime.fromisoformat(re.sub(r"\.\d+", "", date))
        when = when if when.tzinfo else when.replace(tzinfo=ZoneInfo(zone))
        when.astimezone(timezone.utc)  # raises what can't be compared with a deadline: year 1, east of Greenwich
        return when.isoformat(), STAMP, ""
    return (
        entry.submitted,
        entry.source,
        f"{STAMP} is not to be read as a time ({decoded(text)[:50]!r}): when it came is not known.",
    )


def without_wrapper(entries: list[Entry]) -> list[Entry]:
    """The entries below the one folder in which all others lie, if it is no student's: a student's holds lessons."""
    visible = [entry for entry in entries if not any(map(HIDDEN.match, entry.parts))]
    inner = [entry.parts[1:] for entry in visible if len(entry.parts) > 1]
    is_students = any(PurePosixPath(parts[0]).stem in LESSON_NAMES for parts in inner)
    holds_students = any(len(parts) > 1 or flat_name(parts[0], list(LESSONS)) for parts in inner)
    if len({entry.parts[0] for entry in visible}) != 1 or is_students or not holds_students:
        return entries
    hidden = [entry for entry in entries if HIDDEN.match(entry.parts[0])]
    return hidden + [replace(entry, parts=entry.parts[1:]) for entry in visible if entry.parts[1:]]


# A folder


def walk(place: Path, parts: tuple[str, ...]) -> Iterator[Entry]:
    """What lies in a folder: all of it at the top, and what matters below a student's. Raises OSError at the top."""
    limit = FOLDER_FILES if parts else CLASS_FILES
    try:
        with os.scandir(place.joinpath(*parts)) as found:
            matter = (entry for entry in found if not parts or matters(below((*parts[1:], entry.name))))
            inner = sorted(islice(matter, limit + 1), key=lambda entry: entry.name)
    except OSError as error:
        if not parts:
            raise
        yield Entry(parts, None, f"closed to the grader ({(error.strerror or str(error)).lower()})")
        return
    if len(inner) > limit:
        if not parts:
            raise CollectError(f"{place} holds more than {limit} folders and files: give the folder of one class.")
        yield Entry(parts, None, f"a folder of more than {limit} notebooks and scripts")
        return
    for entry in inner:
        here = (*parts, entry.name)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            yield Entry(here, None, f"not readable ({(error.strerror or str(error)).lower()})")
            continue
        if stat.S_ISDIR(status.st_mode):
            yield Entry(here)
            inside = here[1:] == (REPOSITORY,) or below(here[1:]) in [(name,) for name in LESSON_NAMES]
            if not HIDDEN.match(entry.name) and (not parts or inside):
                yield from walk(place, here)
        elif stat.S_ISREG(status.st_mode):
            when = partial(committed, place, here, read_below) if parts else None
            yield Entry(here, partial(read_below, place, here), committed=when)
        else:
            yield Entry(here, None, kind_of(status.st_mode))


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
                content = opened.read(NOTEBOOK_LIMIT + 1)
    except OSError as error:
        raise Unreadable(f"it can't be opened ({(error.strerror or str(error)).lower()})") from None
    if len(content) > NOTEBOOK_LIMIT:
        raise Unreadable(f"it has more than {NOTEBOOK_LIMIT >> 20} MB: clear its outputs, then save it")
    return content
