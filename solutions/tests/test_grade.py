"""`python -m checks.grade`: a class whose points are known, and nothing lost whatever happens to the grader.

The moments at which the grader is killed are drawn anew from a fixed seed; IJEPA_KILLS=30 tries 30 of them:

    IJEPA_KILLS=30 pytest solutions/tests/test_grade.py -k killed
"""

import contextlib
import csv
import ctypes
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checks import grade as module
from checks.grader.inside import wire
from checks.grader.inside.zygote import CHECKS
from checks.grader.judging.sandbox import (
    PROMISES,
    Cgroup,
    Limits,
    Sandbox,
    TimeLeft,
    Zygote,
    own_uid,
    packed,
    python_paths,
)
from checks.tool.exercise import catalogue, checks_of
from checks.tool.learner import run_checks
from lessons import LESSONS, folder_name
from solutions.misconceptions import CELL, EDIT, EXERCISE, answers, exercises, load, stub

ROOT = Path(__file__).parents[2]
CATALOGUE = catalogue()
KILLS = int(os.environ.get("IJEPA_KILLS", "4"))
SUBREAPER = 36  # prctl's number: orphans below this process come to it
SECONDS = "45"  # of a lesson; an exercise that hangs has a share of it
PATIENCE = 300  # seconds until what must happen has failed to happen


# Notebooks


def cells_of(lesson: str, **changed: str) -> list[str]:
    """The code cells of a solved lesson, some exercises' changed."""
    source = (ROOT / "solutions" / f"{lesson}.py").read_text(encoding="utf-8")
    source = source.replace("from solutions.", "from lessons.")
    cells = []
    for cell in CELL.split(source)[1:]:
        if match := EXERCISE.match(cell):
            cells.append(changed.get(match[1], cell[match.end() :]))
        elif not cell.startswith(" [markdown]"):
            cells.append(cell.partition("\n")[2])
    return cells


def notebook(cells: list[str]) -> bytes:
    made = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": cell,
        }
        for number, cell in enumerate(cells)
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def put(place: Path, student: str, lesson: str, content: bytes, name: str = "") -> Path:
    path = place / student / folder_name(lesson) / (name or f"{folder_name(lesson)}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def record(out: Path) -> dict[tuple[str, str], dict]:
    """The rows that hold, without what may differ between two runs."""
    lines = (out / "record.jsonl").read_bytes().decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return {(row["student"], row["lesson"]): row | {"seconds": None} for row in rows}


def table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["student"], row["lesson"]): row for row in rows}
    assert len(found) == len(rows)
    return found


# Processes


GRADERS: set[int] = set()  # started here, and waited for by `end`


def descendants() -> set[int]:
    """The pids of all living processes below this one, in any pid namespace; dead orphans are buried."""
    parents, states = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            parents[int(stat.parent.name)], states[int(stat.parent.name)] = int(parent), state
    found, before = {os.getpid()}, set()
    while found != before:
        before, found = found, found | {pid for pid, parent in parents.items() if parent in found}
    for pid in found:
        if states[pid] == "Z" and parents[pid] == os.getpid() and pid not in GRADERS:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return {pid for pid in found - {os.getpid()} if states[pid] != "Z"}


def until(condition: Callable[[], object], what: str) -> None:
    over = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < over, what
        time.sleep(0.02)


@pytest.fixture(autouse=True, scope="module")
def orphans_come_here() -> Iterator[None]:
    """So that a process which outlives its grader is found below this one."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 1, 0, 0, 0)
    yield
    prctl(SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test: no process, and no temporary file."""
    temporary, before = tmp_path / "temporary", descendants()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    until(lambda: not descendants() - before, "a process is left")
    # torch makes the folder of its compiler's cache when the first optimizer is built
    assert not [path for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]
    assert not list(tmp_path.glob("**/.new-*"))


