"""The sandbox itself: uids, the private /tmp, how a child is admitted, whose fault it is when it can't be set up."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.grader.inside import wire
from checks.grader.inside.child import CALLS
from checks.grader.judging.cgroup import Cgroup, CgroupError
from checks.grader.judging.limits import Limits
from checks.grader.judging.links import SandboxError, TimeLeft, ZygoteLink, own_uid, packed
from checks.grader.judging.sandbox import Sandbox, python_paths
from solutions.tests.helpers import graders

# of every test here
orphans_come_here = graders.orphans_come_here
nothing_is_left = graders.nothing_is_left


def test_no_two_graders_of_a_machine_use_one_uid():
    (first, holder), (second, other) = own_uid(), own_uid()
    assert first != second
    holder.close()
    taken = []
    while first not in [uid for uid, _ in taken]:  # it is free again, unless another grader takes it just now
        taken.append(own_uid())
    for held in (other, *(holder for _, holder in taken)):
        held.close()


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Sandbox, Path]]:
    """A sandbox whose Python has one more folder, below /tmp, and this folder."""
    outer = Path(tempfile.mkdtemp(dir="/tmp"))
    folder = outer / "packages"
    folder.mkdir()
    (folder / "marker").write_text("seen")
    folder.chmod(0o755)
    paths = python_paths() | {str(folder)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("checks.grader.judging.sandbox.python_paths", lambda: paths)
        sandbox = Sandbox("bubblewrap", Limits())
    yield sandbox, folder
    sandbox.close()
    shutil.rmtree(outer)


@pytest.fixture
def below_tmp(started) -> Iterator[tuple[ZygoteLink, Path]]:
    """A zygote of this sandbox, and the folder."""
    sandbox, folder = started
    zygote = sandbox.zygote()
    yield zygote, folder
    zygote.close()


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
    except CgroupError:
        assert zygote.cgroup is None
        return
    with zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60)) as child:
        members = [(folder / "cgroup.procs").read_text().split() for folder in zygote.cgroup.folders]
        child.leave()
    assert [len(pids) for pids in members] == [1] * len(members)


def test_checks_that_do_not_import_are_no_fault_of_the_submission(below_tmp, monkeypatch):
    zygote, _ = below_tmp
    sources = {CALLS: "", f"{CALLS}.patch_embedding": "import nowhere"}
    modules = {name: packed(compile(source, name, "exec")) for name, source in sources.items()}
    monkeypatch.setattr("checks.grader.judging.links.modules_for", lambda lesson: modules)
    child = zygote.child("patch_embedding", "a.py", b"#", TimeLeft(60))
    with pytest.raises(SandboxError, match="can't be set up"), child:
        pass
