"""The report's analysis of the checks: counts and correlations by their definitions, and what a regrade moved."""

import json
from dataclasses import replace

import pytest

from checks.grader.policy import Policy, settle
from checks.grader.reports.items import NAME, came, counts, history, items, unnamed
from checks.grader.reports.report import report_page
from solutions.misconceptions import HEADER
from solutions.tests.helpers.made_up_rows import CHECKS, made_up_row, with_exercises
from solutions.tests.helpers.report_pages import ABOUT, Page, table_after

FIRST, SECOND = (check.__name__ for check in CHECKS["predictor"][:2])


def row(student, failed=(), todo=(), likely="", got="[2]"):
    """Lesson 5 of a student who fails these checks and has no answer for those."""

    def judge(check):
        if check.check in todo:
            return replace(check, status="todo", points=0)
        page = f"called    f()\nexpected  [1]\ngot       {got}\n          more\nseed      7"
        return replace(check, status="failed", points=0, page=page, likely=likely) if check.check in failed else check

    made = made_up_row(student, "predictor")
    return settle(
        with_exercises(made, lambda _, entry: replace(entry, checks=tuple(map(judge, entry.checks)))), Policy()
    )


def test_pass_rates_and_discrimination_are_those_of_the_definition():
    others = [check.__name__ for check in CHECKS["predictor"][2:]]
    weak, strong = [f"w{n}" for n in range(6)], [f"s{n}" for n in range(6)]
    # the first check is failed by the weak, who fail others too; the second by every other student of both kinds
    failed = {name: [FIRST, *others[:3]] for name in weak} | {name: [] for name in strong}
    rows = [row(name, [*failed[name], *([SECOND] if name[1] in "024" else [])]) for name in weak + strong]
    rows.append(row("t", todo=[FIRST]))
    found = {item.check: item for item in items(rows, [])}
    assert (found[FIRST].students, found[FIRST].passed) == (12, 0.5)
    assert (found[SECOND].students, round(found[SECOND].passed, 3)) == (13, round(7 / 13, 3))
    # of the n - 1 others, the weak pass n - 4 or n - 5 and the strong n - 1 or n - 2, by the second check
    share = [a / (len(CHECKS["predictor"]) - 1) for a in [len(others) - 3] * 3 + [len(others) - 2] * 3]
    share += [a / (len(CHECKS["predictor"]) - 1) for a in [len(others)] * 3 + [len(others) + 1] * 3]
    mean = sum(share) / 12
    spread = (sum((value - mean) ** 2 for value in share) / 12) ** 0.5
    expected = (sum(share[6:]) / 6 - sum(share[:6]) / 6) / 2 / spread  # point-biserial, half of them passed
    assert found[FIRST].discrimination == pytest.approx(expected) and expected > 0.9
    assert abs(found[SECOND].discrimination) < 0.2
    assert found[others[-1]].discrimination is None  # all passed
    assert items(rows, [])[0].passed == min(item.passed for item in found.values())


def test_few_students_have_no_discrimination():
    rows = [row(f"s{n}", [FIRST, SECOND] if n < 4 else []) for n in range(9)]
    assert {item.discrimination for item in items(rows, [])} == {None}
    assert {item.check: item.discrimination for item in items([*rows, row("s9")], [])}[FIRST] is not None


def test_a_series_has_a_point_for_each_run_that_changed_something(tmp_path):
    before = [row("a", [FIRST]), row("b", [FIRST]), row("c")]
    after = [row("a", [FIRST]), row("b"), row("c")]
    for rows in (before, before, after, after):
        past = history(rows, tmp_path, "2026-11-28")
    assert [entry[FIRST] for entry in past] == [[1, 3], [2, 3]]
    assert {item.check: item.series for item in items(after, past)}[FIRST] == (33, 67)
    lines = (tmp_path / NAME).read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[1])["checks"] == counts(after)
    damaged = [lines[0], "{", '{"checks": {"x": [2]}}', "[]", lines[1][:9]]
    (tmp_path / NAME).write_text("\n".join(damaged))
    assert [entry[FIRST] for entry in history(after, tmp_path, "now")] == [[1, 3], [2, 3]]
    assert (tmp_path / NAME).read_text().splitlines()[:-1] == damaged  # nothing of it is lost
    assert "33 → 67" in Page(report_page(after, ABOUT | {"history": past})).text


def test_failures_that_nobody_names_are_grouped_by_what_they_have_in_common():
    rows = [row("a", [FIRST], got="[2]"), row("b", [FIRST], got="[2]"), row("c", [FIRST], got="[3]")]
    rows += [row("d", [FIRST, SECOND]), row("e", [FIRST], likely="The axes are swapped."), row("f")]
    first, second = unnamed(rows)
    assert (first.students, first.checks) == (("a", "b", "c"), (FIRST,))
    assert first.got == ("got [2] more", "got [3] more")
    assert (second.students, second.checks) == (("d",), (FIRST, SECOND))
    header, *rest = first.stub.split("\n")
    assert HEADER.match(header.removeprefix("# %%") + "\n").groups()[:2] == ("wrong", first.exercise)
    assert rest[0] == f"# 3 answers, such as a's, fail {FIRST}" and [line[:4] for line in rest[-2:]] == ["# - ", "# + "]
    report = report_page(rows, ABOUT)
    assert [line[:2] for line in table_after(report, "unnamed")] == [["3", first.exercise], ["1", first.exercise]]
    assert first.stub in Page(report).text
    assert "None: each failed exercise" in Page(report_page(rows[4:], ABOUT)).text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("called    f\ngot       a\n          b\nlikely    c", "got a b"),
        ("called    f\nraised    ValueError: x\nat  cell 3", "raised ValueError: x"),
        ("What came back is nothing.\nmore", "What came back is nothing."),
        ("", ""),
    ],
)
def test_what_came_is_one_line(page, said):
    assert came(page) == said
