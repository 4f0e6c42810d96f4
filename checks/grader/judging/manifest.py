"""What a child may hold and what a grade depends on, decided by folder.

| folder | in the sandbox | a grade depends on it |
| --- | --- | --- |
| `checks/tool`, `checks/grader/inside`, `lessons/reading` | every child can read it | yes |
| `checks/calls` | the lesson's own file is sent to its children, and what is no lesson's | yes, on what is sent |
| `solutions`: the lessons before | sent | yes |
| `checks/expected`, `checks/test_NN_*.py` | never | yes, on the lesson's own, and what is no lesson's |
| `checks/grader/judging` | never | yes |
| all else | never | no |

In `calls` and `expected` a file belongs to the lesson whose name its own begins with.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

from lessons import LESSONS, folder_name

ROOT = Path(__file__).parents[3]
PACKAGES = ("checks/__init__.py", "checks/grader/__init__.py", "lessons/__init__.py")
READABLE_FOLDERS = ("checks/tool", "checks/grader/inside", "lessons/reading")
JUDGING = "checks/grader/judging"


def modules_in(folder: str) -> list[str]:
    """The Python files below a folder, as paths from the course's folder on."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


def readable() -> list[str]:
    """The files that every child can read."""
    return [*PACKAGES, *(name for folder in READABLE_FOLDERS for name in modules_in(folder))]


def sent(lesson: str) -> list[str]:
    """The files that a lesson's children get: the reference of earlier lessons, and what runs beside this one."""
    earlier = LESSONS[: LESSONS.index(lesson)]
    return [*(f"solutions/{name}.py" for name in earlier), *own("checks/calls", lesson)]


def own(folder: str, lesson: str) -> list[str]:
    """The files of a folder that belong to a lesson, or to no lesson."""
    others = tuple(name for name in LESSONS if name != lesson)
    return [name for name in modules_in(folder) if not Path(name).name.startswith(others)]


def depended_on(lesson: str) -> list[str]:
    """The files that a grade of a lesson depends on."""
    page = f"checks/test_{folder_name(lesson)}.py"
    return [*readable(), *sent(lesson), *own("checks/expected", lesson), page, *modules_in(JUDGING)]


def checks_key(lesson: str) -> str:
    """A digest of all that grades a lesson, torch and Python included."""
    return digest_of(depended_on(lesson), f"{torch.__version__} {platform.python_version()}")


def digest_of(names: Iterable[str], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in names:
        digest.update(name.encode() + hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()
