"""Everything that decides what a run computes: its options, their defaults by recipe, and the command line."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import BUILT_IN
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, load_checkpoint, new_run_folder

# What `trainer/recipe.py` adds to plain I-JEPA, so that a small encoder's features get better from the first minute on.
TERMS = {"target_norm": "batch", "variance": 1.0, "covariance": 0.04}
SMALL_IMAGES = {"image_size": 32, "patch_size": 4, "beta2": 0.95, "flip": True}

# The defaults that a recipe changes, by what it needs. experiments/RESULTS.md says what each has reached.
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    # two cores, on the photographs
    "three-minutes": TERMS | {"steps": 300, "lr": 2e-3, "momentum": 0.99},
    # two cores, on images like CIFAR-10's; with so little time many small steps are worth more than a large encoder
    "ten-minutes": SMALL_IMAGES
    | TERMS
    | {
        "predictor_dim": 48,
        "batch_size": 64,
        "group_size": 32,
        "minutes": 10.0,
        "lr": 2e-3,
        "momentum": 0.99,
        "log_every": 250,
        "save_every": 250,
    },
    # two cores: plain I-JEPA
    "hour": SMALL_IMAGES
    | {
        "dim": 192,
        "depth": 6,
        "predictor_dim": 96,
        "batch_size": 64,
        "group_size": 32,
        "minutes": 60.0,
        "log_every": 500,
        "save_every": 500,
    },
    # a GPU, a quarter of an hour: plain I-JEPA
    "gpu": SMALL_IMAGES
    | {
        "dim": 256,
        "depth": 8,
        "heads": 4,
        "predictor_dim": 128,
        "predictor_depth": 4,
        "batch_size": 256,
        "group_size": 256,
        "minutes": 15.0,
        "log_every": 500,
        "save_every": 500,
    },
}
DEFAULT_RECIPE = "three-minutes"


HOW_IT_GOES_ON = ("device", "compile", "log_every", "save_every")  # none of them decides what is computed
LENGTH = ("steps", "minutes")
NORMS = ("layer", "batch", "none")  # recipe.NORMALISE has the functions


def option(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field of Config and its line in --help."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass
class Config:
    """Everything that decides what a run computes."""

    recipe: str = option("plain", "the defaults of the options below, by what a run needs", tuple(RECIPES))
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
    group_size: int = option(16, "images that share the sizes of their masks; a core works on one group at a time")
    steps: int = option(200, "optimiser steps of the whole run")
    minutes: float = option(0.0, "if not 0: as many steps as fit into this time, measured at the start")
    lr: float = option(1e-3, "peak learning rate")
    warmup: float = option(0.1, "fraction of the steps in which the learning rate rises")
    beta2: float = option(0.999, "AdamW's second beta")
    flip: bool = option(False, "mirror half of the training images")
    weight_decay: float = option(0.04, "weight decay at the start; it ends at ten times this")
    momentum: float = option(0.996, "EMA momentum of the teacher at the start; it ends at 1")
    target_norm: str = option(
        "layer",
        "what normalises the targets: each token, each feature over the batch, or nothing",
        NORMS,
    )
    variance: float = option(0.0, "weight of the variance term on the student's tokens")
    covariance: float = option(0.0, "weight of the covariance term on them")
    precision: str = option("auto", "auto measures which one this machine multiplies faster", ("auto", "fp32", "bf16"))
    compile: bool = option(False, "compile the three networks with torch.compile")
    device: str = option("auto", "auto, cpu, cuda or mps")
    seed: int = option(0, "of weights, images and masks")
    pieces: str = option(
        "solutions", "the code that is assembled: the reference, or your own", ("solutions", "lessons")
    )
    borrow: bool = option(False, "with --pieces lessons: take from the reference what is not written yet")
    log_every: int = option(50, "steps between two rows of metrics.csv")
    save_every: int = option(50, "steps between two checkpoints")

    @property
    def grid_size(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size

    @property
    def groups(self) -> int:
        """How many groups a batch is, all about equally large. The lessons' own train_step takes it as one."""
        return math.ceil(self.batch_size / self.group_size) if self.pieces == "solutions" else 1

    def group(self, number: int) -> slice:
        """The images of a group, in their batch."""
        start, stop = (place * self.batch_size // self.groups for place in (number, number + 1))
        return slice(start, stop)

    @property
    def is_plain(self) -> bool:
        """Whether a step is lesson 6's, with nothing of a recipe's."""
        return self.target_norm == "layer" and not (self.variance or self.covariance)


def parse(arguments: list[str]) -> tuple[Config, Path, dict[str, Any] | None]:
    """Command line -> (config, run folder, checkpoint to go on from or None). Raises TrainingError."""
    given = vars(parser().parse_args(arguments))
    out, resume = given.pop("out"), given.pop("resume")
    if resume is None:
        data = os.path.abspath(given.get("data", Config.data))  # also "." and ".." have a name then
        out = out or new_run_folder(Path("runs") / (os.path.basename(data) or "images"))
        if (out / CHECKPOINT).exists():
            raise TrainingError(f"{out} already holds a run: add --resume to go on with it, or choose another --out")
        return configure(given), out, None
    if resume is not True:
        if out is not None and out != Path(resume):
            raise TrainingError("--resume RUN goes on in RUN itself: leave out --out")
        out = Path(resume)
    elif out is None:
        raise TrainingError("--resume needs to know which run: give its folder, as in --resume runs/photos")
    elif not (out / CHECKPOINT).exists():
        print(f"{out} holds no checkpoint yet: starting at step 0")
        return configure(given), out, None
    checkpoint = load_checkpoint(out / CHECKPOINT)
    return resumed(checkpoint["config"], given, out), out, checkpoint


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m solutions.train", description="Train I-JEPA on images, without labels."
    )
    defaults = RECIPES[DEFAULT_RECIPE] | {"recipe": DEFAULT_RECIPE}
    for f in dataclasses.fields(Config):
        default = defaults.get(f.name, f.default)
        flag, text = "--" + f.name.replace("_", "-"), f"{f.metadata['help']} (default: {default})"
        if isinstance(f.default, bool):
            made.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            kind, choices = type(f.default), f.metadata["choices"]
            made.add_argument(flag, type=kind, choices=choices, default=argparse.SUPPRESS, help=text)
    made.add_argument("--out", type=Path, help="the run folder (default: a new one below runs/)")
    how = "go on with the run in RUN, or in --out, from its last checkpoint"
    made.add_argument("--resume", nargs="?", const=True, metavar="RUN", help=how)
    return made


