"""What the instructor decides after the checks have run: late days, marks by hand, and the points of flagged exercises.

None of it is stored in the record, so a change of mind takes a rerun and no new grading.

late.toml:

    time_zone = "Europe/Berlin"     # of the times below that have no offset of their own
    free_days = 1                   # days late that cost nothing, in each lesson; 0 if left out
    penalty = 10                    # percent of the points earned, for each day begun after these
    max_penalty = 50                # percent, the most that is deducted; 100 if left out

    [deadlines]
    masking = 2026-11-01T23:59:00

    [extensions.alice]              # "quoted" where the name holds more than letters, digits, - and _
    masking = 3                     # days after the deadline, or a date and time: the new deadline

marks.csv, a line a mark, where item is an exercise (its points are replaced) or a question that is marked by hand:

    student,lesson,item,points,comment
    alice,masking,why_overlap,1.5,the test on the masks is missing
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, DecimalException
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from checks.tool.exercise import catalogue

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

SOLUTIONS = Path(__file__).parent.parent / "solutions"
QUESTION = re.compile(r'^# %% \[markdown\] question="(\w+)" points=(\d+)', re.MULTILINE)
FLAGGED = ("withhold", "keep")
LATE_KEYS = ("time_zone", "free_days", "penalty", "max_penalty", "deadlines", "extensions")
MARK_COLUMNS = ("student", "lesson", "item", "points")
MOST_DAYS = 1000
CENT = Decimal("0.01")


class PolicyError(Exception):
    """A policy can't be followed. The message is one sentence that names file and line, and says what to do."""


@dataclass(frozen=True)
class Mark:
    points: Decimal
    comment: str


@dataclass(frozen=True)
class Policy:
    """What `settle` needs to know. The defaults: nothing is late, nothing is marked by hand, flagged is withheld."""

    flagged: str = "withhold"
    deadlines: Mapping[str, datetime] = field(default_factory=dict)
    extensions: Mapping[tuple[str, str], datetime] = field(default_factory=dict)  # of (student, lesson): new deadlines
    free_days: int = 0
    penalty: Decimal = Decimal(0)  # percent a day
    max_penalty: Decimal = Decimal(100)
    marks: Mapping[tuple[str, str, str], Mark] = field(default_factory=dict)  # of (student, lesson, item)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # what they are worth, if marks name them
    named: Mapping[str, str] = field(default_factory=dict)  # where students are named: {"alice": "marks.csv, line 2"}


# Reading


def read_policy(late: Path | None = None, marks: Path | None = None, flagged: str = "withhold") -> Policy:
    """The instructor's policy from late.toml and marks.csv, either of which may be left out. Raises PolicyError."""
    if flagged not in FLAGGED:
        raise PolicyError(f"--flagged is {' or '.join(FLAGGED)}, not {flagged!r}")
    policy = Policy(flagged)
    policy = with_late_days(policy, late) if late else policy
    return with_marks(policy, marks) if marks else policy


