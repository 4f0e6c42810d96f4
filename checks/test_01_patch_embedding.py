"""Lesson 1: from an image to tokens."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.exercise import drawn, exercise
from checks.expect import expect_close, expect_equal, expect_error, expect_that, shape

# batch, channels, rows and columns of the grid, patch size
SIZES = [(2, 3, 2, 3, 4), (1, 1, 3, 2, 5), (3, 4, 4, 4, 2)]


def sizes() -> list[tuple[int, ...]]:
    return [*SIZES, drawn((1, 3), (1, 4), (1, 5), (1, 5), (1, 5))]


def patchify(lesson, images, patch_size):
    return lesson.patchify(images, patch_size)


def unpatchify(lesson, patches, patch_size, grid_size):
    return lesson.unpatchify(patches, patch_size, grid_size)


def trained_parameters(lesson, image_size, patch_size, dim):
    """PatchEmbedding({image_size}, {patch_size}, {dim}).named_parameters()"""
    layer = lesson.PatchEmbedding(image_size, patch_size, dim)
    return {name: list(value.shape) for name, value in layer.named_parameters() if value.requires_grad}


def tokens(lesson, image_size, patch_size, weight, bias, images):
    """PatchEmbedding({image_size}, {patch_size}, dim)(images {images}) with .proj.weight {weight}, .proj.bias {bias}"""
    return embedding(lesson, image_size, patch_size, weight, bias)(images)


def gradients(lesson, image_size, patch_size, weight, bias, images):
    """PatchEmbedding({image_size}, {patch_size}, dim)(images {images}).sum().backward()"""
    layer = embedding(lesson, image_size, patch_size, weight, bias)
    images.requires_grad_()
    layer(images).sum().backward()
    return {"images": images.grad, "proj.weight": layer.proj.weight.grad, "proj.bias": layer.proj.bias.grad}


def embedding(lesson, image_size, patch_size, weight, bias):
    layer = lesson.PatchEmbedding(image_size, patch_size, len(bias))
    with torch.no_grad():
        layer.proj.weight.copy_(weight)
        layer.proj.bias.copy_(bias)
    return layer


def sincos_position_embedding(lesson, grid_size, dim):
    return lesson.sincos_position_embedding(grid_size, dim)


def sincos_as_float32(lesson, grid_size, dim):
    """sincos_position_embedding(grid_size {grid_size}, dim {dim})"""
    return torch.as_tensor(lesson.sincos_position_embedding(grid_size, dim)).float()


def cut(images: Tensor, patch_size: int) -> Tensor:
    """What patchify must give, by torch's own sliding window: [B, C, H, W] -> [B, N, C*P*P]."""
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def one_colour_patches(batch: int, channels: int, rows: int, columns: int, size: int) -> Tensor:
    """Images whose patches have one random value a channel: only the places of the patches show."""
    values = torch.randn(batch, channels, rows, columns)
    return values.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)


def equal_patches(batch: int, channels: int, rows: int, columns: int, size: int) -> Tensor:
    """Images whose patches are all the same: only the order of the pixels within a patch shows."""
    return torch.randn(batch, channels, size, size).repeat(1, 1, rows, columns)


@exercise("patchify", points=2)
def test_patchify_goes_row_by_row(learner):
    """Patch 0 is at the top left, patch 1 to its right, and each holds the pixels of one square."""
    for batch, channels, rows, columns, size in sizes():
        images = one_colour_patches(batch, channels, rows, columns, size)
        expected = cut(images, size)
        mistakes = {
            "The patches run down the columns: the next patch after 0 is the one to its right.": cut(
                images.transpose(2, 3), size
            ),
            "`reshape` alone takes the pixels in reading order, across patches: split H and W into (rows, P) and "
            "(columns, P), then bring the axes of a patch together with permute.": images.reshape(expected.shape),
            "The patches of all images follow each other in one batch.": expected.reshape(1, -1, expected.shape[2]),
        }
        got = learner(patchify, images, size)
        likely = "Split H into (rows, P) and W into (columns, P); the axes rows and columns then make N."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("patchify")
