"""How many features one-shot typing needs, and which: judged by the nearest neighbour in one-shot episodes.

Which features, and how many, is chosen on episodes of the training types; what is reported of unseen types is looked
at afterwards. Features are compared as they are given: standardised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.evaluate.episodes import answer_episodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.episodes import Episodes

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

STEP = 10
PRESELECTED = 2_000
"""Features, those of the greatest F, that are looked at beside each other: their covariances have to fit in memory."""
_CELLS = 1 << 26
"""Numbers that a step of the forward selection may hold at once."""


def accuracies(x: NDArray[np.floating], ranking: Sequence[int] | Rows, sizes: Sequence[int], asked: Episodes) -> Array:
    """Accuracy of 1-NN by cosine on the first `sizes` features of a ranking, (len(sizes),)."""
    order = np.asarray(ranking, dtype=np.int64)
    return np.array([answer_episodes(asked, x[:, order[:size]], draws=1).accuracy for size in sizes])


def sizes_up_to(n_features: int, step: int = STEP) -> list[int]:
    """Multiples of `step` up to a hundred, then further and further apart, and all features."""
    fine = [size for size in range(step, 101, step) if size < n_features]
    wide = [size for size in (150, 200, 300, 400, 600, 800, 1200, 2000, 3000) if size < n_features]
    return [*fine, *wide, n_features]


def fewest(sizes: Sequence[int], found: Array, lost: float = 0.01) -> int:
    """The smallest size within `lost` of what all features, the last size, reach."""
    return next(size for size, value in zip(sizes, found, strict=True) if value >= found[-1] - lost)


def forward_selection(
    x: NDArray[np.floating], asked: Episodes, candidates: Sequence[int] | Rows, most: int = 100
) -> Rows:
    """Features in the order in which they help 1-NN by cosine most, each beside those taken before it.

    At every step the feature is taken with which the support sample of the right type stands out most: the mean over
    episodes of log softmax of ten times the cosines, which moves with every feature where accuracy moves in jumps. A
    cosine is made of three sums over features, so that one more feature is tried by an addition.

    Parameters
    ----------
    x
        Standardised samples, (n, features).
    asked
        One-shot episodes of the training types.
    candidates
        Columns of `x` to choose from, the best of a ranking.

    Returns
    -------
    ndarray
        `most` of the candidates.
    """
    if asked.shots != 1:
        raise UsageError("the forward selection looks at episodes of one shot")
    columns = np.asarray(candidates, dtype=np.int64)
    n, ways = asked.supports.shape[:2]
    if n * ways * len(columns) > _CELLS:
        raise UsageError(f"{n:,} episodes of {ways} with {len(columns):,} candidates are too many: take fewer episodes")
    values = x[:, columns].astype(np.float32)
    query = np.ascontiguousarray(values[asked.queries].T)
    support = np.ascontiguousarray(values[asked.supports[:, :, 0]].transpose(2, 0, 1))
    product, length = query[:, :, None] * support, np.square(support)
    own = np.square(query)
    dot, of_query, of_support = (
        np.zeros((n, ways), np.float32),
        np.zeros(n, np.float32),
        np.zeros((n, ways), np.float32),
    )
    taken: list[int] = []
    free = np.ones(len(columns), dtype=bool)
    for _ in range(min(most, len(columns))):
        gain = np.full(len(columns), -np.inf)
        for one in np.flatnonzero(free):
            norm = (of_query + own[one])[:, None] * (of_support + length[one])
            cosines = 10 * (dot + product[one]) / np.sqrt(np.maximum(norm, 1e-12))
            gain[one] = (cosines[np.arange(n), asked.truth] - np.log(np.exp(cosines).sum(axis=1))).mean()
        best = int(gain.argmax())
        free[best] = False
        taken.append(best)
        dot += product[best]
        of_query += own[best]
        of_support += length[best]
    return columns[taken]


def by_variance(values: NDArray[np.floating]) -> Rows:
    """Features by their variance in samples that are not standardised."""
    return np.argsort(-np.nanvar(values.astype(np.float64), axis=0), kind="stable")


def by_anova(x: NDArray[np.floating], types: Sequence[str]) -> Rows:
    """Features by the F statistic of one-way ANOVA over types."""
    return np.argsort(-anova_f(x, types), kind="stable")


def anova_f(x: NDArray[np.floating], types: Sequence[str]) -> Array:
    """F of each feature: variance between types over variance within them."""
    data = np.asarray(x, dtype=np.float64)
    names, number, sizes = np.unique(np.asarray(types), return_inverse=True, return_counts=True)
    means = np.zeros((len(names), data.shape[1]))
    np.add.at(means, number, data)
    means /= sizes[:, None]
    between = (sizes[:, None] * np.square(means - data.mean(axis=0))).sum(axis=0) / max(1, len(names) - 1)
    within = np.square(data - means[number]).sum(axis=0) / max(1, len(data) - len(names))
    return np.asarray(between / np.maximum(within, 1e-12))


def most_discriminating(x: NDArray[np.floating], types: Sequence[str], most: int = 100) -> Rows:
    """`by_discrimination` among the `PRESELECTED` features of the greatest F, where there are more."""
    if x.shape[1] <= PRESELECTED:
        return by_discrimination(x, types, most)
    first = np.sort(by_anova(x, types)[:PRESELECTED])
    return first[by_discrimination(x[:, first], types, most)]


def by_discrimination(x: NDArray[np.floating], types: Sequence[str], most: int = 100, ridge: float = 0.1) -> Rows:
    """Features by greedy forward selection of Lawley and Hotelling's trace, tr(W^-1 B).

    Each feature is taken for what it tells of the types beyond those before it: F of ANOVA looks at one alone, and its
    first hundred say much the same. With W the covariance within types, `ridge` of its mean variance added to it, and B
    that of the means of types, each type counting as one.
    """
    data = np.asarray(x, dtype=np.float64)
    names, number, sizes = np.unique(np.asarray(types), return_inverse=True, return_counts=True)
    means = np.zeros((len(names), data.shape[1]))
    np.add.at(means, number, data)
    means /= sizes[:, None]
    inner = data - means[number]
    within = inner.T @ inner / max(1, len(data) - len(names))
    within[np.diag_indices_from(within)] += ridge * np.trace(within) / len(within)
    outer = means - means.mean(axis=0)
    taken: list[int] = []
    # What is left of each feature once those taken are regressed out: one step of Cholesky's decomposition each.
    for _ in range(min(most, data.shape[1])):
        left = np.maximum(np.diagonal(within), 1e-12)
        gain = np.square(outer).sum(axis=0) / left
        gain[taken] = -np.inf
        best = int(gain.argmax())
        taken.append(best)
        slope = within[best] / left[best]
        outer = outer - np.outer(outer[:, best], slope)
        within = within - np.outer(within[:, best], slope)
    return np.array(taken, dtype=np.int64)
