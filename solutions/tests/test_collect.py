"""What a class handed in becomes one submission for each student and lesson: which layout, which file, and when."""

import os

import pytest

from checks.grader.collect import CollectError, collect
from lessons import LESSONS
from solutions.tests.helpers.class_folders import content, one, put, submissions, zipped

NAMES = {  # in the file system: in the record
    **{name: name for name in ("alice", "bob, o'neil", 'say "hi"', "new\nline", "évé 学生", "=1+1", "x" * 200)},
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
}


# Which layout


@pytest.mark.parametrize("folder", ["03_masking", "masking"])
@pytest.mark.parametrize("file", ["03_masking.ipynb", "masking.ipynb"])
def test_nbgraders_layout(tmp_path, folder, file):
    put(tmp_path, f"alice/{folder}/{file}")
    put(tmp_path, "bob/02_vision_transformer/02_vision_transformer.ipynb")
    assert submissions(tmp_path, "vision_transformer", "masking") == {
        ("alice", "masking"): (None, file, ""),
        ("alice", "vision_transformer"): ("missing", None, "no notebook was handed in."),
        ("bob", "masking"): ("missing", None, "no notebook was handed in."),
        ("bob", "vision_transformer"): (None, "02_vision_transformer.ipynb", ""),
    }


def test_every_student_has_a_row_for_every_lesson(tmp_path):
    (tmp_path / "empty").mkdir()
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    rows = submissions(tmp_path, *LESSONS)
    assert set(rows) == {(student, lesson) for student in ("alice", "empty") for lesson in LESSONS}
    assert [place for place, row in rows.items() if row[0] != "missing"] == [("alice", "masking")]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_students_name_is_that_of_the_folder_as_it_stands(tmp_path, name):
    put(tmp_path, f"{name}/03_masking/03_masking.ipynb", b"mine")
    [(student, _)] = submissions(tmp_path, "masking")
    assert student == NAMES[name]
    student.encode()  # any file can hold it
    assert content(tmp_path, student) == b"mine"


def test_no_two_students_become_one(tmp_path):
    """Bytes that are no UTF-8 are shown as escapes, which may be another student's name."""
    for number, name in enumerate((b"zo\xeb", rb"zo\xeb", rb"zo\xeb (2)")):
        put(tmp_path, os.fsdecode(name) + "/03_masking/03_masking.py", f"number = {number}\n".encode())
    found = {s.student: s.entry.read() for s in collect(tmp_path, ["masking"]).submissions(["masking"])}
    assert found[r"zo\xeb"] == b"number = 1\n" and found[r"zo\xeb (2)"] == b"number = 2\n"
    assert found[r"zo\xeb (3)"] == b"number = 0\n" and len(found) == 3


def test_hidden_folders_and_other_files_are_left_aside_and_named(tmp_path):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    put(tmp_path, "alice/03_masking/.ipynb_checkpoints/03_masking.ipynb")
    put(tmp_path, "alice/.git/config")
    put(tmp_path, ".cache/03_masking/03_masking.ipynb")
    put(tmp_path, "__MACOSX/alice/03_masking/._03_masking.ipynb")
    put(tmp_path, "roster.csv")
    put(tmp_path, "alice_masking.ipynb")
    found = collect(tmp_path, ["masking"])
    assert set(found.students) == {"alice"}
    assert one(tmp_path) == (None, "03_masking.ipynb", "")
    for name in (".cache", "__MACOSX", "roster.csv", "alice_masking.ipynb"):
        assert sum(line.startswith(f"{name}: ") for line in found.ignored) == 1


