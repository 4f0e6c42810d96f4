"""course.toml: what a grades folder remembers of its course, so that the next run grades and counts in the same way.

The command writes what it is given; the rest is the instructor's, who may edit all of it. Paths start at its folder.

seed = 1234                       # of the random inputs: one for the whole class, so that like answers get like points
lessons = ["patch_embedding"]     # open: what a run without --lesson grades, and what the tables show
flagged = "withhold"              # or "keep": the points of a flagged exercise
marks = ["../marks.csv"]          # marks given by hand
roster = "../roster.csv"          # who is enrolled
times = ["../times.csv"]          # when something was handed in

Deadlines, late days and extensions follow, as in late.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from checks.grader.texts import PolicyError, read_text
from lessons import LESSONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME, OLD = "course.toml", "course.old.toml"
FLAGGED = ("withhold", "keep")
HEAD = "# What this folder remembers of the course. Edit it if you like: the next run reads it.\n"


@dataclass(frozen=True)
class Course:
    """What the command remembers; seed: None if there is no course.toml yet."""

    seed: int | None = None
    lessons: tuple[str, ...] = ()
    flagged: str = "withhold"
    marks: tuple[Path, ...] = ()
    roster: Path | None = None
    times: tuple[Path, ...] = ()

    def opened(self, lessons: Iterable[str]) -> Course:
        """With these lessons open too, in the order of the course."""
        known = {*self.lessons, *lessons}
        return replace(self, lessons=tuple(name for name in LESSONS if name in known))

    def given(self, marks: Iterable[Path] = (), times: Iterable[Path] = ()) -> Course:
        """With these files of marks and times too: those of another assistant, or of another lesson, are not lost."""
        return replace(self, marks=with_files(self.marks, marks), times=with_files(self.times, times))


def with_files(known: tuple[Path, ...], files: Iterable[Path]) -> tuple[Path, ...]:
    there = [path.resolve() for path in known]
    return *known, *(path for path in files if path.resolve() not in there)


SETTINGS = tuple(field.name for field in fields(Course))


def read_course(out: Path) -> Course:
    """What a grades folder remembers. Raises PolicyError for a course.toml that can't be meant."""
    path = out / NAME
    if not path.exists():
        return Course()
    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path} is no valid TOML: {error}; mend it, or delete it and give --seed") from None
    seed, flagged = found.get("seed"), found.get("flagged", "withhold")
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise PolicyError(f"{path} needs a line such as seed = 1234, a whole number from 0 to {2**31 - 1}")
    if flagged not in FLAGGED:
        raise PolicyError(f'{path}: flagged is "{FLAGGED[0]}" or "{FLAGGED[1]}"')
    lessons = texts(path, found, "lessons")
    if unknown := [name for name in lessons if name not in LESSONS]:
        raise PolicyError(f"{path}: there is no lesson {unknown[0]!r}; the lessons are {', '.join(LESSONS)}")
    roster = found.get("roster")
    if roster is not None and not isinstance(roster, str):
        raise PolicyError(f'{path}: roster is the name of a file, as in roster = "../roster.csv"')
    enrolled = out / roster if roster else None
    marks, times = (tuple(out / name for name in texts(path, found, key)) for key in ("marks", "times"))
    for file in (*marks, *times, *([enrolled] if enrolled else [])):
        if not file.is_file():
            raise PolicyError(f"{path} names {file}, which is not there: put it back, or take it out of {NAME}")
    return Course(seed, lessons, flagged, marks, enrolled, times)


def texts(path: Path, found: dict[str, Any], key: str) -> tuple[str, ...]:
    value = found.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise PolicyError(f'{path}: {key} is a list of texts, as in {key} = ["one", "two"]')
    return tuple(value)


def write_course(out: Path, course: Course, late: Path | None = None) -> None:
    """Write course.toml, as a whole or on a full disk not at all. What the instructor wrote there stays.

    late: a file whose deadlines, late days and extensions take the place of those that were there; if they differ, all
    that was there is kept in course.old.toml. Raises PolicyError.
    """
    path = out / NAME
    before = read_text(path) if path.exists() else ""
    text = before or HEAD
    if late:
        text = f"{HEAD}\n{read_text(late)}"
        if own_settings(before) not in ({}, own_settings(text)):
            path.with_name(OLD).write_text(before, encoding="utf-8", newline="")
    known, default = tomllib.loads(text), Course()
    for name in SETTINGS:
        value = written(out, getattr(course, name))
        if name not in known and getattr(course, name) == getattr(default, name):
            continue
        if known.get(name) != value:
            text = with_setting(text, name, f"{name} = {json.dumps(value, ensure_ascii=False)}")
    if text == before:
        return
    new = path.with_name(f".{NAME}")
    try:
        new.write_text(text, encoding="utf-8", newline="")
    except UnicodeEncodeError:
        new.unlink()
        raise PolicyError(f"{path} can't hold a name that is not UTF-8: rename the files that were given") from None
    new.replace(path)


def own_settings(text: str) -> dict[str, Any]:
    """What a course.toml holds that the command doesn't write."""
    return {key: value for key, value in tomllib.loads(text).items() if key not in SETTINGS}


def written(out: Path, value: Any) -> Any:
    """A value as TOML has it; files by their way from the grades folder, so that both may move together."""
    if isinstance(value, tuple):
        return [written(out, entry) for entry in value]
    return os.path.relpath(value.resolve(), out.resolve()) if isinstance(value, Path) else value


def with_setting(text: str, name: str, line: str) -> str:
    """The text of a TOML file with the line in place of what sets this name, or below the settings that are there."""
    lines = text.split("\n")
    top = next((number for number, one in enumerate(lines) if one.lstrip().startswith("[")), len(lines))
    places = {key: place for key in SETTINGS if (place := statement(lines[:top], key))}
    last = max((end for _, end in places.values()), default=1 if text.startswith(HEAD) else 0)
    start, end = places.get(name, (last, last))
    return "\n".join([*lines[:start], line, *lines[end:]])


def statement(lines: list[str], key: str) -> tuple[int, int] | None:
    """From which to which line a key is set: the file is whole before it, and with it again."""
    whole = 0
    for end in range(1, len(lines) + 1):
        try:
            found = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        if key in found:
            return whole, end
        whole = end
    return None
