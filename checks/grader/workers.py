"""Worker processes: each is a checker with a zygote of its own, and grades one submission at a time."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch

from checks.grader.collect import Submission
from checks.grader.judging.judge import grade
from checks.grader.judging.links import SandboxError, ZygoteLink
from checks.grader.judging.results import Result
from checks.grader.judging.sandbox import Sandbox

DEATH_SIGNAL = 1  # prctl's number for: die when the parent does


@dataclass(frozen=True)
class Task:
    """A submission to grade. key: what its row is kept under; tries: how often its grader has failed."""

    submission: Submission
    content: bytes
    seed: int
    key: str
    tries: int = 0


def work(pipe: Connection, zygote: ZygoteLink, close_others: Callable[[], None]) -> None:
    """A worker's process: grade what comes through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    close_others()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    torch.set_num_threads(1)
    try:
        while True:
            lesson, label, content, seed = pipe.recv()
            pipe.send(grade(lesson, label, content, zygote, seed))
    except EOFError:
        pass
    except Exception as error:  # the parent starts another worker and tries again
        with contextlib.suppress(OSError):
            pipe.send(error if isinstance(error, SandboxError) else SandboxError(f"{type(error).__name__}: {error}"))


class Workers:
    """A few workers."""

    def __init__(self, count: int, sandbox: Sandbox):
        self.sandbox = sandbox
        self.processes: dict[Connection, tuple[BaseProcess, ZygoteLink]] = {}
        self.at: dict[Connection, Task] = {}  # what each one is grading
        for _ in range(count):
            self.start()

    def start(self) -> None:
        zygote = self.sandbox.zygote()
        ours, theirs = multiprocessing.Pipe()

        def close_others() -> None:
            """In the worker: what it has inherited, or it would stay open when the parent closes it."""
            for pipe, (_, other) in self.processes.items():
                pipe.close()
                other.let_go()
            ours.close()
            self.sandbox.control.close()

        process = multiprocessing.get_context("fork").Process(target=work, args=(theirs, zygote, close_others))
        process.start()
        theirs.close()
        self.processes[ours] = process, zygote

    def idle(self) -> bool:
        return len(self.at) < len(self.processes)

    def give(self, task: Task) -> None:
        """Have an idle worker grade a submission."""
        pipe = next(pipe for pipe in self.processes if pipe not in self.at)
        self.at[pipe] = task
        with contextlib.suppress(OSError):  # a worker that has died shows in `results`
            pipe.send((task.submission.lesson, task.submission.label, task.content, task.seed))

    def results(self) -> Iterator[tuple[Task, Result | Exception]]:
        """The tasks that are done now, each with its result, or with the error that its worker died of."""
        for ready in wait(list(self.at)):
            pipe = cast(Connection, ready)
            try:
                result = pipe.recv()
            except (EOFError, OSError):
                result = SandboxError("a worker died")
            task = self.at.pop(pipe)
            if isinstance(result, Exception):
                process, zygote = self.processes.pop(pipe)
                pipe.close()
                process.join(20)
                process.kill()
                zygote.close()
                self.start()
            yield task, result

    def close(self, at_once: bool = False) -> None:
        for pipe, (process, _) in self.processes.items():
            pipe.close()
            if at_once:
                process.terminate()
        for process, zygote in self.processes.values():
            process.join(20)
            if process.is_alive():
                process.kill()
            zygote.close()
