"""From a file to code cells.

A cell is named by its number among the code cells that are not empty: `In [7]` after "Restart and run all" is cell 7.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

NOTEBOOK_LIMIT = 100 * 2**20  # bytes of a notebook, its outputs included
CANNOT_PARSE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python's parser raises on damaged text
# jupytext's percent format, and `# In[3]:` as nbconvert writes it; `# %%timeit` is a magic in a cell
CELL_MARK = re.compile(r"^#[ \t]*(?:%%+(?:[ \t](.*))?|In[ \t]*\[[\d ]*\]:?[ \t]*)$", re.MULTILINE)
PROSE = ("markdown", "raw")  # kinds of cells that aren't run
DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)
NOT_CODE = re.compile(r"\[(markdown|md|raw)\]")
FOR_NOTEBOOKS = re.compile(r'"active-ipynb"')  # a tag: jupytext comments the cell out
CELL_MAGIC = re.compile(r"\A(\s*)# (?=%%\w)")  # jupytext comments magics out
COMMENTED = re.compile(r"^([ \t]+)#[ \t]*[%!].*$", re.MULTILINE)
# nbconvert makes calls of magics
MAGIC_CALL = re.compile(
    r"^([ \t]*)(?:[\w, ]+=[ \t]*)?get_ipython\(\)\.(?:run_line_magic|magic|system|getoutput)\(.*\)[ \t]*$", re.MULTILINE
)


class LessonError(ImportError):
    """A lesson can't be read. The message is one sentence that says why, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, without a page of our frames."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Cell:
    """A code cell. name: what tracebacks call its file ("03_masking.ipynb, cell 7"); before: lines above it there.

    kind: "code", or what a cell is that only looks like code, such as one that became "markdown" by a slip of the hand.
    """

    name: str
    source: str
    before: int = 0
    kind: str = "code"


def read_cells(path: Path, content: bytes | None = None) -> list[Cell]:
    """The code cells of a notebook (any front-end's, nbformat 2 to 4) or of a percent script. Raises LessonError.

    content: the bytes of the file, if they were read before.
    """
    text = decode(path, read(path) if content is None else content)
    if path.suffix == ".py":
        return script_cells(path, text)
    sources, others = notebook_sources(path, text)
    filled = [source for source in sources if source.strip()]
    cells = [Cell(f"{path.name}, cell {number}", source) for number, source in enumerate(filled, start=1)]
    return cells + [Cell(f"{path.name}, a {kind} cell", source, kind=kind) for kind, source in others]


def read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise LessonError(f"{path} is not a file.")
        if path.stat().st_size > NOTEBOOK_LIMIT:
            raise LessonError(f"{path} has more than {NOTEBOOK_LIMIT >> 20} MB: clear its outputs, then save it.")
        return path.read_bytes()
    except OSError as error:
        raise LessonError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None


def decode(path: Path, content: bytes) -> str:
    if not content.strip():
        raise LessonError(f"{path.name} is empty: take a fresh copy of the lesson, or an older version of yours.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise LessonError(
            f"{path.name} is not UTF-8 text: open it in your editor and save it with this encoding."
        ) from None


