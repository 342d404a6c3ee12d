"""Features that differ between two groups of samples of the same types, such as metastases and primary tumours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from molsig.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEAST = 3
"""Samples of either group that a type needs to be compared within."""


@dataclass(frozen=True, slots=True)
class Differential:
    """What differs within types.

    Attributes
    ----------
    difference
        Of the means, group less the others, in units of `x`, pooled over types.
    t
        Its t statistic in the linear model x ~ type + group, (features,).
    q
        False discovery rate by Benjamini and Hochberg.
    types
        Types that have both groups; n of the group and of the others in each.
    """

    difference: Array
    t: Array
    q: Array
    types: dict[str, tuple[int, int]]

    def ranking(self) -> NDArray[np.int64]:
        """Places of the features, the greatest |t| first."""
        return np.argsort(-np.abs(self.t), kind="stable")


def comparable(types: Sequence[str], group: Sequence[bool]) -> dict[str, tuple[int, int]]:
    """Types that have `LEAST` samples of the group and as many others, with how many of both."""
    of, marked = np.asarray(types), np.asarray(group, dtype=bool)
    sizes = {
        str(name): (int((marked & (of == name)).sum()), int((~marked & (of == name)).sum())) for name in np.unique(of)
    }
    return {name: n for name, n in sizes.items() if min(n) >= LEAST}


def differential(x: NDArray[np.floating], types: Sequence[str], group: Sequence[bool]) -> Differential:
    """Compare a group with the others within each type, so that what tells the types apart cannot be mistaken for it.

    Raises
    ------
    InputError
        No type has enough samples of both.
    """
    data, of, marked = np.asarray(x, dtype=np.float64), np.asarray(types), np.asarray(group, dtype=bool)
    both = comparable(types, group)
    if not both:
        raise InputError(f"no type has {LEAST} samples of the group and {LEAST} others to compare")
    kept = np.isin(of, list(both))
    data, of, marked = data[kept].copy(), of[kept], marked[kept].astype(np.float64)
    for name in both:
        rows = of == name
        data[rows] -= data[rows].mean(axis=0)
        marked[rows] -= marked[rows].mean()
    weight = marked @ marked
    slope = marked @ data / weight
    residual = np.square(data - np.outer(marked, slope)).sum(axis=0)
    freedom = max(1, len(data) - len(both) - 1)
    t = slope / np.sqrt(np.maximum(residual / freedom / weight, 1e-300))
    return Differential(slope, t, stats.false_discovery_control(2 * stats.t.sf(np.abs(t), freedom)), both)
