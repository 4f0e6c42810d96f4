# %% [markdown]
# # Lesson 8: the real one
#
# ## What you will build and why
#
# The encoder of the I-JEPA paper has 632 million weights. It saw the images of ImageNet, without their labels, for
# 300 epochs. Yours has fewer weights and has seen less. Nothing else is different: the published weights run in
# **your own** `VisionTransformer` of Lesson 2. That is why the contracts asked for `.patch_embed`, `.blocks` and
# `.attn.qkv`.
#
# Weights are a dictionary: names and tensors. The authors' file has your names. The one that most people download has
# others, so you will write a translation. Then you make one vector of an image, and look for its nearest neighbours.
#
# This lesson is the last one, and optional. Plan **45 minutes**, and a download of 2.5 GB if you like.

# %% only="script"
if __name__ == "__main__" and __spec__:  # `python -m solutions.pretrained FILE`; without -m, the lesson runs
    from importlib import import_module

    raise SystemExit(import_module("solutions.published.command").main())  # which imports this lesson

# %%
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks import check
from solutions.published.assemble import assemble
from solutions.published.files import read_huggingface, read_official, renamed
from solutions.vision_transformer import MLP, VisionTransformer

# %% [markdown]
# ## Which weights?
#
# `python -m solutions.pretrained`, in a terminal, says where they can be downloaded, how large they are and what their
# licence allows: it is not the course's. Put the path of the folder or of the file into `FILE` below.
#
# As long as `FILE` is None you work with the small encoder that comes with the course, in the same form: an hour of
# training on small images. Compare what it sees with what the large one does.

# %%
if __name__ == "__main__":
    import tempfile

    from data import load_images, to_display
    from lessons import figures
    from solutions.published.shipped import in_huggingface_layout

    FILE = None  # such as "downloads/ijepa_vith14_1k"
    path = FILE or in_huggingface_layout(Path(tempfile.mkdtemp()))

    read = read_huggingface if Path(path).is_dir() else read_official
    for name, tensor in list(read(path).tensors.items())[:16]:
        print(f"{name:56}{list(tensor.shape)}")

# %% [markdown]
# No tensor has been read so far: they are **mapped**. The system fetches a piece of the file when somebody asks for its
# numbers. So the weights are in memory once, and never as a file's copy beside a model's.
#
# ## The contract
#
# D is the width of the encoder, N the number of its patches, P their side in pixels.
#
# - `from_huggingface(tensors)`: a dict of tensors by Hugging Face's names -> the same by `VisionTransformer`'s
# - `image_descriptor(encoder, images)`: [B, 3, H, W] -> float32 [B, D], each of length 1, without a graph
#
# | `VisionTransformer` | Hugging Face | shape |
# | --- | --- | --- |
# | `patch_embed.proj.` | `embeddings.patch_embeddings.projection.` | weight [D, 3, P, P], bias [D] |
# | `pos_embed` | `embeddings.position_embeddings` | [1, N, D] |
# | `blocks.7.norm1.` | `encoder.layer.7.layernorm_before.` | [D] |
# | `blocks.7.attn.qkv.` | `encoder.layer.7.attention.attention.query.`, `.key.`, `.value.` | three times [D, D], [D] |
# | `blocks.7.attn.proj.` | `encoder.layer.7.attention.output.dense.` | [D, D], [D] |
# | `blocks.7.norm2.` | `encoder.layer.7.layernorm_after.` | [D] |
# | `blocks.7.mlp.fc1.` | `encoder.layer.7.intermediate.dense.` | [4D, D], [4D] |
# | `blocks.7.mlp.fc2.` | `encoder.layer.7.output.dense.` | [D, 4D], [D] |
# | `norm.` | `layernorm.` | [D] |
#
# A name that ends in a dot stands for two: one with `weight`, one with `bias`.
#
# **Predict:** the file of the published encoder has 32 blocks and 517 tensors. How many tensors will your function
# give?

# %%
if __name__ == "__main__":
    check("tensors_of_ours", ...)

# %% [markdown]
# ## Exercise 8.1: from_huggingface
#
# **20 minutes, medium.** Most tensors only get another name. They are passed on as they are: no copy, no other dtype,
# since a copy of everything is 2.5 GB. One thing is more than a name: your `qkv` is one layer, and theirs are three.
#
# Mind the names that are a part of others: `output.dense` stands in two rows of the table, and `layernorm` in three.
#
# <details><summary>Hint 1</summary>
#
# Two ways lead there. Walk through the names that come and turn each into yours, or walk through yours, block by
# block, and fetch each. How many blocks there are, the names tell.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In Lesson 2 the first D rows of `qkv.weight` made the queries, the next D the keys, the last D the values. A layer's
# rows are axis 0 of its weight, and its bias has a number for each row.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `torch.cat([query, key, value])` joins along axis 0. With `str.replace`, replace `attention.output.dense` before
# `output.dense`, and `layernorm_before` before `layernorm`.
#
# </details>


