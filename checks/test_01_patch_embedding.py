"""Lesson 1: from an image to tokens."""

import torch
from torch import Tensor

from checks.calls import patch_embedding as calls
from checks.expected import patch_embedding as oracle
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import (
    Later,
    expect_close,
    expect_equal,
    expect_error,
    expect_gradients,
    expect_some_right,
    expect_tensor,
    expect_that,
    shape,
)

# batch, channels, rows and columns of the grid, patch size
SIZES = [(2, 3, 2, 3, 4), (1, 1, 3, 2, 5), (3, 4, 4, 4, 2)]


def sizes() -> list[tuple[int, ...]]:
    return [*SIZES, drawn((1, 3), (1, 4), (1, 5), (1, 5), (1, 5))]


def expect_dtype(got, expected: Tensor, given: Tensor, called: str, name: str) -> None:
    """The result holds what was given in under this name, to the last digit of its dtype. Another check looks where."""
    dtype = given.dtype
    expect_tensor(got, called=called)
    expect_that(
        got.dtype == dtype,
        called=called,
        expected=str(dtype),
        got=str(got.dtype),
        likely=f"The result is made in another dtype: a new tensor needs dtype={name}.dtype.",
    )
    same = torch.equal(got.flatten().sort().values, given.flatten().sort().values)
    rounded = torch.equal(got.flatten().sort().values, given.float().to(dtype).flatten().sort().values)
    expect_that(
        same,
        called=called,
        expected=f"the values of {name}, each of them once and to the last digit",
        got="these values, rounded to float32" if rounded else "other values",
        likely=f"They went through float32 on the way, as in a `torch.zeros(...)` without dtype={name}.dtype."
        if rounded
        else "The values are moved to other places, and nothing is added, lost or repeated.",
    )
    expect_some_right(got, expected, called=called)


@exercise("patchify", points=2)
def test_patchify_goes_row_by_row(learner):
    """Patch 0 is at the top left, patch 1 to its right, and each holds the pixels of one square."""
    for batch, channels, rows, columns, size in sizes():
        images = oracle.one_colour_patches(batch, channels, rows, columns, size)
        expected, mistakes = oracle.cut(images, size), Later(oracle.patchify_places, images, size)
        got = learner(calls.patchify, images, size)
        likely = "Split H into (rows, P) and W into (columns, P); the axes rows and columns then make N."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("patchify")
def test_patchify_flattens_channel_row_column(learner):
    """A patch is flattened channel first, then row, then column."""
    for batch, channels, rows, columns, size in sizes():
        images = oracle.equal_patches(batch, channels, rows, columns, size)
        expected, mistakes = oracle.cut(images, size), Later(oracle.patchify_pixels, images, size)
        got = learner(calls.patchify, images, size)
        likely = "The last axis is (channel, row, column) flattened, in this order."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("patchify")
def test_patchify_keeps_the_dtype(learner):
    """The patches have the dtype of the images."""
    for dtype in (torch.float64, torch.float16):
        images = torch.randn(2, 3, 1, 6, dtype=torch.float64).to(dtype)
        got = learner(calls.patchify, images, 1)
        expect_dtype(got, oracle.one_row(images), images, f"patchify(images {shape(images)} of {dtype}, 1)", "images")


@exercise("patchify")
def test_patchify_refuses_what_does_not_divide(learner):
    """A patch size that does not divide H and W is a ValueError, and one that divides them is not."""
    # in the second pair P*P divides H*W, in the last P divides H + W
    columns, patch, rest = drawn((2, 4), (3, 7), (1, 2))
    wrong = ((9, 12, 4), (12, 9, 4), (6, 24, 4), (24, 6, 4), (8, 8, 16), (6, 10, 4))
    for height, width, size in (*wrong, (patch, columns * patch + rest, patch)):
        images = torch.randn(1, 3, height, width)
        likely = "Test both H and W before you cut, and raise ValueError: no pixel may be lost in silence."
        expect_error(ValueError, learner, calls.patchify, images, size, likely=likely)
    images = torch.randn(2, 3, 1, 4)
    expect_some_right(learner(calls.patchify, images, 1), oracle.one_row(images), called=learner.called)


