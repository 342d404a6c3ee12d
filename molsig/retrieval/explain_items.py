"""Which sentences or tiles of two patients are alike, and more alike than such items are in general.

The nearest two sentences of two reports are seldom what the reports have in common: "Specimen is received in formalin"
is near to its like in every report. So an item's cosine is seen beside how near it comes to the items of others:

    beyond(i, j) = 2 cos(i, j) - r(i) - r(j)          r: mean cosine to the `NEIGHBOURS` nearest items of others

Cross-domain similarity local scaling (Conneau et al. 2018, arXiv:1710.04087, section 2.3). Pairs are taken by it, the
best first, no item twice; the nearest pair by plain cosine is told too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

NEIGHBOURS = 10
"""As in the paper."""


@dataclass(frozen=True, slots=True)
class Close:
    """Rows of a pair, their cosine, how far it is beyond what either has with others, and if it is the nearest pair."""

    query: int
    hit: int
    cosine: float
    beyond: float
    nearest: bool


def closest(query: Vectors, hit: Vectors, others: Vectors, most: int) -> tuple[Close, ...]:
    """Up to `most` pairs of items of two patients, the best first; the nearest by cosine is among them, or follows.

    Parameters
    ----------
    query, hit, others
        Vectors of the two patients' items and of some of other patients, (n, 768), (m, 768), (k, 768).
    """
    a, b, c = _unit(query), _unit(hit), _unit(others)
    cosines = a @ b.T
    beyond = 2 * cosines - _commonness(a, c)[:, None] - _commonness(b, c)[None, :]
    nearest = divmod(int(cosines.argmax()), cosines.shape[1])
    left = beyond.copy()
    pairs = []
    for _ in range(min(most, *cosines.shape)):
        i, j = divmod(int(left.argmax()), left.shape[1])
        pairs.append((i, j))
        left[i], left[:, j] = -np.inf, -np.inf
    if nearest not in pairs:
        pairs.append(nearest)
    return tuple(Close(i, j, float(cosines[i, j]), float(beyond[i, j]), (i, j) == nearest) for i, j in pairs)


def _commonness(items: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean cosine of each item to its nearest among others; 0 where there are none."""
    k = min(NEIGHBOURS, len(others))
    if not k:
        return np.zeros(len(items))
    parts = [items[start : start + 512] @ others.T for start in range(0, len(items), 512)]
    return np.concatenate([np.partition(part, -k, axis=1)[:, -k:].mean(axis=1) for part in parts])


def _unit(vectors: Vectors) -> NDArray[np.float64]:
    block = vectors.astype(np.float64)
    return np.asarray(block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12))
