"""Folds for learning: groups stay whole, and patients without one are not a group."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.retrieval.folds import group_folds, joined, numbered


def cohort(n: int, sites: int, missing: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.array([f"S{i}" for i in rng.integers(0, sites, n)])
    groups[rng.random(n) < missing] = ""
    return rng.integers(0, 3, n), groups


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 120), sites=st.integers(1, 12), missing=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 999)
)
def test_groups_stay_whole_unless_they_may_be_loosened(n: int, sites: int, missing: float, seed: int) -> None:
    classes, groups = cohort(n, sites, missing, seed)
    strict = group_folds(classes, groups, 4, seed, loosen=False)
    assert strict.shape == (n,)
    assert set(strict.tolist()) <= {0, 1, 2, 3}
    for site in set(groups.tolist()) - {""}:
        assert len(set(strict[groups == site].tolist())) == 1, "a site was torn"


def test_patients_without_a_site_are_dealt_out_one_by_one() -> None:
    n = 400
    classes = np.arange(n) % 2
    groups = np.array([f"S{i % 20}" for i in range(n)])
    groups[: n // 2] = ""
    for loosen in (True, False):
        fold = group_folds(classes, groups, 5, 0, loosen=loosen)
        bare = np.bincount(fold[groups == ""], minlength=5)
        assert bare.min() > 0.1 * bare.sum(), "they were taken for one hospital"
        # As if each had a site of their own.
        named = np.where(groups == "", np.char.add("own", np.arange(n).astype(str)), groups)
        share = np.bincount(group_folds(classes, named, 5, 0, loosen=loosen), minlength=5) / n
        np.testing.assert_allclose(np.bincount(fold, minlength=5) / n, share, atol=0.03)


def test_a_class_of_one_hospital_is_dealt_out_only_where_that_is_allowed() -> None:
    classes = np.repeat([0, 1], [60, 40])
    groups = np.array([f"S{i % 6}" for i in range(60)] + ["ONLY"] * 40)
    assert len(set(group_folds(classes, groups, 4, 0)[classes == 1].tolist())) == 4
    assert len(set(group_folds(classes, groups, 4, 0, loosen=False)[classes == 1].tolist())) == 1


def test_names_are_numbered_and_groups_of_one_patient_joined() -> None:
    assert numbered(["b", "a", "", "b", ""]).tolist() == [2, 1, 0, 2, 0]
    codes = numbered(["b", "a", "", "b", ""], alone="")
    assert codes[0] == codes[3]
    assert len(set(codes.tolist())) == 4
    assert numbered([], alone="").tolist() == []
    units = joined(numbered(["x", "y", "z", "w"]), ["P", "P", "Q", "R"])
    assert units[0] == units[1]
    assert len(set(units.tolist())) == 3
