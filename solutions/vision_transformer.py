# %% [markdown]
# # Lesson 2: the Vision Transformer
#
# ## What you will build and why
#
# After Lesson 1, a token knows its own patch and nothing else. A patch of blue may be sky, sea or a coat; only the
# other patches can tell. In this lesson the tokens exchange what they know.
#
# They do it by **attention**: each token looks at all tokens, decides how much each one matters to it, and takes a
# weighted mean. Attention, then a small network for each token alone: that is a **block**. Lesson 1's tokens and a
# stack of blocks are a Vision Transformer (ViT). All three networks of I-JEPA are made of these blocks.
#
# One thing matters to I-JEPA above all: a network may encode only the patches that it is shown. You will build this
# in, and see that nothing of a hidden patch gets through. You need the pieces of Lesson 1. Plan **105 minutes**.

# %%
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks import check
from solutions.patch_embedding import PatchEmbedding, patchify, sincos_position_embedding, unpatchify

# %%
if __name__ == "__main__":
    from data import load_images, to_display
    from lessons import figures

    torch.manual_seed(0)
    photo = load_images("photos").batch([12])  # [1, 3, 224, 224]
    places = sincos_position_embedding(grid_size=14, dim=192)
    colours = F.normalize(patchify(photo, 16)[0].unflatten(1, (3, 256)).mean(2), dim=1)  # [196, 3]
    tokens = F.layer_norm(PatchEmbedding(224, 16, 192)(photo)[0] + places, (192,)).detach()
    untrained = nn.Linear(192, 64)(tokens) @ nn.Linear(192, 64)(tokens).T / 8
    scores = {"untrained": untrained, "same place": places @ places.T / 8, "same colour": 40 * colours @ colours.T}

    query = 76  # row 5, column 6
    weights = {title: score[query].softmax(dim=-1) for title, score in scores.items()}  # from scores [196, 196]
    figures.attention(to_display(photo)[0], weights, query, 14)

# %% [markdown]
# Three ways in which the outlined patch can look at the others. The weights of each sum to 1.
#
# - **untrained**: random weights look everywhere, nearly evenly.
# - **same place** compares places (Lesson 1's codes), **same colour** the mean colour of each patch. These two are made
#   by hand, to show what attention can express.
#
# Training has to find what is worth looking at. Try another `query`: a corner, a patch of another colour.
#
# ## The contract
#
# B images, N tokens each, D numbers in a token. Names of layers matter: published weights are stored under them.
#
# - `Attention(dim, num_heads)`: `.qkv .proj`; [B, N, D] -> [B, N, D]; `ValueError` unless num_heads divides dim
# - `MLP(dim, hidden_dim)`: `.fc1 .fc2`; [B, N, D] -> [B, N, D]
# - `Block(dim, num_heads)`: `.norm1 .attn .norm2 .mlp`; [B, N, D] -> [B, N, D]
# - `gather_tokens(tokens, indices)`: [B, N, D], [B, K] -> [B, K, D]
# - `VisionTransformer(...)`: `.patch_embed .pos_embed .blocks .norm`; images -> [B, N, D], or [B, K, D] with `keep`

# %% [markdown]
# ## Exercise 2.1: Attention
#
# **30 minutes, hard.** Each token makes three vectors: a **query** (what I look for), a **key** (what I have) and a
# **value** (what I hand over). Token i scores token j by the dot product of i's query with j's key. The scores are
# divided by the square root of d, the length of these vectors, and a softmax over j turns them into weights that
# sum to 1. Token i gathers the values, weighted. (Why the division? The experiment below counts.)
#
# **Heads**: cut queries, keys and values into num_heads parts of d = D/num_heads numbers. Each head attends by
# itself, so that a token can look for several things at once. Then put the heads' results side by side again, and
# let `.proj` mix them. Write the matrix products out; this is the one piece worth knowing by heart.
#
# <details><summary>Hint 1</summary>
#
# Start with one head and one image: q, k, v are [N, D]. `q @ k.T` is [N, N], and its row i says how token i
# scores every token. So each row must sum to 1 after the softmax. What is the shape of `weights @ v`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `@` works on the last two axes and keeps all axes before them. So bring q, k and v to [B, heads, N, d]. The output
# of `.qkv` is [B, N, 3\*D]; its last axis splits into (3, heads, d), in this order. One `permute` then brings the 3 to
# the front, and `q, k, v = ...` takes it apart.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `scores = q @ k.transpose(-2, -1) / d**0.5`, then `.softmax(dim=-1)`, then `@ v`: [B, heads, N, d]. Before the last
# reshape to [B, N, D], the heads must stand beside d again: `transpose(1, 2)`. In `__init__`, test
# `dim % num_heads` and keep `num_heads` for later.
#
# </details>


