"""How fast is the trainer? `python -m solutions.experiments.benchmark`: all is measured in one run, and what is printed
to compare is a ratio.

The yardstick, plain.py, is a trainer of torch's ordinary layers in float32. The two take turns, so that a machine that
slows down slows both. On a GPU (`--device cuda`) it is: the whole trainer against its step alone and its data alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from solutions.experiments import plain
from solutions.train import Run, load_pieces, open_images
from solutions.trainer.config import Config
from solutions.trainer.machine import Processes, choose_device, choose_precision, synchronize
from solutions.trainer.step import FastStep

REFERENCE = Config(dim=192, depth=6, heads=3, predictor_dim=96, predictor_depth=3, predictor_heads=3)  # 224 px, 16 px
SMALL = dataclasses.replace(REFERENCE, image_size=32, patch_size=4, batch_size=256, group_size=64)
VIT_S = dataclasses.replace(
    REFERENCE, dim=384, depth=12, heads=6, predictor_dim=192, predictor_depth=6, predictor_heads=6, batch_size=128
)
CARDS = (2, 4, 8, 16)  # GB
USABLE = 0.9  # of a card's memory; the rest is the driver's and the desktop's
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")  # aten's
BUSY = "while True: pass"


class Trainer:
    """The course's trainer, a step at a time, as `solutions.train` runs it."""

    def __init__(self, config: Config, device: torch.device):
        sources = open_images(config)
        self.run = Run(config, Path("not-written"), load_pieces("solutions"), sources, device, Processes())
        self.config, self.device, self.number = config, device, 0

    def step(self) -> Tensor:
        """A whole step: data, masks, training."""
        self.number += 1
        return self.run.advance(self.run.train_step, self.run.optimizer, self.number)

    def data(self) -> None:
        """The images and masks of a step."""
        self.number += 1
        for number in range(self.config.groups):
            self.run.group(self.number, number)

    def step_alone(self) -> Callable[[], Tensor]:
        """Steps on groups that are made already."""
        groups = [self.run.group(0, number) for number in range(self.config.groups)]
        return lambda: self.run.train_step(groups.__getitem__, range(len(groups)), 0.996)

    def group_alone(self) -> Callable[[], object]:
        """One group, forward and backward, in this thread."""
        images, masks = self.run.group(0, 0)
        step = self.run.train_step
        assert isinstance(step, FastStep)
        model = step.pool.owned.get()
        step.pool.owned.put(model)
        return lambda: step.of_group(model, images, masks)


# Measuring


