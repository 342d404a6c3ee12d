"""Reports from tables, JSON lines, PDF files and folders, one row a sentence."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig.errors import InputError, UsageError
from molsig.ingest.limits import Limits
from molsig.ingest.reports import read_reports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from molsig.types import TextSet

TEXTS = {"TCGA-OR-A5J1": 'Adrenal gland, "left".\nSecond line; tumour 5,5 cm.', "P2": "Müller, no tumour."}
SENTENCES = {
    "TCGA-OR-A5J1": {"0001": 'Adrenal gland, "left".', "0002": "Second line; tumour 5,5 cm."},
    "P2": {"0001": "Müller, no tumour."},
}


def sentences(found: TextSet) -> dict[str, dict[str, str]]:
    told: dict[str, dict[str, str]] = {}
    for sample, item, text in zip(found.samples, found.items, found.texts, strict=True):
        told.setdefault(sample.sample, {})[item] = text
    return told


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
        assert sentences(found) == SENTENCES
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


def test_several_reports_of_a_sample_follow_each_other(write: Callable[..., Path]) -> None:
    one, two = "No tumour was seen here. Margins of it are free.", "Addendum: a second tumour was seen."
    found = read_reports(write("r.csv", f"patient,text\nP1,{one}\nP2,x\nP1,{two}\nP1,{one}\n"))
    assert sentences(found) == {
        "P1": {"0001": "No tumour was seen here.", "0002": "Margins of it are free.", "0003": two},
        "P2": {"0001": "x"},
    }
    assert [sample.sample for sample in found.samples] == ["P1", "P1", "P1", "P2"]
    assert found.report.duplicates == 1
    assert any("several reports" in note for note in found.report.notes)


def test_empty_reports_are_left_out_with_a_warning(write: Callable[..., Path]) -> None:
    found = read_reports(write("r.csv", "patient,text\nP1,\nP2,  \nP3,x\nP4,...\n"))
    assert sentences(found) == {"P3": {"0001": "x"}}
    assert found.report.warnings == ("3 reports are empty and left out",)


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
    with pytest.raises(InputError, match=r"no \.txt or \.pdf file"):
        read_reports(tmp_path / "empty")


def test_a_folder_of_text_and_pdf_files(
    write: Callable[..., Path], pdf: Callable[..., bytes], tmp_path: Path, scan: Callable[..., Image.Image]
) -> None:
    write(
        "f/TCGA-BP-5195.25c0b433-5557-4165-922e-2c1eac9c26f0.PDF",
        pdf(["Kidney, left, with a clear cell carci-\nnoma."]),
    )
    write("f/P2.txt", "Lung with a carcinoma.")
    write("f/P3.pdf", b"")
    scan("").save(tmp_path / "f" / "P4.pdf")
    found = read_reports(tmp_path / "f", ocr="none")
    assert sentences(found) == {
        "P2": {"0001": "Lung with a carcinoma."},
        "TCGA-BP-5195": {"0001": "Kidney, left, with a clear cell carcinoma."},
    }
    assert "2 PDF files, pages: 1 from the text layer, 1 not read" in found.report.notes
    assert "P4.pdf: 1 page: 1 not read" in found.report.notes
    assert found.report.warnings == (
        "P4.pdf: 1 of 1 pages have no text layer and were not read",
        "2 reports are empty and left out",
    )


def test_a_single_pdf(write: Callable[..., Path], pdf: Callable[..., bytes], tmp_path: Path) -> None:
    path = write("TCGA-OR-A5J1-01A.pdf", pdf(["Adrenal gland with a carcinoma.\nThe margins of it are free."]))
    found = read_reports(path)
    assert [sample.sample for sample in found.samples] == ["TCGA-OR-A5J1-01A"] * 2
    assert found.texts == ("Adrenal gland with a carcinoma.", "The margins of it are free.")
    assert found.report.warnings == ()
    # Some programs put lines before the header; a table that speaks of PDF is none.
    assert read_reports(write("TCGA-OR-A5J1-06.pdf", b"junk\n" + path.read_bytes())).texts == found.texts
    assert read_reports(write("r.csv", "patient,text\nP1,%PDF-1.4 it says\n")).texts == ("%PDF-1.4 it says",)
    with pytest.raises(UsageError, match="ocr is auto"):
        read_reports(path, ocr="magic")  # type: ignore[arg-type]


def test_reading_is_repeatable_and_told(write: Callable[..., Path]) -> None:
    path = write("r.csv", "patient,text\n" + "".join(f"P{i},Tumour {i} of the lung. It is free.\n" for i in range(5)))
    steps: list[tuple[str, int, int | None]] = []
    found = read_reports(path, progress=lambda step, done, total: steps.append((step, done, total)))
    assert found == read_reports(path)
    assert ("cut r.csv into sentences", 5, 5) in steps
    assert found.report.notes[0].startswith("5 sentences, half of them over ")


def test_over_long_report_in_a_table(write: Callable[..., Path]) -> None:
    path = write("r.csv", "patient,text\nP1,x\nP2," + "y" * 101 + "\n")
    with pytest.raises(InputError, match="more than the limit of 100") as caught:
        read_reports(path, limits=Limits(max_cell_chars=100))
    assert caught.value.row == 3
