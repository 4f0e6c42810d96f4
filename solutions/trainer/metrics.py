"""What is measured on held-out images: a row of metrics.csv while a run goes, and at its end, with labels, whether
nearest neighbours are of one class.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import Images
from solutions.diagnostics import effective_rank, feature_std, knn_accuracy, loss_baselines
from solutions.masking import Masks
from solutions.trainer.recipe import NORMALISE

Row = dict[str, float]
Encode = Callable[[Tensor], Tensor]  # images [B, 3, S, S] -> features [B, D]

NEIGHBOURS, BANK, QUERIES = 20, 2_000, 1_000  # who votes, and images of the training and of the held-out part


@dataclass(frozen=True)
class Neighbours:
    """Share of `queries` held-out images whose class a vote of their nearest among `bank` training images names."""

    right: dict[str, float]  # by the features' name
    bank: int
    queries: int
    classes: int

    @property
    def voters(self) -> int:
        """How many neighbours vote on each."""
        return min(NEIGHBOURS, self.bank)


def measure(networks: Mapping[str, nn.Module], images: Tensor, masks: Masks, target_norm: str) -> Row:
    """One row of metrics: the held-out loss beside its baselines, and the spread and rank of the
    teacher's features.
    """
    student, teacher, predictor = networks["student"].eval(), networks["teacher"], networks["predictor"].eval()
    with torch.no_grad():
        tokens = teacher(images)
        predictions = predictor(student(images, keep=masks.context), masks.context, masks.targets)
    student.train(), predictor.train()
    # on the CPU: not every device has float64, which the rank takes
    tokens, predictions, targets = tokens.float().cpu(), predictions.float().cpu(), masks.targets.cpu()
    row = loss_baselines(predictions, NORMALISE[target_norm](tokens), targets)
    return {
        "held_out_loss": row.pop("loss"),
        **row,
        "feature_std": feature_std(tokens),
        "effective_rank": effective_rank(tokens),
    }


def as_csv(rows: Sequence[Row]) -> bytes:
    """metrics.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def pooled(teacher: nn.Module, device: torch.device) -> Encode:
    """The mean of a teacher's tokens, on the CPU."""
    return lambda images: teacher(images.to(device)).mean(dim=1).float().cpu()


def raw_pixels(images: Tensor) -> Tensor:
    """Images [B, 3, S, S] -> [B, D] without any network, large ones at 32 pixels a side: at 224 one is a megabyte."""
    return F.adaptive_avg_pool2d(images, min(32, images.shape[-1])).flatten(1)


def features_and_labels(images: Images, encode: Encode, count: int) -> tuple[Tensor, Tensor]:
    """Of images drawn at random among those whose class is known, the same ones for every run: [K, D] and [K], K the
    smaller of count and their number.

    Labels are looked at here and nowhere else in the trainer.
    """
    assert images.labels is not None
    known = torch.nonzero(images.labels >= 0).flatten()
    indices = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:count]]
    with torch.no_grad():
        features = torch.cat([encode(images.batch(part)) for part in indices.split(50)])
    return features, images.labels[indices]


def neighbours(sources: tuple[Images, Images], encoders: Mapping[str, Encode]) -> Neighbours | None:
    """How well nearest neighbours tell the classes apart with each encoder's features; None if there are no classes,
    or no images that training does not see.
    """
    bank, queries = sources
    if bank is queries or bank.labels is None or queries.labels is None:
        return None
    known, asked = (int((labels >= 0).sum()) for labels in (bank.labels, queries.labels))
    found = Neighbours({}, min(BANK, known), min(QUERIES, asked), len(bank.class_names))
    for name, encode in encoders.items():
        parts = *features_and_labels(bank, encode, BANK), *features_and_labels(queries, encode, QUERIES)
        found.right[name] = knn_accuracy(*parts, found.voters)
    return found
