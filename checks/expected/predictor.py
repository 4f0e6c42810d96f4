"""What the predictor and its loss must give, by torch's own functions, and what their known mistakes give."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.expect import Mistakes

Config = tuple[int, ...]  # grid_size, dim, predictor_dim, depth, num_heads
Weights = dict[str, Tensor]  # by the names of the published checkpoints


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


def count_blocks(names: dict[str, list[int]]) -> int:
    return len({name.split(".")[1] for name in names if name.startswith("predictor_blocks.")})


def without(names: dict[str, list[int]], start: str) -> dict[str, list[int]]:
    return {name: size for name, size in names.items() if not name.startswith(start)}


def parameter_mistakes(grid_size: int, dim: int, width: int, depth: int) -> Mistakes:
    """Mistakes in the names and shapes of what is trained."""
    right, table = shapes(dim, width, depth), [1, grid_size**2, width]
    return {
        "The positions are trained: make the table a buffer, or a parameter with requires_grad=False.": right
        | {"predictor_pos_embed": table},
        "mask_token is not a trained parameter: wrap it in nn.Parameter. The optimizer never sees a plain tensor "
        "or a buffer.": without(right, "mask_token"),
        "Each patch has a mask token of its own: there is one, [1, 1, W], for all queries.": right
        | {"mask_token": table},
        "The mask token has the encoder's width: it enters the predictor's blocks, so its width is W.": right
        | {"mask_token": [1, 1, dim]},
        "mask_token has two axes of size 1 in front: [1, 1, W].": right | {"mask_token": [width]},
        "mask_token has two axes of size 1, not one: [1, 1, W].": right | {"mask_token": [1, width]},
        "predictor_norm is missing, or has no weight and bias: the final norm is an nn.LayerNorm.": without(
            right, "predictor_norm."
        ),
        "predictor_proj is missing: it brings the predictions from W back to D.": without(right, "predictor_proj."),
        "predictor_embed is missing: it brings the context tokens from D to W.": without(right, "predictor_embed."),
        "predictor_embed has no bias.": without(right, "predictor_embed.bias"),
        "predictor_proj has no bias.": without(right, "predictor_proj.bias"),
        "predictor_dim is ignored: the whole predictor has the encoder's width.": shapes(dim, dim, depth),
    }


def sincos(grid_size: int, width: int) -> Tensor:
    """The position of each patch, column then row, each as sines then cosines: [N, W]."""
    patches, quarter = torch.arange(grid_size**2), width // 4
    places = torch.stack([patches % grid_size, patches // grid_size], dim=1).double()
    angles = places[:, :, None] / 10000 ** (torch.arange(quarter).double() / quarter)
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1).float()


def table_mistakes(grid_size: int, dim: int, width: int) -> Mistakes:
    """Mistakes in predictor_pos_embed, as the state dict holds it."""
    return {
        "The table is not in the state dict: use register_buffer, or nn.Parameter with requires_grad=False. A "
        "plain attribute is not saved and does not follow .to(device).": None,
        "The table has the encoder's width D: the predictor has positions in its own width W.": torch.Size(
            [1, grid_size**2, dim]
        ),
        "The table has an axis for the batch in front: [1, N, W].": torch.Size([grid_size**2, width]),
        "The table has a row too many: there is no cls token here.": torch.Size([1, grid_size**2 + 1, width]),
        "The table starts at zero, and as it is never trained all places look the same.": torch.zeros(
            1, grid_size**2, width
        ),
    }


def normalise(tokens: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], weight, bias, eps)


def norm_mistakes(tokens: Tensor, weight: Tensor, bias: Tensor) -> Mistakes:
    return {
        "eps is 1e-5 here, torch's default: give eps=1e-6, the value of the checkpoints.": normalise(
            tokens, weight, bias, 1e-5
        )
    }


def draw_weights(config: Config) -> Weights:
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


def draw_where_eps_hides(
    config: Config, batch: int, seen: int, blocks: int, length: int
) -> tuple[Weights, tuple[Tensor, ...]]:
    """Weights and inputs with which the eps of predictor_norm makes no difference: another check asks for it."""
    grid_size, dim, _, _, heads = config
    while True:
        weights, inputs = draw_weights(config), draw_inputs(grid_size, dim, batch, seen, blocks, length)
        hidden = encode(weights, heads, join(*entering(weights, *inputs)))
        if torch.allclose(read_off(weights, hidden), read_off(weights, hidden, 1e-5), 2e-5, 2e-6):
            return weights, inputs


def predict(heads: int, weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
    """The predictions [B, M, Nt, D] that a predictor with these weights must give."""
    return infer(weights, heads, *entering(weights, context_tokens, context, targets))


def entering(weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What enters the blocks: the context seen [B, 1, Nc, W] and the queries [B, M, Nt, W], with their positions."""
    table = weights["predictor_pos_embed"][0]
    return embed(weights, context_tokens) + table[context][:, None], weights["mask_token"] + table[targets]


