"""What `python -m checks.grade` grades, what it leaves alone and what it says, with a stand-in for the sandbox."""

import os

import pytest

from checks import grade as command
from checks.grader.judging import manifest
from checks.grader.judging.sandbox import PROMISES
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.course_copy import copy_course
from solutions.tests.helpers.graders import end, record, run, start, table
from solutions.tests.helpers.known_class import CATALOGUE
from solutions.tests.helpers.notebooks import cells_of, notebook, put
from solutions.tests.helpers.stand_in import NINE, graded, masking, points_of

# of every test here
orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend


def test_only_what_has_changed_is_graded_again(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    assert points_of(out) == NINE and len(graded(pretend)) == 9
    before = (out / "record.jsonl").read_bytes()
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == [] and (out / "record.jsonl").read_bytes() == before

    put(pretend, "student3", "masking", b"13")
    put(pretend, "late comer", "masking", b"1")
    (pretend / "student4/03_masking/notes.txt").touch()
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == ["1", "13"]
    assert points_of(out) == NINE | {"student3": "13", "late comer": "1"}
    assert (out / "record.jsonl").read_bytes().startswith(before)

    (pretend / "student3/03_masking/03_masking.ipynb").rename(pretend / "student3/03_masking/mine.ipynb")
    (pretend / "student6/03_masking/03_masking.ipynb").unlink()
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == ["13"]
    assert table(out)["student6", "masking"]["status"] == "missing"

    assert masking(pretend, out, "--regrade")[0] == 0
    assert len(graded(pretend)) == 9
    assert masking(pretend, out, "--seconds", 30)[0] == 0
    assert len(graded(pretend)) == 9


def test_a_changed_check_file_grades_its_lesson_again(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for number in range(3):
        put(pretend, f"student{number}", "teacher", f"10{number}".encode())
    arguments = (pretend, "--out", out, "--lesson", "masking", "--lesson", "teacher")
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert len(graded(pretend)) == 12
    root = copy_course(tmp_path / "course")
    monkeypatch.setattr(manifest, "ROOT", root)
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert graded(pretend) == []
    for name, words in (
        ("checks/test_04_teacher.py", ["100", "101", "102"]),
        ("checks/calls/teacher.py", ["100", "101", "102"]),
        ("checks/expected/teacher.py", ["100", "101", "102"]),
        ("solutions/masking.py", ["100", "101", "102"]),  # the reference that lesson 4 builds on
        ("lessons/__init__.py", sorted([*NINE.values(), "100", "101", "102"])),
    ):
        with (root / name).open("a") as file:
            file.write("\n")
        assert run(*arguments, output=tmp_path / "said")[0] == 0
        assert graded(pretend) == words


@pytest.mark.parametrize("word", ["raise", "die"])
def test_a_failure_of_the_grader_is_never_a_0(pretend, tmp_path, word):
    out = tmp_path / "out"
    put(pretend, "student4", "masking", word.encode())
    code, said = masking(pretend, out)
    assert code == 1
    assert graded(pretend).count(word) == 2
    assert said.count("not graded: student4, masking: ") == 1
    assert "8 graded, 1 ungraded" in said
    row = table(out)["student4", "masking"]
    assert row["status"] == "ungraded" and row["reason"]
    assert row["points"] == "" and not any(row[name] for name in CATALOGUE["masking"])
    assert ("student4", "masking") not in record(out)
    assert not (out / "gradescope" / "student4").exists()
    put(pretend, "student4", "masking", b"4")
    assert masking(pretend, out)[0] == 0
    assert points_of(out) == NINE and graded(pretend) == ["4"]


def test_a_failure_of_the_grader_in_a_regrade_shows(pretend, tmp_path):
    out = tmp_path / "out"
    put(pretend, "student4", "masking", b"once")
    (tmp_path / "once").touch()
    assert masking(pretend, out)[0] == 0
    (tmp_path / "once").unlink()
    assert masking(pretend, out, "--regrade")[0] == 0  # the second try succeeds
    assert points_of(out) == NINE | {"student4": "0"}


def test_a_check_that_breaks_is_told_in_a_sentence(tmp_path, monkeypatch):
    def test_made_up(learner):
        secret = "expected value"
        raise ZeroDivisionError(f"{secret}\nin two lines")

    test_made_up.exercise, test_made_up.points = "sample_masks", 3
    made_up = {"sample_masks": [test_made_up]}
    monkeypatch.setattr("checks.grader.judging.judge.checks_by_exercise", lambda lesson: made_up)
    put(tmp_path / "class", "alice", "masking", b"[]")
    put(tmp_path / "class", "bob", "masking", notebook(cells_of("masking")))
    arguments = (tmp_path / "class", "--out", tmp_path / "out", "--lesson", "masking", "--jobs", 1, "--quiet")
    code = end(start(*arguments, output=tmp_path / "said"))
    said = (tmp_path / "said").read_text()
    assert code == 1
    row = table(tmp_path / "out")["bob", "masking"]
    assert row["status"] == "ungraded" and "test_made_up" in row["reason"] and "ZeroDivisionError" in row["reason"]
    assert "Traceback" not in row["reason"] and "expected value" not in row["reason"]
    assert "expected value" in said  # for the instructor, who has to mend it
    assert table(tmp_path / "out")["alice", "masking"]["status"] == "unreadable"


def sent_from_here(lesson):
    """Not in checks/calls: no child has it."""


def test_a_check_that_calls_what_no_child_has_costs_nobody_a_point(tmp_path, monkeypatch):
    def test_made_up(learner):
        learner(sent_from_here)

    test_made_up.exercise, test_made_up.points = "sample_masks", 3
    made_up = {"sample_masks": [test_made_up]}
    monkeypatch.setattr("checks.grader.judging.judge.checks_by_exercise", lambda lesson: made_up)
    put(tmp_path / "class", "bob", "masking", notebook(cells_of("masking")))
    arguments = (tmp_path / "class", "--out", tmp_path / "out", "--lesson", "masking", "--jobs", 1, "--quiet")
    assert end(start(*arguments, output=tmp_path / "said")) == 1
    row = table(tmp_path / "out")["bob", "masking"]
    assert row["status"] == "ungraded" and row["points"] == ""
    assert (
        "test_made_up" in row["reason"] and "sent_from_here, which is not in checks/calls/masking.py" in row["reason"]
    )


def test_shards_joined_are_the_whole(pretend, tmp_path):
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    os.mkdir(pretend / os.fsdecode(b"caf\xe9"))
    assert masking(pretend, whole)[0] == 0
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        assert masking(pretend, part, "--shard", f"{number}/3")[0] == 0
    found = [set(table(part)) for part in parts]
    assert sum(map(len, found)) == 10 and set.union(*found) == set(table(whole)) and all(found)
    before = [(part / "record.jsonl").read_bytes() for part in parts]
    code, _ = run("--merge", *parts, "--out", joined, output=tmp_path / "said")
    assert code == 0
    for name in ("grades.csv", "canvas.csv"):
        assert (joined / name).read_bytes() == (whole / name).read_bytes()
    assert record(joined) == record(whole)
    assert [(part / "record.jsonl").read_bytes() for part in parts] == before
    lines = (joined / "record.jsonl").read_bytes()
    assert run("--merge", *parts, "--out", joined, output=tmp_path / "said")[0] == 0
    assert (joined / "record.jsonl").read_bytes() == lines
    for text in ("bubblewrap", *PROMISES["bubblewrap"]):
        assert text in (joined / "report.html").read_text().replace("&#39;", "'")
    assert masking(pretend, joined)[0] == 0  # the joined record is one to go on from
    assert len(graded(pretend)) == 18


def seeds(place) -> list[int]:
    """The seeds that were graded with since this was asked last."""
    path = place.parent / "seeds"
    found = [int(line) for line in path.read_text().split()]
    path.unlink()
    return found


def test_a_class_has_one_seed_which_its_folder_remembers(pretend, tmp_path):
    """Whatever the file's name, the limits or the points of a check: the same answer gets the same points."""
    out = tmp_path / "out"
    arguments = pretend, "--lesson", "masking", "--jobs", 2
    assert run(*arguments, "--out", out, output=tmp_path / "said")[0] == 0
    [seed] = set(seeds(pretend))
    assert f"\nseed = {seed}\n" in (out / "course.toml").read_text()
    assert run(*arguments, "--out", out, "--regrade", "--seconds", 7, output=tmp_path / "said")[0] == 0
    assert seeds(pretend) == [seed] * 9
    assert run(*arguments, "--out", out, "--seed", 8, output=tmp_path / "said")[0] == 0
    assert run(*arguments, "--out", out, "--regrade", output=tmp_path / "said")[0] == 0
    assert seeds(pretend) == [8] * 18
    assert run(*arguments, "--out", tmp_path / "other", output=tmp_path / "said")[0] == 0
    assert set(seeds(pretend)) != {seed}  # nobody can know it before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "seed = 'x'",
        "seed = -3",
        "seed",
        "seed = true",
        "seed = 5\nlessons = 'masking'",
        "seed = 5\nlessons = ['mask']",
        "seed = 5\nmarks = [3]",
        "seed = 5\nmarks = ['absent.csv']",
        "seed = 5\nflagged = 'maybe'",
        "seed = 5\ndeadline = 2026-11-01",
    ],
)
def test_a_damaged_course_file_is_a_sentence(pretend, tmp_path, content):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    (out / "course.toml").write_text(content)
    code, said = run(pretend, "--lesson", "masking", "--out", out, output=tmp_path / "said")
    assert code == 1 and "course.toml" in said and "Traceback" not in said
    assert points_of(out) == NINE


