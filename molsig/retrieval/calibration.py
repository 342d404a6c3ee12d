"""What out-of-fold patients teach about being wrong: conformal sets, and how strange is strange.

Nonconformity of a patient is 1 - p(right class); a prediction set at error rate a holds every class whose
nonconformity is at most the ceil((n + 1)(1 - a)) / n quantile of the calibration patients' (split conformal prediction;
Sadinle, Lei and Wasserman 2019, arXiv:1609.00451). Patients with more assays are easier, so each set of assays has
quantiles of its own: from the patients who have exactly these where they are many enough, else from all who have at
least these, the others hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GRID = 1001
"""Quantiles that are kept of a distribution."""

HEAVIEST = 10.0
FEWEST = 200
"""Patients with exactly a set of assays from which on they calibrate it."""


@dataclass(frozen=True, eq=False)
class Quantiles:
    """A distribution as `GRID` quantiles of `n` numbers."""

    n: int
    values: Array

    @classmethod
    def of(cls, numbers: Array, weights: Array | None = None) -> Quantiles:
        """The quantiles of some numbers; each is one of them. Of weighted numbers `n` is as many as they are worth."""
        grid = np.linspace(0, 1, GRID)
        if weights is None:
            return cls(len(numbers), np.quantile(numbers, grid, method="inverted_cdf"))
        worth = int(weights.sum() ** 2 / np.square(weights).sum())
        return cls(worth, np.quantile(numbers, grid, method="inverted_cdf", weights=weights))

    def share_below(self, numbers: Array) -> Array:
        """Which share of the distribution lies below each number, (n,)."""
        return np.asarray(np.searchsorted(self.values, numbers, side="left") / (GRID - 1)).clip(0, 1)

    def bound(self, error: float) -> float:
        """The conformal bound: exceeded by a new number with probability `error` at most; inf where n is too small."""
        level = np.ceil((self.n + 1) * (1 - error)) / self.n
        return float(self.values[min(GRID - 1, int(np.ceil(level * (GRID - 1) - 1e-9)))]) if level <= 1 else np.inf


def subset_code(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The set of assays of each patient as one number; `present` is (modalities, n)."""
    return np.asarray((present * (1 << np.arange(len(present)))[:, None]).sum(axis=0), dtype=np.int64)


def class_weights(classes: NDArray[np.int64], asked: NDArray[np.bool_] | NDArray[np.int64], n_classes: int) -> Array:
    """Weights with which some patients stand for all, class by class: those of `asked`, at most `HEAVIEST` each.

    Where whole classes could not be held out fairly, what is left has another mix of classes than the patients who will
    be asked about (label shift; Podkopaev and Ramdas 2021, arXiv:2103.03323).
    """
    everyone = np.bincount(classes, minlength=n_classes)
    some = np.bincount(classes[asked], minlength=n_classes)
    return np.asarray(np.minimum(everyone / np.maximum(some, 1), HEAVIEST)[classes[asked]])


def calibrators(code: int, codes: NDArray[np.int64], asked: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Patients that calibrate a set of assays: who have exactly it, or at least it where those are few.

    `asked` marks those that count, bool (n,); all by default.
    """
    exact = codes == code
    if (exact if asked is None else exact & asked).sum() >= FEWEST:
        return np.flatnonzero(exact)
    return np.flatnonzero(codes & code == code)


def prediction_sets(
    probabilities: Array, codes: NDArray[np.int64], nonconformity: Mapping[int, Quantiles], error: float
) -> NDArray[np.bool_]:
    """Classes that cannot be ruled out at `error`, bool (n, classes).

    Where the classes are told apart more often than `error` asks for, some sets are empty: that is what keeps the
    coverage at its nominal value. An empty set says that even the best class is odd for such a patient.
    """
    bounds = np.array(
        [nonconformity[int(code)].bound(error) if int(code) in nonconformity else np.inf for code in codes]
    )
    return np.asarray(1 - probabilities <= bounds[:, None])