def with_late_days(policy: Policy, path: Path) -> Policy:
    """The policy with what late.toml says. Raises PolicyError."""
    text = read_text(path)
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, DecimalException) as error:
        raise PolicyError(f"{path} is not valid TOML: {error}") from None

    def refuse(why: str, *keys: str) -> PolicyError:
        return PolicyError(f"{path}, line {line_of(text, keys)}: {why}")

    def amount(key: str, default: int | None, most: int, kinds: tuple[type, ...]) -> Any:
        if key not in table and default is None:
            raise PolicyError(f"{path}: {key} is missing, the percent that each day late costs, as in `{key} = 10`")
        value = table.get(key, default)
        if type(value) not in kinds or not Decimal(value).is_finite() or not 0 <= value <= most:
            whole = "a number" if Decimal in kinds else "a whole number"
            raise refuse(f"{key} must be {whole} from 0 to {most}", key)
        return value

    def moment(value: Any, *keys: str) -> datetime:
        if type(value) is not datetime:
            what = "has no time" if type(value) is date else "is no date with a time"
            raise refuse(f"the deadline of {keys[-1]} {what}; write 2026-11-01T23:59:00", *keys)
        if value.tzinfo is None and zone is None:
            raise refuse(
                f"the deadline of {keys[-1]} has no time zone; "
                'put `time_zone = "Europe/Berlin"` at the top of the file, or an offset such as +01:00 behind the time',
                *keys,
            )
        if not 2000 <= value.year <= 2100:
            raise refuse(f"the year of the deadline of {keys[-1]} is {value.year}", *keys)
        return value if value.tzinfo else value.replace(tzinfo=zone)

    def tables(key: str) -> dict:
        if not isinstance(table.get(key, {}), dict):
            raise refuse(f"{key} must be a table, [{key}]", key)
        return table.get(key, {})

    def known(lesson: str, *keys: str) -> None:
        if lesson not in catalogue():
            raise refuse(f"there is no lesson {lesson!r}; the lessons are {', '.join(catalogue())}", *keys)

    for key in table:
        if key not in LATE_KEYS:
            raise refuse(f"there is no setting {key!r}; the settings are {', '.join(LATE_KEYS)}", key)
    zone = None
    if "time_zone" in table:
        try:
            zone = ZoneInfo(table["time_zone"])
        except (KeyError, ValueError, TypeError, OSError):
            why = 'time_zone is not known here; write it as in "Europe/Berlin", or put an offset behind each time'
            raise refuse(why, "time_zone") from None
    deadlines, extensions = {}, {}
    for lesson, value in tables("deadlines").items():
        known(lesson, "deadlines", lesson)
        deadlines[lesson] = moment(value, "deadlines", lesson)
    for student, granted in tables("extensions").items():
        if not isinstance(granted, dict):
            why = "an extension needs the lesson, as in `masking = 3` below [extensions.alice]"
            raise refuse(why, "extensions", student)
        for lesson, value in granted.items():
            keys = ("extensions", student, lesson)
            known(lesson, *keys)
            if lesson not in deadlines:
                raise refuse(f"{lesson} has an extension, but no deadline; add it below [deadlines]", *keys)
            if type(value) is int and 0 <= value <= MOST_DAYS:
                extensions[student, lesson] = deadlines[lesson] + timedelta(days=value)
                continue
            if not isinstance(value, date):
                raise refuse(f"an extension is a number of days up to {MOST_DAYS}, or a date with a time", *keys)
            extensions[student, lesson] = moment(value, *keys)
            if utc(extensions[student, lesson]) < utc(deadlines[lesson]):
                raise refuse("this extension ends before the deadline", *keys)
    return replace(
        policy,
        deadlines=deadlines,
        extensions=extensions,
        free_days=amount("free_days", 0, MOST_DAYS, (int,)),
        penalty=Decimal(amount("penalty", None, 100, (int, Decimal))),
        max_penalty=Decimal(amount("max_penalty", 100, 100, (int, Decimal))),
        named={name: f"{path}, line {line_of(text, ('extensions', name))}" for name in tables("extensions")},
    )


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of a TOML text on which a key stands: the first one up to which the text already has the key."""
    lines = text.split("\n")
    for number in range(1, len(lines)):
        try:
            table = tomllib.loads("\n".join(lines[:number]), parse_float=Decimal)
            for key in keys:
                table = table[key]
            return number
        except (tomllib.TOMLDecodeError, KeyError):
            pass
    return len(lines)


def with_marks(policy: Policy, path: Path) -> Policy:
    """The policy with the marks of marks.csv. Raises PolicyError."""
    questions = {lesson: questions_of(lesson) for lesson in catalogue()}
    items = {lesson: exercises | questions[lesson] for lesson, exercises in catalogue().items()}
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns: list[str] = []
    marks: dict[tuple[str, str, str], Mark] = {}
    places: dict[tuple[str, str, str], int] = {}
    named: dict[str, str] = {}
    try:
        for cells in lines:
            place = f"{path}, line {lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                if sorted(columns) not in (sorted(MARK_COLUMNS), sorted((*MARK_COLUMNS, "comment"))):
                    raise PolicyError(
                        f"{place}: the first line must name the columns, separated by commas: "
                        f"{','.join(MARK_COLUMNS)} and, if you like, comment"
                    )
                continue
            if len(cells) != len(columns):
                raise PolicyError(
                    f"{place}: there are {len(cells)} cells for {len(columns)} columns; "
                    "put a text that holds commas in double quotes"
                )
            entry = dict(zip(columns, cells, strict=True))
            student, lesson, item = entry["student"], entry["lesson"].strip(), entry["item"].strip()
            if lesson not in items:
                raise PolicyError(f"{place}: there is no lesson {lesson!r}; the lessons are {', '.join(items)}")
            if item not in items[lesson]:
                names = ", ".join(items[lesson])
                raise PolicyError(f"{place}: {lesson} has no exercise or question {item!r}; it has {names}")
            key = (student, lesson, item)
            if key in places:
                raise PolicyError(f"{place}: {item} of {student!r} was marked on line {places[key]} already; keep one")
            places[key] = lines.line_num
            points = read_points(entry["points"], item, items[lesson][item], place)
            marks[key] = Mark(points, entry.get("comment", "").strip())
            named.setdefault(student, place)
    except csv.Error as error:
        raise PolicyError(f"{path}, line {lines.line_num}: this is not valid CSV ({error})") from None
    marked = {(lesson, item) for _, lesson, item in marks}
    return replace(
        policy,
        marks=marks,
        questions={
            lesson: {name: worth for name, worth in worths.items() if (lesson, name) in marked}
            for lesson, worths in questions.items()
        },
        named=named | policy.named,
    )


def questions_of(lesson: str) -> dict[str, int]:
    """The questions of a lesson that are marked by hand, and their points, from the lesson's source."""
    source = SOLUTIONS / f"{lesson}.py"
    text = source.read_text(encoding="utf-8") if source.exists() else ""  # a kit holds no later lessons
    return {name: int(points) for name, points in QUESTION.findall(text)}


