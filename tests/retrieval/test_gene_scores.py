"""Scores of inferred genes against slow, plain computations of the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from molsig.errors import UsageError
from molsig.retrieval import gene_scores
from molsig.retrieval.gene_scores import compare, score_genes


def invented(n: int = 40, genes: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Measured genes and predictions that are good, worthless and in between."""
    rng = np.random.default_rng(1)
    measured = rng.normal(6, 1.5, (n, genes)).astype(np.float32)
    noise = np.linspace(0.1, 8, genes)
    return measured, (measured + noise * rng.normal(0, 1, (n, genes))).astype(np.float32)


def test_scores_are_those_of_the_plain_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_scores, "BLOCK", 64)
    measured, predicted = invented()
    found = score_genes(measured, predicted)
    for j in (0, 57, 199, 299):
        own = stats.pearsonr(measured[:, j], predicted[:, j]).statistic
        assert found.pcc[j] == pytest.approx(own, abs=1e-5)
        assert found.mae[j] == pytest.approx(np.abs(measured[:, j] - predicted[:, j]).mean(), abs=1e-5)
        others = [stats.pearsonr(measured[:, i], predicted[:, j]).statistic for i in range(300) if i != j]
        assert found.above[j] == pytest.approx(np.mean(np.array(others) > own), abs=1e-9)
    assert found.significant[:50].all()
    assert not found.significant[-50:].all()
    told = found.summary()
    assert told["genes"] == told["with_correlation"] == 300
    assert told["significant"] == np.mean(found.above < 0.01)


def test_a_gene_predicted_as_another_fails() -> None:
    measured, _ = invented()
    measured[:, 1] = measured[:, 0] + np.random.default_rng(4).normal(0, 1, 40)
    swapped = measured.copy()
    swapped[:, 0] = measured[:, 1]
    found = score_genes(measured, swapped)
    # Beaten by gene 1 alone: a share of 1 in 299 is under .01. By four copies more it is not.
    assert found.significant[0]
    assert 0.5 < found.pcc[0] < 0.95
    measured[:, 2:6] = measured[:, [1]]
    assert not score_genes(measured, swapped).significant[0]


def test_constant_and_missing_values() -> None:
    measured, predicted = invented()
    whole = score_genes(measured, predicted)
    measured[:, 3] = 4.0
    predicted[:, 7] = 4.0
    measured[5, 9] = np.nan
    found = score_genes(measured, predicted)
    assert np.isnan(found.pcc[3])
    assert np.isnan(found.above[3])
    assert not found.significant[3]
    assert found.pcc[7] == 0
    assert found.above[7] == 1
    rest = np.delete(np.arange(40), 5)
    assert found.pcc[9] == pytest.approx(np.corrcoef(measured[rest, 9], predicted[rest, 9])[0, 1], abs=1e-5)
    assert found.mae[9] == pytest.approx(np.abs(measured[rest, 9] - predicted[rest, 9]).mean(), abs=1e-5)
    assert found.mae[10] == whole.mae[10]
    assert found.summary()["with_correlation"] == 299


def test_a_prediction_that_is_the_same_for_all_samples_tells_no_gene() -> None:
    measured, _ = invented()
    found = score_genes(measured, np.broadcast_to(measured.mean(axis=0), measured.shape).copy())
    assert found.summary()["significant"] == 0


def test_paired_tests_are_those_of_scipy() -> None:
    rng = np.random.default_rng(2)
    first = rng.gamma(2, 0.2, 200)
    second = first + rng.normal(0.03, 0.1, 200)
    gap = compare(np.append(first, np.nan), np.append(second, 1.0))
    t = stats.ttest_rel(first, second)
    assert gap.genes == 200
    assert gap.t_p == pytest.approx(t.pvalue)
    assert gap.wilcoxon_p == pytest.approx(stats.wilcoxon(first, second).pvalue)
    assert gap.difference == pytest.approx((first - second).mean())
    assert (gap.low, gap.high) == pytest.approx(tuple(t.confidence_interval(0.95)))
    assert gap.lower == (first < second).mean()


def test_sets_that_do_not_differ() -> None:
    same = compare(np.arange(4.0), np.arange(4.0))
    assert (same.difference, same.lower, same.t_p, same.wilcoxon_p) == (0, 0.5, 1, 1)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UsageError, match="predicted ones"):
        score_genes(np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32))
    with pytest.raises(UsageError, match="three or more"):
        score_genes(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    with pytest.raises(UsageError, match="same genes"):
        compare(np.zeros(3), np.zeros(4))
    with pytest.raises(UsageError, match="fewer than two"):
        compare(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
