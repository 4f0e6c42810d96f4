"""What is folded below a question: a model answer, for who has nobody to mark theirs."""

from __future__ import annotations

import copy
import re

import nbformat
from nbformat import NotebookNode

from checks.tool.quiz import find_quiz


def with_model_answers(released: NotebookNode, solved: NotebookNode) -> NotebookNode:
    """A released notebook with a model answer below each question that a person marks."""
    answers = {cell.id: answer for cell in solved.cells if (answer := model_answer(cell))}
    notebook = copy.deepcopy(released)
    for place in reversed(range(len(notebook.cells))):
        if answer := answers.get(notebook.cells[place].id):
            notebook.cells.insert(
                place + 1, folded("A model answer, to compare with yours", answer, notebook.cells[place].id)
            )
    return notebook


def model_answer(cell: NotebookNode) -> str:
    """What stands in a question's solution region, without the rubric; "" of any other cell."""
    region = re.search(r"### BEGIN SOLUTION\n(.*?)\n### END SOLUTION", cell.source, re.DOTALL)
    return region[1].partition("\nRubric:")[0].strip() if region and cell.cell_type == "markdown" else ""


def quiz_answer(cell: NotebookNode) -> str:
    """The answer to the quiz that a cell asks, and what the wrong ones stand for; "" of any other cell."""
    match = re.fullmatch(r'check\("(\w+)", \.\.\.\)', cell.source.strip())
    quiz = find_quiz(match[1]) if match else None
    if quiz is None:
        return ""
    wrong = [f"- {option if isinstance(option, str) else f'{option:g}'}: {text}" for option, text in quiz.wrong.items()]
    return "\n".join([quiz.verdict(quiz.answer), "", "Other answers:", "", *wrong])


def folded(summary: str, text: str, above: str) -> NotebookNode:
    """A markdown cell that shows its text when somebody asks for it. above: the id of the cell that it stands below."""
    source = f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"
    return nbformat.v4.new_markdown_cell(source, id=f"{above}-answer")
