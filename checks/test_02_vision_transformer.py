"""Lesson 2: the Vision Transformer."""

import torch

from checks.calls import vision_transformer as calls
from checks.expected import vision_transformer as oracle
from checks.expected import vision_transformer_block as block_oracle
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import (
    Later,
    expect_answers,
    expect_close,
    expect_equal,
    expect_error,
    expect_gradients,
    expect_some_right,
    expect_that,
)

# batch, length, (dim, num_heads), dtype
SIZES = [
    (2, 5, (12, 3), torch.float32),
    (1, 4, (8, 2), torch.float64),
    (3, 1, (6, 1), torch.float32),
]


def sizes() -> list[tuple]:
    batch, length, num_heads, head_dim = drawn((1, 4), (2, 6), (2, 8), (2, 5))
    return [*SIZES, (batch, length, (num_heads * head_dim, num_heads), torch.float32)]


@exercise("Attention")
def test_attention_trains_qkv_and_proj(learner):
    """.qkv [3*D, D] and .proj [D, D] with a bias each are all that is trained."""
    for dim, num_heads in ((12, 3), (8, 1)):
        expected = block_oracle.as_text(block_oracle.attention_shapes(dim))
        mistakes = Later(block_oracle.attention_parameters, dim)
        got = learner(calls.attention_parameters, (dim, num_heads))
        likely = (
            "Exactly two layers are trained: self.qkv = nn.Linear(dim, 3 * dim) and self.proj = nn.Linear(dim, dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Attention", points=3)
