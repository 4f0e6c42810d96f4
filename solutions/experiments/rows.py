"""The rows of the table: a recipe each, what differs from it, and what is swapped in the pieces of lessons 2 to 6."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from solutions.masking import Masks, block_indices, sample_block_size, sample_masks
from solutions.trainer.config import DEFAULT_RECIPE, RECIPES, SMALL_IMAGES, TERMS, Config

BATCH = 64
MILESTONES = (0, 32_000, 64_000, 128_000, 256_000, 512_000)  # images seen when the probes look, besides the end
# as many images as a recipe's time was enough for on two cores with bf16 units, so that a row is the same everywhere
RECIPE_IMAGES = {"ten-minutes": 160_000, "hour": 640_000}
ENOUGH = 500_000  # images seen and
SEEDS = 3  # runs, from which on a difference between two rows may be called one
# plain I-JEPA with a small encoder, so that a row takes minutes
PLAIN = SMALL_IMAGES | {"predictor_dim": 48, "batch_size": BATCH, "group_size": 32}

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
    """One line of a table: what differs from plain I-JEPA, and what is swapped; or a recipe."""

    name: str
    text: str
    changes: dict[str, Any] = field(default_factory=dict)
    swap: Callable[[Pieces], None] | None = None
    trained: bool = True
    recipe: str | None = None  # by name: all of its options are its own
    photos: bool = False  # of the nine photographs, where a class is a photograph
    seeds: int = SEEDS

    def config(self, data: str, seed: int) -> Config:
        about = {"data": "photos" if self.photos else data, "seed": seed, "save_every": 500}
        if self.recipe:
            options = RECIPES[self.recipe] | about
            if images := RECIPE_IMAGES.get(self.recipe):
                size = options["batch_size"]
                options |= {"minutes": 0.0, "steps": images // size, "log_every": MILESTONES[1] // size}
            return Config(recipe=self.recipe, **(options | self.changes))
        steps = {"steps": MILESTONES[-1] // BATCH, "log_every": MILESTONES[1] // BATCH}
        return Config(**(PLAIN | steps | about | self.changes))


ROWS = (
    Row("pixels", "raw pixels", trained=False, seeds=1),
    Row("untrained", "the encoder as it starts", trained=False),
    Row("plain", "plain I-JEPA, as lessons 1 to 6 build it"),
    Row("no-ema", "the teacher is the student", swap=no_ema),
    Row("no-norm", "targets not normalised", {"target_norm": "none"}),
    Row("variance", "with the variance and covariance terms, targets standardised over the batch", TERMS),
    Row("no-positions", "no positions in the predictor", swap=no_positions),
    Row("random-masks", "random patches in place of blocks", swap=random_masks),
    Row("overlap", "the context shows the targets", swap=overlap),
    Row("targets-1", "1 target in place of 4", swap=number_of_targets(1)),
    Row("targets-2", "2 targets in place of 4", swap=number_of_targets(2)),
    *(
        Row(f"recipe-{name}", f"`--recipe {name}`, by images and not by the clock", recipe=name)
        for name in RECIPE_IMAGES
    ),
    Row("photos-pixels", "raw pixels", trained=False, photos=True, seeds=1),
    Row("photos-untrained", "the encoder as it starts", trained=False, photos=True),
    Row("photos-default", "the default run", recipe=DEFAULT_RECIPE, photos=True),
)

CLAIMS = (
    ("plain", "untrained", "plain I-JEPA beats the encoder as it starts"),
    ("plain", "pixels", "plain I-JEPA beats raw pixels"),
    ("plain", "no-ema", "an averaged teacher beats a teacher that is the student"),
    ("plain", "no-norm", "normalised targets beat raw ones"),
    ("plain", "variance", "plain I-JEPA beats I-JEPA with the variance and covariance terms"),
    ("plain", "no-positions", "a predictor that knows the places beats one that does not"),
    ("plain", "overlap", "a context without the targets beats one that shows them"),
)
# What the paper found (tables 1, 6, 8 and 10): the first row is better than the second, its numbers in percent.
PAPER = (
    ("plain", "random-masks", "blocks beat random patches as targets (54.2 against 17.6)"),
    ("plain", "targets-1", "4 targets beat 1 (54.2 against 9.0)"),
    ("plain", "targets-2", "4 targets beat 2 (54.2 against 22.0)"),
)
