"""Lesson 7: diagnostics."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.exercise import exercise
from checks.tool.expect import describe, expect_close, expect_equal, expect_that, find_difference, shape

A_TENSOR = {"This is a tensor: .item() makes a float of it.": torch.Size([])}
NAN = float("nan")
EARLIER = "If an earlier check of this exercise failed, mend that one first."


def spread(lesson, features):
    """feature_std(features {features})"""
    return number(lesson.feature_std(features))


def rank(lesson, features):
    """effective_rank(features {features})"""
    return number(lesson.effective_rank(features))


def baselines(lesson, predictions, teacher_tokens, targets):
    """loss_baselines(predictions {predictions}, teacher_tokens {teacher_tokens}, targets {targets})"""
    found = lesson.loss_baselines(predictions, teacher_tokens, targets)
    return {name: number(value) for name, value in found.items()} if isinstance(found, dict) else found


def accuracy(lesson, bank, bank_labels, queries, query_labels, k):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels, k={k})"""
    return number(lesson.knn_accuracy(bank, bank_labels, queries, query_labels, k))


def accuracy_by_default(lesson, bank, bank_labels, queries, query_labels):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels), without k"""
    return float(lesson.knn_accuracy(bank, bank_labels, queries, query_labels))


def accuracy_of_many(lesson, bank, bank_labels, queries, query_labels, k):
    """knn_accuracy(bank {bank}, bank_labels, queries {queries}, query_labels, k={k})"""
    return float(lesson.knn_accuracy(bank, bank_labels, queries, query_labels, k))


def votes(lesson, bank, bank_labels, queries, k, labels):
    """knn_accuracy(bank {bank}, bank_labels, one query, one label, k={k}) for queries {queries} and labels {labels}"""
    return torch.tensor(
        [
            [float(lesson.knn_accuracy(bank, bank_labels, query[None], torch.tensor([label]), k)) for label in labels]
            for query in queries
        ]
    )


def colours(lesson, tokens, grid_size):
    """pca_image(tokens {tokens}, grid_size {grid_size})"""
    found = lesson.pca_image(tokens, tuple(grid_size) if isinstance(grid_size, list) else grid_size)
    return found.float() if isinstance(found, Tensor) else found


def imagined(lesson, predictions, targets, images, bank_tokens, bank_images, patch_size):
    """imagine(predictions {predictions}, targets, images {images}, bank_tokens {bank_tokens}, bank_images, 2)"""
    return lesson.imagine(predictions, targets, images, bank_tokens, bank_images, patch_size)


def inputs_of_imagine(lesson, predictions, targets, images, bank_tokens, bank_images, patch_size):
    """imagine(predictions {predictions}, targets, images {images}, bank_tokens {bank_tokens}, bank_images, 2)"""
    answer = lesson.imagine(predictions, targets, images, bank_tokens, bank_images, patch_size)
    return {
        "answer": answer,
        "predictions": predictions,
        "targets": targets,
        "images": images,
        "bank_tokens": bank_tokens,
        "bank_images": bank_images,
    }


def number(value):
    return float(value) if isinstance(value, float) else value  # numpy's float64 is a float


@exercise("feature_std")
def test_feature_std_is_the_spread_between_images(learner):
    """The standard deviation over the images, averaged over positions and features."""
    for size in [(5, 7, 3), (2, 4, 6), (9, 2, 2)]:
        batch, places, dim = size
        features = 3 * torch.randn(size) * (0.5 + torch.rand(places, dim)) + 5 * torch.randn(places, dim)
        variance = (features - features.mean(dim=0)).square().sum(dim=0) / (batch - 1)
        mistakes = {
            "This is the spread over the positions (dim=1): a position embedding alone gives it. Take it over the "
            "images.": features.std(dim=1).mean(),
            "This is the spread over the features of a token (dim=2): take it over the images.": features.std(
                dim=2
            ).mean(),
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
            "This is the mean of the absolute differences: the std squares them.": (features - features.mean(dim=0))
            .abs()
            .mean(),
            "The stds are summed: average them.": variance.sqrt().sum(),
            "The features are normalised first: that changes their spread.": F.layer_norm(features, [dim])
            .std(dim=0)
            .mean(),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        likely = "The std over axis 0 gives [N, D]; its mean is the answer."
        expected = variance.sqrt().mean().item()
        expect_close(learner(spread, features), expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("feature_std")
def test_feature_std_is_zero_after_a_collapse(learner):
    """If every image gets the same tokens, the spread is 0, however much the positions differ."""
    for size in [(4, 6, 3), (7, 3, 5)]:
        batch, places, dim = size
        features = torch.randn(places, dim).expand(batch, -1, -1).clone()
        got = learner(spread, features)
        likely = EARLIER
        if type(got) is float and 0 < got < 0.1:  # the spread over other axes is near 1
            likely = "Nothing differs between the images, so their std is 0. Nothing is to be added to it, no epsilon "
            likely += "either: it is only measured, nothing is divided by it."
        called = learner.called + ", the same tokens for every image"
        expect_close(got, 0.0, called=called, mistakes=A_TENSOR, likely=likely)
        got = learner(spread, features + torch.randn(size))
        expect_that(
            type(got) in (float, int) and got > 0,
            called=learner.called + ", other tokens for every image",
            expected="more than 0",
            got=describe(got),
            likely="These images differ, so that their spread is more than 0: 0 is to tell of a collapse.",
        )


def entropy_rank(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum().exp()


def rank_of(rows: Tensor) -> Tensor:
    singular = torch.linalg.svdvals(rows)
    return entropy_rank(singular / singular.sum())


@exercise("effective_rank")
def test_effective_rank_is_the_exponential_of_an_entropy(learner):
    """exp of the entropy of the singular values of all tokens, divided by their sum."""
    for size in [(4, 5, 6), (40, 8), (2, 3, 6, 5)]:
        dim = size[-1]
        features = torch.randn(size) * torch.linspace(0.2, 1.5, dim) + 0.5 * torch.randn(dim)
        rows = features.flatten(0, -2).double()
        singular = torch.linalg.svdvals(rows)
        p = singular / singular.sum()
        squared = singular.square() / singular.square().sum()
        centred = rows - rows.mean(dim=0)
        images = features.double() if features.ndim > 2 else rows[:, None]
        mistakes = {
            "The singular values are squared: eigenvalues of rows.T @ rows are the squares, take their "
            "roots.": entropy_rank(squared),
            "The rows are centred: RankMe takes them as they are.": rank_of(centred),
            "The rows are centred, and the singular values are squared: neither is asked for.": entropy_rank(
                torch.linalg.svdvals(centred).square() / torch.linalg.svdvals(centred).square().sum()
            ),
            "p is not normalised: divide the singular values by their sum.": entropy_rank(singular),
            "p is divided by the largest singular value: divide by their sum.": entropy_rank(singular / singular[0]),
            "p is divided by the root of the sum of squares: divide by the sum.": entropy_rank(
                singular / singular.norm()
            ),
            "This is a softmax of the singular values: divide them by their sum.": entropy_rank(singular.softmax(0)),
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
            "The rank is divided by D: it goes up to D, not to 1.": entropy_rank(p) / dim,
            "The rows are brought to length 1: take them as they are.": rank_of(F.normalize(rows)),
            "The tokens of an image are averaged first: every token is a row.": rank_of(
                images.flatten(1, -2).mean(dim=1)
            ),
            "This is the mean over the rank of each image: take the rows of all images together.": torch.stack(
                [rank_of(image.flatten(0, -2)) for image in images]
            ).mean(),
            "Each image is one row, positions and features together: a row is one token, of length D.": rank_of(
                images.flatten(1)
            ),
            "The singular values of each image count one by one, which may give more than D: flatten all axes but the "
            "last first.": rank_of(images),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        likely = "rows = features.flatten(0, -2); p = singular values / their sum; exp of -(p * p.log()).sum()."
        expected = entropy_rank(p).item()
        expect_close(learner(rank, features), expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("effective_rank")
def test_effective_rank_counts_the_directions_in_use(learner):
    """Features that fill r directions evenly have rank r, also far below D: a singular value of 0 adds nothing."""
    cases = []
    for directions, dim in [(1, 16), (3, 12), (8, 8)]:
        basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64)).Q[:directions]
        even = torch.linalg.qr(torch.randn(48, directions, dtype=torch.float64)).Q
        cases.append((even @ basis, directions, f"{directions} direction{'s' * (directions > 1)} of equal strength"))
    # A column of zeros that comes first, and whole numbers: here what should be 0 is exactly 0, and log(0) is met
    dead = F.pad(torch.linalg.qr(torch.randn(48, 7)).Q, (1, 0))
    cases.append((dead, 7, "one feature always 0, the other 7 of equal strength"))
    cases.append((torch.randint(1, 9, (16,)).repeat(48, 1), 1, "the same token everywhere"))
    for rows, directions, what in cases:
        got = learner(rank, rows.float().unflatten(0, (4, 12)))
        nan = "0 * log(0) gives NaN, and so does the root of a negative number, which rounding makes of 0. Add 1e-7 to "
        nan += "p, or leave the zeros out; clamp eigenvalues at 0."
        if (rows == rows[0]).all():
            nan = f"If you centre the rows, they are all 0 here, and 0 / 0 is NaN: don't centre. If you don't: {nan}"
        likely = EARLIER
        if type(got) is float and directions < got < 1.5 * directions:
            likely = "Singular values that should be 0 count. An eigenvalue that is 0 but for float32's rounding has a "
            likely += "root that is not small: compute in float64, or use svdvals. Add no more than 1e-7 to p."
        called = f"{learner.called}, {what}"
        expect_close(got, float(directions), called=called, mistakes={nan: NAN}, likely=likely, rtol=1e-3)


NAMES = ("loss", "constant", "per_position", "wrong_image")
AGAIN = "The teacher's tokens are normalised again: they are already as the targets are."


def value_of(learner, name: str, *inputs: Tensor):
    """One entry of what loss_baselines gives."""
    got = learner(baselines, *inputs)
    expect_that(
        type(got) is dict and name in got,
        called=learner.called,
        expected=f"a dict with the names {', '.join(NAMES)}",
        got=describe(list(got) if type(got) is dict else got),
        likely="Compare the names with the ones in the docstring." if got is not None else "Is the `return` missing?",
    )
    return got[name]


def draw_batch(batch: int, blocks: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, teacher tokens, and targets on a grid of 12 patches. Blocks overlap, and some positions are rare."""
    teacher_tokens = torch.randn(batch, 12, 4) + 2 * torch.randn(12, 4) + torch.randn(4) + 2
    draw = torch.rand(batch, blocks, 12) * torch.linspace(1, 2, 12)
    targets = draw.argsort(dim=2)[..., :size]
    return torch.randn(batch, blocks, size, 4), teacher_tokens, targets


