"""`python -m checks.grade` on a class whose points are known: every number, every reason, every table."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checks import grade as command
from checks.tool.exercise import checks_of
from lessons import LESSONS, folder_name
from solutions.tests.helpers import graders
from solutions.tests.helpers.graders import assert_the_report_says, record, run, table
from solutions.tests.helpers.known_class import ALONE, CATALOGUE, submissions_of
from solutions.tests.helpers.notebooks import ROOT, put
from solutions.tests.helpers.stand_in import Pretended

SECONDS = "45"  # of a lesson; an exercise that hangs has a share of it

# of every test here
orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> tuple[Path, Path, dict, subprocess.CompletedProcess]:
    """A class and the folder of its grades, what must come out, and how the command ended."""
    place = tmp_path_factory.mktemp("class")
    submissions, out, expected = place / "submissions", place / "grades", {}
    made = {lesson: submissions_of(lesson) for lesson in ALONE}
    for student in {student for students in made.values() for student in students}:
        for lesson in ALONE:
            absent = "missing", dict.fromkeys(CATALOGUE[lesson], 0), []
            status, points, files = made[lesson].get(student, absent)
            expected[student, lesson] = status, points
            (submissions / student / folder_name(lesson)).mkdir(parents=True)
            for name, content in files:
                put(submissions, student, lesson, content, name)
    command = [sys.executable, "-m", "checks.grade", submissions, "--out", out, "--quiet", "--seconds", SECONDS]
    command += [word for lesson in ALONE for word in ("--lesson", lesson)]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    return submissions, out, expected, done


def test_every_number_of_a_class_is_right(classroom):
    _, out, expected, done = classroom
    assert done.returncode == 0 and len(expected) >= 60, done.stderr
    rows = record(out)
    assert set(rows) == set(expected)
    for place, (status, points) in expected.items():
        row = rows[place]
        found = {name: exercise["earned"] for name, exercise in row["exercises"].items()}
        if status == "flagged":
            found = {name: row[name] for name in points}
        assert (row["status"], found) == (status, points), (place, row["reason"])


def test_each_row_says_why_it_is_as_it_is(classroom):
    _, out, _, _ = classroom
    said = {
        "dies": "its process ended before it answered",
        "hangs": "still running when its time was up",
        "cheats": "replaces torch.allclose",
        "cut off": "damaged or cut off",
        "latin": "not UTF-8",
        "blank": "empty",
        "several": "a.ipynb, b.ipynb",
        "all todo": "no exercise is written yet",
    }
    for (student, lesson), row in record(out).items():
        absent = row["status"] == "missing" and student != "several"
        assert ("no notebook" if absent else said.get(student, "")) in row["reason"]
        assert bool(row["reason"]) == (row["status"] != "graded")
        alone = row["exercises"][ALONE[lesson]]
        if student in ("dies", "hangs", "checks edited") and not absent:
            assert alone["status"] == {"dies": "crashed", "hangs": "timeout", "checks edited": "todo"}[student]
            others = {exercise["status"] for name, exercise in row["exercises"].items() if name != ALONE[lesson]}
            assert others == {"graded"}
        for exercise in row["exercises"].values():
            assert exercise["reason"] or exercise["points"] == exercise["max_points"]
            assert exercise["earned"] == sum(check["points"] for check in exercise["checks"])
        if student == "twice":
            assert any("defined 2 times" in note for note in row["notes"])
        if student == "o'neil, ann":
            assert any("was graded" in note for note in row["notes"])


def test_the_table_and_the_record_have_the_same_keys_and_values(classroom):
    _, out, _, _ = classroom
    rows, lines = record(out), table(out)
    names = [name for exercises in CATALOGUE.values() for name in exercises]
    columns = ["student", "lesson", "status", "points", "max_points", *names, "reason"]
    assert set(rows) == set(lines)
    for place, row in rows.items():
        assert list(lines[place]) == columns and set(columns) <= set(row)
        further = {"exercises", "file", "notes", "submitted", "seconds", "key", "tier", "origin", "source"}
        assert set(row) - set(columns) == further
        own = {name: row[name] for name in CATALOGUE[place[1]]}
        assert {name: row[name] for name in names if name not in own} == dict.fromkeys(set(names) - set(own))
        assert row["points"] == sum(own.values()) and row["max_points"] == sum(CATALOGUE[place[1]].values())
        shown = {name: "" if row[name] is None else str(row[name]) for name in columns[:-1]}
        assert {name: lines[place][name] for name in shown} == shown


@pytest.mark.parametrize("kind", ["wrong", "right, but other"])
def test_the_points_are_those_of_pytest_checks(classroom, kind, tmp_path):
    submissions, out, _, _ = classroom
    rows = {place: row for place, row in record(out).items() if row["status"] == "graded"}
    students = {
        lesson: min(student for student, of in rows if of == lesson and student.startswith(kind)) for lesson in ALONE
    }
    for lesson, student in students.items():
        name = folder_name(lesson)
        shutil.copytree(submissions / student / name, tmp_path / "lessons" / name)
    files = [f"checks/test_{LESSONS.index(lesson) + 1:02d}_{lesson}.py" for lesson in ALONE]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--lessons", str(tmp_path / "lessons"), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    passed = set(re.findall(r"^PASSED .*::(\w+)", done.stdout, re.MULTILINE))
    assert passed, done.stdout + done.stderr
    for lesson in ALONE:
        points = sum(check.points for check in checks_of(lesson) if check.__name__ in passed)
        assert points == rows[students[lesson], lesson]["points"]


def test_the_report_says_which_sandbox_it_was(classroom):
    _, out, _, done = classroom
    [tier] = {row["tier"] for row in record(out).values()}
    assert_the_report_says(tier, done.stderr, out)


def test_a_class_that_is_graded_is_not_graded_again(classroom, tmp_path, monkeypatch):
    submissions, out, _, _ = classroom
    before = {name: (out / name).read_bytes() for name in ("record.jsonl", "grades.csv", "canvas.csv")}
    stand_in = Pretended(record(out)["right", "masking"]["tier"])
    monkeypatch.setattr(command, "choose_tier", lambda *_: (stand_in, True))
    monkeypatch.setattr("checks.grader.course.Workers", None)
    lessons = [word for lesson in ALONE for word in ("--lesson", lesson)]
    arguments = (submissions, "--out", out, "--seconds", SECONDS, *lessons)
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert before == {name: (out / name).read_bytes() for name in before}
    code, _ = run(*arguments, "--flagged", "keep", output=tmp_path / "said")  # takes no grading either
    assert code == 0 and (out / "record.jsonl").read_bytes() == before["record.jsonl"]
    kept = table(out)
    for lesson in ALONE:
        assert kept["cheats", lesson]["status"] == "flagged"
        assert int(kept["cheats", lesson]["points"]) == sum(CATALOGUE[lesson].values())
    assert {place: row for place, row in kept.items() if place[0] != "cheats"} == {
        place: row for place, row in csv_of(before["grades.csv"]).items() if place[0] != "cheats"
    }


def csv_of(content: bytes) -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader(content.decode("utf-8-sig").splitlines(keepends=True))
    return {(row["student"], row["lesson"]): row for row in rows}
