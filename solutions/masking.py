# %% [markdown]
# # Lesson 3: what the student sees, and what it must predict
#
# ## What you will build and why
#
# I-JEPA makes its own exam. It looks at one part of a photograph, the **context**, and predicts what a network would
# find in other parts, the **targets**. Nobody labels anything: the questions come from where the masks lie.
#
# So the masks decide what is learned. Hide single patches, and each can be guessed from the patch beside it: a
# colour, a line that goes on. Hide large blocks, and the model has to know what kind of thing it sees. In the paper,
# nothing else about the method changed the result as much.
#
# You will draw the size of a block, place it, and combine blocks into the masks of a batch. It takes no network, and
# nothing from Lessons 1 and 2 except that patches are counted row by row. Plan **90 minutes**.

# %%
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from checks import check

# %%
if __name__ == "__main__":
    from data import load_images, to_display
    from lessons import figures

    photos = load_images("whole photos").batch([3, 2])  # [2, 3, 224, 224]
    place = torch.arange(196).reshape(14, 14)  # the index of each patch, at its place

    corners = [[(0, 8), (2, 6), (6, 9), (5, 1)], [(0, 8), (3, 2), (5, 4), (7, 9)]]  # top, left of each block
    targets = torch.stack(
        [torch.stack([place[top : top + 7, left : left + 5].flatten() for top, left in row]) for row in corners]
    )
    context = [[i for i in place[:13, 1:].flatten().tolist() if i not in row] for row in targets.flatten(1)]
    length = min(len(row) for row in context)
    context = torch.stack([torch.tensor(row)[torch.randperm(len(row))[:length]] for row in context])
    figures.masks(to_display(photos), context, targets, grid_size=14)

# %% [markdown]
# Masks made by hand, of the kind that your code will draw at random. Four target blocks in each photograph: all have
# one size, and they may overlap each other. The green patches are all that the student gets. (Grey squares in the
# green were dropped, to make both contexts equally long.)
#
# Look at the pagoda. What can you say about block 4 from the green patches? Nobody can tell its pixels. But you know
# that the roof goes on, with columns below it. That is the kind of answer we want from a model.
#
# ## The contract
#
# B images, a grid of G x G patches, M target blocks. Nc patches of context and Nt patches in a target, given as
# indices: row \* G + column.
#
# - `sample_block_size(grid_size, scale, aspect_ratio, generator)` -> (height, width), in patches
# - `sample_block(grid_size, block_size, generator)` -> bool [G, G], True inside the block
# - `sample_masks(batch_size, grid_size, generator, ...)` -> `Masks`: `.context` [B, Nc], `.targets` [B, M, Nt], long;
#   `ValueError` if no context is left
#
# Every random number comes from `generator`, as in `torch.rand(2, generator=generator)`: so a training run can be
# repeated exactly.

# %% [markdown]
# ## Exercise 3.1: sample_block_size
#
# **10 minutes, easy.** A block is described by two numbers that do not depend on the grid. `scale` is its area, as a
# fraction of the grid's area. `aspect_ratio` is height / width. Draw both, then find the height and the width.
#
# Scale is an area and not a side: a block of scale .25 is half as high and half as wide as the grid.
#
# <details><summary>Hint 1</summary>
#
# On paper: height \* width = area and height / width = ratio. Multiply the two equations. What is height in terms of
# area and ratio? And width?
#
# </details>
# <details><summary>Hint 2</summary>
#
# height is the root of area \* ratio, width the root of area / ratio; the area is a fraction times G \* G. A uniform
# number between low and high is low + u \* (high - low), with u uniform in 0..1. Draw one u for the scale and another
# for the ratio.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `u, v = torch.rand(2, generator=generator).tolist()` gives two Python floats. `round(...)` of a float is an int.
# `min(max(height, 1), grid_size)` keeps it in the grid; the same for the width.
#
# </details>


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

# %% [markdown]
# ## Exercise 3.2: sample_block
#
# **10 minutes, easy.** Now place the block. Draw its top row and its left column, and mark the patches. All places
# where the whole block fits must be equally likely. Count them before you write: in how many rows can the top of a
# block of 6 lie, in a grid of 14?
#
# <details><summary>Hint 1</summary>
#
# Draw a small case: a block of height 3 in a grid of 4. Which tops are possible? Write the count as a formula of G and
# height. Then test it on a block as high as the grid.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The top is one of 0, 1, ..., G - height. `torch.randint(n, ())` draws from 0 to n - 1: it leaves out n.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `top = int(torch.randint(grid_size - height + 1, (), generator=generator))`, and the same for `left`. Start from
# `torch.zeros(grid_size, grid_size, dtype=torch.bool)` and set one slice, `[top : top + height, ...]`, to True.
#
# </details>