def notebook_sources(path: Path, text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The texts of the code cells, and kind and text of other cells that define something. Raises LessonError."""
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise LessonError(
            f"{path.name} is damaged or cut off at line {error.lineno} (no valid JSON): "
            "save it again from the front-end, or take an older version of it."
        ) from None
    except (ValueError, RecursionError):
        raise LessonError(f"{path.name} is damaged (no valid JSON): take an older version of it.") from None
    try:
        sheets = notebook.get("worksheets", [notebook])
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        code = [cell.get("source", cell.get("input", "")) for cell in cells if cell["cell_type"] == "code"]
        texts = [joined(source) for source in code]
        prose = [(cell["cell_type"], cell.get("source")) for cell in cells if cell["cell_type"] in PROSE]
        others = [(kind, joined(source)) for kind, source in prose if isinstance(source, str | list)]
    except (TypeError, KeyError, AttributeError):
        raise LessonError(f"{path.name} is not a notebook: it is JSON, but without a notebook's cells.") from None
    # half a surrogate pair is valid JSON and no text
    texts = [text.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    return texts, [(kind, text) for kind, text in others if DEFINED.match(text.lstrip())]


def joined(source: Any) -> str:
    """The text of a cell, whose lines may be a list. Raises TypeError."""
    return "".join(source) if isinstance(source, list) else source + ""


def script_cells(path: Path, text: str) -> list[Cell]:
    """The cells of a script, at the lines of the file: jupytext's percent format, or what nbconvert exported.

    The whole script is one cell if it can be parsed and holds no cell that begins with a magic.
    """
    whole = Cell(str(path), text)
    written = list(cut_at_marks(path, text))
    cells = [as_in_a_notebook(path, cell, header) for cell, header in written]
    changed = cells != [cell for cell, _ in written]
    return cells if changed or parsed(whole) is None else [whole]


def cut_at_marks(path: Path, text: str) -> Iterator[tuple[Cell, str]]:
    """The code cells of a script as they are written, each with the rest of its mark's line."""
    marks = list(CELL_MARK.finditer(text))
    start, header = 0, ""
    for number, mark in enumerate([*marks, None]):
        end = mark.start() if mark else len(text)
        later = [other.start() for other in marks[number + 1 :]] + [len(text)] * bool(mark)
        if in_string(text[start:end]) and any(not in_string(text[start:other]) for other in later):
            continue  # the mark is part of a string
        if not NOT_CODE.search(header):
            yield Cell(str(path), text[start:end], text.count("\n", 0, start)), header
        if mark:
            start, header = mark.end(), mark[1] or ""  # at the end of the mark's line


def in_string(source: str) -> bool:
    """Whether a piece of code ends within a string in triple quotes."""
    try:
        parse_text(Cell("", source), source)
    except SyntaxError as error:
        return "unterminated triple-quoted" in error.msg
    except CANNOT_PARSE:
        pass
    return False


def parsed(cell: Cell) -> list[ast.stmt] | None:
    try:
        return parse_text(cell, cell.source)
    except CANNOT_PARSE:
        return None


def as_in_a_notebook(path: Path, cell: Cell, header: str) -> Cell:
    """The cell of a script with its magics as a notebook has them. header: the rest of the line of its mark."""
    source = re.sub("^# ?", "", cell.source, flags=re.MULTILINE) if FOR_NOTEBOOKS.search(header) else cell.source
    source = MAGIC_CALL.sub(r"\1%magic", CELL_MAGIC.sub(r"\1", source, count=1))
    tree = parsed(replace(cell, source=source))
    match tree:
        case [ast.Expr(ast.Call(ast.Attribute(attr="run_cell_magic"), [name, line, body]))]:
            words = [str(node.value) for node in (name, line, body) if isinstance(node, ast.Constant)]
            return Cell(f"{path.name}, cell at line {tree[0].lineno}", "%%{} {}\n{}".format(*words))
        case None:  # perhaps a block in which a magic is the only statement
            filled = replace(cell, source=COMMENTED.sub(r"\1pass", source))
            source = source if parsed(filled) is None else filled.source
    return replace(cell, source=source)


def parse_text(cell: Cell, text: str) -> list[ast.stmt]:
    """The statements of a cell, or of what is left of its text, at their own lines."""
    with warnings.catch_warnings():  # an invalid escape in the learner's string is no news on stderr
        warnings.simplefilter("ignore")
        return ast.parse("\n" * cell.before + text, cell.name).body


def digest(notebook: Mapping[str, Any]) -> str:
    """A hash of what a person writes in a notebook (nbformat 4): kinds and texts of the cells.

    Outputs, ids and metadata don't count, nor do empty cells: front-ends change and add them.
    """
    cells = [[cell["cell_type"], cell["source"].strip()] for cell in notebook["cells"] if cell["source"].strip()]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def is_as_released(notebook: Mapping[str, Any]) -> bool:
    """Whether nobody has written in a lesson's notebook. Raises KeyError for what is none."""
    return bool(notebook["metadata"]["course"]["digest"] == digest(notebook))
