"""Where a class's code runs: the tiers of the sandbox, and the checker's side of its zygotes and their children."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import marshal
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from types import CodeType

import numpy as np
import torch
from torch import Tensor

from checks import wire
from checks.tool.exercise import catalogue, check_files
from checks.tool.learner import Learner, Outcome
from lessons import LESSONS, global_names

ROOT = Path(__file__).resolve().parent.parent
COURSE = "/course"  # where the sandbox finds what it needs of the course
NEEDED = ("checks/__init__.py", "checks/expect.py", "checks/learner.py", "checks/wire.py", "checks/zygote.py")
TIERS = ("bubblewrap", "rlimits", "trusted")
UIDS = range(60600, 61184)  # of children; neither Debian nor systemd gives these to anyone
START_SECONDS = 120  # importing torch from a cold disk
TEXT_LIMIT = 4000  # characters
FLAGS_LIMIT = 20

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


class SandboxError(Exception):
    """A sandbox can't be started. The message is one sentence."""


@dataclass(frozen=True)
class Limits:
    """What a submission of one lesson may use, as a whole where nothing else is said."""

    seconds: float = 20.0  # wall clock, by the checker's own clock
    training_seconds: float = 60.0  # of lessons that train
    memory: int = 2 * 2**30  # bytes on top of torch; without a cgroup of each process
    processes: int = 32
    file_size: int = 16 * 2**20  # bytes of one file; all files share a /tmp of this size under bubblewrap

    def seconds_of(self, lesson: str) -> float:
        return self.training_seconds if lesson == "training" else self.seconds


class TimeLeft:
    """The wall clock of a submission, in seconds. It runs while the checker waits for a child, whatever the child does
    meanwhile, and not while the checker itself computes: a busy machine's own work is not the submission's.
    """

    def __init__(self, seconds: float):
        self.total = self.now = seconds

    def share(self, parts: int) -> None:
        """Give the next part, of so many that are left, its share."""
        self.now = self.total / parts

    @contextlib.contextmanager
    def running(self) -> Iterator[float]:
        """Count what happens inside -> the time on time.monotonic's clock at which it has to be over."""
        started = time.monotonic()
        try:
            yield started + self.now
        finally:
            used = time.monotonic() - started
            self.now, self.total = self.now - used, max(self.total - used, 0)


