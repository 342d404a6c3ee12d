"""Clusters, distances and labels of aggregates whose types are known."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.retrieval.classification import MOST, SHARE, _fifth_by_site, classify_aggregates
from molsig.retrieval.clustering import cluster, pair_distances, principal_components
from molsig.retrieval.pool import Pool
from molsig.retrieval.sampling import sample_patients
from molsig.types import DIM

TYPES = ("BRCA", "LUAD", "THCA")


def typed_pool(distance: float, seed: int = 0) -> tuple[Pool, list[str | None]]:
    """Ninety patients of three types with two modalities, types `distance` apart in each."""
    rng = np.random.default_rng(seed)
    names = [f"P{i:02d}" for i in range(90)]
    kind = np.arange(90) % 3
    vectors = {}
    for modality in ("mutation", "rna"):
        centres = rng.standard_normal((3, DIM)) * distance
        vectors[modality] = (centres[kind] + rng.standard_normal((90, DIM))).astype(np.float32)
    pool = Pool.of(vectors, dict.fromkeys(vectors, names))
    return pool, [TYPES[k] for k in kind]


def test_types_far_apart_are_clusters_and_types_on_one_spot_are_none() -> None:
    far, labels = typed_pool(0.5)
    near, _ = typed_pool(0.0)
    found = cluster(sample_patients(far, 3, 3, seed=0).vectors, [str(one) for one in labels], components=10)
    assert found.ari > 0.95
    assert found.nmi > 0.9
    assert found.plane.shape == (90, 2)
    assert abs(cluster(sample_patients(near, 3, 3, seed=0).vectors, [str(one) for one in labels]).ari) < 0.15


def test_pairs_are_those_of_the_full_matrix() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1100, 8)).astype(np.float32)
    labels = [str(one) for one in rng.integers(0, 3, len(x))]
    upper = np.triu_indices(len(x), 1)
    same = (np.array(labels)[:, None] == np.array(labels)[None])[upper]
    whole = np.float64(x)
    unit = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    apart = np.linalg.norm(whole[upper[0]] - whole[upper[1]], axis=1)
    for one, values in zip(
        pair_distances(x, labels), ((unit @ unit.T)[upper], apart, (whole @ whole.T)[upper]), strict=True
    ):
        assert one.intra == pytest.approx((values[same].mean(), values[same].std()), abs=1e-6)
        assert one.inter == pytest.approx((values[~same].mean(), values[~same].std()), abs=1e-6)


def test_separation_is_positive_for_every_metric_where_types_differ() -> None:
    pool, labels = typed_pool(0.5)
    for one in pair_distances(sample_patients(pool, 3, 1, seed=0).vectors, [str(label) for label in labels]):
        assert one.separation is not None
        assert one.separation > 0.5, one.metric


def test_principal_components_keep_all_variance_and_have_no_random_sign() -> None:
    x = np.random.default_rng(2).standard_normal((40, 6)).astype(np.float32)
    scores = principal_components(x, 6)
    assert np.square(scores).sum() == pytest.approx(np.square(x - x.mean(axis=0)).sum(), rel=1e-5)
    np.testing.assert_allclose(scores, principal_components(np.concatenate([x[20:], x[:20]]), 6)[np.r_[20:40, 0:20]])


def test_a_label_is_told_where_it_shows_and_not_where_it_does_not() -> None:
    far, labels = typed_pool(0.5)
    scores = classify_aggregates(far, labels, 3, 2, runs=3)
    assert scores.classes == TYPES
    assert scores.f1.shape == (3, 3)
    assert scores.accuracy.min() > 0.9
    assert scores.confusion.sum() == 3 * 18, "a fifth of the patients is asked about in each run"
    near, _ = typed_pool(0.0)
    assert classify_aggregates(near, labels, 3, 2, runs=3).accuracy.mean() < 0.6


def test_runs_are_reproducible_and_patients_without_a_label_are_left_out() -> None:
    pool, labels = typed_pool(0.3)
    some = [None if i < 30 else one for i, one in enumerate(labels)]
    first, again = (classify_aggregates(pool, some, 2, 1, runs=2, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.confusion, again.confusion)
    assert first.confusion.sum() == 2 * 12


def test_whole_sites_are_held_out_and_hold_about_a_fifth_of_each_class() -> None:
    rng = np.random.default_rng(0)
    site = rng.integers(0, 40, 900)
    y = np.where(rng.random(900) < 0.9, site % 3, rng.integers(0, 3, 900))
    shares = []
    for seed in range(20):
        test = _fifth_by_site(y, site, np.random.default_rng(seed))
        assert not set(site[test]) & set(site[~test])
        shares.append([test[y == one].mean() for one in range(3)])
    assert (np.array(shares) > SHARE / 2).all()
    assert (np.array(shares) < MOST + 0.1).all()
    assert len({tuple(one) for one in shares}) > 10, "each run holds others out"


def test_a_batch_of_the_site_that_looks_like_the_type_is_seen_through_by_holding_sites_out() -> None:
    pool, labels = typed_pool(0.0)
    rng = np.random.default_rng(3)
    # Ten sites, each sends one type only and leaves its own mark; type itself leaves none.
    site = (np.arange(90) % 3) * 10 + rng.integers(0, 10, 90)
    marks = rng.standard_normal((30, DIM)) * 0.6
    marked = Pool(
        pool.modalities,
        pool.patients,
        (pool.vectors + marks[site[pool.patient]]).astype(np.float32),
        pool.modality,
        pool.patient,
    )
    at_random = classify_aggregates(marked, labels, 2, 1, runs=4)
    by_site = classify_aggregates(marked, labels, 2, 1, sites=[str(one) for one in site], runs=4)
    assert at_random.accuracy.mean() > 0.8
    assert by_site.accuracy.mean() < 0.6


def test_a_class_that_is_not_asked_about_has_no_f1() -> None:
    pool, labels = typed_pool(0.5)
    some = [TYPES[2] if i % 3 == 2 else one for i, one in enumerate(labels)]
    # THCA comes from one site, which is too large to be held out.
    sites = ["one" if one == TYPES[2] else f"S{i % 12}" for i, one in enumerate(some)]
    scores = classify_aggregates(pool, some, 2, 1, sites=sites, runs=2)
    assert np.isnan(scores.f1[:, 2]).all()
    assert np.isfinite(scores.f1[:, :2]).all()
    assert scores.balanced.min() > 0.9


def test_what_cannot_be_compared_is_refused() -> None:
    pool, labels = typed_pool(0.3)
    with pytest.raises(UsageError, match="two labels"):
        cluster(pool.vectors, ["BRCA"] * len(pool))
    with pytest.raises(UsageError, match="2 labels for"):
        pair_distances(pool.vectors, ["a", "b"])
    with pytest.raises(UsageError, match="labels for the"):
        classify_aggregates(pool, labels[:5], 3, 1)
    with pytest.raises(UsageError, match="2 sites for the"):
        classify_aggregates(pool, labels, 3, 1, sites=["a", "b"])
    with pytest.raises(UsageError, match="too few sites"):
        classify_aggregates(pool, labels, 3, 1, sites=[str(one) for one in labels])
    with pytest.raises(UsageError, match="five patients"):
        classify_aggregates(pool, ["BRCA"] * 90, 3, 1)
