"""times.csv: when something was handed in, where the submissions don't say it.

Whose a line is, is told as in a roster: by a name, a number, a login, an address, or several of these. So the grading
worksheet that Moodle exports is such a file.

    student,lesson,time
    alice,masking,2026-11-01 21:30

The lesson may stand in the file's name instead, as in masking.csv. A line without a time is of someone who has handed
in nothing. A time without an offset is in the course's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from checks.grader.collect import names_lesson
from checks.grader.roster import Person, column_name, columns_of, person_of
from checks.grader.texts import PolicyError, read_table
from lessons import LESSONS

# what the column of the time is called, without blanks and capitals; Moodle's is the last one
COLUMNS = ("time", "submitted", "submittedat", "submissiontime", "lastmodifiedsubmission")
NONE = ("", "-")  # what stands there for someone who has handed in nothing
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?: ?(Z|UTC|[+-]\d\d:\d\d))?")
MOODLES = "%A, %d %B %Y, %I:%M %p"
FORMS = "2026-11-01 21:30, 2026-11-01T21:30:00+01:00 or, as Moodle has it, Sunday, 1 November 2026, 9:30 PM"

Given = dict[tuple[str, str], tuple[str, str]]  # time and source, by student and lesson


@dataclass(frozen=True)
class Line:
    """A line of such a file. time: ISO 8601. place: where it stands. source: the name of its file."""

    person: Person
    lesson: str
    time: str
    place: str
    source: str


def read_times(paths: Iterable[Path]) -> list[Line]:
    """Read such files. Raises PolicyError, which names the line."""
    return [line for path in paths for line in lines_of(path)]


def lines_of(path: Path) -> Iterator[Line]:
    columns: dict[str, int] = {}
    width = 0
    named = names_lesson(re.sub(r"\W+", "_", path.stem), list(LESSONS))
    for place, cells in read_table(path):
        if not columns:
            columns, width = columns_of(cells), len(cells)
            names = [column_name(cell) for cell in cells]
            columns |= {"lesson": names.index("lesson")} if "lesson" in names else {}
            found = next((names.index(name) for name in COLUMNS if name in names), None)
            if found is None or not columns.keys() - {"lesson", "section"}:
                raise PolicyError(f"{place}: the first line must name the columns, as in student,lesson,time")
            columns["time"] = found
            continue
        if len(cells) != width:
            raise PolicyError(
                f"{place}: there are {len(cells)} cells for {width} columns; "
                "put a text that holds the separator in double quotes"
            )
        facts = {name: cells[number].strip() for name, number in columns.items()}
        text, lesson = facts.pop("time"), facts.pop("lesson", named or "")
        if text in NONE:
            continue
        person = person_of(facts)
        if person == Person("", section=person.section):
            raise PolicyError(
                f"{place}: this time is nobody's; write a name, a number, a login or an address before it"
            )
        if lesson not in LESSONS:
            known = f"there is no lesson {lesson!r}; the lessons are {', '.join(LESSONS)}"
            why = known if "lesson" in columns else "no column says of which lesson: add one, or call it masking.csv"
            raise PolicyError(f"{place}: {why}")
        yield Line(person, lesson, moment(text, place), place, path.name)


def moment(text: str, place: str) -> str:
    """A time as ISO 8601. Raises PolicyError for what could be read in two ways, or in none."""
    try:
        if found := ISO.fullmatch(text):
            day, clock, offset = found.groups()
            when = datetime.fromisoformat(f"{day}T{clock}{(offset or '').replace('UTC', 'Z').replace('Z', '+00:00')}")
        else:
            when = datetime.strptime(text, MOODLES)
        if 2000 <= when.year <= 2100:
            return when.isoformat()
    except ValueError:
        pass
    raise PolicyError(f"{place}: {text!r} is not read as a time; write {FORMS}")


def joined(lines: Iterable[Line], whose: Callable[[Person], str | None]) -> tuple[Given, list[str]]:
    """The times by what the grader calls the students, and a sentence for each line that is nobody's.

    whose: None if it knows nobody. Raises PolicyError if two lines are of one student and lesson.
    """
    given: Given = {}
    places: dict[tuple[str, str], str] = {}
    unknown = []
    for line in lines:
        student = whose(line.person)
        if student is None:
            name = line.person.student.strip("_")
            unknown.append(f"{line.place}: no submission is from a student called {name!r}, or several could be")
            continue
        key = student, line.lesson
        if key in given:
            raise PolicyError(
                f"{line.place}: {line.lesson} of {student!r} has a time in {places[key]} already; keep one"
            )
        given[key], places[key] = (line.time, line.source), line.place
    return given, unknown
