"""What platforms hand over: whose each file is, when it came, and that nobody is lost or invented.

The names are those that the platforms' own source gives, or that their users have published.
"""

import io
import zipfile
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from checks.grader.collect import collect
from checks.grader.judging.results import Row, Status
from checks.grader.late import LateDays
from checks.grader.policy import Policy, lateness
from checks.grader.reports.tables import canvas
from solutions.tests.helpers import stand_in
from solutions.tests.helpers.class_folders import put, zipped
from solutions.tests.helpers.made_up_rows import made_up_class
from solutions.tests.helpers.stand_in import masking, points_of

pretend = stand_in.pretend

PEOPLE = [f"student{number:02}" for number in range(20)]


def found_in(place: Path, form: str | None = None) -> tuple[str, dict[str, bytes | None]]:
    """The form that was seen, and what each student handed in for masking."""
    found = collect(place, ["masking"], form)
    return found.form, {s.student: s.content() for s in found.submissions(["masking"])}


# each: how the n-th student's file is named, and what the student is called here
NAMED = {
    "canvas": lambda n: (f"smith{PEOPLE[n]}_{1000 + n}_{5000 + n}_03_masking-1.ipynb", f"smith{PEOPLE[n]}_{1000 + n}"),
    "canvas, late": lambda n: (f"doe_LATE_{1000 + n}_{5000 + n}_03_masking.ipynb", f"doe_{1000 + n}"),
    "canvas, anonymous": lambda n: (f"anon_a{n:02}Xy_{5000 + n}_03_masking.ipynb", f"anon_a{n:02}Xy"),
    "canvas, anonymous, late": lambda n: (f"LATE_anon_a{n:02}Xy_{5000 + n}_03_masking.ipynb", f"anon_a{n:02}Xy"),
    "moodle": lambda n: (
        f"Ann {PEOPLE[n]}_{20000 + n}_assignsubmission_file_/03_masking.ipynb",
        f"Ann {PEOPLE[n]}_{20000 + n}",
    ),
    "moodle, blind": lambda n: (
        f"Participant {n}_{20000 + n}_assignsubmission_file/my work on masking.ipynb",
        f"Participant {n}_{20000 + n}",
    ),
    "moodle, no folders": lambda n: (
        f"Ann Lee_{20000 + n}_assignsubmission_file_03_masking.ipynb",
        f"Ann Lee_{20000 + n}",
    ),
    "blackboard": lambda n: (
        f"Home work_3_{PEOPLE[n]}_attempt_2026-11-01-21-30-{n:02}_03_masking.ipynb",
        PEOPLE[n],
    ),
    "brightspace": lambda n: (f"{100 + n}-9 - Jane Doe - Nov 1, 2026 930 PM - 03_masking.ipynb", f"Jane Doe_{100 + n}"),
    "brightspace, folders": lambda n: (
        f"{100 + n}-9 - Jane Doe - Nov 1, 2026 1130 PM/03_masking.ipynb",
        f"Jane Doe_{100 + n}",
    ),
    "google": lambda n: (f"Jane {PEOPLE[n]} - 03_masking.ipynb", f"Jane {PEOPLE[n]}"),
    "gradescope": lambda n: (f"submission_{90000 + n}/03_masking.ipynb", f"submission_{90000 + n}"),
    "folders, clones": lambda n: (f"masking-{PEOPLE[n]}/lessons/03_masking/03_masking.ipynb", f"masking-{PEOPLE[n]}"),
    "folders": lambda n: (f"{PEOPLE[n]}/03_masking/03_masking.ipynb", PEOPLE[n]),
    "files": lambda n: (f"{PEOPLE[n]}_masking.ipynb", PEOPLE[n]),
}


@pytest.mark.parametrize("form", NAMED)
@pytest.mark.parametrize("packed", ["a folder", "a zip"])
def test_everybody_is_found_and_nobody_invented(tmp_path, form, packed):
    made = [NAMED[form](number) for number in range(20)]
    expected = {student: f"work {number}".encode() for number, (_, student) in enumerate(made)}
    assert len(expected) == 20
    files = {name: f"work {number}".encode() for number, (name, _) in enumerate(made)}
    place = tmp_path / "class"
    if packed == "a zip":
        place = zipped(tmp_path / "class.zip", files)
    else:
        for name, content in files.items():
            put(place, name, content)
    assert found_in(place) == (form.partition(",")[0], expected)
    assert found_in(place, form.partition(",")[0])[1] == expected


