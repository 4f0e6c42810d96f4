"""The instructor's policy: flagged points, marks by hand and late days, and files that can't be followed."""

import json
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import pytest

from checks.grader.judging.results import Row, Status
from checks.grader.policy import Policy, read_policy, settle, unknown_students
from checks.grader.reports.report import TROUBLE
from checks.grader.texts import PolicyError
from solutions import release
from solutions.tests.helpers.made_up_rows import CATALOGUE, made_up_row
from solutions.tests.helpers.policy_files import LATE, MARKS, marks_file, written

COLUMNS = {name: None for exercises in CATALOGUE.values() for name in exercises}


def test_settling_changes_no_row_and_a_row_of_the_record_is_settled_alike(tmp_path):
    marks = marks_file(tmp_path, "alice,masking,why_overlap,1,", "alice,masking,sample_block,3,")
    late = written(tmp_path / "late.toml", LATE)
    policies = [Policy(), Policy(flagged="keep"), read_policy(late, [marks]), read_policy(None, [marks], "keep")]
    submitted = "2026-11-09T00:00:00+00:00"
    rows = [made_up_row("alice", "masking", status, submitted=submitted, reason="Why.") for status in TROUBLE]
    rows.append(made_up_row("alice", "masking", share=0.5, submitted=submitted))
    for row in rows:
        before = json.dumps(asdict(row))
        direct = [settle(row, policy) for policy in policies]
        line = json.dumps(row.to_json(COLUMNS))
        assert [settle(Row.from_json(json.loads(line)), policy) for policy in policies] == direct
        assert [settle(row, policy) for policy in reversed(policies)] == direct[::-1]
        assert json.dumps(asdict(row)) == before and json.dumps(row.to_json(COLUMNS)) == line
    assert len({str(settle(rows[0], policy)) for policy in policies}) == 4  # no two say the same of a flagged row


def test_flagged_points_are_withheld_or_kept():
    row = made_up_row("alice", "masking", "flagged")
    size = replace(row.exercises["sample_block_size"], status=Status.GRADED, points=6)
    row = replace(row, exercises={**row.exercises, "sample_block_size": size})  # 6 points; the others have 4 and 13
    withheld, kept = settle(row, Policy(flagged="withhold")), settle(row, Policy(flagged="keep"))
    points = {name: exercise.points for name, exercise in withheld.exercises.items()}
    assert points == {"sample_block_size": 6, "sample_block": 0, "sample_masks": 0}
    assert (withheld.points, withheld.max_points) == (6, 23) and "17 points withheld" in withheld.reason
    assert row.exercises["sample_block"].earned == 4
    assert withheld.exercises["sample_block"].decision == "4 points withheld."
    assert (kept.points, kept.exercises["sample_block"].points, kept.reason) == (23, 4, "")


def test_marks_replace_an_exercise_add_a_question_and_survive_a_regrade(tmp_path):
    text = MARKS + 'alice,masking,why_overlap,1.5,"a leak, well said"\nalice,masking,sample_block,2.25,\n'
    policy = read_policy(None, [written(tmp_path / "marks.csv", "\ufeff" + text)])  # with the mark that Excel writes
    for share, earned in ((1.0, 6 + 2.25 + 13), (0.0, 2.25)):  # another grading gives other points
        row = made_up_row("alice", "masking", share=share)
        alice = settle(row, policy)
        block, question = alice.exercises["sample_block"], alice.questions["why_overlap"]
        assert alice.points == earned + 1.5
        assert (block.points, block.marked, question.points, alice.max_points) == (2.25, True, 1.5, 23 + 2)
        assert question.comment == "a leak, well said"
        assert row.exercises["sample_block"].earned == (4 if share else 0)
    bob = settle(made_up_row("bob", "masking"), policy)
    assert (bob.points, bob.questions["why_overlap"].points, bob.max_points) == (23, None, 25)
    assert not bob.exercises["sample_block"].marked
    assert "Not marked yet: why_overlap" in bob.reason
    assert "why_overlap" not in settle(made_up_row("alice", "teacher"), policy).questions
    flagged = settle(made_up_row("alice", "masking", "flagged"), policy)
    assert flagged.exercises["sample_block"].points == 2.25  # a person has decided
    ungraded = settle(made_up_row("alice", "masking", "ungraded"), policy)
    assert ungraded.points is None and ungraded.questions["why_overlap"].points == 1.5


def test_the_questions_are_those_of_the_release(tmp_path):
    found = 0
    for lesson in CATALOGUE:
        source = Path(release.__file__).with_name(f"{lesson}.py").read_text(encoding="utf-8")
        parts = release.read_parts(lesson, source, CATALOGUE[lesson])
        for name, points in [(part.name, part.points) for part in parts if part.kind == "question"]:
            marks = marks_file(tmp_path, f"alice,{lesson},{name},{points},")
            assert read_policy(None, [marks]).marks.questions[lesson] == {name: points}
            found += 1
    assert found > 0


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
    assert row.points == points and says in row.reason and bool(row.reason) == bool(says)
    assert settle(made_up_row(student, lesson, "missing", submitted=None), policy).reason == ""