@exercise("unpatchify", points=2)
def test_unpatchify_puts_patches_in_their_place(learner):
    """In a grid of (rows, columns), patch 1 goes to the right of patch 0, and the next row follows below."""
    for batch, channels, rows, columns, size in sizes():
        images = oracle.one_colour_patches(batch, channels, rows, columns, size)
        mistakes = Later(oracle.unpatchify_places, images, size, rows, columns)
        got = learner(calls.unpatchify, oracle.cut(images, size), size, (rows, columns))
        likely = "Undo patchify step by step, in reverse: split N into (rows, columns), permute back, join (rows, P)."
        expect_equal(got, images, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("unpatchify")
def test_unpatchify_unpacks_each_patch(learner):
    """The values of a patch are channel, row, column; any number of channels."""
    for batch, channels, rows, columns, size in sizes():
        images = oracle.equal_patches(batch, channels, rows, columns, size)
        mistakes = Later(oracle.unpatchify_pixels, images, size, rows, columns)
        got = learner(calls.unpatchify, oracle.cut(images, size), size, (rows, columns))
        likely = "Split the last axis into (C, P, P); C is its length divided by P*P."
        expect_equal(got, images, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("unpatchify")
def test_unpatchify_takes_an_int_for_a_square_grid(learner):
    """grid_size G stands for (G, G)."""
    for batch, channels, grid_size, size in ((2, 3, 3, 4), (1, 2, 1, 3), (2, 1, 4, 2)):
        images = torch.randn(batch, channels, 1, 1).repeat(1, 1, grid_size * size, grid_size * size)
        got = learner(calls.unpatchify, oracle.cut(images, size), size, grid_size)
        expect_equal(got, images, called=learner.called, likely="An int G means the grid (G, G).")


@exercise("unpatchify")
def test_unpatchify_keeps_the_dtype(learner):
    """The images have the dtype of the patches."""
    for dtype in (torch.float64, torch.float16):
        images = torch.randn(2, 3, 1, 4, dtype=torch.float64).to(dtype)
        patches = oracle.one_row(images)
        got = learner(calls.unpatchify, patches, 1, (1, 4))
        expect_dtype(got, images, patches, f"unpatchify(patches {shape(patches)} of {dtype}, 1, (1, 4))", "patches")


@exercise("PatchEmbedding")
def test_patch_embedding_trains_one_convolution(learner):
    """.proj is a convolution from 3 channels with a bias, and nothing else is trained."""
    for image_size, patch_size, dim in ((8, 4, 5), (6, 2, 12)):
        expected = oracle.convolution_parameters(patch_size, dim)
        mistakes = Later(oracle.embedding_parameters, patch_size, dim)
        got = learner(calls.trained_parameters, image_size, patch_size, dim)
        likely = "Make exactly one layer, `self.proj`, an nn.Conv2d(3, dim, kernel_size=..., stride=...)."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("PatchEmbedding", points=2)
def test_patch_embedding_maps_each_patch(learner):
    """Token n is weight times patch n plus bias, patches row by row."""
    known = (2, 3, 4, 5), (1, 3, 2, 8), (3, 1, 5, 3)
    for batch, grid_size, patch_size, dim in (*known, drawn((1, 3), (1, 4), (1, 5), (1, 9))):
        image_size = grid_size * patch_size
        images = torch.randn(batch, 3, image_size, image_size)
        weight, bias = torch.randn(dim, 3, patch_size, patch_size), torch.randn(dim)
        expected = oracle.embed(images, weight, bias)
        mistakes = Later(oracle.embedding_tokens, images, weight, bias)
        got = learner(calls.tokens, image_size, patch_size, weight, bias, images)
        likely = "Apply .proj to the images, flatten the grid [B, D, rows, columns] into N, and bring D to the end."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("PatchEmbedding")
def test_patch_embedding_passes_gradients(learner):
    """Gradients reach the images, the weight and the bias."""
    images, weight, bias = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 4, 4), torch.randn(5)
    expected = oracle.embedding_gradients(images, weight, bias)
    got = learner(calls.gradients, 8, 4, weight, bias, images)
    expect_gradients(got, expected, called=learner.called)


# Grids of one patch and more, dims of one frequency and more
GRIDS = [(5, 4), (1, 8), (7, 24)]  # grid_size, dim


def drawn_grid() -> tuple[int, int]:
    grid_size, quarter = drawn((2, 8), (1, 6))
    return grid_size, 4 * quarter


def table(learner, grid_size, dim):
    """The learner's table, once it has the right shape and another row for each patch."""
    got = learner(calls.sincos_as_float32, grid_size, dim)
    expect_that(
        got.shape == (grid_size**2, dim),
        called=learner.called,
        expected=f"[{grid_size**2}, {dim}]",
        got=shape(got),
        likely="One row a patch, grid_size**2 rows in all, and no batch axis.",
    )
    expect_that(
        bool(got.isfinite().all()) and (grid_size == 1 or bool((got[0] != got[-1]).any())),
        called=learner.called,
        expected="another code for each patch",
        got="the same for the first and the last, or NaN or infinity",
        likely="The code of a patch is made of its column and its row, so that each patch has another one.",
    )
    return got


@exercise("sincos_position_embedding")
def test_sincos_position_embedding_is_float32(learner):
    """The table is float32."""
    got = learner(calls.sincos_position_embedding, 3, 8)
    expect_tensor(got, called=learner.called)
    expect_that(
        got.dtype == torch.float32,
        called=learner.called,
        expected="torch.float32",
        got=str(got.dtype),
        likely="Compute in any dtype you like, and give back `.float()`.",
    )
    got = table(learner, 3, 4)[::4]  # patches (i, i)
    expect_some_right(got, oracle.diagonal(3, 4), called=f"{learner.called}[::4]")


@exercise("sincos_position_embedding")
def test_sincos_position_embedding_first_half_is_the_column(learner):
    """The first half of D depends on the column alone, the second half on the row alone."""
    for grid_size, dim in (*GRIDS, drawn_grid()):
        got = table(learner, grid_size, dim).reshape(grid_size, grid_size, 2, dim // 2)  # row, column, half, entry
        called = f"{learner.called} as [row, column, half, D/2]"
        mistakes = Later(oracle.half_mistakes, got)
        likely = "Patch n stands in row n // G and column n % G; each half of D may know only one of the two."
        expect_close(got, oracle.by_column_then_row(got), called=called, mistakes=mistakes, likely=likely)


@exercise("sincos_position_embedding", points=2)
def test_sincos_position_embedding_is_sines_then_cosines(learner):
    """Each half is D/4 sines, then D/4 cosines, of position * 10000 ** (-k / (D/4))."""
    for grid_size, dim in (*GRIDS, drawn_grid()):
        expected = oracle.diagonal(grid_size, dim)
        got = table(learner, grid_size, dim)[:: grid_size + 1]  # patches (i, i): both of their halves are the same code
        mistakes = Later(oracle.diagonal_mistakes, got, dim)
        called = f"{learner.called}[::{grid_size + 1}]"
        likely = "Write out one patch by hand: row 0 is D/4 zeros, D/4 ones, D/4 zeros, D/4 ones."
        # no relative tolerance: it would hide another base than 10000
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=0)


@exercise("sincos_position_embedding")
def test_sincos_position_embedding_refuses_other_dims(learner):
    """A dim that 4 does not divide is a ValueError, and one that it divides is not."""
    for dim in (6, 10, 9, 4 * drawn((2, 9))[0] + 2):
        likely = "D splits into sine and cosine of column and row: 4 must divide it."
        expect_error(ValueError, learner, calls.sincos_position_embedding, 3, dim, likely=likely)
    got = table(learner, 3, 4)[::4]  # patches (i, i)
    expect_some_right(got, oracle.diagonal(3, 4), called=f"{learner.called}[::4]")
