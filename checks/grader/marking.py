"""Sheets on which people mark a question: answers without names, in an order that says nothing, alike ones together.

A sheet is a page to read and a CSV to fill in, which `--marks` takes. Its answers have codes in place of students; only
the grades folder can tell whose they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks.grader.collect import Class
from checks.grader.marks import ANSWERS, SOLUTIONS, questions_of
from checks.grader.reports.pages import TEMPLATES
from checks.grader.reports.tables import write_table
from checks.grader.reports.text import write_text
from checks.grader.texts import PolicyError
from checks.tool.exercise import catalogue

FOLDER = "marking"
PLACEHOLDER = "YOUR ANSWER HERE"
FOLDED = "<details>"  # how a model answer begins that a lesson has below a question: nobody's own


@dataclass(frozen=True)
class Question:
    """A question as the lesson's source has it. prompt: what learners read; rubric: the model answer too."""

    lesson: str
    name: str
    points: int
    prompt: str
    rubric: str


@dataclass(frozen=True)
class Group:
    """Students who say the same, by their codes."""

    codes: tuple[str, ...]
    answer: str


def read_question(name: str) -> Question:
    """Find a question in the lessons' sources. Raises PolicyError."""
    known = {question: lesson for lesson in catalogue() for question in questions_of(lesson)}
    if name not in known:
        raise PolicyError(f"there is no question {name!r}; the questions are {', '.join(known)}")
    lesson = known[name]
    source = (SOLUTIONS / f"{lesson}.py").read_text(encoding="utf-8")
    text = source.partition(f'# %% [markdown] question="{name}"')[2].partition("\n")[2].partition("\n# %%")[0]
    text = re.sub(r"^# ?", "", text.split("\n\n\n")[0], flags=re.MULTILINE)
    prompt, _, rest = text.partition("### BEGIN SOLUTION")
    rubric = rest.partition("### END SOLUTION")[0]
    return Question(lesson, name, questions_of(lesson)[name], prompt.strip(), rubric.strip())


def answer_in(content: bytes, label: str, question: Question) -> str:
    """What a learner has answered in a notebook or script, "" if nothing. No code of it is run."""
    cells = prose_of(content, label)
    heading = question.prompt.split("\n")[0].strip()
    at = next((n for n, (name, _) in enumerate(cells) if name == question.name), None)
    if at is None:
        at = next((n for n, (_, text) in enumerate(cells) if text.strip().startswith(heading)), None)
    if at is None:
        return ""
    asked = {line.strip() for line in question.prompt.split("\n")} - {""} | {PLACEHOLDER}
    own = [line for line in cells[at][1].split("\n") if line.strip() not in asked]
    answer = "\n".join(own).strip()
    below = next((text.strip() for _, text in cells[at + 1 :] if not text.lstrip().startswith(FOLDED)), "")
    if not answer and not below.startswith("#"):  # it was written into a cell of its own
        answer = below
    return answer


def prose_of(content: bytes, label: str) -> list[tuple[str, str]]:
    """The markdown cells, each with the name by which nbgrader knows it, or ""; [] for what can't be read."""
    import jupytext  # takes its time to import, and nothing else of the grader needs it

    try:
        text = content.decode("utf-8-sig")
        notebook: Mapping[str, Any] = jupytext.reads(text, fmt="py") if label.endswith(".py") else json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
        names = [cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "") for cell in cells]
        return [(name, "".join(cell["source"])) for name, cell in zip(names, cells, strict=True)]
    except Exception:  # whatever a damaged or hostile file makes of the parsers: it has no answer
        return []


def code_of(student: str, question: str, seed: int) -> str:
    """What a student is called on a sheet: nobody can tell without the seed of the class."""
    digest = hashlib.sha256(json.dumps([seed, question, student]).encode()).hexdigest()
    return f"a{digest[:10]}"  # no spreadsheet takes it for a number


def students_of(students: Iterable[str], seed: int) -> dict[str, str]:
    """Whose the codes of all questions are."""
    questions = [question for lesson in catalogue() for question in questions_of(lesson)]
    return {code_of(student, question, seed): student for student in students for question in questions}


def grouped(found: Class, question: Question, seed: int, marked: Iterable[str]) -> list[Group]:
    """The answers of those who are not marked yet, in the order of their codes; those that say the same are one."""
    done = set(marked)
    groups: dict[str, list[tuple[str, str]]] = {}
    for submission in found.submissions([question.lesson]):
        content = submission.content()
        if content is None or submission.student in done:
            continue
        if answer := answer_in(content, submission.label or "", question):
            same = " ".join(re.findall(r"\w+", answer.casefold())) or answer
            groups.setdefault(same, []).append((code_of(submission.student, question.name, seed), answer))
    made = [Group(tuple(code for code, _ in sorted(own)), sorted(own)[0][1]) for own in groups.values()]
    return sorted(made, key=lambda group: group.codes)


def write_sheets(groups: list[Group], question: Question, out: Path, assistants: int) -> list[Path]:
    """Write a page and a CSV for each assistant -> the pages. Raises PolicyError rather than write over marks."""
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    pages = [folder / f"{question.name}-{number}.html" for number in range(1, assistants + 1)]
    for page in pages:
        if page.with_suffix(".csv").exists():
            raise PolicyError(f"{page.with_suffix('.csv')} is there, perhaps with marks in it: move it away first")
    for number, page in enumerate(pages):
        own = groups[number::assistants]
        lines = [[" ".join(group.codes), question.lesson, question.name, "", ""] for group in own]
        write_table([[ANSWERS, "lesson", "item", "points", "comment"], *lines], page.with_suffix(".csv"))
        shows = {"question": question, "groups": own, "part": number + 1, "parts": assistants}
        write_text(page, TEMPLATES.get_template("marking.html.jinja").render(shows))
    return pages
