"""Patient columns: any name, any type, missing stays missing."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from molsig.errors import InputError, UsageError
from molsig.index.store import Store


def put(store: Store, **columns: object):
    with store.writer("test") as writer:
        return writer.put_patients(pa.table(columns), replace=True)


def values(store: Store, column: str) -> list[object]:
    return store.attributes(store.patient_ids(), [column])[column].to_pylist()


def test_upsert_counts_what_it_changed(store: Store) -> None:
    first = put(store, patient=["A", "B"], age=[50, None], sex=["male", "female"])
    assert (first.new, first.changed, first.unchanged, first.columns_added) == (2, 0, 0, ("age", "sex"))
    second = put(store, patient=["A", "B", "C"], age=[None, 61, 70], stage=["II", None, None])
    assert (second.new, second.changed, second.unchanged, second.columns_added) == (1, 2, 0, ("stage",))
    assert values(store, "age") == [50, 61, 70]
    assert values(store, "sex") == ["male", "female", None]
    snapshot = store.snapshot()
    again = put(store, patient=["A", "B", "C"], age=[None, 61, 70], stage=["II", None, None])
    assert (again.new, again.changed, again.unchanged) == (0, 0, 3)
    assert store.snapshot() == snapshot


@pytest.mark.parametrize(
    "name",
    [
        'quo"te',
        "select",
        "a b",
        "é",
        "patient id",
        "1",
        "rowid",
        "a.b",
        "x'; DROP TABLE patients; --",
        "%",
        "🧬",
        "order",
    ],
)
def test_any_column_name_is_kept_and_can_be_asked_for(store: Store, name: str) -> None:
    put(store, **{"patient": ["A", "B"], name: [1, 2], "other": ["x", "y"]})
    assert store.columns() == {name: "integer", "other": "text"}
    assert values(store, name) == [1, 2]
    quoted = '"' + name.replace('"', '""') + '"'
    assert store.select_patients(f"{quoted} = 2 AND other = 'y'") == ["B"]


def test_types_are_told_and_kept(store: Store) -> None:
    day, moment = date(2020, 2, 1), datetime(2020, 2, 1, 12)
    put(
        store,
        patient=["A", "B"],
        integer=pa.array([1, None], pa.int16()),
        number=pa.array([1.5, float("nan")]),
        boolean=[True, None],
        text=pa.array(["x", None]).dictionary_encode(),
        large=pa.array(["x", "y"], pa.large_string()),
        date=[day, None],
        timestamp=[moment, None],
        unsigned=pa.array([2**64 - 1, 1], pa.uint64()),
        nothing=pa.nulls(2),
        several=[["a", "b"], None],
    )
    assert store.columns() == {
        "integer": "integer",
        "number": "number",
        "boolean": "boolean",
        "text": "text",
        "large": "text",
        "date": "date",
        "timestamp": "timestamp",
        "unsigned": "text",
        "nothing": "text",
        "several": "text",
    }
    row = store.attributes(["A"]).to_pylist()[0]
    assert row["number"] == 1.5
    assert row["date"] == day
    assert row["timestamp"] == moment
    assert row["unsigned"] == str(2**64 - 1)
    assert store.attributes(["B"]).to_pylist()[0]["number"] is None, "NaN is missing"


@pytest.mark.parametrize(
    ("before", "after", "kind", "expected"),
    [
        ([1, None], [None, 2.5], "number", [1.0, 2.5]),
        ([1.5, None], [None, 2], "number", [1.5, 2.0]),
        ([2**60, None], [None, 2.5], "text", [str(2**60), "2.5"]),
        ([2.5, None], [None, 2**60 + 1], "text", ["2.5", str(2**60 + 1)]),
        ([1, None], [None, "x"], "text", ["1", "x"]),
        (["x", None], [None, 1], "text", ["x", "1"]),
        ([True, None], [None, 1], "text", ["true", "1"]),
        (
            [date(2020, 1, 1), None],
            [None, datetime(2020, 1, 2, 3)],
            "timestamp",
            [datetime(2020, 1, 1), datetime(2020, 1, 2, 3)],
        ),
        ([date(2020, 1, 1), None], [None, "later"], "text", ["2020-01-01", "later"]),
        (pa.nulls(2), [None, 2], "integer", [None, 2]),
        ([1, None], pa.nulls(2), "integer", [1, None]),
    ],
)
def test_columns_are_widened_without_losing_a_value(store: Store, before, after, kind: str, expected) -> None:
    put(store, patient=["A", "B"], x=before)
    put(store, patient=["A", "B"], X=after)
    assert store.columns() == {"x": kind}
    assert values(store, "x") == expected


def test_widening_is_told(store: Store) -> None:
    put(store, patient=["A"], age=[50])
    assert put(store, patient=["A"], age=["50 to 59"]).widened == (("age", "integer", "text"),)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": ["A"]}, "no column 'patient'"),
        ({"Patient": ["A"]}, "Rename 'Patient'"),
        ({"patient": ["A", None]}, "row 2, column 'patient': a patient id is empty"),
        ({"patient": ["A", "A"]}, "'A' has several rows"),
        ({"patient": ["A"], "Age": [1], "age": [2]}, "differ in case only: 'Age' and 'age'"),
        ({"patient": ["A"], "": [1]}, "column name is empty"),
        ({"patient": ["A"], "a\0b": [1]}, "NUL"),
    ],
)
def test_a_bad_table_is_refused(store: Store, table: dict[str, list[object]], told: str) -> None:
    with pytest.raises(InputError, match=told):
        put(store, **table)
    assert store.patient_ids() == []


def test_unknown_columns_are_answered_with_near_ones(store: Store) -> None:
    put(store, patient=["A"], cancer_type=["BRCA"])
    with pytest.raises(UsageError, match="'cancer_typ'; did you mean 'cancer_type'"):
        store.attributes(["A"], ["cancer_typ"])
    asked = store.attributes(["nobody", "A", "A"], ["Cancer_Type"])
    assert asked.column_names == ["patient", "cancer_type"]
    assert asked.to_pylist()[0] == {"patient": "nobody", "cancer_type": None}
    assert asked.num_rows == 3
