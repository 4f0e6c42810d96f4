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
import importlib
import io
import math
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
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from data import ImageError, Images, load_images
from lessons import LessonError, unwritten
from solutions.masking import Masks
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, write_atomic
from solutions.trainer.config import Config, parse, validate
from solutions.trainer.machine import Processes, choose_device, choose_precision, stop_signals
from solutions.trainer.metrics import Row, as_csv, measure
from solutions.trainer.recipe import recipe_step
from solutions.trainer.report import draw_pictures, write_report

PIECES = ("vision_transformer", "masking", "teacher", "predictor", "training")
PROBE_IMAGES = 48  # held-out images that every row of metrics.csv is measured on
SHOWN = ("held_out_loss", "per_position", "feature_std", "effective_rank")  # of the last row, beside the progress bar


def load_pieces(package: str) -> SimpleNamespace:
    """The names of lessons 2 to 6 together, from `solutions` or from the learner's own `lessons`."""
    names: dict = {}
    for module in PIECES:
        names.update(vars(importlib.import_module(f"{package}.{module}")))
    return SimpleNamespace(**names)


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
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
        self.train_step: Callable[..., Tensor] = pieces.train_step
        if not config.is_plain:
            self.train_step = functools.partial(recipe_step, pieces, config)
        self.probe = self.held_out.indices_at(0, min(PROBE_IMAGES, len(self.held_out)))
        self.probe_images = self.held_out.batch(self.probe).to(device)
        try:
            self.model, self.optimizer = self.assemble()
            self.probe_masks = self.masks(len(self.probe), config.seed)
        except ValueError as error:
            raise TrainingError(f"these sizes do not work: {error}") from None
        self.networks = {name: getattr(self.model, name) for name in ("student", "teacher", "predictor")}
        self.step = 0
        self.rows: list[Row] = []
        self.recent: list[float] = []  # the training losses since the last row

    def assemble(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_model(self.pieces, self.config).to(self.device)
        groups = self.pieces.parameter_groups(model, self.config.weight_decay)
        return model, torch.optim.AdamW(groups, lr=self.config.lr)

    def masks(self, batch_size: int, seed: int, share: slice = slice(None)) -> Masks:
        """The masks of a batch, or of this process's share of it."""
        masks = self.pieces.sample_masks(batch_size, self.config.grid_size, torch.Generator().manual_seed(seed))
        return type(masks)(*(indices[share].to(self.device) for indices in masks))

    def advance(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        """Train one step -> its loss."""
        config, pieces = self.config, self.pieces
        step_seed = config.seed + 1_000_003 * (step + 1)
        torch.manual_seed(step_seed)
        share = self.processes.share(config.batch_size)
        batch = self.images.batch(self.images.indices_at(step, config.batch_size)[share]).to(self.device)
        masks = self.masks(config.batch_size, step_seed, share)
        warmup_steps = round(config.warmup * config.steps)
        lr = pieces.learning_rate_at(step, config.steps, warmup_steps, peak=config.lr, start=config.lr / 5)
        decay = pieces.weight_decay_at(step, config.steps, config.weight_decay, 10 * config.weight_decay)
        for group in optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, decay if group["weight_decay"] else 0.0
        momentum = pieces.momentum_at(step, config.steps, config.momentum)
        with self.autocast:
            return self.train_step(model, batch, masks, optimizer, momentum)

    def plan(self) -> None:
        """Choose the steps that fit into the time that was asked for, by those that fit into 2 % of it."""
        minutes = self.config.minutes
        times: list[float] = []
        model, optimizer = self.assemble()
        while len(times) < 6 or sum(times) < 0.02 * 60 * minutes:
            start = time.perf_counter()
            self.advance(model, optimizer, len(times)).item()
            times.append(time.perf_counter() - start)
        each = statistics.mean(times[2:])  # the first two only warm up
        fit = max(1, int(0.93 * 60 * minutes / each))  # the rest: start, metrics, pictures
        steps = min(fit, self.config.most_steps or fit)
        self.config = dataclasses.replace(self.config, steps=steps)
        enough = f", {steps} are enough" if steps < fit else ""
        size = self.config.batch_size
        print(f"{fit} steps of {size} images fit into {minutes:g} minutes{enough}", file=sys.stderr)

    def restore(self, checkpoint: dict[str, Any]) -> None:
        for name, network in self.networks.items():
            network.load_state_dict(checkpoint[name])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.step, self.rows, self.recent = checkpoint["step"], checkpoint["rows"], checkpoint["recent"]

    def prepare(self) -> None:
        """Compile the networks, and let those that are trained share their gradients among the processes."""
        if self.config.compile:
            for network in self.networks.values():
                network.compile(dynamic=True)  # the number of context and target patches changes from batch to batch
        if self.processes.count > 1:
            self.model.student = DistributedDataParallel(self.model.student, broadcast_buffers=False)
            self.model.predictor = DistributedDataParallel(self.model.predictor, broadcast_buffers=False)

    def log(self) -> None:
        """Measure, and write metrics.csv."""
        with self.autocast:
            row = measure(self.networks, self.probe_images, self.probe_masks, self.config.target_norm)
        loss = statistics.fmean(self.recent) if self.recent else row["held_out_loss"]
        self.rows.append({"step": self.step, "loss": loss, **row})
        self.recent.clear()
        write_atomic(self.out / "metrics.csv", as_csv(self.rows))

    def save(self) -> None:
        state = {name: network.state_dict() for name, network in self.networks.items()}
        state |= {"optimizer": self.optimizer.state_dict(), "config": dataclasses.asdict(self.config)}
        buffer = io.BytesIO()
        torch.save(state | {"step": self.step, "rows": self.rows, "recent": self.recent}, buffer)
        write_atomic(self.out / CHECKPOINT, buffer.getvalue())

    def loop(self, received: list[int]) -> bool:
        """Train to the end, or to the end of the step in which a signal is received -> whether one stopped it."""
        config, first = self.config, self.processes.is_first
        size = config.batch_size
        bar = tqdm(total=config.steps * size, initial=self.step * size, unit=" images", disable=not first)
        stopping = False
        with bar:
            while self.step < config.steps and not stopping:
                loss = self.advance(self.model, self.optimizer, self.step)
                stopping = self.count(loss, received)
                bar.update(size)
                if first:
                    last = self.step == config.steps
                    now = {"loss": self.recent[-1]}
                    if last or self.step % config.log_every == 0:
                        self.log()
                    now |= {name: self.rows[-1][name] for name in SHOWN}
                    bar.set_postfix({name: f"{value:.3g}" for name, value in now.items()}, refresh=False)
                    if last or stopping or self.step % config.save_every == 0:
                        self.save()
        return stopping

    def count(self, loss: Tensor, received: list[int]) -> bool:
        """Count a step whose loss all processes share -> whether one of them has received a signal.

        Raises TrainingError for a loss that is not finite.
        """
        own = torch.stack([loss.float(), torch.tensor(float(len(received)), device=self.device)])
        total, signals = self.processes.sum(own).tolist()
        self.recent.append(total / self.processes.count)
        self.step += 1
        if not math.isfinite(self.recent[-1]):
            raise TrainingError(
                f"the loss is {self.recent[-1]} at step {self.step}: try a lower --lr or --precision fp32; "
                "the checkpoint before it is kept"
            )
        return signals > 0

    def report(self) -> None:
        """Write the pictures and report.md."""
        untrained = build_model(self.pieces, self.config).teacher.to(self.device)
        labels = self.held_out.labels
        show = varied(self.probe if labels is None else labels[self.probe])
        shown = self.probe_images[show]
        with torch.no_grad():
            before, after = untrained(shown), self.networks["teacher"](shown)
        masks = Masks(*(indices[show] for indices in self.probe_masks))
        for name, picture in draw_pictures(shown, masks, self.config.grid_size, before, after, self.rows).items():
            write_atomic(self.out / name, picture)
        report = write_report(self.config, self.rows)
        write_atomic(self.out / "report.md", report.encode())
        print(f"{report}\n{self.out} holds masks.png, loss.png, pca.png, report.md, metrics.csv and {CHECKPOINT}")


def train(
    config: Config,
    out: Path,
    checkpoint: dict[str, Any] | None = None,
    pieces: SimpleNamespace | None = None,
    sources: tuple[Images, Images] | None = None,
) -> int:
    """Train, or go on training, in the run folder -> the exit code.

    pieces: what load_pieces gives, perhaps with one of them swapped; sources: training and held-out
    images that are open already. By default the config says both. Raises TrainingError, ImageError.
    """
    processes = Processes.from_environment()
    validate(config, processes.count)
    device = choose_device(config.device)
    processes.join(device)
    if config.precision == "auto":
        config = dataclasses.replace(config, precision=processes.agree(choose_precision(device), device))
    with processes.first_one_first():
        images, held_out = sources or open_images(config)
    if len(held_out) < 2:
        print("too few images to hold any out: the metrics are measured on the training images", file=sys.stderr)
        held_out = images
    if len(held_out) < 2:
        raise TrainingError(f"{config.data} holds one image: training needs at least 2")
    run = Run(config, out, pieces or load_pieces(config.pieces), (images, held_out), device, processes)
    if checkpoint:
        run.restore(checkpoint)
    elif config.minutes:
        run.plan()
    run.prepare()
    if processes.is_first and not run.rows:
        run.log()
        run.save()
    with stop_signals() as received:
        stopped = run.loop(received)
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
    try:
        return train(*parse(arguments))
    except (TrainingError, ImageError, LessonError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except NotImplementedError as error:
        print(f"train: {unwritten(error)} is not written yet: finish the lessons, then train them", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train: stopped before the first step, nothing to save", file=sys.stderr)
        return 130
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
