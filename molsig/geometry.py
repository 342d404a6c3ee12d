"""Moves between spaces of different width that more than one room needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def isometry(dims: int, into: int, seed: int) -> NDArray[np.float64]:
    """A matrix with orthonormal rows, shape (`dims`, `into`), `dims` <= `into`; the same for the same seed.

    The orthogonal factor of a Gaussian matrix, its signs fixed by a positive diagonal of the triangular factor (F.
    Mezzadri, How to generate random matrices from the classical compact groups, 2007).
    """
    gauss = np.random.default_rng(seed).standard_normal((into, dims))
    factor, triangle = np.linalg.qr(gauss)
    return np.asarray((factor * np.sign(np.diagonal(triangle))).T)
