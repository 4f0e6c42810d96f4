"""`python -m checks.grader.alike SUBMISSIONS --out grades/`: whose own code is alike, on a page with both side by side.

It runs no learner's code and gives no verdict: alike code has many reasons, and a person has to look.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from checks.grader import layouts
from checks.grader.collect import CollectError, Submission, collect
from checks.grader.fingerprints import Code, code_of
from checks.grader.judging.manifest import ROOT
from checks.grader.likeness import AlikePair, most_alike
from checks.grader.reports.alike import Side, alike_page
from checks.grader.reports.text import shown, write_text
from lessons import LESSONS, LessonError, folder_name

NAME = "alike.html"


def given() -> set[int]:
    """The fingerprints of what the course hands out: its reference, and its notebooks with their demos."""
    paths = [ROOT / "solutions" / f"{lesson}.py" for lesson in LESSONS]
    paths += [ROOT / "lessons" / folder_name(lesson) / f"{folder_name(lesson)}.ipynb" for lesson in LESSONS]
    there = [path for path in paths if path.exists()]
    return {value for path in there for value in code_of(path.name, path.read_bytes(), whole=True).prints}


def code(submission: Submission) -> Code | None:
    """The code of a submission; None if nothing was handed in. Raises LessonError."""
    content = submission.content()
    if content is None or submission.label is None:
        return None
    return code_of(submission.label, content)


def sides(pair: AlikePair, submissions: Mapping[tuple[str, str], Submission], handed_out: set[int]) -> list[list[Side]]:
    """The code of both, for each lesson of a pair, with the lines that they have in common and the course has not."""
    both = []
    for lesson in pair.lessons:
        codes = [found for name in pair.students if (found := code(submissions[lesson, name]))]
        common = set.intersection(*(set(found.prints) for found in codes)) - handed_out
        marked = [{line for value in common for line in found.prints[value]} for found in codes]
        both.append([Side(found.lines, lines) for found, lines in zip(codes, marked, strict=True)])
    return both


def compare(place: Path, out: Path, lessons: list[str], form: str | None, count: int) -> str:
    """Write the page -> what to say about it. Raises CollectError, LessonError, OSError."""
    handed_out = given()
    found = collect(place, lessons, form)
    submissions = {(submission.lesson, submission.student): submission for submission in found.submissions(lessons)}
    prints: dict[str, dict[str, set[int]]] = {lesson: {} for lesson in lessons}
    left_out = []
    for (lesson, student), submission in submissions.items():
        try:
            if own := code(submission):
                prints[lesson][student] = set(own.prints) - handed_out
        except LessonError as error:
            left_out.append(f"{student}, {lesson}: {error}")
    pairs = most_alike(prints, count)
    out.mkdir(parents=True, exist_ok=True)
    shows = [(pair, sides(pair, submissions, handed_out)) for pair in pairs]
    write_text(out / NAME, alike_page(shows, len(found.students), left_out))
    return f"{out / NAME}: {len(pairs)} pairs of {len(found.students)} students, the most alike first"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m checks.grader.alike", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("submissions", type=Path, help="folder or zip, as for checks.grade")
    parser.add_argument("--out", type=Path, default=Path("grades"), help=f"where {NAME} goes (default: grades)")
    parser.add_argument("--lesson", action="append", choices=LESSONS, help="compare this lesson only; may be repeated")
    parser.add_argument("--layout", choices=layouts.NAMES, help="how the submissions are named (default: recognised)")
    parser.add_argument("--pairs", type=int, default=12, help="how many are shown (default: 12)")
    options = parser.parse_args(arguments)
    if options.pairs < 1:
        parser.error("--pairs starts at 1")
    lessons = options.lesson or list(LESSONS)
    try:
        print(shown(compare(options.submissions, options.out, lessons, options.layout, options.pairs)))
    except (CollectError, LessonError) as error:
        print(shown(str(error)), file=sys.stderr)
        return 1
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        print(
            shown(f"{error.filename or options.out} can't be written ({why}): choose another --out."), file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
