"""Invented vectors that lie as those of patients do: many uneven clusters of few real dimensions, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 50_000


@dataclass(frozen=True)
class Mixture:
    """Clusters in `intrinsic` dimensions, turned into 768, with noise of a share of each vector's length."""

    centres: int = 200
    intrinsic: int = 32
    spread: float = 0.7
    noise: float = 0.3

    def draw(
        self, rows: int, queries: int, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Return float32 rows (n, 768), the cluster of each, and queries drawn the same way."""
        random = np.random.default_rng(seed)
        centres = random.standard_normal((self.centres, self.intrinsic))
        turn = np.linalg.qr(random.standard_normal((DIM, self.intrinsic)))[0].T
        shares = random.dirichlet(np.full(self.centres, 2.0))
        cluster = random.choice(self.centres, rows + queries, p=shares)
        vectors = np.empty((rows + queries, DIM), np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            some = cluster[start : start + BLOCK_ROWS]
            inner = centres[some] + self.spread * random.standard_normal((len(some), self.intrinsic))
            size = self.noise * np.linalg.norm(inner, axis=1, keepdims=True) / np.sqrt(DIM)
            vectors[start : start + len(some)] = inner @ turn + size * random.standard_normal((len(some), DIM))
        return vectors[:rows], cluster[:rows], vectors[rows:]