def read_points(text: str, item: str, worth: int, place: str) -> Decimal:
    try:
        points = Decimal(text.strip())
        right = points.is_finite() and 0 <= points <= worth and points == points.quantize(CENT)
    except DecimalException:
        right = False
    if not right:
        raise PolicyError(
            f"{place}: {item} is marked {text!r}; write 0 to {worth}, as in 1.5, with two decimals at most"
        )
    return points


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without the mark that spreadsheets put first. Raises PolicyError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path} can't be read ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}, line {line}: this is not UTF-8; save the file as UTF-8") from None


def unknown_students(policy: Policy, rows: Iterable[dict]) -> list[str]:
    """A sentence for each student whom late.toml or marks.csv names and who has no row: most likely a misspelling."""
    students = {row["student"] for row in rows}
    return [
        f"{place}: no submission is from a student called {student!r}"
        for student, place in policy.named.items()
        if student not in students
    ]


# Applying


def settle(row: dict, policy: Policy) -> dict:
    """The row as the policy makes it: flagged points are withheld, marks by hand replace, late days are deducted.

    The row given is left as it is. What the checks gave stays in the new one, as "raw" and as "earned" in each
    exercise, and counts again when a settled row is settled: the result is the same as from the grader's own row.
    Besides, an exercise gets "marked" (by hand) and "decision", a sentence or "". The row gets "questions", {name:
    {"points", "max_points", "comment"}} for those that marks.csv names in this lesson, and their points under their
    own names; None is: not marked. A row that is "ungraded" has no points, whatever was marked.
    """
    student, lesson = row["student"], row["lesson"]
    raw = row.get("raw") or {key: row[key] for key in ("points", "max_points", "reason")}
    settled = {key: value for key, value in row.items() if key not in row.get("questions", {})} | {"raw": raw}
    settled["exercises"], settled["questions"] = {}, {}
    withheld, marked, unmarked = 0, [], []
    total = Decimal(0)
    for name, exercise in row["exercises"].items():
        earned = exercise["earned"] if "earned" in exercise else exercise["points"]
        points, decision = earned, ""
        mark = policy.marks.get((student, lesson, name))
        if mark:
            points = number(mark.points)
            marked.append(f"{name} {points} of {exercise['max_points']}")
            decision = f"Marked by hand: {points} of {exercise['max_points']} points. {mark.comment}".strip()
        elif exercise["status"] == "flagged" and policy.flagged == "withhold" and earned:
            points = 0
            withheld += earned
            decision = f"{count(earned, 'point')} withheld."
        total += Decimal(str(points or 0))
        settled[name] = points
        decided = {"points": points, "earned": earned, "marked": mark is not None, "decision": decision}
        settled["exercises"][name] = exercise | decided
    for name, worth in policy.questions.get(lesson, {}).items():
        mark = policy.marks.get((student, lesson, name))
        points = number(mark.points) if mark else None
        total += mark.points if mark else 0
        (marked if mark else unmarked).append(f"{name} {points} of {worth}" if mark else name)
        settled[name] = points
        comment = mark.comment if mark else ""
        settled["questions"][name] = {"points": points, "max_points": worth, "comment": comment}
    sentences = [raw["reason"]]
    sentences += [f"{count(withheld, 'point')} withheld."] if withheld else []
    sentences += [f"Marked by hand: {', '.join(marked)}."] if marked else []
    sentences += [f"Not marked yet: {', '.join(unmarked)}."] if unmarked and row["status"] != "missing" else []
    deducted, sentence = lateness(row, total, policy)
    settled["points"] = None if row["status"] == "ungraded" else number(total - deducted)
    settled["max_points"] = raw["max_points"] + sum(policy.questions.get(lesson, {}).values())
    settled["reason"] = " ".join(text for text in (*sentences, sentence) if text)
    return settled


