"""`python -m checks.grade SUBMISSIONS --out grades/`: grade a class, sandboxed, with nothing lost.

Three roles: a checker (a worker process here) runs the checks and holds the expected values; its zygote has torch
imported; a sandboxed child of the zygote runs one submission of one lesson. What is finished stands in record.jsonl,
and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib
import json
import multiprocessing
import os
import platform
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

if sys.platform == "win32":  # before the imports that Windows doesn't have
    raise SystemExit("grading a class needs Linux or macOS: under Windows, run it in WSL.")

import torch
from tqdm import tqdm

import lessons
from checks.collect import Class, CollectError, Submission, Unreadable, collect
from checks.tool.exercise import catalogue, checks_of
from checks.tool.learner import Learner, Verdict, run_check
from checks.outputs import shown, write_outputs
from checks.policy import PolicyError, read_policy, settle, unknown_students
from checks.record import Record, RecordError, locked, read_record
from checks.sandbox import (
    PROMISES,
    ROOT,
    TIERS,
    Ended,
    Limits,
    Sandbox,
    SandboxedLearner,
    SandboxError,
    TimeLeft,
    Zygote,
    choose_tier,
)
from checks.zygote import warm_up
from lessons import LESSONS

TRIES = 2  # a submission whose grader fails is tried again, in a new worker
BOUNDED = {
    True: "memory and processes are bounded for a submission as a whole",
    False: "no control group can be made here, so memory is bounded for each process of a submission",
    "trusted": "nothing is bounded but time",
}
PAGE_LIMIT = 20_000  # characters of a failure's message
MOST_SECONDS = 86_400  # a day
DEATH_SIGNAL = 1  # prctl's number for: die when the parent does
FAILURES = ("missing", "unreadable", "flagged", "crashed", "timeout")  # the first that applies counts
STATUSES = ("graded", "todo", *reversed(FAILURES), "ungraded")


class GradeError(Exception):
    """Grading can't go on. The message is one sentence."""


# One submission


def grade(lesson: str, label: str, content: bytes, zygote: Zygote, seed: int) -> dict:
    """Grade a file for one lesson -> what `row_of` needs: status, reason, exercises, notes, seconds.

    Raises SandboxError, or GradeError for a check that itself broke.
    """
    started = time.monotonic()
    groups: dict[str, list[Callable]] = {}
    for check in checks_of(lesson):
        groups.setdefault(check.exercise, []).append(check)
    time_left = TimeLeft(zygote.limits.seconds_of(lesson))
    done: dict[str, dict] = {}
    flags: list[str] = []
    notes: list[str] = []
    problem = ""
    while len(done) < len(groups) and not problem:
        left = [name for name in groups if name not in done]
        current = left[0]
        child = None
        try:
            time_left.share(1)
            with zygote.child(lesson, label, content, time_left) as child:
                notes, problem = list(child.notes), child.problem
                for position, current in enumerate(left):
                    if problem:
                        break
                    time_left.share(len(left) - position)  # what one has not used is there for the next ones
                    verdicts = [judge(check, SandboxedLearner(child, seed), lesson) for check in groups[current]]
                    done[current] = exercise_row(verdicts)
                current = left[-1]
                child.leave()
        except Ended as ended:
            failed = left if child is None else [current]  # it did not even get through its definitions
            for name in failed:
                done[name] = nothing_row(groups[name], ended.status, f"{ended.reason}.")
        if child is not None:
            flags += [flag for flag in child.flags if flag not in flags]
    if problem:
        return {"status": "unreadable", "reason": problem, "notes": notes, "seconds": time.monotonic() - started}
    if flags:
        for name, exercise in done.items():
            done[name] = exercise | {"status": "flagged", "points": 0, "reason": f"{'; '.join(flags)}."}
    statuses = {exercise["status"] for exercise in done.values()}
    status = next((s for s in FAILURES if s in statuses), "todo" if statuses == {"todo"} else "graded")
    reasons = [f"{name}: {exercise['reason']}" for name, exercise in done.items() if exercise["status"] == status]
    reason = reasons[0] if status in FAILURES else "no exercise is written yet." if status == "todo" else ""
    facts = {"status": status, "reason": reason, "exercises": done, "notes": notes}
    return facts | {"seconds": time.monotonic() - started}