# %% exercise="Attention"
class Attention(nn.Module):
    """Multi-head self-attention: every token gathers from all tokens of its image.

    `.qkv` is a Linear D -> 3*D with bias (queries, keys, values stacked in this order, each split
    into num_heads heads of D/num_heads), `.proj` a Linear D -> D with bias.
    forward: tokens [B, N, D] -> [B, N, D].
    Raises ValueError unless num_heads divides dim.

    Example: Attention(dim=192, num_heads=3) works on 3 heads of 64 and maps
    [2, 196, 192] -> [2, 196, 192].
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        ### BEGIN SOLUTION
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide dim {dim}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        ### END SOLUTION

    def forward(self, tokens: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        batch, length, dim = tokens.shape
        head_dim = dim // self.num_heads
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, N, head_dim]
        weights = (query * head_dim**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)  # [B, heads, N, N]
        gathered = (weights @ value).transpose(1, 2).reshape(batch, length, dim)
        return self.proj(gathered)
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("Attention")

# %% [markdown]
# ## Experiment: why the root of d?
#
# A query and a key of d random numbers each, independent, of mean 0 and variance 1: their dot product has mean 0.
# **Predict:** for d = 64, what is its standard deviation?

# %%
if __name__ == "__main__":
    check("score_spread", ...)

# %%
if __name__ == "__main__":
    for d in (4, 64, 1024):
        scores = torch.randn(100, d) @ torch.randn(196, d).T  # of 100 queries with 196 keys
        plain, divided = (each.softmax(dim=-1).amax(dim=-1).mean() for each in (scores, scores / d**0.5))
        print(f"d = {d:>4}: variance {scores.var():6.1f}, largest weight {plain:.3f}, of divided scores {divided:.3f}")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The variance is d: variances add. So the larger d is, the more of the weight goes to a single token, and there little
# is learned: the slope of a weight p by its score is p (1 - p), which is 0 at both ends. Divided by the root of d,
# scores have variance 1 for every d, and at the start a token looks at many.
#
# </details>
#
# **Try:** divide by d in place of its root. What is left of the differences? (Evenly would be 1/196 = 0.005.)
#
# ## Exercise 2.2: MLP
#
# **5 minutes, easy.** Attention moves information between tokens. The MLP then works on each token alone: widen it,
# bend it with a GELU, narrow it again.
#
# <details><summary>Hint 1</summary>
#
# `nn.Linear` works on the last axis and leaves the others alone, so [B, N, D] needs no reshape.
#
# </details>
# <details><summary>Hint 2</summary>
#
# "Exact" GELU is `F.gelu` without arguments. The faster `approximate="tanh"` gives slightly other numbers.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `self.fc1` and `self.fc2` in `__init__`; `forward` applies `fc1`, `F.gelu`, `fc2`.
#
# </details>


# %% exercise="MLP"
class MLP(nn.Module):
    """Two linear layers with an exact GELU between them, applied to each token alone.

    `.fc1` Linear dim -> hidden_dim, `.fc2` Linear hidden_dim -> dim, both with bias.
    forward: [B, N, D] -> [B, N, D].

    Example: MLP(dim=192, hidden_dim=768) maps [2, 196, 192] -> [2, 196, 192], by way of
    [2, 196, 768].
    """

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        ### END SOLUTION

    def forward(self, tokens: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        return self.fc2(F.gelu(self.fc1(tokens)))
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("MLP")

# %% [markdown]
# ## Exercise 2.3: Block
#
# **10 minutes, easy.** A block never replaces a token: it adds to it. tokens + attention, then that + MLP. The sum
# keeps a straight road open, for the patch on the way up and for the gradient on the way down.
#
# "Pre-norm" says where the LayerNorm stands: on the branch, before attention and before the MLP. The road itself
# stays free.
#
# <details><summary>Hint 1</summary>
#
# Draw it: one straight line, and two side roads that leave it and come back with a plus. On which part is the norm?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Four layers in `__init__`: `nn.LayerNorm(dim, eps=1e-6)`, `Attention`, another LayerNorm, and an `MLP` of hidden
# size `4 * dim`. The names are in the docstring.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Two lines, each of the form `tokens = tokens + layer(norm(tokens))`. Write `tokens = tokens + ...`: `+=` would
# change the caller's tensor.
#
# </details>


# %% exercise="Block"
class Block(nn.Module):
    """A pre-norm transformer block: tokens + attention(norm(tokens)), then the same with the MLP.

    `.norm1 .attn .norm2 .mlp`; the norms are LayerNorms with eps 1e-6, the MLP is 4*dim wide.
    forward: [B, N, D] -> [B, N, D]; its input stays as it was.

    Example: Block(dim=192, num_heads=3) maps [2, 196, 192] -> [2, 196, 192].
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, 4 * dim)
        ### END SOLUTION

    def forward(self, tokens: Tensor) -> Tensor:
        ### BEGIN SOLUTION
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("Block")

