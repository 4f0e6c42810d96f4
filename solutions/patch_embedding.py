# %% [markdown]
# # Lesson 1: from an image to tokens
#
# ## What you will build and why
#
# I-JEPA learns to see without labels. It hides parts of a photograph, looks at the rest, and predicts how a
# network would describe the hidden parts. To hide parts of an image, we need parts.
#
# The parts are **patches**: squares of 16 x 16 pixels. A photograph of 224 x 224 pixels is a grid of
# 14 x 14 = 196 patches. Each patch becomes one vector, its **token**. From here on, the network reads a list of
# 196 tokens and never sees the image.
#
# You will write four pieces: cut an image into patches, put patches together again, turn patches into tokens,
# and give each place in the grid a code. You need tensors, `reshape`, `permute` and `nn.Module`; no earlier
# lesson. Plan **80 minutes**.

# %%
import torch
from torch import Tensor, nn

from checks import check

# %%
if __name__ == "__main__":
    from data import load_images, to_display
    from lessons import figures

    photo = load_images("photos").batch([12])  # [1, 3, 224, 224]
    figures.patches(to_display(photo)[0], 32)

# %% [markdown]
# A photograph cut into patches of 32 x 32 pixels (the course uses 16; here the numbers must fit). Look at the
# order: 0 is at the top left, 1 to its right, and a new row begins with 7. All lessons count patches like this.
#
# **Predict:** in patches of 16, so in a grid of 14 x 14, which one holds the pixel in row 40 and column 100? Rows and
# columns of pixels count from 0, too. Write the patch's number in place of the dots.

# %%
if __name__ == "__main__":
    check("patch_of_pixel", ...)

# %% [markdown]
# ## The contract
#
# B images, C channels, P pixels along a patch, G patches along a square image, N patches in all, D numbers in a
# token. Each docstring below has the details.
#
# - `patchify`: [B, C, H, W] -> [B, N, C\*P\*P]; `ValueError` if P does not divide H and W
# - `unpatchify`: [B, N, C\*P\*P] -> [B, C, H, W], the inverse
# - `PatchEmbedding`: [B, 3, H, W] -> [B, N, D], with its weights in `.proj`
# - `sincos_position_embedding`: -> [N, D], float32; `ValueError` unless 4 divides D

# %% [markdown]
# ## Exercise 1.1: patchify
#
# **15 minutes, medium.** `reshape` can split one axis into two, or join two neighbours. `permute` changes the
# order of the axes. Cutting an image takes three steps: split, reorder, join.
#
# `reshape` alone can't do it. It reads pixels like a book: after the first 16 pixels of patch 0 comes patch 1,
# not the second row of patch 0.
#
# <details><summary>Hint 1</summary>
#
# Before you write code, name the six axes that you wish you had: image, channel, row of patches, row within the
# patch, column of patches, column within the patch. Which of them does H hold? Which does W hold?
#
# </details>
# <details><summary>Hint 2</summary>
#
# H splits into (rows, P) and W into (columns, P). So reshape to [B, C, rows, P, columns, P]. The result must be
# ordered as [B, rows, columns, C, P, P]: first what says which patch, then what is inside it. Then join.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Number the six axes after the reshape from 0 to 5. `permute(0, 2, ..., 5)` lists the old numbers in the new
# order. The last step is `.reshape(B, rows * columns, C * P * P)`. Test `H % P` and `W % P` before all this.
#
# </details>


