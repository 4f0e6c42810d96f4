"""What a finished run leaves for the eye, in its folder: masks.png, loss.png, imagined.png, pca.png and report.md."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from data import to_display
from solutions.diagnostics import imagine, pca_image
from solutions.masking import Masks
from solutions.trainer.config import Config
from solutions.trainer.machine import draw_off_screen
from solutions.trainer.metrics import Neighbours, Row
from solutions.trainer.recipe import NORMALISE
from solutions.trainer.verdict import Outcome, findings, middle_row, verdict

Networks = Mapping[str, nn.Module]  # student, teacher and predictor


def fill_holes(networks: Networks, images: Tensor, masks: Masks, bank: Tensor, config: Config) -> Tensor:
    """Images [B, 3, H, W] whose targets are filled with the patches of the bank [K, 3, H, W] that come nearest to what
    the predictor expects there.
    """
    with torch.no_grad():
        tokens = networks["student"](images, keep=masks.context)
        predictions = networks["predictor"](tokens, masks.context, masks.targets).float().cpu()
        bank_tokens = NORMALISE[config.target_norm](networks["teacher"](bank).float().cpu())
    return imagine(predictions, masks.targets.cpu(), images.cpu(), bank_tokens, bank.cpu(), config.patch_size)


def draw_pictures(
    shown: Tensor,
    held_out: Tensor,
    bank: Tensor,
    masks: Masks,
    models: Mapping[str, Networks],
    rows: Sequence[Row],
    config: Config,
) -> dict[str, bytes]:
    """Draw images [B, 3, H, W] with their masks and the teacher's features, held-out images [B, 3, H, W] with their
    targets filled from training images [K, 3, H, W], and the loss over the run.

    models: the networks before and after the run, by the title of their column.
    """
    draw_off_screen()
    from lessons import figures

    with torch.no_grad():
        features = [networks["teacher"](shown).float().cpu() for networks in models.values()]
    context, targets = (indices.cpu() for indices in masks)
    filled = {title: to_display(fill_holes(nets, held_out, masks, bank, config)) for title, nets in models.items()}
    images, truth = to_display(shown.cpu()), to_display(held_out.cpu())
    pictures = {
        "masks.png": figures.masks(images, context, targets, config.grid_size),
        "loss.png": figures.losses(rows),
        "imagined.png": figures.imagined(truth, targets, {"the truth": truth} | filled, config.grid_size),
        "pca.png": figures.pca(images, *(pca_image(tokens, config.grid_size) for tokens in features)),
    }
    content = {}
    for name, figure in pictures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120)
        content[name] = buffer.getvalue()
    return content


REPORT = """# I-JEPA on {data}

{steps} steps of {batch_size} images, {image_size} px in patches of {patch_size}; encoder {dim} x {depth},
predictor {predictor_dim} x {predictor_depth}; {precision}, seed {seed}, pieces from {pieces}, torch {torch}.

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

![held-out images, their targets filled with what the predictor expects there, before and after](imagined.png)

A prediction is no picture: each is painted with the patch, of a few training images, whose feature comes nearest.

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
    pieces = config.pieces + f" ({', '.join(borrowed)} from the reference)" * bool(borrowed)
    return REPORT.format(
        **dataclasses.asdict(config) | {"data": data, "pieces": pieces},
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
