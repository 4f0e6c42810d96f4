"""One loop for what a person marks: sheets without names, what comes back from them, and from the formgrader."""

import csv
import json
import re
from pathlib import Path

import pytest

from checks.grader.marking import answer_in, read_question
from checks.grader.marks import questions_of
from lessons import LESSONS as LESSON_NAMES
from lessons import folder_name
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.graders import run, table
from solutions.tests.helpers.policy_files import marks_file, written
from solutions.tests.helpers.report_pages import Page

orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend

LESSONS = Path(__file__).parents[2] / "lessons"
QUESTION = "why_overlap"
HOSTILE = "<script>alert(1)</script> =1+1"


def answered(answer: str, way: str = "in place") -> bytes:
    """Lesson 3 as it is released, with an answer in place of what stands there, or in another way."""
    notebook = json.loads((LESSONS / "03_masking/03_masking.ipynb").read_text(encoding="utf-8"))
    number, cell = next(
        (number, cell)
        for number, cell in enumerate(notebook["cells"])
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == QUESTION
    )
    text = "".join(cell["source"])
    if way == "below":
        below = {"cell_type": "markdown", "id": "x", "metadata": {}, "source": answer}
        notebook["cells"].insert(number + 1, below)
    else:
        cell["source"] = text.replace("YOUR ANSWER HERE", answer)
    if way == "metadata lost":
        for each in notebook["cells"]:
            each["metadata"] = {}
    if way == "prompt deleted":
        cell["source"] = answer
    return json.dumps(notebook).encode()


def grading(place: Path, out: Path, *arguments: object, code: int = 0) -> str:
    ended, said = run(place, "--out", out, "--jobs", 2, *arguments, output=out.with_suffix(".txt"))
    assert ended == code, said
    return said


def sheet(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# What a learner has answered


@pytest.mark.parametrize("way", ["in place", "below", "metadata lost", "prompt deleted"])
def test_an_answer_is_found(way):
    question = read_question(QUESTION)
    assert (question.lesson, question.points) == ("masking", 2)
    assert question.prompt.startswith("## Question: which overlap matters?") and "Rubric: 1 point" in question.rubric
    answer = "It leaks.\n\nTwo lines."
    assert answer_in(answered(answer, way), "03_masking.ipynb", question) == answer


@pytest.mark.parametrize("lesson", LESSON_NAMES)
def test_what_a_lesson_has_below_a_question_is_nobodys_answer(lesson):
    content = (LESSONS / folder_name(lesson) / f"{folder_name(lesson)}.ipynb").read_bytes()
    assert [name for name in questions_of(lesson) if answer_in(content, "a.ipynb", read_question(name))] == []


def test_an_answer_in_a_script_is_found():
    script = "# %% [markdown]\n# ## Question: which overlap matters?\n#\n# It leaks.\n\n# %%\nx = 1\n"
    assert answer_in(script.encode(), "03_masking.py", read_question(QUESTION)) == "It leaks."


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b'{"cells": [{}]}', b'{"cells": 3}', b"[" * 100_000, answered("YOUR ANSWER HERE")],
)
def test_no_answer_is_no_answer(content):
    assert answer_in(content, "03_masking.ipynb", read_question(QUESTION)) == ""


# Sheets


@pytest.fixture
def answers(pretend) -> Path:
    """A class of nine: three say the same, one attacks, one hands in nothing, one leaves it as it was."""
    said = ["It leaks.", "it  LEAKS", "It leaks!", HOSTILE, "YOUR ANSWER HERE", "five", "six", "seven"]
    for number, answer in enumerate(said):
        path = pretend / f"student{number}" / folder_name("masking") / "03_masking.ipynb"
        path.write_bytes(answered(answer))
    (pretend / "student8/03_masking/03_masking.ipynb").unlink()
    return pretend


def test_a_sheet_has_every_answer_once_and_no_name(answers, tmp_path):
    out = tmp_path / "out"
    said = grading(answers, out, "--marking-sheet", QUESTION, "--assistants", 2)
    assert "why_overlap: 7 answers, 5 of them different" in said
    assert not (out / "record.jsonl").exists()
    parts = [sheet(out / f"marking/why_overlap-{number}.csv") for number in (1, 2)]
    pages = [(out / f"marking/why_overlap-{number}.html").read_text() for number in (1, 2)]
    assert [len(part) for part in parts] == [3, 2]
    codes = [line["answers"].split() for part in parts for line in part]
    assert sorted(map(len, codes)) == [1, 1, 1, 1, 3] and len({code for group in codes for code in group}) == 7
    assert all(line["lesson"] == "masking" and line["item"] == QUESTION and not line["points"] for line in parts[0])
    assert all(not re.search(r"student\d", page) for page in pages)
    text = "".join(Page(page).text for page in pages)
    assert HOSTILE in text and "Rubric: 1 point" in text and "3 students say this" in text
    assert not any({"script", "img"} & set(Page(page).tags) for page in pages)
    for number, part in enumerate(parts):
        assert all(line["answers"].split()[0] in pages[number] for line in part)


