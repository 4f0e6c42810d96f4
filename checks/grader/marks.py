"""marks.csv: points that a person gave.

A line a mark, where item is an exercise (its points are replaced) or a question that is marked by hand:

    student,lesson,item,points,comment
    alice,masking,why_overlap,1.5,the test on the masks is missing
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from pathlib import Path

from checks.grader.texts import PolicyError, read_text
from checks.tool.exercise import catalogue

SOLUTIONS = Path(__file__).parents[2] / "solutions"
QUESTION = re.compile(r'^# %% \[markdown\] question="(\w+)" points=(\d+)', re.MULTILINE)
COLUMNS = ("student", "lesson", "item", "points")
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Mark:
    points: Decimal
    comment: str


@dataclass(frozen=True)
class Marks:
    """What marks.csv says. The default: nothing is marked by hand.

    given: by (student, lesson, item). questions: what those that are named are worth, by lesson. named: where a student
    is named.
    """

    given: Mapping[tuple[str, str, str], Mark] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)


def read_marks(path: Path) -> Marks:
    """Read marks.csv. Raises PolicyError, which names the line."""
    questions = {lesson: questions_of(lesson) for lesson in catalogue()}
    items = {lesson: exercises | questions[lesson] for lesson, exercises in catalogue().items()}
    given: dict[tuple[str, str, str], Mark] = {}
    places: dict[tuple[str, str, str], int] = {}
    named: dict[str, str] = {}
    for line, entry in entries(path):
        place = f"{path}, line {line}"
        student, lesson, item = entry["student"], entry["lesson"].strip(), entry["item"].strip()
        if lesson not in items:
            raise PolicyError(f"{place}: there is no lesson {lesson!r}; the lessons are {', '.join(items)}")
        if item not in items[lesson]:
            names = ", ".join(items[lesson])
            raise PolicyError(f"{place}: {lesson} has no exercise or question {item!r}; it has {names}")
        key = (student, lesson, item)
        if key in places:
            raise PolicyError(f"{place}: {item} of {student!r} was marked on line {places[key]} already; keep one")
        places[key] = line
        points = read_points(entry["points"], item, items[lesson][item], place)
        given[key] = Mark(points, entry.get("comment", "").strip())
        named.setdefault(student, place)
    marked = {(lesson, item) for _, lesson, item in given}
    chosen = {
        lesson: {name: worth for name, worth in worths.items() if (lesson, name) in marked}
        for lesson, worths in questions.items()
    }
    return Marks(given, chosen, named)


def entries(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines below the first one, which names the columns: their numbers and cells. Raises PolicyError."""
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns: list[str] = []
    try:
        for cells in lines:
            place = f"{path}, line {lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                if sorted(columns) not in (sorted(COLUMNS), sorted((*COLUMNS, "comment"))):
                    raise PolicyError(
                        f"{place}: the first line must name the columns, separated by commas: "
                        f"{','.join(COLUMNS)} and, if you like, comment"
                    )
                continue
            if len(cells) != len(columns):
                raise PolicyError(
                    f"{place}: there are {len(cells)} cells for {len(columns)} columns; "
                    "put a text that holds commas in double quotes"
                )
            yield lines.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise PolicyError(f"{path}, line {lines.line_num}: this is not valid CSV ({error})") from None


def questions_of(lesson: str) -> dict[str, int]:
    """The questions of a lesson that are marked by hand, and their points, from the lesson's source."""
    source = SOLUTIONS / f"{lesson}.py"
    text = source.read_text(encoding="utf-8") if source.exists() else ""  # a kit holds no later lessons
    return {name: int(points) for name, points in QUESTION.findall(text)}


def read_points(text: str, item: str, worth: int, place: str) -> Decimal:
    try:
        points = Decimal(text.strip())
        right = points.is_finite() and 0 <= points <= worth and points == points.quantize(CENT)
    except DecimalException:
        right = False
    if not right:
        raise PolicyError(
            f"{place}: {item} is marked {text!r}; write 0 to {worth}, as in 1.5, with two decimals at most"
        )
    return points
