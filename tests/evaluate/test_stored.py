"""A reference evaluated on its own patients."""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path

import numpy as np
import pytest

from molsig.errors import NotFoundError, UsageError
from molsig.evaluate.methods import choose_methods
from molsig.evaluate.report import HELD_OUT, RANDOM, Evaluation
from molsig.evaluate.stored import ENCODERS_NOTE
from molsig.index.store import Store
from molsig.reference import Reference
from molsig.retrieval.patient_vectors import load_patient_vectors

from ..patients import cohort


@pytest.fixture(scope="module")
def found(built: Path) -> Evaluation:
    return Reference.open(built).evaluate("cancer_type", fusion=["sum", "rna"], folds=3, draws=30, missing=(0, 0.4))


def with_vectors(place: Path) -> list[str]:
    """Stored patients who have a vector; one of the simulated ones has columns only."""
    return list(load_patient_vectors(Store.open(place)).patients)


def test_sites_are_held_out_by_default_and_everybody_is_asked(built: Path, found: Evaluation) -> None:
    assert found.settings.group == "site"
    assert found.schemes == (HELD_OUT, RANDOM)
    assert found.methods == ("sum", "rna")
    assert found.cohort.patients == len(with_vectors(built))
    assert len(found.cohort.labels) == 8
    part = found.part(HELD_OUT, "rna")
    assert part is not None
    # Eight simulated types of which RNA tells nearly all: far above the one in eight of chance.
    assert part.overall.figures["vote@10"].low is not None
    assert part.overall.figures["vote@10"].low > 0.5


def test_it_says_that_encoders_have_seen_the_patients(found: Evaluation) -> None:
    said = ENCODERS_NOTE.format("without their labels")
    assert found.notes[0] == said
    words, _, command = escape(said).partition("`")
    assert f"{words}<code>{command.partition('`')[0]}</code>" in found.to_html()


def test_labels_and_groups_are_matched_to_their_patients(built: Path, found: Evaluation) -> None:
    rows = Store.open(built).attributes(with_vectors(built), ["cancer_type", "site"]).to_pylist()
    counts = {one: sum(row["cancer_type"] == one for row in rows) for one in {row["cancer_type"] for row in rows}}
    assert dict(found.cohort.labels) == counts
    assert found.cohort.groups == len({row["site"] for row in rows})


def test_another_column_can_be_called_metered_and_held_out(built: Path) -> None:
    found = Reference.open(built).evaluate(
        "sex", group="cancer_type", fusion="rna", meters=["site"], folds=2, draws=20, missing=(0.0,), left_out=0
    )
    assert found.settings.group == "cancer_type"
    assert sorted(found.cohort.labels) == ["female", "male"]
    random = next(one for one in found.leaks if one.scheme == RANDOM)
    assert [meter.name for meter in random.meters] == ["cancer_type", "site", "assays"]


def test_patients_without_a_label_are_left_out(built: Path) -> None:
    found = Reference.open(built).evaluate("stage", fusion="rna", folds=2, draws=20, missing=(0.0,), left_out=0)
    assert found.cohort.unlabelled > 0
    assert found.cohort.patients + found.cohort.unlabelled == len(with_vectors(built))
    assert "" not in found.cohort.labels


@pytest.mark.parametrize(
    ("label", "how", "words"),
    [
        ("kind", {}, "--label kind: there is no such patient column"),
        ("cancer_type", {"group": "ward"}, "--group ward"),
        ("cancer_type", {"meters": ["machine"]}, "--meter machine"),
        ("age", {}, r"--label age: \d+ distinct values are too many"),
        ("tmb", {}, "--label tmb: it holds a number per patient"),
        (
            "cancer_type",
            {"fusion": "tile"},
            "--fusion tile: choose among evidence, weighted, sum, mirna, mutation, rna",
        ),
        ("cancer_type", {"folds": 500}, "cannot fill 500 folds"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(
    built: Path, label: str, how: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Reference.open(built).evaluate(label, **how)  # type: ignore[arg-type]


def test_a_reference_without_patients_or_labels_is_told_so(built: Path, tmp_path: Path) -> None:
    own = shutil.copytree(built, tmp_path / "own.molsig")
    reference = Reference.open(own)
    reference.forget(Store.open(own).patient_ids())
    with pytest.raises(NotFoundError, match="cancer_type"):
        reference.evaluate("cancer_type")


def test_all_fusions_and_common_modalities_are_chosen_by_default() -> None:
    whole = cohort(300)
    labelled = np.ones(300, dtype=bool)
    fusions = ["evidence", "weighted", "sum"]
    assert [m.name for m in choose_methods(None, whole.vectors, labelled)] == [*fusions, "mutation", "rna"]
    rare = np.arange(300) < 90
    assert [m.name for m in choose_methods(None, whole.vectors, rare)] == fusions
    assert [m.name for m in choose_methods(["rna", "rna"], whole.vectors, rare)] == ["rna"]
    assert [m.name for m in choose_methods(None, whole.vectors.only(["rna"]), labelled)] == fusions
    with pytest.raises(UsageError, match="--fusion tile"):
        choose_methods(["tile"], whole.vectors, labelled)
