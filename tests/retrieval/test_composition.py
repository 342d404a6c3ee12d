"""Recognisers on made-up modalities: what is in a sum, how many, and what is no such sum."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from molsig.errors import DamagedError, InputError, UsageError
from molsig.retrieval.composition import Recogniser, checked
from molsig.retrieval.composition_fit import fit_recogniser, training_sums
from molsig.retrieval.mixture import Mixture
from molsig.retrieval.pool import Pool, split_patients
from molsig.retrieval.recogniser import Counter, LogisticBaseline
from molsig.retrieval.sampling import sample_modalities, with_noise
from molsig.types import DIM

sys.path.insert(0, str(Path(__file__).parent))
from composition_data import made_pool

COUNTS = (1, 3, 6)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return made_pool()


@pytest.fixture(scope="module")
def recogniser(pool: Pool) -> Recogniser:
    return fit_recogniser(pool, counts=COUNTS, per_count=400, seed=1, epochs=12)


@pytest.fixture(scope="module")
def unseen(pool: Pool) -> Pool:
    """Vectors of the patients that the recogniser has not seen."""
    return pool.of_patients(split_patients(pool, 1).test)


@pytest.mark.parametrize("n", COUNTS)
def test_modalities_and_counts_of_sums_of_unseen_patients_are_recognised(
    recogniser: Recogniser, unseen: Pool, n: int
) -> None:
    sums = sample_modalities(unseen, n, 40, seed=n)
    answers = recogniser.recognise(sums.vectors)
    counts = np.array([list(one.counts.values()) for one in answers])
    truth = sums.counts[:, 0]
    np.testing.assert_array_equal(counts > 0, truth > 0)
    assert abs(counts - truth).mean() < 0.1 * n + 0.05, "counts of a modality that uses 20 directions are not sharp"
    inside = [
        low <= truth[i, m] <= high
        for i, one in enumerate(answers)
        for m, (low, high) in enumerate(one.intervals.values())
        if truth[i, m]
    ]
    assert np.mean(inside) > 0.85
    assert all(one.probabilities["rna"] > 0.5 for i, one in enumerate(answers) if truth[i, 2])
    # Two signs may each give a false alarm in 1 of 100; here they are calibrated on some 200 sums only.
    assert np.mean([one.verdict == "known" for one in answers]) > 0.8


def test_what_is_no_sum_of_known_vectors_is_called_so(recogniser: Recogniser, unseen: Pool) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((30, DIM)) / np.sqrt(DIM)
    answers = recogniser.recognise(noise)
    assert {one.verdict for one in answers} == {"unknown"}
    assert min(one.residual for one in answers) > recogniser.calibration.residuals[-1]
    assert max(one.rarity for one in answers) < 0.01
    turned = sample_modalities(unseen, 5, 30, seed=3).vectors @ np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    assert {one.verdict for one in recogniser.recognise(turned)} == {"unknown"}
    half = with_noise(sample_modalities(unseen, 4, 30, seed=3), unseen, 0.5, seed=4)
    answers = recogniser.recognise(half.vectors)
    assert {one.verdict for one in answers} == {"partly unknown"}
    assert abs(np.mean([one.foreign for one in answers]) - 2) < 0.5
    counts = np.array([list(one.counts.values()) for one in answers])
    assert ((counts > 0) == (half.counts[:, 0] > 0)).mean() > 0.9
    assert {one.verdict for one in recogniser.recognise(noise * 30)} == {"unknown"}, "long, but of nothing known"
    empty = recogniser.recognise(np.zeros(DIM, np.float32))[0]
    assert empty.verdict == "empty"
    assert not any(empty.counts.values())


def test_a_mean_is_told_from_a_sum(recogniser: Recogniser, unseen: Pool) -> None:
    mean = recogniser.recognise(sample_modalities(unseen, 8, 20, seed=3).vectors / 8)
    assert {one.verdict for one in mean} & {"known"} == set()
    assert "mean" in mean[0].notes[0]


def test_a_longer_sum_than_was_learnt_is_said_to_be_rough(recogniser: Recogniser, unseen: Pool) -> None:
    long = sample_modalities(unseen, 40, 10, seed=3)
    for one, truth in zip(recogniser.recognise(long.vectors), long.counts[:, 0], strict=True):
        assert one.verdict == "too long"
        assert "more than the 6" in " ".join(one.notes)
        assert 25 < sum(one.estimates.values()) < 65
        np.testing.assert_array_equal(np.array(list(one.counts.values())) > 0, truth > 0)


def test_the_same_pool_and_seed_give_the_same_recogniser_and_the_test_part_is_not_looked_at(
    pool: Pool, unseen: Pool
) -> None:
    vectors = sample_modalities(unseen, 3, 5, seed=0).vectors
    spoilt = pool.vectors.copy()
    spoilt[np.isin(pool.patient, split_patients(pool, 4).test)] = np.nan
    other = Pool(pool.modalities, pool.patients, spoilt, pool.modality, pool.patient)
    first, again = (fit_recogniser(one, counts=(3,), per_count=60, seed=4, epochs=2) for one in (pool, other))
    assert first.recognise(vectors) == again.recognise(vectors)


def test_modalities_of_few_patients_are_left_out_and_told(pool: Pool) -> None:
    rng = np.random.default_rng(1)
    owners = [f"P{i:03d}" for i in range(40)]
    blocks = {name: pool.vectors[pool.modality == i] for i, name in enumerate(pool.modalities)}
    names = {
        name: [pool.patients[code] for code in pool.patient[pool.modality == i]]
        for i, name in enumerate(pool.modalities)
    }
    tile = rng.standard_normal((40, DIM)).astype(np.float32)
    wider = Pool.of(blocks | {"tile": tile}, names | {"tile": owners})
    fitted = fit_recogniser(wider, counts=(2,), per_count=50, epochs=1)
    assert fitted.modalities == pool.modalities
    assert fitted.left_out == {"tile": 40}
    with pytest.raises(UsageError, match="tile 40"):
        fit_recogniser(Pool.of({"tile": tile}, {"tile": owners}))


def test_the_likelihood_estimates_amounts_without_bias(pool: Pool, unseen: Pool) -> None:
    parts = split_patients(pool, 1)
    mixture = Mixture.fit(pool.of_patients(parts.train), pool.of_patients(parts.validation))
    vectors, counts, present = training_sums(unseen, (4, 8), 150, 0.0, 5)
    amounts = mixture.amounts(vectors, present)[0][:, :-1]
    assert (amounts[counts == 0] == 0).all()
    np.testing.assert_allclose(amounts.sum(axis=0) / counts.sum(axis=0), 1, atol=0.15)
    assert min(np.corrcoef(amounts[:, m], counts[:, m])[0, 1] for m in range(3)) > 0.85


def test_the_logistic_baseline_learns_presence(pool: Pool, unseen: Pool) -> None:
    known = pool.of_patients(split_patients(pool, 1).train)
    sums, asked = sample_modalities(known, 3, 1500, seed=1), sample_modalities(unseen, 3, 300, seed=2)
    baseline = LogisticBaseline.fit(sums.vectors, sums.counts[:, 0] > 0)
    right = baseline.predict(asked.vectors) == (asked.counts[:, 0] > 0)
    assert right.mean() > max((asked.counts[:, 0] > 0).mean(), 0.5) + 0.1


def test_a_counter_comes_back_as_it_was(recogniser: Recogniser) -> None:
    counter = recogniser.counter
    back = Counter.from_tensors(counter.tensors(), 3, counter.largest)
    inputs = np.random.default_rng(0).standard_normal((9, len(counter.centre))).astype(np.float32)
    np.testing.assert_array_equal(counter.predict(inputs), back.predict(inputs))
    with pytest.raises(DamagedError, match="do not fit"):
        Counter.from_tensors(counter.tensors(), 4, counter.largest)


def test_a_vector_of_another_length_or_with_holes_is_refused() -> None:
    with pytest.raises(InputError, match="768 numbers, not 12"):
        checked(np.zeros(12))
    with pytest.raises(InputError, match="not finite"):
        checked(np.full(DIM, np.nan))
