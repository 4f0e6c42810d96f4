"""Train the assembled I-JEPA: `python -m solutions.train` (`--help` lists every option), or under
`torchrun` on several processes.

A step is a pure function of the weights and of (seed, step): its images, its masks and every other
random number come from generators seeded with these two. That is what makes a resumed run equal,
bit for bit, to one that was never interrupted. Under torchrun each process takes its slice of the
same global batch, so that the number of processes does not change what is learned.
"""

import argparse
import contextlib
import csv
import dataclasses
import functools
import importlib
import io
import math
import os
import pickle
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from data import ImageError, Images, load_images
from lessons import LessonError, unwritten
from solutions.diagnostics import effective_rank, feature_std, loss_baselines
from solutions.recipe import NORMALISE, PHOTOS_MINUTES, RECIPES, changes_step, recipe_step
from solutions.report import draw_pictures, write_report

PIECES = ("vision_transformer", "masking", "teacher", "predictor", "training")
PROBE_IMAGES = 48  # held-out images that every row of metrics.csv is measured on
SHOWN = ("held_out_loss", "per_position", "feature_std", "effective_rank")  # of the last row, beside the progress bar


class TrainingError(Exception):
    """Something that the person at the keyboard can mend; the message is one sentence that says
    how.
    """


def option(default, help: str, choices: tuple | None = None):
    """A field of Config and its line in --help."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass
class Config:
    """Everything that decides what a run computes."""

    recipe: str = option("plain", "plain I-JEPA, or other defaults of the options below", tuple(RECIPES))
    data: str = option("photos", "photos, cifar10, or a folder of images")
    image_size: int = option(224, "pixels a side")
    patch_size: int = option(16, "pixels a side")
    dim: int = option(96, "width of the encoder")
    depth: int = option(4, "blocks of the encoder")
    heads: int = option(3, "attention heads of the encoder")
    predictor_dim: int = option(64, "width of the predictor")
    predictor_depth: int = option(2, "blocks of the predictor")
    predictor_heads: int = option(2, "attention heads of the predictor")
    batch_size: int = option(32, "images a step, of all processes together")
    steps: int = option(200, "optimiser steps of the whole run")
    minutes: float = option(0.0, "if not 0: as many steps as fit into this time, measured at the start")
    most_steps: int = option(0, "if not 0: no more of them than this")
    lr: float = option(1e-3, "peak learning rate")
    warmup: float = option(0.1, "fraction of the steps in which the learning rate rises")
    weight_decay: float = option(0.04, "weight decay at the start; it ends at ten times this")
    momentum: float = option(0.996, "EMA momentum of the teacher at the start; it ends at 1")
    target_norm: str = option("layer", "what normalises the targets: each token, or each feature", tuple(NORMALISE))
    variance: float = option(0.0, "weight of the variance term on the student's tokens")
    covariance: float = option(0.0, "weight of the covariance term on them")
    precision: str = option("auto", "auto measures which one this machine multiplies faster", ("auto", "fp32", "bf16"))
    compile: bool = option(False, "compile the three networks with torch.compile")
    device: str = option("auto", "auto, cpu, cuda or mps")
    seed: int = option(0, "of weights, images and masks")
    pieces: str = option(
        "solutions", "the code that is assembled: the reference, or your own", ("solutions", "lessons")
    )
    log_every: int = option(50, "steps between two rows of metrics.csv")
    save_every: int = option(50, "steps between two checkpoints")


def parse(arguments: list[str]) -> tuple[Config, Path, dict | None]:
    """Command line -> (config, run folder, checkpoint to go on from or None)."""
    parser = argparse.ArgumentParser(
        prog="python -m solutions.train", description="Train I-JEPA on images, without labels."
    )
    for f in dataclasses.fields(Config):
        flag, text = "--" + f.name.replace("_", "-"), f"{f.metadata['help']} (default: {f.default})"
        if f.type is bool:
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(flag, type=f.type, choices=f.metadata["choices"], default=argparse.SUPPRESS, help=text)
    parser.add_argument("--out", type=Path, help="the run folder (default: a new one below runs/)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="RUN",
        help="go on with the run in RUN, or in --out, from its last checkpoint",
    )
    given = vars(parser.parse_args(arguments))
    out, resume = given.pop("out"), given.pop("resume")

    if resume is None:
        out = out or new_run_folder(Path("runs") / Path(given.get("data", Config.data)).name)
        if (out / "checkpoint.pt").exists():
            raise TrainingError(f"{out} already holds a run: add --resume to go on with it, or choose another --out")
        return configure(given), out, None

    if resume is not True:
        if out is not None and out != Path(resume):
            raise TrainingError("--resume RUN goes on in RUN itself: leave out --out")
        out = Path(resume)
    elif out is None:
        raise TrainingError("--resume needs to know which run: give its folder, as in --resume runs/photos")
    elif not (out / "checkpoint.pt").exists():
        print(f"{out} holds no checkpoint yet: starting at step 0")
        return configure(given), out, None
    checkpoint = load_checkpoint(out / "checkpoint.pt")
    config = Config(**checkpoint["config"])
    for name, value in given.items():
        if value != getattr(config, name):
            raise TrainingError(
                f"the checkpoint in {out} was made with {name} = {getattr(config, name)}, not {value}: "
                "leave the option out to go on, or start a new run in another --out"
            )
    return config, out, checkpoint


def configure(given: dict) -> Config:
    """The options given, over those of the recipe, over the defaults; --steps beats a recipe's minutes."""
    config = Config(**(RECIPES[given.get("recipe", Config.recipe)] | given))
    if config.minutes and "minutes" not in given:
        minutes = 0.0 if "steps" in given else PHOTOS_MINUTES if config.data == "photos" else config.minutes
        config = dataclasses.replace(config, minutes=minutes)
    return config


