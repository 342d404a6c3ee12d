"""Intervals by resampling patients.

Every figure is a function of patient weights: with a weight of one each it is the figure itself, with the counts of a
resample (n patients drawn with replacement) it is one bootstrap draw. Hundreds of draws are computed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""Weights of n patients, float64 (draws, n), to one figure per draw, (draws,), or several, (draws, m)."""

DRAWS = 1000
LEVEL = 0.95
_BLOCK = 4_000_000
"""Weights that are held at once."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its bootstrap interval.

    Attributes
    ----------
    value
        The figure over all n patients; None where they do not define it (an AUROC without a patient of one side).
    low, high
        Ends of the interval; None where no resample defines the figure.
    n
        Patients it was computed from.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def resample(n: int, draws: int = DRAWS, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each of `n` patients is drawn in each resample, in blocks: float64 (some, n), rows sum to n."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(n, 1))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def with_intervals(
    statistics: Mapping[str, Statistic],
    n: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
    biased: frozenset[str] = frozenset(),
) -> dict[str, list[Figure]]:
    """Each statistic with its percentile interval; all of them see the same resamples.

    Parameters
    ----------
    statistics
        By name.
    n
        Patients, at least one.
    draws, seed, level
        Resamples, their seed, and the share of them that the interval holds.
    biased
        Names of statistics that chance alone moves one way, such as a calibration error, which grows with every
        resample. Their draws are shifted by the mean of that move before the percentiles are taken, and end at 0.

    Returns
    -------
    By name: one `Figure`, or as many as the statistic gives.

    Raises
    ------
    UsageError
        There is no patient.
    """
    if n < 1:
        raise UsageError("no patient to compute a figure from")
    once = np.ones((1, n))
    points = {name: _columns(statistic(once))[0] for name, statistic in statistics.items()}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for weights in resample(n, draws, seed):
        for name, statistic in statistics.items():
            drawn[name].append(_columns(statistic(weights)))
    return {
        name: _figures(point, np.concatenate(drawn[name]), n, level, name in biased) for name, point in points.items()
    }


def _columns(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[:, None] if values.ndim == 1 else values


def _figures(
    point: NDArray[np.float64], drawn: NDArray[np.float64], n: int, level: float, biased: bool
) -> list[Figure]:
    ends = []
    for value, column in zip(point, drawn.T, strict=True):
        defined = column[np.isfinite(column)]
        if not len(defined):
            ends.append((np.nan, np.nan))
            continue
        if biased:
            defined = np.maximum(defined - (defined.mean() - value), 0.0)
        low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
        ends.append((float(low), float(high)))
    return [
        Figure(_known(float(value)), _known(low), _known(high), n)
        for value, (low, high) in zip(point, ends, strict=True)
    ]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
