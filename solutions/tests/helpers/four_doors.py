"""The points of a notebook by each of the four doors: `pytest checks`, `check()`, the class grader, nbgrader."""

import json
import os
import shutil
import subprocess
import sys
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


def in_process_of_its_own(door: str, student: Path, lesson: str, cwd: Path, output: Path) -> tuple[dict[str, int], str]:
    """{exercise: points} by one of the two doors below, and all that was printed.

    No fork of this process, in which other tests may have started threads.
    """
    result = output.with_suffix(".json")
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "solutions.tests.helpers.four_doors", door, student, lesson, result]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(output.parent / "ipython")}
    with output.open("w") as file:
        subprocess.run(list(map(str, command)), cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT)
    said = output.read_text()
    assert result.exists(), said
    return json.loads(result.read_text()), said


def by_pytest(class_: Path, student: str, lesson: str) -> tuple[dict[str, int], str]:
    """{exercise: points}, and what was printed."""
    return in_process_of_its_own("pytest", class_ / student, lesson, ROOT, class_.parent / "pytest.txt")


def by_check(class_: Path, student: str, lesson: str) -> tuple[dict[str, int], str]:
    """The cells are run one after the other, as Jupyter does, and then the checks."""
    folder = class_ / student / folder_name(lesson)
    return in_process_of_its_own("check", class_ / student, lesson, folder, class_.parent / "check.txt")


def points_by_pytest(student: Path, lesson: str) -> dict[str, int]:
    verdicts: dict[str, bool] = {}

    class Verdicts:
        def pytest_runtest_logreport(self, report):
            name = report.nodeid.rpartition("::")[2]
            verdicts[name] = report.passed and verdicts.get(name, True)

    page = str(ROOT / "checks" / f"test_{folder_name(lesson)}.py")
    pytest.main([page, f"--rootdir={ROOT}", "-p", "no:cacheprovider", f"--lessons={student}"], [Verdicts()])
    return {
        name: sum(check.points for check in checks if verdicts[check.__name__])
        for name, checks in checks_by_exercise(lesson).items()
    }


def points_by_check(student: Path, lesson: str) -> dict[str, int]:
    os.environ["NBGRADER_EXECUTION"] = "validate"  # so that the points come back
    folder = student / folder_name(lesson)
    sys.path.insert(0, "")
    main = sys.modules["__main__"] = ModuleType("__main__")
    shell = InteractiveShell.instance(user_module=main, user_ns=vars(main))
    borrow(lesson, mine=False)  # the cell that a release sets before a lesson's own
    for cell in read_cells(folder / f"{folder.name}.ipynb"):
        if cell.kind == "code":
            shell.run_cell(cell.source)
    return {name: int(check(name)) for name in catalogue()[lesson]}


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


if __name__ == "__main__":
    door, student, lesson, result = sys.argv[1:]
    points = {"pytest": points_by_pytest, "check": points_by_check}[door](Path(student), lesson)
    Path(result).write_text(json.dumps(points))
