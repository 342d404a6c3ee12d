"""Patients in memory: taking rows, dropping assays, the nearest columns, and what a reference holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_patients import patients

from molsig.errors import UsageError
from molsig.index.store import Store
from molsig.retrieval.patient_vectors import (
    PatientVectors,
    drop_assays,
    load_patient_vectors,
    nearest_rows,
    summed,
)


@settings(max_examples=50, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_every_patient_keeps_an_assay(share: float, seed: int) -> None:
    vectors, _, _ = patients(40, 1)
    fewer = drop_assays(vectors, share, seed)
    assert fewer.matrix_present().any(axis=1).all()
    assert not (fewer.matrix_present() & ~vectors.matrix_present()).any(), "an assay came from nowhere"
    for modality, block in fewer.vectors.items():
        assert not block[~fewer.present[modality]].any(), "an absent assay kept its vector"


def test_the_share_that_is_dropped_is_the_share_asked_for() -> None:
    vectors, _, _ = patients(2000, 1)
    before, after = vectors.matrix_present().sum(), drop_assays(vectors, 0.3, 0).matrix_present().sum()
    assert 0.25 < 1 - after / before < 0.3


@pytest.mark.parametrize("most", [1, 3, 90, 5000])
def test_vectors_are_summed_one_after_the_other_whoever_else_is_there(most: int) -> None:
    rng = np.random.default_rng(most)
    counts = rng.integers(0, most + 1, 9)
    counts[4] = most
    of = rng.permutation(np.repeat(np.arange(9), counts))
    stored = rng.standard_normal((len(of) + 5, 768)).astype(np.float32) * rng.lognormal(0, 4, (len(of) + 5, 1))
    stored = stored.astype(np.float32)
    places = rng.permutation(len(stored))[: len(of)]
    found, present = summed(9, of, places, stored.__getitem__)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(present, counts > 0)
    for patient in range(9):
        own = places[of == patient]
        expected = np.zeros(768)
        for place in own:
            expected += stored[place]
        np.testing.assert_array_equal(found[patient], expected.astype(np.float32))
        alone, _ = summed(1, np.zeros(len(own), np.int64), own, stored.__getitem__)
        np.testing.assert_array_equal(alone[0], found[patient])


def test_nobody_is_summed() -> None:
    nothing = np.empty(0, np.int64)
    found, present = summed(2, nothing, nothing, np.empty((0, 768), np.float32).__getitem__)
    assert not found.any()
    assert not present.any()


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 30),
    k=st.integers(1, 35),
    levels=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_the_nearest_are_those_of_a_stable_sort(rows: int, columns: int, k: int, levels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float32)
    found, values = nearest_rows(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="rna"):
        PatientVectors(("P1",), {"rna": np.zeros((2, 768), np.float32)}, {"rna": np.ones(2, bool)})
    with pytest.raises(UsageError, match="different modalities"):
        PatientVectors(("P1",), {"rna": np.zeros((1, 768), np.float32)}, {"mirna": np.ones(1, bool)})


def test_what_is_read_sums_to_the_stored_aggregates(built: Path) -> None:
    store = Store.open(built)
    vectors = load_patient_vectors(store)
    _, sums = store.vectors("sum")
    row_of = {patient: i for i, patient in enumerate(store.rows("sum")["patient"].to_pylist())}
    assert sorted(row_of) == sorted(vectors.patients)
    stored = sums[[row_of[patient] for patient in vectors.patients]]
    np.testing.assert_allclose(vectors.sums(), stored, atol=1e-6)


def test_an_unknown_modality_is_refused(built: Path) -> None:
    store = Store.open(built)
    with pytest.raises(UsageError, match="no protein vectors are stored; there are mirna, mutation, rna"):
        load_patient_vectors(store, ["protein"])
