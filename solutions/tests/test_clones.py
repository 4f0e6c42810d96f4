"""When a notebook in a clone was committed last, and that nothing of a learner's clone is ever run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from checks.grader.collect import Submission, collect

NOTEBOOK = "lessons/03_masking/03_masking.ipynb"
CLOCK = "2026-11-01T22:{:02}:00+01:00"


def git(clone: Path, *arguments: str, minute: int = 0) -> str:
    """Run git as a learner would; the author's date is another one than the committer's."""
    time = {"GIT_COMMITTER_DATE": CLOCK.format(minute), "GIT_AUTHOR_DATE": "2020-01-01T00:00:00+00:00"}
    who = (
        "-c",
        "user.name=ann",
        "-c",
        "user.email=ann@x",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    )
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=clone, env=os.environ | time, check=True, capture_output=True, text=True).stdout


def commit(clone: Path, name: str, text: str, minute: int) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text(text)
    git(clone, "add", "--all")
    git(clone, "commit", "-m", f"{name} {minute}", minute=minute)


@pytest.fixture
def clone(tmp_path) -> Path:
    """Three commits; the second one is the last that touched the notebook."""
    clone = tmp_path / "class" / "masking-ann"
    clone.mkdir(parents=True)
    git(clone, "init")
    commit(clone, NOTEBOOK, "first", 1)
    commit(clone, NOTEBOOK, "second", 2)
    commit(clone, "lessons/04_teacher/04_teacher.ipynb", "teacher", 3)
    return clone


def masking(place: Path) -> Submission:
    [submission] = collect(place, ["masking"]).submissions(["masking"])
    assert submission.content() is not None
    return submission


def time_of(place: Path) -> str | None:
    submission = masking(place)
    assert (submission.source == "last commit, by the learner's clock") == (submission.submitted is not None)
    return submission.submitted


def test_the_last_commit_that_touched_the_notebook_says_when(clone):
    assert time_of(clone.parent) == CLOCK.format(2)


@pytest.mark.parametrize("state", ["packed", "detached", "merged", "on a branch", "linked by alternates"])
def test_however_the_clone_keeps_it(clone, state, tmp_path):
    if state == "packed":
        git(clone, "gc", "-q")
        git(clone, "pack-refs", "--all")
        assert not (clone / ".git/refs/heads/main").exists()
    elif state == "detached":
        git(clone, "checkout", "-q", "--detach")
    elif state == "on a branch":
        git(clone, "checkout", "-q", "-b", "more/work")
    elif state == "merged":
        git(clone, "checkout", "-q", "-b", "other", "HEAD~2")
        commit(clone, "notes.md", "mine", 9)
        git(clone, "merge", "-q", "--no-edit", "main", minute=20)
    else:
        subprocess.run(["git", "clone", "-q", "--shared", clone, tmp_path / "new" / "ann"], check=True)
        clone = tmp_path / "new" / "ann"
    assert time_of(clone.parent) == CLOCK.format(2)


def test_a_merge_that_changes_the_notebook_is_its_last_commit(clone):
    git(clone, "checkout", "-q", "-b", "other", "HEAD~2")
    commit(clone, NOTEBOOK, "other", 9)
    (clone / NOTEBOOK).write_text("both")
    git(clone, "merge", "-q", "-s", "ours", "--no-commit", "main")
    git(clone, "add", NOTEBOOK)
    git(clone, "commit", "-q", "-m", "both", minute=30)
    assert time_of(clone.parent) == CLOCK.format(30)


def test_a_shallow_clone_knows_no_time_that_lies_before_it(clone, tmp_path):
    for depth, expected in ((1, None), (3, CLOCK.format(2))):
        place = tmp_path / f"depth{depth}"
        subprocess.run(["git", "clone", "-q", "--depth", str(depth), f"file://{clone}", place / "ann"], check=True)
        assert time_of(place) == expected


def test_a_file_that_is_not_the_committed_one_has_no_time(clone):
    (clone / NOTEBOOK).write_text("changed later")
    submission = masking(clone.parent)
    assert (submission.submitted, submission.source) == (None, "the file is not what was committed last")


DAMAGE = {
    "no HEAD": lambda at: (at / "HEAD").unlink(),
    "HEAD leads out": lambda at: (at / "HEAD").write_text("ref: refs/../../../../etc/passwd"),
    "HEAD is no hash": lambda at: (at / "HEAD").write_text("--output=/tmp/x"),
    "no such commit": lambda at: (at / "HEAD").write_text("0" * 39 + "1"),
    "no objects": lambda at: shutil.rmtree(at / "objects"),
    "lost objects": lambda at: [path.unlink() for path in (at / "objects").glob("??/*")],
    "objects are a link": lambda at: ((at / "objects").rename(at / "o"), (at / "objects").symlink_to("o")),
    "a file": lambda at: (shutil.rmtree(at), at.write_text("gitdir: /etc")),
    "a link": lambda at: (at.rename(at.parent.parent.parent / "git"), at.symlink_to(at.parent.parent.parent / "git")),
    "a pipe": lambda at: ((at / "HEAD").unlink(), os.mkfifo(at / "HEAD")),
    "absurd": lambda at: absurd(at.parent),
}


def absurd(clone: Path) -> None:
    """Commit the notebook in the year 292277026596, so to say."""
    tree, parent = git(clone, "write-tree").strip(), git(clone, "rev-parse", "HEAD~2").strip()
    text = f"tree {tree}\nparent {parent}\nauthor a <a> 0 +0000\ncommitter a <a> {2**62} +9999\n\nx\n"
    command = ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    made = subprocess.run(command, cwd=clone, input=text, check=True, capture_output=True, text=True).stdout
    (clone / ".git/refs/heads/main").write_text(made)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_clone_that_is_damaged_has_no_time_and_is_graded(clone, damage):
    DAMAGE[damage](clone / ".git")
    assert time_of(clone.parent) is None


def test_without_git_the_time_is_unknown(clone, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert time_of(clone.parent) is None


def test_nothing_of_a_hostile_clone_is_run_or_written(clone, tmp_path, monkeypatch):
    seen, program = tmp_path / "seen", tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 >> {seen}\n")
    program.chmod(0o755)
    settings = f"""
