"""What knn_accuracy must give, by torch's own cosine similarity, and what its known mistakes give."""

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.expected.diagnostics import A_TENSOR
from checks.tool.expect import Mistakes

LABELS = (2, 3, 7, 11)


def draw_bank(rows: int) -> tuple[Tensor, Tensor]:
    """Vectors of very different lengths that point mostly one way, and their labels."""
    bank = (torch.randn(rows, 5) + 0.4) * torch.randn(rows, 1).exp()
    return bank, torch.tensor(LABELS)[torch.randint(4, (rows,))]


def draw_clear_queries(bank: Tensor, labels: Tensor, k: int) -> Tensor:
    """Up to three queries a label whose vote is no tie, and whose k-th and (k+1)-th neighbours are not equally near."""
    queries = torch.randn(400, 5) + 0.4
    cosine, order = cosines(queries, bank).sort(dim=1, descending=True)
    said = vote(labels[order[:, :k]])
    best = said.sort(dim=1, descending=True).values
    clear = (best[:, 0] > best[:, 1]) & (cosine[:, k - 1] - cosine[:, k] > 1e-4)
    weighted = vote(labels[order[:, :k]], cosine[:, :k]).argmax(dim=1)
    chosen = []
    for label in range(4):  # first those of which weighted votes would make another
        mine = (clear & (said.argmax(dim=1) == label)).nonzero().flatten()
        chosen.append(mine[(weighted[mine] != label).argsort(descending=True, stable=True)][:3])
    return queries[torch.cat(chosen)]


def cosines(queries: Tensor, bank: Tensor) -> Tensor:
    return F.cosine_similarity(queries[:, None], bank[None], dim=2)


