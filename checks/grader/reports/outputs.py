"""What an instructor and a class get from the grader's rows, written as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from checks.grader.changes import NAME as POINTS
from checks.grader.changes import Change, points_text
from checks.grader.reports.feedback import write_feedback
from checks.grader.reports.report import report_page
from checks.grader.reports.tables import MOODLE, canvas, changed, grades, moodle, write_gradescope, write_table
from checks.grader.reports.text import folder_of, write_text
from checks.grader.roster import Roster
from checks.grader.settled import SettledRow
from checks.tool.exercise import catalogue

FILES = ("feedback", "gradescope", "moodle", "grades.csv", "canvas.csv", "changes.csv", "report.html", POINTS)


def write_outputs(
    rows: Iterable[SettledRow],
    out: Path,
    about: dict[str, Any],
    changes: Sequence[Change] = (),
    roster: Roster | None = None,
) -> None:
    """Write FILES below out.

    rows: the settled rows of the whole class; what isn't in them isn't in the files either. about: "course", "started",
    "tier", "promises" (a list of sentences), "limits" ({name: value}), "ignored" (a list of files) and, where there is
    one, "history" (as items.history gives it). changes: since these files were written last.

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
        (new / "moodle").mkdir()
        write_feedback(rows, new / "feedback")
        write_gradescope(rows, new / "gradescope")
        write_table(grades(rows), new / "grades.csv")
        write_table(canvas(rows, roster), new / "canvas.csv")
        write_moodle(rows, new)
        write_table(changed(changes, about["started"], out / "changes.csv"), new / "changes.csv")
        write_text(new / "report.html", report_page(rows, about, changes))
        write_text(new / POINTS, points_text(rows))
        for name in (
            "feedback",
            "gradescope",
            "moodle",
            "grades.csv",
            "canvas.csv",
            "changes.csv",
            "report.html",
            POINTS,
        ):
            put(new / name, out / name)


def write_moodle(rows: Sequence[SettledRow], new: Path) -> None:
    """Write moodle/<lesson>.csv and .zip for each lesson that came from Moodle: a worksheet of grades, and the pages of
    feedback under the names that Moodle gives to each student's files.
    """
    for lesson in dict.fromkeys(row.lesson for row in rows if MOODLE.fullmatch(row.origin)):
        write_table(moodle(rows, lesson), new / "moodle" / f"{lesson}.csv")
        with zipfile.ZipFile(new / "moodle" / f"{lesson}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for row in rows:
                if row.lesson == lesson and MOODLE.fullmatch(row.origin):
                    page = (new / "feedback" / folder_of(row.student) / f"{lesson}.html").read_bytes()
                    member = zipfile.ZipInfo(f"{row.origin}{lesson}.html")  # dated 1980: the same bytes again
                    member.external_attr = 0o644 << 16
                    archive.writestr(member, page, zipfile.ZIP_DEFLATED)


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
