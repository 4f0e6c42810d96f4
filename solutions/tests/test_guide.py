"""The guide's walk-through "Add a lesson" is followed, word for word, on a copy of the course."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = re.search(r"^## Add a lesson\n(.*?)(?=^## )", (ROOT / "solutions/README.md").read_text(), re.M | re.S).group(
    1
)
BLOCK = re.compile(r"^ *```(\w+)(?: title=(\S+))?\n(.*?)^ *```$", re.M | re.S)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A copy of the course with the walk-through's files and its two edits."""
    course = tmp_path_factory.mktemp("guide") / "course"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "build", "runs", "grades", "photos", "*.egg-info")
    shutil.copytree(ROOT, course, ignore=left_out)
    for _, title, text in BLOCK.findall(SECTION):
        if title:
            (course / title).write_text(textwrap.dedent(text))
    edit(course / "lessons/__init__.py", r"^LESSONS = \(([^)]*?),?\s*\)$", r'LESSONS = (\1, "pooling")')
    edit(course / "solutions/tests/test_checks.py", r"^COUNT = \{\n", 'COUNT = {\n    "pooling": 2,\n')
    return course


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.M)
    assert count == 1, f"{path}: the guide's edit finds {count} places"
    path.write_text(text)


def commands() -> list[str]:
    [shell] = [text for language, _, text in BLOCK.findall(SECTION) if language == "bash"]
    return textwrap.dedent(shell).splitlines()


def test_the_walk_through_ends_with_a_lesson_that_is_released_and_proven(course):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(course)  # the copy, not the course that is installed
    said = []
    for command in commands():
        done = subprocess.run(command, shell=True, cwd=course, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    released = (course / "lessons/09_pooling/09_pooling.ipynb").read_text()
    assert "raise NotImplementedError" in released and "tokens.mean" not in released
    # 6 wrong, 2 right, reference and stub, 2 checks needed, enough answers, names, 2 of the page, what it sends, no
    # bare assert in its three files, the count, what is said of them
    assert " 20 passed" in said[1], said[1]
    assert " 2 passed" in said[2], said[2]
