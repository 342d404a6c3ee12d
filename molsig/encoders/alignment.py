"""One sample at a time onto an encoder's reference profile, so that another pipeline's values mean the same.

Pipelines differ in depth, in library composition and in how strongly weak genes are lifted. Those differences change a
sample's values together and keep most of their order; a quantile mapping (Bolstad et al. 2003,
doi:10.1093/bioinformatics/19.2.185) onto the distribution the encoder was fitted on removes them and needs no second
sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Alignment = Literal["quantile", "size_factor", "none"]
ALIGNMENTS: tuple[Alignment, ...] = ("quantile", "size_factor", "none")

FEWEST_FEATURES = 50
"""With fewer features a sample's own biology would be taken for its pipeline: `choose_alignment` then says ``none``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What samples are aligned to.

    Attributes
    ----------
    means
        Mean of each feature over the fitted samples, shape (n_features,).
    quantiles
        Mean of the fitted samples' sorted values, ascending, shape (n_features,).
    """

    means: NDArray[np.float32]
    quantiles: NDArray[np.float32]


def choose_alignment(scale: str, n_features: int) -> Alignment:
    """Quantile mapping for log2 values of enough features; values of unknown scale stay as they are."""
    return "quantile" if scale == "log2" and n_features >= FEWEST_FEATURES else "none"


def fit_profile(values: NDArray[np.float32]) -> Profile:
    """Profile of the samples of an encoder's fit, shape (n_samples, n_features), NaN where not measured."""
    means = np.asarray(np.nanmean(values, axis=0, dtype=np.float64), dtype=np.float32)
    total = np.zeros(values.shape[1])
    for row in values:
        total += np.sort(np.where(np.isnan(row), means, row))
    return Profile(means, (total / len(values)).astype(np.float32))


def align(values: NDArray[np.float32], profile: Profile, method: Alignment) -> NDArray[np.float32]:
    """Align each sample to `profile` by itself.

    Parameters
    ----------
    values
        Shape (n_samples, n_features), NaN where not measured; changed in place and returned.
    method
        ``quantile``; ``size_factor``, which takes off the median difference over the better expressed half of the
        features; ``none``.
    """
    if method == "size_factor":
        well = profile.means >= np.median(profile.means)
        for row in values:
            differences = (row - profile.means)[well]
            if not np.isnan(differences).all():
                row -= np.nanmedian(differences)
    elif method == "quantile":
        sorted_means = np.sort(profile.means)
        for row in values:
            _map_quantiles(row, profile, sorted_means)
    return values


def _map_quantiles(row: NDArray[np.float32], profile: Profile, sorted_means: NDArray[np.float32]) -> None:
    """Give the measured values of one sample, in their order, the values that the profile has for these features.

    Where features are missing, the target is the distribution of the profile's means of the measured ones, stretched as
    the distribution of whole samples is stretched against that of all means.
    """
    measured = np.flatnonzero(~np.isnan(row))
    target = profile.quantiles
    if len(measured) < len(row):
        target = np.interp(np.sort(profile.means[measured]), sorted_means, profile.quantiles).astype(np.float32)
    order = measured[np.argsort(row[measured], kind="stable")]
    ascending = row[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = ascending[1:] != ascending[:-1]
    if first.all():
        row[order] = target
        return
    # Equal values (zeros, above all) get the mean of what their ranks would get, whatever order they were found in.
    group = np.cumsum(first) - 1
    row[order] = (np.bincount(group, weights=target) / np.bincount(group))[group]
