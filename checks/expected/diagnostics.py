"""What the numbers of diagnostics must be, by torch's own functions, and what their known mistakes give.

The pictures are in diagnostics_pictures.py, the votes of knn_accuracy in diagnostics_votes.py.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.expect import Mistakes

A_TENSOR: Mistakes = {"This is a tensor: .item() makes a float of it.": torch.Size([])}
# Mistakes of several baselines
AGAIN = "The teacher's tokens are normalised again: they are already as the targets are."
SUMMED = "The squares are summed over D: average over all elements."
ROOT = "This is the root of the error: leave the root out."


def as_floats(mistakes: dict[str, Tensor]) -> Mistakes:
    """Numbers as the floats that are asked for, and last of all a number that is still a tensor."""
    return {**{sentence: wrong.item() for sentence, wrong in mistakes.items()}, **A_TENSOR}


def draw_features(batch: int, places: int, dim: int) -> Tensor:
    """Features [B, N, D] that differ in mean and spread from one position and feature to the next."""
    size = batch, places, dim
    return 3 * torch.randn(size) * (0.5 + torch.rand(places, dim)) + 5 * torch.randn(places, dim)


def variance_over_images(features: Tensor) -> Tensor:
    return (features - features.mean(dim=0)).square().sum(dim=0) / (len(features) - 1)


def spread(features: Tensor) -> float:
    """The standard deviation over the images, averaged over positions and features."""
    return variance_over_images(features).sqrt().mean().item()


def spread_mistakes(features: Tensor) -> Mistakes:
    variance, off = variance_over_images(features), features - features.mean(dim=0)
    mistakes = {
        "This is the spread over the positions (dim=1): a position embedding alone gives it. Take it over the "
        "images.": features.std(dim=1).mean(),
        "This is the spread over the features of a token (dim=2): take it over the images.": features.std(dim=2).mean(),
        "This is the spread over everything at once: take it over the images alone, then average.": features.std(),
        "Images and positions are put together: a position embedding alone gives spread then. The std is over "
        "dim=0 alone.": features.flatten(0, 1).std(dim=0).mean(),
        "The positions are averaged before the std: pooling hides differences that cancel. Average after "
        "it.": features.mean(dim=1).std(dim=0).mean(),
        "The features are averaged before the std: average after it.": features.mean(dim=2).std(dim=0).mean(),
        "This is the spread of the tokens' lengths: their directions count too.": features.norm(dim=2)
        .std(dim=0)
        .mean(),
        "The sum of squares is divided by B: torch.std divides by B - 1.": features.std(dim=0, correction=0).mean(),
        "This is the variance: take the root, before you average.": variance.mean(),
        "The variances are averaged before the root: first the root, then the mean.": variance.mean().sqrt(),
        "This is the mean of the absolute differences: the std squares them.": off.abs().mean(),
        "The stds are summed: average them.": variance.sqrt().sum(),
        "The features are normalised first: that changes their spread.": F.layer_norm(features, features.shape[2:])
        .std(dim=0)
        .mean(),
    }
    return as_floats(mistakes)


def draw_sloping(size: tuple[int, ...]) -> Tensor:
    """Features [..., D] that differ in strength from one feature to the next, with a mean that is not 0."""
    return torch.randn(size) * torch.linspace(0.2, 1.5, size[-1]) + 0.5 * torch.randn(size[-1])


def draw_even(sizes: list[tuple[int, int]]) -> list[tuple[Tensor, int, str]]:
    """Rows [48, D] that fill r directions of D evenly, r, and what they are. Two more follow, with exact zeros."""
    cases = []
    for directions, dim in sizes:
        basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q[:directions]
        even = torch.linalg.qr(torch.randn(48, directions, dtype=torch.float64)).Q
        cases.append((even @ basis, directions, f"{directions} direction{'s' * (directions > 1)} of equal strength"))
    # A column of zeros that comes first, and whole numbers: here what should be 0 is exactly 0, and log(0) is met
    dead = F.pad(torch.linalg.qr(torch.randn(48, 7)).Q, (1, 0))
    cases.append((dead, 7, "one feature always 0, the other 7 of equal strength"))
    cases.append((torch.randint(1, 9, (16,)).repeat(48, 1), 1, "the same token everywhere"))
    return cases


def entropy_rank(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum().exp()


def shares(rows: Tensor) -> Tensor:
    """The singular values of rows [..., R, D], divided by their sum."""
    singular = torch.linalg.svdvals(rows)
    return singular / singular.sum()


def rank_of(rows: Tensor) -> Tensor:
    return entropy_rank(shares(rows))


def rank(features: Tensor) -> float:
    """exp of the entropy of the singular values of all tokens, divided by their sum."""
    return rank_of(features.flatten(0, -2).double()).item()


def rank_mistakes(features: Tensor) -> Mistakes:
    rows = features.flatten(0, -2).double()
    p, squared = shares(rows), squared_shares(rows)
    mistakes = {
        "This is the entropy itself: exp is missing.": torch.special.entr(p).sum(),
        "The entropy has the wrong sign: it is -(p * p.log()).sum().": 1 / entropy_rank(p),
        "The logarithm is to base 2, exp to base e: use p.log().": torch.exp(-(p * p.log2()).sum()),
        "The entropy is averaged: sum it.": torch.special.entr(p).mean().exp(),
        "This is 1 / sum(p**2), another measure: exp of the entropy is asked for.": 1 / p.square().sum(),
        "This is 1 / sum(p**2) of the squares, another measure: exp of the entropy is asked for.": 1
        / squared.square().sum(),
        "This counts the singular values that are not 0: a direction counts by its share.": torch.tensor(
            float(torch.linalg.matrix_rank(rows))
        ),
        "The rank is divided by D: it goes up to D, not to 1.": entropy_rank(p) / rows.shape[1],
    }
    return as_floats({**wrong_shares(rows), **mistakes, **wrong_rows(features)})


def squared_shares(rows: Tensor) -> Tensor:
    squares = torch.linalg.svdvals(rows).square()
    return squares / squares.sum()


def wrong_shares(rows: Tensor) -> dict[str, Tensor]:
    """Ranks by other numbers than the singular values divided by their sum."""
    singular, centred = torch.linalg.svdvals(rows), rows - rows.mean(dim=0)
    in_place_of_p = {
        "The singular values are squared: eigenvalues of rows.T @ rows are the squares, take their "
        "roots.": squared_shares(rows),
        "The rows are centred: RankMe takes them as they are.": shares(centred),
        "The rows are centred, and the singular values are squared: neither is asked for.": squared_shares(centred),
        "p is not normalised: divide the singular values by their sum.": singular,
        "p is divided by the largest singular value: divide by their sum.": singular / singular[0],
        "p is divided by the root of the sum of squares: divide by the sum.": singular / singular.norm(),
        "This is a softmax of the singular values: divide them by their sum.": singular.softmax(0),
    }
    return {sentence: entropy_rank(wrong) for sentence, wrong in in_place_of_p.items()}


def wrong_rows(features: Tensor) -> dict[str, Tensor]:
    """Ranks of other rows than all tokens."""
    images = features.double() if features.ndim > 2 else features.double()[:, None]
    return {
        "The rows are brought to length 1: take them as they are.": rank_of(
            F.normalize(features.flatten(0, -2).double())
        ),
        "The tokens of an image are averaged first: every token is a row.": rank_of(images.flatten(1, -2).mean(dim=1)),
        "This is the mean over the rank of each image: take the rows of all images together.": torch.stack(
            [rank_of(image.flatten(0, -2)) for image in images]
        ).mean(),
        "Each image is one row, positions and features together: a row is one token, of length D.": rank_of(
            images.flatten(1)
        ),
        "The singular values of each image count one by one, which may give more than D: flatten all axes but the "
        "last first.": rank_of(images),
    }


def nan_mistakes(rows: Tensor) -> Mistakes:
    """Where a NaN comes from, if the rows fill few directions."""
    nan = "0 * log(0) gives NaN, and so does the root of a negative number, which rounding makes of 0. Add 1e-7 to "
    nan += "p, or leave the zeros out; clamp eigenvalues at 0."
    if (rows == rows[0]).all():
        nan = f"If you centre the rows, they are all 0 here, and 0 / 0 is NaN: don't centre. If you don't: {nan}"
    return {nan: float("nan")}


def draw_batch(batch: int, blocks: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, teacher tokens, and targets on a grid of 12 patches. Blocks overlap, and some positions are rare."""
    teacher_tokens = torch.randn(batch, 12, 4) + 2 * torch.randn(12, 4) + torch.randn(4) + 2
    draw = torch.rand(batch, blocks, 12) * torch.linspace(1, 2, 12)
    targets = draw.argsort(dim=2)[..., :size]
    return torch.randn(batch, blocks, size, 4), teacher_tokens, targets


