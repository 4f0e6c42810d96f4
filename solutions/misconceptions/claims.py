"""Whether what the checks say of an answer is true: `python -m solutions.misconceptions.claims` tries the published
wrong answers and some 200 mutants of the reference.

A mistake is a transformation of the right answer. Its name is true of an answer if the two give the same numbers
whatever comes in: so a check that names it must name it again with other random inputs, with every seed with which it
refuses the answer. What is stated as a fact without such a comparison stands in FACTS, beside another way to see it.
Mutants need `pip install -e ".[mutation]"`, and a POSIX system for the time limit.
"""

from __future__ import annotations

import argparse
import copy
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from random import Random
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from checks.calls.teacher import Student
from checks.tool import expect
from checks.tool.exercise import Check, checks_by_exercise
from checks.tool.learner import Verdict, run_checks
from lessons import LESSONS
from solutions.misconceptions import answers, exercises, load

SEED, OTHERS = 1, (2, 3, 4)
MUTANTS = 8  # of each exercise


Outcome = tuple[Verdict, bool]  # and whether its likely sentence names a mistake


def teacher_of_student(lesson: ModuleType) -> nn.Module:
    return lesson.make_teacher(Student(6))


def student_comes_back(lesson: ModuleType) -> bool:
    student = Student(6)
    return lesson.make_teacher(student) is student


def values_change(lesson: ModuleType) -> bool:
    student = Student(6)
    before = copy.deepcopy(student.state_dict())
    lesson.make_teacher(student)
    return differ(student.state_dict(), before)


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


def teacher_stays(lesson: ModuleType) -> bool:
    teacher, student = Student(6).eval().requires_grad_(False), Student(6)
    before = copy.deepcopy(teacher.state_dict())
    lesson.update_teacher(teacher, student, 0.5)
    return not differ(teacher.state_dict(), before)


def student_changes(lesson: ModuleType) -> bool:
    teacher, student = Student(6).eval().requires_grad_(False), Student(6)
    before, trained = copy.deepcopy(student.state_dict()), [value.requires_grad for value in student.parameters()]
    lesson.update_teacher(teacher, student, 0.5)
    now = [value.requires_grad for value in student.parameters()]
    return differ(student.state_dict(), before) or now != trained or not student.training


def count_blocks(lesson: ModuleType, depth: int) -> int:
    names = [name for name, _ in lesson.Predictor(3, 4, 8, depth, 2).named_parameters()]
    return len({name.split(".")[1] for name in names if name.startswith("predictor_blocks.")})


def predictions(lesson: ModuleType, dtype: torch.dtype, tokens: Any = None) -> Any:
    torch.manual_seed(0)
    model = lesson.Predictor(3, 4, 8, 1, 2).to(dtype)
    tokens = torch.randn(2, 3, 4, dtype=dtype) if tokens is None else tokens
    return model(tokens, torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([[[6, 7]], [[8, 0]]]))


def context_is_lost(lesson: ModuleType) -> bool:
    tokens = torch.randn(2, 3, 4, requires_grad=True)
    found = predictions(lesson, torch.float32, tokens)
    # not the plain sum: of what a LayerNorm gives it may be constant
    (grad,) = torch.autograd.grad((found * torch.randn_like(found)).sum(), tokens, allow_unused=True)
    return grad is None or not grad.any()


# How a sentence starts, and another way to see that it is so
FACTS: dict[str, Callable[[ModuleType], bool]] = {
    "The teacher is left in train mode": lambda lesson: teacher_of_student(lesson).blocks[1].training,
    "The teacher's weights still require gradients": lambda lesson: any(
        value.requires_grad for value in teacher_of_student(lesson).parameters()
    ),
    "What came back is the same module": student_comes_back,
    "The student's values are changed": values_change,
    "The teacher did not move: write": teacher_stays,
    "The student is changed": student_changes,
    "depth is ignored": lambda lesson: count_blocks(lesson, 1) == count_blocks(lesson, 3) > 0,
    "No block is found under this name": lambda lesson: count_blocks(lesson, 2) == 0,
    "Something is turned into float32": lambda lesson: predictions(lesson, torch.float64).dtype == torch.float32,
    "The context does not reach the predictions": context_is_lost,
}


def judged(check: Check, module: ModuleType, seed: int) -> Outcome:
    """A check's verdict, and whether its likely sentence is the name of a mistake that gives the same numbers."""
    names: list[str] = []
    compare = expect.named

    def noted(*inputs: Any) -> str:
        names.append(" ".join(compare(*inputs).split()))
        return names[-1]

    with patch.object(expect, "named", noted):
        (verdict,) = run_checks([check], module, seed)
    return verdict, verdict.status == "failed" and verdict.likely != "" and verdict.likely in names


def falsehoods(check: Check, module: ModuleType, outcome: Outcome, seeds: Iterable[int]) -> Iterator[str]:
    """What a check has said of an answer, and is not so. outcome: of `judged`; seeds: others, to judge again with."""
    verdict, is_name = outcome
    if verdict.status != "failed":
        return
    for seed in seeds if is_name else ():
        again, _ = judged(check, module, seed)
        if again.status == "failed" and again.likely != verdict.likely:
            yield f"{check.__name__}: {verdict.likely!r}, but with seed {seed} {again.likely!r}"
            return
    for start, is_so in FACTS.items():
        if verdict.likely.startswith(start) and not is_so(module):
            yield f"{check.__name__}: {verdict.likely!r}"


def cases(lesson: str) -> Iterator[tuple[str, str, ModuleType]]:
    """(exercise, what is wrong, the lesson) of the published wrong answers, and of some mutants."""
    from solutions.misconceptions.mutation import changed, mutants

    for answer in answers(lesson):
        if answer.phrase:
            yield answer.exercise, answer.title, answer.load()
    for exercise, cell in exercises(lesson).items():
        found = sorted(set(mutants(cell)) - {cell})
        for mutant in Random(1).sample(found, min(MUTANTS, len(found))):
            yield exercise, " -> ".join(changed(cell, mutant)), load(lesson, exercise, mutant)


class Overrun(BaseException):
    """A mutant ran past the time limit."""


def main() -> int:
    about = "Whether what the checks say of published wrong answers and of mutants is true."
    parser = argparse.ArgumentParser(prog="python -m solutions.misconceptions.claims", description=about)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help=f"of {', '.join(LESSONS)}; all, if none is named")
    options = parser.parse_args()
    if unknown := set(options.lessons) - set(LESSONS):
        parser.error(f"there is no lesson {', '.join(sorted(unknown))}: choose from {', '.join(LESSONS)}")

    def overrun(number: int, frame: object) -> None:
        raise Overrun

    signal.signal(signal.SIGALRM, overrun)
    count = wrong = 0
    for lesson in options.lessons or LESSONS:
        groups = checks_by_exercise(lesson)
        for exercise, title, module in cases(lesson):
            count += 1
            signal.setitimer(signal.ITIMER_REAL, 30)
            try:
                for check in groups[exercise]:
                    for falsehood in falsehoods(check, module, judged(check, module, SEED), OTHERS):
                        wrong += 1
                        print(f"{exercise}, {title}: {falsehood}", flush=True)
            except Overrun:
                print(f"{exercise}, {title}: takes too long, not judged")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"{count} answers, {wrong} false sentences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
