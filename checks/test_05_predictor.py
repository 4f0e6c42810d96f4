"""Lesson 5: the predictor."""

import torch
from torch import Tensor

from checks.calls import predictor as calls
from checks.expected import predictor as oracle
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import (
    Later,
    expect_answers,
    expect_close,
    expect_equal,
    expect_error,
    expect_that,
    shape,
)

# grid_size, dim, predictor_dim, depth, num_heads
CONFIGS = [(4, 12, 8, 1, 2), (3, 4, 8, 2, 4), (5, 5, 16, 2, 1)]


def drawn_config() -> tuple[int, ...]:
    grid_size, dim, quarter, depth, heads = drawn((3, 5), (2, 12), (1, 3), (1, 2), (1, 2))
    return grid_size, dim, 4 * quarter * heads, depth, heads


@exercise("Predictor")
def test_predictor_trains_what_the_checkpoints_hold(learner):
    """What is trained has the names and shapes of the published checkpoints, and nothing else is trained."""
    for config in CONFIGS:
        grid_size, dim, width, depth, _ = config
        expected = oracle.shapes(dim, width, depth)
        mistakes = Later(oracle.parameter_mistakes, grid_size, dim, width, depth)
        got = learner(calls.trained_parameters, config)
        blocks, deeper = oracle.count_blocks(got), (*config[:3], depth + 1, config[4])
        likely = f"There are {blocks} blocks under this name: depth is their number."
        if blocks == 0:
            likely = "No block is found under this name. (A plain list hides the blocks from the optimizer and from "
            likely += ".to(device): use nn.ModuleList.)"
        elif blocks != depth and oracle.count_blocks(learner(calls.trained_parameters, deeper)) == blocks:
            likely = "depth is ignored: it is the number of blocks."
        expect_that(
            blocks == depth,
            called=learner.called,
            expected=f"{depth} {'block' if depth == 1 else 'blocks'} in .predictor_blocks",
            got=str(blocks),
            likely=likely,
        )
        likely = "Print the names and shapes in model.named_parameters() and compare them with the docstring."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor")
def test_predictor_has_its_own_sincos_positions(learner):
    """predictor_pos_embed, in the state dict, is the sin-cos table of the grid in the predictor's width, [1, N, W]."""
    for config in CONFIGS:
        grid_size, dim, width, _, _ = config
        expected = oracle.sincos(grid_size, width)[None]
        mistakes = Later(oracle.table_mistakes, grid_size, dim, width)
        got = learner(calls.position_table, config)
        likely = "The table is sincos_position_embedding(grid_size, predictor_dim) with an axis for the batch in front."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor")
def test_predictor_draws_a_small_mask_token(learner):
    """The mask token starts as normal random numbers with mean 0 and standard deviation .02."""
    got = learner(calls.mask_tokens, (2, 4, 128, 1, 2), 8)
    expect_that(
        got.numel() == 8 * 128,
        called=learner.called,
        expected="128 numbers for each, [1, 1, 128]",
        got=f"{got.numel() // 8} numbers, {list(got.shape[1:])}",
        likely="One mask token, of the predictor's width, serves all queries.",
    )
    mean, std = got.double().mean().item(), got.double().std().item()
    if std < 1e-6:
        likely = "Every value is the same. Draw them: nn.init.trunc_normal_(self.mask_token, std=0.02)."
    elif 0.8 < std < 1.1:
        likely = (
            "The standard deviation is about 1, as where it is not set: write std=0.02. The first number after the "
            "tensor in trunc_normal_(t, 0.02) and normal_(t, 0.02) is the mean."
        )
    else:
        likely = "Draw it with nn.init.trunc_normal_(self.mask_token, std=0.02)."
    # 1024 numbers: their mean strays with a standard deviation of .02 / 32, past .0036 with p = 1e-8. Their standard
    # deviation strays by 2.2 %; tails cut at two standard deviations leave .0176 of .02 (and stray less). So it falls
    # below .0151 (6.5 sigma) or above .023 (6.8 sigma) with p < 1e-9.
    expect_that(
        abs(mean) < 0.0036 and 0.0151 < std < 0.023,
        called=learner.called,
        expected="mean 0 and standard deviation .02 (between .0151 and .023 over so many draws)",
        got=f"mean {mean:.4f} and standard deviation {std:.4f}",
        likely=likely,
    )
    # That none of 1024 normal numbers lies beyond 1.85 standard deviations has p = 1e-29, and p < 1e-20 if the tails
    # are cut at two (of which .88 is left). Uniform numbers end at 1.73.
    largest = got.double().abs().max().item()
    expect_that(
        largest > 1.85 * std,
        called=learner.called,
        expected="normal numbers, some of 1,024 beyond 1.85 standard deviations",
        got=f"none beyond {largest / std:.2f}",
        likely="They are not normal: draw them with nn.init.trunc_normal_(self.mask_token, std=0.02).",
    )


