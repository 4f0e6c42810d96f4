"""What is written from the grader's rows: policy, tables, feedback and report, on made-up rows."""

import csv
import errno
import json
import os
import random
import re
import unicodedata
from collections import Counter
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path

import mistune  # comes with nbconvert
import pytest

from checks.grader.policy import Policy, PolicyError, read_policy, settle, unknown_students
from checks.grader.reports import outputs
from checks.grader.reports.outputs import folder_of, shown, write_outputs
from checks.tool.exercise import catalogue, checks_of
from lessons import LESSONS
from solutions import release

CATALOGUE = catalogue()
CHECKS = {lesson: checks_of(lesson) for lesson in CATALOGUE}
ABOUT = {
    "course": "Build I-JEPA",
    "started": "2026-11-24 10:00 UTC",
    "tier": "bubblewrap",
    "promises": ["No network.", "No sight of other submissions, of grades, or of the reference."],
    "limits": {"wall clock": "20 s a lesson, 60 s for training", "memory": "2 GB"},
    "ignored": ["__MACOSX", ".DS_Store"],
}
LIKELY = (
    "The axes of the grid and of the pixels in a patch were not interleaved.",
    "Print the shape after each line of your code.",
    "The targets are still in the context: what the student has to predict is in its input.",
)
PAGE = "called    f([2, 3, 32, 48])\nexpected  [2, 6, 768]\ngot       [2, 768, 6]\nlikely    The axes are swapped."
HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table></details><h1>I am the report</h1>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("http://example.org","x")',
    "@SUM(A1:A9)",
    "\tcmd",
    "-2+3",
    "a;=1+1;b",
    "a\u202egnp.exe",
    "bell\x07 null\x00 escape\x1b[31m",
    'two\nlines\r\nof, "text"',
    "x" * 200,
    "e" + "\u0301" * 150,
    "\udcff\udcfe not UTF-8",
    "../../etc/passwd",
    "a/b\\c",
    "..",
    "Ada",
    "ada",
    "ADA",
    "Points Possible",
    "```\n# heading\n<b>bold</b>",
    "👩\u200d🔬 Zoë Müller-Łukasz",
    "محمد",
)


def made_up_row(student: str, lesson: str, status: str = "graded", share: float = 1.0, **changes) -> dict:
    """A row as the grader makes it; share: how many of the checks pass, from the first one on."""
    row = {"student": student, "lesson": lesson, "status": status, "points": None, "max_points": 0}
    row |= {name: None for exercises in CATALOGUE.values() for name in exercises}
    row |= {"reason": "", "exercises": {}, "file": f"{lesson}.ipynb", "notes": [], "submitted": None}
    row |= {"key": "0" * 64, "tier": "bubblewrap", "seconds": 0.1}
    checks = CHECKS[lesson]
    for number, check in enumerate(checks):
        passed = status in ("graded", "flagged") and number < share * len(checks)
        exercise = row["exercises"].setdefault(
            check.exercise, {"status": status, "points": 0, "max_points": 0, "reason": "", "checks": []}
        )
        exercise["points"] += check.points if passed else 0
        exercise["max_points"] += check.points
        if status not in ("missing", "unreadable", "ungraded"):
            failed = {"status": "failed" if status == "graded" else status, "points": 0, "page": PAGE}
            exercise["checks"].append(
                {"check": check.__name__, "property": check.__doc__, "max_points": check.points}
                | ({"status": "passed", "points": check.points, "page": "", "likely": ""} if passed else failed)
                | ({} if passed else {"likely": LIKELY[number % 3]})
            )
    row["max_points"] = sum(exercise["max_points"] for exercise in row["exercises"].values())
    if status != "ungraded":
        row["points"] = sum(exercise["points"] for exercise in row["exercises"].values())
        row |= {name: exercise["points"] for name, exercise in row["exercises"].items()}
    return row | changes


