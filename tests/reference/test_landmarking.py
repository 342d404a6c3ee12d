"""Landmarks of a reference: who is held out, what is judged, what stays out of it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from molsig.errors import InputError, UsageError
from molsig.index.store import Store
from molsig.ingest.cohort import Cohort
from molsig.reference import Reference
from molsig.reference.landmark_report import RANDOM, SITES
from molsig.reference.landmarking import LandmarkOptions, Measurements, _dealt, filled, measurements
from molsig.retrieval.learned import load_all
from molsig.simulate import SimulatedCohort
from molsig.types import silent


def measured(built: Path, cohort_files: SimulatedCohort) -> Measurements:
    return measurements(Store.open(built), Cohort.of(rna=cohort_files.rna), LandmarkOptions(n=20), silent)


def together(parts: NDArray[np.int64], whose: tuple[str, ...]) -> bool:
    """Whether all rows of each name are in one part."""
    return len(set(zip(whose, parts.tolist(), strict=True))) == len(set(whose))


def test_patients_and_whole_sites_are_held_out(built: Path, cohort_files: SimulatedCohort) -> None:
    found = measured(built, cohort_files)
    parts = _dealt(found, LandmarkOptions(n=20), [])
    assert list(parts) == [SITES, RANDOM]
    assert found.groups is not None
    assert together(parts[SITES], found.groups)
    assert not together(parts[RANDOM], found.groups)
    for part in parts.values():
        assert together(part, found.patients)
        assert set(part.tolist()) == {0, 1, 2, 3, 4}


def test_without_sites_patients_are_held_out_one_by_one(built: Path, cohort_files: SimulatedCohort) -> None:
    found = measured(built, cohort_files)
    notes: list[str] = []
    few = Measurements(found.matrix, found.genes, found.values, found.patients, ("A",) * len(found.patients), ())
    assert list(_dealt(few, LandmarkOptions(n=20), notes)) == [RANDOM]
    assert "none are held out whole" in notes[0]


@pytest.mark.parametrize("sizes", [(34, 2, 2, 1, 1), (12, 7, 7, 7, 7), (5,) * 8])
def test_the_part_that_is_held_out_is_near_to_a_fifth(
    built: Path, cohort_files: SimulatedCohort, sizes: tuple[int, ...]
) -> None:
    found = measured(built, cohort_files)
    people = [f"P{i:02d}" for i in range(40)]
    sites = [f"S{number}" for number, size in enumerate(sizes) for _ in range(size)]
    some = Measurements(found.matrix, found.genes, found.values[:40], tuple(people), tuple(sites), ())
    for seed in range(4):
        notes: list[str] = []
        parts = _dealt(some, LandmarkOptions(n=20, method="auto", seed=seed), notes)
        if max(sizes) > 20:
            assert list(parts) == [RANDOM]
            assert "too unlike in size" in notes[0]
            continue
        assert not notes
        assert together(parts[SITES], tuple(sites))
        counts = np.bincount(parts[SITES], minlength=5)
        assert (np.diff(np.abs(counts - 8)) >= 0).all()


def test_methods_are_not_compared_on_next_to_no_genes(built: Path, cohort_files: SimulatedCohort) -> None:
    n = len(measured(built, cohort_files).genes) - 30
    with pytest.raises(UsageError, match="ask for fewer than"):
        Reference.open(built).landmarks(rna=cohort_files.rna, n=n, method="auto", epochs=1)


def test_one_resample_is_refused_before_any_work(built: Path, cohort_files: SimulatedCohort) -> None:
    with pytest.raises(UsageError, match="--resamples 1"):
        Reference.open(built).landmarks(rna=cohort_files.rna, n=20, resamples=1)


def test_a_rebuilt_reference_takes_names_with_commas_and_learns_with_the_same_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f'P "{i}", é' for i in range(60)]
    rna, clinical = tmp_path / "rna.csv", tmp_path / "clinical.csv"
    genes = [f"AKT{g}" for g in range(40)]
    types = [i % 3 for i in range(60)]
    with rna.open("w", newline="") as file:
        rows = ([name, *(6 + t + rng.normal(0, 1, 40)).round(4)] for name, t in zip(names, types, strict=True))
        csv.writer(file).writerows([["sample", *genes], *rows])
    with clinical.open("w", newline="") as file:
        told = ([name, f"T{t}", f"S{i % 6}", f"W{i % 7}"] for i, (name, t) in enumerate(zip(names, types, strict=True)))
        csv.writer(file).writerows([["patient", "cancer_type", "site", "ward"], *told])
    old = Reference.create(tmp_path / "old.molsig")
    options = {"scale": "log2"}
    old.ingest(rna=rna, rna_options=options, patients=clinical, epochs=2, learn=False)
    old.learn(label="cancer_type", groups="ward", seed=3)
    found = old.landmarks(rna=rna, rna_options=options, n=20, method="variance")
    old.rebuild(tmp_path / "new.molsig", found, rna=rna, rna_options=options, epochs=2)
    learned = load_all(tmp_path / "new.molsig")[0]
    assert [(one.label, one.groups, one.seed) for one in learned] == [("cancer_type", "ward", 3)]
    assert Reference.open(tmp_path / "new.molsig")._store.patient_ids() == sorted(names)
    with pytest.raises(UsageError, match="no such patient column"):
        old.rebuild(tmp_path / "no.molsig", found, rna=rna, rna_options=options, label="colour")


def test_what_was_not_measured_is_put_at_the_mean_of_those_learned_from() -> None:
    values = np.array([[1, np.nan], [3, 4]], dtype=np.float32)
    learned = np.array([[5, 6], [7, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(filled(values, learned), [[1, 6], [3, 4]])


def test_other_genes_are_told_better_than_by_their_means(built: Path, cohort_files: SimulatedCohort) -> None:
    found = Reference.open(built).landmarks(rna=cohort_files.rna, n=40, method="pca")
    by_one = next(one for one in found.scores if one.held_out == RANDOM)
    matrix = measured(built, cohort_files)
    spread = np.nanmean(np.abs(matrix.values - np.nanmean(matrix.values, axis=0)))
    assert by_one.mae < 0.95 * spread
    assert by_one.pcc is not None
    assert by_one.pcc > 0.3
    assert len(found.landmarks) == 40
    assert not set(found.landmarks) & set(found.genes[40:])


def test_a_file_without_a_stored_sample_does_not_rebuild(
    built: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    import pandas as pd

    place = shutil.copytree(built, tmp_path / "own.molsig")
    short = tmp_path / "short.csv"
    pd.read_csv(cohort_files.rna, sep="\t").iloc[1:].to_csv(short, index=False)
    reference = Reference.open(place)
    found = reference.landmarks(rna=short, n=20, method="variance")
    with pytest.raises(InputError, match="1 stored samples of rna are not in the file"):
        reference.rebuild(tmp_path / "few.molsig", found, rna=short)
    assert not (tmp_path / "few.molsig").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["own.molsig", "short.csv"]
