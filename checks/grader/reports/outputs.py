"""What an instructor and a class get from the grader's rows, written as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checks.grader.reports.feedback import write_feedback
from checks.grader.reports.report import report_page
from checks.grader.reports.tables import canvas, grades, write_gradescope, write_table
from checks.grader.reports.text import write_text
from checks.grader.settled import SettledRow
from checks.tool.exercise import catalogue


def write_outputs(rows: Iterable[SettledRow], out: Path, about: dict[str, Any]) -> None:
    """Write grades.csv, report.html, canvas.csv, feedback/ and gradescope/ below out.

    rows: the settled rows of the whole class; what isn't in them isn't in the files either. about: "course", "started",
    "tier", "promises" (a list of sentences), "limits" ({name: value}), "ignored" (a list of files) and, where there is
    one, "history" (as items.history gives it).

    Everything is written beside the old files first, and takes their places only when all of it is on the disk.
    Raises OSError, on a full disk say: then the old files stand.
    """
    order = list(catalogue())
    rows = sorted(rows, key=lambda row: (row.student.casefold(), row.student, order.index(row.lesson)))
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".new-*"):  # of a run that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as temporary:
        new = Path(temporary)
        (new / "gradescope").mkdir()
        (new / "feedback").mkdir()
        write_feedback(rows, new / "feedback")
        write_gradescope(rows, new / "gradescope")
        write_table(grades(rows), new / "grades.csv")
        write_table(canvas(rows), new / "canvas.csv")
        write_text(new / "report.html", report_page(rows, about))
        for name in ("feedback", "gradescope", "grades.csv", "canvas.csv", "report.html"):
            put(new / name, out / name)


def put(new: Path, target: Path) -> None:
    """Move a file or a folder to its place; a folder that stands there goes to where the new one came from."""
    if not target.is_dir():
        os.replace(new, target)
        return
    old = new.with_name(f"old-{new.name}")
    os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        os.replace(old, target)
        raise
