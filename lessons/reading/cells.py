"""From a file to code cells.

A cell is named by its number among the code cells that are not empty: `In [7]` after "Restart and run all" is cell 7.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOTEBOOK_LIMIT = 100 * 2**20  # bytes of a notebook, its outputs included
CANNOT_PARSE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python's parser raises on damaged text
CELL_MARK = re.compile(r"^#[ \t]*%%(.*)$", re.MULTILINE)
NOT_CODE = re.compile(r"\[(markdown|md|raw)\]")


class LessonError(ImportError):
    """A lesson can't be read. The message is one sentence that says why, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, without a page of our frames."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Cell:
    """A code cell. name: what tracebacks call its file ("03_masking.ipynb, cell 7"); before: lines above it there."""

    name: str
    source: str
    before: int = 0


def read_cells(path: Path, content: bytes | None = None) -> list[Cell]:
    """The code cells of a notebook (any front-end's, nbformat 2 to 4) or of a percent script. Raises LessonError.

    content: the bytes of the file, if they were read before.
    """
    text = decode(path, read(path) if content is None else content)
    if path.suffix == ".py":
        return script_cells(path, text)
    sources = [source for source in notebook_sources(path, text) if source.strip()]
    return [Cell(f"{path.name}, cell {number}", source) for number, source in enumerate(sources, start=1)]


def read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise LessonError(f"{path} is not a file.")
        if path.stat().st_size > NOTEBOOK_LIMIT:
            raise LessonError(f"{path} has more than {NOTEBOOK_LIMIT >> 20} MB: clear its outputs, then save it.")
        return path.read_bytes()
    except OSError as error:
        raise LessonError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None


def decode(path: Path, content: bytes) -> str:
    if not content.strip():
        raise LessonError(f"{path.name} is empty: take a fresh copy of the lesson, or an older version of yours.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise LessonError(
            f"{path.name} is not UTF-8 text: open it in your editor and save it with this encoding."
        ) from None


def notebook_sources(path: Path, text: str) -> list[str]:
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise LessonError(
            f"{path.name} is damaged or cut off at line {error.lineno} (no valid JSON): "
            "save it again from the front-end, or take an older version of it."
        ) from None
    except (ValueError, RecursionError):
        raise LessonError(f"{path.name} is damaged (no valid JSON): take an older version of it.") from None
    try:
        sheets = notebook.get("worksheets", [notebook])
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        code = [cell.get("source", cell.get("input", "")) for cell in cells if cell["cell_type"] == "code"]
        texts = ["".join(source) if isinstance(source, list) else source + "" for source in code]
    except (TypeError, KeyError, AttributeError):
        raise LessonError(f"{path.name} is not a notebook: it is JSON, but without a notebook's cells.") from None
    # half a surrogate pair is valid JSON and no text
    return [text.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n") for text in texts]


def script_cells(path: Path, text: str) -> list[Cell]:
    """The whole script as one cell if it can be parsed, or else one cell for each `# %%`. Lines are the file's own."""
    whole = Cell(str(path), text)
    try:
        parse_text(whole, text)
        return [whole]
    except CANNOT_PARSE:
        marks = list(CELL_MARK.finditer(text))
        starts = [0, *(mark.start() for mark in marks)]
        ends = [*starts[1:], len(text)]
        is_code = [True, *(not NOT_CODE.search(mark[1]) for mark in marks)]
        return [
            Cell(str(path), text[start:end], text.count("\n", 0, start))
            for start, end, code in zip(starts, ends, is_code, strict=True)
            if code
        ]


def parse_text(cell: Cell, text: str) -> list[ast.stmt]:
    """The statements of a cell, or of what is left of its text, at their own lines."""
    with warnings.catch_warnings():  # an invalid escape in the learner's string is no news on stderr
        warnings.simplefilter("ignore")
        return ast.parse("\n" * cell.before + text, cell.name).body


def digest(notebook: Mapping[str, Any]) -> str:
    """A hash of what a person writes in a notebook (nbformat 4): kinds and texts of the cells.

    Outputs, ids and metadata don't count, nor do empty cells: front-ends change and add them.
    """
    cells = [[cell["cell_type"], cell["source"].strip()] for cell in notebook["cells"] if cell["source"].strip()]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def is_as_released(notebook: Mapping[str, Any]) -> bool:
    """Whether nobody has written in a lesson's notebook. Raises KeyError for what is none."""
    return bool(notebook["metadata"]["course"]["digest"] == digest(notebook))
