"""The study's random forest: all features first, then a larger forest on the best of them.

Fiosina et al., Deep learning for sRNA metadata, section 2.3.2: 100 trees on all features, 500 on the 1,000 with the
largest Gini importance, the square root of the features tried at a split, large classes drawn down to the size of small
ones. Here each tree learns from a draw of its own, with the same number of patients of every class. A number is
estimated by the same two stages with trees of least squares, on a bootstrap sample each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.retrieval.annotate_inputs import Scaler
from molsig.retrieval.heads import FLOOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

TREES = (100, 500)
"""Trees of the first and of the second stage."""
BEST = 1000
"""Features that the second stage is given."""
FEWEST_DRAWN = 20
"""Patients a tree is given of each class at least; of a smaller class some are drawn several times."""
MOST_DRAWN = 2000
"""Patients a tree is given in all, fewer than the study's where the smallest class is large: trees that see other
patients than each other do as well, and a forest of thousands of patients grows in seconds instead of minutes."""
LEAF = 5
"""Patients in a leaf of a tree of least squares at least, the usual size for a number."""


@dataclass(frozen=True, eq=False)
class Forest:
    """The forest over measurements or vectors of patients.

    Attributes
    ----------
    values
        float32 (patients, features).
    trees
        Of the two stages.
    """

    values: NDArray[np.float32]
    seed: int = 0
    trees: tuple[int, int] = TREES
    name: str = "forest"

    @property
    def present(self) -> NDArray[np.bool_]:
        """One voice, which everybody has, (1, patients)."""
        return np.ones((1, len(self.values)), dtype=bool)

    def tell(self, taught: Rows, codes: Rows, n_classes: int, asked: Rows) -> Array:
        """Log-likelihood ratios of the classes, (1, asked, classes): every class was as common as any other."""
        x, questions = self._scaled(taught, asked)
        rng = np.random.default_rng(self.seed)
        chosen, grown = _two_stages(x, codes, self.trees, rng, numeric=False)
        votes = np.zeros((len(asked), n_classes))
        for tree in grown:
            votes[:, tree.classes_] += tree.predict_proba(questions[:, chosen])
        met = len(np.unique(codes))
        # One vote is spread over the classes, so that none is impossible.
        shares = (votes + 1 / n_classes) / (len(grown) + 1)
        return np.asarray(np.maximum(np.log(shares), FLOOR) + np.log(met))[None]

    def estimate(self, taught: Rows, values: Array, asked: Rows) -> tuple[Array, Array]:
        """Means of the trees and how far they lie apart (standard deviation), (asked,) each."""
        x, questions = self._scaled(taught, asked)
        rng = np.random.default_rng(self.seed)
        chosen, grown = _two_stages(x, values, self.trees, rng, numeric=True)
        said = np.stack([tree.predict(questions[:, chosen]) for tree in grown])
        return said.mean(axis=0), said.std(axis=0)

    def _scaled(self, taught: Rows, asked: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scaler = Scaler.fit(self.values[taught])
        return scaler(self.values[taught]), scaler(self.values[asked])


def _two_stages(
    x: NDArray[np.float32], y: NDArray[Any], trees: tuple[int, int], rng: np.random.Generator, *, numeric: bool
) -> tuple[Rows, list[Any]]:
    """The columns of the second stage and its trees."""
    first = _grown(x, y, trees[0], rng, numeric=numeric)
    gini = np.mean([tree.feature_importances_ for tree in first], axis=0)
    chosen = np.sort(np.argsort(-gini, kind="stable")[:BEST])
    return chosen, _grown(x[:, chosen], y, trees[1], rng, numeric=numeric)


def _grown(
    x: NDArray[np.float32], y: NDArray[Any], trees: int, rng: np.random.Generator, *, numeric: bool
) -> list[Any]:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    seeds = rng.integers(2**31 - 1, size=trees).tolist()
    if numeric:
        draws = rng.integers(len(y), size=(trees, min(len(y), MOST_DRAWN)))
        made = [DecisionTreeRegressor(max_features="sqrt", min_samples_leaf=LEAF, random_state=one) for one in seeds]
    else:
        draws = _even_draws(y, trees, rng)
        made = [DecisionTreeClassifier(max_features="sqrt", random_state=one) for one in seeds]
    return [tree.fit(x[rows], y[rows]) for tree, rows in zip(made, draws, strict=True)]


def _even_draws(codes: Rows, trees: int, rng: np.random.Generator) -> Rows:
    """Rows for each tree, with replacement, as many of every class as the smallest has or less, (trees, drawn)."""
    order = np.argsort(codes, kind="stable")
    _, starts, sizes = np.unique(codes[order], return_index=True, return_counts=True)
    drawn = max(min(int(sizes.min()), MOST_DRAWN // len(sizes)), FEWEST_DRAWN)
    places = (rng.random((trees, len(sizes), drawn)) * sizes[:, None]).astype(np.int64) + starts[:, None]
    return np.asarray(order[places.reshape(trees, -1)])
