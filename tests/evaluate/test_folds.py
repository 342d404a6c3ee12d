"""Folds: nothing is split that must stay together, and labels are spread evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.errors import UsageError
from molsig.evaluate.folds import leave_groups_out, random_folds

ROWS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from(["s1", "s2", "s3", "s4", "s5", ""]), st.integers(0, 30)),
    min_size=12,
    max_size=60,
)


def columns(rows: list[tuple[str, str, int]]) -> tuple[list[str], list[str], list[str]]:
    return [r[0] for r in rows], [r[1] for r in rows], [f"P{r[2]}" for r in rows]


def reached_from_first(groups: list[str], patients: list[str]) -> set[int]:
    """Rows that hang together with the first over shared groups and patients."""
    reached = {0}
    for _ in groups:
        sites, people = {groups[i] for i in reached} - {""}, {patients[i] for i in reached}
        reached = {i for i in range(len(groups)) if i in reached or groups[i] in sites or patients[i] in people}
    return reached


@given(ROWS, st.integers(0, 5))
def test_neither_a_group_nor_a_patient_is_split(rows: list[tuple[str, str, int]], seed: int) -> None:
    labels, groups, patients = columns(rows)
    if len(reached_from_first(groups, patients)) == len(rows):
        with pytest.raises(UsageError, match="cannot fill 2 folds"):
            leave_groups_out(labels, groups, 2, seed=seed, patients=patients)
        return
    folds = leave_groups_out(labels, groups, 2, seed=seed, patients=patients)
    assert set(folds) == {0, 1}
    for name in set(groups) - {""}:
        assert len({int(f) for f, g in zip(folds, groups, strict=True) if g == name}) == 1
    for name in set(patients):
        assert len({int(f) for f, p in zip(folds, patients, strict=True) if p == name}) == 1


@given(ROWS, st.integers(0, 5))
def test_random_folds_keep_patients_whole_and_labels_even(rows: list[tuple[str, str, int]], seed: int) -> None:
    labels, _, patients = columns(rows)
    if len(set(patients)) >= 3:
        folds = random_folds(labels, 3, seed=seed, patients=patients)
        for name in set(patients):
            assert len({int(f) for f, p in zip(folds, patients, strict=True) if p == name}) == 1
    folds = random_folds(labels, 3, seed=seed)
    assert np.ptp(np.bincount(folds, minlength=3)) <= 1
    for label in set(labels):
        assert np.ptp(np.bincount(folds[np.array(labels) == label], minlength=3)) <= 1


def test_equal_sites_of_each_label_are_dealt_out_evenly() -> None:
    labels = [label for label in "ABC" for _ in range(10) for _ in range(7)]
    groups = [f"{label}{site}" for label in "ABC" for site in range(10) for _ in range(7)]
    folds = leave_groups_out(labels, groups, 5, seed=1)
    for label in "ABC":
        assert np.bincount(folds[np.array(labels) == label]).tolist() == [14] * 5


def test_groups_of_several_labels_and_unequal_size_are_balanced_by_label() -> None:
    rng = np.random.default_rng(0)
    site = np.minimum(rng.geometric(0.04, size=4000), 80)
    kind = rng.choice(4, size=4000, p=[0.6, 0.25, 0.1, 0.05])
    folds = leave_groups_out(kind.astype(str), site.astype(str), 4, seed=0)
    for one in range(4):
        shares = np.bincount(folds[kind == one], minlength=4) / (kind == one).sum()
        assert shares.min() > 0.2
        assert shares.max() < 0.3


def test_the_seed_decides() -> None:
    labels, groups = ["A"] * 60, [f"s{i // 2}" for i in range(60)]
    first = leave_groups_out(labels, groups, 5, seed=3)
    assert np.array_equal(first, leave_groups_out(labels, groups, 5, seed=3))
    assert not np.array_equal(first, leave_groups_out(labels, groups, 5, seed=4))
    assert np.array_equal(random_folds(labels, 5, seed=3), random_folds(labels, 5, seed=3))
    assert not np.array_equal(random_folds(labels, 5, seed=3), random_folds(labels, 5, seed=4))


def test_rows_without_a_group_stand_alone() -> None:
    folds = leave_groups_out(["A"] * 10, [""] * 10, 5, seed=0)
    assert np.bincount(folds).tolist() == [2] * 5


def test_groups_that_share_a_patient_stay_together() -> None:
    # s1 and s2 share P1, s2 and s3 share P2: one unit, beside s4.
    folds = leave_groups_out(
        ["A"] * 6, ["s1", "s2", "s2", "s3", "s4", "s4"], 2, patients=["P1", "P1", "P2", "P2", "P3", "P4"]
    )
    assert len(set(folds[:4].tolist())) == 1
    assert len(set(folds.tolist())) == 2


@pytest.mark.parametrize("n_folds", [0, 1, 4])
def test_folds_that_cannot_be_filled_are_refused(n_folds: int) -> None:
    with pytest.raises(UsageError, match=f"{n_folds} folds"):
        leave_groups_out(["A", "A", "B"], ["s1", "s2", "s3"], n_folds)
    with pytest.raises(UsageError, match=f"{n_folds} folds"):
        random_folds(["A", "A", "B"], n_folds)
