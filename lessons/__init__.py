"""The learner's lessons as modules: `import lessons.masking` gives the definitions in 03_masking/03_masking.ipynb.

Only definitions are run, in notebook order: functions and classes, and those imports and assignments that they use.
Other imports and assignments are run when someone asks the module for their names; demos, bare calls and magics
never are.

A cell is named by its number among the code cells that are not empty: `In [7]` after "Restart and run all" is cell 7.
"""

from __future__ import annotations
import __future__ as future

import ast
import builtins
import contextlib
import importlib
import io
import itertools
import json
import linecache
import os
import re
import symtable
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

LESSONS = ("patch_embedding", "vision_transformer", "masking", "teacher", "predictor", "training", "diagnostics")

LIMIT = 100 * 2**20  # bytes of a notebook, its outputs included
MESSAGE_LIMIT = 300  # characters of an error's own text that a sentence quotes
CANNOT_PARSE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python's parser raises on damaged text
PYTHON_CELL_MAGICS = ("%%time", "%%capture")  # the rest of such a cell is ordinary code
MAGIC = re.compile(r"\s*(%|!|\?|[\w.]+\s*=\s*[%!]|[\w.*%]+\?{1,2}\s*$)")
CELL_MARK = re.compile(r"^#[ \t]*%%(.*)$", re.MULTILINE)
NOT_CODE = re.compile(r"\[(markdown|md|raw)\]")
DUNDER = re.compile("__.*__")
DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)

FUNCTIONS_AND_CLASSES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, *([ast.TypeAlias] if hasattr(ast, "TypeAlias") else []))
TRIES = (ast.Try, *([ast.TryStar] if hasattr(ast, "TryStar") else []))


class LessonError(ImportError):
    """A lesson can't be read. The message is one sentence that says why, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, without a page of our frames."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Cell:
    """A code cell. name: what tracebacks call its file ("03_masking.ipynb, cell 7"); before: lines above it there."""

    name: str
    source: str
    before: int = 0


@dataclass
class Report:
    """What happened while a lesson was read; `module.__report__`.

    duplicates: functions and classes defined more than once, with every place; the last one counts.
    stubs: functions and classes that still end in `raise NotImplementedError`.
    syntax_errors: one sentence a cell; nothing in such a cell is used.
    failed: names that are not there because their definition raised, each with a sentence; grows as names are needed.
    ignored: places of magics, shell lines and help lines.
    not_run: names in use that a statement changes which an import doesn't run, such as a loop, with its place.
    """

    duplicates: dict[str, list[str]] = field(default_factory=dict)
    stubs: list[str] = field(default_factory=list)
    syntax_errors: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What the learner should know, a sentence each."""
        return [
            *self.syntax_errors,
            *(
                f"{name} is defined {len(at)} times, and the last one counts: {at[-1]}."
                for name, at in self.duplicates.items()
            ),
            *(f"{name} is not defined: {why}" for name, why in self.failed.items()),
            *(f"{name} is also changed in {at}, which an import doesn't run." for name, at in self.not_run.items()),
        ]


# Where lessons are, and what they build on

_folder: Path | None = None
_reference = False


def use(folder: Path | str | None = None, reference: bool = False) -> None:
    """Say where lessons are read from now on, and forget those that were read.

    folder: holds 01_patch_embedding/ and so on; None means the environment variable IJEPA_LESSONS, or else this folder.
    reference: in a lesson, `from lessons.X import ...` gives the reference of an earlier lesson X, if solutions/ has it
        (so that a mistake costs once), and not the learner's own.
    """
    global _folder, _reference
    _folder, _reference = None if folder is None else Path(folder), reference
    for name in LESSONS:
        forget(name)


def lessons_folder() -> Path:
    """The folder that lessons are read from. Raises LessonError if it isn't one."""
    variable = os.environ.get("IJEPA_LESSONS")
    folder = _folder or (Path(variable) if variable else Path(__file__).parent)
    if not folder.is_dir():
        raise LessonError(
            f"{folder} is not a folder: the lessons are looked for there{' (IJEPA_LESSONS)' * (not _folder)}."
        )
    return folder.resolve()


def folder_name(name: str) -> str:
    """The name of a lesson's folder and of its notebook: "masking" -> "03_masking".

    Raises LessonError if there is no such lesson.
    """
    if name not in LESSONS:
        raise LessonError(f"there is no lesson {name!r}: the lessons are {', '.join(LESSONS)}.")
    return f"{LESSONS.index(name) + 1:02d}_{name}"


