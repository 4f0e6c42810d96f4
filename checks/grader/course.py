"""A class: every submission to its row, through workers, with what the record holds left out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from checks.grader.collect import Class, Submission
from checks.grader.judging.judge import GradeError, nothing
from checks.grader.judging.limits import Limits
from checks.grader.judging.manifest import checks_key
from checks.grader.judging.results import ExerciseResult, Result, Row, Status
from checks.grader.judging.sandbox import Sandbox
from checks.grader.limits import TRIES
from checks.grader.record import NAME, Record, read_record
from checks.grader.remembered import Course, read_course
from checks.grader.reports.text import shown
from checks.grader.workers import Task, Workers
from checks.tool.exercise import checks_by_exercise
from lessons import LESSONS


@dataclass(frozen=True)
class Plan:
    """What is asked of a run."""

    lessons: list[str]
    limits: Limits
    seed: int  # of the class
    jobs: int = 1
    regrade: bool = False  # what is graded already, too
    quiet: bool = False


class ClassRun:
    """One run of the grader over a class."""

    def __init__(self, found: Class, plan: Plan, record: Record, sandbox: Sandbox):
        self.plan, self.record, self.sandbox = plan, record, sandbox
        self.checks = {lesson: checks_key(lesson) for lesson in plan.lessons}
        self.source = found.submissions(plan.lessons)
        self.again: deque[Task] = deque()  # whose grader has failed once
        self.order: list[Submission] = []
        self.failures: dict[tuple[str, str], str] = {}
        total = len(found.students) * len(plan.lessons)
        self.bar = tqdm(total=total, unit=" submissions", smoothing=0.05, disable=plan.quiet)

    def rows(self) -> list[Row]:
        """Grade what the record doesn't hold yet -> the rows of the lessons that are graded, in order.

        A row without a result is "ungraded": the grader failed twice, and nothing is recorded.
        """
        workers, at_once = None, True
        tasks = self.tasks()
        try:
            with self.bar:
                while True:
                    idle = workers is None or workers.idle()
                    if idle and (task := self.next_task(tasks)):
                        workers = workers or Workers(self.plan.jobs, self.sandbox)
                        workers.give(task)
                    elif workers and workers.at:
                        for task, result in workers.results():
                            self.finish(task, result)
                    else:
                        break
            at_once = False
        finally:
            if workers:
                workers.close(at_once)
        self.see_who_left()
        return [self.row(submission) for submission in self.order]

    def see_who_left(self) -> None:
        here = {(submission.student, submission.lesson) for submission in self.order}
        for place in self.record.rows:
            if place[1] in self.plan.lessons and place not in here and place not in self.record.gone:
                self.record.leave(place)

    def next_task(self, tasks: Iterator[Task]) -> Task | None:
        return self.again.popleft() if self.again else next(tasks, None)

    def tasks(self) -> Iterator[Task]:
        """The submissions that have to be run. What needs no run is written down on the way."""
        for submission in self.source:
            content = submission.content()
            key = self.key_of(submission, content)
            self.order.append(submission)
            known = self.record.rows.get((submission.student, submission.lesson))
            if known and known.key == key and not self.plan.regrade:
                self.keep_up(known, submission)
                self.bar.update()
            elif content is None:
                result = Result(submission.status or Status.MISSING, submission.reason)
                self.keep(submission, key, result)
            else:
                yield Task(submission, content, self.plan.seed, key)

    def key_of(self, submission: Submission, content: bytes | None) -> str:
        """What a result is kept under: a digest for each of changes.CAUSES."""
        handed_in = json.dumps([submission.label, submission.status or "", submission.reason])
        settings = json.dumps([self.plan.seed, self.sandbox.tier, asdict(self.plan.limits)])
        parts = (handed_in.encode() + (content or b""), self.checks[submission.lesson].encode(), settings.encode())
        return " ".join(hashlib.sha256(part).hexdigest() for part in parts)

    def finish(self, task: Task, result: Result | Exception) -> None:
        """Keep a result, or have the submission tried again, or give it up."""
        if isinstance(result, Result):
            self.keep(task.submission, task.key, result)
        elif task.tries + 1 < TRIES:
            self.again.append(replace(task, tries=task.tries + 1))
        else:
            student, lesson = task.submission.student, task.submission.lesson
            self.failures[student, lesson] = str(result)
            tqdm.write(shown(f"not graded: {student}, {lesson}: {result}"), file=sys.stderr)
            self.bar.update()

    def keep_up(self, known: Row, submission: Submission) -> None:
        """Write down what is new about a row whose grade stands: when it came, how it returns, or that it is back."""
        facts = {name: getattr(submission, name) for name in ("submitted", "source", "origin")}
        row = replace(known, **facts)
        if row != known or (row.student, row.lesson) in self.record.gone:
            self.record.add(row)

    def keep(self, submission: Submission, key: str, result: Result) -> None:
        self.record.add(row_of(submission, result, key, self.sandbox.tier))
        self.bar.update()

    def row(self, submission: Submission) -> Row:
        place = submission.student, submission.lesson
        if place not in self.failures:
            return self.record.rows[place]
        reason = f"the grader failed, and nothing is recorded: {self.failures[place]}"
        row = row_of(submission, Result(Status.UNGRADED, reason))
        exercises = {name: replace(entry, points=None, earned=None) for name, entry in row.exercises.items()}
        return replace(row, exercises=exercises)


def row_of(submission: Submission, result: Result, key: str = "", tier: str = "") -> Row:
    checks = checks_by_exercise(submission.lesson)
    exercises: Mapping[str, ExerciseResult] = result.exercises or {
        name: nothing(own, result.status, result.reason) for name, own in checks.items()
    }
    return Row(
        student=submission.student,
        lesson=submission.lesson,
        status=result.status,
        max_points=sum(check.points for own in checks.values() for check in own),
        reason=result.reason,
        exercises=exercises,
        file=submission.label,
        notes=(*submission.notes, *result.notes),
        submitted=submission.submitted,
        seconds=round(result.seconds, 3),
        key=key,
        tier=tier,
        origin=submission.origin,
        source=submission.source,
    )


def in_shard(student: str, shard: tuple[int, int]) -> bool:
    """Whether a student belongs to shard number of count, by a digest of the name: the same on every machine."""
    number, count = shard
    return int.from_bytes(hashlib.sha256(student.encode()).digest()[:8], "big") % count == number - 1


def merged(folders: list[Path], record: Record) -> Course:
    """Join the records of shards -> what the shards remember. Raises GradeError, PolicyError, RecordError."""
    courses = [read_course(folder) for folder in folders]
    seeds = sorted({course.seed for course in courses if course.seed is not None})
    if len(seeds) > 1:
        raise GradeError(
            f"the shards were graded with different seeds ({', '.join(map(str, seeds))}), so that the same answer may "
            "have different points: grade them again with one --seed."
        )
    for folder in folders:
        path = folder / NAME
        if not path.exists():
            raise GradeError(f"{folder} holds no {NAME}: give the --out folders of the shards to --merge.")
        found = read_record(path)
        for place, row in found.rows.items():
            if place not in found.gone and (record.rows.get(place) != row or place in record.gone):
                record.add(row)
        for place, (key, reason) in found.cleared.items():
            if record.cleared.get(place) != (key, reason):
                record.clear(place, key, reason)
    return Course(seeds[0] if seeds else None).opened([row.lesson for row in record.rows.values()])


def rows_of(record: Record, lessons: Collection[str]) -> list[Row]:
    """What the record holds of these lessons, in the order of the course."""
    rows = [row for place, row in record.rows.items() if row.lesson in lessons and place not in record.gone]
    return sorted(rows, key=lambda row: (LESSONS.index(row.lesson), row.student))