def judge(check: Callable, learner: Learner, lesson: str) -> Verdict:
    """The verdict of a check. If it raises, the reference tells whose fault that is: what a submission sends may be odd
    enough to do that, and must not stop its grade.

    Raises GradeError if the check raises for the reference too.
    """
    verdict = run_check(check, learner)
    if verdict.status != "broken":
        return verdict
    error = re.findall(r"^([\w.]+)(?::|$)", verdict.page, re.MULTILINE)[-1]  # a message may have more lines
    sound = run_check(check, Learner(importlib.import_module(f"solutions.{lesson}"), learner.seed))
    if sound.status == "passed":
        return replace(verdict, status="failed", page=f"What came back is nothing that this check can read ({error}).")
    print(f"{check.__name__}: {verdict.page}", file=sys.stderr)  # for who mends it
    raise GradeError(f"the check {check.__name__} broke ({error})")


def exercise_row(verdicts: list[Verdict]) -> dict:
    earned, points = sum(v.earned for v in verdicts), sum(v.points for v in verdicts)
    todo = any(v.status == "todo" for v in verdicts) and not earned
    failed = [v for v in verdicts if v.status == "failed"]
    reason = ""
    if todo:
        reason = "it isn't written yet."
    elif failed:
        reason = f"{len(verdicts) - len(failed)} of {len(verdicts)} checks passed."
    checks = [
        {
            "check": v.check,
            "property": v.property,
            "status": v.status,
            "points": v.earned,
            "max_points": v.points,
            "page": v.page[:PAGE_LIMIT],
            "likely": likely(v.page) if v.status == "failed" else "",
        }
        for v in verdicts
    ]
    status = "todo" if todo else "graded"
    facts = {"status": status, "points": earned, "earned": earned, "max_points": points}
    return facts | {"reason": reason, "checks": checks}


def nothing_row(checks: list[Callable], status: str, reason: str) -> dict:
    """An exercise of which nothing can be said but why."""
    points = sum(check.points for check in checks)
    return {"status": status, "points": 0, "earned": 0, "max_points": points, "reason": reason, "checks": []}


def likely(page: str) -> str:
    """The likely misconception of a failure's page, unwrapped."""
    lines = page.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("likely "):
            more = iter(lines[number + 1 :])
            words = [line[10:]]
            for other in more:
                if not other.startswith(" " * 10):
                    break
                words.append(other.strip())
            return " ".join(words)
    return ""


def row_of(
    submission: Submission,
    status: str,
    reason: str,
    exercises: dict[str, dict] | None = None,
    notes: list[str] = (),
    seconds: float = 0.0,
) -> dict:
    """A line of the record. The exercises of other lessons are there as null, so that every line has the same keys."""
    points = catalogue()
    if exercises is None:
        groups: dict[str, list[Callable]] = {}
        for check in checks_of(submission.lesson):
            groups.setdefault(check.exercise, []).append(check)
        exercises = {name: nothing_row(checks, status, reason) for name, checks in groups.items()}
    return {
        "student": submission.student,
        "lesson": submission.lesson,
        "status": status,
        "points": sum(exercise["points"] for exercise in exercises.values()),
        "max_points": sum(points[submission.lesson].values()),
        **{name: None for every in points.values() for name in every},
        **{name: exercise["points"] for name, exercise in exercises.items()},
        "reason": reason,
        "exercises": exercises,
        "file": submission.label,
        "notes": [*submission.notes, *notes],
        "submitted": submission.submitted,
        "seconds": round(seconds, 3),
    }


# What a result depends on


def checks_key(lesson: str) -> str:
    """A digest of all that grades a lesson: checks, loader, the reference of earlier lessons, torch and Python."""
    digest = hashlib.sha256(f"{torch.__version__} {platform.python_version()}".encode())
    number = LESSONS.index(lesson) + 1
    names = ["lessons/__init__.py", *(f"solutions/{name}.py" for name in LESSONS[: number - 1])]
    names += [f"checks/{name}.py" for name in ("exercise", "expect", "learner", "wire", "zygote", "grade", "sandbox")]
    for name in [*names, f"checks/test_{number:02d}_{lesson}.py"]:
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()