def test_flat_files(tmp_path):
    put(tmp_path, "alice_03_masking.ipynb", b"1")
    put(tmp_path, "alice_teacher (final).ipynb", b"2")
    put(tmp_path, "bob o'neil_Masking_v2.ipynb", b"3")
    put(tmp_path, "notes.ipynb")
    put(tmp_path, "carol_homework.ipynb")
    rows = submissions(tmp_path, "masking", "teacher")
    assert {place: row[1:] for place, row in rows.items() if not row[0]} == {
        ("alice", "masking"): ("alice_03_masking.ipynb", ""),
        ("alice", "teacher"): ("alice_teacher (final).ipynb", ""),
        ("bob o'neil", "masking"): ("bob o'neil_Masking_v2.ipynb", ""),
    }
    ignored = collect(tmp_path, ["masking", "teacher"]).ignored
    assert sorted(line.partition(":")[0] for line in ignored) == ["carol_homework.ipynb", "notes.ipynb"]
    assert one(tmp_path, "carol") == (None, "carol_homework.ipynb", "")  # only one lesson is graded


def test_a_students_own_folder_is_not_a_class(tmp_path):
    put(tmp_path, "03_masking.ipynb")
    with pytest.raises(CollectError, match=r"no submission .*03_masking\.ipynb"):
        collect(tmp_path, list(LESSONS))


def test_the_zip_of_canvas(tmp_path):
    names = ("doejane_LATE_12345_67890_03_masking-1.ipynb", "roejohn_23456_67891_03_masking.ipynb")
    place = zipped(tmp_path / "canvas.zip", {name: name.encode() for name in names})
    assert submissions(place, "masking") == {
        ("doejane_12345", "masking"): (None, "03_masking-1.ipynb", ""),
        ("roejohn_23456", "masking"): (None, "03_masking.ipynb", ""),
    }
    assert content(place, "doejane_12345") == names[0].encode()


def test_the_zip_of_moodle(tmp_path):
    members = {
        "Jane Doe_1234567_assignsubmission_file_/03_masking.ipynb": b"jane",
        "Zoë, jr._1234568_assignsubmission_file_/03_masking (1).ipynb": b"zoe",
        "No One_1234569_assignsubmission_file_/": b"",
    }
    place = zipped(tmp_path / "moodle.zip", members)
    jane, zoe, no_one = (name.partition("_assign")[0] for name in members)
    assert submissions(place, "masking", "teacher") == {
        (jane, "masking"): (None, "03_masking.ipynb", ""),
        (jane, "teacher"): ("missing", None, "no notebook was handed in."),
        (zoe, "masking"): (
            None,
            "03_masking (1).ipynb",
            " 03_masking (1).ipynb was graded: there is no 03_masking.ipynb.",
        ),
        (zoe, "teacher"): ("missing", None, "no notebook was handed in."),
        (no_one, "masking"): ("missing", None, "no notebook was handed in."),
        (no_one, "teacher"): ("missing", None, "no notebook was handed in."),
    }
    assert content(place, zoe) == b"zoe"


def test_moodles_other_zip_is_flat(tmp_path):
    place = zipped(tmp_path / "moodle.zip", {"Jane Doe_1234567_assignsubmission_file_03_masking.ipynb": b"jane"})
    assert content(place, "Jane Doe_1234567") == b"jane"


@pytest.mark.parametrize(
    "inner", ["alice/03_masking/03_masking.ipynb", "alice/03_masking.ipynb", "alice_masking.ipynb"]
)
@pytest.mark.parametrize("wrapper", ["", "submissions 2026/"])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_zip_may_have_one_folder_around_everything(tmp_path, inner, wrapper, separator):
    members = {
        f"{wrapper}{inner}".replace("/", separator): b"mine",
        f"__MACOSX/{wrapper}._alice": b"",
        f"{wrapper}.DS_Store": b"",
        "../outside.ipynb": b"",
    }
    place = zipped(tmp_path / "class.zip", members)
    assert [student for student, _ in submissions(place, "masking")] == ["alice"]
    assert content(place) == b"mine"


def test_a_zip_of_one_student_keeps_the_student(tmp_path):
    members = {"alice/03_masking.ipynb": b"", "alice/data/photo.png": b"", "alice/04_teacher/04_teacher.ipynb": b""}
    rows = submissions(zipped(tmp_path / "class.zip", members), "masking", "teacher")
    assert [row[0] for row in rows.values()] == [None, None]
    assert {student for student, _ in rows} == {"alice"}


