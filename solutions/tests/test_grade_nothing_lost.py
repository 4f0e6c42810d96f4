"""Nothing is lost: a record cut off or damaged, two graders, Ctrl-C, a full disk (with a stand-in for the sandbox)."""

import os
import resource
import signal
from pathlib import Path

import pytest

from checks import grade as command
from solutions.tests.helpers import graders, stand_in
from solutions.tests.helpers.graders import descendants, end, record, start, table, until, until_recorded
from solutions.tests.helpers.notebooks import put
from solutions.tests.helpers.stand_in import NINE, graded, masking, points_of

# of every test here
orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left
pretend = stand_in.pretend


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
    first = start(pretend, "--out", out, "--lesson", "masking", "--seed", 5, output=tmp_path / "first")
    until_recorded(out)
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
    grader = start(pretend, "--out", out, "--lesson", "masking", "--jobs", 2, "--seed", 5, output=tmp_path / "said")
    until_recorded(out)
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
    run_locked = command.run_locked

    def limited(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return run_locked(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(command, "run_locked", limited)
        code, said = masking(place, out, *more)
    assert code == 1
    [line] = [line for line in said.splitlines() if not line.startswith(("layout: ", "sandbox: ", "policy: "))]
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
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "course.toml"]
    before = {path: path.read_bytes() for path in files}
    with_little_room(pretend, out, monkeypatch, 500, "--flagged", "keep")
    assert {path: path.read_bytes() for path in files} == before
    assert 'flagged = "keep"' in (out / "course.toml").read_text()  # what was asked for is not forgotten
