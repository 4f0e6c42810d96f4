"""The instructor's files as text."""

from __future__ import annotations

from pathlib import Path


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