def made_up_class(size: int, seed: int = 0) -> list[dict]:
    """Settled rows of a class: most have most of it, some have trouble of each kind."""
    draw = random.Random(seed)
    first = "ada bea cleo dov emil fay gus hana ivo june kofi lin mia noor otto pia quin rosa sven tia vera wei".split()
    rows = []
    for number in range(size):
        student, skill = f"{first[number % len(first)]}-{number:04d}", draw.betavariate(4, 1.4)
        for depth, lesson in enumerate(CATALOGUE):
            share = min(1, max(0, draw.gauss(skill * (1.15 - 0.06 * depth), 0.12)))
            odd = draw.random()
            status = (
                "flagged"
                if odd < 0.004
                else "crashed"
                if odd < 0.008
                else "timeout"
                if odd < 0.014
                else "unreadable"
                if odd < 0.016
                else "ungraded"
                if odd < 0.017
                else "missing"
                if odd < 0.02 + 0.12 * (1 - skill)
                else "todo"
                if odd > 0.98
                else "graded"
            )
            row = made_up_row(student, lesson, status, share)
            reasons = {
                "flagged": "torch.allclose was replaced by the submission.",
                "timeout": "It ran longer than 20 s.",
                "crashed": "The code called os._exit.",
                "unreadable": "The notebook is not valid JSON (line 3).",
                "missing": "There is no notebook in the folder.",
                "ungraded": "The sandbox could not start.",
            }
            rows.append(settle(row | {"reason": reasons.get(status, "")}, Policy()))
    return rows


def settled_row(*arguments, **changes) -> dict:
    return settle(made_up_row(*arguments, **changes), Policy())


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# The policy


def test_settling_neither_changes_the_row_nor_depends_on_earlier_settling(tmp_path):
    marks = written(tmp_path / "marks.csv", MARKS + "alice,masking,why_overlap,1,\nalice,masking,sample_block,3,\n")
    late = written(tmp_path / "late.toml", LATE)
    policies = [Policy(), Policy(flagged="keep"), read_policy(late, marks), read_policy(None, marks, "keep")]
    submitted = "2026-11-09T00:00:00+00:00"
    rows = [made_up_row("alice", "masking", status, submitted=submitted, reason="Why.") for status in outputs.TROUBLE]
    rows.append(made_up_row("alice", "masking", share=0.5, submitted=submitted))
    for row in rows:
        before = deepcopy(row)
        direct = [settle(row, policy) for policy in policies]
        assert row == before
        assert [json.loads(json.dumps(settle(settle(row, a), b))) for a in policies for b in policies] == direct * 4


def test_flagged_points_are_withheld_or_kept():
    row = made_up_row("alice", "masking", "flagged")
    row["exercises"]["sample_block_size"]["status"] = "graded"  # 6 points; the others have 4 and 13
    withheld, kept = settle(row, Policy(flagged="withhold")), settle(row, Policy(flagged="keep"))
    assert (withheld["points"], withheld["sample_block_size"], withheld["sample_block"], withheld["max_points"]) == (
        6,
        6,
        0,
        23,
    )
    assert withheld["exercises"]["sample_block"]["earned"] == 4 and "17 points withheld" in withheld["reason"]
    assert (kept["points"], kept["sample_block"], kept["reason"]) == (23, 4, "")


MARKS = "student,lesson,item,points,comment\n"


