# ruff: noqa: F811, F821, RUF100
"""Lesson 7: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong feature_std: over the positions | a position embedding alone gives it
# - std(dim=0)
# + std(dim=1)

# %% wrong feature_std: over the features | spread over the features of a token
# - std(dim=0)
# + std(dim=-1)

# %% wrong feature_std: over everything | over everything at once
# - .std(dim=0).mean()
# + .std()

# %% wrong feature_std: over images and positions | images and positions are put together
# - std(dim=0)
# + std(dim=(0, 1))

# %% wrong feature_std: of the pooled image | pooling hides differences that cancel
# - .std(dim=0)
# + .mean(dim=1).std(dim=0)

# %% wrong feature_std: of the tokens' means | the features are averaged before the std
# - .std(dim=0)
# + .mean(dim=2).std(dim=0)

# %% wrong feature_std: of the tokens' lengths | spread of the tokens' lengths
# - .std(dim=0)
# + .norm(dim=-1).std(dim=0)

# %% wrong feature_std: numpy's default | torch.std divides by B - 1
# - std(dim=0)
# + std(dim=0, correction=0)

# %% wrong feature_std: the variance | this is the variance
# - std(dim=0)
# + var(dim=0)

# %% wrong feature_std: the mean before the root | first the root, then the mean
# - std(dim=0).mean()
# + var(dim=0).mean().sqrt()


# %% wrong feature_std: absolute differences | the std squares them
def feature_std(features):
    return (features - features.mean(dim=0)).abs().mean().item()


# %% wrong feature_std: normalised first | that changes their spread
# - features.float()
# + F.layer_norm(features.float(), features.shape[-1:])

# %% wrong feature_std: an epsilon, as in VICReg | nothing is to be added to it
# - .std(dim=0)
# + .var(dim=0).add(1e-5).sqrt()

# %% wrong feature_std: a tensor | this is a tensor
# - .item()
# +

# %% wrong feature_std: one number a feature | its mean is the answer
# - .mean().item()
# + .mean(dim=0)


# %% right feature_std: by hand
def feature_std(features):
    batch = features.shape[0]
    centred = features - features.mean(dim=0, keepdim=True)
    return float((centred.pow(2).sum(0) / (batch - 1)).sqrt().mean())


# %% right feature_std: numpy, a loop over the positions
def feature_std(features):
    import numpy as np

    return np.mean([np.std(place, axis=0, ddof=1) for place in features.double().numpy().transpose(1, 0, 2)])


# %% wrong effective_rank: squared singular values | the singular values are squared
# - .clamp(min=0).sqrt()
# + .clamp(min=0)

# %% wrong effective_rank: centred | the rows are centred
# - rows = features.flatten(0, -2).double()
# + rows = features.flatten(0, -2).double()
# +     rows = rows - rows.mean(dim=0)


# %% wrong effective_rank: eigenvalues of the covariance | neither is asked for
def effective_rank(features):
    values = torch.linalg.eigvalsh(torch.cov(features.flatten(0, -2).double().T)).clamp(min=1e-12)
    p = values / values.sum()
    return torch.exp(-(p * p.log()).sum()).item()


# %% wrong effective_rank: p is not normalised | p is not normalised
# - singular / singular.sum() + 1e-7
# + singular + 1e-7

# %% wrong effective_rank: divided by the largest | divided by the largest singular value
# - singular.sum()
# + singular.max()

# %% wrong effective_rank: divided by the norm | the root of the sum of squares
# - singular.sum()
# + singular.norm()

# %% wrong effective_rank: a softmax | a softmax of the singular values
# - singular / singular.sum() + 1e-7
# + singular.softmax(dim=0)

# %% wrong effective_rank: no exp | this is the entropy itself
# - torch.exp(-(p * p.log()).sum()).item()
# + -(p * p.log()).sum().item()

# %% wrong effective_rank: the sign | the entropy has the wrong sign
# - torch.exp(-(p
# + torch.exp((p

# %% wrong effective_rank: base 2 | the logarithm is to base 2
# - p.log()
# + p.log2()

# %% wrong effective_rank: the entropy is averaged | the entropy is averaged
# - p.log()).sum()
# + p.log()).mean()

# %% wrong effective_rank: participation ratio | another measure
# - torch.exp(-(p * p.log()).sum()).item()
# + (1 / p.square().sum()).item()


# %% wrong effective_rank: matrix rank | a direction counts by its share
def effective_rank(features):
    return float(torch.linalg.matrix_rank(features.flatten(0, -2)))


# %% wrong effective_rank: a share of D | it goes up to D
# - .sum()).item()
# + .sum()).item() / features.shape[-1]

# %% wrong effective_rank: rows of length 1 | the rows are brought to length 1
# - features.flatten(0, -2).double()
# + F.normalize(features.flatten(0, -2).double(), dim=1)

# %% wrong effective_rank: pooled tokens | every token is a row
# - features.flatten(0, -2).double()
# + features.flatten(1, -2).mean(dim=1).double() if features.ndim > 2 else features.double()


# %% wrong effective_rank: the mean over images | take the rows of all images together
def effective_rank(features):
    def rank(rows):
        p = torch.linalg.svdvals(rows) / torch.linalg.svdvals(rows).sum() + 1e-7
        return torch.exp(-(p * p.log()).sum())

    if features.ndim == 2:
        return rank(features).item()
    return torch.stack([rank(image.flatten(0, -2)) for image in features]).mean().item()


# %% wrong effective_rank: an image is a row | a row is one token
# - features.flatten(0, -2)
# + features.flatten(1)

# %% wrong effective_rank: unflattened | flatten all axes but the last first
# - rows = features.flatten(0, -2).double()
# + rows = features.double()
# - torch.linalg.eigvalsh(rows.T @ rows).clamp(min=0).sqrt()
# + torch.linalg.svdvals(rows)

# %% wrong effective_rank: 0 * log(0) | 0 * log(0) gives NaN
# - + 1e-7
# +


# %% wrong effective_rank: 0 * log(0), by svdvals | 0 * log(0) gives NaN
def effective_rank(features):
    singular = torch.linalg.svdvals(features.flatten(0, -2))
    p = singular / singular.sum()
    return torch.exp(-(p * torch.log(p)).sum()).item()


# %% wrong effective_rank: roots of negative rounding errors | clamp eigenvalues at 0
# - .clamp(min=0).sqrt()
# + .sqrt()

# %% wrong effective_rank: eigenvalues in float32 | compute in float64, or use svdvals
# - .double()
# +

# %% wrong effective_rank: too much is added | add no more than 1e-7
# - 1e-7
# + 1e-4

# %% wrong effective_rank: a tensor | this is a tensor
# - .sum()).item()
# + .sum())


# %% right effective_rank: svdvals in float32, zeros left out
def effective_rank(features):
    singular = torch.linalg.svdvals(features.reshape(-1, features.shape[-1]))
    p = singular / singular.sum()
    p = p[p > 1e-6]
    return float(torch.exp(-torch.sum(p * torch.log(p))))


# %% right effective_rank: svdvals in float32, as in the paper
def effective_rank(features):
    singular = torch.linalg.svdvals(features.flatten(0, -2))
    p = singular / singular.sum() + 1e-7
    return torch.exp(-(p * p.log()).sum()).item()


# %% right effective_rank: eigenvalues in float64, entr
# - p = singular / singular.sum() + 1e-7
# -     return torch.exp(-(p * p.log()).sum()).item()
# + return torch.special.entr(singular / singular.sum()).sum().exp().item()


# %% right effective_rank: numpy, xlogy
def effective_rank(features):
    import numpy as np

    p = np.linalg.svd(features.double().flatten(end_dim=-2).numpy(), compute_uv=False)
    p = torch.from_numpy(p / p.sum())
    return torch.special.xlogy(p, p).sum().neg().exp().item()


# %% wrong loss_baselines: squares summed over D | the squares are summed over D
# - "loss": (predictions - truth).square().mean()
# + "loss": (predictions - truth).square().sum(dim=-1).mean()

# %% wrong loss_baselines: squares summed | the squares are summed: average
# - "loss": (predictions - truth).square().mean()
# + "loss": (predictions - truth).square().sum()

# %% wrong loss_baselines: the root | leave the root out
# - "loss": (predictions - truth).square().mean()
# + "loss": (predictions - truth).square().mean().sqrt()

# %% wrong loss_baselines: absolute differences | the difference is not squared
# - "loss": (predictions - truth).square()
# + "loss": (predictions - truth).abs()

# %% wrong loss_baselines: the first image's tokens | all targets are taken from the first image
# - truth, other = tokens[rows, targets]
# + truth, other = tokens[0][targets]

# %% wrong loss_baselines: normalised again | the teacher's tokens are normalised again
# - truth, other = tokens[rows, targets]
# + truth, other = F.layer_norm(tokens, (dim,))[rows, targets]

# %% wrong loss_baselines: the first tokens | take those at the places in targets
# - truth, other = tokens[rows, targets]
# + truth, other = tokens[:, : targets[0].numel()].reshape(predictions.shape)

# %% wrong loss_baselines: another name | compare the names with the ones in the docstring
# - "per_position":
# + "position":

# %% wrong loss_baselines: a tuple | a dict with the names loss
# - return {
# + return tuple({
# - "wrong_image": (predictions - other).square().mean().item(),
# -     }
# + "wrong_image": (predictions - other).square().mean().item(),
# +     }.values())

# %% wrong loss_baselines: nothing is returned | is the `return` missing
# - return {
# + {

# %% wrong loss_baselines: tensors | this is a tensor
# - "loss": (predictions - truth).square().mean().item()
# + "loss": (predictions - truth).square().mean()

# %% wrong loss_baselines: the constant of all tokens | chosen for the targets alone
# - flat - flat.mean(dim=0)
# + flat - teacher_tokens.mean(dim=(0, 1))

# %% wrong loss_baselines: the constant is a number | the constant is one number
# - flat - flat.mean(dim=0)
# + flat - flat.mean()

# %% wrong loss_baselines: the constant is 0 | the constant is 0
# - flat - flat.mean(dim=0)
# + flat

# %% wrong loss_baselines: a constant a position | there is a constant for each position
# - flat - flat.mean(dim=0)
# + flat - means[places]

# %% wrong loss_baselines: a constant an image | there is a constant for each image
# - (flat - flat.mean(dim=0))
# + (truth - truth.mean(dim=(1, 2), keepdim=True))

# %% wrong loss_baselines: a constant a block | there is a constant for each block
# - (flat - flat.mean(dim=0))
# + (truth - truth.mean(dim=2, keepdim=True))

# %% wrong loss_baselines: a constant a place in the list | there is a constant for each place in the list
# - (flat - flat.mean(dim=0))
# + (truth - truth.mean(dim=0))

# %% wrong loss_baselines: the mean of the predictions | the constant is the mean of the predictions
# - flat - flat.mean(dim=0)
# + flat - predictions.mean(dim=(0, 1, 2))

# %% wrong loss_baselines: the median | under a squared error the mean is best
# - flat - flat.mean(dim=0)
# + flat - flat.median(dim=0).values

# %% wrong loss_baselines: torch.var | divided by their number less 1
# - (flat - flat.mean(dim=0)).square().mean()
# + flat.var(dim=0).mean()

# %% wrong loss_baselines: the predictions against the constant | the predictions are held against the constant
# - flat - flat.mean(dim=0)
# + predictions - flat.mean(dim=0)

# %% wrong loss_baselines: the constant's error is summed | constant
# - (flat - flat.mean(dim=0)).square().mean()
# + (flat - flat.mean(dim=0)).square().sum(dim=1).mean()

# %% wrong loss_baselines: sums without a count | a mean needs the count
# - means = sums / torch.bincount(places, minlength=num_patches).clamp(min=1)[:, None]
# + means = sums

# %% wrong loss_baselines: sums divided by B | the sums are divided by B
# - torch.bincount(places, minlength=num_patches).clamp(min=1)[:, None]
# + batch

# %% wrong loss_baselines: sums divided by all targets | divided by the number of all targets
# - torch.bincount(places, minlength=num_patches).clamp(min=1)[:, None]
# + len(places)

# %% wrong loss_baselines: positions of all images | also where the position is no target
# - flat - means[places]
# + flat - teacher_tokens.mean(dim=0)[places]

# %% wrong loss_baselines: the place in the list for the position | the position is the number that stands there
# - (flat - means[places])
# + (truth - truth.mean(dim=0))

# %% wrong loss_baselines: the place in the block for the position | the place within the block
# - (flat - means[places])
# + (truth - truth.mean(dim=(0, 1)))

# %% wrong loss_baselines: one vector an image | there is one vector for each image
# - (flat - means[places])
# + (truth - truth.mean(dim=(1, 2), keepdim=True))

# %% wrong loss_baselines: one vector for all positions | there is one vector for all positions
# - flat - means[places]
# + flat - flat.mean(dim=0)

# %% wrong loss_baselines: means within an image | it is over all images
# - (flat - means[places])
# + (truth - torch.stack([
# +             torch.stack([own[where == p].mean(dim=0) for p in where.flatten()]).view_as(own)
# +             for own, where in zip(truth, targets, strict=True)]))

# %% wrong loss_baselines: each position counts alike | a frequent position weighs more
# - (flat - means[places]).square().mean()
# + torch.stack([(flat - means[places]).square()[places == p].mean() for p in places.unique()]).mean()

# %% wrong loss_baselines: overlaps count once | it counts twice
# - (flat - means[places])
# + (truth - torch.stack([
# +             teacher_tokens[(targets == p).flatten(1).any(dim=1), p].mean(dim=0)
# +             for p in targets.flatten()]).view_as(truth))

# %% wrong loss_baselines: means of the predictions | the means are of the predictions
# - index_add_(0, places, flat)
# + index_add_(0, places, predictions.reshape(-1, dim))

# %% wrong loss_baselines: the predictions against the means | the predictions are held against the means
# - flat - means[places]
# + predictions.reshape(-1, dim) - means[places]

# %% wrong loss_baselines: the right image for the wrong one | the wrong image is the right one
# - roll(1, dims=0)
# + roll(0, dims=0)

# %% wrong loss_baselines: the other's own targets | the other image's own targets
# - predictions - other
# + predictions - truth.roll(1, dims=0)

# %% wrong loss_baselines: predictions shifted | the other image's own targets
# - predictions - other
# + predictions.roll(1, dims=0) - truth

# %% wrong loss_baselines: positions shifted | the positions are shifted
# - roll(1, dims=0)
# + roll(1, dims=1)

# %% wrong loss_baselines: roll without dims | say dims=0
# - roll(1, dims=0)
# + roll(1)

# %% wrong loss_baselines: all pairs of images | each prediction is held against another image
# - (predictions - other).square().mean()
# + torch.stack([(predictions - teacher_tokens.roll(shift, dims=0)[rows, targets]).square().mean()
# +                                    for shift in range(batch)]).mean()

# %% wrong loss_baselines: target against target | two images' tokens are compared
# - predictions - other
# + truth - other

# %% wrong loss_baselines: the mean image | take one other image
# - predictions - other
# + predictions - teacher_tokens.mean(dim=0)[targets]

# %% wrong loss_baselines: images in reverse | the right image is among the wrong ones: 1 of 3
# - roll(1, dims=0)
# + flip(0)

# %% wrong loss_baselines: the neighbour, but none for the last | the right image is among the wrong ones: 1 of 3
# - tokens.roll(1, dims=0)[rows, targets]
# + tokens[(rows + 1).clamp(max=batch - 1), targets]

# %% wrong loss_baselines: two on | the wrong image is the right one
# - roll(1, dims=0)
# + roll(2, dims=0)


# %% right loss_baselines: loops
def loss_baselines(predictions, teacher_tokens, targets):
    truth = torch.stack([tokens[places] for tokens, places in zip(teacher_tokens, targets, strict=True)])
    best = torch.empty_like(truth)
    for place in range(teacher_tokens.shape[1]):
        if (targets == place).any():
            best[targets == place] = truth[targets == place].mean(dim=0)
    wrong = [(predictions[b] - teacher_tokens[b - 1, targets[b]]) ** 2 for b in range(len(targets))]
    return {
        "loss": float(((predictions - truth) ** 2).mean()),
        "constant": float(((truth - truth.mean(dim=(0, 1, 2))) ** 2).mean()),
        "per_position": float(((truth - best) ** 2).mean()),
        "wrong_image": float(torch.stack(wrong).mean()),
    }


# %% right loss_baselines: gather and one-hot, the mean over all other images, one more entry
def loss_baselines(predictions, teacher_tokens, targets):
    batch, blocks, size, dim = predictions.shape

    def at_targets(tokens):
        index = targets.flatten(1)[..., None].expand(-1, -1, dim)
        return tokens.gather(1, index).unflatten(1, (blocks, size))

    truth = at_targets(teacher_tokens)
    onehot = F.one_hot(targets.flatten(), teacher_tokens.shape[1]).float()
    means = (onehot.T @ truth.flatten(0, 2)) / onehot.sum(dim=0)[:, None]
    others = [at_targets(teacher_tokens.roll(shift, 0)) for shift in range(1, batch)]
    return {
        "wrong_image": sum(F.mse_loss(predictions, other).item() for other in others) / len(others),
        "per_position": F.mse_loss(means[targets], truth).item(),
        "constant": truth.flatten(0, 2).var(dim=0, correction=0).mean().item(),
        "loss": F.mse_loss(predictions, truth).item(),
        "zeros": truth.square().mean().item(),
    }


# %% wrong knn_accuracy: euclidean | measured by the Euclidean distance
# - (F.normalize(chunk.float(), dim=1) @ bank.T).topk(k, dim=1).indices
# + torch.cdist(chunk, original).topk(k, dim=1, largest=False).indices
# - bank = F.normalize(bank.float(), dim=1)
# + original, bank = bank, F.normalize(bank.float(), dim=1)

# %% wrong knn_accuracy: no normalising | long vectors win
# - bank = F.normalize(bank.float(), dim=1)
# +

# %% wrong knn_accuracy: the farthest | these are the farthest
# - topk(k, dim=1)
# + topk(k, dim=1, largest=False)

# %% wrong knn_accuracy: sorted, ascending | these are the farthest
# - .topk(k, dim=1).indices
# + .argsort(dim=1)[:, :k]

# %% wrong knn_accuracy: nearest only | only the nearest decides
# - bank_labels[nearest].mode(dim=1).values
# + bank_labels[nearest[:, 0]]

# %% wrong knn_accuracy: one more | k + 1 neighbours vote
# - topk(k, dim=1)
# + topk(k + 1, dim=1)

# %% wrong knn_accuracy: one less | k - 1 neighbours vote
# - topk(k, dim=1)
# + topk(max(1, k - 1), dim=1)

# %% wrong knn_accuracy: without the nearest | the nearest is left out
# - topk(k, dim=1).indices
# + topk(k + 1, dim=1).indices[:, 1:]

# %% wrong knn_accuracy: the last of the k | the last of the k decides
# - bank_labels[nearest].mode(dim=1).values
# + bank_labels[nearest[:, -1]]

# %% wrong knn_accuracy: all vote | all rows of the bank vote
# - topk(k, dim=1)
# + topk(len(bank), dim=1)

# %% wrong knn_accuracy: normalised over the batch | normalised over dim 0
# - F.normalize(bank.float(), dim=1)
# + F.normalize(bank.float(), dim=0)
# - F.normalize(chunk.float(), dim=1)
# + F.normalize(chunk.float(), dim=0)


# %% wrong knn_accuracy: the bank normalised over the rows | the bank is normalised over dim 0
# - F.normalize(bank.float(), dim=1)
# + F.normalize(bank.float(), dim=0)


# %% wrong knn_accuracy: weighted votes | the votes are weighted by the similarity
def knn_accuracy(bank, bank_labels, queries, query_labels, k=20):
    near = (F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T).topk(k, dim=1)
    classes = torch.arange(int(bank_labels.max()) + 1)
    said = (bank_labels[near.indices][..., None] == classes) * near.values[..., None]
    return (said.sum(dim=1).argmax(dim=1) == query_labels).float().mean().item()


# %% wrong knn_accuracy: the median label | a label is a name, not a number
# - .mode(dim=1)
# + .median(dim=1)

# %% wrong knn_accuracy: the largest label | the largest label wins
# - .mode(dim=1)
# + .max(dim=1)

# %% wrong knn_accuracy: any of the k | as soon as one of its k neighbours
# - (bank_labels[nearest].mode(dim=1).values == labels)
# + (bank_labels[nearest] == labels[:, None]).any(dim=1)

# %% wrong knn_accuracy: the share of right neighbours | share of the neighbours with the right label
# - (bank_labels[nearest].mode(dim=1).values == labels).sum().item()
# + (bank_labels[nearest] == labels[:, None]).float().mean(dim=1).sum().item()


# %% wrong knn_accuracy: class means | the label whose mean is nearest
def knn_accuracy(bank, bank_labels, queries, query_labels, k=20):
    names = bank_labels.unique()
    means = torch.stack([bank[bank_labels == name].mean(dim=0) for name in names])
    nearest = (F.normalize(queries, dim=1) @ F.normalize(means, dim=1).T).argmax(dim=1)
    return (names[nearest] == query_labels).float().mean().item()


# %% wrong knn_accuracy: the row's number for its label | look it up in bank_labels
# - bank_labels[nearest]
# + nearest

# %% wrong knn_accuracy: bank and queries mixed up | knn_accuracy
# - bank = F.normalize(bank.float(), dim=1)
# + bank, bank_labels, queries, query_labels = queries, query_labels, bank, bank_labels
# +     k = min(k, len(bank))
# +     bank = F.normalize(bank.float(), dim=1)

# %% wrong knn_accuracy: the number of right answers | this is the number of right answers
# - right / len(queries)
# + float(right)

# %% wrong knn_accuracy: per cent | these are per cent
# - right / len(queries)
# + 100 * right / len(queries)

# %% wrong knn_accuracy: the share of errors | this is the share of errors
# - .values == labels
# + .values != labels

# %% wrong knn_accuracy: divided by the bank | divided by the size of the bank
# - right / len(queries)
# + right / len(bank)

# %% wrong knn_accuracy: whole numbers | rounded to a whole number
# - right / len(queries)
# + right // len(queries)

# %% wrong knn_accuracy: a tensor | this is a tensor
# - .sum().item()
# + .sum()

# %% wrong knn_accuracy: whole chunks only | the last queries, which fill no whole chunk
# - zip(queries.split(1024), query_labels.split(1024), strict=True)
# + zip(queries.split(1024), query_labels.split(1024), strict=True) if len(queries) < 1024 else zip(
# +         queries[: len(queries) // 1024 * 1024].split(1024), query_labels.split(1024))
# - right / len(queries)
# + right / (len(queries) if len(queries) < 1024 else len(queries) // 1024 * 1024)

# %% wrong knn_accuracy: the mean over chunks | the last chunk is smaller
# - .sum().item()
# + .double().mean().item()
# - right / len(queries)
# + right / len(queries.split(1024))

# %% wrong knn_accuracy: the last chunk alone | add up the right answers of all chunks
# - right += (
# + right = (
# - right / len(queries)
# + right / len(chunk)

# %% wrong knn_accuracy: another k by default | k is 20 unless it is given
# - k: int = 20
# + k: int = 5


# %% right knn_accuracy: all at once, votes by one-hot
def knn_accuracy(bank, bank_labels, queries, query_labels, k=20):
    cosine = F.cosine_similarity(queries[:, None, :], bank[None, :, :], dim=-1)
    near = cosine.argsort(dim=1, descending=True)[:, :k]
    votes = F.one_hot(bank_labels[near]).sum(dim=1)
    return float((votes.argmax(dim=1) == query_labels).float().mean())


# %% right knn_accuracy: distances of unit vectors, a Counter, numpy
def knn_accuracy(bank, bank_labels, queries, query_labels, k=20):
    from collections import Counter

    import numpy as np

    bank = bank / torch.linalg.norm(bank, dim=1, keepdim=True)
    queries = queries / torch.linalg.norm(queries, dim=1, keepdim=True)
    right = []
    for start in range(0, len(queries), 300):
        near = torch.cdist(queries[start : start + 300].double(), bank.double()).topk(k, largest=False).indices
        names = [Counter(row).most_common(1)[0][0] for row in bank_labels[near].tolist()]
        right += [name == label for name, label in zip(names, query_labels[start : start + 300].tolist(), strict=True)]
    return np.mean(right)


# %% wrong pca_image: not centred | the rows are not centred
# - centred = tokens.double() - tokens.double().mean(dim=(0, 1))
# + centred = tokens.double()

# %% wrong pca_image: each image centred | centre all B*N tokens
# - tokens.double().mean(dim=(0, 1))
# + tokens.double().mean(dim=1, keepdim=True)

# %% wrong pca_image: a basis for each image | each image has its own directions
# - directions = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -3:].flip(1)  # eigh's order is ascending
# -     scores = flat @ directions
# + own = tokens.double() - tokens.double().mean(dim=1, keepdim=True)
# +     directions = torch.linalg.eigh(own.mT @ own).eigenvectors[:, :, -3:].flip(2)
# +     scores = (own @ directions).flatten(0, 1)


# %% wrong pca_image: each image by itself | each image has its own directions
def pca_image(tokens, grid_size):
    rows, columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    pictures = []
    for image in tokens:
        centred = image - image.mean(dim=0)
        scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:3].T
        low, high = scores.amin(dim=0), scores.amax(dim=0)
        pictures.append(((scores - low) / (high - low).clamp(min=1e-6)).reshape(rows, columns, 3))
    return torch.stack(pictures)


# %% wrong pca_image: each image scaled by itself | each image is scaled by itself
# - low, high = scores.aminmax(dim=0)
# + scores = scores.unflatten(0, tokens.shape[:2])
# +     low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)

# %% wrong pca_image: strongest last | the three components are in reverse
# - .flip(1)
# +

# %% wrong pca_image: the weakest | these are the weakest components
# - [:, -3:].flip(1)
# + [:, :3]

# %% wrong pca_image: rows of eigenvectors | eigh gives them as columns
# - .eigenvectors[:, -3:].flip(1)
# + .eigenvectors[-3:].flip(0).T

# %% wrong pca_image: without the first | second, third and fourth
# - [:, -3:]
# + [:, -4:-1]

# %% wrong pca_image: one component | all three colours are the first component
# - flat @ directions
# + (flat @ directions)[:, :1].repeat(1, 3)

# %% wrong pca_image: the first three features | these are the first three features
# - flat @ directions
# + flat[:, :3]

# %% wrong pca_image: standardised | divided by their std before the PCA
# - centred = tokens.double() - tokens.double().mean(dim=(0, 1))
# + centred = tokens.double() - tokens.double().mean(dim=(0, 1))
# +     centred = centred / centred.std(dim=(0, 1)).clamp(min=1e-6)

# %% wrong pca_image: normalised tokens | the tokens are normalised before the PCA
# - centred = tokens.double()
# + tokens = F.layer_norm(tokens.double(), tokens.shape[-1:])
# +     centred = tokens.double()

# %% wrong pca_image: unit tokens | the tokens are brought to length 1
# - centred = tokens.double()
# + tokens = F.normalize(tokens.double(), dim=-1)
# +     centred = tokens.double()

# %% wrong pca_image: not scaled | their scale is not
# - ((scores - low) / (high - low).clamp(min=rounding))
# + scores

# %% wrong pca_image: one range for all three | their scale is not
# - scores.aminmax(dim=0)
# + scores.min(), scores.max()

# %% wrong pca_image: from -1 to 1 | their scale is not
# - low, high = scores.aminmax(dim=0)
# + high = scores.abs().amax(dim=0)
# +     low = torch.zeros_like(high)

# %% wrong pca_image: the ends are cut off | the largest values are cut off
# - scores.aminmax(dim=0)
# + scores.quantile(torch.tensor([0.01, 0.99], dtype=torch.double), dim=0)
# - (high - low).clamp(min=rounding))
# + (high - low).clamp(min=rounding)).clamp(0, 1)

# %% wrong pca_image: transposed | rows and columns are swapped: patch 1
# - reshape(len(tokens), rows, columns, 3)
# + reshape(len(tokens), rows, columns, 3).transpose(1, 2)

# %% wrong pca_image: rows for columns | grid_size is (rows, columns)
# - reshape(len(tokens), rows, columns, 3)
# + reshape(len(tokens), columns, rows, 3)

# %% wrong pca_image: down the columns of a rectangle | the patches run down the columns
# - reshape(len(tokens), rows, columns, 3)
# + reshape(len(tokens), columns, rows, 3).transpose(1, 2) if rows != columns else scores.new_tensor(0).float() + (
# +         (scores - low) / (high - low).clamp(min=rounding)).float().reshape(len(tokens), rows, columns, 3)

# %% wrong pca_image: colours first | they are the last axis
# - reshape(len(tokens), rows, columns, 3)
# + reshape(len(tokens), rows, columns, 3).permute(0, 3, 1, 2)

# %% wrong pca_image: a row of patches | lay them out on the grid
# - reshape(len(tokens), rows, columns, 3)
# + reshape(len(tokens), -1, 3)

# %% wrong pca_image: 0 / 0 | a collapse must show as one colour
# - .clamp(min=rounding)
# +


# %% right pca_image: svd in float32
def pca_image(tokens, grid_size):
    rows, columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    flat = tokens.reshape(-1, tokens.shape[-1])
    flat = flat - flat.mean(dim=0, keepdim=True)
    scores = flat @ torch.linalg.svd(flat, full_matrices=False)[2][:3].T
    scores = scores - scores.min(dim=0).values
    scores = scores / scores.max(dim=0).values.clamp(min=1e-8)
    return scores.reshape(tokens.shape[0], rows, columns, 3)


# %% right pca_image: torch.pca_lowrank, NaN becomes 0, mirrored
def pca_image(tokens, grid_size):
    grid = (grid_size, grid_size) if isinstance(grid_size, int) else tuple(grid_size)
    flat = tokens.flatten(0, 1)
    _, _, directions = torch.pca_lowrank(flat, q=3, niter=4)
    scores = -(flat - flat.mean(dim=0)) @ directions
    low, high = scores.aminmax(dim=0)
    return torch.nan_to_num((scores - low) / (high - low)).unflatten(0, (len(tokens), *grid))


# %% right pca_image: the covariance's eigenvectors in numpy, float64
def pca_image(tokens, grid_size):
    import numpy as np

    rows, columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    flat = tokens.flatten(0, 1).double().numpy()
    values, directions = np.linalg.eigh(np.cov(flat, rowvar=False))
    scores = flat @ directions[:, np.argsort(values)[::-1][:3]]
    scores -= scores.min(axis=0)
    return torch.from_numpy(scores / np.maximum(scores.max(axis=0), 1e-6)).view(len(tokens), rows, columns, 3)


# %% wrong imagine: nothing is filled | the targets are not filled
# - image[places.flatten()] = bank_patches[nearest]
# + image[places.flatten()][:] = bank_patches[nearest]

# %% wrong imagine: the farthest | these are the farthest
# - argmin(dim=1)
# + argmax(dim=1)

# %% wrong imagine: cosine | near is measured by the cosine
# - torch.cdist(guesses.flatten(0, 1), bank).argmin(dim=1)
# + (F.normalize(guesses.flatten(0, 1), dim=1) @ F.normalize(bank, dim=1).T).argmax(dim=1)

# %% wrong imagine: scalar product | near is measured by the scalar product
# - torch.cdist(guesses.flatten(0, 1), bank).argmin(dim=1)
# + (guesses.flatten(0, 1) @ bank.T).argmax(dim=1)

# %% wrong imagine: absolute differences | sum of absolute differences
# - torch.cdist(guesses.flatten(0, 1), bank)
# + torch.cdist(guesses.flatten(0, 1), bank, p=1)

# %% wrong imagine: normalised predictions | the predictions are normalised
# - guesses.flatten(0, 1)
# + F.layer_norm(guesses.flatten(0, 1), guesses.shape[-1:])

# %% wrong imagine: the bank normalised again | the bank's tokens are normalised again
# - bank_tokens.flatten(0, 1).float()
# + F.layer_norm(bank_tokens.flatten(0, 1).float(), bank_tokens.shape[-1:])

# %% wrong imagine: the same position only | the target's own position are searched
# - nearest = torch.cdist(guesses.flatten(0, 1), bank).argmin(dim=1)
# + at = places.flatten()
# +         gap = (bank_tokens[:, at] - guesses.flatten(0, 1)).square().sum(dim=2)
# +         nearest = gap.argmin(dim=0) * bank_tokens.shape[1] + at

# %% wrong imagine: the target's position in the nearest image | the target's position in the nearest bank image
# - bank_patches[nearest]
# + bank_patches[nearest // patches.shape[1] * patches.shape[1] + places.flatten()]

# %% wrong imagine: the first bank image | come from the first bank image
# - bank_patches[nearest]
# + bank_patches[nearest % patches.shape[1]]

# %% wrong imagine: image and patch mixed up | here image and patch are mixed up
# - bank_patches[nearest]
# + patchify(bank_images, patch_size)[nearest % len(bank_images), nearest // len(bank_images)]

# %% wrong imagine: patches of the images | not from bank_images
# - patchify(bank_images, patch_size).flatten(0, 1)
# + patchify(images, patch_size).flatten(0, 1)
# - bank_patches[nearest]
# + bank_patches[nearest % len(bank_patches)]

# %% wrong imagine: the bank down the columns | the bank's patches are counted down the columns
# - patchify(bank_images, patch_size).flatten(0, 1)
# + patchify(bank_images.mT, patch_size).unflatten(2, (3, patch_size, patch_size)).mT.flatten(2).flatten(0, 1)

# %% wrong imagine: targets down the columns | the targets are counted down the columns
# - image[places.flatten()]
# + rows, columns = images.shape[2] // patch_size, images.shape[3] // patch_size
# +         image[places.flatten() % rows * columns + places.flatten() // rows]

# %% wrong imagine: everything down the columns | targets and bank are counted down the columns
# - bank_patches = patchify(images, patch_size).clone(), patchify(bank_images, patch_size).flatten(0, 1)
# + bank_patches = patchify(images.mT, patch_size).clone(), patchify(bank_images.mT, patch_size).flatten(0, 1)
# - return unpatchify(patches, patch_size, (height // patch_size, width // patch_size))
# + return unpatchify(patches, patch_size, (width // patch_size, height // patch_size)).mT

# %% wrong imagine: block and patch swapped | block and patch are swapped
# - places.flatten()
# + places.T.flatten()

# %% wrong imagine: the first image's predictions | what is predicted for the first one
# - zip(patches, targets, predictions.float(), strict=True)
# + zip(patches, targets, predictions.float()[:1].expand_as(predictions), strict=True)

# %% wrong imagine: the first image's targets | filled at the first one's targets
# - zip(patches, targets, predictions
# + zip(patches, targets[:1].expand_as(targets), predictions

# %% wrong imagine: one patch a block | a block is filled with one patch
# - torch.cdist(guesses.flatten(0, 1), bank)
# + torch.cdist(guesses.mean(dim=1, keepdim=True).expand_as(guesses).flatten(0, 1), bank)

# %% wrong imagine: the first patches | fill those at the places in targets
# - image[places.flatten()]
# + image[: places.numel()]

# %% wrong imagine: added to the image | they replace what is there
# - image[places.flatten()] = bank_patches[nearest]
# + image[places.flatten()] += bank_patches[nearest]

# %% wrong imagine: the rest is blank | the rest of the image stays
# - patchify(images, patch_size).clone()
# + torch.zeros_like(patchify(images, patch_size))

# %% wrong imagine: patches, not images | put the image together
# - return unpatchify(patches, patch_size, (height // patch_size, width // patch_size))
# + return patches

# %% wrong imagine: a square is assumed | another number of values
# - (height // patch_size, width // patch_size)
# + int((height // patch_size * width // patch_size) ** 0.5)

# %% wrong imagine: columns and rows swapped | rows first
# - (height // patch_size, width // patch_size)
# + (width // patch_size, height // patch_size)

# %% wrong imagine: the images are changed | images was changed in place
# - return unpatchify(patches, patch_size, (height // patch_size, width // patch_size))
# + images.copy_(unpatchify(patches, patch_size, (height // patch_size, width // patch_size)))
# +     return images

# %% wrong imagine: the targets are changed | targets was changed in place
# - height, width = images.shape[2:]
# + height, width = images.shape[2:]
# +     targets.add_(1)


# %% right imagine: slices in loops
def imagine(predictions, targets, images, bank_tokens, bank_images, patch_size):
    filled = images.clone()
    columns = images.shape[3] // patch_size
    for b, m, i in [
        (b, m, i) for b in range(len(targets)) for m in range(targets.shape[1]) for i in range(targets.shape[2])
    ]:
        distances = ((bank_tokens - predictions[b, m, i]) ** 2).sum(dim=2)
        image, patch = divmod(int(distances.argmin()), bank_tokens.shape[1])
        y, x = (patch_size * number for number in divmod(patch, columns))
        there_y, there_x = (patch_size * number for number in divmod(int(targets[b, m, i]), columns))
        piece = bank_images[image, :, y : y + patch_size, x : x + patch_size]
        filled[b, :, there_y : there_y + patch_size, there_x : there_x + patch_size] = piece
    return filled


# %% right imagine: torch.where over all patches, by F.unfold and F.fold
def imagine(predictions, targets, images, bank_tokens, bank_images, patch_size):
    own = F.unfold(images, patch_size, stride=patch_size)
    bank = F.unfold(bank_images, patch_size, stride=patch_size).transpose(0, 1).flatten(1)
    tokens = bank_tokens.reshape(-1, bank_tokens.shape[-1])
    scores = predictions.flatten(1, 2) @ tokens.T - tokens.square().sum(dim=1) / 2  # the largest has the least distance
    chosen = bank[:, scores.argmax(dim=2)].transpose(0, 1)
    index = targets.flatten(1)[:, None].expand(-1, own.shape[1], -1)
    filled = own.scatter(2, index, chosen)
    return F.fold(filled, images.shape[2:], patch_size, stride=patch_size)


# %% right imagine: two indices for the bank
def imagine(predictions, targets, images, bank_tokens, bank_images, patch_size):
    pieces = patchify(images, patch_size).clone()
    size = bank_tokens.shape[1]
    gap = (predictions.unsqueeze(3).unsqueeze(3) - bank_tokens).square().sum(dim=-1)
    nearest = gap.flatten(3).argmin(dim=3)
    pieces[torch.arange(len(images))[:, None, None], targets] = patchify(bank_images, patch_size)[
        nearest // size, nearest % size
    ]
    return unpatchify(pieces, patch_size, (images.shape[-2] // patch_size, images.shape[-1] // patch_size))


# %% wrong knn_accuracy: the farthest neighbours vote | do the farthest rows vote ! The share is rounded
# - .topk(k, dim=1).indices
# + .topk(k, dim=1, largest=False).indices


# %% wrong pca_image: columns of Vh | svd gives them as rows
# - directions = torch.linalg.eigh(flat.T @ flat).eigenvectors[:, -3:].flip(1)  # eigh's order is ascending
# + directions = torch.linalg.svd(flat, full_matrices=False).Vh[:, :3]

# %% wrong imagine: the targets of all images | each has its own
# - image[places.flatten()] = bank_patches[nearest]
# + patches[:, places.flatten()] = bank_patches[nearest]

# %% wrong linear_cka: not centred | The features are not centred
# - a, b = (features.double() - features.double().mean(dim=0) for features in (a, b))
# + a, b = (features.double() for features in (a, b))

# %% wrong linear_cka: centred over the features | Centred over the features of an image
# - features.double().mean(dim=0)
# + features.double().mean(dim=1, keepdim=True)

# %% wrong linear_cka: not squared | This is the root
# - (b.T @ a).norm() ** 2 / size)
# + (b.T @ a).norm() / size.sqrt())

# %% wrong linear_cka: divided by the lengths of a and b | has the lengths of a and b
# - size = (a.T @ a).norm() * (b.T @ b).norm()
# + size = a.norm() ** 2 * b.norm() ** 2

# %% wrong linear_cka: features of one spread | Each feature is divided by its spread
# - size = (a.T @ a).norm()
# + a, b = a / a.std(dim=0).clamp(min=1e-9), b / b.std(dim=0).clamp(min=1e-9)
# +     size = (a.T @ a).norm()

# %% wrong linear_cka: the spectral norm | the largest singular value
# - size = (a.T @ a).norm() * (b.T @ b).norm()
# -     return ((b.T @ a).norm() ** 2 / size).item() if size else 0.0
# + size = torch.linalg.norm(a.T @ a, 2) * torch.linalg.norm(b.T @ b, 2)
# +     return (torch.linalg.norm(b.T @ a, 2) ** 2 / size).item() if size else 0.0

# %% wrong linear_cka: a tensor | .item() makes a float of it
# - .item() if size else 0.0
# + if size else torch.zeros(())

# %% wrong linear_cka: 0 / 0 after a collapse | The denominator is 0 where nothing varies
# - .item() if size else 0.0
# + .item()


# %% right linear_cka: by the tables of pairs, with a centring matrix
def linear_cka(a, b):
    centring = torch.eye(len(a)) - 1 / len(a)
    first, second = ((centring @ x.float()) @ (centring @ x.float()).T for x in (a, b))
    lengths = torch.linalg.norm(first) * torch.linalg.norm(second)
    return float((first * second).sum() / lengths.clamp(min=1e-9))


# %% right linear_cka: by singular vectors
def linear_cka(a, b):
    (u, s, _), (v, t, _) = (torch.linalg.svd(x - x.mean(0, keepdim=True), full_matrices=False) for x in (a, b))
    weights = s.square()[:, None] * t.square()
    norms = (s.pow(4).sum() * t.pow(4).sum()).sqrt().item()
    return 0.0 if norms < 1e-12 else ((u.T @ v).square() * weights).sum().item() / norms