def new_run_folder(base: Path) -> Path:
    """The first of base, base-2, base-3, ... that does not exist yet."""
    number, out = 1, base
    while out.exists():
        number += 1
        out = base.with_name(f"{base.name}-{number}")
    return out


def validate(config: Config, processes: int) -> None:
    """Raise TrainingError for the first setting that cannot work."""
    sizes = ("image_size", "patch_size", "dim", "depth", "heads", "predictor_dim", "predictor_depth", "predictor_heads")
    for name in (*sizes, "batch_size", "steps", "log_every", "save_every"):
        if getattr(config, name) < 1:
            raise TrainingError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(config, name)}")
    limits = {"warmup": 1, "momentum": 1, "minutes": 10_000, "most_steps": math.inf}
    for name in (*limits, "lr", "weight_decay", "variance", "covariance"):
        low, high = 0, limits.get(name, math.inf)
        if not low <= getattr(config, name) <= high:
            raise TrainingError(
                f"--{name.replace('_', '-')} must lie between {low} and {high}, got {getattr(config, name)}"
            )
    if config.image_size % config.patch_size:
        raise TrainingError(
            f"patches of {config.patch_size} do not tile an image of {config.image_size}: "
            "choose a --patch-size that divides it"
        )
    for dim, heads in (("dim", "heads"), ("predictor_dim", "predictor_heads")):
        width, count = getattr(config, dim), getattr(config, heads)
        if width % 4 or width % count:
            raise TrainingError(f"--{dim.replace('_', '-')} {width} must be a multiple of 4 and of its {count} heads")
    if config.batch_size % processes:
        raise TrainingError(
            f"--batch-size {config.batch_size} is not a multiple of the {processes} processes: make it one"
        )
    if processes > 1 and (config.minutes or changes_step(config)):
        raise TrainingError("the recipe needs the whole batch in one process: start it without torchrun")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a kill or a full disk leaves the file that was there
    before.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise TrainingError(f"cannot write {path} ({error.strerror}): make room or choose another --out") from None


