"""`Reference.compose` and `molsig compose`: a recogniser is fitted once, kept, checked, and fitted anew when needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import molsig
from molsig.errors import DamagedError, InputError, MolsigError, NotFoundError, UsageError
from molsig.ingest.summed_vector import read_summed_vectors
from molsig.retrieval.pool import load_pool
from molsig.retrieval.recogniser_disk import _card_bytes, read_card
from molsig.types import DIM

sys.path.insert(0, str(Path(__file__).parent.parent / "retrieval"))
from composition_data import made_pool

PATIENTS = 150
FEW = 200
"""Sums per count: enough for two modalities that are easily told apart."""


def write_vectors(path: Path, vectors: np.ndarray, names: list[str]) -> Path:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), DIM)
    parquet.write_table(pa.table({"sample": names, "vector": column}), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference of 150 patients with two modalities, the second for all but the last ten, and its recogniser."""
    folder = tmp_path_factory.mktemp("compose")
    pool = made_pool(5, PATIENTS, 1)
    names = [f"P{i:03d}" for i in range(PATIENTS)]
    files = {
        "tile": write_vectors(folder / "tile.parquet", pool.vectors[pool.modality == 2], names),
        "protein": write_vectors(folder / "protein.parquet", pool.vectors[pool.modality == 1][:-10], names[:-10]),
    }
    reference = molsig.Reference.create(folder / "made.molsig")
    reference.ingest(vectors=files)
    first = reference.compose(patients="P000", per_count=FEW)
    assert first.fitted
    return folder / "made.molsig"


@pytest.fixture
def own(made: Path, tmp_path: Path) -> molsig.Reference:
    return molsig.Reference.open(shutil.copytree(made, tmp_path / "own.molsig"))


def the_recogniser(reference: molsig.Reference) -> Path:
    (folder,) = (reference.path / "recognisers").iterdir()
    return folder


def test_a_stored_patient_is_taken_apart_by_the_kept_recogniser(own: molsig.Reference) -> None:
    report = own.compose(patients=["P000", "P149"])
    assert not report.fitted
    both, one = report.answers
    assert both.found.counts == {"protein": 1, "tile": 1} == both.stored
    assert one.found.counts == {"protein": 0, "tile": 1}
    assert one.stored == {"tile": 1}
    assert report.card["hash"] == the_recogniser(own).name


def test_an_array_and_its_files_give_the_same_answer(own: molsig.Reference, tmp_path: Path) -> None:
    pool = load_pool(own._store)
    vectors = pool.vectors[pool.modality == 1][:3] + pool.vectors[pool.modality == 1][3:6]
    answer = own.compose(vectors)
    assert all(one.found.counts["protein"] == 0 for one in answer.answers)
    assert all(low <= 2 <= high for low, high in (one.found.intervals["tile"] for one in answer.answers))
    np.save(tmp_path / "sums.npy", vectors)
    np.savetxt(tmp_path / "sums.txt", vectors, fmt="%.9g")
    (tmp_path / "sums.csv").write_text(",".join(f"{x:.9g}" for x in vectors.ravel()))
    for name in ("sums.npy", "sums.txt", "sums.csv"):
        assert own.compose(tmp_path / name).answers == answer.answers


def test_a_vector_of_no_known_space_is_called_unknown(own: molsig.Reference) -> None:
    noise = np.random.default_rng(0).standard_normal((4, DIM)) / np.sqrt(DIM)
    assert {one.found.verdict for one in own.compose(noise).answers} == {"unknown"}


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_damaged_recogniser_is_refused_and_fitted_anew_on_demand(own: molsig.Reference, name: str) -> None:
    file = the_recogniser(own) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedError, match="a new one is fitted"):
        own.compose(patients="P000")
    assert [check.name for check in own.verify() if not check.ok] == ["recognisers"]
    assert own.compose(patients="P000", refit=True, per_count=FEW).fitted
    assert not own.compose(patients="P000").fitted


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_recogniser_with_a_file_missing_is_refused(own: molsig.Reference, name: str) -> None:
    (the_recogniser(own) / name).unlink()
    with pytest.raises(DamagedError):
        own.compose(patients="P000")


