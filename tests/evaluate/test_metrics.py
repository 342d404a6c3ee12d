"""Figures against scikit-learn, with and without weights, and against what must hold of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as golden

from molsig.evaluate.metrics import (
    accuracy_at_coverage,
    accuracy_in_bins,
    auroc,
    average_precision,
    balanced_accuracy,
    calibration_error,
    confusion,
    macro_f1,
    majority_vote,
    mean_of,
    precision_at,
    reliability,
)

CLASSES = 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture
def calls(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, calls and three rows of weights, the first of ones."""
    truth = rng.integers(CLASSES, size=300)
    called = np.where(rng.random(300) < 0.7, truth, rng.integers(CLASSES, size=300))
    weights = np.concatenate([np.ones((1, 300)), rng.integers(1, 4, size=(2, 300))]).astype(float)
    return truth, called, weights


def test_f1_balanced_accuracy_and_accuracy_are_those_of_scikit_learn(
    calls: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    truth, called, weights = calls
    f1, balanced = macro_f1(truth, called, CLASSES)(weights), balanced_accuracy(truth, called, CLASSES)(weights)
    accuracy = mean_of(truth == called)(weights)
    for row, weight in enumerate(weights):
        assert f1[row] == pytest.approx(golden.f1_score(truth, called, average="macro", sample_weight=weight))
        assert balanced[row] == pytest.approx(golden.balanced_accuracy_score(truth, called, sample_weight=weight))
        assert accuracy[row] == pytest.approx(golden.accuracy_score(truth, called, sample_weight=weight))


def test_labels_nobody_has_do_not_count(calls: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, called, weights = calls
    gone = weights * (truth != 0)[None, :]
    balanced = balanced_accuracy(truth, called, CLASSES)(gone)
    kept = truth != 0
    assert balanced[0] == pytest.approx(
        golden.recall_score(truth[kept], called[kept], labels=range(1, 5), average="macro")
    )


def test_auroc_is_that_of_scikit_learn_also_with_ties(rng: np.random.Generator) -> None:
    positive = rng.random(200) < 0.3
    scores = np.round(rng.normal(size=200) + positive, 1)
    weights = rng.integers(0, 3, size=(4, 200)).astype(float)
    found = auroc(scores, positive)(weights)
    for row, weight in enumerate(weights):
        assert found[row] == pytest.approx(golden.roc_auc_score(positive, scores, sample_weight=weight))
    assert np.isnan(auroc(scores, np.zeros(200, dtype=bool))(weights)).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_of_turned_scores_is_the_rest(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([float(r[0]) for r in rows]), np.array([r[1] for r in rows])
    once = np.ones((1, len(rows)))
    if positive.any() and not positive.all():
        assert auroc(-scores, positive)(once)[0] == pytest.approx(1 - auroc(scores, positive)(once)[0])


def test_average_precision_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    scores = rng.random((20, 50))
    right = rng.random((20, 50)) < 0.3
    ranked = np.take_along_axis(right, np.argsort(-scores, axis=1), axis=1)
    found = average_precision(ranked, right.sum(axis=1))
    for row in range(20):
        assert found[row] == pytest.approx(golden.average_precision_score(right[row], scores[row]))


def test_average_precision_of_a_cut_ranking_can_reach_one() -> None:
    same = np.array([[True, True, True], [True, False, True], [False, False, False]])
    found = average_precision(same, np.array([10, 2, 0]))
    assert found.tolist() == pytest.approx([1.0, (1 + 2 / 3) / 2, 0.0])


def test_precision_counts_a_small_gallery_against_the_figure() -> None:
    assert precision_at(np.array([[True, True, False]]), 3)[0] == pytest.approx(2 / 3)
    assert precision_at(np.array([[True, True, False]]), 5)[0] == pytest.approx(2 / 5)


def test_the_commonest_label_wins_and_the_nearest_breaks_ties() -> None:
    codes = np.array([[0, 1, 1, 2, 0], [2, 1, 1, 0, 0], [-1, -1, 3, -1, -1], [-1, -1, -1, -1, -1]])
    assert majority_vote(codes, 4, 5).tolist() == [0, 1, 3, -1]
    assert majority_vote(codes, 4, 1).tolist() == [0, 2, -1, -1]
    assert majority_vote(codes, 4, 3).tolist() == [1, 1, 3, -1]


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=20), st.integers(1, 7))
def test_no_label_has_more_votes_than_the_winner(rows: list[list[int]], k: int) -> None:
    for row, winner in zip(rows, majority_vote(np.array(rows), 4, k), strict=True):
        assert row[:k].count(winner) == max(row[:k].count(one) for one in range(4))
        rivals = [one for one in range(4) if row[:k].count(one) == row[:k].count(winner)]
        assert winner == next(one for one in row if one in rivals)


def test_calibration_error_is_the_mean_gap_of_the_reliability_bars(rng: np.random.Generator) -> None:
    confidence = rng.random(2000)
    right = rng.random(2000) < confidence**2
    bars = reliability(confidence, right, 10)
    gap = sum(bar.n * abs((bar.confidence or 0) - (bar.accuracy or 0)) for bar in bars) / 2000
    assert calibration_error(confidence, right, 10)(np.ones((1, 2000)))[0] == pytest.approx(gap)
    assert sum(bar.n for bar in bars) == 2000
    again = accuracy_in_bins(confidence, right, 10)(np.ones((1, 2000)))[0]
    assert again.tolist() == pytest.approx([bar.accuracy for bar in bars])
    assert all(bar.low < bar.confidence <= bar.high for bar in bars if bar.confidence is not None)


def test_calibration_error_of_known_cases() -> None:
    once = np.ones((1, 100))
    always = np.full(100, 0.8)
    right = np.arange(100) < 80
    assert calibration_error(always, right)(once)[0] == pytest.approx(0.0)
    assert calibration_error(np.ones(100), right)(once)[0] == pytest.approx(0.2)
    assert calibration_error(np.zeros(100), ~right)(once)[0] == pytest.approx(0.2)


def test_weights_mean_repeated_patients(rng: np.random.Generator) -> None:
    confidence, right = rng.random(60), rng.random(60) < 0.6
    counts = rng.integers(0, 4, size=60)
    rows = np.repeat(np.arange(60), counts)
    truth, called = rng.integers(3, size=60), rng.integers(3, size=60)
    coverage = np.array([0.1, 0.5, 1.0])
    once, weighted = np.ones((1, len(rows))), counts[None, :].astype(float)
    for whole, repeated in (
        (calibration_error(confidence, right), calibration_error(confidence[rows], right[rows])),
        (
            accuracy_at_coverage(confidence, right, coverage),
            accuracy_at_coverage(confidence[rows], right[rows], coverage),
        ),
        (auroc(confidence, right), auroc(confidence[rows], right[rows])),
        (macro_f1(truth, called, 3), macro_f1(truth[rows], called[rows], 3)),
        (balanced_accuracy(truth, called, 3), balanced_accuracy(truth[rows], called[rows], 3)),
    ):
        assert whole(weighted)[0] == pytest.approx(repeated(once)[0])


def test_accuracy_at_coverage_takes_the_surest_first() -> None:
    confidence = np.array([0.9, 0.5, 0.7, 0.5])
    right = np.array([True, False, True, True])
    found = accuracy_at_coverage(confidence, right, np.array([0.25, 0.5, 0.75, 1.0]))(np.ones((1, 4)))
    # The two at .5 are taken together.
    assert found[0].tolist() == pytest.approx([1.0, 1.0, 0.75, 0.75])


def test_confusion_is_that_of_scikit_learn(calls: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, called, _ = calls
    assert np.array_equal(confusion(truth, called, CLASSES), golden.confusion_matrix(truth, called))
    called[:10] = -1
    assert confusion(truth, called, CLASSES).sum() == 290
