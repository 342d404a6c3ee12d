"""Fusion without labels: each modality centred, at length 1, weighted by how well others confirm it, then summed.

How well a modality retrieves cannot be measured without labels, but patients who are alike in one modality should be
alike in the others. A modality's weight is the mean correlation of its cosines with those of each other modality, over
random pairs of patients who have both; one that nothing confirms gets little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.neighbourhood import unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.patient_vectors import PatientVectors

PAIRS = 20_000
FEWEST_SHARED = 20
"""Patients with both modalities below which their agreement is not measured."""
LEAST = 0.05
"""Smallest weight: a modality that is all a patient has must still find somebody."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """Centres, (768,), and weights by modality."""

    centres: Mapping[str, NDArray[np.float32]]
    weights: Mapping[str, float]

    def fused(self, vectors: PatientVectors) -> NDArray[np.float32]:
        """Fused vectors at length 1, (n, 768)."""
        total = np.zeros((len(vectors), 768), dtype=np.float32)
        for modality, centre in self.centres.items():
            if modality in vectors.vectors and (held := vectors.present[modality]).any():
                part = unit(unit(vectors.vectors[modality]) - centre)
                part *= np.float32(self.weights[modality])
                total += part if held.all() else np.where(held[:, None], part, np.float32(0))
        return unit(total)


def fit_weighted(vectors: PatientVectors, *, seed: int = 0) -> Weighted:
    """Measure centres and weights; labels have no part in it."""
    rng = np.random.default_rng(seed)
    centres = {}
    directions = {}
    for modality in vectors.modalities:
        held = vectors.present[modality]
        block = unit(vectors.vectors[modality])
        centres[modality] = block[held].mean(axis=0) if held.any() else np.zeros(768, dtype=np.float32)
        directions[modality] = unit(block - centres[modality])
    agreement: dict[str, list[float]] = {modality: [] for modality in vectors.modalities}
    for i, one in enumerate(vectors.modalities):
        for other in vectors.modalities[i + 1 :]:
            both = np.flatnonzero(vectors.present[one] & vectors.present[other])
            if len(both) < FEWEST_SHARED:
                continue
            a, b = rng.choice(both, PAIRS), rng.choice(both, PAIRS)
            a, b = a[a != b], b[a != b]
            cosines = [np.einsum("nd,nd->n", directions[m][a], directions[m][b]) for m in (one, other)]
            found = float(np.corrcoef(cosines[0], cosines[1])[0, 1])
            agreement[one].append(found)
            agreement[other].append(found)
    weights = {m: max(LEAST, float(np.mean(found))) if found else LEAST for m, found in agreement.items()}
    if all(not found for found in agreement.values()):
        weights = dict.fromkeys(weights, 1.0)
    return Weighted(centres, weights)
