"""The course's own lessons as the release builds them, and a learner's right answers in them."""

import copy
import re

from nbformat import NotebookNode

from checks.tool.exercise import catalogue
from solutions.release import ROOT, Lesson, build


def lesson_of_the_course(name: str) -> Lesson:
    """A lesson, solved and released, from its source."""
    return build(name, (ROOT / "solutions" / f"{name}.py").read_text(encoding="utf-8"), catalogue()[name])


def graded(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell that nbgrader knows by this name."""
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def solve(notebook: NotebookNode, solved: NotebookNode, *exercises: str) -> NotebookNode:
    """The released notebook with the reference's solution in these exercises."""
    notebook = copy.deepcopy(notebook)
    for name in exercises:
        graded(notebook, name).source = re.sub(r"\n *### \w+ SOLUTION", "", graded(solved, name).source)
    return notebook
