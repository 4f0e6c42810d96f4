"""Who is who: rosters as platforms export them, whose submission is whose, and files that platforms import again."""

import csv
import io
import re
import zipfile
from pathlib import Path

import pytest

from checks.grader.collect import collect
from checks.grader.roster import Assignment, read_roster
from checks.grader.texts import PolicyError
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.class_folders import put
from solutions.tests.helpers.graders import run, table
from solutions.tests.helpers.policy_files import marks_file, written

nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,L1: Patch Embedding (70),03 Masking (71),Teacher (72),Teacher 2 (73),Final
,,,,,Manual Posting,,,,
    Points Possible,,,,,19,100.0,22,22,(read only)
"Mueller, Anna",1006,S6,am6,A,,,,,
"Mueller, Anna",1007,S7,am7,B,,,,,
"Smith, Alice",1001,S1,asmith,A,,,,,
"Zoë, Ünal",1002,S2,zue,A,,,,,
"Student, Test",1999,,,A,,,,,
"""
WORKSHEET = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Last modified (grade)
Participant 20001,Alice Smith,alice@example.edu,Submitted,,23.00,-
Participant 20006,Anna Mueller,anna@example.edu,Submitted,,23.00,-
Participant 20007,Anna Mueller,anna2@example.edu,No submission,,23.00,-
"""


def students(place: Path, roster: Path) -> tuple[dict[str, bytes | None], list[str]]:
    """What everyone handed in for masking, and what was said."""
    found = collect(place, ["masking"])
    said = read_roster(roster).join(found)
    return {s.student: s.content() for s in found.submissions(["masking"])}, said


# What a roster says


def test_canvas(tmp_path):
    roster = read_roster(written(tmp_path / "canvas.csv", f"\ufeff{CANVAS}"))
    assert list(roster.people) == ["Mueller, Anna_1006", "Mueller, Anna_1007", "Smith, Alice_1001", "Zoë, Ünal_1002"]
    person = roster.people["Mueller, Anna_1007"]
    assert (person.sis, person.login, person.section) == ("S7", "am7", "B")
    assert roster.assignments == {  # two titles name the teacher
        "patch_embedding": Assignment("L1: Patch Embedding (70)", "19"),
        "masking": Assignment("03 Masking (71)", "100.0"),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,id,email\nAda,7,a@x\nBob,,b@x\nCy,,\n", ["Ada_7", "Bob_b@x", "Cy"]),
        ("First name;Last name;ID number;Email address\nAda;Lovelace;;a@x\n", ["Ada Lovelace_a@x"]),
        ("Surname\tFirst name\tUsername\nLovelace\tAda\tada\n", ["Ada Lovelace_ada"]),
        ('"identifier","github_username","github_id","name"\n"17","octo","1","Ada"\n', ["Ada_17"]),
        ("LastName,FirstName,ID,Section\nLovelace,Ada,9,A\n", ["Ada Lovelace_9"]),
        (
            WORKSHEET,
            ["Alice Smith_alice@example.edu", "Anna Mueller_anna@example.edu", "Anna Mueller_anna2@example.edu"],
        ),
    ],
)
def test_other_rosters(tmp_path, text, expected):
    assert list(read_roster(written(tmp_path / "roster.csv", text)).people) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nobody"),
        ("name,id\n", "holds nobody"),
        ("Vorname,Nachname\nAda,Lovelace\n", "line 1: the first line must name the columns, as in name,id,email"),
        ("name,id\nAda,7\nAda,7\n", "line 3: 'Ada_7' stands in the roster twice"),
        ('name,id\nAda,"7\n', "this is not valid CSV"),
    ],
)
def test_a_roster_that_cannot_be_meant_is_a_sentence(tmp_path, text, says):
    with pytest.raises(PolicyError, match=re.escape(says)):
        read_roster(written(tmp_path / "roster.csv", text))


# Whose submission is whose


