"""classroom.yml: its own steps, run on a learner's repository, give the course's verdict, whatever is planted there."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml

from solutions.release import ROOT, notebook_path
from solutions.tests.helpers.course_lessons import lesson_of_the_course, solve

FILE = ROOT / "solutions" / "classroom" / "classroom.yml"
WORKFLOW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS = WORKFLOW["jobs"]["checks"]["steps"]
LESSON = "patch_embedding"
BAD_MODULE = "open({marker!r}, 'a').write(__file__ + '\\n')\n"
BAD_CONFTEST = BAD_MODULE + "def pytest_collection_modifyitems(items):\n    items.clear()\n"
BAD_INI = "[pytest]\naddopts = --collect-only\n"


@pytest.fixture
def workspace(tmp_path):
    """Both checkouts: the course, with the checks of lesson 1 only, and a learner who solved patchify."""
    for name in ("checks", "data", "lessons", "solutions"):
        shutil.copytree(ROOT / name, tmp_path / "course" / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / "course")
    for path in (tmp_path / "course" / "checks").glob("test_*.py"):
        if LESSON not in path.name:
            path.unlink()
    lesson = lesson_of_the_course(LESSON)
    notebook = solve(lesson.released, lesson.solved, "patchify")
    path = notebook_path(tmp_path / "learner" / "lessons", LESSON)
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    return tmp_path


def run_steps(workspace, tmp_path):
    """Run the workflow's commands as the runner does, with a pip that writes down its calls -> their results."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "pip").write_text(f'#!/bin/sh\necho "$PWD: $*" >> "{tmp_path}/pip.log"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key != "IJEPA_LESSONS"}
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    results = []
    for step in STEPS:
        if "run" in step:
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            folder = workspace / step.get("working-directory", ".")
            results.append(subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True))
    return results


def progress(result):
    """The exit status and the progress map."""
    return result.returncode, re.findall(r"^(\d\d_\w+ +\[[#.]+\] \d/\d|next: \w+)", result.stdout, re.MULTILINE)


def plant(workspace, marker):
    learner = workspace / "learner"
    (learner / "checks").mkdir()
    for folder in (learner, learner / "lessons", learner / "lessons" / f"01_{LESSON}", learner / "checks"):
        (folder / "conftest.py").write_text(BAD_CONFTEST.format(marker=marker))
        (folder / "pytest.ini").write_text(BAD_INI)
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--collect-only'\n")
        for name in ("sitecustomize", "usercustomize", "torch", "checks", "__init__"):
            (folder / f"{name}.py").write_text(BAD_MODULE.format(marker=marker))
    for room in ("calls", "expected", "tool"):
        (learner / "checks" / room).mkdir()
        for name in ("__init__", LESSON, "learner"):
            (learner / "checks" / room / f"{name}.py").write_text(BAD_MODULE.format(marker=marker))
    (learner / "checks" / f"test_01_{LESSON}.py").write_text("def test_nothing():\n    pass\n")


def test_the_verdict_is_the_courses_whatever_a_learner_plants(workspace, tmp_path):
    *_, clean = run_steps(workspace, tmp_path)
    assert progress(clean) == (1, ["01_patch_embedding       [######..................] 1/4", "next: unpatchify"])
    plant(workspace, str(tmp_path / "marker"))
    *_, planted = run_steps(workspace, tmp_path)
    assert progress(planted) == progress(clean)
    assert not (tmp_path / "marker").exists()
    calls = (tmp_path / "pip.log").read_text().splitlines()
    assert {call.split(": ")[0] for call in calls} == {str(workspace / "course")}


def test_the_job_can_write_nothing_and_knows_no_secret():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in WORKFLOW["jobs"]["checks"]
    assert "${{" not in FILE.read_text(encoding="utf-8")  # no secret, no context
    assert WORKFLOW[True] == ["push", "workflow_dispatch"]  # YAML reads `on` as True; no pull_request_target


def test_the_checks_are_the_courses_at_one_commit():
    course, learner = [step["with"] for step in STEPS if "checkout" in step.get("uses", "")]
    assert (course["repository"], course["ref"], course["path"]) == ("OWNER/COURSE", "COMMIT", "course")
    assert "repository" not in learner and learner["path"] == "learner"
    assert course["persist-credentials"] is learner["persist-credentials"] is False


def test_it_is_no_workflow_of_this_repository():
    own = [path.read_text(encoding="utf-8") for path in ROOT.glob(".github/workflows/*")]
    assert own and not any("OWNER/COURSE" in text for text in own)