class Ended(BaseException):
    """The submission's process is no more, or may not go on. Like KeyboardInterrupt, it passes through a check."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


# What is sent in


def packed(code: CodeType) -> Tensor:
    return torch.from_numpy(np.frombuffer(marshal.dumps(code), dtype=np.uint8).copy())


@cache
def modules_for(lesson: str) -> dict[str, Tensor]:
    """What a child of a lesson may import: the reference of earlier lessons, and functions of the check file."""
    from checks.zygote import CHECKS

    modules = {"solutions": compile("", "solutions", "exec")}
    for name in LESSONS[: LESSONS.index(lesson)]:
        spec = importlib.util.find_spec(f"solutions.{name}")
        if spec is None:
            raise SandboxError(f"solutions/{name}.py is missing: grading needs the reference of earlier lessons")
        modules[spec.name] = compile(Path(spec.origin).read_text(encoding="utf-8"), f"solutions/{name}.py", "exec")
    source = Path(importlib.util.find_spec(check_files()[lesson]).origin).read_text(encoding="utf-8")
    modules[CHECKS] = compile(beside_the_learner(ast.parse(source)), "checks", "exec")
    return {name: packed(code) for name, code in modules.items()}


def beside_the_learner(tree: ast.Module) -> ast.Module:
    """The part of a check file that runs where the learner's code does: functions of (lesson, ...) and what they use.

    The checks themselves and the oracles of their expected values stay with the checker.
    """
    names = {statement: global_names(statement) for statement in tree.body}
    bound: dict[str, list[ast.stmt]] = {}
    for statement, (binds, _) in names.items():
        for name in binds:
            bound.setdefault(name, []).append(statement)
    needed = [
        statement
        for statement in tree.body
        if isinstance(statement, ast.FunctionDef) and [a.arg for a in statement.args.args][:1] == ["lesson"]
    ]
    for statement in needed:  # grows on the way
        for name in names[statement][1]:
            needed += [other for other in bound.get(name, []) if other not in needed]
    return ast.Module([statement for statement in tree.body if statement in needed], [])


# A submission as a whole, where the kernel can bound it


class Cgroup:
    """A control group of one zygote's children: version 2, or 1 with its memory and pids controllers."""

    def __init__(self, limits: Limits, uid: int, base: Path = Path("/sys/fs/cgroup")):
        name = f"build-i-jepa-{os.getpid()}-{uid}"
        second = (base / "cgroup.controllers").exists()
        parents = [base] if second else [base / "memory", base / "pids"]
        for left in (folder for parent in parents for folder in parent.glob("build-i-jepa-*")):
            if not Path("/proc", left.name.split("-")[3]).exists():  # of a grader that was killed
                with contextlib.suppress(OSError):
                    left.rmdir()
        self.folders = [parent / name for parent in parents]
        files = (
            {"memory.max": limits.memory, "pids.max": limits.processes}
            if second
            else {"memory.limit_in_bytes": limits.memory, "pids.max": limits.processes}
        )
        try:
            if second:
                (base / "cgroup.subtree_control").write_text("+memory +pids")
            for folder in self.folders:
                folder.mkdir()
            for (file, value), folder in zip(files.items(), [self.folders[0], self.folders[-1]], strict=True):
                (folder / file).write_text(str(value))
        except OSError as error:
            self.close()
            raise SandboxError(f"no control group can be made ({error.strerror})") from None
        self.events = self.folders[0] / ("memory.events" if second else "memory.oom_control")

    def add(self, pid: int) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def killed(self) -> int:
        """How many processes ran out of memory."""
        counts = dict(line.split() for line in self.events.read_text().splitlines())
        return int(counts.get("oom_kill", 0))

    def close(self) -> None:
        for folder in self.folders:
            for _ in range(50):  # the kernel may still be at work on the last process
                with contextlib.suppress(OSError):
                    folder.rmdir()
                if not folder.exists():
                    break
                time.sleep(0.02)


# The zygote


def python_paths() -> set[str]:
    """The folders that Python and its packages lie in, none inside another."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    paths |= {str(Path(module.__file__).resolve().parent.parent) for module in (torch, np)}
    paths |= {str(Path(sys.executable).resolve().parent.parent), "/usr"}
    return {path for path in paths if not any(path.startswith(f"{other}/") for other in paths)}


def bubblewrap_command(hidden: Iterable[Path], user_namespace: bool) -> list[str]:
    """The bwrap command line: Python and its packages, six files of the course, nothing else."""
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
    for parent in (COURSE, f"{COURSE}/checks", f"{COURSE}/lessons"):
        command += ["--perms", "0755", "--dir", parent]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc"]
    # --dev would make a terminal device too, for which bwrap nests a second user namespace that can't be gone back from
    command += ["--perms", "0755", "--tmpfs", "/dev", "--dir", "/dev/shm", "--symlink", "/proc/self/fd", "/dev/fd"]
    for device in ("null", "zero", "full", "random", "urandom"):
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for path in hidden:
        if path.is_dir() and any(path.is_relative_to(other) for other in paths):
            command += ["--tmpfs", str(path), "--remount-ro", str(path)]
    for name in (*NEEDED, "lessons/__init__.py"):
        command += ["--ro-bind", str(ROOT / name), f"{COURSE}/{name}"]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/"]


class Sandbox:
    """A process with torch imported, shut in, from which zygotes are forked.

    Raises SandboxError if it can't be started.
    """

    def __init__(self, tier: str, limits: Limits, hidden: Iterable[Path] = ()):
        self.tier, self.limits = tier, limits
        hidden = [path.resolve() for path in (*hidden, *(ROOT / name for name in ("solutions", "checks", "lessons")))]
        self.commands = [[]]
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

    def zygote(self) -> Zygote:
        """A new zygote. If the sandbox has died, it is started again. Raises SandboxError."""
        try:
            return Zygote(self.control, self.tier, self.limits)
        except SandboxError:
            self.close()
            self.start()
            return Zygote(self.control, self.tier, self.limits)

    def _start(self, command: list[str]) -> str:
        """Start it -> what it said if it didn't come up."""
        longest = max(self.limits.seconds, self.limits.training_seconds)
        options = {"tier": self.tier, "limits": asdict(self.limits) | {"seconds": longest}}
        options["kept"] = sorted(path for path in python_paths() if path.startswith("/tmp/"))
        self.control, theirs = socket.socketpair()
        where = COURSE if self.tier == "bubblewrap" else str(ROOT)
        start = "import sys; sys.path.insert(0, sys.argv[2]); from checks.zygote import main; main()"
        options = json.dumps(options | {"control": theirs.fileno()})
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


