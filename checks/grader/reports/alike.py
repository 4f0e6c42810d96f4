"""alike.html: pairs of students whose own code is alike, both side by side."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from checks.grader.likeness import AlikePair
from checks.grader.limits import CODE_LINES, LISTED_FILES
from checks.grader.reports.pages import TEMPLATES


@dataclass(frozen=True)
class Side:
    """One student's code in a lesson. marked: the lines that the other one has too, and the course has not."""

    lines: Sequence[str]
    marked: AbstractSet[int]

    @property
    def shown(self) -> list[tuple[str, bool]]:
        """The lines that the page shows, each with whether it is marked."""
        return [(line.expandtabs(4), number in self.marked) for number, line in enumerate(self.lines[:CODE_LINES])]

    @property
    def left(self) -> int:
        return max(len(self.lines) - CODE_LINES, 0)


def alike_page(pairs: Sequence[tuple[AlikePair, list[list[Side]]]], students: int, left_out: Sequence[str]) -> str:
    """The page. pairs: most alike first, each with both sides of every lesson in the order of the pair's lessons.

    left_out: a sentence for each submission that could not be compared.
    """
    shows = {"pairs": pairs, "students": students, "left_out": left_out[:LISTED_FILES], "all_left_out": len(left_out)}
    return TEMPLATES.get_template("alike.html.jinja").render(shows)
