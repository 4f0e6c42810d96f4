"""What runs the grader elsewhere: Gradescope's zip, the Containerfile, the recipe for a hub."""

import json
import os
import re
import subprocess
import sys
import zipfile

import pytest

from checks.grader.judging import manifest
from checks.tool.exercise import catalogue
from lessons import LESSONS
from solutions.classroom.gradescope import write_zip
from solutions.misconceptions import exercises, stub
from solutions.release import notebook_path
from solutions.tests.helpers.notebooks import ROOT, cells_of, notebook

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CLASSROOM = ROOT / "solutions" / "classroom"
LESSON = "patch_embedding"


def unpacked(place, lesson=LESSON):
    """The autograder as Gradescope lays it out, its environment made of the one that runs here."""
    write_zip(lesson, place / "autograder.zip", seed=7)
    with zipfile.ZipFile(place / "autograder.zip") as archive:
        archive.extractall(place / "source")
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755
    (place / "venv" / "bin").mkdir(parents=True)
    python = place / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (place / "submission").mkdir()
    return place


def run_autograder(place):
    """Run it outside of this course -> its results."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"AUTOGRADER_ROOT": str(place), "PYTHONPATH": str(place / "source")}
    done = subprocess.run(
        ["bash", place / "source" / "run_autograder"], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads((place / "results" / "results.json").read_text())


def test_gradescopes_zip_grades_a_submission_by_itself(tmp_path):
    place = unpacked(tmp_path)
    cells = cells_of(LESSON, patchify=stub(exercises(LESSON)["patchify"]))
    (place / "submission" / "my answers.ipynb").write_bytes(notebook(cells))
    (place / "submission" / "grades.csv").symlink_to("/etc/passwd")
    results = run_autograder(place)
    worth = catalogue()[LESSON]
    scores = {test["name"]: test["score"] for test in results["tests"]}
    assert scores["patchify"] == 0 and scores["PatchEmbedding"] == worth["PatchEmbedding"]
    assert results["score"] == sum(scores.values()) > 0
    assert set(scores) == set(worth)


def test_gradescopes_zip_says_what_is_missing(tmp_path):
    place = unpacked(tmp_path)
    results = run_autograder(place)
    assert results["score"] == 0 and "no notebook" in results["output"]


@pytest.mark.parametrize("lesson", LESSONS)
def test_gradescopes_zip_has_all_that_a_grade_depends_on(lesson, tmp_path):
    write_zip(lesson, tmp_path / "autograder.zip", seed=7)
    with zipfile.ZipFile(tmp_path / "autograder.zip") as archive:
        names = archive.namelist()
        script = archive.read("run_autograder").decode()
    assert set(manifest.depended_on(lesson)) <= set(names) and len(names) == len(set(names))
    assert f"--lesson {lesson} --seed 7" in script and not re.search(r"LESSON|SEED", script)
    assert not [name for name in names if "tests/" in name or "misconceptions" in name or "pycache" in name]


def test_the_scripts_are_shell():
    for name in ("gradescope_setup.sh", "gradescope_run.sh"):
        assert subprocess.run(["bash", "-n", CLASSROOM / name]).returncode == 0


def test_a_zip_that_cant_be_written_is_a_sentence(tmp_path):
    command = [sys.executable, "-m", "solutions.classroom.gradescope", LESSON, str(tmp_path / "absent" / "a.zip")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "can't be written" in done.stderr and "Traceback" not in done.stderr


def test_the_container_copies_what_is_there_and_all_that_a_grade_needs():
    lines = (CLASSROOM / "Containerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)
    needed = {name for lesson in LESSONS for name in manifest.depended_on(lesson)} | {
        "requirements.txt",
        "pyproject.toml",
    }
    assert {name for name in needed if name.split("/")[0] not in copied} == set()
    command = json.loads(lines[-1].removeprefix("ENTRYPOINT "))
    done = subprocess.run([sys.executable, *command[1:], "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--out" in done.stdout


def test_the_recipe_for_a_hub_names_files_that_are_there():
    text = (CLASSROOM / "JUPYTERHUB.md").read_text()
    named = set(re.findall(r"`((?:solutions|checks|lessons|data)/[\w/.]+|[\w.]+\.(?:py|txt))`", text))
    assert len(named) >= 5 and {name for name in named if not (ROOT / name).exists()} == set()
    settings = (ROOT / "nbgrader_config.py").read_text()
    [course] = re.findall(r'course_id = "(.+)"', text)
    assert f'course_id = "{course}"' in settings and "c.Exchange.root = " in settings
    assert "\n## The nbgrader lane\n" in (ROOT / "solutions" / "README.md").read_text()


def test_what_a_wheel_is_told_to_hold_is_there():
    with (ROOT / "pyproject.toml").open("rb") as file:
        told = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    held = {
        path.relative_to(ROOT) for name, globs in told.items() for glob in globs for path in (ROOT / name).glob(glob)
    }
    notebooks = {notebook_path(ROOT / "lessons", lesson).relative_to(ROOT) for lesson in LESSONS}
    templates = {path.relative_to(ROOT) for path in ROOT.rglob("checks/**/*.jinja")}
    photos = {path.relative_to(ROOT) for path in (ROOT / "data" / "photos").iterdir()}
    assert notebooks and templates and photos and (notebooks | templates | photos) <= held
