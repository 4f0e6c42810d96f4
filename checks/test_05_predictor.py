"""Lesson 5: the predictor."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, expect_close, expect_equal, expect_error, expect_that, shape

# grid_size, dim, predictor_dim, depth, num_heads
CONFIGS = [(4, 12, 8, 1, 2), (3, 4, 8, 2, 4), (5, 5, 16, 2, 1)]


def drawn_config() -> tuple[int, ...]:
    grid_size, dim, quarter, depth, heads = drawn((3, 5), (2, 12), (1, 3), (1, 2), (1, 2))
    return grid_size, dim, 4 * quarter * heads, depth, heads


def trained_parameters(lesson, config):
    """Predictor{config}.named_parameters()"""
    model = lesson.Predictor(*config)
    return {name: list(value.shape) for name, value in model.named_parameters() if value.requires_grad}


def position_table(lesson, config):
    """Predictor{config}.state_dict()["predictor_pos_embed"]"""
    return lesson.Predictor(*config).state_dict().get("predictor_pos_embed")


def mask_tokens(lesson, config, builds):
    """Predictor{config}.mask_token, built {builds} times"""
    return torch.stack([lesson.Predictor(*config).mask_token for _ in range(builds)])


def norm(lesson, config, weights, tokens):
    """Predictor{config}.predictor_norm(tokens {tokens})"""
    return predictor(lesson, config, weights).predictor_norm(tokens)


def two_calls(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}(context_tokens {context_tokens}, context {context}, targets {targets})"""
    model = predictor(lesson, config, weights)
    return [model(context_tokens, context, targets) for _ in range(2)]


def alone_and_together(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}(context_tokens {context_tokens}, context {context}, targets {targets}), and block by block"""
    model = predictor(lesson, config, weights)
    alone = [model(context_tokens, context, block[:, None]) for block in targets.unbind(1)]
    return torch.cat(alone, dim=1), model(context_tokens, context, targets)


def gradients(lesson, config, weights, context_tokens, context, targets, noise):
    """(Predictor{config}(context_tokens {context_tokens}, context ..., targets ...) * noise).sum().backward()"""
    model = predictor(lesson, config, weights)
    context_tokens.requires_grad_()
    (model(context_tokens, context, targets) * noise).sum().backward()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return {name: value.grad for name, value in {"context_tokens": context_tokens, **trained}.items()}


def predictions_in_float64(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}.double()(context_tokens {context_tokens} in float64, context {context}, targets {targets})"""
    return predictor(lesson, config, weights).double()(context_tokens.double(), context, targets)


def predictor(lesson, config, weights):
    model = lesson.Predictor(*config)
    own = model.state_dict()
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            raise AttributeError(f"Predictor has no attribute {name} {list(value.shape)} in its state dict")
    model.load_state_dict(own | weights)
    return model


def jepa_loss(lesson, predictions, targets):
    return lesson.jepa_loss(predictions, targets)


def loss_gradient(lesson, predictions, targets):
    """jepa_loss(predictions {predictions}, targets {targets}).backward()"""
    predictions.requires_grad_()
    lesson.jepa_loss(predictions, targets).backward()
    return predictions.grad


def shapes(dim: int, width: int, depth: int) -> dict[str, list[int]]:
    """What is trained in a predictor: the names and shapes of the published checkpoints."""
    block = {
        **{f"{norm}.{name}": [width] for norm in ("norm1", "norm2") for name in ("weight", "bias")},
        **{"attn.qkv.weight": [3 * width, width], "attn.qkv.bias": [3 * width]},
        **{"attn.proj.weight": [width, width], "attn.proj.bias": [width]},
        **{"mlp.fc1.weight": [4 * width, width], "mlp.fc1.bias": [4 * width]},
        **{"mlp.fc2.weight": [width, 4 * width], "mlp.fc2.bias": [width]},
    }
    return {
        "mask_token": [1, 1, width],
        **{"predictor_embed.weight": [width, dim], "predictor_embed.bias": [width]},
        **{f"predictor_blocks.{i}.{name}": size for i in range(depth) for name, size in block.items()},
        **{"predictor_norm.weight": [width], "predictor_norm.bias": [width]},
        **{"predictor_proj.weight": [dim, width], "predictor_proj.bias": [dim]},
    }


