"""Landmarks chosen one after the other, against the covariance written out."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.encoders.gene_inference import Standard
from molsig.encoders.greedy_landmarks import choose_greedily
from molsig.encoders.landmarks import rank_genes
from molsig.errors import UsageError


def invented(samples: int = 40, genes: int = 30) -> np.ndarray:
    rng = np.random.default_rng(8)
    hidden = rng.normal(0, 1, (samples, 5))
    values = hidden @ rng.normal(0, 1, (5, genes)) + rng.normal(0, 0.5, (samples, genes))
    return (6 + values * rng.uniform(0.5, 3, genes)).astype(np.float32)


def test_it_takes_most_off_the_sum_of_variances() -> None:
    values = invented()
    found = choose_greedily(values, 12, noise=0.5)
    x = Standard.of(values).apply(values).astype(np.float64)
    covariance = x.T @ x / len(x)
    free = set(range(30))
    for step in range(12):
        after = {
            i: np.trace(covariance - np.outer(covariance[i], covariance[i]) / (covariance[i, i] + 0.5)) for i in free
        }
        best = min(after, key=after.__getitem__)
        assert found[step] == best
        free.remove(best)
        covariance -= np.outer(covariance[best], covariance[best]) / (covariance[best, best] + 0.5)
    assert sorted(found.tolist()) == list(range(30))
    np.testing.assert_array_equal(choose_greedily(values, 5, noise=0.5)[:5], found[:5])


def test_more_genes_than_samples_can_be_chosen() -> None:
    values = invented(samples=8, genes=60)
    values[:, 3] = 5.0
    found = rank_genes(values, "greedy", n=40)
    assert sorted(found.tolist()) == list(range(60))
    assert 3 not in found[:40]


def test_copies_come_late() -> None:
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(0, 1, (50, 4)), 5, axis=1) + 0.05 * rng.normal(0, 1, (50, 20))
    found = choose_greedily(values.astype(np.float32), 4)
    assert sorted((found[:4] // 5).tolist()) == [0, 1, 2, 3]


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(UsageError, match="there are 30 genes"):
        choose_greedily(invented(), 31)
    with pytest.raises(UsageError, match="without any"):
        choose_greedily(invented(), 3, noise=0)
    with pytest.raises(UsageError, match="how many landmarks"):
        rank_genes(invented(), "greedy")
