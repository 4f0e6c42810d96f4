"""Where a learner stands: the map at the end of a run, the next exercise and its place, the hints of an exercise."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import lessons
from lessons import LessonError

ROOT = Path(__file__).parents[2]
BAR = 24  # characters of a progress bar


class HintError(Exception):
    """There is no such hint. The message is one sentence."""


def progress_map(passed: dict[str, dict[str, bool]]) -> list[str]:
    """A line a lesson, in plain ASCII of at most 80 columns. passed: {lesson: {exercise: whether all checks pass}}."""
    lines = []
    for lesson, exercises in passed.items():
        done, asked = sum(exercises.values()), len(exercises)
        bar = ("#" * (BAR * done // asked)).ljust(BAR, ".")
        lines.append(f"{lessons.folder_name(lesson):<24} [{bar}] {done}/{asked}")
    return lines


def next_exercise(passed: dict[str, dict[str, bool]], solutions: bool) -> str | None:
    """The first exercise that is not done, and where it is written. solutions: the reference is graded."""
    left = [(lesson, name) for lesson in passed for name, good in passed[lesson].items() if not good]
    return f"next: {left[0][1]}, {place_of(*left[0], solutions)}" if left else None


def lesson_file(lesson: str, solutions: bool) -> Path:
    """The notebook in which a lesson is written, or the script if there is no notebook."""
    if solutions:
        return ROOT / "solutions" / f"{lesson}.py"
    name = lessons.folder_name(lesson)
    notebook = lessons.lessons_folder() / name / f"{name}.ipynb"
    return notebook if notebook.exists() else notebook.with_suffix(".py")


def place_of(lesson: str, exercise: str, solutions: bool) -> str:
    """Where an exercise is written."""
    path = lesson_file(lesson, solutions)
    try:
        cells = lessons.read_cells(path)
    except LessonError as error:
        return str(error)
    own = [cell for cell in cells if re.search(rf"^(def|class) {exercise}\b", cell.source, re.MULTILINE)]
    name = own[-1].name if own and path.suffix == ".ipynb" else path.name
    return f"in {os.path.relpath(path.parent)}/{name}"


def prose(path: Path) -> str:
    """The text of a lesson, all cells in one. Raises HintError if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        return re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HintError(f"{path} can't be read: {error}") from None


def hints_of(exercise: str, lesson: str, solutions: bool) -> list[str]:
    """The hints folded in an exercise's section, below its heading. Raises HintError if there are none."""
    text = prose(lesson_file(lesson, solutions))
    heading = rf"^## (?:Exercise [\d.]+|Stretch): `?{exercise}`?$"
    section = re.search(rf"{heading}(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    hints = re.findall(r"<summary>Hint \d+</summary>(.*?)</details>", section[1] if section else "", re.DOTALL)
    if not hints:
        raise HintError(f"there are no hints for {exercise}")
    return [hint.strip() for hint in hints]