def lateness(row: dict, points: Decimal, policy: Policy) -> tuple[Decimal, str]:
    """The points that are deducted because the lesson came late, and a sentence, "" if it is in time.

    A day is 24 hours, and one that has begun counts. Points are rounded to two decimals, a half away from zero.
    """
    due = policy.extensions.get((row["student"], row["lesson"])) or policy.deadlines.get(row["lesson"])
    if due is None or row["status"] in ("missing", "ungraded"):
        return Decimal(0), ""
    if row["submitted"] is None:
        return Decimal(0), "It is not known when this was handed in: no late days are counted."
    days = -((utc(due) - utc(datetime.fromisoformat(row["submitted"]))) // timedelta(days=1))
    if days <= 0:
        return Decimal(0), ""
    percent = min(max(days - policy.free_days, 0) * policy.penalty, policy.max_penalty)
    deducted = (points * percent / 100).quantize(CENT, ROUND_HALF_UP)
    late = f"{count(days, 'day')} late (due {due:%Y-%m-%d %H:%M %Z})"
    if not deducted:
        return deducted, f"{late}, which costs nothing."
    return deducted, f"{late}: {number(percent)} % of {number(points)} points, {number(deducted)}, deducted."


def utc(moment: datetime) -> datetime:
    """The moment in UTC: two moments of one zone are otherwise subtracted as wall clocks."""
    return moment.astimezone(timezone.utc)


def number(value: Decimal) -> int | float:
    """An int if it is whole, so that 3 points are not written 3.0."""
    return int(value) if value == int(value) else float(value)


def count(value: int | float, noun: str) -> str:
    return f"{value} {noun}{'' if value == 1 else 's'}"
