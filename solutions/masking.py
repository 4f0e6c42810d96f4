# %% [markdown]
# # Lesson 3: what the student sees, and what it must predict

# %%
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from checks import check


# %% exercise="sample_block_size"
def sample_block_size(
    grid_size: int, scale: tuple[float, float], aspect_ratio: tuple[float, float], generator: Generator
) -> tuple[int, int]:
    """Draw how many patches high and wide a block is.

    scale = (low, high): the block's area as a fraction of the grid's; aspect_ratio = (low, high):
    height / width. Both are uniform, each from a random number of its own. -> (height, width) ints,
    rounded to the nearest, from 1 to grid_size. Random numbers come only from generator.

    Example: in a grid of 14, an area of .18 * 196 = 35.3 patches at ratio 1.0 -> (6, 6).
    """
    ### BEGIN SOLUTION
    u, v = torch.rand(2, generator=generator).tolist()
    area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
    ratio = aspect_ratio[0] + v * (aspect_ratio[1] - aspect_ratio[0])
    height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
    return min(max(height, 1), grid_size), min(max(width, 1), grid_size)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("sample_block_size")


# %% exercise="sample_block"
def sample_block(grid_size: int, block_size: tuple[int, int], generator: Generator) -> Tensor:
    """Place a block of block_size = (height, width) patches at random.

    -> bool [G, G], True inside the block. Every place where the whole block fits is equally likely,
    those at the borders included. Random numbers come only from generator.
    """
    ### BEGIN SOLUTION
    height, width = block_size
    # randint leaves out its upper end: + 1, or the last row and column are never reached
    top = int(torch.randint(grid_size - height + 1, (), generator=generator))
    left = int(torch.randint(grid_size - width + 1, (), generator=generator))
    block = torch.zeros(grid_size, grid_size, dtype=torch.bool)
    block[top : top + height, left : left + width] = True
    return block
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("sample_block")


# %%
class Masks(NamedTuple):
    """Patch indices of a batch: context [B, Nc] and targets [B, M, Nt], both long; distinct within
    a row, in no particular order.
    """

    context: Tensor
    targets: Tensor


def block_indices(
    batch_size: int, count: int, grid_size: int, block_size: tuple[int, int], generator: Generator
) -> Tensor:
    """Place count blocks of one size in each image, all at once: long [B, count, height*width]
    patch indices.
    """
    height, width = block_size
    top = torch.randint(grid_size - height + 1, (batch_size, count, 1, 1), generator=generator)
    left = torch.randint(grid_size - width + 1, (batch_size, count, 1, 1), generator=generator)
    rows = top + torch.arange(height)[:, None]
    columns = left + torch.arange(width)
    return (rows * grid_size + columns).flatten(2)


# %% exercise="sample_masks"
def sample_masks(
    batch_size: int,
    grid_size: int,
    generator: Generator,
    num_targets: int = 4,
    target_scale: tuple[float, float] = (0.15, 0.2),
    target_aspect_ratio: tuple[float, float] = (0.75, 1.5),
    context_scale: tuple[float, float] = (0.85, 1.0),
) -> Masks:
    """Draw the context and the targets of a batch (I-JEPA paper, section 3 and appendix A.1).

    All target blocks of a batch have one size, so that they stack; each has a place of its own. The
    context of an image is a block of aspect ratio 1 minus all targets of that image, cut to the
    smallest count in the batch by keeping a random subset. An image whose context would have
    min(10, G*G // 8) patches or fewer is drawn again.

    -> Masks(context [B, Nc], targets [B, M, Nt]). Raises ValueError if the sizes asked for leave no
    context.
    """
    ### BEGIN SOLUTION
    fewest = min(10, grid_size**2 // 8) + 1
    for _ in range(100):
        target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
        context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
        height, width = target_size
        targets = torch.zeros(batch_size, num_targets, height * width, dtype=torch.long)
        visible = torch.zeros(batch_size, grid_size**2, dtype=torch.bool)
        short = torch.arange(batch_size)  # the images that have too little context so far: all
        for _ in range(100):
            targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)
            context = block_indices(len(short), 1, grid_size, context_size, generator)
            inside = torch.zeros(len(short), grid_size**2, dtype=torch.bool)
            inside.scatter_(1, context.flatten(1), True)
            inside.scatter_(1, targets[short].flatten(1), False)
            visible[short] = inside
            counts = visible.sum(dim=1)
            short = (counts < fewest).nonzero()[:, 0]
            if len(short) == 0:
                # the largest of random keys: a random subset (the first ones would be the top rows)
                keys = torch.rand(batch_size, grid_size**2, generator=generator)
                keys = keys.masked_fill(~visible, -1.0)
                return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
    raise ValueError("the targets leave no context: ask for fewer or smaller targets")
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("sample_masks")
