"""How a sum's energy spreads over directions that modalities share unequally: what the network counts by.

For each modality m the directions v solve Sigma_m v = lambda S v, S being the covariances of all modalities and a
little of the same in every direction: first come those in which m varies and others do not (lambda near 1), last those
that m leaves empty. Energies (v'x)^2 along neighbouring directions are averaged in bands. In the first bands they grow
with the number of m's vectors in the sum and hardly with anything else, and eight of them bear heavy tails and mixed
tumour types better than the one quadratic statistic that would be best were all vectors Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.mixture import Mixture

EDGES = (0, 8, 24, 56, 120, 240, 400, 600, DIM)
"""Where bands begin and end: narrow where a modality is nearly alone."""

FOREIGN = 0.05
"""Share of the foreign component in S: no direction counts that is as empty in all modalities as rounding leaves it."""

_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Bands:
    """Directions by modality.

    Attributes
    ----------
    axes
        float32 (modalities, 768, 768): a direction per column, those of the modality's own first.
    """

    axes: NDArray[np.float32]

    @classmethod
    def of(cls, mixture: Mixture) -> Bands:
        """Find the directions of a mixture's modalities."""
        from scipy.linalg import eigh

        shared = mixture.covariances.sum(axis=0) + FOREIGN * mixture.spread * np.eye(DIM)
        # eigh orders by lambda, smallest first.
        return cls(np.stack([eigh(one, shared)[1][:, ::-1] for one in mixture.covariances]).astype(np.float32))

    def energies(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Root and logarithm of the mean energy in each band of each modality, float32 (k, modalities * bands * 2)."""
        width = len(EDGES) - 1
        size = np.diff(EDGES).astype(np.float32)
        found = np.empty((len(vectors), len(self.axes), 2, width), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for m, axes in enumerate(self.axes):
                energy = np.add.reduceat(np.square(vectors[rows] @ axes), EDGES[:-1], axis=1) / size
                found[rows, m, 0] = np.sqrt(energy)
                found[rows, m, 1] = np.log(energy + 1e-12)
        return found.reshape(len(vectors), -1)

    def inputs(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network sees of sums: the vectors and their energies, float32 (k, 768 + energies)."""
        return np.concatenate([vectors, self.energies(vectors)], axis=1)
