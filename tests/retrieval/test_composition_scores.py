"""Scores of presence and counts against sums done by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from molsig.errors import UsageError
from molsig.retrieval.composition_scores import count_scores, matthews, presence_scores


def test_scores_by_hand() -> None:
    truth = np.array([1, 1, 1, 1, 0, 0], bool)[:, None]
    found = np.array([1, 1, 1, 0, 0, 1], bool)[:, None]
    (score,) = presence_scores(found, truth, ["rna"])
    assert (score.present.rows, score.absent.rows) == (4, 2)
    assert (score.present.recall, score.present.precision, score.present.f1) == (0.75, 0.75, 0.75)
    assert (score.absent.recall, score.absent.precision, score.absent.f1) == (0.5, 0.5, 0.5)
    assert score.balanced_accuracy == 0.625
    assert score.mcc == pytest.approx((3 * 1 - 1 * 1) / np.sqrt(4 * 4 * 2 * 2))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_matthews_is_that_of_scikit_learn(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    found, truth = rng.random(n) < 0.5, rng.random(n) < 0.5
    mcc = matthews(found, truth)
    if truth.all() or not truth.any():
        assert mcc is None
    else:
        assert mcc == pytest.approx(matthews_corrcoef(truth, found), abs=1e-9)


def test_always_absent_looks_good_in_one_group_only() -> None:
    truth = np.arange(100)[:, None] < 10
    (score,) = presence_scores(np.zeros_like(truth), truth, ["rna"])
    assert score.absent.recall == 1.0
    assert score.present.recall == 0.0
    assert score.mcc == 0.0
    (only,) = presence_scores(np.ones((5, 1), bool), np.ones((5, 1), bool), ["rna"])
    assert only.mcc is None
    assert only.absent.recall is None


def test_counts_are_scored_by_modality_and_together() -> None:
    truth = np.array([[1, 2], [0, 3], [2, 2]])
    found = np.array([[1, 2], [1, 3], [2, 4]])
    scores = count_scores(found, truth, ["a", "b"])
    assert scores["a"]["exact"] == pytest.approx(2 / 3)
    assert scores["b"]["error"] == pytest.approx(2 / 3)
    assert scores["all"]["exact"] == pytest.approx(1 / 3)


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="answers"):
        presence_scores(np.ones((2, 2), bool), np.ones((3, 2), bool), ["a", "b"])
