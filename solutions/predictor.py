# %% [markdown]
# # Lesson 5: the predictor
#
# ## What you will build and why
#
# The student has seen the context; the teacher has seen everything. Between them stands the **predictor**. It
# gets the student's tokens of the context and the *places* of the target patches, and says what the teacher
# will have found there. It never sees a pixel of the target.
#
# How do you ask a transformer about a patch that it can't see? With a **mask token**: one trained vector, the
# same for every question. What makes one question different from another is only the position that is added to
# it. Forget the position, and all questions of an image are the same question.
#
# You will write the predictor and the loss. The predictor is narrow on purpose: it should combine what the
# student found, not see in its place. You need `PatchEmbedding`'s positions (lesson 1), `Block` and
# `gather_tokens` (lesson 2) and masks (lesson 3). Plan **70 minutes**.

# %%
import torch
from torch import Tensor, nn

from checks import check
from solutions.patch_embedding import sincos_position_embedding
from solutions.vision_transformer import Block, gather_tokens

# %%
if __name__ == "__main__":
    from data import load_images, to_display
    from lessons import figures
    from solutions.masking import sample_masks
    from solutions.patch_embedding import patchify, unpatchify

    photos = load_images("photos").batch([9, 19, 12])  # [3, 3, 224, 224]
    masks = sample_masks(3, 14, torch.Generator().manual_seed(3))
    seen = torch.zeros(3, 196, 1).scatter(1, masks.context[..., None], 1.0)
    context_only = unpatchify(patchify(photos, 16) * seen, 16, 14)
    pictures = [to_display(photos)[0], to_display(context_only)[0]]
    figures.side_by_side(pictures, ["the teacher sees this", "the student sees this"])

# %% [markdown]
# Look at the right-hand picture and guess what is in the holes: a colour, a texture, the rest of a shape. You don't
# guess pixels. You guess *what it is like there*. That is the predictor's task.
#
# ## The contract
#
# B images, N patches, Nc of them context, M target blocks of Nt patches, D the student's width, W the predictor's.
#
# - `Predictor(grid_size, dim, predictor_dim, depth, num_heads)`: context tokens [B, Nc, D], context [B, Nc] and
#   targets [B, M, Nt] -> predictions [B, M, Nt, D], in the order of the targets
# - its parts: `.predictor_embed` (D -> W), `.mask_token` [1, 1, W], `.predictor_pos_embed` [1, N, W] (fixed: lesson
#   1's sin-cos table, here of width W), `.predictor_blocks`, `.predictor_norm` (eps 1e-6), `.predictor_proj` (W -> D)
# - `jepa_loss(predictions, targets)` -> the mean squared difference, a scalar; `ValueError` if the shapes differ

# %% [markdown]
# ## Exercise 5.1: Predictor
#
# **40 minutes, hard.** For one target block of one image the predictor runs its blocks over Nc + Nt tokens: the
# context tokens, narrowed to W and with their positions added, and one query for each target patch. A query is the
# mask token plus the position of its patch. The last Nt tokens, normalised and widened to D, are the predictions.
#
# There are M blocks, and they must not see each other: each is a question about the context alone. So every block
# gets a row of its own in the batch, with a copy of its image's context: B\*M rows of Nc + Nt tokens.
#
# <details><summary>Hint 1</summary>
#
# The positions are `sincos_position_embedding(grid_size, W)` as a table [1, N, W]. `gather_tokens` picks rows of it if
# you first `expand` it to the batch: [B, N, W]. It wants indices [B, K]; the targets [B, M, Nt] become that with
# `flatten(1)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Row b\*M + m of the long batch is block m of image b. `repeat_interleave(M, dim=0)` copies the context in this
# order: image 0 M times, then image 1. (`repeat` would give image 0, image 1, image 0: block 1 of image 0 would
# then be asked about image 1.) The queries [B, M\*Nt, W] become [B\*M, Nt, W] by a reshape.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `tokens = torch.cat([context rows, query rows], dim=1)`, then the blocks, then `tokens[:, -Nt:]`, the norm, the
# projection, and `unflatten(0, (B, M))`. The mask token is `nn.Parameter(torch.zeros(1, 1, W))`, filled by
# `nn.init.trunc_normal_(..., std=0.02)`: write `std=`, for the second argument alone is the mean.
#
# </details>


