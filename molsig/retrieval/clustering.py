"""Aggregates without labels and against them: Gaussian mixtures, their agreement with a label, and distances.

After doi 10.1101/2025.05.14.653900, Unsupervised clustering and Tumor of Origin Identification: a mixture with one
component per cancer type, and whether patients of one type lie closer together than patients of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COMPONENTS = 50
"""Principal components that a mixture is fitted to."""

Covariance = Literal["tied", "full", "diag"]

METRICS = ("cosine", "euclidean", "dot")
_BLOCK = 1024


@dataclass(frozen=True)
class Clustering:
    """A mixture's answer.

    Attributes
    ----------
    cluster
        Component of each vector, int64 (n,).
    ari, nmi
        Adjusted Rand index and normalised mutual information with the labels.
    plane
        First two principal components, float64 (n, 2), for a picture.
    """

    cluster: NDArray[np.int64]
    ari: float
    nmi: float
    plane: NDArray[np.float64]


def cluster(
    vectors: NDArray[np.float32],
    labels: Sequence[str],
    *,
    components: int = COMPONENTS,
    covariance: Covariance = "tied",
    seed: int = 0,
) -> Clustering:
    """Fit a Gaussian mixture with as many components as there are labels, and compare.

    Parameters
    ----------
    vectors
        (n, d), d being 768 or a multiple.
    labels
        The label of each; it sets the number of components and is not looked at otherwise.
    components
        Principal components to fit to.
    covariance
        ``tied``: one for all components of the mixture, since which modalities were drawn scatters every type in the
        same directions; ``full``: one for each; ``diag``: one for each without correlations. The study does not say
        which it used.

    Raises
    ------
    UsageError
        Fewer than two labels, or not one for each vector.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.mixture import GaussianMixture

    codes = _codes(labels, len(vectors))
    scores = principal_components(vectors, max(2, min(components, len(vectors) - 1, vectors.shape[1])))
    mixture = GaussianMixture(
        int(codes.max()) + 1, covariance_type=covariance, n_init=5, reg_covar=1e-6, random_state=seed
    ).fit(scores)
    found = np.asarray(mixture.predict(scores), np.int64)
    return Clustering(
        found,
        float(adjusted_rand_score(codes, found)),
        float(normalized_mutual_info_score(codes, found)),
        scores[:, :2],
    )


def principal_components(vectors: NDArray[np.float32], components: int) -> NDArray[np.float64]:
    """Scores on the first principal components, float64 (n, components); each axis points to its longest entry."""
    x = np.asarray(vectors, np.float64)
    x = x - x.mean(axis=0)
    _, axes = np.linalg.eigh(x.T @ x)
    axes = axes[:, ::-1][:, :components]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    found: NDArray[np.float64] = x @ axes
    return found


@dataclass(frozen=True)
class PairDistance:
    """Mean and standard deviation over pairs of vectors with the same label and with different ones.

    `separation` is the difference of the means over the root mean square of the two deviations, positive where pairs of
    one label are closer; None where there are no pairs of either kind.
    """

    metric: str
    intra: tuple[float, float] | None
    inter: tuple[float, float] | None
    separation: float | None


def pair_distances(vectors: NDArray[np.float32], labels: Sequence[str]) -> list[PairDistance]:
    """Compare pairs within and between labels: cosine similarity, Euclidean distance and dot product.

    Pairs are made block by block; no n x n matrix is kept.
    """
    codes = _codes(labels, len(vectors))
    x = np.asarray(vectors, np.float64)
    square = np.einsum("ij,ij->i", x, x)
    length = np.maximum(np.sqrt(square), 1e-12)
    sums = np.zeros((len(METRICS), 2, 3))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        dot = x[rows] @ x.T
        same = codes[rows, None] == codes[None]
        # Each pair once: the later partner of each row.
        later = np.arange(len(x))[None] > np.arange(start, start + len(dot))[:, None]
        euclidean = np.sqrt(np.maximum(square[rows, None] + square[None] - 2 * dot, 0))
        for m, values in enumerate((dot / (length[rows, None] * length[None]), euclidean, dot)):
            for side, chosen in enumerate((same & later, ~same & later)):
                some = values[chosen]
                sums[m, side] += len(some), some.sum(), np.square(some).sum()
    return [_pair(name, *sums[m]) for m, name in enumerate(METRICS)]


def _pair(metric: str, intra: NDArray[np.float64], inter: NDArray[np.float64]) -> PairDistance:
    one, two = _moments(intra), _moments(inter)
    if one is None or two is None:
        return PairDistance(metric, one, two, None)
    spread = np.sqrt((one[1] ** 2 + two[1] ** 2) / 2)
    closer = two[0] - one[0] if metric == "euclidean" else one[0] - two[0]
    return PairDistance(metric, one, two, float(closer / spread) if spread else None)


def _moments(sums: NDArray[np.float64]) -> tuple[float, float] | None:
    n, total, squares = sums
    if not n:
        return None
    return float(total / n), float(np.sqrt(max(squares / n - (total / n) ** 2, 0.0)))


def _codes(labels: Sequence[str], n: int) -> NDArray[np.int64]:
    if len(labels) != n:
        raise UsageError(f"{len(labels)} labels for {n} vectors")
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise UsageError("clusters are compared with at least two labels")
    return codes.astype(np.int64)
