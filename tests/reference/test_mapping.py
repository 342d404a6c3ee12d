"""A map that is the encoder in use: drawn from stored vectors, landed on with a file."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.errors import CoverageError, UsageError
from molsig.ingest.cohort import Cohort
from molsig.reference.map_report import classes_of
from molsig.types import SampleId

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.reference.map_report import MapReport
    from molsig.simulate import SimulatedCohort


@pytest.fixture(scope="module")
def mapped(cohort_files: SimulatedCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mapped") / "mapped.molsig"
    cohort = Cohort.of(mirna=cohort_files.mirna, patients=cohort_files.clinical)
    choice = ModelChoice(networks={"mirna": "map"})
    Reference.ingest_into(place, cohort, choice=choice, learn=False, epochs=8)
    return place


def test_an_encoder_that_is_a_map_is_drawn_as_it_is(mapped: Path, cohort_files: SimulatedCohort) -> None:
    reference = Reference.open(mapped)
    found = reference.map("cancer_type", modality="mirna", query=Cohort.of(mirna=cohort_files.mirna))
    assert found.encoder.space in {one["space"] for one in reference.encoders()}
    assert not found.fitted
    assert not (mapped / "maps").exists()
    assert found.activations is None
    at = {one.sample: node for one, node in zip(found.samples, found.nodes.tolist(), strict=True)}
    columns = found.encoder.lattice[1]
    same = [at[one.sample] == one.row * columns + one.column for one in found.landings]
    assert np.mean(same) > 0.98
    assert np.mean([one.fits for one in found.landings]) > 0.8
    given = reference.map("cancer_type", mirna=cohort_files.mirna)
    assert given.activations is not None
    assert set(given.activations.classes) == {one for one in given.classes() if one is not None}


def test_few_judges_and_missing_features_are_told(mapped: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    reference = Reference.open(mapped)
    found = reference.map("cancer_type", modality="mirna", query=Cohort.of(mirna=cohort_files.mirna))
    assert any("too few to say of any that no node fits" in one for one in found.notes)
    assert all(one.fits for one in found.landings)
    lines = [line.split("\t") for line in gzip.decompress(cohort_files.mirna.read_bytes()).decode().splitlines()]
    few = tmp_path / "few.tsv"
    known = next(one for one in reference.encoders() if one["modality"] == "mirna")["card"]["n_features"]
    by_feature = len(lines) < len(lines[0])
    keep = lines[: 1 + known // 2] if by_feature else [line[: 1 + known // 2] for line in lines]
    few.write_text("\n".join("\t".join(line) for line in keep) + "\n")
    with pytest.raises(CoverageError, match="needed"):
        reference.map("cancer_type", mirna=few)
    with pytest.raises(UsageError, match=r"it has mirna$"):
        reference.map("cancer_type", modality="sum")


def test_a_map_that_cannot_be_kept_is_drawn_all_the_same(
    mapped: Path, cohort_files: SimulatedCohort, tmp_path: Path
) -> None:
    import shutil

    own = Reference.open(shutil.copytree(mapped, tmp_path / "own.molsig"))
    (own.path / "maps").write_text("in the way")
    found = own.map("cancer_type", mirna=cohort_files.mirna, refit=True, epochs=2)
    assert found.fitted
    assert found.landings == ()
    assert any("could not be kept" in one for one in found.notes)


def test_patients_that_are_forgotten_leave_the_map(mapped: Path, cohort_files: SimulatedCohort, tmp_path: Path) -> None:
    import shutil

    own = Reference.open(shutil.copytree(mapped, tmp_path / "own.molsig"))

    def drawn() -> MapReport:
        return own.map("cancer_type", mirna=cohort_files.mirna)

    before = drawn()
    gone = before.samples[0].patient
    own.forget(gone)
    after = drawn()
    assert gone not in {one.patient for one in after.samples}
    assert len(after.samples) == len(before.samples) - 1
    assert any("of no patient of the reference" in one for one in after.notes)


def test_classes_part_tumours_from_normals() -> None:
    tumour = SampleId("P-1", "P")
    assert classes_of([tumour, replace(tumour, kind="normal"), tumour], ["X", "X", None]) == ("X", "X normal", None)