# %% exercise="from_huggingface"
def from_huggingface(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's tensors by their names in Hugging Face's files -> the same by VisionTransformer's.

    Query, key and value of a block become one tensor, in this order along the first axis. All other tensors
    are passed on as they are: not copied, in their own dtype. The dict that is given stays as it was.

    Example: "encoder.layer.7.layernorm_before.bias" becomes "blocks.7.norm1.bias".
    """
    ### BEGIN SOLUTION
    ours = {
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.position_embeddings": "pos_embed",
        "encoder.layer": "blocks",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "layernorm": "norm",
        "attention.attention.query": "attn.qkv",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    state = {}
    for name, tensor in tensors.items():
        if ".key." in name or ".value." in name:
            continue  # they come with their query
        if ".query." in name:
            tensor = torch.cat([tensors[name.replace("query", third)] for third in ("query", "key", "value")])
        for theirs, own in ours.items():
            name = name.replace(theirs, own)
        state[name] = tensor
    return state
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("from_huggingface")

# %% [markdown]
# ## Both forms
#
# `load_huggingface` hands the tensors to your function, and puts what comes back into your classes. The sizes are read
# off the tensors: `patch_embed.proj.weight` shows D and P, `pos_embed` the grid. Only the number of heads leaves no
# trace in any shape: it stands in `config.json`.
#
# The authors' archive holds the student (`encoder`), the teacher (`target_encoder`), the predictor and what the
# optimizer remembered: 10.4 GB. Its names are yours already, after `module.`, which training on several GPUs has put
# before each.


# %%
def load_huggingface(
    path: str | Path, num_heads: int | None = None, dtype: torch.dtype = torch.float32
) -> VisionTransformer:
    """The encoder in a folder of Hugging Face's, with model.safetensors and config.json.

    num_heads: if no config.json says it. Raises WeightsError, a sentence, for what can't be loaded.
    """
    weights = renamed(read_huggingface(path), from_huggingface)
    return assemble(VisionTransformer, MLP, weights, num_heads, dtype)


def load_official(
    path: str | Path, network: str = "encoder", num_heads: int | None = None, dtype: torch.dtype = torch.float32
) -> VisionTransformer:
    """An encoder of the authors' archive: network is "encoder", the student, or "target_encoder", its teacher.

    num_heads: if it is as wide as none that was published. Raises WeightsError, a sentence, for what can't be loaded.
    """
    return assemble(VisionTransformer, MLP, read_official(path, network), num_heads, dtype)


# %%
if __name__ == "__main__":
    load = load_huggingface if Path(path).is_dir() else load_official
    encoder = load(path)

    dim, _, patch_size, _ = encoder.patch_embed.proj.weight.shape
    grid_size = round(encoder.pos_embed.shape[1] ** 0.5)
    image_size = grid_size * patch_size
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    print(f"{weights:,} weights, {len(encoder.blocks)} blocks of width {dim}")
    print(f"images of {image_size} px, in {grid_size} x {grid_size} patches of {patch_size} px")

# %% [markdown]
# ## Experiment: a mistake that fits
#
# Swap the queries and the keys in every block. All names are right, all shapes are right, nothing complains. A score is
# the scalar product of a query and a key. **Predict:** are the tokens the `"same"` as before, the same in another order
# (`"shuffled"`), or `"other"` ones?

# %%
if __name__ == "__main__":
    check("swapped_queries", ...)

# %%
if __name__ == "__main__":
    photos = load_images("whole photos", image_size).batch([2, 3, 4, 5])
    swapped = load(path)
    with torch.no_grad():
        for block in swapped.blocks:
            layer = block.attn.qkv
            for tensor in (layer.weight, layer.bias):
                query, key, value = tensor.detach().clone().chunk(3)
                tensor.copy_(torch.cat([key, query, value]))
        right, wrong = encoder(photos), swapped(photos)
    print(f"A token is {right.norm(dim=-1).mean():.1f} long, and moves by {(right - wrong).norm(dim=-1).mean():.2f}.")
    del swapped

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A token is sqrt(D) long, more or less: compare how far it moves. Each patch is now asked what it should have answered.
# So never trust that weights loaded without an error. Compare an output with one that is known: this course's tests do
# it with Hugging Face's own classes.
#
# </details>

# %% [markdown]
# **Predict:** a sum in bfloat16 starts at 0, and 1 is added to it a thousand times, one by one. What is it then?

# %%
if __name__ == "__main__":
    check("sum_in_bfloat16", ...)

# %% [markdown]
# ## Exercise 8.2: image_descriptor
#
# **10 minutes, easy.** An encoder gives N tokens. To compare images, one vector for each is handier. I-JEPA has no
# class token that would be one; the paper takes the average of the tokens, and so do you.
#
# Bring each vector to length 1: then a scalar product of two of them is their cosine, from -1 to 1.
#
# Large weights are often kept in bfloat16, in half the memory. The encoder then wants its images in bfloat16 as well.
# But an average of 256 numbers of three digits is not to be taken with three digits: go on in float32.
#
# <details><summary>Hint 1</summary>
#
# Four steps: images in, tokens to float32, average, length 1. Over which of the three axes of [B, N, D] is averaged?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `next(encoder.parameters()).dtype` is what the images must be. `F.normalize(vectors, dim=-1)` divides each vector by
# its length.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Under `with torch.no_grad():`, `tokens = encoder(images.to(dtype)).float()`. Then
# `F.normalize(tokens.mean(dim=1), dim=-1)`.
#
# </details>


# %% exercise="image_descriptor"
def image_descriptor(encoder: nn.Module, images: Tensor) -> Tensor:
    """One vector for each image: the average of the encoder's tokens, divided by its length.

    encoder gives tokens [B, N, D] for images of its own dtype; images [B, 3, H, W], float32
    -> float32 [B, D], averaged in float32 whatever the dtype of the encoder, without a graph.

    Example: for an encoder of dim 1280 and 4 images -> [4, 1280]; descriptors @ descriptors.T holds the
    cosines of all pairs, with 1 on the diagonal.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        tokens = encoder(images.to(next(encoder.parameters()).dtype)).float()
    return F.normalize(tokens.mean(dim=1), dim=-1)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("image_descriptor")

# %% [markdown]
# ## Experiment: neighbours
#
# For each of four photographs: the two most similar ones among 24 crops, by your descriptor. **Predict:** what will
# they share with it, the thing or its colours? And what will an untrained encoder go by?

# %%
if __name__ == "__main__":
    crops = load_images("photos", image_size).batch(range(24))
    small = VisionTransformer(image_size, patch_size, dim=96, depth=4, num_heads=3).eval()  # untrained
    columns = {}
    for name, model in {"this encoder": encoder, "untrained": small}.items():
        similarities = image_descriptor(model, photos) @ image_descriptor(model, crops).T
        first, second = similarities.topk(2, dim=1).indices.T
        columns |= {f"{name}: nearest": to_display(crops[first]), f"{name}: 2.": to_display(crops[second])}
    figures.models(to_display(photos), columns, "The nearest crops of each photograph")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The course's encoder finds the same scene for all four. The untrained one finds some of them too: crops of one
# photograph share their colours, and random weights keep these. So a good neighbour is evidence only where the
# untrained encoder has none.
#
# </details>
#
# **Try:** set `FILE`, run all cells again, and compare.
#
# ## Experiment: what does it tell apart?
#
# The instruments of Lesson 7: the patches' features as colours, and how similar each patch is to one of them.
#
# **Predict:** in which encoder does a colour belong to a thing, and in which to what is bright and what is dark? In
# which does the map light up on the whole thing, and on nothing else?

# %%
if __name__ == "__main__":
    from solutions.diagnostics import pca_image

    patch = (0.6, 0.5)  # how far down, how far to the right
    paintings, maps = {}, {}
    for name, model in {"this encoder": encoder, "untrained": small}.items():
        with torch.no_grad():
            tokens = model(photos)
        paintings[name] = figures.paint_components(pca_image(tokens, grid_size))
        asked = tokens[0, int(patch[0] * grid_size) * grid_size + int(patch[1] * grid_size)]
        maps[name] = F.cosine_similarity(tokens, asked, dim=-1).unflatten(1, (grid_size, grid_size))
    figures.models(to_display(photos), paintings, "Patches with similar features have similar colours")

# %%
if __name__ == "__main__":
    figures.models(to_display(photos), maps, "How similar is each patch to the outlined one?", patch)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Random weights keep what pixels show, light, dark and hue, so that the untrained encoder may well draw the crisper
# map, of the flower for instance. The tokens of the course's small encoder also hold where a patch lies and what is
# around it: that is what it was asked for. Look where a thing and its background share a colour: there it shows.
#
# </details>
#
# **Try** other numbers for `patch`.
#
# ## Stretch: resize_positions
#
# *Optional, 20 minutes.* An encoder of 8 x 8 patches gets an image of twice the width and height: 16 x 16 patches, and
# a table with 64 positions. Fine-tuning at a higher resolution begins like this: the table is a small picture of D
# channels, and is made larger like one. Attention pays for it: four times as many tokens, sixteen times as many pairs.


# %% stretch="resize_positions"
def resize_positions(table: Tensor, new_grid: int) -> Tensor:
    """A table of positions for another number of patches a side: [1, G * G, D] -> [1, new_grid * new_grid, D].

    The grid of the D features, row by row, is interpolated as F.interpolate does with mode="bicubic" and nothing else
    set. Rows come out row by row again.
    """
    ### BEGIN SOLUTION
    grid = round(table.shape[1] ** 0.5)
    picture = table.transpose(1, 2).unflatten(2, (grid, grid))  # [1, D, G, G]
    return F.interpolate(picture, size=(new_grid, new_grid), mode="bicubic").flatten(2).transpose(1, 2)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("resize_positions")

# %% [markdown]
# **Predict:** two tables for twice as many patches a side: yours, and lesson 1's sin-cos table of the larger grid. With
# which does a photograph's descriptor stay nearer to that of its smaller copy?

# %%
if __name__ == "__main__":
    from solutions.patch_embedding import sincos_position_embedding

    fine = 2 * grid_size
    tables = {
        "resized": resize_positions(encoder.pos_embed, fine),
        "sin-cos": sincos_position_embedding(fine, dim)[None],
    }
    large = load_images("whole photos", 2 * image_size).batch([2, 3, 4, 5])
    finer, before = load(path), image_descriptor(encoder, photos)
    paintings = {"small image": paintings["this encoder"]}
    for name, table in tables.items():
        finer.pos_embed.data = table.data
        with torch.no_grad():
            tokens = finer(large)
        paintings[name] = figures.paint_components(pca_image(tokens, fine))
        print(f"{name}: cosine {F.cosine_similarity(tokens.mean(dim=1), before).mean():.2f}")
    figures.models(to_display(large), paintings, "Four times as many patches, by two tables of positions")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# With the course's encoder: .97 with yours, in which each place means what it meant. The sin-cos table counts on, so
# that three of four patches stand where the encoder has never seen one: .83. The pictures hardly show it: measure.
#
# </details>
#
# ## What people get wrong here
#
# - **Query, key and value in another order.** Everything fits, and other tokens come. You measured how far they move.
# - **A guessed number of heads.** It leaves no trace in the shapes, and another one gives other features without an
#   error.
# - **A class token is expected.** There is none: patch n is token n, and `tokens[:, 0]` is the top left corner.
# - **Another norm.** eps 1e-6 and exact GELU, as in Lesson 2: torch's own defaults give features that are a little off.
# - **Images that were normalised otherwise**, or not at all. The published encoder expects ImageNet's mean and
#   deviation, which `load_images` uses.
# - **`torch.load` of a stranger's file without `weights_only=True`.** A pickle may run any code while it is read.
# - **The licence is not read.** These weights may not be used commercially (CC BY-NC 4.0).

# %% [markdown] question="heads" points=2
# ## Question: what the shapes don't say
#
# A friend loads a published encoder with `num_heads=8` in place of 16. Why does nothing complain? What do the two
# models have in common, what does another number change in the attention, and how would you find the mistake? Four or
# five sentences.
#
# ### BEGIN SOLUTION
# `qkv` is a layer from D to 3D whatever the number of heads: the heads only cut its output into pieces, so that names
# and shapes are the same. Patch embedding, positions, norms and MLPs compute the same in both. With 8 heads each has
# 160 numbers in place of 80: two heads' scores are added before the softmax, and they are divided by the root of 160.
# So other weights come out, and from the first block on other tokens. To find it: compare the output for one image
# with one that is known (or read the number in `config.json`); a kNN accuracy or a similarity map that is much worse
# than it should be is a hint.
#
# Rubric: 1 point for why the shapes fit (heads are a reshape, no weights of their own). Half a point for what changes
# (the grouping of features into scores, the scaling). Half a point for a test against a known output.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [Assran et al. 2023](https://arxiv.org/abs/2301.08243), "Image Classification": what the published encoders do with
# few labels, beside others.
#
# ## Next
#
# `python -m solutions.pretrained FILE --images FOLDER` makes these pictures of your own images, and
# `python -m solutions.train --init FILE` trains on from weights whose sizes fit. You have built all of it.
