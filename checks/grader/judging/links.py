"""The checker's ends of a zygote and of its children: what is asked, and what is believed of the answers."""

from __future__ import annotations

import contextlib
import marshal
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from types import CodeType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from checks.grader.inside import wire
from checks.grader.judging.cgroup import Cgroup, CgroupError
from checks.grader.judging.limits import ANSWER_SECONDS, FLAGS, TEXT_CHARACTERS, TEXTS, Limits
from checks.grader.judging.manifest import ROOT, sent
from checks.grader.judging.results import Status
from checks.tool.exercise import catalogue
from checks.tool.learner import Learner, Outcome

UIDS = range(60600, 61184)  # of children; neither Debian nor systemd gives these to anyone


class SandboxError(Exception):
    """A sandbox can't be started, or has failed. The message is one sentence."""


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

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class NotSent(BaseException):
    """A check is wrong, and no submission: it calls what no child has. Passes through the check, as Ended does."""


# What is sent in


@cache
def modules_for(lesson: str) -> dict[str, Tensor]:
    """What a child of a lesson may import beside what it can read, as bytes of compiled code."""
    modules = {"solutions": packed(compile("", "solutions", "exec"))}
    for name in sent(lesson):
        if not (ROOT / name).exists():
            raise SandboxError(f"{name} is missing: grading needs the reference of earlier lessons")
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        modules[module] = packed(compile((ROOT / name).read_text(encoding="utf-8"), name, "exec"))
    return modules


def packed(code: CodeType) -> Tensor:
    return torch.from_numpy(np.frombuffer(marshal.dumps(code), dtype=np.uint8).copy())


class ZygoteLink:
    """The checker's end of a zygote: a process of the sandbox that forks a child for each submission, one at a time.

    Raises SandboxError if it can't be started or has died.
    """

    def __init__(self, sandbox: socket.socket, tier: str, limits: Limits):
        self.limits, self.cgroup = limits, None
        self.uid, self.uid_holder = own_uid()
        self.control, theirs = socket.socketpair()
        self.control.settimeout(ANSWER_SECONDS)
        if tier != "trusted":
            with contextlib.suppress(CgroupError):
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
    def child(
        self, lesson: str, label: str, content: bytes, time_left: TimeLeft, exercises: list[str] | None = None
    ) -> Iterator[ChildLink]:
        """A child that has read what these exercises need of a notebook, or what all do.

        Raises Ended, at any call too, if the child has to be given up.
        """
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
                exercises = exercises or list(catalogue()[lesson])
                yield ChildLink(ours, time_left, lesson, label, content, exercises, lambda: self._admit(pid))
            except Ended as ended:
                code = self._end()
                if ended.status != Status.CRASHED:
                    raise
                if self.cgroup and self.cgroup.killed() > killed:
                    memory = self.limits.memory >> 20
                    raise Ended(Status.CRASHED, f"it used more than its {memory} MB of memory") from None
                if code > 128 and ended.reason == ChildLink.GONE:
                    raise Ended(Status.CRASHED, f"{ChildLink.GONE} (signal {code - 128})") from None
                if code and ended.reason == ChildLink.GONE:
                    raise Ended(Status.CRASHED, f"{ChildLink.GONE} (exit status {code})") from None
                raise
            except BaseException:
                ours.close()  # or a child that waits for its lesson would go on waiting, and the zygote with it
                self._end()
                raise
            self._end()

    def _started(self, ours: socket.socket) -> int | None:
        """Wait for the first word of the child -> its process, as the kernel says, where it does."""
        ours.settimeout(ANSWER_SECONDS)
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
                self.cgroup.add(cast(int, pid))  # the kernel says it where there are control groups
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


class ChildLink:
    """The checker's end of a child: its clock, its nonce, and what it reports."""

    GONE = "its process ended before it answered"

    def __init__(
        self,
        channel: socket.socket,
        time_left: TimeLeft,
        lesson: str,
        label: str,
        content: bytes,
        exercises: list[str],
        admit: Callable[[], None],
    ):
        self.channel, self.nonce, self.number, self.lesson = channel, secrets.token_hex(16), 0, lesson
        self.flags: list[str] = []
        self.time_left = time_left
        try:
            # the kernel takes its time to admit a child, which shuts itself in meanwhile
            self._exchange({"nonce": self.nonce, "modules": modules_for(lesson)}, admit)
        except Ended as ended:  # before anything of the submission is there
            raise SandboxError(f"the checks of {lesson} can't be set up in the sandbox: {ended.reason}") from None
        setup = {"lesson": lesson, "label": label, "exercises": exercises}
        reply = self._exchange(setup | {"content": torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())})
        self.problem, self.notes = text(reply.get("problem")), texts(reply.get("notes"))

    def call(self, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int) -> Outcome:
        """Run function(lesson, *inputs) in the child. Raises Ended, and NotSent for a function that is not there."""
        if function.__module__ not in modules_for(self.lesson):
            raise NotSent(f"it sends {function.__qualname__}, which is not in checks/calls/{self.lesson}.py")
        self.number += 1
        request = {"call": self.number, "module": function.__module__, "function": function.__name__}
        request |= {"inputs": inputs, "seed": seed}
        outcome = self._exchange(request).get("outcome")
        if type(outcome) is not dict or not {"error", "message"} <= set(outcome) <= {f.name for f in fields(Outcome)}:
            raise Ended(Status.CRASHED, "its answer is no result of a check")
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

    def _exchange(self, message: dict[str, Any], meanwhile: Callable[[], None] | None = None) -> dict[str, Any]:
        try:
            with self.time_left.running() as over:
                wire.send(self.channel, message, over)
                if meanwhile:
                    meanwhile()
                reply: dict[str, Any] = wire.receive(self.channel, over)  # or whatever a hostile child sends
        except TimeoutError:
            raise Ended(Status.TIMEOUT, "it was still running when its time was up") from None
        except (EOFError, OSError):
            raise Ended(Status.CRASHED, self.GONE) from None
        except wire.WireError as error:
            raise Ended(Status.CRASHED, f"what it sent is no message: {error}") from None
        asked = type(reply) is dict and type(reply.get("call")) is int and reply["call"] == self.number
        if not asked or text(reply.get("nonce")) != self.nonce:
            raise Ended(Status.CRASHED, "it sent a message that no one had asked for")
        for flag in texts(reply.get("flags")):
            self._flag(flag)
        return reply

    def _flag(self, sentence: str) -> None:
        if sentence not in self.flags and len(self.flags) < FLAGS:
            self.flags.append(sentence)


def text(value: object) -> str:
    """A bounded string of what should be one."""
    return value[:TEXT_CHARACTERS] if type(value) is str else ""


def texts(value: object) -> tuple[str, ...]:
    return tuple(map(text, value[:TEXTS])) if isinstance(value, list | tuple) else ()


class SandboxedLearner(Learner):
    """The door to a child."""

    def __init__(self, child: ChildLink, seed: int):
        super().__init__(None, seed)
        self.child = child

    def run(self, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int) -> Outcome:
        return self.child.call(function, inputs, seed)
