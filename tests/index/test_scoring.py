"""Scores are the same however they are computed, and the leaders hold the best patients."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.index.scoring import directions, first_of_each, leaders, leaders_of_all, precise_lengths, score_pairs
from molsig.types import DIM

RANDOM = np.random.default_rng(5)


def test_a_score_does_not_depend_on_the_rows_beside_it() -> None:
    vectors = RANDOM.standard_normal((1500, DIM)).astype(np.float32)
    asked = directions(RANDOM.standard_normal((3, DIM)).astype(np.float32))
    queries, rows = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(1500), indexing="ij"))
    together = score_pairs(asked, queries, vectors, rows)
    some = RANDOM.permutation(len(rows))[:4000]
    assert np.array_equal(score_pairs(asked, queries[some], vectors, rows[some]), together[some])
    first = np.zeros(1, np.int64)
    one_by_one = [score_pairs(asked[queries[[n]]], first, vectors, rows[[n]])[0] for n in some[:50]]
    assert np.array_equal(one_by_one, together[some[:50]])
    lengths = precise_lengths(vectors)
    assert np.array_equal(score_pairs(asked, queries, vectors, rows, lengths[rows]), together)
    uneven = np.sort(some[:700])
    assert np.array_equal(
        score_pairs(asked, queries[uneven], vectors, rows[uneven], lengths[rows[uneven]]), together[uneven]
    )
    exact = (vectors.astype(np.float64) @ asked.T / np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None]).T
    assert np.abs(together - exact.ravel()).max() < 1e-7


def test_a_row_of_zeros_scores_nothing() -> None:
    zeros, first = np.zeros((1, DIM), np.float32), np.zeros(1, np.int64)
    assert score_pairs(directions(np.ones((1, DIM), np.float32)), first, zeros, first).tolist() == [0.0]
    assert precise_lengths(zeros).tolist() == [1.0]


@pytest.mark.parametrize(("rows", "k"), [(0, 3), (1, 3), (3, 3), (4, 3), (500, 1), (500, 40)])
def test_leaders_of_many_queries_are_those_of_each(rows: int, k: int) -> None:
    # Few values, so that there are ties at the border.
    scores = RANDOM.integers(0, 60, (8, rows)).astype(np.float32) / 60
    codes = RANDOM.permutation(rows).astype(np.int32)
    queries, positions = leaders_of_all(scores, k)
    for number, own in enumerate(scores):
        alone = leaders(own, codes, k) if rows else []
        assert set(positions[queries == number].tolist()) == set(alone)


def test_what_does_not_count_never_leads() -> None:
    scores = np.array([[0.5, -np.inf, 0.4, -np.inf]], np.float32)
    for k in (1, 2, 3, 4, 9):
        assert leaders_of_all(scores, k)[1].tolist() == [0, 2][: max(k, 1)]


@pytest.mark.parametrize("length", [0, 1, 7, 300])
def test_where_each_code_comes_first(length: int) -> None:
    codes = RANDOM.integers(0, 40, length).astype(np.int32)
    listed = codes.tolist()
    assert first_of_each(codes).tolist() == [listed.index(code) for code in listed]
