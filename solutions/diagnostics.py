# %% [markdown]
# # Lesson 7: diagnostics
#
# ## What you will build and why
#
# Did it learn, or did its loss fall? In I-JEPA these are two questions, because the teacher makes its own targets. This
# lesson gives you the instruments that tell them apart: six short functions.
#
# You will train three models, each for about a minute. All three losses fall, but only one of the models ends with
# features that tell photographs apart clearly better than before. At the end you can tell which.
#
# The trainings are made of your pieces from lessons 1 to 6; the last exercise uses `patchify` and `unpatchify`. Plan
# **two hours**.

# %%
import torch
import torch.nn.functional as F
from torch import Tensor

from checks import check
from solutions.patch_embedding import patchify, unpatchify

# %% [markdown]
# ## Three trainings
#
# Start the next cell now; it takes two to four minutes. A, B and C have the same size, the same first weights and 200
# steps. What differs is told below the curves: look at these first.

# %%
if __name__ == "__main__":
    from copy import deepcopy

    from tqdm.auto import trange

    from data import load_images, load_model, to_display
    from lessons import figures
    from solutions.masking import Masks, sample_masks
    from solutions.predictor import Predictor, jepa_loss
    from solutions.teacher import teacher_targets, update_teacher
    from solutions.training import IJEPA, learning_rate_at, parameter_groups
    from solutions.vision_transformer import VisionTransformer

    SEED, SIZE, PATCH, GRID = 0, 96, 12, 8

    def apart_loss(tokens: Tensor) -> Tensor:
        """Small if the mean tokens of the images differ, in every feature on its own: tokens [B, K, D] -> scalar."""
        covariance = torch.cov(tokens.mean(dim=1).T)
        spread = (covariance.diag() + 1e-4).sqrt()
        shared = covariance - covariance.diag().diag()
        return F.relu(1 - spread).mean() + 0.04 * shared.square().sum() / len(spread)

    def train(name: str, images, momentum: float, apart: float, steps: int = 200) -> tuple[list[float], list[IJEPA]]:
        """Train a new IJEPA on photographs, or on white noise if images is None.

        -> (its losses, each the mean of 10 steps; the model itself every 10 steps, from untrained to trained).
        """
        torch.manual_seed(SEED)
        student = VisionTransformer(SIZE, PATCH, dim=64, depth=3, num_heads=2)
        model = IJEPA(student, Predictor(GRID, 64, 32, depth=2, num_heads=2))
        optimizer = torch.optim.AdamW(parameter_groups(model))
        losses, models = [], []
        for step in trange(steps, desc=name):
            if step % 10 == 0:
                models.append(deepcopy(model))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, warmup_steps=steps // 10, peak=2e-3)
            generator = torch.Generator().manual_seed(1000 * SEED + step)
            if images is None:
                batch = torch.randn(32, 3, SIZE, SIZE, generator=generator)
            else:
                batch = images.batch(images.indices_at(step, 32))
            masks = sample_masks(32, GRID, generator)
            # train_step of lesson 6, with one more term
            truth = teacher_targets(model.teacher, batch, masks.targets)
            tokens = model.student(batch, keep=masks.context)
            loss = jepa_loss(model.predictor(tokens, masks.context, masks.targets), truth)
            optimizer.zero_grad()
            (loss + apart * apart_loss(tokens)).backward()
            optimizer.step()
            update_teacher(model.teacher, model.student, momentum)
            losses.append(loss.item())
        return torch.tensor(losses).reshape(-1, 10).mean(dim=1).tolist(), [*models, model]

    photos = load_images("photos", SIZE, seed=SEED)
    losses, history = {}, {}
    losses["A"], history["A"] = train("A", photos, momentum=0.99, apart=1.0)
    losses["B"], history["B"] = train("B", photos, momentum=0.0, apart=0.0)
    losses["C"], history["C"] = train("C", None, momentum=0.99, apart=0.0)
    figures.curves(losses, "Three losses that fall", "training loss", "tens of steps")

