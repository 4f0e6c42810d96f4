"""nbgrader from generate_assignment to export, by its own commands, on submissions whose points are known."""

import copy
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from solutions.release import ROOT
from solutions.tests.helpers.course_lessons import graded, solve
from solutions.tests.helpers.nbgrading import grades, nbgrader, release_into

LESSON = "03_masking"
EXERCISES = ("sample_block_size", "sample_block", "sample_masks")
ANSWER = "The loss falls lower, since the student can copy."


def noisy(notebook):
    """All right, with an answer; but demos that fail or never end, and definitions that write on stderr."""
    graded(notebook, "why_overlap").source += f"\n\n{ANSWER}"
    demo = 'import sys\n\nprint("loud", file=sys.stderr)\nraise RuntimeError("a demo")'
    helper = "import os\n\nLOUD = os.write(2, b'raw\\n')\n\n\ndef loud():\n    return LOUD"
    notebook.cells[2:2] = [new_code_cell(demo), new_code_cell("while True:\n    pass"), new_code_cell(helper)]
    block = graded(notebook, "sample_block")
    block.source = block.source.replace(
        "    height, width", '    loud()\n    os.write(2, b"raw")\n    height, width', 1
    )
    assert "loud()" in block.source


def borders_missed(notebook):
    """sample_block without its + 1; sample_block_size and sample_masks are right."""
    block = graded(notebook, "sample_block")
    block.source = block.source.replace("height + 1", "height").replace("width + 1", "width")


def mangled(notebook):
    """All right, after a front-end and a learner: metadata and ids dropped, checks edited, deleted and doubled."""
    graded(notebook, "why_overlap").source += f"\n\n{ANSWER}"
    check = graded(notebook, "check_sample_masks")
    notebook.cells.append(copy.deepcopy(check))
    notebook.cells.remove(graded(notebook, "check_sample_block"))
    graded(notebook, "check_sample_block_size").source = "100.0"
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") not in ("check_sample_block_size", "check_sample_masks"):
            cell.metadata = {}
        cell.pop("id")
    notebook.nbformat_minor = 4


def as_text(notebook, **changed) -> str:
    return json.dumps(json.loads(nbformat.writes(notebook)) | changed)


