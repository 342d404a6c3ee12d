"""Scores are the same however they are computed, and the leaders hold the best patients."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.index.scoring import Candidates, best_rows, directions, divided, leaders, leaders_of_all, score, score_pairs
from molsig.types import DIM

RANDOM = np.random.default_rng(5)


def test_a_score_does_not_depend_on_the_rows_beside_it() -> None:
    vectors = RANDOM.standard_normal((1500, DIM)).astype(np.float32)
    asked = directions(RANDOM.standard_normal((3, DIM)).astype(np.float32))
    together = np.stack([score(one, vectors) for one in asked])
    for start, step in ((0, 1), (3, 7), (700, 2)):
        apart = np.stack([score(one, vectors[start::step]) for one in asked])
        assert np.array_equal(apart, together[:, start::step])
    queries, rows = RANDOM.integers(0, 3, 4000), RANDOM.integers(0, 1500, 4000)
    assert np.array_equal(score_pairs(asked, queries, vectors, rows), together[queries, rows])
    exact = (vectors.astype(np.float64) @ asked.T / np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None]).T
    assert np.abs(together - exact).max() < 1e-7


def test_a_row_of_zeros_scores_nothing() -> None:
    assert score(directions(np.ones((1, DIM), np.float32))[0], np.zeros((1, DIM), np.float32)).tolist() == [0.0]


@pytest.mark.parametrize(("rows", "k"), [(0, 3), (1, 3), (3, 3), (4, 3), (500, 1), (500, 40)])
def test_leaders_of_many_queries_are_those_of_each(rows: int, k: int) -> None:
    # Few values, so that there are ties at the border.
    scores = RANDOM.integers(0, 60, (8, rows)).astype(np.float32) / 60
    codes = RANDOM.permutation(rows).astype(np.int32)
    queries, positions = leaders_of_all(scores, k)
    parts = divided(8, queries, positions, scores[queries, positions])
    assert len(parts) == 8
    for part, own in zip(parts, scores, strict=True):
        if rows:
            alone = leaders(own, codes, k)
            assert set(part.positions.tolist()) == set(alone.tolist())
            best = best_rows(part, codes, k)
            assert best.positions.tolist() == best_rows(Candidates(alone, own[alone]), codes, k).positions.tolist()
        else:
            assert not len(part.positions)
