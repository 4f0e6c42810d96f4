"""When a notebook in a learner's clone was committed last, by the clock of whoever committed it.

A clone is a learner's, and its settings and hooks can name programs. So git is given a repository of our own, which has
neither, and of the clone its objects alone: nothing in it is run, and nothing is fetched or written.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from checks.grader.entries import Unreadable

COMMIT = "last commit, by the learner's clock"
OTHER = "the file is not what was committed last"
SECONDS = 20  # for git to answer; a class of clones takes some milliseconds each
CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
MOST_MEMORY = "512m"  # at a time: a compressed object may claim to be of any size
OLDEST, NEWEST = 2000, 2100  # years that a clock may show
Read = Callable[[Path, tuple[str, ...]], bytes]  # a file below a folder, without following links; raises Unreadable


def committed(place: Path, parts: tuple[str, ...], read: Read) -> tuple[str | None, str]:
    """When the file at parts below place, in the clone parts[0], was committed last, ISO 8601, and what says so.

    (None, "") if there is no clone, or it can't tell: it is shallow or damaged, or git is not installed. (None, OTHER)
    if the file is not what was committed.
    """
    objects = place / parts[0] / ".git" / "objects"
    try:
        if not all(stat.S_ISDIR(os.lstat(folder).st_mode) for folder in (objects.parent, objects)):
            return None, ""
        head = head_of(place, parts[0], read)
        content = read(place, parts)
    except (OSError, Unreadable):
        return None, ""
    lines = log(objects, head, "/".join(parts[1:])) if head else []
    if not lines or not lines[-1].startswith(":") or not (when := as_time(lines[0])):
        return None, ""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    parents = len(lines[-1]) - len(lines[-1].lstrip(":"))
    if blob != lines[-1].split()[2 * parents + 1]:  # behind the modes, and what the parents have
        return None, OTHER
    return when, COMMIT


def head_of(place: Path, clone: str, read: Read) -> str | None:
    """The commit that is checked out. Raises Unreadable."""
    text = read(place, (clone, ".git", "HEAD")).decode(errors="surrogateescape").strip()
    name = text.removeprefix("ref: ")
    if name != text:
        parts = tuple(name.split("/"))
        if parts[0] != "refs" or not all(parts) or {".", ".."} & {*parts}:
            return None
        try:
            text = read(place, (clone, ".git", *parts)).decode(errors="replace").strip()
        except Unreadable:  # git keeps refs in one file too
            packed = read(place, (clone, ".git", "packed-refs")).decode(errors="surrogateescape")
            text = next((line[:40] for line in packed.splitlines() if line[40:] == f" {name}"), "")
    return text if re.fullmatch("[0-9a-f]{40}", text) else None


def log(objects: Path, head: str, name: str) -> list[str]:
    """What git says of the last commit that changed a file: its time, and a line with the file's hashes. [] if it can't
    tell: then some commit is not among the objects.
    """
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary)
        (own / "refs").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n")
        (own / "config").write_text(CONFIG)
        settings = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": temporary,
            "GIT_DIR": temporary,
            "GIT_OBJECT_DIRECTORY": str(objects.absolute()),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_ALLOC_LIMIT": MOST_MEMORY,
        }
        command = ["git", "--no-pager", "-c", "core.commitGraph=false", "-c", "core.multiPackIndex=false"]
        command += ["log", "-1", "-c", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--format=%cI"]
        try:
            done = subprocess.run(
                [*command, head, "--", name],
                env=settings,
                cwd=temporary,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired, ValueError):  # ValueError: a name that no command line can hold
            return []
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []


def as_time(text: str) -> str | None:
    """git's time as ISO 8601; None if no clock shows it."""
    try:
        when = datetime.fromisoformat(re.sub("Z$", "+00:00", text))
        return when.isoformat() if OLDEST <= when.astimezone(timezone.utc).year <= NEWEST else None
    except (ValueError, OverflowError):
        return None
