"""The grader's points in nbgrader's gradebook, looked at with sqlite3 and with nbgrader's own export."""

import csv
import sqlite3

import pytest
from nbgrader.api import Gradebook
from nbgrader.plugins import CsvExportPlugin

from checks.grader.gradebook import GradebookError, write
from checks.tool.exercise import catalogue

NAMES = ("alice", "Ada, née O'Neil 学生", "=1+1", "x" * 200)


def row(student, status="graded", lesson="masking", submitted="2026-11-01T23:10:00+02:00", deducted=0, **points):
    """A line of record.jsonl, with the keys that matter here; exercises that aren't named have no points."""
    exercises = {
        name: {"status": status, "points": points.get(name, 0), "max_points": most}
        for name, most in catalogue()[lesson].items()
    }
    total = None if status == "ungraded" else sum(exercise["points"] for exercise in exercises.values()) - deducted
    row = {"student": student, "lesson": lesson, "status": status, "points": total, "submitted": submitted}
    return row | {"exercises": exercises}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A gradebook that knows lesson 3 and no student."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    write(f"sqlite:///{path}", [row("first", sample_block=1)])
    with Gradebook(f"sqlite:///{path}", "build-i-jepa") as gradebook:
        gradebook.remove_student("first")
    return path.read_bytes()


@pytest.fixture
def path(empty, tmp_path):
    (tmp_path / "gradebook.db").write_bytes(empty)
    return tmp_path / "gradebook.db"


def read(path, query):
    with sqlite3.connect(path) as database:
        return database.execute(query).fetchall()


def grades(path):
    """{(student, assignment, cell): (points of the checks, points by hand, whether a person has to look)}."""
    found = read(
        path,
        """SELECT submission.student_id, assignment.name, cell.name, auto_score, manual_score, needs_manual_grade
        FROM grade JOIN submitted_notebook AS notebook ON grade.notebook_id = notebook.id
        JOIN submitted_assignment AS submission ON notebook.assignment_id = submission.id
        JOIN assignment ON assignment.id = submission.assignment_id
        JOIN base_cell AS cell ON cell.id = grade.cell_id""",
    )
    return {key[:3]: key[3:] for key in found}


def exported(path, to):
    with Gradebook(f"sqlite:///{path}", "build-i-jepa") as gradebook:
        CsvExportPlugin(to=str(to)).export(gradebook)
    with to.open(encoding="utf-8") as file:
        return {line["student_id"]: (float(line["raw_score"]), float(line["score"])) for line in csv.DictReader(file)}


def test_a_new_gradebook_gets_assignment_student_and_points(tmp_path):
    path = tmp_path / "gradebook.db"
    write(f"sqlite:///{path}", [row("alice", sample_block_size=6, sample_block=1)])
    assert grades(path) == {
        ("alice", "03_masking", "check_sample_block_size"): (6, None, 0),
        ("alice", "03_masking", "check_sample_block"): (1, None, 0),
        ("alice", "03_masking", "check_sample_masks"): (0, None, 0),
        ("alice", "03_masking", "why_overlap"): (None, None, 1),
    }
    most = dict(read(path, "SELECT base_cell.name, max_score FROM grade_cells JOIN base_cell USING (id)"))
    assert most == {"check_sample_block_size": 6, "check_sample_block": 4, "check_sample_masks": 13, "why_overlap": 2}
    assert read(path, "SELECT timestamp FROM submitted_assignment") == [("2026-11-01 21:10:00.000000",)]  # UTC
    assert exported(path, tmp_path / "grades.csv") == {"alice": (7, 7)}


def test_names_stand_as_they_are(path):
    write(f"sqlite:///{path}", [row(name, sample_block=index) for index, name in enumerate(NAMES)])
    assert {name for (name,) in read(path, "SELECT id FROM student")} == set(NAMES)
    found = grades(path)
    assert [found[name, "03_masking", "check_sample_block"][0] for name in NAMES] == [0, 1, 2, 3]


def test_a_name_that_no_database_holds_is_told_and_stops_nobody(path):
    with pytest.raises(GradebookError, match=r"names '\\udcff\.\.': rename .* \(all other students are"):
        write(f"sqlite:///{path}", [row("\udcff..", sample_block=1), row("zoe", sample_block=4)])
    assert grades(path)["zoe", "03_masking", "check_sample_block"][0] == 4


