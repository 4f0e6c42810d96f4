"""`python -m checks.grader.benchmark`: how fast `python -m checks.grade` is, on reference submissions of this machine.

Prints the seconds of a submission by lesson, the ratio to nbgrader's autograde on the same submissions, and how time
and memory grow with the class. All is measured in one run; a machine that does something else meanwhile shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lessons import LESSONS, folder_name

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> float:
    """Run a command in the course's folder -> its seconds."""
    started = time.perf_counter()
    done = subprocess.run([*arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started


def hand_in(solved: Path, folder: Path, students: int, lessons: list[str]) -> Path:
    """A class whose students all handed in the reference."""
    for number in range(students):
        for lesson in lessons:
            name = folder_name(lesson)
            place = folder / f"student{number:05d}" / name
            place.mkdir(parents=True)
            shutil.copyfile(solved / name / f"{name}.ipynb", place / f"{name}.ipynb")
    return folder


def graded(submissions: Path, out: Path, lessons: list[str]) -> tuple[float, list[dict[str, Any]]]:
    """Grade a class -> seconds from start to end, and the rows. All points must be there, or the times mean nothing."""
    chosen = [word for lesson in lessons for word in ("--lesson", lesson)]
    seconds = command(sys.executable, "-m", "checks.grade", str(submissions), "--out", str(out), "--quiet", *chosen)
    rows = [json.loads(line) for line in (out / "record.jsonl").read_text().splitlines()]
    if any(row["points"] != row["max_points"] for row in rows):
        raise SystemExit("a reference submission did not get all its points: run `pytest checks --solutions`")
    return seconds, rows


def by_lesson(solved: Path, work: Path, students: int) -> None:
    seconds, rows = graded(hand_in(solved, work / "class", students, list(LESSONS)), work / "grades", list(LESSONS))
    each = seconds / len(rows) * 1000
    print(f"\n{students} students x {len(LESSONS)} lessons: {seconds:.1f} s, {each:.0f} ms a submission")
    print("seconds from opening a submission to its verdicts, median (largest):")
    for lesson in LESSONS:
        times = [row["seconds"] for row in rows if row["lesson"] == lesson]
        print(f"  {lesson:<20} {statistics.median(times):.3f} ({max(times):.3f})")


def against_nbgrader(solved: Path, work: Path, students: int, lessons: list[str]) -> None:
    """The ratio of the two lanes' times for the same submissions. Starting the grader counts; releasing does not."""
    course = work / "nbgrader"
    command(sys.executable, "-m", "solutions.release", "--nbgrader", str(course))
    hand_in(solved, course / "submitted", students, lessons)
    nbgrader = [sys.executable, "-m", "nbgrader"]
    root = f"--CourseDirectory.root={course}"
    theirs = 0.0
    for lesson in lessons:
        command(*nbgrader, "generate_assignment", folder_name(lesson), root)
        theirs += command(*nbgrader, "autograde", folder_name(lesson), root)
    count = students * len(lessons)
    ours, _ = graded(course / "submitted", work / "grades-nbgrader", lessons)
    _, rows = graded(hand_in(solved, work / "many", 20 * students, lessons), work / "grades-many", lessons)
    steady = sum(row["seconds"] for row in rows) / len(rows) / (os.cpu_count() or 1)
    print(f"\nnbgrader autograde: {theirs / count:.2f} s a submission ({count} submissions)")
    print(f"checks.grade:       {ours / count:.2f} s, start included; {steady:.3f} s in a class of {20 * students}")
    print(f"ratio:              {theirs / ours:.1f} x, start included; {theirs / count / steady:.1f} x in a class")


def by_size(solved: Path, work: Path, sizes: list[int]) -> None:
    print(f"\n{LESSONS[0]}, by the size of the class (memory: of the largest process so far):")
    for size in sizes:
        seconds, _ = graded(
            hand_in(solved, work / f"size-{size}", size, [LESSONS[0]]), work / f"out-{size}", [LESSONS[0]]
        )
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        print(f"  {size:>6} students: {seconds:7.1f} s, {seconds / size * 1000:6.0f} ms each, {memory:.0f} MB")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m checks.grader.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=20, help="of the class that is graded in all lessons")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 500], help="of the classes of one lesson")
    parser.add_argument("--nbgrader", type=int, default=3, metavar="STUDENTS", help="0: leave nbgrader out")
    options = parser.parse_args(arguments)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="grading-benchmark-") as folder:
        work = Path(folder)
        solved = work / "solved"
        command(sys.executable, "-m", "solutions.release", "--solved", str(solved))
        by_lesson(solved, work, options.students)
        by_size(solved, work, sorted(options.sizes))
        if options.nbgrader:
            against_nbgrader(solved, work, options.nbgrader, list(LESSONS[:5]))


if __name__ == "__main__":
    main()
