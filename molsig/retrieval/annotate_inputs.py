"""Measurements as the network and the forest take them: per million, no feature that is mostly zero, all from 0 to 1.

Scaling and filter of Fiosina et al., Deep learning for sRNA metadata, section 2.2: counts to reads per million,
features with over 30 % zeros removed, min-max. Both are fitted on the patients that are learned from, never on those
who are asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.disk import ENCODED
from molsig.encoders.features import choose_features
from molsig.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

MOST_ZEROS = 0.3
"""Share of zeros among the patients learned from above which a feature is left out."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of patients.

    Attributes
    ----------
    patients
        Sorted.
    values
        float32 (patients, features), linear; NaN where a feature was not measured.
    features
        Their names.
    only_normal
        How many patients of the file were left out because all their samples are of normal tissue.
    """

    patients: tuple[str, ...]
    values: NDArray[np.float32]
    features: tuple[str, ...]
    only_normal: int


@dataclass(frozen=True, eq=False)
class Scaler:
    """Filter and min-max of some patients.

    Attributes
    ----------
    kept
        Columns that are kept, int64.
    filling
        What stands for a gap: the mean of each kept column, (kept,).
    low, span
        Least value and range of each kept column, (kept,).
    """

    kept: NDArray[np.int64]
    filling: NDArray[np.float32]
    low: NDArray[np.float32]
    span: NDArray[np.float32]

    @classmethod
    def fit(cls, values: NDArray[np.float32]) -> Scaler:
        """Look at the patients that are learned from, (n, features).

        Raises
        ------
        InputError
            Every feature is mostly zero, or the same in all patients.
        """
        gaps = np.isnan(values)
        measured = np.maximum((~gaps).sum(axis=0), 1)
        zeros = (values == 0).sum(axis=0) / measured
        low, high = np.where(gaps, np.inf, values).min(axis=0), np.where(gaps, -np.inf, values).max(axis=0)
        kept = np.flatnonzero((zeros <= MOST_ZEROS) & (high > low))
        if not len(kept):
            raise InputError(
                f"none of the {values.shape[1]:,} features varies and is over 0 in {1 - MOST_ZEROS:.0%} of them",
                hint="Give a file with more features, or predict from the stored vectors: --method neighbours",
            )
        filling = np.where(gaps, 0, values)[:, kept].sum(axis=0, dtype=np.float64) / measured[kept]
        low, span = low[kept], (high - low)[kept]
        return cls(kept, filling.astype(np.float32), low.astype(np.float32), span.astype(np.float32))

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scaled, float32 (n, kept), from 0 to 1 also for values beyond those that were seen."""
        chosen = values[:, self.kept]
        chosen = np.where(np.isnan(chosen), self.filling, chosen)
        chosen -= self.low
        chosen /= self.span
        return np.clip(chosen, 0, 1, out=chosen)


def measured_by_patient(matrix: FeatureMatrix) -> Measured:
    """Mean linear measurements of each patient's samples, normal tissue aside, as a reference's vectors are summed.

    Features that whole groups of samples lack are left out, as an encoder does: what was not measured tells the tumour
    type.

    Raises
    ------
    InputError
        Fewer than two features are left, or the file has normal samples only.
    """
    uses = choose_features(matrix, faint=True)
    columns = np.flatnonzero([uses[name] == ENCODED for name in matrix.features])
    rows = np.flatnonzero([one.kind != "normal" for one in matrix.samples])
    if not len(rows):
        raise InputError("every sample is of normal tissue: nothing is told of a patient", file=matrix.report.file)
    values = matrix.values[np.ix_(rows, columns)]
    if matrix.scale == "log2":
        # Clipped at 0: a floor below it (log2 of a small number) is nothing measured, too.
        values = np.exp2(np.maximum(values, 0)) - 1
    patients, of = np.unique([matrix.samples[row].patient for row in rows.tolist()], return_inverse=True)
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(len(patients)))
    means = np.add.reduceat(values[order], starts, axis=0) / np.bincount(of)[:, None]
    everyone = {one.patient for one in matrix.samples}
    return Measured(
        tuple(patients.tolist()),
        means.astype(np.float32),
        tuple(matrix.features[column] for column in columns.tolist()),
        len(everyone) - len(patients),
    )