def test_what_was_typed_into_moodle_makes_no_student(tmp_path):
    for number in range(12):
        put(tmp_path, f"Ann Lee_{20000 + number}_assignsubmission_file_/03_masking.ipynb")
        put(tmp_path, f"Ann Lee_{20000 + number}_assignsubmission_onlinetext_/onlinetext.html")
    assert len(found_in(tmp_path)[1]) == 12


def test_of_attempts_the_last_one_counts_and_receipts_are_no_submissions(tmp_path):
    for hour in ("09", "21", "12"):
        put(tmp_path, f"Homework_jdoe_attempt_2026-11-01-{hour}-00-00_03_masking.ipynb", hour.encode())
        put(tmp_path, f"Homework_jdoe_attempt_2026-11-01-{hour}-00-00.txt", b"Name: Jane Doe (jdoe)")
    [submission] = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert (submission.student, submission.content()) == ("jdoe", b"21")
    assert submission.submitted == "2026-11-01T21:00:00"


METADATA = """\
submission_90000:
  :submitters:
  - :name: Alice Smith
    :sid: '123'
    :email: alice@example.edu
  :created_at: 2026-11-01 20:15:30.123456000 Z
submission_90001:
  :submitters:
  - :name: Alice Smith
    :sid: '124'
    :email: other@example.edu
  - :name: Bob
    :sid:
    :email: bob@example.edu
  :created_at: 2026-11-02 08:00:00.000000000 +01:00
submission_90002:
  :submitters: []
"""


def test_gradescope_says_who_is_behind_a_folder_and_when(tmp_path):
    put(tmp_path, "submission_metadata.yml", METADATA.encode())
    for number in range(90000, 90003):
        put(tmp_path, f"submission_{number}/03_masking.ipynb", str(number).encode())
    found = {s.student: (s.content(), s.submitted) for s in collect(tmp_path, ["masking"]).submissions(["masking"])}
    assert found == {
        "Alice Smith_123": (b"90000", "2026-11-01T20:15:30+00:00"),
        "Alice Smith_124": (b"90001", "2026-11-02T08:00:00+01:00"),
        "Bob_bob@example.edu": (b"90001", "2026-11-02T08:00:00+01:00"),
        "submission_90002": (b"90002", None),
    }


@pytest.mark.parametrize(
    "damage", [b"", b"- a", b": :", b"\xff", b"a: [" * 2000, b"!!python/object/apply:os.getcwd []"]
)
def test_damaged_metadata_loses_nobody(tmp_path, damage):
    put(tmp_path, "submission_metadata.yml", damage)
    put(tmp_path, "submission_90000/03_masking.ipynb", b"mine")
    found = collect(tmp_path, ["masking"])
    assert list(found.students) == ["submission_90000"]
    assert any(line.startswith("submission_metadata.yml: it can't be read") for line in found.ignored)


def a_zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["alice/work.zip", "smithalice_1001_5001_work.zip"])
@pytest.mark.parametrize(
    "member", ["03_masking.ipynb", "a/b/03_masking/03_masking.ipynb", "lessons/03_masking/mine.ipynb"]
)
def test_a_students_zip_is_looked_into(tmp_path, name, member):
    put(tmp_path, name, a_zip(**{member: b"mine", "__MACOSX/._03_masking.ipynb": b"", "photo.png": b""}))
    assert list(found_in(tmp_path)[1].values()) == [b"mine"]


def test_a_students_damaged_zip_is_said_and_costs_nobody_else(tmp_path):
    put(tmp_path, "alice/masking.zip", b"PK no zip")
    put(tmp_path, "bob/03_masking.ipynb", b"mine")
    alice, bob = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert bob.content() == b"mine"
    assert (alice.student, alice.status) == ("alice", Status.UNREADABLE) and "zip that can't be read" in alice.reason