def draw_equally_far(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image b has the token v + e_b everywhere: any two images are equally far apart. The predictions are perfect.

    v makes it visible where the features have been shifted.
    """
    tokens = torch.eye(8)[torch.randperm(8)[:batch], None].repeat(1, 6, 1) + 3.0 * torch.randperm(8)
    targets = torch.rand(batch, 2, 6).argsort(dim=2)[..., :3]
    return take(tokens, targets), tokens, targets


def take(tokens: Tensor, targets: Tensor) -> Tensor:
    """tokens [B, N, D] at targets [B, M, Nt] -> [B, M, Nt, D]."""
    return torch.stack([image[places] for image, places in zip(tokens, targets, strict=True)])


def error(one: Tensor, other: Tensor | int) -> Tensor:
    """The mean of the squared difference."""
    return (one - other).square().mean()


def normal(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])


def position_means(truth: Tensor, targets: Tensor) -> Tensor:
    """For each target, the mean of all targets at its position."""
    means = torch.zeros_like(truth)
    for place in targets.unique():
        means[targets == place] = truth[targets == place].mean(dim=0)
    return means


def loss(predictions: Tensor, tokens: Tensor, targets: Tensor) -> float:
    return error(predictions, take(tokens, targets)).item()


def loss_mistakes(predictions: Tensor, tokens: Tensor, targets: Tensor) -> Mistakes:
    truth = take(tokens, targets)
    difference = predictions - truth
    first = tokens[:, : targets[0].numel()].reshape(predictions.shape)
    mistakes = {
        SUMMED: difference.square().sum(dim=-1).mean(),
        "The squares are summed: average over all elements.": difference.square().sum(),
        "This is the root of the mean squared error: leave the root out.": difference.square().mean().sqrt(),
        "The difference is not squared.": difference.abs().mean(),
        "All targets are taken from the first image: each image has its own row of targets.": error(
            predictions, tokens[0][targets]
        ),
        AGAIN: error(predictions, normal(truth)),
        "The tokens are the first ones of each image: take those at the places in targets.": error(predictions, first),
    }
    return as_floats(mistakes)


def constant(predictions: Tensor, tokens: Tensor, targets: Tensor) -> float:
    """The error of the one vector that is best for all targets, their mean."""
    truth = take(tokens, targets)
    return error(truth, truth.mean(dim=(0, 1, 2))).item()


def constant_mistakes(predictions: Tensor, tokens: Tensor, targets: Tensor) -> Mistakes:
    truth = take(tokens, targets)
    mean, again, rows = truth.mean(dim=(0, 1, 2)), normal(truth), truth.flatten(0, 2)
    mistakes = {
        "The constant is the mean of all tokens: it is chosen for the targets alone.": error(
            truth, tokens.mean(dim=(0, 1))
        ),
        "The constant is one number: it is a vector, one number a feature.": error(truth, truth.mean()),
        "The constant is 0: it is the mean of the targets.": error(truth, 0),
        "There is a constant for each position: one for all.": error(truth, position_means(truth, targets)),
        "There is a constant for each image: one for all.": error(truth, truth.mean(dim=(1, 2), keepdim=True)),
        "There is a constant for each block: one for all.": error(truth, truth.mean(dim=2, keepdim=True)),
        "There is a constant for each place in the list of targets: one for all.": error(truth, truth.mean(dim=0)),
        "The constant is the mean of the predictions: the mean of the targets is better.": error(
            truth, predictions.mean(dim=(0, 1, 2))
        ),
        "The constant is the median: under a squared error the mean is best.": error(truth, rows.median(dim=0).values),
        "The squares are divided by their number less 1, as torch.var does: average them.": rows.var(dim=0).mean(),
        "The predictions are held against the constant: the targets are.": error(predictions, mean),
        AGAIN: error(again, again.mean(dim=(0, 1, 2))),
        SUMMED: 4 * error(truth, mean),
        ROOT: error(truth, mean).sqrt(),
    }
    return as_floats(mistakes)


def per_position(predictions: Tensor, tokens: Tensor, targets: Tensor) -> float:
    """The error of the best vector for each position, the mean of the targets there."""
    truth = take(tokens, targets)
    return error(truth, position_means(truth, targets)).item()


def per_position_mistakes(predictions: Tensor, tokens: Tensor, targets: Tensor) -> Mistakes:
    truth = take(tokens, targets)
    means, again = position_means(truth, targets), normal(truth)
    counts = torch.stack([(targets == place).sum() for place in range(12)])
    sums = means * counts[targets][..., None]  # at the position of each target
    once = torch.stack([(targets == place).flatten(1).any(dim=1) for place in range(12)], dim=1)  # [B, N]
    of_images = (tokens * once[..., None]).sum(dim=0) / once.sum(dim=0).clamp(min=1)[:, None]
    within = torch.stack([position_means(*pair) for pair in zip(truth, targets, strict=True)])
    errors = (truth - means).square().mean(dim=-1)
    mistakes = {
        "The sums are not divided by how often a position is a target: a mean needs the count.": error(truth, sums),
        "The sums are divided by B: divide by how often a position is a target.": error(truth, sums / len(tokens)),
        "The sums are divided by the number of all targets: divide by how often a position is one.": error(
            truth, sums / targets.numel()
        ),
        "The means are over all images, also where the position is no target: they are chosen for the targets "
        "alone.": error(truth, tokens.mean(dim=0)[targets]),
        "This goes by the place in the list of targets: the position is the number that stands there.": error(
            truth, truth.mean(dim=0)
        ),
        "This goes by the place within the block: the position is the number that stands in targets.": error(
            truth, truth.mean(dim=(0, 1))
        ),
        "There is one vector for each image: one for each position.": error(
            truth, truth.mean(dim=(1, 2), keepdim=True)
        ),
        "There is one vector for all positions: each has its own.": error(truth, truth.mean(dim=(0, 1, 2))),
        "The mean is taken within each image: it is over all images.": error(truth, within),
        "Every position counts alike: every target does, so that a frequent position weighs more.": torch.stack(
            [errors[targets == place].mean() for place in targets.unique()]
        ).mean(),
        "A position that is a target of two blocks of an image enters its mean once: it counts twice.": error(
            truth, of_images[targets]
        ),
        "The means are of the predictions: they are of the targets.": error(
            truth, position_means(predictions, targets)
        ),
        "The predictions are held against the means: the targets are.": error(predictions, means),
        AGAIN: error(again, position_means(again, targets)),
        SUMMED: 4 * error(truth, means),
        ROOT: error(truth, means).sqrt(),
    }
    return as_floats(mistakes)


def wrong_image(predictions: Tensor, tokens: Tensor, targets: Tensor) -> float:
    """The error of the predictions against the other one of two images."""
    return error(predictions, take(tokens.flip(0), targets)).item()


def wrong_image_mistakes(predictions: Tensor, tokens: Tensor, targets: Tensor) -> Mistakes:
    truth, other = take(tokens, targets), take(tokens.flip(0), targets)
    mean = tokens.mean(dim=0).expand_as(tokens)
    mistakes = {
        "The wrong image is the right one: shift the images against the predictions.": error(predictions, truth),
        "The other image's own targets are used: take the same positions as the predictions have.": error(
            predictions, truth.flip(0)
        ),
        "The positions are shifted, not the images: roll over dim 0.": error(
            predictions, take(tokens.roll(1, dims=1), targets)
        ),
        "The positions are shifted, not the images: roll over dim 0. ": error(
            predictions, take(tokens.roll(-1, dims=1), targets)
        ),
        "Without dims, roll shifts all numbers as one long row: say dims=0.": error(
            predictions, take(tokens.roll(1), targets)
        ),
        "The right image is among the wrong ones: each prediction is held against another image.": (
            error(predictions, truth) + error(predictions, other)
        )
        / 2,
        "Two images' tokens are compared: the predictions are held against the other image's.": error(truth, other),
        "The mean of the images is used: take one other image.": error(predictions, take(mean, targets)),
        AGAIN: error(predictions, normal(other)),
        SUMMED: 4 * error(predictions, other),
        ROOT: error(predictions, other).sqrt(),
    }
    return as_floats(mistakes)


def own_image_mistakes(predictions: Tensor, tokens: Tensor, targets: Tensor) -> Mistakes:
    """Mistakes in the choice of the other image, where any two are equally far apart."""
    batch = len(tokens)
    mistakes = {
        f"The right image is among the wrong ones: {n} of {batch}. roll(1, dims=0) gives another one to each; a "
        "random order or flip leaves some images where they are.": 2 / 8 * (1 - n / batch)
        for n in range(1, batch + 1)
    }
    return {**mistakes, AGAIN: error(predictions, normal(take(tokens.roll(1, dims=0), targets))).item()}