def seconds(function: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of a call, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def per_second(function: Callable[[], object], device: torch.device, least: float = 3.0) -> float:
    """Calls a second over a stretch in which nothing waits for the device."""
    for _ in range(3):
        function()
    synchronize(device)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        function()
        calls += 1
    synchronize(device)
    return calls / (time.perf_counter() - start)


def gemm_peak(dtype: torch.dtype, device: torch.device) -> float:
    """The highest FLOP/s of a square matrix product that this machine shows, over a few sizes."""
    sizes = (512, 1024, 2048) if device.type == "cpu" else (4096, 8192)
    best = 0.0
    for n in sizes:
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        best = max(best, 2 * n**3 / seconds(lambda a=a, b=b: a @ b, device))
    return best


class Products(TorchDispatchMode):
    """Counts the matrix products of what runs inside, by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[tuple[torch.Size, torch.Size]] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in PRODUCTS:
            left, right = args[-2:]
            self.shapes[left.shape, right.shape] += 1
        return function(*args, **(kwargs or {}))


def seconds_of_products(group: Callable[[], object], dtype: torch.dtype, device: torch.device) -> float:
    """What the matrix products of a group take, each shape timed alone, in one thread on a CPU: below it is no step."""
    with Products() as products:
        group()
    total, threads = 0.0, torch.get_num_threads()
    torch.set_num_threads(1)
    for (left, right), count in products.shapes.items():
        a, b = torch.randn(left, device=device).to(dtype), torch.randn(right, device=device).to(dtype)
        total += count * seconds(lambda a=a, b=b: a @ b, device, repeats=3)
    torch.set_num_threads(threads)
    return total


def dtype_of(config: Config) -> torch.dtype:
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


# What is printed


def compare(config: Config, device: torch.device, rounds: int) -> None:
    """The trainer against the plain one, pair by pair, and against the machine's own limits."""
    fast, yardstick = Trainer(config, device), plain.Trainer(config)
    times: dict[str, list[float]] = {"fast": [], "plain": []}
    steps = (("fast", fast.step), ("plain", yardstick.step))
    for _, step in steps:
        step()
    for _ in tqdm(range(rounds), desc="trainer and plain trainer in turns", leave=False):
        for name, step in steps:
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    mine, theirs = statistics.median(times["fast"]), statistics.median(times["plain"])
    pairs = [other / own for own, other in zip(times["fast"], times["plain"], strict=True)]
    print(f"\n{describe(config)}")
    print(f"this trainer, {config.precision:<5} {config.batch_size / mine:8.1f} images/s")
    print(f"plain modules, fp32 {config.batch_size / theirs:8.1f} images/s")
    spread = f"({min(pairs):.2f} to {max(pairs):.2f}, {rounds} pairs)"
    print(f"ratio               {statistics.median(pairs):8.2f} x {spread}")
    limits(fast, mine)


def limits(trainer: Trainer, step_seconds: float) -> None:
    """How much of a step its matrix products explain, at the speed of square ones and at their own shapes."""
    config, device, group = trainer.config, trainer.device, trainer.group_alone()
    workers = trainer.run.train_step.workers
    with FlopCounterMode(display=False) as counter:
        group()
    flops = counter.get_total_flops() * config.groups
    peak = gemm_peak(dtype_of(config), device)
    products = f"the products of a step are {flops / 1e9:.0f} GFLOP"
    print(f"GEMM peak, {config.precision:<5}    {peak / 1e9:8.1f} GFLOP/s; {products}")
    print(f"fraction of it      {flops / step_seconds / peak:8.2f}")
    own = seconds_of_products(group, dtype_of(config), device) * config.groups / workers
    print(f"products alone      {1000 * own:8.1f} ms at their own shapes, of {1000 * step_seconds:.1f} ms a step")


def parts(config: Config, device: torch.device) -> None:
    """Whole steps, steps on data that is there, and data alone, in images a second."""
    trainer = Trainer(config, device)
    rates = {
        "whole trainer": per_second(trainer.step, device),
        "its step alone": per_second(trainer.step_alone(), device),
        "its data alone": per_second(trainer.data, device),
    }
    print(f"\n{describe(config)}")
    for name, rate in rates.items():
        print(f"{name:<16} {rate * config.batch_size:10.0f} images/s")
    print(f"whole / step     {rates['whole trainer'] / rates['its step alone']:10.2f}")
    if device.type == "cuda":
        with FlopCounterMode(display=False) as counter:
            trainer.group_alone()()
        flops = counter.get_total_flops() * config.groups * rates["whole trainer"]
        share = flops / gemm_peak(dtype_of(config), device)
        print(f"model FLOP/s     {share:10.1%} of the GEMM peak, {config.precision}")
        print(f"memory           {torch.cuda.max_memory_allocated(device) / 2**30:10.2f} GB")


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process computes on a core for as long as this lasts."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def beside_a_busy_process(config: Config, device: torch.device) -> None:
    """What a process that computes on one core costs."""
    trainer = Trainer(config, device)
    quiet = per_second(trainer.step, device, least=10)
    with busy_core():
        busy = per_second(trainer.step, device, least=10)
    print(f"\nbeside a process that computes: {busy / quiet:.0%} of the quiet rate ({describe(config)})")


def one_setting(config: Config, device: torch.device) -> tuple[float, float]:
    """In a process of its own: (images/s, peak memory in GB)."""
    trainer = Trainer(config, device)
    rate = config.batch_size / seconds(trainer.step, device, repeats=2)
    if device.type == "cuda":
        return rate, torch.cuda.max_memory_allocated(device) / 2**30
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "linux" else 2**30)


