"""Votes on numeric columns: the neighbours' mean, with an interval that held-out patients were inside of.

The neighbours are the `VOTERS` nearest by the weighted fusion that have a value. The half-width of the interval is a
quantile of the errors of out-of-fold patients, each divided by how far the values of its own neighbours lie apart
(split conformal prediction with normalised residuals: Lei et al. 2018, Distribution-free predictive inference for
regression, section 5.2), so a query among patients of one age gets a narrower one than a query among all ages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.calibration import Quantiles
from molsig.retrieval.folds import group_folds
from molsig.retrieval.neighbourhood import blocks
from molsig.retrieval.patient_vectors import nearest_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.weighted import Weighted

    Array = NDArray[np.float64]

VOTERS = 20
LOOKED_AT = 100
"""Near patients among whom those with a value are looked for."""
FOLDS = 5
FEWEST = 100
"""Patients with a value below which a column gets no interval."""


@dataclass(frozen=True, eq=False)
class NumberVote:
    """What is known of the errors of votes on a column.

    Attributes
    ----------
    typical
        Median distance of neighbours' values from their mean, over the patients: what a spread of zero is taken for,
        in part, since few neighbours may agree by chance.
    residuals
        Out-of-fold |error| / spread.
    error, plain_error
        Mean absolute error out of fold, of the vote and of the mean of all patients.
    """

    typical: float
    residuals: Quantiles
    error: float
    plain_error: float

    def spread(self, values: Array) -> float:
        """How uncertain a mean of these neighbours' values is."""
        return float(np.std(values)) + self.typical

    def interval(self, values: Array, error: float) -> tuple[float, float] | None:
        """Where the query's value lies but for a share `error` of queries; None where that cannot be promised."""
        bound = self.residuals.bound(error)
        if not np.isfinite(bound):
            return None
        mean, reach = float(np.mean(values)), bound * self.spread(values)
        return mean - reach, mean + reach


def fit_numbers(
    vectors: PatientVectors,
    weighted: Weighted,
    columns: Mapping[str, Array],
    groups: NDArray[np.str_] | None,
    *,
    seed: int = 0,
) -> dict[str, NumberVote]:
    """Measure the errors of votes on numeric columns, out of fold.

    Parameters
    ----------
    columns
        By name: one value per patient, NaN where unknown. Columns with fewer than `FEWEST` values, or one value only,
        are left out.
    groups
        Kept whole between folds.
    """
    near = _nearest_elsewhere(weighted.fused(vectors), groups, seed)
    out = {}
    for name, values in columns.items():
        rows = np.flatnonzero(~np.isnan(values))
        if len(rows) < FEWEST or np.ptp(values[rows]) == 0:
            continue
        found = values[near[rows]]
        # The first `VOTERS` that have a value; a patient with none among so many near ones teaches nothing.
        found[np.cumsum(~np.isnan(found), axis=1) > VOTERS] = np.nan
        some = (~np.isnan(found)).any(axis=1)
        rows, found = rows[some], found[some]
        if len(rows) < FEWEST:
            continue
        means, spreads, truth = np.nanmean(found, axis=1), np.nanstd(found, axis=1), values[rows]
        typical = float(np.median(spreads)) or float(np.std(truth))
        errors = np.abs(means - truth)
        out[name] = NumberVote(
            typical,
            Quantiles.of(errors / (spreads + typical)),
            float(errors.mean()),
            float(np.abs(truth - truth.mean()).mean()),
        )
    return out


def _nearest_elsewhere(fused: NDArray[np.float32], groups: NDArray[np.str_] | None, seed: int) -> NDArray[np.int64]:
    """The `LOOKED_AT` nearest patients of other folds, best first, (n, at most `LOOKED_AT`)."""
    n = len(fused)
    fold = group_folds(np.zeros(n, dtype=np.int64), groups, FOLDS, seed)
    fewest = min(int((fold != one).sum()) for one in range(FOLDS))
    near = np.empty((n, min(LOOKED_AT, fewest)), dtype=np.int64)
    for one in range(FOLDS):
        stored, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        for block in blocks(len(asked), len(stored)):
            best, _ = nearest_rows(fused[asked[block]] @ fused[stored].T, near.shape[1])
            near[asked[block]] = stored[best]
    return near
