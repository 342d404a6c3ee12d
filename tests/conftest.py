"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from molsig.ingest.cohort import Cohort
from molsig.reference import Reference
from molsig.simulate import SimulatedCohort, simulate_cohort

ROOT = Path(__file__).resolve().parent.parent

# A busy machine draws slowly: that says nothing about molsig, so it may fail no test.
settings.register_profile("molsig", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("molsig")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real cohorts; the test is skipped where it is absent."""
    place = Path(os.environ.get("MOLSIG_DATA") or ROOT.parent / "shared" / "data")
    place = place if place.is_absolute() else (ROOT / place).resolve()
    if not (place / "tcga").is_dir():
        pytest.skip(f"the real cohorts are not at {place}; set MOLSIG_DATA to their folder")
    return place


@pytest.fixture(scope="session")
def cohort_files(tmp_path_factory: pytest.TempPathFactory) -> SimulatedCohort:
    """A simulated cohort of 160 patients and 24 new ones."""
    folder = tmp_path_factory.mktemp("cohort")
    return simulate_cohort(folder, patients=160, new_patients=24, genes=240, mirnas=60, seed=7)


@pytest.fixture(scope="session")
def built(cohort_files: SimulatedCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated cohort, ingested. Shared by many tests: copy it before changing it."""
    place = tmp_path_factory.mktemp("reference") / "demo.molsig"
    cohort = Cohort.of(
        rna=cohort_files.rna,
        mutations=cohort_files.mutations,
        mirna=cohort_files.mirna,
        patients=cohort_files.clinical,
    )
    Reference.ingest_into(place, cohort, epochs=15)
    return place


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy of the ingested cohort that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "own.molsig"))
