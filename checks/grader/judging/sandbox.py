"""Where a class's code runs: the tiers of the sandbox, and the process from which its zygotes are forked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from checks.grader.judging.limits import START_SECONDS, Limits
from checks.grader.judging.links import Ended, SandboxError, TimeLeft, ZygoteLink
from checks.grader.judging.manifest import ROOT, readable
from lessons import LESSONS

COURSE = "/course"  # where the sandbox finds what it needs of the course
TIERS = ("bubblewrap", "rlimits", "trusted")

PROMISES = {
    "bubblewrap": [
        "A submission sees Python and its packages, read-only, and a private /tmp of 16 MB: no other file of this "
        "machine, no other submission, no grade, no home, no reference of its own or a later lesson.",
        "It has no network, no keyring, an emptied environment, an unprivileged uid, and a /proc with its own "
        "processes only.",
        "All its processes are dead before its grade is written.",
        "Not promised: safety from a flaw in the Linux kernel.",
    ],
    "rlimits": [
        "A submission's processes are bounded in memory, time and file size, and killed before its grade is written.",
        "Where the grader runs as root, it runs under a uid of its own; otherwise it may do whatever you may do.",
        "Not promised: it can use the network, and read every file that its uid may read.",
    ],
    "trusted": [
        "A submission runs in a process of its own with a time limit, and nothing else is promised: "
        "it can read, change and send whatever you can.",
    ],
}


def python_paths() -> set[str]:
    """The folders that Python and its packages lie in, none inside another."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    paths |= {str(Path(file).resolve().parent.parent) for file in (torch.__file__, np.__file__) if file}
    paths |= {str(Path(sys.executable).resolve().parent.parent), "/usr"}
    return {path for path in paths if not any(path.startswith(f"{other}/") for other in paths)}


def bubblewrap_command(hidden: Iterable[Path], user_namespace: bool) -> list[str]:
    """The bwrap command line: Python and its packages, what a child can read of the course, nothing else."""
    paths = python_paths()
    command = ["bwrap", "--die-with-parent", "--new-session", "--clearenv", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-add", "ALL"]
    command += ["--unshare-user"] * user_namespace
    for path in ("/lib", "/lib32", "/lib64", "/bin", "/sbin"):
        if Path(path).is_symlink():
            command += ["--symlink", os.readlink(path), path]
        elif Path(path).exists():
            command += ["--ro-bind", path, path]
    command += ["--tmpfs", "/tmp"]
    for path in sorted(paths):
        for parent in reversed(Path(path).parents[:-1]):  # bwrap would make them for its own uid only
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", path, path]
    folders = {parent.as_posix() for name in readable() for parent in Path(COURSE, name).parents}
    for made in sorted(folders - {"/"}):
        command += ["--perms", "0755", "--dir", made]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc"]
    # --dev would make a terminal device too, for which bwrap nests a second user namespace that can't be gone back from
    command += ["--perms", "0755", "--tmpfs", "/dev", "--dir", "/dev/shm", "--symlink", "/proc/self/fd", "/dev/fd"]
    for device in ("null", "zero", "full", "random", "urandom"):
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for folder in hidden:
        if folder.is_dir() and any(folder.is_relative_to(other) for other in paths):
            command += ["--tmpfs", str(folder), "--remount-ro", str(folder)]
    for name in readable():
        command += ["--ro-bind", str(ROOT / name), f"{COURSE}/{name}"]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/"]


class Sandbox:
    """A process with torch imported, shut in, from which zygotes are forked.

    Raises SandboxError if it can't be started.
    """

    def __init__(self, tier: str, limits: Limits, hidden: Iterable[Path] = ()):
        self.tier, self.limits = tier, limits
        hidden = [path.resolve() for path in (*hidden, *(ROOT / name for name in ("solutions", "checks", "lessons")))]
        self.commands: list[list[str]] = [[]]
        if tier == "bubblewrap":
            if not shutil.which("bwrap"):
                raise SandboxError("bubblewrap (bwrap) is not installed")
            self.commands = [bubblewrap_command(hidden, user_namespace) for user_namespace in (False, True)]
            if os.geteuid():
                self.commands.pop(0)
        self.start()

    def start(self) -> None:
        said = ""
        try:
            for command in self.commands:
                said = self._start(command)
                if not said:
                    return
            raise SandboxError(f"the sandbox {self.tier} can't be started here: {said}")
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def zygote(self) -> ZygoteLink:
        """A new zygote. If the sandbox has died, it is started again. Raises SandboxError."""
        try:
            return ZygoteLink(self.control, self.tier, self.limits)
        except SandboxError:
            self.close()
            self.start()
            return ZygoteLink(self.control, self.tier, self.limits)

    def _start(self, command: list[str]) -> str:
        """Start it -> what it said if it didn't come up."""
        longest = max(self.limits.seconds, self.limits.training_seconds)
        facts = {"tier": self.tier, "limits": asdict(self.limits) | {"seconds": longest}}
        facts["kept"] = sorted(path for path in python_paths() if path.startswith("/tmp/"))
        self.control, theirs = socket.socketpair()
        where = COURSE if self.tier == "bubblewrap" else str(ROOT)
        start = "import sys; sys.path.insert(0, sys.argv[2]); from checks.grader.inside.zygote import main; main()"
        options = json.dumps(facts | {"control": theirs.fileno()})
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [*command, sys.executable, "-I", "-B", "-c", start, options, where],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env={"PATH": os.environ.get("PATH", os.defpath), "OMP_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is the checker's to handle
        )
        theirs.close()
        self.control.settimeout(START_SECONDS)
        ready = False
        try:
            with contextlib.suppress(OSError):
                ready = self.control.recv(1) == b"r"
        finally:
            if not ready:
                self.process.kill()
                self.process.wait()
        return "" if ready else self._said()

    def _said(self) -> str:
        """The last line that it wrote to stderr."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it doesn't answer"

    def close(self) -> None:
        """End it and whatever it has left."""
        self.control.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def choose_tier(asked: str | None, limits: Limits, hidden: Iterable[Path] = ()) -> tuple[Sandbox, bool]:
    """The best sandbox that works on this machine, or the one asked for, and whether control groups bound it.

    hidden: folders that no submission may see. Raises SandboxError if none works.
    """
    reasons = []
    for tier in [asked] if asked else TIERS[:2]:
        try:
            sandbox = Sandbox(tier, limits, hidden)
        except SandboxError as error:
            reasons.append(str(error))
            continue
        try:
            zygote = sandbox.zygote()
            try:
                with zygote.child(LESSONS[0], "empty.py", b"# nothing", TimeLeft(limits.seconds)) as child:
                    child.leave()
            finally:
                zygote.close()
            return sandbox, zygote.cgroup is not None
        except (SandboxError, Ended) as error:
            sandbox.close()
            reasons.append(str(error))
        except BaseException:  # Ctrl-C
            sandbox.close()
            raise
    raise SandboxError(f"no sandbox works here ({'; '.join(reasons)}): only --trusted is left, for code that you trust")
