"""nbgrader's formgrader in a real browser: a person reads an answer beside its rubric and gives points."""

import re
import shutil
import sqlite3
import subprocess
import sys

import nbformat
import pytest
from playwright.sync_api import expect

from solutions.release import ROOT, to_bytes
from solutions.tests.helpers.browsing import chromium, environment, jupyter
from solutions.tests.helpers.course_lessons import lesson_of_the_course

LESSON = "03_masking"
ANSWER = "The loss falls lower, since the student can copy."


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course's folder as a clone has it, with one submission autograded below build/nbgrader."""
    root = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    folder = root / "build" / "nbgrader"
    lesson = lesson_of_the_course("masking")
    answered = nbformat.from_dict(lesson.released)
    question = next(cell for cell in answered.cells if cell.source.endswith("YOUR ANSWER HERE"))
    question.source = question.source.replace("YOUR ANSWER HERE", ANSWER)
    for place, notebook in (("source", lesson.solved), ("submitted/alice", answered)):
        path = folder / place / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(to_bytes(notebook))
    for command in ("generate_assignment", "autograde"):
        subprocess.run([sys.executable, "-m", "nbgrader", command, LESSON], cwd=root, env=environment(), check=True)
    return root


@pytest.fixture(scope="module")
def server(course, tmp_path_factory):
    """A Jupyter server in the course's folder; gives its address."""
    with jupyter(tmp_path_factory.mktemp("jupyter"), cwd=course) as address:
        yield address


@pytest.fixture
def page(server):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield page


def marks(course):
    """The points of the question: by the checks, by hand, and whether a person has to look; from the database."""
    with sqlite3.connect(course / "build" / "nbgrader" / "gradebook.db") as database:
        (row,) = database.execute(
            """SELECT auto_score, manual_score, needs_manual_grade FROM grade
            JOIN base_cell ON base_cell.id = grade.cell_id WHERE base_cell.name = 'why_overlap'"""
        )
    return row


def test_a_question_is_marked_beside_its_rubric(page, server, course):
    assert marks(course) == (None, None, 1)
    page.goto(f"{server}/formgrader/manage_assignments?token=secret")
    expect(page.get_by_role("row").filter(has_text=LESSON)).to_be_visible()

    page.goto(f"{server}/formgrader/gradebook/{LESSON}/{LESSON}")
    page.get_by_role("link", name="Submission #1").click()
    answer = page.get_by_text(ANSWER)
    answer.scroll_into_view_if_needed()
    rubric = page.get_by_text("Rubric: 1 point for the leak")
    expect(rubric).to_be_visible()
    assert 0 < rubric.bounding_box()["y"] - answer.bounding_box()["y"] < 1000  # below the answer, on the same screen

    points = page.locator("input#why_overlap")
    points.fill("1.5")
    with page.expect_response(re.compile("/formgrader/api/grade/")) as saved:
        points.press("Tab")
    assert saved.value.ok
    assert marks(course) == (None, 1.5, 0)
