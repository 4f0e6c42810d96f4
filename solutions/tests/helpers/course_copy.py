"""A copy of the course that a test may change."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[3]


def copy_course(folder: Path) -> Path:
    """Copy what grades a class, without the course's own tests -> the folder."""
    for name in ("checks", "lessons", "solutions"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return folder