def resumed(before: dict[str, Any], given: dict[str, Any], out: Path) -> Config:
    """The config of a checkpoint, with what the command line changes of how the run goes on.

    Raises TrainingError if it asks for something else that decides what comes out. That a folder of images holds the
    same ones is seen when it is opened.
    """
    if set(before) != {f.name for f in dataclasses.fields(Config)}:
        raise TrainingError(f"{out / CHECKPOINT} comes from another version of this trainer: start a new run")
    config = Config(**before)
    for name, value in given.items():
        now = getattr(config, name)
        moved = name == "data" and value not in BUILT_IN and now not in BUILT_IN
        if moved or name in HOW_IT_GOES_ON:
            config = dataclasses.replace(config, **{name: value})
        elif value != now and (name, value) != ("precision", "auto"):  # which was measured, and stays
            why = ", and the learning rate and the other schedules are laid out over the whole run" * (name in LENGTH)
            raise TrainingError(
                f"the checkpoint in {out} was made with {name} = {now}, not {value}{why}: "
                "leave the option out to go on, or start a new run in another --out"
            )
    return config


def configure(given: dict[str, Any]) -> Config:
    """The options given, over those of the recipe, over the defaults; --steps beats a recipe's minutes."""
    given = {"recipe": DEFAULT_RECIPE} | ({"minutes": 0.0} if "steps" in given else {}) | given
    return Config(**(RECIPES[given["recipe"]] | given))


def validate(config: Config, processes: int) -> None:
    """Raise TrainingError for the first setting that cannot work."""
    sizes = ("image_size", "patch_size", "dim", "depth", "heads", "predictor_dim", "predictor_depth", "predictor_heads")
    for name in (*sizes, "batch_size", "group_size", "steps", "log_every", "save_every"):
        if getattr(config, name) < 1:
            raise TrainingError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(config, name)}")
    limits = {"warmup": 1, "momentum": 1, "beta2": 1, "minutes": 10_000}
    for name in (*limits, "lr", "weight_decay", "variance", "covariance"):
        low, high = 0, limits.get(name, math.inf)
        if not low <= getattr(config, name) <= high:
            raise TrainingError(
                f"--{name.replace('_', '-')} must lie between {low} and {high}, got {getattr(config, name)}"
            )
    if config.borrow and config.pieces != "lessons":
        raise TrainingError("--borrow fills what is missing in your own lessons: add --pieces lessons, or leave it out")
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
    if config.groups % processes and not config.is_plain:
        raise TrainingError(
            f"this recipe uses the statistics of a group, and {config.groups} group(s) can't be shared among "
            f"{processes} processes: choose --group-size {max(1, config.batch_size // processes)} or a divisor of it"
        )
