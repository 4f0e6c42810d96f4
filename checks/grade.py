"""`python -m checks.grade SUBMISSIONS --out grades/`: grade a class, sandboxed, with nothing lost.

What is finished stands in record.jsonl, and the same command goes on from there. checks/grader/README.md says how it
works and where.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

if sys.platform == "win32":  # before the imports that Windows doesn't have
    raise SystemExit("grading a class needs Linux or macOS: under Windows, run it in WSL.")

from checks.grader.changes import changes, read_points, told
from checks.grader.collect import Class, CollectError, collect
from checks.grader.course import ClassRun, Plan, in_shard, merged, rows_of
from checks.grader.inside.zygote import warm_up
from checks.grader.judging.judge import GradeError
from checks.grader.judging.limits import Limits
from checks.grader.judging.links import SandboxError
from checks.grader.judging.results import Row, Status
from checks.grader.judging.sandbox import PROMISES, choose_tier
from checks.grader.limits import NAMED, TOLD_CHANGES
from checks.grader.marking import grouped, read_question, students_of, write_sheets
from checks.grader.marks import COLUMNS
from checks.grader.options import parse
from checks.grader.policy import Policy, count, read_policy, renamed, settle, unknown_students
from checks.grader.record import NAME, Record, RecordError, locked
from checks.grader.remembered import NAME as REMEMBERED
from checks.grader.remembered import SETTINGS, Course, read_course, write_course
from checks.grader.reports.items import history
from checks.grader.reports.outputs import write_outputs
from checks.grader.reports.tables import write_table
from checks.grader.reports.text import shown
from checks.grader.roster import Roster, everyone, read_roster
from checks.grader.settled import SettledRow, came_late
from checks.grader.texts import PolicyError
from checks.grader.times import joined, read_times
from checks.tool.exercise import catalogue
from lessons import LESSONS, LessonError

BOUNDED = {
    True: "memory and processes are bounded for a submission as a whole",
    False: "no control group can be made here, so memory is bounded for each process of a submission",
}


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for -> the exit status. Raises GradeError and the other rooms' errors."""
    out, place = options.out, options.submissions
    if place and place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise GradeError(f"--out {out} lies in the submissions, where it would be a student: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            return run_locked(options)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise GradeError(f"{error.filename or out} can't be written ({why}): mend this, then run it again.") from None


def run_locked(options: argparse.Namespace) -> int:
    limits = Limits(options.seconds, options.training_seconds, options.memory << 20, options.processes)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about: dict[str, Any] = {"course": "Build I-JEPA", "started": started, "ignored": [], "limits": vars(limits)}
    course = given(read_course(options.out), options)
    if options.marks_from_gradebook:
        course = course.given([marks_from_gradebook(options)])
    roster = read_roster(course.roster) if course.roster else None
    policy, lines = policy_of(course, options), read_times(course.times)
    if options.marking_sheet:
        return make_sheets(options, course, roster, policy)
    record = Record(options.out / NAME)
    if options.merge:
        shards = merged(options.merge, record)
        course = replace(course, seed=course.seed if shards.seed is None else shards.seed).opened(shards.lessons)
        write_course(options.out, course, options.late)
        rows = rows_of(record, course.lessons)
        tiers = sorted({row.tier for row in rows})
        about |= {"tier": ", ".join(tiers), "promises": [line for tier in tiers for line in PROMISES.get(tier, [])]}
    else:
        if not course.lessons:  # of a folder that is new, or older than course.toml
            course = course.opened([lesson for _, lesson in record.rows])
        lessons = options.lesson or list(course.lessons) or list(LESSONS)
        found = found_in(options, lessons, roster)
        course = course.opened(lessons)
        write_course(options.out, course, options.late)
        plan = Plan(lessons, limits, cast(int, course.seed), options.jobs, options.regrade, options.quiet)
        rows, facts = grade(found, plan, record, options)
        rows += rows_of(record, [name for name in course.lessons if name not in lessons])
        about |= facts
    if options.clear:
        clear(options, record, roster)
    students = {row.student for row in rows}
    times, unknown = joined(lines, everyone(students, roster).whose)
    policy = replace(policy_for(policy, students, course, roster), cleared=record.reasons(), times=times)
    for line in [] if options.shard else [*unknown_students(policy, rows), *unknown]:
        print(shown(line), file=sys.stderr)
    return finish([settle(row, policy) for row in rows], options, about, roster)


def policy_for(policy: Policy, students: Collection[str], course: Course, roster: Roster | None) -> Policy:
    """The policy with students by their names here: its files may have codes of answers, logins, numbers, addresses."""
    codes = students_of(students, cast(int, course.seed))

    def name_of(name: str) -> str | None:
        if name in students:
            return name
        return codes.get(name) or (roster.find(name) if roster else None)

    return renamed(policy, name_of)


def found_in(options: argparse.Namespace, lessons: list[str], roster: Roster | None) -> Class:
    """The submissions of everyone, and of those who are enrolled. Says what it sees. Raises CollectError."""
    found = collect(options.submissions, lessons, options.layout)
    for line in roster.join(found) if roster else []:
        print(shown(line), file=sys.stderr)
    if options.shard:
        found.students = {name: files for name, files in found.students.items() if in_shard(name, options.shard)}
    print(f"layout: {found.form} ({len(found.students)} students)", file=sys.stderr)
    for line in found.ignored:
        print(f"ignored: {shown(line)}", file=sys.stderr)
    return found


def make_sheets(options: argparse.Namespace, course: Course, roster: Roster | None, policy: Policy) -> int:
    """Write the sheets on which people mark a question -> the exit status. Nothing is graded, and no code is run."""
    question = read_question(options.marking_sheet)
    found = found_in(options, [question.lesson], roster)
    given = policy_for(policy, found.students, course, roster).marks.given
    marked = [student for student, lesson, item in given if (lesson, item) == (question.lesson, question.name)]
    groups = grouped(found, question, cast(int, course.seed), marked)
    answers = sum(len(group.codes) for group in groups)
    if not groups:
        print(f"{question.name}: there is no answer that is not marked yet.")
        return 0
    write_course(options.out, course, options.late)  # first: its seed makes the codes
    pages = write_sheets(groups, question, options.out, options.assistants)
    print(
        f"{question.name}: {count(answers, 'answer')}, {len(groups)} of them different, in {', '.join(map(str, pages))}"
    )
    return 0


def marks_from_gradebook(options: argparse.Namespace) -> Path:
    """Write what people have marked in nbgrader's gradebook as a file of marks -> the file. Raises GradeError."""
    from checks.grader.gradebook import GradebookError, marks_in  # nbgrader takes a second to import

    path: Path = options.out / "marks-from-gradebook.csv"
    try:
        lines = marks_in(options.marks_from_gradebook)
    except GradebookError as error:
        raise GradeError(f"{error}.") from None
    write_table([[*COLUMNS, "comment"], *lines], path)
    return path


def clear(options: argparse.Namespace, record: Record, roster: Roster | None) -> None:
    """Keep the reason why a flagged submission is cleared. Raises GradeError."""
    student, _, lesson = options.clear.rpartition("/")
    place = (roster.find(student) if roster else None) or student, lesson
    row = None if place in record.gone else record.rows.get(place)
    if row is None or row.status != Status.FLAGGED:
        what = f"{lesson} of {student!r} is {row.status}" if row else f"{options.out} has no {lesson!r} of {student!r}"
        raise GradeError(f"{what}: --clear takes a submission that is flagged, as in --clear alice/masking.")
    record.clear(place, row.key, options.reason.strip())


def given(course: Course, options: argparse.Namespace) -> Course:
    """What the folder remembers, with what the command line says instead or too."""
    seed = options.seed if options.seed is not None else course.seed
    if seed is None:
        seed = secrets.randbelow(2**31)
    flagged, roster = options.flagged or course.flagged, options.roster or course.roster
    return replace(course, seed=seed, flagged=flagged, roster=roster).given(options.marks, options.times)


def policy_of(course: Course, options: argparse.Namespace) -> Policy:
    """The policy of the folder and the command line, which is printed where there is any. Raises PolicyError."""
    known = options.out / REMEMBERED
    late = options.late or (known if known.exists() else None)
    policy = read_policy(late, course.marks, course.flagged, () if options.late else SETTINGS)
    parts = [f"deadlines of {', '.join(policy.late.deadlines)}"] if policy.late.deadlines else []
    parts += [f"marks in {', '.join(path.name for path in course.marks)}"] if course.marks else []
    parts += [f"times in {', '.join(path.name for path in course.times)}"] if course.times else []
    parts += ["flagged points kept"] if course.flagged == "keep" else []
    if parts:
        print(shown(f"policy: {'; '.join(parts)}"), file=sys.stderr)
    return policy


def grade(found: Class, plan: Plan, record: Record, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Grade what was found -> its rows, and what the report says about the sandbox and what was ignored."""
    catalogue()  # imports the check files once, for all workers
    hidden = [options.submissions.resolve(), options.out.resolve()]
    with ThreadPoolExecutor(1) as beside:  # the two take seconds each
        warming = beside.submit(warm_up)
        sandbox, bounded = choose_tier(options.tier, plan.limits, hidden)
    warming.result()
    limited = "nothing is bounded but time" if sandbox.tier == "trusted" else BOUNDED[bounded]
    print(f"sandbox: {sandbox.tier} ({limited})", file=sys.stderr)
    promises = [*PROMISES[sandbox.tier], f"Here {limited}."]
    with contextlib.closing(sandbox):
        rows = ClassRun(found, plan, record, sandbox).rows()
    about = {"tier": sandbox.tier, "promises": promises, "ignored": found.ignored, "seed": plan.seed}
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


def finish(rows: list[SettledRow], options: argparse.Namespace, about: dict[str, Any], roster: Roster | None) -> int:
    """Write all that comes out, and say what changed -> the exit status."""
    found = changes(read_points(options.out), rows)
    about = about | {"history": history(rows, options.out, about["started"])}
    write_outputs(rows, options.out, about, found, roster)
    for line in other_worths(rows, roster) if roster else []:
        print(shown(line), file=sys.stderr)
    for lesson, names in came_late(rows).items():
        who = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        line = (
            f"{lesson}: late by the platform's word, and not known how late, so nothing is deducted; --times says it: "
        )
        print(shown(line + who), file=sys.stderr)
    for line in told(found, TOLD_CHANGES):
        print(shown(line))
    if options.gradebook:
        from checks.grader.gradebook import GradebookError, write  # nbgrader takes a second to import

        try:
            write(options.gradebook, rows)
        except GradebookError as error:
            raise GradeError(f"{options.out} is written, but {error}.") from None
    counts = {status: sum(row.status == status for row in rows) for status in Status}
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(f"{options.out}: {ended or 'there is nothing to grade in this part of the class'}")
    for sentence in about.get("odd", []):
        print(shown(sentence), file=sys.stderr)
    return 1 if counts[Status.UNGRADED] or about.get("odd") else 0


def other_worths(rows: list[SettledRow], roster: Roster) -> list[str]:
    """A sentence for each lesson that Canvas has no column for, or counts from another number of points."""
    worth = {row.lesson: row.max_points for row in rows if row.handed_in}
    known = {lesson: roster.assignments[lesson] for lesson in worth if lesson in roster.assignments}
    absent = [lesson for lesson in worth if roster.assignments and lesson not in known]
    sentences = [
        f"{lesson} has no column of its own in the roster: canvas.csv makes a new assignment of it" for lesson in absent
    ]
    for lesson, assignment in known.items():
        with contextlib.suppress(ValueError):
            if assignment.worth and float(assignment.worth.replace(",", ".")) != worth[lesson]:
                sentences.append(
                    f"{assignment.title} is worth {assignment.worth} points in Canvas, and {worth[lesson]} here: "
                    f"set it to {worth[lesson]} in Canvas, or every grade is too low or too high"
                )
    return sentences


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
