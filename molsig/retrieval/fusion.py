"""The fusions as methods over patients in memory: how they are measured, and how a notebook uses them.

`Evidence` ranks stored patients by the probability that they are of the query's class; patients of one class are ranked
by how near they are in the modalities that both have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.heads import NEIGHBOURS
from molsig.retrieval.neighbourhood import blocks, neighbourhood
from molsig.retrieval.patient_vectors import PatientVectors, nearest_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.plain import FittedPlain
    from molsig.retrieval.weighted import Weighted

    Array = NDArray[np.float64]

WITHIN = 4.0
"""Nats that a cosine of 1 in the weighted fusion is worth beside the log-probability of being of one class."""


@dataclass(frozen=True)
class WeightedFusion:
    """The method `weighted`: what `Plain` does, on the fused vectors."""

    seed: int = 0
    name: str = "weighted"

    def fit(self, gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_]) -> FittedWeighted:
        """Measure weights, then calibrate as `Plain` does."""
        from molsig.retrieval.plain import Plain
        from molsig.retrieval.weighted import fit_weighted

        weighted = fit_weighted(gallery, seed=self.seed)
        plain = Plain(self.name, seed=self.seed).fit(_as_one(weighted, gallery), labels, groups)
        return FittedWeighted(weighted, plain)


@dataclass(frozen=True, eq=False)
class FittedWeighted:
    """Cosine of weighted sums."""

    weighted: Weighted
    plain: FittedPlain
    _last: list[tuple[PatientVectors, PatientVectors]] = field(default_factory=list, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Values of the label, sorted."""
        return self.plain.classes

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery, best first, and their scores, each (n, k)."""
        return self.plain.nearest(self._fused(queries), k)

    def probabilities(self, queries: PatientVectors) -> Array:
        """Smoothed shares of the neighbours, (n, classes)."""
        return self.plain.probabilities(self._fused(queries))

    def sets(self, queries: PatientVectors, probabilities: Array, error: float) -> NDArray[np.bool_]:
        """Conformal sets, bool (n, classes)."""
        return self.plain.sets(self._fused(queries), probabilities, error)

    def strangeness(self, queries: PatientVectors) -> Array:
        """1 - mean cosine of the nearest, (n,)."""
        return self.plain.strangeness(self._fused(queries))

    def _fused(self, queries: PatientVectors) -> PatientVectors:
        # One question is asked several ways; the same object lets `plain` keep its ranking.
        if not self._last or self._last[0][0] is not queries:
            self._last[:] = [(queries, _as_one(self.weighted, queries))]
        return self._last[0][1]


def _as_one(weighted: Weighted, vectors: PatientVectors) -> PatientVectors:
    """Fused vectors as the only modality."""
    held = np.any([vectors.present[m] for m in weighted.centres if m in vectors.present], axis=0)
    return PatientVectors(vectors.patients, {"weighted": weighted.fused(vectors)}, {"weighted": held})


@dataclass(frozen=True)
class EvidenceFusion:
    """The method `evidence`."""

    seed: int = 0
    name: str = "evidence"

    def fit(self, gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_]) -> FittedEvidence:
        """Learn the evidence for the labels, out of groups where there are any."""
        return fit_fused_evidence(gallery, labels, groups if (groups != "").any() else None, seed=self.seed)


@dataclass(frozen=True, eq=False)
class FittedEvidence:
    """Evidence for a label, over a gallery of patients.

    Attributes
    ----------
    gallery
        Patients who can be found.
    classes_of
        Class of each, -1 without one, (gallery,).
    stored
        Probabilities of the classes by each one's own vectors, (gallery, classes).
    fused
        Their fused vectors, (gallery, 768).
    within
        Nats that a cosine of 1 is worth.
    """

    gallery: PatientVectors
    classes_of: NDArray[np.int64]
    model: EvidenceModel
    weighted: Weighted
    stored: NDArray[np.float32]
    fused: NDArray[np.float32]
    within: float = WITHIN
    _last: list[tuple[PatientVectors, Array, dict[str, Array]]] = field(default_factory=list, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Values of the label, sorted."""
        return self.model.classes

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery, best first, and their scores, each (n, k)."""
        asked = self.probabilities(queries)
        left = self.weighted.fused(queries)
        found = []
        for block in blocks(len(queries), len(self.gallery)):
            same = np.log(asked[block].astype(np.float32) @ self.stored.T + np.float32(1e-9))
            found.append(nearest_rows(same + np.float32(self.within) * (left[block] @ self.fused.T), k))
        return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])

    def _judged(self, queries: PatientVectors) -> tuple[Array, dict[str, Array]]:
        """Log-probability of each class, (n, classes), and by modality the nearness of the nearest: `neighbourhood`."""
        # One question is asked several ways; what was made of it is kept for the next.
        if not self._last or self._last[0][0] is not queries:
            counts, nearness = {}, {}
            for modality in self.model.compared:
                held = np.flatnonzero(self.gallery.present[modality])
                counts[modality], nearness[modality] = neighbourhood(
                    queries.vectors[modality],
                    self.gallery.vectors[modality][held],
                    self.classes_of[held],
                    len(self.classes),
                    NEIGHBOURS,
                )
            log_posterior = self.model.log_posterior(self.model.evidence(queries, counts), self.model.present(queries))
            self._last[:] = [(queries, log_posterior, nearness)]
        return self._last[0][1], self._last[0][2]

    def probabilities(self, queries: PatientVectors) -> Array:
        """Probability of each class, (n, classes)."""
        return np.asarray(np.exp(self._judged(queries)[0]))

    def sets(self, queries: PatientVectors, probabilities: Array, error: float) -> NDArray[np.bool_]:
        """Conformal sets, bool (n, classes)."""
        return self.model.sets(probabilities, self.model.present(queries), error)

    def strangeness(self, queries: PatientVectors) -> Array:
        """Share of stored patients who are less strange, (n,)."""
        log_posterior, nearness = self._judged(queries)
        return self.model.strangeness(nearness, self.model.present(queries), log_posterior)


def fit_fused_evidence(
    gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_] | None = None, *, seed: int = 0
) -> FittedEvidence:
    """Learn the evidence for a label on a gallery; see `fit_evidence`."""
    from molsig.retrieval.evidence_fit import fit_evidence
    from molsig.retrieval.weighted import fit_weighted

    model = fit_evidence(gallery, labels, groups, seed=seed)
    place = {name: i for i, name in enumerate(model.classes)}
    codes = np.array([place.get(str(one), -1) for one in labels], dtype=np.int64)
    own = model.log_posterior(model.evidence(gallery), model.present(gallery))
    weighted = fit_weighted(gallery, seed=seed)
    return FittedEvidence(gallery, codes, model, weighted, np.exp(own).astype(np.float32), weighted.fused(gallery))
