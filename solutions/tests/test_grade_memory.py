"""What a grades folder remembers from one run to the next, and what a run says it has changed."""

import csv
from pathlib import Path

import pytest

from checks import grade as command
from checks.grader.remembered import HEAD, Course, read_course, write_course
from checks.grader.texts import PolicyError
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.graders import run, table
from solutions.tests.helpers.notebooks import put
from solutions.tests.helpers.policy_files import MARKS, marks_file, written
from solutions.tests.helpers.stand_in import NINE, graded, masking, points_of

orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend

LATE = "penalty = 50\n[deadlines]\nmasking = 2026-11-01T00:00:00Z\n"


def changes_in(out: Path) -> list[list[str]]:
    """The lines of changes.csv, without the first one and without the time."""
    with (out / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        return [line[1:] for line in csv.reader(file)][1:]


def grading(place: Path, out: Path, *arguments: object) -> str:
    code, said = run(place, "--out", out, "--jobs", 2, *arguments, output=out.with_suffix(".txt"))
    assert code == 0, said
    return said


# From run to run


def test_a_second_lesson_keeps_the_rows_and_pages_of_the_first(pretend, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    put(other, "student3", "teacher", b"4")
    put(other, "new", "teacher", b"5")
    grading(pretend, out, "--lesson", "masking")
    page = (out / "feedback/student3/masking.html").read_text()
    assert len(graded(pretend)) == 9
    grading(other, out, "--lesson", "teacher")  # a download of this lesson alone
    assert graded(pretend) == ["4", "5"]
    rows = table(out)
    assert {student: row["points"] for (student, lesson), row in rows.items() if lesson == "masking"} == NINE
    assert rows["student3", "teacher"]["points"] == "4" and rows["new", "teacher"]["points"] == "5"
    assert (out / "feedback/student3/masking.html").read_text() == page
    assert (out / "feedback/student3/teacher.html").exists()
    grading(pretend, out)  # what is open, and no other lesson
    assert {lesson for _, lesson in table(out)} == {"masking", "teacher"}


def test_a_rerun_keeps_deductions_marks_and_flagged(pretend, tmp_path):
    out = tmp_path / "out"
    (pretend / "student8/03_masking/timestamp.txt").write_text("2026-11-01 12:00:00 UTC")
    late = written(tmp_path / "late.toml", LATE)
    marks = marks_file(tmp_path, "student2,masking,why_overlap,1.5,")
    said = grading(pretend, out, "--lesson", "masking", "--late", late, "--marks", marks, "--flagged", "keep")
    assert "policy: deadlines of masking; marks in marks.csv; flagged points kept" in said
    expected = NINE | {"student8": "4", "student2": "3.5"}
    assert points_of(out) == expected
    late.unlink()  # its text is in course.toml
    assert "policy: deadlines of masking; marks in marks.csv; flagged points kept" in grading(pretend, out)
    assert points_of(out) == expected
    second = written(tmp_path / "second.csv", MARKS + "student5,masking,why_overlap,2,\n")
    grading(pretend, out, "--marks", second)
    assert points_of(out) == expected | {"student5": "7"}
    assert [path.name for path in read_course(out).marks] == ["marks.csv", "second.csv"]
    grading(pretend, out, "--marks", marks)  # one that is known
    assert points_of(out) == expected | {"student5": "7"}
    code, said = run(pretend, "--out", out, "--marks", tmp_path / "absent.csv", output=tmp_path / "said")
    assert code == 1 and "absent.csv can't be read" in said and len(read_course(out).marks) == 2
    marks.unlink()
    code, said = run(pretend, "--out", out, output=tmp_path / "said")
    assert code == 1 and "marks.csv, which is not there: put it back, or take it out of course.toml" in said


def test_who_has_left_is_in_no_table_and_who_returns_is_not_graded_again(pretend, tmp_path):
    out, away = tmp_path / "out", tmp_path / "away"
    grading(pretend, out, "--lesson", "masking")
    (pretend / "student4").rename(away)
    said = grading(pretend, out)
    assert "changed: student4, masking: all 4 -> none (no longer handed in)" in said
    put(tmp_path / "other", "new", "teacher", b"5")
    grading(tmp_path / "other", out, "--lesson", "teacher")  # the first lesson's rows are those that were there last
    assert set(table(out)) == {(name, "masking") for name in NINE if name != "student4"} | {("new", "teacher")}
    away.rename(pretend / "student4")
    assert len(graded(pretend)) == 10
    grading(pretend, out, "--lesson", "masking")
    assert graded(pretend) == [] and table(out)["student4", "masking"]["points"] == "4"


def test_a_time_that_is_known_later_is_kept_for_other_runs(pretend, tmp_path):
    out = tmp_path / "out"
    grading(pretend, out, "--lesson", "masking", "--late", written(tmp_path / "late.toml", LATE))
    (pretend / "student8/03_masking/timestamp.txt").write_text("2026-11-01 12:00:00 UTC")
    said = grading(pretend, out)
    assert "changed: student8, masking: late days 0 -> -4 (submission)" in said
    put(tmp_path / "other", "new", "teacher", b"5")
    grading(tmp_path / "other", out, "--lesson", "teacher")
    assert table(out)["student8", "masking"]["points"] == "4"


def test_an_instructors_own_lines_stay(tmp_path):
    text = """# ours
seed = 7   # drawn in the office
lessons = [
  "masking",  # since October
]
penalty = 5

[deadlines]   # of the winter
masking = 2026-11-01T00:00:00Z
"""
    written(tmp_path / "course.toml", text)
    course = read_course(tmp_path)
    assert course == Course(7, ("masking",))
    write_course(tmp_path, course)
    assert (tmp_path / "course.toml").read_text() == text
    course = course.opened(["teacher", "patch_embedding"]).given([tmp_path / 'a "b".csv'])
    write_course(tmp_path, course)
    expected = text.replace('[\n  "masking",  # since October\n]', '["patch_embedding", "masking", "teacher"]')
    head, rest = expected.split("penalty")
    assert (tmp_path / "course.toml").read_text() == f'{head}marks = ["a \\"b\\".csv"]\npenalty{rest}'
    (tmp_path / 'a "b".csv').touch()
    assert read_course(tmp_path).marks == (tmp_path / 'a "b".csv',)
    late = written(tmp_path / "late.toml", LATE)
    write_course(tmp_path, course, late)
    assert (tmp_path / "course.old.toml").read_text() == f'{head}marks = ["a \\"b\\".csv"]\npenalty{rest}'
    now = (tmp_path / "course.toml").read_text()
    assert now.startswith(HEAD) and now.endswith(LATE) and "seed = 7\n" in now and read_course(tmp_path).seed == 7
    with pytest.raises(PolicyError, match="can't hold a name that is not UTF-8"):
        write_course(tmp_path, course.given([tmp_path / "\udcff.csv"]))
    assert (tmp_path / "course.toml").read_text() == now


# What a run has changed


def test_each_change_has_its_cause(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert "changed" not in grading(pretend, out, "--lesson", "masking", "--seed", 3)
    assert "changed" not in grading(pretend, out)
    assert changes_in(out) == []
    put(pretend, "student3", "masking", b"5")
    put(pretend, "one more", "masking", b"1")  # is no change: it has no points from before
    size = ["sample_block_size", "3", "5", "submission"]
    assert "changed: student3, masking: sample_block_size 3 -> 5 (submission)" in grading(pretend, out)
    assert changes_in(out) == [["student3", "masking", *size]]
    assert "What this run changed" in (out / "report.html").read_text()
    marks = marks_file(tmp_path, "student1,masking,sample_masks,2.5,", "student1,masking,why_overlap,1,")
    said = grading(pretend, out, "--marks", marks)
    assert "changed: student1, masking: sample_masks 0 -> 2.5 (policy), why_overlap none -> 1 (policy)" in said
    put(pretend, "student8", "masking", b"8 ")
    monkeypatch.setattr("checks.grader.course.checks_key", lambda lesson: "other checks")
    assert "changed" not in grading(pretend, out)
    put(pretend, "student8", "masking", b"2")
    monkeypatch.setattr("checks.grader.course.checks_key", lambda lesson: "third checks")
    said = grading(pretend, out, "--seconds", 9)
    why = "submission and checks and seed, limits or sandbox"
    assert f"changed: student8, masking: sample_block_size 6 -> 2 ({why}), sample_block 2 -> 0 ({why})" in said
    assert [line[0] for line in changes_in(out)] == ["student3"] + 2 * ["student1"] + 2 * ["student8"]
    assert "What this run changed" not in (grading(pretend, out), (out / "report.html").read_text())[1]


def test_late_days_and_their_cause(pretend, tmp_path):
    out = tmp_path / "out"
    stamp = pretend / "student8/03_masking/timestamp.txt"
    stamp.write_text("2026-11-01 12:00:00 UTC")
    grading(pretend, out, "--lesson", "masking")
    said = grading(pretend, out, "--late", written(tmp_path / "late.toml", LATE))
    assert "changed: student8, masking: late days 0 -> -4 (policy)" in said
    put(pretend, "student8", "masking", b"6")
    assert "sample_block 2 -> 0 (submission), late days -4 -> -3 (submission)" in grading(pretend, out)
    stamp.write_text("2026-10-31 12:00:00 UTC")
    assert "changed: student8, masking: late days -3 -> 0 (submission)" in grading(pretend, out)


def test_a_run_that_was_stopped_before_it_wrote_loses_no_change(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    grading(pretend, out, "--lesson", "masking")
    put(pretend, "student3", "masking", b"5")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(command, "write_outputs", full)
        assert run(pretend, "--out", out, output=tmp_path / "said")[0] == 1
    assert changes_in(out) == []
    assert "changed: student3, masking: sample_block_size 3 -> 5 (submission)" in grading(pretend, out)
    assert len(changes_in(out)) == 1


@pytest.mark.parametrize("damage", ["", "[]", "[1]", '[["student1", "masking", {}]]', "\x00"])
def test_damaged_points_cost_no_run(pretend, tmp_path, damage):
    out = tmp_path / "out"
    grading(pretend, out, "--lesson", "masking")
    (out / "points.json").write_text(damage)
    assert "changed" not in grading(pretend, out)
    assert points_of(out) == NINE


def test_many_changes_are_cut_and_counted(pretend, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "TOLD_CHANGES", 3)
    out = tmp_path / "out"
    masking(pretend, out)
    for name in NINE:
        put(pretend, name, "masking", b"9")
    said = masking(pretend, out)[1]
    assert said.count("changed: student") == 3 and "changed: and 6 more" in said
    assert {line[0] for line in changes_in(out)} == set(NINE)