def test_marks_on_sheets_come_back_to_everyone_who_said_it(answers, tmp_path):
    out = tmp_path / "out"
    grading(answers, out, "--lesson", "masking")
    report = (out / "report.html").read_text()
    assert "why_overlap, masking: none of 8 answers marked" in report
    grading(answers, out, "--marking-sheet", QUESTION)
    path = out / "marking/why_overlap-1.csv"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines):
        if len(line.split(",")[0].split()) == 3:
            lines[number] = line.rstrip(",") + ',"1,5",well said'
    written(path, "\n".join(lines) + "\n")
    assert "changed: student0, masking: why_overlap none -> 1.5 (policy)" in grading(answers, out, "--marks", path)
    marked = {student: row["why_overlap"] for (student, _), row in table(out).items()}
    assert marked == dict.fromkeys(["student0", "student1", "student2"], "1.5") | {
        f"student{number}": "" for number in range(3, 9)
    }
    assert "well said" in (out / "feedback/student1/masking.html").read_text()
    assert "why_overlap, masking: 3 of 8 answers marked" in (out / "report.html").read_text()
    said = grading(answers, out, "--marking-sheet", QUESTION, code=1)
    assert "is there, perhaps with marks in it: move it away first" in said
    path.rename(tmp_path / "done.csv")
    (out / "course.toml").write_text(
        (out / "course.toml").read_text().replace("marking/why_overlap-1.csv", "../done.csv")
    )
    assert "4 answers, 4 of them different" in grading(answers, out, "--marking-sheet", QUESTION)


def test_a_question_that_is_not_there_is_a_sentence(answers, tmp_path):
    said = grading(answers, tmp_path / "out", "--marking-sheet", "why", code=1)
    assert "there is no question 'why'; the questions are" in said and QUESTION in said
    code, said = run("--merge", answers, "--marking-sheet", QUESTION, output=tmp_path / "said")
    assert code == 2 and "--marking-sheet needs SUBMISSIONS" in said
    code, said = run(answers, "--assistants", 0, output=tmp_path / "said")
    assert code == 2 and "--assistants starts at 1" in said


# The formgrader


def test_marks_of_the_formgrader_come_back(pretend, tmp_path):
    out, url = tmp_path / "out", f"sqlite:///{tmp_path}/gradebook.db"
    grading(pretend, out, "--lesson", "masking", "--gradebook", url)
    from nbgrader.api import Gradebook

    from checks.grader.gradebook import COURSE

    with Gradebook(url, COURSE) as gradebook:
        for student, cell, points in (
            ("student1", QUESTION, 1.5),
            ("student2", "check_sample_block", 3),
        ):
            grade = gradebook.find_grade(cell, "03_masking", "03_masking", student)
            grade.manual_score, grade.needs_manual_grade = points, False
        for student in (f"student{number}" for number in range(2, 9)):
            gradebook.find_grade(QUESTION, "03_masking", "03_masking", student).needs_manual_grade = True
        comment = gradebook.find_comment(QUESTION, "03_masking", "03_masking", "student1")
        comment.manual_comment = "short, and right"
        gradebook.db.commit()
    grading(pretend, out, "--marks-from-gradebook", url)
    rows = {student: row for (student, _), row in table(out).items()}
    assert rows["student1"][QUESTION] == "1.5" and rows["student2"]["sample_block"] == "3"
    assert [row[QUESTION] for name, row in rows.items() if name > "student1"] == [""] * 7
    assert "short, and right" in (out / "feedback/student1/masking.html").read_text()
    grading(pretend, out)
    assert {student: row for (student, _), row in table(out).items()} == rows
    second = marks_file(tmp_path, f"student3,masking,{QUESTION},2,")
    grading(pretend, out, "--marks-from-gradebook", url, "--marks", second)
    assert table(out)["student3", "masking"][QUESTION] == "2"
    said = grading(pretend, out, "--marks-from-gradebook", "nothing.db", code=1)
    assert "no address of a database" in said and table(out)["student1", "masking"][QUESTION] == "1.5"