def load_lesson(
    name: str,
    path: Path | None = None,
    content: bytes | None = None,
    reference: bool | None = None,
    only: Iterable[str] | None = None,
) -> ModuleType:
    """Read a lesson anew; the module replaces `lessons.<name>` and has its `Report` as `__report__`.

    path: the notebook or script; None means the one in `lessons_folder()`.
    content: its bytes, if they were read before.
    reference: as for `use`; None means what was said there.
    only: run the definitions of these names and what they use; others when someone asks for them. None: all.

    Raises LessonError.
    """
    return _load(name, path, content, _reference if reference is None else reference, only=only)


def forget(name: str) -> None:
    """Let the next `import lessons.<name>` read the lesson anew."""
    sys.modules.pop(f"{__name__}.{name}", None)
    globals().pop(name, None)


def reason(module: ModuleType, name: str) -> str:
    """Why a lesson's module lacks a name, as a sentence, or "" if there is nothing to say.

    Its definition raised, or stands in a cell with a syntax error, or is no definition. `reason(module, error.name)`
    explains a NameError from the learner's code.
    """
    definitions = getattr(module, "__definitions__", None)
    return definitions.reason(name) if definitions else ""


def borrow(name: str, mine: bool = True) -> None:
    """Make what lesson `name` builds on complete: the first call in each notebook.

    Exercises of earlier lessons that are still stubs come from the reference, and one printed line names them; what the
    learner has written is used. An earlier lesson that can't be read comes from the reference as a whole. With
    mine=False all of them do.
    """
    folder_name(name)
    _say_todo_in_notebook()
    earlier = LESSONS[: LESSONS.index(name)]
    for lesson in earlier:
        forget(lesson)
    said = []
    for lesson in earlier:
        at_hand, problem = _has_reference(lesson), ""
        if mine or not at_hand:
            try:
                borrowed = _load(lesson, fill_stubs=at_hand).__definitions__.borrowed
                said += [f"{', '.join(borrowed)} ({lesson})"] if borrowed else []
                continue
            except LessonError as error:
                if not at_hand:
                    raise
                problem = f" ({str(error).rstrip('.')})"
        sys.modules[f"{__name__}.{lesson}"] = globals()[lesson] = importlib.import_module(f"solutions.{lesson}")
        said.append(f"all of {lesson}{problem}")
    if said:
        print(f"Borrowed from the reference: {'; '.join(said)}.")


def unwritten(error: NotImplementedError) -> str:
    """The name of the function or class whose stub raised the error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    owner = frame.f_locals.get("self")
    return frame.f_code.co_name if owner is None else type(owner).__name__


def _say_todo_in_notebook() -> None:
    """In a notebook, a demo that needs an exercise which isn't written yet says so in a line, not in a traceback."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if shell is None or hasattr(shell.showtraceback, "says_todo"):
        return
    show = shell.showtraceback

    def showtraceback(*args, **kwargs) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, NotImplementedError) and error.__traceback__:
            print(f"todo: this cell needs {unwritten(error)}. Fill in the exercise, then run the cell again.")
        else:
            show(*args, **kwargs)

    showtraceback.says_todo = True
    shell.showtraceback = showtraceback  # and not set_custom_exc, which a slider's callback goes past


def _load(
    name: str,
    path: Path | None = None,
    content: bytes | None = None,
    reference: bool = False,
    fill_stubs: bool = False,
    only: Iterable[str] | None = None,
) -> ModuleType:
    folder_name(name)
    module = module_from_spec(ModuleSpec(f"{__name__}.{name}", _finder))
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        _read_into(module, path, content, reference, fill_stubs, only)
    except BaseException:
        forget(name)
        if before is not None:
            sys.modules[module.__name__] = globals()[name] = before
        raise
    globals()[name] = module
    return module


def _has_reference(name: str) -> bool:
    try:
        return find_spec(f"solutions.{name}") is not None
    except ModuleNotFoundError:  # no solutions/ at all
        return False


