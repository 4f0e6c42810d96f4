# %% [markdown]
# # Diagnostics: did it learn, or did its loss fall?

# %%
import torch
from torch import Tensor


# %%
def feature_std(features: Tensor) -> float:
    """How much the features of one place differ between images: features [B, N, D] -> std over B,
    averaged over N and D.

    0 when every image gets the same representation (collapse). The spread over positions does not
    count: a position embedding alone gives it.
    """
    return features.float().std(dim=0).mean().item()


def effective_rank(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023, eq. 1): exp of the entropy of the normalised singular values of
    features [..., D].

    From 1 (all features on one line) to D. The singular values come from the D x D second moments,
    in float64.
    """
    rows = features.flatten(0, -2).double()
    singular = torch.linalg.eigvalsh(rows.T @ rows).clamp(min=0).sqrt()
    p = singular / singular.sum() + 1e-7
    return torch.exp(-(p * p.log()).sum()).item()


def loss_baselines(predictions: Tensor, teacher_tokens: Tensor, targets: Tensor) -> dict[str, float]:
    """The squared error of the predictions beside that of answers which need no look at the image.

    predictions [B, M, Nt, D], teacher_tokens [B, N, D] (all patches, normalised as the targets
    are), targets [B, M, Nt]. -> loss: of the predictions; constant: of the one vector that is best
    for all targets; per_position: of the best vector for each position; wrong_image: of the
    predictions against the same positions of another image. Both best answers are chosen in
    hindsight on these very targets, so they are hard to beat: a loss above per_position shows no
    understanding of the image.
    """
    batch, num_patches, dim = teacher_tokens.shape
    rows = torch.arange(batch, device=targets.device)[:, None, None]
    truth = teacher_tokens.float()[rows, targets]
    other = teacher_tokens.float().roll(1, dims=0)[rows, targets]
    predictions = predictions.float()

    flat, places = truth.reshape(-1, dim), targets.reshape(-1)
    sums = torch.zeros(num_patches, dim, device=flat.device).index_add_(0, places, flat)
    means = sums / torch.bincount(places, minlength=num_patches).clamp(min=1)[:, None]
    return {
        "loss": (predictions - truth).square().mean().item(),
        "constant": (flat - flat.mean(dim=0)).square().mean().item(),
        "per_position": (flat - means[places]).square().mean().item(),
        "wrong_image": (predictions - other).square().mean().item(),
    }
