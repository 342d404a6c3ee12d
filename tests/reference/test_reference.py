"""`molsig.Reference` as a notebook uses it, on vectors that need no encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import molsig
from molsig.encoders.choice import ModelChoice
from molsig.errors import MolsigError, UsageError
from molsig.index.vectors import StaleViewError
from molsig.retrieval.find import find
from molsig.types import DIM

if TYPE_CHECKING:
    from pathlib import Path

TYPES = ("BRCA", "LUAD", "UVM")


def write_vectors(path: Path, vectors: np.ndarray, names: list[str]) -> Path:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), DIM)
    parquet.write_table(pa.table({"sample": names, "vector": column}), path)
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> dict[str, Path]:
    """Sixty patients of three types with two ready modalities, the second for every other patient."""
    rng = np.random.default_rng(3)
    kind = np.arange(60) % 3
    names = [f"P{i:02d}" for i in range(60)]
    files = {}
    for modality, step in (("tile", 1), ("protein", 2)):
        centres = rng.standard_normal((3, DIM))
        vectors = (centres[kind] + 0.8 * rng.standard_normal((60, DIM)))[::step]
        files[modality] = write_vectors(tmp_path / f"{modality}.parquet", vectors, names[::step])
    lines = ["patient\ttype\tage", *(f"{name}\t{TYPES[kind[i]]}\t{30 + i}" for i, name in enumerate(names))]
    files["clinical"] = tmp_path / "clinical.tsv"
    files["clinical"].write_text("\n".join(lines) + "\n")
    return files


@pytest.fixture
def reference(cohort: dict[str, Path], tmp_path: Path) -> molsig.Reference:
    made = molsig.Reference.create(tmp_path / "own.molsig")
    made.ingest(vectors={"tile": cohort["tile"], "protein": cohort["protein"]}, patients=cohort["clinical"])
    return made


def test_neighbours_are_of_the_same_type(reference: molsig.Reference) -> None:
    answer = reference.query("P00", vote="type", k=5)
    assert answer.calls["type"].label == "BRCA"
    assert answer.plan.fusion == "sum"
    assert answer.modalities == ("tile", "protein")
    assert all(set(hit.modalities) <= {"tile", "protein"} for hit in answer)
    assert "P00" not in [hit.patient for hit in answer]


def test_a_patient_with_one_modality_is_searched_in_its_own_space(reference: molsig.Reference) -> None:
    answer = reference.query("P01", k=3)
    assert answer.plan.fusion == "single"
    assert len(answer) == 3


def test_one_modality_can_be_asked_for(reference: molsig.Reference) -> None:
    answer = reference.query("P00", modality="protein", k=100)
    assert len(answer) == 29, "every other patient has protein vectors, and the asker is left out"
    with pytest.raises(UsageError, match="--modality"):
        reference.query("P00", fusion="single")


def test_the_score_of_a_sum_is_the_cosine_of_the_sums(reference: molsig.Reference, cohort: dict[str, Path]) -> None:
    read = {m: parquet.read_table(cohort[m]) for m in ("tile", "protein")}
    vectors = {
        m: dict(zip(t["sample"].to_pylist(), np.array(t["vector"].to_pylist(), np.float32), strict=True))
        for m, t in read.items()
    }

    def total(patient: str) -> np.ndarray:
        parts = [v[patient] for v in vectors.values() if patient in v]
        return np.sum(parts, axis=0, dtype=np.float64)

    for hit in reference.query("P00", k=59):
        a, b = total("P00"), total(hit.patient)
        assert hit.score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
        for modality, value in hit.modalities.items():
            a, b = vectors[modality]["P00"], vectors[modality][hit.patient]
            assert value == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_an_answer_shows_itself(reference: molsig.Reference) -> None:
    answer = reference.query("P00", vote="type", k=4)
    frame = answer.to_pandas()
    assert list(frame["rank"]) == [1, 2, 3, 4]
    assert {"patient", "score", "cos_tile", "type", "age"} <= set(frame.columns)
    assert "<table>" in answer._repr_html_()
    assert "P00" in repr(answer)
    assert "type: BRCA" in repr(answer)


def test_names_from_the_data_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["<script>alert(1)</script>", "P1", "P2"]
    file = write_vectors(tmp_path / "v.parquet", rng.standard_normal((3, DIM)), names)
    made = molsig.Reference.create(tmp_path / "own.molsig")
    made.ingest(vectors={"tile": file})
    assert "<script>" not in made.query("P1")._repr_html_()


def test_a_second_identical_ingest_changes_nothing(reference: molsig.Reference, cohort: dict[str, Path]) -> None:
    before = reference.info()
    report = reference.ingest(
        vectors={"tile": cohort["tile"], "protein": cohort["protein"]}, patients=cohort["clinical"]
    )
    assert report.unchanged
    assert reference.info()["snapshot"] == before["snapshot"]


def test_an_ingest_that_overlaps_adds_only_what_is_new(reference: molsig.Reference, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    table = parquet.read_table(tmp_path / "tile.parquet")
    old = np.array(table["vector"].to_pylist(), np.float32)[:3]
    vectors = np.vstack([old, rng.standard_normal((1, DIM))])
    file = write_vectors(tmp_path / "more.parquet", vectors, ["P00", "P01", "P02", "NEW"])
    report = reference.ingest(vectors={"tile": file})
    assert report.added == {"tile": 1}
    assert report.skipped == 3
    assert reference.query("NEW", k=1).hits


def test_other_values_of_a_stored_sample_are_a_conflict_unless_replaced(
    reference: molsig.Reference, tmp_path: Path
) -> None:
    other = np.random.default_rng(5).standard_normal((1, DIM))
    file = write_vectors(tmp_path / "other.parquet", other, ["P01"])
    before = reference.query("P01", modality="tile", k=5)
    report = reference.ingest(vectors={"tile": file})
    assert report.conflicts == 1
    assert "--replace" in report.warnings[0]
    assert reference.query("P01", modality="tile", k=5).hits == before.hits
    assert reference.ingest(vectors={"tile": file}, replace=True).replaced == 1
    assert reference.query("P01", modality="tile", k=5).hits != before.hits


def test_one_name_is_one_patient_and_not_its_letters(reference: molsig.Reference, tmp_path: Path) -> None:
    names = ["A", "B", "AB"]
    file = write_vectors(tmp_path / "letters.parquet", np.random.default_rng(2).standard_normal((3, DIM)), names)
    reference.ingest(vectors={"tile": file})
    assert [answer.query for answer in reference.query_many("AB")] == ["AB"]
    assert reference.forget("AB")["patients"] == 1
    assert reference.query("A", k=1).hits
    assert reference.query("B", k=1).hits


def test_what_was_replaced_since_is_ingested_again(reference: molsig.Reference, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    first, second = (write_vectors(tmp_path / f"{n}.parquet", rng.standard_normal((1, DIM)), ["P01"]) for n in "ab")
    for file in (first, second, first):
        assert reference.ingest(vectors={"tile": file}, replace=True).replaced == 1
    assert reference.query_files(vectors={"tile": first}, k=1)[0].hits[0].score == pytest.approx(1.0)


def test_other_patient_values_are_a_conflict_unless_replaced(reference: molsig.Reference, tmp_path: Path) -> None:
    table = tmp_path / "later.csv"
    table.write_text("patient,type,age\nP00,UVM,\n")
    report = reference.ingest(patients=table)
    assert report.conflicts == 1
    assert "--replace" in report.warnings[0]
    assert reference.query("P03", vote="type", k=59).calls["type"].label == "BRCA"
    assert reference.ingest(patients=table, replace=True).columns["changed"] == 1
    table.write_text("patient,age\nP00,>89\n")
    with pytest.raises(molsig.InputError, match="age"):
        reference.ingest(patients=table)
    assert reference.query("P03", where="age > 60").hits


def test_an_empty_folder_becomes_a_reference_and_a_foreign_one_does_not(
    cohort: dict[str, Path], tmp_path: Path
) -> None:
    files = molsig.Cohort.of(vectors={"tile": cohort["tile"]})
    (tmp_path / "empty").mkdir()
    assert molsig.Reference.ingest_into(tmp_path / "empty", files).added == {"tile": 60}
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a molsig reference"):
        molsig.Reference.ingest_into(tmp_path / "foreign", files)


def test_a_reference_is_not_made_twice(reference: molsig.Reference) -> None:
    with pytest.raises(UsageError):
        molsig.Reference.create(reference.path)


def test_reports_without_a_model_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOLSIG_MODELS", str(tmp_path / "no-models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-cache"))
    file = tmp_path / "reports.csv"
    file.write_text("patient,text\nP1,Invasive ductal carcinoma of the left breast.\n")
    place = tmp_path / "none.molsig"
    choice = ModelChoice(text_model="no-such-model")
    with pytest.raises(MolsigError, match="no-such-model"):
        molsig.Reference.ingest_into(place, molsig.Cohort.of(reports=file), choice=choice)
    assert not place.exists()
    report = molsig.Reference.ingest_into(place, molsig.Cohort.of(reports=file), dry_run=True)
    assert report.contracts[0].modality == "report"
    assert not place.exists()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".h5ad"])
def test_export_gives_back_what_was_stored(
    reference: molsig.Reference, cohort: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"out{ending}"
    told = reference.export(target, space="tile", where="age < 40")
    assert told["rows"] == 10
    if ending == ".parquet":
        table = parquet.read_table(target)
        vectors, patients = np.array(table["vector"].to_pylist(), np.float32), table["patient"].to_pylist()
    elif ending == ".csv":
        from pyarrow import csv

        table = csv.read_csv(target)
        vectors = np.column_stack([table[f"v{i}"].to_numpy() for i in range(DIM)]).astype(np.float32)
        patients = table["patient"].to_pylist()
    else:
        import anndata

        data = anndata.read_h5ad(target)
        vectors, patients = np.asarray(data.X), list(data.obs["patient"])
    stored = parquet.read_table(cohort["tile"])
    expected = dict(zip(stored["sample"].to_pylist(), stored["vector"].to_pylist(), strict=True))
    for patient, vector in zip(patients, vectors, strict=True):
        np.testing.assert_allclose(vector, expected[patient], rtol=1e-6)


def test_a_new_reference_is_closed_to_other_users(reference: molsig.Reference) -> None:
    assert reference.path.stat().st_mode & 0o077 == 0


def test_as_many_as_are_asked_for_are_ranked(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence looks at some candidates of each modality, and at no fewer than are wanted."""
    monkeypatch.setattr("molsig.retrieval.fused.CANDIDATES", 5)
    reference = molsig.Reference.open(own)
    reference.learn("cancer_type")
    patient = reference._store.patient_ids()[0]
    modality = next(iter(reference.query(patient, k=1).modalities))
    answer = reference.query(patient, k=40, modality=modality, fusion="evidence")
    assert answer.plan.fusion == "evidence"
    assert len(answer.hits) == 40


