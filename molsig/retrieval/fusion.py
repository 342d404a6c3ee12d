"""The fusions as methods over patients in memory: how they are measured, and how a notebook uses them.

`Evidence` ranks stored patients by the probability that they are of the query's class; patients of one class are ranked
by how near they are in the modalities that both have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.evidence import fit_evidence
from molsig.retrieval.heads import NEIGHBOURS
from molsig.retrieval.neighbourhood import blocks, neighbourhood, unit
from molsig.retrieval.patient_vectors import nearest_rows
from molsig.retrieval.weighted import fit_weighted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.weighted import Weighted

    Array = NDArray[np.float64]

WITHIN = 4.0
"""Nats that a cosine of 1 in the weighted fusion is worth beside the log-probability of being of one class."""


@dataclass(frozen=True, eq=False)
class FittedWeighted:
    """Cosine of weighted sums."""

    gallery: PatientVectors
    weighted: Weighted

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery, best first, and their scores, each (n, k)."""
        return _nearest(self.weighted.fused(queries), self.weighted.fused(self.gallery), k)


@dataclass(frozen=True, eq=False)
class FittedEvidence:
    """Evidence for a label, over a gallery of patients."""

    gallery: PatientVectors
    classes_of: NDArray[np.int64]
    model: EvidenceModel
    weighted: Weighted
    within: float = WITHIN

    @property
    def classes(self) -> tuple[str, ...]:
        """Values of the label, sorted."""
        return self.model.classes

    def nearest(self, queries: PatientVectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the gallery, best first, and their scores, each (n, k)."""
        asked = self.probabilities(queries)
        own = self.model.log_posterior(self.model.evidence(self.gallery), self.model.present(self.gallery))
        stored = np.exp(own).astype(np.float32)
        left, right = self.weighted.fused(queries), self.weighted.fused(self.gallery)
        found = []
        for block in blocks(len(queries), len(self.gallery)):
            same = np.log(asked[block].astype(np.float32) @ stored.T + np.float32(1e-9))
            found.append(nearest_rows(same + np.float32(self.within) * (left[block] @ right.T), k))
        return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])

    def neighbours(self, queries: PatientVectors) -> tuple[dict[str, Array], dict[str, Array]]:
        """Classes and nearness of the nearest in each modality: see `neighbourhood`."""
        counts, nearness = {}, {}
        for modality in self.model.unfamiliar:
            held = np.flatnonzero(self.gallery.present[modality])
            counts[modality], nearness[modality] = neighbourhood(
                queries.vectors[modality],
                self.gallery.vectors[modality][held],
                self.classes_of[held],
                len(self.classes),
                NEIGHBOURS,
            )
        return counts, nearness

    def probabilities(self, queries: PatientVectors) -> Array:
        """Probability of each class, (n, classes)."""
        counts, _ = self.neighbours(queries)
        return np.asarray(
            np.exp(self.model.log_posterior(self.model.evidence(queries, counts), self.model.present(queries)))
        )

    def sets(self, queries: PatientVectors, probabilities: Array, error: float) -> NDArray[np.bool_]:
        """Conformal sets, bool (n, classes)."""
        return self.model.sets(probabilities, self.model.present(queries), error)

    def strangeness(self, queries: PatientVectors) -> Array:
        """Share of stored patients who are less strange, (n,)."""
        _, nearness = self.neighbours(queries)
        return self.model.strangeness(nearness, self.model.present(queries))


def fit_fused_evidence(
    gallery: PatientVectors, labels: NDArray[np.str_], groups: NDArray[np.str_] | None = None, *, seed: int = 0
) -> FittedEvidence:
    """Learn the evidence for a label on a gallery; see `fit_evidence`."""
    model = fit_evidence(gallery, labels, groups, seed=seed)
    place = {name: i for i, name in enumerate(model.classes)}
    codes = np.array([place.get(str(one), -1) for one in labels], dtype=np.int64)
    return FittedEvidence(gallery, codes, model, fit_weighted(gallery, seed=seed))


def _nearest(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    left, right = unit(queries), unit(gallery)
    found = [nearest_rows(left[block] @ right.T, k) for block in blocks(len(left), len(right))]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])