def test_shards_of_different_seeds_are_not_joined(pretend, tmp_path):
    parts = [tmp_path / "one", tmp_path / "two"]
    for number, part in enumerate(parts, start=1):
        assert masking(pretend, part, "--shard", f"{number}/2", "--seed", number)[0] == 0
    code, said = run("--merge", *parts, "--out", tmp_path / "joined", output=tmp_path / "said")
    assert code == 1 and "different seeds (1, 2)" in said


def test_a_shard_that_is_at_work_is_left_alone_by_a_merge(pretend, tmp_path):
    assert masking(pretend, tmp_path / "part")[0] == 0
    path = tmp_path / "part" / "record.jsonl"
    content = path.read_bytes() + b'{"student": "stud'
    path.write_bytes(content)
    assert run("--merge", tmp_path / "part", "--out", tmp_path / "joined", output=tmp_path / "said")[0] == 0
    assert path.read_bytes() == content
    assert points_of(tmp_path / "joined") == NINE
    code, said = run("--merge", tmp_path / "absent", "--out", tmp_path / "joined", output=tmp_path / "said")
    assert code == 1 and "holds no record.jsonl" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either SUBMISSIONS or --merge"),
        (["class", "--merge", "a"], "give either SUBMISSIONS or --merge"),
        (["class", "--lesson", "mask"], "invalid choice: 'mask'"),
        (["class", "--shard", "4/3"], "--shard 4/3 is not a part of a whole"),
        (["class", "--shard", "x"], "--shard x is not a part of a whole"),
        (["class", "--shard", "²/3"], "is not a part of a whole"),
        (["class", "--jobs", "0"], "--jobs starts at 1"),
        (["class", "--jobs", "many"], "invalid int value"),
        (["class", "--seconds", "0"], "more than 0"),
        (["class", "--seconds", "nan"], "seconds"),
        (["class", "--training-seconds", "inf"], "seconds"),
        (["class", "--memory", "1"], "--memory starts at 64"),
        (["class", "--processes", "1"], "--processes at 4"),
        (["class", "--trusted", "--tier", "rlimits"], "not allowed with"),
        (["--merge", "a", "--shard", "1/2"], "--merge"),
        (["--merge", "a", "--lesson", "masking"], "--merge"),
        (["--merge", "a", "--seed", "5"], "--merge"),
        (["class", "--seed", "-1"], "--seed lies between 0 and 2147483647"),
        (["class", "--shard", "1/2"], "--shard needs --seed, the same for all shards"),
        (["class", "--flagged", "maybe"], "invalid choice: 'maybe'"),
        (["class", "--clear", "alice/masking"], "--clear and --reason go together"),
        (["class", "--clear", "alice/masking", "--reason", " "], "--clear and --reason go together"),
        (["class", "--reason", "why"], "--clear and --reason go together"),
    ],
)
def test_a_bad_option_is_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_bad_place_is_a_sentence(pretend, tmp_path):
    (tmp_path / "a text").write_text("no zip")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "bad.toml").write_text("[")
    for arguments, why in (
        ((tmp_path / "absent", "--out", tmp_path / "out"), "there is no "),
        ((tmp_path / "a text", "--out", tmp_path / "out"), "neither a folder nor a zip"),
        ((tmp_path / "nothing", "--out", tmp_path / "out"), "holds no submission"),
        ((pretend, "--out", pretend / "grades"), "lies in the submissions"),
        ((pretend, "--out", pretend / "student1" / ".." / "grades"), "lies in the submissions"),
        ((pretend, "--out", tmp_path / "a text"), "can't be written"),
        ((pretend, "--out", tmp_path / "a text" / "out"), "can't be written"),
        ((pretend, "--out", tmp_path / "out", "--late", tmp_path / "bad.toml"), "not valid TOML"),
        ((pretend, "--out", tmp_path / "out", "--marks", tmp_path / "absent.csv"), "can't be read"),
        ((pretend, "--out", tmp_path / "out", "--lesson", "masking", "--gradebook", "gradebook.db"), "no address"),
    ):
        code, said = run(*arguments, output=tmp_path / "said")
        assert code == 1, arguments
        assert why in said.splitlines()[-1], said


def test_students_whom_only_the_marks_know_are_named(pretend, tmp_path):
    (tmp_path / "marks.csv").write_text(
        "student,lesson,item,points\nstudent1,masking,sample_block,2\nalcie,masking,sample_block,2\n"
    )
    code, said = masking(pretend, tmp_path / "out", "--marks", tmp_path / "marks.csv")
    assert code == 0
    assert "'alcie'" in said and "student1" not in said