def test_attention_weighs_values_by_scaled_scores(learner):
    """In each head a token gathers values by softmax(query . key / sqrt(D / heads)); .proj mixes the heads."""
    for batch, length, (dim, num_heads), dtype in sizes():
        weights = block_oracle.draw_weights(block_oracle.attention_shapes(dim), dtype)
        tokens = 1.5 * torch.randn(batch, length, dim, dtype=dtype)
        expected = block_oracle.attend(tokens, weights, num_heads)
        mistakes = Later(block_oracle.attention_mistakes, tokens, weights, num_heads)
        got, again = learner(calls.attention_twice, (dim, num_heads), weights, tokens)
        block_oracle.expect_same_twice(got, again, learner.called)
        likely = (
            "Print the shapes: qkv(tokens) [B, N, 3*D] is three times [B, heads, N, D/heads]; the scores are "
            "[B, heads, N, N], scaled, softmax over the last axis; times the values; heads side by side again; proj."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Attention")
def test_attention_refuses_heads_that_do_not_divide(learner):
    """num_heads that does not divide dim is a ValueError, and one that divides it is not."""
    (num_heads,) = drawn((4, 9))
    for sizes in ((10, 4), (9, 2), (4, 8), (4 * num_heads - 1, num_heads)):
        likely = "In __init__, raise ValueError(...) if dim % num_heads is not 0; an assert raises another error."
        expect_error(ValueError, learner, calls.attention_made, sizes, likely=likely)
    weights, tokens = block_oracle.draw_weights(block_oracle.attention_shapes(12)), torch.randn(2, 5, 12)
    answers = learner(calls.attention_twice, (12, 4), weights, tokens)
    other, _ = learner(calls.attention_twice, (12, 4), weights, -tokens)
    expect_answers([*answers, other], tokens.shape, (tokens,), "tokens", called=learner.called)


@exercise("Attention")
def test_attention_passes_gradients(learner):
    """Gradients reach the tokens and all weights, through the softmax too."""
    dim, num_heads = 12, 3
    weights = block_oracle.draw_weights(block_oracle.attention_shapes(dim))
    tokens, direction = torch.randn(2, 4, dim), torch.randn(2, 4, dim)
    expected = block_oracle.gradients(block_oracle.attend, tokens, weights, direction, num_heads)
    got, _ = learner(calls.attention_gradients, (dim, num_heads), weights, tokens, direction)
    expect_gradients(got, expected, called=learner.called, rtol=1e-3, atol=1e-4)


@exercise("MLP")
def test_mlp_trains_two_linear_layers(learner):
    """.fc1 [hidden_dim, dim] and .fc2 [dim, hidden_dim] with a bias each are all that is trained."""
    for dim, hidden_dim in ((6, 20), (8, 5)):
        expected = block_oracle.as_text(block_oracle.mlp_shapes(dim, hidden_dim))
        mistakes = Later(block_oracle.mlp_parameters, dim, hidden_dim)
        got = learner(calls.mlp_parameters, (dim, hidden_dim))
        likely = (
            "Exactly two layers are trained: fc1 = nn.Linear(dim, hidden_dim) and fc2 = nn.Linear(hidden_dim, dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("MLP", points=2)
def test_mlp_is_fc2_of_gelu_of_fc1(learner):
    """The result is fc2(gelu(fc1(tokens))) with the exact GELU."""
    for batch, length, (dim, hidden_dim), dtype in (
        (2, 5, (6, 20), torch.float32),
        (1, 3, (4, 16), torch.float64),
        (3, 1, (8, 5), torch.float32),
        (*drawn((1, 3), (1, 5)), drawn((1, 9), (1, 20)), torch.float32),
    ):
        weights = block_oracle.draw_weights(block_oracle.mlp_shapes(dim, hidden_dim), dtype)
        tokens = 2 * torch.randn(batch, length, dim, dtype=dtype)
        expected, mistakes = block_oracle.two_layers(tokens, weights), Later(block_oracle.mlp_mistakes, tokens, weights)
        got, again = learner(calls.mlp_twice, (dim, hidden_dim), weights, tokens)
        block_oracle.expect_same_twice(got, again, learner.called)
        likely = "Three steps and no more: fc1, then the exact GELU (F.gelu), then fc2."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


# While a Block is checked, stand-ins take the place of Attention and MLP, so that a mistake costs once. A learner who
# wrote those parts into Block itself is as right: which stand-ins it used, and so what to expect, the call tells.


@exercise("Block")
def test_block_trains_two_norms_attention_and_mlp(learner):
    """.norm1, .attn, .norm2 and .mlp, 4*dim wide, are all that is trained."""
    for dim, num_heads in ((8, 2), (6, 3)):
        expected = block_oracle.as_text(block_oracle.block_shapes(dim))
        mistakes = Later(block_oracle.block_parameters, dim, num_heads)
        got = learner(calls.block_parameters, (dim, num_heads))
        likely = (
            "Exactly four parts are trained: norm1 and norm2, an nn.LayerNorm each, attn = Attention(dim, num_heads) "
            "and mlp = MLP(dim, 4 * dim)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Block", points=3)
def test_block_adds_attention_then_mlp(learner):
    """tokens + attn(norm1(tokens)), and to that + mlp(norm2(...))."""
    for batch, length, (dim, num_heads), dtype in sizes()[1:]:
        weights, tokens = block_oracle.draw_block(batch, length, dim, num_heads, dtype)
        got, again, stand_ins = learner(calls.block_twice, (dim, num_heads), weights, tokens)
        expected = block_oracle.pre_norm(tokens, weights, num_heads, stand_ins)
        mistakes = Later(block_oracle.block_mistakes, tokens, weights, num_heads, stand_ins)
        block_oracle.expect_same_twice(got, again, learner.called)
        likely = "Two lines: tokens = tokens + attn(norm1(tokens)), then tokens + mlp(norm2(tokens))."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("Block")
def test_block_norms_with_eps_1e_6(learner):
    """Both norms have eps 1e-6, which tokens of size 0.001 show."""
    dim, num_heads = 8, 2
    for name, silent in (("norm1", "mlp.fc2"), ("norm2", "attn.proj")):
        weights = block_oracle.draw_weights(block_oracle.block_shapes(dim))
        # the other half of the block adds nothing, so that what reaches this norm is small
        weights |= {key: torch.zeros_like(value) for key, value in weights.items() if silent in key}
        tokens = torch.randn(2, 5, dim) * 1e-3
        got, _, stand_ins = learner(calls.block_twice, (dim, num_heads), weights, tokens)
        expected = block_oracle.pre_norm(tokens, weights, num_heads, stand_ins)
        mistakes = Later(block_oracle.epsilon_mistakes, name, tokens, weights, num_heads, stand_ins)
        called = f"{learner.called} of size 0.001, {silent} all zeros"
        likely = f"{name} is nn.LayerNorm(dim, eps=1e-6). If the block is wrong on ordinary tokens too, start there."
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely)


@exercise("Block")
def test_block_leaves_its_input(learner):
    """The tokens that go in stay as they were."""
    # Kept because the error that the gradients give for it names no cause.
    weights, tokens = block_oracle.draw_weights(block_oracle.block_shapes(8)), torch.randn(2, 5, 8)
    after = learner(calls.block_input_after, (8, 2), weights, tokens)
    likely = "`tokens += ...` changes the caller's tensor in place: write tokens = tokens + ..."
    expect_equal(after, tokens, called=learner.called, likely=likely)
    others = [learner(calls.block_twice, (8, 2), weights, other)[0] for other in (tokens, tokens, -tokens)]
    expect_answers(others, tokens.shape, (tokens,), "tokens", called=learner.called)


@exercise("Block")
def test_block_passes_gradients(learner):
    """Gradients reach the tokens and all weights, through both residuals."""
    dim, num_heads = 8, 2
    weights, tokens = block_oracle.draw_block(2, 4, dim, num_heads, torch.float32)
    direction = torch.randn(2, 4, dim)
    got, stand_ins = learner(calls.block_gradients, (dim, num_heads), weights, tokens, direction)
    expected = block_oracle.gradients(block_oracle.pre_norm, tokens, weights, direction, num_heads, stand_ins)
    expect_gradients(got, expected, called=learner.called, rtol=1e-3, atol=1e-4)


@exercise("gather_tokens", points=2)
def test_gather_tokens_takes_each_images_own(learner):
    """out[b, k] is tokens[b, indices[b, k]]: any order, repeats allowed, any K."""
    # batch, length, dim, count, dtype, repeats
    for batch, length, dim, count, dtype, repeats in (
        (3, 7, 4, 5, torch.float32, False),
        (3, 7, 4, 5, torch.float32, True),
        (2, 5, 3, 8, torch.float64, True),
        (1, 4, 6, 1, torch.float16, False),
        (4, 1, 1, 2, torch.float32, True),
        (*drawn((1, 4), (4, 9), (1, 6), (1, 8)), torch.float32, False),
    ):
        tokens = torch.randn(batch, length, dim, dtype=torch.float64).to(dtype)
        indices = oracle.draw_indices(batch, length, count, repeats)
        expected, mistakes = oracle.take(tokens, indices), Later(oracle.gather_mistakes, tokens, indices)
        got = learner(calls.gather_tokens, tokens, indices)
        likely = "Every image b has its own row indices[b]; torch.gather wants an index for each of the D entries."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("gather_tokens")
def test_gather_tokens_takes_any_memory_layout(learner):
    """Tokens that are a transposed view are taken too, as the patch embedding gives them."""
    for batch, length, dim, count in ((2, 6, 3, 4), (3, 2, 5, 2)):
        channels, indices = torch.randn(batch, dim, length), torch.randint(length, (batch, count))
        indices[:, -1] = indices[:, 0]  # which the stand-in, handed in, doesn't take
        expected = oracle.take(channels.transpose(1, 2), indices)
        got = learner(calls.gather_transposed, channels, indices)
        likely = "If freshly made tokens come out right: on a transposed view `reshape` works and `view` does not."
        expect_equal(got, expected, called=learner.called, likely=likely)


@exercise("gather_tokens")
def test_gather_tokens_passes_gradients(learner):
    """The gradient of a token is the sum over all places that took it."""
    batch, length, dim, count = 3, 6, 4, 5
    tokens, direction = torch.randn(batch, length, dim), torch.randn(batch, count, dim)
    indices = torch.randint(length, (batch, count))
    indices[:, 1] = indices[:, 0]
    expected = oracle.gather_gradient(tokens, indices, direction)
    got = learner(calls.gather_gradient, tokens, indices, direction)
    expect_gradients({"tokens": got}, {"tokens": expected}, called=learner.called)


@exercise("gather_tokens")
def test_gather_tokens_leaves_its_inputs(learner):
    """Neither the tokens nor the indices are changed."""
    tokens, indices = torch.randn(2, 5, 3), torch.tensor([[3, 0, 1], [4, 2, 2]])
    *got, taken = learner(calls.gather_inputs_after, tokens, indices)
    likely = "`+=` and methods that end in _ change the caller's tensor in place: make a new one."
    expect_equal(got, [tokens, indices], called=learner.called, likely=likely)
    expect_some_right(taken, oracle.take(tokens, indices), called=learner.called)


# (image_size, patch_size, dim, depth, num_heads), batch, dtype
TRANSFORMERS = [
    ((12, 4, 8, 3, 2), 2, torch.float32),
    ((10, 2, 12, 2, 3), 1, torch.float64),
]


def transformers() -> list[tuple]:
    grid_size, patch_size, quarter, depth, num_heads, batch = drawn((2, 4), (1, 4), (1, 3), (1, 2), (1, 2), (1, 3))
    return [*TRANSFORMERS, ((grid_size * patch_size, patch_size, 4 * quarter, depth, num_heads), batch, torch.float32)]


@exercise("VisionTransformer")
def test_vision_transformer_trains_its_parts(learner):
    """.patch_embed, .blocks and .norm are all that is trained, each block with weights of its own."""
    for sizes, _, _ in TRANSFORMERS:
        _, patch_size, dim, depth, _ = sizes
        expected = block_oracle.as_text(oracle.transformer_shapes(patch_size, dim, depth))
        mistakes = Later(oracle.transformer_parameters, patch_size, dim, depth)
        got = learner(calls.transformer_parameters, sizes)
        likely = (
            "Exactly these parts are trained: patch_embed = PatchEmbedding(...), blocks = nn.ModuleList of depth "
            "Blocks, norm = nn.LayerNorm(dim, eps=1e-6)."
        )
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer")
def test_vision_transformer_has_fixed_positions(learner):
    """.pos_embed is the sin-cos table [1, N, D], an entry of the state dict that is never trained."""
    for sizes, _, _ in TRANSFORMERS:
        image_size, patch_size, dim, _, _ = sizes
        expected = oracle.sincos(image_size // patch_size, dim)
        mistakes = Later(oracle.position_mistakes, image_size, patch_size, dim)
        got, is_trained = learner(calls.transformer_positions, sizes)
        expect_that(
            not is_trained,
            called=learner.called,
            expected="a fixed table",
            got="a parameter with requires_grad=True",
            likely="Positions are never trained: use register_buffer, or nn.Parameter(..., requires_grad=False).",
        )
        likely = "The table is sincos_position_embedding(image_size // patch_size, dim)[None]."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer", points=2)
def test_vision_transformer_encodes_all_patches(learner):
    """Patch tokens plus positions, through every block in turn, then the norm: [B, 3, H, W] -> [B, N, D]."""
    for sizes, batch, dtype in transformers():
        encoder = oracle.draw_encoder(sizes, batch, dtype)
        got, again, encoder.stand_ins = learner(calls.transformer_twice, sizes, encoder.weights, encoder.images)
        expected, mistakes = encoder.encode(encoder.placed), Later(oracle.encoding_mistakes, encoder)
        block_oracle.expect_same_twice(got, again, learner.called)
        likely = "In this order: patch_embed(images) + pos_embed, each block in turn, norm."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, rtol=1e-3, atol=1e-4)


@exercise("VisionTransformer", points=2)
def test_vision_transformer_keeps_some_patches(learner):
    """With keep [B, K] only these patches, at their own positions, enter the blocks: [B, K, D] in keep's order."""
    for sizes, batch, dtype in transformers():
        encoder = oracle.draw_encoder(sizes, batch, dtype)
        inputs = encoder.weights, encoder.images, encoder.keep
        got, encoder.stand_ins = learner(calls.transformer_kept, sizes, *inputs)
        expected = encoder.encode(oracle.take(encoder.placed, encoder.keep))
        mistakes = Later(oracle.keeping_mistakes, encoder)
        likely = (
            "In this order: patch_embed(images) + pos_embed, gather_tokens(tokens, keep), each block in turn, norm."
        )
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely, rtol=1e-3, atol=1e-4)