@exercise("Predictor")
def test_predictor_norm_has_eps_1e_6(learner):
    """predictor_norm is a LayerNorm with eps 1e-6, which shows on small tokens."""
    for config in CONFIGS[1:]:
        width = config[2]
        weight, bias, tokens = torch.randn(width), torch.randn(width), 2e-3 * torch.randn(2, 3, width)
        expected = oracle.normalise(tokens, weight, bias)
        mistakes = Later(oracle.norm_mistakes, tokens, weight, bias)
        got = learner(calls.norm, config, {"predictor_norm.weight": weight, "predictor_norm.bias": bias}, tokens)
        likely = "self.predictor_norm is nn.LayerNorm(predictor_dim, eps=1e-6)."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor", points=3)
def test_predictor_infers_a_block_from_the_context(learner):
    """For one target block: context and queries, each with its positions, through blocks, norm and projection."""
    known = zip(CONFIGS[:2], (3, 2), (4, 6), (4, 3), strict=True)
    for config, batch, count, length in (*known, (drawn_config(), *drawn((1, 3), (2, 5), (1, 4)))):
        heads = config[-1]
        weights, inputs = oracle.draw_where_eps_hides(config, batch, count, 1, length)
        expected = oracle.predict(heads, weights, *inputs)
        mistakes = Later(oracle.inference_mistakes, heads, weights, *inputs)
        got, again = learner(calls.two_calls, config, weights, *inputs)
        random = "The second answer is another one. Nothing here is random: leave dropout out, if there is any."
        expect_close(again, got, called=learner.called + ", a second time", likely=random)
        likely = (
            "predictor_embed(context token) + its position; mask_token + position of the target patch; both together "
            "through the blocks; then norm and projection of the queries."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor", points=2)
def test_predictor_keeps_the_target_blocks_apart(learner):
    """The predictions for several target blocks are those for each of them alone: none sees another."""
    known = zip(CONFIGS[1:], (3, 1), (3, 8), (4, 2), (1, 5), strict=True)
    for config, batch, count, blocks, length in (*known, (drawn_config(), *drawn((1, 3), (2, 5), (2, 4), (1, 4)))):
        dim, heads = config[1], config[-1]
        weights, inputs = oracle.draw_where_eps_hides(config, batch, count, blocks, length)
        mistakes = Later(oracle.joining_mistakes, heads, weights, *inputs)
        alone, got, other = learner(calls.alone_and_together, config, weights, *inputs)
        expect_that(
            isinstance(alone, Tensor) and list(alone.shape) == [batch, blocks, length, dim],
            called=learner.called,
            expected=f"[{batch}, 1, {length}, {dim}] for each block",
            got=f"{shape(alone)} for all of them" if isinstance(alone, Tensor) else type(alone).__name__,
            likely="The output is [B, M, Nt, D], also for M = 1 and for B = 1.",
        )
        likely = (
            "A block is predicted in another way when there are others. Make a row of the batch for each pair (image, "
            "block): the context of the image, then the queries of this block."
        )
        expect_close(got, alone, called=learner.called, mistakes=mistakes, likely=likely)
        expect_answers([alone, got, other], alone.shape, inputs[:1], "context", called=learner.called)


@exercise("Predictor")
def test_predictor_passes_gradients(learner):
    """Gradients reach the context tokens (so the student learns) and all that is trained here, the mask token too."""
    config = CONFIGS[1]
    weights, inputs = oracle.draw_weights(config), oracle.draw_inputs(*config[:2], 2, 4, 2, 3)
    got = learner(calls.gradients, config, weights, *inputs, torch.randn(2, 2, 3, config[1]))
    cut = [name for name, value in got.items() if value is None or not value.any()]
    if "context_tokens" in cut:
        likely = "The context does not reach the predictions, or is detached on the way: the student would never learn."
    elif "mask_token" in cut:
        likely = "The mask token is not used, or its graph is cut (detach, .data, no_grad)."
    else:
        likely = "These are not used in forward, or the graph is cut (detach, .data, no_grad)."
    expect_that(
        "context_tokens" in got and not cut,
        called=learner.called,
        expected="gradients for context_tokens and for every trained parameter",
        got=f"none for {', '.join(cut[:4])}" + f" and {len(cut) - 4} more" * (len(cut) > 4),
        likely=likely,
    )


@exercise("Predictor")
def test_predictor_works_in_float64(learner):
    """After .double(), float64 tokens give float64 predictions."""
    config = CONFIGS[0]
    inputs = oracle.draw_inputs(*config[:2], 2, 4, 2, 3)
    answers = learner(calls.predictions_in_float64, config, oracle.draw_weights(config), *inputs)
    got, likely = answers[0], "The predictions have the dtype of the tokens."
    if isinstance(got, Tensor) and got.dtype == torch.float32:
        likely = "Something is turned into float32: new tensors take the dtype (and the device) of the tokens."
    expect_that(
        isinstance(got, Tensor) and got.dtype == torch.float64,
        called=learner.called,
        expected="torch.float64",
        got=str(getattr(got, "dtype", type(got).__name__)),
        likely="Is the `return` missing?" if got is None else likely,
    )
    expect_answers(answers, [2, 2, 3, config[1]], inputs[:1], "context and weights", called=learner.called)


@exercise("jepa_loss")
def test_jepa_loss_is_the_mean_of_all_squared_differences(learner):
    """The loss is one number: the mean over images, blocks, patches and dims of the squared difference."""
    for size in ((2, 3, 4, 5), (1, 1, 1, 6), (3, 1, 2, 8), (2, 4, 3, 2)):
        predictions, targets = 2 * torch.randn(size), oracle.standardise(torch.randn(size))
        expected, mistakes = oracle.mean_square(predictions, targets), Later(oracle.loss_mistakes, predictions, targets)
        got = learner(calls.jepa_loss, predictions, targets)
        if type(got) in (float, int):
            expect_that(
                False,
                called=learner.called,
                expected="a tensor []",
                got=f"a {type(got).__name__}, {got:.6g}",
                likely="A number from .item() or float() has no graph to go backward through: return the tensor.",
            )
        likely = "Subtract, square, and take the mean over all axes."
        # one number: a narrow tolerance, or one mistake would now and then pass for another
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, rtol=1e-5, atol=1e-6)