def embed(weights: Weights, context_tokens: Tensor) -> Tensor:
    """The context in the predictor's width, without positions: [B, 1, Nc, W]."""
    return F.linear(context_tokens, weights["predictor_embed.weight"], weights["predictor_embed.bias"])[:, None]


def infer(weights: Weights, heads: int, seen: Tensor, queries: Tensor) -> Tensor:
    """The predictions for queries [B, M, Nt, W] from the context seen [B, 1 or M, Nc, W].

    The blocks are a batch axis of torch's own attention, so that none can see another.
    """
    return read_off(weights, encode(weights, heads, join(seen, queries))[:, :, -queries.shape[2] :])


def join(seen: Tensor, queries: Tensor) -> Tensor:
    return torch.cat([seen.expand(-1, queries.shape[1], -1, -1), queries], dim=2)


def encode(weights: Weights, heads: int, tokens: Tensor) -> Tensor:
    """The tokens after all blocks."""
    depth = sum(name.endswith("norm1.weight") for name in weights)
    for i in range(depth):

        def layer(name: str, x: Tensor, block: str = f"predictor_blocks.{i}.") -> Tensor:
            weight, bias = weights[f"{block}{name}.weight"], weights[f"{block}{name}.bias"]
            return F.linear(x, weight, bias) if weight.ndim == 2 else normalise(x, weight, bias)

        qkv = layer("attn.qkv", layer("norm1", tokens)).unflatten(-1, (3, heads, -1))
        gathered = F.scaled_dot_product_attention(*(part.transpose(-2, -3) for part in qkv.unbind(-3)))
        tokens = tokens + layer("attn.proj", gathered.transpose(-2, -3).flatten(-2))
        tokens = tokens + layer("mlp.fc2", F.gelu(layer("mlp.fc1", layer("norm2", tokens))))
    return tokens


def read_off(weights: Weights, tokens: Tensor, eps: float = 1e-6) -> Tensor:
    """Final norm and projection."""
    return project(weights, normalise(tokens, weights["predictor_norm.weight"], weights["predictor_norm.bias"], eps))


def project(weights: Weights, tokens: Tensor) -> Tensor:
    return F.linear(tokens, weights["predictor_proj.weight"], weights["predictor_proj.bias"])


def inference_mistakes(
    heads: int, weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor
) -> Mistakes:
    """Mistakes in the prediction of one target block."""
    inputs = weights, context_tokens, context, targets
    seen, queries = entering(*inputs)
    pairs = entering_mistakes(*inputs) | shifted_positions(*inputs)
    mistakes = {sentence: infer(weights, heads, *pair) for sentence, pair in pairs.items()}
    for other in (other for other in (1, 2, 4, 8) if other != heads and queries.shape[-1] % other == 0):
        sentence = f"num_heads is ignored: there are {other} heads where {heads} are asked for."
        mistakes[sentence] = infer(weights, other, seen, queries)
    return mistakes | block_mistakes(weights, heads, seen, queries) | output_mistakes(weights, heads, seen, queries)


Pairs = dict[str, tuple[Tensor, Tensor]]  # a mistake's sentence, and the context and the queries that enter the blocks


