"""What a finished run shows, said no further than its numbers carry it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from solutions.trainer.metrics import Neighbours, Row

# Where `verdict` draws its lines. They come from some thirty runs of 100 to 500 steps: the embedded photographs at 32
# to 224 px, CIFAR-10 and white noise, EMA momentum 0, .9 and .996, encoders from 16 x 1 to 192 x 6.
COLLAPSED = 0.25  # of the first spread or rank: momentum 0 left CIFAR-10 .16 of its rank, noise .18 of its spread
SHRUNK = 0.5  # of the same: photographs with momentum 0 kept .37 to .45 of their rank, with .996 at least .59
NO_CONTEXT = 0.95  # loss / wrong_image: at least .98 on white noise, .2 to .8 where the context is used
BEATEN = 0.95  # loss / per_position: at least 1.04 on white noise, .3 to .9 where the context is used
SETTLED = 0.95  # loss / per_position now and at half the run: above .97 on noise, below .92 in a run that is under way
STILL = 1e-5  # change of the weights, as a share of their length: one step at 1e-6 makes as much
ALIKE = 1e-3  # spread between images: that of an untrained encoder is .3 to .8 on any images that differ


@dataclass(frozen=True)
class Outcome:
    """What a run leaves to judge by.

    rows: of metrics.csv. moved: how far the weights of student and teacher are from their first ones, as a share of
    their length. neighbours: None where the images have no classes. held_out: whether the rows are measured on others
    than the training images.
    """

    rows: Sequence[Row]
    moved: dict[str, float]
    neighbours: Neighbours | None = None
    held_out: bool = True


def verdict(outcome: Outcome) -> str:
    """What was seen, as one paragraph: "Headline: sentences".

    It never says that a run learned. It says whether anything changed, whether the features still differ, whether the
    predictions use the context and, where there are classes, whether the features tell them apart better than before.
    """
    sentences = [without_labels(outcome)]
    if outcome.neighbours:
        sentences.append(with_labels(outcome.neighbours))
    else:
        sentences.append("Whether the features are good for anything, only labels could say.")
    return " ".join(sentences)


def without_labels(outcome: Outcome) -> str:
    """What the run's own numbers say: "Headline: sentence"."""
    rows = outcome.rows
    first, middle, last = rows[0], middle_row(rows), rows[-1]
    kept = {name: last[name] / max(first[name], 1e-12) for name in ("feature_std", "effective_rank")}
    spread, rank = kept.values()
    numbers = f"the features keep {spread:.0%} of their spread between images and {rank:.0%} of their effective rank"
    answer = f"the best answers that need no look at the image, one for each position ({last['per_position']:.3f})"
    settled = beside(last, "per_position") > SETTLED * beside(middle, "per_position")
    uses_context = beside(last, "wrong_image") <= NO_CONTEXT
    if last["step"] == 0:
        return "Nothing to say: no step was made."
    if outcome.moved["student"] < STILL:
        return (
            "Nothing was trained: the student's weights are the ones that it started with. Is the learning rate 0, or "
            "is the optimizer's step never made?"
        )
    if outcome.moved["teacher"] < STILL:
        return (
            "The teacher did not move: its features are those that it started with, whatever the loss says. Is its "
            "momentum 1?"
        )
    if first["feature_std"] < ALIKE:
        return "Nothing to tell apart: the held-out images look alike to the untrained encoder already."
    if min(spread, rank) < COLLAPSED:
        return f"The features collapsed: {numbers}."
    if not uses_context and settled:
        return (
            "The predictions ignore the context: they are one answer for each position and fit another image as well "
            "as their own, so the loss says nothing about the images."
        )
    if min(spread, rank) < SHRUNK:
        return f"The features partly collapsed: {numbers}."
    if beside(last, "per_position") > BEATEN or not uses_context:
        return f"Too early to say: the held-out loss ({last['held_out_loss']:.3f}) is not below that of {answer}."
    return (
        f"The predictions use the context: their loss ({last['held_out_loss']:.3f}) is below that of {answer}, and "
        f"{numbers}."
    )


def with_labels(neighbours: Neighbours) -> str:
    """What the classes say of the trained features, beside the untrained encoder's and raw pixels."""
    trained, others = neighbours.right["the trained teacher"], dict(neighbours.right)
    del others["the trained teacher"]
    words = []
    for name, right in others.items():
        chance = 2 * math.sqrt((trained * (1 - trained) + right * (1 - right)) / neighbours.queries)
        word = "better" if trained > right + chance else "worse" if trained < right - chance else "no better"
        words.append(f"{word} than {name} ({right:.1%})")
    return f"The trained features tell the classes apart {' and '.join(words)}, with {trained:.1%} right."


def beside(row: Row, name: str) -> float:
    """The held-out loss as a share of that of another answer."""
    return row["held_out_loss"] / max(row[name], 1e-12)


def middle_row(rows: Sequence[Row]) -> Row:
    """The last one of the first half of the steps."""
    return max((row for row in rows if 2 * row["step"] <= rows[-1]["step"]), key=lambda row: row["step"])


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