def sweep(config: Config, device: torch.device) -> None:
    """Cost against image size and batch size, each in a fresh process so that peak memory is its own."""
    sizes = [dataclasses.replace(config, image_size=n) for n in (96, 160, 224, 320, 384)]
    batches = [dataclasses.replace(config, batch_size=n) for n in (8, 16, 32, 64, 128)]
    print("image size  batch   images/s   against 224 px, batch 32   peak memory")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        base, _ = pool.apply(one_setting, (config, device))
        for c in tqdm(sizes + batches, desc="sizes", leave=False):
            rate, memory = pool.apply(one_setting, (c, device))
            tqdm.write(f"{c.image_size:>10} {c.batch_size:>6} {rate:>10.1f} {rate / base:>22.2f} x {memory:>13.2f} GB")


def cards(config: Config, device: torch.device) -> None:
    """The largest batch of some encoders that fits a card, from the memory of two batches: it grows on a line."""
    heading = f"largest batch at {config.image_size} px that fits a card of"
    print(f"\n{heading} " + "".join(f"{size:>8} GB" for size in CARDS))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for dim, depth, heads in ((96, 4, 3), (192, 6, 3), (192, 12, 3), (384, 12, 6), (768, 12, 12)):
            c = dataclasses.replace(config, dim=dim, depth=depth, heads=heads)
            by_size = [dataclasses.replace(c, batch_size=n, group_size=n) for n in (8, 16)]
            small, large = (pool.apply(one_setting, (size, device))[1] for size in by_size)
            each, fixed = (large - small) / 8, 2 * small - large
            fits = [max(0, int((USABLE * size - fixed) / each)) for size in CARDS]
            print(f"encoder {dim} x {depth:<25}" + "".join(f"{count:>11}" for count in fits))


def loss_curves(config: Config, device: torch.device, steps: int) -> None:
    """The same steps in fp32 and bf16, beside fp32 with another seed: is the difference smaller than that of seeds?"""
    curves = {}
    for name, precision, seed in (("fp32", "fp32", 0), ("bf16", "bf16", 0), ("fp32, other seed", "fp32", 1)):
        trainer = Trainer(dataclasses.replace(config, precision=precision, seed=seed), device)
        curves[name] = [trainer.step().item() for _ in tqdm(range(steps), desc=f"loss curve, {name}", leave=False)]
    print(f"\nloss over {steps} steps        first     last    largest gap to fp32")
    for name, curve in curves.items():
        gap = max(abs(a - b) for a, b in zip(curve, curves["fp32"], strict=True))
        print(f"  {name:<20} {curve[0]:9.4f} {curve[-1]:9.4f} {gap:12.4f}")


def describe(config: Config) -> str:
    encoder, predictor = f"{config.dim} x {config.depth}", f"{config.predictor_dim} x {config.predictor_depth}"
    sizes = f"{config.image_size} px in patches of {config.patch_size}"
    batches = f"batches of {config.batch_size} in groups of {config.group_size}"
    return f"{sizes}, encoder {encoder}, predictor {predictor}, {batches}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.experiments.benchmark",
        description="Time the trainer; a run takes about ten minutes, more where bf16 is slow.",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--rounds", type=int, default=10, help="turns of the trainer and the plain one (default: 10)")
    parser.add_argument("--quick", action="store_true", help="leave out sizes and loss curves")
    given = parser.parse_args()
    device = choose_device(given.device)
    precision = choose_precision(device) if given.precision == "auto" else given.precision
    reference, small, vit_s = (dataclasses.replace(c, precision=precision) for c in (REFERENCE, SMALL, VIT_S))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    if device.type == "cpu":
        if not given.quick:
            sweep(reference, device)  # first: a child's peak memory counts from its parent's size
        compare(reference, device, given.rounds)
        compare(small, device, given.rounds)
        beside_a_busy_process(small, device)
    else:
        one_group = [dataclasses.replace(c, group_size=c.batch_size) for c in (reference, small, vit_s)]
        for config in one_group:
            parts(config, device)
        if device.type == "cuda" and not given.quick:
            cards(one_group[0], device)
    if not given.quick:
        loss_curves(dataclasses.replace(reference, image_size=96), device, 20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