# %% exercise="patchify"
def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches, row by row.

    images [B, C, H, W] -> patches [B, N, C*P*P] with P = patch_size and N = (H/P) * (W/P).
    Patch 0 is at the top left, patch 1 to its right. A patch is flattened channel first, then row,
    then column. H and W may differ; the dtype is kept.
    Raises ValueError if patch_size does not divide H and W.

    Example: images [2, 3, 32, 48] with patch_size 16 -> [2, 6, 768].
    """
    ### BEGIN SOLUTION
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"patches of {patch_size} do not tile an image of {height} x {width} pixels")
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size * patch_size)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("patchify")

# %% [markdown]
# ## Exercise 1.2: unpatchify
#
# **10 minutes, easy.** The way back: the same three steps in reverse. You will use it to see what a model sees.
#
# <details><summary>Hint 1</summary>
#
# Write down the six axes of exercise 1.1 again, now from the end to the start. `grid_size` may be one number:
# first make it a pair (rows, columns). `isinstance(grid_size, int)` tells which it is.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Split N into (rows, columns) and the last axis into (C, P, P): that is [B, rows, columns, C, P, P]. C is the
# length of the last axis divided by P\*P.
#
# </details>
# <details><summary>Hint 3</summary>
#
# You need [B, C, rows, P, columns, P] before the last reshape. In [B, rows, columns, C, P, P] the channel is
# axis 3, so the call begins `permute(0, 3, 1, ...`. Then join (rows, P) to the height, (columns, P) to the width.
#
# </details>


# %% exercise="unpatchify"
def unpatchify(patches: Tensor, patch_size: int, grid_size: int | tuple[int, int]) -> Tensor:
    """Put patches back together: the inverse of patchify.

    patches [B, N, C*P*P] -> images [B, C, rows*P, columns*P].
    grid_size is G for a square grid of G x G patches, or (rows, columns). The dtype is kept.

    Example: patches [2, 6, 768], patch_size 16, grid_size (2, 3) -> [2, 3, 32, 48].
    """
    ### BEGIN SOLUTION
    rows, columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    batch, _, length = patches.shape
    channels = length // (patch_size * patch_size)
    cut = patches.reshape(batch, rows, columns, channels, patch_size, patch_size)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * patch_size, columns * patch_size)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("unpatchify")

# %% [markdown]
# ## Experiment: shuffle the patches
#
# Shuffle the patches, and put them together as if nothing had happened, at four sizes: 8, 16, 28 and 56 pixels.
# **Predict:** at which of them can you still tell the subject? And a network that gets the patches without their
# places: at which can it tell the result from the photograph?

# %%
if __name__ == "__main__":

    def shuffle(images: Tensor, patch_size: int) -> Tensor:
        patches = patchify(images, patch_size)
        order = torch.randperm(patches.shape[1])
        return unpatchify(patches[:, order], patch_size, images.shape[-1] // patch_size)

    sizes = [8, 16, 28, 56]
    figures.side_by_side(
        [to_display(photo)[0], *(to_display(shuffle(photo, size))[0] for size in sizes)],
        ["photograph", *(f"patches of {size}" for size in sizes)],
    )

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# You go by what **one** patch still shows: at 8 pixels a colour or an edge, at 56 a part of a thing. The network can't
# tell at any size. What it gets is a set of patches, and both pictures are the same set.
#
# </details>
#
# **Try:** other sizes that divide 224 (7, 14, 32, 112), and other photographs: `batch([15])`, `batch([2])`.
#
# ## Exercise 1.3: PatchEmbedding
#
# **10 minutes, easy.** A token is a linear map of its patch: C\*P\*P numbers in, D numbers out, with the same
# weights for all patches. You could write it as a `Linear` layer on `patchify`. The published models write it as a
# convolution that jumps from patch to patch, and their weights have its shape; so do we. Store it as `self.proj`.
#
# `image_size` stands in the signature beside the other sizes. The convolution doesn't need it.
#
# <details><summary>Hint 1</summary>
#
# A convolution slides a window over the image. How large must the window be, and how far must it jump, to meet
# each patch exactly once?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nn.Conv2d` with `kernel_size` and `stride` both P gives [B, D, rows, columns]. Tokens are [B, N, D]. Join the
# two axes of the grid, and only then bring D to the end.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `.flatten(2)` joins all axes from axis 2 on: [B, D, N]. Then `.transpose(1, 2)`. A `reshape` to [B, N, D] in its
# place has the right shape and mixes the tokens.
#
# </details>


# %% exercise="PatchEmbedding"
class PatchEmbedding(nn.Module):
    """Turn every patch into a token: one linear map, the same for all patches.

    `.proj` is a convolution from 3 channels to dim whose kernel and stride are both patch_size,
    with a bias; nothing else is trained.
    forward: images [B, 3, H, W] -> tokens [B, N, D], patches in patchify's order.

    Example: PatchEmbedding(image_size=224, patch_size=16, dim=192) maps
    [2, 3, 224, 224] -> [2, 196, 192].
    """

    def __init__(self, image_size: int, patch_size: int, dim: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)
        ### END SOLUTION

    def forward(self, images: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        return self.proj(images).flatten(2).transpose(1, 2)
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("PatchEmbedding")

# %% [markdown]
# **Predict:** one pixel of the photograph changes. How many of the 196 tokens change?

# %%
if __name__ == "__main__":
    check("tokens_changed", ...)

# %% [markdown]
# ## Experiment: a convolution is a matrix
#
# The cell computes the tokens twice: by your layer, and by `patchify` and one matrix. Then it asks the photograph three
# questions, one filter each, and draws the answers: one number a patch. The first filter is random, as in a new model.
# The other two are set by hand: the mean of a patch's pixels, and its right half minus its left half.
#
# **Predict:** how far apart are the two kinds of tokens? And the last map: what does it show for a patch of one colour,
# be it bright or dark, and where in this photograph is it farthest from that?

# %%
if __name__ == "__main__":
    torch.manual_seed(0)
    embedding = PatchEmbedding(image_size=224, patch_size=16, dim=192)
    weight = embedding.proj.weight.detach()  # [192, 3, 16, 16], a filter for each of the 192 numbers
    weight[1] = 1 / weight[1].numel()
    weight[2, :, :, :8], weight[2, :, :, 8:] = -1 / 384, 1 / 384

    tokens = embedding(photo).detach()
    by_hand = patchify(photo, 16) @ weight.flatten(1).T + embedding.proj.bias.detach()
    print(f"largest difference: {(tokens - by_hand).abs().max():.0e}")

    answers = tokens[0, :, :3].T.reshape(3, 14, 14)
    titles = ["photograph", "random filter", "mean", "right minus left"]
    figures.side_by_side([to_display(photo)[0], *answers], titles, label="answer")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The difference is rounding error: a window that jumps by its own width meets each patch once, and multiplies it by the
# same weights. For a patch of one colour the two halves cancel, and the bias is left, close to 0. The filter finds
# edges that run down through a patch. Training finds 192 such questions by itself.
#
# </details>
#
# **Try:** write a filter of your own into `weight[1]`: top minus bottom? One that looks at red only?
#
# ## Exercise 1.4: sincos_position_embedding
#
# **25 minutes, hard.** Shuffling showed it: a patch doesn't know where it is. So each place gets a fixed code,
# which Lesson 2 adds to the token.
#
# Think of clocks. A second hand tells small steps apart; an hour hand keeps count over the long run. Here each
# place along an axis is the time on D/4 clocks that run at different speeds. A clock's two entries are the sine
# and the cosine of its angle: position times speed. One set of clocks shows the column, a second set the row.
#
# <details><summary>Hint 1</summary>
#
# Forget that the grid has two axes. Make a table [G, D/2] first: row p is the code of position p along one axis.
# Both halves of the result are copies of rows of this table.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The speeds are `10000.0 ** (-torch.arange(D // 4) / (D // 4))`. Positions as a column [G, 1] times the speeds
# [D/4] give angles [G, D/4]. The table is `torch.cat` of their sines and their cosines along the last axis.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Patch n stands in column n % G and row n // G. With `n = torch.arange(G * G)`, `table[n % G]` is the first half
# of the result. The second half is as short. Join them along the last axis; end with `.float()`.
#
# </details>


# %% exercise="sincos_position_embedding"
def sincos_position_embedding(grid_size: int, dim: int) -> Tensor:
    """A fixed code for the place of each patch in a grid of grid_size x grid_size.

    -> float32 [N, D], N = grid_size**2, patches row by row. The first half of D encodes the column,
    the second half the row. Within a half, the first D/4 entries are sin(position * w_k), the next
    D/4 are cos(position * w_k), with w_k = 10000 ** (-k / (D/4)), k = 0 .. D/4 - 1; positions count
    from 0. (Vaswani et al. 2017, section 3.5, once for each axis.)
    Raises ValueError unless 4 divides dim.

    Example: sincos_position_embedding(14, 192) -> [196, 192]; its row 0 is
    48 zeros, 48 ones, 48 zeros, 48 ones.
    """
    ### BEGIN SOLUTION
    if dim % 4:
        raise ValueError(f"dim must be a multiple of 4 (sine and cosine of column and row), got {dim}")
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(grid_size, dtype=torch.float64)[:, None] * frequencies
    code = torch.cat([angles.sin(), angles.cos()], dim=1)  # [G, D/2], one row a position along an axis
    column = code.repeat(grid_size, 1)
    row = code.repeat_interleave(grid_size, dim=0)
    return torch.cat([column, row], dim=1).float()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("sincos_position_embedding")

# %% [markdown]
# ## Experiment: which places look alike?
#
# Each map compares the code of one place with the codes of all places. **Predict:** whose code is more like that of
# row 6, column 6? That of row 6, column 13, seven to the right (`"row"`), or that of row 9, column 9, three to the
# right and three down (`"diagonal"`)? Or are they `"equal"`?

# %%
if __name__ == "__main__":
    check("more_alike", ...)

# %%
if __name__ == "__main__":
    figures.position_similarity(sincos_position_embedding(grid_size=14, dim=192), grid_size=14)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A bright spot in the right place fades with distance: near places have similar codes. The cross through it is the
# shared row and column. A place in the same row has half of the code in common, to the last digit, however far it is.
#
# </details>
#
# **Try:** put another table in. `torch.randn(196, 192)`: all places differ, but no two are near. `torch.ones(196,
# 192)`: one code for all, which is the same as none. Or `dim=8`, two clocks an axis: which far places look alike now?
#
# ## Stretch: shift_positions
#
# *Optional, 25 minutes.* Why a sine **and** a cosine? When a clock runs on by an angle b, its new entries follow from
# its old ones: sin(a + b) = sin a cos b + cos a sin b, and cos(a + b) = cos a cos b - sin a sin b. So the code of a
# place tells the code of the place three to the right, and nobody has to ask which place it was. Write this down.
# `pytest checks --stretch` runs the checks of all stretch exercises.


# %% stretch="shift_positions"
def shift_positions(codes: Tensor, rows: float, columns: float) -> Tensor:
    """From the codes of some places, the codes of the places so many rows further down and columns further right.

    codes [..., D], as sincos_position_embedding makes them -> [..., D]; the dtype is kept. The places may lie anywhere,
    between patches too; rows and columns may be negative, and fractions. A sum of codes becomes the sum of the shifted
    codes.

    Example: of a table of 14 x 14 places, shift_positions(table[20], rows=1, columns=2) is table[36].
    """
    ### BEGIN SOLUTION
    quarter = codes.shape[-1] // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    shifted = []
    for half, distance in zip(codes.chunk(2, dim=-1), (columns, rows), strict=True):
        sine, cosine = half.chunk(2, dim=-1)
        turn = (distance * frequencies).to(codes.dtype)
        shifted += [sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()]
    return torch.cat(shifted, dim=-1)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("shift_positions")

# %% [markdown]
# A shift adds up multiples of the code's entries, so it is one matrix for all places: the shifted `torch.eye(192)`. A
# layer with these weights can look three to the right from anywhere. Lesson 2 has such layers; this is where patch 76
# would look.

# %%
if __name__ == "__main__":
    table, weights = sincos_position_embedding(grid_size=14, dim=192), {}
    for title, rows, columns in (("itself", 0, 0), ("three to the right", 0, 3), ("four up, two left", -4, -2)):
        matrix = shift_positions(torch.eye(192), rows, columns)  # [192, 192]
        weights[title] = (table[76] @ matrix @ table.T).softmax(dim=-1)
    figures.attention(to_display(photo)[0], weights, 76, 14)

# %% [markdown]
# ## What people get wrong here
#
# - **Patches down the columns.** All shapes are right, but place n is another place: published weights fail.
# - **Channels mixed in** (row, column, channel). It trains from scratch; to published filters every patch is noise.
# - **`reshape` in place of `transpose`.** [B, D, N] reshaped to [B, N, D] fits, and each token gets numbers of many
#   patches.
# - **No positions.** The loss falls all the same. But the model can't tell the photograph from its shuffled patches,
#   and has one answer for all hidden places.
# - **Learned positions that start at zero.** At the start all places are one place, like the table of ones above.
# - **Sine and cosine taking turns.** A valid code, but not the one that the published weights know.
#
# One theme runs through the course: **a falling loss proves nothing.** Models with most of these mistakes train.

# %% [markdown] question="smaller_patches" points=2
# ## Question: smaller patches
#
# Halve the patch size from 16 to 8 on images of 224 pixels, with D = 192. What happens to the number of tokens, to
# the number of pairs of tokens, and to the number of weights in `.proj`? Name one thing that is won and one that is
# lost. Four or five sentences.
#
# ### BEGIN SOLUTION
# N goes from 14 x 14 = 196 to 28 x 28 = 784: four times as many. Pairs grow sixteenfold, from about 38,000 to about
# 615,000; attention (Lesson 2) compares all pairs, so its cost grows with them. The weights of `.proj` shrink from
# 192 x 768 = 147,456 to 192 x 192 = 36,864, a quarter (the 192 biases stay). Won: finer detail; 192 numbers can
# hold all 192 numbers of a patch of 8 x 8 x 3. Lost: time and memory; and one token shows less, so that a hidden
# patch can be guessed from its neighbours' colours and edges without any idea of the object.
#
# Rubric: 1 point for the three numbers (4 times, 16 times, a quarter; half a point for two of them). 1 point for
# one gain and one loss, each with a reason (half a point each).
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [Assran et al. 2023](https://arxiv.org/abs/2301.08243), section 3, "Method", the paragraph "Targets": an image
# is cut into patches that do not overlap.
#
# ## Next
#
# Each token knows its patch and nothing else. In Lesson 2 they talk to each other.
