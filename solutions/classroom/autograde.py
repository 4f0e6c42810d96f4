"""The course's own steps in nbgrader's autograde and feedback; nbgrader_config.py puts them among nbgrader's.

Only check cells are run. Under autograde, `check("patchify")` grades the notebook's definitions as `checks.grade` reads
them, on the reference of earlier lessons: so points and verdicts are those of the other grader, and demos and training
cost no time. There is no sandbox in this lane.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
from pathlib import Path
from typing import TextIO

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from nbgrader.utils import is_grade
from traitlets import List

from lessons.reading.cells import DEFINED, decode, notebook_sources, read
from solutions.release import checked_exercise

KINDS = ("code", "markdown", "raw", "heading", "html")  # of cells, the last two in old formats
RUBRIC = "rubric"  # the tag of a cell that the grader sees and feedback leaves out
REGION = re.compile(r"### BEGIN SOLUTION\n(.*?)\n### END SOLUTION", re.DOTALL)


class AnyNotebook(NotebookExporter):
    """Reads what `checks.grade` reads: any encoding, an old format, cells without outputs or metadata."""

    def from_file(self, file_stream: TextIO, resources: dict | None = None, **options: object) -> tuple[str, dict]:
        path = Path(file_stream.name)
        text = decode(path, read(path))
        notebook_sources(path, text)  # raises LessonError, one sentence, for what is no notebook
        whole = json.dumps(mended(json.loads(text)), ensure_ascii=False)
        whole = whole.encode(errors="replace").decode()  # half a surrogate pair can't be written
        return self.from_notebook_node(nbformat.reads(whole, as_version=4), resources, **options)


def mended(notebook: dict) -> dict:
    """A notebook with all that nbformat asks for, and without a front-end's record of its widgets: where parts of it
    are missing, as in Colab's, generate_feedback fails."""
    notebook.setdefault("nbformat", 3 if "worksheets" in notebook else 4)
    notebook.setdefault("nbformat_minor", 0)
    notebook.setdefault("metadata", {}).pop("widgets", None)
    for sheet in notebook.get("worksheets", [notebook]):
        sheet["cells"] = [cell for cell in sheet["cells"] if cell["cell_type"] in KINDS]
        for cell in sheet["cells"]:
            cell.setdefault("metadata", {})
            if cell["cell_type"] == "code":
                cell.setdefault("outputs", [])
                if sheet is notebook:
                    cell.setdefault("execution_count", None)
    return notebook


class RestoreCells(NbGraderPreprocessor):
    """Give each graded cell of the release once, with its metadata, whatever a front-end or the learner did to it.

    A cell is known by its grade_id or, where that was dropped, by what it holds: `check("patchify")`, `def patchify`, a
    question's heading. Of several, the last one counts. A check or a question that was deleted comes back as it was
    handed out. Below each question stands its rubric, for the formgrader.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course, place = self.parent.parent.coursedir, resources["nbgrader"]
        release, source = (
            graded_cells(Path(course.format_path(folder, ".", place["assignment"]), f"{place['notebook']}.ipynb"))
            for folder in (course.release_directory, course.source_directory)
        )
        found: dict[str, NotebookNode] = {}
        for cell in reversed(nb.cells):
            name = known_as(cell, release)
            cell.metadata.pop("nbgrader", None)
            if name and name not in found:
                found[name] = cell
                cell.metadata["nbgrader"] = copy.deepcopy(release[name].metadata.nbgrader)
        for name, cell in release.items():
            if is_grade(cell) and name not in found:
                found[name] = insert(nb, copy.deepcopy(cell), after=found.get(name.removeprefix("check_")))
            if REGION.search(source[name].source) and is_grade(cell):
                text = "\n\n".join(REGION.findall(source[name].source))
                rubric = nbformat.v4.new_markdown_cell(f"**For the grader**\n\n{text}", metadata={"tags": [RUBRIC]})
                insert(nb, rubric, after=found[name])
        return nb, resources


def graded_cells(path: Path) -> dict[str, NotebookNode]:
    """The cells of a notebook that nbgrader knows, by grade_id."""
    cells = nbformat.read(path, as_version=4).cells
    return {cell.metadata.nbgrader.grade_id: cell for cell in cells if "nbgrader" in cell.metadata}


def known_as(cell: NotebookNode, release: dict[str, NotebookNode]) -> str | None:
    """Which cell of the release this one is, by grade_id."""
    names = [cell.metadata.get("nbgrader", {}).get("grade_id")]
    if cell.cell_type == "code":
        names += [f"check_{checked_exercise(cell.source)}", *reversed(DEFINED.findall(cell.source))]
    else:
        names += [name for name, ours in release.items() if same_heading(cell, ours)]
    # a solution that became prose is none: no other grader runs it
    return next((name for name in names if name in release and release[name].cell_type == cell.cell_type), None)


def same_heading(cell: NotebookNode, ours: NotebookNode) -> bool:
    return ours.cell_type == "markdown" and cell.source.strip().split("\n")[0] == ours.source.split("\n")[0]


def insert(nb: NotebookNode, cell: NotebookNode, after: NotebookNode | None) -> NotebookNode:
    """Put a cell below another one, or at the end."""
    at = next((index for index, other in enumerate(nb.cells, start=1) if other is after), len(nb.cells))
    ids = {other.get("id") for other in nb.cells}
    if nb.nbformat_minor < 5:
        del cell["id"]
    elif cell.id in ids:
        cell.id = nbformat.v4.new_code_cell().id
    nb.cells.insert(at, cell)
    return cell


class ExecuteChecks(Execute):
    """Run the check cells and no other, in a folder that holds the notebook and nothing else of the submission.

    What they print on stderr costs nothing: nbgrader gives 0 points for it.
    """

    extra_arguments = List(["--IPKernelApp.exec_lines=from checks import check"]).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict, km: object = None) -> tuple[NotebookNode, dict]:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(nb, Path(folder, f"{resources['nbgrader']['notebook']}.ipynb"))
            place = resources["metadata"] | {"path": folder}
            nb, _ = super().preprocess(nb, resources | {"metadata": place}, km)
        return nb, resources

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if cell.cell_type == "code" and is_grade(cell):
            cell, resources = super().preprocess_cell(cell, resources, index)
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.name = "stdout"
        return cell, resources


class RemoveRubric(NbGraderPreprocessor):
    """Feedback shows no model answer and no rubric."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        nb.cells = [cell for cell in nb.cells if RUBRIC not in cell.metadata.get("tags", [])]
        return nb, resources