def take(tokens: Tensor, targets: Tensor) -> Tensor:
    """tokens [B, N, D] at targets [B, M, Nt] -> [B, M, Nt, D]."""
    return torch.stack([image[places] for image, places in zip(tokens, targets, strict=True)])


BATCHES = [(4, 3, 4), (2, 2, 3), (6, 1, 5)]  # images, blocks, patches a block


@exercise("loss_baselines")
def test_loss_baselines_loss_is_the_mean_squared_error(learner):
    """loss: the mean of the squared difference between each prediction and its own target."""
    for size in BATCHES:
        predictions, tokens, targets = draw_batch(*size)
        truth = take(tokens, targets)
        difference = predictions - truth
        mistakes = {
            "The squares are summed over D: average over all elements.": difference.square().sum(dim=-1).mean(),
            "The squares are summed: average over all elements.": difference.square().sum(),
            "This is the root of the mean squared error: leave the root out.": difference.square().mean().sqrt(),
            "The difference is not squared.": difference.abs().mean(),
            "All targets are taken from the first image: each image has its own row of targets.": (
                predictions - tokens[0][targets]
            )
            .square()
            .mean(),
            AGAIN: (predictions - F.layer_norm(truth, [4])).square().mean(),
            "The tokens are the first ones of each image: take those at the places in targets.": (
                predictions - tokens[:, : size[1] * size[2]].reshape(predictions.shape)
                if size[1] * size[2] <= 12
                else difference
            )
            .square()
            .mean(),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        got = value_of(learner, "loss", predictions, tokens, targets)
        expect_close(
            got,
            difference.square().mean().item(),
            called=f"{learner.called}: loss",
            mistakes=mistakes,
            likely="truth[b, m, i] is teacher_tokens[b, targets[b, m, i]]; the loss is their mean squared error.",
        )


@exercise("loss_baselines")
def test_loss_baselines_constant_is_one_vector_for_all_targets(learner):
    """constant: the error of the one vector that is best for all targets, their mean."""
    for size in BATCHES:
        predictions, tokens, targets = draw_batch(*size)
        truth = take(tokens, targets)
        mean, again = truth.mean(dim=(0, 1, 2)), F.layer_norm(truth, [4])

        def error(answer, truth=truth):
            return (truth - answer).square().mean()

        mistakes = {
            "The constant is the mean of all tokens: it is chosen for the targets alone.": error(
                tokens.mean(dim=(0, 1))
            ),
            "The constant is one number: it is a vector, one number a feature.": error(truth.mean()),
            "The constant is 0: it is the mean of the targets.": error(0),
            "There is a constant for each position: one for all.": error(position_means(truth, targets)),
            "There is a constant for each image: one for all.": error(truth.mean(dim=(1, 2), keepdim=True)),
            "There is a constant for each block: one for all.": error(truth.mean(dim=2, keepdim=True)),
            "There is a constant for each place in the list of targets: one for all.": error(truth.mean(dim=0)),
            "The constant is the mean of the predictions: the mean of the targets is better.": error(
                predictions.mean(dim=(0, 1, 2))
            ),
            "The constant is the median: under a squared error the mean is best.": error(
                truth.flatten(0, 2).median(dim=0).values
            ),
            "The squares are divided by their number less 1, as torch.var does: average them.": truth.flatten(0, 2)
            .var(dim=0)
            .mean(),
            "The predictions are held against the constant: the targets are.": (predictions - mean).square().mean(),
            AGAIN: error(again.mean(dim=(0, 1, 2)), again),
            "The squares are summed over D: average over all elements.": 4 * error(mean),
            "This is the root of the error: leave the root out.": error(mean).sqrt(),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        got = value_of(learner, "constant", predictions, tokens, targets)
        likely = "The mean of truth over images, blocks and patches, [D]; then the mean squared difference to it."
        called = f"{learner.called}: constant"
        expect_close(got, error(mean).item(), called=called, mistakes=mistakes, likely=likely)


def position_means(truth: Tensor, targets: Tensor) -> Tensor:
    """For each target, the mean of all targets at its position."""
    means = torch.zeros_like(truth)
    for place in targets.unique():
        means[targets == place] = truth[targets == place].mean(dim=0)
    return means


@exercise("loss_baselines")
def test_loss_baselines_per_position_is_the_best_vector_of_each_position(learner):
    """per_position: the error of the best vector for each position, the mean of the targets there."""
    for size in BATCHES:
        predictions, tokens, targets = draw_batch(*size)
        truth = take(tokens, targets)
        means, again = position_means(truth, targets), F.layer_norm(truth, [4])
        counts = torch.stack([(targets == place).sum() for place in range(12)])
        of_target = counts[targets][..., None]  # how often its position is a target
        once = torch.stack([(targets == place).flatten(1).any(dim=1) for place in range(12)], dim=1)  # [B, N]
        of_images = (tokens * once[..., None]).sum(dim=0) / once.sum(dim=0).clamp(min=1)[:, None]
        errors = (truth - means).square().mean(dim=-1)

        def error(answer, truth=truth):
            return (truth - answer).square().mean()

        mistakes = {
            "The sums are not divided by how often a position is a target: a mean needs the count.": error(
                means * of_target
            ),
            "The sums are divided by B: divide by how often a position is a target.": error(
                means * of_target / len(tokens)
            ),
            "The sums are divided by the number of all targets: divide by how often a position is one.": error(
                means * of_target / targets.numel()
            ),
            "The means are over all images, also where the position is no target: they are chosen for the targets "
            "alone.": error(tokens.mean(dim=0)[targets]),
            "This goes by the place in the list of targets: the position is the number that stands there.": error(
                truth.mean(dim=0)
            ),
            "This goes by the place within the block: the position is the number that stands in targets.": error(
                truth.mean(dim=(0, 1))
            ),
            "There is one vector for each image: one for each position.": error(truth.mean(dim=(1, 2), keepdim=True)),
            "There is one vector for all positions: each has its own.": error(truth.mean(dim=(0, 1, 2))),
            "The mean is taken within each image: it is over all images.": error(
                torch.stack([position_means(*pair) for pair in zip(truth, targets, strict=True)])
            ),
            "Every position counts alike: every target does, so that a frequent position weighs more.": torch.stack(
                [errors[targets == place].mean() for place in targets.unique()]
            ).mean(),
            "A position that is a target of two blocks of an image enters its mean once: it counts twice.": error(
                of_images[targets]
            ),
            "The means are of the predictions: they are of the targets.": error(position_means(predictions, targets)),
            "The predictions are held against the means: the targets are.": (predictions - means).square().mean(),
            AGAIN: error(position_means(again, targets), again),
            "The squares are summed over D: average over all elements.": 4 * error(means),
            "This is the root of the error: leave the root out.": error(means).sqrt(),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        got = value_of(learner, "per_position", predictions, tokens, targets)
        expect_close(
            got,
            error(means).item(),
            called=f"{learner.called}: per_position",
            mistakes=mistakes,
            likely="For a position p the best vector is truth[targets == p].mean(dim=0). Hold each target against that "
            "of its position, and average over all targets.",
        )


@exercise("loss_baselines")
def test_loss_baselines_wrong_image_takes_the_same_positions(learner):
    """wrong_image: the predictions against the tokens of another image, at the positions of their own targets."""
    for _, blocks, size in BATCHES:
        predictions, tokens, targets = draw_batch(2, blocks, size)  # of two images, one is the other
        truth, other = take(tokens, targets), take(tokens.flip(0), targets)

        def error(answer, predictions=predictions):
            return (predictions - answer).square().mean()

        mistakes = {
            "The wrong image is the right one: shift the images against the predictions.": error(truth),
            "The other image's own targets are used: take the same positions as the predictions have.": error(
                truth.flip(0)
            ),
            "The positions are shifted, not the images: roll over dim 0.": error(take(tokens.roll(1, dims=1), targets)),
            "The positions are shifted, not the images: roll over dim 0. ": error(
                take(tokens.roll(-1, dims=1), targets)
            ),
            "Without dims, roll shifts all numbers as one long row: say dims=0.": error(take(tokens.roll(1), targets)),
            "The right image is among the wrong ones: each prediction is held against another image.": (
                error(truth) + error(other)
            )
            / 2,
            "Two images' tokens are compared: the predictions are held against the other image's.": (truth - other)
            .square()
            .mean(),
            "The mean of the images is used: take one other image.": error(
                take(tokens.mean(dim=0).expand_as(tokens), targets)
            ),
            AGAIN: error(F.layer_norm(other, [4])),
            "The squares are summed over D: average over all elements.": 4 * error(other),
            "This is the root of the error: leave the root out.": error(other).sqrt(),
        }
        mistakes = {sentence: wrong.item() for sentence, wrong in mistakes.items()} | A_TENSOR
        got = value_of(learner, "wrong_image", predictions, tokens, targets)
        likely = "Roll teacher_tokens over the images, then take the same targets as for the loss."
        called = f"{learner.called}: wrong_image"
        expect_close(got, error(other).item(), called=called, mistakes=mistakes, likely=likely)


@exercise("loss_baselines")
def test_loss_baselines_wrong_image_is_never_the_own(learner):
    """wrong_image: whichever other image is taken, no prediction is held against its own."""
    for batch in (3, 5, 4):
        # Image b has the token e_b everywhere: any two images are equally far apart, so the choice is free
        tokens = torch.eye(8)[torch.randperm(8)[:batch], None].repeat(1, 6, 1)
        targets = torch.rand(batch, 2, 6).argsort(dim=2)[..., :3]
        predictions = take(tokens, targets)
        mistakes = {
            f"The right image is among the wrong ones: {n} of {batch}. roll(1, dims=0) gives another one to each; a "
            "random order or flip leaves some images where they are.": 2 / 8 * (1 - n / batch)
            for n in range(1, batch + 1)
        }
        again = F.layer_norm(take(tokens.roll(1, dims=0), targets), [8])
        mistakes |= {AGAIN: (predictions - again).square().mean().item()}
        got = value_of(learner, "wrong_image", predictions, tokens, targets)
        called = f"{learner.called}: wrong_image, with perfect predictions"
        expect_close(got, 2 / 8, called=called, mistakes=mistakes, likely=EARLIER)


LABELS = (2, 3, 7, 11)


def draw_bank(rows: int) -> tuple[Tensor, Tensor]:
    """Vectors of very different lengths that point mostly one way, and their labels."""
    bank = (torch.randn(rows, 5) + 0.4) * torch.randn(rows, 1).exp()
    return bank, torch.tensor(LABELS)[torch.randint(4, (rows,))]


def vote(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """labels [Q, k] -> how often each of LABELS was said [Q, 4]."""
    said = labels[..., None] == torch.tensor(LABELS)
    return (said if weights is None else said * weights[..., None]).sum(dim=1)


def winners(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """labels [Q, k] -> 1 at the label that won, [Q, 4]."""
    return F.one_hot(vote(labels, weights).argmax(dim=1), 4).float()


def draw_clear_queries(bank: Tensor, labels: Tensor, k: int) -> Tensor:
    """Up to three queries a label whose vote is no tie, and whose k-th and (k+1)-th neighbours are not equally near."""
    queries = torch.randn(400, 5) + 0.4
    cosine, order = F.cosine_similarity(queries[:, None], bank[None], dim=2).sort(dim=1, descending=True)
    said = vote(labels[order[:, :k]])
    best = said.sort(dim=1, descending=True).values
    clear = (best[:, 0] > best[:, 1]) & (cosine[:, k - 1] - cosine[:, k] > 1e-4)
    weighted = vote(labels[order[:, :k]], cosine[:, :k]).argmax(dim=1)
    chosen = []
    for label in range(4):  # first those of which weighted votes would make another
        mine = (clear & (said.argmax(dim=1) == label)).nonzero().flatten()
        chosen.append(mine[(weighted[mine] != label).argsort(descending=True, stable=True)][:3])
    return queries[torch.cat(chosen)]


@exercise("knn_accuracy")
def test_knn_accuracy_lets_the_k_nearest_vote(learner):
    """A query gets the label that most of the k bank rows with the largest cosine similarity have."""
    for k in (5, 1, 8):
        bank, labels = draw_bank(30)
        queries = draw_clear_queries(bank, labels, k)
        cosine = F.cosine_similarity(queries[:, None], bank[None], dim=2)
        near, order = cosine.sort(dim=1, descending=True)
        distances = torch.linalg.vector_norm(queries[:, None] - bank, dim=2)
        wrong_axis = F.normalize(queries, dim=0) @ F.normalize(bank, dim=0).T
        bank_alone = queries @ F.normalize(bank, dim=0).T
        only_bank = queries.sign() @ F.normalize(bank, dim=0).T  # a single query, normalised over dim 0
        centroids = torch.stack([bank[labels == label].mean(dim=0) for label in LABELS])
        said = labels[order[:, :k]]

        def of(values, k=k, labels=labels, largest=True):
            return winners(labels[values.sort(dim=1, descending=largest).indices[:, :k]])

        def nearest_label(values):
            return F.one_hot((values[:, None].float() - torch.tensor(LABELS)).abs().argmin(dim=1), 4).float()

        mistakes = {
            "Near is measured by the Euclidean distance: the cosine is asked for, which ignores lengths.": of(
                distances, largest=False
            ),
            "Near is measured by the scalar product, so that long vectors win: normalise bank and queries.": of(
                queries @ bank.T
            ),
            "These are the farthest: near means a large cosine.": of(cosine, largest=False),
            "Only the nearest decides: all k vote.": winners(labels[order[:, :1]]),
            "k + 1 neighbours vote.": of(cosine, k + 1),
            "k - 1 neighbours vote.": of(cosine, max(1, k - 1)),
            "The nearest is left out, as if the query were in the bank: it is not.": winners(
                labels[order[:, 1 : k + 1]]
            ),
            "The nearest is left out, and k - 1 vote.": winners(labels[order[:, 1 : max(2, k)]]),
            "The last of the k decides: all k vote.": winners(labels[order[:, k - 1 : k]]),
            "All rows of the bank vote: only the k nearest do.": winners(labels.expand(len(queries), -1)),
            "The vectors are normalised over dim 0: each row is brought to length 1.": of(wrong_axis),
            "The vectors are normalised over dim 0: each row is brought to length 1. ": of(only_bank),
            "The bank is normalised over dim 0: each row is brought to length 1.": of(bank_alone),
            "The votes are weighted by the similarity: every neighbour counts alike.": winners(said, near[:, :k]),
            "The mean of the labels is no vote: a label is a name, not a number.": nearest_label(
                said.float().mean(dim=1)
            ),
            "The median of the labels is no vote: a label is a name, not a number.": nearest_label(
                said.median(dim=1).values
            ),
            "The largest label wins: the most frequent has to.": nearest_label(said.amax(dim=1)),
            "The smallest label wins: the most frequent has to.": nearest_label(said.amin(dim=1)),
            "The number of a row in the bank is taken for its label: look it up in bank_labels.": (
                order[:, :k].amin(dim=1, keepdim=True) == torch.tensor(LABELS)
            ).float(),
            "This is the label whose mean is nearest: the k nearest rows vote.": F.one_hot(
                F.cosine_similarity(queries[:, None], centroids[None], dim=2).argmax(dim=1), 4
            ).float(),
            "A query is right as soon as one of its k neighbours has its label: most of them must.": (
                vote(said) > 0
            ).float(),
            "This is the share of the neighbours with the right label: they vote, and a query is right or wrong.": vote(
                said
            )
            / k,
            "This is the share of errors: the share of right answers is asked for.": 1 - winners(said),
        }
        got = learner(votes, bank, labels, queries, k, list(LABELS))
        likely = "Cosine of each query with each bank row, the k largest, the label that most of these have."
        expect_close(got, winners(said), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("knn_accuracy")
def test_knn_accuracy_is_the_share_of_right_answers(learner):
    """A float from 0 to 1: how many of all queries get their own label."""
    directions = torch.linalg.qr(torch.randn(4, 4)).Q
    for count in (7, 5):
        bank = directions.repeat(3, 1) + 0.05 * torch.randn(12, 4)  # three rows lie near each direction
        bank_labels, which = torch.tensor(LABELS).repeat(3), torch.randint(4, (count,))
        query_labels = torch.tensor(LABELS)[which]
        query_labels[:2] = 5  # no row of the bank has this label
        share = 1 - 2 / count
        mistakes = {
            "This is the number of right answers: divide it by the number of queries.": share * count,
            "These are per cent: the share goes from 0 to 1.": 100 * share,
            "This is the share of errors: the share of right answers is asked for.": 1 - share,
            "The number of right answers is divided by the size of the bank: divide by the number of queries.": share
            * count
            / len(bank),
            "The share is rounded to a whole number.": 0.0,
            "The share is rounded to a whole number. ": 1.0,
        }
        got = learner(accuracy, bank, bank_labels, directions[which], query_labels, 3)
        likely = "Right answers divided by the number of queries; bank and queries keep their places."
        expect_close(got, share, called=learner.called, mistakes=mistakes | A_TENSOR, likely=likely)


@exercise("knn_accuracy")
def test_knn_accuracy_counts_every_query_once(learner):
    """Each of many queries counts alike, in whatever chunks they are worked through."""
    directions = torch.linalg.qr(torch.randn(4, 4)).Q
    for count, last in [(2600, 500), (1100, 60)]:
        which = torch.randint(4, (count,))
        query_labels = torch.where(torch.arange(count) < count - last, which, which + 1)  # the last ones are wrong
        share = (count - last) / count
        got = learner(accuracy_of_many, directions, torch.arange(4), directions[which] * 3, query_labels, 1)
        expect_close(
            got,
            share,
            called=f"{learner.called}, all right but the last {last}",
            mistakes={"The last queries, which fill no whole chunk, are left out.": 1.0},
            likely="Add up the right answers of all chunks, and divide once by the number of all queries: the last "
            "chunk is smaller, so a mean over chunks weighs its queries more.",
        )


@exercise("knn_accuracy")
def test_knn_accuracy_asks_twenty_by_default(learner):
    """Without k, the 20 nearest vote."""
    angles = torch.linspace(0, 1.5, 40)
    order = torch.randperm(40)
    bank = torch.stack([angles.cos(), angles.sin()], dim=1)[order]
    labels = torch.tensor([0] * 9 + [1] * 11 + [0] * 20)[order]
    queries = torch.tensor([[2.0, 0.0]])
    for label, share in ((1, 1.0), (0, 0.0)):
        got = learner(accuracy_by_default, bank, labels, queries, torch.tensor([label]))
        called = f"{learner.called}; of 40 bank rows the nearest 9 have label 0, the next 11 label 1, the rest 0"
        likely = f"k is 20 unless it is given: 11 votes of 20 are for label 1. The query's own is {label} here."
        expect_close(got, share, called=called, likely=likely)


def draw_tokens(batch: int, patches: int) -> tuple[Tensor, Tensor]:
    """Tokens [B, N, 7] with a few strong directions and a mean far from 0, and what they score in these, [B*N, 7]."""
    scores = torch.randn(batch * patches, 7, dtype=torch.float64)
    scores = torch.linalg.qr(scores - scores.mean(dim=0)).Q  # sums of columns are 0, and they are orthogonal
    directions = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    strengths = torch.tensor([20.0, 12.0, 7.0, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    tokens = (scores * strengths) @ directions.T + 3 * torch.randn(7, dtype=torch.float64)
    return tokens.float().unflatten(0, (batch, patches)), scores


def scaled(scores: Tensor) -> Tensor:
    """Each column to 0..1."""
    low, high = scores.aminmax(dim=0)
    return (scores - low) / (high - low)


def components(rows: Tensor, center: bool = True) -> Tensor:
    """The scores of rows [R, D] in all their principal components, strongest first: [R, D]."""
    left, strengths, _ = torch.linalg.svd(rows - rows.mean(dim=0) * center, full_matrices=False)
    return left * strengths


def as_signed(picture: Tensor, got: Tensor, dims: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """The picture with each component as it is or mirrored, whichever is nearer to got: signs are free."""
    if not isinstance(got, Tensor) or got.shape != picture.shape:
        return picture
    off, mirrored = ((got - side).abs().sum(dim=dims, keepdim=True) for side in (picture, 1 - picture))
    return torch.where(off <= mirrored, picture, 1 - picture)


def is_scaled_wrongly(got: Tensor, right: Tensor) -> bool:
    """Whether got would be right but for the scale of its components."""
    if not isinstance(got, Tensor) or got.shape != right.shape:
        return False
    again = scaled(got.flatten(0, 2)).view_as(got)
    right = scaled(right.flatten(0, 2)).view_as(got)
    return torch.allclose(again, as_signed(right, again), atol=1e-3)


@exercise("pca_image")
def test_pca_image_paints_three_components_of_all_tokens(learner):
    """Red, green and blue are the first three components of all tokens together, each scaled to 0..1."""
    for batch, grid, size in [(3, 4, 1), (2, 3, 0.01), (1, 5, 1)]:
        tokens, scores = draw_tokens(batch, grid * grid)
        tokens = size * tokens
        rows = tokens.flatten(0, 1).double()

        def picture(values, batch=batch, grid=grid):
            return values[:, :3].float().reshape(batch, grid, grid, 3)

        got = learner(colours, tokens, grid)
        right = picture(scaled(scores))
        own = picture(torch.cat([components(image.double()) for image in tokens]))
        spread, centred = rows.std(dim=0), rows - rows.mean(dim=0)
        free = {
            "The rows are not centred: subtract the mean token before you look for directions.": scaled(
                components(rows, center=False)
            ),
            "The three components are in reverse: eigh gives the strongest last.": scaled(scores[:, [2, 1, 0]]),
            "These are the weakest components: eigh gives the strongest last.": scaled(components(rows).flip(1)),
            "Rows of eigenvectors are taken for directions: eigh gives them as columns.": scaled(
                centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[-3:].flip(0).T
            ),
            "These are the second, third and fourth component.": scaled(scores[:, 1:4]),
            "All three colours are the first component.": scaled(scores[:, [0, 0, 0]]),
            "These are the first three features: find the directions of most variation first.": scaled(rows),
            "The features are divided by their std before the PCA: they are only centred.": scaled(
                components(rows / spread)
            ),
            "The tokens are normalised before the PCA: they are only centred.": scaled(
                components(F.layer_norm(rows, [7]))
            ),
            "The tokens are brought to length 1 before the PCA: they are only centred.": scaled(
                components(F.normalize(rows))
            ),
            "The largest values are cut off: 0 is the smallest value and 1 the largest.": (
                (scores - scores.quantile(0.01, dim=0)) / (scores.quantile(0.99, dim=0) - scores.quantile(0.01, dim=0))
            ).clamp(0, 1),
        }
        mistakes = {sentence: as_signed(picture(values), got) for sentence, values in free.items()}
        alone = picture(torch.cat([scaled(part) for part in scores.chunk(batch)]))
        mistakes |= {
            "Each image is scaled by itself: take the smallest and largest value of all images.": as_signed(
                alone, got, (1, 2)
            )
        }
        mistakes |= {
            "Rows and columns are swapped: patch 1 is to the right of patch 0.": as_signed(right.transpose(1, 2), got),
            "The colours come first: they are the last axis.": torch.Size([batch, 3, grid, grid]),
            "The patches are still in one row: lay them out on the grid.": torch.Size([batch, grid * grid, 3]),
        }
        likely = "Centre all B*N tokens, project them on three directions, scale each to 0..1: x - low over high - low."
        if is_scaled_wrongly(got, right):
            likely = "The components are right, their scale is not: each has its own smallest value at 0 and its own "
            likely += "largest at 1, over all images."
        elif isinstance(got, Tensor) and got.ndim and all(map(is_scaled_wrongly, got.split(1), own.split(1))):
            likely = "Each image has its own directions: take one PCA for all, or their colours can't be compared."
        expect_close(got, as_signed(right, got), called=learner.called, mistakes=mistakes, likely=likely, atol=1e-3)


@exercise("pca_image")
def test_pca_image_fills_a_grid_that_is_not_square(learner):
    """With grid_size (rows, columns) the picture has these, and the patches run row by row."""
    for rows, columns in [(3, 5), (4, 3)]:
        tokens, scores = draw_tokens(1, rows * columns)
        right = scaled(scores)[:, :3].float()
        got = learner(colours, tokens, [rows, columns])
        mistakes = {
            "rows and columns are swapped: grid_size is (rows, columns).": torch.Size([1, columns, rows, 3]),
            "The patches run down the columns: rows come first.": as_signed(
                right.reshape(1, columns, rows, 3).transpose(1, 2), got
            ),
        }
        right = as_signed(right.reshape(1, rows, columns, 3), got)
        likely = f"{EARLIER} If none did: the patches run row by row, [B, rows, columns, 3]."
        expect_close(got, right, called=learner.called, mistakes=mistakes, likely=likely, atol=1e-3)


@exercise("pca_image")
def test_pca_image_of_collapsed_tokens_has_one_colour(learner):
    """Tokens that are all alike get one colour in 0..1, and no NaN."""
    token = torch.randint(-8, 8, (6,)).float()  # whole numbers: their mean is exact, and centred they are 0
    for tokens in (token.expand(2, 16, 6), torch.zeros(1, 16, 4)):
        got = learner(colours, tokens.clone(), 4)
        called = learner.called + ", all tokens alike"
        expect_equal(
            shape(got) if isinstance(got, Tensor) else describe(got),
            shape(tokens[..., :3].unflatten(1, (4, 4))),
            called=called,
        )
        same = bool((got == got[0, 0, 0]).all())
        expect_that(
            same and 0 <= got.min() <= got.max() <= 1,
            called=called,
            expected="one colour everywhere, from 0 to 1",
            got=f"values from {got.min():.4g} to {got.max():.4g}",
            likely="high - low is 0, and 0 / 0 is NaN: clamp it to a small number. A collapse must show as one colour.",
        )


def draw_scene(batch: int, blocks: int, rows: int, columns: int, bank: int):
    """Inputs of imagine, and the nearest bank token of each target as a number in K*N. Blocks lie apart."""
    patches = rows * columns
    targets = torch.rand(batch, patches).argsort(dim=1)[:, : blocks * 2].unflatten(1, (blocks, 2))
    while True:
        bank_tokens = torch.randn(bank, patches, 4) * torch.rand(bank, patches, 1).mul(2).exp()
        predictions = torch.randn(batch, blocks, 2, 4) * 2
        distances = (predictions[:, :, :, None] - bank_tokens.flatten(0, 1)).square().sum(dim=-1)
        near = distances.topk(2, largest=False)
        if (near.values[..., 1] - near.values[..., 0]).min() > 1e-3:
            break
    images, bank_images = (torch.randn(count, 3, rows * 2, columns * 2) for count in (batch, bank))
    return (predictions, targets, images, bank_tokens, bank_images, 2), distances, near.indices[..., 0]


def cut(image: Tensor, place: int) -> tuple:
    """Where patch `place` of 2 x 2 pixels lies in an image [3, H, W]."""
    row, column = divmod(place, image.shape[2] // 2)
    return slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2)


def pasted(images: Tensor, targets: Tensor, bank_images: Tensor, chosen: Tensor) -> Tensor:
    """The images with bank patch chosen [B, M, Nt] at each target [B, M, Nt]."""
    images = images.clone()
    patches = images.shape[2] * images.shape[3] // 4
    for image, places, sources in zip(images, targets.flatten(1).tolist(), chosen.flatten(1).tolist(), strict=True):
        for place, source in zip(places, sources, strict=True):
            other = bank_images[source // patches]
            image[cut(image, place)] = other[cut(other, source % patches)]
    return images


@exercise("imagine", points=2)
def test_imagine_pastes_the_patch_of_the_nearest_token(learner):
    """In each target's place stands the bank patch whose token is nearest to its prediction; the rest is unchanged."""
    for batch, blocks, bank in [(2, 3, 3), (3, 2, 4), (2, 2, 1)]:
        inputs, distances, nearest = draw_scene(batch, blocks, 3, 3, bank)
        predictions, targets, images, bank_tokens, bank_images, _ = inputs
        tokens = bank_tokens.flatten(0, 1)
        unit, normal = F.normalize(predictions, dim=-1), F.layer_norm(predictions, [4])
        turned = targets % 3 * 3 + targets // 3
        turned_bank = nearest // 9 * 9 + nearest % 3 * 3 + nearest % 9 // 3
        at_place = torch.full((9, bank * 9), torch.inf)
        at_place[torch.arange(bank * 9) % 9, torch.arange(bank * 9)] = 0
        of_block = (predictions.mean(dim=2, keepdim=True)[:, :, :, None] - tokens).square().sum(dim=-1).argmin(dim=-1)
        rows_first = torch.arange(9).repeat(batch, 1)[:, : blocks * 2].view_as(targets)
        white = torch.zeros(1, 3, 6, 6)

        def paste(chosen=nearest, targets=targets, images=images, source=bank_images):
            return pasted(images, targets, source, chosen)

        wrong_rest = paste(torch.zeros_like(targets), source=white)
        mistakes = {
            "The targets are not filled: this is images unchanged.": images,
            "These are the farthest tokens: the smallest distance is asked for.": paste(distances.argmax(dim=-1)),
            "Near is measured by the cosine: the squared distance is asked for.": paste(
                (unit @ F.normalize(tokens, dim=-1).T).argmax(dim=-1)
            ),
            "Near is measured by the scalar product: the squared distance is asked for.": paste(
                (predictions @ tokens.T).argmax(dim=-1)
            ),
            "Near is measured by the sum of absolute differences: the squared distance is asked for.": paste(
                torch.cdist(predictions.flatten(0, 2), tokens, p=1).argmin(dim=1).view_as(nearest)
            ),
            "The predictions are normalised: take them as they are.": paste(
                torch.cdist(normal.flatten(0, 2), tokens).argmin(dim=1).view_as(nearest)
            ),
            "The bank's tokens are normalised again: they are already as the targets are.": paste(
                torch.cdist(predictions.flatten(0, 2), F.layer_norm(tokens, [4])).argmin(dim=1).view_as(nearest)
            ),
            "Only bank tokens at the target's own position are searched: search all.": paste(
                (distances + at_place[targets]).argmin(dim=-1)
            ),
            "The patch is taken from the target's position in the nearest bank image: take the nearest token's own "
            "patch.": paste(nearest // 9 * 9 + targets),
            "The patches come from the first bank image: number n of the K*N tokens is patch n % N of image n // N.": (
                paste(nearest % 9)
            ),
            "Number n of the K*N tokens is patch n % N of image n // N: here image and patch are mixed up.": paste(
                nearest % bank * 9 + nearest // bank
            ),
            "The patches come from images, not from bank_images.": paste(nearest % (batch * 9), source=images),
            "The bank's patches are counted down the columns: rows come first.": paste(turned_bank),
            "The targets are counted down the columns: rows come first.": paste(targets=turned),
            "Targets and bank are counted down the columns: rows come first.": paste(turned_bank, targets=turned),
            "Predictions and targets are in different order: block and patch are swapped in the predictions.": paste(
                nearest.transpose(1, 2).reshape(nearest.shape)
            ),
            "Predictions and targets are in different order: block and patch are swapped in the targets.": paste(
                targets=targets.transpose(1, 2).reshape(targets.shape)
            ),
            "All images get what is predicted for the first one.": paste(nearest[:1].expand_as(nearest)),
            "All images are filled at the first one's targets: each has its own.": paste(
                targets=targets[:1].expand_as(targets)
            ),
            "A block is filled with one patch, that of its mean prediction: each target has its own.": paste(
                of_block.expand_as(nearest)
            ),
            "The first patches are filled: fill those at the places in targets.": paste(targets=rows_first),
            "The patches are added to the image: they replace what is there.": images + (paste() - wrong_rest),
            "All but the targets is blank: the rest of the image stays.": paste(images=torch.zeros_like(images)),
            "These are the patches alone: put the image together.": torch.Size([batch, 9, 12]),
        }
        likely = "For each prediction: the nearest of all K*N bank tokens; its patch goes where the target lies."
        expect_close(learner(imagined, *inputs), paste(), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("imagine")
def test_imagine_takes_images_that_are_not_square(learner):
    """H and W may differ: the grid is (H / P, W / P)."""
    for rows, columns in [(2, 5), (4, 3)]:
        inputs, _, nearest = draw_scene(1, 2, rows, columns, 2)
        _, targets, images, _, bank_images, _ = inputs
        right = pasted(images, targets, bank_images, nearest)
        grid = "unpatchify needs grid_size = (H // patch_size, W // patch_size), rows first."
        mistakes = {grid: right.mT.shape}
        likely = f"{EARLIER} If none did: the grid has H // patch_size rows and W // patch_size columns."
        got = learner(imagined, *inputs)
        expect_close(got, right, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("imagine")
def test_imagine_leaves_its_inputs_as_they_are(learner):
    """Predictions, targets, images and bank are the same after the call."""
    inputs, _, _ = draw_scene(2, 2, 3, 3, 2)
    names = ("predictions", "targets", "images", "bank_tokens", "bank_images")
    before = dict(zip(names, inputs, strict=False))
    after = learner(inputs_of_imagine, *inputs)
    for name in names:
        expect_equal(
            after[name],
            before[name],
            called=f"{learner.called}: {name} after it",
            likely=f"{name} was changed in place: work on a copy (clone).",
        )
    answer, images = after["answer"], before["images"]
    changed = find_difference(answer, images, 0, 0)
    expect_that(
        isinstance(answer, Tensor) and answer.shape == images.shape and bool(answer.isfinite().all() and changed),
        called=learner.called,
        expected=f"images {shape(images)} with other patches at the targets",
        got=describe(answer) if changed else "images as they were",
        likely="Who does nothing leaves everything as it is: give back a copy of images, with the patches in it.",
    )
