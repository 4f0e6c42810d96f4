"""`python -m checks.grade SUBMISSIONS --out grades/`: grade a class, sandboxed, with nothing lost.

What is finished stands in record.jsonl, and the same command goes on from there. checks/grader/README.md says how it
works and where.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

if sys.platform == "win32":  # before the imports that Windows doesn't have
    raise SystemExit("grading a class needs Linux or macOS: under Windows, run it in WSL.")

from checks.grader import layouts
from checks.grader.collect import Class, CollectError, collect
from checks.grader.course import ClassRun, Plan, in_shard, merged
from checks.grader.inside.zygote import warm_up
from checks.grader.judging.judge import GradeError
from checks.grader.judging.limits import Limits
from checks.grader.judging.links import SandboxError
from checks.grader.judging.results import Row, Status
from checks.grader.judging.sandbox import PROMISES, TIERS, choose_tier
from checks.grader.limits import LEAST_MEMORY, LEAST_PROCESSES, MOST_SECONDS
from checks.grader.policy import FLAGGED, Policy, read_policy, settle, unknown_students
from checks.grader.record import NAME, Record, RecordError, locked
from checks.grader.remembered import NAME as REMEMBERED
from checks.grader.remembered import seed_of_class
from checks.grader.reports.items import history
from checks.grader.reports.outputs import write_outputs
from checks.grader.reports.text import shown
from checks.grader.settled import SettledRow
from checks.grader.texts import PolicyError
from checks.tool.exercise import catalogue
from lessons import LESSONS, LessonError

BOUNDED = {
    True: "memory and processes are bounded for a submission as a whole",
    False: "no control group can be made here, so memory is bounded for each process of a submission",
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m checks.grade", description="Grade a class in a sandbox.")
    parser.add_argument("submissions", type=Path, nargs="?", help="folder of students' folders, flat folder, or zip")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument("--lesson", action="append", choices=LESSONS, help="grade this lesson only; may be repeated")
    parser.add_argument(
        "--layout", choices=layouts.NAMES, help="how the submissions are named (default: recognised, and printed)"
    )
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
    parser.add_argument("--flagged", choices=FLAGGED, default="withhold", help="the points of a flagged exercise")
    parser.add_argument("--late", type=Path, metavar="TOML", help="deadlines, late days and extensions")
    parser.add_argument("--marks", type=Path, metavar="CSV", help="marks given by hand")
    parser.add_argument("--gradebook", metavar="URL", help="write the points into nbgrader's gradebook too")
    parser.add_argument(
        "--seed", type=int, help="of the random inputs, one for the whole class (default: drawn once, and remembered)"
    )
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
    if options.merge and (options.shard or options.lesson or options.regrade or options.seed is not None):
        parser.error("--merge joins what is graded: it goes with no --shard, --lesson, --regrade or --seed")
    if options.seed is not None and not 0 <= options.seed < 2**31:
        parser.error(f"--seed lies between 0 and {2**31 - 1}")
    if options.shard and options.seed is None and not (options.out / REMEMBERED).exists():
        parser.error("--shard needs --seed, the same for all shards, so that the same answer gets the same points")
    if options.jobs < 1:
        parser.error("--jobs starts at 1")
    if not all(0 < seconds <= MOST_SECONDS for seconds in (options.seconds, options.training_seconds)):
        parser.error(f"the seconds of a lesson must be more than 0, and {MOST_SECONDS} at most")
    if options.memory < LEAST_MEMORY or options.processes < LEAST_PROCESSES:
        parser.error(f"--memory starts at {LEAST_MEMORY}, and --processes at {LEAST_PROCESSES}")
    return options


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for -> the exit status. Raises GradeError and the other rooms' errors."""
    policy = read_policy(options.late, options.marks, options.flagged)
    out, place = options.out, options.submissions
    if place and place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise GradeError(f"--out {out} lies in the submissions, where it would be a student: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            return run_locked(options, policy)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise GradeError(f"{error.filename or out} can't be written ({why}): mend this, then run it again.") from None


def run_locked(options: argparse.Namespace, policy: Policy) -> int:
    limits = Limits(options.seconds, options.training_seconds, options.memory << 20, options.processes)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about: dict[str, Any] = {"course": "Build I-JEPA", "started": started, "ignored": [], "limits": vars(limits)}
    record = Record(options.out / NAME)
    if options.merge:
        rows = merged(options.merge, record)
        tiers = sorted({row.tier for row in rows})
        about |= {"tier": ", ".join(tiers), "promises": [line for tier in tiers for line in PROMISES.get(tier, [])]}
    else:
        rows, facts = grade(options, limits, record)
        about |= facts
    for line in [] if options.shard else unknown_students(policy, rows):
        print(shown(line), file=sys.stderr)
    return finish([settle(row, policy) for row in rows], options, about)


def grade(options: argparse.Namespace, limits: Limits, record: Record) -> tuple[list[Row], dict[str, Any]]:
    """Grade the submissions -> their rows, and what the report says about the sandbox and what was ignored."""
    seed = seed_of_class(options.out, options.seed)
    plan = Plan(options.lesson or list(LESSONS), limits, seed, options.jobs, options.regrade, options.quiet)
    found = collect(options.submissions, plan.lessons, options.layout)
    if options.shard:
        found.students = {name: files for name, files in found.students.items() if in_shard(name, options.shard)}
    print(f"layout: {found.form} ({len(found.students)} students)", file=sys.stderr)
    for line in found.ignored:
        print(f"ignored: {shown(line)}", file=sys.stderr)
    catalogue()  # imports the check files once, for all workers
    hidden = [options.submissions.resolve(), options.out.resolve()]
    with ThreadPoolExecutor(1) as beside:  # the two take seconds each
        warming = beside.submit(warm_up)
        sandbox, bounded = choose_tier(options.tier, limits, hidden)
    warming.result()
    limited = "nothing is bounded but time" if sandbox.tier == "trusted" else BOUNDED[bounded]
    print(f"sandbox: {sandbox.tier} ({limited})", file=sys.stderr)
    promises = [*PROMISES[sandbox.tier], f"Here {limited}."]
    with contextlib.closing(sandbox):
        rows = ClassRun(found, plan, record, sandbox).rows()
    about = {"tier": sandbox.tier, "promises": promises, "ignored": found.ignored, "seed": seed}
    return rows, about | {"odd": [] if options.shard else odd(found, rows)}


def odd(found: Class, rows: list[Row]) -> list[str]:
    """What makes it likely that the submissions were not read as they are meant, a sentence each."""
    sentences = []
    empty = {row.student for row in rows} - {row.student for row in rows if row.status != Status.MISSING}
    if 2 * len(empty) > len(found.students):
        sentences.append(
            f"{len(empty)} of {len(found.students)} students handed in nothing that was found: look at what was "
            f"ignored, and give --layout if {found.form} is not what this is."
        )
    several = sum("several files could be meant" in row.reason for row in rows)
    if 2 * several > len(found.students):
        sentences.append(
            f"Several files of one lesson belong to one student in {several} cases: --layout {found.form} may have "
            "made one student of several."
        )
    return sentences


def finish(rows: list[SettledRow], options: argparse.Namespace, about: dict[str, Any]) -> int:
    """Write all that comes out -> the exit status."""
    write_outputs(rows, options.out, about | {"history": history(rows, options.out, about["started"])})
    if options.gradebook:
        from checks.grader.gradebook import GradebookError, write  # nbgrader takes a second to import

        try:
            write(options.gradebook, rows)
        except GradebookError as error:
            raise GradeError(f"{options.out} is written, but {error}.") from None
    counts = {status: sum(row.status == status for row in rows) for status in Status}
    print(f"{options.out}: " + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
    for sentence in about.get("odd", []):
        print(shown(sentence), file=sys.stderr)
    return 1 if counts[Status.UNGRADED] or about.get("odd") else 0


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return run(options)
    except (GradeError, RecordError, CollectError, PolicyError, SandboxError, LessonError) as error:
        print(shown(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped: what is graded stands in {options.out}; the same command goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
