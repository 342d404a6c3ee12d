"""Typing by an encoder that was trained to judge pairs, where this molsig has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molsig.encoders.choice import ModelChoice
from molsig.reference import Reference
from molsig.retrieval.pair_scores import PairScorer
from molsig.simulate import SimulatedCohort

pytest.importorskip("molsig.encoders.metric", reason="this molsig has no encoder with a pair head")


@pytest.mark.parametrize("network", ["whitened", "siamese"])
def test_the_head_of_the_encoder_in_use_gives_the_similarity(
    cohort_files: SimulatedCohort, tmp_path: Path, network: str
) -> None:
    reference = Reference.create(tmp_path / "pairs.molsig")
    reference.ingest(
        rna=cohort_files.rna,
        patients=cohort_files.clinical,
        label="cancer_type",
        choice=ModelChoice(networks={"rna": network}),
        epochs=3,
        learn=False,
    )
    found = reference.type_samples("cancer_type", rna=cohort_files.new_rna, shots=1, fusion="single")
    assert {one.similarity for one in found} == {"log-odds of the encoder's pair head"}
    assert {one.fusion for one in found} == {"single"}
    best = np.mean([one.types[0].type == cohort_files.truth[one.query.removesuffix("-T")] for one in found])
    # Three epochs are nothing for a network; whitening has none.
    assert network != "whitened" or best > 0.4

    # A stored pair, judged by the encoder itself.
    patient = found[0].types[0].patient
    answer = reference.type_samples("cancer_type", patient, shots=1, fusion="single")[0]
    encoder = next(iter(reference._encoders._loaded.values())).encoder
    assert isinstance(encoder, PairScorer)
    space = reference._store.active_spaces()["rna"]
    rows, vectors = reference._store.rows(space)["patient"].to_pylist(), reference._store.vectors(space)[1]
    told = encoder.pair_probability(
        vectors[[rows.index(patient)]], vectors[[rows.index(one.patient) for one in answer]]
    )
    similarity = np.array([one.similarity for one in answer])
    np.testing.assert_allclose(1 / (1 + np.exp(-similarity)), told[0], atol=1e-5)

    # Unless it is asked for, the cosine judges: the head was measured to be no better.
    plain = reference.type_samples("cancer_type", rna=cohort_files.new_rna, shots=1)
    assert {one.similarity for one in plain} == {"cosine"}
    if network == "whitened":
        assert [one.types[0].type for one in plain] == [one.types[0].type for one in found]

    # What the encoder has learned is said, and of whom.
    types = sorted(set(reference._store.column("cancer_type", reference._store.patient_ids())))
    assert plain[0].taught == {"rna": tuple(types)}
    assert plain[0].to_dict()["plan"]["taught"] == {"rna": types}
    assert any("the rna encoder has learned 8 of these 8 types" in note for note in plain[0].notes)
    assert not any("may be one of those" in note for note in plain[0].notes)
    assert any("may be one of those the rna encoder learned from" in note for note in answer.notes)