def load_checkpoint(path: Path) -> dict:
    """The content of a checkpoint; it is read as plain tensors and containers, never as code."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"config", "step", "student", "teacher", "predictor", "optimizer", "rows", "recent"} - set(checkpoint)
    except FileNotFoundError:
        raise TrainingError(
            f"there is no {path}: give the folder of a run to --resume, or leave --resume out"
        ) from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"{path} is no complete checkpoint ({reason[:100]}): delete it and start the run again"
        ) from None
    if missing:
        raise TrainingError(
            f"{path} is no checkpoint of this trainer (it lacks {', '.join(sorted(missing))}): choose another run"
        )
    known = {f.name for f in dataclasses.fields(Config)}
    if set(checkpoint["config"]) != known:
        raise TrainingError(f"{path} comes from another version of this trainer: start a new run")
    return checkpoint


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
    if device.type != "cpu":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 768, dtype=dtype)
        a @ b
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        seconds[dtype] = time.perf_counter() - start
    return "bf16" if seconds[torch.bfloat16] * 1.2 < seconds[torch.float32] else "fp32"


def measure(networks: dict[str, nn.Module], images: Tensor, masks, target_norm: str) -> dict[str, float]:
    """One row of metrics: the held-out loss beside its baselines, and the spread and rank of the
    teacher's features.
    """
    student, teacher, predictor = networks["student"].eval(), networks["teacher"], networks["predictor"].eval()
    with torch.no_grad():
        tokens = teacher(images)
        predictions = predictor(student(images, keep=masks.context), masks.context, masks.targets)
    student.train(), predictor.train()
    row = loss_baselines(predictions, NORMALISE[target_norm](tokens.float()), masks.targets)
    return {
        "held_out_loss": row.pop("loss"),
        **row,
        "feature_std": feature_std(tokens),
        "effective_rank": effective_rank(tokens),
    }


def varied(kinds: Tensor, count: int = 4) -> list[int]:
    """The first few images of different kinds [n]: what the pictures show (labels choose nothing else)."""
    first = {kind: place for place, kind in reversed(list(enumerate(kinds.tolist())))}
    return sorted(first.values())[:count]


def steps_within(minutes: float, advance: Callable[[int], Tensor]) -> int:
    """How many steps take so long, from those that fit into 2 % of it; the first two only warm up."""
    times: list[float] = []
    while len(times) < 6 or sum(times) < 0.02 * 60 * minutes:
        start = time.perf_counter()
        advance(len(times)).item()
        times.append(time.perf_counter() - start)
    return max(1, int(0.93 * 60 * minutes / statistics.mean(times[2:])))  # the rest: start, metrics, pictures


@contextlib.contextmanager
def stop_signals():
    """Collect Ctrl-C and SIGTERM in a list, so that a step is finished and saved first; a second
    one ends the process at once.
    """
    received: list[int] = []

    def note(signum: int, _frame) -> None:
        received.append(signum)
        signal.signal(signum, signal.SIG_DFL)

    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def train(
    config: Config,
    out: Path,
    checkpoint: dict | None = None,
    pieces: SimpleNamespace | None = None,
    sources: tuple[Images, Images] | None = None,
) -> int:
    """Train, or go on training, in the run folder -> the exit code.

    pieces: what load_pieces gives, perhaps with one of them swapped; sources: training and held-out
    images that are open already. By default the config says both.
    """
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    validate(config, processes)
    device = choose_device(config.device)
    if processes > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=10))
    if config.precision == "auto":
        choice = [choose_precision(device)]
        if processes > 1:
            dist.broadcast_object_list(choice, device=device)
        config = dataclasses.replace(config, precision=choice[0])

    if rank > 0:
        dist.barrier()  # the first process downloads what is not there yet
    images, held_out = sources or open_images(config)
    if rank == 0 and processes > 1:
        dist.barrier()
    if len(held_out) < 2:
        print("too few images to hold any out: the metrics are measured on the training images", file=sys.stderr)
        held_out = images
    if len(held_out) < 2:
        raise TrainingError(f"{config.data} holds one image: training needs at least 2")
    probe = held_out.indices_at(0, min(PROBE_IMAGES, len(held_out)))
    probe_images = held_out.batch(probe).to(device)
    pieces = pieces or load_pieces(config.pieces)
    train_step = functools.partial(recipe_step, pieces, config) if changes_step(config) else pieces.train_step
    grid_size = config.image_size // config.patch_size

    def masks_for(batch_size: int, seed: int, share: slice = slice(None)):
        masks = pieces.sample_masks(batch_size, grid_size, torch.Generator().manual_seed(seed))
        return type(masks)(*(indices[share].to(device) for indices in masks))

    share = slice(rank * config.batch_size // processes, (rank + 1) * config.batch_size // processes)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    def advance(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        """One step -> its loss."""
        step_seed = config.seed + 1_000_003 * (step + 1)
        torch.manual_seed(step_seed)
        batch = images.batch(images.indices_at(step, config.batch_size)[share]).to(device)
        masks = masks_for(config.batch_size, step_seed, share)
        warmup_steps = round(config.warmup * config.steps)
        lr = pieces.learning_rate_at(step, config.steps, warmup_steps, peak=config.lr, start=config.lr / 5)
        decay = pieces.weight_decay_at(step, config.steps, config.weight_decay, 10 * config.weight_decay)
        for group in optimizer.param_groups:
            group["lr"], group["weight_decay"] = lr, decay if group["weight_decay"] else 0.0
        momentum = pieces.momentum_at(step, config.steps, config.momentum)
        with autocast:
            return train_step(model, batch, masks, optimizer, momentum)

    def assemble() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_model(pieces, config).to(device)
        return model, torch.optim.AdamW(pieces.parameter_groups(model, config.weight_decay), lr=config.lr)

    try:
        model, optimizer = assemble()
        probe_masks = masks_for(len(probe_images), config.seed)
    except ValueError as error:
        raise TrainingError(f"these sizes do not work: {error}") from None
    if config.minutes and not checkpoint:
        fit = steps_within(config.minutes, functools.partial(advance, *assemble()))
        config = dataclasses.replace(config, steps=min(fit, config.most_steps or fit))
        enough = f", {config.steps} are enough" if config.steps < fit else ""
        print(f"{fit} steps of {config.batch_size} images fit into {config.minutes:g} minutes{enough}", file=sys.stderr)
    networks = {"student": model.student, "teacher": model.teacher, "predictor": model.predictor}
    step, rows, recent = 0, [], []  # recent: the training losses since the last row
    if checkpoint:
        for name, network in networks.items():
            network.load_state_dict(checkpoint[name])
        optimizer.load_state_dict(checkpoint["optimizer"])
        step, rows, recent = checkpoint["step"], checkpoint["rows"], checkpoint["recent"]
    if config.compile:
        for network in networks.values():
            network.compile(dynamic=True)  # the number of context and target patches changes from batch to batch
    if processes > 1:
        model.student = DistributedDataParallel(model.student, broadcast_buffers=False)
        model.predictor = DistributedDataParallel(model.predictor, broadcast_buffers=False)

    def log() -> None:
        with autocast:
            row = measure(networks, probe_images, probe_masks, config.target_norm)
        rows.append({"step": step, "loss": sum(recent) / len(recent) if recent else row["held_out_loss"], **row})
        recent.clear()
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(out / "metrics.csv", text.getvalue().encode())

    def save() -> None:
        state = {name: network.state_dict() for name, network in networks.items()}
        state |= {"optimizer": optimizer.state_dict(), "config": dataclasses.asdict(config)}
        buffer = io.BytesIO()
        torch.save(state | {"step": step, "rows": rows, "recent": recent}, buffer)
        write_atomic(out / "checkpoint.pt", buffer.getvalue())

    if rank == 0 and not rows:
        log()
        save()
    size = config.batch_size
    bar = tqdm(total=config.steps * size, initial=step * size, unit=" images", disable=rank > 0)
    stopping = False
    with stop_signals() as received:
        with bar:
            while step < config.steps and not stopping:
                loss = advance(model, optimizer, step)
                summary = torch.stack([loss.float(), torch.tensor(float(len(received)), device=device)])
                if processes > 1:  # the mean loss, and an agreement to stop after the same step
                    dist.all_reduce(summary)
                recent.append(summary[0].item() / processes)
                stopping = summary[1].item() > 0
                step += 1
                if not math.isfinite(recent[-1]):
                    raise TrainingError(
                        f"the loss is {recent[-1]} at step {step}: try a lower --lr or --precision fp32; "
                        "the checkpoint before it is kept"
                    )
                bar.update(size)
                if rank == 0:
                    now = {"loss": recent[-1]}
                    if step % config.log_every == 0 or step == config.steps:
                        log()
                    now |= {name: rows[-1][name] for name in SHOWN}
                    bar.set_postfix({name: f"{value:.3g}" for name, value in now.items()}, refresh=False)
                    if step % config.save_every == 0 or step == config.steps or stopping:
                        save()
        if rank == 0 and step == config.steps:  # a signal that comes now waits until the report is written
            untrained = build_model(pieces, config).teacher.to(device)
            show = varied(probe if held_out.labels is None else held_out.labels[probe])
            shown = probe_images[show]
            with torch.no_grad():
                before, after = untrained(shown), networks["teacher"](shown)
            context, targets = (indices[show] for indices in probe_masks)
            for name, picture in draw_pictures(shown, context, targets, grid_size, before, after, rows).items():
                write_atomic(out / name, picture)
            report = write_report(dataclasses.asdict(config), rows)
            write_atomic(out / "report.md", report.encode())
            print(f"{report}\n{out} holds masks.png, loss.png, pca.png, report.md, metrics.csv and checkpoint.pt")
    if stopping and step < config.steps:
        if rank == 0:
            how = f"python -m solutions.train --resume {out}"
            print(f"stopped after step {step} of {config.steps}; go on with: {how}", file=sys.stderr)
        return 128 + (received or [signal.SIGTERM])[0]
    return 0


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