def test_a_deduction_is_rounded_once_and_counts_from_what_the_marks_make(tmp_path):
    late = written(tmp_path / "late.toml", "penalty = 7.5\n[deadlines]\nmasking = 2026-11-01T00:00:00Z\n")
    day_late = {"submitted": "2026-11-01T08:00:00+00:00"}
    assert settle(made_up_row("alice", "masking", **day_late), read_policy(late)).points == 21.27  # 1.725 is 1.73
    marks = marks_file(tmp_path, "alice,masking,sample_masks,3,")
    row = settle(made_up_row("alice", "masking", **day_late), read_policy(late, [marks]))
    assert row.points == 12.02 and "0.98" in row.reason  # 7.5 % of 6 + 4 + 3 is 0.975


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
        ("student|lesson|item|points\n", "line 1: the first line must name the columns"),
        ("student,lesson,item\n", "line 1: the first line must name the columns"),
        (MARKS + "alice,masking,sample_block,5,\n", "line 2: sample_block is marked '5'; write 0 to 4"),
        (MARKS + "alice,masking,sample_block,-1,\n", "line 2: sample_block is marked '-1'"),
        (MARKS + "alice,masking,sample_block,,\n", "line 2: sample_block is marked ''"),
        (MARKS + 'alice,masking,sample_block,"1.000,5",\n', "line 2: sample_block is marked '1.000,5'"),
        (MARKS + "alice,masking,sample_block,nan,\n", "line 2: sample_block is marked 'nan'"),
        (MARKS + "alice,masking,sample_block,1e999999999,\n", "line 2: sample_block is marked"),
        (MARKS + "alice,masking,sample_block,1.234,\n", "line 2: sample_block is marked '1.234'"),
        (MARKS + "\nalice,masking,patchify,5,\n", "line 3: masking has no exercise or question 'patchify'"),
        (MARKS + "alice,lesson3,patchify,5,\n", "line 2: there is no lesson 'lesson3'"),
        (MARKS + "alice,masking,sample_block,4\n", "line 2: there are 4 cells for 5 columns"),
        (MARKS + 2 * "alice,masking,sample_block,4,\n", "line 3: sample_block of 'alice' was marked in "),
        (MARKS + 'alice,masking,sample_block,4,"open\n', "line 2: this is not valid CSV"),
    ],
)
def test_a_marks_csv_that_cannot_be_followed_is_refused_by_line(tmp_path, text, says):
    marks = written(tmp_path / "marks.csv", text)
    if says:
        refused(says, None, marks)
    else:
        assert read_policy(None, [marks]).marks.given == {}


def refused(says: str, late: Path | None, marks: Path | None, too: str = "") -> None:
    with pytest.raises(PolicyError) as refusal:
        read_policy(late, [marks] if marks else [])
    message = str(refusal.value)
    assert message.startswith(str(late or marks)) and says in message and too in message and "\n" not in message


def test_files_that_cannot_be_read_are_refused(tmp_path):
    refused("can't be read", tmp_path / "late.toml", None)
    (tmp_path / "marks.csv").write_bytes(MARKS.encode() + b"J\xf6rg,masking,sample_block,4,\n")
    refused("line 2: this is not UTF-8", None, tmp_path / "marks.csv")


def test_marks_of_several_assistants_count_together_and_a_spreadsheets_semicolons_and_commas_are_read(tmp_path):
    one = marks_file(tmp_path, "alice,masking,sample_block,3,")
    header = "student;lesson;item;points;comment\n"
    two = written(tmp_path / "two.csv", f'\ufeff{header}bob;masking;sample_block;"2,25";half, or so\n\n')
    policy = read_policy(None, [one, two])
    points = [
        settle(made_up_row(name, "masking"), policy).exercises["sample_block"].points for name in ("alice", "bob")
    ]
    assert points == [3, 2.25]
    assert policy.marks.given["bob", "masking", "sample_block"].comment == "half, or so"
    tabs = written(tmp_path / "tabs.csv", header.replace(";", "\t") + "bob\tmasking\tsample_masks\t1,5\t\n")
    assert read_policy(None, [tabs]).marks.given["bob", "masking", "sample_masks"].points == Decimal("1.5")
    with pytest.raises(PolicyError, match=r"again\.csv, line 2: .*'bob' was marked in .*two\.csv, line 2 already"):
        read_policy(None, [one, two, written(tmp_path / "again.csv", header + "bob;masking;sample_block;1;\n")])


def test_names_that_nobody_has_are_reported(tmp_path):
    marks = marks_file(tmp_path, "bob,masking,sample_block,1,", "alise,masking,sample_block,1,")
    policy = read_policy(written(tmp_path / "late.toml", LATE), [marks])
    sentences = unknown_students(policy, [made_up_row("alice", "masking"), made_up_row("bob", "masking")])
    assert len(sentences) == 2
    assert any("marks.csv, line 3" in sentence and "'alise'" in sentence for sentence in sentences)
    assert any("late.toml, line 12" in sentence and "'Zoë M.'" in sentence for sentence in sentences)
