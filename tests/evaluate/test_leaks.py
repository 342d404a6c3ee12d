"""Leak meters read zero where nothing leaks, and the whole leak where all of it does."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.evaluate.leaks import assay_sets, leak_meter

N = 1200


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def labels(rng: np.random.Generator) -> np.ndarray:
    return rng.choice(["A", "B", "C"], size=N)


@pytest.fixture
def site(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Four sites; site tells something of the label, as in life."""
    return np.where(rng.random(N) < 0.5, labels, rng.choice(["s", "t", "u", "v"], size=N))


def neighbours(rng: np.random.Generator, alike: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Ten random patients of other folds that share the query's value in `alike`."""
    found = np.empty((N, 10), dtype=np.int64)
    for i in range(N):
        found[i] = rng.choice(np.flatnonzero((alike == alike[i]) & (fold != fold[i])), 10)
    return found


def test_neighbours_that_know_only_the_label_leak_nothing(
    rng: np.random.Generator, labels: np.ndarray, site: np.ndarray
) -> None:
    fold = rng.integers(5, size=N)
    meter = leak_meter("site", site, labels, np.arange(N), neighbours(rng, labels, fold), fold)
    assert meter is not None
    # They do tell the site, far above the commonest one; that much follows from the label.
    assert meter.told.value is not None
    assert meter.chance_commonest.high is not None
    assert meter.told.value > meter.chance_commonest.high
    assert meter.excess.low is not None
    assert meter.excess.high is not None
    assert meter.excess.low < 0 < meter.excess.high
    assert meter.shared.value == pytest.approx(meter.shared_chance.value, abs=0.02)


def test_neighbours_of_the_same_site_leak_all_of_it(
    rng: np.random.Generator, labels: np.ndarray, site: np.ndarray
) -> None:
    fold = rng.integers(5, size=N)
    both = np.char.add(labels, site)
    meter = leak_meter("site", site, labels, np.arange(N), neighbours(rng, both, fold), fold)
    assert meter is not None
    assert meter.told.value == 1.0
    assert meter.shared.value == 1.0
    assert meter.excess.low is not None
    assert meter.excess.low > 0.2
    assert (meter.values, meter.neighbours, meter.held_out) == (7, 10, 0)


def test_values_that_are_held_out_cannot_be_told(rng: np.random.Generator, labels: np.ndarray) -> None:
    fold = rng.integers(5, size=N)
    site = fold.astype(str)
    found = neighbours(rng, labels, fold)
    assert leak_meter("site", site, labels, np.arange(N), found, fold) is None
    site[:600] = "everywhere"
    meter = leak_meter("site", site, labels, np.arange(N), found, fold)
    assert meter is not None
    assert meter.held_out == 600
    assert meter.told.n == 600


def test_queries_without_a_value_are_left_out(rng: np.random.Generator, labels: np.ndarray, site: np.ndarray) -> None:
    fold = rng.integers(5, size=N)
    site = site.copy()
    site[::2] = ""
    meter = leak_meter("site", site, labels, np.arange(300), neighbours(rng, labels, fold)[:300], fold)
    assert meter is not None
    assert meter.told.n == 150
    assert meter.held_out == 0


def test_the_random_patients_come_from_the_gallery_of_the_query(rng: np.random.Generator, labels: np.ndarray) -> None:
    # Each fold has its own value but for one label: a draw from the query's own fold would be seen.
    fold = rng.integers(2, size=N)
    value = np.where(labels == "A", "x", fold.astype(str))
    meter = leak_meter("v", value, labels, np.arange(N), neighbours(rng, labels, fold), fold)
    assert meter is not None
    assert meter.told.n == (labels == "A").sum()
    assert meter.shared_chance.value == 1.0


def test_assay_sets_are_named_by_their_modalities() -> None:
    present = np.array([[True, False], [True, True], [False, True], [True, False]])
    assert assay_sets(("mutation", "rna"), present).tolist() == ["mutation", "mutation+rna", "rna", "mutation"]


def test_the_random_patients_are_drawn_among_those_who_can_be_found(
    rng: np.random.Generator, labels: np.ndarray
) -> None:
    fold = rng.integers(5, size=N)
    held = rng.random(N) < 0.5
    found = np.empty((N, 10), dtype=np.int64)
    for i in range(N):
        found[i] = rng.choice(np.flatnonzero(held & (labels == labels[i]) & (fold != fold[i])), 10)
    value, asked = np.where(held, "with", "without"), np.flatnonzero(held)
    meters = [leak_meter("a", value, labels, asked, found[asked], fold, findable=f) for f in (held, None)]
    assert meters[0] is not None
    assert meters[1] is not None
    assert meters[0].excess.value == 0
    assert meters[1].excess.value is not None
    assert meters[1].excess.value > 0.3
