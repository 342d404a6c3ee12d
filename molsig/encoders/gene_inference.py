"""The genes that were not measured, inferred from landmark genes that were, by ridge regression.

    x, y   landmarks and targets, each gene less its mean over its standard deviation, both of the fitted samples,
           no value beyond 5
    B      = argmin |y - x B|^2 + penalty |B|^2 = V diag(s / (s^2 + penalty)) U^T y        x = U diag(s) V^T

One singular value decomposition serves every target and every penalty. The one penalty of all targets is chosen on
patients that are held back, by the square error over all targets, and B is then fitted to everybody. scikit-learn's
RidgeCV would choose it by leaving out one sample at a time, when the normal tissue of the same patient stays in, and
holds the targets several times over; here they are looked at in blocks.

Linear regression is what the L1000 assay infers its targets with (Subramanian et al. 2017,
doi:10.1016/j.cell.2017.10.049) and what D-GEX (`deep_inference`) was measured against (Chen et al. 2016,
doi:10.1093/bioinformatics/btw074).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.expression import standardise
from molsig.errors import MolsigError, UsageError
from molsig.types import SampleId, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.types import Progress

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.int64]

PENALTIES = tuple(10.0**exponent for exponent in np.arange(-4, 2.25, 0.25))
"""Penalties that are tried, in units of the mean of s^2."""
VALIDATION_SHARE = 0.2
"""Share of the patients that a penalty or an epoch is chosen on."""

_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and standard deviation of genes, both (genes,), over the samples that something was fitted to."""

    mean: Matrix
    deviation: Matrix

    @classmethod
    def of(cls, values: Matrix) -> Standard:
        """Of samples by genes, NaN where not measured; a deviation of 1 where a gene does not vary."""
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.sum(values, axis=0, where=known, dtype=np.float64) / count
        square = np.zeros(values.shape[1])
        for part in column_blocks(*values.shape):
            far = np.where(known[:, part], values[:, part] - mean[part], 0.0)
            square[part] = np.square(far).sum(axis=0)
        deviation = np.sqrt(square / count)
        deviation[deviation < 1e-6] = 1.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def some(self, part: slice) -> Standard:
        """Of some of the genes."""
        return Standard(self.mean[part], self.deviation[part])

    def apply(self, values: Matrix) -> Matrix:
        """Standardised copy, no value beyond 5; what was not measured is at its mean."""
        return standardise(np.array(values, dtype=np.float32), self.mean, self.deviation)


def column_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Columns in blocks of some megabytes of cells."""
    step = max(1, _BLOCK_CELLS // max(1, rows))
    for start in range(0, columns, step):
        yield slice(start, min(columns, start + step))


def checked(landmarks: Matrix, targets: Matrix, groups: Sequence[str]) -> None:
    """Raise `UsageError` if the three are not of the same samples or there is nothing to learn."""
    if not len(landmarks) == len(targets) == len(groups):
        raise UsageError(
            f"landmarks of {len(landmarks)} samples, targets of {len(targets)} and groups of {len(groups)}: "
            "give the same samples"
        )
    if landmarks.shape[1] == 0 or targets.shape[1] == 0:
        raise UsageError("inference needs at least one landmark and one target")
    if len(set(groups)) < 2:
        raise UsageError("inference needs samples of at least two patients")


def held_back(groups: Sequence[str], share: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit on and rows to choose on, no patient in both; none of the latter with very few patients."""
    from molsig.encoders.training import split_groups

    return split_groups([SampleId(str(i), one) for i, one in enumerate(groups)], None, share, seed)


