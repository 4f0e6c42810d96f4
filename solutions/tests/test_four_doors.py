"""A notebook has the same verdicts by all doors: `pytest checks`, `check()`, the class grader and nbgrader."""

import json
import re

import pytest

from checks.tool.exercise import catalogue
from lessons import folder_name
from solutions.tests.helpers.four_doors import by_check, by_grader, by_nbgrader, by_pytest
from solutions.tests.helpers.notebooks import cells_of, notebook

FORWARD = re.compile(r"    (def forward\(self, tokens: Tensor\).*?return self\.proj\(\w+\)\n)", re.DOTALL)
BOX = {
    "a decorator that adds a method": (
        "def patch(function):\n    owner = next(iter(function.__annotations__.values()))\n"
        "    setattr(globals()[owner] if isinstance(owner, str) else owner, function.__name__, function)\n",
        "@patch\n{}",
        "",
    ),
    "a decorator that is given the class": (
        "def add_to(owner):\n    return lambda function: setattr(owner, function.__name__, function)\n",
        "@add_to(Attention)\n{}",
        "",
    ),
    "setattr": ("", "{}", 'setattr(Attention, "forward", forward)\n'),
    "a registry": (
        "METHODS = {}\n\n\ndef method(function):\n    METHODS[function.__name__] = function\n    return function\n",
        "@method\n{}",
        "",
    ),
}


def attention_in_pieces() -> dict[str, list[str]]:
    """Lesson 2, solved; Attention's forward stands in a later cell and comes into the class in some way."""
    made = {}
    for name, (helper, definition, after) in BOX.items():
        cells = cells_of("vision_transformer")
        at = next(number for number, cell in enumerate(cells) if cell.lstrip().startswith("class Attention"))
        text = re.sub(r"\n *### \w+ SOLUTION", "", cells[at])
        (forward,) = FORWARD.findall(text)
        without = FORWARD.sub("", text)
        if name == "a registry":
            without += '\n    def forward(self, tokens):\n        return METHODS["forward"](self, tokens)\n'
        added = definition.format(forward.replace("\n    ", "\n").replace("self, tokens", "self: Attention, tokens"))
        made[name] = [*cells[:at], *filter(None, [helper, without, added, after]), *cells[at + 1 :]]
    return made


def patchify_elsewhere() -> dict[str, tuple[list[str], set[str]]]:
    """Lesson 1, solved; patchify stands somewhere else -> the cells, and the exercises that are lost."""
    cells = cells_of("patch_embedding")
    at = next(number for number, cell in enumerate(cells) if cell.lstrip().startswith("def patchify"))
    cell = cells[at].lstrip()

    def with_cell(*instead: str) -> list[str]:
        return [*cells[:at], *instead, *cells[at + 1 :]]

    dispatched = (
        "import functools\n\n\n@functools.singledispatch\ndef patchify(images, patch_size):\n    raise TypeError\n"
    )
    return {
        "as it was": (cells, set()),
        "%%prun": (with_cell(f"%%prun -q\n{cell}"), set()),
        "%%timeit": (with_cell(f"%%timeit -n1 -r1\n{cell}"), {"patchify"}),
        "pip install": (with_cell("pip --version", cell), set()),
        "singledispatch": (
            with_cell(dispatched, cell.replace("def patchify", "@patchify.register\ndef _", 1)),
            set(),
        ),
        "torch.compile": (with_cell(cell, 'patchify = torch.compile(patchify, backend="eager")'), set()),
        "a markdown cell": (cells, {"patchify"}),
        "a file beside it": (with_cell("from my_pieces import patchify"), {"patchify"}),
        "a file beside it, within": (
            with_cell("import my_pieces\n\n\ndef patchify(*inputs):\n    return my_pieces.patchify(*inputs)\n"),
            {"patchify"},
        ),
    }


WHY = {"%%timeit": "below %%timeit, which keeps no definitions", "a markdown cell": "a markdown cell, which is not run"}


def with_prose(content: bytes, exercise: str) -> bytes:
    """The notebook with an exercise's cell, which nbgrader knows by its metadata, turned into markdown."""
    whole = json.loads(content)
    at = next(n for n, cell in enumerate(whole["cells"]) if cell["source"].lstrip().startswith(f"def {exercise}"))
    facts = {
        "grade_id": exercise,
        "grade": False,
        "solution": True,
        "locked": False,
        "task": False,
        "schema_version": 3,
    }
    source = whole["cells"][at]["source"]
    whole["cells"][at] = {"cell_type": "markdown", "id": "prose", "metadata": {"nbgrader": facts}, "source": source}
    return json.dumps(whole).encode()


def test_attention_in_pieces_is_the_same_by_all_doors(tmp_path):
    lesson, class_ = "vision_transformer", tmp_path / "class"
    made = attention_in_pieces()
    for student, cells in made.items():
        path = class_ / student / folder_name(lesson) / f"{folder_name(lesson)}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(notebook(cells))
    graded, theirs = by_grader(class_, lesson), by_nbgrader(class_, lesson)
    alone, in_notebook = by_pytest(class_, lesson), by_check(class_, lesson)
    for student in made:
        ours, said = graded[student]
        assert ours == catalogue()[lesson], said
        assert theirs[student] == ours
        assert alone[student][0] == ours
        assert in_notebook[student][0] == ours


def test_patchify_elsewhere_is_the_same_by_all_doors(tmp_path):
    lesson, class_ = "patch_embedding", tmp_path / "class"
    made = patchify_elsewhere()
    for student, (cells, _) in made.items():
        path = class_ / student / folder_name(lesson) / f"{folder_name(lesson)}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(notebook(cells))
        if student == "a markdown cell":
            path.write_bytes(with_prose(path.read_bytes(), "patchify"))
        if "file" in student:
            right = next(cell for cell in cells_of(lesson) if cell.lstrip().startswith("def patchify"))
            (path.parent / "my_pieces.py").write_text(f"import torch\nfrom torch import Tensor\n\n\n{right}")
    graded, theirs = by_grader(class_, lesson), by_nbgrader(class_, lesson)
    alone, in_notebook = by_pytest(class_, lesson), by_check(class_, lesson)
    for student, (_, lost) in made.items():
        expected = {name: 0 if name in lost else points for name, points in catalogue()[lesson].items()}
        ours, row = graded[student]
        assert ours == expected, row
        assert theirs[student] == ours
        found, page = alone[student]
        assert found == ours, page
        found, said = in_notebook[student]
        assert found == ours, said
        for text in (row, page) if lost else ():
            text = " ".join(text.replace("\\n", " ").split())
            assert WHY.get(student, "copy what you use of a file of your own") in text
        if "file" in student:
            assert "my_pieces.py" in said and "copy what you use" in said


@pytest.mark.parametrize(
    "statement", ["add_to(Attention)(forward)", "for name in ('a', 'b'):\n    setattr(Attention, name, forward)"]
)
def test_a_statement_that_is_left_out_is_named(tmp_path, statement):
    cells = ["class Attention:\n    pass", f"def forward(self):\n    return 1\n\n\n{statement}"]
    path = tmp_path / "class" / "student" / "02_vision_transformer" / "02_vision_transformer.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(notebook(cells))
    _, said = by_pytest(tmp_path / "class", "vision_transformer")["student"]
    assert "Attention may also be changed in 02_vision_transformer.ipynb, cell 2, line" in " ".join(said.split())