def test_flat_files_beside_an_empty_folder_lose_nobody(tmp_path):
    for name in PEOPLE:
        put(tmp_path, f"{name}_masking.ipynb", name.encode())
    (tmp_path / "new folder").mkdir()
    form, found = found_in(tmp_path)
    assert form == "files" and found == {name: name.encode() for name in PEOPLE}


def test_a_lessons_name_inside_another_ones(tmp_path):
    put(tmp_path, "alice_03_masking_after_training.ipynb", b"masking")
    put(tmp_path, "bob_masking_and_training.ipynb", b"which")
    found = collect(tmp_path, ["masking", "training"])
    assert {s.student: s.lesson for s in found.submissions(["masking", "training"]) if s.content()} == {
        "alice": "masking"
    }
    assert found.ignored == ["bob_masking_and_training.ipynb: its name tells no student and lesson"]


def test_a_download_or_clone_has_no_hand_in_time(tmp_path):
    """The date of a file is that of the download: 27 days late, once, for all of a class."""
    place = zipped(tmp_path / "class.zip", {"alice/03_masking.ipynb": b""})
    put(tmp_path / "folder", "alice/03_masking/03_masking.ipynb")
    for where in (place, tmp_path / "folder"):
        assert [s.submitted for s in collect(where, ["masking"]).submissions(["masking"])] == [None]


def test_canvas_says_late_but_not_how_late(tmp_path):
    put(tmp_path, "doe_LATE_1001_5001_03_masking.ipynb")
    [submission] = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert (submission.submitted, submission.source) == (None, "late, says the platform")


def test_a_platforms_time_without_an_offset_is_in_the_courses_zone():
    from zoneinfo import ZoneInfo

    due = datetime(2026, 11, 1, 21, 0, tzinfo=timezone.utc)  # 22:00 in Berlin
    late = LateDays(deadlines={"masking": due}, penalty=Decimal(10), zone=ZoneInfo("Europe/Berlin"))
    policy = Policy(late=late)

    def deducted(submitted: str) -> Decimal:
        row = Row("alice", "masking", Status.GRADED, 20, "", {}, "x", (), submitted)
        return lateness(row, Decimal(20), policy)[0]

    assert deducted("2026-11-01T21:59:00") == 0 and deducted("2026-11-01T22:01:00") == 2


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-01 23:10:00 CET", "2026-11-01T23:10:00+01:00"),
        ("2026-11-01 23:10:00 GMT", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00.5 Europe/Berlin", "2026-11-01T23:10:00+01:00"),
        ("\ufeff2026-11-01 23:10:00 UTC", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00 EDT", None),  # not to be told from other zones of this abbreviation
    ],
)
def test_nbgraders_time_in_other_zones(tmp_path, stamp, expected):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    put(tmp_path, "alice/03_masking/timestamp.txt", stamp.encode())
    [submission] = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert submission.submitted == expected
    assert [note for note in submission.notes if "EDT" in note and "not known" in note] == submission.notes
    assert bool(submission.notes) == (expected is None)


def test_a_class_that_is_mostly_missing_is_said_loudly(pretend, tmp_path):
    for number in range(11):
        (pretend / f"empty{number}").mkdir()
    code, said = masking(pretend, tmp_path / "out")
    assert code == 1 and "11 of 20 students handed in nothing that was found" in said and "--layout" in said
    assert len(points_of(tmp_path / "out")) == 20  # all is written nevertheless


def test_the_layout_is_printed_and_can_be_forced(pretend, tmp_path):
    assert "layout: folders (9 students)" in masking(pretend, tmp_path / "out")[1]
    code, said = masking(pretend, tmp_path / "other", "--layout", "files")
    assert code == 1 and "holds no submission" in said


def test_canvas_gets_no_column_of_a_lesson_that_nobody_handed_in():
    rows = [row for row in made_up_class(5) if row.lesson in ("masking", "teacher")]
    absent = [row for row in rows if row.lesson == "masking"] + [
        type(row)(**{**vars(row), "status": Status.MISSING, "points": 0}) for row in rows if row.lesson == "teacher"
    ]
    assert "masking" in canvas(absent)[0] and "teacher" not in canvas(absent)[0]
