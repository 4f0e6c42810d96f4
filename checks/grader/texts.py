"""The instructor's files as text and as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

SEPARATORS = ",;\t"


class PolicyError(Exception):
    """A policy can't be followed. The message is one sentence that names file and line, and says what to do."""


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without the mark that spreadsheets put first. Raises PolicyError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path} can't be read ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}, line {line}: this is not UTF-8; save the file as UTF-8") from None


def read_table(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of a CSV that hold anything: where each stands, and its cells. Raises PolicyError.

    Semicolons and tabs separate cells too: spreadsheets of many countries write them.
    """
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield f"{path}, line {lines.line_num}", cells
    except csv.Error as error:
        raise PolicyError(f"{path}, line {lines.line_num}: this is not valid CSV ({error})") from None
