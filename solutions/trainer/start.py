"""What the encoder of a run starts from: random weights, or those of `--init`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from solutions.published.assemble import HEADS, converted, expect_fit, sizes_of
from solutions.published.files import Weights
from solutions.published.weights import read_weights
from solutions.trainer.checkpoint import TrainingError
from solutions.trainer.config import Config


class Start(NamedTuple):
    """Weights by VisionTransformer's names, float32; digest: the same for the same weights, wherever they lie."""

    weights: Weights
    digest: str

    def put_into(self, student: nn.Module) -> None:
        """Raises WeightsError if the student's names or shapes are others."""
        expect_fit(student, self.weights)
        student.load_state_dict(self.weights.tensors)


def read_start(config: Config) -> Start | None:
    """The weights of `--init`, None without it.

    Raises WeightsError for what can't be read, TrainingError if the run's encoder has other sizes.
    """
    if not config.init:
        return None
    path = Path(config.init)
    weights = read_weights(path)
    sizes = sizes_of(weights.tensors, path)
    if sizes.hidden_dim != 4 * sizes.dim:
        raise TrainingError(
            f"the MLPs in {path} are {sizes.hidden_dim} wide, and the trainer's 4 x {sizes.dim}: choose other weights"
        )
    wanted = {
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "dim": sizes.dim,
        "depth": sizes.depth,
        "heads": weights.num_heads or HEADS.get(sizes.dim, config.heads),
    }
    if any(getattr(config, name) != value for name, value in wanted.items()):
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in wanted.items())
        raise TrainingError(
            f"the encoder in {path} has other sizes than this run's: add {options}, or leave out --init"
        )
    tensors = converted(weights.tensors, torch.float32)
    return Start(weights._replace(tensors=tensors), digest_of(tensors))


def digest_of(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
