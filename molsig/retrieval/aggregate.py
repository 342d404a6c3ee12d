"""Summed aggregates: several vectors of a patient as one (doi 10.1101/2025.05.14.653900, Embedding Aggregation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def aggregate(vectors: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Sum vectors into one.

    Parameters
    ----------
    vectors
        Arrays of shape (n_i, 768), one per modality or sample.

    Returns
    -------
    ndarray
        float32, shape (768,). Summed in float64, so that the order of the terms does not show.
    """
    total = np.zeros(DIM, np.float64)
    for block in vectors:
        total += block.sum(axis=0, dtype=np.float64)
    return total.astype(np.float32)
