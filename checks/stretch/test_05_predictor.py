"""Lesson 5, for who wants more: all target blocks in one row."""

import torch
from torch import Tensor

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_equal, expect_that, shape


def block_mask(lesson, num_context, num_blocks, length):
    """block_mask({num_context}, {num_blocks}, {length})"""
    return lesson.block_mask(num_context, num_blocks, length)


def expected_mask(num_context: int, num_blocks: int, length: int) -> Tensor:
    """bool [L, L] for L = num_context + num_blocks * length, entry by entry."""
    owner = [-1] * num_context + [block for block in range(num_blocks) for _ in range(length)]  # -1: the context
    return torch.tensor([[seen in (-1, asking) for seen in owner] for asking in owner])


def mistakes_of(num_context: int, num_blocks: int, length: int) -> Mistakes:
    """What the known mistakes give."""
    right = expected_mask(num_context, num_blocks, length)
    number = torch.arange(num_blocks * length)
    striped = number[:, None] % num_blocks == number % num_blocks

    def changed(rows: slice, columns: slice, value: Tensor | bool) -> Tensor:
        mask = right.clone()
        mask[rows, columns] = value
        return mask

    context, queries = slice(num_context), slice(num_context, None)
    return {
        "True and False are exchanged: True is where a token may look.": ~right,
        "Rows and columns are exchanged: a row is a token that looks, a column one that is looked at.": right.T,
        "The context looks at the queries: what one block is asked then reaches the others through the context.": (
            changed(context, queries, True)
        ),
        "The blocks see each other: a query looks at the context and at the queries of its own block.": (
            changed(queries, queries, True)
        ),
        "A query looks at no other query of its block: it may look at all of them.": (
            changed(queries, queries, torch.eye(len(number)).bool())
        ),
        "A query looks at no query, not even at itself.": changed(queries, queries, False),
        "The queries don't look at the context, and nothing else says what is in the image.": (
            changed(queries, context, False)
        ),
        "The queries stand block after block: the first `length` of them are block 0. Here every num_blocks-th one "
        "belongs to it.": changed(queries, queries, striped),
    }


@exercise("block_mask")
def test_block_mask_says_who_may_look_at_whom(learner):
    """True where a token may look: the context at itself, a query at the context and at its own block."""
    for sizes in ((3, 2, 3), (5, 4, 2), (1, 3, 1), (4, 1, 2), drawn((2, 9), (2, 5), (2, 6))):
        expected = expected_mask(*sizes)
        got = learner(block_mask, *sizes)
        expect_that(
            isinstance(got, Tensor) and got.dtype == torch.bool,
            called=learner.called,
            expected="a tensor of dtype torch.bool",
            got=f"{shape(got)} of dtype {got.dtype}" if isinstance(got, Tensor) else type(got).__name__,
            likely="scaled_dot_product_attention adds a mask of numbers to the scores, and reads True and False as "
            "may and may not look.",
        )
        likely = "Row i says what token i looks at; the context comes first, then the queries of block 0, of block 1..."
        expect_equal(got, expected, called=learner.called, mistakes=Later(mistakes_of, *sizes), likely=likely)
