"""marks.csv: points that a person gave.

A line a mark, where item is an exercise (its points are replaced) or a question that is marked by hand:

    student,lesson,item,points,comment
    alice,masking,why_overlap,1.5,the test on the masks is missing

A sheet that was made with `--marking-sheet` has the codes of answers in place of the student; a line without points
there is not marked yet. Several files, one for each assistant, are read as one. Semicolons and tabs separate cells
too, and a decimal comma is read: spreadsheets of many countries write both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from pathlib import Path

from checks.grader.texts import PolicyError, read_table
from checks.tool.exercise import catalogue

SOLUTIONS = Path(__file__).parents[2] / "solutions"
QUESTION = re.compile(r'^# %% \[markdown\] question="(\w+)" points=(\d+)', re.MULTILINE)
COLUMNS = ("student", "lesson", "item", "points")
ANSWERS = "answers"  # the column of a sheet in place of the student
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Mark:
    points: Decimal
    comment: str


@dataclass(frozen=True)
class Marks:
    """What the files of marks say. The default: nothing is marked by hand.

    given: by (student, lesson, item). questions: what those that are named are worth, by lesson. named: where a student
    is named.
    """

    given: Mapping[tuple[str, str, str], Mark] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)


def read_marks(paths: Iterable[Path]) -> Marks:
    """Read the files of marks. Raises PolicyError, which names file and line."""
    questions = {lesson: questions_of(lesson) for lesson in catalogue()}
    items = {lesson: exercises | questions[lesson] for lesson, exercises in catalogue().items()}
    given: dict[tuple[str, str, str], Mark] = {}
    places: dict[tuple[str, str, str], str] = {}
    named: dict[str, str] = {}
    for place, entry in (found for path in paths for found in entries(path)):
        student, lesson, item = entry["student"], entry["lesson"].strip(), entry["item"].strip()
        if lesson not in items:
            raise PolicyError(f"{place}: there is no lesson {lesson!r}; the lessons are {', '.join(items)}")
        if item not in items[lesson]:
            names = ", ".join(items[lesson])
            raise PolicyError(f"{place}: {lesson} has no exercise or question {item!r}; it has {names}")
        key = (student, lesson, item)
        if key in places:
            raise PolicyError(f"{place}: {item} of {student!r} was marked in {places[key]} already; keep one")
        places[key] = place
        points = read_points(entry["points"], item, items[lesson][item], place)
        given[key] = Mark(points, entry.get("comment", "").strip())
        named.setdefault(student, place)
    marked = {(lesson, item) for _, lesson, item in given}
    chosen = {
        lesson: {name: worth for name, worth in worths.items() if (lesson, name) in marked}
        for lesson, worths in questions.items()
    }
    return Marks(given, chosen, named)


def entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines below the first one, which names the columns: where each stands, and its cells. Raises PolicyError."""
    columns: list[str] = []
    is_sheet = False
    for place, cells in read_table(path):
        if not columns:
            columns = [cell.strip() for cell in cells]
            is_sheet = ANSWERS in columns
            columns = ["student" if name == ANSWERS else name for name in columns]
            if sorted(columns) not in (sorted(COLUMNS), sorted((*COLUMNS, "comment"))):
                names = ",".join(COLUMNS)
                raise PolicyError(f"{place}: the first line must name the columns: {names} and, if you like, comment")
            continue
        if len(cells) != len(columns):
            raise PolicyError(
                f"{place}: there are {len(cells)} cells for {len(columns)} columns; "
                "put a text that holds the separator in double quotes"
            )
        entry = dict(zip(columns, cells, strict=True))
        if not is_sheet:
            yield place, entry
        elif entry["points"].strip():
            yield from ((place, entry | {"student": code}) for code in entry["student"].split())


def questions_of(lesson: str) -> dict[str, int]:
    """The questions of a lesson that are marked by hand, and their points, from the lesson's source."""
    source = SOLUTIONS / f"{lesson}.py"
    text = source.read_text(encoding="utf-8") if source.exists() else ""  # a kit holds no later lessons
    return {name: int(points) for name, points in QUESTION.findall(text)}


def read_points(text: str, item: str, worth: int, place: str) -> Decimal:
    try:
        points = Decimal(text.strip().replace(",", "."))
        right = points.is_finite() and 0 <= points <= worth and points == points.quantize(CENT)
    except DecimalException:
        right = False
    if not right:
        raise PolicyError(
            f"{place}: {item} is marked {text!r}; write 0 to {worth}, as in 1.5, with two decimals at most"
        )
    return points
