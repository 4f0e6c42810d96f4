"""What the short recipes add to plain I-JEPA, so that a small encoder's features get better from the first minute on.

config.py has the options of each recipe, and experiments/RESULTS.md what they have reached. Two things are added, and
neither needs a label:

- the student's context tokens get the variance and covariance terms of VICReg (Bardes et al. 2022, section 4.1), in
  the ratio of that paper, 25 to 1: they must differ, in every feature, and no two features may say the same;
- the targets are standardised feature by feature over a group of images, in place of layer_norm over the features of a
  token: a feature that is the same everywhere is worth nothing.

The long recipes are plain I-JEPA.
"""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solutions.masking import Masks
from solutions.trainer.config import Config
from solutions.vision_transformer import gather_tokens


def standardise(tokens: Tensor) -> Tensor:
    """Tokens [B, N, D] -> each feature with mean 0 and variance 1 over all B * N of them."""
    mean, variance = tokens.mean((0, 1)), tokens.var((0, 1), correction=0)
    return (tokens - mean) / (variance + 1e-4).sqrt()


# by --target-norm: tokens [B, N, D] -> targets [B, N, D]
NORMALISE: dict[str, Callable[[Tensor], Tensor]] = {
    "layer": lambda tokens: F.layer_norm(tokens, tokens.shape[-1:]),
    "batch": standardise,
    "none": lambda tokens: tokens,
}


def variance_covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    """VICReg's two terms of features [K, D]: how far each feature's standard deviation over the rows is below 1, on
    average, and the sum of the squared covariances of different features, divided by D.
    """
    centred = features - features.mean(dim=0)
    variance = F.relu(1 - (centred.var(dim=0) + 1e-4).sqrt()).mean()
    covariance = centred.T @ centred / (len(centred) - 1)
    return variance, (covariance.square().sum() - covariance.diagonal().square().sum()) / features.shape[1]


def recipe_step(
    pieces: SimpleNamespace,
    config: Config,
    model: nn.Module,
    images: Tensor,
    masks: Masks,
    optimizer: torch.optim.Optimizer,
    momentum: float,
) -> Tensor:
    """Lesson 6's train_step with the recipe's targets and terms -> the prediction loss alone, detached."""
    with torch.no_grad():
        tokens = NORMALISE[config.target_norm](model.teacher(images).float())
        targets = gather_tokens(tokens, masks.targets.flatten(1)).unflatten(1, masks.targets.shape[1:])
    context_tokens = model.student(images, keep=masks.context)
    loss = pieces.jepa_loss(model.predictor(context_tokens, masks.context, masks.targets), targets)
    variance, covariance = variance_covariance(context_tokens.flatten(0, 1).float())
    optimizer.zero_grad()
    (loss + config.variance * variance + config.covariance * covariance).backward()
    optimizer.step()
    pieces.update_teacher(model.teacher, model.student, momentum)
    return loss.detach()
