"""What the one-shot benchmarks write down, and how they compare fusions, on invented patients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import one_shot_fusion
from benchmarks.one_shot_fusion_cohorts import FusionCohort, samples_of
from benchmarks.one_shot_sheet import Sheet, questions, table
from benchmarks.splits import Label
from molsig.evaluate.episodes import answer_episodes, cosine
from molsig.types import ContractReport, FeatureMatrix, SampleId

from ..patients import cohort

if TYPE_CHECKING:
    from pathlib import Path

TYPES = 8
TOLD = {
    "name": "invented",
    "told": "clusters",
    "training": ("A",),
    "unseen": tuple(f"T{one}" for one in range(TYPES)),
    "training_samples": 1,
    "test_samples": 96,
    "features": "24",
}


def patients_and_types(n: int = 12) -> tuple[list[str], list[str]]:
    """So many patients of each type, of four hospitals in turn."""
    types = [f"T{one}" for one in range(TYPES) for _ in range(n)]
    return [f"XX-{number % 4:02d}-{number:04d}" for number in range(len(types))], types


def told_apart(types: list[str], spread: float) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(size=(TYPES, 24)), len(types) // TYPES, axis=0)
    return centres + spread * random.normal(size=centres.shape)


def test_what_is_on_a_sheet_is_not_measured_again(tmp_path: Path) -> None:
    patients, types = patients_and_types()
    asked = questions(types, patients, (5, 8))
    file = tmp_path / "sheet.json"
    sheet = Sheet(file, TOLD, asked)
    assert not sheet.has(["near"], 0)
    sheet.note("near", 0, cosine(told_apart(types, 0.1)), 1.0)
    sheet.note("far", 0, cosine(told_apart(types, 1.5)), 2.0)
    sheet.remark("Shares", 0, {"of it": 0.25})

    later = Sheet(file, TOLD, asked)
    assert later.has(["near", "far"], 0)
    assert not later.has(["near"], 1)
    assert not later.has(["near", "other"], 0)
    later.note("far", 1, cosine(told_apart(types, 3.0)), 4.0)
    near, far = (later.told["methods"][name] for name in ("near", "far"))
    assert near["0"]["results"]["5-way, 1"]["accuracy"] > 0.99 > far["0"]["results"]["5-way, 1"]["accuracy"]

    lines = table(json.loads(file.read_text())).splitlines()
    columns = " shot | ".join(["5-way, 1", "8-way, 1", "8-way, 5", "8-way, other hospital, 1"])
    assert lines[4].startswith(f"| method | {columns} shot | 95 % over patients |")
    cells = [one.strip() for one in lines[7].split("|")]
    runs = [far[seed]["results"]["8-way, 1"]["accuracy"] for seed in ("0", "1")]
    assert cells[1] == "far"
    assert cells[3] == f"{np.mean(runs):.3f} ±{(max(runs) - min(runs)) / 2:.3f}"
    assert cells[-3:-1] == ["2", "3.0"]
    assert "0.873" in lines[8]
    assert lines[-1] == "- Shares: of it 0.250."


def test_a_sheet_of_another_cohort_is_left_alone(tmp_path: Path) -> None:
    patients, types = patients_and_types()
    asked = questions(types, patients, (5,))
    file = tmp_path / "sheet.json"
    Sheet(file, TOLD, asked).note("near", 0, cosine(told_apart(types, 0.1)), 1.0)
    before = file.read_text()
    with pytest.raises(ValueError, match="another cohort"):
        Sheet(file, {**TOLD, "training": ("A", "B")}, asked)
    assert file.read_text() == before


def test_examples_of_other_hospitals_are_of_other_hospitals() -> None:
    patients, types = patients_and_types()
    asked = questions(types, patients, (5,))["5-way, other hospital, 1"]
    hospitals = np.array([one.split("-")[1] for one in patients])
    own = asked.supports[np.arange(len(asked.truth)), asked.truth, 0]
    assert (hospitals[own] != hospitals[asked.queries]).all()
    assert (np.array(types)[own] == np.array(types)[asked.queries]).all()


def test_raw_features_are_means_over_samples_standardised_on_those_learned_from() -> None:
    names = [("A", "tumour"), ("B", "tumour"), ("C", "tumour"), ("C", "tumour"), ("C", "normal"), ("A", "normal")]
    samples = tuple(SampleId(f"{patient}-{i}", patient, kind) for i, (patient, kind) in enumerate(names))
    values = np.array([[1, 5], [3, 9], [4, 7], [6, 11], [90, 90], [80, 80]], dtype=np.float32)
    matrix = FeatureMatrix("rna", samples, ("g", "h"), values, "log2", ContractReport("f", "rna", 6, 6, 3))
    labels = {name: Label(f"T{name}", "S") for name in "ABC"}
    found = FusionCohort("few", "", {"rna": matrix}, labels, ("TA", "TB"), ("TC",), ("A", "B"), ("C",))
    assert [one.tolist() for one in samples_of(matrix, found.learned)] == [[0, 1], [0, 1]]
    assert [one.tolist() for one in samples_of(matrix, found.asked)] == [[2, 3], [0, 0]]
    np.testing.assert_allclose(one_shot_fusion.raw_blocks(found)["rna"], [[3.0, 1.0]])


def test_fusions_are_learned_on_other_patients_and_beat_what_they_fuse(tmp_path: Path) -> None:
    drawn = cohort(300, labels=8, noise=1.6, modalities=("mirna", "mutation", "rna"), held=1.0, seed=1)
    kinds = np.array([int(one[1:]) for one in drawn.labels])
    known, asked = np.flatnonzero(kinds < 4), np.flatnonzero(kinds >= 4)
    labels = {
        patient: Label(kind, site)
        for patient, kind, site in zip(drawn.vectors.patients, drawn.labels, drawn.groups, strict=True)
    }
    names = tuple(sorted(set(drawn.labels[known])))
    people = drawn.vectors.patients
    learned = tuple(people[row] for row in known)
    found = FusionCohort("few", "", {}, labels, names, (), learned, tuple(people[row] for row in asked))
    reference = one_shot_fusion.reference_of(found, drawn.vectors.take(known), tmp_path, 0)
    stored = reference._store.patient_ids()
    assert sorted(stored) == sorted(found.learned)
    some = drawn.vectors.take(asked)
    scores, shares = one_shot_fusion.fused_scores(reference, some, "VAE", 0)
    assert set(scores) == set(one_shot_fusion.names_of("VAE"))
    assert set(shares) == {one_shot_fusion.named(several) for several in one_shot_fusion.COMPARED}
    of = [f"XX-{i % 9}-{i}" for i in range(len(asked))]
    question = questions(drawn.labels[asked].tolist(), of, (4,))["4-way, 1"]
    right = {name: answer_episodes(question, score, draws=2).accuracy for name, score in scores.items()}
    alone = max(right[f"VAE: cosine, {one}"] for one in ("RNA", "miRNA", "mutations"))
    for fusion in ("weighted", "evidence"):
        assert right[f"VAE: {fusion}, RNA + miRNA + mutations"] > alone + 0.02
    assert all(0.25 < one <= 1 for one in right.values())
