"""The templates of the pages, which escape every text and show it as `text.shown` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from checks.grader.judging.results import Status
from checks.grader.limits import NAME_CHARACTERS
from checks.grader.policy import count
from checks.grader.reports.text import points_text, shown, shown_lines
from checks.grader.settled import SettledExercise, SettledRow

LETTERS = {
    Status.FLAGGED: "F",
    Status.UNGRADED: "?",
    Status.CRASHED: "C",
    Status.TIMEOUT: "T",
    Status.UNREADABLE: "U",
    Status.MISSING: "–",
    Status.TODO: "○",
}
SHOWN_AT_ONCE = 12


def said_of(exercise: SettledExercise, row: SettledRow) -> list[str]:
    """Why an exercise ended as it did, if that is not said of the whole submission, and what was decided."""
    return [text for text in (exercise.reason, exercise.decision) if text and text != row.reason]


def finalize(value: Any) -> Any:
    """Every text that a template shows goes through `shown`, so that none can be forgotten."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    finalize=finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"shown": shown, "lines": shown_lines, "of": points_text, "count": count}
TEMPLATES.globals |= {
    "said_of": said_of,
    "LETTERS": LETTERS,
    "NAME_LIMIT": NAME_CHARACTERS,
    "SHOWN_AT_ONCE": SHOWN_AT_ONCE,
}
