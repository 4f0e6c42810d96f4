"""The pages and the index that students get: every verdict, and nothing of a student's that acts."""

import re
from collections import Counter
from dataclasses import replace

import mistune  # comes with nbconvert

from checks.grader.judging.results import CheckResult
from checks.grader.policy import Policy, read_policy, settle
from checks.grader.reports.text import folder_of, shown
from solutions.tests.helpers.made_up_rows import CATALOGUE, CHECKS, HOSTILE, hostile_rows, made_up_row, with_exercises
from solutions.tests.helpers.policy_files import marks_file
from solutions.tests.helpers.report_pages import Page, written_class


def test_what_a_student_writes_never_becomes_markup_in_markdown(tmp_path):
    render = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])
    files = written_class(hostile_rows(), tmp_path)
    for text in HOSTILE:
        page = Page(render(files[f"feedback/{folder_of(text)}/teacher.md"]))
        assert set(page.tags) <= {"h1", "h2", "p", "code", "pre", "strong"}
        assert page.tags.count("h1") == 1 and page.tags.count("h2") == len(CATALOGUE["teacher"])
        assert " ".join(shown(text, 100).split()) in " ".join(page.text.split())


def test_what_is_wrong_with_the_whole_submission_is_said_once(tmp_path):
    sentence = "The notebook is not valid JSON (line 3)."
    row = made_up_row("ada", "teacher", "unreadable", reason=sentence)
    row = with_exercises(row, lambda _, exercise: replace(exercise, reason=sentence))
    files = written_class([settle(row, Policy())], tmp_path)
    for page in (Page(files["feedback/ada/teacher.html"]).text, files["feedback/ada/teacher.md"]):
        assert len(row.exercises) > 1 and page.count(sentence) == 1


def test_the_index_says_whose_folder_is_which(tmp_path):
    files = written_class(hostile_rows(), tmp_path)
    for name in HOSTILE:
        folder = folder_of(name)
        assert f"feedback/{folder}/masking.html" in files
        line = next(line for line in files["feedback/index.html"].splitlines() if f"<td>{folder}</td>" in line)
        assert shown(name, 100) in Page(line).text


def test_feedback_gives_every_verdict_and_what_was_decided(tmp_path):
    policy = read_policy(None, [marks_file(tmp_path, "alice,masking,why_overlap,1,short but right")])
    notes = ("sample_block is defined 2 times: the last one counts.",)
    row = made_up_row("alice", "masking", "graded", 0.5, notes=notes)
    files = written_class([settle(row, policy)], tmp_path / "out")
    html, markdown = Page(files["feedback/alice/masking.html"]).text, files["feedback/alice/masking.md"]
    for text in (html, markdown):
        assert "sample_block is defined 2 times" in text and "short but right" in text
        for check in (check for exercise in row.exercises.values() for check in exercise.checks):
            assert all(line in text for line in check.page.splitlines())
        assert Counter(re.findall("passed|failed", text)) == {"passed": 10, "failed": 9}
    for check in CHECKS["masking"]:
        assert check.__doc__ in html


def test_feedback_shows_nothing_of_a_grader_that_failed(tmp_path):
    broken = made_up_row("bob", "masking", "ungraded", reason="The sandbox could not start.")
    check = CheckResult("c", "p", "failed", 0, 1, "Traceback", "")  # the grader's own, with the checks' code in it
    broken = with_exercises(broken, lambda _, exercise: replace(exercise, checks=(check,)))
    files = written_class([settle(broken, Policy())], tmp_path)
    for suffix in ("html", "md"):
        assert "could not start" in files[f"feedback/bob/masking.{suffix}"]
        assert "Traceback" not in files[f"feedback/bob/masking.{suffix}"]
