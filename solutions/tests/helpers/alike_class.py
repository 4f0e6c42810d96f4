"""A class whose students wrote alone, each in a style of their own, and some with another's code in disguise."""

import ast
import functools
import random
import textwrap
from collections.abc import Iterator

from solutions.misconceptions import EDIT, answers, exercises

WORDS = (
    "acc area base block box cols cut depth edge flat grid half idx item keep left mean mid num out part pos res rows \
seq side size span state step tmp tok top total val vec width work".split()
)


@functools.cache
def cells_by_exercise(lesson: str) -> dict[str, list[str]]:
    """The published answers of a lesson that are no small change of the reference, and the reference."""
    cells = {name: [cell] for name, cell in exercises(lesson).items()}
    for answer in answers(lesson):
        if not EDIT.search(answer.body):
            cells[answer.exercise].append(answer.body)
    return cells


class Habits(ast.NodeTransformer):
    """How someone writes: operands the other way round, functions for methods, steps with names, lines that assure.

    likes: how probable each habit is at each place.
    """

    def __init__(self, rng: random.Random, likes: float):
        self.rng, self.likes, self.made = rng, likes, 0

    def does(self) -> bool:
        return self.rng.random() < self.likes

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Add | ast.Mult) and self.does():
            return ast.BinOp(node.right, node.op, node.left)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        other = {
            ast.Lt: ast.Gt,
            ast.Gt: ast.Lt,
            ast.LtE: ast.GtE,
            ast.GtE: ast.LtE,
            ast.Eq: ast.Eq,
            ast.NotEq: ast.NotEq,
        }
        if len(node.ops) == 1 and type(node.ops[0]) in other and self.does():
            return ast.Compare(node.comparators[0], [other[type(node.ops[0])]()], [node.left])
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(
                value, "reshape" | "permute" | "sum" | "mean" | "flatten" | "gather" | "transpose" as name
            ):
                if self.does():
                    return ast.Call(
                        ast.Attribute(ast.Name("torch", ast.Load()), name, ast.Load()),
                        [value, *node.args],
                        node.keywords,
                    )
        return node

    def body(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        written: list[ast.stmt] = []
        for statement in statements:
            if isinstance(statement, ast.Assign | ast.Return) and isinstance(statement.value, ast.Call) and self.does():
                for place, argument in enumerate(statement.value.args):
                    if isinstance(argument, ast.BinOp | ast.Call | ast.Subscript) and self.does():
                        self.made += 1
                        name = f"step_{self.made}"
                        written.append(ast.Assign([ast.Name(name, ast.Store())], argument))
                        statement.value.args[place] = ast.Name(name, ast.Load())
            written.append(statement)
            match statement:
                case ast.Assign([ast.Name(name)]) if self.rng.random() < self.likes / 3:
                    about = self.rng.choice(
                        ["is not None", "is not False", ".__class__ is not str", "!= 'nothing'", ".__doc__ != 0"]
                    )
                    glue = "" if about.startswith(".") else " "
                    written += ast.parse(f"assert {name}{glue}{about}, {self.rng.choice(WORDS)!r}").body
        return written

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body = self.body(node.body)
        return node


def renamed(tree: ast.Module, rng: random.Random) -> ast.Module:
    """Other names for all local variables of the functions."""
    words = rng.sample(WORDS, len(WORDS))
    stored = {
        n.id for f in functions(tree) for n in ast.walk(f) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    new = {name: f"{words[place % len(words)]}{place // len(words) or ''}" for place, name in enumerate(sorted(stored))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in new:
            node.id = new[node.id]
    return tree


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def own_notebook(lesson: str, rng: random.Random) -> list[str]:
    """The cells of someone who chose one of the published answers for each exercise and wrote it as they write."""
    habits = Habits(rng, likes=rng.uniform(0.15, 0.5))
    written = []
    for cells in cells_by_exercise(lesson).values():
        tree = habits.visit(ast.parse(rng.choice(cells)))
        written.append(ast.unparse(ast.fix_missing_locations(renamed(tree, rng))))
    return written


def with_helper(tree: ast.Module, rng: random.Random) -> ast.Module:
    """The value that one of the functions returns comes from a new function."""
    for node in rng.sample(found := list(functions(tree)), len(found)):
        last = node.body[-1]
        if isinstance(last, ast.Return) and isinstance(last.value, ast.Call | ast.BinOp):
            used = sorted(
                {n.id for n in ast.walk(last.value) if isinstance(n, ast.Name)} - {"torch", "F", "nn", "math"}
            )
            used = [name for name in used if name not in dir(__builtins__)]
            made = ast.parse(f"def finish({', '.join(used)}):\n    pass\n").body[0]
            made.body = [ast.Return(last.value)]
            last.value = ast.parse(f"finish({', '.join(used)})", mode="eval").body
            return ast.Module([made, *tree.body], [])
    return tree


def disguised(cells: list[str], rng: random.Random) -> list[str]:
    """The same notebook with other names, other lines, in another order, and with a helper."""
    written = []
    for cell in rng.sample(cells, len(cells)):
        tree = with_helper(renamed(ast.parse(cell), rng), rng)
        for node in functions(tree):
            swap(node.body, rng)
        text = ast.unparse(ast.fix_missing_locations(tree))
        lines = [
            f"{line}  # {rng.choice(WORDS)}" if rng.random() < 0.2 and "'" not in line else line
            for line in text.split("\n")
        ]
        written.append("\n".join(part for line in lines for part in ([line, ""] if rng.random() < 0.1 else [line])))
    return written


def swap(body: list[ast.stmt], rng: random.Random) -> None:
    """Neighbours that assign and don't use each other change places."""
    for place in range(len(body) - 1):
        one, other = body[place : place + 2]
        if isinstance(one, ast.Assign) and isinstance(other, ast.Assign) and rng.random() < 0.5:
            bound = {
                n.id for part in (one, other) for t in part.targets for n in ast.walk(t) if isinstance(n, ast.Name)
            }
            used = {n.id for part in (one, other) for n in ast.walk(part.value) if isinstance(n, ast.Name)}
            if not bound & used:
                body[place : place + 2] = [other, one]


def class_of(lesson: str, students: int, copies: int, seed: int) -> tuple[dict[str, list[str]], set[frozenset[str]]]:
    """{student: cells}, and the pairs of whom one has the other's notebook."""
    rng = random.Random(seed)
    names = [f"student{number:03d}" for number in range(students)]
    rng.shuffle(names)
    written = {name: own_notebook(lesson, rng) for name in names[copies:]}
    pairs = set()
    for name, other in zip(names[:copies], rng.sample(names[copies:], copies), strict=True):
        written[name] = disguised(written[other], rng)
        pairs.add(frozenset((name, other)))
    return {name: [textwrap.dedent(cell) for cell in cells] for name, cells in written.items()}, pairs