def entering_mistakes(weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Pairs:
    """What enters the blocks otherwise: mask tokens and positions in the wrong places."""
    length, count = targets.shape[2], context.shape[1]
    table, mask, tokens = weights["predictor_pos_embed"][0], weights["mask_token"], embed(weights, context_tokens)
    here, there = table[context][:, None], table[targets]
    seen, queries, empty = tokens + here, mask + there, mask.expand_as(there)
    first_seen, first_queries = tokens + table[:count], empty + table[:length]
    alike = count == length  # only then can context and queries have each other's positions
    return {
        "The context tokens get no positions: nothing tells which patches they are.": (tokens, queries),
        "The queries get no positions, so all of them ask for the same patch.": (seen, empty),
        "There are no positions at all.": (tokens, empty),
        "A query is the position alone: add the mask token.": (seen, there),
        "The mask token belongs to the queries alone, not to the context tokens.": (mask + seen, queries),
        "The mask token is added to the context tokens and not to the queries.": (mask + seen, there),
        "The queries get the positions of patches 0 to Nt - 1, whatever targets says.": (seen, first_queries),
        "The context gets the positions of patches 0 to Nc - 1, whatever context says.": (first_seen, queries),
        "Context and queries get the positions of patches 0, 1, 2, ...: take the rows that context and targets name.": (
            first_seen,
            first_queries,
        ),
        "The queries of all images get the positions of the first image.": (seen, empty + there[:1]),
        "The context of all images gets the positions of the first image.": (tokens + here[:1], queries),
        "All images get the positions of the first image.": (tokens + here[:1], empty + there[:1]),
        "The predictions come in ascending order of the patches: keep the order of targets.": (
            seen,
            mask + table[targets.sort(dim=2).values],
        ),
        "The context's positions are sorted, its tokens are not: keep the order of context.": (
            tokens + table[context.sort(dim=1).values][:, None],
            queries,
        ),
        "The positions are swapped: the context gets those of targets, the queries those of context.": (
            (tokens + there, mask + here) if alike else (seen, queries)
        ),
        "The queries get the positions of the context.": (seen, mask + here if alike else queries),
    }


def shifted_positions(weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Pairs:
    """What enters the blocks if the rows of the table are counted as if there were a cls token."""
    seen, queries = entering(weights, context_tokens, context, targets)
    pairs = {}
    for by, way in ((1, "before"), (-1, "after")):
        moved = weights | {"predictor_pos_embed": weights["predictor_pos_embed"].roll(by, dims=1)}
        moved_seen, moved_queries = entering(moved, context_tokens, context, targets)
        sentence = f"get the positions of the patch {way} theirs: 0 is the first patch, there is no cls token."
        pairs |= {
            f"The tokens {sentence}": (moved_seen, moved_queries),
            f"The queries {sentence}": (seen, moved_queries),
            f"The context tokens {sentence}": (moved_seen, queries),
        }
    return pairs


def block_mistakes(weights: Weights, heads: int, seen: Tensor, queries: Tensor) -> Mistakes:
    """Mistakes in the way through blocks and norm."""
    joined, count = join(seen, queries), seen.shape[2]
    first = {name: value for name, value in weights.items() if "_blocks" not in name or "_blocks.0." in name}
    together = encode(weights, heads, joined.flatten(0, 2)[None, None]).view_as(joined)
    return {
        "Only the first of the blocks is applied.": infer(first, heads, seen, queries),
        "The blocks are not applied.": read_off(weights, queries),
        "The final norm is not applied.": project(weights, encode(weights, heads, joined)[:, :, count:]),
        "The predictions are normalised: only the targets are.": standardise(infer(weights, heads, seen, queries)),
        "The images of the batch see each other: the first axis must be the batch.": read_off(
            weights, together[:, :, count:]
        ),
    }


def output_mistakes(weights: Weights, heads: int, seen: Tensor, queries: Tensor) -> Mistakes:
    """Mistakes in what is read off the blocks, and in its axes."""
    (batch, _, length, _), count = queries.shape, seen.shape[2]
    hidden, expected = encode(weights, heads, join(seen, queries)), infer(weights, heads, seen, queries)
    return {
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
        "The context is still there: only the queries are predictions.": torch.Size(
            [batch, 1, count + length, expected.shape[3]]
        ),
        "The output has the predictor's width: predictor_proj is not applied.": queries.shape,
    }


def joining_mistakes(
    heads: int, weights: Weights, context_tokens: Tensor, context: Tensor, targets: Tensor
) -> Mistakes:
    """Mistakes where several target blocks meet."""
    seen, queries = entering(weights, context_tokens, context, targets)
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


def standardise(tokens: Tensor) -> Tensor:
    """layer_norm over D with no weights and torch's default eps, as the targets have it."""
    return F.layer_norm(tokens, tokens.shape[-1:])


def mean_square(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean over all elements of the squared difference."""
    squares = (predictions - targets) ** 2
    return squares.sum() / squares.numel()


def loss_mistakes(predictions: Tensor, targets: Tensor) -> Mistakes:
    differences = predictions - targets
    squares, expected = differences**2, mean_square(predictions, targets)
    cosine = F.cosine_similarity(predictions, targets, dim=-1).mean()
    unit = [F.normalize(each, dim=-1) for each in (predictions, targets)]
    return {
        "The squares are summed over D: take the mean over all axes, D too.": squares.sum(dim=-1).mean(),
        "The squares are summed: take the mean.": squares.sum(),
        "Only the batch is averaged: take the mean over all axes.": squares.sum() / len(squares),
        "The square root is too much: the distance is squared.": expected.sqrt(),
        "This is the L2 distance of each patch, not squared.": squares.sum(dim=-1).sqrt().mean(),
        "The mean is halved: there is no factor 1/2.": expected / 2,
        "This is the absolute difference (L1): square it.": differences.abs().mean(),
        "This is smooth L1, as in the official code; the paper and this course square the "
        "difference.": F.smooth_l1_loss(predictions, targets),
        "This is the Huber loss; the difference is squared.": F.huber_loss(predictions, targets, delta=0.5),
        "This is a cosine similarity; the difference is squared.": cosine,
        "This is 1 - cosine similarity; the difference is squared.": 1 - cosine,
        "This is 2 - 2 * cosine similarity; the difference is squared.": 2 - 2 * cosine,
        "This is minus the cosine similarity; the difference is squared.": -cosine,
        "Both are brought to length 1: compare them as they come.": F.mse_loss(*unit),
        "The predictions are normalised: compare them as they come.": F.mse_loss(standardise(predictions), targets),
        "The targets are normalised once more: compare them as they come.": F.mse_loss(
            predictions, standardise(targets)
        ),
        "The mean of the differences is squared: square first, or signs cancel.": differences.mean() ** 2,
        "The differences cancel, some are negative: square them.": differences.mean(),
        "Nothing is averaged: the loss is one number, the mean over all axes.": squares.shape,
        "Only the last axis is averaged: the loss is one number.": squares.shape[:3],
        "There is one loss for each image: the loss is one number, the mean over all axes.": squares.shape[:1],
    }
