"""What a finished run leaves for the eye: masks.png, loss.png, pca.png and report.md in the run
folder.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from data import to_display
from solutions.diagnostics import pca_image
from solutions.masking import Masks
from solutions.trainer.config import Config
from solutions.trainer.machine import draw_off_screen
from solutions.trainer.metrics import Neighbours, Row
from solutions.trainer.verdict import Outcome, findings, middle_row, verdict


def draw_pictures(
    images: Tensor, masks: Masks, grid_size: int, before: Tensor, after: Tensor, rows: Sequence[Row]
) -> dict[str, bytes]:
    """Draw held-out images [B, 3, H, W] with their masks, the loss over the run, and the teacher's
    features [B, N, D] before and after it.
    """
    draw_off_screen()
    from lessons import figures

    shown = to_display(images.cpu())
    pictures = {
        "masks.png": figures.masks(shown, masks.context.cpu(), masks.targets.cpu(), grid_size),
        "loss.png": figures.losses(rows),
        "pca.png": figures.pca(shown, *(pca_image(tokens.float().cpu(), grid_size) for tokens in (before, after))),
    }
    content = {}
    for name, figure in pictures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120)
        content[name] = buffer.getvalue()
    return content


REPORT = """# I-JEPA on {data}

{steps} steps of {batch_size} images, {image_size} px in patches of {patch_size}; encoder {dim} x {depth},
predictor {predictor_dim} x {predictor_depth}; {precision}, seed {seed}, pieces from {pieces}, torch {torch}.{started}

## What was seen on {measured_on}

{findings}

{table}

![loss and its baselines](loss.png)

## What labels say

{labels}

## What this does not show

A loss below its baselines says that the targets can be predicted from the context. It does not say that
the features are useful: the teacher chooses its own targets, and a teacher that forgets what is hard makes
the loss fall as well. Training never sees a label, and only labels can say what the features are good for,
each for its own question.

![context in green, targets in red](masks.png)

![the teacher's features as colours, before and after](pca.png)

## Verdict

{verdict}
"""


def write_report(config: Config, outcome: Outcome, borrowed: Sequence[str] = ()) -> str:
    """The text of report.md: what was run, what was seen, and what this does not show.

    borrowed: the pieces of the reference's in a run of the learner's own.
    """
    rows, middle = outcome.rows, middle_row(outcome.rows)
    names = list(rows[0])
    table = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in {row["step"]: row for row in (rows[0], middle, rows[-1])}.values():
        table.append("| " + " | ".join(str(row[n]) if n == "step" else f"{row[n]:.4f}" for n in names) + " |")
    data = os.fsencode(config.data).decode(errors="replace")  # a folder's name may be no UTF-8
    started = f" The encoder started from {config.init}." * bool(config.init)
    pieces = config.pieces + f" ({', '.join(borrowed)} from the reference)" * bool(borrowed)
    return REPORT.format(
        **dataclasses.asdict(config)
        | {"data": data, "pieces": pieces, "started": os.fsencode(started).decode(errors="replace")},
        torch=torch.__version__,
        measured_on="held-out images" if outcome.held_out else "the training images, too few to hold any out",
        findings="\n".join("- " + sentence for sentence in findings(rows)),
        table="\n".join(table),
        labels=label_table(outcome.neighbours) if outcome.neighbours else NO_LABELS,
        verdict=verdict(outcome),
    )


NO_LABELS = (
    "There are no held-out images of classes (a folder each) that the training images have too, so that nothing here "
    "can say what the features are good for."
)


def label_table(neighbours: Neighbours) -> str:
    """What the nearest neighbours got right, as Markdown."""
    lines = ["| features | right |", "| --- | --- |"]
    lines += [f"| {name} | {share:.1%} |" for name, share in neighbours.right.items()]
    return "\n".join(
        [
            f"A vote of the {neighbours.voters} nearest of {neighbours.bank} training images names the class of "
            f"{neighbours.queries} held-out images ({neighbours.classes} classes; guessing gives "
            f"{1 / neighbours.classes:.1%}). The labels choose nothing in training.",
            "",
            *lines,
        ]
    )
