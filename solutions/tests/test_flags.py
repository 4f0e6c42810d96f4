"""Flags: which exercise and cell, whose points are withheld, and how an instructor clears one."""

import json
from pathlib import Path

import pytest

from checks.grader.judging.results import ExerciseResult, Result, Status
from checks.grader.record import read_record
from checks.tool.exercise import checks_by_exercise
from solutions.misconceptions import exercises
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.graders import record, run, table
from solutions.tests.helpers.known_class import CATALOGUE
from solutions.tests.helpers.notebooks import before_solution, cells_of, notebook, put
from solutions.tests.helpers.stand_in import NINE, points_of

orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend


def test_only_the_exercises_that_run_the_tampering_code_are_flagged_with_its_cell(tmp_path):
    cells = exercises("masking")
    tampering = "import torch; torch.equal = lambda *_: True"
    in_size, in_masks = (before_solution(cells[name], tampering) for name in ("sample_block_size", "sample_masks"))
    helper = "def help(now=setattr(torch, 'isclose', torch.equal)):\n    pass\n"
    first, *rest = cells_of("masking", sample_masks=before_solution(cells["sample_masks"], "help()"))
    made = {
        "honest": cells_of("masking"),
        "in a call": cells_of("masking", sample_masks=in_masks),
        "by a helper": [first, helper, *rest],
        "in what another one calls": cells_of("masking", sample_block_size=in_size),
    }
    for student, own in made.items():
        put(tmp_path / "class", student, "masking", notebook(own))
    arguments = tmp_path / "class", "--out", tmp_path / "out", "--lesson", "masking", "--jobs", 2
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    rows = {student: row for (student, _), row in record(tmp_path / "out").items()}
    flagged = {
        student: [name for name, entry in row["exercises"].items() if entry["status"] == "flagged"]
        for student, row in rows.items()
    }
    assert flagged == {
        "honest": [],
        "in a call": ["sample_masks"],
        "by a helper": ["sample_masks"],
        "in what another one calls": ["sample_block_size", "sample_masks"],  # which calls it
    }
    for student, names in flagged.items():
        kept = [worth for name, worth in CATALOGUE["masking"].items() if name not in names]
        assert rows[student]["points"] == sum(kept)
        assert rows[student]["status"] == ("flagged" if names else "graded")
    cell = next(number for number, text in enumerate(made["in a call"], start=1) if tampering in text)
    line = next(number for number, text in enumerate(in_masks.split("\n"), start=1) if tampering in text)
    place = f"03_masking.ipynb, cell {cell}, line {line}"
    assert rows["in a call"]["reason"] == f"sample_masks: it replaces torch.equal ({place})."
    assert rows["by a helper"]["reason"] == "sample_masks: it replaces torch.isclose."


@pytest.fixture
def flagged(pretend, monkeypatch) -> Path:
    """A class of nine, of whom those with an odd number of points are flagged in one exercise."""
    from checks.grader import workers

    judged = workers.grade

    def grade(lesson, label, content, zygote, seed):
        result = judged(lesson, label, content, zygote, seed)
        if int(content) % 2 == 0:
            return result
        name, own = next(iter(checks_by_exercise(lesson).items()))
        entry = result.exercises[name]
        why = "it replaces torch.equal."
        own = ExerciseResult(Status.FLAGGED, 0, entry.earned, entry.max_points, why)
        return Result(Status.FLAGGED, f"{name}: {why}", {**result.exercises, name: own})

    monkeypatch.setattr(workers, "grade", grade)
    return pretend


def grading(place: Path, out: Path, *arguments: object, code: int = 0) -> str:
    ended, said = run(
        place, "--out", out, "--lesson", "masking", "--jobs", 2, *arguments, output=out.with_suffix(".txt")
    )
    assert ended == code, said
    return said


def test_a_flag_that_is_cleared_gives_the_points_and_the_record_keeps_the_reason(flagged, tmp_path):
    out = tmp_path / "out"
    grading(flagged, out)
    withheld = NINE | {"student1": "0", "student3": "0", "student5": "0", "student7": "1"}
    assert points_of(out) == withheld
    said = grading(flagged, out, "--clear", "student5/masking", "--reason", "It was the seed of a plot; we talked.")
    assert "changed: student5, masking: sample_block_size 0 -> 5 (policy)" in said and "3 flagged" in said
    assert points_of(out) == withheld | {"student5": "5"}
    row = table(out)["student5", "masking"]
    assert row["status"] == "graded" and "Cleared by hand: It was the seed of a plot; we talked." in row["reason"]
    assert "it replaces torch.equal" in row["reason"]
    last = json.loads((out / "record.jsonl").read_text().splitlines()[-1])
    assert last["cleared"] == "It was the seed of a plot; we talked." and last["student"] == "student5"
    grading(flagged, out, "--seconds", 9)  # graded again: it is the same submission
    assert points_of(out) == withheld | {"student5": "5"}
    grading(tmp_path / "none", out, code=1)
    assert list(read_record(out / "record.jsonl").cleared) == [("student5", "masking")]
    joined = tmp_path / "joined"
    assert run("--merge", out, "--out", joined, output=tmp_path / "said")[0] == 0
    assert points_of(joined) == withheld | {"student5": "5"}
    put(flagged, "student5", "masking", b"3")  # another one, which nobody has looked at
    grading(flagged, out)
    assert points_of(out) == withheld


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("student2/masking", "masking of 'student2' is graded: --clear takes a submission that is flagged"),
        ("alcie/masking", "has no 'masking' of 'alcie'"),
        ("student5/teacher", "has no 'teacher' of 'student5'"),
        ("student5", "has no 'student5' of ''"),
    ],
)
def test_what_can_not_be_cleared_is_a_sentence(flagged, tmp_path, what, says):
    said = grading(flagged, tmp_path / "out", "--clear", what, "--reason", "why not", code=1)
    assert says in said.splitlines()[-1]
    assert not read_record(tmp_path / "out/record.jsonl").cleared