# Which file


def test_the_only_other_notebook_is_graded_and_the_report_says_so(tmp_path):
    put(tmp_path, "alice/03_masking/my masks.ipynb", b"mine")
    put(tmp_path, "alice/03_masking/helper.py")
    assert one(tmp_path) == (None, "my masks.ipynb", " my masks.ipynb was graded: there is no 03_masking.ipynb.")
    assert content(tmp_path) == b"mine"


def test_the_lessons_own_name_goes_first(tmp_path):
    for name in ("03_masking.ipynb", "masking.ipynb", "03_masking-Copy1.ipynb", "03_masking.py"):
        put(tmp_path, f"alice/03_masking/{name}", name.encode())
    put(tmp_path, "alice/03_masking.ipynb", b"beside the folder")
    assert content(tmp_path) == b"03_masking.ipynb"


def test_several_other_notebooks_are_named_and_none_is_graded(tmp_path):
    for name in ("b.ipynb", "a.ipynb", "c.py"):
        put(tmp_path, f"alice/03_masking/{name}")
    assert one(tmp_path) == ("missing", None, "several files could be meant, so none was graded: a.ipynb, b.ipynb.")


def test_the_names_of_many_notebooks_are_not_all_said(tmp_path):
    members = {f"alice/03_masking/{number:04}{'x' * 200}.ipynb": b"" for number in range(500)}
    status, _, reason = one(zipped(tmp_path / "class.zip", members))
    assert status == "missing" and "495 more" in reason and len(reason) < 1500


def test_the_script_counts_if_there_is_no_notebook(tmp_path):
    put(tmp_path, "alice/03_masking/03_masking.py", b"script")
    put(tmp_path, "alice/03_masking/timestamp.txt", b"2026-11-01 23:10:00 UTC")
    put(tmp_path, "bob/03_masking/masks.py", b"script")
    assert one(tmp_path) == (None, "03_masking.py", "")
    assert one(tmp_path, "bob")[1:] == ("masks.py", " masks.py was graded: there is no 03_masking.py.")
    put(tmp_path, "alice/03_masking/mine.ipynb")
    assert one(tmp_path)[1] == "mine.ipynb"


def test_a_file_whose_lesson_is_not_known_is_named(tmp_path):
    put(tmp_path, "alice/homework.ipynb")
    assert {row[0] for row in submissions(tmp_path, *LESSONS).values()} == {"missing"}
    assert collect(tmp_path, list(LESSONS)).ignored == ["alice/homework.ipynb: its name tells no lesson"]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-01 23:10:00.123456 UTC", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00 UTC\n", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01T23:10:00Z", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00+01:00", "2026-11-01T23:10:00+01:00"),
        ("2026-11-01 23:10:00", "2026-11-01T23:10:00+00:00"),
        ("yesterday", None),
        ("0001-01-01 00:00:00+12:00", None),  # before the year 1 in UTC
        ("9999-12-31 23:00:00-12:00", None),
        ("\udcff" * 10**6, None),
        (None, None),  # the date of the file is that of a copy
    ],
    ids=ascii,
)
def test_when_it_was_handed_in(tmp_path, stamp, expected):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    if stamp is not None:
        put(tmp_path, "alice/03_masking/timestamp.txt", os.fsencode(stamp))
    [submission] = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert submission.submitted == expected


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda place: None, "there is no"),
        (lambda place: place.write_text("no zip"), "neither a folder nor a zip"),
        (lambda place: place.mkdir(), "holds no submission"),
        (lambda place: put(place, ".hidden/03_masking/03_masking.ipynb"), "holds no submission"),
        (lambda place: zipped(place, {}), "holds no submission"),
    ],
    ids=["absent", "a text", "empty", "hidden", "empty zip"],
)
def test_a_place_without_submissions_is_a_sentence(tmp_path, make, why):
    make(tmp_path / "class")
    with pytest.raises(CollectError, match=why):
        collect(tmp_path / "class", ["masking"])