def start(*arguments: object, output: Path) -> int:
    """The grader in a process group of its own, forked from here, so that torch is imported -> its pid."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        GRADERS.add(pid)
        return pid
    code = 99
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = output.open("w", buffering=1)
        code = module.main(list(map(str, arguments)))
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def end(pid: int) -> int:
    status = os.waitpid(pid, 0)[1]
    GRADERS.discard(pid)
    return os.waitstatus_to_exitcode(status)


def run(*arguments: object, output: Path) -> tuple[int, str]:
    """Grade -> exit status, and what was printed."""
    code = end(start(*arguments, "--quiet", output=output))
    text = output.read_text()
    assert "Traceback" not in text
    return code, text


# A class whose points are known


def full(lesson: str, **other: int) -> dict[str, int]:
    """All points, but for the exercises named."""
    return CATALOGUE[lesson] | other


def counted(lesson: str, exercise: str, cell: str) -> dict[str, int] | None:
    """The points of the reference with another cell, counted in this process, without a grader.

    None if they depend on the random numbers, or if the cell costs other exercises points too.
    """
    counts = []
    for seed in (7, 8, 9):
        points = dict.fromkeys(CATALOGUE[lesson], 0)
        for verdict in run_checks(checks_of(lesson), load(lesson, exercise, cell), seed):
            points[verdict.exercise] += verdict.earned
        counts.append(points)
    alone = full(lesson, **{exercise: counts[0][exercise]})
    return alone if counts[0] == counts[1] == counts[2] == alone else None


def before_solution(cell: str, statement: str) -> str:
    assert cell.count("### BEGIN SOLUTION") == 1
    return cell.replace("### BEGIN SOLUTION", statement)


ALONE = {"patch_embedding": "unpatchify", "masking": "sample_masks", "teacher": "momentum_at"}  # no other one uses it
WHOLE = {lesson: [answer for answer in answers(lesson) if not EDIT.search(answer.body)] for lesson in ALONE}


def submissions_of(lesson: str) -> dict[str, tuple[str, dict[str, int], list[tuple[str, bytes]]]]:
    """{student: (status, points, files)}: right, partial, wrong, broken and hostile, one of each kind."""
    name, alone = folder_name(lesson), ALONE[lesson]
    cells, nothing = cells_of(lesson), dict.fromkeys(CATALOGUE[lesson], 0)
    right, without = notebook(cells), full(lesson, **{alone: 0})
    cell = exercises(lesson)[alone]

    def first(statement: str) -> bytes:
        """A statement before the solution of the exercise that stands alone."""
        return notebook(cells_of(lesson, **{alone: before_solution(cell, statement)}))

    def only(content: bytes, file: str = f"{name}.ipynb") -> list[tuple[str, bytes]]:
        return [(file, content)]

    others: dict[str, str] = {}
    for answer in WHOLE[lesson]:
        if answer.phrase is None:
            others.setdefault(answer.exercise, answer.body)
    made = {
        "right": ("graded", full(lesson), only(right)),
        "right, but other": ("graded", full(lesson), only(notebook(cells_of(lesson, **others)))),
        "script": ("graded", full(lesson), only("\n\n".join(cells).encode(), f"{name}.py")),
        "o'neil, ann": ("graded", full(lesson), only(right, 'my "best" try.ipynb')),
        "twice": ("graded", full(lesson), only(notebook([stub(cell), *cells]))),
        "loud": ("graded", full(lesson), only(first("import os; print('x' * 10**6); os.write(2, b'warning')"))),
        "checks edited": (
            "graded",
            without,
            only(notebook(["check = print", *cells_of(lesson, **{alone: stub(cell)}), "100.0"])),
        ),
        "all todo": (
            "todo",
            nothing,
            only(notebook(cells_of(lesson, **{name: stub(text) for name, text in exercises(lesson).items()}))),
        ),
        "syntax": ("graded", without, only(notebook(cells_of(lesson, **{alone: f"{cell}\n    )"})))),
        "leaves": ("graded", without, only(first("raise SystemExit(0)"))),
        "interrupts": ("graded", without, only(first("raise KeyboardInterrupt"))),
        "dies": ("crashed", without, only(first("import os; os._exit(0)"))),
        "cheats": ("flagged", nothing, only(first("torch.allclose = lambda *a, **k: True"))),
        "cut off": ("unreadable", nothing, only(right[: len(right) // 2])),
        "latin": ("unreadable", nothing, only("é".encode("latin-1") + right)),
        "blank": ("unreadable", nothing, only(b"")),
        "several": ("missing", nothing, [("a.ipynb", right), ("b.ipynb", right)]),
        "empty": ("missing", nothing, []),
    }
    if lesson == "patch_embedding":  # one is enough: it takes its time
        made["hangs"] = ("timeout", without, only(first("import time; time.sleep(999)")))
    for answer in WHOLE[lesson]:
        if answer.phrase and len(made) < 22 and (points := counted(lesson, answer.exercise, answer.body)):
            assert points[answer.exercise] < CATALOGUE[lesson][answer.exercise]
            content = notebook(cells_of(lesson, **{answer.exercise: answer.body}))
            made[f"wrong {len(made)}"] = ("graded", points, only(content))
    return made


@pytest.fixture(scope="module")
def classroom(tmp_path_factory) -> tuple[Path, Path, dict, subprocess.CompletedProcess]:
    """A class and the folder of its grades, what must come out, and how the command ended."""
    place = tmp_path_factory.mktemp("class")
    submissions, out, expected = place / "submissions", place / "grades", {}
    made = {lesson: submissions_of(lesson) for lesson in ALONE}
    for student in {student for students in made.values() for student in students}:
        for lesson in ALONE:
            absent = "missing", dict.fromkeys(CATALOGUE[lesson], 0), []
            status, points, files = made[lesson].get(student, absent)
            expected[student, lesson] = status, points
            (submissions / student / folder_name(lesson)).mkdir(parents=True)
            for name, content in files:
                put(submissions, student, lesson, content, name)
    command = [sys.executable, "-m", "checks.grade", submissions, "--out", out, "--quiet", "--seconds", SECONDS]
    command += [word for lesson in ALONE for word in ("--lesson", lesson)]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    return submissions, out, expected, done


def test_every_number_of_a_class_is_right(classroom):
    _, out, expected, done = classroom
    assert done.returncode == 0 and len(expected) >= 60, done.stderr
    rows = record(out)
    assert set(rows) == set(expected)
    for place, (status, points) in expected.items():
        row = rows[place]
        found = {name: exercise["earned"] for name, exercise in row["exercises"].items()}
        if status == "flagged":
            found = {name: row[name] for name in points}
        assert (row["status"], found) == (status, points), (place, row["reason"])


def test_each_row_says_why_it_is_as_it_is(classroom):
    _, out, _, _ = classroom
    said = {
        "dies": "its process ended before it answered",
        "hangs": "still running when its time was up",
        "cheats": "replaces torch.allclose",
        "cut off": "damaged or cut off",
        "latin": "not UTF-8",
        "blank": "empty",
        "several": "a.ipynb, b.ipynb",
        "all todo": "no exercise is written yet",
    }
    for (student, lesson), row in record(out).items():
        absent = row["status"] == "missing" and student != "several"
        assert ("no notebook" if absent else said.get(student, "")) in row["reason"]
        assert bool(row["reason"]) == (row["status"] != "graded")
        alone = row["exercises"][ALONE[lesson]]
        if student in ("dies", "hangs", "checks edited") and not absent:
            assert alone["status"] == {"dies": "crashed", "hangs": "timeout", "checks edited": "todo"}[student]
            others = {exercise["status"] for name, exercise in row["exercises"].items() if name != ALONE[lesson]}
            assert others == {"graded"}
        for exercise in row["exercises"].values():
            assert exercise["reason"] or exercise["points"] == exercise["max_points"]
            assert exercise["earned"] == sum(check["points"] for check in exercise["checks"])
        if student == "twice":
            assert any("defined 2 times" in note for note in row["notes"])
        if student == "o'neil, ann":
            assert any("was graded" in note for note in row["notes"])


def test_the_table_and_the_record_have_the_same_keys_and_values(classroom):
    _, out, _, _ = classroom
    rows, lines = record(out), table(out)
    names = [name for exercises in CATALOGUE.values() for name in exercises]
    columns = ["student", "lesson", "status", "points", "max_points", *names, "reason"]
    assert set(rows) == set(lines)
    for place, row in rows.items():
        assert list(lines[place]) == columns and set(columns) <= set(row)
        assert set(row) - set(columns) == {"exercises", "file", "notes", "submitted", "seconds", "key", "tier"}
        own = {name: row[name] for name in CATALOGUE[place[1]]}
        assert {name: row[name] for name in names if name not in own} == dict.fromkeys(set(names) - set(own))
        assert row["points"] == sum(own.values()) and row["max_points"] == sum(CATALOGUE[place[1]].values())
        shown = {name: "" if row[name] is None else str(row[name]) for name in columns[:-1]}
        assert {name: lines[place][name] for name in shown} == shown


@pytest.mark.parametrize("kind", ["wrong", "right, but other"])
def test_the_points_are_those_of_pytest_checks(classroom, kind, tmp_path):
    submissions, out, _, _ = classroom
    rows = {place: row for place, row in record(out).items() if row["status"] == "graded"}
    students = {
        lesson: min(student for student, of in rows if of == lesson and student.startswith(kind)) for lesson in ALONE
    }
    for lesson, student in students.items():
        name = folder_name(lesson)
        shutil.copytree(submissions / student / name, tmp_path / "lessons" / name)
    files = [f"checks/test_{LESSONS.index(lesson) + 1:02d}_{lesson}.py" for lesson in ALONE]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--lessons", str(tmp_path / "lessons"), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    passed = set(re.findall(r"^PASSED .*::(\w+)", done.stdout, re.MULTILINE))
    assert passed, done.stdout + done.stderr
    for lesson in ALONE:
        points = sum(check.points for check in checks_of(lesson) if check.__name__ in passed)
        assert points == rows[students[lesson], lesson]["points"]


def test_the_report_says_which_sandbox_it_was(classroom):
    _, out, _, done = classroom
    [tier] = {row["tier"] for row in record(out).values()}
    assert_the_report_says(tier, done.stderr, out)


def assert_the_report_says(tier: str, said: str, out: Path) -> None:
    """The tier, what it promises, and what is bounded, as it was printed."""
    bounded = re.search(rf"sandbox: {tier} \((.*)\)", said)[1]
    report = (out / "report.html").read_text().replace("&#39;", "'")
    for text in (f"the sandbox “{tier}”", bounded, *PROMISES[tier]):
        assert text in report


def test_a_class_that_is_graded_is_not_graded_again(classroom, tmp_path, monkeypatch):
    submissions, out, _, _ = classroom
    before = {name: (out / name).read_bytes() for name in ("record.jsonl", "grades.csv", "canvas.csv")}
    stand_in = Pretended(record(out)["right", "masking"]["tier"])
    monkeypatch.setattr(module, "choose_tier", lambda *_: (stand_in, True))
    monkeypatch.setattr(module, "Workers", None)
    lessons = [word for lesson in ALONE for word in ("--lesson", lesson)]
    arguments = (submissions, "--out", out, "--seconds", SECONDS, *lessons)
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert before == {name: (out / name).read_bytes() for name in before}
    code, _ = run(*arguments, "--flagged", "keep", output=tmp_path / "said")  # takes no grading either
    assert code == 0 and (out / "record.jsonl").read_bytes() == before["record.jsonl"]
    kept = table(out)
    for lesson in ALONE:
        assert kept["cheats", lesson]["status"] == "flagged"
        assert int(kept["cheats", lesson]["points"]) == sum(CATALOGUE[lesson].values())
    assert {place: row for place, row in kept.items() if place[0] != "cheats"} == {
        place: row for place, row in csv_of(before["grades.csv"]).items() if place[0] != "cheats"
    }


def csv_of(content: bytes) -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader(content.decode().splitlines(keepends=True))
    return {(row["student"], row["lesson"]): row for row in rows}


# The command with a stand-in for the sandbox: a submission's text says what becomes of it


class Pretended:
    """A sandbox, and its zygotes, that never start anything."""

    def __init__(self, tier: str):
        self.tier, self.control = tier, socket.socket()

    def zygote(self):
        return Pretended(self.tier)

    def close(self):
        self.control.close()

    let_go = close


@pytest.fixture
def pretend(tmp_path, monkeypatch) -> Path:
    """A class of nine for one lesson. Its submissions hold a number, which is their points, or what goes wrong."""

    def grade(lesson, label, content, zygote, seed):
        word = content.decode().strip()
        with (tmp_path / "graded").open("a") as file:
            file.write(f"{word}\n")
        if word == "raise":
            raise RuntimeError("test_made_up broke")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "once" and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise module.SandboxError("the zygote has died")
        if word.startswith("slow"):
            time.sleep(0.3)
        points = int(re.sub(r"\D", "", word) or 0)
        checks = [check for check in checks_of(lesson)]
        exercises = {}
        for check in checks:
            earned = min(points, check.points)
            points -= earned
            exercise = exercises.setdefault(check.exercise, {"status": "graded", "reason": "", "checks": []})
            for key, value in (("points", earned), ("earned", earned), ("max_points", check.points)):
                exercise[key] = exercise.get(key, 0) + value
        return {"status": "graded", "reason": "", "exercises": exercises, "notes": [], "seconds": 0.1}

    monkeypatch.setattr(module, "grade", grade)
    monkeypatch.setattr(module, "choose_tier", lambda *_: (Pretended("bubblewrap"), True))
    for number in range(9):
        put(tmp_path / "class", f"student{number}", "masking", str(number).encode())
    return tmp_path / "class"


def masking(place: Path, out: Path, *more: object) -> tuple[int, str]:
    return run(place, "--out", out, "--lesson", "masking", "--jobs", 2, *more, output=out.with_suffix(".txt"))


def points_of(out: Path) -> dict[str, str]:
    return {student: row["points"] for (student, _), row in table(out).items()}


NINE = {f"student{number}": str(number) for number in range(9)}


def graded(place: Path) -> list[str]:
    """The texts that were graded since this was asked last."""
    path = place.parent / "graded"
    words = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(words)


def test_only_what_has_changed_is_graded_again(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    assert points_of(out) == NINE and len(graded(pretend)) == 9
    before = (out / "record.jsonl").read_bytes()
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == [] and (out / "record.jsonl").read_bytes() == before

    put(pretend, "student3", "masking", b"13")
    put(pretend, "late comer", "masking", b"1")
    (pretend / "student4/03_masking/notes.txt").touch()
    os.utime(pretend / "student5/03_masking/03_masking.ipynb", (0, 0))
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == ["1", "13"]
    assert points_of(out) == NINE | {"student3": "13", "late comer": "1"}
    assert (out / "record.jsonl").read_bytes().startswith(before)
    assert record(out)["student5", "masking"]["submitted"] != "1970-01-01T00:00:00+00:00"  # the line as it was

    (pretend / "student3/03_masking/03_masking.ipynb").rename(pretend / "student3/03_masking/mine.ipynb")
    (pretend / "student6/03_masking/03_masking.ipynb").unlink()
    assert masking(pretend, out)[0] == 0
    assert graded(pretend) == ["13"]
    assert table(out)["student6", "masking"]["status"] == "missing"

    assert masking(pretend, out, "--regrade")[0] == 0
    assert len(graded(pretend)) == 9
    assert masking(pretend, out, "--seconds", 30)[0] == 0
    assert len(graded(pretend)) == 9


def test_a_changed_check_file_grades_its_lesson_again(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for number in range(3):
        put(pretend, f"student{number}", "teacher", f"10{number}".encode())
    arguments = (pretend, "--out", out, "--lesson", "masking", "--lesson", "teacher")
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert len(graded(pretend)) == 12
    root = tmp_path / "course"
    for name in ("checks", "lessons", "solutions"):
        (root / name).mkdir(parents=True)
        for path in (ROOT / name).glob("*.py"):
            (root / name / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "ROOT", root)
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert graded(pretend) == []
    with (root / "checks" / "test_04_teacher.py").open("a") as file:
        file.write("\n")
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert graded(pretend) == ["100", "101", "102"]
    with (root / "solutions" / "masking.py").open("a") as file:  # the reference that lesson 4 builds on
        file.write("\n")
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert graded(pretend) == ["100", "101", "102"]
    with (root / "lessons" / "__init__.py").open("a") as file:
        file.write("\n")
    assert run(*arguments, output=tmp_path / "said")[0] == 0
    assert len(graded(pretend)) == 12


@pytest.mark.parametrize("word", ["raise", "die"])
def test_a_failure_of_the_grader_is_never_a_0(pretend, tmp_path, word):
    out = tmp_path / "out"
    put(pretend, "student4", "masking", word.encode())
    code, said = masking(pretend, out)
    assert code == 1
    assert graded(pretend).count(word) == 2
    assert said.count("not graded: student4, masking: ") == 1
    assert "8 graded, 1 ungraded" in said
    row = table(out)["student4", "masking"]
    assert row["status"] == "ungraded" and row["reason"]
    assert row["points"] == "" and not any(row[name] for name in CATALOGUE["masking"])
    assert ("student4", "masking") not in record(out)
    assert not (out / "gradescope" / "student4").exists()
    put(pretend, "student4", "masking", b"4")
    assert masking(pretend, out)[0] == 0
    assert points_of(out) == NINE and graded(pretend) == ["4"]


def test_a_failure_of_the_grader_in_a_regrade_shows(pretend, tmp_path):
    out = tmp_path / "out"
    put(pretend, "student4", "masking", b"once")
    (tmp_path / "once").touch()
    assert masking(pretend, out)[0] == 0
    (tmp_path / "once").unlink()
    assert masking(pretend, out, "--regrade")[0] == 0  # the second try succeeds
    assert points_of(out) == NINE | {"student4": "0"}


def test_a_check_that_breaks_is_told_in_a_sentence(tmp_path, monkeypatch):
    def test_made_up(learner):
        secret = "expected value"
        raise ZeroDivisionError(f"{secret}\nin two lines")

    test_made_up.exercise, test_made_up.points = "sample_masks", 3
    monkeypatch.setattr(module, "checks_of", lambda lesson: [test_made_up])
    put(tmp_path / "class", "alice", "masking", b"[]")
    put(tmp_path / "class", "bob", "masking", notebook(cells_of("masking")))
    arguments = (tmp_path / "class", "--out", tmp_path / "out", "--lesson", "masking", "--jobs", 1, "--quiet")
    code = end(start(*arguments, output=tmp_path / "said"))
    said = (tmp_path / "said").read_text()
    assert code == 1
    row = table(tmp_path / "out")["bob", "masking"]
    assert row["status"] == "ungraded" and "test_made_up" in row["reason"] and "ZeroDivisionError" in row["reason"]
    assert "Traceback" not in row["reason"] and "expected value" not in row["reason"]
    assert "expected value" in said  # for the instructor, who has to mend it
    assert table(tmp_path / "out")["alice", "masking"]["status"] == "unreadable"


def test_shards_joined_are_the_whole(pretend, tmp_path):
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    os.mkdir(pretend / os.fsdecode(b"caf\xe9"))
    assert masking(pretend, whole)[0] == 0
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        assert masking(pretend, part, "--shard", f"{number}/3")[0] == 0
    found = [set(table(part)) for part in parts]
    assert sum(map(len, found)) == 10 and set.union(*found) == set(table(whole)) and all(found)
    before = [(part / "record.jsonl").read_bytes() for part in parts]
    code, _ = run("--merge", *parts, "--out", joined, output=tmp_path / "said")
    assert code == 0
    for name in ("grades.csv", "canvas.csv"):
        assert (joined / name).read_bytes() == (whole / name).read_bytes()
    assert record(joined) == record(whole)
    assert [(part / "record.jsonl").read_bytes() for part in parts] == before
    lines = (joined / "record.jsonl").read_bytes()
    assert run("--merge", *parts, "--out", joined, output=tmp_path / "said")[0] == 0
    assert (joined / "record.jsonl").read_bytes() == lines
    for text in ("bubblewrap", *PROMISES["bubblewrap"]):
        assert text in (joined / "report.html").read_text().replace("&#39;", "'")
    assert masking(pretend, joined)[0] == 0  # the joined record is one to go on from
    assert len(graded(pretend)) == 18


def test_a_shard_that_is_at_work_is_left_alone_by_a_merge(pretend, tmp_path):
    assert masking(pretend, tmp_path / "part")[0] == 0
    path = tmp_path / "part" / "record.jsonl"
    content = path.read_bytes() + b'{"student": "stud'
    path.write_bytes(content)
    assert run("--merge", tmp_path / "part", "--out", tmp_path / "joined", output=tmp_path / "said")[0] == 0
    assert path.read_bytes() == content
    assert points_of(tmp_path / "joined") == NINE
    code, said = run("--merge", tmp_path / "absent", "--out", tmp_path / "joined", output=tmp_path / "said")
    assert code == 1 and "holds no record.jsonl" in said


# Nothing lost


@pytest.mark.parametrize("cut", [1, 2, 40, -1])
def test_a_line_that_was_cut_off_is_graded_again(pretend, tmp_path, cut):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    graded(pretend)
    whole = (out / "record.jsonl").read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    keep = whole[: -len(last)] + last[:cut]
    (out / "record.jsonl").write_bytes(keep)
    assert masking(pretend, out)[0] == 0
    assert len(graded(pretend)) == 1
    assert points_of(out) == NINE
    assert len((out / "record.jsonl").read_bytes().splitlines()) == 9
    assert len(record(out)) == 9


@pytest.mark.parametrize("damage", [b"#\n", b"[]\n", b"{}\n", b'{"student": [], "lesson": {}}\n', b"\xff\n", b"\x00\n"])
def test_a_damaged_line_is_named_and_nothing_is_overwritten(pretend, tmp_path, damage):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    lines = (out / "record.jsonl").read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:3], damage, *lines[3:]])
    (out / "record.jsonl").write_bytes(damaged)
    code, said = masking(pretend, out)
    assert code == 1 and "record.jsonl, line 4 is damaged" in said
    assert (out / "record.jsonl").read_bytes() == damaged
    (out / "record.jsonl").write_bytes(b"".join(lines))
    graded(pretend)
    assert masking(pretend, out)[0] == 0 and graded(pretend) == []


def test_two_graders_on_one_folder(pretend, tmp_path):
    out = tmp_path / "out"
    for number in range(9):
        put(pretend, f"student{number}", "masking", f"slow {number}".encode())
    first = start(pretend, "--out", out, "--lesson", "masking", output=tmp_path / "first")
    until(lambda: (out / "record.jsonl").exists() and (out / "record.jsonl").stat().st_size, "nothing is recorded")
    code, said = masking(pretend, out)
    assert code == 1 and "another grader is at work" in said
    assert end(first) == 0
    assert points_of(out) == NINE and len(graded(pretend)) == 18  # two words each
    assert masking(pretend, out)[0] == 0 and graded(pretend) == []


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(pretend, tmp_path):
    out = tmp_path / "out"
    for number in range(9):
        put(pretend, f"student{number}", "masking", f"slow{number}".encode())
    before = descendants()
    grader = start(pretend, "--out", out, "--lesson", "masking", "--jobs", 2, output=tmp_path / "said")
    until(lambda: (out / "record.jsonl").exists() and (out / "record.jsonl").stat().st_size, "nothing is recorded")
    os.killpg(grader, signal.SIGINT)
    assert end(grader) == 130
    said = (tmp_path / "said").read_text()
    assert "the same command goes on" in said and "Traceback" not in said
    until(lambda: not descendants() - before, "a worker is left")
    done = len(record(out))
    assert 0 < done < 9
    graded(pretend)
    assert masking(pretend, out)[0] == 0
    assert len(graded(pretend)) == 9 - done and points_of(out) == NINE


def with_little_room(place: Path, out: Path, monkeypatch: pytest.MonkeyPatch, size: int, *more: str) -> None:
    """Grade where no file can have more than size bytes, which must fail with a sentence."""
    run_locked = module.run_locked

    def limited(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return run_locked(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_locked", limited)
        code, said = masking(place, out, *more)
    assert code == 1
    [line] = [line for line in said.splitlines() if not line.startswith("sandbox: ")]
    assert "can't be written" in line


@pytest.mark.parametrize("room", [0, 300, 5000])
def test_a_full_disk_loses_nothing(pretend, tmp_path, monkeypatch, room):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert masking(pretend, whole)[0] == 0
    assert masking(pretend, out, "--shard", "1/2")[0] == 0
    before = (out / "record.jsonl").read_bytes()
    table_before = table(out)
    with_little_room(pretend, out, monkeypatch, len(before) + room)
    lines = (out / "record.jsonl").read_bytes()
    assert lines.startswith(before) and (not lines or lines.endswith(b"\n"))
    assert len(lines) - len(before) <= room
    assert table(out) == table_before
    graded(pretend)
    done = len(record(out))
    assert masking(pretend, out)[0] == 0
    assert len(graded(pretend)) == 9 - done
    assert record(out) == record(whole)
    assert (out / "grades.csv").read_bytes() == (whole / "grades.csv").read_bytes()


def test_on_a_full_disk_the_old_files_stand(pretend, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert masking(pretend, out)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with_little_room(pretend, out, monkeypatch, 500, "--flagged", "keep")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


# With the real sandbox


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
    arguments = (few, "--lesson", "masking", "--jobs", 2, "--quiet", "--out")
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
    until(lambda: (out / "record.jsonl").exists() and (out / "record.jsonl").stat().st_size, "nothing is recorded")
    groups = {group for group in cgroups() if group.startswith(f"build-i-jepa-{grader}-")}
    os.killpg(grader, signal.SIGINT)
    assert end(grader) == 130
    until(lambda: not descendants() - before, "a process is left")
    assert not groups & cgroups()


def test_a_zygote_that_is_killed_under_way_costs_nothing(few, tmp_path):
    before, out, killed = descendants(), tmp_path / "out", set()
    arguments = (few, "--lesson", "masking", "--jobs", 1, "--quiet", "--out", out)
    grader = start(*arguments, output=tmp_path / "said")
    until(lambda: (out / "record.jsonl").exists() and (out / "record.jsonl").stat().st_size, "nothing is recorded")

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


def test_no_two_graders_of_a_machine_use_one_uid():
    (first, holder), (second, other) = own_uid(), own_uid()
    assert first != second
    holder.close()
    third, last = own_uid()
    assert third == first
    for held in (other, last):
        held.close()


@pytest.fixture
def below_tmp(monkeypatch) -> Iterator[tuple[Zygote, Path]]:
    """A zygote whose Python has one more folder, below /tmp, and this folder."""
    outer = Path(tempfile.mkdtemp(dir="/tmp"))
    folder = outer / "packages"
    folder.mkdir()
    (folder / "marker").write_text("seen")
    folder.chmod(0o755)
    paths = python_paths() | {str(folder)}
    monkeypatch.setattr("checks.grader.judging.sandbox.python_paths", lambda: paths)
    sandbox = Sandbox("bubblewrap", Limits())
    zygote = sandbox.zygote()
    yield zygote, folder
    zygote.close()
    sandbox.close()
    shutil.rmtree(outer)


def reader(path: Path) -> bytes:
    """A submission that reads a file when its exercise is defined."""
    return f"def patchify(images, patch_size, found=open({str(path)!r}).read()):\n    pass\n".encode()


def test_a_python_below_tmp_is_seen_in_the_private_tmp_and_nothing_beside_it(below_tmp):
    zygote, folder = below_tmp
    beside = folder.parent / "beside"
    beside.write_text("secret")
    notes = []
    for path in (folder / "marker", beside):
        with zygote.child("patch_embedding", "a.py", reader(path), TimeLeft(60)) as child:
            notes.append(child.notes)
            child.leave()
    assert not notes[0]
    assert "FileNotFoundError" in notes[1][0]


def test_an_interrupt_before_a_child_is_admitted_leaves_the_zygote_at_work(below_tmp, monkeypatch):
    zygote, folder = below_tmp

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(zygote, "_admit", interrupted)
        with pytest.raises(KeyboardInterrupt), zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60)):
            pass
    with zygote.child("patch_embedding", "a.py", reader(folder / "marker"), TimeLeft(60)) as child:
        child.leave()


def test_a_child_is_admitted_before_anything_of_the_submission_reaches_it(below_tmp, monkeypatch):
    zygote, _ = below_tmp
    said, send = [], wire.send
    monkeypatch.setattr(
        wire, "send", lambda channel, message, *rest: said.append(message) or send(channel, message, *rest)
    )
    monkeypatch.setattr(zygote, "_admit", lambda pid: said.append(pid))
    with zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60)) as child:
        child.leave()
    first, pid, second = said[:3]
    assert set(first) == {"nonce", "modules"} and type(pid) is int and second["label"] == "a.py"


def test_a_child_leads_a_session_of_its_own(below_tmp):
    """Or a signal to its process group would reach the zygote, where both have one uid."""
    zygote, _ = below_tmp
    alone = "1 / (os.getsid(0) == os.getpgrp() == os.getpid())"
    content = f"import os\n\ndef patchify(images, patch_size, alone={alone}):\n    pass\n".encode()
    with zygote.child("patch_embedding", "a.py", content, TimeLeft(60)) as child:
        assert not child.problem and not child.notes
        child.leave()


def test_a_child_is_in_a_control_group_wherever_one_can_be_made(below_tmp):
    zygote, _ = below_tmp
    try:
        Cgroup(Limits(), 1).close()
    except module.SandboxError:
        assert zygote.cgroup is None
        return
    with zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60)) as child:
        members = [(folder / "cgroup.procs").read_text().split() for folder in zygote.cgroup.folders]
        child.leave()
    assert [len(pids) for pids in members] == [1] * len(members)


def test_checks_that_do_not_import_are_no_fault_of_the_submission(below_tmp, monkeypatch):
    zygote, _ = below_tmp
    modules = {CHECKS: packed(compile("import nowhere", "checks", "exec"))}
    monkeypatch.setattr("checks.grader.judging.sandbox.modules_for", lambda lesson: modules)
    child = zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60))
    with pytest.raises(module.SandboxError, match="can't be set up"), child:
        pass


def test_where_no_sandbox_works_it_says_so_and_grades_nothing(few, tmp_path, monkeypatch):
    def broken(*_):
        raise module.SandboxError("it can't be started here")

    monkeypatch.setattr("checks.grader.judging.sandbox.Sandbox", broken)
    code, said = run(few, "--out", tmp_path / "out", output=tmp_path / "said")
    assert code == 1 and "no sandbox works here" in said and "--trusted" in said
    assert not (tmp_path / "out" / "grades.csv").exists()


# Bad options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either SUBMISSIONS or --merge"),
        (["class", "--merge", "a"], "give either SUBMISSIONS or --merge"),
        (["class", "--lesson", "mask"], "invalid choice: 'mask'"),
        (["class", "--shard", "4/3"], "--shard 4/3 is not a part of a whole"),
        (["class", "--shard", "x"], "--shard x is not a part of a whole"),
        (["class", "--shard", "²/3"], "is not a part of a whole"),
        (["class", "--jobs", "0"], "--jobs starts at 1"),
        (["class", "--jobs", "many"], "invalid int value"),
        (["class", "--seconds", "0"], "more than 0"),
        (["class", "--seconds", "nan"], "seconds"),
        (["class", "--training-seconds", "inf"], "seconds"),
        (["class", "--memory", "1"], "--memory starts at 64"),
        (["class", "--processes", "1"], "--processes at 4"),
        (["class", "--trusted", "--tier", "rlimits"], "not allowed with"),
        (["--merge", "a", "--shard", "1/2"], "--merge"),
        (["--merge", "a", "--lesson", "masking"], "--merge"),
        (["class", "--flagged", "maybe"], "invalid choice: 'maybe'"),
    ],
)
def test_a_bad_option_is_a_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        module.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_bad_place_is_a_sentence(pretend, tmp_path):
    (tmp_path / "a text").write_text("no zip")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "bad.toml").write_text("[")
    for arguments, why in (
        ((tmp_path / "absent", "--out", tmp_path / "out"), "there is no "),
        ((tmp_path / "a text", "--out", tmp_path / "out"), "neither a folder nor a zip"),
        ((tmp_path / "nothing", "--out", tmp_path / "out"), "holds no submission"),
        ((pretend, "--out", pretend / "grades"), "lies in the submissions"),
        ((pretend, "--out", pretend / "student1" / ".." / "grades"), "lies in the submissions"),
        ((pretend, "--out", tmp_path / "a text"), "can't be written"),
        ((pretend, "--out", tmp_path / "a text" / "out"), "can't be written"),
        ((pretend, "--out", tmp_path / "out", "--late", tmp_path / "bad.toml"), "not valid TOML"),
        ((pretend, "--out", tmp_path / "out", "--marks", tmp_path / "absent.csv"), "can't be read"),
        ((pretend, "--out", tmp_path / "out", "--lesson", "masking", "--gradebook", "gradebook.db"), "no address"),
    ):
        code, said = run(*arguments, output=tmp_path / "said")
        assert code == 1, arguments
        assert why in said.splitlines()[-1], said


def test_students_whom_only_the_marks_know_are_named(pretend, tmp_path):
    (tmp_path / "marks.csv").write_text(
        "student,lesson,item,points\nstudent1,masking,sample_block,2\nalcie,masking,sample_block,2\n"
    )
    code, said = masking(pretend, tmp_path / "out", "--marks", tmp_path / "marks.csv")
    assert code == 0
    assert "'alcie'" in said and "student1" not in said
