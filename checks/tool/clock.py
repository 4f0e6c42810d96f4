"""The time that a learner's code has in this process: an exercise that runs for ever ends with a sentence.

It is no wall: code that computes in C, or fights back, goes on. The class grader has one of its own.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SECONDS = 20.0  # of an exercise, all its checks together
AGAIN = 0.1  # seconds until code that has caught the exception meets it again


class TimeIsUp(KeyboardInterrupt):
    """The time of an exercise is used up. Like Ctrl-C it passes through what catches an Exception."""


class Clock:
    """The wall clock of an exercise, in seconds. It runs while the learner's code does."""

    def __init__(self, seconds: float):
        self.seconds = self.left = seconds

    @contextlib.contextmanager
    def running(self, is_own: Callable[[FrameType], bool]) -> Iterator[None]:
        """Count what happens inside, and raise TimeIsUp there once nothing is left. (Outside of the main thread, and
        under Windows, it is counted alone.)

        is_own: whether a frame is the learner's. Other code is not interrupted while it cleans up behind them.
        """
        started = time.monotonic()
        try:
            if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
                with alarm(max(self.left, 0.001), is_own):
                    yield
            else:
                yield
        finally:
            self.left -= time.monotonic() - started


@contextlib.contextmanager
def alarm(seconds: float, is_own: Callable[[FrameType], bool]) -> Iterator[None]:
    def again(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            raise TimeIsUp
        return again

    def stop(number: int, frame: FrameType | None) -> None:
        own = [below for below in stack(frame) if is_own(below)]
        if own:
            # a bare `except:` in a loop catches what is raised here, and not what its own next line raises
            sys.settrace(lambda *_: None)
            for below in own:
                below.f_trace = again
            raise TimeIsUp

    handler, trace = signal.signal(signal.SIGALRM, stop), sys.gettrace()
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.settrace(trace)


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back