def expect_depends_on_both(learner) -> None:
    """The loss is a number that predictions and targets decide: of another one a refusal or a gradient says nothing."""
    one, other, third = torch.randn(3, 2, 3, 4, 5)
    answers = [learner(calls.jepa_loss, *pair) for pair in ((one, other), (one, other), (third, other), (one, third))]
    expect_answers(answers, [], (), "predictions and targets", called=learner.called)


@exercise("jepa_loss")
def test_jepa_loss_refuses_two_shapes(learner):
    """Predictions and targets of two shapes are a ValueError, also where they would broadcast; of one, they are not."""
    wrong = ([2, 1, 4, 6], [2, 3, 1, 6], [1, 3, 4, 6], [2, 3, 4, 1], [2, 3, 5, 6], [2, 4, 3, 6], [3, 4, 6], [2, 12, 6])
    for i, size in enumerate(wrong):
        tensors = torch.randn(2, 3, 4, 6), torch.randn(size)
        likely = (
            "Compare the two shapes first and raise ValueError: broadcasting, or cutting to the shorter one, would "
            "pair predictions with other patches' targets in silence."
        )
        expect_error(ValueError, learner, calls.jepa_loss, *tensors[:: 1 if i % 2 else -1], likely=likely)
    expect_depends_on_both(learner)


@exercise("jepa_loss")
def test_jepa_loss_passes_the_gradient(learner):
    """The gradient reaches every prediction."""
    predictions, targets = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    got = learner(calls.loss_gradient, predictions, targets)
    reached = got is not None and bool((got.abs().sum(dim=-1) > 0).all())
    expect_that(
        reached,
        called=learner.called,
        expected="a gradient at each of the 2 * 3 * 4 predictions",
        got="no gradient" if got is None else f"a gradient at {int((got.abs().sum(dim=-1) > 0).sum())} of them",
        likely="The graph to the predictions is cut (detach, .data, .item(), no_grad), or some of them are left out.",
    )
    expect_depends_on_both(learner)