def test_marks_replace_an_exercise_add_a_question_and_survive_a_regrade(tmp_path):
    text = MARKS + 'alice,masking,why_overlap,1.5,"a leak, well said"\nalice,masking,sample_block,2.25,\n'
    policy = read_policy(None, written(tmp_path / "marks.csv", "\ufeff" + text))  # with the mark that Excel writes
    for share, earned in ((1.0, 6 + 2.25 + 13), (0.0, 2.25)):  # another grading gives other points
        alice = settle(made_up_row("alice", "masking", share=share), policy)
        assert alice["points"] == earned + 1.5
        assert (alice["sample_block"], alice["why_overlap"], alice["max_points"]) == (2.25, 1.5, 23 + 2)
        assert alice["questions"]["why_overlap"]["comment"] == "a leak, well said"
        assert alice["exercises"]["sample_block"]["earned"] == (4 if share else 0)
    bob = settle(made_up_row("bob", "masking"), policy)
    assert (bob["points"], bob["why_overlap"], bob["max_points"]) == (23, None, 25)
    assert "Not marked yet: why_overlap" in bob["reason"]
    assert "why_overlap" not in settle(made_up_row("alice", "teacher"), policy)
    assert settle(made_up_row("alice", "masking", "flagged"), policy)["sample_block"] == 2.25  # a person has decided
    ungraded = settle(made_up_row("alice", "masking", "ungraded"), policy)
    assert ungraded["points"] is None and ungraded["why_overlap"] == 1.5


def test_the_questions_are_those_of_the_release(tmp_path):
    for lesson in CATALOGUE:
        source = Path(release.__file__).with_name(f"{lesson}.py").read_text(encoding="utf-8")
        parts = release.read_parts(lesson, source, CATALOGUE[lesson])
        for name, points in [(part.name, part.points) for part in parts if part.kind == "question"]:
            marks = written(tmp_path / "marks.csv", f"{MARKS}alice,{lesson},{name},{points},\n")
            assert read_policy(None, marks).questions[lesson] == {name: points}


LATE = """
time_zone = "Europe/Berlin"
free_days = 1
penalty = 10
max_penalty = 50
[deadlines]
masking = 2026-11-01T23:59:00        # 22:59 UTC
teacher = 2026-10-24T23:59:00        # 21:59 UTC; clocks go back in the night
training = 2026-11-01T23:59:00-08:00 # 07:59 UTC on the next day
[extensions.bob]
masking = 2
[extensions."Zoë M."]
masking = 2026-11-08T12:00:00
"""


@pytest.mark.parametrize(
    ("student", "lesson", "submitted", "points", "says"),
    [
        ("alice", "masking", "2026-11-01T22:59:00+00:00", 23, ""),
        ("alice", "masking", "2026-11-01T22:59:01+00:00", 23, "1 day late"),
        ("alice", "masking", "2026-11-02T22:59:00+00:00", 23, "1 day late"),
        ("alice", "masking", "2026-11-02T22:59:01+00:00", 20.7, "2 days late"),  # 23 - 2.3
        ("alice", "masking", "2026-11-02T23:59:01+01:00", 20.7, "2 days late"),
        ("alice", "masking", "2026-11-05T12:00:00+00:00", 16.1, "6.9"),  # 4 days, 3 of them at 10 % of 23
        ("alice", "masking", "2026-12-24T00:00:00+00:00", 11.5, "50 %"),
        ("alice", "masking", None, 23, "not known when"),
        (
            "alice",
            "teacher",
            "2026-10-25T22:30:00+00:00",
            19.8,
            "2 days late",
        ),  # 24.5 hours, 23.5 on the wall; 22 - 2.2
        ("alice", "training", "2026-11-02T07:58:00+00:00", 16, ""),
        ("alice", "predictor", "2030-01-01T00:00:00+00:00", 14, ""),  # no deadline
        ("bob", "masking", "2026-11-03T22:59:00+00:00", 23, ""),
        ("bob", "masking", "2026-11-04T23:00:00+00:00", 20.7, "2 days late"),
        ("Zoë M.", "masking", "2026-11-08T11:00:00+00:00", 23, ""),
        ("Zoë M.", "masking", "2026-11-08T11:00:01+00:00", 23, "1 day late"),
    ],
)
def test_late_days(tmp_path, student, lesson, submitted, points, says):
    policy = read_policy(written(tmp_path / "late.toml", LATE))
    row = settle(made_up_row(student, lesson, submitted=submitted), policy)
    assert row["points"] == points and says in row["reason"] and bool(row["reason"]) == bool(says)
    assert settle(made_up_row(student, lesson, "missing", submitted=None), policy)["reason"] == ""