class _Finder:
    """Makes `import lessons.masking` read a notebook; `lessons.figures` is an ordinary module."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == __name__ and name in LESSONS else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        for name in [name for name in vars(module) if not DUNDER.fullmatch(name)]:  # importlib.reload
            del vars(module)[name]
        _read_into(module, None, None, _reference, fill_stubs=False)


_finder = _Finder()
sys.meta_path.insert(0, _finder)


# From a file to code cells


def _own_cells(name: str) -> tuple[Path, list[Cell]]:
    """A lesson's notebook, or the script beside it, and its code cells."""
    stem = folder_name(name)
    home = lessons_folder() / stem
    found = [path for path in (home / f"{stem}.ipynb", home / f"{stem}.py") if os.path.lexists(path)]
    if not found:
        raise LessonError(f"there is no notebook of lesson {name}: {home / stem}.ipynb is not there.")
    cells = [read_cells(path) for path in found]
    if len(found) == 2 and _code(cells[0]) != _code(cells[1]):
        raise LessonError(
            f"{found[0].name} and {found[1].name} hold different code: keep the one that you edit, move the other away."
        )
    return found[0], cells[0]


def _code(cells: list[Cell]) -> list[str]:
    """What counts when a notebook and a script are compared: their definitions, and the cells that can't be parsed."""
    report = Report()
    definitions = [ast.dump(s.node) for s in _statements(cells, report) if _is_definition(s.node)]
    return [*definitions, *sorted(report.failed), str(len(report.syntax_errors))]


def read_cells(path: Path, content: bytes | None = None) -> list[Cell]:
    """The code cells of a notebook (any front-end's, nbformat 2 to 4) or of a percent script. Raises LessonError.

    content: the bytes of the file, if they were read before.
    """
    text = _decode(path, _read(path) if content is None else content)
    if path.suffix == ".py":
        return _script_cells(path, text)
    sources = [source for source in _notebook_sources(path, text) if source.strip()]
    return [Cell(f"{path.name}, cell {number}", source) for number, source in enumerate(sources, start=1)]


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise LessonError(f"{path} is not a file.")
        if path.stat().st_size > LIMIT:
            raise LessonError(f"{path} has more than {LIMIT >> 20} MB: clear its outputs, then save it.")
        return path.read_bytes()
    except OSError as error:
        raise LessonError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from None


def _decode(path: Path, content: bytes) -> str:
    if not content.strip():
        raise LessonError(f"{path.name} is empty: take a fresh copy of the lesson, or an older version of yours.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise LessonError(
            f"{path.name} is not UTF-8 text: open it in your editor and save it with this encoding."
        ) from None


def _notebook_sources(path: Path, text: str) -> list[str]:
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
        texts = ["".join(source) if isinstance(source, list) else source + "" for source in code]
    except (TypeError, KeyError, AttributeError):
        raise LessonError(f"{path.name} is not a notebook: it is JSON, but without a notebook's cells.") from None
    # half a surrogate pair is valid JSON and no text
    return [text.encode(errors="replace").decode().replace("\r\n", "\n").replace("\r", "\n") for text in texts]


def _script_cells(path: Path, text: str) -> list[Cell]:
    """The whole script as one cell if it can be parsed, or else one cell for each `# %%`. Lines are the file's own."""
    whole = Cell(str(path), text)
    try:
        _parse_text(whole, text)
        return [whole]
    except CANNOT_PARSE:
        marks = list(CELL_MARK.finditer(text))
        starts = [0, *(mark.start() for mark in marks)]
        ends = [*starts[1:], len(text)]
        is_code = [True, *(not NOT_CODE.search(mark[1]) for mark in marks)]
        return [
            Cell(str(path), text[start:end], text.count("\n", 0, start))
            for start, end, code in zip(starts, ends, is_code, strict=True)
            if code
        ]


# From code cells to statements


@dataclass(frozen=True)
class _Statement:
    node: ast.stmt
    cell: Cell
    flags: int  # of the __future__ imports above it
    binds: frozenset[str]  # global names that it binds, and those whose objects it changes
    uses: frozenset[str]  # global names, in function bodies too

    @property
    def place(self) -> str:
        return _place(self.cell, self.node.lineno)


def _place(cell: Cell, line: int) -> str:
    return f"{Path(cell.name).name}, line {line}"


def _parse_text(cell: Cell, text: str) -> list[ast.stmt]:
    with warnings.catch_warnings():  # an invalid escape in the learner's string is no news on stderr
        warnings.simplefilter("ignore")
        return ast.parse("\n" * cell.before + text, cell.name).body


