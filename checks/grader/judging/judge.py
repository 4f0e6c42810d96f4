"""One submission of one lesson: its exercises in a child, or in as many as it takes, and what they give."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import time
from dataclasses import dataclass, field, replace

from checks.grader.judging.limits import MESSAGE_CHARACTERS
from checks.grader.judging.links import ChildLink, Ended, NotSent, SandboxedLearner, TimeLeft, ZygoteLink
from checks.grader.judging.results import FAILURES, CheckResult, ExerciseResult, Result, Status
from checks.tool.exercise import Check, checks_by_exercise
from checks.tool.learner import Learner, Verdict, run_check


class GradeError(Exception):
    """Grading can't go on. The message is one sentence."""


@dataclass
class Grading:
    """A submission while it is graded. done: the exercises that need no other child."""

    lesson: str
    seed: int
    checks: dict[str, list[Check]]
    seconds: float  # of wall clock, for all of them
    done: dict[str, ExerciseResult] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    problem: str = ""  # why the file can't be read

    def __post_init__(self) -> None:
        self.time_left = TimeLeft(self.seconds)

    def in_one_child(self, zygote: ZygoteLink, label: str, content: bytes) -> None:
        """Grade what is left in a new child, until all is done or the child ends."""
        left = [name for name in self.checks if name not in self.done]
        failed, child = left, None  # those that it ends with: all, until it is through its definitions
        try:
            self.time_left.share(1)
            with zygote.child(self.lesson, label, content, self.time_left, list(self.checks)) as child:
                self.notes, self.problem = child.notes, child.problem
                for position, name in enumerate([] if self.problem else left):
                    failed = [name]
                    self.time_left.share(len(left) - position)  # what one has not used is there for the next ones
                    self.done[name] = self.exercise(name, child)
                failed = left[-1:]
                child.leave()
        except Ended as ended:
            for name in failed:
                self.done[name] = nothing(self.checks[name], ended.status, f"{ended.reason}.")
        if child is not None:
            self.flags += [flag for flag in child.flags if flag not in self.flags]

    def exercise(self, name: str, child: ChildLink) -> ExerciseResult:
        """Run an exercise's checks. Raises Ended, GradeError."""
        seed = seed_of_exercise(self.seed, name)
        verdicts = [judge(check, SandboxedLearner(child, seed), self.lesson) for check in self.checks[name]]
        earned, points = sum(v.earned for v in verdicts), sum(v.points for v in verdicts)
        checks = tuple(check_result(verdict) for verdict in verdicts)
        if any(v.status == "todo" for v in verdicts) and not earned:
            return ExerciseResult(Status.TODO, earned, earned, points, "it isn't written yet.", checks)
        passed = sum(v.status != "failed" for v in verdicts)
        reason = f"{passed} of {len(verdicts)} checks passed." if passed < len(verdicts) else ""
        return ExerciseResult(Status.GRADED, earned, earned, points, reason, checks)

    def run(self, zygote: ZygoteLink, label: str, content: bytes) -> Grading:
        """Grade all exercises, in as many children as it takes."""
        while len(self.done) < len(self.checks) and not self.problem:
            self.in_one_child(zygote, label, content)
        return self

    def find_flagged(self, zygote: ZygoteLink, label: str, content: bytes) -> None:
        """Grade each exercise again, alone and in a child of its own: only one that tampers there, by what it calls
        too, is flagged. If none does, all are.
        """
        alone = {
            name: Grading(self.lesson, self.seed, {name: own}, self.seconds).run(zygote, label, content)
            for name, own in self.checks.items()
        }
        guilty = {name: grading.flags for name, grading in alone.items() if grading.flags}
        if guilty:
            self.done = {name: grading.done.get(name, self.done[name]) for name, grading in alone.items()}
        for name, flags in (guilty or dict.fromkeys(self.checks, self.flags)).items():
            reason = f"{'; '.join(flags)}."
            self.done[name] = replace(self.done[name], status=Status.FLAGGED, points=0, reason=reason)

    def result(self) -> Result:
        """What came out, once all exercises are done or the file turned out to be unreadable."""
        if self.problem:
            return Result(Status.UNREADABLE, self.problem, notes=self.notes)
        statuses = {exercise.status for exercise in self.done.values()}
        todo = Status.TODO if statuses == {Status.TODO} else Status.GRADED
        status = next((status for status in FAILURES if status in statuses), todo)
        reason = "no exercise is written yet." if status == Status.TODO else ""
        if status in FAILURES:
            reason = next(f"{name}: {e.reason}" for name, e in self.done.items() if e.status == status)
        return Result(status, reason, self.done, self.notes)


def grade(lesson: str, label: str, content: bytes, zygote: ZygoteLink, seed: int) -> Result:
    """Grade the bytes of a file for one lesson. label: the file's name.

    seed: of the class. Raises SandboxError, or GradeError for a check that itself broke.
    """
    started = time.monotonic()
    grading = Grading(lesson, seed, checks_by_exercise(lesson), zygote.limits.seconds_of(lesson))
    grading.run(zygote, label, content)
    if grading.flags and not grading.problem:
        grading.find_flagged(zygote, label, content)
    return replace(grading.result(), seconds=time.monotonic() - started)


def seed_of_exercise(seed: int, name: str) -> int:
    """The seed of an exercise in a class: no student, file name, limit or other check has a part in it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big") >> 1


def judge(check: Check, learner: Learner, lesson: str) -> Verdict:
    """The verdict of a check. If it raises, the reference tells whose fault that is: what a submission sends may be odd
    enough to do that, and must not stop its grade.

    Raises GradeError if the check raises for the reference too, or calls what no child has.
    """
    try:
        verdict = run_check(check, learner)
    except NotSent as why:
        raise GradeError(f"the check {check.__name__} can't be run: {why}") from None
    if verdict.status != "broken":
        return verdict
    error = re.findall(r"^([\w.]+)(?::|$)", verdict.page, re.MULTILINE)[-1]  # a message may have more lines
    sound = run_check(check, Learner(importlib.import_module(f"solutions.{lesson}"), learner.seed))
    if sound.status == "passed":
        return replace(verdict, status="failed", page=f"What came back is nothing that this check can read ({error}).")
    print(f"{check.__name__}: {verdict.page}", file=sys.stderr)  # for who mends it
    raise GradeError(f"the check {check.__name__} broke ({error})")


def check_result(verdict: Verdict) -> CheckResult:
    page, likely = verdict.page[:MESSAGE_CHARACTERS], verdict.likely
    return CheckResult(verdict.check, verdict.docstring, verdict.status, verdict.earned, verdict.points, page, likely)


def nothing(checks: list[Check], status: Status, reason: str) -> ExerciseResult:
    """An exercise of which nothing can be said but why."""
    return ExerciseResult(status, 0, 0, sum(check.points for check in checks), reason)