def vote(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """labels [Q, k] -> how often each of LABELS was said [Q, 4]."""
    said = labels[..., None] == torch.tensor(LABELS)
    return (said if weights is None else said * weights[..., None]).sum(dim=1)


def winners(labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """labels [Q, k] -> 1 at the label that won, [Q, 4]."""
    return F.one_hot(vote(labels, weights).argmax(dim=1), 4).float()


def answers(bank: Tensor, labels: Tensor, queries: Tensor, k: int) -> Tensor:
    """1 at the label that each query must get, [Q, 4]."""
    order = cosines(queries, bank).argsort(dim=1, descending=True)
    return winners(labels[order[:, :k]])


def vote_mistakes(bank: Tensor, labels: Tensor, queries: Tensor, k: int) -> Mistakes:
    return {**wrong_neighbours(bank, labels, queries, k), **wrong_votes(bank, labels, queries, k)}


def wrong_neighbours(bank: Tensor, labels: Tensor, queries: Tensor, k: int) -> dict[str, Tensor]:
    """Votes by other rows of the bank than the k nearest."""
    cosine, distances = cosines(queries, bank), torch.linalg.vector_norm(queries[:, None] - bank, dim=2)
    order = cosine.argsort(dim=1, descending=True)
    bank_over_dim_0 = F.normalize(bank, dim=0)

    def largest(values: Tensor, count: int = k) -> Tensor:
        return values.argsort(dim=1, descending=True)[:, :count]

    rows = {
        "Near is measured by the Euclidean distance: the cosine is asked for, which ignores lengths.": largest(
            -distances
        ),
        "Near is measured by the scalar product, so that long vectors win: normalise bank and queries.": largest(
            queries @ bank.T
        ),
        "These are the farthest: near means a large cosine.": largest(-cosine),
        "Only the nearest decides: all k vote.": order[:, :1],
        "k + 1 neighbours vote.": largest(cosine, k + 1),
        "k - 1 neighbours vote.": largest(cosine, max(1, k - 1)),
        "The nearest is left out, as if the query were in the bank: it is not.": order[:, 1 : k + 1],
        "The nearest is left out, and k - 1 vote.": order[:, 1 : max(2, k)],
        "The last of the k decides: all k vote.": order[:, k - 1 : k],
        "All rows of the bank vote: only the k nearest do.": order,
        "The vectors are normalised over dim 0: each row is brought to length 1.": largest(
            F.normalize(queries, dim=0) @ bank_over_dim_0.T
        ),
        # the same, if each query comes alone
        "The vectors are normalised over dim 0: each row is brought to length 1. ": largest(
            queries.sign() @ bank_over_dim_0.T
        ),
        "The bank is normalised over dim 0: each row is brought to length 1.": largest(queries @ bank_over_dim_0.T),
    }
    return {sentence: winners(labels[chosen]) for sentence, chosen in rows.items()}


def wrong_votes(bank: Tensor, labels: Tensor, queries: Tensor, k: int) -> dict[str, Tensor]:
    """Other answers than the label that most of the k nearest have."""
    near, order = cosines(queries, bank).sort(dim=1, descending=True)
    said = labels[order[:, :k]]
    centroids = torch.stack([bank[labels == label].mean(dim=0) for label in LABELS])

    def nearest_label(values: Tensor) -> Tensor:
        return F.one_hot((values[:, None].float() - torch.tensor(LABELS)).abs().argmin(dim=1), 4).float()

    return {
        "The votes are weighted by the similarity: every neighbour counts alike.": winners(said, near[:, :k]),
        "The mean of the labels is no vote: a label is a name, not a number.": nearest_label(said.float().mean(dim=1)),
        "The median of the labels is no vote: a label is a name, not a number.": nearest_label(
            said.median(dim=1).values
        ),
        "The largest label wins: the most frequent has to.": nearest_label(said.amax(dim=1)),
        "The smallest label wins: the most frequent has to.": nearest_label(said.amin(dim=1)),
        "The number of a row in the bank is taken for its label: look it up in bank_labels.": (
            order[:, :k].amin(dim=1, keepdim=True) == torch.tensor(LABELS)
        ).float(),
        "This is the label whose mean is nearest: the k nearest rows vote.": F.one_hot(
            cosines(queries, centroids).argmax(dim=1), 4
        ).float(),
        "A query is right as soon as one of its k neighbours has its label: most of them must.": (
            vote(said) > 0
        ).float(),
        "This is the share of the neighbours with the right label: they vote, and a query is right or wrong.": vote(
            said
        )
        / k,
        "This is the share of errors: the share of right answers is asked for.": 1 - winners(said),
    }


def draw_easy(directions: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A bank with three rows near each direction, their labels, queries along directions, and the queries' labels.

    Whoever gives all queries the same label gets a share that no mistake gives: 3 of 7, 1 or none are right.
    """
    bank = directions.repeat(3, 1) + 0.05 * torch.randn(12, 4)
    which = torch.randperm(4)[torch.tensor([3, 3, 0, 1, 2, 0, 0][:count])]
    query_labels = torch.tensor(LABELS)[which]
    query_labels[:2] = 5  # no row of the bank has this label
    return bank, torch.tensor(LABELS).repeat(3), directions[which], query_labels


def share_mistakes(share: float, count: int, rows: int) -> Mistakes:
    """Mistakes in the share of right answers to `count` queries, with so many rows in the bank."""
    return {
        "This is the number of right answers: divide it by the number of queries.": share * count,
        "These are per cent: the share goes from 0 to 1.": 100 * share,
        "This is the share of errors: the share of right answers is asked for.": 1 - share,
        "The number of right answers is divided by the size of the bank: divide by the number of queries.": share
        * count
        / rows,
        "No answer counts as right: do the farthest rows vote (the smallest cosines), or is the share rounded to a "
        "whole number?": 0.0,
        "Every answer counts as right, also where no row of the bank has the query's label: is the share rounded to a "
        "whole number, or the answer itself taken for the truth?": 1.0,
        **A_TENSOR,
    }


LEFT_OUT: Mistakes = {"The last queries, which fill no whole chunk, are left out.": 1.0}