def test_canvas_numbers_decide_and_nobody_is_lost_or_merged(tmp_path):
    roster = written(tmp_path / "canvas.csv", CANVAS)
    place = tmp_path / "class"
    for name in ("muelleranna_1006", "muelleranna_LATE_1007", "other_1001", "muelleranna_1009", "anon_x1"):
        put(place, f"{name}_5000_03_masking.ipynb", name.encode())
    found, said = students(place, roster)
    assert found == {
        "Mueller, Anna_1006": b"muelleranna_1006",
        "Mueller, Anna_1007": b"muelleranna_LATE_1007",
        "Smith, Alice_1001": b"other_1001",  # who has another name now
        "Zoë, Ünal_1002": None,  # enrolled, and nothing was handed in
        "muelleranna_1009": b"muelleranna_1009",  # not enrolled, and no one of the same name
        "anon_x1": b"anon_x1",
    }
    assert [line.split(" is graded")[0] for line in said] == ["anon_x1", "muelleranna_1009"]


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("Alice Smith", "Smith, Alice_1001"),
        ("smith alice", "Smith, Alice_1001"),
        ("ALICE_SMITH", "Smith, Alice_1001"),
        ("asmith", "Smith, Alice_1001"),
        ("1001", "Smith, Alice_1001"),
        ("lab3-asmith", "Smith, Alice_1001"),
        ("U\u0308nal Zoe\u0308", "Zoë, Ünal_1002"),  # as macOS writes it
        ("Anna Mueller", None),  # one of two
        ("am7", "Mueller, Anna_1007"),
        ("Alice Smithers", None),
        ("_", None),
    ],
)
def test_a_folder_is_whose_name_number_or_login_it_has(tmp_path, name, who):
    roster = written(tmp_path / "canvas.csv", CANVAS)
    put(tmp_path / "class", f"{name}/03_masking.ipynb", b"mine")
    found, said = students(tmp_path / "class", roster)
    assert [student for student, content in found.items() if content] == [who or name] and bool(said) == (who is None)
    assert len(found) == 4 + (who is None)


def test_moodle_and_gradescope(tmp_path):
    worksheet = written(tmp_path / "worksheet.csv", WORKSHEET)
    put(tmp_path / "moodle", "Anna Mueller_20007_assignsubmission_file_/03_masking.ipynb", b"7")
    assert students(tmp_path / "moodle", worksheet)[0] == {
        "Alice Smith_alice@example.edu": None,
        "Anna Mueller_anna@example.edu": None,
        "Anna Mueller_anna2@example.edu": b"7",
    }
    participants = written(tmp_path / "participants.csv", "First name,Last name,Email address\nAnna,Mueller,anna2@x\n")
    assert students(tmp_path / "moodle", participants)[0] == {"Anna Mueller_anna2@x": b"7"}  # by name: no numbers there
    text = "submission_90000:\n  :submitters:\n  - :name: A. M.\n    :sid: 'S7'\n"
    put(tmp_path / "scope", "submission_metadata.yml", text.encode())
    put(tmp_path / "scope", "submission_90000/03_masking.ipynb", b"8")
    assert students(tmp_path / "scope", written(tmp_path / "c.csv", CANVAS))[0]["Mueller, Anna_1007"] == b"8"


def test_a_worksheet_of_another_assignment_of_moodles_tells_by_name(tmp_path):
    for name in ("Anna Mueller_30007", "Alice Smith_30001", "Bob Lee_30002"):
        put(tmp_path / "class", f"{name}_assignsubmission_file_/03_masking.ipynb", name.encode())
    found, said = students(tmp_path / "class", written(tmp_path / "worksheet.csv", WORKSHEET))
    assert {student: content for student, content in found.items() if content} == {
        "Alice Smith_alice@example.edu": b"Alice Smith_30001",
        "Anna Mueller_30007": b"Anna Mueller_30007",  # one of two
        "Bob Lee_30002": b"Bob Lee_30002",
    }
    assert [line.split(" is graded")[0] for line in said] == ["Anna Mueller_30007", "Bob Lee_30002"]


# What platforms import


