"""Landmarks of a reference: who is held out, what is judged, what stays out of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from molsig.errors import InputError
from molsig.index.store import Store
from molsig.ingest.cohort import Cohort
from molsig.reference import Reference
from molsig.reference.landmark_report import RANDOM, SITES
from molsig.reference.landmarking import LandmarkOptions, Measurements, _dealt, filled, measurements
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
