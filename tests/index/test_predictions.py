"""Predicted columns beside the recorded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.index.connection import writing
from molsig.index.store import Store
from molsig.index.verify import verify
from tests.index.test_migrations import FORMAT_1, write_archived


def predicted(patient: str, value: str | None = "male", **more: Any) -> dict[str, Any]:
    row = {
        "patient": patient, "field": "sex", "value": value, "likeliest": "male", "probability": 0.8,
        "alternatives": ["male"] if value else ["male", "female"], "low": None, "high": None, "error": 0.1,
        "method": "forest", "source": {"inputs": "mirna of a file"}, "created": "2026-01-01",
    }  # fmt: skip
    return row | more


@pytest.fixture
def filled(store: Store, encoded) -> Store:
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B", "C"])])
        writer.put_patients(
            pa.table({"patient": ["A", "B", "C"], "sex": ["female", None, None], "age": [50, 60, None]})
        )
    return store


def test_predictions_stand_beside_what_is_recorded(filled: Store) -> None:
    before = filled.attributes(["A", "B", "C"])
    with filled.writer("test") as writer:
        writer.put_predictions([predicted("A"), predicted("B"), predicted("C", None)])
    assert filled.attributes(["A", "B", "C"]).equals(before)
    assert filled.columns() == {"sex": "text", "age": "integer"}
    assert filled.select_patients("sex = 'male'") == []
    found = filled.predictions("sex").to_pylist()
    assert [(one["patient"], one["value"]) for one in found] == [("A", "male"), ("B", "male"), ("C", None)]
    assert found[2]["alternatives"] == '["male", "female"]'
    assert filled.info()["predictions"] == [
        {"field": "sex", "method": "forest", "created": "2026-01-01", "patients": 3, "told": 2}
    ]
    assert all(check.ok for check in verify(filled))


def test_a_newer_prediction_takes_the_place_of_an_older_one(filled: Store) -> None:
    with filled.writer("test") as writer:
        writer.put_predictions([predicted("B"), predicted("C"), predicted("B", "70", field="age")])
        writer.put_predictions([predicted("B", "female", method="network")])
        told = {(one["patient"], one["field"]): one["value"] for one in filled.predictions().to_pylist()}
        assert told == {("B", "age"): "70", ("B", "sex"): "female", ("C", "sex"): "male"}
        assert writer.drop_predictions("sex") == 2
        assert writer.drop_predictions("sex") == 0
    assert filled.predictions().num_rows == 1


def test_who_is_forgotten_loses_their_predictions(filled: Store) -> None:
    with filled.writer("test") as writer:
        writer.put_predictions([predicted("A"), predicted("B")])
        writer.forget(["B"], compact=True)
    assert filled.predictions()["patient"].to_pylist() == ["A"]
    assert all(check.ok for check in verify(filled))


def test_what_has_no_place_is_refused_whole(filled: Store) -> None:
    with filled.writer("test") as writer:
        with pytest.raises(NotFoundError, match="'Z'"):
            writer.put_predictions([predicted("A"), predicted("Z")])
        with pytest.raises(UsageError, match="tissue"):
            writer.put_predictions([predicted("A", field="tissue")])
        with pytest.raises(InputError, match="never stored as recorded"):
            writer.put_patients(pa.table({"patient": ["A"], "Predicted:sex": ["male"]}))
    assert filled.predictions().num_rows == 0


def test_verify_finds_predictions_of_nobody(filled: Store) -> None:
    with filled.writer("test") as writer:
        writer.put_predictions([predicted("A")])
    with writing(filled.database) as connection:
        connection.execute("UPDATE predictions SET patient = 'Z'")
    (failed,) = (check for check in verify(filled) if not check.ok)
    assert "predictions without their patient: 1" in failed.detail


def test_a_reference_of_format_1_takes_predictions(tmp_path: Path) -> None:
    write_archived(tmp_path / "old.molsig", FORMAT_1)
    old = Store.open(tmp_path / "old.molsig")
    assert old.predictions().num_rows == 0
    with old.writer("test") as writer:
        writer.put_predictions([predicted("TCGA-02-0001")])
    assert Store.open(old.path).predictions()["patient"].to_pylist() == ["TCGA-02-0001"]