def _parse(cell: Cell, report: Report) -> list[ast.stmt]:
    """The statements of a cell, without magics; none if it has a syntax error."""
    lines = cell.source.split("\n")

    def ignore(number: int) -> None:
        report.ignored.append(_place(cell, cell.before + number + 1))
        continued = lines[number].endswith("\\") and number + 1 < len(lines)
        indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        lines[number] = indent + "pass" if indent else ""  # the only line of a block must leave a statement
        if continued:
            lines[number + 1] = ""

    first = next(number for number, line in enumerate(lines) if line.strip())
    if lines[first].startswith("%%"):
        magic = lines[first].split()[0]
        ignore(first)
        if magic not in PYTHON_CELL_MAGICS:
            return []
    while True:
        try:
            return _parse_text(cell, "\n".join(lines))
        except CANNOT_PARSE as error:
            number = (getattr(error, "lineno", None) or cell.before + 1) - cell.before - 1
            if isinstance(error, SyntaxError) and 0 <= number < len(lines) and MAGIC.match(lines[number]):
                ignore(number)
                continue
            what = error.msg if isinstance(error, SyntaxError) else "this can't be read as Python"
            sentence = (
                f"{_place(cell, cell.before + number + 1)} has a syntax error ({what}); nothing in this cell is used."
            )
            report.syntax_errors.append(sentence)
            report.failed.update(dict.fromkeys(DEFINED.findall(cell.source), sentence))
            return []


def _statements(cells: list[Cell], report: Report, rewrite: ast.NodeTransformer | None = None) -> list[_Statement]:
    found, flags, imported = [], 0, set()
    for cell in cells:
        tree = ast.Module(_parse(cell, report) if cell.source.strip() else [], [])
        tree = rewrite.visit(tree) if rewrite and __name__ in cell.source else tree
        for node in itertools.chain.from_iterable(map(_singly, tree.body)):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                for alias in node.names:
                    flags |= getattr(getattr(future, alias.name, None), "compiler_flag", 0)
            try:
                binds, uses = global_names(node)
            except CANNOT_PARSE as error:  # such as a `return` outside of a function
                what = error.msg if isinstance(error, SyntaxError) else "this can't be read as Python"
                report.syntax_errors.append(f"{_place(cell, node.lineno)} has a syntax error ({what}).")
                continue
            imported |= binds if isinstance(node, IMPORTS) else set()
            if not isinstance(node, FUNCTIONS_AND_CLASSES):
                # `torch.x = ...` changes torch for everybody: that isn't a definition
                binds |= {root for target in ast.walk(node) if (root := _changed(target))} - imported
            found.append(_Statement(node, cell, flags, frozenset(binds), frozenset(uses)))
    return found


def _singly(node: ast.stmt) -> list[ast.stmt]:
    """An import of several names as one import a name: one that is missing must not cost the others."""
    if isinstance(node, ast.ImportFrom):
        return [_at(ast.ImportFrom(node.module, [alias], node.level), node) for alias in node.names]
    if isinstance(node, ast.Import):
        return [_at(ast.Import([alias]), node) for alias in node.names]
    return [node]


