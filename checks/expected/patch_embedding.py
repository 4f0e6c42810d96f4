"""What patch embedding must give, by torch's own functions, and what its known mistakes give."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.tool.expect import Mistakes


def cut(images: Tensor, patch_size: int) -> Tensor:
    """What patchify must give, by torch's own sliding window: [B, C, H, W] -> [B, N, C*P*P]."""
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def one_row(images: Tensor) -> Tensor:
    """Images [B, C, 1, W] as patches of one pixel, [B, W, C]: most mistakes in the order of patches don't show here."""
    return images[:, :, 0].transpose(1, 2).contiguous()


def fold(patches: Tensor, size: int, rows: int, columns: int) -> Tensor:
    """The inverse of `cut`, by torch's own F.fold."""
    return F.fold(patches.transpose(1, 2), (rows * size, columns * size), size, stride=size)


def one_colour_patches(batch: int, channels: int, rows: int, columns: int, size: int) -> Tensor:
    """Images whose patches have one random value a channel: only the places of the patches show."""
    values = torch.randn(batch, channels, rows, columns)
    return values.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)


def equal_patches(batch: int, channels: int, rows: int, columns: int, size: int) -> Tensor:
    """Images whose patches are all the same: only the order of the pixels within a patch shows."""
    return torch.randn(batch, channels, size, size).repeat(1, 1, rows, columns)


def patchify_places(images: Tensor, size: int) -> Mistakes:
    """Mistakes in the places of the patches."""
    expected = cut(images, size)
    return {
        "The patches run down the columns: the next patch after 0 is the one to its right.": cut(
            images.transpose(2, 3), size
        ),
        "`reshape` alone takes the pixels in reading order, across patches: split H and W into (rows, P) and "
        "(columns, P), then bring the axes of a patch together with permute.": images.reshape(expected.shape),
        "The patches of all images follow each other in one batch.": expected.reshape(1, -1, expected.shape[2]),
    }


def patchify_pixels(images: Tensor, size: int) -> Mistakes:
    """Mistakes in the order of the pixels within a patch."""
    pixels = cut(images, size).unflatten(2, (images.shape[1], size, size))
    return {
        "The channels are interleaved: a patch goes row, column, channel, and must go channel, row, "
        "column.": pixels.permute(0, 1, 3, 4, 2).flatten(2),
        "Row and column are swapped within a patch.": pixels.transpose(3, 4).flatten(2),
        "The channel stands between row and column.": pixels.transpose(2, 3).flatten(2),
    }


def unpatchify_places(images: Tensor, size: int, rows: int, columns: int) -> Mistakes:
    patches = cut(images, size)
    down = patches.unflatten(1, (columns, rows)).transpose(1, 2).reshape(patches.shape)
    return {
        "grid_size is (rows, columns): here rows and columns are swapped.": fold(patches, size, columns, rows),
        "The patches are placed down the columns: patch 1 belongs to the right of patch 0.": fold(
            down, size, rows, columns
        ),
        "`reshape` alone lays the patches out in reading order: bring the axes into the order C, rows, P, columns, "
        "P with permute first.": patches.reshape(images.shape),
    }


def unpatchify_pixels(images: Tensor, size: int, rows: int, columns: int) -> Mistakes:
    patches, channels = cut(images, size), images.shape[1]
    last = patches.unflatten(2, (size, size, channels)).permute(0, 1, 4, 2, 3).flatten(2)
    turned = patches.unflatten(2, (channels, size, size)).transpose(3, 4).flatten(2)
    return {
        "A patch is read as row, column, channel, and is channel, row, column.": fold(last, size, rows, columns),
        "Row and column are swapped within a patch.": fold(turned, size, rows, columns),
    }


def convolution_parameters(patch_size: int, dim: int) -> dict[str, list[int]]:
    return {"proj.weight": [dim, 3, patch_size, patch_size], "proj.bias": [dim]}


def embedding_parameters(patch_size: int, dim: int) -> Mistakes:
    return {
        "The convolution has no bias.": {"proj.weight": [dim, 3, patch_size, patch_size]},
        "A Linear layer over flattened patches has the right numbers, but the published weights are stored as a "
        "convolution [D, 3, P, P].": {"proj.weight": [dim, 3 * patch_size**2], "proj.bias": [dim]},
    }