# %% [markdown]
# ## Experiment: take the residual away
#
# The photograph's tokens go through twelve untrained blocks, once as you wrote them and once without the sums. After
# each block: how alike are the 196 tokens? 1 means that every patch of the photograph gives the same vector.
# **Predict:** after how many blocks without the sums are all tokens alike?

# %%
if __name__ == "__main__":

    def alike(tokens: Tensor) -> float:
        directions = F.normalize(tokens, dim=-1)
        return (directions @ directions.transpose(1, 2)).mean().item()

    def without_sums(block: Block, tokens: Tensor) -> Tensor:
        return block.mlp(block.norm2(block.attn(block.norm1(tokens))))

    stack = [Block(dim=192, num_heads=3) for _ in range(12)]
    with_sums, without = tokens[None], tokens[None]
    history = {"with the sums": [alike(with_sums)], "without the sums": [alike(without)]}
    with torch.no_grad():
        for block in stack:
            with_sums, without = block(with_sums), without_sums(block, without)
            history["with the sums"].append(alike(with_sums))
            history["without the sums"].append(alike(without))
    figures.curves(history, "How alike are the tokens of one photograph?", "mean cosine similarity", "blocks")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The first leaves little of the differences, the second none that you could see: untrained attention is close to a
# plain mean, and a mean forgets who was who. With the sums, each token keeps much of what it was.
#
# </details>
#
# **Try:** put one of the two sums back. How many blocks does it take until all tokens are alike? Then the other one.
#
# ## Experiment: the scale of a token
#
# Tokens of variance 1 go through twelve blocks whose first weights have one of three standard deviations; then through
# the same blocks without their norms. **Predict:** for the largest one, how large are the tokens' numbers at the end,
# with the norms and without?

# %%
if __name__ == "__main__":
    for std in (0.02, 0.05, 0.1):
        stack = nn.Sequential(*(Block(dim=192, num_heads=3) for _ in range(12)))
        for layer in stack.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=std)
        with torch.no_grad():
            first, last = stack[0](tokens[None]).std(), stack(tokens[None]).std()
            for block in stack:
                block.norm1, block.norm2 = nn.Identity(), nn.Identity()
            bare = stack(tokens[None]).std()
        print(f"std {std:.2f}: {first:.2f} after one block, {last:.2f} after twelve, {bare:.3g} without norms")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A layer of D inputs scales by about std * √D: 0.28 for .02, 1.4 for .1. With a norm each branch starts from size 1
