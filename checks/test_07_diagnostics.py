"""Lesson 7: diagnostics."""

import torch
from torch import Tensor

from checks.calls import diagnostics as calls
from checks.expected import diagnostics as oracle
from checks.expected import diagnostics_pictures as pictures
from checks.expected import diagnostics_votes as votes
from checks.tool.exercise import exercise
from checks.tool.expect import (
    NO_MISTAKES,
    Later,
    describe,
    expect_close,
    expect_equal,
    expect_that,
    find_difference,
    shape,
)

EARLIER = "If an earlier check of this exercise failed, mend that one first."


@exercise("feature_std")
def test_feature_std_is_the_spread_between_images(learner):
    """The standard deviation over the images, averaged over positions and features."""
    for size in [(5, 7, 3), (2, 4, 6), (9, 2, 2)]:  # images, positions, features
        features = oracle.draw_features(*size)
        expected, mistakes = oracle.spread(features), Later(oracle.spread_mistakes, features)
        got = learner(calls.spread, features)
        likely = "The std over axis 0 gives [N, D]; its mean is the answer."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("feature_std")
def test_feature_std_is_zero_after_a_collapse(learner):
    """If every image gets the same tokens, the spread is 0, however much the positions differ."""
    for size in [(4, 6, 3), (7, 3, 5)]:
        batch, places, dim = size
        features = torch.randn(places, dim).expand(batch, -1, -1).clone()
        got = learner(calls.spread, features)
        likely = EARLIER
        if type(got) is float and 0 < got < 0.1:  # the spread over other axes is near 1
            likely = "Nothing differs between the images, so their std is 0. Nothing is to be added to it, no epsilon "
            likely += "either: it is only measured, nothing is divided by it."
        called = learner.called + ", the same tokens for every image"
        expect_close(got, 0.0, called=called, mistakes=oracle.A_TENSOR, likely=likely)
        got = learner(calls.spread, features + torch.randn(size))
        expect_that(
            type(got) in (float, int) and got > 0,
            called=learner.called + ", other tokens for every image",
            expected="more than 0",
            got=describe(got),
            likely="These images differ, so that their spread is more than 0: 0 is to tell of a collapse.",
        )


@exercise("effective_rank")
def test_effective_rank_is_the_exponential_of_an_entropy(learner):
    """exp of the entropy of the singular values of all tokens, divided by their sum."""
    for size in [(4, 5, 6), (40, 8), (2, 3, 6, 5)]:
        features = oracle.draw_sloping(size)
        expected, mistakes = oracle.rank(features), Later(oracle.rank_mistakes, features)
        got = learner(calls.rank, features)
        likely = "rows = features.flatten(0, -2); p = singular values / their sum; exp of -(p * p.log()).sum()."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("effective_rank")
def test_effective_rank_counts_the_directions_in_use(learner):
    """Features that fill r directions evenly have rank r, also far below D: a singular value of 0 adds nothing."""
    for rows, directions, what in oracle.draw_even([(1, 16), (3, 12), (8, 8)]):  # r, D
        expected, mistakes = float(directions), Later(oracle.nan_mistakes, rows)
        got = learner(calls.rank, rows.float().unflatten(0, (4, 12)))
        likely = EARLIER
        if type(got) is float and directions < got < 1.5 * directions:
            likely = "More directions count than are in use: singular values that should be 0? "
            likely += "An eigenvalue that is 0 but for float32's rounding has a "
            likely += "root that is not small: compute in float64, or use svdvals. Add no more than 1e-7 to p."
        called = f"{learner.called}, {what}"
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=1e-3)


BATCHES = [(4, 3, 4), (2, 2, 3), (6, 1, 5)]  # images, blocks, patches a block
NAMES = ("loss", "constant", "per_position", "wrong_image")


