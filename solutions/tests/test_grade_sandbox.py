"""`python -m checks.grade` with the real sandbox: killed, interrupted, in a lower tier, in every lesson.

The moments at which the grader is killed are drawn anew from a fixed seed; IJEPA_KILLS=30 tries 30 of them:

    IJEPA_KILLS=30 pytest solutions/tests/test_grade_sandbox.py -k killed
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from checks.grader.judging.links import SandboxError
from lessons import LESSONS
from solutions.misconceptions import exercises, stub
from solutions.tests.helpers import graders
from solutions.tests.helpers.graders import (
    assert_the_report_says,
    descendants,
    end,
    record,
    run,
    start,
    until,
    until_recorded,
)
from solutions.tests.helpers.known_class import CATALOGUE, full
from solutions.tests.helpers.notebooks import before_solution, cells_of, notebook, put

KILLS = int(os.environ.get("IJEPA_KILLS", "4"))

# of every test here
orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """Six submissions that take a while, and three that need no run."""
    place = tmp_path_factory.mktemp("few") / "class"
    pause = ["import time\nPAUSE = time.sleep(0.7)"]
    cell = exercises("masking")["sample_block"]
    changed = before_solution(cell, "assert PAUSE is None")
    for number in range(3):
        put(place, f"right{number}", "masking", notebook(pause + cells_of("masking", sample_block=changed)))
        put(place, f"todo{number}", "masking", notebook(cells_of("masking", sample_block=f"{stub(cell)}\n")))
        put(place, f"cut{number}", "masking", b"{")
        (place / f"empty{number}").mkdir()
    return place


def cgroups() -> set[str]:
    return {path.name for path in Path("/sys/fs/cgroup").glob("**/build-i-jepa-*")}


def test_killed_at_random_moments_nothing_is_lost(few, tmp_path):
    numbers = random.Random(5)
    arguments = (few, "--lesson", "masking", "--jobs", 2, "--seed", 5, "--quiet", "--out")
    before = descendants()
    started = time.monotonic()
    assert end(start(*arguments, tmp_path / "whole", output=tmp_path / "said")) == 0
    duration = time.monotonic() - started
    whole = record(tmp_path / "whole")
    assert len(whole) == 12 and {row["status"] for row in whole.values()} == {"graded", "unreadable", "missing"}
    expected = {name: (tmp_path / "whole" / name).read_bytes() for name in ("grades.csv", "canvas.csv")}
    groups: set[str] = set()

    def check_and_finish(out: Path) -> None:
        lines = (out / "record.jsonl").read_bytes() if (out / "record.jsonl").exists() else b""
        assert end(start(*arguments, out, output=tmp_path / "said")) == 0, (tmp_path / "said").read_text()
        assert (out / "record.jsonl").read_bytes().startswith(lines[: lines.rfind(b"\n") + 1])
        assert record(out) == whole
        assert len((out / "record.jsonl").read_bytes().splitlines()) == len(whole)
        assert {name: (out / name).read_bytes() for name in expected} == expected
        assert not groups & cgroups()

    killed = 0
    for number in range(KILLS):
        out = tmp_path / f"out{number // 2}"  # two deaths on the way to each result
        grader = start(*arguments, out, output=tmp_path / "said")
        time.sleep(numbers.uniform(0, duration))
        groups |= {f"build-i-jepa-{pid}" for pid in descendants() - before}
        if number % 2:
            os.killpg(grader, signal.SIGKILL)
        else:
            os.kill(grader, signal.SIGKILL)
        killed += end(grader) == -signal.SIGKILL
        until(lambda: not descendants() - before, "a process has outlived its grader")
        if number % 2 or number == KILLS - 1:
            check_and_finish(out)
    assert killed


def test_ctrl_c_with_the_sandbox_leaves_no_process(few, tmp_path):
    before, out = descendants(), tmp_path / "out"
    arguments = (few, "--lesson", "masking", "--jobs", 2, "--quiet", "--out", out)
    grader = start(*arguments, output=tmp_path / "said")
    until_recorded(out)
    groups = {group for group in cgroups() if group.startswith(f"build-i-jepa-{grader}-")}
    os.killpg(grader, signal.SIGINT)
    assert end(grader) == 130
    until(lambda: not descendants() - before, "a process is left")
    assert not groups & cgroups()


def test_a_zygote_that_is_killed_under_way_costs_nothing(few, tmp_path):
    before, out, killed = descendants(), tmp_path / "out", set()
    arguments = (few, "--lesson", "masking", "--jobs", 1, "--quiet", "--out", out)
    grader = start(*arguments, output=tmp_path / "said")
    until_recorded(out)

    def sandboxes() -> list[int]:
        names = {pid: Path(f"/proc/{pid}/cmdline") for pid in descendants() - before}
        return [pid for pid, path in names.items() if b"checks.grader.inside.zygote" in path.read_bytes()]

    with contextlib.suppress(OSError):
        until(sandboxes, "no zygote has started")
        for pid in sandboxes():
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
    assert killed
    assert end(grader) == 0, (tmp_path / "said").read_text()
    rows = record(out)
    assert len(rows) == 12 and {row["status"] for row in rows.values()} == {"graded", "unreadable", "missing"}
    full_points = sum(CATALOGUE["masking"].values())
    assert [rows[f"right{number}", "masking"]["points"] for number in range(3)] == [full_points] * 3


@pytest.mark.parametrize(("option", "tier"), [(["--tier", "rlimits"], "rlimits"), (["--trusted"], "trusted")])
def test_a_lower_tier_grades_alike_and_says_what_it_is(tmp_path, option, tier):
    place, out = tmp_path / "class", tmp_path / "out"
    cell = exercises("masking")["sample_masks"]
    put(place, "right", "masking", notebook(cells_of("masking")))
    put(
        place,
        "dies",
        "masking",
        notebook(cells_of("masking", sample_masks=before_solution(cell, "import os; os._exit(0)"))),
    )
    code, said = run(place, "--lesson", "masking", "--jobs", 1, "--out", out, *option, output=tmp_path / "said")
    assert code == 0 and f"sandbox: {tier} (" in said
    rows = record(out)
    assert {row["tier"] for row in rows.values()} == {tier}
    assert {name: rows["right", "masking"][name] for name in CATALOGUE["masking"]} == CATALOGUE["masking"]
    without = full("masking", sample_masks=0)
    assert {name: rows["dies", "masking"][name] for name in without} == without
    assert rows["dies", "masking"]["status"] == "crashed"
    assert_the_report_says(tier, said, out)


def test_in_every_lesson_the_reference_has_all_points(tmp_path):
    for lesson in LESSONS:
        put(tmp_path / "class", "ada", lesson, notebook(cells_of(lesson)))
    code, said = run(tmp_path / "class", "--out", tmp_path / "out", output=tmp_path / "said")
    assert code == 0, said
    rows = record(tmp_path / "out")
    for lesson in LESSONS:
        row = rows["ada", lesson]
        assert row["status"] == "graded" and row["points"] == sum(CATALOGUE[lesson].values()), row["reason"]


def test_where_no_sandbox_works_it_says_so_and_grades_nothing(few, tmp_path, monkeypatch):
    def broken(*_):
        raise SandboxError("it can't be started here")

    monkeypatch.setattr("checks.grader.judging.sandbox.Sandbox", broken)
    code, said = run(few, "--out", tmp_path / "out", output=tmp_path / "said")
    assert code == 1 and "no sandbox works here" in said and "--trusted" in said
    assert not (tmp_path / "out" / "grades.csv").exists()
