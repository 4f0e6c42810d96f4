"""grades.csv, canvas.csv and Gradescope's results.json, on made-up rows."""

import csv
import json
import re

from checks.grader.policy import read_policy, settle
from checks.grader.settled import SettledRow
from solutions.tests.helpers.made_up_rows import CATALOGUE, PAGE, hostile_rows, made_up_row, settled_row
from solutions.tests.helpers.policy_files import marks_file
from solutions.tests.helpers.report_pages import written_class


def facts_of(row: SettledRow) -> dict[str, object]:
    """What grades.csv has to say of a row, by column."""
    facts = {"student": row.student, "lesson": row.lesson, "status": row.status, "points": row.points}
    facts |= {name: exercise.points for name, exercise in row.exercises.items()}
    when = (row.submitted or "time unknown") if row.handed_in else None
    return facts | {
        "max_points": row.max_points,
        "reason": row.reason,
        "submitted": when,
        "time_source": row.source,
    }


def test_grades_csv_reads_back(tmp_path):
    rows = [settled_row("bob", "teacher", "timeout", reason="It ran longer than 20 s."), settled_row("bob", "masking")]
    rows += [settled_row("alice", "masking", "ungraded"), settled_row("alice", "teacher", share=0.5)]
    files = written_class(rows, tmp_path)
    header, *lines = csv.reader(files["grades.csv"].splitlines())
    exercises = [name for lesson in CATALOGUE.values() for name in lesson]
    assert header == [
        "student",
        "lesson",
        "status",
        "points",
        "max_points",
        *exercises,
        "submitted",
        "time_source",
        "reason",
    ]
    assert [line[:2] for line in lines] == [[s, lesson] for s in ("alice", "bob") for lesson in ("masking", "teacher")]
    for line in lines:
        facts = facts_of(next(row for row in rows if [row.student, row.lesson] == line[:2]))
        assert line == ["" if facts.get(column) is None else str(facts[column]) for column in header]
    assert lines[0][3] == "" and lines[0][2] == "ungraded"


def test_a_question_that_was_marked_has_a_column(tmp_path):
    policy = read_policy(None, [marks_file(tmp_path, "alice,masking,why_overlap,1.5,")])
    rows = [settle(made_up_row(name, lesson), policy) for name in ("alice", "bob") for lesson in ("masking", "teacher")]
    lines = list(csv.DictReader(written_class(rows, tmp_path / "out")["grades.csv"].splitlines()))
    assert list(lines[0])[-4:] == ["why_overlap", "submitted", "time_source", "reason"]
    assert [line["why_overlap"] for line in lines] == ["1.5", "", "", ""]
    assert [(line["points"], line["max_points"]) for line in lines[:2]] == [("24.5", "25"), ("22", "22")]


def test_no_cell_of_a_spreadsheet_is_a_formula(tmp_path):
    files = written_class(hostile_rows(), tmp_path)
    for name in ("grades.csv", "canvas.csv"):
        cells = [cell for line in csv.reader(files[name].splitlines()) for cell in line]
        assert not [cell for cell in cells if re.match(r"\s*[=+@-]|[\t\r]", cell)]
        assert "'@SUM(A1:A9)" in cells and "'-2+3" in cells and "\\tcmd" in cells
        assert max(map(len, cells)) < 2500
        for separator in ";\t":  # what spreadsheets of other countries take
            others = [cell for line in csv.reader(files[name].splitlines(), delimiter=separator) for cell in line]
            assert not [cell for cell in others if re.match(r"\s*[=+@-]|[\t\r]", cell)]


def test_canvas_gets_a_column_a_lesson_and_no_grade_where_there_is_none(tmp_path):
    rows = [settled_row("alice", "masking"), settled_row("alice", "teacher", share=0.0)]
    rows += [
        settled_row("Points Possible", "masking", "ungraded"),
        settled_row("Points Possible", "teacher", "missing"),
    ]
    header, points, *lines = csv.reader(written_class(rows, tmp_path)["canvas.csv"].splitlines())
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "masking", "teacher"]
    assert points == ["Points Possible", "", "", "", "", "23", "22"]
    assert lines[0] == ["alice", "", "", "alice", "", "23", "0"]
    assert lines[1][3:] == ["Points Possible", "", "", "0"] and "Points Possible" not in lines[1][0]


def test_gradescope_gets_the_points_and_nothing_for_what_is_not_graded(tmp_path):
    rows = [settled_row("alice", "masking", share=0.5), settled_row("alice", "teacher", "ungraded")]
    files = written_class(rows, tmp_path)
    assert [name for name in files if name.startswith("gradescope")] == ["gradescope/alice/masking/results.json"]
    result = json.loads(files["gradescope/alice/masking/results.json"])
    assert result["score"] == sum(test["score"] for test in result["tests"]) == rows[0].points
    assert [(test["name"], test["max_score"]) for test in result["tests"]] == list(CATALOGUE["masking"].items())
    assert {test["output_format"] for test in result["tests"]} == {"text"}
    assert PAGE.splitlines()[1] in result["tests"][-1]["output"]
