"""The grader's points in nbgrader's gradebook, looked at with sqlite3 and with nbgrader's own export."""

import csv
import sqlite3
from dataclasses import replace

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.plugins import CsvExportPlugin

from checks.grader import gradebook as module
from checks.grader.gradebook import GradebookError, write
from checks.grader.judging.results import Status
from checks.grader.settled import Question, SettledExercise, SettledRow
from checks.tool.exercise import catalogue
from lessons.reading.cells import digest
from solutions.release import notebook_path, to_bytes
from solutions.tests.helpers.course_lessons import graded, lesson_of_the_course

NAMES = ("alice", "Ada, née O'Neil 学生", "=1+1", "x" * 200)


def row(student, status="graded", lesson="masking", submitted="2026-11-01T23:10:00+02:00", deducted=0, **points):
    """A settled row, with the facts that matter here; exercises that aren't named have no points."""
    exercises = {
        name: SettledExercise(Status(status), points.get(name, 0), points.get(name, 0), most, "", (), False, "")
        for name, most in catalogue()[lesson].items()
    }
    earned = None if status == "ungraded" else sum(exercise.points for exercise in exercises.values()) - deducted
    return SettledRow(
        student=student,
        lesson=lesson,
        status=Status(status),
        points=earned,
        max_points=sum(catalogue()[lesson].values()),
        reason="",
        exercises=exercises,
        questions={},
        notes=(),
        submitted=submitted,
        source="",
        recorded=submitted,
        key="",
        origin="",
    )


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A gradebook that knows lesson 3 and no student."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    write(f"sqlite:///{path}", [row("first", sample_block=1)])
    with Gradebook(f"sqlite:///{path}", "build-i-jepa") as gradebook:
        gradebook.remove_student("first")
    return path.read_bytes()


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A gradebook that knows nothing: nbgrader takes its time to make one."""
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    write(f"sqlite:///{path}", [])
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


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A folder of lessons in which lesson 3 lies as it was released, in the place of the course's."""
    path = notebook_path(tmp_path / "lessons", "masking")
    path.parent.mkdir(parents=True)
    path.write_bytes(to_bytes(lesson_of_the_course("masking").released))
    monkeypatch.setattr(module, "LESSONS", tmp_path / "lessons")
    return path


def edit(path, change):
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)
    return notebook


def in_other_words(notebook):
    """Another release of the lesson: its first exercise's text differs, and its own digest says so."""
    graded(notebook, "sample_block_size").source += "\n# in other words"
    notebook.metadata.course.digest = digest(notebook)


def only_run(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="hi")], 3


@pytest.mark.parametrize("change", [in_other_words, only_run])
def test_a_new_assignment_has_the_cells_of_the_lesson_that_lies_in_the_course(tmp_path, blank, lessons, change):
    notebook, path = edit(lessons, change), tmp_path / "gradebook.db"
    path.write_bytes(blank)
    write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    known = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    sources = dict(read(path, "SELECT name, source FROM source_cell"))
    assert sources == {name: cell.source for name, cell in known.items()}
    most = dict(read(path, "SELECT base_cell.name, max_score FROM grade_cells JOIN base_cell USING (id)"))
    assert most == {name: cell.metadata.nbgrader.points for name, cell in known.items() if cell.metadata.nbgrader.grade}
    assert grades(path)["alice", "03_masking", "check_sample_block"] == (4, None, 0)


def solve(path):
    edit(path, lambda notebook: graded(notebook, "sample_block").update(source="def sample_block():\n    return 1"))


def without_metadata(notebook):
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)


def other_points(notebook):
    graded(notebook, "check_sample_block").metadata.nbgrader.points += 1


EDITS = {
    "code": solve,
    "a cell more": lambda path: edit(path, lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("x = 1"))),
    "a cell less": lambda path: edit(path, lambda notebook: notebook.cells.pop()),
    "no metadata, as some front-ends save it": lambda path: edit(path, without_metadata),
    "other points": lambda path: edit(path, other_points),
    "the digest": lambda path: edit(path, lambda notebook: notebook.metadata.pop("course")),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "no notebook": lambda path: path.write_text("[]"),
    "latin": lambda path: path.write_bytes("é".encode("latin-1")),
    "absent": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in EDITS.items()])
def test_a_lesson_that_someone_has_edited_makes_no_assignment(tmp_path, blank, lessons, change):
    change(lessons)
    path = tmp_path / "gradebook.db"
    path.write_bytes(blank)
    with pytest.raises(GradebookError) as raised:
        write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    assert str(raised.value) == (
        f"the gradebook doesn't have 03_masking yet, and {lessons} is not as it was released: "
        "run nbgrader generate_assignment 03_masking, then this again"
    )
    for table in ("assignment", "student", "base_cell", "submitted_assignment"):
        assert read(path, f"SELECT * FROM {table}") == []


def test_an_edited_lesson_is_of_no_account_once_the_gradebook_has_the_assignment(path, lessons):
    solve(lessons)
    write(f"sqlite:///{path}", [row("alice", sample_block=4)])
    assert grades(path)["alice", "03_masking", "check_sample_block"] == (4, None, 0)


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


def test_a_question_that_was_marked_is_no_late_day(path, tmp_path):
    marked = {"why_overlap": Question(1.5, 2, "a leak"), "not_marked": Question(None, 1, "")}
    write(f"sqlite:///{path}", [replace(row("alice", sample_block=4), questions=marked, points=5.5)])
    assert exported(path, tmp_path / "grades.csv") == {"alice": (4, 4)}
    write(f"sqlite:///{path}", [replace(row("alice", sample_block=4), questions=marked, points=4.4)])  # 20 % of 5.5
    assert exported(path, tmp_path / "grades.csv") == {"alice": (4, 2.9)}


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
