"""What a class says about the checks: how many pass each, whether it tells who knows the lesson, what has no name yet.

The counts of each run that changed them stand in items.jsonl, so that a report shows what a regrade has moved.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.grader.judging.results import CheckResult
from checks.grader.reports.text import write_text
from checks.grader.settled import SettledRow

NAME = "items.jsonl"
LEAST_STUDENTS = 10  # for a discrimination: of fewer it says nothing
LATEST = 6  # runs that a series shows
EXAMPLES = 3  # of what came, for a group of failures
TOP = 12  # groups of failures

Counts = Mapping[str, Sequence[int]]  # of each check: how many passed, and of how many


@dataclass(frozen=True)
class Item:
    """A check. students: whose answers it judged, stubs left out; discrimination: None if there is none.

    series: the percent that passed in earlier runs and in this one, oldest first.
    """

    check: str
    lesson: str
    exercise: str
    students: int
    passed: float
    discrimination: float | None
    series: tuple[int, ...]


@dataclass(frozen=True)
class Unnamed:
    """Answers to an exercise that fail the same checks, and no message names a mistake. got: what came most often."""

    exercise: str
    checks: tuple[str, ...]
    students: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def stub(self) -> str:
        """The beginning of an entry for solutions/misconceptions."""
        who = f"{len(self.students)} answers, such as {self.students[0]}'s"
        seen = [f"# {got}" for got in self.got]
        lines = [
            f"# %% wrong {self.exercise}: TITLE | WORDS THAT THE MESSAGE MUST SAY",
            f"# {who}, fail {self.checks[0]}",
            *seen,
        ]
        return "\n".join([*lines, f"# - WHAT THE REFERENCE HAS IN {self.exercise}", "# + WHAT THESE ANSWERS HAVE"])


def judged(rows: Iterable[SettledRow]) -> dict[tuple[str, str, str], dict[str, CheckResult]]:
    """{(lesson, exercise, check): {student: verdict}}, of answers that passed or failed."""
    found: dict[tuple[str, str, str], dict[str, CheckResult]] = {}
    for row in rows:
        for name, exercise in row.exercises.items():
            for check in exercise.checks:
                if check.status in ("passed", "failed"):
                    found.setdefault((row.lesson, name, check.check), {})[row.student] = check
    return found


def counts(rows: Iterable[SettledRow]) -> dict[str, list[int]]:
    """How many passed each check, and of how many."""
    return {
        check: [sum(verdict.status == "passed" for verdict in verdicts.values()), len(verdicts)]
        for (_, _, check), verdicts in judged(rows).items()
    }


def history(rows: Sequence[SettledRow], out: Path, when: str) -> list[Counts]:
    """The counts of all runs in a grades folder that changed them, this one the last; written down if it is new.

    A line that can't be read is left out: nothing but a series depends on it.
    """
    path = out / NAME
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    past = [found for line in lines if (found := counts_in(line)) is not None]
    now = counts(rows)
    if not past or dict(past[-1]) != now:
        new = path.with_name(f".{NAME}")
        write_text(new, "\n".join([*lines, json.dumps({"when": when, "checks": now})]) + "\n")
        new.replace(path)  # as a whole, or on a full disk not at all
        past.append(now)
    return past


def counts_in(line: str) -> Counts | None:
    try:
        checks = json.loads(line)["checks"]
        whole = all(0 <= passed <= of for passed, of in checks.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return checks if whole else None


def items(rows: Sequence[SettledRow], past: Sequence[Counts]) -> list[Item]:
    """Every check that judged an answer, hardest first. past: as `history` gives it."""
    found = judged(rows)
    earned: dict[tuple[str, str], Counter[bool]] = {}  # checks of a lesson that a student passed and failed
    for (lesson, _, _), verdicts in found.items():
        for student, verdict in verdicts.items():
            earned.setdefault((lesson, student), Counter())[verdict.status == "passed"] += 1
    made = []
    for (lesson, exercise, check), verdicts in found.items():
        passed = {student: verdict.status == "passed" for student, verdict in verdicts.items()}
        rest = {student: rest_of(earned[lesson, student], own) for student, own in passed.items()}
        share = statistics.fmean(passed.values())
        series = [percent(entry[check]) for entry in past[-LATEST:] if check in entry and entry[check][1]]
        made.append(Item(check, lesson, exercise, len(passed), share, discrimination(passed, rest), tuple(series)))
    return sorted(made, key=lambda item: item.passed)


def percent(entry: Sequence[int]) -> int:
    return round(100 * entry[0] / entry[1])


def rest_of(earned: Counter[bool], own: bool) -> float | None:
    """The share of a lesson's other checks that a student passed; None if there is no other."""
    others = earned.total() - 1
    return (earned[True] - own) / others if others else None


def discrimination(passed: Mapping[str, bool], rest: Mapping[str, float | None]) -> float | None:
    """The correlation of passing a check with the share of the lesson's other checks that were passed, -1 to 1.

    None for few students, or if all of them passed, or none, or if all have the same rest.
    """
    known = [(own, value) for student, own in passed.items() if (value := rest[student]) is not None]
    ones, others = [float(own) for own, _ in known], [value for _, value in known]
    if len(known) < LEAST_STUDENTS or len(set(ones)) == 1 or len(set(others)) == 1:
        return None
    value = statistics.correlation(ones, others)
    return value if math.isfinite(value) else None


def unnamed(rows: Iterable[SettledRow]) -> list[Unnamed]:
    """Answers whose failures name no mistake, grouped by exercise and failed checks, largest group first."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
    for row in rows:
        for name, exercise in row.exercises.items():
            failed = [check for check in exercise.checks if check.status == "failed"]
            if failed and not any(check.likely for check in failed):
                of_group = groups.setdefault((name, tuple(check.check for check in failed)), {})
                of_group[row.student] = came(failed[0].page)
    found = []
    for (of, checks), students in groups.items():
        most = [got for got, _ in Counter(filter(None, students.values())).most_common(EXAMPLES)]
        found.append(Unnamed(of, checks, tuple(students), tuple(most)))
    return sorted(found, key=lambda group: -len(group.students))[:TOP]


def came(page: str) -> str:
    """What a failure says of what came, on one line: the same for the same mistake, because a class has one seed."""
    said = re.search(r"^(?:got|raised)\b.*(?:\n[ ]+.*)*", page, re.MULTILINE) or re.search(r".+", page)
    return " ".join(said[0].split()) if said else ""