# %% [markdown]
# **Predict:** by these curves, which of the three would you publish? Write it down before you go on.
#
# This is how they were trained:
#
# - **A** learns from photographs, with a slow teacher (momentum .99). A minute is short, so it gets help: `apart_loss`,
#   the variance and covariance terms of [VICReg](https://arxiv.org/abs/2105.04906). It asks that the mean tokens differ
#   from image to image in every feature, and that no two features say the same.
# - **B** learns from photographs, but its teacher is the student itself (momentum 0), and nothing keeps images apart.
# - **C** has a slow teacher, but its images are **white noise**: nothing can be predicted from anything.
#
# `history` keeps each model as it was every 10 steps, for your instruments.

# %% [markdown]
# ## The contract
#
# - `feature_std`: [B, N, D] -> a float, 0 when every image gets the same representation
# - `effective_rank`: [..., D] -> a float from 1 to D
# - `loss_baselines`: predictions [B, M, Nt, D], all teacher tokens [B, N, D], targets [B, M, Nt] -> four floats
# - `knn_accuracy`: bank [K, D] and queries [Q, D] with their labels -> a float from 0 to 1
# - `pca_image`: [B, N, D] -> colours [B, G, G, 3] in 0..1
# - `imagine`: predictions [B, M, Nt, D] and a bank of other images -> images [B, 3, H, W] with their holes filled

# %% [markdown]
# ## Exercise 7.1: feature_std
#
# **5 minutes, easy.** If all images get the same representation, nothing about an image can be read from it. So
# ask of each position and each feature: how much does it differ *between images*?
#
# The spread over positions is no evidence. A model that ignores its image still adds a position embedding, and so
# gives every position a token of its own.
#
# <details><summary>Hint 1</summary>
#
# Which of the three axes counts the images? Only this one may be used up by the standard deviation.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `Tensor.std(dim=...)` leaves a table [N, D]. Average over it last: a pooled image would hide differences that cancel.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `.std(dim=0)`, then `.mean()`, then `.item()` to get a float.
#
# </details>


# %% exercise="feature_std"
def feature_std(features: Tensor) -> float:
    """How much the features of one place differ between images: features [B, N, D] -> the standard
    deviation over B (as torch.std gives it), averaged over N and D.

    0 when every image gets the same representation (collapse). The spread over positions does not
    count: a position embedding alone gives it.
    """
    ### BEGIN SOLUTION
    return features.float().std(dim=0).mean().item()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("feature_std")

# %% [markdown]
# **Predict:** every 10 steps each teacher looks at 64 crops of the held-out sides of the nine photographs. Whose spread
# between images grows while it trains, and whose shrinks?

