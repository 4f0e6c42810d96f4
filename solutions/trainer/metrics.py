"""What is measured on held-out images while a run goes: a row of metrics.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from solutions.diagnostics import effective_rank, feature_std, loss_baselines
from solutions.masking import Masks
from solutions.trainer.recipe import NORMALISE

Row = dict[str, float]


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
