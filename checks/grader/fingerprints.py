"""Fingerprints of a learner's own code: what is left of it after renaming, reformatting and moving it about.

A statement becomes a row of tokens, the nodes of its syntax tree. Names that the learner chose and the text of strings
are left out; names that others chose (`permute`, `torch`), operators and numbers stay. Every LENGTH tokens in a row
have a hash. None reaches from one statement into the next, so that a new order of statements, or a helper that takes
some of them, changes none. (Rows that do, as winnowing has them, found half as many of the copies in the tests' class.)
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lessons.reading.cells import CANNOT_PARSE, Cell, LessonError, parse_text, read_cells
from lessons.reading.statements import FUNCTIONS_AND_CLASSES, MAGIC, is_definition

LENGTH = 6  # tokens of a fingerprint
LEAST = 4  # tokens of a statement that is shorter than that: `return x` says nothing
# a fingerprint of these alone says nothing: it hands the learner's own names on, as the call of any helper does
PLAIN = {
    "name",
    "attribute",
    "keyword",
    "text",
    "Assign",
    "Return",
    "Expr",
    "Call",
    "Tuple",
    "FunctionDef",
    "arguments",
    "arg",
}
MOST_CHARACTERS = 200_000  # of a learner's code: what is longer is no answer, and not compared

MAKES = (*FUNCTIONS_AND_CLASSES, ast.Lambda)
ROWS = (ast.stmt, ast.ExceptHandler, ast.match_case)  # where a row begins

Token = tuple[str, int]  # and the line of the code, counted from 0


@dataclass(frozen=True)
class Code:
    """A learner's definitions, one below the other. prints: {fingerprint: the lines that it was found on}."""

    lines: tuple[str, ...]
    prints: Mapping[int, frozenset[int]]


@dataclass(frozen=True)
class Definition:
    node: ast.stmt
    source: list[str]  # its lines
    first: int  # the line of its cell at which they begin, counted as the node counts


def code_of(label: str, content: bytes, whole: bool = False) -> Code:
    """The functions and classes of a notebook or script, and their fingerprints.

    label: the file's name. whole: all of its statements, demos too. Raises LessonError for a file that can't be read or
    is too long.
    """
    cells = [cell for cell in read_cells(Path(label), content) if cell.kind == "code"]
    if sum(len(cell.source) for cell in cells) > MOST_CHARACTERS:
        raise LessonError(f"{label} holds more than {MOST_CHARACTERS} characters of code.")
    statements = [(cell, node) for cell in cells for node in statements_of(cell)]
    names = Names([node for _, node in statements])
    lines: list[str] = []
    prints: dict[int, set[int]] = {}
    for definition in definitions(statements, whole):
        offset = len(lines) - definition.first
        for row in names.rows(definition.node):
            for value, places in fingerprints(row):
                prints.setdefault(value, set()).update(place + offset for place in places)
        lines += [*definition.source, ""]
    return Code(tuple(lines[:-1]), {value: frozenset(places) for value, places in prints.items()})


def statements_of(cell: Cell) -> list[ast.stmt]:
    """The statements of a cell, without its magics; none if it can't be parsed."""
    without_magics = "\n".join("" if MAGIC.match(line) else line for line in cell.source.split("\n"))
    for text in (cell.source, without_magics):
        try:
            return parse_text(cell, text)
        except CANNOT_PARSE:
            continue
    return []


def definitions(statements: list[tuple[Cell, ast.stmt]], whole: bool) -> Iterator[Definition]:
    for cell, node in statements:
        if whole or (is_definition(node) and any(isinstance(part, MAKES) for part in ast.walk(node))):
            first = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", []))])
            lines = cell.source.split("\n")
            yield Definition(node, lines[first - 1 - cell.before : (node.end_lineno or first) - cell.before], first)


class Names:
    """Which names of a notebook the learner chose, and what stands behind the names of its imports.

    Variables, attributes and parameters apart: `mean` is torch's in `x.mean()`, whatever a variable is called.
    """

    def __init__(self, statements: list[ast.stmt]):
        self.own: set[str] = set()
        self.attributes: set[str] = set()
        self.parameters: set[str] = set()
        self.imported: dict[str, str] = {}
        for node in (inner for statement in statements for inner, _ in walk(statement)):
            match node:
                case ast.Name(name, ast.Store() | ast.Del()) | ast.ExceptHandler(name=str(name)):
                    self.own.add(name)
                case ast.arg(name):
                    self.parameters.add(name)
                case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                    self.own.add(name)
                    self.attributes.add(name)
                case ast.Attribute(attr=name, ctx=ast.Store()):
                    self.attributes.add(name)
                case ast.Import(names) | ast.ImportFrom(names=names):
                    self.imported |= {alias.asname or alias.name: alias.name for alias in names}
        self.own = (self.own | self.parameters) - set(self.imported)

    def rows(self, statement: ast.stmt) -> list[list[Token]]:
        """What a statement is made of, in the order of its text, a row for each statement in it."""
        rows: list[list[Token]] = []
        for node, line in walk(statement):
            if isinstance(node, ROWS):
                rows.append([])
            rows[-1].append((self.token(node), line))
        return rows

    def token(self, node: ast.AST) -> str:
        match node:
            case ast.Name(name):
                return "name" if name in self.own else self.imported.get(name, name)
            case ast.Attribute(attr=name):
                return "attribute" if name in self.attributes else f".{name}"
            case ast.keyword(arg=str(name)):
                return "keyword" if name in self.parameters else f"{name}="
            case ast.Constant(str() | bytes()) | ast.JoinedStr():
                return "text"
            case ast.Constant(value):
                return f"{value!r:.20}"
            case _:
                return type(node).__name__


def walk(statement: ast.stmt) -> Iterator[tuple[ast.AST, int]]:
    """The nodes below a statement that compute something, each with its line: neither docstrings nor annotations.

    `x += y` is walked as `x = x + y` is.
    """
    stack: list[tuple[ast.AST, int]] = [(statement, statement.lineno)]
    while stack:
        node, line = stack.pop()
        line = getattr(node, "lineno", line)
        match node:
            case ast.expr_context() | ast.Pass() | ast.Expr(ast.Constant()):
                continue
            case ast.AugAssign(target, operator, value):
                parts: list[ast.AST] = [target, ast.BinOp(target, operator, value)]
                node = ast.Assign([target], value)
            case ast.AnnAssign(target, _, value):
                parts = [target, *([value] if value else [])]
                node = ast.Assign([target], value) if value else ast.Pass()
            case ast.arg() | ast.JoinedStr():
                parts = []
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                parts = [*node.decorator_list, node.args, *node.body]
            case ast.ClassDef():
                parts = [*node.decorator_list, *node.bases, *node.keywords, *node.body]
            case _:
                parts = list(ast.iter_child_nodes(node))
        yield node, line
        stack += [(part, line) for part in reversed(parts)]


def fingerprints(row: list[Token]) -> Iterator[tuple[int, set[int]]]:
    """The fingerprints of a row, each with its lines. A row shorter than LENGTH is one, or none."""
    if len(row) >= LEAST:
        for start in range(max(len(row) - LENGTH + 1, 1)):
            part = row[start : start + LENGTH]
            if {token for token, _ in part} <= PLAIN:
                continue
            yield hash_of([token for token, _ in part]), {line for _, line in part}


def hash_of(tokens: list[str]) -> int:
    """The same on every machine, unlike Python's own."""
    return int.from_bytes(hashlib.blake2b("\n".join(tokens).encode(), digest_size=8).digest(), "big")
