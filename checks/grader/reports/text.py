"""Text that others wrote, as a page or a table shows it.

Names of students, their files, and all that their code has printed or raised is hostile text. It is shown as text: what
can't be printed as an escape, and not more of it than fits.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from checks.grader.limits import LINE_CHARACTERS, MARKS_ON_A_LETTER, MESSAGE_LINES

PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def shown(text: str, limit: int = LINE_CHARACTERS) -> str:
    r"""The text on one line of at most `limit` characters; what can't be printed stands as an escape, \n or \u202e.

    Neither a control character, nor one that turns the direction of the text around it, nor half of a broken
    encoding is printable.
    """
    if text.isascii() and text.isprintable():
        printable = text
    else:
        printable, marks = "", 0
        for character in text[: limit + 1]:
            marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
            fits = character.isprintable() and marks <= MARKS_ON_A_LETTER
            printable += character if fits else character.encode("unicode_escape").decode()
    return printable if len(printable) <= limit else f"{printable[: limit - 4]} ..."


def shown_lines(text: str) -> list[str]:
    """The lines of a message, each as `shown`."""
    lines = text.split("\n")
    return [shown(line.expandtabs(4)) for line in lines[:MESSAGE_LINES]] + (
        ["..."] if len(lines) > MESSAGE_LINES else []
    )


def folder_of(student: str) -> str:
    """The name of a student's folder: safe in any file system, and another one for each name.

    A short name of lower-case ASCII letters, digits, - and _ stands as it is. Any other one is what is left of it,
    then ~ (which no plain name has) and a hash of all of it.
    """
    if PLAIN_NAME.fullmatch(student):
        return student
    ascii_only = unicodedata.normalize("NFKD", student).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:40]
    return f"{readable or 'student'}~{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"


def points_text(points: float | None, max_points: float) -> str:
    return f"not graded, of {max_points}" if points is None else f"{points} of {max_points}"


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
