"""Barcodes, patient columns and sample tables agree on whose specimen it is, or say where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from molsig.errors import InputError
from molsig.ingest.samples import SampleTable, parse_barcode, resolve_samples
from molsig.ingest.tables import read_sample_table
from molsig.types import SampleId

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def resolve(*ids: str, **options: Any) -> tuple[SampleId, ...]:
    return resolve_samples(ids, file="f.tsv", row_of=lambda i: i + 2, **options).samples


@pytest.mark.parametrize(
    ("barcode", "sample", "patient", "kind"),
    [
        ("TCGA-OR-A5J1", "TCGA-OR-A5J1", "TCGA-OR-A5J1", "tumour"),
        ("TCGA-02-0047-01", "TCGA-02-0047-01", "TCGA-02-0047", "tumour"),
        ("TCGA-OR-A5J1-01A", "TCGA-OR-A5J1-01A", "TCGA-OR-A5J1", "tumour"),
        ("TCGA-OR-A5J1-01A-11R-A29S-07", "TCGA-OR-A5J1-01A", "TCGA-OR-A5J1", "tumour"),
        ("tcga.or.a5j1.11a.11r.a29s.07", "TCGA-OR-A5J1-11A", "TCGA-OR-A5J1", "normal"),
        ("TCGA-OR-A5J1-03A", "TCGA-OR-A5J1-03A", "TCGA-OR-A5J1", "tumour"),
        ("TCGA-OR-A5J1-05A", "TCGA-OR-A5J1-05A", "TCGA-OR-A5J1", "tumour"),
        ("TCGA-OR-A5J1-09A", "TCGA-OR-A5J1-09A", "TCGA-OR-A5J1", "tumour"),
        ("TCGA-OR-A5J1-02A", "TCGA-OR-A5J1-02A", "TCGA-OR-A5J1", "recurrence"),
        ("TCGA-OR-A5J1-06A", "TCGA-OR-A5J1-06A", "TCGA-OR-A5J1", "metastasis"),
        ("TCGA-OR-A5J1-10A", "TCGA-OR-A5J1-10A", "TCGA-OR-A5J1", "normal"),
        ("TCGA-OR-A5J1-20A", "TCGA-OR-A5J1-20A", "TCGA-OR-A5J1", "other"),
    ],
)
def test_barcode(barcode: str, sample: str, patient: str, kind: str) -> None:
    assert resolve(barcode) == (SampleId(sample, patient, kind),)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["TCGA", "TCGA-OR", "ADI-TCGA-ALPPQLSF", "TCGA-ORX-A5J1", "P1", "TCGA-OR-A5J1-01A_x"])
def test_what_is_no_barcode(text: str) -> None:
    assert parse_barcode(text) is None
    assert resolve(text) == (SampleId(text, text, "tumour"),)


def test_aliquots_of_one_sample_keep_their_full_barcodes() -> None:
    one, two, other = "TCGA-OR-A5J1-01A-11R-A29S-07", "TCGA-OR-A5J1-01A-12R-A29S-07", "TCGA-OR-A5J2-01A-11R-A29S-07"
    samples = resolve(one, two, other)
    assert [sample.sample for sample in samples] == [one, two, "TCGA-OR-A5J2-01A"]
    assert [sample.patient for sample in samples] == ["TCGA-OR-A5J1"] * 2 + ["TCGA-OR-A5J2"]


def test_order_of_authority() -> None:
    table = SampleTable("s.tsv", {"S1": ("P9", "normal"), "TCGA-OR-A5J1-01A": ("X", None)})
    samples = resolve(
        "S1",
        "S2",
        "TCGA-OR-A5J1-01A-11R-A29S-07",
        patients=["P1", "P2", None],
        kinds=[None, "metastatic", None],
        table=table,
    )
    assert samples == (
        SampleId("S1", "P9", "normal"),
        SampleId("S2", "P2", "metastasis"),
        SampleId("TCGA-OR-A5J1-01A", "X", "tumour"),
    )


def test_samples_that_the_table_lacks_are_told() -> None:
    resolved = resolve_samples(
        ["S1", "S2"], file="f", row_of=lambda i: i, table=SampleTable("s.tsv", {"S1": ("P1", None)})
    )
    assert resolved.joined == 1
    assert resolved.warnings == ("1 of 2 samples are not in s.tsv",)


@pytest.mark.parametrize(
    ("ids", "options", "problem", "row"),
    [
        (("S1", "S1"), {}, "there twice, first in row 2", 3),
        (("S1", " "), {}, "without an id", 3),
        (("TCGA-OR-A5J1-01A", "tcga.or.a5j1.01a"), {}, "there twice", 3),
        (("TCGA-OR-A5J1-01A",), {"patients": ["TCGA-OR-A5J2"]}, "'TCGA-OR-A5J2'.*says 'TCGA-OR-A5J1'", 2),
        (("S1",), {"kinds": ["tumorous"]}, "no kind of sample", 2),
        (("x" * 300,), {}, "300 characters", 2),
    ],
)
def test_refused_with_the_row(ids: tuple[str, ...], options: dict[str, Any], problem: str, row: int) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        resolve(*ids, **options)
    assert caught.value.row == row


def test_sample_table(write: Callable[..., Path]) -> None:
    path = write("s.csv", "Sample ID,Patient ID,Sample Type\nS1,P1,Solid Tissue Normal\nS2,TCGA-OR-A5J1-01A,\n")
    table = read_sample_table(path)
    assert table.rows == {"S1": ("P1", "normal"), "S2": ("TCGA-OR-A5J1", None)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sample,kind\nS1,tumour\n", "'sample' and 'patient'"),
        ("sample,patient\nS1,\n", "without a patient"),
        ("sample,patient\n,P1\n", "without an id"),
        ("sample,patient,kind\nS1,P1,tumoral\n", "no kind of sample"),
        ("sample,patient\nS1,P1\nS1,P2\n", "there twice with different entries"),
    ],
)
def test_sample_table_refused(write: Callable[..., Path], text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_sample_table(write("s.csv", text))