def value_of(learner, name, *inputs):
    """One entry of what loss_baselines gives."""
    got = learner(calls.baselines, *inputs)
    expect_that(
        type(got) is dict and name in got,
        called=learner.called,
        expected=f"a dict with the names {', '.join(NAMES)}",
        got=describe(list(got) if type(got) is dict else got),
        likely="Compare the names with the ones in the docstring." if got is not None else "Is the `return` missing?",
    )
    return got[name]


@exercise("loss_baselines")
def test_loss_baselines_loss_is_the_mean_squared_error(learner):
    """loss: the mean of the squared difference between each prediction and its own target."""
    for size in BATCHES:
        batch = oracle.draw_batch(*size)
        expected, mistakes = oracle.loss(*batch), Later(oracle.loss_mistakes, *batch)
        got = value_of(learner, "loss", *batch)
        called = f"{learner.called}: loss"
        likely = "truth[b, m, i] is teacher_tokens[b, targets[b, m, i]]; the loss is their mean squared error."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


@exercise("loss_baselines")
def test_loss_baselines_constant_is_one_vector_for_all_targets(learner):
    """constant: the error of the one vector that is best for all targets, their mean."""
    for size in BATCHES:
        batch = oracle.draw_batch(*size)
        expected, mistakes = oracle.constant(*batch), Later(oracle.constant_mistakes, *batch)
        got = value_of(learner, "constant", *batch)
        called = f"{learner.called}: constant"
        likely = "The mean of truth over images, blocks and patches, [D]; then the mean squared difference to it."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


@exercise("loss_baselines")
def test_loss_baselines_per_position_is_the_best_vector_of_each_position(learner):
    """per_position: the error of the best vector for each position, the mean of the targets there."""
    for size in BATCHES:
        batch = oracle.draw_batch(*size)
        expected, mistakes = oracle.per_position(*batch), Later(oracle.per_position_mistakes, *batch)
        got = value_of(learner, "per_position", *batch)
        called = f"{learner.called}: per_position"
        likely = "For a position p the best vector is truth[targets == p].mean(dim=0). Hold each target against that "
        likely += "of its position, and average over all targets."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


@exercise("loss_baselines")
def test_loss_baselines_wrong_image_takes_the_same_positions(learner):
    """wrong_image: the predictions against the tokens of another image, at the positions of their own targets."""
    for _, blocks, size in BATCHES:
        batch = oracle.draw_batch(2, blocks, size)  # of two images, one is the other
        expected, mistakes = oracle.wrong_image(*batch), Later(oracle.wrong_image_mistakes, *batch)
        got = value_of(learner, "wrong_image", *batch)
        called = f"{learner.called}: wrong_image"
        likely = "Roll teacher_tokens over the images, then take the same targets as for the loss."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


@exercise("loss_baselines")
def test_loss_baselines_wrong_image_is_never_the_own(learner):
    """wrong_image: whichever other image is taken, no prediction is held against its own."""
    for size in (3, 5, 4):
        batch = oracle.draw_equally_far(size)  # so that the choice is free: 2 of 8 features differ by 1
        mistakes = Later(oracle.own_image_mistakes, *batch)
        got = value_of(learner, "wrong_image", *batch)
        called = f"{learner.called}: wrong_image, with perfect predictions"
        expect_close(got, 2 / 8, called=called, mistakes=mistakes, likely=EARLIER)


@exercise("knn_accuracy")
def test_knn_accuracy_lets_the_k_nearest_vote(learner):
    """A query gets the label that most of the k bank rows with the largest cosine similarity have."""
    for k in (5, 1, 8):
        bank, labels = votes.draw_bank(30)
        queries = votes.draw_clear_queries(bank, labels, k)
        expected = votes.answers(bank, labels, queries, k)
        mistakes = Later(votes.vote_mistakes, bank, labels, queries, k)
        got = learner(calls.votes, bank, labels, queries, k, list(votes.LABELS))
        likely = "Cosine of each query with each bank row, the k largest, the label that most of these have."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("knn_accuracy")
