"""report.html, read as a person would who has counted on paper."""

import re
from dataclasses import replace

from checks.grader.judging.results import ExerciseResult
from checks.grader.policy import Policy, read_policy, settle
from checks.grader.reports.report import TROUBLE, report_page
from solutions.tests.helpers.made_up_rows import (
    CATALOGUE,
    CHECKS,
    made_up_class,
    made_up_row,
    settled_row,
    with_exercises,
)
from solutions.tests.helpers.policy_files import marks_file
from solutions.tests.helpers.report_pages import ABOUT, Page, table_after, written_class


def none_earned(name: str, exercise: ExerciseResult) -> ExerciseResult:
    """The exercise with all of its checks failed, and each naming the same mistake."""
    failed = tuple(replace(check, status="failed", points=0, likely=f"{name} broadcasts.") for check in exercise.checks)
    return replace(exercise, points=0, earned=0, checks=failed)


def test_the_report_counts_what_a_person_would(tmp_path):
    rows = []
    for number, wrong in enumerate(((), ("jepa_loss",), ("jepa_loss", "Predictor"), ("jepa_loss",))):

        def answer(name, exercise, wrong=wrong):
            return none_earned(name, exercise) if name in wrong else exercise

        rows.append(settle(with_exercises(made_up_row(f"s{number}", "predictor"), answer), Policy()))
    assert len(CHECKS["predictor"]) > 4  # so that a student who fails several would count several times
    rows.append(settled_row("s4", "predictor", "missing", reason="There is no notebook."))
    report = written_class(rows, tmp_path)["report.html"]
    hardest = table_after(report, "hardest")
    assert [line[:7] for line in hardest] == [
        ["jepa_loss", "predictor", "25 %", "1", "0", "3", "0"],
        ["Predictor", "predictor", "75 %", "3", "0", "1", "0"],
    ]
    assert [line[:3] for line in table_after(report, "misconceptions")] == [
        ["3", "jepa_loss broadcasts.", "jepa_loss"],
        ["1", "Predictor broadcasts.", "Predictor"],
    ]
    # 14, 11, 0 and 11 points: quarters of 0, 11, 11, 14 by linear interpolation
    assert table_after(report, "points")[0][:6] == ["predictor", "4", "14", "8.2", "11.0", "11.8"]
    assert [line[0] for line in table_after(report, "heat")[1:]] == ["s0", "s1", "s3", "s2", "s4"]
    assert table_after(report, "heat")[2][1:] == ["11", "0", "11"]
    assert table_after(report, "heat")[5][1:] == ["–", "–", "0"]
    assert table_after(report, "attention") == [["s4", "predictor", "0 of 14", "There is no notebook."]]


def test_a_mark_by_hand_is_in_the_heat_map_and_a_reason_of_many_stands_once(tmp_path):
    policy = read_policy(None, [marks_file(tmp_path, "alice,masking,sample_block,3.5,handed in on paper")])
    row = made_up_row("alice", "masking", "missing", reason="There is no notebook.")
    flagged = made_up_row("bob", "masking", "flagged")
    flagged = with_exercises(flagged, lambda _, exercise: replace(exercise, reason="torch.equal was replaced."))
    rows = [settle(row, policy), settle(flagged, Policy())]
    report = written_class(rows, tmp_path / "out")["report.html"]
    assert table_after(report, "heat")[1] == ["alice", "–", "3.5", "–", "3.5"]
    [[_, _, points, reason]] = table_after(report, "attention")
    assert points == "0 of 23"
    assert reason == "23 points withheld.sample_block_size, sample_block, sample_masks: torch.equal was replaced."


def test_the_report_begins_with_what_needs_a_person_and_ends_with_the_sandbox(tmp_path):
    rows = [settled_row(f"s-{status}", "masking", status, reason=f"Why {status}.") for status in reversed(TROUBLE)]
    report = written_class([*rows, settled_row("fine", "masking")], tmp_path)["report.html"]
    page = Page(report).text
    order = ["flagged", "ungraded", "crashed", "timeout", "unreadable", "missing"]
    places = [page.index(f"Why {status}.") for status in order]
    assert places == sorted(places) and places[-1] < page.index("Who has earned what")
    assert "fine" not in page[: page.index("Who has earned what")]
    for text in ("The sandbox: bubblewrap", *ABOUT["promises"], *ABOUT["limits"].values(), *ABOUT["ignored"]):
        assert text in page
    assert "http" not in report.replace("http-equiv", "")  # nothing is fetched


def test_a_class_of_2000_fits_into_a_page_and_nobody_is_lost():
    rows = made_up_class(2000)
    report = report_page(rows, ABOUT)
    assert len(report.encode()) < 2_000_000
    students = {row.student for row in rows}
    in_groups = re.findall(r'<tr><th scope="row"><bdi>([\w-]+)</bdi></th>(.*)', report[report.index("Every student") :])
    assert len(in_groups) == 2000 and {name for name, _ in in_groups} == students
    assert {cells.count("<td") for _, cells in in_groups} == {sum(map(len, CATALOGUE.values())) + 1}
    assert len(table_after(report, "heat")) == 20