def key_of(submission: Submission, content: bytes | None, checks: str, about: dict) -> str:
    """What a result is kept under: the content and name of the file, the checks, the tier and the limits."""
    facts = [checks, submission.label, submission.status, submission.reason, about["tier"], about["limits"]]
    return hashlib.sha256(json.dumps(facts).encode() + hashlib.sha256(content or b"").digest()).hexdigest()


# Workers


def work(pipe: Connection, zygote: Zygote, close_others: Callable[[], None]) -> None:
    """A worker's process: grade what comes through the pipe, one submission at a time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    close_others()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    torch.set_num_threads(1)
    try:
        while True:
            lesson, label, content, seed = pipe.recv()
            pipe.send(grade(lesson, label, content, zygote, seed))
    except EOFError:
        pass
    except Exception as error:  # the parent starts another worker and tries again
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, SandboxError) else SandboxError(f"{type(error).__name__}: {error}"))


class Workers:
    """A few worker processes, each with a zygote of its own and one submission at a time."""

    def __init__(self, count: int, sandbox: Sandbox):
        self.sandbox = sandbox
        self.processes: dict[Connection, tuple[multiprocessing.Process, Zygote]] = {}
        self.at: dict[Connection, tuple] = {}  # what each one is grading
        for _ in range(count):
            self.start()

    def start(self) -> None:
        zygote = self.sandbox.zygote()
        ours, theirs = multiprocessing.Pipe()

        def close_others() -> None:
            """In the worker: what it has inherited, or it would stay open when the parent closes it."""
            for pipe, (_, other) in self.processes.items():
                pipe.close()
                other.let_go()
            ours.close()
            self.sandbox.control.close()

        process = multiprocessing.get_context("fork").Process(target=work, args=(theirs, zygote, close_others))
        process.start()
        theirs.close()
        self.processes[ours] = process, zygote

    def idle(self) -> Connection | None:
        return next((pipe for pipe in self.processes if pipe not in self.at), None)

    def give(self, pipe: Connection, task: tuple) -> None:
        self.at[pipe] = task
        with contextlib.suppress(OSError):  # a worker that has died shows in `results`
            submission, content, seed = task[:3]
            pipe.send((submission.lesson, submission.label, content, seed))

    def results(self) -> Iterator[tuple[tuple, dict | Exception]]:
        """The tasks that are done now, each with its row, or with the error that its worker died of."""
        for pipe in wait(list(self.at)):
            try:
                result = pipe.recv()
            except (EOFError, OSError):
                result = SandboxError("a worker died")
            task = self.at.pop(pipe)
            if isinstance(result, Exception):
                process, zygote = self.processes.pop(pipe)
                pipe.close()
                process.join(20)
                process.kill()
                zygote.close()
                self.start()
            yield task, result

    def close(self, at_once: bool = False) -> None:
        for pipe, (process, _) in self.processes.items():
            pipe.close()
            if at_once:
                process.terminate()
        for process, zygote in self.processes.values():
            process.join(20)
            if process.is_alive():
                process.kill()
            zygote.close()


# The command


def in_shard(student: str, shard: tuple[int, int]) -> bool:
    """Whether a student belongs to shard number of count, by a digest of the name: the same on every machine."""
    number, count = shard
    return int.from_bytes(hashlib.sha256(student.encode()).digest()[:8], "big") % count == number - 1


def grade_class(found: Class, options: argparse.Namespace, record: Record, about: dict, sandbox: Sandbox) -> list[dict]:
    """Grade what the record doesn't hold yet -> the rows of the class, in order.

    A row without a result is "ungraded": the grader failed twice, and nothing is recorded.
    """
    chosen = options.lesson or list(LESSONS)
    total = len(found.students) * len(chosen)
    checks = {lesson: checks_key(lesson) for lesson in chosen}
    waiting: deque[tuple] = deque()
    failures: dict[tuple[str, str], str] = {}
    order: list[Submission] = []
    workers = None
    source = found.submissions(chosen)
    bar = tqdm(total=total, unit=" submissions", smoothing=0.05, disable=options.quiet)

    def finish(task: tuple, result: dict | Exception) -> None:
        submission, content, seed, key, tries = task
        if not isinstance(result, Exception):
            record.add(row_of(submission, **result) | {"key": key, "tier": about["tier"]})
        elif tries + 1 < TRIES:
            waiting.append((submission, content, seed, key, tries + 1))
            return
        else:
            failures[submission.student, submission.lesson] = str(result)
            line = f"not graded: {submission.student}, {submission.lesson}: {result}"
            tqdm.write(shown(line), file=sys.stderr)
        bar.update()

    def next_task() -> tuple | None:
        """The next submission that has to be run. What needs no run is written down on the way."""
        if waiting:
            return waiting.popleft()
        for submission in source:
            content = None
            if submission.entry and not submission.status:
                try:
                    content = submission.entry.read()
                except Unreadable as error:
                    submission.status, submission.reason = "unreadable", f"{submission.label}: {error}."
            key = key_of(submission, content, checks[submission.lesson], about)
            order.append(submission)
            known = record.rows.get((submission.student, submission.lesson))
            if known and known["key"] == key and not options.regrade:
                bar.update()
                continue
            # the same in every run, and unknown to the submission, which would have to hold its own digest
            seed = int(key[:7], 16)
            if content is not None:
                return submission, content, seed, key, 0
            finish((submission, None, seed, key, 0), {"status": submission.status, "reason": submission.reason})
        return None

    at_once = True
    try:
        with bar:
            while True:
                if (workers is None or workers.idle()) and (task := next_task()):
                    workers = workers or Workers(options.jobs, sandbox)
                    workers.give(workers.idle(), task)
                elif workers and workers.at:
                    for task, result in workers.results():
                        finish(task, result)
                else:
                    break
        at_once = False
    finally:
        if workers:
            workers.close(at_once)
    rows = []
    for submission in order:
        place = submission.student, submission.lesson
        if place in failures:
            rows.append(ungraded(submission, f"the grader failed, and nothing is recorded: {failures[place]}"))
        else:
            rows.append(record.rows[place] | {"submitted": submission.submitted})
    return rows


def ungraded(submission: Submission, reason: str) -> dict:
    row = row_of(submission, "ungraded", reason)
    none = {name: None for name in (*row["exercises"], "points")}
    exercises = {name: entry | {"points": None, "earned": None} for name, entry in row["exercises"].items()}
    return row | none | {"exercises": exercises, "key": "", "tier": ""}


def merged(folders: list[Path], record: Record) -> list[dict]:
    """The records of shards, joined -> their rows in the order of the course."""
    for folder in folders:
        path = folder / "record.jsonl"
        if not path.exists():
            raise GradeError(f"{folder} holds no record.jsonl: give the --out folders of the shards to --merge.")
        for place, row in read_record(path)[0].items():
            if record.rows.get(place) != row:
                record.add(row)
    return sorted(record.rows.values(), key=lambda row: (LESSONS.index(row["lesson"]), row["student"]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m checks.grade", description="Grade a class in a sandbox.")
    parser.add_argument("submissions", type=Path, nargs="?", help="folder of students' folders, flat folder, or zip")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument("--lesson", action="append", choices=LESSONS, help="grade this lesson only; may be repeated")
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=cores, help="submissions at a time (default: the cores)")
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--tier", choices=TIERS, help="this sandbox or none (default: the best that works here)")
    tier.add_argument(
        "--trusted", action="store_const", const="trusted", dest="tier", help="no sandbox: for code that you trust"
    )
    for name, help in (
        ("seconds", "wall clock of a lesson"),
        ("training-seconds", "wall clock of a lesson that trains"),
        ("memory", "MB of memory"),
        ("processes", "processes at a time"),
    ):
        default = getattr(Limits, name.replace("-", "_"))
        default = default >> 20 if name == "memory" else default
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{help} (default: {default})")
    parser.add_argument(
        "--flagged", choices=("withhold", "keep"), default="withhold", help="the points of a flagged exercise"
    )
    parser.add_argument("--late", type=Path, metavar="TOML", help="deadlines, late days and extensions")
    parser.add_argument("--marks", type=Path, metavar="CSV", help="marks given by hand")
    parser.add_argument("--gradebook", metavar="URL", help="write the points into nbgrader's gradebook too")
    parser.add_argument("--regrade", action="store_true", help="grade what is graded already, too")
    parser.add_argument("--shard", metavar="N/COUNT", help="grade one part of the class, such as 3/8")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="DIR", help="join the records of shards into --out")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    if (options.submissions is None) == (options.merge is None):
        parser.error("give either SUBMISSIONS or --merge")
    if options.shard:
        number, _, count = options.shard.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            parser.error(f"--shard {options.shard} is not a part of a whole: write it as 3/8")
        options.shard = int(number), int(count)
    if options.merge and (options.shard or options.lesson or options.regrade):
        parser.error("--merge joins what is graded: it goes with no --shard, --lesson or --regrade")
    if options.jobs < 1:
        parser.error("--jobs starts at 1")
    if not all(0 < seconds <= MOST_SECONDS for seconds in (options.seconds, options.training_seconds)):
        parser.error(f"the seconds of a lesson must be more than 0, and {MOST_SECONDS} at most")
    if options.memory < 64 or options.processes < 4:
        parser.error("--memory starts at 64, and --processes at 4")
    return options


def run(options: argparse.Namespace) -> int:
    policy = read_policy(options.late, options.marks, options.flagged)
    out = options.out
    place = options.submissions
    if place and place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise GradeError(f"--out {out} lies in the submissions, where it would be a student: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = locked(out)
        with lock:
            return run_locked(options, policy, out)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise GradeError(f"{error.filename or out} can't be written ({why}): mend this, then run it again.") from None


def run_locked(options: argparse.Namespace, policy: Any, out: Path) -> int:
    limits = Limits(options.seconds, options.training_seconds, options.memory << 20, options.processes)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about: dict[str, Any] = {"course": "Build I-JEPA", "started": started, "ignored": []}
    about["limits"] = {name: getattr(limits, name) for name in Limits.__dataclass_fields__}
    record = Record(out / "record.jsonl")
    if options.merge:
        rows = merged(options.merge, record)
        about |= {"tier": ", ".join(sorted({row["tier"] for row in rows})), "promises": []}
        about["promises"] = [promise for tier in about["tier"].split(", ") for promise in PROMISES.get(tier, [])]
    else:
        found = collect(options.submissions, options.lesson or list(LESSONS))
        if options.shard:
            found.students = {name: files for name, files in found.students.items() if in_shard(name, options.shard)}
        for line in found.ignored:
            print(f"ignored: {shown(line)}", file=sys.stderr)
        catalogue()  # imports the check files once, for all workers
        hidden = [options.submissions.resolve(), out.resolve()]
        with ThreadPoolExecutor(1) as beside:  # the two take seconds each
            warming = beside.submit(warm_up)
            sandbox, bounded = choose_tier(options.tier, limits, hidden)
        warming.result()
        tier = sandbox.tier
        limited = BOUNDED["trusted" if tier == "trusted" else bounded]
        print(f"sandbox: {tier} ({limited})", file=sys.stderr)
        about |= {"tier": tier, "promises": [*PROMISES[tier], f"Here {limited}."], "ignored": found.ignored}
        with contextlib.closing(sandbox):
            rows = grade_class(found, options, record, about, sandbox)
    for line in [] if options.shard else unknown_students(policy, rows):
        print(shown(line), file=sys.stderr)
    rows = [settle(row, policy) for row in rows]
    write_outputs(rows, out, about)
    if options.gradebook:
        from checks.gradebook import GradebookError, write  # nbgrader takes a second to import

        try:
            write(options.gradebook, rows)
        except GradebookError as error:
            raise GradeError(f"{out} is written, but {error}.") from None
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    print(f"{out}: " + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
    return 1 if counts["ungraded"] else 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return run(options)
    except (GradeError, RecordError, CollectError, PolicyError, SandboxError, lessons.LessonError) as error:
        print(shown(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped: what is graded stands in {options.out}; the same command goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
