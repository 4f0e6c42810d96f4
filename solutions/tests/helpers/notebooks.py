"""Solved lessons as notebooks, whole or with some exercises changed, and the folders of a class that hold them."""

import json
from pathlib import Path

from lessons import folder_name
from solutions.misconceptions import CELL, EXERCISE

ROOT = Path(__file__).parents[3]


def cells_of(lesson: str, **changed: str) -> list[str]:
    """The code cells of a solved lesson, some exercises' changed."""
    source = (ROOT / "solutions" / f"{lesson}.py").read_text(encoding="utf-8")
    source = source.replace("from solutions.", "from lessons.")
    cells = []
    for cell in CELL.split(source)[1:]:
        if match := EXERCISE.match(cell):
            cells.append(changed.get(match[1], cell[match.end() :]))
        elif not cell.startswith(" [markdown]"):
            cells.append(cell.partition("\n")[2])
    return cells


def notebook(cells: list[str]) -> bytes:
    made = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": cell,
        }
        for number, cell in enumerate(cells)
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def before_solution(cell: str, statement: str) -> str:
    assert cell.count("### BEGIN SOLUTION") == 1
    return cell.replace("### BEGIN SOLUTION", statement)


def put(place: Path, student: str, lesson: str, content: bytes, name: str = "") -> Path:
    path = place / student / folder_name(lesson) / (name or f"{folder_name(lesson)}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
