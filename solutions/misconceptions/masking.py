# ruff: noqa: F811, F821, RUF100
"""Lesson 3: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong sample_block_size: height and width swapped | swapped: aspect_ratio is height / width
# - (area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + (area / ratio) ** 0.5), round((area * ratio) ** 0.5)

# %% wrong sample_block_size: rounded down | rounded down: round them to the nearest
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + int((area * ratio) ** 0.5), int((area / ratio) ** 0.5)


# %% wrong sample_block_size: rounded up | rounded up: round them to the nearest
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    import math

    s = torch.empty(1).uniform_(*scale, generator=generator).item()
    a = torch.empty(1).uniform_(*aspect_ratio, generator=generator).item()
    height = math.ceil(math.sqrt(s * grid_size**2 * a))
    width = math.ceil(math.sqrt(s * grid_size**2 / a))
    return max(1, min(height, grid_size)), max(1, min(width, grid_size))


# %% wrong sample_block_size: scale as a side, ratio inside the root | scale is read as a side
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area / grid_size * ratio**0.5), round(area / grid_size / ratio**0.5)

# %% wrong sample_block_size: scale as the height | scale is read as the height
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area / grid_size), round(area / grid_size / ratio)

# %% wrong sample_block_size: scale as the width | scale is read as the width
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area / grid_size * ratio), round(area / grid_size)

# %% wrong sample_block_size: area of the grid is its side | The area is scale * G * G, not scale * G
# - * grid_size**2
# + * grid_size

# %% wrong sample_block_size: ratio outside of the root | stands outside of the square root
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area**0.5 * ratio), round(area**0.5 / ratio)

# %% wrong sample_block_size: only the height takes the ratio | changes the height alone
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area**0.5 * ratio), round(area**0.5)

# %% wrong sample_block_size: only the width takes the ratio | changes the width alone
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area**0.5), round(area**0.5 / ratio)

# %% wrong sample_block_size: no aspect ratio | The aspect ratio is left out
# - ratio = aspect_ratio[0] + v * (aspect_ratio[1] - aspect_ratio[0])
# + ratio = 1.0

# %% wrong sample_block_size: no square root | The square root is missing
# - round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + round(area * ratio), round(area / ratio)

# %% wrong sample_block_size: whole patches of area first | The area is rounded down before
# - area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
# + area = int((scale[0] + u * (scale[1] - scale[0])) * grid_size**2)

# %% wrong sample_block_size: the area rounded first | The area is rounded before
# - area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
# + area = round((scale[0] + u * (scale[1] - scale[0])) * grid_size**2)

# %% wrong sample_block_size: width from the rounded height | The width comes from the rounded height
# - height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + height = max(round((area * ratio) ** 0.5), 1)
# +     width = round(area / height)

# %% wrong sample_block_size: width is the rounded height over the ratio | rounded height / ratio
# - height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + height = round((area * ratio) ** 0.5)
# +     width = round(height / ratio)


# %% wrong sample_block_size: tensors come back | int(...)` makes one
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    u, v = torch.rand(2, generator=generator)
    area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
    ratio = aspect_ratio[0] + v * (aspect_ratio[1] - aspect_ratio[0])
    height = (area * ratio).sqrt().round().clamp(1, grid_size)
    width = (area / ratio).sqrt().round().clamp(1, grid_size)
    return height, width


# %% wrong sample_block_size: integer tensors come back | int(...)` makes one
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    u, v = torch.rand(2, generator=generator)
    area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
    ratio = aspect_ratio[0] + v * (aspect_ratio[1] - aspect_ratio[0])
    return torch.stack([area * ratio, area / ratio]).sqrt().round().clamp(1, grid_size).long()


# %% wrong sample_block_size: floats come back | int(...)` makes one
# - return min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + return float(min(max(height, 1), grid_size)), float(min(max(width, 1), grid_size))

# %% wrong sample_block_size: no return | is the `return` missing
# - return min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + height, width = min(max(height, 1), grid_size), min(max(width, 1), grid_size)

# %% wrong sample_block_size: not clamped | is not clamped
# - min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + height, width

# %% wrong sample_block_size: not clamped below | A side may not be 0
# - min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + min(height, grid_size), min(width, grid_size)

# %% wrong sample_block_size: not clamped above | may not be larger than the grid
# - min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + max(height, 1), max(width, 1)

# %% wrong sample_block_size: always smaller than the grid | as large as grid_size
# - min(max(height, 1), grid_size), min(max(width, 1), grid_size)
# + min(max(height, 1), grid_size - 1), min(max(width, 1), grid_size - 1)

# %% wrong sample_block_size: one number for both | One random number drives scale and ratio
# - u, v = torch.rand(2, generator=generator).tolist()
# + u = v = torch.rand(1, generator=generator).item()

# %% wrong sample_block_size: the second number is one minus the first | One random number drives scale and ratio
# - u, v = torch.rand(2, generator=generator).tolist()
# + u = torch.rand(1, generator=generator).item()
# +     v = 1 - u


# %% wrong sample_block_size: the ratio's logarithm is uniform | the logarithm is uniform
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    import math

    area = torch.empty(1).uniform_(*scale, generator=generator).item() * grid_size**2
    low, high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])
    ratio = math.exp(torch.empty(1).uniform_(low, high, generator=generator).item())
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return min(max(height, 1), grid_size), min(max(width, 1), grid_size)


# %% wrong sample_block_size: the side is uniform | the side is uniform
# - area = (scale[0] + u * (scale[1] - scale[0])) * grid_size**2
# + area = (scale[0] ** 0.5 + u * (scale[1] ** 0.5 - scale[0] ** 0.5)) ** 2 * grid_size**2

# %% wrong sample_block_size: only the low end of the scale | gives the same scale
# - (scale[0] + u * (scale[1] - scale[0]))
# + scale[0]

# %% wrong sample_block_size: the middle of the ratios | gives the same aspect_ratio
# - aspect_ratio[0] + v * (aspect_ratio[1] - aspect_ratio[0])
# + sum(aspect_ratio) / 2

# %% wrong sample_block_size: low + u * high | scale is low + (high - low) * u
# - (scale[0] + u * (scale[1] - scale[0]))
# + (scale[0] + u * scale[1])

# %% wrong sample_block_size: u * high | doesn't run from low
# - (scale[1] - scale[0])
# + scale[1]
# - scale[0] +
# + 0 +

# %% wrong sample_block_size: normal in place of uniform | low + (high - low) *
# - u, v = torch.rand(2, generator=generator).tolist()
# + u, v = (0.5 + 0.15 * torch.randn(2, generator=generator)).clamp(0, 1).tolist()

# %% wrong sample_block_size: the global generator | pass generator=generator
# - torch.rand(2, generator=generator)
# + torch.rand(2)

# %% wrong sample_block_size: the ratio from the global generator | pass generator=generator
# - u, v = torch.rand(2, generator=generator).tolist()
# + u, v = torch.rand(1, generator=generator).item(), torch.rand(1).item()

# %% wrong sample_block_size: numbers from python's random | every random number comes from generator
# - u, v = torch.rand(2, generator=generator).tolist()
# + import random
# +     u, v = random.random(), random.random()

# %% wrong sample_block_size: seeded anew in each call | gives the same scale
# - u, v = torch.rand(2, generator=generator).tolist()
# + generator.manual_seed(0)
# +     u, v = torch.rand(2, generator=generator).tolist()

# %% wrong sample_block_size: the global generator seeded from the generator's seed | pass generator=generator
# - u, v = torch.rand(2, generator=generator).tolist()
# + torch.manual_seed(generator.initial_seed())
# +     u, v = torch.rand(2).tolist()


# %% right sample_block_size: with tensors until the end
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    low, high = torch.tensor([scale, aspect_ratio], dtype=torch.float64).unbind(1)
    s, a = low + (high - low) * torch.rand(2, generator=generator, dtype=torch.float64)
    sides = (s * grid_size**2 * torch.stack([a, 1 / a])).sqrt()
    height, width = sides.round().clamp(1, grid_size).int().tolist()
    return height, width


# %% right sample_block_size: uniform_, math.sqrt, ratio first, halves up
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    import math

    a = torch.empty(()).uniform_(aspect_ratio[0], aspect_ratio[1], generator=generator).item()
    s = torch.empty(()).uniform_(scale[0], scale[1], generator=generator).item()
    side = grid_size * math.sqrt(s)
    height = math.floor(side * math.sqrt(a) + 0.5)
    width = math.floor(side / math.sqrt(a) + 0.5)
    return max(1, min(grid_size, height)), max(1, min(grid_size, width))


# %% right sample_block_size: the width is the area over the height, both still exact
# - height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
# + height = (area * ratio) ** 0.5
# +     height, width = round(height), round(area / height)


# %% right sample_block_size: from numpy, seeded by the generator
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    import numpy as np

    rng = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
    area, ratio = rng.uniform(*scale) * grid_size**2, rng.uniform(*aspect_ratio)
    return tuple(int(np.clip(np.rint(side), 1, grid_size)) for side in (np.sqrt(area * ratio), np.sqrt(area / ratio)))


# %% wrong sample_block: the last row and column are never reached | never reaches the last row or column
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = int(torch.randint(grid_size - height, (), generator=generator)) if height < grid_size else 0
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = int(torch.randint(grid_size - width, (), generator=generator)) if width < grid_size else 0

# %% wrong sample_block: randint without the last place | never reaches the last row or column
# - grid_size - height + 1
# + grid_size - height
# - grid_size - width + 1
# + grid_size - width

# %% wrong sample_block: the first row and column are never reached | never reaches the first row or column
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = int(torch.randint(1, grid_size - height + 1, (), generator=generator)) if height < grid_size else 0
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = int(torch.randint(1, grid_size - width + 1, (), generator=generator)) if width < grid_size else 0

# %% wrong sample_block: height and width swapped | Height and width are swapped
# - height, width = block_size
# + width, height = block_size

# %% wrong sample_block: columns first | Height and width are swapped
# - block[top : top + height, left : left + width] = True
# + block[left : left + width, top : top + height] = True

# %% wrong sample_block: ends in place of lengths | an end is wrong
# - block[top : top + height, left : left + width] = True
# + block[top : height + 1, left : width + 1] = True

# %% wrong sample_block: one row and column too many | an end is wrong
# - block[top : top + height, left : left + width] = True
# + block[top : top + height + 1, left : left + width + 1] = True

# %% wrong sample_block: one row and column too few | 1 x 3, not 2 x 4
# - block[top : top + height, left : left + width] = True
# + block[top : top + max(height - 1, 1), left : left + max(width - 1, 1)] = True

# %% wrong sample_block: cut off at the border | the border cuts it off
# - grid_size - height + 1
# + grid_size
# - grid_size - width + 1
# + grid_size

# %% wrong sample_block: never as large as the grid | The rectangle is 3 x 3, not 4 x 4
# - height, width = block_size
# + height, width = (max(min(side, grid_size - 1), 1) for side in block_size)


# %% wrong sample_block: wraps around the border | wraps around the border
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    top, left = torch.randint(grid_size, (2,), generator=generator).tolist()
    block = torch.zeros(grid_size, grid_size, dtype=torch.bool)
    block[:height, :width] = True
    return block.roll((top, left), (0, 1))


# %% wrong sample_block: scattered patches | scattered patches: a block is one whole rectangle
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    block = torch.zeros(grid_size**2, dtype=torch.bool)
    block[torch.randperm(grid_size**2, generator=generator)[: height * width]] = True
    return block.reshape(grid_size, grid_size)


# %% wrong sample_block: a random subset of the block | no subset of it
# - block[top : top + height, left : left + width] = True
# + block[top : top + height, left : left + width] = torch.rand(height, width, generator=generator) < 0.75


# %% wrong sample_block: a run of patches in raster order | a block is one whole rectangle
def sample_block(grid_size, block_size, generator):
    count = block_size[0] * block_size[1]
    start = int(torch.randint(grid_size**2 - count + 1, (), generator=generator))
    block = torch.zeros(grid_size**2, dtype=torch.bool)
    block[start : start + count] = True
    return block.reshape(grid_size, grid_size)


# %% wrong sample_block: True outside | wrong way round
# - return block
# + return ~block

# %% wrong sample_block: one place per axis only | Patches are missing or too many
# - block[top : top + height, left : left + width] = True
# + block[top : top + height] = True
# +     block[:, left : left + width] = True

# %% wrong sample_block: ones and zeros | dtype=torch.bool
# - dtype=torch.bool
# + dtype=torch.long

# %% wrong sample_block: floats | dtype=torch.bool
# - torch.zeros(grid_size, grid_size, dtype=torch.bool)
# + torch.zeros(grid_size, grid_size)

# %% wrong sample_block: flat | no flat list
# - return block
# + return block.flatten()

# %% wrong sample_block: indices | no list of indices
# - return block
# + return block.flatten().nonzero()[:, 0]

# %% wrong sample_block: the corner | Give back the mask itself
# - return block
# + return top, left

# %% wrong sample_block: no return | is the `return` missing
# - return block
# + block = block.clone()

# %% wrong sample_block: pushed back into the grid | The borders are too likely
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = min(int(torch.randint(grid_size, (), generator=generator)), grid_size - height)
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = min(int(torch.randint(grid_size, (), generator=generator)), grid_size - width)

# %% wrong sample_block: round(rand) | The borders are too unlikely
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = round(torch.rand((), generator=generator).item() * (grid_size - height))
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = round(torch.rand((), generator=generator).item() * (grid_size - width))

# %% wrong sample_block: int(rand) never reaches the last place | never reaches the last row or column
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = int(torch.rand((), generator=generator).item() * (grid_size - height))
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = int(torch.rand((), generator=generator).item() * (grid_size - width))

# %% wrong sample_block: one number for row and column | One random number places row and column
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + u = torch.rand((), generator=generator).item()
# +     top = int(u * (grid_size - height + 1))
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = int(u * (grid_size - width + 1))

# %% wrong sample_block: the same upper end for both | never reaches the last row or column
# - grid_size - height + 1
# + min(grid_size - height, grid_size - width) + 1
# - grid_size - width + 1
# + min(grid_size - height, grid_size - width) + 1

# %% wrong sample_block: always in the middle | Every block is at the same place
# - top = int(torch.randint(grid_size - height + 1, (), generator=generator))
# + top = (grid_size - height) // 2
# - left = int(torch.randint(grid_size - width + 1, (), generator=generator))
# + left = (grid_size - width) // 2

# %% wrong sample_block: seeded anew in each call | seeded anew or copied inside
# - height, width = block_size
# + height, width = block_size
# +     generator.manual_seed(generator.initial_seed())

# %% wrong sample_block: a copy of the generator | seeded anew or copied inside
# - height, width = block_size
# + height, width = block_size
# +     state, generator = generator.get_state(), torch.Generator()
# +     generator.set_state(state)

# %% wrong sample_block: the global generator | pass generator=generator
# - grid_size - height + 1, (), generator=generator
# + grid_size - height + 1, ()
# - grid_size - width + 1, (), generator=generator
# + grid_size - width + 1, ()

# %% wrong sample_block: the column from the global generator | pass generator=generator
# - grid_size - width + 1, (), generator=generator
# + grid_size - width + 1, ()


# %% wrong sample_block: python's random | every random number comes from generator
def sample_block(grid_size, block_size, generator):
    import random

    height, width = block_size
    top, left = random.randint(0, grid_size - height), random.randint(0, grid_size - width)
    block = torch.zeros(grid_size, grid_size, dtype=torch.bool)
    block[top : top + height, left : left + width] = True
    return block


# %% right sample_block: coordinates compared
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    left = torch.randint(0, grid_size - width + 1, (1,), generator=generator)
    top = torch.randint(0, grid_size - height + 1, (1,), generator=generator)
    rows, columns = torch.arange(grid_size)[:, None], torch.arange(grid_size)[None]
    return (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)


# %% right sample_block: one number for all places
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    places = grid_size - width + 1
    place = int(torch.randint((grid_size - height + 1) * places, (1,), generator=generator))
    block = torch.full((grid_size, grid_size), False)
    for row in range(place // places, place // places + height):
        for column in range(place % places, place % places + width):
            block[row, column] = True
    return block


# %% right sample_block: thrown away until it fits
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    while True:
        top, left = torch.randint(grid_size, (2,), generator=generator).tolist()
        if top + height <= grid_size and left + width <= grid_size:
            break
    block = torch.zeros(grid_size, grid_size)
    block[top : top + height, left : left + width] = 1
    return block.bool()


# %% wrong sample_masks: a plain tuple | the NamedTuple given above
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return keys.topk(int(counts.min()), dim=1).indices, targets

# %% wrong sample_masks: targets first | takes the context first
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks(targets, keys.topk(int(counts.min()), dim=1).indices)

# %% wrong sample_masks: int32 | of the dtype torch.long
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks(keys.topk(int(counts.min()), dim=1).indices.int(), targets.int())

# %% wrong sample_masks: masks of bools | Give back patch indices, not a mask of bools
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + hidden = torch.zeros(batch_size, num_targets, grid_size**2, dtype=torch.bool).scatter(2, targets, True)
# +                 return Masks(visible, hidden)

# %% wrong sample_masks: lists, not cut to one length | stack what is collected in lists
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks([row.nonzero()[:, 0] for row in visible], targets)

# %% wrong sample_masks: the batch axis is squeezed away | also when there is only one
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks(keys.topk(int(counts.min()), dim=1).indices.squeeze(0), targets.squeeze(0))

# %% wrong sample_masks: the targets of an image in one row | one an image and block
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks(keys.topk(int(counts.min()), dim=1).indices, targets.flatten(1))

# %% wrong sample_masks: padded with -1 | don't pad
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + longest = int(counts.max())
# +                 values, context = keys.topk(longest, dim=1)
# +                 return Masks(context.masked_fill(values < 0, -1), targets)

# %% wrong sample_masks: padded with the first index | An index stands twice in a row
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + longest = int(counts.max())
# +                 values, context = keys.topk(longest, dim=1)
# +                 return Masks(torch.where(values < 0, context[:, :1], context), targets)

# %% wrong sample_masks: padded with hidden patches | The context overlaps the targets
# - int(counts.min())
# + int(counts.max())

# %% wrong sample_masks: drawn with replacement | An index stands twice in a row
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + context = torch.multinomial(visible.float(), int(counts.min()), replacement=True, generator=generator)
# +                 return Masks(context, targets)

# %% wrong sample_masks: one too large, as for a cls token | one too large
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + return Masks(keys.topk(int(counts.min()), dim=1).indices + 1, targets + 1)

# %% wrong sample_masks: column-major indices | Height and width are swapped
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + context = keys.topk(int(counts.min()), dim=1).indices
# +                 context, targets = (i % grid_size * grid_size + i // grid_size for i in (context, targets))
# +                 return Masks(context, targets)

# %% wrong sample_masks: the target's height and width swapped | Height and width are swapped
# - num_targets, grid_size, target_size, generator
# + num_targets, grid_size, target_size[::-1], generator


# %% wrong sample_masks: random patches as targets | scattered patches
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    height, width = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
    count = height * width
    keys = torch.rand(batch_size, num_targets, grid_size**2, generator=generator)
    targets = keys.topk(count, dim=2).indices
    visible = torch.ones(batch_size, grid_size**2, dtype=torch.bool).scatter(1, targets.flatten(1), False)
    length = int(visible.sum(dim=1).min())
    keys = torch.rand(batch_size, grid_size**2, generator=generator).masked_fill(~visible, -1.0)
    return Masks(keys.topk(length, dim=1).indices, targets)


# %% wrong sample_masks: only a part of each target block | no subset of it
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + some = torch.randperm(targets.shape[2], generator=generator)[: max(targets.shape[2] * 3 // 4, 1)]
# +                 return Masks(keys.topk(int(counts.min()), dim=1).indices, targets[:, :, some])

# %% wrong sample_masks: the default scale whatever is asked for | The rectangle is
# - target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
# + target_size = sample_block_size(grid_size, (0.15, 0.2), target_aspect_ratio, generator)

# %% wrong sample_masks: the default aspect ratio whatever is asked for | is not the one asked for
# - target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
# + target_size = sample_block_size(grid_size, target_scale, (0.75, 1.5), generator)

# %% wrong sample_masks: always four targets | is this argument used?
# - fewest = min(10, grid_size**2 // 8) + 1
# + fewest = min(10, grid_size**2 // 8) + 1
# +     num_targets = 4


# %% wrong sample_masks: a size for each target, cut to the smallest | no block is cut
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    contexts, targets = [], []
    for _ in range(batch_size):
        hidden = []
        for _ in range(num_targets):
            size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
            hidden.append(sample_block(grid_size, size, generator).flatten())
        size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
        visible = sample_block(grid_size, size, generator).flatten() & ~torch.stack(hidden).any(dim=0)
        visible = visible.nonzero()[:, 0]
        contexts.append(visible[torch.randperm(len(visible), generator=generator)])
        targets += [block.nonzero()[:, 0] for block in hidden]
    shortest, smallest = min(len(context) for context in contexts), min(len(block) for block in targets)
    context = torch.stack([context[:shortest] for context in contexts])
    targets = torch.stack([block[:smallest] for block in targets])
    return Masks(context, targets.reshape(batch_size, num_targets, smallest))


# %% wrong sample_masks: a turn of the size for each image | once a batch
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + rows, columns = targets // grid_size, targets % grid_size
# +                 targets[1:] = (columns * grid_size + rows)[1:]
# +                 visible = visible.reshape(-1, grid_size, grid_size)
# +                 visible[1:] = visible[1:].transpose(1, 2).clone()
# +                 keys = torch.rand(batch_size, grid_size**2, generator=generator)
# +                 keys = keys.masked_fill(~visible.flatten(1), -1.0)
# +                 return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)

# %% wrong sample_masks: other default scales | The defaults are target_scale
# - target_scale: tuple[float, float] = (0.15, 0.2)
# + target_scale: tuple[float, float] = (0.05, 0.1)

# %% wrong sample_masks: another default aspect ratio | target_aspect_ratio=(.75, 1.5)
# - target_aspect_ratio: tuple[float, float] = (0.75, 1.5)
# + target_aspect_ratio: tuple[float, float] = (1.5, 3.0)

# %% wrong sample_masks: the middle of the scales | The size is fixed
# - target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
# + scale, ratio = sum(target_scale) / 2, sum(target_aspect_ratio) / 2
# +         target_size = sample_block_size(grid_size, (scale, scale), (ratio, ratio), generator)

# %% wrong sample_masks: the places of the targets never reach the last row and column | never reaches the last row
# - targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)
# + targets[short] = block_indices(len(short), num_targets, grid_size - 1, target_size, generator)
# +             targets[short] += targets[short] // (grid_size - 1)

# %% wrong sample_masks: one place for the whole batch | drawn once for the whole batch
# - targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)
# + targets[short] = block_indices(1, num_targets, grid_size, target_size, generator)

# %% wrong sample_masks: one place for all targets of an image | All targets of an image share one place
# - targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)
# + targets[short] = block_indices(len(short), 1, grid_size, target_size, generator)

# %% wrong sample_masks: one mask for the whole batch | drawn once for the whole batch
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + context = keys[:1].topk(int(visible[0].sum()), dim=1).indices
# +                 return Masks(context.expand(batch_size, -1), targets[:1].expand(batch_size, -1, -1))

# %% wrong sample_masks: all that is not a target, without a context block | not the rest of the grid
# - context = block_indices(len(short), 1, grid_size, context_size, generator)
# + context = block_indices(len(short), 1, grid_size, (grid_size, grid_size), generator)

# %% wrong sample_masks: the default context scale whatever is asked for | not the rest of the grid
# - context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
# + context_size = sample_block_size(grid_size, (0.85, 1.0), (1.0, 1.0), generator)

# %% wrong sample_masks: the context takes the targets' aspect ratio | the aspect ratio (1, 1)
# - context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
# + context_size = sample_block_size(grid_size, context_scale, (0.75, 1.5), generator)

# %% wrong sample_masks: the context's scale as a side | The context block is too small
# - context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
# + side = round(sample_block_size(1000, context_scale, (1.0, 1.0), generator)[0] ** 2 / 1000**2 * grid_size)
# +         context_size = side, side

# %% wrong sample_masks: another default context scale | by default .85 to 1
# - context_scale: tuple[float, float] = (0.85, 1.0)
# + context_scale: tuple[float, float] = (0.5, 0.7)

# %% wrong sample_masks: the context is random patches of the grid | not the rest of the grid
# - context = block_indices(len(short), 1, grid_size, context_size, generator)
# + keys = torch.rand(len(short), grid_size**2, generator=generator)
# +             context = keys.topk(context_size[0] * context_size[1], dim=1).indices

# %% wrong sample_masks: the context block in the corner | Every block is at the same place
# - context = block_indices(len(short), 1, grid_size, context_size, generator)
# + context = block_indices(len(short), 1, context_size[0], context_size, generator)
# +             context = context // context_size[0] * grid_size + context % context_size[0]

# %% wrong sample_masks: the context block placed once a batch | The context block is placed once for the whole batch
# - context = block_indices(len(short), 1, grid_size, context_size, generator)
# + context = block_indices(1, 1, grid_size, context_size, generator).expand(len(short), -1, -1)

# %% wrong sample_masks: the context block never reaches the last row and column | never reaches the last row or column
# - context = block_indices(len(short), 1, grid_size, context_size, generator)
# + smaller = max(grid_size - 1, context_size[0])
# +             context = block_indices(len(short), 1, smaller, context_size, generator)
# +             context = context // smaller * grid_size + context % smaller

# %% wrong sample_masks: targets stay in the context | take all of them out of the context block
# - inside.scatter_(1, targets[short].flatten(1), False)

# %% wrong sample_masks: only the first target is taken out | Only some of the targets are taken out
# - inside.scatter_(1, targets[short].flatten(1), False)
# + inside.scatter_(1, targets[short, 0], False)

# %% wrong sample_masks: only where all targets overlap | take all of them out of the context block
# - inside.scatter_(1, targets[short].flatten(1), False)
# + hidden = torch.zeros(len(short), num_targets, grid_size**2, dtype=torch.bool).scatter(2, targets[short], True)
# +             inside &= ~hidden.all(dim=1)

# %% wrong sample_masks: the targets of the whole batch are taken out | targets of the other images are taken out
# - inside.scatter_(1, targets[short].flatten(1), False)
# + inside[:, targets.flatten()] = False

# %% wrong sample_masks: the targets of the first image are taken out of all | take all of them out of the context block
# - inside.scatter_(1, targets[short].flatten(1), False)
# + inside[:, targets[0].flatten()] = False

# %% wrong sample_masks: the first ones in raster order | The first patches in raster order are kept
# - torch.rand(batch_size, grid_size**2, generator=generator)
# + torch.arange(grid_size**2, 0, -1.0).expand(batch_size, -1)

# %% wrong sample_masks: the last ones in raster order | The last patches in raster order are kept
# - torch.rand(batch_size, grid_size**2, generator=generator)
# + torch.arange(0.0, grid_size**2).expand(batch_size, -1)

# %% wrong sample_masks: shuffled after the cut | The first patches in raster order are kept
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + length = int(counts.min())
# +                 rows = [row.nonzero()[:length, 0] for row in visible]
# +                 context = torch.stack([row[torch.randperm(length, generator=generator)] for row in rows])
# +                 return Masks(context, targets)

# %% wrong sample_masks: a random run in raster order | The subset is not random
# - return Masks(keys.topk(int(counts.min()), dim=1).indices, targets)
# + length, rows = int(counts.min()), [row.nonzero()[:, 0] for row in visible]
# +                 starts = [int(torch.randint(len(row) - length + 1, (), generator=generator)) for row in rows]
# +                 context = [row[start : start + length] for row, start in zip(rows, starts, strict=True)]
# +                 return Masks(torch.stack(context), targets)

# %% wrong sample_masks: short contexts are kept | must be drawn again
# - fewest = min(10, grid_size**2 // 8) + 1
# + fewest = 0

# %% wrong sample_masks: only empty contexts are drawn again | must be drawn again
# - fewest = min(10, grid_size**2 // 8) + 1
# + fewest = 1

# %% wrong sample_masks: a context of exactly the limit is kept | must be drawn again
# - grid_size**2 // 8) + 1
# + grid_size**2 // 8)

# %% wrong sample_masks: one patch too strict | Contexts that are long enough are drawn again
# - grid_size**2 // 8) + 1
# + grid_size**2 // 8) + 2

# %% wrong sample_masks: always more than ten | less in a small grid
# - min(10, grid_size**2 // 8) + 1
# + 11

# %% wrong sample_masks: an eighth of the grid however large it is | at most 10
# - min(10, grid_size**2 // 8) + 1
# + grid_size**2 // 8 + 1

# %% wrong sample_masks: the first image alone is looked at | must be drawn again
# - short = (counts < fewest).nonzero()[:, 0]
# + short = (counts[:1] < fewest).nonzero()[:, 0]

# %% wrong sample_masks: the subset from the global generator | pass generator=generator
# - torch.rand(batch_size, grid_size**2, generator=generator)
# + torch.rand(batch_size, grid_size**2)

# %% wrong sample_masks: places from another generator | none from elsewhere
# - targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)
# + import random
# +             generator.manual_seed(random.getrandbits(32))
# +             targets[short] = block_indices(len(short), num_targets, grid_size, target_size, generator)

# %% wrong sample_masks: seeded anew in each call | Each call gives the same places
# - fewest = min(10, grid_size**2 // 8) + 1
# + fewest = min(10, grid_size**2 // 8) + 1
# +     generator.manual_seed(0)


# %% wrong sample_masks: no return | Is the `return` missing
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
    block_indices(batch_size, num_targets, grid_size, target_size, generator)


# %% right sample_masks: image by image with sample_block, context drawn again alone, randperm
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
    context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
    contexts, targets = [], []
    for _ in range(batch_size):
        blocks = [sample_block(grid_size, target_size, generator) for _ in range(num_targets)]
        for _ in range(1000):
            block = sample_block(grid_size, context_size, generator)
            for hidden in blocks:
                block = block & ~hidden
            visible = block.flatten().nonzero().flatten()
            if len(visible) > min(10, grid_size * grid_size // 8):
                break
        else:
            raise ValueError("no context is left")
        contexts.append(visible[torch.randperm(len(visible), generator=generator)])
        targets.append(torch.stack([block.flatten().nonzero().flatten() for block in blocks]))
    length = min(len(context) for context in contexts)
    return Masks(torch.stack([context[:length] for context in contexts]), torch.stack(targets))


# %% wrong sample_masks: no ValueError | raise ValueError
# -     raise ValueError("the targets leave no context: ask for fewer or smaller targets")
# +     return Masks(visible.nonzero()[:, 1].reshape(batch_size, -1), targets)


# %% wrong sample_masks: drawn again for ever | raise ValueError
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    while True:
        size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
        targets = block_indices(batch_size, num_targets, grid_size, size, generator)
        size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
        weights = torch.zeros(batch_size, grid_size**2)
        weights.scatter_(1, block_indices(batch_size, 1, grid_size, size, generator).flatten(1), 1.0)
        weights.scatter_(1, targets.flatten(1), 0.0)
        length = int(weights.sum(dim=1).min())
        if length > min(10, grid_size**2 // 8):
            return Masks(weights.multinomial(length, generator=generator), targets)


# %% wrong sample_masks: a context size for each image | for the context once a batch
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    def place(size):
        rows, columns = (grid_size - side + 1 for side in size)
        top, left = (int(torch.randint(count, (), generator=generator)) for count in (rows, columns))
        return [(top + i) * grid_size + left + j for i in range(size[0]) for j in range(size[1])]

    target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
    contexts, targets = [], []
    while len(contexts) < batch_size:
        blocks = [place(target_size) for _ in range(num_targets)]
        context = set(place(sample_block_size(grid_size, context_scale, (1.0, 1.0), generator))).difference(*blocks)
        if len(context) > min(10, grid_size**2 // 8):
            contexts.append(sorted(context))
            targets.append(blocks)
    length = min(map(len, contexts))
    chosen = [sorted(torch.randperm(len(row), generator=generator)[:length].tolist()) for row in contexts]
    context = [[row[i] for i in indices] for row, indices in zip(contexts, chosen, strict=True)]
    return Masks(context=torch.tensor(context), targets=torch.tensor(targets))


# %% wrong sample_masks: the context a little shorter than the shortest | the smallest count in the batch
# - int(counts.min())
# + max(fewest, int(counts.min()) - 1)


# %% right sample_masks: the whole batch is drawn again, sizes too, multinomial
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    for _ in range(3000):
        size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
        targets = block_indices(batch_size, num_targets, grid_size, size, generator)
        size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
        weights = torch.zeros(batch_size, grid_size**2)
        weights.scatter_(1, block_indices(batch_size, 1, grid_size, size, generator).flatten(1), 1.0)
        weights.scatter_(1, targets.flatten(1), 0.0)
        length = int(weights.sum(dim=1).min())
        if length > min(10, grid_size**2 // 8):
            return Masks(weights.multinomial(length, generator=generator), targets)
    raise ValueError("no context is left")


# %% right sample_masks: python sets, subset sorted
def sample_masks(
    batch_size,
    grid_size,
    generator,
    num_targets=4,
    target_scale=(0.15, 0.2),
    target_aspect_ratio=(0.75, 1.5),
    context_scale=(0.85, 1.0),
):
    def place(size):
        rows, columns = (grid_size - side + 1 for side in size)
        top, left = (int(torch.randint(count, (), generator=generator)) for count in (rows, columns))
        return [(top + i) * grid_size + left + j for i in range(size[0]) for j in range(size[1])]

    target_size = sample_block_size(grid_size, target_scale, target_aspect_ratio, generator)
    context_size = sample_block_size(grid_size, context_scale, (1.0, 1.0), generator)
    contexts, targets, tries = [], [], 0
    while len(contexts) < batch_size:
        tries += 1
        if tries > 500 * batch_size:
            raise ValueError("these sizes leave no context")
        blocks = [place(target_size) for _ in range(num_targets)]
        context = set(place(context_size)).difference(*blocks)
        if len(context) > min(10, grid_size**2 // 8):
            contexts.append(sorted(context))
            targets.append(blocks)
    length = min(map(len, contexts))
    chosen = [sorted(torch.randperm(len(row), generator=generator)[:length].tolist()) for row in contexts]
    context = [[row[i] for i in indices] for row, indices in zip(contexts, chosen, strict=True)]
    return Masks(context=torch.tensor(context), targets=torch.tensor(targets))


# %% wrong sample_block: the generator by position | pass it by name: generator=generator ! different dtypes
def sample_block(grid_size, block_size, generator):
    height, width = block_size
    top = torch.randint(0, grid_size - height + 1, (1,), generator)
    left = torch.randint(0, grid_size - width + 1, (1,), generator)
    mask = torch.zeros(grid_size, grid_size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


# %% wrong sample_block_size: the generator by position of rand | pass it by name: generator=generator
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    return tuple((grid_size * torch.rand(2, generator)).long().tolist())


# %% wrong sample_block_size: round of a tensor | take the number out with .item()
def sample_block_size(grid_size, scale, aspect_ratio, generator):
    u, v = torch.rand(2, generator=generator)
    area = (scale[0] + (scale[1] - scale[0]) * u) * grid_size**2
    ratio = aspect_ratio[0] + (aspect_ratio[1] - aspect_ratio[0]) * v
    sides = (area * ratio) ** 0.5, (area / ratio) ** 0.5
    return tuple(min(max(round(side), 1), grid_size) for side in sides)


# %% wrong sample_contexts: a loop over the images | There is a loop over the images
def sample_contexts(blocks, targets, grid_size, generator):
    rows = []
    for block, hidden in zip(blocks, targets.flatten(1), strict=True):
        row = torch.zeros(grid_size**2).index_fill(0, block, 1).index_fill(0, hidden, 0).nonzero().flatten()
        rows.append(row[torch.randperm(len(row), generator=generator)])
    return torch.stack([row[: min(map(len, rows))] for row in rows])


# %% wrong sample_contexts: one row of keys for all images | One draw decides for all images
# - torch.rand(visible.shape, generator=generator)
# + torch.rand(1, grid_size**2, generator=generator).expand(len(blocks), -1)


# %% wrong sample_contexts: the first ones in raster order | the first patches in raster order are kept
def sample_contexts(blocks, targets, grid_size, generator):
    visible = torch.zeros(len(blocks), grid_size**2, dtype=torch.bool)
    visible.scatter_(1, blocks, True).scatter_(1, targets.flatten(1), False)
    length = int(visible.sum(dim=1).min())
    first = visible.int().argsort(dim=1, descending=True, stable=True)[:, :length]
    return first.gather(1, torch.rand(first.shape, generator=generator).argsort(dim=1))


# %% wrong sample_contexts: a run of neighbours in raster order | the k largest are a random subset
def sample_contexts(blocks, targets, grid_size, generator):
    visible = torch.zeros(len(blocks), grid_size**2, dtype=torch.bool)
    visible.scatter_(1, blocks, True).scatter_(1, targets.flatten(1), False)
    counts = visible.sum(dim=1, keepdim=True)
    start = (torch.rand(counts.shape, generator=generator) * counts).long()
    run = (start + torch.arange(int(counts.min()))) % counts
    return visible.int().argsort(dim=1, descending=True, stable=True).gather(1, run)


# %% wrong sample_contexts: seeded anew in each call | Each call gives the same
# - visible = torch.zeros(len(blocks), grid_size**2, dtype=torch.bool)
# + generator.manual_seed(0)
# +     visible = torch.zeros(len(blocks), grid_size**2, dtype=torch.bool)

# %% wrong sample_contexts: keys from the global generator | pass generator=generator
# - torch.rand(visible.shape, generator=generator)
# + torch.rand(visible.shape)

# %% wrong sample_contexts: targets stay | overlaps the targets of its own image
# - .scatter_(1, targets.flatten(1), False)
# +

# %% wrong sample_contexts: only the first target is taken out | overlaps the targets of its own image
# - targets.flatten(1), False
# + targets[:, 0], False

# %% wrong sample_contexts: the targets of the whole batch are taken out | The targets of other images are taken out
# - visible.scatter_(1, blocks, True).scatter_(1, targets.flatten(1), False)
# + visible.scatter_(1, blocks, True)[:, targets.flatten()] = False

# %% wrong sample_contexts: as long as the longest | The longest context decides here
# - .min())
# + .max())

# %% wrong sample_contexts: hidden patches are not held back | can a patch that isn't visible be among
# - .masked_fill(~visible, -1.0)
# +

# %% wrong sample_contexts: one fewer than the shortest | none more and none less
# - .min())
# + .min()) - 1

# %% wrong sample_contexts: drawn with putting back | each patch once
# - return keys.topk(int(visible.sum(dim=1).min()), dim=1).indices
# + return visible.float().multinomial(int(visible.sum(dim=1).min()), replacement=True, generator=generator)

# %% wrong sample_contexts: the table itself | not True and False
# - return keys.topk(int(visible.sum(dim=1).min()), dim=1).indices
# + return visible

# %% wrong sample_contexts: the keys in place of their places | Give back patch indices
# - .indices
# + .values


# %% right sample_contexts: drawn by multinomial
def sample_contexts(blocks, targets, grid_size, generator):
    weights = torch.zeros(len(blocks), grid_size**2)
    weights.scatter_(1, blocks, 1.0).scatter_(1, targets.flatten(1), 0.0)
    return weights.multinomial(int(weights.sum(dim=1).min()), generator=generator)


# %% right sample_contexts: a table by comparison, keys sorted, indices in order
def sample_contexts(blocks, targets, grid_size, generator):
    patches = torch.arange(grid_size**2)
    inside = (blocks[:, :, None] == patches).any(dim=1)
    hidden = (targets.flatten(1)[:, :, None] == patches).any(dim=1)
    visible = inside & ~hidden
    keys = torch.where(visible, torch.rand(visible.shape, generator=generator), 2.0)
    return keys.argsort(dim=1)[:, : visible.sum(dim=1).min()].sort(dim=1).values