def test_a_deduction_is_rounded_once_and_counts_from_what_the_marks_make(tmp_path):
    late = written(tmp_path / "late.toml", "penalty = 7.5\n[deadlines]\nmasking = 2026-11-01T00:00:00Z\n")
    day_late = {"submitted": "2026-11-01T08:00:00+00:00"}
    assert settle(made_up_row("alice", "masking", **day_late), read_policy(late))["points"] == 21.27  # 1.725 is 1.73
    marks = written(tmp_path / "marks.csv", f"{MARKS}alice,masking,sample_masks,3,\n")
    row = settle(made_up_row("alice", "masking", **day_late), read_policy(late, marks))
    assert row["points"] == 12.02 and "0.98" in row["reason"]  # 7.5 % of 6 + 4 + 3 is 0.975


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "penalty = 10\n[deadlines]\nmasking = 2026-11-01T23:59:00\n",
            "line 3: the deadline of masking has no time zone",
        ),
        ("penalty = 10\n[deadlines]\nmasking = 2026-11-01\n", "line 3: the deadline of masking has no time"),
        ('penalty = 10\n[deadlines]\nmasking = "soon"\n', "line 3: the deadline of masking is no date"),
        ("penalty = 10\n[deadlines]\nmaskin = 2026-11-01T23:59:00Z\n", "line 3: there is no lesson 'maskin'"),
        ("penalty = 10\n[deadlines]\nmasking = 0026-11-01T23:59:00Z\n", "line 3: the year"),
        ("free_days = 2\n\npenalty = 110\n", "line 3: penalty must be a number from 0 to 100"),
        ("penalty = nan\n", "line 1: penalty must be"),
        ("penalty = true\n", "line 1: penalty must be"),
        ("penalty = 10\nfree_days = 1.5\n", "line 2: free_days must be a whole number"),
        ("free_days = 1\n", "penalty is missing"),
        ("penalty = 10\npenalties = 3\n", "line 2: there is no setting 'penalties'"),
        ("penalty = 10\ndeadlines = 3\n", "line 2: deadlines must be a table"),
        ('penalty = 10\ntime_zone = "Berlin"\n', "line 2: time_zone is not known"),
        ("penalty = 10\ntime_zone = 1\n", "line 2: time_zone is not known"),
        ("penalty = 10\n[extensions.alice]\nmasking = 2\n", "line 3: masking has an extension, but no deadline"),
        ("penalty = 10\n[extensions]\nalice = 2\n", "line 3: an extension needs the lesson"),
        ("penalty = \n", "not valid TOML"),
    ],
)
def test_a_late_toml_that_cannot_be_followed_is_refused_by_line(tmp_path, text, says):
    refused(says, written(tmp_path / "late.toml", text), None)


