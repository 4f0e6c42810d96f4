"""How learning platforms name what a class has handed in: whose a file or folder is, and when it came.

A platform's form is recognised by the names at the top of what was downloaded. Where a name holds the platform's own
number of a student, it stays part of what the student is called here: two of one name remain two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

import yaml  # type: ignore[import-untyped]

MOODLES = "_assignsubmission_file_"  # behind name and number in the names of Moodle's files, submissions and feedback
METADATA = "submission_metadata.yml"  # who is behind which folder of a Gradescope export
IN_THE_NAME = "file name"
LATE = "late, says the platform"  # and not how late


@dataclass(frozen=True)
class Owner:
    """Whose something is.

    student: what the grader calls them. file: what is left of the name of a file that lies beside those of others.
    submitted: ISO 8601, without an offset if the platform gives none. aside: why it is no submission, or "".
    source: what says when it came, or LATE. origin: how the platform begins the names of feedback files, if it takes
    any.
    """

    student: str
    file: str = ""
    submitted: str | None = None
    aside: str = ""
    source: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Layout:
    """A form. files, folders: what the names of files and of folders at the top look like, if they may be there.

    The groups of the patterns are fields of an Owner: name and id make the student; time is read with time_format.
    returned: what feedback files have behind the student, if the platform takes such files.
    """

    name: str
    files: str = ""
    folders: str = ""
    time_format: str = ""
    returned: str = ""

    def owner(self, name: str, is_folder: bool) -> Owner | None:
        """Whose a file or folder of this name at the top is; None if the form has no such name."""
        pattern = self.folders if is_folder else self.files
        found = re.fullmatch(pattern, name) if pattern else None
        if not found:
            return None
        groups = {key: value for key, value in found.groupdict().items() if value}
        student = "_".join(groups[key] for key in ("name", "id") if key in groups)
        aside = "text that was typed into the platform" if groups.get("kind") == "onlinetext" else ""
        if "receipt" in groups:
            aside = "the platform's receipt"
        submitted, source = None, LATE if "late" in groups else ""
        if "time" in groups:
            try:
                submitted = datetime.strptime(groups["time"], self.time_format).isoformat()
                source = IN_THE_NAME
            except ValueError:
                return None
        origin = f"{student}{self.returned}" if self.returned else ""
        return Owner(student, groups.get("file", ""), submitted, aside, source, origin)


# Canvas: ContentZipper in instructure/canvas-lms, lib/content_zipper.rb. Moodle: download_submissions in moodle/moodle,
# mod/assign/locallib.php; feedback files have the same names, mod/assign/feedback/file/importziplib.php. Blackboard,
# Brightspace and Google Classroom by names that their users have published.
LAYOUTS = (
    Layout(
        "canvas",
        files=r"(?:(?!(?:LATE_)?anon_)(?P<name>.+?)_)?(?:(?P<late>LATE)_)?(?P<id>\d+|anon_[A-Za-z0-9]+)_\d+_(?P<file>.+)",
    ),
    Layout(
        "moodle",
        files=r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?P<kind>file|onlinetext)_(?P<file>.+)",
        folders=r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?P<kind>file|onlinetext)_?",
        returned=MOODLES,
    ),
    Layout(
        "blackboard",
        files=r".+_(?P<name>[^_]+)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>.+)|(?P<receipt>\.txt))",
        time_format="%Y-%m-%d-%H-%M-%S",
    ),
    Layout(
        "brightspace",
        files=r"(?P<id>\d+)-\d+ - (?P<name>.+?) - (?P<time>\w+ \d+, \d{4} \d{3,4} [AP]M) - (?P<file>.+)",
        folders=r"(?P<id>\d+)-\d+ - (?P<name>.+?) - (?P<time>\w+ \d+, \d{4} \d{3,4} [AP]M)",
        time_format="%b %d, %Y %I%M %p",
    ),
    Layout("gradescope", files=re.escape(METADATA), folders=r"(?P<name>submission_\d+)"),
    Layout("google", files=r"(?P<name>.+?) - (?P<file>.+)"),
)
NAMES = ("folders", "files", *(layout.name for layout in LAYOUTS))


def recognise(files: Iterable[str], folders: Iterable[str]) -> Layout | None:
    """The form of which most of these names at the top are, if it is more than half of them."""
    names = [(name, False) for name in files] + [(name, True) for name in folders]
    counts = {layout: sum(layout.owner(*name) is not None for name in names) for layout in LAYOUTS}
    best = max(LAYOUTS, key=lambda layout: counts[layout])
    return best if names and counts[best] > len(names) / 2 else None


def named(name: str) -> Layout:
    """The form of this name."""
    return next(layout for layout in LAYOUTS if layout.name == name)


def submitters(content: bytes) -> dict[str, tuple[list[str], str | None]]:
    """Of each folder in a Gradescope export: its students (a group has several), and when they handed in.

    Raises ValueError for what is no such file.
    """
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    if not isinstance(found, dict):
        raise ValueError("it holds no submissions")
    owners: dict[str, tuple[list[str], str | None]] = {}
    for folder, about in found.items():
        fields = about if isinstance(about, dict) else {}
        people = fields.get(":submitters") or []
        names = [named_by(person) for person in people if isinstance(person, dict)]
        when: Any = fields.get(":created_at")
        submitted = None
        if isinstance(when, datetime):
            submitted = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).isoformat(timespec="seconds")
        elif isinstance(when, date):
            submitted = when.isoformat()
        owners[str(folder)] = [name for name in names if name] or [str(folder)], submitted
    return owners


def named_by(person: dict[str, Any]) -> str:
    """What the grader calls a Gradescope user: the name, and the number or address that tells two of one name apart."""
    words = [str(person[key]) for key in (":name", ":sid") if person.get(key)]
    if len(words) < 2 and person.get(":email"):
        words.append(str(person[":email"]))
    return "_".join(words)
