"""Lesson 7, for who wants more: how alike two representations are."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.expected.diagnostics import as_floats
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close


def similarity(lesson, a, b):
    """linear_cka(a {a}, b {b})"""
    return lesson.linear_cka(a, b)


def similarity_of_equal_rows(lesson, a, b):
    """linear_cka(a {a}, b {b}), where all rows of one are equal"""
    return lesson.linear_cka(a, b)


def centred(features: Tensor) -> Tensor:
    return features - features.mean(dim=0)


def of_centred(a: Tensor, b: Tensor) -> Tensor:
    """By the tables of all pairs of images, [K, K]: the cosine of the two, as long vectors."""
    return F.cosine_similarity((a @ a.T).flatten(), (b @ b.T).flatten(), dim=0)


def expected_cka(a: Tensor, b: Tensor) -> float:
    return of_centred(centred(a.double()), centred(b.double())).item()


def mistakes_of(a: Tensor, b: Tensor) -> Mistakes:
    """What the known mistakes give."""
    a, b = a.double(), b.double()
    x, y = centred(a), centred(b)
    right, cross = of_centred(x, y), (y.T @ x).square().sum()

    def rows(features: Tensor) -> Tensor:
        return features - features.mean(dim=1, keepdim=True)

    def largest(table: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(table, 2)

    return as_floats(
        {
            "The features are not centred: take the mean of each feature, over the images, off first.": of_centred(
                a, b
            ),
            "Only one of the two is centred.": of_centred(x, b),
            "Only one of the two is centred: a is not.": of_centred(a, y),
            "Centred over the features of an image (dim=1): the mean is taken over the images (dim=0).": (
                of_centred(rows(a), rows(b))
            ),
            "This is the root: the numerator is squared.": right.sqrt(),
            "This is the distance: 1 is for what is alike.": 1 - right,
            "The denominator has the lengths of a and b: it has those of a.T a and of b.T b.": (
                cross / (x.square().sum() * y.square().sum())
            ),
            "The denominator is squared too: only |b.T a| is.": cross / ((x.T @ x).norm() * (y.T @ y).norm()).square(),
            "Each feature is divided by its spread: a feature that varies more counts more.": (
                of_centred(x / x.std(dim=0), y / y.std(dim=0))
            ),
            "Each row is brought to length 1: an image that is far from the mean counts more.": (
                of_centred(F.normalize(x, dim=1), F.normalize(y, dim=1))
            ),
            "Each row is brought to length 1 before it is centred: take the features as they are.": (
                of_centred(centred(F.normalize(a, dim=1)), centred(F.normalize(b, dim=1)))
            ),
            "|.| is the largest singular value here: it is the root of the sum of squares.": (
                largest(y.T @ x).square() / (largest(x.T @ x) * largest(y.T @ y))
            ),
        }
    )


def draw_pair(images: int, first: int, second: int) -> tuple[Tensor, Tensor]:
    """Two tables that have something in common, with features of other means and spreads."""
    a = torch.randn(images, first) * (0.5 + torch.rand(first)) + 2 * torch.randn(first)
    b = a @ torch.randn(first, second) + torch.randn(images, second) + 2 * torch.randn(second)
    return a, b


@exercise("linear_cka")
def test_linear_cka_compares_the_centred_tables(learner):
    """|b.T a|^2 / (|a.T a| |b.T b|) of the centred tables, whatever their widths."""
    for sizes in ((12, 5, 7), (9, 4, 4), (6, 10, 3), drawn((8, 20), (3, 9), (3, 9))):
        a, b = draw_pair(*sizes)
        got = learner(similarity, a, b)
        likely = "Centre each column of both. Then three matrix products, and the root of the sum of squares of each."
        mistakes = Later(mistakes_of, a, b)
        expect_close(got, expected_cka(a, b), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("linear_cka")
def test_linear_cka_of_a_collapse_is_0(learner):
    """If all rows of one are equal, the answer is 0.0, and no NaN."""
    row, other = torch.randint(-8, 9, (1, 5)) / 4, torch.randn(8, 3)
    for pair in ((row.repeat(8, 1), other), (other, row.repeat(8, 1))):
        got = learner(similarity_of_equal_rows, *pair)
        likely = "The denominator is 0 where nothing varies: treat this case apart, before the division."
        expect_close(got, 0.0, called=learner.called, likely=likely)
