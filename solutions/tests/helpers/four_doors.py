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


def by_pytest(class_: Path, lesson: str) -> dict[str, tuple[dict[str, int], str]]:
    """By student: {exercise: points}, and what was printed."""
    return in_processes("pytest", class_, lesson)


def by_check(class_: Path, lesson: str) -> dict[str, tuple[dict[str, int], str]]:
    """By student, the same. The cells are run one after the other, as Jupyter does, and then the checks."""
    return in_processes("check", class_, lesson)


def in_processes(door: str, class_: Path, lesson: str) -> dict[str, tuple[dict[str, int], str]]:
    """A process for each student, all of them forks of one that has imported everything and started nothing: this one
    may have threads."""
    out = class_.parent / f"{door}_{lesson}"
    out.mkdir()
    command = [sys.executable, "-m", "solutions.tests.helpers.four_doors", door, class_, lesson, out]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(out / "ipython")}
    subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, check=True)
    said = {student.name: (out / f"{student.name}.txt").read_text() for student in class_.iterdir()}
    points = {student: out / f"{student}.json" for student in said}
    assert all(path.exists() for path in points.values()), said
    return {student: (json.loads(path.read_text()), said[student]) for student, path in points.items()}


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
    os.chdir(folder)
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


def main(door: str, class_: Path, lesson: str, out: Path) -> None:
    points_by = {"pytest": points_by_pytest, "check": points_by_check}[door]
    for student in sorted(class_.iterdir()):
        if not (child := os.fork()):
            printed = os.open(out / f"{student.name}.txt", os.O_WRONLY | os.O_CREAT)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            (out / f"{student.name}.json").write_text(json.dumps(points_by(student, lesson)))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