def embed(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The tokens [B, N, D]: weight times each patch, plus bias."""
    return cut(images, weight.shape[-1]) @ weight.flatten(1).T + bias


def embedding_tokens(images: Tensor, weight: Tensor, bias: Tensor) -> Mistakes:
    grid, expected = F.conv2d(images, weight, bias, stride=weight.shape[-1]), embed(images, weight, bias)
    return {
        "The tokens run down the columns of the grid.": grid.transpose(2, 3).flatten(2).transpose(1, 2),
        "`reshape` from [B, D, rows, columns] to [B, N, D] mixes the dims of different tokens: flatten the grid, "
        "then swap the axes.": grid.reshape(expected.shape),
        "The bias is left out.": expected - bias,
        "Negative values are cut to 0, as by a ReLU: a token is what the convolution gives.": expected.relu(),
        **{
            f"The convolution is padded by {padding}, so that other patches are cut: leave `padding` out.": F.conv2d(
                images, weight, bias, stride=weight.shape[-1], padding=padding
            )
            .flatten(2)
            .transpose(1, 2)
            for padding in range(1, weight.shape[-1])
        },
        "The stride is not the patch size: the patches overlap.": F.conv2d(images, weight, bias)
        .flatten(2)
        .transpose(1, 2),
    }


def embedding_gradients(images: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """The gradients of the sum of all tokens."""
    leaves = [tensor.clone().requires_grad_() for tensor in (images, weight, bias)]
    grads = torch.autograd.grad(F.conv2d(*leaves, stride=weight.shape[-1]).sum(), leaves)
    return dict(zip(("images", "proj.weight", "proj.bias"), grads, strict=True))


def by_column_then_row(halves: Tensor) -> Tensor:
    """The table [row, column, half, D/2] as it is if the first half knows the column alone, the second the row."""
    column, row = halves[:1, :, 0].expand_as(halves[:, :, 0]), halves[:, :1, 1].expand_as(halves[:, :, 1])
    return torch.stack([column, row], dim=2)


def half_mistakes(halves: Tensor) -> Mistakes:
    return {
        "Row and column are swapped: the first half encodes the column, which changes from each patch to the "
        "next.": by_column_then_row(halves.flip(2)).flip(2)
    }


def code(positions: Tensor, exponents: Tensor) -> Tensor:
    """Sine and cosine of every position at every frequency: [G, 2, D/4]."""
    angles = positions[:, None] * 10000.0**-exponents
    return torch.stack([angles.sin(), angles.cos()], dim=1).float()


def both_halves(half: Tensor) -> Tensor:
    """The codes [G, D] of the patches in row i and column i: both of their halves are the same."""
    return half.flatten(1).repeat(1, 2)


def diagonal(grid_size: int, dim: int) -> Tensor:
    """The codes [G, D] of the patches in row i and column i: D/4 sines, D/4 cosines, twice."""
    return both_halves(code(torch.arange(grid_size).double(), torch.arange(dim // 4).double() / (dim // 4)))


def diagonal_mistakes(got: Tensor, dim: int) -> Mistakes:
    """got: the learner's codes [G, D], which stand where an angle is so large that float32 can't tell its sine."""
    grid_size = len(got)
    quarter = dim // 4
    positions, k = torch.arange(grid_size).double(), torch.arange(quarter).double()
    right = code(positions, k / quarter)
    minus = "The frequencies fall with k: the exponent needs its minus sign."
    halves = {
        "Sine and cosine are interleaved: all D/4 sines come first, then all cosines.": right.transpose(1, 2),
        "The cosines come first; the sines must.": right.flip(1),
        "The exponent is k / (D/4): D/4 counts the frequencies.": code(positions, k / (2 * quarter)),
        "The exponent is k / (D/4), without the factor 2.": code(positions, 2 * k / quarter),
        "The exponent must end before 1: k / (D/4), not k / (D/4 - 1).": code(positions, k / max(quarter - 1, 1)),
        minus: code(positions, -k / quarter),
        "`//` rounds the exponent to a whole number: divide k by D/4 with `/`.": code(positions, (k / quarter).ceil()),
        "`//` rounds the exponent to 0: divide k by D/4 with `/`.": code(positions, 0 * k),
        "Positions are counted from 0, not from 1.": code(positions + 1, k / quarter),
        "Positions count patches, 0 to G - 1: no division by G.": code(positions / grid_size, k / quarter),
    }
    wrong = {sentence: both_halves(half) for sentence, half in halves.items()}
    steep = both_halves((positions[:, None] * 10000.0 ** (k / quarter))[:, None].expand(-1, 2, -1) > 30)
    if not (wrong[minus] != both_halves(right))[~steep].any():  # too little is left to name it
        return wrong
    return wrong | {minus: torch.where(steep, got, wrong[minus])}