def bare(notebook) -> bytes:
    """All right, with a byte order mark and cells without outputs, metadata and ids; one is of an unknown kind, one
    holds half a surrogate pair."""
    kept = [{name: cell[name] for name in ("cell_type", "source")} for cell in notebook.cells]
    odd = [{"cell_type": "sketch"}, {"cell_type": "markdown", "source": "half of one: \ud83d"}]
    return (
        b"\xef\xbb\xbf" + json.dumps({"cells": kept + odd, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()
    )


def from_colab(notebook) -> bytes:
    """All right, in UTF-16, with Colab's record of widgets, which lacks a part."""
    layout = {"model_module": "@jupyter-widgets/base", "model_name": "LayoutModel", "state": {}}
    widgets = {"application/vnd.jupyter.widget-state+json": {"a1b2": layout}}
    return as_text(notebook, metadata={"colab": {"provenance": []}, "widgets": widgets}).encode("utf-16")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder of nbgrader's in which the class has been graded, and what autograde said."""
    folder = tmp_path_factory.mktemp("nbgrader")
    lesson = release_into(folder, "masking")
    released = nbformat.read(folder / "release" / LESSON / f"{LESSON}.ipynb", as_version=4)
    right = solve(released, lesson.solved, *EXERCISES)
    for student, notebook, change in (
        ("noisy right", right, noisy),
        ("Ada, née O'Neil", right, borders_missed),
        ("mangled", right, mangled),
        ("stub", released, None),
    ):
        notebook = copy.deepcopy(notebook)
        if change:
            change(notebook)
        path = folder / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    for student, written in (("bare", bare(right)), ("from Colab", from_colab(right))):
        path = folder / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(written)
    planted = folder / "submitted" / "noisy right" / LESSON / "checks"
    planted.mkdir()
    (planted / "__init__.py").write_text("def check(name):\n    return 1.0\n")
    broken = folder / "submitted" / "broken" / LESSON / f"{LESSON}.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("{not json")
    return folder, nbgrader(folder, "autograde", LESSON)


@pytest.mark.parametrize(
    ("student", "size", "block", "masks"),
    [
        ("noisy right", 6, 4, 13),
        ("mangled", 6, 4, 13),
        ("Ada, née O'Neil", 6, 1, 13),  # one point of four: equal generators give equal blocks
        ("stub", 0, 0, 0),
        ("bare", 6, 4, 13),
        ("from Colab", 6, 4, 13),
    ],
)
def test_points_are_those_of_the_checks(course, student, size, block, masks):
    found = grades(course[0])
    for name, points in zip(EXERCISES, (size, block, masks), strict=True):
        assert found[student, f"check_{name}"] == (points, False)


def test_a_question_waits_for_a_person_unless_nothing_was_written(course):
    found = grades(course[0])
    assert found["noisy right", "why_overlap"] == found["mangled", "why_overlap"] == (None, True)
    assert found["stub", "why_overlap"] == (0, False)


def test_a_damaged_notebook_is_named_and_stops_nobody(course):
    folder, done = course
    assert done.returncode == 1
    assert f"There was an error processing assignment '{LESSON}' for student 'broken'" in done.stderr
    assert done.stderr.count("There was an error processing assignment '") == 1
    assert all(grades(folder)["broken", f"check_{name}"] == (None, True) for name in EXERCISES)
    assert not (folder / "autograded" / "broken").exists()


def test_only_check_cells_are_run(course):
    notebook = nbformat.read(course[0] / "autograded" / "noisy right" / LESSON / f"{LESSON}.ipynb", as_version=4)
    run = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert run == [f'check("{name}")' for name in EXERCISES]


def test_the_grader_sees_the_rubric_and_the_learner_does_not(course):
    folder, _ = course
    for student in ("noisy right", "mangled"):
        notebook = nbformat.read(folder / "autograded" / student / LESSON / f"{LESSON}.ipynb", as_version=4)
        sources = [cell.source for cell in notebook.cells]
        (answer,) = [index for index, source in enumerate(sources) if ANSWER in source]
        assert sources[answer + 1].startswith("**For the grader**")
        assert "Rubric: 1 point for the leak" in sources[answer + 1]
    done = nbgrader(folder, "generate_feedback", LESSON)
    assert done.returncode == 0, done.stderr
    assert (folder / "feedback" / "from Colab" / LESSON / f"{LESSON}.html").exists()
    page = (folder / "feedback" / "Ada, née O'Neil" / LESSON / f"{LESSON}.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(re.sub("<[^>]+>", "", page)).split())
    assert "sample_block: 1 of 4 points" in text and "A block never reaches the last row or column" in text
    assert "For the grader" not in text and "Rubric" not in text and "can answer by copying" not in text


def test_the_export_sums_up(course):
    folder, _ = course
    assert nbgrader(folder, "export", f"--to={folder}/grades.csv").returncode == 0
    lines = (folder / "grades.csv").read_text(encoding="utf-8").splitlines()
    # nbgrader quotes nothing: a comma in a name moves the columns, so they are counted from the right
    scores = {line.split(",")[3]: [float(cell) for cell in line.split(",")[-4:]] for line in lines[1:]}
    assert scores == {
        "noisy right": [23, 0, 23, 25],
        "mangled": [23, 0, 23, 25],
        "Ada": [20, 0, 20, 25],
        "stub": [0, 0, 0, 25],
        "broken": [0, 0, 0, 25],
        "bare": [23, 0, 23, 25],
        "from Colab": [23, 0, 23, 25],
    }


@pytest.fixture(scope="module")
def settings():
    code = "import json\nfrom traitlets.config import PyFileConfigLoader as Loader\n"
    code += "print(json.dumps(Loader('nbgrader_config.py').load_config()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout)


def test_nbgrader_works_below_build_only(settings):
    for folder in (settings["CourseDirectory"]["root"], settings["Exchange"]["root"]):
        assert Path(folder).is_relative_to(ROOT / "build" / "nbgrader")
    assert "build/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "student", "notebook"),
    [
        ("grace_98765_1234567_03_masking-1.ipynb", "grace", "03_masking"),
        ("Ada née_03_masking.ipynb", "Ada née", "03_masking"),
        ("noether_LATE_1_2_01_patch_embedding.ipynb", "noether", "01_patch_embedding"),
    ],
)
def test_downloads_of_a_learning_platform_are_told_apart(settings, name, student, notebook):
    pattern = settings["FileNameCollectorPlugin"]["named_regexp"]
    found = re.match(pattern, f"/course/build/nbgrader/downloaded/03_masking/extracted/{name}")
    assert (found["student_id"], found["file_id"]) == (student, notebook)
