"""The red team: no submission gains a point, changes another one's grade, or reaches out of its sandbox.

Each file of redteam/ is one attack, one fault, or honest work that must not be taken for either. Its first comment
says what it does, then what must become of it:

    # lesson: the lesson that it is handed in for
    # status: of the lesson; several, if the machine decides which one comes first
    # points: a number, "all", or "all but" an exercise
    # reason: text that the row's reason contains
    # says: text that the row contains: the attack got as far as it wanted to
    # on: "reference" if its code stands below the reference's, so that the rest of the lesson is right
    # beside: names of files that lie beside the notebook
    # tiers: the tiers of the sandbox in which all this holds (default: bubblewrap)
    # control: "escapes" if it must succeed without a sandbox, or else it proves nothing

An attack that reaches its goal says ESCAPED. A file with a function `build(folder, reference)` makes what lies in the
lesson's folder; any other one is handed in as it stands. @HOME@ and the like stand for the places of this run.
"""

import contextlib
import ctypes
import functools
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch

from checks.grader.judging.judge import GradeError, judge
from checks.tool.exercise import catalogue, checks_of
from checks.tool.learner import Learner, Outcome, run_checks
from lessons import LESSONS, folder_name
from solutions.tests.helpers.course_copy import ROOT, copy_course

FOLDER = Path(__file__).parent / "redteam"
PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # where anybody may leave a file
HONEST = {  # what honest submissions of the same class earn, wherever they stand in it
    "patch_embedding": "all",
    "masking": "all but sample_block",
}
LIMITS = "--jobs 2 --seconds 6 --memory 512 --processes 16 --quiet".split()


@dataclass(frozen=True)
class Attack:
    name: str
    source: str
    facts: dict[str, str]

    @property
    def lesson(self) -> str:
        return self.facts["lesson"]

    @property
    def statuses(self) -> set[str]:
        return set(self.facts["status"].split(", "))

    def points(self) -> int:
        return points(self.facts["points"], self.lesson)


def points(words: str, lesson: str) -> int:
    """The points of a lesson that words stand for."""
    exercises = catalogue()[lesson]
    if words.startswith("all"):
        without = words.removeprefix("all").removeprefix(" but ")
        return sum(exercises.values()) - (exercises[without] if without else 0)
    return int(words)


def read(path: Path) -> Attack:
    source = path.read_text(encoding="utf-8")
    comment = source.partition("\n\n")[0]
    facts = dict(re.findall(r"^# (lesson|status|points|reason|says|on|beside|tiers|control): (.+)$", comment, re.M))
    return Attack(path.stem, source, facts)


ATTACKS = [read(path) for path in sorted(FOLDER.glob("*.py"))]


# A class of attacks


def hand_in(attack: Attack, student: Path, places: dict[str, str]) -> Path:
    """Put an attack into a student's folder -> that folder, which the attack may have named itself."""
    source = functools.reduce(lambda text, place: text.replace(f"@{place}@", places[place]), places, attack.source)
    reference = (ROOT / "solutions" / f"{attack.lesson}.py").read_text(encoding="utf-8")
    folder = student / folder_name(attack.lesson)
    folder.mkdir(parents=True)
    if "\ndef build(" in source:
        made: dict = {}
        exec(source, made)
        made["build"](folder, reference)
        return student.rename(student.parent / (student.name + made["NAME"])[:200]) if "NAME" in made else student
    if "on" in attack.facts:
        source = f"{reference}\n\n# %%\n{source}"
    (folder / f"{folder.name}.py").write_text(source, encoding="utf-8")
    for name in attack.facts.get("beside", "").split():
        (folder / name).write_text("planted = True\nraise SystemExit\n")
    return student


def hand_in_honest(student: Path) -> None:
    for lesson, words in HONEST.items():
        source = (ROOT / "solutions" / f"{lesson}.py").read_text(encoding="utf-8")
        if " but " in words:
            source += f"\n\n# %%\ndef {words.rpartition(' ')[2]}(*_):\n    raise NotImplementedError\n"
        folder = student / folder_name(lesson)
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.py").write_text(source, encoding="utf-8")


class Canary:
    """A home with a secret, and sockets that must hear nothing."""

    def __init__(self, home: Path):
        self.home, self.secret = home, secrets.token_hex(8)
        home.mkdir()
        (home / "secret.txt").write_text(self.secret)
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3; d = sqlite3.connect('gradebook.db'); d.execute('create table grade (a)')",
            ],
            cwd=home,
            check=True,
        )
        self.tcp, self.udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(os.path.relpath(home / "socket"))  # a socket's path may not be long
        self.abstract.bind("\0redteam-" + self.secret)
        for channel in (self.tcp, self.unix, self.abstract):
            channel.listen()

    def heard(self) -> list[str]:
        """On which of its sockets someone has knocked."""
        names = []
        for name, channel in (("tcp", self.tcp), ("unix", self.unix), ("abstract", self.abstract), ("udp", self.udp)):
            channel.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                channel.recv(1) if name == "udp" else channel.accept()
                names.append(name)
            channel.close()
        return names


