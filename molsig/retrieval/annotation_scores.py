"""How well a column is told of patients that nothing was learned from, beside what needs no measurement at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.type_calibration import expected_calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of calls.

    Attributes
    ----------
    patients, unanswerable
        Who was asked about, and of these, whose label nobody in the other folds has: they count as wrong.
    accuracy, balanced
        Of the likeliest label; mean over the labels.
    told, told_right
        Share of patients with one label in their set, and how often that is right; None for a rule without sets.
    covered, set_size
        Share of sets that hold the right label, and how many labels they hold.
    calibration_error, log_loss
        Expected calibration error of the likeliest label's probability; nats.
    """

    patients: int
    unanswerable: int
    accuracy: float
    balanced: float
    told: float | None = None
    told_right: float | None = None
    covered: float | None = None
    set_size: float | None = None
    calibration_error: float | None = None
    log_loss: float | None = None

    @property
    def loss(self) -> float:
        """What methods are compared by; less is better."""
        return np.inf if self.log_loss is None else self.log_loss


@dataclass(frozen=True, slots=True)
class NumberScores:
    """Scores of estimates.

    Attributes
    ----------
    error
        Mean absolute error, in the column's unit.
    correlation
        Pearson's; None where the estimates are all the same.
    covered, width
        Share of intervals that hold the right value, and their mean width; None for a rule without intervals, the width
        also where too few patients were measured to promise any.
    """

    patients: int
    error: float
    correlation: float | None = None
    covered: float | None = None
    width: float | None = None

    @property
    def loss(self) -> float:
        """What methods are compared by; less is better."""
        return self.error


def score_calls(truth: Rows, called: Rows, answerable: NDArray[np.bool_]) -> LabelScores:
    """Scores of labels that come without a probability."""
    right = (called == truth) & answerable
    sizes = np.bincount(truth)
    balanced = (np.bincount(truth, weights=right) / np.maximum(sizes, 1))[sizes > 0].mean()
    return LabelScores(len(truth), int((~answerable).sum()), float(right.mean()), float(balanced))


def score_labels(
    truth: Rows, probabilities: Array, sets: NDArray[np.bool_], answerable: NDArray[np.bool_]
) -> LabelScores:
    """Scores of probabilities and conformal sets, (n, classes) each."""
    rows = np.arange(len(truth))
    plain = score_calls(truth, probabilities.argmax(axis=1), answerable)
    single = sets.sum(axis=1) == 1
    held = sets[rows, truth]
    return LabelScores(
        plain.patients,
        plain.unanswerable,
        plain.accuracy,
        plain.balanced,
        told=float(single.mean()),
        told_right=float(held[single].mean()) if single.any() else None,
        covered=float(held.mean()),
        set_size=float(sets.sum(axis=1).mean()),
        calibration_error=expected_calibration_error(probabilities, truth),
        log_loss=float(-np.log(np.maximum(probabilities[rows, truth], np.exp(-20))).mean()),
    )


def score_numbers(truth: Array, estimates: Array, reach: Array | None = None) -> NumberScores:
    """Scores of estimates, and of intervals that reach so far to both sides of them, (n,) each."""
    missed = np.abs(estimates - truth)
    moving = np.ptp(estimates) > 0 and np.ptp(truth) > 0
    return NumberScores(
        len(truth),
        float(missed.mean()),
        float(np.corrcoef(estimates, truth)[0, 1]) if moving else None,
        None if reach is None else float((missed <= reach).mean()),
        None if reach is None or not np.isfinite(reach).all() else float(2 * reach.mean()),
    )


def commonest_elsewhere(beside: NDArray[np.str_], truth: Rows, fold: Rows, n_classes: int) -> Rows:
    """The commonest label, in the other folds, of those who are alike in a column; over all where nobody is, (n,)."""
    of = np.unique(beside, return_inverse=True)[1]
    called = np.empty(len(truth), dtype=np.int64)
    for one in np.unique(fold):
        taught, asked = fold != one, fold == one
        counts = np.zeros((of.max() + 1, n_classes))
        np.add.at(counts, (of[taught], truth[taught]), 1)
        whole = counts.sum(axis=0).argmax()
        called[asked] = np.where(counts.any(axis=1), counts.argmax(axis=1), whole)[of[asked]]
    return called


def mean_elsewhere(beside: NDArray[np.str_], truth: Array, fold: Rows) -> Array:
    """The same for numbers: the mean, in the other folds, of those who are alike in a column, (n,)."""
    of = np.unique(beside, return_inverse=True)[1]
    estimates = np.empty(len(truth))
    for one in np.unique(fold):
        taught, asked = fold != one, fold == one
        people = np.bincount(of[taught], minlength=of.max() + 1)
        totals = np.bincount(of[taught], weights=truth[taught], minlength=of.max() + 1)
        means = np.where(people > 0, totals / np.maximum(people, 1), truth[taught].mean())
        estimates[asked] = means[of[asked]]
    return estimates
