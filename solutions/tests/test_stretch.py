"""Stretch exercises: as proven as the others, and nobody is asked for them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from checks import check
from checks.tool.exercise import catalogue, check_files, checks_by_exercise, find_lesson
from checks.tool.learner import Verdict, run_checks
from solutions.misconceptions import answers, cell_of, exercises, load, stub

ROOT = Path(__file__).parents[2]
SEED = 1
STRETCH = [(lesson, name) for lesson in check_files() for name in exercises(lesson, stretch=True)]


def verdicts(lesson: str, exercise: str, module: object) -> list[Verdict]:
    return run_checks(checks_by_exercise(lesson, stretch=True)[exercise], module, SEED)


def of_stretch(*, right: bool) -> list:
    every = [answer for lesson in check_files() for answer in answers(lesson, stretch=True)]
    kept = [answer for answer in every if (answer.phrase is None) == right]
    return [pytest.param(answer, id=f"{answer.exercise}: {answer.title}") for answer in kept]


@pytest.mark.parametrize("answer", of_stretch(right=False))
def test_a_wrong_answer_fails_and_its_mistake_is_named(answer):
    pages = [each.page for each in verdicts(answer.lesson, answer.exercise, answer.load()) if each.status == "failed"]
    assert answer.phrase.lower() in " ".join(" ".join(pages).split()).lower(), "\n".join(pages)


@pytest.mark.parametrize("answer", of_stretch(right=True))
def test_a_right_answer_of_another_shape_passes(answer):
    for verdict in verdicts(answer.lesson, answer.exercise, answer.load()):
        assert verdict.status == "passed", verdict.page


@pytest.mark.parametrize(("lesson", "exercise"), STRETCH)
def test_the_reference_passes_and_its_stub_is_todo(lesson, exercise):
    cell = cell_of(lesson, exercise)
    assert {each.status for each in verdicts(lesson, exercise, load(lesson, exercise, cell))} == {"passed"}
    assert {each.status for each in verdicts(lesson, exercise, load(lesson, exercise, stub(cell)))} == {"todo"}


@pytest.mark.parametrize(("lesson", "exercise"), STRETCH)
def test_an_exercise_has_enough_answers_and_every_check_is_needed(lesson, exercise):
    own = [answer for answer in answers(lesson, stretch=True) if answer.exercise == exercise]
    wrong = [answer for answer in own if answer.phrase]
    assert len(wrong) >= 4
    assert len(own) - len(wrong) >= 2
    caught = [{each.check for each in verdicts(lesson, exercise, w.load()) if each.status != "passed"} for w in wrong]
    for one in checks_by_exercise(lesson, stretch=True)[exercise]:
        assert {one.__name__} in caught, f"no wrong answer is caught by {one.__name__} alone"


@pytest.mark.parametrize("lesson", check_files())
def test_every_lesson_has_one_that_earns_nothing(lesson):
    names = set(exercises(lesson, stretch=True))
    assert len(names) == 1
    assert names == set(checks_by_exercise(lesson, stretch=True))
    assert {answer.exercise for answer in answers(lesson, stretch=True)} == names
    assert not names & set(catalogue()[lesson])
    assert find_lesson(*names) == lesson


def checks_run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "checks", "-p", "no:cacheprovider", "--solutions", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_they_run_when_asked_for_and_only_then():
    plain, stretch = checks_run("--collect-only", "-q").stdout, checks_run("--stretch")
    assert "test_masking" not in plain and "checks/test_03_masking.py" in plain and "stretch" not in plain
    assert stretch.returncode == 0, stretch.stdout
    assert len(re.findall(r"\[#+\] 1/1", stretch.stdout)) == len(check_files())


def test_in_a_notebook_it_is_said_that_they_earn_nothing(monkeypatch, capsys):
    lesson, name = STRETCH[0]
    monkeypatch.setitem(sys.modules, "__main__", load(lesson, name, cell_of(lesson, name)))
    check(name)
    assert re.search(rf"^{name}: (\d) of \1 points \(a stretch exercise", capsys.readouterr().out)


@pytest.mark.parametrize(("lesson", "exercise"), STRETCH)
def test_nbgrader_does_not_ask_for_them(lesson, exercise):
    path = next((ROOT / "lessons").glob(f"*_{lesson}/*.ipynb"))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    graded = [cell["metadata"]["nbgrader"] for cell in cells if cell["metadata"].get("nbgrader", {}).get("grade")]
    assert f"check_{exercise}" not in {each["grade_id"] for each in graded}
    own = next(cell for cell in cells if cell["id"].endswith(f"-{exercise}"))
    assert "raise NotImplementedError" in "".join(own["source"])
