"""The figures of an evaluation, each a function of patient weights (see `molsig.evaluate.bootstrap`).

Labels are codes, 0 to `classes` - 1. What is known per patient (was the tenth neighbour right, what was called, how
sure) is computed once; a `Statistic` then averages it under any number of weightings by a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.evaluate.bootstrap import Statistic

BINS = 15
"""Equal steps of confidence that a calibration error and a reliability diagram are made of."""


def precision_at(same: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """P@k of each query: right ones among its first `k` neighbours, over `k`.

    `same` is bool (n, depth), best first: whether that neighbour has the query's label. A gallery smaller than `k`
    counts against the figure.
    """
    return np.asarray(same[:, :k].sum(axis=1) / k)


def majority_vote(codes: NDArray[np.int64], classes: int, k: int) -> NDArray[np.int64]:
    """Commonest label among the first `k` neighbours; of equally common ones that of the nearest neighbour.

    `codes` is int (n, depth), best first, -1 for a neighbour without a label. A query without labelled neighbours gets
    -1.
    """
    some = codes[:, :k]
    ballots = np.zeros((len(some), classes))
    rows = np.arange(len(some))
    for rank, column in enumerate(some.T):
        voting = column >= 0
        # What is added to break a tie halves with each rank and stays below one vote in all.
        np.add.at(ballots, (rows[voting], column[voting]), 1.0 + 0.5 ** (rank + 2))
    return np.where(ballots.any(axis=1), ballots.argmax(axis=1), -1)


def average_precision(same: NDArray[np.bool_], relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average precision of each query's ranking: mean over its right neighbours of the precision at their rank.

    Parameters
    ----------
    same
        bool (n, depth), best first: whether that neighbour has the query's label.
    relevant
        int (n,): how many of the whole gallery have it. Where the ranking is cut at a depth below that, the mean is
        taken over `depth`, the most that could be found. A query that nobody in the gallery could answer scores 0.
    """
    depth = same.shape[1]
    found = np.cumsum(same, axis=1, dtype=np.int32)
    precision = np.where(same, found / np.arange(1, depth + 1), 0.0)
    return np.asarray(precision.sum(axis=1) / np.maximum(np.minimum(relevant, depth), 1))


def mean_of(values: NDArray[np.float64] | NDArray[np.bool_]) -> Statistic:
    """Mean of one value per patient, (n,), or of each of several, (n, m)."""
    numbers = np.asarray(values, dtype=np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        return np.asarray((weights @ numbers) / (total if numbers.ndim == 1 else total[:, None]))

    return statistic


def balanced_accuracy(truth: NDArray[np.int64], called: NDArray[np.int64], classes: int) -> Statistic:
    """Mean over the labels of the share of their patients that were called right; labels nobody has are left out."""
    of = _one_hot(truth, classes)
    right = of * (truth == called)[:, None]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _mean_defined(weights @ right, weights @ of)

    return statistic


def macro_f1(truth: NDArray[np.int64], called: NDArray[np.int64], classes: int) -> Statistic:
    """Mean F1 over the labels that somebody has or is called; a call of -1 is wrong whatever the truth."""
    of, into = _one_hot(truth, classes), _one_hot(called, classes)
    right = of * (truth == called)[:, None]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _mean_defined(2 * (weights @ right), weights @ of + weights @ into)

    return statistic


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> Statistic:
    """Expected calibration error: mean distance of confidence and accuracy in equal bins of confidence, by size.

    C. Guo et al., On calibration of modern neural networks, 2017, eq. 3. The bins are those of `reliability`.
    """
    gap = _one_hot(_bin(confidence, bins), bins) * (confidence - right)[:, None]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1))

    return statistic


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Patients whose call had a confidence in (low, high]: how sure the calls were and how many were right.

    `accuracy_low` and `accuracy_high` are the ends of its interval, where one was asked for.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None = None
    accuracy_high: float | None = None


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """The bars of a reliability diagram."""
    place = _bin(confidence, bins)
    n = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    good = np.bincount(place, weights=right, minlength=bins)
    return tuple(
        ReliabilityBin(
            i / bins,
            (i + 1) / bins,
            int(n[i]),
            float(sure[i] / n[i]) if n[i] else None,
            float(good[i] / n[i]) if n[i] else None,
        )
        for i in range(bins)
    )


def accuracy_in_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> Statistic:
    """Accuracy in each bin of `reliability`, (draws, bins); NaN where nobody is."""
    of = _one_hot(_bin(confidence, bins), bins)
    good = of * right[:, None]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ good) / (weights @ of))

    return statistic


def accuracy_at_coverage(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], coverage: NDArray[np.float64]
) -> Statistic:
    """Accuracy over the surest patients, as many as make up each share of `coverage`; (draws, len(coverage)).

    Patients who are equally sure are taken together, so that the order of rows does not matter.
    """
    order = np.argsort(-confidence, kind="stable")
    starts = _starts(confidence[order])
    good = right[order].astype(np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = weights[:, order]
        people = np.cumsum(np.add.reduceat(ordered, starts, axis=1), axis=1)
        hits = np.cumsum(np.add.reduceat(ordered * good, starts, axis=1), axis=1)
        # The first group of equals that reaches each share; a hair below it for shares that rounding overshoots.
        reach = [(people >= share * people[:, -1:] - 1e-9).argmax(axis=1) for share in coverage]
        rows = np.arange(len(weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([hits[rows, at] / people[rows, at] for at in reach], axis=1)

    return statistic


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Statistic:
    """Chance that a positive scores above a negative, equal scores counting half; NaN without patients of both."""
    order = np.argsort(scores, kind="stable")
    starts = _starts(scores[order])
    yes = positive[order].astype(np.float64)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = weights[:, order]
        high = np.add.reduceat(ordered * yes, starts, axis=1)
        low = np.add.reduceat(ordered * (1.0 - yes), starts, axis=1)
        below = np.cumsum(low, axis=1) - 0.5 * low
        pairs = high.sum(axis=1) * low.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((high * below).sum(axis=1) / pairs)

    return statistic


def confusion(truth: NDArray[np.int64], called: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How many patients of each label (rows) were called each label (columns); calls of -1 are left out."""
    table = np.zeros((classes, classes), dtype=np.int64)
    made = called >= 0
    np.add.at(table, (truth[made], called[made]), 1)
    return table


def _one_hot(codes: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """float64 (n, classes); a row of zeros for -1."""
    return np.asarray(codes[:, None] == np.arange(classes), dtype=np.float64)


def _bin(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _starts(ordered: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _mean_defined(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row means of the ratios whose denominator is positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(denominator > 0, numerator / denominator, 0.0)
        return np.asarray(ratio.sum(axis=1) / (denominator > 0).sum(axis=1))