# again, and adds about as much as the one before. Without, it adds in proportion to what is there, and that multiplies
# from block to block; attention, whose scores grow with the square, makes it worse. At .02, as in the paper's code, a
# fresh block does next to nothing, and the norms seem idle. But weights grow in training.
#
# </details>
#
# **Try:** 24 blocks. Or take only one of the two norms away.
#
# ## Exercise 2.4: gather_tokens
#
# **10 minutes, medium.** Each image of a batch hides other patches, so each needs indices of its own:
# out[b, k] = tokens[b, indices[b, k]]. `tokens[:, indices]` is something else: it takes all images' indices from
# every image. One call of torch does it right. The student, the teacher and the predictor will all use it.
#
# <details><summary>Hint 1</summary>
#
# `torch.gather` does this along one axis: `tokens.gather(1, index)` has the shape of `index` and takes, at each
# place, the entry of `tokens` that `index` names along axis 1. Which shape must `index` have to give [B, K, D]?
#
# </details>
# <details><summary>Hint 2</summary>
#
# All D numbers of a token move together: the same index D times. `indices[..., None]` is [B, K, 1]; `expand` repeats
# its last axis D times without a copy. (Indexing with `torch.arange(B)[:, None]` works as well.)
#
# </details>
# <details><summary>Hint 3</summary>
#
# `indices[..., None].expand(-1, -1, D)` is the index; -1 leaves an axis as it is.
#
# </details>


