"""Landmark genes: the few genes of a transcriptome that the others can be told from, ranked in six ways.

    greedy        one after the other, each for what it tells of all genes beyond those before it
    autoencoder   mean absolute DeepLIFT contribution to the bottleneck of an autoencoder, over samples and units
    variance      variance of log expression
    medoids       genes nearest to the centres of n clusters of genes, as L1000 chooses them
    pca           absolute loadings of the leading principal components, each weighted by the variance along it
    random        by chance

``greedy`` is told of in `greedy_landmarks`. ``autoencoder`` is the study's (D1000; see `landmark_autoencoder`): the
contributions are those of every input to every unit of the bottleneck, behind its sigmoid, by the Rescale rule against
the mean of the training samples, through the attribution engine. ``medoids`` follows the first step of L1000
(Subramanian et al. 2017, doi:10.1016/j.cell.2017.10.049): genes as points in the space of the principal components of
the samples that hold 90 % of the variance, k-means, the gene nearest to each centre; its iterative peeling-off of
well-told clusters is left out. All but ``variance`` see genes scaled to unit variance.

All look at expression alone, no label. Whatever ranks, ranks on the samples it is given: what is said of how well the
others can be told is to be measured on patients who are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.landmark_autoencoder import Recipe
    from molsig.types import Progress

METHODS = ("greedy", "autoencoder", "variance", "medoids", "pca", "random")

DEFAULT = "greedy"
"""What tells the other genes best, on held-out patients as on held-out sites (`docs/inference.md`)."""

COMPONENTS = 100
"""Leading components of ``pca``: as many as the bottleneck has units."""
KEPT = 0.9
"""Share of the variance that the components hold in which genes are clustered."""
ROUNDS = 50
"""Most rounds of k-means."""
SHARE = 0.8
"""Share of the patients that each resample draws."""


def rank_genes(
    values: NDArray[np.float32],
    method: str,
    *,
    n: int | None = None,
    seed: int = 0,
    widths: tuple[int, int] | None = None,
    recipe: Recipe | None = None,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """Positions of all genes, the best landmark first; equal ones in the order of the columns.

    Parameters
    ----------
    values
        Log expression of the samples to learn from, float32 (samples, genes), finite.
    method
        One of `METHODS`.
    n
        How many landmarks are wanted: ``greedy`` chooses so many and ``medoids`` makes so many clusters, they need
        it; the others do not look at it. What ``greedy`` chooses first does not depend on how many follow. The n
        medoids come first, that of the largest cluster first; the others follow by how far they are from the centre of
        their cluster, the farthest first.
    seed
        Rules the weights and the order of samples of ``autoencoder``, the first centres of ``medoids``, and ``random``.
    widths, recipe
        Of the autoencoder; by default 500 and 100 units, and the recipe of the paper.

    Raises
    ------
    UsageError
        Unknown method, values that are not a finite matrix, or n out of range.
    MissingExtraError
        ``autoencoder`` without captum.
    """
    if method not in METHODS:
        raise UsageError(f"{method!r} is no way of choosing landmarks: use {', '.join(METHODS)}")
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise UsageError("landmarks are ranked on a finite matrix of at least two samples by two genes")
    if n is not None and not 1 <= n <= values.shape[1]:
        raise UsageError(f"n = {n}: there are {values.shape[1]} genes")
    if method == "random":
        return np.random.default_rng(seed).permutation(values.shape[1])
    if method in {"greedy", "medoids"}:
        if n is None:
            raise UsageError(f"{method} chooses n genes together: say how many landmarks are wanted")
        if method == "medoids":
            return _medoids(values, n, seed)
        from molsig.encoders.greedy_landmarks import choose_greedily

        return choose_greedily(values, n, progress=progress)
    if method == "variance":
        return best_first(values.var(axis=0, dtype=np.float64))
    if method == "pca":
        return best_first(_loadings(values))
    return best_first(_contributions(values, widths, recipe, seed, progress))


def best_first(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions by falling score, equal ones in order."""
    return np.argsort(-scores, kind="stable")