def sincos(grid_size: int, width: int) -> Tensor:
    """The position of each patch, column then row, each as sines then cosines: [N, W]."""
    patches, quarter = torch.arange(grid_size**2), width // 4
    places = torch.stack([patches % grid_size, patches // grid_size], dim=1).double()
    angles = places[:, :, None] / 10000 ** (torch.arange(quarter).double() / quarter)
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1).float()


def draw_weights(config: tuple[int, ...]) -> dict[str, Tensor]:
    """Random weights for all that a predictor holds, large enough for each of them to show."""
    grid_size, dim, width, depth, _ = config
    weights = {name: torch.randn(size) * (2 / size[-1] ** 0.5) for name, size in shapes(dim, width, depth).items()}
    for name in weights:
        if len(weights[name].shape) == 1:
            weights[name] = 0.5 * torch.randn(weights[name].shape) + ("norm" in name and "weight" in name)
    weights["mask_token"] = torch.randn(1, 1, width)
    return weights | {"predictor_pos_embed": sincos(grid_size, width)[None]}


def draw_inputs(grid_size: int, dim: int, batch: int, seen: int, blocks: int, length: int) -> tuple[Tensor, ...]:
    """Context tokens [B, Nc, D], context [B, Nc] and targets [B, M, Nt], shuffled; no target is in the context."""
    order = torch.rand(batch, grid_size**2).argsort(dim=1)
    others = order[:, None, seen:].expand(-1, blocks, -1)
    picks = torch.rand(others.shape).argsort(dim=2)[..., :length]
    return torch.randn(batch, seen, dim), order[:, :seen], others.gather(2, picks)


def infer(weights: dict[str, Tensor], heads: int, seen: Tensor, queries: Tensor) -> Tensor:
    """The predictions for queries [B, M, Nt, W] from the context seen [B, 1 or M, Nc, W].

    The blocks are a batch axis of torch's own attention, so that none can see another.
    """
    return read_off(weights, encode(weights, heads, join(seen, queries))[:, :, -queries.shape[2] :])


def join(seen: Tensor, queries: Tensor) -> Tensor:
    return torch.cat([seen.expand(-1, queries.shape[1], -1, -1), queries], dim=2)


def encode(weights: dict[str, Tensor], heads: int, tokens: Tensor) -> Tensor:
    depth = sum(name.endswith("norm1.weight") for name in weights)
    for i in range(depth):

        def layer(name: str, x: Tensor, block: str = f"predictor_blocks.{i}.") -> Tensor:
            weight, bias = weights[f"{block}{name}.weight"], weights[f"{block}{name}.bias"]
            return F.linear(x, weight, bias) if weight.ndim == 2 else F.layer_norm(x, weight.shape, weight, bias, 1e-6)

        qkv = layer("attn.qkv", layer("norm1", tokens)).unflatten(-1, (3, heads, -1))
        gathered = F.scaled_dot_product_attention(*(part.transpose(-2, -3) for part in qkv.unbind(-3)))
        tokens = tokens + layer("attn.proj", gathered.transpose(-2, -3).flatten(-2))
        tokens = tokens + layer("mlp.fc2", F.gelu(layer("mlp.fc1", layer("norm2", tokens))))
    return tokens


def read_off(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    size = tokens.shape[-1:]
    tokens = F.layer_norm(tokens, size, weights["predictor_norm.weight"], weights["predictor_norm.bias"], 1e-6)
    return project(weights, tokens)


def project(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return F.linear(tokens, weights["predictor_proj.weight"], weights["predictor_proj.bias"])


def embed(weights: dict[str, Tensor], context_tokens: Tensor) -> Tensor:
    """The context in the predictor's width, without positions: [B, 1, Nc, W]."""
    return F.linear(context_tokens, weights["predictor_embed.weight"], weights["predictor_embed.bias"])[:, None]


@exercise("Predictor")
def test_predictor_trains_what_the_checkpoints_hold(learner):
    """What is trained has the names and shapes of the published checkpoints, and nothing else is trained."""
    for config in CONFIGS:
        grid_size, dim, width, depth, _ = config
        expected = shapes(dim, width, depth)
        table = [1, grid_size**2, width]
        mistakes = {
            "The positions are trained: make the table a buffer, or a parameter with requires_grad=False.": expected
            | {"predictor_pos_embed": table},
            "mask_token is not a trained parameter: wrap it in nn.Parameter. The optimizer never sees a plain tensor "
            "or a buffer.": without(expected, "mask_token"),
            "Each patch has a mask token of its own: there is one, [1, 1, W], for all queries.": expected
            | {"mask_token": table},
            "The mask token has the encoder's width: it enters the predictor's blocks, so its width is W.": expected
            | {"mask_token": [1, 1, dim]},
            "mask_token has two axes of size 1 in front: [1, 1, W].": expected | {"mask_token": [width]},
            "mask_token has two axes of size 1, not one: [1, 1, W].": expected | {"mask_token": [1, width]},
            "predictor_norm is missing, or has no weight and bias: the final norm is an nn.LayerNorm.": without(
                expected, "predictor_norm."
            ),
            "predictor_proj is missing: it brings the predictions from W back to D.": without(
                expected, "predictor_proj."
            ),
            "predictor_embed is missing: it brings the context tokens from D to W.": without(
                expected, "predictor_embed."
            ),
            "predictor_embed has no bias.": without(expected, "predictor_embed.bias"),
            "predictor_proj has no bias.": without(expected, "predictor_proj.bias"),
            "predictor_dim is ignored: the whole predictor has the encoder's width.": shapes(dim, dim, depth),
        }
        got = learner(trained_parameters, config)
        blocks = len({name.split(".")[1] for name in got if name.startswith("predictor_blocks.")})
        likely = "depth is ignored: it is the number of blocks."
        if blocks == 0:
            likely = "A plain list hides the blocks from the optimizer and from .to(device): use nn.ModuleList."
        expect_that(
            blocks == depth,
            called=learner.called,
            expected=f"{depth} {'block' if depth == 1 else 'blocks'} in .predictor_blocks",
            got=str(blocks),
            likely=likely,
        )
        likely = "Print the names and shapes in model.named_parameters() and compare them with the docstring."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def without(names: dict, start: str) -> dict:
    return {name: size for name, size in names.items() if not name.startswith(start)}


@exercise("Predictor")
def test_predictor_has_its_own_sincos_positions(learner):
    """predictor_pos_embed, in the state dict, is the sin-cos table of the grid in the predictor's width, [1, N, W]."""
    for config in CONFIGS:
        grid_size, dim, width, _, _ = config
        expected = sincos(grid_size, width)[None]
        mistakes = {
            "The table is not in the state dict: use register_buffer, or nn.Parameter with requires_grad=False. A "
            "plain attribute is not saved and does not follow .to(device).": None,
            "The table has the encoder's width D: the predictor has positions in its own width W.": torch.Size(
                [1, grid_size**2, dim]
            ),
            "The table has an axis for the batch in front: [1, N, W].": torch.Size([grid_size**2, width]),
            "The table has a row too many: there is no cls token here.": torch.Size([1, grid_size**2 + 1, width]),
            "The table starts at zero, and as it is never trained all places look the same.": 0 * expected,
        }
        got = learner(position_table, config)
        likely = "The table is sincos_position_embedding(grid_size, predictor_dim) with an axis for the batch in front."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor")
def test_predictor_draws_a_small_mask_token(learner):
    """The mask token starts as random numbers with mean 0 and standard deviation .02."""
    got = learner(mask_tokens, (2, 4, 128, 1, 2), 8)
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
    elif std > 0.7:
        likely = (
            "The standard deviation is not set: write std=0.02. The first number after the tensor in trunc_normal_(t, "
            "0.02) and normal_(t, 0.02) is the mean."
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


@exercise("Predictor")
def test_predictor_norm_has_eps_1e_6(learner):
    """predictor_norm is a LayerNorm with eps 1e-6, which shows on small tokens."""
    for config in CONFIGS[1:]:
        width = config[2]
        weight, bias, tokens = torch.randn(width), torch.randn(width), 2e-3 * torch.randn(2, 3, width)
        expected, other = (F.layer_norm(tokens, [width], weight, bias, eps) for eps in (1e-6, 1e-5))
        mistakes = {"eps is 1e-5 here, torch's default: give eps=1e-6, the value of the checkpoints.": other}
        got = learner(norm, config, {"predictor_norm.weight": weight, "predictor_norm.bias": bias}, tokens)
        likely = "self.predictor_norm is nn.LayerNorm(predictor_dim, eps=1e-6)."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Predictor", points=3)
def test_predictor_infers_a_block_from_the_context(learner):
    """For one target block: context and queries, each with its positions, through blocks, norm and projection."""
    known = zip(CONFIGS[:2], (3, 2), (4, 6), (4, 3), strict=True)
    for config, batch, count, length in (*known, (drawn_config(), *drawn((1, 3), (2, 5), (1, 4)))):
        grid_size, dim, _, _, heads = config
        weights = draw_weights(config)
        context_tokens, context, targets = draw_inputs(grid_size, dim, batch, count, 1, length)
        table = weights["predictor_pos_embed"][0]
        seen = embed(weights, context_tokens) + table[context][:, None]
        expected = infer(weights, heads, seen, weights["mask_token"] + table[targets])
        got, again = learner(two_calls, config, weights, context_tokens, context, targets)
        random = "Nothing here is random: leave dropout out."
        expect_close(again, got, called=learner.called + ", a second time", likely=random)
        mistakes = Later(inference_mistakes, config, weights, context_tokens, context, targets)
        likely = (
            "predictor_embed(context token) + its position; mask_token + position of the target patch; both together "
            "through the blocks; then norm and projection of the queries."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def inference_mistakes(
    config: tuple[int, ...], weights: dict[str, Tensor], context_tokens: Tensor, context: Tensor, targets: Tensor
) -> dict[str, Tensor | torch.Size]:
    dim, heads = config[1], config[4]
    (batch, _, length), count = targets.shape, context.shape[1]
    table, mask, tokens = weights["predictor_pos_embed"][0], weights["mask_token"], embed(weights, context_tokens)
    here, there = table[context][:, None], table[targets]
    seen, queries, empty = tokens + here, mask + there, mask.expand_as(there)
    hidden = encode(weights, heads, join(seen, queries))
    expected = read_off(weights, hidden[:, :, count:])
    # what forward does otherwise: the sentence and the tokens that enter the blocks
    entering = {
        "The context tokens get no positions: nothing tells which patches they are.": (tokens, queries),
        "The queries get no positions, so all of them ask for the same patch.": (seen, empty),
        "There are no positions at all.": (tokens, empty),
        "A query is the position alone: add the mask token.": (seen, there),
        "The mask token belongs to the queries alone, not to the context tokens.": (mask + seen, queries),
        "The mask token is added to the context tokens and not to the queries.": (mask + seen, there),
        "The queries get the positions of patches 0 to Nt - 1, whatever targets says.": (
            seen,
            empty + table[:length],
        ),
        "The context gets the positions of patches 0 to Nc - 1, whatever context says.": (
            tokens + table[:count],
            queries,
        ),
        "Context and queries get the positions of patches 0, 1, 2, ...: take the rows that context and targets name.": (
            tokens + table[:count],
            empty + table[:length],
        ),
        "The queries of all images get the positions of the first image.": (seen, empty + there[:1]),
        "The context of all images gets the positions of the first image.": (tokens + here[:1], queries),
        "All images get the positions of the first image.": (tokens + here[:1], empty + there[:1]),
        "The predictions come in ascending order of the patches: keep the order of targets.": (
            seen,
            mask + table[targets.sort(dim=2).values],
        ),
        "The positions are swapped: the context gets those of targets, the queries those of context.": (
            (tokens + there, mask + here) if count == length else (seen, queries)
        ),
        "The queries get the positions of the context.": (seen, mask + here if count == length else queries),
    }
    for by, way in ((1, "before"), (-1, "after")):
        moved = table.roll(by, dims=0)
        sentence = f"get the positions of the patch {way} theirs: 0 is the first patch, there is no cls token."
        entering |= {
            f"The tokens {sentence}": (tokens + moved[context][:, None], mask + moved[targets]),
            f"The queries {sentence}": (seen, mask + moved[targets]),
            f"The context tokens {sentence}": (tokens + moved[context][:, None], queries),
        }
    mistakes = {sentence: infer(weights, heads, *pair) for sentence, pair in entering.items()}
    for other in {1, 2, 4, 8} - {heads}:
        sentence = f"num_heads is ignored: there are {other} heads where {heads} are asked for."
        mistakes[sentence] = infer(weights, other, seen, queries)
    first = {name: value for name, value in weights.items() if "_blocks" not in name or "_blocks.0." in name}
    together = encode(weights, heads, join(seen, queries).flatten(0, 2)[None, None]).view_as(hidden)
    mistakes |= {
        "Only the first of the blocks is applied.": infer(first, heads, seen, queries),
        "The blocks are not applied.": read_off(weights, queries),
        "The final norm is not applied.": project(weights, hidden[:, :, count:]),
        "The predictions are normalised: only the targets are.": F.layer_norm(expected, [dim]),
        "The images of the batch see each other: the first axis must be the batch.": read_off(
            weights, together[:, :, count:]
        ),
        "What is read off is context: take the Nt tokens that were the queries.": read_off(
            weights, hidden[:, :, :length]
        ),
        "What is read off is the end of the context: take the Nt tokens that were the queries.": read_off(
            weights, hidden[:, :, count - length : count]
        ),
        "What is read off starts one token too early, in the context.": read_off(weights, hidden[:, :, count - 1 : -1]),
        "The axes are (image, block): here the blocks come first.": expected.transpose(0, 1),
        "There is no axis for the target blocks: the output is [B, M, Nt, D], also for M = 1.": expected[:, 0].shape,
        "Only the context enters the blocks: the queries, mask tokens with the positions of the targets, are "
        "missing.": read_off(weights, encode(weights, heads, seen)),
        "The context is still there: only the queries are predictions.": torch.Size([batch, 1, count + length, dim]),
        "The output has the predictor's width: predictor_proj is not applied.": queries.shape,
    }
    return mistakes


@exercise("Predictor", points=2)
def test_predictor_keeps_the_target_blocks_apart(learner):
    """The predictions for several target blocks are those for each of them alone: none sees another."""
    known = zip(CONFIGS[1:], (3, 1), (3, 8), (4, 2), (1, 5), strict=True)
    for config, batch, count, blocks, length in (*known, (drawn_config(), *drawn((1, 3), (2, 5), (2, 4), (1, 4)))):
        grid_size, dim, _, _, heads = config
        weights = draw_weights(config)
        context_tokens, context, targets = draw_inputs(grid_size, dim, batch, count, blocks, length)
        table = weights["predictor_pos_embed"][0]
        seen = embed(weights, context_tokens) + table[context][:, None]
        queries = weights["mask_token"] + table[targets]
        mistakes = Later(joining_mistakes, weights, heads, seen, queries)
        alone, got = learner(alone_and_together, config, weights, context_tokens, context, targets)
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


def joining_mistakes(
    weights: dict[str, Tensor], heads: int, seen: Tensor, queries: Tensor
) -> dict[str, Tensor | torch.Size]:
    batch, blocks = queries.shape[:2]
    right = infer(weights, heads, seen, queries)
    # the context of which image stands in the row of (image, block), if the two are not repeated alike
    by_blocks = (torch.arange(batch * blocks) % batch).view(batch, blocks)
    by_images = (torch.arange(batch * blocks) // blocks).view(blocks, batch).T
    together = infer(weights, heads, seen, queries.flatten(1, 2)[:, None])
    return {
        "The blocks are predicted together, so that their queries see each other. Give each block a row of its own "
        "in the batch, with the context repeated.": together.view_as(right),
        "Images are mixed up: the rows of the queries go image by image, those of the context block by block. "
        "Repeat the context with repeat_interleave, not with repeat.": infer(
            weights, heads, seen[by_blocks, 0], queries
        ),
        "Images are mixed up: the rows of the queries go block by block, those of the context image by image. "
        "Repeat the context with repeat, not with repeat_interleave.": infer(
            weights, heads, seen[by_images, 0], queries
        ),
        "The rows go block by block: split them into [M, B, Nt, D], then swap the first two axes.": right.transpose(
            0, 1
        ).reshape(right.shape),
        "Every block gets the predictions of the first one.": right[:, :1].expand_as(right),
        "Every block gets the average over the blocks.": right.mean(dim=1, keepdim=True).expand_as(right),
        "Only one block is predicted: targets holds M.": right[:, :1].shape,
        "The rows (image, block) are one axis: unflatten it into [B, M, Nt, D].": right.flatten(0, 1).shape,
    }


@exercise("Predictor")
def test_predictor_passes_gradients(learner):
    """Gradients reach the context tokens (so the student learns) and all that is trained here, the mask token too."""
    config = CONFIGS[1]
    weights, inputs = draw_weights(config), draw_inputs(*config[:2], 2, 4, 2, 3)
    got = learner(gradients, config, weights, *inputs, torch.randn(2, 2, 3, config[1]))
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
    inputs = draw_inputs(*config[:2], 2, 4, 2, 3)
    got = learner(predictions_in_float64, config, draw_weights(config), *inputs)
    expect_that(
        isinstance(got, Tensor) and got.dtype == torch.float64,
        called=learner.called,
        expected="torch.float64",
        got=str(getattr(got, "dtype", type(got).__name__)),
        likely="Something is turned into float32: new tensors take the dtype (and the device) of the tokens.",
    )


@exercise("jepa_loss")
def test_jepa_loss_is_the_mean_of_all_squared_differences(learner):
    """The loss is one number: the mean over images, blocks, patches and dims of the squared difference."""
    for size in ((2, 3, 4, 5), (1, 1, 1, 6), (3, 1, 2, 8), (2, 4, 3, 2)):
        predictions, targets = 2 * torch.randn(size), F.layer_norm(torch.randn(size), size[-1:])
        squares = (predictions - targets) ** 2
        expected = squares.sum() / squares.numel()
        cosine = F.cosine_similarity(predictions, targets, dim=-1)
        unit = [F.normalize(each, dim=-1) for each in (predictions, targets)]
        normal = F.layer_norm(predictions, size[-1:])
        mistakes = {
            "The squares are summed over D: take the mean over all axes, D too.": squares.sum(dim=-1).mean(),
            "The squares are summed: take the mean.": squares.sum(),
            "Only the batch is averaged: take the mean over all axes.": squares.sum() / size[0],
            "The square root is too much: the distance is squared.": expected.sqrt(),
            "This is the L2 distance of each patch, not squared.": squares.sum(dim=-1).sqrt().mean(),
            "The mean is halved: there is no factor 1/2.": expected / 2,
            "This is the absolute difference (L1): square it.": (predictions - targets).abs().mean(),
            "This is smooth L1, as in the official code; the paper and this course square the "
            "difference.": F.smooth_l1_loss(predictions, targets),
            "This is the Huber loss; the difference is squared.": F.huber_loss(predictions, targets, delta=0.5),
            "This is a cosine similarity; the difference is squared.": cosine.mean(),
            "This is 1 - cosine similarity; the difference is squared.": 1 - cosine.mean(),
            "This is 2 - 2 * cosine similarity; the difference is squared.": 2 - 2 * cosine.mean(),
            "This is minus the cosine similarity; the difference is squared.": -cosine.mean(),
            "Both are brought to length 1: compare them as they come.": F.mse_loss(*unit),
            "The predictions are normalised: compare them as they come.": F.mse_loss(normal, targets),
            "The targets are normalised once more: compare them as they come.": F.mse_loss(
                predictions, F.layer_norm(targets, size[-1:])
            ),
            "The mean of the differences is squared: square first, or signs cancel.": (predictions - targets).mean()
            ** 2,
            "The differences cancel, some are negative: square them.": (predictions - targets).mean(),
            "Nothing is averaged: the loss is one number, the mean over all axes.": squares.shape,
            "Only the last axis is averaged: the loss is one number.": squares.shape[:3],
            "There is one loss for each image: the loss is one number, the mean over all axes.": squares.shape[:1],
        }
        got = learner(jepa_loss, predictions, targets)
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
        expect_error(ValueError, learner, jepa_loss, *tensors[:: 1 if i % 2 else -1], likely=likely)
    learner(jepa_loss, *torch.randn(2, 2, 3, 4, 6))


@exercise("jepa_loss")
def test_jepa_loss_passes_the_gradient(learner):
    """The gradient reaches every prediction."""
    predictions, targets = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    got = learner(loss_gradient, predictions, targets)
    reached = got is not None and bool((got.abs().sum(dim=-1) > 0).all())
    expect_that(
        reached,
        called=learner.called,
        expected="a gradient at each of the 2 * 3 * 4 predictions",
        got="no gradient" if got is None else f"a gradient at {int((got.abs().sum(dim=-1) > 0).sum())} of them",
        likely="The graph to the predictions is cut (detach, .data, .item(), no_grad), or some of them are left out.",
    )
