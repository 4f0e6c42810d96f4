"""Mutation testing of the checks: `python -m solutions.misconceptions.mutation` changes the reference, one small thing
at a time.

Cosmic Ray writes the mutants, of the exercises' solutions only. A check of the exercise must refuse each; one that
they all accept shows a check that is missing, unless it is as right as the reference: EQUIVALENT says why.
Needs `pip install -e ".[mutation]"`, and a POSIX system for the time limit.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import sys
from collections.abc import Iterator

try:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.operator import Operator
    from cosmic_ray.plugins import get_operator, operator_names
    from parso.python.tree import Keyword
    from parso.tree import NodeOrLeaf
except ModuleNotFoundError:
    raise SystemExit('Cosmic Ray is missing: pip install -e ".[mutation]"') from None

from checks.tool.exercise import checks_of
from checks.tool.learner import run_checks
from lessons import LESSONS
from solutions.misconceptions import SOLUTION, exercises, load

GOAL = 0.95  # of the mutants that are not equivalent
SEED = 1  # fixed, so that a run can be repeated
TIME_LIMIT = 10  # seconds for all checks of an exercise: a mutant's loop may have no end
MEMORY_LIMIT = 4 * 2**30  # bytes: 4 * dim may have become 4 ** dim

# Mutants as right as the reference: {exercise: {what only the changed line holds: why no check can refuse it}}
EQUIVALENT = {
    "sincos_position_embedding": {
        "arange(dim / 4,": "4 divides dim: the same numbers",
        "/ (dim / 4)": "4 divides dim: the same number",
        "arange(dim // 4, dtype=None)": "computed in float32: as good for a float32 table",
        "arange(grid_size, dtype=None)": "whole numbers are exact in any dtype",
    },
    "Attention": {
        "transpose(2, -1)": "axis 2 of 4 is axis -2",
        "transpose(+2, -1)": "axis 2 of 4 is axis -2",
    },
    "VisionTransformer": {"PatchEmbedding(None,": "lesson 1's reference makes no use of the image's size"},
    "sample_masks": {
        "range( 101)": "how many draws are tried before it gives up is free",
        "range( 99)": "how many draws are tried before it gives up is free",
        "nonzero()[:, -1]": "there is one column",
        "len(short) <= 0": "a length is never negative",
        "masked_fill(~visible, - 2.0)": "keys lie in [0, 1): any number below them will do",
        "masked_fill(~visible, - 0.0)": "a key is 0 once in 2**24",
        "masked_fill(~visible, not 1.0)": "a key is 0 once in 2**24",
    },
    "update_teacher": {
        "strict=False": "teacher and student have the same layers: the contract knows no other case",
        "strict=None": "teacher and student have the same layers: the contract knows no other case",
    },
    "learning_rate_at": {"warmup_steps, 0)": "without a step after the warm-up there is no half cosine to get right"},
    "loss_baselines": {
        "device=None": "the checks run on the CPU",
        "clamp(min= 0)": "no target asks for the mean of a position that is no target",
    },
    "knn_accuracy": {
        "strict=False": "there are as many labels as queries: the contract knows no other case",
        "strict=None": "there are as many labels as queries: the contract knows no other case",
        "chunk.float(), dim=None": "a query's own length does not change which rows are nearest to it",
    },
    "pca_image": {
        "1e-5 / tokens": "how small a difference counts as none is free",
        "1e-5 // tokens": "how small a difference counts as none is free",
    },
    "imagine": {
        "strict=False": "there are targets and predictions for each image: the contract knows no other case",
        "strict=None": "there are targets and predictions for each image: the contract knows no other case",
    },
}


class Drop(Operator):
    """`pass` for a statement, `None` for an argument: Cosmic Ray's own operators find nothing in `layer(tokens)`."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[tuple]:
        if self.substitute(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        return Keyword(self.substitute(node), node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple:
        return ()

    @staticmethod
    def substitute(node: NodeOrLeaf) -> str | None:
        parent = node.parent
        if parent is None or node.type in ("operator", "newline", "argument", "fstring", "string"):
            return None  # the text of a message is free
        if parent.type == "simple_stmt":
            return "pass"
        is_value = parent.type == "argument" and parent.children[1] == "=" and node is parent.children[2]
        is_only = parent.type == "trailer" and parent.children[0] == "("
        return "None" if is_value or is_only or parent.type == "arglist" else None


class Overrun(BaseException):
    """A mutant ran past TIME_LIMIT."""


def mutants(cell: str) -> Iterator[str]:
    """The code of an exercise's cell with one change in its solution: all changes that the operators know."""
    tree = get_ast(cell)
    spans = [match.span() for match in SOLUTION.finditer(cell)]
    starts = [0]
    for line in cell.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for operator in [*map(get_operator, operator_names()), Drop]:
        if operator.arguments():  # needs a variable's name: Cosmic Ray leaves these out too unless told
            continue
        positions = [start for node in ast_nodes(tree) for start, _ in operator().mutation_positions(node)]
        for occurrence, (line, column) in enumerate(positions):
            if any(begin < starts[line - 1] + column < end for begin, end in spans):
                mutant = mutate_code(cell, operator(), occurrence)
                with contextlib.suppress(SyntaxError):  # such as `2 ** not 1`
                    compile(mutant, "mutant", "exec")
                    yield mutant


def is_killed(lesson: str, exercise: str, mutant: str) -> bool:
    """Whether a check of the exercise refuses the mutant. One that breaks doesn't: it can't say what is wrong."""
    module = load(lesson, exercise, mutant)
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    try:
        verdicts = (run_checks([check], module, SEED)[0] for check in checks_of(lesson) if check.exercise == exercise)
        return any(verdict.status == "failed" for verdict in verdicts)
    except Overrun:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def changed(cell: str, mutant: str) -> tuple[str, str]:
    """The first line that a mutant changes: as it was, as it is."""
    lines = zip(cell.splitlines(), mutant.splitlines(), strict=False)
    return next((old.strip(), new.strip()) for old, new in lines if old != new)


def report(lesson: str, exercise: str) -> tuple[int, int]:
    """Print an exercise's line and its survivors -> (mutants that are not equivalent, those killed)."""
    cell = exercises(lesson)[exercise]
    found = set(mutants(cell)) - {cell}
    alive = sorted(changed(cell, mutant) for mutant in found if not is_killed(lesson, exercise, mutant))
    reasons = EQUIVALENT.get(exercise, {})
    survivors = [(old, new) for old, new in alive if not any(part in new for part in reasons)]
    equivalent = len(alive) - len(survivors)
    print(f"{exercise}: {len(found)} mutants, {len(found) - len(alive)} killed, {equivalent} equivalent, ", end="")
    print(f"{len(survivors)} survived", flush=True)
    for old, new in survivors:
        print(f"    - {old}\n    + {new}")
    for part in reasons:
        if not any(part in new for _, new in alive):
            print(f"    no longer needed in EQUIVALENT: {part}")
    return len(found) - equivalent, len(found) - len(alive)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.misconceptions.mutation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help=f"of {', '.join(LESSONS)}; all, if none is named")
    options = parser.parse_args()
    if unknown := set(options.lessons) - set(LESSONS):
        parser.error(f"there is no lesson {', '.join(sorted(unknown))}: choose from {', '.join(LESSONS)}")

    def overrun(number: int, frame: object) -> None:
        raise Overrun

    signal.signal(signal.SIGALRM, overrun)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, resource.RLIM_INFINITY))
    total = killed = 0
    for lesson in options.lessons or LESSONS:
        counts = [report(lesson, exercise) for exercise in exercises(lesson)]
        real, dead = (sum(column) for column in zip(*counts, strict=True))
        print(f"{lesson}: {dead} of {real} killed ({dead / real:.1%})\n")
        total, killed = total + real, killed + dead
    print(f"all: {killed} of {total} killed ({killed / total:.1%}), the goal is {GOAL:.0%}")
    return 0 if killed >= GOAL * total else 1


if __name__ == "__main__":
    sys.exit(main())
