"""The nearest stored patients in each modality on its own, in memory: how near they are, and of which class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.patient_vectors import nearest_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK_CELLS = 8_000_000
"""Cosines held at a time: 32 MB."""

STRANGE_AFTER = 5
"""Neighbours whose mean cosine says how familiar a vector is."""

_NOBODY = -2.0
"""In place of the cosine of a patient who is not there."""


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors at length 1; zeros stay zeros."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9)))


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of `n` rows of which each makes at most `BLOCK_CELLS` cells of `width` columns."""
    step = max(1, BLOCK_CELLS // max(1, width))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def neighbourhood(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    classes: NDArray[np.int64],
    n_classes: int,
    k: int,
    *,
    without: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Classes and nearness of the nearest gallery vectors.

    Parameters
    ----------
    queries, gallery
        Vectors, (n, 768) and (m, 768), compared by cosine.
    classes
        Class of each gallery vector, (m,); -1 has no vote.
    k
        Neighbours that vote.
    without
        For each query a class that is taken out of the gallery, (n,).

    Returns
    -------
    counts : ndarray
        How many of the `k` nearest with a class are of each, (n, n_classes).
    nearness : ndarray
        Mean cosine of the `STRANGE_AFTER` nearest, (n,); -1 where there is nobody.
    """
    counts = np.zeros((len(queries), n_classes))
    nearness = np.full(len(queries), -1.0)
    if not len(gallery):
        return counts, nearness
    stored, asked = unit(gallery), unit(queries)
    for block in blocks(len(asked), len(stored)):
        cosines = asked[block] @ stored.T
        if without is not None:
            cosines[without[block, None] == classes] = _NOBODY
        _, best = nearest_rows(cosines, STRANGE_AFTER)
        there = best > _NOBODY
        nearness[block] = np.where(there, best, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        nearness[block][~there.any(axis=1)] = -1.0
        cosines[:, classes < 0] = _NOBODY
        found, best = nearest_rows(cosines, min(k, int((classes >= 0).sum())))
        rows = np.repeat(np.arange(block.start, block.stop), found.shape[1])
        voters = best.ravel() > _NOBODY
        np.add.at(counts, (rows[voters], classes[found.ravel()[voters]]), 1)
    return counts, nearness