class Zygote:
    """A process of the sandbox that forks a child for each submission, one at a time.

    Raises SandboxError if it can't be started or has died.
    """

    def __init__(self, sandbox: socket.socket, tier: str, limits: Limits):
        self.limits, self.cgroup = limits, None
        self.uid, self.uid_holder = own_uid()
        self.control, theirs = socket.socketpair()
        self.control.settimeout(30)
        if tier != "trusted":
            with contextlib.suppress(SandboxError):
                self.cgroup = Cgroup(limits, self.uid)
        try:
            with theirs:  # closed here, or the zygote's death could not be seen
                socket.send_fds(sandbox, [str(self.uid).encode()], [theirs.fileno()])
            ready = self.control.recv(1) == b"r"
        except OSError:
            ready = False
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if not ready:
            self.close()
            raise SandboxError("the sandbox has died")

    @contextlib.contextmanager
    def child(self, lesson: str, label: str, content: bytes, time_left: TimeLeft) -> Iterator[Child]:
        """A child that has read a notebook. Raises Ended, at any call too, if the child has to be given up."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            if hasattr(socket, "SO_PASSCRED"):
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            try:
                socket.send_fds(self.control, [lesson.encode()], [theirs.fileno()])
            except OSError:
                raise SandboxError("the zygote has died") from None
            theirs.close()
            killed = self.cgroup.killed() if self.cgroup else 0
            try:
                pid = self._started(ours)
                yield Child(ours, time_left, lesson, label, content, lambda: self._admit(pid))
            except Ended as ended:
                code = self._end()
                if ended.status != "crashed":
                    raise
                if self.cgroup and self.cgroup.killed() > killed:
                    memory = self.limits.memory >> 20
                    raise Ended("crashed", f"it used more than its {memory} MB of memory") from None
                if code > 128 and ended.reason == Child.GONE:
                    raise Ended("crashed", f"{Child.GONE} (signal {code - 128})") from None
                if code and ended.reason == Child.GONE:
                    raise Ended("crashed", f"{Child.GONE} (exit status {code})") from None
                raise
            except BaseException:
                ours.close()  # or a child that waits for its lesson would go on waiting, and the zygote with it
                self._end()
                raise
            self._end()

    def _started(self, ours: socket.socket) -> int | None:
        """Wait for the first word of the child -> its process, as the kernel says, where it does."""
        ours.settimeout(30)
        try:
            message, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(struct.calcsize("3i")))
            if ancillary:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        except OSError as error:
            raise SandboxError(f"a child did not start ({error})") from None
        if message != b"r":
            raise SandboxError("a child did not start")
        return struct.unpack("3i", ancillary[0][2])[0] if ancillary else None

    def _admit(self, pid: int | None) -> None:
        """Put the child into the control group before anything of the submission reaches it."""
        try:
            if self.cgroup:
                self.cgroup.add(pid)
        except OSError as error:
            raise SandboxError(f"a child can't be put into its control group ({error})") from None

    def _end(self) -> int:
        """Have the zygote kill all that is left of its child -> exit status."""
        try:
            self.control.sendall(b"end")
            code = self.control.recv(1)
        except OSError:
            code = b""
        if not code:
            raise SandboxError("the zygote has died")
        return code[0]

    def let_go(self) -> None:
        """Close this process's end of it: it ends once nobody has an open one."""
        self.control.close()
        self.uid_holder.close()

    def close(self) -> None:
        """End it and whatever it has left."""
        self.let_go()
        if self.cgroup:
            self.cgroup.close()


