"""The plain method: cosine of the sums, or of one modality, and the neighbours' shares as probabilities.

It is the baseline of every evaluation. `sum` is the aggregation of the study (doi 10.1101/2025.05.14.653900); a single
modality shows what that assay is worth on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.folds import numbered
from molsig.retrieval.neighbourhood import unit
from molsig.retrieval.patient_vectors import nearest_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.patient_vectors import PatientVectors

VOTERS = 20
"""Neighbours that a probability is made of."""
SMOOTHING = 2.0
"""How many neighbours the labels' shares of the gallery weigh against those found."""
STRANGE = 5
"""Neighbours whose mean cosine says how strange a query is."""
CALIBRATION = 2000
"""Gallery patients that conformal sets are calibrated on, at most."""
BLOCK = 512
ABSENT = -2.0
"""Score of a gallery patient without the modality: below every cosine."""


@dataclass(frozen=True)
class Plain:
    """Cosine neighbours.

    Attributes
    ----------
    modality
        Compare this modality alone; by default the sum of all.
    seed
        Of the draw of patients that conformal sets are calibrated on.
    """

    modality: str | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """``sum``, or the modality."""
        return self.modality or "sum"

    def fit(self, gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_]) -> FittedPlain:
        """Scale the gallery to unit length and calibrate on a part of it.

        Calibration asks about gallery patients and looks for their neighbours in other groups only, as a query's are
        looked for. Split conformal sets with the score 1 - p(true label): V. Vovk et al., Algorithmic learning in a
        random world, 2005, ch. 4; M. Sadinle et al., Least ambiguous set-valued classifiers, 2019.

        Raises
        ------
        UsageError
            Nobody in the gallery has a label, or the modality.
        """
        unit, present = _unit(gallery, self.modality)
        classes, code = np.unique(labels[labels != ""], return_inverse=True)
        codes = np.full(len(labels), -1, dtype=np.int64)
        codes[labels != ""] = code
        asked = np.flatnonzero((codes >= 0) & present)
        if not len(asked):
            raise UsageError(f"{self.name}: no stored patient with a label has vectors of it")
        asked = np.sort(np.random.default_rng(self.seed).permutation(asked)[:CALIBRATION])
        stored = np.flatnonzero(present)
        fitted = FittedPlain(self, tuple(classes.tolist()), unit[stored], stored, codes)
        # A patient without a group is compared with everybody but themselves.
        group = numbered(groups, alone="")
        misfits = np.empty(len(asked))
        for start in range(0, len(asked), BLOCK):
            rows = asked[start : start + BLOCK]
            barred = group[rows][:, None] == group[stored][None, :]
            shares = fitted.shares(*fitted.ranked(unit[rows], VOTERS, barred))
            misfits[start : start + len(rows)] = 1.0 - shares[np.arange(len(rows)), codes[rows]]
        return replace(fitted, misfits=np.sort(misfits))


@dataclass(frozen=True, eq=False)
class FittedPlain:
    """A gallery to find neighbours in.

    Attributes
    ----------
    method
        What was fitted.
    classes
        Labels, sorted.
    unit
        Vectors of length 1, float32 (stored, 768), of the gallery patients who have one.
    stored
        Their rows of the gallery, ascending, (stored,).
    codes
        Index into `classes`, (gallery,); -1 without a label.
    misfits
        1 - p(true label) of the calibration patients, sorted.
    """

    method: Plain
    classes: tuple[str, ...]
    unit: NDArray[np.float32]
    stored: NDArray[np.int64]
    codes: NDArray[np.int64]
    misfits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _last: list[tuple[PatientVectors, NDArray[np.int64], NDArray[np.float32]]] = field(default_factory=list, repr=False)

    def answers(self, queries: PatientVectors) -> NDArray[np.bool_]:
        """Whether each query has a vector to compare, (n,)."""
        return _unit(queries, self.method.modality)[1]

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery and cosines, best first, (n, min(k, gallery)); those without the modality come last."""
        # One question is asked three ways (neighbours, probabilities, strangeness): its ranking is kept for the next.
        k = min(k, len(self.codes))
        if self._last and self._last[0][0] is queries and self._last[0][1].shape[1] >= k:
            _, rows, scores = self._last[0]
            return rows[:, :k], scores[:, :k]
        asked, _ = _unit(queries, self.method.modality)
        blocks = [self.ranked(asked[i : i + BLOCK], k) for i in range(0, max(len(asked), 1), BLOCK)]
        rows, scores = np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])
        self._last[:] = [(queries, rows, scores)]
        return rows, scores

    def ranked(
        self, asked: NDArray[np.float32], k: int, barred: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best `k` rows of the gallery for a block of unit vectors; `barred`, (block, stored), may not be found."""
        cosine = asked @ self.unit.T
        if barred is not None:
            cosine[barred] = ABSENT
        found, scores = nearest_rows(cosine, k)
        rows = self.stored[found]
        if short := k - rows.shape[1]:
            others = np.setdiff1d(np.arange(len(self.codes)), self.stored)[:short]
            rows = np.hstack([rows, np.broadcast_to(others, (len(rows), short))])
            scores = np.hstack([scores, np.full((len(rows), short), ABSENT, dtype=np.float32)])
        return rows, scores

    def shares(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Labels' shares of the neighbours, pulled towards their shares of the gallery, (n, classes)."""
        prior = np.bincount(self.codes[self.codes >= 0], minlength=len(self.classes)).astype(np.float64)
        voting = (self.codes[rows] >= 0) & (scores > ABSENT)
        counts = np.zeros((len(rows), len(self.classes)))
        at = np.nonzero(voting)
        np.add.at(counts, (at[0], self.codes[rows[at]]), 1.0)
        counts += SMOOTHING * prior / prior.sum()
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))

    def probabilities(self, queries: PatientVectors) -> NDArray[np.float64]:
        """Smoothed shares of the nearest `VOTERS`, (n, classes); not calibrated."""
        return self.shares(*self.nearest(queries, VOTERS))

    def sets(self, queries: PatientVectors, probabilities: NDArray[np.float64], error: float) -> NDArray[np.bool_]:
        """Labels whose probability is not unusually low for a true one, (n, classes)."""
        n = len(self.misfits)
        rank = int(np.ceil((n + 1) * (1.0 - error)))
        # With too few calibration patients for so small an error only the set of all labels is safe.
        limit = self.misfits[rank - 1] if rank <= n else np.inf
        return np.asarray(1.0 - probabilities <= limit + 1e-12)

    def strangeness(self, queries: PatientVectors) -> NDArray[np.float64]:
        """1 less the mean cosine of the nearest `STRANGE`, (n,)."""
        _, scores = self.nearest(queries, STRANGE)
        return np.asarray(1.0 - scores.mean(axis=1), dtype=np.float64)


def _unit(vectors: PatientVectors, modality: str | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unit vectors, and who has one."""
    if modality is not None and modality not in vectors.vectors:
        raise UsageError(f"no {modality} vectors; there are {', '.join(vectors.modalities)}")
    block = vectors.sums() if modality is None else vectors.vectors[modality]
    return unit(block), np.asarray(block.any(axis=1))