def test_knn_accuracy_is_the_share_of_right_answers(learner):
    """A float from 0 to 1: how many of all queries get their own label."""
    directions = torch.linalg.qr(torch.randn(4, 4)).Q
    for count in (7, 5):
        inputs = votes.draw_easy(directions, count)  # two queries have a label that the bank lacks
        share = 1 - 2 / count
        mistakes = Later(votes.share_mistakes, share, count, len(inputs[0]))
        got = learner(calls.accuracy, *inputs, 3)
        likely = "Right answers divided by the number of queries; bank and queries keep their places."
        expect_close(got, share, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("knn_accuracy")
def test_knn_accuracy_counts_every_query_once(learner):
    """Each of many queries counts alike, in whatever chunks they are worked through."""
    directions = torch.linalg.qr(torch.randn(4, 4)).Q
    for count, last in [(2600, 500), (1100, 60)]:
        which = torch.randint(4, (count,))
        query_labels = torch.where(torch.arange(count) < count - last, which, which + 1)  # the last ones are wrong
        share = (count - last) / count
        inputs = directions, torch.arange(4), directions[which] * 3, query_labels
        reversed_inputs = *inputs[:2], inputs[2].flip(0), inputs[3].flip(0)
        reversed_share = learner(calls.accuracy_of_many, *reversed_inputs, 1)
        got = learner(calls.accuracy_of_many, *inputs, 1)
        mistakes = votes.LEFT_OUT if reversed_share != got else NO_MISTAKES  # the last ones are others then
        called = f"{learner.called}, all right but the last {last}"
        likely = "Add up the right answers of all chunks, and divide once by the number of all queries: the last "
        likely += "chunk is smaller, so a mean over chunks weighs its queries more."
        expect_close(got, share, called=called, mistakes=mistakes, likely=likely)


@exercise("knn_accuracy")
def test_knn_accuracy_asks_twenty_by_default(learner):
    """Without k, the 20 nearest vote."""
    angles = torch.linspace(0, 1.5, 40)
    order = torch.randperm(40)
    bank = torch.stack([angles.cos(), angles.sin()], dim=1)[order]
    labels = torch.tensor([50] * 9 + [60] * 11 + [50] * 20)[order]  # neither numbers of rows nor answers
    queries = torch.tensor([[2.0, 0.0]])
    for label, share in ((60, 1.0), (50, 0.0)):
        got = learner(calls.accuracy_by_default, bank, labels, queries, torch.tensor([label]))
        called = f"{learner.called}; of 40 bank rows the nearest 9 have label 50, the next 11 label 60, the rest 50"
        likely = f"k is 20 unless it is given: 11 votes of 20 are for label 60. The query's own is {label} here."
        expect_close(got, share, called=called, likely=likely)


@exercise("pca_image")
def test_pca_image_paints_three_components_of_all_tokens(learner):
    """Red, green and blue are the first three components of all tokens together, each scaled to 0..1."""
    for batch, grid, size in [(3, 4, 1), (2, 3, 0.01), (1, 5, 1)]:
        tokens, scores = pictures.draw_tokens(batch, grid * grid)
        tokens, right = size * tokens, pictures.painted(pictures.scaled(scores), grid, grid)
        got = learner(calls.colours, tokens, grid)
        expected = pictures.as_signed(right, got)  # a component and its mirror image are equally good
        mistakes = Later(pictures.colour_mistakes, tokens, scores, grid, got)
        likely = pictures.likely_in_colours(tokens, right, got)
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, atol=1e-3)


@exercise("pca_image")
def test_pca_image_fills_a_grid_that_is_not_square(learner):
    """With grid_size (rows, columns) the picture has these, and the patches run row by row."""
    for rows, columns in [(3, 5), (4, 3)]:
        tokens, scores = pictures.draw_tokens(1, rows * columns)
        right = pictures.painted(pictures.scaled(scores), rows, columns)
        got = learner(calls.colours, tokens, [rows, columns])
        expected = pictures.as_signed(right, got)
        mistakes = Later(pictures.oblong_mistakes, scores, rows, columns, got)
        likely = f"{EARLIER} If none did: the patches run row by row, [B, rows, columns, 3]."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, atol=1e-3)