def test_a_question_whose_rows_go_meanwhile_is_asked_again(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = molsig.Reference.open(built)
    patient = reference._store.patient_ids()[0]
    expected = reference.query(patient, k=3).hits
    left = [2]

    def gone(*given: object, **how: object) -> object:
        if left[0]:
            left[0] -= 1
            raise StaleViewError("rows were deleted while they were searched")
        return find(*given, **how)

    monkeypatch.setattr("molsig.retrieval.find.find", gone)
    assert reference.query(patient, k=3).hits == expected
    assert left == [0]
    left[0] = 99
    with pytest.raises(StaleViewError):
        reference.query(patient, k=3)


def test_patient_columns_named_like_ours_stand_beside_them(cohort: dict[str, Path], tmp_path: Path) -> None:
    lines = ["patient\tscore\trank\tcos_tile\tvector\tv0\ttype"]
    lines += [f"P{i:02d}\t{100 + i}\t{200 + i}\t{300 + i}\tx\ty\t{TYPES[i % 3]}" for i in range(60)]
    table = tmp_path / "named.tsv"
    table.write_text("\n".join(lines) + "\n")
    made = molsig.Reference.create(tmp_path / "named.molsig")
    made.ingest(vectors={"tile": cohort["tile"]}, patients=table)
    answer = made.query("P00", k=3)
    for row, hit in zip(answer.rows(), answer.hits, strict=True):
        assert (row["rank"], row["score"], row["cos_tile"]) == (hit.rank, hit.score, hit.modalities["tile"])
        number = int(hit.patient[1:])
        assert (row["patient.score"], row["patient.rank"], row["patient.cos_tile"]) == (
            100 + number,
            200 + number,
            300 + number,
        )
    made.export(tmp_path / "out.parquet")
    assert {"vector", "patient.vector"} <= set(parquet.read_table(tmp_path / "out.parquet").column_names)
    made.export(tmp_path / "out.csv")
    head = (tmp_path / "out.csv").read_text().split("\n", 1)[0].replace('"', "").split(",")
    assert len(head) == len(set(head))
