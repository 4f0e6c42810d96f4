"""From code cells to statements: which names each one binds and uses, and whether an import may run it."""

from __future__ import annotations
import __future__ as future

import ast
import itertools
import os
import re
import symtable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast

from lessons.reading.cells import CANNOT_PARSE, DEFINED, Cell, LessonError, parse_text, read_cells

PYTHON_CELL_MAGICS = ("%%time", "%%capture", "%%prun")  # below these, IPython keeps what a cell defines
WITHOUT_SIGN = (  # commands that IPython takes without a % or ! before them: `pip install torch`, `cd ..`
    "autoreload|cat|cd|conda|config|cp|env|history|ldir|less|load|load_ext|ls|mamba|man|matplotlib|micromamba|mkdir|more|"
    "mv|pdb|pinfo|pip|prun|pwd|pylab|reload_ext|reset|rm|rmdir|run|store|time|timeit|uv|who|whos|xmode"
)
MAGIC = re.compile(rf"\s*(%|!|\?|[\w.]+\s*=\s*[%!]|[\w.*%]+\?{{1,2}}\s*$)|({WITHOUT_SIGN})\s")

PACKAGE = "lessons"  # whose modules a lesson imports

FUNCTIONS_AND_CLASSES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, *([ast.TypeAlias] if hasattr(ast, "TypeAlias") else []))
TRIES: tuple[type[ast.stmt], ...] = (ast.Try, *([ast.TryStar] if hasattr(ast, "TryStar") else []))

Made = TypeVar("Made", bound=ast.stmt)


@dataclass
class Report:
    """What happened while a lesson was read; `module.__report__`.

    duplicates: functions and classes defined more than once, with every place; the last one counts.
    stubs: functions and classes that still end in `raise NotImplementedError`.
    syntax_errors: one sentence a cell; nothing in such a cell is used.
    failed: names that are not there because their definition raised, each with a sentence; grows as names are needed.
    unwritten: those of them that only wait for an exercise which is still a stub.
    left_out: functions and classes in cells that keep no definitions, such as one below %%timeit, each with a sentence.
    ignored: places of magics, shell lines and help lines.
    not_run: names in use that a statement may change which isn't run, such as a loop or a bare call, with its place.
    """

    duplicates: dict[str, list[str]] = field(default_factory=dict)
    stubs: list[str] = field(default_factory=list)
    syntax_errors: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
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
            *(f"{name} is not defined: {why}" for name, why in self.failed.items() if name not in self.unwritten),
            *(
                f"{name} may also be changed in {at}, which is not run: only definitions and assignments are."
                for name, at in self.not_run.items()
            ),
        ]


@dataclass(frozen=True)
class Statement:
    node: ast.stmt
    cell: Cell
    flags: int  # of the __future__ imports above it
    binds: frozenset[str]  # global names that it binds, and those whose objects it changes
    uses: frozenset[str]  # global names, in function bodies too
    touches: frozenset[str]  # global names that it hands to code which may change their objects

    @property
    def place(self) -> str:
        return line_of(self.cell, self.node.lineno)


def line_of(cell: Cell, line: int) -> str:
    return f"{Path(cell.name).name}, line {line}"


def parse(cell: Cell, report: Report) -> list[ast.stmt]:
    """The statements of a cell, without magics; none if it has a syntax error."""
    if cell.kind != "code":
        why = f"it stands in {Path(cell.name).name}, which is not run: make it a code cell."
        report.left_out.update(dict.fromkeys(DEFINED.findall(cell.source), why))
        return []
    lines = cell.source.split("\n")

    def ignore(number: int) -> None:
        report.ignored.append(line_of(cell, cell.before + number + 1))
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
            why = f"it stands in {line_of(cell, cell.before + first + 1)}, below {magic}, which keeps no definitions."
            report.left_out.update(dict.fromkeys(DEFINED.findall(cell.source), why))
            return []
    while True:
        try:
            return parse_text(cell, "\n".join(lines))
        except CANNOT_PARSE as error:
            number = (getattr(error, "lineno", None) or cell.before + 1) - cell.before - 1
            if isinstance(error, SyntaxError) and 0 <= number < len(lines) and MAGIC.match(lines[number]):
                ignore(number)
                continue
            what = error.msg if isinstance(error, SyntaxError) else "this can't be read as Python"
            sentence = (
                f"{line_of(cell, cell.before + number + 1)} has a syntax error ({what}); nothing in this cell is used."
            )
            report.syntax_errors.append(sentence)
            report.failed.update(dict.fromkeys(DEFINED.findall(cell.source), sentence))
            return []