# %% exercise="gather_tokens"
def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Take some tokens of each image, in the order of the indices.

    tokens [B, N, D], indices long [B, K] -> [B, K, D] with out[b, k] = tokens[b, indices[b, k]].
    Each image has indices of its own, in any order; a repeated index repeats its token. Gradients
    pass through.

    Example: indices [[2, 0]] of tokens [1, 4, D] -> token 2, then token 0.
    """
    ### BEGIN SOLUTION
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("gather_tokens")

# %% [markdown]
# ## Exercise 2.5: VisionTransformer
#
# **15 minutes, medium.** All pieces in a row: patches to tokens, add positions, keep some, blocks, final norm.
# The order matters. Positions are added while token n still stands at place n; after gathering, it may stand
# anywhere. And hidden tokens leave **before** the first block: after it, each token has seen all the others.
#
# `.pos_embed` is not trained, but it belongs to the model: it must be saved with it and move to the GPU with it.
# Torch calls such a tensor a buffer.
#
# <details><summary>Hint 1</summary>
#
# `self.register_buffer("pos_embed", table)` keeps a tensor that no optimizer touches. Its shape is [1, N, D], and
# `sincos_position_embedding` gives [N, D].
#
# </details>
# <details><summary>Hint 2</summary>
#
# The grid has `image_size // patch_size` patches along a side. `.blocks` holds `depth` blocks; in a Python list they
# are invisible to `.parameters()`, `nn.ModuleList` registers them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `tokens = self.patch_embed(images) + self.pos_embed`; if `keep is not None`, `gather_tokens`; then loop over
# `self.blocks`; return `self.norm(tokens)`, a LayerNorm with eps 1e-6.
#
# </details>


# %% exercise="VisionTransformer"
class VisionTransformer(nn.Module):
    """The encoder: patch tokens plus positions, then blocks, then a LayerNorm (eps 1e-6).

    `.patch_embed .pos_embed .blocks .norm`; `.pos_embed` [1, N, D] is part of the state dict and is
    never trained. There is no cls token.
    forward(images [B, 3, H, W], keep=None): adds the positions first; with keep, long [B, K], only
    these tokens enter the blocks -> [B, K, D] in keep's order; without it all of them -> [B, N, D].

    Example: VisionTransformer(224, 16, dim=192, depth=6, num_heads=3) maps
    images [2, 3, 224, 224] and keep [2, 50] -> [2, 50, 192].
    """

    def __init__(self, image_size: int, patch_size: int, dim: int, depth: int, num_heads: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.patch_embed = PatchEmbedding(image_size, patch_size, dim)
        self.register_buffer("pos_embed", sincos_position_embedding(image_size // patch_size, dim)[None])
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        ### END SOLUTION

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        ### BEGIN SOLUTION
        tokens = self.patch_embed(images) + self.pos_embed
        if keep is not None:
            tokens = gather_tokens(tokens, keep)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("VisionTransformer")

# %% [markdown]
# ## Experiment: does it know where a patch was?
#
# In Lesson 1 you shuffled a photograph. Now your model reads both pictures. **Predict:** how far does the token of a
# patch move when the patch stands elsewhere, with positions and without them? (The final norm makes each token about
# 14 long, the root of 192.)

# %%
if __name__ == "__main__":
    model = VisionTransformer(image_size=224, patch_size=16, dim=192, depth=6, num_heads=3)
    order = torch.randperm(196)
    shuffled = unpatchify(patchify(photo, 16)[:, order], 16, 14)

    def distance(before: Tensor, after: Tensor) -> Tensor:
        return (after - before).norm(dim=-1)[0]

    with torch.no_grad():
        with_positions = distance(model(photo)[:, order], model(shuffled))
        positions = model.pos_embed.clone()
        model.pos_embed.zero_()
        without_positions = distance(model(photo)[:, order], model(shuffled))
        model.pos_embed.copy_(positions)
    print(f"A token moves by {with_positions.mean():.1f} with positions, by {without_positions.mean():.0e} without.")
    figures.side_by_side([*to_display(torch.cat([photo, shuffled]))], ["photograph", "shuffled"])

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# With positions, far. Without them, only rounding error is left: permute the input, and the output is the same,
# permuted. Attention by itself sees a set.
#
# </details>
#
# **Try:** for something in between, replace `zero_()` by `mul_(0.1)`.
#
# ## Experiment: what gets through?
#
# A block of 6 x 6 patches is hidden. Behind the mask we put another photograph. Which tokens notice, if **all patches**
# are encoded; with **`keep`**, where the hidden tokens leave before the first block; or **kept too late**, where all
# pass the blocks and the hidden ones are dropped at the end? (The shapes are then those of `keep`.) **Predict** the
# last, for a single block: which of the kept tokens notice? `"none"`, the `"neighbours"` of the mask, or `"all"`?

# %%
if __name__ == "__main__":
    check("tokens_that_notice", ...)

# %%
if __name__ == "__main__":
    hidden = torch.zeros(14, 14, dtype=torch.bool)
    hidden[4:10, 5:11] = True
    keep = (~hidden).flatten().nonzero().T  # [1, K]

    pixels = hidden.repeat_interleave(16, 0).repeat_interleave(16, 1)
    changed = torch.where(pixels, load_images("photos").batch([15]), photo)

    def on_grid(distances: Tensor, keep: Tensor) -> Tensor:
        return torch.full((196,), float("nan")).scatter(0, keep[0], distances).reshape(14, 14)

    with torch.no_grad():
        whole = distance(model(photo), model(changed)).reshape(14, 14)
        kept = distance(model(photo, keep), model(changed, keep))
        too_late = distance(gather_tokens(model(photo), keep), gather_tokens(model(changed), keep))
    print(f"Largest move with keep: {kept.max():.0e}, kept too late: {too_late.max():.2f}")
    maps = [whole.clamp(max=3), on_grid(kept, keep), on_grid(too_late, keep)]
    titles = ["behind the mask", "all patches", "keep", "kept too late"]
    figures.side_by_side([to_display(changed)[0], *maps], titles, label="distance (at most 3 shown)")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# With all patches encoded, every token notices, far away too. With `keep` none moves, not even by rounding error (grey
# patches have no token). Kept too late, every token knows what is behind the mask.
#
# </details>
#
# **Try:** hide one patch only (`hidden[4, 5] = True`), or take a model of `depth=1`. Does "kept too late" reach 0?
#
# ## Experiment: what does keep save?
#
# Attention compares N squared pairs, and a mask leaves 22 to 80 of 196 tokens. **Predict**, for tokens of 192 numbers:
# 49 are left, a quarter. How many of a block's multiplications are left, about `"a quarter"`, `"an eighth"` or
# `"a sixteenth"`?

# %%
if __name__ == "__main__":
    check("work_left", ...)

# %%
if __name__ == "__main__":
    dim = 192
    for count in (784, 196, 80, 49, 22):
        layers, pairs = 12 * count * dim**2, 2 * count**2 * dim  # qkv 3, proj 1, MLP 4 + 4; q @ k.T and weights @ v
        millions, share = (layers + pairs) / 1e6, pairs / (layers + pairs)
        print(f"{count:>3} tokens: {millions:5.1f} million multiplications, {share:3.0%} for {count**2:>7,} pairs")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Most of a block's work is not attention's pairs but its linear layers, and theirs goes with N. The share of the pairs
# is N / (6 D + N): 15 % for 196 tokens, and half from N = 6 D = 1152 on.
#
# </details>
#
# **Try:** `dim = 96`, or 1280, the width of the paper's largest encoder.
#
# ## Stretch: attention_in_pieces
#
# *Optional, 30 minutes.* What does grow with the pairs is memory, for the table of scores. But a softmax can do
# without: take keys and values piece by piece, and keep three things for each query: m, the largest score so far; s,
# the sum of exp(score - m); g, the sum of exp(score - m) times value. When a piece brings a larger m', first shrink s
# and g by exp(m - m'). In the end g / s is what all keys together would have given, as in
# [FlashAttention](https://arxiv.org/abs/2205.14135). `pytest checks --stretch` checks this one, too.


# %% stretch="attention_in_pieces"
def attention_in_pieces(query: Tensor, pieces: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """What queries gather from all pieces together: softmax(query . key / sqrt(d)) over all keys, times the values.

    query [N, d]; pieces gives each (key [n, d], value [n, d]) once, n may differ -> [N, d]. The dtype is kept, scores
    in the thousands don't overflow, and no tensor holds the scores of all pieces.
    """
    ### BEGIN SOLUTION
    largest = torch.full_like(query[:, :1], -torch.inf)
    total, gathered = torch.zeros_like(largest), torch.zeros_like(query)
    for key, value in pieces:
        scores = query @ key.T / query.shape[1] ** 0.5
        new = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        shrink, weights = (largest - new).exp(), (scores - new).exp()
        total = shrink * total + weights.sum(dim=1, keepdim=True)
        gathered = shrink * gathered + weights @ value
        largest = new
    return gathered / total
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("attention_in_pieces")

# %% [markdown]
# A photograph in patches of 4 pixels has 3136 tokens. How large is the largest table of scores?

# %%
if __name__ == "__main__":
    query, key, value = torch.randn(3, 3136, 64)
    whole = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
    for length in (3136, 784, 49):
        found = attention_in_pieces(query, zip(key.split(length), value.split(length), strict=True))
        gap, megabytes = (found - whole).abs().max(), 3136 * length * 4 / 1e6
        print(f"{length:>4} keys at a time: {megabytes:4.1f} MB, largest difference {gap:.0e}")

# %% [markdown]
# ## What people get wrong here
#
# - **Softmax before the scaling, or scaling by D in place of d.** It trains, with weights too sharp or too flat.
# - **Softmax over the wrong axis.** A token's weights no longer sum to 1.
# - **Heads mixed up.** Without `transpose(1, 2)` before the last reshape, a token gets other tokens' numbers.
# - **No residual.** All tokens become one vector, as you saw. I-JEPA's loss then falls fast: a constant is easy to
#   predict.
# - **Post-norm** (the norm after the sum). Another network: published weights give nonsense in it.
# - **Blocks in a Python list.** They compute, but never train and are never saved.
# - **No final norm.** The features' scale drifts with depth and training.
# - **One mask for the whole batch** (`keep[0]`). All other images show patches that they should hide.
# - **Indices off by one**, copied from a ViT with a cls token. There is none here.
# - **Positions added after gathering** (`pos_embed[:, :K]`). The tokens get other patches' places.

# %% [markdown] question="kept_too_late" points=2
# ## Question: kept too late
#
# A friend encodes all patches first and drops the hidden ones afterwards (the third map above). The loss of their
# I-JEPA falls faster than yours. Why? Why is the model worth less all the same? And which single change to an
# image would show the mistake, whatever the loss says? Four or five sentences.
#
# ### BEGIN SOLUTION
# In every block each token gathers from all tokens. After the first block, each kept token already holds part of the
# hidden patches. The predictor can read the answer from its input in place of inferring it from what is visible, so
# the loss falls faster. What is learned is to copy, and nothing forces the features to describe objects. (The cost
# is higher, too: all 196 tokens pass the blocks.) The test: change pixels of a hidden patch only. The context tokens
# must not change at all; here they do.
#
# Rubric: 1 point for the leak (attention mixes hidden patches into kept tokens before they are dropped). Half a
# point for why a low loss is worth nothing here (the answer is in the input). Half a point for the test: change a
# hidden pixel, and see that the kept tokens move.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [Assran et al. 2023](https://arxiv.org/abs/2301.08243), section 3, "Method", the paragraph "Context": the masked
# context block is encoded alone.
#
# ## Next
#
# You have the network that all three parts share. Lesson 3 chooses what it may see: the masks.
