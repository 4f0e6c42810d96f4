"""Measuring frozen features with labels: the only place that looks at them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import Images
from solutions.diagnostics import knn_accuracy

BANK, QUERIES = 10_000, 2_000  # images of the training and of the held-out part that the probes use


def standardised(bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Features [K, D] and [Q, D] -> float64, each feature with mean 0 and variance 1 over the bank."""
    mean, std = bank.mean(dim=0), bank.std(dim=0) + 1e-6
    return (bank - mean).double() / std.double(), (queries - mean).double() / std.double()


def ridge_probe(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor) -> float:
    """Ridge regression of the classes on standardised features: bank [K, D], queries [Q, D] -> share right, 0..1."""
    bank, queries = standardised(bank, queries)
    classes = F.one_hot(bank_labels).double()
    share = classes.mean(dim=0)
    gram = bank.T @ bank / len(bank) + 0.01 * torch.eye(bank.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, bank.T @ (classes - share) / len(bank))
    return ((queries @ weights + share).argmax(dim=1) == query_labels).double().mean().item()


def logistic_probe(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor) -> float:
    """Logistic regression of the classes on standardised features, weights decayed by 1e-4 -> share right, 0..1."""
    bank, queries = standardised(bank, queries)
    weights = torch.zeros(bank.shape[1], int(bank_labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    biases = torch.zeros(weights.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(bank @ weights + biases, bank_labels) + 1e-4 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return ((queries @ weights + biases).argmax(dim=1) == query_labels).double().mean().item()


def some(images: Images, count: int) -> Tensor:
    """The same indices for every run: [min(count, len)], drawn at random."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]


def probes(encode: Callable[[Tensor], Tensor], sources: tuple[Images, Images]) -> dict[str, float]:
    """kNN and the two linear probes of encode: images [B, 3, S, S] -> features [B, D]."""
    parts: list[Tensor] = []
    for images, count in zip(sources, (BANK, QUERIES), strict=True):
        indices = some(images, count)
        with torch.no_grad():
            parts += [torch.cat([encode(images.batch(part)) for part in indices.split(250)]), images.labels[indices]]
    return {"knn": knn_accuracy(*parts), "ridge": ridge_probe(*parts), "logistic": logistic_probe(*parts)}


def pooled(teacher: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: teacher(images).mean(dim=1)