def statements_of(cells: list[Cell], report: Report, rewrite: ast.NodeTransformer | None = None) -> list[Statement]:
    """All statements of a lesson, in notebook order. rewrite: changes the imports of the course's own modules."""
    found: list[Statement] = []
    flags = 0
    imported: set[str] = set()
    for cell in cells:
        tree = ast.Module(parse(cell, report) if cell.source.strip() else [], [])
        tree = rewrite.visit(tree) if rewrite and PACKAGE in cell.source else tree
        for node in itertools.chain.from_iterable(map(one_a_name, tree.body)):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                for alias in node.names:
                    flags |= getattr(getattr(future, alias.name, None), "compiler_flag", 0)
            try:
                binds, uses = global_names(node)
            except CANNOT_PARSE as error:  # such as a `return` outside of a function
                what = error.msg if isinstance(error, SyntaxError) else "this can't be read as Python"
                report.syntax_errors.append(f"{line_of(cell, node.lineno)} has a syntax error ({what}).")
                continue
            imported |= binds if isinstance(node, IMPORTS) else set()
            touches = handed_over(node) - imported - binds
            if not isinstance(node, FUNCTIONS_AND_CLASSES):
                # `torch.x = ...` changes torch for everybody: that isn't a definition
                binds |= {root for target in ast.walk(node) if (root := changed(target))} - imported
            found.append(Statement(node, cell, flags, frozenset(binds), frozenset(uses), frozenset(touches - binds)))
    return found


def one_a_name(node: ast.stmt) -> list[ast.stmt]:
    """An import of several names as one import a name: one that is missing must not cost the others."""
    if isinstance(node, ast.ImportFrom):
        return [in_place_of(node, ast.ImportFrom(node.module, [alias], node.level)) for alias in node.names]
    if isinstance(node, ast.Import):
        return [in_place_of(node, ast.Import([alias])) for alias in node.names]
    return [node]


def in_place_of(old: ast.stmt, new: Made) -> Made:
    """The new statement at the old one's lines."""
    return ast.fix_missing_locations(ast.copy_location(new, old))


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


def changed(node: ast.AST) -> str | None:
    """The name whose object an assignment to an item or attribute changes: `table[0] = 1`, `Block.forward = f`, and
    `setattr(Block, "forward", f)`, which is the same."""
    if is_setattr(node):
        return root(node.args[0])
    is_target = isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store)
    return root(node) if is_target else None


def is_setattr(node: ast.AST) -> TypeGuard[ast.Call]:
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr"
    return named and len(cast(ast.Call, node).args) == 3


