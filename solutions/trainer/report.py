"""What a finished run leaves for the eye: masks.png, loss.png, pca.png and report.md in the run
folder.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import torch
from torch import Tensor

from data import to_display
from solutions.diagnostics import pca_image
from solutions.masking import Masks
from solutions.trainer.config import Config
from solutions.trainer.metrics import Row


def draw_pictures(
    images: Tensor, masks: Masks, grid_size: int, before: Tensor, after: Tensor, rows: Sequence[Row]
) -> dict[str, bytes]:
    """Draw held-out images [B, 3, H, W] with their masks, the loss over the run, and the teacher's
    features [B, N, D] before and after it.
    """
    import matplotlib

    matplotlib.use("Agg")  # a run on a server has no screen
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


# Where `verdict` draws its lines. They come from some thirty runs of 100 to 500 steps: the embedded photographs at 32
# to 224 px, CIFAR-10 and white noise, EMA momentum 0, .9 and .996, encoders from 16 x 1 to 192 x 6.
COLLAPSED = 0.25  # of the first spread or rank: momentum 0 left CIFAR-10 .16 of its rank, noise .18 of its spread
SHRUNK = 0.5  # of the same: photographs with momentum 0 kept .37 to .45 of their rank, with .996 at least .59
NO_CONTEXT = 0.95  # loss / wrong_image: at least .98 on white noise, .2 to .8 where something is learned
BEATEN = 0.95  # loss / per_position: at least 1.04 on white noise, .3 to .9 where something is learned
SETTLED = 0.95  # loss / per_position now and at half the run: above .97 on noise, below .92 in a run that is under way


def verdict(rows: Sequence[Row]) -> str:
    """What the rows of metrics.csv show, in one sentence: learned, partially collapsed, collapsed, or too short to say.

    No label is used. Two things can collapse: the teacher's features (they lose their spread between images, or all but
    a few directions) and the predictions (one answer for each position, whatever the image, which is all that white
    noise allows; its loss falls only because the features shrink).
    """
    first, last = rows[0], rows[-1]
    middle = max((row for row in rows if 2 * row["step"] <= last["step"]), key=lambda row: row["step"])

    def beside(row: Row, name: str) -> float:
        return row["held_out_loss"] / max(row[name], 1e-12)

    kept = {name: last[name] / max(first[name], 1e-12) for name in ("feature_std", "effective_rank")}
    spread, rank = kept.values()
    numbers = f"the features keep {spread:.0%} of their spread between images and {rank:.0%} of their effective rank"
    settled = beside(last, "per_position") > SETTLED * beside(middle, "per_position")
    if last["step"] == 0:
        return "Too short to say: no step was made."
    if min(spread, rank) < COLLAPSED:
        return f"Collapsed: {numbers}."
    if beside(last, "wrong_image") > NO_CONTEXT and settled:
        return (
            "Collapsed: the predictions are one answer for each position and fit another image as well as their own, "
            "so the loss says nothing about the images."
        )
    if min(spread, rank) < SHRUNK:
        return f"Partially collapsed: {numbers}."
    if beside(last, "per_position") > BEATEN or beside(last, "wrong_image") > NO_CONTEXT:
        return (
            f"Too short to say: the held-out loss is {last['held_out_loss']:.3f}, that of the best answers that need "
            f"no look at the image, one for each position, {last['per_position']:.3f}."
        )
    return (
        f"Learned: the held-out loss is {beside(last, 'per_position'):.0%} of that of the best answer for each "
        f"position, and {numbers}."
    )


def findings(rows: Sequence[Row]) -> list[str]:
    """What the first and the last row of metrics.csv say, a sentence each."""
    first, last = rows[0], rows[-1]
    loss = last["held_out_loss"]
    answers = {
        "constant": ("It beats the best constant vector", "It does not beat the best constant vector"),
        "per_position": (
            "It beats the best vector for each position: it uses what the context shows",
            "It does not beat the best vector for each position: it may know where a patch is, not what is in it",
        ),
        "wrong_image": (
            "Its predictions fit their own image better than another one",
            "Its predictions fit another image as well as their own: they do not depend on the context",
        ),
    }
    sentences = [
        f"{better if loss < 0.95 * last[name] else worse} (loss {loss:.4f}, that answer {last[name]:.4f})."
        for name, (better, worse) in answers.items()
    ]
    spread = last["feature_std"] / max(first["feature_std"], 1e-12)
    sentences.append(
        f"The teacher's features differ between images by {last['feature_std']:.3f}, "
        f"{spread:.0%} of what they did before training."
    )
    ranks = f"{first['effective_rank']:.1f} to {last['effective_rank']:.1f}"
    return [*sentences, f"The effective rank of the teacher's patch features went from {ranks}."]


REPORT = """# I-JEPA on {data}

{steps} steps of {batch_size} images, {image_size} px in patches of {patch_size}; encoder {dim} x {depth},
predictor {predictor_dim} x {predictor_depth}; {precision}, seed {seed}, pieces from {pieces}, torch {torch}.

## What it learned, on held-out images

{findings}

{table}

![loss and its baselines](loss.png)

## What this does not show

A loss below its baselines says that the targets can be predicted from the context. It does not say that
the features are useful: the teacher chooses its own targets, and a teacher that forgets what is hard makes
the loss fall as well. Whether the features tell one kind of image from another takes a measurement with
labels, which training never sees.

![context in green, targets in red](masks.png)

![the teacher's features as colours, before and after](pca.png)

## Verdict

{verdict}
"""


def write_report(config: Config, rows: Sequence[Row]) -> str:
    """The text of report.md: what was run, what it learned by its own numbers, what these do not show."""
    names = list(rows[0])
    table = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in (rows[0], rows[len(rows) // 2], rows[-1]):
        table.append("| " + " | ".join(str(row[n]) if n == "step" else f"{row[n]:.4f}" for n in names) + " |")
    sentences = "\n".join("- " + sentence for sentence in findings(rows))
    return REPORT.format(
        **dataclasses.asdict(config),
        torch=torch.__version__,
        findings=sentences,
        table="\n".join(table),
        verdict=verdict(rows),
    )
