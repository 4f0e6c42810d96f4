"""From statements to a module: each definition is run at most once, when a name that it binds is needed."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from lessons.reading.cells import Cell
from lessons.reading.statements import (
    FUNCTIONS_AND_CLASSES,
    IMPORTS,
    PACKAGE,
    Report,
    Statement,
    in_place_of,
    is_definition,
    is_stub,
    runs_always,
    statements_of,
)
from lessons.reading.todo import unwritten

MESSAGE_LIMIT = 300  # characters of an error's own text that a sentence quotes
DUNDER = re.compile("__.*__")


def read_into(
    module: ModuleType,
    path: Path,
    cells: list[Cell],
    reference: Iterable[str] = (),
    fill_stubs: bool = False,
    only: Iterable[str] | None = None,
) -> None:
    """Run a lesson's definitions in a module, which gets its `Report` as `__report__`.

    reference: the earlier lessons that come from solutions/, whatever the learner has written.
    fill_stubs: the lesson's own stubs come from there too.
    only: run what binds these names or may change them; None: all functions and classes.
    """
    definitions = Definitions(module, cells, reference, fill_stubs, remember(path, cells))
    module.__file__ = str(path)
    if module.__spec__:
        module.__spec__.origin = str(path)
    vars(module).update(__definitions__=definitions, __report__=definitions.report, __getattr__=definitions.get)
    if only is None:
        definitions.run_all()
    else:
        definitions.run(only)


class OnReference(ast.NodeTransformer):
    """`from lessons.X import ...` becomes `from solutions.X import ...` for the lessons given."""

    def __init__(self, lessons: Iterable[str]):
        self.lessons = set(lessons)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | list[ast.ImportFrom]:
        package, _, name = (node.module or "").partition(".")
        if package != PACKAGE or node.level:
            return node
        if name:
            known = name in self.lessons
            return in_place_of(node, ast.ImportFrom(f"solutions.{name}", node.names, 0)) if known else node
        ours = [alias for alias in node.names if alias.name in self.lessons]
        rest = [alias for alias in node.names if alias.name not in self.lessons]
        split = [("solutions", ours), (PACKAGE, rest)]
        return [in_place_of(node, ast.ImportFrom(module, names, 0)) for module, names in split if names]

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names = []
        for alias in node.names:
            package, _, name = alias.name.partition(".")
            if package == PACKAGE and name in self.lessons:
                names.append(ast.alias(f"solutions.{name}", alias.asname))
                # `lessons.X` is looked up through the package's name
                names += [ast.alias("solutions", PACKAGE)] if alias.asname is None else []
            else:
                names.append(alias)
        return in_place_of(node, ast.Import(names))


class Definitions:
    """A lesson's statements, each run at most once: when a name that it binds is needed."""

    def __init__(
        self,
        module: ModuleType,
        cells: list[Cell],
        reference: Iterable[str],
        fill_stubs: bool,
        lines_above: dict[str, int],
    ):
        self.module, self.lines_above = module, lines_above
        self.report = Report()
        everything = statements_of(cells, self.report, OnReference(reference))
        self.statements = [statement for statement in everything if is_definition(statement.node)]
        self.others = [statement for statement in everything if not is_definition(statement.node)]
        self.done: set[int] = set()
        own = [statement for statement in self.statements if not isinstance(statement.node, IMPORTS)]
        self.uses: dict[str, frozenset[str]] = {}  # by name that the lesson itself makes
        for statement in own:
            for name in statement.binds:
                self.uses[name] = self.uses.get(name, frozenset()) | statement.uses
        self.binding: dict[str, list[int]] = {}  # or changing: a later cell may add a method to a class
        for index, statement in enumerate(self.statements):
            for name in statement.binds | self._reached(statement.touches):
                self.binding.setdefault(name, []).append(index)
        self.borrowed = self._look(module.__name__.rpartition(".")[2], fill_stubs)

    def _look(self, lesson: str, fill_stubs: bool) -> list[str]:
        """Report duplicates and stubs; with fill_stubs, put an import from the reference in the place of each stub."""
        found: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            if isinstance(statement.node, FUNCTIONS_AND_CLASSES) and statement.node.name != "_":
                found.setdefault(statement.node.name, []).append(index)
        for name, indices in found.items():
            if len(indices) > 1:
                self.report.duplicates[name] = [self.statements[index].place for index in indices]
            if is_stub(self.statements[indices[-1]].node):
                self.report.stubs.append(name)
        if not (fill_stubs and self.report.stubs):
            return []
        reference = importlib.import_module(f"solutions.{lesson}")
        borrowed = [name for name in self.report.stubs if hasattr(reference, name)]
        for name in borrowed:
            stub = self.statements[found[name][-1]]
            given = in_place_of(stub.node, ast.ImportFrom(f"solutions.{lesson}", [ast.alias(name)], 0))
            self.statements[found[name][-1]] = replace(stub, node=given, uses=frozenset())
        return borrowed

    def _reached(self, touched: frozenset[str]) -> set[str]:
        """The names that what is touched can reach: a decorator that keeps a registry changes the registry."""
        reached: set[str] = set()
        left = set(touched) & set(self.uses)
        while left:
            reached |= left
            left = {use for name in left for use in self.uses[name] if use in self.uses} - reached
        return reached

    def run_all(self) -> None:
        """Run the functions and classes, and what they need."""
        always = {index for index, statement in enumerate(self.statements) if runs_always(statement.node)}
        borrowed = {index for name in self.borrowed for index in self.binding[name]}
        self._run(always | borrowed, set())

    def run(self, names: Iterable[str]) -> None:
        """Run what binds these names or may change their objects, and what that needs."""
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
        if name in self.report.left_out:
            return self.report.left_out[name]
        other = next((other for other in self.others if name in other.binds), None)
        return f"it is set in {other.place}, in a statement that an import doesn't run." if other else ""

    def _run(self, chosen: set[int], names: set[str]) -> None:
        """Run, in notebook order, the chosen statements, those that bind or may change these names, and all that they
        need."""

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
            for name in (other.binds | other.touches & set(self.uses)) & seen & set(vars(self.module)):
                self.report.not_run.setdefault(name, other.place)

    def _execute(self, statement: Statement) -> None:
        names = vars(self.module)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.Module([statement.node], [])
                code = compile(tree, statement.cell.name, "exec", flags=statement.flags, dont_inherit=True)
            with without_stdin():
                exec(code, names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and pytest's Skipped too: a definition costs no more than its names
            sentence = self._why(error, statement)
            for name in statement.binds:
                names.pop(name, None)
                self.report.failed[name] = sentence
                if self._is_todo(error):
                    self.report.unwritten.add(name)
            return
        for name in statement.binds & set(names):
            self.report.failed.pop(name, None)
            self.report.unwritten.discard(name)
        # Python 3.13 and later look a class's source up by this line of the module's file
        made = names.get(statement.node.name) if isinstance(statement.node, ast.ClassDef) else None
        if isinstance(made, type) and "__firstlineno__" in vars(made):
            made.__firstlineno__ += self.lines_above[statement.cell.name]  # type: ignore[attr-defined]

    def _is_todo(self, error: BaseException) -> bool:
        """Whether a stub of this lesson raised it, and nothing that torch lacks."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error) is NotImplementedError and last.filename in self.lines_above

    def _why(self, error: BaseException, statement: Statement) -> str:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in self.lines_above]
        at = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else statement.place
        if isinstance(error, NotImplementedError) and self._is_todo(error):
            return f"{at} needs {unwritten(error)}, which isn't written yet."
        try:
            text = " ".join(str(error).split())[:MESSAGE_LIMIT]
        except BaseException:
            text = ""
        if isinstance(error, NameError) and error.name and (deeper := self.reason(error.name)) and deeper not in text:
            text = f"{text}: {deeper}"
        if isinstance(error, ModuleNotFoundError):
            text = (
                f"{text.rstrip('.')} (only the lesson itself is read: copy what you use of a file of your own into it)"
            )
        return f"{at} raised {type(error).__name__}{': ' * bool(text)}{text.rstrip('.')}."


def remember(path: Path, cells: list[Cell]) -> dict[str, int]:
    """Let tracebacks and inspect find the lines: each cell's own, and all cells one below the other for classes, which
    inspect looks up by the module's file. Returns how many lines stand above each cell there."""
    above: dict[str, int] = {}
    everything: list[str] = []
    for cell in cells:
        lines = [line + "\n" for line in cell.source.removesuffix("\n").split("\n")]
        linecache.cache[cell.name] = (len(cell.source), None, lines, cell.name)
        above[cell.name] = 0 if path.suffix == ".py" else len(everything)
        if path.suffix == ".py" and cell.name != str(path):  # it stands on a line of its own, in quotation marks
            continue
        everything += ["\n"] * (cell.before - len(everything))  # prose between the cells of a script
        everything += lines
    linecache.cache[str(path)] = (len(everything), None, everything, str(path))
    return above


@contextlib.contextmanager
def without_stdin() -> Iterator[None]:
    def refuse(*_: object) -> NoReturn:
        raise EOFError("it asks for input, which an import can't give")

    stdin = io.TextIOBase()
    vars(stdin).update(read=refuse, readline=refuse, readlines=refuse)
    before = sys.stdin, builtins.input
    sys.stdin, builtins.input = stdin, refuse
    try:
        yield
    finally:
        sys.stdin, builtins.input = before
