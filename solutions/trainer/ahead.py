"""Groups of images and masks that are made while the step before them is still at work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from solutions.trainer.step import Group


class Ahead:
    """Gives what make(step, number) gives, and has the same group of the next step made meanwhile, in a thread."""

    def __init__(self, make: Callable[[int, int], Group]):
        self.make, self.executor = make, ThreadPoolExecutor(1)
        self.made: dict[tuple[int, int], Future[Group]] = {}

    def __call__(self, step: int, number: int) -> Group:
        now = self.made.pop((step, number), None) or self.executor.submit(self.make, step, number)
        self.made[step + 1, number] = self.executor.submit(self.make, step + 1, number)
        return now.result()