@pytest.mark.parametrize(
    ("value", "says"),
    [("-1", "number of days"), ("2000", "number of days"), ("2026-10-01T00:00:00", "before the deadline")],
)
def test_an_extension_that_makes_no_sense_is_refused(tmp_path, value, says):
    text = LATE + f"[extensions.carol]\nmasking = {value}\n"
    refused(f"line {len(text.splitlines())}: ", written(tmp_path / "late.toml", text), None, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ""),
        ("student;lesson;item;points\n", "line 1: the first line must name the columns"),
        ("student,lesson,item\n", "line 1: the first line must name the columns"),
        (MARKS + "alice,masking,sample_block,5,\n", "line 2: sample_block is marked '5'; write 0 to 4"),
        (MARKS + "alice,masking,sample_block,-1,\n", "line 2: sample_block is marked '-1'"),
        (MARKS + "alice,masking,sample_block,,\n", "line 2: sample_block is marked ''"),
        (MARKS + 'alice,masking,sample_block,"1,5",\n', "line 2: sample_block is marked '1,5'"),
        (MARKS + "alice,masking,sample_block,nan,\n", "line 2: sample_block is marked 'nan'"),
        (MARKS + "alice,masking,sample_block,1e999999999,\n", "line 2: sample_block is marked"),
        (MARKS + "alice,masking,sample_block,1.234,\n", "line 2: sample_block is marked '1.234'"),
        (MARKS + "\nalice,masking,patchify,5,\n", "line 3: masking has no exercise or question 'patchify'"),
        (MARKS + "alice,lesson3,patchify,5,\n", "line 2: there is no lesson 'lesson3'"),
        (MARKS + "alice,masking,sample_block,4\n", "line 2: there are 4 cells for 5 columns"),
        (MARKS + 2 * "alice,masking,sample_block,4,\n", "line 3: sample_block of 'alice' was marked on line 2 already"),
        (MARKS + 'alice,masking,sample_block,4,"open\n', "line 2: this is not valid CSV"),
    ],
)
def test_a_marks_csv_that_cannot_be_followed_is_refused_by_line(tmp_path, text, says):
    marks = written(tmp_path / "marks.csv", text)
    if says:
        refused(says, None, marks)
    else:
        assert read_policy(None, marks).marks == {}


def refused(says: str, late: Path | None, marks: Path | None, too: str = "") -> None:
    with pytest.raises(PolicyError) as refusal:
        read_policy(late, marks)
    message = str(refusal.value)
    assert message.startswith(str(late or marks)) and says in message and too in message and "\n" not in message


def test_files_that_cannot_be_read_and_an_unknown_option_are_refused(tmp_path):
    refused("can't be read", tmp_path / "late.toml", None)
    (tmp_path / "marks.csv").write_bytes(MARKS.encode() + b"J\xf6rg,masking,sample_block,4,\n")
    refused("line 2: this is not UTF-8", None, tmp_path / "marks.csv")
    with pytest.raises(PolicyError, match="withhold or keep"):
        read_policy(flagged="remove")


def test_names_that_nobody_has_are_reported(tmp_path):
    marks = written(tmp_path / "marks.csv", MARKS + "bob,masking,sample_block,1,\nalise,masking,sample_block,1,\n")
    policy = read_policy(written(tmp_path / "late.toml", LATE), marks)
    sentences = unknown_students(policy, [made_up_row("alice", "masking"), made_up_row("bob", "masking")])
    assert len(sentences) == 2
    assert any("marks.csv, line 3" in sentence and "'alise'" in sentence for sentence in sentences)
    assert any("late.toml, line 12" in sentence and "'Zoë M.'" in sentence for sentence in sentences)


# The files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Zoë 张伟 🔬", "Zoë 张伟 🔬"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("a\r\nb\tc\u2028d", r"a\r\nb\tc\u2028d"),
        ("\udc80", r"\udc80"),
        ("e" + 5 * "\u0301", "e" + 3 * "\u0301" + 2 * r"\u0301"),
        ("x" * 41, "x" * 36 + " ..."),
        ("\x00" * 41, 9 * r"\x00" + " ..."),
    ],
)
def test_text_is_shown_as_it_stands_and_no_longer_than_fits(text, expected):
    assert shown(text, 40) == shown(expected, 40) == expected


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.data.append(data)

    @property
    def text(self) -> str:
        return "".join(self.data)


def hostile_rows(names: tuple[str, ...] = HOSTILE) -> list[dict]:
    """A class in which all that a student can choose is one of `names`: name, reasons, messages, notes."""
    rows = []
    for name in names:
        for lesson, status in (("masking", "graded"), ("teacher", "flagged"), ("predictor", "crashed")):
            row = made_up_row(name, lesson, status, share=0.5, reason=name, notes=[name], file=name)
            for exercise in row["exercises"].values():
                exercise["reason"] = f"The code raised {name}"
                for check in exercise["checks"]:
                    check["page"] = f"{name}\nprinted   {name}" if check["page"] else ""
                    check["likely"] = check["likely"] and name
            rows.append(settle(row, Policy()))
    return rows