def test_patchify_flattens_channel_row_column(learner):
    """A patch is flattened channel first, then row, then column."""
    for batch, channels, rows, columns, size in sizes():
        images = equal_patches(batch, channels, rows, columns, size)
        expected = cut(images, size)
        pixels = expected.unflatten(2, (channels, size, size))
        mistakes = {
            "The channels are interleaved: a patch goes row, column, channel, and must go channel, row, "
            "column.": pixels.permute(0, 1, 3, 4, 2).flatten(2),
            "Row and column are swapped within a patch.": pixels.transpose(3, 4).flatten(2),
            "The channel stands between row and column.": pixels.transpose(2, 3).flatten(2),
        }
        got = learner(patchify, images, size)
        likely = "The last axis is (channel, row, column) flattened, in this order."
        expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("patchify")
def test_patchify_keeps_the_dtype(learner):
    """The patches have the dtype of the images."""
    for dtype in (torch.float64, torch.float16):
        images = torch.randn(2, 3, 4, 6).to(dtype)
        got = learner(patchify, images, 2)
        expect_that(
            isinstance(got, Tensor) and got.dtype == dtype,
            called=f"patchify(images {shape(images)} of {dtype}, 2)",
            expected=str(dtype),
            got=str(getattr(got, "dtype", type(got).__name__)),
            likely="The result is made in another dtype: a new tensor needs dtype=images.dtype.",
        )


@exercise("patchify")
def test_patchify_refuses_what_does_not_divide(learner):
    """A patch size that does not divide H and W is a ValueError, and one that divides them is not."""
    for height, width, size in ((9, 12, 4), (12, 9, 4), (8, 8, 16)):
        images = torch.randn(1, 3, height, width)
        likely = "Test both H and W before you cut, and raise ValueError: no pixel may be lost in silence."
        expect_error(ValueError, learner, patchify, images, size, likely=likely)
    learner(patchify, torch.randn(1, 3, 8, 12), 4)


