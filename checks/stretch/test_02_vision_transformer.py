"""Lesson 2, for who wants more: attention without a table of all scores."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close, expect_some_right, expect_that


class LargestTensor(TorchDispatchMode):
    """How many numbers the largest tensor has that is computed in its `with` block."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        self.count = max([self.count, *(each.numel() for each in made if isinstance(each, Tensor))])
        return result


def attention_in_pieces(lesson, query, keys, values):
    """attention_in_pieces(query {query}, keys {keys} with their values)"""
    return lesson.attention_in_pieces(query, zip(keys, values, strict=True))


def largest_tensor(lesson, query, keys, values):
    """attention_in_pieces(query {query}, keys {keys} with their values), and the largest tensor on the way"""
    with LargestTensor() as largest:
        gathered = lesson.attention_in_pieces(query, zip(keys, values, strict=True))
    return gathered, largest.count


def attended(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """What all pieces together give, by torch's own attention."""
    whole = [each[None] for each in (query, torch.cat(keys), torch.cat(values))]
    return F.scaled_dot_product_attention(*whole)[0]


def mistakes_of(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Mistakes:
    """What the known mistakes give."""
    scores = [query @ key.T / query.shape[1] ** 0.5 for key in keys]
    maxima = torch.stack([score.amax(dim=1, keepdim=True) for score in scores])  # [pieces, N, 1]
    running = maxima.cummax(dim=0).values
    apart = torch.stack([attended(query, [key], [value]) for key, value in zip(keys, values, strict=True)])

    def summed(offsets: Tensor, others: Tensor | None = None) -> Tensor:
        """The sums of exp(score - offset), never shrunk; others: offsets of the sum below, where they differ."""
        below = offsets if others is None else others
        pieces = zip(scores, values, offsets, strict=True)
        gathered = sum((score - offset).exp() @ value for score, value, offset in pieces)
        total = sum(
            (score - offset).exp().sum(dim=1, keepdim=True) for score, offset in zip(scores, below, strict=True)
        )
        return gathered / total

    last = running[-1:].expand_as(running)
    lowest = torch.stack([score.amax() for score in scores]).view(-1, 1, 1).cummax(dim=0).values.expand_as(running)
    return {
        "Each piece has a softmax of its own here: the weights of all pieces together sum to 1. (The mean of the "
        "pieces.)": apart.mean(dim=0),
        "Each piece has a softmax of its own here: the weights of all pieces together sum to 1. (The sum of the "
        "pieces.)": apart.sum(dim=0),
        "This is what the last piece alone gives: keep the sums of the earlier ones.": apart[-1],
        "The scores are not divided by the root of d.": attended(query * query.shape[1] ** 0.5, keys, values),
        "Scores are divided by d in place of its root.": attended(query / query.shape[1] ** 0.5, keys, values),
        "The sums are never shrunk: a larger m changes what exp(score - m) of the earlier pieces should have "
        "been.": summed(running),
        "The earlier pieces and the later ones are measured against the maximum of their own piece: all need the "
        "same m.": summed(maxima),
        "Only the sum of the weights is shrunk, and the sum of the weighted values must be, too.": summed(
            running, last
        ),
        "Only the sum of the weighted values is shrunk, and the sum of the weights must be, too.": summed(
            last, running
        ),
        "exp overflows: it is taken of the scores as they are, and needs the largest score subtracted first.": summed(
            torch.zeros_like(maxima)
        ),
        "The largest score is that of all queries: for a query whose own scores are far below it, every weight is 0. "
        "Each query has a largest score of its own.": summed(lowest[-1:].expand_as(running)),
    }


def draw(
    count: int, dim: int, lengths: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    keys, values = ([torch.randn(length, dim, dtype=dtype) for length in lengths] for _ in range(2))
    return torch.randn(count, dim, dtype=dtype), keys, values


@exercise("attention_in_pieces")
def test_attention_in_pieces_is_attention(learner):
    """The pieces together give what a softmax over all keys gives, also where scores are in the thousands."""
    for size, dim, lengths, scale, dtype in (
        (4, 4, (3, 5, 2), 1, torch.float32),
        (5, 3, (6,), 1, torch.float64),
        (*drawn((2, 6), (2, 9)), drawn((1, 3), (1, 5), (2, 6), (1, 4)), 1, torch.float32),
        (8, 4, (5, 7, 4), 3000, torch.float64),
    ):
        query, keys, values = draw(size, dim, lengths, dtype)
        query = scale * query
        got = learner(attention_in_pieces, query, keys, values)
        called = learner.called + (f", scores up to {(query @ torch.cat(keys).T).max():.0f}" if scale > 1 else "")
        likely = (
            "Write down m, s and g after each of two pieces of one key, by hand. Does g / s weigh both keys as the "
            "softmax of the two scores does?"
        )
        mistakes = Later(mistakes_of, query, keys, values)
        expect_close(got, attended(query, keys, values), called=called, mistakes=mistakes, likely=likely)


@exercise("attention_in_pieces")
def test_attention_in_pieces_never_holds_all_scores(learner):
    """No tensor on the way has as many numbers as there are pairs of a query and a key."""
    (pieces,) = drawn((8, 12))
    query, keys, values = draw(20, 4, (6,) * pieces, torch.float32)
    got, largest = learner(largest_tensor, query, keys, values)
    expect_some_right(got, attended(query, keys, values), called=learner.called)
    pairs = 20 * 6 * pieces
    expect_that(
        largest < pairs,
        called=learner.called,
        expected=f"tensors of fewer numbers than the {pairs} pairs of a query and a key",
        got=f"one of {largest}",
        likely="The pieces are joined, or their scores are: only m, s and g may last from one piece to the next.",
    )