@exercise("pca_image")
def test_pca_image_of_collapsed_tokens_has_one_colour(learner):
    """Tokens that are all alike get one colour in 0..1, and no NaN."""
    token = torch.randint(2, 9, (6,)).float()  # whole numbers: their mean is exact, and centred they are 0
    for tokens in (token.expand(2, 16, 6), torch.zeros(1, 16, 4)):
        expected = shape(tokens[..., :3].unflatten(1, (4, 4)))
        got = learner(calls.colours, tokens.clone(), 4)
        called = learner.called + ", all tokens alike"
        expect_equal(shape(got) if isinstance(got, Tensor) else describe(got), expected, called=called)
        same = bool((got == got[0, 0, 0]).all())
        likely = "Tokens that are all alike have one colour, of three numbers from 0 to 1."
        if got.isnan().any():
            likely = "high - low is 0, and 0 / 0 is NaN: clamp it to a small number. A collapse must show as one "
            likely += "colour."
        expect_that(
            same and 0 <= got.min() <= got.max() <= 1,
            called=called,
            expected="one colour everywhere, from 0 to 1",
            got=f"values from {got.min():.4g} to {got.max():.4g}",
            likely=likely,
        )
    got = learner(calls.colours, pictures.draw_tokens(2, 16)[0], 4)
    expect_that(
        isinstance(got, Tensor) and bool((got != got.flatten()[0]).any()),
        called=learner.called,
        expected="more than one colour where the tokens differ",
        got=describe(got),
        likely="A picture of one colour is to tell of a collapse: these tokens differ.",
    )


@exercise("imagine", points=2)
def test_imagine_pastes_the_patch_of_the_nearest_token(learner):
    """In each target's place stands the bank patch whose token is nearest to its prediction; the rest is unchanged."""
    for batch, blocks, bank in [(2, 3, 3), (3, 2, 4), (2, 2, 1)]:
        scene = pictures.draw_scene(batch, blocks, 3, 3, bank)
        expected, mistakes = pictures.filled(scene), Later(pictures.paste_mistakes, scene)
        got = learner(calls.imagined, *scene)
        likely = "For each prediction: the nearest of all K*N bank tokens; its patch goes where the target lies."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("imagine")
def test_imagine_takes_images_that_are_not_square(learner):
    """H and W may differ: the grid is (H / P, W / P)."""
    for rows, columns in [(2, 5), (4, 3)]:
        scene = pictures.draw_scene(1, 2, rows, columns, 2)
        expected = pictures.filled(scene)
        got = learner(calls.imagined, *scene)
        mistakes = Later(pictures.turned_grid, expected)
        likely = f"{EARLIER} If none did: the grid has H // patch_size rows and W // patch_size columns."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("imagine")
def test_imagine_leaves_its_inputs_as_they_are(learner):
    """Predictions, targets, images and bank are the same after the call."""
    scene = pictures.draw_scene(2, 2, 3, 3, 2)
    after = learner(calls.inputs_of_imagine, *scene)
    for name in ("predictions", "targets", "images", "bank_tokens", "bank_images"):
        called, likely = f"{learner.called}: {name} after it", f"{name} was changed in place: work on a copy (clone)."
        expect_equal(after[name], getattr(scene, name), called=called, likely=likely)
    answer, images = after["answer"], scene.images
    expect_that(
        bool(find_difference(answer, images, 0, 0)),
        called=learner.called,
        expected=f"images {shape(images)} with other patches at the targets",
        got="images as they were",
        likely="Who does nothing leaves everything as it is: give back a copy of images, with the patches in it.",
    )
    expect_that(
        pictures.has_a_patch(answer, scene),
        called=learner.called,
        expected=f"images {shape(images)} whose other patches have stayed",
        got=describe(answer),
        likely="The check of the pasted patches says more, and this one counts once there are some.",
    )