@exercise("unpatchify", points=2)
def test_unpatchify_puts_patches_in_their_place(learner):
    """In a grid of (rows, columns), patch 1 goes to the right of patch 0, and the next row follows below."""
    for batch, channels, rows, columns, size in sizes():
        images = one_colour_patches(batch, channels, rows, columns, size)
        patches = cut(images, size)
        down = patches.reshape(batch, columns, rows, -1).transpose(1, 2).reshape(patches.shape)
        mistakes = {
            "grid_size is (rows, columns): here rows and columns are swapped.": fold(patches, size, columns, rows),
            "The patches are placed down the columns: patch 1 belongs to the right of patch 0.": fold(
                down, size, rows, columns
            ),
            "`reshape` alone lays the patches out in reading order: bring the axes into the order C, rows, P, columns, "
            "P with permute first.": patches.reshape(images.shape),
        }
        got = learner(unpatchify, patches, size, (rows, columns))
        likely = "Undo patchify step by step, in reverse: split N into (rows, columns), permute back, join (rows, P)."
        expect_equal(got, images, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("unpatchify")
def test_unpatchify_unpacks_each_patch(learner):
    """The values of a patch are channel, row, column; any number of channels."""
    for batch, channels, rows, columns, size in sizes():
        images = equal_patches(batch, channels, rows, columns, size)
        patches = cut(images, size)
        last = patches.unflatten(2, (size, size, channels)).permute(0, 1, 4, 2, 3).flatten(2)
        turned = patches.unflatten(2, (channels, size, size)).transpose(3, 4).flatten(2)
        mistakes = {
            "A patch is read as row, column, channel, and is channel, row, column.": fold(last, size, rows, columns),
            "Row and column are swapped within a patch.": fold(turned, size, rows, columns),
        }
        got = learner(unpatchify, patches, size, (rows, columns))
        likely = "Split the last axis into (C, P, P); C is its length divided by P*P."
        expect_equal(got, images, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("unpatchify")
def test_unpatchify_takes_an_int_for_a_square_grid(learner):
    """grid_size G stands for (G, G)."""
    for batch, channels, grid_size, size in ((2, 3, 3, 4), (1, 2, 1, 3), (2, 1, 4, 2)):
        images = torch.randn(batch, channels, 1, 1).repeat(1, 1, grid_size * size, grid_size * size)
        got = learner(unpatchify, cut(images, size), size, grid_size)
        expect_equal(got, images, called=learner.called, likely="An int G means the grid (G, G).")


def fold(patches: Tensor, size: int, rows: int, columns: int) -> Tensor:
    """The inverse of `cut`, by torch's own F.fold."""
    return F.fold(patches.transpose(1, 2), (rows * size, columns * size), size, stride=size)


@exercise("PatchEmbedding")
def test_patch_embedding_trains_one_convolution(learner):
    """.proj is a convolution from 3 channels with a bias, and nothing else is trained."""
    for image_size, patch_size, dim in ((8, 4, 5), (6, 2, 12)):
        expected = {"proj.weight": [dim, 3, patch_size, patch_size], "proj.bias": [dim]}
        mistakes = {
            "The convolution has no bias.": {"proj.weight": expected["proj.weight"]},
            "A Linear layer over flattened patches has the right numbers, but the published weights are stored as a "
            "convolution [D, 3, P, P].": {"proj.weight": [dim, 3 * patch_size**2], "proj.bias": [dim]},
        }
        got = learner(trained_parameters, image_size, patch_size, dim)
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
        grid = F.conv2d(images, weight, bias, stride=patch_size)
        expected = cut(images, patch_size) @ weight.flatten(1).T + bias
        mistakes = {
            "The tokens run down the columns of the grid.": grid.transpose(2, 3).flatten(2).transpose(1, 2),
            "`reshape` from [B, D, rows, columns] to [B, N, D] mixes the dims of different tokens: flatten the grid, "
            "then swap the axes.": grid.reshape(expected.shape),
            "The bias is left out.": expected - bias,
            "The stride is not the patch size: the patches overlap.": F.conv2d(images, weight, bias)
            .flatten(2)
            .transpose(1, 2),
        }
        got = learner(tokens, image_size, patch_size, weight, bias, images)
        likely = "Apply .proj to the images, flatten the grid [B, D, rows, columns] into N, and bring D to the end."
        expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("PatchEmbedding")
def test_patch_embedding_passes_gradients(learner):
    """Gradients reach the images, the weight and the bias."""
    images, weight, bias = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 4, 4), torch.randn(5)
    leaves = [tensor.clone().requires_grad_() for tensor in (images, weight, bias)]
    grads = torch.autograd.grad(F.conv2d(*leaves, stride=4).sum(), leaves)
    expected = dict(zip(("images", "proj.weight", "proj.bias"), grads, strict=True))
    got = learner(gradients, 8, 4, weight, bias, images)
    likely = "The graph is cut in forward (detach, .data or no_grad), so this layer would never learn."
    expect_close(got, expected, called=learner.called, likely=likely)


# Grids of one patch and more, dims of one frequency and more
GRIDS = [(5, 4), (1, 8), (7, 24)]  # grid_size, dim


def drawn_grid() -> tuple[int, int]:
    grid_size, quarter = drawn((2, 8), (1, 6))
    return grid_size, 4 * quarter


def table(learner, grid_size, dim):
    got = learner(sincos_as_float32, grid_size, dim)
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
    got = learner(sincos_position_embedding, 3, 8)
    expect_that(
        isinstance(got, Tensor) and got.dtype == torch.float32,
        called=learner.called,
        expected="a tensor, torch.float32",
        got=str(getattr(got, "dtype", type(got).__name__)),
        likely="Compute in any dtype you like, and give back `.float()`.",
    )
    expect_that(
        got.numel() == 9 * 8 and bool(got.isfinite().all() and (got != got.flatten()[:1]).any()),
        called=learner.called,
        expected="[9, 8], sines and cosines",
        got=f"{shape(got)}, all alike or not finite" if got.numel() == 9 * 8 else shape(got),
        likely="The table has one row a patch, and in each row another code.",
    )


@exercise("sincos_position_embedding")
def test_sincos_position_embedding_first_half_is_the_column(learner):
    """The first half of D depends on the column alone, the second half on the row alone."""

    def by_column_then_row(halves):
        column, row = halves[:1, :, 0].expand_as(halves[:, :, 0]), halves[:, :1, 1].expand_as(halves[:, :, 1])
        return torch.stack([column, row], dim=2)

    for grid_size, dim in (*GRIDS, drawn_grid()):
        got = table(learner, grid_size, dim).reshape(grid_size, grid_size, 2, dim // 2)  # row, column, half, entry
        mistakes = {
            "Row and column are swapped: the first half encodes the column, which changes from each patch to the "
            "next.": by_column_then_row(got.flip(2)).flip(2)
        }
        likely = "Patch n stands in row n // G and column n % G; each half of D may know only one of the two."
        expected, called = by_column_then_row(got), learner.called
        expect_close(got, expected, called=f"{called} as [row, column, half, D/2]", mistakes=mistakes, likely=likely)


@exercise("sincos_position_embedding", points=2)
def test_sincos_position_embedding_is_sines_then_cosines(learner):
    """Each half is D/4 sines, then D/4 cosines, of position * 10000 ** (-k / (D/4))."""
    for grid_size, dim in (*GRIDS, drawn_grid()):
        positions, k, quarter = torch.arange(grid_size).double(), torch.arange(dim // 4).double(), dim // 4
        right = code(positions, k / quarter)
        halves = {
            "Sine and cosine are interleaved: all D/4 sines come first, then all cosines.": right.transpose(1, 2),
            "The cosines come first; the sines must.": right.flip(1),
            "The exponent is k / (D/4): D/4 counts the frequencies.": code(positions, k / (2 * quarter)),
            "The exponent is k / (D/4), without the factor 2.": code(positions, 2 * k / quarter),
            "The exponent must end before 1: k / (D/4), not k / (D/4 - 1).": code(positions, k / max(quarter - 1, 1)),
            "The frequencies fall with k: the exponent needs its minus sign.": code(positions, -k / quarter),
            "Positions are counted from 0, not from 1.": code(positions + 1, k / quarter),
            "Positions count patches, 0 to G - 1: no division by G.": code(positions / grid_size, k / quarter),
        }
        expected = right.flatten(1).repeat(1, 2)
        mistakes = {sentence: half.flatten(1).repeat(1, 2) for sentence, half in halves.items()}
        # patch (i, i) has row = column = i: both of its halves are the same code
        got = table(learner, grid_size, dim)[:: grid_size + 1]
        likely = "Write out one patch by hand: row 0 is D/4 zeros, D/4 ones, D/4 zeros, D/4 ones."
        called = f"{learner.called}[::{grid_size + 1}]"
        # no relative tolerance: it would hide another base than 10000
        expect_close(got, expected, called=called, mistakes=mistakes, likely=likely, rtol=0)


def code(positions: Tensor, exponents: Tensor) -> Tensor:
    """Sine and cosine of every position at every frequency: [G, 2, D/4]."""
    angles = positions[:, None] * 10000.0**-exponents
    return torch.stack([angles.sin(), angles.cos()], dim=1).float()


@exercise("sincos_position_embedding")
def test_sincos_position_embedding_refuses_other_dims(learner):
    """A dim that 4 does not divide is a ValueError, and one that it divides is not."""
    for dim in (6, 10, 9):
        likely = "D splits into sine and cosine of column and row: 4 must divide it."
        expect_error(ValueError, learner, sincos_position_embedding, 3, dim, likely=likely)
    learner(sincos_position_embedding, 3, 8)
