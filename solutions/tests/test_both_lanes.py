"""One class in both lanes: where nbgrader can grade a submission, `checks.grade` gives it the same points.

`IJEPA_CLASS=60 pytest solutions/tests/test_both_lanes.py` takes the whole class of test_grade_class.py, a few minutes
of nbgrader's; without it, two submissions of each lesson are enough.
"""

import os
import subprocess
import sys

from checks.tool.exercise import catalogue
from lessons import folder_name
from solutions.release import ROOT
from solutions.tests.helpers.graders import record
from solutions.tests.helpers.known_class import ALONE, submissions_of
from solutions.tests.helpers.nbgrading import grades, nbgrader, release_into
from solutions.tests.helpers.notebooks import put

CLASS = int(os.environ.get("IJEPA_CLASS", "6"))
# what a lane without a sandbox, or with a fixed file name, can't grade
FAST_ALONE = {"script", "o'neil, ann", "dies", "hangs", "cheats", "cut off", "latin", "blank", "several", "empty"}


def test_points_are_the_same_in_both_lanes(tmp_path):
    course, out, expected = tmp_path / "course", tmp_path / "out", {}
    for lesson in ALONE:
        release_into(course, lesson)
        made = submissions_of(lesson)
        names = sorted(made) if CLASS >= 60 else ["right, but other", max(made)]
        for student in names:
            status, points, files = made[student]
            expected[student, lesson] = status, points
            for name, content in files:
                put(course / "submitted", student, lesson, content, name)
    command = [sys.executable, "-m", "checks.grade", course / "submitted", "--out", out, "--quiet"]
    command += [word for lesson in ALONE for word in ("--lesson", lesson)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for lesson in ALONE:
        nbgrader(course, "autograde", folder_name(lesson))
    theirs, ours, both = grades(course), record(out), 0
    assert len(expected) >= CLASS
    for (student, lesson), (status, points) in expected.items():
        if student in FAST_ALONE:
            continue
        both += 1
        row = ours[student, lesson]
        assert (row["status"], {name: row[name] for name in points}) == (status, points)
        found = {name: theirs[student, f"check_{name}"][0] for name in catalogue()[lesson]}
        assert found == points, (student, lesson)
    assert both >= CLASS / 2