def written_class(rows: list[dict], out: Path, **about) -> dict[str, str]:
    """All files that are written, by their paths; none has a character that does more than stand there."""
    write_outputs(rows, out, ABOUT | about)
    files = {
        str(path.relative_to(out)): path.read_bytes().decode() for path in sorted(out.rglob("*")) if path.is_file()
    }
    for name, text in files.items():
        text = json.dumps(json.loads(text), ensure_ascii=False) if name.endswith("json") else text
        assert not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], name
    return files


def test_grades_csv_reads_back(tmp_path):
    rows = [settled_row("bob", "teacher", "timeout", reason="It ran longer than 20 s."), settled_row("bob", "masking")]
    rows += [settled_row("alice", "masking", "ungraded"), settled_row("alice", "teacher", share=0.5)]
    files = written_class(rows, tmp_path)
    header, *lines = csv.reader(files["grades.csv"].splitlines())
    exercises = [name for lesson in CATALOGUE.values() for name in lesson]
    assert header == ["student", "lesson", "status", "points", "max_points", *exercises, "reason"]
    assert [line[:2] for line in lines] == [[s, lesson] for s in ("alice", "bob") for lesson in ("masking", "teacher")]
    for line in lines:
        row = next(row for row in rows if [row["student"], row["lesson"]] == line[:2])
        assert line == ["" if row[column] is None else str(row[column]) for column in header]
    assert lines[0][3] == "" and lines[0][2] == "ungraded"


def test_a_question_that_was_marked_has_a_column(tmp_path):
    marks = written(tmp_path / "marks.csv", f"{MARKS}alice,masking,why_overlap,1.5,\n")
    policy = read_policy(None, marks)
    rows = [settle(made_up_row(name, lesson), policy) for name in ("alice", "bob") for lesson in ("masking", "teacher")]
    lines = list(csv.DictReader(written_class(rows, tmp_path / "out")["grades.csv"].splitlines()))
    assert list(lines[0])[-2:] == ["why_overlap", "reason"]
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


def test_what_a_student_writes_never_becomes_a_tag(tmp_path):
    hostile = written_class(hostile_rows(), tmp_path / "hostile", ignored=list(HOSTILE))
    names = tuple(f"student-{number}" for number in range(len(HOSTILE)))
    tame = written_class(hostile_rows(names), tmp_path / "tame", ignored=list(names))
    for name, other in (("report.html", "report.html"), ("feedback/index.html", "feedback/index.html")):
        pages = [Page(hostile[name]), Page(tame[other])]
        assert Counter(pages[0].tags) == Counter(pages[1].tags)
        assert not {"script", "img", "iframe", "object", "link", "form"} & set(pages[0].tags)
        assert {key for key, _ in pages[0].attributes} == {key for key, _ in pages[1].attributes}
        for text in HOSTILE:
            assert shown(text, 100) in pages[0].text
        for key, value in pages[0].attributes:
            assert key not in ("href", "src") or re.fullmatch(r"#\w+|[\w~/.-]+\.html", value)
    for text, tame_name in zip(HOSTILE, names, strict=True):
        page = Page(hostile[f"feedback/{folder_of(text)}/masking.html"])
        assert page.tags == Page(tame[f"feedback/{tame_name}/masking.html"]).tags
        assert shown(text, 100) in page.text


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
    for exercise in row["exercises"].values():
        exercise["reason"] = sentence
    files = written_class([settle(row, read_policy(None, None))], tmp_path)
    for page in (Page(files["feedback/ada/teacher.html"]).text, files["feedback/ada/teacher.md"]):
        assert len(row["exercises"]) > 1 and page.count(sentence) == 1


