"""Reports from tables, JSON lines and folders."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig.errors import InputError
from molsig.ingest.limits import Limits
from molsig.ingest.reports import read_reports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.types import TextSet

TEXTS = {"TCGA-OR-A5J1": 'Adrenal gland, "left".\nSecond line; tumour 5,5 cm.', "P2": "Müller, no tumour."}


def pairs(found: TextSet) -> dict[str, str]:
    return {sample.sample: text for sample, text in zip(found.samples, found.texts, strict=True)}


def test_the_same_reports_from_every_format(write: Callable[..., Path], tmp_path: Path) -> None:
    quoted = {one: '"' + text.replace('"', '""') + '"' for one, text in TEXTS.items()}
    folder = tmp_path / "folder"
    for one, text in TEXTS.items():
        write(f"folder/{one}.txt", text)
    write("folder/notes.md", "not a report")
    write("folder/.hidden.txt", "not one either")
    pq.write_table(pa.table({"patient": list(TEXTS), "text": list(TEXTS.values())}), tmp_path / "p")
    files = [
        write("r.csv", "patient,text\n" + "".join(f"{one},{text}\n" for one, text in quoted.items())),
        write("r.csv.gz", "text,patient\n" + "".join(f"{text},{one}\n" for one, text in quoted.items()), gz=True),
        write("r.jsonl", "".join(json.dumps({"patient": one, "text": text}) + "\n" for one, text in TEXTS.items())),
        write("r.crlf", "patient,text\r\n" + "".join(f"{one},{text}\r\n" for one, text in quoted.items())),
        folder,
        tmp_path / "p",
    ]
    for path in files:
        found = read_reports(path)
        assert pairs(found) == TEXTS
        assert found.modality == "report"
        assert (found.report.samples, found.report.rows) == (2, 2)


def test_text_column_by_argument(write: Callable[..., Path]) -> None:
    path = write("r.csv", "sample,patient,finding\nS1,P1,good\n")
    with pytest.raises(InputError, match="no column holds the text; the columns are sample, patient, finding"):
        read_reports(path)
    found = read_reports(path, text_column="finding")
    assert found.texts == ("good",)
    assert (found.samples[0].sample, found.samples[0].patient) == ("S1", "P1")
    with pytest.raises(InputError, match="no column 'body'"):
        read_reports(path, text_column="body")


def test_several_reports_of_a_sample_are_joined_in_order(write: Callable[..., Path]) -> None:
    found = read_reports(write("r.csv", "patient,text\nP1,one\nP2,x\nP1,two\nP1,one\n"))
    assert pairs(found) == {"P1": "one\n\ntwo", "P2": "x"}
    assert found.report.duplicates == 1
    assert any("several reports" in note for note in found.report.notes)


def test_empty_reports_are_left_out_with_a_warning(write: Callable[..., Path]) -> None:
    found = read_reports(write("r.csv", "patient,text\nP1,\nP2,  \nP3,x\n"))
    assert pairs(found) == {"P3": "x"}
    assert found.report.warnings == ("2 reports are empty and left out",)


def test_files_as_tcga_names_them(write: Callable[..., Path], tmp_path: Path) -> None:
    write("f/TCGA-BP-5195.25c0b433-5557-4165-922e-2c1eac9c26f0.TXT", "kidney")
    assert read_reports(tmp_path / "f").samples[0].patient == "TCGA-BP-5195"


def test_kind_and_patient_of_a_barcode(write: Callable[..., Path]) -> None:
    found = read_reports(write("r.csv", "sample,text\nTCGA-OR-A5J1-06A,x\n"))
    assert (found.samples[0].patient, found.samples[0].kind) == ("TCGA-OR-A5J1", "metastasis")


@pytest.mark.parametrize(
    ("name", "text", "problem", "row"),
    [
        ("r.csv", "who,text\nP1,x\n", "no column names the patient", None),
        ("r.csv", "patient,text\nP1,x\n,y\n", "without a patient or sample", 3),
        ("r.csv", 'patient,text\nP1,"x\nP2,y\n', "never closed", 2),
        ("r.csv", "patient,text\nP1,x,y\n", "3 cells", 2),
        ("r.csv", "sample,patient,text\nS1,P1,x\nS1,P2,y\n", "'P1' in row 2 and of 'P2' here", 3),
        ("r.csv", "patient,text\nP1,\n", "no report with text", None),
        ("r.jsonl", '{"patient": "P1", "text": "x"}\nnot json\n', "not JSON", 2),
        ("r.jsonl", '{"patient": "P1", "text": "x"}\n[1]\n', "not a JSON object", 2),
        ("r.jsonl", '{"patient": "P1", "text": ["x"]}\n', "a list where text is needed", 1),
        ("r.jsonl", '{"patient": "P1", "title": "x"}\n', "no column holds the text", 1),
        ("r.jsonl", '{"text": "x"}\n', "without a patient", 1),
        ("r.jsonl", '{"a":' * 100_000 + "1" + "}" * 100_000, "not JSON", 1),
    ],
)
def test_refused_with_the_row(write: Callable[..., Path], name: str, text: str, problem: str, row: int | None) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        read_reports(write(name, text))
    assert caught.value.row == row


def test_links_out_of_the_folder_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    secret = write("secret", "not for you")
    write("f/P1.txt", "x")
    (tmp_path / "f" / "P2.txt").symlink_to(tmp_path / "f" / "P1.txt")
    assert len(read_reports(tmp_path / "f").texts) == 2
    (tmp_path / "f" / "P3.txt").symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the folder"):
        read_reports(tmp_path / "f")


def test_hostile_folders(write: Callable[..., Path], tmp_path: Path) -> None:
    write("f/P1.txt", "x")
    os.mkfifo(tmp_path / "f" / "P2.txt")
    with pytest.raises(InputError, match="pipe or a device"):
        read_reports(tmp_path / "f")
    (tmp_path / "f" / "P2.txt").unlink()
    write("f/P2.txt", "y")
    with pytest.raises(InputError, match="2 files, more than the limit of 1"):
        read_reports(tmp_path / "f", limits=Limits(max_files=1))
    write("f/P3.txt", "ä" * 101)
    with pytest.raises(InputError, match="longer than the limit of 100"):
        read_reports(tmp_path / "f", limits=Limits(max_cell_chars=100))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.txt file"):
        read_reports(tmp_path / "empty")


def test_over_long_report_in_a_table(write: Callable[..., Path]) -> None:
    path = write("r.csv", "patient,text\nP1,x\nP2," + "y" * 101 + "\n")
    with pytest.raises(InputError, match="more than the limit of 100") as caught:
        read_reports(path, limits=Limits(max_cell_chars=100))
    assert caught.value.row == 3
