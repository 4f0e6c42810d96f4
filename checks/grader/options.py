"""What the command line of `python -m checks.grade` says."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from checks.grader import layouts
from checks.grader.judging.limits import Limits
from checks.grader.judging.sandbox import TIERS
from checks.grader.limits import LEAST_MEMORY, LEAST_PROCESSES, MOST_SECONDS
from checks.grader.remembered import FLAGGED, NAME
from lessons import LESSONS


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of a command line. Ends with a sentence and exit status 2 for what can't be meant."""
    parser = argparse.ArgumentParser(prog="python -m checks.grade", description="Grade a class in a sandbox.")
    add_grading(parser)
    add_policy(parser)
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
    if options.shard and options.seed is None and not (options.out / NAME).exists():
        parser.error("--shard needs --seed, the same for all shards, so that the same answer gets the same points")
    if bool(options.clear) != bool(options.reason and options.reason.strip()):
        parser.error('--clear and --reason go together, as in --clear alice/masking --reason "she showed me her work"')
    if options.marking_sheet and not options.submissions:
        parser.error("--marking-sheet needs SUBMISSIONS")
    if options.assistants < 1:
        parser.error("--assistants starts at 1")
    if options.jobs < 1:
        parser.error("--jobs starts at 1")
    if not all(0 < seconds <= MOST_SECONDS for seconds in (options.seconds, options.training_seconds)):
        parser.error(f"the seconds of a lesson must be more than 0, and {MOST_SECONDS} at most")
    if options.memory < LEAST_MEMORY or options.processes < LEAST_PROCESSES:
        parser.error(f"--memory starts at {LEAST_MEMORY}, and --processes at {LEAST_PROCESSES}")
    return options


def add_grading(parser: argparse.ArgumentParser) -> None:
    """What is graded, where, and within which limits."""
    parser.add_argument("submissions", type=Path, nargs="?", help="folder of students' folders, flat folder, or zip")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument(
        "--lesson",
        action="append",
        choices=LESSONS,
        help="grade this lesson only; may be repeated (default: those that --out knows from earlier runs, or all)",
    )
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
    parser.add_argument("--regrade", action="store_true", help="grade what is graded already, too")
    parser.add_argument("--shard", metavar="N/COUNT", help="grade one part of the class, such as 3/8")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="DIR", help="join the records of shards into --out")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Who is graded, and what the instructor decides about the points."""
    remembered = parser.add_argument_group("remembered in --out, for the next run")
    remembered.add_argument("--flagged", choices=FLAGGED, help="the points of a flagged exercise (at first: withhold)")
    remembered.add_argument("--late", type=Path, metavar="TOML", help="deadlines, late days and extensions")
    remembered.add_argument(
        "--roster", type=Path, metavar="CSV", help="who is enrolled: from Canvas, Moodle, or with name,id,email"
    )
    remembered.add_argument(
        "--marks", type=Path, metavar="CSV", action="append", default=[], help="marks given by hand; may be repeated"
    )
    remembered.add_argument(
        "--times",
        type=Path,
        metavar="CSV",
        action="append",
        default=[],
        help="when it was handed in: student,lesson,time, or Moodle's worksheet; may be repeated",
    )
    remembered.add_argument("--seed", type=int, help="of the random inputs, one for the whole class (at first: drawn)")
    parser.add_argument(
        "--marks-from-gradebook", metavar="URL", help="read the marks that people gave in nbgrader's formgrader"
    )
    parser.add_argument(
        "--marking-sheet", metavar="QUESTION", help="write a sheet to mark a question on; grade nothing"
    )
    parser.add_argument("--assistants", type=int, default=1, help="share a marking sheet among so many (default: 1)")
    parser.add_argument("--gradebook", metavar="URL", help="write the points into nbgrader's gradebook too")
    parser.add_argument(
        "--clear", metavar="STUDENT/LESSON", help="give a flagged submission its points, for a --reason that is kept"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why a submission is cleared")
