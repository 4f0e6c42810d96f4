"""Graders in processes of their own, what becomes of their processes, and what they have written."""

import contextlib
import csv
import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checks import grade
from checks.grader.judging.sandbox import PROMISES

SUBREAPER = 36  # prctl's number: orphans below this process come to it
PATIENCE = 300  # seconds until what must happen has failed to happen
GRADERS: set[int] = set()  # started here, and waited for by `end`


# Processes


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
        code = grade.main(list(map(str, arguments)))
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


def until_recorded(out: Path) -> None:
    """Wait until a grader has written its first line."""
    path = out / "record.jsonl"
    until(lambda: path.exists() and path.stat().st_size, "nothing is recorded")


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


# What came out


def record(out: Path) -> dict[tuple[str, str], dict]:
    """The rows that hold, without what may differ between two runs."""
    lines = (out / "record.jsonl").read_bytes().decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return {(row["student"], row["lesson"]): row | {"seconds": None} for row in rows}


def table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["student"], row["lesson"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def assert_the_report_says(tier: str, said: str, out: Path) -> None:
    """The tier, what it promises, and what is bounded, as it was printed."""
    bounded = re.search(rf"sandbox: {tier} \((.*)\)", said)[1]
    report = (out / "report.html").read_text().replace("&#39;", "'")
    for text in (f"the sandbox “{tier}”", bounded, *PROMISES[tier]):
        assert text in report
