# ruff: noqa
"""Lesson 1: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong patchify: P*P against H*W | Test both H and W
# - if height % patch_size or width % patch_size:
# + if (height * width) % (patch_size * patch_size):


# %% wrong patchify: on a float32 canvas | went through float32
# - return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size * patch_size)
# + patches = torch.zeros(batch, rows * columns, channels * patch_size * patch_size)
# +     patches[:] = cut.permute(0, 2, 4, 1, 3, 5).reshape(patches.shape)
# +     return patches.to(images.dtype)


# %% wrong unpatchify: on a float32 canvas | went through float32
# - return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * patch_size, columns * patch_size)
# + images = torch.zeros(batch, channels, rows * patch_size, columns * patch_size)
# +     images[:] = cut.permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
# +     return images.to(patches.dtype)


# %% wrong patchify: column-major patches | run down the columns
# - permute(0, 2, 4, 1, 3, 5)
# + permute(0, 4, 2, 1, 3, 5)

# %% wrong patchify: channels interleaved | channels are interleaved
# - permute(0, 2, 4, 1, 3, 5)
# + permute(0, 2, 4, 3, 5, 1)

# %% wrong patchify: pixels turned within a patch | row and column are swapped within a patch
# - permute(0, 2, 4, 1, 3, 5)
# + permute(0, 2, 4, 1, 5, 3)

# %% wrong patchify: reshape alone | takes the pixels in reading order
# - cut.permute(0, 2, 4, 1, 3, 5).reshape(
# + images.reshape(


# %% wrong patchify: unfold without the transpose | the last two axes are swapped
def patchify(images, patch_size):
    height, width = images.shape[2:]
    if height % patch_size or width % patch_size:
        raise ValueError("does not divide")
    return torch.nn.functional.unfold(images, patch_size, stride=patch_size)


# %% wrong patchify: rows and columns mixed up | split H into
# - reshape(batch, channels, rows, patch_size, columns, patch_size)
# + reshape(batch, channels, patch_size, rows, patch_size, columns)
# - permute(0, 2, 4, 1, 3, 5)
# + permute(0, 3, 5, 1, 2, 4)

# %% wrong patchify: made for colour images | shape '
# - channels * patch_size * patch_size)
# + 3 * patch_size * patch_size)

# %% wrong patchify: made for square images | shape '
# - height // patch_size, width // patch_size
# + height // patch_size, height // patch_size

# %% wrong patchify: view after permute | use `reshape` where you wrote `view`
# - permute(0, 2, 4, 1, 3, 5).reshape
# + permute(0, 2, 4, 1, 3, 5).view

# %% wrong patchify: the batch is squeezed away | the first axis (of size 1) is missing
# - channels * patch_size * patch_size)
# + channels * patch_size * patch_size).squeeze(0)

# %% wrong patchify: always float32 | dtype=images.dtype
# - return cut.permute
# + return cut.float().permute

# %% wrong patchify: only the height is tested | test both H and W
# - if height % patch_size or width % patch_size:
# + if height % patch_size:


# %% wrong patchify: pixels at the edge are lost | no pixel may be lost
def patchify(images, patch_size):
    squares = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return squares.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


# %% wrong patchify: an assertion in place of the error | AssertionError
# - raise ValueError(f"patches of {patch_size} do not tile an image of {height} x {width} pixels")
# + assert False, "patch_size must divide H and W"

# %% wrong patchify: nothing is returned | is the `return` missing ! another dtype
# - return cut
# + cut = cut


# %% right patchify: F.unfold
def patchify(images, patch_size):
    if images.shape[2] % patch_size != 0 or images.shape[3] % patch_size != 0:
        raise ValueError("patch_size must divide H and W")
    return torch.nn.functional.unfold(images, kernel_size=patch_size, stride=patch_size).mT


# %% right patchify: loops
def patchify(images, patch_size):
    B, C, H, W = images.shape
    if H % patch_size or W % patch_size:
        raise ValueError("patch_size must divide H and W")
    patches = []
    for top in range(0, H, patch_size):
        for left in range(0, W, patch_size):
            patches.append(images[:, :, top : top + patch_size, left : left + patch_size].reshape(B, -1))
    return torch.stack(patches, dim=1)


# %% right patchify: einsum
def patchify(images, patch_size):
    P = patch_size
    B, C, H, W = images.shape
    if (H % P, W % P) != (0, 0):
        raise ValueError
    grid = images.view(B, C, H // P, P, W // P, P)
    return torch.einsum("bchpwq->bhwcpq", grid).flatten(3).flatten(1, 2)


# %% wrong unpatchify: rows and columns swapped | rows and columns are swapped
# - else grid_size
# + else grid_size[::-1]

# %% wrong unpatchify: placed down the columns | placed down the columns
# - patches.reshape(batch, rows, columns, channels, patch_size, patch_size)
# + patches.reshape(batch, columns, rows, channels, patch_size, patch_size).transpose(1, 2)

# %% wrong unpatchify: reshape alone | lays the patches out in reading order
# - cut.permute(0, 3, 1, 4, 2, 5).reshape(
# + patches.reshape(

# %% wrong unpatchify: channels last | is read as row, column, channel
# - patches.reshape(batch, rows, columns, channels, patch_size, patch_size)
# + patches.reshape(batch, rows, columns, patch_size, patch_size, channels).permute(0, 1, 2, 5, 3, 4)

# %% wrong unpatchify: turned within a patch | row and column are swapped within a patch
# - permute(0, 3, 1, 4, 2, 5)
# + permute(0, 3, 1, 5, 2, 4)

# %% wrong unpatchify: made for colour images | shape '
# - length // (patch_size * patch_size)
# + 3

# %% wrong unpatchify: no int for the grid | a single number came
# - (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
# + grid_size

# %% wrong unpatchify: a square grid is guessed | shape '
# - (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
# + (int(patches.shape[1] ** 0.5),) * 2

# %% wrong unpatchify: a float32 canvas | a new tensor needs dtype=patches.dtype
# - return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * patch_size, columns * patch_size)
# + canvas = torch.zeros(batch, channels, rows * patch_size, columns * patch_size)
# +     return canvas.copy_(cut.permute(0, 3, 1, 4, 2, 5).reshape(canvas.shape))


# %% right unpatchify: F.fold
def unpatchify(patches, patch_size, grid_size):
    if isinstance(grid_size, int):
        grid_size = (grid_size, grid_size)
    size = (grid_size[0] * patch_size, grid_size[1] * patch_size)
    return torch.nn.functional.fold(patches.transpose(1, 2), size, kernel_size=patch_size, stride=patch_size)


# %% right unpatchify: loops
def unpatchify(patches, patch_size, grid_size):
    rows, columns = grid_size if isinstance(grid_size, tuple) else (grid_size, grid_size)
    B, N, L = patches.shape
    images = patches.new_empty(B, L // patch_size**2, rows * patch_size, columns * patch_size)
    for n in range(N):
        top, left = n // columns * patch_size, n % columns * patch_size
        square = patches[:, n].reshape(B, -1, patch_size, patch_size)
        images[:, :, top : top + patch_size, left : left + patch_size] = square
    return images


# %% wrong PatchEmbedding: a Linear layer | stored as a convolution
# - nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)
# + nn.Linear(3 * patch_size**2, dim)
# - self.proj(images).flatten(2).transpose(1, 2)
# + self.proj(patchify(images, self.proj.in_features // 3))

# %% wrong PatchEmbedding: no bias | has no bias
# - stride=patch_size)
# + stride=patch_size, bias=False)

# %% wrong PatchEmbedding: overlapping patches | the patches overlap
# - , stride=patch_size)
# + )

# %% wrong PatchEmbedding: reshape in place of transpose | mixes the dims of different tokens
# - self.proj(images).flatten(2).transpose(1, 2)
# + self.proj(images).reshape(len(images), -1, self.proj.out_channels)

# %% wrong PatchEmbedding: tokens down the columns | run down the columns
# - flatten(2).transpose(1, 2)
# + transpose(2, 3).flatten(2).transpose(1, 2)

# %% wrong PatchEmbedding: dims before tokens | the last two axes are swapped
# - .transpose(1, 2)
# +

# %% wrong PatchEmbedding: a norm that is trained | 'norm.weight' is too many
# - super().__init__()
# + super().__init__(); self.norm = nn.LayerNorm(dim)

# %% wrong PatchEmbedding: another name | has no attribute 'proj'
# - self.proj = nn.Conv2d
# + self.projection = nn.Conv2d
# - self.proj(images)
# + self.projection(images)

# %% wrong PatchEmbedding: the graph is cut | the graph was cut
# - self.proj(images)
# + self.proj(images).detach()

# %% wrong PatchEmbedding: frozen | the names
# - stride=patch_size)
# + stride=patch_size).requires_grad_(False)

# %% wrong PatchEmbedding: super().__init__ forgotten | `super().__init__()` must come first
# - super().__init__()
# + pass


# %% right PatchEmbedding: patches and one matrix product
class PatchEmbedding(nn.Module):
    def __init__(self, image_size: int, patch_size: int, dim: int):
        super().__init__()
        self.size = patch_size
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size)

    def forward(self, images):
        return nn.functional.linear(patchify(images, self.size), self.proj.weight.flatten(1), self.proj.bias)


# %% right PatchEmbedding: strict about the size, permute
class PatchEmbedding(nn.Module):
    def __init__(self, image_size: int, patch_size: int, dim: int):
        super().__init__()
        self.image_size = image_size
        self.proj = nn.Conv2d(3, dim, (patch_size, patch_size), stride=(patch_size, patch_size))
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, images):
        if images.shape[-1] != self.image_size:
            raise ValueError("another image size")
        grid = self.proj(images).permute(0, 2, 3, 1)
        return grid.reshape(grid.shape[0], -1, grid.shape[-1])


# %% wrong sincos_position_embedding: row and column swapped | row and column are swapped
# - torch.cat([column, row], dim=1)
# + torch.cat([row, column], dim=1)

# %% wrong sincos_position_embedding: cosines first | the cosines come first
# - [angles.sin(), angles.cos()]
# + [angles.cos(), angles.sin()]

# %% wrong sincos_position_embedding: interleaved | interleaved
# - torch.cat([angles.sin(), angles.cos()], dim=1)
# + torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)

# %% wrong sincos_position_embedding: half the exponent | D/4 counts the frequencies
# - / (dim // 4))
# + / (dim // 2))

# %% wrong sincos_position_embedding: no minus | minus sign
# - (-torch.arange
# + (torch.arange

# %% wrong sincos_position_embedding: counted from 1 | counted from 0
# - torch.arange(grid_size, dtype=torch.float64)[:, None]
# + torch.arange(1, grid_size + 1, dtype=torch.float64)[:, None]

# %% wrong sincos_position_embedding: linspace to 1 | end before 1
# - frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
# + frequencies = 10000.0 ** -torch.linspace(0, 1, dim // 4, dtype=torch.float64)

# %% wrong sincos_position_embedding: positions from 0 to 1 | no division by G
# - torch.arange(grid_size, dtype=torch.float64)[:, None]
# + torch.arange(grid_size, dtype=torch.float64)[:, None] / grid_size

# %% wrong sincos_position_embedding: a batch axis | no batch axis
# - dim=1).float()
# + dim=1).float()[None]

# %% wrong sincos_position_embedding: float64 | torch.float64
# - dim=1).float()
# + dim=1)


# %% wrong sincos_position_embedding: one axis over all patches | may know only one of the two
def sincos_position_embedding(grid_size, dim):
    if dim % 4:
        raise ValueError("4 must divide dim")
    frequencies = 10000 ** (-torch.arange(dim // 2) / (dim // 2))
    angles = torch.arange(grid_size**2)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


# %% wrong sincos_position_embedding: only an even dim is asked for | 4 must divide it
# - if dim % 4:
# + if dim % 2:


# %% right sincos_position_embedding: loops with math
def sincos_position_embedding(grid_size, dim):
    import math

    if dim % 4 != 0:
        raise ValueError("4 must divide dim")
    table = torch.zeros(grid_size**2, dim)
    for n in range(grid_size**2):
        for half, position in enumerate((n % grid_size, n // grid_size)):
            for k in range(dim // 4):
                angle = position / 10000 ** (4 * k / dim)
                table[n, half * dim // 2 + k] = math.sin(angle)
                table[n, half * dim // 2 + dim // 4 + k] = math.cos(angle)
    return table


# %% right sincos_position_embedding: meshgrid, outer product, float32 throughout
def sincos_position_embedding(grid_size, dim):
    if dim % 4:
        raise ValueError("4 must divide dim")
    rows, columns = torch.meshgrid(torch.arange(grid_size), torch.arange(grid_size), indexing="ij")
    omega = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(dim // 4) / (dim // 4))

    def encode(position):
        outer = torch.outer(position.flatten().float(), omega)
        return torch.cat([outer.sin(), outer.cos()], dim=-1)

    return torch.cat([encode(columns), encode(rows)], dim=-1)


# %% wrong patchify: a placeholder is given back | `...` stands where the result belongs
def patchify(images, patch_size):
    return ...


# %% wrong patchify: on a GPU that may not be there | stay on the device of the inputs
# - return cut.permute(0, 2, 4, 1, 3, 5)
# + return cut.cuda().permute(0, 2, 4, 1, 3, 5)

# %% wrong patchify: a list of images | torch.stack
# - return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size * patch_size)
# + return list(cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size * patch_size))


# %% wrong unpatchify: made for a grid that is one number | A tuple or list stands where one number is needed
def unpatchify(patches, patch_size, grid_size):
    channels = patches.shape[2] // patch_size**2
    cut = patches.reshape(len(patches), grid_size, grid_size, channels, patch_size, patch_size)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), channels, grid_size * patch_size, -1)


# %% wrong PatchEmbedding: a padded convolution | The convolution is padded by 1 ! graph is cut in forward
class PatchEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size, padding=1)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


# %% wrong PatchEmbedding: a ReLU behind the convolution | negative values are cut to 0 ! graph is cut in forward
class PatchEmbedding(nn.Module):
    def __init__(self, image_size, patch_size, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2).relu()


# %% wrong sincos_position_embedding: an exponent without its minus | the exponent needs its minus sign ! row 0 is
def sincos_position_embedding(grid_size, dim):
    if dim % 4:
        raise ValueError("4 must divide dim")
    angles = torch.arange(grid_size)[:, None] * 10000 ** (torch.arange(dim // 4) / (dim // 4))
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([line.repeat(grid_size, 1), line.repeat_interleave(grid_size, 0)], dim=1)


# %% wrong sincos_position_embedding: an exponent that is rounded down | `//` rounds the exponent ! row 0 is
def sincos_position_embedding(grid_size, dim):
    if dim % 4:
        raise ValueError("4 must divide dim")
    angles = torch.arange(grid_size)[:, None] * 10000.0 ** (-torch.arange(dim // 4) // (dim // 4))
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([line.repeat(grid_size, 1), line.repeat_interleave(grid_size, 0)], dim=1)


# %% wrong sincos_position_embedding: a numpy array | torch.from_numpy
def sincos_position_embedding(grid_size, dim):
    if dim % 4:
        raise ValueError("4 must divide dim")
    angles = torch.arange(grid_size)[:, None] * 10000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([line.repeat(grid_size, 1), line.repeat_interleave(grid_size, 0)], dim=1).numpy()


# %% wrong shift_positions: rows and columns exchanged | Rows and columns are exchanged
# - (columns, rows)
# + (rows, columns)

# %% wrong shift_positions: the other way | It goes the other way
# - turn = (distance * frequencies)
# + turn = (-distance * frequencies)

# %% wrong shift_positions: only the columns | The second half of the code is left as it was
# - (columns, rows)
# + (columns, 0)

# %% wrong shift_positions: a plus in the cosine of a sum | The sign is wrong in the cosine
# - cosine * turn.cos() - sine * turn.sin()
# + cosine * turn.cos() + sine * turn.sin()

# %% wrong shift_positions: whole steps only | are made whole numbers
# - (columns, rows)
# + (int(columns), int(rows))


# %% wrong shift_positions: the code of the shift is added | is not the sum of the sines
def shift_positions(codes, rows, columns):
    frequencies = 10000.0 ** (-torch.arange(codes.shape[-1] // 4) / (codes.shape[-1] // 4))
    column, row = columns * frequencies, rows * frequencies
    return codes + torch.cat([column.sin(), column.cos(), row.sin(), row.cos()]).to(codes.dtype)


# %% wrong shift_positions: sine and cosine in turns | read as if they took turns
def shift_positions(codes, rows, columns):
    frequencies = 10000.0 ** (-torch.arange(codes.shape[-1] // 4, dtype=torch.float64) / (codes.shape[-1] // 4))
    turn = torch.cat([columns * frequencies, rows * frequencies]).to(codes.dtype)
    sine, cosine = codes[..., 0::2], codes[..., 1::2]
    shifted = [sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()]
    return torch.stack(shifted, dim=-1).flatten(-2)


# %% wrong shift_positions: the place is looked up in a table | may lie between patches
def shift_positions(codes, rows, columns):
    table = sincos_position_embedding(40, codes.shape[-1]).to(codes.dtype)
    place = (codes @ table.T).argmax(dim=-1)
    return table[(place + 40 * int(rows) + int(columns)).clamp(0, 1599)]


# %% wrong shift_positions: by the angle of each clock | works for a single code only
def shift_positions(codes, rows, columns):
    quarter = codes.shape[-1] // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    sine, cosine = codes.unflatten(-1, (2, 2, quarter)).unbind(dim=-2)
    angle = torch.atan2(sine, cosine) + (torch.tensor([[columns], [rows]]) * frequencies).to(codes.dtype)
    return torch.stack([angle.sin(), angle.cos()], dim=-2).flatten(-3)


# %% right shift_positions: complex numbers
def shift_positions(codes, rows, columns):
    quarter = codes.shape[-1] // 4
    frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
    sine, cosine = codes.unflatten(-1, (2, 2, quarter)).unbind(dim=-2)
    turn = torch.tensor([[columns], [rows]]) * frequencies
    clocks = torch.complex(cosine, sine) * torch.polar(torch.ones_like(turn), turn)
    return torch.stack([clocks.imag, clocks.real], dim=-2).flatten(-3)


# %% right shift_positions: one matrix, made in loops
def shift_positions(codes, rows, columns):
    import math

    dim = codes.shape[-1]
    matrix = torch.zeros(dim, dim, dtype=codes.dtype)
    for half, distance in enumerate([columns, rows]):
        for k in range(dim // 4):
            turn, sine = distance / 10000 ** (4 * k / dim), half * dim // 2 + k
            cosine = sine + dim // 4
            matrix[sine, sine] = matrix[cosine, cosine] = math.cos(turn)
            matrix[cosine, sine], matrix[sine, cosine] = math.sin(turn), -math.sin(turn)
    return codes @ matrix
