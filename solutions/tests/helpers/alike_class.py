"""A class whose students wrote alone, each in a style of their own, and some with another's code in disguise.

    python -m solutions.tests.helpers.alike_class [SEED ...]

says how many of the ten copies are among the first twelve pairs of a class of 300, for each lesson.
"""

import ast
import builtins
import copy
import functools
import random
import sys
import textwrap
from collections.abc import Callable, Iterator

from checks.grader.alike import given
from checks.grader.fingerprints import code_of
from checks.grader.likeness import most_alike
from lessons import LESSONS
from solutions.misconceptions import EDIT, answers, exercises
from solutions.tests.helpers.notebooks import notebook

WORDS = (
    "acc area base block box cols cut depth edge flat grid half idx item keep left mean mid num out part pos res rows \
seq side size span state step tmp tok top total val vec width work".split()
)


@functools.cache
def cells_by_exercise(lesson: str) -> dict[str, list[str]]:
    """The published answers of a lesson that are no small change of the reference, and the reference."""
    cells = {name: [cell] for name, cell in exercises(lesson).items()}
    for answer in answers(lesson):
        if answer.exercise in cells and not EDIT.search(answer.body):
            cells[answer.exercise].append(answer.body)
    return cells


ASSURED = ("is not None", "is not False", "!= 'nothing'", "is not NotImplemented", "not in ('', 'x')")
OTHER_WAY = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq}
FUNCTIONS = (
    "reshape permute sum mean flatten gather transpose square sqrt clamp unsqueeze repeat_interleave var std".split()
)
OTHER_NAME = {"view": "reshape", "reshape": "view", "transpose": "swapaxes", "square": "pow", "cat": "concat"}
TAKE_DIM = (
    "sum mean flatten cat stack unbind unsqueeze gather unflatten var std argmax argsort sort any all cumsum".split()
)


class Habits(ast.NodeTransformer):
    """How someone writes one and the same answer: each habit stands for a choice that people make without thinking.

    likes: how probable each habit is at each place.
    """

    def __init__(self, rng: random.Random, likes: float):
        self.rng, self.likes, self.made = rng, likes, 0

    def does(self) -> bool:
        return self.rng.random() < self.likes

    def new_name(self) -> str:
        self.made += 1
        return f"step_{self.made}"

    # expressions

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Operands the other way round; a square, a root or a negative as another expression."""
        self.generic_visit(node)
        if isinstance(node.op, ast.Add | ast.Mult) and self.does():
            return ast.BinOp(node.right, node.op, node.left)
        if (
            isinstance(node.op, ast.Pow)
            and is_number(node.right, 2)
            and isinstance(node.left, ast.Name)
            and self.does()
        ):
            return ast.BinOp(node.left, ast.Mult(), copy.deepcopy(node.left))
        if isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant) and self.does():
            return ast.BinOp(node.left, ast.Mult(), ast.BinOp(ast.Constant(1), ast.Div(), node.right))
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Sides exchanged, or `not ... ==`."""
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in OTHER_WAY and self.does():
            node = ast.Compare(node.comparators[0], [OTHER_WAY[type(node.ops[0])]()], [node.left])
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.NotEq) and self.does():
            return ast.UnaryOp(ast.Not(), ast.Compare(node.left, [ast.Eq()], node.comparators))
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`x.shape[0]` or `x.size(0)` or `len(x)`; `x[None]` or `x.unsqueeze(0)`; `x[a:]` or `x[a:, ...]`."""
        self.generic_visit(node)
        match node:
            case ast.Subscript(ast.Attribute(value, "shape"), ast.Constant(int() as place)) if self.does():
                if place == 0 and self.does():
                    return call(ast.Name("len", ast.Load()), value)
                return call(ast.Attribute(value, "size", ast.Load()), ast.Constant(place))
            case ast.Subscript(value, ast.Constant(None)) if self.does():
                return call(ast.Attribute(value, "unsqueeze", ast.Load()), ast.Constant(0))
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`nn.functional.x` or `F.x`."""
        self.generic_visit(node)
        match node:
            case ast.Attribute(ast.Name("nn"), "functional") if self.does():
                return ast.Name("F", ast.Load())
            case ast.Attribute(ast.Name("F"), name) if self.does():
                return ast.parse(f"torch.nn.functional.{name}", mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Functions for methods or the reverse, other names for the same, keywords or none, a default that is said."""
        self.generic_visit(node)
        match node.func:
            case ast.Name("len") if node.args and self.does():
                return ast.Subscript(ast.Attribute(node.args[0], "shape", ast.Load()), ast.Constant(0), ast.Load())
            case ast.Attribute(ast.Name("nn"), "Linear" | "Conv2d") if self.does():
                node.keywords.append(ast.keyword("bias", ast.Constant(True)))
            case ast.Attribute(ast.Name("torch"), name) if name in FUNCTIONS and node.args and self.does():
                if not isinstance(node.args[0], ast.List | ast.Tuple | ast.ListComp | ast.GeneratorExp | ast.Starred):
                    node = ast.Call(ast.Attribute(node.args[0], name, ast.Load()), node.args[1:], node.keywords)
            case ast.Attribute(value, name) if name in FUNCTIONS and not is_module(value) and self.does():
                node = ast.Call(torch_function(name), [value, *node.args], node.keywords)
        match node.func:
            case ast.Attribute(value, name) if name in OTHER_NAME and self.does():
                more = [ast.Constant(2)] if name == "square" else []
                node = ast.Call(ast.Attribute(value, OTHER_NAME[name], ast.Load()), [*node.args, *more], node.keywords)
        match node:
            case ast.Call(ast.Attribute(_, name), [*_, ast.Constant(int() | bool()) as last], []) if name in TAKE_DIM:
                if self.does():
                    return ast.Call(node.func, node.args[:-1], [ast.keyword("dim", last)])
            case ast.Call(ast.Attribute(_, name), args, [ast.keyword("dim", value)]) if (
                name in TAKE_DIM and self.does()
            ):
                return ast.Call(node.func, [*args, value], [])
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        self.generic_visit(node)
        return ast.ListComp(node.elt, node.generators) if self.does() else node

    # statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body = self.body(node.body)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.body = self.body(node.body)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.body = self.body(node.body)
        return node

    def body(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Steps with names or none, loops or comprehensions, lines that assure, statements in another order."""
        written: list[ast.stmt] = []
        for statement in joined(statements, self.does):
            written += self.steps_of(statement)
            match written[-1]:
                case ast.Assign([ast.Name(name)]) if self.rng.random() < self.likes / 3:
                    written += ast.parse(f"assert {name} {self.rng.choice(ASSURED)}, {self.rng.choice(WORDS)!r}").body
        swap(written, self.rng)
        return written

    def steps_of(self, statement: ast.stmt) -> list[ast.stmt]:
        """A statement, or several that do the same."""
        match statement:
            case ast.Assign([ast.Name() as name], ast.ListComp(element, [ast.comprehension(target, of, [], 0)])):
                if self.does():  # a loop
                    append = call(ast.Attribute(ast.Name(name.id, ast.Load()), "append", ast.Load()), element)
                    return [ast.Assign([name], ast.List([], ast.Load())), ast.For(target, of, [ast.Expr(append)], [])]
            case ast.Assign([ast.Tuple(names)], ast.Attribute(_, "shape") as shape):
                if self.does():  # one after the other
                    places = [
                        ast.Subscript(copy.deepcopy(shape), ast.Constant(n), ast.Load()) for n in range(len(names))
                    ]
                    return [ast.Assign([one], place) for one, place in zip(names, places, strict=True)]
            case ast.If(test, [ast.Raise()], []) if not isinstance(test, ast.Name) and self.does():
                name = self.new_name()
                statement.test = ast.Name(name, ast.Load())
                return [ast.Assign([ast.Name(name, ast.Store())], test), statement]
        before: list[ast.stmt] = []
        if isinstance(statement, ast.Assign | ast.Return) and statement.value:
            value = statement.value
            if isinstance(value, ast.Call) and self.does():
                for place, argument in enumerate(value.args):
                    if isinstance(argument, ast.BinOp | ast.Call | ast.Subscript) and self.does():
                        value.args[place] = self.step(argument, before)
                match value.func:
                    case ast.Attribute(ast.Call() as inner, _) if self.does():
                        value.func.value = self.step(inner, before)
            if isinstance(value, ast.BinOp) and self.does():
                for side in ("left", "right"):
                    if isinstance(getattr(value, side), ast.BinOp | ast.Call | ast.Subscript) and self.does():
                        setattr(value, side, self.step(getattr(value, side), before))
            if isinstance(statement, ast.Return) and not isinstance(value, ast.Name) and self.does():
                statement.value = self.step(value, before)
        return [*before, statement]

    def step(self, value: ast.expr, before: list[ast.stmt]) -> ast.Name:
        name = self.new_name()
        before.append(ast.Assign([ast.Name(name, ast.Store())], value))
        return ast.Name(name, ast.Load())


def call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])