def root(node: ast.AST) -> str | None:
    """The name that an expression such as `Block.table[0]` starts with."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def handed_over(node: ast.stmt) -> set[str]:
    """The names that a statement hands to code which may change their objects, while it runs.

    A function or class: what its decorators, bases and, below a decorator, its signature name. Anything else: what it
    calls methods of, and what it hands to calls that are made of calls, such as `add_to_class(Block)(forward)`.
    """
    if isinstance(node, FUNCTIONS_AND_CLASSES):
        return {name for part in run_at_definition(node) for name in names_in(part)}
    if isinstance(node, ASSIGNMENTS + IMPORTS):
        return set()
    found: set[str | None] = set()
    for call in bare_calls(node):
        found.add(root(call.func) if isinstance(call.func, ast.Attribute) else None)
        found |= set(names_in(call.func)) if isinstance(call.func, ast.Call) else set()
    return {name for name in found if name}


def bare_calls(node: ast.stmt) -> list[ast.Call]:
    """The calls in a statement whose results nobody takes."""
    bare = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Expr)]
    return [value for value in bare if isinstance(value, ast.Call)]


def run_at_definition(node: ast.stmt) -> list[ast.AST]:
    """The parts of a function or class that run when it is defined and may change something else."""
    if isinstance(node, ast.ClassDef):
        parts: list[ast.AST] = [*node.decorator_list, *node.bases, *node.keywords]
        return parts + [part for inner in node.body for part in run_at_definition(inner)]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*node.decorator_list, node.args] if node.decorator_list else []
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def names_in(node: ast.AST) -> list[str]:
    """The names in an expression, those in quotation marks too: `self: "Attention"`."""
    inner = list(ast.walk(node))
    quoted = [part.value for part in inner if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return [part.id for part in inner if isinstance(part, ast.Name)] + [word for word in quoted if word.isidentifier()]


def parts(node: ast.stmt) -> list[ast.stmt]:
    """The statement itself, or the statements in an if or try block."""
    if not isinstance(node, (ast.If, *TRIES)):
        return [node]
    block: Any = node
    inner: list[ast.stmt] = [*block.body, *block.orelse, *getattr(block, "finalbody", [])]
    inner += [handled for handler in getattr(block, "handlers", []) for handled in handler.body]
    return [part for statement in inner for part in parts(statement)]


def is_definition(node: ast.stmt) -> bool:
    """Whether an import may run it: an import, function, class or assignment (`setattr` too), or an if or try block of
    these alone."""
    allowed = FUNCTIONS_AND_CLASSES + IMPORTS + ASSIGNMENTS
    if isinstance(node, (ast.If, *TRIES)):
        return all(is_definition(part) or isinstance(part, ast.Pass | ast.Raise) for part in parts(node))
    return isinstance(node, allowed) or (isinstance(node, ast.Expr) and is_setattr(node.value))


def runs_always(node: ast.stmt) -> bool:
    """Functions and classes; and `from x import *`, of which nobody knows what it binds."""
    return any(
        isinstance(part, FUNCTIONS_AND_CLASSES) or (isinstance(part, ast.ImportFrom) and part.names[0].name == "*")
        for part in parts(node)
    )


def is_stub(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(is_stub(inner) for inner in node.body if isinstance(inner, ast.FunctionDef))
    last = node.body[-1] if isinstance(node, FUNCTIONS_AND_CLASSES) else None
    raised = last.exc if isinstance(last, ast.Raise) else None
    raised = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


class WithoutPass(ast.NodeTransformer):
    """Leaves out each `pass` that isn't alone: a magic in a block was read as one, or was a comment."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name, block in ast.iter_fields(node):
            if isinstance(block, list) and (kept := [part for part in block if not isinstance(part, ast.Pass)]):
                setattr(node, name, kept)
        return node


def definitions_of(cells: list[Cell]) -> list[str]:
    """What counts when a notebook and a script are compared: their definitions, and the cells that can't be parsed."""
    report = Report()
    definitions = [ast.dump(WithoutPass().visit(s.node)) for s in statements_of(cells, report) if is_definition(s.node)]
    return [*definitions, *sorted(report.failed), str(len(report.syntax_errors))]


def own_cells(home: Path) -> tuple[Path, list[Cell]]:
    """A lesson's notebook, or the script beside it, and its code cells. home: the lesson's folder.

    Raises LessonError if there is neither, or if they hold different code.
    """
    found = [path for path in (home / f"{home.name}.ipynb", home / f"{home.name}.py") if os.path.lexists(path)]
    if not found:
        raise LessonError(f"there is no notebook of lesson {home.name[3:]}: {home / home.name}.ipynb is not there.")
    cells = [read_cells(path) for path in found]
    if len(found) == 2 and definitions_of(cells[0]) != definitions_of(cells[1]):
        raise LessonError(
            f"{found[0].name} and {found[1].name} hold different code: keep the one that you edit, move the other away."
        )
    return found[0], cells[0]