def test_a_recogniser_of_an_older_format_is_passed_over(own: molsig.Reference) -> None:
    card = json.loads((the_recogniser(own) / "card.json").read_bytes())["card"]
    (the_recogniser(own) / "card.json").write_bytes(_card_bytes(card | {"format": 1}))
    assert all(check.ok for check in own.verify())
    assert own.compose(patients="P000", per_count=FEW).fitted
    assert read_card(the_recogniser(own)) is not None
    (the_recogniser(own) / "card.json").write_bytes(_card_bytes(card | {"format": 99}))
    with pytest.raises(DamagedError, match="has format 99"):
        own.compose(patients="P000")


def test_new_spaces_and_many_new_rows_call_for_a_new_fit(own: molsig.Reference, tmp_path: Path) -> None:
    fresh = made_pool(9, 40, 1)
    names = [f"N{i:03d}" for i in range(40)]
    own.ingest(vectors={"tile": write_vectors(tmp_path / "more.parquet", fresh.vectors[fresh.modality == 2], names)})
    assert own.compose(patients="P000", per_count=FEW).fitted, "the tile space has grown by a quarter"
    assert not own.compose(patients="P000").fitted
    own.ingest(vectors={"rna": write_vectors(tmp_path / "rna.parquet", fresh.vectors[fresh.modality == 0], names)})
    report = own.compose(patients="N000", per_count=FEW)
    assert report.fitted, "a modality is new"
    assert report.card["left_out"] == {"rna": 40}
    assert "rna is not among" in " ".join(report.notes)
    assert report.answers[0].stored == {"rna": 1, "tile": 1}


def test_where_a_recogniser_cannot_be_kept_the_answer_says_so(own: molsig.Reference) -> None:
    shutil.rmtree(own.path / "recognisers")
    (own.path / "recognisers").write_text("in the way")
    report = own.compose(patients="P000", per_count=FEW)
    assert report.answers[0].found.counts == {"protein": 1, "tile": 1}
    assert "could not be kept" in " ".join(report.notes)


def test_wrong_questions_are_refused(own: molsig.Reference, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either"):
        own.compose()
    with pytest.raises(NotFoundError, match="P999"):
        own.compose(patients="P999")
    empty = molsig.Reference.create(tmp_path / "empty.molsig")
    with pytest.raises(UsageError, match="no vectors"):
        empty.compose(np.ones(DIM))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"1 2 3", "holds 3 numbers"),
        ("a.txt", b"", "holds 0 numbers"),
        ("a.txt", b"0.1\n0.2 x7\n", "row 2: 'x7' is no number"),
        ("a.txt", b"\xff\xfe\x00", "neither text"),
        ("a.txt", b"1e400 " * DIM, "number 1 of vector 1 is not finite"),
        ("a.npy", b"\x93NUMPY", "no .npy array"),
        ("a.npy", b"", "no .npy array"),
        ("missing.npy", None, "cannot be read"),
    ],
)
def test_what_is_no_vector_is_told_with_its_place(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as told:
        read_summed_vectors(tmp_path / name)
    assert name in str(told.value)


@pytest.mark.parametrize("array", [np.zeros(12), np.zeros((2, 384)), np.full(DIM, "a"), np.full(DIM, np.nan)])
def test_arrays_that_are_no_vectors_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=r"a\.npy"):
        read_summed_vectors(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MolsigError, match=r"b\.npy"):
        read_summed_vectors(tmp_path / "b.npy")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molsig", "compose", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_verb_prints_json_with_stable_keys_or_a_table(made: Path, tmp_path: Path) -> None:
    done = run(made, "--patient", "P000", "--json")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    (answer,) = said["answers"]
    assert answer.keys() >= {
        *("query", "verdict", "counts", "estimates", "intervals", "probabilities"),
        *("foreign", "residual", "rarity", "notes", "stored"),
    }
    assert answer["counts"] == {"protein": 1, "tile": 1}
    assert answer["verdict"] == "known"
    assert said["recogniser"]["fitted"] is False
    table = run(made, "--patient", "P000")
    assert "P000: a sum of known vectors" in table.stdout
    assert "recogniser" in table.stderr
    np.save(tmp_path / "short.npy", np.zeros(12))
    assert run(made, "--vector", tmp_path / "short.npy").returncode == 3
    assert run(made).returncode == 2
    assert run(made, "--patient", "P999").returncode == 1
