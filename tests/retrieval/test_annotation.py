"""Predicting a patient column: scaling, methods, calibration, and that nothing is learned of those asked about."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.errors import InputError, UsageError
from molsig.retrieval.annotate_forest import FEWEST_DRAWN, MOST_DRAWN, Forest, _even_draws
from molsig.retrieval.annotate_inputs import Scaler, measured_by_patient
from molsig.retrieval.annotate_neighbours import Neighbours
from molsig.retrieval.annotate_network import Network
from molsig.retrieval.annotation import (
    HELD_OUT,
    RANDOM,
    Annotator,
    Labels,
    Numbers,
    predict_labels,
    predict_numbers,
    schemes_of,
)
from molsig.retrieval.annotation_scores import (
    LabelScores,
    NumberScores,
    commonest_elsewhere,
    mean_elsewhere,
    score_calls,
    score_numbers,
)
from molsig.retrieval.intervals import AGE_CUTS, cut, interval_names
from molsig.retrieval.weighted import fit_weighted
from molsig.types import ContractReport, FeatureMatrix, SampleId
from tests.patients import cohort

NOBODY = np.zeros(0, dtype=np.int64)


def counts_of(codes: np.ndarray, *, features: int = 40, seed: int = 0) -> np.ndarray:
    """Measurements in which each class lifts features of its own, float32."""
    rng = np.random.default_rng(seed)
    lifted = np.arange(features) % (codes.max() + 1) == codes[:, None]
    return rng.gamma(2.0, np.where(lifted, 60.0, 30.0)).astype(np.float32)


def methods_of(codes: np.ndarray) -> list[Annotator]:
    values = counts_of(codes)
    return [Forest(values, trees=(20, 40)), Network(values, epochs=6)]


def test_scaling_is_learned_from_those_who_teach_alone() -> None:
    taught = np.array([[0, 1, 5, 7], [0, 3, 5, np.nan], [4, 2, 5, 9], [0, 1, 5, 11]], dtype=np.float32)
    scaler = Scaler.fit(taught)
    # The first is zero in three of four, the third never varies.
    assert scaler.kept.tolist() == [1, 3]
    np.testing.assert_allclose(scaler(taught)[:, 0], [0, 1, 0.5, 0])
    np.testing.assert_allclose(scaler(taught)[1, 1], (9 - 7) / 4)  # the mean of what was measured
    others = scaler(np.array([[9, 100, 0, -3]], dtype=np.float32))
    np.testing.assert_array_equal(others, [[1, 0]])
    with pytest.raises(InputError, match="none of the 2 features"):
        Scaler.fit(np.array([[0, 3], [0, 3], [1, 3]], dtype=np.float32))


def test_a_patient_is_the_mean_of_their_samples_in_linear_units_without_normal_tissue() -> None:
    samples = (
        SampleId("B-01", "B"), SampleId("A-01", "A"), SampleId("A-06", "A", "metastasis"),
        SampleId("A-11", "A", "normal"), SampleId("C-11", "C", "normal"),
    )  # fmt: skip
    linear = np.array([[1, 7], [3, 15], [31, 1], [255, 255], [3, 1]])
    report = ContractReport(file="x", modality="mirna", rows=5, samples=5, patients=3)
    values = np.log2(linear + 1).astype(np.float32)
    found = measured_by_patient(FeatureMatrix("mirna", samples, ("f", "g"), values, "log2", report))
    assert found.patients == ("A", "B")
    np.testing.assert_allclose(found.values, [[17, 8], [1, 7]], rtol=1e-5)
    assert found.only_normal == 1
    with pytest.raises(InputError, match="normal tissue"):
        measured_by_patient(FeatureMatrix("mirna", samples[3:], ("f", "g"), values[3:], "log2", report))


def test_the_study_cuts_ages_with_the_upper_end_inside() -> None:
    ages = np.array([45.0, 45.5, 70.0, 71.0])
    assert cut(ages, AGE_CUTS[3]).tolist() == [0, 1, 1, 2]
    assert interval_names(AGE_CUTS[3]) == ("up to 45", "over 45 to 70", "over 70")
    assert interval_names(AGE_CUTS[2]) == ("up to 65", "over 65")
    for wrong in ((), (70, 45), (3, 3), (float("nan"),)):
        with pytest.raises(UsageError, match="ascending"):
            interval_names(wrong)


def test_each_tree_sees_as_many_of_every_class() -> None:
    codes = np.repeat([0, 1, 2], [500, 60, 4])
    drawn = codes[_even_draws(codes, 7, np.random.default_rng(0))]
    assert drawn.shape == (7, 3 * FEWEST_DRAWN)
    assert (np.stack([(drawn == one).sum(axis=1) for one in range(3)]) == FEWEST_DRAWN).all()
    many = np.repeat([0, 1], 3000)
    assert _even_draws(many, 2, np.random.default_rng(0)).shape == (2, MOST_DRAWN)


@pytest.mark.parametrize("place", [0, 1])
def test_labels_are_told_of_held_out_groups_with_sets_that_hold(place: int) -> None:
    rng = np.random.default_rng(3)
    codes = rng.choice(3, p=[0.6, 0.3, 0.1], size=360)
    method = methods_of(codes)[place]
    groups = np.array([f"S{one}" for one in rng.integers(9, size=360)])
    known, asked = np.arange(300), np.arange(300, 360)
    schemes = schemes_of(codes[:300], groups[:300])
    assert list(schemes) == [HELD_OUT, RANDOM]
    assert all(len(np.unique(schemes[HELD_OUT][groups[:300] == one])) == 1 for one in np.unique(groups))
    steps: list[tuple[int, int | None]] = []
    found = predict_labels(
        method,
        known,
        codes[:300],
        3,
        asked,
        schemes,
        error=0.1,
        progress=lambda _, done, all_: steps.append((done, all_)),
    )
    assert steps[-1] == (11, 11)
    scores = found.scores[HELD_OUT]
    assert isinstance(scores, LabelScores)
    assert scores.accuracy > 0.8
    assert scores.covered is not None
    assert scores.covered > 0.85
    assert scores.calibration_error is not None
    assert scores.calibration_error < 0.12
    assert isinstance(found.asked, Labels)
    assert (found.asked.probabilities.argmax(axis=1) == codes[300:]).mean() > 0.8
    np.testing.assert_allclose(found.asked.probabilities.sum(axis=1), 1)
    assert found.asked.sets.any(axis=1).all()
    one, again = (method.tell(known, codes[:300], 3, asked) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_what_cannot_be_told_is_not_told() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=300)
    found = predict_labels(
        Forest(counts_of(np.zeros(300, dtype=int)), trees=(10, 20)), np.arange(300), codes, 2, NOBODY,
        schemes_of(codes, None), error=0.1,
    )  # fmt: skip
    assert list(found.scores) == [RANDOM]
    scores = found.scores[RANDOM]
    assert isinstance(scores, LabelScores)
    assert scores.accuracy < 0.6
    assert scores.told is not None
    assert scores.told < 0.2
    assert scores.covered is not None
    assert scores.covered > 0.85


def test_a_label_that_one_group_has_alone_counts_as_missed() -> None:
    codes = np.repeat([0, 1, 2], [100, 100, 20])
    groups = np.array([f"S{one % 8}" for one in range(200)] + ["alone"] * 20)
    found = predict_labels(
        Forest(counts_of(codes), trees=(10, 20)), np.arange(220), codes, 3, NOBODY, schemes_of(codes, groups), error=0.1
    )
    held_out, at_random = found.scores[HELD_OUT], found.scores[RANDOM]
    assert isinstance(held_out, LabelScores)
    assert isinstance(at_random, LabelScores)
    assert held_out.unanswerable == 20
    assert held_out.accuracy <= 200 / 220
    assert at_random.unanswerable == 0
    assert at_random.accuracy > held_out.accuracy


def test_where_others_have_one_label_alone_it_is_what_is_said() -> None:
    """Of two labels one is at one hospital alone: without it nothing can be learned, and the other is no miss."""
    codes = np.repeat([0, 1], [200, 20])
    groups = np.array([f"S{one % 8}" for one in range(200)] + ["S0"] * 20)
    found = predict_labels(
        Forest(counts_of(codes), trees=(10, 20)), np.arange(220), codes, 2, NOBODY, schemes_of(codes, groups), error=0.1
    )
    held_out, told = found.scores[HELD_OUT], found.known[HELD_OUT]
    assert isinstance(held_out, LabelScores)
    assert isinstance(told, Labels)
    assert held_out.unanswerable == 20
    right = float((told.probabilities.argmax(axis=1) == codes).mean())
    assert held_out.accuracy == pytest.approx(right)
    assert right > 0.85
    with pytest.raises(InputError, match="without their own fold"):
        predict_labels(
            Forest(counts_of(codes), trees=(5, 5)), np.arange(220), codes, 2, NOBODY,
            {HELD_OUT: codes.astype(np.int64)}, error=0.1,
        )  # fmt: skip


def test_neighbours_speak_with_the_assays_a_patient_has() -> None:
    people = cohort(320, labels=3, noise=0.6)
    codes = np.unique(people.labels, return_inverse=True)[1]
    method = Neighbours(people.vectors, fit_weighted(people.vectors).fused(people.vectors))
    schemes = schemes_of(codes[:260], people.groups[:260])
    found = predict_labels(method, np.arange(260), codes[:260], 3, np.arange(260, 320), schemes, error=0.1)
    assert isinstance(found.asked, Labels)
    assert (found.asked.probabilities.argmax(axis=1) == codes[260:]).mean() > 0.7
    spoken = method.tell(np.arange(260), codes[:260], 3, np.arange(260, 320))
    mute = ~method.present[:, 260:]
    assert mute.any()
    assert (spoken[mute] == 0).all()
    assert (np.abs(spoken[~mute]).sum(axis=1) > 0).all()


@pytest.mark.parametrize("name", ["forest", "network", "neighbours"])
def test_numbers_come_with_intervals_that_hold(name: str) -> None:
    people = cohort(360, labels=4, noise=0.5, held=1.0)
    codes = np.unique(people.labels, return_inverse=True)[1]
    years = 40.0 + 12 * codes + np.random.default_rng(1).normal(0, 4, 360)
    method: Annotator
    if name == "neighbours":
        method = Neighbours(people.vectors, fit_weighted(people.vectors).fused(people.vectors))
    else:
        values = counts_of(codes)
        method = Forest(values, trees=(10, 30)) if name == "forest" else Network(values, epochs=6)
    schemes = schemes_of(codes[:300], people.groups[:300])
    found = predict_numbers(method, np.arange(300), years[:300], np.arange(300, 360), schemes, error=0.1)
    scores = found.scores[HELD_OUT]
    assert isinstance(scores, NumberScores)
    assert scores.error < 0.8 * np.abs(years - years.mean()).mean()
    assert scores.covered is not None
    assert 0.84 < scores.covered < 0.97
    assert isinstance(found.asked, Numbers)
    inside = np.abs(found.asked.estimates - years[300:]) <= found.asked.reach
    assert inside.mean() > 0.8


def test_rules_look_at_other_folds_only() -> None:
    truth, fold = np.array([0, 1, 1, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 1])
    kinds = np.array(["a", "b", "b", "a", "b", "c"])
    # Of fold 1, "a" was 0 and "b" was 1 elsewhere, and nobody elsewhere was "c": the commonest of fold 0.
    assert commonest_elsewhere(kinds, truth, fold, 2).tolist() == [0, 0, 0, 0, 1, 1]
    years = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    assert mean_elsewhere(kinds, years, fold).tolist() == [40, 50, 50, 10, 25, 20]


def test_scores_count_what_they_say() -> None:
    able = np.array([True, True, True, False])
    scores = score_calls(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), able)
    assert (scores.patients, scores.unanswerable, scores.accuracy) == (4, 1, 0.5)
    assert scores.balanced == pytest.approx((2 / 3 + 0) / 2)
    numbers = score_numbers(np.array([1.0, 3.0]), np.array([2.0, 2.0]), np.array([1.0, 0.5]))
    assert (numbers.error, numbers.correlation, numbers.covered, numbers.width) == (1.0, None, 0.5, 1.5)