def test_twice_is_as_once_and_a_regrade_changes_points(path):
    rows = [row("alice", sample_block=4), row("bob", sample_block=1)]
    write(f"sqlite:///{path}", rows)
    before = list(sqlite3.connect(path).iterdump())
    write(f"sqlite:///{path}", rows)
    assert list(sqlite3.connect(path).iterdump()) == before
    write(f"sqlite:///{path}", [row("alice", sample_block=3)])
    found = grades(path)
    assert found["alice", "03_masking", "check_sample_block"] == (3, None, 0)
    assert found["bob", "03_masking", "check_sample_block"] == (1, None, 0)


def test_what_a_person_gave_stays(path):
    write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    place = ("03_masking", "03_masking", "alice")
    with Gradebook(f"sqlite:///{path}", "build-i-jepa") as gradebook:
        question = gradebook.find_grade("why_overlap", *place)
        question.manual_score, question.needs_manual_grade = 1.5, False
        gradebook.find_comment("why_overlap", *place).manual_comment = "Half a point: no test."
        gradebook.find_grade("check_sample_block", *place).manual_score = 2
        gradebook.db.commit()
    write(f"sqlite:///{path}", [row("alice", sample_block=3)])
    found = grades(path)
    assert found["alice", "03_masking", "why_overlap"] == (None, 1.5, 0)
    assert found["alice", "03_masking", "check_sample_block"] == (3, 2, 1)  # to be looked at again
    assert ("Half a point: no test.",) in read(path, "SELECT manual_comment FROM comment")


def test_no_points_are_no_zero(path):
    write(f"sqlite:///{path}", [row("alice", sample_block=4), row("bob", sample_block=4)])
    rows = [row("alice", "ungraded"), row("bob", "missing"), row("carol", "ungraded"), row("dan", "missing")]
    write(f"sqlite:///{path}", rows)
    assert {name for (name,) in read(path, "SELECT id FROM student")} == {"alice", "bob"}
    assert all(grades(path)[name, "03_masking", "check_sample_block"] == (4, None, 0) for name in ("alice", "bob"))


def test_a_failed_submission_has_its_points(path):
    write(f"sqlite:///{path}", [row("eve", "unreadable"), row("mallory", "timeout", sample_block=4)])
    found = grades(path)
    assert found["eve", "03_masking", "check_sample_block"] == (0, None, 0)
    assert found["mallory", "03_masking", "check_sample_block"] == (4, None, 0)


def test_late_days_are_deducted_in_the_export(path, tmp_path):
    write(
        f"sqlite:///{path}", [row("alice", sample_block=4, sample_masks=6, deducted=1.25), row("bob", sample_block=4)]
    )
    assert exported(path, tmp_path / "grades.csv") == {"alice": (10, 8.75), "bob": (4, 4)}
    write(f"sqlite:///{path}", [row("alice", sample_block=4, sample_masks=6)])  # an extension was granted
    assert exported(path, tmp_path / "grades.csv")["alice"] == (10, 10)


def test_another_version_of_the_course_is_refused(path):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE grade_cells SET max_score = 5 WHERE max_score = 4")
    with pytest.raises(GradebookError, match=r"sample_block of 03_masking is worth 4 points now\): run nbgrader"):
        write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    assert grades(path) == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gradebook.db", "'gradebook.db' is no address of a database: write sqlite:///gradebook.db"),
        ("nosuch://x", "'nosuch://x' is no address of a database"),
        ("sqlite:////no/such/folder/gradebook.db", "can't be read or written: unable to open database file"),
        (f"sqlite:///{__file__}", "can't be read or written: file is not a database"),
    ],
)
def test_a_bad_address_is_told_in_a_sentence(url, said):
    with pytest.raises(GradebookError) as raised:
        write(url, [row("alice", sample_block=4)])
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_locked_gradebook_is_told_in_a_sentence(path, capfd, caplog):
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(GradebookError, match=r"^the gradebook can't be read or written: .*database is locked"):
        write(f"sqlite:///{path}?timeout=0.1", [row("alice", sample_block=4)])
    lock.execute("ROLLBACK")
    assert "Traceback" not in capfd.readouterr().err + caplog.text
    write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    assert grades(path)["alice", "03_masking", "check_sample_block"][0] == 4