def global_names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The global names that a statement binds, and those that it uses, in function bodies too."""
    table = symtable.symtable(ast.unparse(node), "", "exec")
    symbols = table.get_symbols()
    binds = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    inner = list(table.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        uses |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return binds, uses


def _changed(target: ast.AST) -> str | None:
    """The name whose object an assignment to an item or attribute changes: `table[0] = 1`, `Block.forward = f`."""
    if not (isinstance(target, ast.Subscript | ast.Attribute) and isinstance(target.ctx, ast.Store)):
        return None
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _parts(node: ast.stmt) -> list[ast.stmt]:
    """The statement itself, or the statements in an if or try block."""
    if isinstance(node, ast.If):
        return [part for inner in node.body + node.orelse for part in _parts(inner)]
    if isinstance(node, TRIES):
        handled = [inner for handler in node.handlers for inner in handler.body]
        return [part for inner in node.body + handled + node.orelse + node.finalbody for part in _parts(inner)]
    return [node]


def _is_definition(node: ast.stmt) -> bool:
    """Whether an import may run it: an import, function, class or assignment, or an if or try block of these alone."""
    allowed = FUNCTIONS_AND_CLASSES + IMPORTS + ASSIGNMENTS
    if isinstance(node, (ast.If, *TRIES)):
        return all(isinstance(part, (*allowed, ast.Pass, ast.Raise)) for part in _parts(node))
    return isinstance(node, allowed)


def _runs_always(node: ast.stmt) -> bool:
    """Functions and classes; and `from x import *`, of which nobody knows what it binds."""
    return any(
        isinstance(part, FUNCTIONS_AND_CLASSES) or (isinstance(part, ast.ImportFrom) and part.names[0].name == "*")
        for part in _parts(node)
    )


def _is_stub(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(_is_stub(inner) for inner in node.body if isinstance(inner, ast.FunctionDef))
    last = node.body[-1]
    raised = last.exc if isinstance(last, ast.Raise) else None
    raised = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


# From statements to a module


class _OnReference(ast.NodeTransformer):
    """`from lessons.X import ...` becomes `from solutions.X import ...` for the lessons given."""

    def __init__(self, lessons: Iterable[str]):
        self.lessons = set(lessons)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | list[ast.ImportFrom]:
        package, _, name = (node.module or "").partition(".")
        if package != __name__ or node.level:
            return node
        if name:
            return _at(ast.ImportFrom(f"solutions.{name}", node.names, 0), node) if name in self.lessons else node
        ours = [alias for alias in node.names if alias.name in self.lessons]
        rest = [alias for alias in node.names if alias.name not in self.lessons]
        split = [("solutions", ours), (__name__, rest)]
        return [_at(ast.ImportFrom(module, names, 0), node) for module, names in split if names]

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names = []
        for alias in node.names:
            package, _, name = alias.name.partition(".")
            if package == __name__ and name in self.lessons:
                names.append(ast.alias(f"solutions.{name}", alias.asname))
                # `lessons.X` is looked up through the package's name
                names += [ast.alias("solutions", __name__)] if alias.asname is None else []
            else:
                names.append(alias)
        return _at(ast.Import(names), node)


def _at(node: ast.stmt, place: ast.stmt) -> ast.stmt:
    return ast.fix_missing_locations(ast.copy_location(node, place))


class _Definitions:
    """A lesson's statements, each run at most once: when a name that it binds is needed."""

    def __init__(
        self, module: ModuleType, cells: list[Cell], reference: bool, fill_stubs: bool, lines_above: dict[str, int]
    ):
        self.module, self.lines_above = module, lines_above
        lesson = module.__name__.rpartition(".")[2]
        earlier = [name for name in LESSONS[: LESSONS.index(lesson)] if reference and _has_reference(name)]
        self.report = Report()
        everything = _statements(cells, self.report, _OnReference(earlier))
        self.statements = [statement for statement in everything if _is_definition(statement.node)]
        self.others = [statement for statement in everything if not _is_definition(statement.node)]
        self.done: set[int] = set()
        self.binding: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            for name in statement.binds:
                self.binding.setdefault(name, []).append(index)
        self.borrowed = self._look(lesson, fill_stubs)

    def _look(self, lesson: str, fill_stubs: bool) -> list[str]:
        """Report duplicates and stubs; with fill_stubs, put an import from the reference in the place of each stub."""
        found: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            if isinstance(statement.node, FUNCTIONS_AND_CLASSES) and statement.node.name != "_":
                found.setdefault(statement.node.name, []).append(index)
        for name, indices in found.items():
            if len(indices) > 1:
                self.report.duplicates[name] = [self.statements[index].place for index in indices]
            if _is_stub(self.statements[indices[-1]].node):
                self.report.stubs.append(name)
        if not (fill_stubs and self.report.stubs):
            return []
        reference = importlib.import_module(f"solutions.{lesson}")
        borrowed = [name for name in self.report.stubs if hasattr(reference, name)]
        for name in borrowed:
            stub = self.statements[found[name][-1]]
            given = _at(ast.ImportFrom(f"solutions.{lesson}", [ast.alias(name)], 0), stub.node)
            self.statements[found[name][-1]] = replace(stub, node=given, uses=frozenset())
        return borrowed

    def run_all(self) -> None:
        """Run the functions and classes, and what they need."""
        always = {index for index, statement in enumerate(self.statements) if _runs_always(statement.node)}
        borrowed = {index for name in self.borrowed for index in self.binding[name]}
        self._run(always | borrowed, set())

    def run(self, names: Iterable[str]) -> None:
        """Run what binds these names, and what that needs."""
        self._run(set(), set(names))

    def get(self, name: str) -> object:
        """The module's `__getattr__`: run what binds the name. Raises NameError, with the reason, if that failed."""
        names = vars(self.module)
        if not DUNDER.fullmatch(name):
            self._run(set(), {name})
            if name in names:
                return names[name]
            if why := self.reason(name):
                raise NameError(f"{name} is not defined in {self.module.__name__}: {why}", name=name)
        raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}", name=name, obj=self.module)

    def reason(self, name: str) -> str:
        if name in self.report.failed:
            return self.report.failed[name]
        other = next((other for other in self.others if name in other.binds), None)
        return f"it is set in {other.place}, in a statement that an import doesn't run." if other else ""

    def _run(self, chosen: set[int], names: set[str]) -> None:
        """Run, in notebook order, the chosen statements, those that bind these names, and all that they need."""

        def met(indices: Iterable[int]) -> set[str]:
            return {name for index in indices for name in self.statements[index].binds | self.statements[index].uses}

        names, seen = names | met(chosen), set()
        while names:
            name = names.pop()
            seen.add(name)
            new = set(self.binding.get(name, ())) - chosen
            chosen |= new
            names |= met(new) - seen
        for index in sorted(chosen - self.done):
            self.done.add(index)
            self._execute(self.statements[index])
        for other in self.others:
            for name in other.binds & seen & set(vars(self.module)):
                self.report.not_run.setdefault(name, other.place)

    def _execute(self, statement: _Statement) -> None:
        names = vars(self.module)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.Module([statement.node], [])
                code = compile(tree, statement.cell.name, "exec", flags=statement.flags, dont_inherit=True)
            with _without_stdin():
                exec(code, names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and pytest's Skipped too: a definition costs no more than its names
            sentence = self._why(error, statement)
            for name in statement.binds:
                names.pop(name, None)
                self.report.failed[name] = sentence
            return
        for name in statement.binds & set(names):
            self.report.failed.pop(name, None)
        # Python 3.13 and later look a class's source up by this line of the module's file
        made = names.get(statement.node.name) if isinstance(statement.node, ast.ClassDef) else None
        if isinstance(made, type) and "__firstlineno__" in vars(made):
            made.__firstlineno__ += self.lines_above[statement.cell.name]

    def _why(self, error: BaseException, statement: _Statement) -> str:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in self.lines_above]
        at = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else statement.place
        try:
            text = " ".join(str(error).split())[:MESSAGE_LIMIT]
        except BaseException:
            text = ""
        if isinstance(error, NameError) and error.name and (deeper := self.reason(error.name)) and deeper not in text:
            text = f"{text}: {deeper}"
        return f"{at} raised {type(error).__name__}{': ' * bool(text)}{text.rstrip('.')}."