class Ridge:
    """Ridge regression of all targets on the landmarks, one penalty for all.

    Parameters
    ----------
    penalties
        What is tried, in units of the mean squared singular value of the standardised landmarks. A single one is taken
        as it is.
    seed
        Of the patients who are held back.

    Attributes
    ----------
    penalty
        The one that was chosen.
    errors
        Mean square error of each penalty on the patients held back, in units of a target's variance; empty where
        there were too few of them to hold any back, which takes the middle penalty.
    """

    def __init__(self, penalties: Sequence[float] = PENALTIES, *, seed: int = 0) -> None:
        if not penalties or min(penalties) <= 0:
            raise UsageError("give one penalty or more, each above 0")
        self._penalties = tuple(penalties)
        self._seed = seed
        self._weights: Matrix | None = None
        self.penalty = 0.0
        self.errors: dict[float, float] = {}

    def fit(self, landmarks: Matrix, targets: Matrix, groups: Sequence[str], *, progress: Progress = silent) -> Ridge:
        """Fit to samples.

        Parameters
        ----------
        landmarks, targets
            Log2 expression, (n_samples, n_landmarks) and (n_samples, n_targets), NaN where not measured.
        groups
            Patient of each sample.

        Returns
        -------
        Ridge
            Itself.

        Raises
        ------
        UsageError
            The three do not belong together.
        """
        checked(landmarks, targets, groups)
        self.penalty = self._chosen(landmarks, targets, groups, progress)
        self._x, self._y = Standard.of(landmarks), Standard.of(targets)
        path = _Path(self._x.apply(landmarks))
        weights = np.empty((landmarks.shape[1], targets.shape[1]), dtype=np.float32)
        for part in column_blocks(len(targets), targets.shape[1]):
            weights[:, part] = path.weights(self._y.some(part).apply(targets[:, part]), self.penalty)
        self._weights = weights
        return self

    def _chosen(self, landmarks: Matrix, targets: Matrix, groups: Sequence[str], progress: Progress) -> float:
        rows, judges = held_back(groups, VALIDATION_SHARE, self._seed)
        if len(self._penalties) == 1 or not len(judges):
            return self._penalties[len(self._penalties) // 2]
        fitted = targets[rows]
        x, y = Standard.of(landmarks[rows]), Standard.of(fitted)
        path = _Path(x.apply(landmarks[rows]))
        asked = path.rotated(x.apply(landmarks[judges]))
        errors = np.zeros(len(self._penalties))
        for part in column_blocks(len(targets), targets.shape[1]):
            turned = path.turned(y.some(part).apply(fitted[:, part]))
            truth = y.some(part).apply(targets[judges, part])
            for i, penalty in enumerate(self._penalties):
                errors[i] += np.square((asked * path.shrunk(penalty)) @ turned - truth).sum(dtype=np.float64)
            progress("choose the penalty", part.stop, targets.shape[1])
        errors /= len(judges) * targets.shape[1]
        self.errors = dict(zip(self._penalties, errors.tolist(), strict=True))
        return self._penalties[int(errors.argmin())]

    def predict(self, landmarks: Matrix) -> Matrix:
        """Targets of other samples, (n_samples, n_targets), in the units of the fitted ones.

        Raises
        ------
        MolsigError
            Nothing was fitted yet.
        UsageError
            There are other landmarks than were fitted.
        """
        if self._weights is None:
            raise MolsigError("fit the regression before it is asked")
        check_width(landmarks, len(self._x.mean))
        found: Matrix = self._x.apply(landmarks) @ self._weights
        found *= self._y.deviation
        found += self._y.mean
        return found


def check_width(landmarks: Matrix, n: int) -> None:
    """Raise `UsageError` unless there are `n` landmarks."""
    if landmarks.shape[1] != n:
        raise UsageError(f"{landmarks.shape[1]} landmarks are given, the model was fitted to {n}")


class _Path:
    """The ridge solutions of one set of standardised landmarks, for all penalties."""

    def __init__(self, x: Matrix) -> None:
        self._u, s, self._v = np.linalg.svd(x, full_matrices=False)
        kept = s > s[0] * max(x.shape) * np.finfo(np.float32).eps
        self._u, self._s, self._v = self._u[:, kept], s[kept], self._v[kept]
        self._unit = float(np.square(s).mean())

    def rotated(self, x: Matrix) -> Matrix:
        """Samples in the directions of V, (n, rank)."""
        rotated: Matrix = x @ self._v.T
        return rotated

    def turned(self, y: Matrix) -> Matrix:
        """U^T y, (rank, targets)."""
        turned: Matrix = self._u.T @ y
        return turned

    def shrunk(self, penalty: float) -> Matrix:
        """s / (s^2 + penalty), (rank,)."""
        shrunk: Matrix = self._s / (np.square(self._s) + np.float32(penalty * self._unit))
        return shrunk

    def weights(self, y: Matrix, penalty: float) -> Matrix:
        """B, (landmarks, targets)."""
        weights: Matrix = (self._v.T * self.shrunk(penalty)) @ self.turned(y)
        return weights
