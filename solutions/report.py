"""What a finished run leaves for the eye: masks.png, loss.png, pca.png and report.md in the run
folder.
"""

import io

import torch
from torch import Tensor

from data import to_display


def draw_pictures(
    images: Tensor,
    context: Tensor,
    targets: Tensor,
    grid_size: int,
    before: Tensor,
    after: Tensor,
    rows: list[dict],
) -> dict[str, bytes]:
    """Draw held-out images [B, 3, H, W] with their masks, the loss over the run, and the teacher's
    features [B, N, D] before and after it.
    """
    import matplotlib

    matplotlib.use("Agg")  # a run on a server has no screen
    from lessons import figures

    shown = to_display(images.cpu())
    pictures = {
        "masks.png": figures.masks(shown, context.cpu(), targets.cpu(), grid_size),
        "loss.png": figures.losses(rows),
        "pca.png": figures.pca(shown, before.float().cpu(), after.float().cpu()),
    }
    content = {}
    for name, figure in pictures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120)
        content[name] = buffer.getvalue()
    return content


def findings(rows: list[dict]) -> list[str]:
    """What the first and the last row of metrics.csv say, a sentence each."""
    first, last = rows[0], rows[-1]
    loss = last["held_out_loss"]
    answers = {
        "constant": (
            "It beats the best constant vector",
            "It does not beat the best constant vector: nothing was learned",
        ),
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
        f"{better if loss < 0.98 * last[name] else worse} (loss {loss:.4f}, that answer {last[name]:.4f})."
        for name, (better, worse) in answers.items()
    ]
    spread = last["feature_std"] / max(first["feature_std"], 1e-12)
    trend = ": they have collapsed" if spread < 0.1 else ": they shrink, watch this" if spread < 0.5 else ""
    sentences.append(
        f"The teacher's features differ between images by {last['feature_std']:.3f}, "
        f"{spread:.0%} of what they did before training{trend}."
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
"""


def write_report(settings: dict, rows: list[dict]) -> str:
    """The text of report.md: what was run, what it learned by its own numbers, what these do not show."""
    names = list(rows[0])
    table = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in (rows[0], rows[len(rows) // 2], rows[-1]):
        table.append("| " + " | ".join(str(row[n]) if n == "step" else f"{row[n]:.4f}" for n in names) + " |")
    sentences = "\n".join("- " + sentence for sentence in findings(rows))
    return REPORT.format(**settings, torch=torch.__version__, findings=sentences, table="\n".join(table))
