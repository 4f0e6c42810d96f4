"""The rows of the table: a recipe each, what differs from it, and what is swapped in the pieces of lessons 2 to 6."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from solutions.masking import Masks, block_indices, sample_block_size, sample_masks
from solutions.trainer.config import RECIPES, Config

STEPS, PHOTO_STEPS = 400, 4_500  # of 32 images
LONG_STEPS = (5_000, 10_000, 15_000)

Pieces = SimpleNamespace


def no_ema(pieces: Pieces) -> None:
    pieces.momentum_at = lambda step, total_steps, start: 0.0


def no_positions(pieces: Pieces) -> None:
    class Blind(pieces.Predictor):
        def __init__(self, *sizes: int):
            super().__init__(*sizes)
            self.predictor_pos_embed.data.zero_()

    pieces.Predictor = Blind


def random_masks(pieces: Pieces) -> None:
    """As many targets of as many patches, but each patch by itself anywhere, and the context from all others."""

    def sample(batch_size: int, grid_size: int, generator: torch.Generator) -> Masks:
        _, count, size = sample_masks(batch_size, grid_size, generator).targets.shape
        targets = torch.rand(batch_size, count, grid_size**2, generator=generator).topk(size).indices
        keys = torch.rand(batch_size, grid_size**2, generator=generator).scatter(1, targets.flatten(1), -1.0)
        return Masks(keys.topk(int((keys >= 0).sum(dim=1).min())).indices, targets)

    pieces.sample_masks = sample


def overlap(pieces: Pieces) -> None:
    """The context is the whole context block: it shows the targets as well."""

    def sample(batch_size: int, grid_size: int, generator: torch.Generator) -> Masks:
        targets = sample_masks(batch_size, grid_size, generator).targets
        size = sample_block_size(grid_size, (0.85, 1.0), (1.0, 1.0), generator)
        return Masks(block_indices(batch_size, 1, grid_size, size, generator)[:, 0], targets)

    pieces.sample_masks = sample


def number_of_targets(count: int) -> Callable[[Pieces], None]:
    def swap(pieces: Pieces) -> None:
        pieces.sample_masks = functools.partial(sample_masks, num_targets=count)

    return swap


@dataclass(frozen=True)
class Row:
    """One line of the table: a recipe, what differs from it, and what is swapped."""

    name: str
    text: str
    recipe: str | None = "minutes"  # None: nothing is trained
    changes: dict[str, Any] = field(default_factory=dict)
    swap: Callable[[Pieces], None] | None = None
    most_seeds: int = 100

    @property
    def photos(self) -> bool:
        return self.changes.get("data") == "photos"

    def config(self, data: str, seed: int) -> Config:
        sizes = {name: RECIPES["minutes"][name] for name in ("image_size", "patch_size", "predictor_dim", "batch_size")}
        every = {"steps": STEPS, "minutes": 0.0, "log_every": 100, "save_every": STEPS}
        every |= {"data": data, "seed": seed}
        return Config(**(sizes | RECIPES[self.recipe or "plain"] | every | self.changes))


ROWS = (
    Row("pixels", "raw pixels, nothing trained", None, most_seeds=1),
    Row("random", "random encoder, nothing trained", None),
    Row("plain", "plain I-JEPA", "plain"),
    Row("plain-no-ema", "plain I-JEPA, the teacher is the student", "plain", swap=no_ema),
    Row("recipe", "the recipe"),
    Row("no-ema", "recipe, the teacher is the student", swap=no_ema),
    Row("no-norm", "recipe, targets not normalised", changes={"target_norm": "none"}),
    Row(
        "layer-norm", "recipe, targets normalised token by token, as in the plain one", changes={"target_norm": "layer"}
    ),
    Row("no-positions", "recipe, no positions in the predictor", swap=no_positions),
    Row("random-masks", "recipe, random patches in place of blocks", swap=random_masks),
    Row("overlap", "recipe, the context shows the targets", swap=overlap),
    Row("no-variance", "recipe, no variance and covariance terms", changes={"variance": 0.0, "covariance": 0.0}),
    Row("targets-1", "recipe, 1 target in place of 4", swap=number_of_targets(1)),
    Row("targets-2", "recipe, 2 targets in place of 4", swap=number_of_targets(2)),
    Row(
        "batch-8",
        "recipe, as many images in batches of 8",
        changes={"batch_size": 8, "steps": 4 * STEPS, "lr": 7e-4, "momentum": 0.995},
    ),
    Row("wider", "recipe, 128 wide and 3 blocks deep", changes={"dim": 128, "depth": 3, "heads": 4}),
    *(
        Row(
            f"steps-{steps}",
            f"the recipe, {steps} steps",
            changes={"steps": steps, "log_every": steps // 10, "save_every": 1_000},
            most_seeds=3 if steps <= 10_000 else 1,
        )
        for steps in LONG_STEPS
    ),
    Row("photos-pixels", "raw pixels, nothing trained", None, changes={"data": "photos"}, most_seeds=1),
    Row("photos-random", "random encoder, nothing trained", None, changes={"data": "photos"}),
    Row("photos", f"the recipe, {PHOTO_STEPS} steps", changes={"data": "photos", "steps": PHOTO_STEPS}),
)

# What the paper found (tables 1, 6, 8 and 10): the first row is better than the second, its numbers in percent.
PAPER = (
    ("recipe", "random-masks", "blocks beat random patches as targets (54.2 against 17.6)"),
    ("recipe", "targets-1", "4 targets beat 1 (54.2 against 9.0)"),
    ("recipe", "targets-2", "4 targets beat 2 (54.2 against 22.0)"),
)
EXPECTED = (
    ("plain", "random", "plain I-JEPA beats the random encoder"),
    ("recipe", "plain", "the recipe beats plain I-JEPA"),
    ("recipe", "random", "the recipe beats the random encoder"),
    ("recipe", "pixels", "the recipe beats raw pixels"),
    ("recipe", "no-ema", "an averaged teacher beats a teacher that is the student"),
    ("recipe", "no-norm", "normalised targets beat raw ones"),
    ("recipe", "layer-norm", "targets standardised over the batch beat targets normalised token by token"),
    ("recipe", "no-positions", "a predictor that knows the places beats one that does not"),
    ("recipe", "overlap", "a context without the targets beats one that shows them"),
    ("recipe", "no-variance", "the variance and covariance terms help"),
    ("batch-8", "recipe", "the same images in smaller batches, four times the steps, give better features"),
    ("wider", "recipe", "a wider encoder gives better features"),
    ("steps-10000", "steps-5000", "10,000 steps give better features than 5,000"),
    ("steps-15000", "steps-10000", "15,000 steps give better features than 10,000"),
    ("photos", "photos-random", "on the photographs the recipe beats the random encoder"),
    ("photos", "photos-pixels", "on the photographs the recipe beats raw pixels"),
)
