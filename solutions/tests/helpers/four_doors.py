"""The points of a notebook by each of the four doors: `pytest checks`, `check()`, the class grader, nbgrader."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from IPython.core.interactiveshell import InteractiveShell

from checks import check
from checks.tool.exercise import catalogue, checks_by_exercise
from lessons import borrow, folder_name, read_cells
from solutions.release import ROOT
from solutions.tests.helpers.graders import record
from solutions.tests.helpers.nbgrading import grades, nbgrader, release_into


def forked(work: Callable[[], dict[str, int]], cwd: Path, output: Path) -> tuple[dict[str, int], str]:
    """What work gives in a fork of this process, which has torch imported, and all that it printed."""
    result = output.with_suffix(".json")
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            with output.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.stdout = sys.stderr = sys.__stdout__ = file
                result.write_text(json.dumps(work()))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    said = output.read_text()
    assert result.exists(), said
    return json.loads(result.read_text()), said


def by_pytest(class_: Path, student: str, lesson: str) -> tuple[dict[str, int], str]:
    """{exercise: points}, and what was printed."""
    verdicts = {}

    class Verdicts:
        def pytest_runtest_logreport(self, report):
            name = report.nodeid.rpartition("::")[2]
            verdicts[name] = report.passed and verdicts.get(name, True)

    def work() -> dict[str, int]:
        page = str(ROOT / "checks" / f"test_{folder_name(lesson)}.py")
        pytest.main(
            [page, f"--rootdir={ROOT}", "-p", "no:cacheprovider", f"--lessons={class_ / student}"], [Verdicts()]
        )
        return {
            name: sum(check.points for check in checks if verdicts[check.__name__])
            for name, checks in checks_by_exercise(lesson).items()
        }

    return forked(work, ROOT, class_.parent / "pytest.txt")


def by_check(class_: Path, student: str, lesson: str) -> tuple[dict[str, int], str]:
    """The cells are run one after the other, as Jupyter does, and then the checks."""
    folder = class_ / student / folder_name(lesson)

    def work() -> dict[str, int]:
        os.environ["IPYTHONDIR"] = str(class_.parent / "ipython")
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = ModuleType("__main__")
        shell = InteractiveShell.instance(user_module=main, user_ns=vars(main))
        borrow(lesson, mine=False)  # the cell that a release sets before a lesson's own
        for cell in read_cells(folder / f"{folder.name}.ipynb"):
            if cell.kind == "code":
                shell.run_cell(cell.source)
        return {name: int(check(name)) for name in catalogue()[lesson]}

    return forked(work, folder, class_.parent / "check.txt")


def by_grader(class_: Path, lesson: str) -> dict[str, tuple[dict[str, int], str]]:
    """By student: {exercise: points}, and the row as text."""
    out = class_.parent / f"graded_{lesson}"
    command = [sys.executable, "-m", "checks.grade", class_, "--out", out, "--quiet", "--lesson", lesson]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {
        student: ({name: row[name] for name in catalogue()[lesson]}, json.dumps(row, ensure_ascii=False))
        for (student, _), row in record(out).items()
    }


def by_nbgrader(class_: Path, lesson: str) -> dict[str, dict[str, int]]:
    course = class_.parent / f"nbgrader_{lesson}"
    release_into(course, lesson)
    shutil.copytree(class_, course / "submitted")
    nbgrader(course, "autograde", folder_name(lesson))
    found = grades(course)
    return {
        student: {name: found[student, f"check_{name}"][0] for name in catalogue()[lesson]}
        for student in {student for student, _ in found}
    }
