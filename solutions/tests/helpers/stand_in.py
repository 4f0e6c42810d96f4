"""The command with a stand-in for the sandbox: a submission's text says what becomes of it."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from checks import grade as command
from checks.grader.judging.links import SandboxError
from checks.grader.judging.results import ExerciseResult, Result, Status
from checks.tool.exercise import checks_by_exercise
from solutions.tests.helpers.graders import run, table
from solutions.tests.helpers.notebooks import put

NINE = {f"student{number}": str(number) for number in range(9)}


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
        with (tmp_path / "seeds").open("a") as file:
            file.write(f"{seed}\n")
        if word == "raise":
            raise RuntimeError("test_made_up broke")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "once" and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            raise SandboxError("the zygote has died")
        if word.startswith("slow"):
            time.sleep(0.3)
        points = int(re.sub(r"\D", "", word) or 0)
        exercises = {}
        for name, checks in checks_by_exercise(lesson).items():
            worth = sum(check.points for check in checks)
            earned = min(points, worth)
            points -= earned
            exercises[name] = ExerciseResult(Status.GRADED, earned, earned, worth)
        return Result(Status.GRADED, "", exercises, seconds=0.1)

    monkeypatch.setattr("checks.grader.workers.grade", grade)
    monkeypatch.setattr(command, "choose_tier", lambda *_: (Pretended("bubblewrap"), True))
    monkeypatch.setattr(command, "warm_up", lambda: None)  # seconds in each run, and no zygote needs it
    for number in range(9):
        put(tmp_path / "class", f"student{number}", "masking", str(number).encode())
    return tmp_path / "class"


def masking(place: Path, out: Path, *more: object) -> tuple[int, str]:
    given = "--out", out, "--lesson", "masking", "--jobs", 2, "--seed", 5
    return run(place, *given, *more, output=out.with_suffix(".txt"))


def points_of(out: Path) -> dict[str, str]:
    return {student: row["points"] for (student, _), row in table(out).items()}


def graded(place: Path) -> list[str]:
    """The texts that were graded since this was asked last."""
    path = place.parent / "graded"
    words = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(words)
