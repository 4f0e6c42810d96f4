"""Train the assembled I-JEPA: `python -m solutions.train` (`--help` lists every option), or under
`torchrun` on several processes.

A step is a pure function of the weights and of (seed, step): its images, its masks and every other
random number come from generators seeded with these two. That is what makes a resumed run equal,
bit for bit, to one that was never interrupted. Under torchrun each process takes its slice of the
same global batch, so that the number of processes does not change what is learned.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from data import BUILT_IN, ImageError, Images, load_images, move, on_device
from lessons import LessonError
from solutions.masking import Masks
from solutions.trainer.ahead import Ahead
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, write_atomic
from solutions.trainer.config import Config, parse, validate
from solutions.trainer.machine import (
    Processes,
    autocast,
    choose_device,
    choose_precision,
    keep_few_kernels,
    stop_signals,
)
from solutions.trainer.metrics import Row, as_csv, measure, neighbours, pooled, raw_pixels
from solutions.trainer.pieces import blame, borrowed, load_pieces, try_out
from solutions.trainer.report import draw_pictures, write_report
from solutions.trainer.step import FastStep, Group, LessonStep, Step
from solutions.trainer.verdict import Outcome

PROBE_IMAGES = 48  # held-out images that every row of metrics.csv is measured on
SHOWN = ("loss", "held_out_loss", "per_position", "feature_std", "effective_rank")  # beside the progress bar
BANK_IMAGES = 200  # training images whose patches paint what a run expects in the holes of others
SHOWN_PHOTOGRAPHS = [2, 3, 4, 5]  # a cat, a pagoda, a cup, a flower
AGREE_EVERY = 10  # steps after which several processes tell each other of signals and of the clock
LOOKS = 40  # at the clock, in a run of so many minutes: more steps or fewer are taken if that makes a difference
DEVIATION = 0.05  # of the steps that were planned: less makes none
FOR_STEPS = 0.95  # of the time; the rest is for the report and its pictures

Look = Callable[["Run"], None]  # somebody's look at a run while it goes


def open_images(config: Config) -> tuple[Images, Images]:
    """The training and the held-out images of a run."""
    train, val = (
        load_images(config.data, config.image_size, split=split, seed=config.seed, min_side=config.patch_size)
        for split in ("train", "val")
    )
    return train, val


def build_model(pieces: SimpleNamespace, config: Config) -> nn.Module:
    """A new IJEPA; its weights depend on the seed alone."""
    torch.manual_seed(config.seed)
    student = pieces.VisionTransformer(config.image_size, config.patch_size, config.dim, config.depth, config.heads)
    grid_size = config.image_size // config.patch_size
    predictor = pieces.Predictor(
        grid_size, config.dim, config.predictor_dim, config.predictor_depth, config.predictor_heads
    )
    return pieces.IJEPA(student, predictor)


def varied(kinds: Tensor, count: int = 4) -> list[int]:
    """The first few images of different kinds [n]: what the pictures show (labels choose nothing else)."""
    first = {kind: place for place, kind in reversed(list(enumerate(kinds.tolist())))}
    return sorted(first.values())[:count]


class Run:
    """A run: what is trained on what, and how far it is.

    pieces: as load_pieces gives them. sources: the training and the held-out images.
    Raises TrainingError for sizes that do not work.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        pieces: SimpleNamespace,
        sources: tuple[Images, Images],
        device: torch.device,
        processes: Processes,
    ):
        self.config, self.out, self.pieces, self.device, self.processes = config, out, pieces, device, processes
        self.images, self.held_out = sources
        self.digests = [images.digest for images in sources]
        self.pixels = on_device(self.images, device)
        # a device works while the next groups are made, and so do the cores while files are read
        waits = device.type != "cpu" or self.images.canvases is None
        self.make: Callable[[int, int], Group] = Ahead(self.group) if waits else self.group
        self.autocast = autocast(config.precision, device)
        self.probe = self.held_out.indices_at(0, min(PROBE_IMAGES, len(self.held_out)))
        self.probe_images = self.held_out.batch(self.probe).to(device)
        try:
            self.model, self.optimizer, self.train_step = self.assemble()
            self.probe_masks = self.masks(len(self.probe), torch.Generator().manual_seed(config.seed))
        except ValueError as error:
            raise TrainingError(f"these sizes do not work: {error}") from None
        self.networks = {name: getattr(self.model, name) for name in ("student", "teacher", "predictor")}
        self.step = 0
        self.rows: list[Row] = []
        self.unread: list[Tensor] = []  # training losses that are still on the device
        self.recent: list[float] = []  # those since the last row
        self.seconds = 0.0  # of training, before this process went on with it
        self.saved = 0.0, 0  # the time on the clock below, and the step, of the last checkpoint
        self.started = time.perf_counter()

    def assemble(self) -> tuple[nn.Module, torch.optim.Optimizer, Step]:
        """A new model, its optimizer, and what trains it for a step."""
        config, device = self.config, self.device
        model = build_model(self.pieces, config).to(device)
        groups = self.pieces.parameter_groups(model, config.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=device.type != "mps")
        if config.pieces == "lessons":
            return model, optimizer, LessonStep(config, self.pieces, model, optimizer, device, self.processes)
        return model, optimizer, FastStep(config, model, optimizer, device, self.processes)

    def masks(self, batch_size: int, generator: torch.Generator, share: slice = slice(None)) -> Masks:
        """The masks of a batch, or of this process's share of it."""
        masks = self.pieces.sample_masks(batch_size, self.config.grid_size, generator)
        return type(masks)(*(move(indices[share], self.device) for indices in masks))

    def group(self, step: int, number: int) -> Group:
        """Images and masks of a group of a step's batch, or of this process's share of it."""
        config, processes = self.config, self.processes
        place = config.group(number)
        size = place.stop - place.start
        share = processes.share(size) if config.groups % processes.count else slice(size)
        generator = torch.Generator().manual_seed(seed_of(config, step) + (number << 40))
        masks = self.masks(size, generator, share)
        images = move(self.pixels.batch(self.images.indices_at(step, config.batch_size)[place][share]), self.device)
        if config.flip:
            mirrored = move((torch.rand(size, generator=generator) < 0.5)[share], self.device)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images, masks

    def advance(self, train_step: Step, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        """Train one step -> its loss."""
        config, pieces, groups = self.config, self.pieces, range(self.config.groups)
        torch.manual_seed(seed_of(config, step))
        warmup_steps = round(config.warmup * config.steps)
        ends = {"start": config.lr / 5, "end": config.lr / 1000}
        lr = pieces.learning_rate_at(step, config.steps, warmup_steps, peak=config.lr, **ends)
        decay = pieces.weight_decay_at(step, config.steps, config.weight_decay, 10 * config.weight_decay)
        for values in optimizer.param_groups:
            values["lr"], values["weight_decay"] = lr, decay if values["weight_decay"] else 0.0
        momentum = pieces.momentum_at(step, config.steps, config.momentum)
        own = groups if len(groups) % self.processes.count else groups[self.processes.share(len(groups))]
        return train_step(functools.partial(self.make, step), own, momentum)

    def plan(self) -> None:
        """Choose the steps that fit into the time that was asked for, by those that fit into 1 % of it."""
        minutes = self.config.minutes
        times: list[float] = []
        _, optimizer, train_step = self.assemble()
        while len(times) < 6 or self.processes.agree(sum(times) < 0.01 * 60 * minutes, self.device):
            start = time.perf_counter()
            self.advance(train_step, optimizer, len(times)).item()
            times.append(time.perf_counter() - start)
        config = self.config = self.with_steps(statistics.fmean(times[2:]))  # the first two only warm up
        if self.processes.is_first:
            print(f"{config.steps} steps of {config.batch_size} images for {minutes:g} minutes", file=sys.stderr)

    def with_steps(self, each: float) -> Config:
        """As many steps in all as fit if one takes so many seconds."""
        config = self.config
        fit = self.step + (FOR_STEPS * 60 * config.minutes - self.clock()) / each
        steps = max(self.step + 1, round(fit))
        return dataclasses.replace(config, steps=self.processes.agree(steps, self.device))

    def follow_the_clock(self) -> None:
        """Take more or fewer steps if those since the last checkpoint were faster or slower than was planned."""
        then, step = self.saved
        if step < self.step < self.config.steps:
            config = self.with_steps((self.clock() - then) / (self.step - step))
            if abs(config.steps - self.config.steps) > DEVIATION * self.config.steps:
                self.config = config

    def clock(self) -> float:
        """Seconds of training so far, in all processes that have worked on this run one after the other."""
        return self.seconds + time.perf_counter() - self.started

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint. Raises TrainingError if it was trained on other images."""
        if checkpoint["images"] != self.digests:
            raise TrainingError(
                f"{self.config.data} does not hold the images that the run in {self.out} is trained on: restore "
                "them, name the folder where they are now with --data, or start a new run in another --out"
            )
        for name, network in self.networks.items():
            network.load_state_dict(checkpoint[name])
        for group, own in zip(checkpoint["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # by the device, which may be another one
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.step, self.rows, self.recent = checkpoint["step"], checkpoint["rows"], checkpoint["recent"]
        self.seconds = checkpoint["seconds"]
        self.saved = self.clock(), self.step

    def read_losses(self) -> None:
        """Fetch the losses that are still on the device: the mean over the processes.

        Raises TrainingError for one that is not finite.
        """
        if not self.unread:
            return
        first = self.step - len(self.unread) + 1
        losses = self.processes.sum(torch.stack(self.unread).float()).div_(self.processes.count).tolist()
        self.unread.clear()
        self.recent += losses
        for step, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                own = "see that `pytest checks` passes, then " if self.config.pieces == "lessons" else ""
                raise TrainingError(
                    f"the loss is {loss} at step {step}: {own}try a lower --lr or --precision fp32; "
                    "the checkpoint before it is kept"
                )

    def log(self) -> None:
        """Measure, and write metrics.csv."""
        self.read_losses()
        if self.processes.is_first:
            with self.autocast:
                row = measure(self.networks, self.probe_images, self.probe_masks, self.config.target_norm)
            loss = statistics.fmean(self.recent) if self.recent else row["held_out_loss"]
            self.rows.append({"step": self.step, "loss": loss, **row})
            write_atomic(self.out / "metrics.csv", as_csv(self.rows))
        self.recent.clear()

    def look(self, look: Look) -> None:
        """Have somebody look at the run as it is now; the time that this takes is not the training's."""
        start = time.perf_counter()
        look(self)
        self.started += time.perf_counter() - start

    def save(self) -> None:
        self.read_losses()
        if self.config.minutes:
            self.follow_the_clock()
        self.saved = self.clock(), self.step
        if self.processes.is_first:
            state = {name: network.state_dict() for name, network in self.networks.items()}
            state |= {"optimizer": self.optimizer.state_dict(), "config": dataclasses.asdict(self.config)}
            state |= {"step": self.step, "rows": self.rows, "recent": self.recent, "seconds": self.clock()}
            state["images"] = self.digests
            buffer = io.BytesIO()
            torch.save(state, buffer)
            write_atomic(self.out / CHECKPOINT, buffer.getvalue())

    def loop(self, received: list[int], look: Look) -> bool:
        """Train to the end, or until a signal is received -> whether one stopped it."""
        first, size, stopping = self.processes.is_first, self.config.batch_size, False
        total, done = self.config.steps * size, self.step * size
        bar = tqdm(total=total, initial=done, unit=" images", disable=not first, mininterval=0.5, smoothing=0.1)
        with bar:
            while self.step < self.config.steps and not stopping:
                self.unread.append(self.advance(self.train_step, self.optimizer, self.step))
                self.step += 1
                bar.update(size)
                last = self.step == self.config.steps
                stopping, due = self.agreed(received)
                if last or self.step % self.config.log_every == 0:
                    self.log()
                    self.look(look)
                    bar.set_postfix({name: f"{self.rows[-1][name]:.3g}" for name in SHOWN} if first else {})
                if last or stopping or due or self.step % self.config.save_every == 0:
                    self.save()
                    bar.total = self.config.steps * size
        return stopping

    def agreed(self, received: list[int]) -> tuple[bool, bool]:
        """Whether a process has received a signal, and whether it is time to look at the clock; all say the same."""
        due = bool(self.config.minutes) and self.clock() - self.saved[0] > 60 * self.config.minutes / LOOKS
        if self.processes.count == 1:
            return bool(received), due
        if self.step % AGREE_EVERY:
            return False, False
        flags = self.processes.sum(torch.tensor([float(bool(received)), float(due)], device=self.device)).tolist()
        return flags[0] > 0, flags[1] > 0

    def images_to_show(self) -> tuple[Tensor, Tensor]:
        """Whole photographs or else held-out images, and held-out images of different kinds: [n, 3, S, S], n <= 4."""
        labels = self.held_out.labels
        held_out = self.probe_images[varied(self.probe if labels is None else labels[self.probe])]
        if self.config.data != "photos":
            return held_out, held_out
        whole = load_images("whole photos", self.config.image_size).batch(SHOWN_PHOTOGRAPHS)
        return whole.to(self.device)[: len(held_out)], held_out

    def report(self) -> None:
        """Write the pictures and report.md."""
        untrained = build_model(self.pieces, self.config).to(self.device)
        moved = {name: distance(self.networks[name], getattr(untrained, name)) for name in ("student", "teacher")}
        encoders = {
            "the trained teacher": pooled(self.networks["teacher"], self.device),
            "the untrained encoder": pooled(untrained.teacher, self.device),
            "raw pixels": raw_pixels,
        }
        with self.autocast:
            judged = neighbours((self.images, self.held_out), encoders)
        outcome = Outcome(self.rows, moved, judged, held_out=self.held_out is not self.images)
        shown, held_out = self.images_to_show()
        masks = self.masks(len(shown), torch.Generator().manual_seed(self.config.seed))
        bank = self.images.batch(range(min(BANK_IMAGES, len(self.images)))).to(self.device)
        models = {
            "before training": {name: getattr(untrained, name) for name in self.networks},
            "after training": self.networks,
        }
        pictures = draw_pictures(shown, held_out, bank, masks, models, self.rows, self.config)
        for name, picture in pictures.items():
            write_atomic(self.out / name, picture)
        report = write_report(self.config, outcome, borrowed(self.pieces) if self.config.borrow else [])
        write_atomic(self.out / "report.md", report.encode())
        print(f"{report}\n{self.out} holds {', '.join(pictures)}, report.md, metrics.csv and {CHECKPOINT}")


def distance(network: nn.Module, other: nn.Module) -> float:
    """How far the weights of a network are from another's, as a share of the other's length."""
    weights, others = (torch.cat([p.detach().flatten() for p in net.parameters()]).float() for net in (network, other))
    return ((weights - others).norm() / others.norm()).item()


def seed_of(config: Config, step: int) -> int:
    """What all random numbers of a step come from."""
    return config.seed + 1_000_003 * (step + 1)


def train(
    config: Config,
    out: Path,
    checkpoint: dict[str, Any] | None = None,
    pieces: SimpleNamespace | None = None,
    sources: tuple[Images, Images] | None = None,
    look: Look = lambda run: None,
) -> int:
    """Train, or go on training, in the run folder -> the exit code.

    pieces: what load_pieces gives, perhaps with one of them swapped; sources: training and held-out
    images that are open already. By default the config says both. look: is called before the first step and after
    each row of metrics.csv. Raises TrainingError, ImageError.
    """
    keep_few_kernels()
    processes = Processes.from_environment()
    validate(config, processes.count)
    device = choose_device(config.device)
    processes.join(device)
    if config.precision == "auto":
        config = dataclasses.replace(config, precision=processes.agree(choose_precision(device), device))
    if checkpoint and config.data not in BUILT_IN and not os.path.isdir(os.path.expanduser(config.data)):
        raise TrainingError(
            f"there is no folder {config.data}, whose images the run in {out} is trained on: restore it, or name the "
            "folder where they are now with --data"
        )
    with processes.first_one_first():
        images, held_out = sources or open_images(config)
    if len(held_out) < 2:
        print("too few images to hold any out: the metrics are measured on the training images", file=sys.stderr)
        held_out = images
    if len(held_out) < 2:
        raise TrainingError(f"{config.data} holds one image: training needs at least 2")
    pieces = pieces or load_pieces(config.pieces, config.borrow)
    if config.pieces == "lessons":
        with autocast(config.precision, device):
            try_out(pieces, config, held_out.batch([0, 1]).to(device))
    run = Run(config, out, pieces, (images, held_out), device, processes)
    if checkpoint:
        run.restore(checkpoint)
    elif config.minutes:
        run.plan()
    if not checkpoint:
        run.log()
        run.look(look)
        run.save()
    with stop_signals() as received:
        stopped = run.loop(received, look)
        is_done = run.step == run.config.steps
        if is_done and processes.is_first:  # a signal that comes now waits until the report is written
            run.report()
    if is_done or not stopped:
        return 0
    if processes.is_first:
        how = f"python -m solutions.train --resume {out}"
        print(f"stopped after step {run.step} of {run.config.steps}; go on with: {how}", file=sys.stderr)
    return 128 + (received or [signal.SIGTERM])[0]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may hold what the terminal can't show
    try:
        return train(*parse(arguments))
    except (TrainingError, ImageError, LessonError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: stopped before the first step, nothing to save", file=sys.stderr)
        return 130
    except BaseException as error:  # SystemExit too, if a piece of the learner's raises it
        if (sentence := blame(error)) is None:
            raise
        print(f"train: {sentence}", file=sys.stderr)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