@dataclass(frozen=True, slots=True)
class Stability:
    """How alike the landmarks of resamples are.

    Attributes
    ----------
    jaccard
        Of each pair of resamples: genes in both sets over genes in either.
    chance
        What two sets of as many genes drawn by chance would have, n / (2 genes - n).
    """

    method: str
    n: int
    jaccard: tuple[float, ...]
    chance: float

    @property
    def mean(self) -> float:
        """Over the pairs."""
        return float(np.mean(self.jaccard))


def stability(
    values: NDArray[np.float32],
    patients: Sequence[str],
    method: str,
    n: int,
    *,
    resamples: int = 4,
    share: float = SHARE,
    seed: int = 0,
    widths: tuple[int, int] | None = None,
    recipe: Recipe | None = None,
    progress: Progress = silent,
) -> Stability:
    """Choose landmarks on several draws of patients, and compare the choices two by two.

    Parameters
    ----------
    values, method, n, widths, recipe
        As in `rank_genes`.
    patients
        Of each sample; a draw takes all samples of a patient or none.
    resamples
        Draws, at least two, each without replacement and with a seed of its own for the method.
    share
        Share of the patients in a draw.

    Raises
    ------
    UsageError
        Fewer than two draws, or as `rank_genes`.
    """
    if resamples < 2:
        raise UsageError(f"{resamples} resamples cannot be compared: draw at least 2")
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    random = np.random.default_rng(seed)
    sets: list[set[int]] = []
    for draw in range(resamples):
        drawn = random.choice(len(names), size=max(2, round(share * len(names))), replace=False)
        chosen = values[np.isin(owner, drawn)]
        ranked = rank_genes(chosen, method, n=n, seed=seed + draw, widths=widths, recipe=recipe)
        sets.append(set(ranked[:n].tolist()))
        progress(f"resample ({method})", draw + 1, resamples)
    pairs = tuple(len(a & b) / len(a | b) for a, b in combinations(sets, 2))
    return Stability(method, n, pairs, n / (2 * values.shape[1] - n))


def _contributions(
    values: NDArray[np.float32], widths: tuple[int, int] | None, recipe: Recipe | None, seed: int, progress: Progress
) -> NDArray[np.float64]:
    from molsig.encoders.attribution import mean_contributions
    from molsig.encoders.landmark_autoencoder import PAPER, WIDTHS, fit

    fitted = fit(values, widths=widths or WIDTHS, recipe=recipe or PAPER, seed=seed, progress=progress)
    x = fitted.scaled(values)
    # The mean of the samples is 0 in every gene: what a bottleneck unit says of a sample beyond what it says of that.
    found = mean_contributions(fitted.network.encoder, x, reference=np.zeros(x.shape[1]), progress=progress)
    return np.asarray(found.mean(axis=0))


def _components(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances along the principal components of scaled genes, the largest first, and loadings (components, genes)."""
    from molsig.encoders.landmark_autoencoder import scale_of
    from molsig.encoders.whitening import principal_directions

    mean, deviation = scale_of(values)
    squares, directions = principal_directions((values.astype(np.float64) - mean) / deviation)
    return squares / len(values), directions


def _loadings(values: NDArray[np.float32]) -> NDArray[np.float64]:
    variances, loadings = _components(values)
    return np.asarray((variances[:COMPONENTS, None] * np.abs(loadings[:COMPONENTS])).sum(axis=0))


def _medoids(values: NDArray[np.float32], n: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    variances, loadings = _components(values)
    held = np.cumsum(variances)
    first = 1 + int(np.searchsorted(held, KEPT * held[-1]))
    points = (np.sqrt(variances[:first, None]) * loadings[:first]).T
    found = KMeans(n, init="random", n_init=1, max_iter=ROUNDS, random_state=seed).fit(points)
    away = np.linalg.norm(points - found.cluster_centers_[found.labels_], axis=1)
    by_cluster = np.lexsort((away, found.labels_))
    nearest = by_cluster[np.flatnonzero(np.diff(found.labels_[by_cluster], prepend=-1))]
    sizes = np.bincount(found.labels_, minlength=n)[found.labels_[nearest]]
    medoids = nearest[np.argsort(-sizes, kind="stable")]
    others = best_first(away)
    return np.concatenate([medoids, others[~np.isin(others, medoids)]])