[core]
    fsmonitor = {program}
    hooksPath = {tmp_path}
    pager = {program}
    sshCommand = {program}
    gitProxy = {program}
    alternateRefsCommand = {program}
[log]
    showSignature = true
[gpg]
    program = {program}
[pager]
    log = {program}
[alias]
    log = !{program}
[diff]
    external = {program}
[diff "mine"]
    command = {program}
    textconv = {program}
[filter "mine"]
    clean = {program}
    smudge = {program}
    process = {program}
[extensions]
    partialClone = origin
[remote "origin"]
    url = ext::{program}
    promisor = true
"""
    tree = git(clone, "rev-parse", "HEAD~1^{tree}").strip()
    with (clone / ".git/config").open("a") as file:
        file.write(settings)
    (clone / ".gitattributes").write_text("*.ipynb diff=mine filter=mine\n")
    (clone / ".git/info").mkdir(exist_ok=True)
    (clone / ".git/info/attributes").write_text("*.ipynb diff=mine filter=mine\n")
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc"):
        shutil.copy(program, clone / ".git/hooks" / hook)
    subprocess.run(["git", "status"], cwd=clone, check=False, capture_output=True)
    assert seen.exists()  # what a plain git runs here
    seen.unlink()
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor={program}'")
    before = {path: path.lstat().st_mtime_ns for path in clone.rglob("*")}
    assert time_of(clone.parent) == CLOCK.format(2)
    assert {path: path.lstat().st_mtime_ns for path in clone.rglob("*")} == before and not seen.exists()
    (clone / ".git/objects" / tree[:2] / tree[2:]).unlink()  # a plain git would fetch it from the promisor
    assert time_of(clone.parent) is None and not seen.exists()


def test_the_folder_around_the_class_is_no_clone_of_a_learners(clone, tmp_path):
    git(tmp_path, "init")
    shutil.rmtree(clone / ".git")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-m", "the instructor's own")
    assert time_of(clone.parent) is None
