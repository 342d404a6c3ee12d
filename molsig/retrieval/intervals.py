"""Numbers cut into intervals, so that they can be told as labels."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

AGE_CUTS: Mapping[int, tuple[float, ...]] = {2: (65.0,), 3: (45.0, 70.0), 4: (30.0, 60.0, 80.0)}
"""Years at which the study cuts ages into so many intervals (Fiosina et al., Deep learning for sRNA metadata, table 3).
"""


def interval_names(cuts: Sequence[float]) -> tuple[str, ...]:
    """What the intervals are called, the lowest first; the upper end belongs to each.

    Raises
    ------
    UsageError
        No cut is given, or they do not ascend.
    """
    ends = [float(one) for one in cuts]
    if not ends or not np.isfinite(ends).all() or any(a >= b for a, b in pairwise(ends)):
        raise UsageError(f"cuts {', '.join(f'{one:g}' for one in ends) or 'none'}: give ascending numbers, e.g. 45,70")
    between = [f"over {a:g} to {b:g}" for a, b in pairwise(ends)]
    return (f"up to {ends[0]:g}", *between, f"over {ends[-1]:g}")


def cut(values: NDArray[np.float64], cuts: Sequence[float]) -> NDArray[np.int64]:
    """The interval of each number, (n,) from 0."""
    return np.searchsorted(np.asarray(cuts, dtype=np.float64), values, side="left")