# %% exercise="Predictor"
class Predictor(nn.Module):
    """A narrow transformer that infers the teacher's view of the targets from the student's view of
    the context.

    `.predictor_embed` Linear D -> W, `.mask_token` [1, 1, W] (a trained parameter, truncated normal
    of std .02), `.predictor_pos_embed` [1, N, W] (lesson 1's sin-cos table, part of the state dict, never trained),
    `.predictor_blocks`, `.predictor_norm` LayerNorm eps 1e-6, `.predictor_proj` Linear W -> D; W =
    predictor_dim.

    forward(context_tokens [B, Nc, D], context [B, Nc], targets [B, M, Nt]) -> predictions [B, M,
    Nt, D] in the order of targets. A context token gets the position of its patch; a query for a
    target patch is the mask token plus the position of that patch. Each target block is predicted
    from the context alone: blocks do not see each other.
    """

    def __init__(self, grid_size: int, dim: int, predictor_dim: int, depth: int, num_heads: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.predictor_embed = nn.Linear(dim, predictor_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, predictor_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.register_buffer("predictor_pos_embed", sincos_position_embedding(grid_size, predictor_dim)[None])
        self.predictor_blocks = nn.ModuleList(Block(predictor_dim, num_heads) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(predictor_dim, eps=1e-6)
        self.predictor_proj = nn.Linear(predictor_dim, dim)
        ### END SOLUTION

    def forward(self, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        num_blocks, length = targets.shape[1:]
        positions = self.predictor_pos_embed.expand(len(context), -1, -1)
        seen = self.predictor_embed(context_tokens) + gather_tokens(positions, context)
        queries = self.mask_token + gather_tokens(positions, targets.flatten(1))
        # one row a target block: the context is repeated, so that no block attends to another
        seen = seen.repeat_interleave(num_blocks, dim=0)
        queries = queries.unflatten(1, (num_blocks, length)).flatten(0, 1)
        tokens = torch.cat([seen, queries], dim=1)
        for block in self.predictor_blocks:
            tokens = block(tokens)
        predictions = self.predictor_proj(self.predictor_norm(tokens[:, -length:]))
        return predictions.unflatten(0, (-1, num_blocks))
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("Predictor")

# %% [markdown]
# ## Exercise 5.2: jepa_loss
#
# **5 minutes, easy.** The squared difference, averaged over everything. One trap is worth a line of code: PyTorch
# stretches [B, 1, Nt, D] to fit [B, M, Nt, D] without a word, and the loss is a number all the same.
#
# <details><summary>Hint 1</summary>
#
# Compare the two shapes before you subtract.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `raise ValueError(...)` with both shapes in the message. Whoever reads it wants to see them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Subtract, square, `.mean()` over all axes.
#
# </details>


# %% exercise="jepa_loss"
def jepa_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """The squared L2 distance in representation space, averaged over all elements -> scalar.

    predictions and targets [B, M, Nt, D]; raises ValueError if their shapes differ.
    """
    ### BEGIN SOLUTION
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions {list(predictions.shape)} and targets {list(targets.shape)} must have one shape")
    return (predictions - targets).square().mean()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("jepa_loss")

# %% [markdown]
# ## What the loss is worth
#
# **Predict before you run it.** A predictor knows nothing and answers every question with zeros. The targets are
# normalised over their features, as lesson 4 does it. What is its loss? Write a number in place of the dots.

# %%
if __name__ == "__main__":
    check("loss_of_zeros", ...)

# %% [markdown]
# ## Experiment: do the blocks see each other?
#
# We ask about block 0 alone, then together with three others. Then we shuffle the context tokens together with their
# indices. **Predict:** by how much do the answers of a correct predictor change, the first time and the second?

# %%
if __name__ == "__main__":
    torch.manual_seed(0)
    predictor = Predictor(grid_size=14, dim=96, predictor_dim=64, depth=2, num_heads=2)
    tokens = torch.randn(3, masks.context.shape[1], 96)
    together = predictor(tokens, masks.context, masks.targets)
    alone = predictor(tokens, masks.context, masks.targets[:, :1])
    shuffle = torch.randperm(tokens.shape[1])
    shuffled = predictor(tokens[:, shuffle], masks.context[:, shuffle], masks.targets)
    print(f"block 0, alone against together: {(together[:, :1] - alone).abs().max():.1e}")
    print(f"context shuffled:                {(together - shuffled).abs().max():.1e}")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Both are rounding errors. A block is a row of its own, so it can't know what else is asked. And attention sums over
# a set: a token brings its place along in its position, not in its row of the tensor.
#
# </details>
#
# **Try:** change `masks.targets[:, :1]` to `[:, 2:3]` and compare with the right block.
#
# Rows of one's own have a price. **Predict:** a batch of 32 images, 4 blocks of 30 patches, a context of 80: how many
# tokens go through the predictor's blocks in one step?

# %%
if __name__ == "__main__":
    check("predictor_tokens", ...)

# %% [markdown]
# ## Experiment: a broken predictor whose loss falls, too
#
# We train two predictors for a few seconds on small images, each with a student of its own, against a teacher
# that stays as it was initialised. The second one has lost its positions: it can't know which patch it is asked
# about. **Predict:** what does it answer for two different patches of one block, compared with each other: `"equal"`
# vectors, `"similar"` ones, or `"different"` ones?

# %%
if __name__ == "__main__":
    check("two_blind_answers", ...)

# %%
if __name__ == "__main__":
    from solutions.teacher import make_teacher, teacher_targets
    from solutions.vision_transformer import VisionTransformer

    images = load_images("photos", image_size=96)  # a grid of 6 x 6 patches
    torch.manual_seed(0)
    teacher = make_teacher(VisionTransformer(96, 16, dim=64, depth=2, num_heads=2))

    def fit(predictor: nn.Module, steps: int = 150) -> tuple[nn.Module, list[float]]:
        """Train a predictor and a new student against the fixed teacher -> (student, losses)."""
        student = VisionTransformer(96, 16, dim=64, depth=2, num_heads=2)
        optimizer = torch.optim.AdamW([*student.parameters(), *predictor.parameters()], lr=1e-3)
        losses = []
        for step in range(steps):
            batch = images.batch(images.indices_at(step, 32))
            masks = sample_masks(32, 6, torch.Generator().manual_seed(step))
            truth = teacher_targets(teacher, batch, masks.targets)
            loss = jepa_loss(predictor(student(batch, masks.context), masks.context, masks.targets), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return student, losses

    whole, broken = (Predictor(6, 64, 32, depth=2, num_heads=2) for _ in range(2))
    broken.predictor_pos_embed.requires_grad_(False).zero_()
    student, whole_losses = fit(whole)
    blind_student, broken_losses = fit(broken)
    figures.curves(
        {"whole": whole_losses, "no positions": broken_losses}, "Both losses fall", "loss", "step of training"
    )

# %%
if __name__ == "__main__":
    batch = images.batch(images.indices_at(999, 8))
    masks = sample_masks(8, 6, torch.Generator().manual_seed(1))
    for name, net, encoder in (("whole", whole, student), ("no positions", broken, blind_student)):
        with torch.no_grad():
            predictions = net(encoder(batch, masks.context), masks.context, masks.targets)
        spread = predictions.std(dim=2).mean()  # over the patches of one block
        print(f"{name:>12}: predictions differ between the patches of a block by {spread:.4f}")

# %% [markdown]
# The broken one answers every question about an image in the same way, and its loss fell nevertheless: it learned
# the average of the image. A falling loss says that *something* became predictable, not what. **Try:** train for
# 600 steps. Does the gap close?
#
# ## Experiment: what is hard to predict?
#
# For one photograph we draw many masks and average the error at each patch. **Predict:** look at the photograph in the
# first picture, and choose three patches where you would fail.

# %%
if __name__ == "__main__":
    photo = images.batch([9])
    error, count = torch.zeros(36), torch.zeros(36)
    for seed in range(60):
        masks = sample_masks(1, 6, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            truth = teacher_targets(teacher, photo, masks.targets)
            predictions = whole(student(photo, masks.context), masks.context, masks.targets)
        here = masks.targets.flatten()
        error.index_add_(0, here, (predictions - truth).square().mean(dim=-1).flatten())
        count.index_add_(0, here, torch.ones(len(here)))
    figures.side_by_side(
        [to_display(photo)[0], (error / count).view(6, 6)], ["photograph", "error at each patch"], "squared error"
    )

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A patch that continues its surroundings is easier than a detail that nothing announces. Which ones those are differs
# from photograph to photograph, and after so few steps also from one training to the next: compare the picture with
# your three patches, not with a rule.
#
# </details>
#
# **Try:** another photograph (`[9]` is any number up to 19999).
#
# ## Stretch: block_mask
#
# *Optional, 25 minutes.* A row for each block repeats the context M times. Could all blocks share one row,
# [context, block 0, ..., block M - 1]? Attention would have to be told who may look at whom:
# `F.scaled_dot_product_attention(q, k, v, attn_mask=mask)` takes a table of bools. Write that table. Context tokens
# look at the context only; a query looks at the context and at the queries of its own block. (So it is not quite the
# exercise's predictor, in which the context tokens look at the block's queries too.) `pytest checks --stretch` runs
# the checks of all stretch exercises.


# %% stretch="block_mask"
def block_mask(num_context: int, num_blocks: int, length: int) -> Tensor:
    """Who may look at whom in one row of Nc context tokens and M blocks of Nt queries -> bool [L, L], L = Nc + M * Nt.

    Row i is what token i looks at, True where it may.
    """
    ### BEGIN SOLUTION
    block = torch.cat([torch.full((num_context,), -1), torch.arange(num_blocks).repeat_interleave(length)])
    return (block == -1) | (block == block[:, None])
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("block_mask")

# %% [markdown]
# How much does it save? The tokens count for the MLPs, their square for attention.

# %%
if __name__ == "__main__":
    for num_blocks in (1, 4, 8):
        apart, together = num_blocks * (80 + 30), 80 + 30 * num_blocks
        print(
            f"{num_blocks} blocks: {apart} tokens in {num_blocks} rows ({num_blocks * 110**2:,} pairs), "
            f"{together} in one row ({together**2:,} pairs)"
        )

# %% [markdown]
# Few tokens, and more pairs than one thinks: a mask hides a pair, but a plain implementation computes it first.
#
# ## What people get wrong here
#
# - **No mask token**, the predictor fed with the context only: there is nothing that asks, so outputs and targets
#   are paired by cutting the longer one. The loss falls; the pairs mean nothing.
# - **A query without its position**: the experiment above.
# - **The union of the blocks predicted at once**: the blocks see each other's queries, and overlapping patches
#   are asked twice in one row.
# - **`repeat` for `repeat_interleave`**: blocks are asked about another image. Shapes agree, the loss falls slowly.
# - **`trunc_normal_(t, 0.02)`**: sets the mean to .02, and the spread stays 1.
# - **Mask token left out of the optimizer**: it stays what chance made it.
# - **The loss summed over the last axis, or over all patches**: the step size then depends on D, or visible
#   patches, which are easy, drown the hidden ones.
# - **Shapes that broadcast**: a number comes out, and it is the wrong one.

# %% [markdown] question="why_narrow" points=2
# ## Question: why is the predictor narrow?
#
# After training, the predictor is thrown away and only the encoder is used. In three to five sentences: what could go
# wrong if the predictor were as wide and deep as the encoder, or much wider? And why is a single linear layer
# not enough? *(2 points, marked by hand)*
#
# ### BEGIN SOLUTION
# A large predictor could do the work itself: take nearly raw context tokens and compute from them what the
# teacher sees. The student would then have no reason to form features that say what is in the image, and the
# student is what we keep. The narrow width is a bottleneck: only what the student has already made simple passes
# through it. A linear layer can't combine several context tokens, so it could not say what a place that nobody
# saw is like; that needs attention over the context and the position of the query.
#
# Rubric: 1 point for "a strong predictor takes the work off the encoder" (or: the bottleneck forces the encoder to
# abstract); 1 point for a reason why some depth is needed: combining context tokens, conditioned on the position.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [The paper](https://arxiv.org/abs/2301.08243), section 3, "Prediction" and "Loss". Its ablations bear on the
# question above (ImageNet, 1 % of the labels): a predictor 384 wide reaches 70.7 and one 1024 wide 68.4 (table 14), but
# 12 blocks reach 66.9 and 6 blocks 64.0. So narrow, and not shallow.
#
# ## Next
#
# You have all the parts. In lesson 6 they become one training step, and you find out whether it learned.