def test_folders_are_safe_and_another_one_for_each_name(tmp_path):
    names = [
        *HOSTILE,
        "alice",
        "Alice",
        "CON",
        "a" * 40,
        "a" * 41,
        " alice",
        "alice ",
        ".",
        ".hidden",
        "alice.",
        "é",
        "e\u0301",
    ]
    names += [folder_of(name) for name in names]  # whoever knows how a folder is named
    folders = {name: folder_of(name) for name in dict.fromkeys(names)}
    assert len({folder.casefold() for folder in folders.values()}) == len(folders) > 50
    for folder in folders.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_~-]*", folder) and len(folder) < 70
    assert folders["alice"] == "alice"
    # printf Alice | sha256sum
    assert folders["Alice"] == "Alice~3bc51062973c458d5a6f"


def test_the_index_says_whose_folder_is_which(tmp_path):
    files = written_class(hostile_rows(), tmp_path)
    for name in HOSTILE:
        folder = folder_of(name)
        assert f"feedback/{folder}/masking.html" in files
        line = next(line for line in files["feedback/index.html"].splitlines() if f"<td>{folder}</td>" in line)
        assert shown(name, 100) in Page(line).text


def test_feedback_gives_every_verdict_and_what_was_decided(tmp_path):
    marks = written(tmp_path / "marks.csv", f"{MARKS}alice,masking,why_overlap,1,short but right\n")
    row = made_up_row(
        "alice", "masking", "graded", 0.5, notes=["sample_block is defined 2 times: the last one counts."]
    )
    files = written_class([settle(row, read_policy(None, marks))], tmp_path / "out")
    html, markdown = Page(files["feedback/alice/masking.html"]).text, files["feedback/alice/masking.md"]
    for text in (html, markdown):
        assert "sample_block is defined 2 times" in text and "short but right" in text
        for check in (check for exercise in row["exercises"].values() for check in exercise["checks"]):
            assert all(line in text for line in check["page"].splitlines())
        assert Counter(re.findall("passed|failed", text)) == {"passed": 9, "failed": 9}
    for check in CHECKS["masking"]:
        assert check.__doc__ in html
    broken = made_up_row("bob", "masking", "ungraded", reason="The sandbox could not start.")
    broken["exercises"]["sample_block"]["checks"] = [
        {
            "check": "c",
            "property": "p",
            "status": "failed",
            "points": 0,
            "max_points": 1,
            "page": "Traceback",
            "likely": "",
        }
    ]
    files = written_class([settle(broken, Policy())], tmp_path / "out")
    for suffix in ("html", "md"):
        assert "could not start" in files[f"feedback/bob/masking.{suffix}"]
        assert (
            "Traceback" not in files[f"feedback/bob/masking.{suffix}"]
        )  # the grader's own, with the checks' code in it


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
    assert result["score"] == sum(test["score"] for test in result["tests"]) == rows[0]["points"]
    assert [(test["name"], test["max_score"]) for test in result["tests"]] == list(CATALOGUE["masking"].items())
    assert {test["output_format"] for test in result["tests"]} == {"text"}
    assert PAGE.splitlines()[1] in result["tests"][-1]["output"]


# The report