# %% exercise="sample_block"
def sample_block(grid_size: int, block_size: tuple[int, int], generator: Generator) -> Tensor:
    """Place a block of block_size = (height, width) patches at random.

    -> bool [G, G], True inside the block. Every place where the whole block fits is equally likely,
    those at the borders included. Random numbers come only from generator.

    Example: sample_block(14, (6, 5), generator) has 30 True values; the block's top row is one of
    0 .. 8, its left column one of 0 .. 9.
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

# %% [markdown]
# ## Experiment: the row that nobody sees
#
# Leave out the `+ 1` of exercise 3.2, and every block is still a whole block of the right size. Each single mask looks
# fine. We draw 2,000 blocks of 6 x 6 each way, and count how often each patch is covered.
#
# **Predict:** with your `sample_block`, how many times as often as a corner is a patch in the middle of the grid
# covered? Write a number in place of the dots.

# %%
if __name__ == "__main__":
    check("middle_and_corner", ...)

# %%
if __name__ == "__main__":
    height, width = 6, 6
    generator = torch.Generator().manual_seed(0)
    slip, yours = torch.zeros(14, 14), torch.zeros(14, 14)
    for _ in range(2000):
        top = torch.randint(14 - height, (), generator=generator)
        left = torch.randint(14 - width, (), generator=generator)
        slip[top : top + height, left : left + width] += 1
        yours += sample_block(14, (height, width), generator)
    figures.mask_frequency({f"randint(14 - {height})": slip, "your sample_block": yours})

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Left: the last row and the last column stay at 0. Right: yours. Every *place* of the block is equally likely, but a
# patch in the middle lies in many places, a corner in one only. The published I-JEPA code has this slip.
#
# </details>
#
# **Try:** blocks of 12 x 12. Which patches does each version always cover? (At 14 x 14 the left one raises an error: it
# has no place to choose from.)
#
# ## Given: many blocks at once
#
# `Masks` is what you will return. `block_indices` is your `sample_block` for a whole batch without a Python loop, and
# with indices in place of True and False. Read how `rows * grid_size + columns` makes a block: [height, 1] and [width]
# broadcast to [height, width].


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


# %% [markdown]
# ## Exercise 3.3: sample_masks
#
# **35 minutes, hard.** Put it together for a batch:
#
# 1. Draw **one** target size and one context size (ratio 1) for the batch.
# 2. In each image, place `num_targets` targets and one context block, each at a place of its own.
# 3. Take the image's targets out of its context: the student must not see what it has to predict.
# 4. Too few patches left in an image? Draw its places again. If a hundred rounds don't help, raise `ValueError`.
# 5. Contexts now have different lengths, and a tensor needs one. Cut all to the shortest, each to a **random** subset.
#
# Targets are never cut: they are whole blocks. A loop over the images is fine.
#
# <details><summary>Hint 1</summary>
#
# Indices are handy for targets, True and False for "this one, but not those". So keep a table
# `visible = torch.zeros(batch_size, grid_size**2, dtype=torch.bool)`: True in the context block, then False in the
# targets. Its sum along axis 1 is each context's length.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For one image, `block_indices(1, num_targets, grid_size, target_size, generator)[0]` is [M, Nt] and
# `block_indices(1, 1, grid_size, context_size, generator).flatten()` holds the context block. With `row = visible[b]`:
# `row[block] = True`, then `row[targets.flatten()] = False`. Put this into `for _ in range(100)`, clear the row first,
# and leave the loop by `break` once `row.sum()` is more than min(10, G \* G // 8). The `else` of a `for` runs when no
# `break` came: the place for `raise ValueError(...)`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A random subset of k: `row.nonzero().flatten()` gives the indices, in order;
# `indices[torch.randperm(len(indices), generator=generator)[:k]]` takes k at random. k is
# `int(visible.sum(dim=1).min())`, known once all images are drawn. `torch.stack` joins the rows; the end is
# `return Masks(context, targets)`.
#
# </details>


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

    Example: sample_masks(32, 14, generator) gives, for a target size of 6 x 5, targets [32, 4, 30]
    and a context of about [32, 60].
    """
    ### BEGIN SOLUTION
    fewest = min(10, grid_size**2 // 8) + 1
    for _ in range(10):
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

# %% [markdown]
# ## Experiment: move the sliders
#
# Two knobs of your own code. At which scale are the questions too easy, and at which can nobody answer them?
#
# **Predict:** the scale stays, and the ratio goes from 1 to 4. By what factor does a target grow in height, before it
# is rounded?

# %%
if __name__ == "__main__":
    check("height_at_ratio_4", ...)

# %%
if __name__ == "__main__":
    photo = photos[:1]

    def redraw(scale: float, ratio: float):
        generator = torch.Generator().manual_seed(0)
        masks = sample_masks(1, 14, generator, target_scale=(scale, scale), target_aspect_ratio=(ratio, ratio))
        return figures.masks(to_display(photo), *masks, grid_size=14)

    scales, ratios = [n / 100 for n in range(2, 51)], [n / 10 for n in range(3, 41)]
    figures.sliders(redraw, scale=(0.17, scales), ratio=(1.0, ratios))

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# - **scale** .02: targets are so small that their neighbours give them away.
# - **scale** .17: the paper's. Each block hides a part of a thing, and enough is left to recognise the thing.
# - **scale** .5: hardly any context. Nobody could answer. (Your code draws again until 11 patches are left.)
# - **ratio**: 4 is tall, .3 is wide, and the area stays the same but for rounding.
#
# </details>
#
# ## Experiment: cut, but where?
#
# Step 5 cuts contexts to the shortest of the batch. The quick way is `indices[:k]`. But indices come in order, so the
# first k are the top of the image. Count what the student gets to see, over batches of 128.
#
# **Predict:** how many patches does a context lose to the cut in a batch of 128, compared with a batch of 8, on
# average: `"more"`, `"fewer"` or `"as many"`?

# %%
if __name__ == "__main__":
    check("larger_batch", ...)

# %%
if __name__ == "__main__":
    batch_size, batches = 128, 10
    generator = torch.Generator().manual_seed(0)
    seen = {title: torch.zeros(196) for title in ("before the cut", "the first k", "a random k")}
    for _ in range(batches):
        contexts = [sample_masks(1, 14, generator).context[0].sort().values for _ in range(batch_size)]
        k = min(len(row) for row in contexts)
        for row in contexts:
            seen["before the cut"][row] += 1
            seen["the first k"][row[:k]] += 1
            seen["a random k"][row[torch.randperm(len(row))[:k]]] += 1
    figures.mask_frequency({title: count.reshape(14, 14) for title, count in seen.items()}, "times seen by the student")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Left: contexts before the cut. (The middle is seen less, since targets cover it more often.) Right: a random cut
# is the same picture, darker. Middle: the lower part is gone. The model learns that the world is in the upper half.
# In the published code, with both slips, row 0 is visible 76 % of the time and row 12 1.4 %; row 13 never.
#
# </details>
#
# **Try:** `batch_size, batches = 8, 160`: as many images, and the harm is smaller.
#
# ## Experiment: what the neighbours give away
#
# Hide as many patches as four blocks cover, once one by one and once as the blocks. Then fill the holes without any
# knowledge: each hidden pixel becomes the mean of the pixels around it, again and again. **Predict:** which holes does
# this blind rule fill better, and what will the middle of a large hole look like?

# %%
if __name__ == "__main__":
    from torch.nn import functional as F

    small = load_images("photos", image_size=112).batch([12])  # patches of 8 pixels: the filling is quicker
    generator = torch.Generator().manual_seed(0)
    blocks = torch.zeros(196, dtype=torch.bool)
    blocks[sample_masks(1, 14, generator).targets.flatten()] = True
    single = blocks[torch.randperm(196, generator=generator)]  # as many patches, at random places

    pictures, titles = [to_display(small)[0]], ["photograph"]
    for name, hidden in (("single patches", single), ("blocks", blocks)):
        pixels = hidden.reshape(14, 14).repeat_interleave(8, 0).repeat_interleave(8, 1)
        filled = small.masked_fill(pixels, 0)
        pictures.append(to_display(filled)[0])
        for _ in range(200):
            around = F.avg_pool2d(F.pad(filled, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
            filled = torch.where(pixels, around, small)
        error = (filled - small)[:, :, pixels].square().mean().item()
        pictures.append(to_display(filled)[0])
        titles += [name, f"filled: error {error:.2f}"]
    figures.side_by_side(pictures, titles)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# For single patches, this blind rule gets colours and outlines right: a model that is asked for no more has little
# reason to learn more. Inside a block, it has nothing to say. The paper trained with four kinds of masks and then
# tested what had been learned (ImageNet, 1 % of the labels, accuracy in %):
#
# - 54.2 with four blocks and the rest as context, as here
# - 20.2 with one block as the target
# - 17.6 with random patches
# - 15.5 with one quarter of the image as context and the other three as targets
#
# </details>
#
# **Try:** photograph 29, or another seed.
#
# ## Stretch: sample_contexts
#
# *Optional, 25 minutes.* `block_indices` places all blocks of a batch at once. The rest of exercise 3.3 needs no loop
# over the images either, and two ideas are enough. A table of True and False, [B, N], holds all contexts together:
# `scatter_` writes into each row at the row's own indices. And give every patch a random number: the k largest are a
# random k. (A patch that must not be chosen gets a number below all others.) `pytest checks --stretch` runs the
# checks of all stretch exercises.


# %% stretch="sample_contexts"
def sample_contexts(blocks: Tensor, targets: Tensor, grid_size: int, generator: Generator) -> Tensor:
    """The contexts of a batch: its context blocks minus its targets, cut to one length (steps 3 and 5 of exercise 3.3).

    blocks [B, K]: the patches of each image's context block; targets [B, M, Nt]. -> long [B, Nc]: patches of the
    image's block that are in none of its own targets, each once, in any order. Nc is the fewest that any image has
    left; who has more keeps a random subset, each equally likely and each image's its own. Random numbers come only
    from generator. No loop: the number of torch operations does not depend on B.
    """
    ### BEGIN SOLUTION
    visible = torch.zeros(len(blocks), grid_size**2, dtype=torch.bool)
    visible.scatter_(1, blocks, True).scatter_(1, targets.flatten(1), False)
    keys = torch.rand(visible.shape, generator=generator).masked_fill(~visible, -1.0)
    return keys.topk(int(visible.sum(dim=1).min()), dim=1).indices
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("sample_contexts")

# %% [markdown]
# What is it good for? Set it beside a loop, on a batch of 256.

# %%
if __name__ == "__main__":
    from time import perf_counter

    generator = torch.Generator().manual_seed(0)
    blocks = block_indices(256, 1, 14, (13, 13), generator).flatten(1)
    targets = block_indices(256, 4, 14, (6, 6), generator)

    def with_a_loop() -> Tensor:
        rows = []
        for block, hidden in zip(blocks, targets.flatten(1), strict=True):
            row = torch.zeros(196).index_fill(0, block, 1).index_fill(0, hidden, 0).nonzero().flatten()
            rows.append(row[torch.randperm(len(row), generator=generator)])
        k = min(len(row) for row in rows)
        return torch.stack([row[:k] for row in rows])

    for name, draw in (("loop", with_a_loop), ("no loop", lambda: sample_contexts(blocks, targets, 14, generator))):
        start = perf_counter()
        for _ in range(20):
            draw()
        print(f"{name:>7}: {(perf_counter() - start) / 20 * 1000:.1f} ms a batch")

# %% [markdown]
# Each operation of torch costs some microseconds however small its tensors are, and the loop asks for several an image.
# A GPU would wait for these masks at every step.
#
# ## What people get wrong here
#
# - **Random single patches in place of blocks.** The loss falls fast: neighbours give the answers.
# - **A random subset of a block as the target.** The patches that were left out give the rest away.
# - **Targets left in the context.** The student sees what it must predict, and learns to copy.
# - **One mask for the whole batch.** All images ask one question at a step; fewer questions, noisier steps.
# - **Scale read as a side.** `.17 * 14` is 2 patches: targets of 2 x 2 in place of 6 x 6.
# - **Height and width swapped.** Blocks are tall where they should be wide. With square blocks nobody notices.
# - **One random number for scale and ratio.** Large blocks are always tall, small ones always wide. In the published
#   code only 5 shapes ever come up.
# - **Blocks that never touch a border**, and **the first k of the context**: you have seen both.
#
# None of these raises an error, and with each of them the loss can fall. Draw your masks before you train.

# %% [markdown] question="why_overlap" points=2
# ## Question: which overlap matters?
#
# A target block may overlap another target block, but never the context. Suppose that a friend forgets to take the
# targets out of the context. What happens to the loss, and what does the model learn? Why is it harmless that targets
# overlap each other? How would you find the mistake without training? Four or five sentences.
#
# ### BEGIN SOLUTION
# The loss falls faster and lower, since most target patches are in the student's input. The model can answer by
# copying: find the token at this place and pass it on. Nothing has to be inferred from the rest of the image, so the
# features need not say what the image shows. Two overlapping targets ask about some patches twice; the answer to one
# block is never an input for the other, so nothing leaks (it only weights these patches more). To find it: draw masks
# and test that no index of an image's context is among its targets, or draw the picture.
#
# Rubric: 1 point for the leak and its effect (lower loss, copying in place of inferring; half a point for the loss
# alone). Half a point for the targets: no target is an input. Half a point for a test on the masks themselves, such as
# an empty intersection in each image.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [Assran et al. 2023](https://arxiv.org/abs/2301.08243), section 9, "Ablations", the paragraph "Masking strategy".
#
# ## Next
#
# The student knows what to look at and where the questions are. Lesson 4 builds who knows the answers: the teacher.
