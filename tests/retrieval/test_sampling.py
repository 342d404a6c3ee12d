"""Drawn aggregates: what was drawn is what was summed, and chance is a matter of the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.errors import UsageError
from molsig.retrieval.pool import Pool, split_patients
from molsig.retrieval.sampling import NOISE, Sums, sample_modalities, sample_patients, sum_rows, with_noise
from molsig.types import DIM

seeds = st.integers(0, 2**32 - 1)
few = st.integers(1, 6)


def pool_of(seed: int, patients: int = 12, most: int = 4) -> Pool:
    """Three modalities; a patient has none to `most` rows of each, and the first patient one of each."""
    rng = np.random.default_rng(seed)
    vectors, owners = {}, {}
    for modality in ("mutation", "rna", "tile"):
        rows = rng.integers(0, most + 1, patients)
        rows[0] = 1
        owners[modality] = [f"P{i:02d}" for i, n in enumerate(rows) for _ in range(n)]
        vectors[modality] = rng.standard_normal((len(owners[modality]), DIM)).astype(np.float32)
    return Pool.of(vectors, owners)


def types_of(pool: Pool) -> list[str | None]:
    """Two types, and one patient of no known type."""
    return [None if i == 1 else "AB"[i % 2] for i in range(len(pool.patients))]


def check_sums(sums: Sums, pool: Pool, n: int) -> None:
    """What is said to have been drawn adds up to the vectors, and its modalities to the counts."""
    assert sums.vectors.dtype == np.float32
    expected = pool.vectors[sums.rows].astype(np.float64).sum(axis=2)
    np.testing.assert_allclose(sums.vectors.reshape(expected.shape), expected, rtol=1e-6, atol=1e-6)
    for code in range(len(pool.modalities)):
        np.testing.assert_array_equal(sums.counts[..., code], (pool.modality[sums.rows] == code).sum(axis=2))
    assert (sums.totals == n).all()


@settings(deadline=None)
@given(seeds, few, st.integers(1, 30))
def test_a_simple_sum_is_the_sum_of_what_was_drawn(seed: int, n: int, size: int) -> None:
    pool = pool_of(seed)
    sums = sample_modalities(pool, n, size, seed=seed)
    assert sums.vectors.shape == (size, DIM)
    assert sums.rows.shape == (size, 1, n)
    check_sums(sums, pool, n)


@settings(deadline=None)
@given(seeds, few, st.integers(1, 30))
def test_a_specific_sum_is_of_patients_of_one_type(seed: int, n: int, size: int) -> None:
    pool = pool_of(seed)
    types = types_of(pool)
    sums = sample_modalities(pool, n, size, seed=seed, within=types)
    check_sums(sums, pool, n)
    for rows, group in zip(sums.rows, sums.group, strict=True):
        assert {types[code] for code in pool.patient[rows].ravel()} == {sums.groups[group]}


@settings(deadline=None)
@given(seeds, few, few)
def test_a_patients_sum_is_of_their_own_embeddings(seed: int, n: int, repeats: int) -> None:
    pool = pool_of(seed)
    sums = sample_patients(pool, n, repeats, seed=seed)
    assert sums.vectors.shape == (len(np.unique(pool.patient)), repeats * DIM)
    check_sums(sums, pool, n)
    np.testing.assert_array_equal(np.broadcast_to(sums.group[:, None, None], sums.rows.shape), pool.patient[sums.rows])
    owned = np.bincount(pool.patient, minlength=len(pool.patients))[sums.group]
    for rows, own in zip(sums.rows, owned, strict=True):
        for drawn in rows:
            assert len(set(drawn)) == n or own < n, "whoever has n embeddings gives n different ones"


@settings(deadline=None)
@given(seeds, few)
def test_the_same_seed_draws_the_same(seed: int, n: int) -> None:
    pool = pool_of(3)
    for draw in (
        lambda s: sample_modalities(pool, n, 20, seed=s),
        lambda s: sample_modalities(pool, n, 20, seed=s, within=types_of(pool)),
        lambda s: sample_patients(pool, n, 2, seed=s),
        lambda s: with_noise(sample_modalities(pool, n, 20, seed=s), pool, 0.5, seed=s),
    ):
        first, again = draw(seed), draw(seed)
        np.testing.assert_array_equal(first.rows, again.rows)
        np.testing.assert_array_equal(first.vectors, again.vectors)
    assert not np.array_equal(
        sample_modalities(pool, 6, 50, seed=seed).rows, sample_modalities(pool, 6, 50, seed=seed + 1).rows
    )


def test_modalities_are_equally_likely_however_many_rows_they_have() -> None:
    rng = np.random.default_rng(0)
    rows = {"rna": 10, "tile": 990}
    pool = Pool.of(
        {name: rng.standard_normal((n, DIM)).astype(np.float32) for name, n in rows.items()},
        {name: [f"P{i % 10}" for i in range(n)] for name, n in rows.items()},
    )
    share = sample_modalities(pool, 5, 4000, seed=1).counts.sum(axis=(0, 1)) / 20_000
    np.testing.assert_allclose(share, 0.5, atol=0.015)
    # Each patient has one RNA profile among 99 tiles: the first draw takes it half of the time.
    first = sample_patients(pool, 1, 400, seed=1).counts.mean(axis=(0, 1))
    np.testing.assert_allclose(first, 0.5, atol=0.03)
    drawn = np.bincount(sample_modalities(pool, 5, 4000, seed=2).rows.ravel(), minlength=1000)
    assert (drawn[:10] > 700).all(), "and every row of a modality is as likely as the next"


@settings(deadline=None)
@given(seeds, st.integers(3, 10), st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]))
def test_noise_takes_the_place_of_constituents(seed: int, n: int, share: float) -> None:
    pool = pool_of(seed)
    sums = sample_modalities(pool, n, 200, seed=seed)
    noisy = with_noise(sums, pool, share, seed=seed)
    gone = (noisy.rows == NOISE).sum(axis=2)
    assert (noisy.totals + gone == n).all()
    assert (abs(gone - share * n) < 1).all()
    kept = noisy.rows != NOISE
    np.testing.assert_array_equal(noisy.rows[kept], sums.rows[kept])
    rest = sum_rows(pool.vectors, noisy.rows[:, 0])
    length = np.linalg.norm(noisy.vectors - rest, axis=1)
    assert (length[gone[:, 0] == 0] == 0).all()
    # Vectors of this pool have a variance of 1 per dimension, and so has the noise.
    np.testing.assert_allclose(length, np.sqrt(gone[:, 0] * DIM), rtol=0.2)


@settings(deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 5), st.integers(1, 100_000))
def test_sums_do_not_depend_on_the_memory_given(seed: int, k: int, n: int, memory: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((9, 20)).astype(np.float32)
    rows = rng.integers(-1, 9, (k, n))
    padded = np.concatenate([vectors, np.zeros((1, 20), np.float32)])
    np.testing.assert_allclose(sum_rows(vectors, rows, memory=memory), padded[rows].sum(axis=1), atol=1e-5)


@settings(deadline=None)
@given(seeds)
def test_no_patient_is_in_two_parts_and_every_modality_is_in_each(seed: int) -> None:
    pool = pool_of(seed, patients=120)
    parts = split_patients(pool, seed)
    codes = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(codes), np.unique(pool.patient))
    assert abs(len(parts.test) / len(codes) - 0.2) < 0.02
    assert abs(len(parts.validation) / len(codes) - 0.16) < 0.02
    for part in (parts.train, parts.validation, parts.test):
        assert set(pool.of_patients(part).modality) == {0, 1, 2}


def test_some_modalities_of_a_pool_are_coded_in_the_order_given() -> None:
    pool = pool_of(1)
    some = pool.only(["tile", "mutation"])
    np.testing.assert_array_equal(some.vectors[some.modality == 0], pool.vectors[pool.modality == 2])
    assert some.patients_per_modality()["mutation"] == pool.patients_per_modality()["mutation"]
    with pytest.raises(UsageError, match="no mirna vectors"):
        pool.only(["mirna"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda pool: sample_modalities(pool, 0, 5, seed=0), "at least 1"),
        (lambda pool: sample_modalities(pool, 3, 0, seed=0), "at least 1"),
        (lambda pool: sample_patients(pool, 3, 0, seed=0), "at least 1"),
        (lambda pool: sample_modalities(pool, 3, 5, seed=0, within=["A"]), "1 labels"),
        (lambda pool: sample_modalities(pool, 3, 5, seed=0, within=[None] * len(pool.patients)), "no vectors"),
        (lambda pool: with_noise(sample_modalities(pool, 3, 5, seed=0), pool, 1.5, seed=0), "between 0 and 1"),
        (lambda pool: with_noise(sample_patients(pool, 3, 2, seed=0), pool, 0.5, seed=0), "one repeat"),
        (lambda pool: sample_patients(pool.take(np.empty(0, np.int64)), 3, 1, seed=0), "no vectors"),
        (lambda pool: Pool.of({"rna": pool.vectors}, {"rna": ["P1"]}), "1 patients"),
        (lambda pool: Pool.of({"rna": pool.vectors}, {"tile": ["P1"]}), "different modalities"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(pool_of(5))  # type: ignore[operator]