def torch_function(name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name("torch", ast.Load()), name, ast.Load())


def is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "F", "nn", "math", "np")


def is_number(node: ast.expr, number: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


def joined(statements: list[ast.stmt], does: Callable[[], bool]) -> list[ast.stmt]:
    """Statements, where some of what was only said to be used once in the next line is written there."""
    found = list(statements)
    for place in range(len(found) - 2, -1, -1):
        match found[place], found[place + 1]:
            case ast.Assign([ast.Name(name)], value), (ast.Assign() | ast.Return() | ast.AugAssign()) as user:
                uses = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name]
                here = [n for n in ast.walk(user) if isinstance(n, ast.Name) and n.id == name]
                if len(uses) == 2 and len(here) == 1 and does():
                    found[place : place + 2] = [Inlined(name, value).visit(user)]
            case ast.Assign([ast.Name(name)], ast.List([])), ast.For(target, of, [ast.Expr(ast.Call() as append)], []):
                match append:
                    case ast.Call(ast.Attribute(ast.Name(other), "append"), [element]) if other == name and does():
                        value = ast.ListComp(element, [ast.comprehension(target, of, [], 0)])
                        found[place : place + 2] = [ast.Assign([ast.Name(name, ast.Store())], value)]
    return found


class Inlined(ast.NodeTransformer):
    """A name's value in its place."""

    def __init__(self, name: str, value: ast.expr):
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.value if node.id == self.name else node


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
                {n.id for n in ast.walk(last.value) if isinstance(n, ast.Name)} - {"torch", "F", "nn", "math", "np"}
            )
            used = [name for name in used if name not in dir(builtins)]
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


def copies_found(lesson: str, seed: int, handed_out: set[int], students: int = 300, copies: int = 10) -> int:
    """How many of the copies in a class are among its first pairs, of whom there are two more than copies."""
    written, pairs = class_of(lesson, students, copies, seed)
    prints = {name: code_of("a.ipynb", notebook(cells)).prints.keys() - handed_out for name, cells in written.items()}
    assert len(prints) == students and len(pairs) == copies
    return sum(frozenset(pair.students) in pairs for pair in most_alike({lesson: prints}, copies + 2))


if __name__ == "__main__":
    course = given()
    for chosen in map(int, sys.argv[1:] or ["5"]):
        for name in LESSONS:
            print(f"seed {chosen}, {name}: {copies_found(name, chosen, course)} of 10", flush=True)
