"""When something was handed in, as the instructor's files say it, and what becomes of those of whom nothing says it."""

import re
from pathlib import Path

import pytest

from checks.grader.roster import Person, everyone, read_roster
from checks.grader.texts import PolicyError
from checks.grader.times import joined, read_times
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.class_folders import put
from solutions.tests.helpers.graders import table
from solutions.tests.helpers.policy_files import written
from solutions.tests.helpers.report_pages import Page
from solutions.tests.helpers.stand_in import masking

nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend

LATE = """\
time_zone = "Europe/Berlin"
penalty = 10
[deadlines]
masking = 2026-11-01T22:00:00
"""
WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Last modified (submission),Last modified (grade)
Participant 20001,Alice Smith,alice@x,Submitted,,"Sunday, 1 November 2026, 9:30 PM",-
Participant 20006,Anna Mueller,anna@x,Submitted,,"Monday, 2 November 2026, 12:05 AM",-
Participant 20007,Anna Mueller,anna2@x,No submission,,-,-
"""


def times_in(tmp_path: Path, text: str, *students: str, name: str = "times.csv") -> dict[str, str]:
    """{student: time} of masking, among these students of a class without a roster."""
    given, unknown = joined(read_times([written(tmp_path / name, text)]), everyone(students, None).whose)
    assert unknown == [] and {lesson for _, lesson in given} <= {"masking"}
    assert {source for _, source in given.values()} <= {name}
    return {student: time for (student, _), (time, _) in given.items()}


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("2026-11-01 21:30", "2026-11-01T21:30:00"),
        ("2026-11-01T21:30:15", "2026-11-01T21:30:15"),
        ("2026-11-01T21:30:15.123Z", "2026-11-01T21:30:15+00:00"),
        ("2026-11-01 21:30 UTC", "2026-11-01T21:30:00+00:00"),
        ("2026-11-01 21:30:00 -05:00", "2026-11-01T21:30:00-05:00"),
        ('"Sunday, 1 November 2026, 9:30 PM"', "2026-11-01T21:30:00"),
    ],
)
def test_times_that_can_be_read_in_one_way_only(tmp_path, said, time):
    assert times_in(tmp_path, f"student,lesson,time\nann,masking,{said}\n", "ann", "bob") == {"ann": time}


@pytest.mark.parametrize(
    "said", ["11/1/2026 21:30", "2026-11-01", "1.11.2026 21:30", "2026-11-31 21:30", "1026-11-01 21:30", "yesterday"]
)
def test_any_other_time_is_one_sentence_with_its_line(tmp_path, said):
    file = written(tmp_path / "times.csv", f"student,lesson,time\nann,masking,2026-11-01 21:30\nbob,masking,{said}\n")
    says = f"times.csv, line 3: {said!r} is not read as a time; write 2026-11-01 21:30, 2026-11-01T21:30:00+01:00 or"
    with pytest.raises(PolicyError, match=re.escape(says)):
        read_times([file])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ann,masking,2026-11-01 21:30\n", "line 1: the first line must name the columns, as in student,lesson,time"),
        ("lesson,time\nmasking,2026-11-01 21:30\n", "line 1: the first line must name the columns"),
        ("student,time\nann,2026-11-01 21:30\n", "line 2: no column says of which lesson"),
        ("student,lesson,time\nann,maskin,2026-11-01 21:30\n", "line 2: there is no lesson 'maskin'"),
        ("student,lesson,time\nann,masking\n", "line 2: there are 2 cells for 3 columns"),
        ("student,lesson,time\n,masking,2026-11-01 21:30\n", "line 2: this time is nobody's"),
        (
            "student,lesson,time\nann,masking,2026-11-01 21:30\n\nann,masking,2026-11-02 21:30\n",
            "line 4: masking of 'ann' has a time in",
        ),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_sentence_with_its_line(tmp_path, text, says):
    with pytest.raises(PolicyError, match=re.escape(says)):
        times_in(tmp_path, text, "ann")


def test_what_a_spreadsheet_writes_and_lines_without_a_time(tmp_path):
    text = "\ufeffStudent;Submitted at;Lesson\r\nann;2026-11-01 21:30;masking\r\nbob;;masking\r\ncy;-;masking\r\n"
    assert times_in(tmp_path, text, "ann", "bob", "cy") == {"ann": "2026-11-01T21:30:00"}


@pytest.mark.parametrize(
    ("columns", "line", "student"),
    [
        ("student", "ann", "ann"),
        ("student", "Smith_ Alice", "smithalice_1001"),
        ("student", '"Smith, Alice"', "smithalice_1001"),
        ("name", "Alice Smith", "smithalice_1001"),
        ("id", "1001", "smithalice_1001"),
        ("name,id", "Anna Mueller,1007", "muelleranna_1007"),
        ("first name,last name,id number", "Anna,Mueller,1006", "muelleranna_1006"),
        ("email", "bob@x", "Bob_bob@x"),
        ("login", "ann", "ann"),
        ("student", "Anna Mueller", None),  # one of two
        ("name,id", "Alice Smith,1006", None),  # two people
        ("student", "zoe", None),
    ],
)
def test_whose_a_line_is_told_as_in_a_roster(tmp_path, columns, line, student):
    text = f"{columns},lesson,time\n{line},masking,2026-11-01 21:30\n"
    class_ = "ann", "smithalice_1001", "muelleranna_1006", "muelleranna_1007", "Bob_bob@x"
    given, unknown = joined(read_times([written(tmp_path / "times.csv", text)]), everyone(class_, None).whose)
    assert [who for who, _ in given] == ([student] if student else [])
    assert [sentence.split(":")[0].endswith("times.csv, line 2") for sentence in unknown] == [True] * (not student)


def test_a_roster_knows_all_that_is_said_of_someone(tmp_path):
    roster = read_roster(
        written(tmp_path / "roster.csv", 'Student,ID,SIS Login ID\n"Smith, Alice",1001,asmith\n"Lee, Bob",1002,blee\n')
    )
    found = everyone(["Smith, Alice_1001", "guest_1111"], roster)
    for person in (Person("", login="asmith"), Person("Alice Smith"), Person("asmith"), Person("A. S.", id="1001")):
        assert found.whose(person) == "Smith, Alice_1001"
    assert found.whose(Person("guest")) == "guest_1111" and found.whose(Person("Bob Lee")) == "Lee, Bob_1002"
    assert found.whose(Person("Bob Lee", id="1001")) is None


def test_moodles_worksheet_is_such_a_file(tmp_path):
    class_ = "Alice Smith_20001", "Anna Mueller_20006", "Anna Mueller_20007"
    assert times_in(tmp_path, WORKSHEET, *class_, name="Grades-Vision-03 Masking--71.csv") == {
        "Alice Smith_20001": "2026-11-01T21:30:00",
        "Anna Mueller_20006": "2026-11-02T00:05:00",
    }


def test_late_without_a_time_is_said_and_nothing_is_deducted_until_someone_says_when(pretend, tmp_path):
    out, place = tmp_path / "out", tmp_path / "canvas"
    put(place, "leeann_LATE_1001_5001_03_masking.ipynb", b"10")
    put(place, "raybob_LATE_1002_5002_03_masking.ipynb", b"10")
    put(place, "foxcy_1003_5003_03_masking.ipynb", b"10")
    late = written(tmp_path / "late.toml", LATE)
    code, said = masking(place, out, "--late", late)
    assert (
        code == 0 and "not known how late, so nothing is deducted; --times says it: leeann_1001, raybob_1002\n" in said
    )
    columns = ("points", "submitted", "time_source")
    facts = {student: tuple(row[name] for name in columns) for (student, _), row in table(out).items()}
    assert facts == {
        "leeann_1001": ("10", "time unknown", "late, says the platform"),
        "raybob_1002": ("10", "time unknown", "late, says the platform"),
        "foxcy_1003": ("10", "time unknown", ""),
    }
    reasons = {student: row["reason"] for (student, _), row in table(out).items()}
    assert "This came late, says the platform, and not when" in reasons["leeann_1001"]
    assert "It is not known when this was handed in" in reasons["foxcy_1003"]
    page = Page((out / "report.html").read_text()).text
    assert "masking: leeann_1001, raybob_1002" in page and "--times" in page

    times = written(
        tmp_path / "times.csv", "student,lesson,time\nAnn Lee,masking,2026-11-02 21:30\nzoe,masking,2026-11-02 21:30\n"
    )
    code, said = masking(place, out, "--times", times)
    assert code == 0 and "times in times.csv" in said and "times.csv, line 3: no submission is from" in said
    assert "changed: leeann_1001, masking: late days 0 -> -1 (policy)" in said
    assert "--times says it: raybob_1002\n" in said
    row = table(out)["leeann_1001", "masking"]
    assert [row[name] for name in columns] == ["9", "2026-11-02T21:30:00", "times.csv"]
    before = (out / "grades.csv").read_bytes()
    masking(place, out)  # the file is remembered
    assert (out / "grades.csv").read_bytes() == before and 'times = ["../times.csv"]' in (
        out / "course.toml"
    ).read_text()


def test_the_instructors_time_takes_the_place_of_the_platforms(pretend, tmp_path):
    out, place = tmp_path / "out", tmp_path / "blackboard"
    put(place, "Homework_ann_attempt_2026-11-05-21-30-00_03_masking.ipynb", b"10")
    late = written(tmp_path / "late.toml", LATE)
    masking(place, out, "--late", late)
    row = table(out)["ann", "masking"]
    assert [row[name] for name in ("points", "submitted", "time_source")] == ["6", "2026-11-05T21:30:00", "file name"]
    times = written(tmp_path / "masking.csv", "student,time\nann,2026-11-01 21:30\n")
    assert "changed: ann, masking: late days -4 -> 0 (policy)" in masking(place, out, "--times", times)[1]


def test_a_time_that_cannot_be_read_costs_nothing(pretend, tmp_path):
    times = written(tmp_path / "times.csv", "student,lesson,time\nstudent1,masking,soon\n")
    code, said = masking(pretend, tmp_path / "out", "--times", times)
    assert code == 1 and said.splitlines()[-1].startswith(f"{times}, line 2: 'soon' is not read as a time; write ")
    assert not (tmp_path / "out" / "course.toml").exists() and stand_in.graded(pretend) == []