def own_uid() -> tuple[int, socket.socket]:
    """A uid for children that no other grader on this machine uses, and what holds it until it is closed.

    All processes of a uid are counted together, and killed together at the end of a child. Raises SandboxError.
    """
    for uid in UIDS:
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if sys.platform != "linux":
            return uid, holder
        try:
            holder.bind(f"\0build-i-jepa-uid-{uid}")  # a name in no folder: it is gone with its process
            return uid, holder
        except OSError:
            holder.close()
    raise SandboxError(f"all {len(UIDS)} uids of submissions are in use: wait until other graders are done")


class Child:
    """The checker's side of a child: its clock, its nonce, and what it reports."""

    GONE = "its process ended before it answered"

    def __init__(
        self,
        channel: socket.socket,
        time_left: TimeLeft,
        lesson: str,
        label: str,
        content: bytes,
        admit: Callable[[], None],
    ):
        self.channel, self.nonce, self.number = channel, secrets.token_hex(16), 0
        self.flags: list[str] = []
        self.time_left = time_left
        try:
            # the kernel takes its time to admit a child, which shuts itself in meanwhile
            self._exchange({"nonce": self.nonce, "modules": modules_for(lesson)}, admit)
        except Ended as ended:  # before anything of the submission is there
            raise SandboxError(f"the checks of {lesson} can't be set up in the sandbox: {ended.reason}") from None
        setup = {"lesson": lesson, "label": label, "exercises": list(catalogue()[lesson])}
        reply = self._exchange(setup | {"content": torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())})
        self.problem, self.notes = text(reply.get("problem")), texts(reply.get("notes"))

    def call(self, function: Callable, inputs: tuple, seed: int) -> Outcome:
        """Run function(lesson, *inputs) in the child. Raises Ended."""
        self.number += 1
        request = {"call": self.number, "function": function.__name__, "inputs": inputs, "seed": seed}
        outcome = self._exchange(request).get("outcome")
        if type(outcome) is not dict or not {"error", "message"} <= set(outcome) <= {f.name for f in fields(Outcome)}:
            raise Ended("crashed", "its answer is no result of a check")
        error, message = texts(outcome["error"]), text(outcome["message"])
        if error[:1] == ("Disguised",):
            self._flag(message)
        return Outcome(
            value=outcome.get("value"),
            error=error,
            message=message,
            frames=texts(outcome.get("frames")),
            output=text(outcome.get("output")),
            todo=outcome.get("todo") is True,
        )

    def leave(self) -> None:
        """Say goodbye: whatever else stands in the channel is found now. Raises Ended."""
        self.number += 1
        self._exchange({"call": self.number, "function": None})

    def _exchange(self, message: dict, meanwhile: Callable[[], None] | None = None) -> dict:
        try:
            with self.time_left.running() as over:
                wire.send(self.channel, message, over)
                if meanwhile:
                    meanwhile()
                reply = wire.receive(self.channel, over)
        except TimeoutError:
            raise Ended("timeout", "it was still running when its time was up") from None
        except (EOFError, OSError):
            raise Ended("crashed", self.GONE) from None
        except wire.WireError as error:
            raise Ended("crashed", f"what it sent is no message: {error}") from None
        asked = type(reply) is dict and type(reply.get("call")) is int and reply["call"] == self.number
        if not asked or text(reply.get("nonce")) != self.nonce:
            raise Ended("crashed", "it sent a message that no one had asked for")
        for flag in texts(reply.get("flags")):
            self._flag(flag)
        return reply

    def _flag(self, sentence: str) -> None:
        if sentence not in self.flags and len(self.flags) < FLAGS_LIMIT:
            self.flags.append(sentence)


def text(value: object) -> str:
    """A bounded string of what should be one."""
    return value[:TEXT_LIMIT] if type(value) is str else ""


def texts(value: object) -> tuple[str, ...]:
    return tuple(map(text, value[:50])) if type(value) in (list, tuple) else ()


class SandboxedLearner(Learner):
    """The door to a child."""

    def __init__(self, child: Child, seed: int):
        super().__init__(None, seed)
        self.child = child

    def run(self, function: Callable, inputs: tuple, seed: int) -> Outcome:
        return self.child.call(function, inputs, seed)


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
