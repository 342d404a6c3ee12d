"""`Reference.nearest`: many vectors, one table, the answers of `query_vectors`."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.index import remembered, rows_file
from molsig.index.rows_file import checksums
from molsig.index.search import Searcher
from molsig.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def asked(built: Path) -> NDArray[np.float32]:
    reference = Reference.open(built)
    _, vectors = reference._store.vectors(reference._store.active_spaces()["rna"])
    noise = np.random.default_rng(1).standard_normal((12, vectors.shape[1])).astype(np.float32)
    return vectors[:12] + 0.1 * vectors.std() * noise


@pytest.mark.parametrize("method", ["exact", "index"])
@pytest.mark.parametrize("where", [None, "sex = 'female'"])
def test_it_answers_as_query_vectors_does(
    built: Path, asked: NDArray[np.float32], where: str | None, method: str
) -> None:
    reference = Reference.open(built)
    found = reference.nearest("rna", asked, k=7, where=where, method=method)
    assert found.plan.method == {"index": "pca-sq8"}.get(method, method)
    rows = found.table.to_pylist()
    assert found.records() == rows
    assert len(found) == len(rows) == 7 * len(asked)
    for number, vector in enumerate(asked):
        alone = reference.query_vectors({"rna": vector}, k=7, where=where, method=method, fusion="single")
        own = [row for row in rows if row["query"] == number]
        assert [row["rank"] for row in own] == list(range(1, 8))
        for row, hit in zip(own, alone.hits, strict=True):
            assert (row["patient"], row["sample"], row["score"]) == (hit.patient, hit.sample, hit.score)
            assert hit.attributes.items() <= row.items()


@pytest.mark.parametrize("k", [3, 70])
def test_columns_too_long_for_lists_are_told_alike(
    built: Path, asked: NDArray[np.float32], k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Reference.open(built).nearest("rna", asked[0], k=k).table.to_pylist()
    monkeypatch.setattr(remembered, "LISTED_CELLS", 0)
    reference = Reference.open(built)
    for _ in range(3):
        found = reference.nearest("rna", asked[0], k=k)
        assert found.attributes.values is None
        assert found.records() == found.table.to_pylist() == expected


def test_only_the_columns_asked_for_come_back(built: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(built)
    ours = ["query", "rank", "patient", "sample", "item", "score"]
    assert reference.nearest("rna", asked[0], columns=["cancer_type"]).table.column_names == [*ours, "cancer_type"]
    assert reference.nearest("rna", asked[:2], columns=[]).table.column_names == ours
    assert reference.nearest("rna", asked[:0]).table.num_rows == 0
    assert reference.nearest("rna", asked[:0]).records() == []


def test_kinds_are_told_apart(built: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(built)
    said = {kind: reference.nearest("rna", asked, kind=kind).plan.rows for kind in ("auto", "normal", "any")}
    assert said["auto"] + said["normal"] == said["any"]
    assert said["auto"] > 0


def test_what_cannot_be_answered_is_refused(built: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(built)
    with pytest.raises(UsageError, match="no tile vectors are stored; there are mirna, mutation, rna"):
        reference.nearest("tile", asked)
    with pytest.raises(UsageError, match="--kind odd"):
        reference.nearest("rna", asked, kind="odd")
    with pytest.raises(UsageError, match="no patient column 'nothing'"):
        reference.nearest("rna", asked, columns=["nothing"])
    with pytest.raises(NotFoundError, match="no stored patient meets"):
        reference.nearest("rna", asked, where="sex = 'neither'")
    with pytest.raises(InputError, match="expected"):
        reference.nearest("rna", asked[:, :5])


def test_a_condition_that_is_held_sees_the_next_commit(own: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(own)
    store = reference._store
    how = {"where": "sex = 'female'", "k": 1000}
    before = [set(reference.nearest("rna", asked[:1], **how).table["patient"].to_pylist()) for _ in range(3)]
    assert before[0] == before[1] == before[2]
    gone, turned = sorted(before[0])[:2]
    reference.forget(gone)
    assert set(reference.nearest("rna", asked[:1], **how).table["patient"].to_pylist()) == before[0] - {gone}
    with store.writer("test") as writer:
        writer.put_patients(pa.table({"patient": [turned], "sex": ["male"]}), replace=True)
    after = set(reference.nearest("rna", asked[:1], **how).table["patient"].to_pylist())
    assert after == before[0] - {gone, turned}


def test_a_warm_reference_has_checked_every_row(
    built: Path, asked: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def counted(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
        looked.append(len(ids))
        return checksums(ids, vectors)

    monkeypatch.setattr(rows_file, "checksums", counted)
    cold, warm = Reference.open(built), Reference.open(built)
    expected = cold.nearest("rna", asked, method="index").records()
    assert sum(looked)
    warm.warm()
    looked.clear()
    assert warm.nearest("rna", asked, method="index").records() == expected
    assert looked == []


def test_warming_finds_damage(built: Path, asked: NDArray[np.float32], tmp_path: Path) -> None:
    place = tmp_path / "damaged.molsig"
    shutil.copytree(built, place)
    expected = Reference.open(place).nearest("rna", asked, method="exact").records()
    space = Reference.open(place)._store.active_spaces()["rna"]
    with next((place / "index" / space).glob("*.vectors")).open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\x7f")
    reference = Reference.open(place)
    reference.warm()
    found = reference.nearest("rna", asked, method="index")
    assert found.plan.method == "exact"
    assert any("is not what was written: exact search used" in note for note in found.notes)
    assert found.records() == expected


def test_a_vector_asked_as_the_last_one_was_is_answered_as_in_a_batch(own: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(own)
    batch = reference.nearest("rna", asked, k=7, method="index").records()
    by_default = reference.nearest("rna", asked, k=7, columns=["sex"]).records()

    def alone(number: int, **how: object) -> list[dict[str, object]]:
        found = reference.nearest("rna", asked[number], k=7, **how)
        rows = [row | {"query": number} for row in found.records()]
        assert rows == [row | {"query": number} for row in found.table.to_pylist()]
        return rows

    while reference._searcher.held(reference._store.active_spaces()["rna"]) is None:
        time.sleep(0.01)  # until the clock has moved on from the last change, every query looks at the files anew
    told = [alone(number, method="index") for number in range(len(asked))]
    assert [row for rows in told for row in rows] == batch
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Searcher, "search", lambda *_, **__: pytest.fail("planned anew"))
        assert [alone(number, method="index") for number in range(len(asked))] == told
        for other in ({"kind": "any"}, {"columns": ["sex"]}, {"columns": []}, {"where": "sex = 'male'"}, {"top": 2}):
            with pytest.raises(pytest.fail.Exception, match="planned anew"):
                alone(0, method="index", **other)
        with pytest.raises(InputError, match="zero or not finite"):
            reference.nearest("rna", 0 * asked[0], k=7, method="index")
        with pytest.raises(UsageError, match="--kind"):
            reference.nearest("rna", asked[0], k=7, method="index", kind="odd")
        with pytest.raises(InputError, match="expected"):
            reference.nearest("rna", asked[0, :9], k=7, method="index")
    once = reference.nearest("rna", asked[0], k=7, columns=(name for name in ["sex"]))
    assert once.records() == by_default[:7]
    assert [row for number in range(len(asked)) for row in alone(number, columns=["sex"])] == by_default


def test_what_is_said_of_a_patient_is_told_anew_once_it_changed(own: Path, asked: NDArray[np.float32]) -> None:
    reference = Reference.open(own)
    for _ in range(3):
        first = reference.nearest("rna", asked[0], method="index").records()[0]
        time.sleep(0.06)
    other = {"female": "male", "male": "female"}[first["sex"]]
    with reference._store.writer("test") as writer:
        writer.put_patients(pa.table({"patient": [first["patient"]], "sex": [other]}), replace=True)
    for _ in range(3):
        assert reference.nearest("rna", asked[0], method="index").records()[0] == first | {"sex": other}
        time.sleep(0.06)


@pytest.mark.parametrize("where", ["sex = 'female'", "cancer_type = 'BRCA'"])
def test_under_a_condition_a_vector_is_answered_as_in_a_batch(
    own: Path, asked: NDArray[np.float32], where: str
) -> None:
    reference = Reference.open(own)
    kinds = reference.nearest("rna", asked[0]).table["cancer_type"].to_pylist()
    where = where.replace("BRCA", kinds[0])
    batch = reference.nearest("rna", asked, k=4, where=where)
    time.sleep(0.06)
    for _ in range(4):
        alone = [reference.nearest("rna", one, k=4, where=where) for one in asked]
        told = [row | {"query": number} for number, one in enumerate(alone) for row in one.records()]
        assert told == batch.records()
        assert {one.plan for one in alone} == {alone[0].plan}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Searcher, "search", lambda *_, **__: pytest.fail("planned anew"))
        assert reference.nearest("rna", asked[2], k=4, where=where).records() == alone[2].records()
    gone = alone[2].records()[0]["patient"]
    reference.forget(gone)
    assert gone not in {row["patient"] for row in reference.nearest("rna", asked[2], k=4, where=where).records()}