@exercise("VisionTransformer")
def test_vision_transformer_cannot_see_what_is_not_kept(learner):
    """Pixels outside the kept patches change nothing."""
    # Kept because it tells a leak from every other mistake.
    sizes = (12, 4, 8, 1, 2)
    encoder = oracle.Encoder(sizes, 2)
    inputs = encoder.weights, encoder.images, encoder.images_alike_in_keep(), encoder.keep
    before, after = learner(calls.transformer_kept_of_both, sizes, *inputs)
    likely = "The dropped patches still enter the blocks: gather the kept tokens before the first block."
    expect_close(after, before, called=learner.called, likely=likely)
    _, other = learner(calls.transformer_kept_of_both, sizes, *inputs[:2], -encoder.images, encoder.keep)
    expect_answers([before, after, other], encoder.kept_size, (), "images", called=learner.called)


@exercise("VisionTransformer")
def test_vision_transformer_norm_has_eps_1e_6(learner):
    """The final norm has eps 1e-6, which tokens of size 0.001 show."""
    sizes = (8, 4, 8, 1, 2)
    encoder = oracle.Encoder(sizes, 1)
    tokens = torch.randn(2, 5, 8) * 1e-3
    expected, mistakes = encoder.norm(tokens), Later(oracle.final_epsilon_mistakes, encoder, tokens)
    got = learner(calls.transformer_norm, sizes, encoder.weights, tokens)
    likely = ".norm is nn.LayerNorm(dim, eps=1e-6)."
    expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("VisionTransformer")
def test_vision_transformer_trains_all_of_it(learner):
    """A gradient reaches every weight, the patch embedding's too."""
    sizes = (12, 4, 8, 2, 2)
    encoder = oracle.Encoder(sizes, 2)
    expected = dict.fromkeys(encoder.weights, True)
    got = learner(calls.transformer_reached, sizes, encoder.weights, encoder.images, encoder.keep)
    expect_gradients(got, expected, called=learner.called)
    inputs = encoder.weights, encoder.images, -encoder.images, encoder.keep
    answers = [*learner(calls.transformer_kept_of_both, sizes, *inputs)]
    expect_answers([answers[0], *answers], encoder.kept_size, (), "images", called=learner.called)
