"""The machine that a run uses: its device, its precision, its processes, its signals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from solutions.trainer.checkpoint import TrainingError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that torchrun has started; alone without it."""

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls) -> Processes:
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Wait until all are there."""
        if self.count > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=10))

    def share(self, length: int) -> slice:
        """This process's part of so many things."""
        return slice(self.rank * length // self.count, (self.rank + 1) * length // self.count)

    def agree(self, value: T, device: torch.device) -> T:
        """The first process's value, in all of them."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, device=device)
        return values[0]

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    @contextlib.contextmanager
    def first_one_first(self) -> Iterator[None]:
        """Do what is inside in the first process before the others: it downloads what is not there yet."""
        if not self.is_first:
            dist.barrier()
        yield
        if self.is_first and self.count > 1:
            dist.barrier()


def keep_few_kernels() -> None:
    """Bound what torch keeps for the shapes that it has multiplied on a CPU; before the first product, or never.

    Each new shape of a product, and masks have hundreds, compiles kernels of a few hundred kB. By default two caches
    keep 1,024 each: gigabytes. Most shapes come once, so that a smaller cache costs nothing.
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "96")


def choose_device(name: str) -> torch.device:
    """The device asked for; auto takes a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name, int(os.environ.get("LOCAL_RANK", 0))) if name == "cuda" else torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TrainingError(f"there is no device {name!r} here: use --device auto") from None
    return device


def choose_precision(device: torch.device) -> str:
    """bf16 where the device multiplies it faster, measured on a product of the size that this model
    has.
    """
    seconds = {}
    try:
        for dtype in (torch.float32, torch.bfloat16):
            a, b = (torch.ones(size, dtype=dtype, device=device) for size in ((4096, 256), (256, 768)))
            a @ b
            synchronize(device)
            start = time.perf_counter()
            for _ in range(5):
                a @ b
            synchronize(device)
            seconds[dtype] = time.perf_counter() - start
    except (RuntimeError, TypeError):  # a device, or its driver, without bf16
        return "fp32"
    return "bf16" if seconds[torch.bfloat16] * 1.2 < seconds[torch.float32] else "fp32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Products in bf16, or nothing at all: not every device knows autocast."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def draw_off_screen() -> None:
    """Let matplotlib draw without a screen, whatever MPLBACKEND says: a notebook hands on its own, which may be unknown
    here, and matplotlib then refuses to be imported.
    """
    os.environ["MPLBACKEND"] = "agg"
    import matplotlib

    matplotlib.use("agg")  # it may have been imported before


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step is finished and saved first; a second
    one ends the process at once.
    """
    received: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        signal.signal(signum, signal.SIG_DFL)

    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
