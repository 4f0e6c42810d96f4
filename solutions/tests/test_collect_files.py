"""What lies in a class and is no honest file: links, pipes, closed folders, files that change or are too many."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from checks.grader import collect as module
from checks.grader.collect import CollectError, collect
from checks.grader.entries import Unreadable
from solutions.tests.helpers.class_folders import NOTEBOOK, content, one, put, submissions

NOBODY = 65534


def as_nobody(function) -> str:
    """What function returns in a process without root's rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, str(function()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


def special(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "link to a folder":
        path.symlink_to(path.parents[1] / "victim" / "03_masking")
    elif kind == "broken link":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)  # to open it would wait for ever
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, without end
    else:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)


KINDS = ["link", "link to a folder", "broken link", "pipe", "socket", *(["device"] if os.geteuid() == 0 else [])]
SAID = {"link to a folder": "link", "broken link": "link"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["mallory/03_masking/03_masking.ipynb", "mallory/03_masking", "mallory"])
def test_what_is_no_file_is_never_opened(tmp_path, place, kind):
    put(tmp_path, "victim/03_masking/03_masking.ipynb")
    special(tmp_path / place, kind)
    status, _, reason = one(tmp_path, "mallory")
    assert status == "unreadable"
    assert f"a {SAID.get(kind, kind)}" in reason
    assert one(tmp_path, "victim")[0] is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_never_opened_in_a_flat_folder(tmp_path, kind):
    special(tmp_path / "mallory_masking.ipynb", kind)
    put(tmp_path, "victim_masking.ipynb")
    status, _, reason = one(tmp_path, "mallory")
    assert status == "unreadable" and f"a {SAID.get(kind, kind)}" in reason
    assert one(tmp_path, "victim")[0] is None


def test_a_link_beside_the_notebook_is_not_followed_either(tmp_path):
    put(tmp_path, "victim/03_masking/03_masking.ipynb", b"theirs")
    put(tmp_path, "mallory/03_masking/03_masking.ipynb", b"mine")
    (tmp_path / "mallory/03_masking/timestamp.txt").symlink_to("/etc/hostname")
    (tmp_path / "mallory/masking").symlink_to(tmp_path / "victim/03_masking")
    assert one(tmp_path, "mallory")[0] == "unreadable"
    (tmp_path / "mallory/masking").unlink()
    assert content(tmp_path, "mallory") == b"mine"


def test_permissions(tmp_path):
    for path in (tmp_path, *tmp_path.parents):
        os.chmod(path, os.stat(path).st_mode | 0o055)
    for student in ("alice", "file", "lesson", "whole"):
        put(tmp_path, f"{student}/03_masking/03_masking.ipynb")
    os.chmod(tmp_path / "file/03_masking/03_masking.ipynb", 0)
    os.chmod(tmp_path / "lesson/03_masking", 0)
    os.chmod(tmp_path / "whole", 0)

    def look():
        found = collect(tmp_path, ["masking"])
        for submission in found.submissions(["masking"]):
            try:
                yield submission.student, str(submission.status or "") or submission.entry.read(), submission.reason
            except Unreadable as error:
                yield submission.student, "unreadable", str(error)

    denied = os.strerror(errno.EACCES).lower()
    assert eval(as_nobody(lambda: list(look()))) == [
        ("alice", NOTEBOOK, ""),
        ("file", "unreadable", f"it can't be opened ({denied})"),
        ("lesson", "unreadable", f"the folder 03_masking is closed to the grader ({denied})."),
        ("whole", "unreadable", f"the student's folder is closed to the grader ({denied})."),
    ]
    os.chmod(tmp_path, 0)
    assert denied in as_nobody(lambda: collect(tmp_path, ["masking"]))
    os.chmod(tmp_path, 0o700)


def test_a_folder_that_changes_while_it_is_graded(tmp_path):
    for student in ("gone", "link", "folder", "lesson", "grown", "same"):
        put(tmp_path, f"{student}/03_masking/03_masking.ipynb")
    found = {s.student: s for s in collect(tmp_path, ["masking"]).submissions(["masking"])}
    place = {student: tmp_path / student / "03_masking" / "03_masking.ipynb" for student in found}
    for student in ("gone", "link", "folder"):
        place[student].unlink()
    place["link"].symlink_to("/etc/hostname")
    place["folder"].mkdir()
    place["lesson"].parent.rename(tmp_path / "moved")
    place["lesson"].parent.symlink_to(tmp_path / "moved")
    place["grown"].write_bytes(b"more")
    for student in ("gone", "link", "folder", "lesson"):
        with pytest.raises(Unreadable):
            found[student].entry.read()
    assert found["grown"].entry.read() == b"more"
    assert found["same"].entry.read() == NOTEBOOK


def test_a_students_folder_that_vanishes_while_it_is_looked_through(tmp_path, monkeypatch):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    put(tmp_path, "bob/03_masking/03_masking.ipynb")
    scan = os.scandir

    def vanishing(path):
        if path == tmp_path / "alice":
            (tmp_path / "alice").rename(tmp_path.with_name("elsewhere"))
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    rows = submissions(tmp_path, "masking")
    assert [rows[student, "masking"][0] for student in ("alice", "bob")] == ["unreadable", None]


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NOTEBOOK_LIMIT", 2**20)
    put(tmp_path, "alice/03_masking/03_masking.ipynb", bytes(2**20 + 1))
    put(tmp_path, "bob/03_masking/03_masking.ipynb", bytes(2**20))
    with pytest.raises(Unreadable, match="more than 1 MB"):
        content(tmp_path)
    assert content(tmp_path, "bob") == bytes(2**20)


def test_a_student_with_too_many_files_is_alone_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER_FILES", 20)
    monkeypatch.setattr(module, "CLASS_FILES", 40)
    for number in range(50):
        put(tmp_path, f"many/03_masking/{number}.ipynb")
        put(tmp_path, f"data/03_masking/{number}.png")
        put(tmp_path, f"data/photos/{number}.ipynb")
    put(tmp_path, "data/03_masking/03_masking.ipynb")
    assert one(tmp_path, "data")[0] is None
    assert one(tmp_path, "many")[0::2] == (
        "unreadable",
        "the folder 03_masking is a folder of more than 20 notebooks and scripts.",
    )
    for number in range(50):
        put(tmp_path, f"{number}.txt")
    with pytest.raises(CollectError, match="more than 40"):
        collect(tmp_path, ["masking"])