def _read_into(
    module: ModuleType,
    path: Path | None,
    content: bytes | None,
    reference: bool,
    fill_stubs: bool,
    only: Iterable[str] | None = None,
) -> None:
    if path is None:
        path, cells = _own_cells(module.__name__.rpartition(".")[2])
    else:
        path = Path(path)
        cells = read_cells(path, content)
    definitions = _Definitions(module, cells, reference, fill_stubs, _remember(path, cells))
    module.__file__ = module.__spec__.origin = str(path)
    module.__definitions__, module.__report__, module.__getattr__ = definitions, definitions.report, definitions.get
    if only is None:
        definitions.run_all()
    else:
        definitions.run(only)


def _remember(path: Path, cells: list[Cell]) -> dict[str, int]:
    """Let tracebacks and inspect find the lines: each cell's own, and all cells one below the other for classes, which
    inspect looks up by the module's file. Returns how many lines stand above each cell there."""
    above, everything = {}, []
    for cell in cells:
        everything += ["\n"] * (cell.before - len(everything))  # prose between the cells of a script
        lines = [line + "\n" for line in cell.source.removesuffix("\n").split("\n")]
        above[cell.name] = 0 if path.suffix == ".py" else len(everything)
        everything += lines
        linecache.cache[cell.name] = (len(cell.source), None, lines, cell.name)
    linecache.cache[str(path)] = (len(everything), None, everything, str(path))
    return above


@contextlib.contextmanager
def _without_stdin() -> Iterator[None]:
    def refuse(*_: object) -> str:
        raise EOFError("it asks for input, which an import can't give")

    stdin = io.TextIOBase()
    stdin.read = stdin.readline = stdin.readlines = refuse
    before = sys.stdin, builtins.input
    sys.stdin, builtins.input = stdin, refuse
    try:
        yield
    finally:
        sys.stdin, builtins.input = before