@dataclass
class Run:
    rows: dict[str, dict]  # by student, one a student
    students: dict[str, list[str]]  # of each attack
    honest: list[dict]
    heard: list[str]
    changed: dict[str, tuple]
    left: list[str]  # processes
    said: str
    table: str


def grade(folder: Path, attacks: list[Attack], tier: str, twice: bool = False, as_zip: bool = False) -> Run:
    """Grade the attacks, with honest work before, between and behind them; twice: the quick ones in both orders."""
    course, class_, out = (folder / name for name in ("course", "class", "out"))
    copy_course(course)
    canary = Canary(folder / "home")
    places = {"COURSE": course, "SUBMISSIONS": class_, "OUT": out, "HOME": canary.home}
    places = {**{name: str(path) for name, path in places.items()}, "PORT": str(canary.port), "SECRET": canary.secret}
    students = {}
    for number, attack in enumerate(attacks, start=1):
        names = [f"a{number:03}-{attack.name}", f"b{900 - number:03}-{attack.name}"]
        chosen = names if twice and "timeout" not in attack.statuses else names[:1]
        students[attack.name] = [hand_in(attack, class_ / name, places).name for name in chosen]
    honest = [f"{place}-honest" for place in ("a000", "a500", "b000", "b999")]
    for student in honest:
        hand_in_honest(class_ / student)
    submissions = packed(class_, folder / "class.zip") if as_zip else class_
    folder.chmod(0o755)
    lessons = sorted({attack.lesson for attack in attacks} | set(HONEST))
    command = [sys.executable, "-m", "checks.grade", submissions, "--out", out, "--tier", tier, *LIMITS]
    command += itertools.chain.from_iterable(("--lesson", lesson) for lesson in lessons)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # whatever outlives the grader becomes a child of this process
    known = children()
    before = snapshot(folder)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(canary.home), "TOKEN": canary.secret}
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, errors="replace")
    left = [pid for pid in children() if pid not in known]
    changed = dict(snapshot(folder).items() ^ before.items())
    lines = [json.loads(line) for line in (out / "record.jsonl").read_text().splitlines()]
    rows = {(row["student"], row["lesson"]): row for row in lines}
    lesson_of = {name: attack.lesson for attack in attacks for name in students[attack.name]}
    return Run(
        rows={student: rows[student, lesson] for student, lesson in lesson_of.items() if (student, lesson) in rows},
        students=students,
        honest=[rows[student, lesson] for student in honest for lesson in HONEST],
        heard=canary.heard(),
        changed=changed,
        left=left,
        said=done.stdout + done.stderr,
        table=(out / "grades.csv").read_text(encoding="utf-8-sig"),
    )


def packed(folder: Path, path: Path) -> Path:
    """A zip of a class, with members that no one may unpack."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
        for name in ("../redteam-zip", "x/../../redteam-zip", "/tmp/redteam-zip", "C:\\redteam-zip"):
            archive.writestr(name, "outside")
        link = zipfile.ZipInfo("a700-link/01_patch_embedding/01_patch_embedding.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a701-bomb/01_patch_embedding/01_patch_embedding.ipynb", bytes(101 * 2**20))
    return path


def snapshot(folder: Path) -> dict[str, tuple]:
    """All files that an attack could have made or changed, but for the grader's own output."""
    found = {}
    paths = [Path(place, name) for place in PLACES for name in os.listdir(place) if name.startswith("redteam-")]
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__" and Path(place, name) != folder / "out"]
        paths += [Path(place, name) for name in (*folders, *names)]
    for path in paths:
        status = path.lstat()
        found[str(path)] = status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns
    return found


def children() -> list[str]:
    """The living children of this process, those that came to it as orphans too."""
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z":
            found.append(f"{pid}: {Path('/proc', pid, 'cmdline').read_text()}")
    return found


@pytest.fixture(scope="module", autouse=True)
def bubblewrap() -> None:
    assert shutil.which("bwrap"), "bubblewrap is missing: install it (apt-get install bubblewrap), then run this again"


@pytest.fixture(scope="module")
def boxed(tmp_path_factory) -> Run:
    return grade(tmp_path_factory.mktemp("boxed"), ATTACKS, "bubblewrap", twice=True)


@pytest.fixture(scope="module")
def limited(tmp_path_factory) -> Run:
    chosen = [attack for attack in ATTACKS if "rlimits" in attack.facts.get("tiers", "")]
    return grade(tmp_path_factory.mktemp("limited"), chosen, "rlimits", as_zip=True)


def by_name(attack: Attack) -> str:
    return attack.name


def said(row: dict) -> str:
    """What a row tells, on one line, without the learner's own lines."""
    pages = [check["page"].split("\nat  ")[0] for exercise in row["exercises"].values() for check in exercise["checks"]]
    return " ".join(" ".join([row["reason"], *row["notes"], *pages]).split())


