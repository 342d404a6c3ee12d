"""MAF files: pairs of sample and gene, silent ones flagged, in memory that does not grow with the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.errors import InputError
from molsig.ingest.mutations import ALTERING, SILENT, read_maf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.ingest.genes import GeneMap
    from molsig.types import MutationSet

HEADER = "Hugo_Symbol\tVariant_Classification\tHGVSp_Short\tTumor_Sample_Barcode\tMatched_Norm_Sample_Barcode\n"


def row(gene: str, kind: str, sample: str) -> str:
    return f"{gene}\t{kind}\tp.R1Q\t{sample}\tx\n"


def triples(found: MutationSet) -> list[tuple[str, str, bool]]:
    return [
        (found.samples[s].sample, found.genes[g], bool(quiet))
        for s, g, quiet in zip(found.sample_index, found.gene_index, found.silent, strict=True)
    ]


def test_pairs_are_distinct_and_sorted(write: Callable[..., Path]) -> None:
    text = (
        "#version 2.4\n# made by hand\n"
        + HEADER
        + row("TP53", "Missense_Mutation", "TCGA-OR-A5J2-01A-11D-A29I-10")
        + row("TP53", "Nonsense_Mutation", "TCGA-OR-A5J2-01A-11D-A29I-10")
        + row("KRAS", "Silent", "TCGA-OR-A5J2-01A-11D-A29I-10")
        + row("KRAS", "missense_mutation", "TCGA-OR-A5J1")
        + row("TP53", "Silent", "TCGA-OR-A5J2-01A-11D-A29I-10")
    )
    found = read_maf(write("m.maf", text, gz=True))
    assert found.genes == ("KRAS", "TP53")
    assert [(s.sample, s.patient) for s in found.samples] == [
        ("TCGA-OR-A5J1", "TCGA-OR-A5J1"),
        ("TCGA-OR-A5J2-01A", "TCGA-OR-A5J2"),
    ]
    assert triples(found) == [
        ("TCGA-OR-A5J1", "KRAS", False),
        ("TCGA-OR-A5J2-01A", "KRAS", True),
        ("TCGA-OR-A5J2-01A", "TP53", False),
        ("TCGA-OR-A5J2-01A", "TP53", True),
    ]
    assert (found.report.rows, found.report.samples, found.report.features) == (5, 2, 2)
    assert found.sample_index.dtype == found.gene_index.dtype == "int32"
    assert found.silent.dtype == bool


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["TP53", "KRAS", "EGFR", "A1BG"]),
            st.sampled_from(sorted(ALTERING | SILENT)),
            st.sampled_from(["S1", "S2", "TCGA-OR-A5J1-01A", "TCGA-OR-A5J1-11A"]),
        ),
        min_size=1,
    )
)
def test_pairs_of_any_file(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.mktemp("m") / "m.maf"
    path.write_text(HEADER + "".join(row(*one) for one in rows))
    found = read_maf(path)
    assert triples(found) == sorted({(sample, gene, kind in SILENT) for gene, kind, sample in rows})
    assert {s.sample for s in found.samples} == {sample for _, _, sample in rows}


def test_no_class_is_both() -> None:
    assert not {one.casefold() for one in ALTERING} & {one.casefold() for one in SILENT}


def test_aliases_of_a_gene_meet(write: Callable[..., Path], genes: GeneMap) -> None:
    text = HEADER + row("SEPT2", "Silent", "S1") + row("2-Sep", "Silent", "S1") + row("C1ORF112", "Silent", "S1")
    found = read_maf(write("m.maf", text), genes=genes)
    assert found.genes == ("C1orf112", "SEPTIN2")
    assert len(found.sample_index) == 2
    assert any("2-Sep as SEPTIN2" in note for note in found.report.notes)


def test_samples_without_a_named_gene_stay(write: Callable[..., Path]) -> None:
    text = HEADER + row("Unknown", "IGR", "S1") + row("", "Intron", "S2") + row("TP53", "Silent", "S3")
    found = read_maf(write("m.maf", text))
    assert [sample.sample for sample in found.samples] == ["S1", "S2", "S3"]
    assert triples(found) == [("S3", "TP53", True)]
    assert any("without a gene name" in note for note in found.report.notes)


def test_unknown_class_is_told_with_its_row_and_counts_as_silent(write: Callable[..., Path]) -> None:
    text = "#c\n" + HEADER + row("TP53", "Silent", "S1") + row("KRAS", "Odd", "S1") + row("KRAS", "Odd", "S2")
    found = read_maf(write("m.maf", text))
    assert found.report.warnings == ("row 4: Variant_Classification 'Odd' is not known and counts as silent",)
    assert all(found.silent)


def test_sample_table_and_column_order(write: Callable[..., Path]) -> None:
    samples = write("s.tsv", "sample\tpatient\tkind\nS1\tP1\tmetastasis\n")
    text = "tumor_sample_barcode\thugo_symbol\tx\tvariant_classification\nS1\tTP53\t\tSilent\n"
    found = read_maf(write("m.maf", text), sample_table=samples)
    assert (found.samples[0].patient, found.samples[0].kind) == ("P1", "metastasis")


def test_quotes_in_other_columns_are_letters(write: Callable[..., Path]) -> None:
    text = HEADER + "TP53\tSilent\t\"5' region\tS1\tx\n" + "KRAS\tSilent\tp\tS1\tx\n"
    assert read_maf(write("m.maf", text)).genes == ("KRAS", "TP53")


@pytest.mark.parametrize(
    ("text", "problem", "row_", "column"),
    [
        ("#version 2.4\nHugo_Symbol\tTumor_Sample_Barcode\nTP53\tS1\n", "missing", 2, "Variant_Classification"),
        (HEADER.replace("HGVSp_Short", "hugo_symbol") + row("A", "Silent", "S"), "2 columns", 1, "Hugo_Symbol"),
        (HEADER, "no variants", None, None),
        (HEADER + row("TP53", "Silent", "S1") + "KRAS\tSilent\n", "2 cells, and the header has 5", 3, None),
        (HEADER + row("TP53", "Silent", "S1") + HEADER, "header is repeated", 3, "Tumor_Sample_Barcode"),
        (HEADER + row("TP53", "Silent", ""), "without a sample", 2, "Tumor_Sample_Barcode"),
        (HEADER + row("TP53", "Silent", "S1") + row("1-Mar", "Silent", "S1"), "MARCHF1 or MTARC1", 3, None),
        (HEADER + row("TP53", "Silent", "S1") + "#late comment\n", "1 cells", 3, None),
        (HEADER + "".join(row("TP53", f"p.{i}", "S1") for i in range(300)), "another column", 257, None),
    ],
)
def test_errors_say_where(
    write: Callable[..., Path], text: str, problem: str, row_: int | None, column: str | None
) -> None:
    path = write("m.maf", text)
    with pytest.raises(InputError, match=problem) as caught:
        read_maf(path)
    assert caught.value.row == row_
    assert column is None or caught.value.column == column


def test_many_batches_are_joined(write: Callable[..., Path]) -> None:
    # About 12 MB: several parser batches, each with its own dictionary.
    rows = "".join(
        row(f"G{i % 997}x", "Silent" if i % 3 else "Missense_Mutation", f"S{i % 641}") for i in range(300_000)
    )
    found = read_maf(write("m.maf", HEADER + rows))
    expected = {(f"S{i % 641}", f"G{i % 997}x", bool(i % 3)) for i in range(300_000)}
    assert set(triples(found)) == expected
    assert len(found.sample_index) == len(expected)
    assert found.report.rows == 300_000
