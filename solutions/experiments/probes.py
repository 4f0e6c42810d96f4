"""Measuring frozen features with labels: the only place that looks at them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from data import Images
from solutions.diagnostics import knn_accuracy
from solutions.trainer.metrics import NEIGHBOURS, Encode, features_and_labels

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


def probes(encode: Encode, sources: tuple[Images, Images]) -> dict[str, float]:
    """kNN and the two linear probes of encode: images [B, 3, S, S] -> features [B, D]."""
    bank, queries = sources
    parts = *features_and_labels(bank, encode, BANK), *features_and_labels(queries, encode, QUERIES)
    return {
        "knn": knn_accuracy(*parts, NEIGHBOURS),
        "ridge": ridge_probe(*parts),
        "logistic": logistic_probe(*parts),
    }