def check_end(attack: Attack, run: Run) -> None:
    """What the attack's comment says is what has become of it, in whatever order it was graded."""
    rows = [run.rows.get(student) for student in run.students[attack.name]]
    assert all(rows), f"not graded: {run.said}"
    for row in rows:
        assert row["status"] in attack.statuses, row["reason"]
        assert attack.facts.get("reason", "") in row["reason"]
        assert "ESCAPED" not in said(row)
        assert attack.facts.get("says", "") in said(row)
        assert sum(exercise["earned"] for exercise in row["exercises"].values()) == attack.points()
        flagged = sum(entry["earned"] for entry in row["exercises"].values() if entry["status"] == "flagged")
        assert row["points"] == attack.points() - flagged
        assert len(json.dumps(row)) < 500_000
    if len(attack.statuses) == 1:
        outcomes = [
            {name: (exercise["status"], exercise["points"]) for name, exercise in row["exercises"].items()}
            for row in rows
        ]
        assert all(outcome == outcomes[0] for outcome in outcomes), "the order changes the result"


@pytest.mark.parametrize("attack", ATTACKS, ids=by_name)
def test_an_attack_ends_as_it_says(attack, boxed):
    check_end(attack, boxed)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if "rlimits" in a.facts.get("tiers", "")], ids=by_name)
def test_an_attack_ends_as_it_says_without_bubblewrap(attack, limited):
    check_end(attack, limited)


@pytest.mark.parametrize("tier", ["boxed", "limited"])
def test_no_attack_reaches_anything_outside(tier, request):
    run = request.getfixturevalue(tier)
    assert run.left == []
    assert run.changed == {}
    assert run.heard == []
    for row in run.honest:
        assert row["status"] == "graded"
        assert row["points"] == points(HONEST[row["lesson"]], row["lesson"])


def test_a_hostile_zip_is_named_and_the_rest_is_graded(limited):
    for word in ("../redteam-zip", "x/../../redteam-zip", "/tmp/redteam-zip", "C:", "a link", "more than 100 MB"):
        assert word in limited.said + limited.table


def test_the_attacks_would_succeed_without_a_sandbox(tmp_path):
    chosen = [attack for attack in ATTACKS if attack.facts.get("control") == "escapes"]
    run = grade(tmp_path, chosen, "trusted")
    for attack in chosen:
        for student in run.students[attack.name]:
            assert "ESCAPED" in said(run.rows[student]), f"{attack.name} proves nothing"
    assert run.heard == ["tcp", "unix", "abstract"]


def test_there_are_attacks_enough_and_each_says_how_it_ends():
    assert len(ATTACKS) >= 60
    for attack in ATTACKS:
        assert {"lesson", "status", "points"} <= set(attack.facts), attack.name


# What no function of a check file gives


class Forger(Learner):
    """Sends the same value whatever it is asked."""

    def __init__(self, value: object):
        super().__init__(None, seed=5)
        self.value = value

    def run(self, function, inputs, seed) -> Outcome:
        return Outcome(self.value)


STRANGE = {
    "None": None,
    "True": True,
    "zero": 0,
    "huge": 2**63,
    "NaN": float("nan"),
    "no text": "",
    "text": "loss",
    "empty list": [],
    "empty dict": {},
    "nested": [[[[1]]], {"a": (None,)}],
    "strange keys": {0: 1, None: 2},
    "pair": (1, 2),
    "tensors": tuple(torch.zeros(3, 2, 2)),
    "pairs": [(1, 2)] * 600,
    "pairs of tensors": [(torch.zeros(2, dtype=torch.long), torch.zeros(2, 2, dtype=torch.long))] * 300,
    "scalar": torch.tensor(1.0),
    "empty tensor": torch.zeros(0),
    "empty axis": torch.zeros(2, 0, 3),
    "ten axes": torch.zeros([1] * 10),
    "complex": torch.zeros(2, 3, dtype=torch.complex64),
    "bool": torch.ones(8, 8, dtype=torch.bool),
    "half": torch.zeros(2, 3, dtype=torch.float16),
    "bytes": torch.full((2, 3), 255, dtype=torch.uint8),
    "smallest": torch.full((2, 3, 4), -(2**63)),
    "NaNs": torch.full((2, 4, 8), float("nan")),
}


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_forged_value_breaks_a_check(lesson):
    for check in checks_of(lesson):
        for name, value in STRANGE.items():
            verdict = judge(check, Forger(value), lesson)
            assert verdict.status in ("passed", "failed"), f"{check.__name__}, {name}: {verdict.page}"
            assert len(verdict.page) < 20_000
            verdict.page.encode()


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_runs_beside_a_lesson_is_no_answer_to_it(lesson):
    handed_in = ModuleType(f"answer_{lesson}")
    source = (ROOT / "checks" / "calls" / f"{lesson}.py").read_text(encoding="utf-8")
    exec(compile(source, f"<{lesson}>", "exec"), vars(handed_in))
    assert {verdict.status for verdict in run_checks(checks_of(lesson), handed_in, seed=5)} == {"failed"}


def test_a_check_that_breaks_with_the_reference_too_is_the_graders_fault():
    def check(learner):
        raise ZeroDivisionError

    check.exercise, check.points = "patchify", 1
    with pytest.raises(GradeError, match="ZeroDivisionError"):
        judge(check, Forger(None), "patch_embedding")
