"""Evidence, its calibration and the fusions, on invented patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_patients import TYPES, patients
from scipy.optimize import approx_fprime

from molsig.errors import InputError
from molsig.retrieval import stacking
from molsig.retrieval.calibration import Quantiles, calibrators, class_weights, prediction_sets, subset_code
from molsig.retrieval.evidence_fit import fit_evidence
from molsig.retrieval.folds import group_folds, tied_to_group
from molsig.retrieval.fusion import FittedEvidence, WeightedFusion, fit_fused_evidence
from molsig.retrieval.heads import fit_head, sums_of_items
from molsig.retrieval.neighbourhood import neighbourhood
from molsig.retrieval.numbers import fit_numbers
from molsig.retrieval.patient_vectors import PatientVectors, drop_assays
from molsig.retrieval.weighted import fit_weighted


@pytest.fixture(scope="module")
def fitted() -> FittedEvidence:
    vectors, labels, sites = patients(600, 0)
    labels = labels.copy()
    labels[::20] = ""
    return fit_fused_evidence(vectors, labels, sites)


def test_calls_are_right_and_as_sure_as_they_are_right(fitted: FittedEvidence) -> None:
    queries, truth, _ = patients(600, 1)
    assert fitted.classes == TYPES
    for share in (0.0, 0.5):
        some = drop_assays(queries, share, 0)
        probabilities = fitted.probabilities(some)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        right = np.array(TYPES)[probabilities.argmax(axis=1)] == truth
        told = np.isin(truth, TYPES) & (some.present["rna"] | some.present["mirna"] | some.present["report"])
        assert right[told].mean() > 0.9
        assert abs(probabilities.max(axis=1).mean() - right.mean()) < 0.05


def test_sets_cover_what_they_promise(fitted: FittedEvidence) -> None:
    queries, truth, _ = patients(1500, 2)
    queries = drop_assays(queries, 0.5, 1)
    probabilities = fitted.probabilities(queries)
    target = np.searchsorted(TYPES, truth)
    sizes = []
    for error in (0.3, 0.2, 0.1, 0.05):
        sets = fitted.sets(queries, probabilities, error)
        # Learned on four fifths and used with all, a set covers a little more than it promises, never less.
        assert 1 - error - 0.03 < sets[np.arange(len(target)), target].mean() < 1 - error + 0.15
        sizes.append(float(sets.sum(axis=1).mean()))
    assert sizes == sorted(sizes)
    assert sizes[-1] < 3, "the sets say nothing"


def test_a_type_that_was_never_seen_is_strange() -> None:
    vectors, labels, sites = patients(500, 3)
    known = np.flatnonzero(labels != "D")
    fitted = fit_fused_evidence(vectors.take(known), labels[known], sites[known])
    queries, truth, _ = patients(300, 4)
    told = queries.present["rna"] | queries.present["mirna"]
    strange = fitted.strangeness(queries)
    assert np.median(strange[told & (truth == "D")]) > 0.9
    assert np.median(strange[told & (truth != "D")]) < 0.7
    only_reports = queries.only(["report"]).keep({}).take(np.flatnonzero(queries.present["report"])[:3])
    absent = {m: np.zeros(3, bool) for m in ("rna", "mirna", "noise")}
    empty = {m: np.zeros((3, 768), np.float32) for m in absent}
    asked = replace(only_reports, vectors={**only_reports.vectors, **empty}, present={**only_reports.present, **absent})
    assert fitted.model.compared == ("mirna", "noise", "rna"), "sums of items have no neighbours to tell from"
    assert np.ptp(fitted.strangeness(asked)) > 0, "but calls can be undecided"


def test_noise_says_nothing_and_counts_for_little(fitted: FittedEvidence) -> None:
    nats = dict(zip(fitted.model.modalities, fitted.model.information, strict=True))
    assert nats["noise"] < 0.05 < 1 < min(nats["rna"], nats["mirna"])
    assert fitted.weighted.weights["noise"] < 0.5 * fitted.weighted.weights["rna"]


def test_evidence_finds_the_type_where_sums_find_the_assays(fitted: FittedEvidence) -> None:
    queries, truth, _ = patients(200, 5)
    queries = drop_assays(queries, 0.4, 0)
    known = np.array(TYPES)[np.maximum(fitted.classes_of, 0)]

    def precision(rows: np.ndarray) -> float:
        return float((known[rows] == truth[:, None]).mean())

    evidence = precision(fitted.nearest(queries, 10)[0])
    weighted = precision(WeightedFusion().fit(fitted.gallery, known, known).nearest(queries, 10)[0])
    assert evidence > weighted > 0.3
    rows, scores = fitted.nearest(queries, 10)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert rows.shape == (200, 10)


def test_a_missing_modality_adds_nothing(fitted: FittedEvidence) -> None:
    queries, _, _ = patients(20, 6)
    none = {modality: np.zeros(20, bool) for modality in queries.modalities}
    model = fitted.model
    nothing = queries.keep(none)
    posterior = np.exp(model.log_posterior(model.evidence(nothing), model.present(nothing)))
    np.testing.assert_allclose(posterior, np.broadcast_to(posterior[:1], posterior.shape))
    np.testing.assert_allclose(posterior[0], np.exp(model.log_prior))


def test_two_modalities_are_heard_together_where_enough_patients_have_both(fitted: FittedEvidence) -> None:
    assert fitted.model.joint is not None
    assert set(fitted.model.joint.modalities) == {"mirna", "rna"}, "the pair that tells most"
    few, labels, _ = patients(150, 12)
    assert fit_evidence(few, labels).joint is None


def test_of_many_modalities_those_with_most_patients_are_taken() -> None:
    vectors, labels, _ = patients(200, 13, types=("A", "B"))
    held = {f"m{i}": np.arange(200) >= i for i in range(9)}
    block = vectors.vectors["rna"]
    many = {m: np.where(there[:, None], block, np.float32(0)) for m, there in held.items()}
    model = fit_evidence(PatientVectors(vectors.patients, many, held), labels)
    assert model.modalities == tuple(f"m{i}" for i in range(8)), "m8 has the fewest"


def test_the_same_seed_learns_the_same() -> None:
    vectors, labels, sites = patients(200, 7)
    first, again = (fit_evidence(vectors, labels, sites, seed=4) for _ in range(2))
    for code, weights in first.stack.weights.items():
        np.testing.assert_array_equal(weights, again.stack.weights[code])
    assert first.scores == again.scores


def test_too_little_to_learn_from_is_said() -> None:
    vectors, labels, sites = patients(60, 8)
    with pytest.raises(InputError, match="fewer than two classes"):
        fit_evidence(vectors, np.where(labels == "A", "A", ""), sites)
    with pytest.raises(InputError, match="no modality has 50 patients"):
        fit_evidence(vectors.take(np.arange(40)), labels[:40], sites[:40])


def test_a_class_that_a_fold_lacks_gets_the_lowest_probability() -> None:
    vectors, labels, _ = patients(300, 9, types=("A", "B"))
    y = np.searchsorted(("A", "B"), labels)
    held = vectors.present["rna"]
    head = fit_head(vectors.vectors["rna"][held], y[held], 3)
    evidence = head.evidence(vectors.vectors["rna"][held]) + head.log_prior
    assert (evidence[..., 2] < evidence[..., :2].max(axis=-1) - 3).all()
    assert sums_of_items(vectors.vectors["report"][vectors.present["report"]])
    assert not head.unit


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_gradient_of_the_weights_is_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 1, (5, 9, 4))
    classes, prior = rng.integers(0, 4, 9), np.log(np.array([0.1, 0.2, 0.3, 0.4]))
    theta, target = np.concatenate([rng.uniform(0, 1, 5), [0.9]]), rng.uniform(0, 1, 5)
    shares = rng.uniform(0.5, 3, 9)

    def loss(x: np.ndarray) -> float:
        return stacking.loss_and_gradient(x, evidence, classes, prior, target, shares)[0]

    gradient = stacking.loss_and_gradient(theta, evidence, classes, prior, target, shares)[1]
    np.testing.assert_allclose(gradient, approx_fprime(theta, loss, 1e-7), atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(1, 20), folds=st.integers(2, 6))
def test_groups_stay_whole_where_they_can(seed: int, groups: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, 120)
    site = np.array([f"{one}-{rng.integers(groups)}" for one in classes])
    fold = group_folds(classes, site, folds, seed)
    assert set(fold) <= set(range(folds))
    for one in np.unique(site):
        mine = classes[site == one][0]
        sizes = np.unique(site[classes == mine], return_counts=True)[1]
        if sizes.max() <= 0.6 * sizes.sum():
            assert len(set(fold[site == one])) == 1, "a site is in two folds"
    for one in np.unique(classes):
        if (classes == one).sum() >= 2 * folds and groups >= folds:
            assert len(set(fold[classes == one])) > 1, "a class is in one fold alone"


def test_neighbours_are_counted_as_by_hand() -> None:
    vectors, labels, _ = patients(90, 10)
    held = vectors.present["rna"]
    block, y = vectors.vectors["rna"][held], np.searchsorted(TYPES, labels[held])
    y[:10] = -1
    counts, near = neighbourhood(block[:7], block, y, 4, 5)
    unit = block / np.linalg.norm(block, axis=1, keepdims=True)
    cosines = unit[:7] @ unit.T
    for row in range(7):
        order = [i for i in np.argsort(-cosines[row], kind="stable") if y[i] >= 0][:5]
        np.testing.assert_array_equal(counts[row], np.bincount(y[order], minlength=4))
        assert near[row] == pytest.approx(np.sort(cosines[row])[-5:].mean(), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(20, 400), error=st.floats(0.05, 0.5), seed=st.integers(0, 50))
def test_a_conformal_bound_is_the_order_statistic(n: int, error: float, seed: int) -> None:
    numbers = np.random.default_rng(seed).random(n)
    bound = Quantiles.of(numbers).bound(error)
    place = int(np.ceil((n + 1) * (1 - error)))
    # Quantiles are kept on a grid: the bound is that order statistic or the next one up.
    assert np.sort(numbers)[place - 1] <= bound <= np.sort(numbers)[min(n - 1, place + n // 1000 + 1)]


def test_few_calibrators_cannot_promise_much() -> None:
    assert Quantiles.of(np.arange(5.0)).bound(0.1) == np.inf
    probabilities = np.array([[0.9, 0.1]])
    assert prediction_sets(probabilities, np.array([3]), {}, 0.1).all()


def test_a_set_of_assays_is_calibrated_by_those_who_have_it() -> None:
    present = np.array([[1] * 300 + [1] * 50, [0] * 300 + [1] * 50], dtype=bool)
    codes = subset_code(present)
    np.testing.assert_array_equal(calibrators(1, codes), np.arange(300))
    np.testing.assert_array_equal(calibrators(3, codes), np.arange(300, 350))
    assert len(calibrators(1, codes, np.arange(350) >= 150)) == 350, "150 that count are too few"


def test_patients_stand_for_others_of_their_class() -> None:
    classes = np.array([0] * 10 + [1] * 4 + [2] * 30)
    asked = np.ones(44, dtype=bool)
    asked[[0, 1, 2, 3, 4, 10]] = False
    asked[15:] = False
    shares = class_weights(classes, asked, 3)
    np.testing.assert_allclose(shares, [2] * 5 + [4 / 3] * 3 + [10], err_msg="30 are at most 10")
    weighted = Quantiles.of(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]))
    assert weighted.share_below(np.array([1.5]))[0] == pytest.approx(0.5, abs=0.002)
    assert weighted.n == 2, "four patients' worth, but of few"


def test_who_is_tied_to_a_hospital() -> None:
    classes = np.array([0] * 10 + [1] * 10)
    sites = np.array(["a"] * 7 + ["b"] * 3 + ["c", "d"] * 4 + ["", ""])
    tied = tied_to_group(classes, sites)
    np.testing.assert_array_equal(np.flatnonzero(tied), np.arange(7))
    fold = group_folds(classes, sites, 2, 0)
    assert len(set(fold[7:10])) == 1, "the smaller hospital is held out as a whole"
    assert len(set(fold[:7])) == 2, "the large one is dealt out"


def test_weights_without_labels_need_shared_patients() -> None:
    vectors, _, _ = patients(300, 11)
    assert set(fit_weighted(vectors.only(["rna"])).weights.values()) == {1.0}


def test_intervals_of_numbers_hold_on_new_patients() -> None:
    vectors, labels, sites = patients(500, 12)
    rng = np.random.default_rng(0)

    def ages(types: np.ndarray) -> np.ndarray:
        return 40 + 10 * np.searchsorted(TYPES, types) + rng.normal(0, 4, len(types))

    stored = ages(labels)
    stored[::7] = np.nan
    weighted = fit_weighted(vectors)
    found = fit_numbers(vectors, weighted, {"age": stored, "few": np.where(np.arange(500) < 50, 1.0, np.nan)}, sites)
    assert set(found) == {"age"}
    known = found["age"]
    assert known.error < known.plain_error
    queries, truth, _ = patients(400, 13)
    true = ages(truth)
    held = np.flatnonzero(~np.isnan(stored))
    near = np.argsort(-(weighted.fused(queries) @ weighted.fused(vectors.take(held)).T), axis=1)[:, :20]
    for error in (0.3, 0.1):
        bounds = np.array([known.interval(stored[held][row], error) for row in near])
        inside = (bounds[:, 0] <= true) & (true <= bounds[:, 1])
        # Learned on four fifths of the neighbours: a little wider than it would have to be.
        assert 1 - error - 0.05 < inside.mean() < 1 - error + 0.15
    assert known.interval(stored[held][near[0]], 1e-6) is None
