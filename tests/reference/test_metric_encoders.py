"""A reference whose encoder learned from labels: made by an ingest, used by queries, refused without labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from molsig import Reference
from molsig.encoders.choice import ModelChoice
from molsig.encoders.metric import MetricEncoder
from molsig.errors import UsageError
from molsig.evaluate.map_page import page
from molsig.evaluate.map_pictures import pictures
from molsig.index.verify import verify
from molsig.ingest.cohort import Cohort
from molsig.reference.encoding import load_encoders
from molsig.simulate import SimulatedCohort, simulate_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> SimulatedCohort:
    return simulate_cohort(tmp_path_factory.mktemp("cohort"), patients=160, new_patients=24, genes=300)


def whitened(modality: str = "rna") -> ModelChoice:
    return ModelChoice(networks={modality: "whitened"})


def test_an_ingest_fits_it_from_the_clinical_column(tmp_path: Path, cohort: SimulatedCohort) -> None:
    reference = Reference.create(tmp_path / "r.molsig")
    done = reference.ingest(rna=cohort.rna, patients=cohort.clinical, choice=whitened(), learn=False)
    assert done.encoders["rna"].startswith("rna-whitened-")
    assert all(check.ok for check in verify(reference._store))
    encoder = load_encoders(reference._store, ["rna"], "cpu")["rna"]
    assert isinstance(encoder, MetricEncoder)
    assert len(encoder.card.training["samples_by_type"]) == 8
    # New samples go through it, and most find their own type.
    answers = reference.query_files(rna=cohort.new_rna, vote="cancer_type")
    right = [a.calls["cancer_type"].label == cohort.truth[a.query.removesuffix("-T")] for a in answers]
    assert sum(right) / len(right) > 0.7
    assert reference.ingest(rna=cohort.rna, patients=cohort.clinical, choice=whitened(), learn=False).unchanged
    # Whatever is measured or drawn by its vectors says that it saw labels.
    told = reference.annotate("cancer_type")
    assert len(told.source["taught"]["rna"]) == 8
    assert any("has learned 8 values of cancer_type" in note for note in told.notes)
    assert any("as far as sex goes with these" in note for note in reference.annotate("sex").notes)
    drawn = reference.map("cancer_type", modality="rna", epochs=2)
    assert len(drawn.taught) == 8
    assert "without looking at cancer_type" not in page(drawn, pictures(drawn))


def test_another_column_can_tell_the_types(tmp_path: Path, cohort: SimulatedCohort) -> None:
    reference = Reference.create(tmp_path / "r.molsig")
    named = ModelChoice(networks={"mirna": "autoencoder"})
    done = reference.ingest(
        rna=cohort.rna,
        mirna=cohort.mirna,
        patients=cohort.clinical,
        choice=named,
        learn=False,
        label="stage",
        epochs=2,
    )
    # A matrix whose network is named keeps it, the other one learns from the column.
    assert {name.rpartition("-")[0] for name in done.encoders.values()} == {"rna-whitened", "mirna-ae"}
    types = load_encoders(reference._store, ["rna"], "cpu")["rna"].card.training["samples_by_type"]
    assert "I" in types or "II" in types


def test_without_the_column_nothing_is_made(tmp_path: Path, cohort: SimulatedCohort) -> None:
    with pytest.raises(UsageError, match=r"--network rna=whitened learns from the patient column 'cancer_type'"):
        Reference.ingest_into(tmp_path / "r.molsig", Cohort.of(rna=cohort.rna), choice=whitened())
    assert not (tmp_path / "r.molsig").exists()
    with pytest.raises(UsageError, match="column 'histology'"):
        Reference.ingest_into(tmp_path / "r.molsig", Cohort.of(rna=cohort.rna), label="histology")