# %%
if __name__ == "__main__":

    def look(model: IJEPA, images: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """-> the predictions [B, M, Nt, D] and all tokens of the teacher [B, N, D]."""
        with torch.no_grad():
            return model.predictor(model.student(images, masks.context), *masks), model.teacher(images)

    other_photos = load_images("photos", SIZE, split="val")
    held_out, masks = other_photos.batch(range(64)), sample_masks(64, GRID, torch.Generator().manual_seed(0))
    looks = {name: [look(model, held_out, masks) for model in models] for name, models in history.items()}
    spread = {name: [feature_std(tokens) for _, tokens in seen] for name, seen in looks.items()}
    figures.curves(spread, "Spread between images", "feature_std", "tens of steps")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# C, the one with the lowest loss, is found out: for its teacher, photographs become more and more alike. A and B look
# healthy: their spread has grown.
#
# </details>

# %% [markdown]
# ## Exercise 7.2: effective_rank
#
# **15 minutes, medium.** Features may differ and yet all lie on one line: 64 numbers a token that say one thing. The
# singular values of the table of all tokens tell how many directions are in use. If they are alike, all are; if one of
# them towers above the rest, one is.
#
# RankMe makes one number of it. Divide the singular values by their sum, so that they look like probabilities p, and
# take exp of their entropy: `exp(-sum(p * log(p)))`. For r equal values this is r.
#
# <details><summary>Hint 1</summary>
#
# First make one table: every axis but the last is flattened into rows. Then `torch.linalg` has what you need.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.linalg.svdvals(rows)` gives the singular values themselves: don't square them, don't centre the rows.
# 0 * log(0) is NaN: the paper adds 1e-7 to p.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `p = singular / singular.sum() + 1e-7`. With many rows it is faster to take the roots of the eigenvalues of the
# D x D table `rows.T @ rows`, in float64, with negative ones (rounding) set to 0.
#
# </details>


# %% exercise="effective_rank"
def effective_rank(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023, eq. 1): exp of the entropy of the singular values of the features,
    each divided by their sum; features [..., D], taken as rows of length D, not centred.

    From 1 (all features on one line through 0) to D (all directions alike). A singular value of 0
    adds nothing.
    """
    ### BEGIN SOLUTION
    rows = features.flatten(0, -2).double()
    # the D x D second moments have the squared singular values as eigenvalues, and stay small when the rows are many
    singular = torch.linalg.eigvalsh(rows.T @ rows).clamp(min=0).sqrt()
    p = singular / singular.sum() + 1e-7
    return torch.exp(-(p * p.log()).sum()).item()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("effective_rank")

# %% [markdown]
# **Predict:** a "model" answers each of 4,096 patches with 64 fresh random numbers, whatever it sees. What is the
# effective rank of its features, about? And in the picture below: who keeps its directions, A, B or C?

# %%
if __name__ == "__main__":
    check("rank_of_noise", ...)

# %%
if __name__ == "__main__":
    ranks = {name: [effective_rank(tokens) for _, tokens in seen] for name, seen in looks.items()}
    figures.curves(ranks, "Directions in use, of 64", "effective rank", "tens of steps", bottom=0)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# All start from the same random weights. Only A keeps its directions. C loses most of them slowly. B has lost half
# within forty steps: its images differ, but always in the same few ways.
#
# </details>

# %% [markdown]
# ## Exercise 7.3: loss_baselines
#
# **20 minutes, medium.** A loss of .05 is good if nothing cheap reaches it. So give the same targets to three cheap
# answers: the best single vector for everything, the best vector for each position, and the predictions, held against
# the wrong image. The first two never look at an image. The third shows whether the predictions depend on theirs.
#
# The best vector under a squared error is a mean. Take it over the targets that are scored, and no others.
#
# <details><summary>Hint 1</summary>
#
# First get the targets' tokens [B, M, Nt, D]: `teacher_tokens[rows, targets]`, where rows holds the number of each
# image and broadcasts against targets.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For per_position every target needs the mean of all targets with its position, in any image and block. A position that
# is a target twice counts twice. A loop over the N positions with `truth[targets == position]` will do.
#
# </details>
# <details><summary>Hint 3</summary>
#
# For wrong_image shift the images by one, `teacher_tokens.roll(1, dims=0)`, and take the *same* targets from them.
#
# </details>


# %% exercise="loss_baselines"
def loss_baselines(predictions: Tensor, teacher_tokens: Tensor, targets: Tensor) -> dict[str, float]:
    """The squared error of the predictions beside that of answers which need no look at the image.

    predictions [B, M, Nt, D], teacher_tokens [B, N, D] (all patches, normalised as the targets
    are), targets [B, M, Nt]. -> loss: of the predictions; constant: of the one vector that is best
    for all targets; per_position: of the best vector for each position; wrong_image: of the
    predictions against the same positions of another image of the batch. All are means over all
    elements. Both best answers are chosen in hindsight on these very targets, so they are hard to
    beat: a loss above per_position shows no understanding of the image.
    """
    ### BEGIN SOLUTION
    predictions, tokens = predictions.float(), teacher_tokens.float()
    batch, num_patches, dim = tokens.shape
    rows = torch.arange(batch, device=targets.device)[:, None, None]
    truth, other = tokens[rows, targets], tokens.roll(1, dims=0)[rows, targets]

    flat, places = truth.reshape(-1, dim), targets.reshape(-1)
    sums = torch.zeros(num_patches, dim, device=flat.device).index_add_(0, places, flat)
    means = sums / torch.bincount(places, minlength=num_patches).clamp(min=1)[:, None]
    return {
        "loss": (predictions - truth).square().mean().item(),
        "constant": (flat - flat.mean(dim=0)).square().mean().item(),
        "per_position": (flat - means[places]).square().mean().item(),
        "wrong_image": (predictions - other).square().mean().item(),
    }
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("loss_baselines")

# %% [markdown]
# **Predict:** whose predictions beat all three cheap answers?

# %%
if __name__ == "__main__":
    answers = {}
    for name, seen in looks.items():
        rows = [loss_baselines(predictions, F.layer_norm(tokens, (64,)), masks.targets) for predictions, tokens in seen]
        answers[name] = {answer: [row[answer] for row in rows] for answer in rows[0]}
    figures.runs(answers, "squared error", "tens of steps")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# C does no better than one constant vector. A beats all three cheap answers. And so does B! Its predictor does good
# work, on targets that say little. No baseline of the loss shows this: you have to look at the features.
#
# </details>

# %% [markdown]
# ## Exercise 7.4: knn_accuracy
#
# **15 minutes, medium.** Spread and rank say that the features differ, not that they differ in what matters. Labels can
# say that, without training anything: does an image lie among images of its own class? Labels measure here; they
# never train.
#
# Similar means: pointing the same way. The cosine does not care how long the vectors are.
#
# <details><summary>Hint 1</summary>
#
# Vectors of length 1 have their cosine as scalar product: one matrix product compares all queries with the whole bank.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `topk(k, dim=1).indices` says which bank rows are most similar, [Q, k]; index bank_labels with it.
# `Tensor.mode(dim=1)` finds what occurs most.
#
# </details>
# <details><summary>Hint 3</summary>
#
# 10,000 queries and a bank of 50,000 make a table of 2 GB. Loop over `queries.split(1024)` and the labels split alike,
# add up the right answers, and divide once by the number of all queries.
#
# </details>


# %% exercise="knn_accuracy"
def knn_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, k: int = 20) -> float:
    """How many queries a vote of their k nearest neighbours gets right: a share, from 0 to 1.

    bank [K, D] with bank_labels [K], K >= k; queries [Q, D] with query_labels [Q]. Near means a large
    cosine similarity. Each query gets the label that most of its k nearest bank rows have; every
    neighbour counts alike, and a tie may go either way.
    """
    ### BEGIN SOLUTION
    bank = F.normalize(bank.float(), dim=1)
    right = 0
    for chunk, labels in zip(queries.split(1024), query_labels.split(1024), strict=True):
        nearest = (F.normalize(chunk.float(), dim=1) @ bank.T).topk(k, dim=1).indices
        right += (bank_labels[nearest].mode(dim=1).values == labels).sum().item()
    return right / len(queries)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("knn_accuracy")

# %% [markdown]
# **Predict:** by mistake somebody asks with the bank's own crops, and k = 1. What share does an *untrained* network get
# right? Then, for crops from the other sides of the nine photographs: in which order will A, B, C, the untrained
# network and raw pixels come?

# %%
if __name__ == "__main__":
    check("self_neighbours", ...)

# %%
if __name__ == "__main__":
    bank, queries = photos.batch(range(900)), other_photos.batch(range(900))
    encoders = {"raw pixels": lambda images: images.flatten(1)}
    for name, model in {"untrained": history["A"][0], **{name: models[-1] for name, models in history.items()}}.items():
        encoders[name] = lambda images, teacher=model.teacher: teacher(images).mean(dim=1)

    scores = {}
    for name, encode in encoders.items():
        with torch.no_grad():
            features = encode(bank), photos.labels[:900], encode(queries), other_photos.labels[:900]
        scores[name] = knn_accuracy(*features)
        if name == "untrained":
            print(f"{name}, asked with its own bank: {knn_accuracy(*features[:2], *features[:2], k=1):.0%}")
    for name, score in scores.items():
        print(f"{name:>10}: {score:4.0%} of the held-out crops are given to their own photograph")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# There are nine photographs: guessing gives 11 %. But the number to beat is that of the **untrained** network, whose
# random weights keep colours and edges apart. A is well above it, C is not above it, and where B stands is up to
# chance: over five seeds it went from seven points below to eight above.
#
# </details>
#
# So one run says little about B. With 900 queries, chance alone moves such a number by one or two points, and the first
# weights and the order of the images move it further. **Try** another `SEED` in the cell that trains, and run the
# lesson again: which order of A, B, C and the untrained network stays, and which does not?
#
# **Try** the plain I-JEPA of lesson 6, without `apart_loss`, in a new cell. The paper trains it for days, on a million
# images. How far does it get in a minute?
#
#     losses["D"], history["D"] = train("D", photos, momentum=0.99, apart=0.0)
#
# Then run again the cell below each check from 7.1 to 7.4. They show D too, and so will the verdict at the end.

# %% [markdown]
# ## Exercise 7.5: pca_image
#
# **15 minutes, medium.** Three numbers a patch can be painted as red, green and blue. PCA picks the three directions in
# which the tokens vary most. Take one PCA for all images together: then the same colour means the same thing in each.
#
# <details><summary>Hint 1</summary>
#
# Flatten to one table [B\*N, D] and subtract its mean row: without that, the first direction points at the mean.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The directions are the eigenvectors of `centred.T @ centred`. `torch.linalg.eigh` gives them as columns, smallest
# first: you need the last three, in reverse. Multiply the centred tokens by them.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Scale each of the three columns by its own smallest and largest value: `(scores - low) / (high - low)`. In collapsed
# features high - low is 0: clamp it. Last, reshape to [B, rows, columns, 3].
#
# </details>


# %% exercise="pca_image"
def pca_image(tokens: Tensor, grid_size: int | tuple[int, int]) -> Tensor:
    """Tokens as colours: tokens [B, N, D], D >= 3 -> float [B, G, G, 3] in 0..1.

    Red, green and blue are the first, second and third principal component of all B*N tokens
    together, so that a colour means the same in every image. Each is scaled so that 0 is its smallest
    and 1 its largest value over all of them; its sign is free. Tokens that are all alike have one
    colour, within 0..1, and no NaN.
    grid_size is G, or (rows, columns) for [B, rows, columns, 3].
    """
    ### BEGIN SOLUTION
    rows, columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    centred = tokens.double() - tokens.double().mean(dim=(0, 1))
    flat = centred.flatten(0, 1)
    directions = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -3:].flip(1)  # eigh's order is ascending
    scores = flat @ directions
    low, high = scores.aminmax(dim=0)
    rounding = 1e-5 * tokens.abs().max() + 1e-12  # differences as small as this are no features
    return ((scores - low) / (high - low).clamp(min=rounding)).float().reshape(len(tokens), rows, columns, 3)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("pca_image")

# %% [markdown]
# **Predict:** before the PCA, all tokens are multiplied by .01, so that patches are a hundred times more alike. Does
# the picture get `"paler"`, `"darker"`, or does it stay the `"same"`?

# %%
if __name__ == "__main__":
    check("faded_tokens", ...)

# %%
if __name__ == "__main__":
    shown = held_out[[0, 3, 5, 12]]
    with torch.no_grad():
        before, after = history["A"][0].teacher(shown), history["A"][-1].teacher(shown)
    figures.pca(to_display(shown), pca_image(before, GRID), pca_image(after, GRID))

# %% [markdown]
# The figure paints your first component as light, the second as blue to yellow, the third as green to pink: then eyes
# that don't tell red from green see most of it. In a column, equal colours mean similar tokens, in all four images.
# Signs are free, so light may mean dark: the white sky may be the darkest of all.
#
# **Try** `history["C"]`: each component is stretched to 0..1, so PCA enlarges the little that is left. A nice picture
# is no proof.

# %% [markdown]
# ## Exercise 7.6: imagine
#
# **20 minutes, hard.** A prediction is a token, not a picture, and I-JEPA has no decoder. But a bank of other images
# has many tokens whose picture is known. Look for the bank token nearest to the prediction and paste its patch into the
# hole: that is what the predictor had in mind, as far as the bank can show it.
#
# <details><summary>Hint 1</summary>
#
# patchify turns both images and bank_images into patches. Flatten bank tokens and bank patches in the same way, to
# [K\*N, D] and [K\*N, 3\*P\*P]: then one number names a token and its patch.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.cdist(a, b)` is the table of distances between rows of a and rows of b, `argmin(dim=1)` the nearest of each.
# Which token is nearest does not change if you leave the square out.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `patches[rows, targets]` with rows [B, 1, 1] names the patches to replace; assign to it on a clone. unpatchify puts
# the image together; its grid is (H // P, W // P).
#
# </details>


# %% exercise="imagine"
def imagine(
    predictions: Tensor, targets: Tensor, images: Tensor, bank_tokens: Tensor, bank_images: Tensor, patch_size: int
) -> Tensor:
    """The images with each target patch replaced by what the predictor expects there.

    predictions [B, M, Nt, D] for the patches targets [B, M, Nt] of images [B, 3, H, W]; bank_tokens
    [K, N, D], normalised as the targets are, of all patches of bank_images [K, 3, H, W], which are
    other images. -> [B, 3, H, W]: a copy of images in which each target patch is replaced by the bank
    patch whose token is nearest (squared L2) to its prediction. Nothing else changes, nor do the
    inputs. Where blocks overlap, either may count.
    """
    ### BEGIN SOLUTION
    patches, bank_patches = patchify(images, patch_size).clone(), patchify(bank_images, patch_size).flatten(0, 1)
    bank = bank_tokens.flatten(0, 1).float()
    for image, places, guesses in zip(patches, targets, predictions.float(), strict=True):
        nearest = torch.cdist(guesses.flatten(0, 1), bank).argmin(dim=1)
        image[places.flatten()] = bank_patches[nearest]
    height, width = images.shape[2:]
    return unpatchify(patches, patch_size, (height // patch_size, width // patch_size))
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("imagine")

# %% [markdown]
# **Predict:** what will the best constant put into the holes, and what the untrained model?

# %%
if __name__ == "__main__":
    three = [20, 5, 3]
    images, places = held_out[three], masks.targets[three]
    crops = bank[:200]

    def fill(model: IJEPA, predictions: Tensor, images: Tensor, places: Tensor, crops: Tensor) -> Tensor:
        """The images with their holes filled from the crops, as the predictions of the model say."""
        with torch.no_grad():
            crop_tokens = F.layer_norm(model.teacher(crops), (64,))
        return to_display(imagine(predictions, places, images, crop_tokens, crops, PATCH))

    untrained, trained = history["A"][0], history["A"][-1]
    truth = teacher_targets(trained.teacher, held_out, masks.targets)
    constant = truth.mean(dim=(0, 1, 2)).expand_as(truth)
    versions = {
        "the truth": to_display(images),
        "A imagines": fill(trained, looks["A"][-1][0][three], images, places, crops),
        "best constant": fill(trained, constant[three], images, places, crops),
        "untrained": fill(untrained, looks["A"][0][0][three], images, places, crops),
    }
    figures.imagined(to_display(images), places, versions, GRID)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A puts fur into fur and green beside green, and it misses most of the front petals. The best constant is one patch
# everywhere. The untrained model answers mostly by place, whatever the image.
#
# </details>
#
# **Try** B and C, or `truth[three]` as the predictions: that is the best this bank can show. It has hardly any trees:
# in the last row even the truth has to borrow.
#
# ## Experiment: what an hour gives
#
# The small model that comes with the course has learned for an hour, from 20,000 images of CIFAR-10, 32 px wide. It has
# never seen one of these photographs. Its grid is 8 x 8 as well, so your instruments take it as it is. Its student was
# not kept: at the end of a run the teacher is nearly the same.
#
# **Predict:** its neighbours beside those of A and of the untrained network, and the flower: whose petals go on below?

# %%
if __name__ == "__main__":
    small = load_model()
    encoder, predictor = VisionTransformer(*small["encoder_sizes"]), Predictor(*small["predictor_sizes"])
    encoder.load_state_dict(small["encoder"])
    predictor.load_state_dict(small["predictor"])
    hour = IJEPA(encoder, predictor)

    # the same crops, at the size that it knows
    small_bank = load_images("photos", 32, seed=SEED).batch(range(900))
    small_queries = load_images("photos", 32, split="val").batch(range(900))
    predictions, tokens = look(hour, small_queries[:64], masks)
    with torch.no_grad():
        bank_tokens = hour.teacher(small_bank)
        features = bank_tokens.mean(dim=1), photos.labels[:900], hour.teacher(small_queries).mean(dim=1)
    scores["an hour"] = knn_accuracy(*features, other_photos.labels[:900])
    for name, score in scores.items():
        print(f"{name:>10}: {score:4.0%} of the held-out crops are given to their own photograph")
    print(loss_baselines(predictions, F.layer_norm(tokens, (192,)), masks.targets))

    filled = imagine(predictions[three], places, images, F.layer_norm(bank_tokens[:200], (192,)), crops, PATCH)
    shown = {name: versions[name] for name in ("the truth", "A imagines")} | {"an hour": to_display(filled)}
    figures.imagined(to_display(images), places, shown, GRID)

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# It beats the untrained network and, by far, raw pixels. Now compare it with A, which has trained on these very
# photographs. And look at the flower: which of the two knows that petals go on below?
#
# </details>
#
# ## Experiment: one patch, and what is like it
#
# Move the outline. The maps show how similar its token is to all tokens of four photographs. **Predict:** for a token
# on a petal, what lights up besides petals in A, in B and in C?

# %%
if __name__ == "__main__":

    def light_up(teacher, images: Tensor, row: int, column: int):
        patch = row * GRID + column
        with torch.no_grad():
            tokens = teacher(images)
        maps = torch.cosine_similarity(tokens, tokens[0, patch], dim=-1).reshape(-1, GRID, GRID)
        return figures.similarity(to_display(images), maps, patch)

    four = held_out[[5, 14, 3, 20]]
    teachers = {name: models[-1].teacher for name, models in history.items()}
    teachers["untrained"] = history["A"][0].teacher
    figures.sliders(
        lambda model, row, column: light_up(teachers[model], four, row, column),
        model=("A", list(teachers)),
        row=(6, range(GRID)),
        column=(2, range(GRID)),
    )

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# - B: the lake is taken for a petal, nearly, as before training (`untrained`). A tells them apart.
# - C: everything is alike. This is what collapse looks like.
#
# </details>
#
# ## Experiment: the neighbours of a patch
#
# For three patches: the training crops that hold the most similar one. **Predict:** what will be alike? The colour, an
# edge, the thing, or only the place in the image?

# %%
if __name__ == "__main__":
    teacher = teachers["A"]
    asked, spots = held_out[[5, 3, 20]], torch.tensor([50, 43, 36])
    with torch.no_grad():
        tokens, bank_tokens = teacher(asked)[range(3), spots], teacher(bank)
    similarities = torch.einsum("qd,knd->qkn", F.normalize(tokens, dim=-1), F.normalize(bank_tokens, dim=-1))
    best, patch = similarities.max(dim=-1)  # of each crop in the bank
    nearest = best.topk(4, dim=1).indices
    found = to_display(bank[nearest.flatten()]).unflatten(0, nearest.shape)
    figures.neighbours(to_display(asked), spots, found, patch.gather(1, nearest), GRID)

# %% [markdown]
# **Try** `teachers["untrained"]`: only what A finds and random weights don't has been learned.
#
# ## Experiment: the verdict
#
# All instruments on one page, for the held-out crops at the end. **Predict:** which column finds B out?

# %%
if __name__ == "__main__":
    print(f"{'loss':>16}  constant  per_position  wrong_image  spread  rank   kNN")
    for name, (seen, step) in {"untrained": ("A", 0), **{name: (name, -1) for name in history}}.items():
        row = {answer: values[step] for answer, values in answers[seen].items()}
        print(
            f"{name:>10}{row['loss']:6.2f}{row['constant']:10.2f}{row['per_position']:14.2f}{row['wrong_image']:13.2f}"
            f"{spread[seen][step]:8.2f}{ranks[seen][step]:6.1f}{scores[name]:6.0%}"
        )

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Of the three trained models the highest loss belongs to A, whose neighbours are the best. The spread and the best
# constant catch C. Only the rank catches B: its neighbours are too close to the untrained network's to say much. And
# A's held-out loss ends higher than it once was. This is no overfitting: the best constant's loss has risen with it.
# Its targets grew harder. A loss compares answers to one question; here each model asks its own.
#
# </details>
#
# **Try** A without a slow teacher, and noise with `apart_loss`. Guess the rank and the kNN first.
#
#     losses["E"], history["E"] = train("E", photos, momentum=0.0, apart=1.0)
#     losses["F"], history["F"] = train("F", None, momentum=0.99, apart=1.0)
#
# Then run again the cell below each check from 7.1 to 7.4, and the verdict. How much of A is due to its slow teacher,
# and how much to `apart_loss`? Compare E with A and with B, and try a second `SEED` before you answer.
#
# ## Stretch: linear_cka
#
# *Optional, 20 minutes.* Has training changed the features, or turned them a little? Two networks that say the same may
# say it in other axes, and with another number of features, so no cosine between their vectors helps. Linear CKA
# ([Kornblith et al. 2019](https://arxiv.org/abs/1905.00414), section 3) compares the two tables as wholes.


# %% stretch="linear_cka"
def linear_cka(a: Tensor, b: Tensor) -> float:
    """How alike two representations of the same K images are: [K, D1] and [K, D2] -> a float from 0 to 1.

    |b.T a|^2 / (|a.T a| |b.T b|), each feature centred over the images first; |.| is the root of the sum of squares of
    a matrix. So rotation and scale don't count. 0.0 if all rows of a, or all of b, are equal, as after a collapse.
    """
    ### BEGIN SOLUTION
    a, b = (features.double() - features.double().mean(dim=0) for features in (a, b))
    size = (a.T @ a).norm() * (b.T @ b).norm()
    return ((b.T @ a).norm() ** 2 / size).item() if size else 0.0
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("linear_cka")

# %% [markdown]
# **Predict:** the features of which model, A, B or C, are least like those of the untrained network? And of raw pixels?

# %%
if __name__ == "__main__":
    pooled = {"pixels": F.avg_pool2d(queries, 8).flatten(1)}
    for name, teacher in teachers.items():
        with torch.no_grad():
            pooled[name] = teacher(queries).mean(dim=1)
    turned = 5 * pooled["A"] @ torch.linalg.qr(torch.randn(64, 64)).Q
    print(f"A and A, turned and five times as large: {linear_cka(pooled['A'], turned):.2f}")
    for name, features in pooled.items():
        print(f"{name:>10}: " + "  ".join(f"{linear_cka(features, other):.2f} {of}" for of, other in pooled.items()))

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The untrained network's averages are mostly the pixels in other axes: above .9. A has moved farthest from both. C
# has nearly collapsed, and is still close to where it began: what is left of it varies in the same way, and CKA doesn't
# ask how much. So it says what has changed, not whether for the better.
#
# </details>
#
# ## What people get wrong here
#
# - **Only the loss is looked at.** C's falls furthest, on noise, and one constant vector does as well.
# - **Losses of two runs are compared.** Each teacher sets its own targets.
# - **The baselines are taken for enough.** B beats all three.
# - **A high rank is taken for enough.** `apart_loss` asks for it directly. With it, even noise ends well above B's
#   rank, but it doesn't beat the best constant, and its neighbours are about as good as the untrained network's.
# - **The spread over positions is counted.** A position embedding alone gives it.
# - **Guessing is the bar.** An untrained network stands far above it.
# - **The bank holds the very image**, or crops that overlap it. Then the answer is found, not imagined.
# - **One PCA for each image.** The same colour then means nothing across images.

# %% [markdown] question="verdict" points=3
# ## Question: three models, one to keep
#
# Three models of 384 features were trained on the same photographs. Untrained, they have rank 90 and a kNN accuracy of
# 44 %. Afterwards:
#
# - P: loss .04, best constant .04, another image (`wrong_image`) .04
# - Q: loss .35, best constant .80, another image 1.10, rank 9, kNN 41 %
# - R: loss .52, best constant .85, another image 1.20, rank 140, kNN 57 %
#
# Which one do you keep? What has happened to each of the others, and which number shows it? Name one more measurement
# that could change your mind about R, and the result that would. *(3 points, marked by hand)*
#
# ### BEGIN SOLUTION
# Keep R. P has collapsed: the best constant does as well as its predictions, and these fit another image as well as
# their own, so the targets are the same for all images, and a low loss says no more than that. Q predicts its targets
# from the context (.35 against .80 and 1.10), but they say little: 9 of 384 directions are in use, and neighbours are
# right less often than with random weights. R has the highest loss, but it beats its baselines, uses more directions
# than before training and finds better neighbours, by 13 points. What could change my mind: kNN with other seeds (if it
# scatters from 44 to 57 %, this was luck); kNN on raw pixels (if it is 57 % as well, colours are enough); the best
# vector per position (if it reaches .52, R knows places only); kNN on images of another source.
#
# Rubric: 1 point for R with a reason other than its loss. 1 point for P and Q, each with a number that shows it (P:
# constant or another image; Q: rank or kNN; "Q is fine, it beats its baselines" gives 0). 1 point for a further
# measurement together with the result that would change the verdict.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [The paper](https://arxiv.org/abs/2301.08243), section "Predictor Visualizations": a decoder is trained there to paint
# what `imagine` borrows from a bank. The effective rank is from [RankMe](https://arxiv.org/abs/2210.02885).
#
# ## Next
#
# Take the instruments with you: `python -m solutions.train` reports baselines, spread and rank for every run, and
# the neighbours where the images have classes. When a change of yours makes the loss fall, ask them first.