def lines_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def test_canvas_finds_its_students_and_its_assignment_again(pretend, tmp_path):
    out, place = tmp_path / "out", tmp_path / "canvas"
    put(place, "muelleranna_1007_5000_03_masking.ipynb", b"7")
    put(place, "smithalice_1001_5001_03_masking.ipynb", b"8")
    put(place, "zoeunal_1002_5002_03_masking.ipynb", b"9")
    put(place, "guest_1111_5003_03_masking.ipynb", b"3")
    roster = written(tmp_path / "roster.csv", CANVAS)
    marks = marks_file(tmp_path, "asmith,masking,sample_masks,2,", "Ünal Zoë,masking,why_overlap,1,")
    arguments = "--out", out, "--lesson", "masking", "--roster", roster, "--marks", marks
    code, said = run(place, *arguments, output=tmp_path / "said")
    assert code == 0 and "guest_1111 is graded, and is nobody of the roster" in said
    assert (
        "03 Masking (71) is worth 100.0 points in Canvas, and 25 here" in said
        and "marks.csv" not in said.split("policy")[0]
    )
    assert lines_of(out / "canvas.csv") == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "03 Masking (71)"],
        ["Points Possible", "", "", "", "", "100.0"],
        ["Mueller, Anna", "1006", "S6", "am6", "A", "0"],
        ["Mueller, Anna", "1007", "S7", "am7", "B", "7"],
        ["Smith, Alice", "1001", "S1", "asmith", "A", "10"],
        ["Zoë, Ünal", "1002", "S2", "zue", "A", "10"],
    ]
    assert table(out)["guest_1111", "masking"]["points"] == "3"
    assert table(out)["Mueller, Anna_1006", "masking"]["status"] == "missing"
    before = (out / "canvas.csv").read_bytes()
    assert run(place, "--out", out, output=tmp_path / "said")[0] == 0  # the roster is remembered
    assert (out / "canvas.csv").read_bytes() == before
    assert lines_of(out / "changes.csv")[1:] == []


def moodles_reading(member: str) -> tuple[str, str] | None:
    """Whose a feedback file is, and what it is called, as Moodle reads it: importziplib.php, by hand."""
    _, participant, kind, plugin, file = member.split("_", 4)
    return (participant, file) if participant.isdigit() and (kind, plugin) == ("assignsubmission", "file") else None


@pytest.mark.parametrize("with_roster", [False, True])
def test_moodle_gets_grades_and_feedback_back(pretend, tmp_path, with_roster):
    out, place = tmp_path / "out", tmp_path / "moodle"
    put(place, "Anna Mueller_20007_assignsubmission_file_/03_masking.ipynb", b"7")
    put(place, "Alice Smith_20001_assignsubmission_file_/03_masking.ipynb", b"2")
    more = ("--roster", written(tmp_path / "roster.csv", WORKSHEET)) if with_roster else ()
    assert run(place, "--out", out, "--lesson", "masking", *more, output=tmp_path / "said")[0] == 0
    header, *lines = lines_of(out / "moodle/masking.csv")
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(header)
    grades = [dict(zip(header, line, strict=True)) for line in lines]
    assert {line["Identifier"]: line["Grade"] for line in grades} == {
        "Participant 20001": "2",
        "Participant 20007": "7",
    }
    names = {"20007": "Anna Mueller_anna2@example.edu", "20001": "Alice Smith_alice@example.edu"}
    names = names if with_roster else {"20007": "Anna Mueller_20007", "20001": "Alice Smith_20001"}
    with zipfile.ZipFile(out / "moodle/masking.zip") as archive:
        found = {moodles_reading(name): archive.read(name).decode() for name in archive.namelist()}
    assert set(found) == {("20001", "masking.html"), ("20007", "masking.html")}
    assert all(names[participant] in page for (participant, _), page in found.items())


def test_nbgraders_gradebook_keeps_its_own_names(pretend, tmp_path):
    roster = written(tmp_path / "roster.csv", "name,id,login\nAda Lovelace,17,student3\n")
    url = f"sqlite:///{tmp_path}/gradebook.db"
    arguments = "--lesson", "masking", "--roster", roster, "--gradebook", url
    code, said = run(pretend, "--out", tmp_path / "out", *arguments, output=tmp_path / "said")
    assert code == 0 and said.count("is nobody of the roster") == 8
    assert table(tmp_path / "out")["Ada Lovelace_17", "masking"]["points"] == "3"
    from nbgrader.api import Gradebook

    with Gradebook(url, "build-i-jepa") as gradebook:
        names = {submission.student.id for submission in gradebook.assignment_submissions("03_masking")}
        assert names == {f"student{number}" for number in range(9)}
        assert gradebook.find_submission("03_masking", "student3").score == 3


def test_other_platforms_get_no_files_of_moodle(pretend, tmp_path):
    assert run(pretend, "--out", tmp_path / "out", "--lesson", "masking", output=tmp_path / "said")[0] == 0
    assert list((tmp_path / "out/moodle").iterdir()) == []