def table_after(report: str, anchor: str) -> list[list[str]]:
    """The texts of the cells of the first table after an id."""
    body = report[report.index(f'id="{anchor}"') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    lines = [re.split("<t[dh]", line)[1:] for line in body.split("<tr")[1:]]
    return [[Page(f"<td{cell}").text.strip() for cell in line] for line in lines]


def test_the_report_counts_what_a_person_would(tmp_path):
    rows = [settled_row(f"s{number}", "predictor") for number in range(4)]
    checks = CHECKS["predictor"]
    for row, wrong in zip(rows, ((), ("jepa_loss",), ("jepa_loss", "Predictor"), ("jepa_loss",)), strict=True):
        for name in wrong:
            exercise = row["exercises"][name]
            row["points"] -= exercise["points"]
            row[name] = exercise["points"] = 0
            exercise["checks"] = [
                check | {"status": "failed", "points": 0, "likely": f"{name} broadcasts."}
                for check in exercise["checks"]
            ]
    assert len(checks) > 4  # so that a student who fails several would count several times
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
    marks = written(tmp_path / "marks.csv", f"{MARKS}alice,masking,sample_block,3.5,handed in on paper\n")
    row = made_up_row("alice", "masking", "missing", reason="There is no notebook.")
    flagged = made_up_row("bob", "masking", "flagged")
    for exercise in flagged["exercises"].values():
        exercise["reason"] = "torch.equal was replaced."
    rows = [settle(row, read_policy(None, marks)), settle(flagged, Policy())]
    report = written_class(rows, tmp_path / "out")["report.html"]
    assert table_after(report, "heat")[1] == ["alice", "–", "3.5", "–", "3.5"]
    [[_, _, points, reason]] = table_after(report, "attention")
    assert points == "0 of 23"
    assert reason == "23 points withheld.sample_block_size, sample_block, sample_masks: torch.equal was replaced."


def test_the_report_begins_with_what_needs_a_person_and_ends_with_the_sandbox(tmp_path):
    rows = [
        settled_row(f"s-{status}", "masking", status, reason=f"Why {status}.") for status in reversed(outputs.TROUBLE)
    ]
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
    report = outputs.report_page(rows, ABOUT)
    assert len(report.encode()) < 2_000_000
    students = {row["student"] for row in rows}
    in_groups = re.findall(r'<tr><th scope="row"><bdi>([\w-]+)</bdi></th>(.*)', report[report.index("Every student") :])
    assert len(in_groups) == 2000 and {name for name, _ in in_groups} == students
    assert {cells.count("<td") for _, cells in in_groups} == {sum(map(len, CATALOGUE.values())) + 1}
    assert len(table_after(report, "heat")) == 20


# Writing


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_rerun_gives_the_same_bytes_and_forgets_who_has_gone(tmp_path):
    rows = hostile_rows()
    write_outputs(rows, tmp_path / "once", ABOUT)
    write_outputs([*rows, settled_row("gone", "masking")], tmp_path / "twice", ABOUT)
    (tmp_path / "twice" / ".new-killed" / "feedback").mkdir(parents=True)
    (tmp_path / "twice" / "record.jsonl").write_text("kept")
    write_outputs(list(reversed(rows)), tmp_path / "twice", ABOUT)
    twice = snapshot(tmp_path / "twice")
    assert twice.pop("record.jsonl") == b"kept"
    assert twice == snapshot(tmp_path / "once")
    assert not list((tmp_path / "twice").glob(".new-*"))


@pytest.mark.parametrize("writes", [0, 1, 5, 12])
def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch, writes):
    write_outputs([settled_row("alice", lesson) for lesson in LESSONS], tmp_path, ABOUT)
    before, real, left = snapshot(tmp_path), Path.write_text, [writes]

    def write_text(path, *arguments, **options):
        if not left[0]:
            path.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space"):
        write_outputs([settled_row("bob", lesson) for lesson in LESSONS], tmp_path, ABOUT)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("moves", range(7))
def test_a_move_that_fails_leaves_each_file_whole(tmp_path, monkeypatch, moves):
    out = tmp_path / "out"
    write_outputs([settled_row("alice", "masking")], out, ABOUT)
    write_outputs([settled_row("bob", "masking")], tmp_path / "new", ABOUT)
    before, after, real, left = snapshot(out), snapshot(tmp_path / "new"), os.replace, [moves]

    def replace(source, target):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        write_outputs([settled_row("bob", "masking")], out, ABOUT)
    now = snapshot(out)
    for part in ("feedback", "gradescope", "grades.csv", "canvas.csv", "report.html"):
        states = [{name: files[name] for name in files if name.startswith(part)} for files in (now, before, after)]
        assert states[0] in states[1:] and states[0]
    if moves < 2:
        assert now == before
