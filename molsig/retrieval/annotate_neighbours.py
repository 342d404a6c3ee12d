"""The neighbours' vote on any column: in each modality the nearest patients speak, and what they say is weighed.

The voices are those that part of the learned evidence is made of (`molsig.retrieval.heads`, view ``neighbours``), for a
label that nothing was learned of; how much to trust each set of assays is learned by `molsig.retrieval.stacking`. A
number is the mean of the neighbours' values, as in `molsig.retrieval.numbers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.heads import NEIGHBOURS, class_log_prior, neighbour_evidence
from molsig.retrieval.neighbourhood import blocks, neighbourhood
from molsig.retrieval.numbers import VOTERS
from molsig.retrieval.patient_vectors import nearest_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Stored vectors of patients, by modality, and fused.

    Attributes
    ----------
    fused
        Fused vectors at length 1, float32 (patients, 768): for numbers.
    """

    vectors: PatientVectors
    fused: NDArray[np.float32]
    name: str = "neighbours"

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which patient has which modality, (modalities, patients)."""
        return self.vectors.matrix_present().T

    def tell(self, taught: Rows, codes: Rows, n_classes: int, asked: Rows) -> Array:
        """Log-likelihood ratios by each modality's nearest, (modalities, asked, classes); 0 where one is missing."""
        log_prior = class_log_prior(codes, n_classes)
        voices = np.zeros((len(self.vectors.modalities), len(asked), n_classes))
        for voice, modality in zip(voices, self.vectors.modalities, strict=True):
            block, held = self.vectors.vectors[modality], self.vectors.present[modality]
            some = np.flatnonzero(held[asked])
            able = held[taught]
            if len(some) and able.any():
                counts, _ = neighbourhood(block[asked[some]], block[taught[able]], codes[able], n_classes, NEIGHBOURS)
                voice[some] = neighbour_evidence(counts, log_prior)
        return voices

    def estimate(self, taught: Rows, values: Array, asked: Rows) -> tuple[Array, Array]:
        """Means of the nearest patients' numbers and how far these lie apart, (asked,) each."""
        means, spreads = np.empty(len(asked)), np.empty(len(asked))
        for block in blocks(len(asked), len(taught)):
            near, _ = nearest_rows(self.fused[asked[block]] @ self.fused[taught].T, VOTERS)
            means[block], spreads[block] = values[near].mean(axis=1), values[near].std(axis=1)
        return means, spreads
