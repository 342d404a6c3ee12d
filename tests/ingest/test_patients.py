"""Patient tables keep what is known, with its type, and invent nothing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig.errors import InputError
from molsig.ingest.patients import MISSING_WORDS, read_patients

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def column(write: Callable[..., Path], *cells: str) -> pa.ChunkedArray:
    text = "patient\tx\n" + "".join(f"P{i}\t{cell}\n" for i, cell in enumerate(cells))
    return read_patients(write("p.tsv", text)).table.column("x")


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (("1", "-2", "+3"), pa.int64(), [1, -2, 3]),
        (("1", "", "3"), pa.int64(), [1, None, 3]),
        (("1.5", "2", "1e3"), pa.float64(), [1.5, 2.0, 1000.0]),
        (("007", "12"), pa.string(), ["007", "12"]),
        (("12345678901234567890",), pa.string(), ["12345678901234567890"]),
        (("True", "false", ""), pa.bool_(), [True, False, None]),
        (("yes", "no"), pa.string(), ["yes", "no"]),
        (("2020-02-29", ""), pa.date32(), [dt.date(2020, 2, 29), None]),
        (("2020-02-30",), pa.string(), ["2020-02-30"]),
        (("1/2/2020",), pa.string(), ["1/2/2020"]),
        (("Stage III", "[Not Available]"), pa.string(), ["Stage III", None]),
        (("5", "[Not Applicable]", "[Unknown]"), pa.int64(), [5, None, None]),
        (("None", "Unknown"), pa.string(), ["None", "Unknown"]),
        (("", "NA"), pa.string(), [None, None]),
        ((" IV ", "II"), pa.string(), ["IV", "II"]),
        (("inf", "1"), pa.string(), ["inf", "1"]),
    ],
)
def test_types(write: Callable[..., Path], cells: tuple[str, ...], kind: pa.DataType, values: list[Any]) -> None:
    found = column(write, *cells)
    assert found.type == kind
    assert found.to_pylist() == values


def test_every_word_for_missing(write: Callable[..., Path]) -> None:
    cells = [case(word) for word in MISSING_WORDS for case in (str.lower, str.upper, str.title)]
    assert column(write, "known", *cells).to_pylist() == ["known"] + [None] * len(cells)


def test_decimal_commas(write: Callable[..., Path]) -> None:
    table = read_patients(write("p.csv", "patient;age;n\nP1;61,5;1\nP2;;2\n")).table
    assert table.column("age").to_pylist() == [61.5, None]
    assert table.column("n").to_pylist() == [1, 2]


@pytest.mark.parametrize("name", ["patient", "Patient ID", "bcr_patient_barcode", "case_id", "submitter_id"])
def test_key_column_by_its_usual_names(write: Callable[..., Path], name: str) -> None:
    found = read_patients(write("p.tsv", f"age\t{name}\n60\ttcga-or-a5j1\n61\tTCGA-OR-A5J2-01A\n"))
    assert found.table.column_names == ["patient", "age"]
    assert found.table.column("patient").to_pylist() == ["TCGA-OR-A5J1", "TCGA-OR-A5J2"]


def test_key_column_by_argument(write: Callable[..., Path]) -> None:
    path = write("p.tsv", "who\tage\n0012\t60\n")
    with pytest.raises(InputError, match="no column names the patients; the columns are who, age"):
        read_patients(path)
    assert read_patients(path, key="who").table.column("patient").to_pylist() == ["0012"]
    with pytest.raises(InputError, match="no column 'whom'"):
        read_patients(path, key="whom")


def test_rows_of_one_patient_complete_each_other(write: Callable[..., Path]) -> None:
    text = "patient\tage\tstage\tsex\nP1\t60\t\tF\nP2\t50\tII\tM\nP1\t\tIII\tF\n"
    found = read_patients(write("p.tsv", text))
    assert found.table.to_pylist() == [
        {"patient": "P1", "age": 60, "stage": "III", "sex": "F"},
        {"patient": "P2", "age": 50, "stage": "II", "sex": "M"},
    ]
    assert (found.report.rows, found.report.patients, found.report.duplicates) == (3, 2, 1)


def test_rows_of_one_patient_that_contradict_each_other(write: Callable[..., Path]) -> None:
    text = "patient\tage\nP1\t60\nP2\t50\nP1\t61\n"
    with pytest.raises(InputError, match="'P1' has 60 in row 2 and 61 here") as caught:
        read_patients(write("p.tsv", text))
    assert (caught.value.row, caught.value.column) == (4, "age")


@pytest.mark.parametrize(
    ("text", "problem", "column_"),
    [
        ("patient\tage\tage\nP1\t1\t2\n", "two columns of this name", "age"),
        ("patient\tage\tAge\nP1\t1\t2\n", "case does not count", "Age"),
        ("case_id\tPatient\nP1\tx\n", "case does not count|without", None),
        ("patient\tage\n\t5\n", "without a patient", "patient"),
        ("patient\tage\n", "no rows", None),
        ("patient\t\nP1\t5\n", "no name", None),
    ],
)
def test_refused(write: Callable[..., Path], text: str, problem: str, column_: str | None) -> None:
    if text.startswith("case_id"):
        with pytest.raises(InputError, match=problem):
            read_patients(write("p.tsv", text), key="case_id")
        return
    with pytest.raises(InputError, match=problem) as caught:
        read_patients(write("p.tsv", text))
    assert caught.value.column == column_


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    columns = {
        "age": pa.array([60.0, float("nan")]),
        "patient": ["P1", "P2"],
        "n": pa.array([1, None], pa.int8()),
        "grade": pa.array(["G1", "[Unknown]"]).dictionary_encode(),
        "code": ["007", "008"],
        "born": pa.array([dt.date(1960, 1, 1), None]),
        "alive": [True, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "p")
    table = read_patients(tmp_path / "p").table
    assert table.to_pylist() == [
        {
            "patient": "P1",
            "age": 60.0,
            "n": 1,
            "grade": "G1",
            "code": "007",
            "born": dt.date(1960, 1, 1),
            "alive": True,
        },
        {"patient": "P2", "age": None, "n": None, "grade": None, "code": "008", "born": None, "alive": None},
    ]


def test_parquet_of_lists_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"patient": ["P1"], "junk": [[1, 2]]}), tmp_path / "p")
    with pytest.raises(InputError, match="cannot describe a patient") as caught:
        read_patients(tmp_path / "p")
    assert caught.value.column == "junk"


def test_line_breaks_within_quotes(write: Callable[..., Path]) -> None:
    text = 'patient,remark\nP1,"two\nlines, and a ""quote"""\nP2,x\nP2,y\n'
    with pytest.raises(InputError) as caught:
        read_patients(write("p.csv", text))
    assert caught.value.row == 5
    table = read_patients(write("p.csv", text.replace("P2,y\n", ""))).table
    assert table.column("remark").to_pylist() == ['two\nlines, and a "quote"', "x"]


def test_cbioportal_comment_lines(write: Callable[..., Path]) -> None:
    text = "#Patient Identifier\tAge\n#Identifier\tAge in years\n#STRING\tNUMBER\n#1\t1\nPATIENT_ID\tAGE\nP1\t61\n"
    assert read_patients(write("p.txt", text)).table.to_pylist() == [{"patient": "P1", "AGE": 61}]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('patient,remark\nP1,"x\nP2,y\n', 2),
        ('patient,remark\nP1,"x\nP2,5" y\nP3,z\n', 2),
        ('patient,remark\nP1,x\n"P2,"y\n', 3),
    ],
)
def test_an_open_quote_does_not_swallow_patients(write: Callable[..., Path], text: str, row: int) -> None:
    with pytest.raises(InputError, match=r"never closed|not a proper row") as caught:
        read_patients(write("p.csv", text))
    assert caught.value.row == row


def test_quotes_within_a_cell_are_letters(write: Callable[..., Path]) -> None:
    table = read_patients(write("p.csv", 'patient,size\nP1,5" wide\nP2,6\n')).table
    assert table.column("size").to_pylist() == ['5" wide', "6"]
