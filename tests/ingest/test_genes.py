"""Every way of naming a gene leads to one name; what a spreadsheet has spoilt is read right or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from molsig.errors import InputError
from molsig.ingest.genes import GeneMap, read_gene_map
from molsig.ingest.spreadsheet import gene_of_date, genes_of_serial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from molsig.ingest.genes import Named


def named(genes: GeneMap, *ids: str) -> Named:
    return genes.canonical(ids, file="f.tsv", row_of=lambda i: i + 2)


def names(genes: GeneMap, *ids: str) -> Sequence[str | None]:
    return named(genes, *ids).names


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("TSPAN6", "TSPAN6"),
        (" TSPAN6 ", "TSPAN6"),
        ("TSPAN6|7105", "TSPAN6"),
        ("OLDNAME|7105", "TSPAN6"),
        ("?|7105", "TSPAN6"),
        ("?|100130426", "entrez:100130426"),
        ("NEW1|999", "NEW1"),
        ("ENSG00000000003", "TSPAN6"),
        ("ENSG00000000003.15", "TSPAN6"),
        ("ENSG00000000003.15_PAR_Y", "TSPAN6"),
        ("ENSG00000000003.15|TSPAN6", "TSPAN6"),
        ("ENSG00000999999.2", "ENSG00000999999"),
        ("ENSG00000123456.7", "ENSG00000123456"),
        ("7105", "TSPAN6"),
        ("entrez7105", "TSPAN6"),
        ("entrez6318", "entrez:6318"),
        ("C1ORF112", "C1orf112"),
        ("NKX2-1", "NKX2-1"),
        ("HLA-A", "HLA-A"),
        ("SEPT2", "SEPTIN2"),
        ("MARCH1", "MARCHF1"),
        ("7SK", "7SK"),
        ("?", None),
        ("", None),
    ],
)
def test_canonical_name(genes: GeneMap, found: str, name: str | None) -> None:
    assert names(genes, found) == (name,)


def test_without_a_map_symbols_stand_for_themselves() -> None:
    assert names(GeneMap(), "TP53", "ENSG00000000003.1", "A2M|2", "?|3", "SEPT9") == (
        "TP53",
        "ENSG00000000003",
        "A2M",
        "entrez:3",
        "SEPTIN9",
    )


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (("TP53", "KRAS"), "symbol"),
        (("TP53|7157", "KRAS|3845"), "symbol|entrez"),
        (("ENSG00000000003", "ENSG00000000005"), "ensembl"),
        (("ENSG00000000003.1", "ENSG00000000005.2"), "ensembl.version"),
        (("7105", "8813"), "entrez"),
    ],
)
def test_id_type(genes: GeneMap, ids: tuple[str, ...], kind: str) -> None:
    assert named(genes, *ids).id_type == kind


@pytest.mark.parametrize(
    ("date", "gene"),
    [
        ("2-Sep", "SEPTIN2"),
        ("02-Sep", "SEPTIN2"),
        ("Sep-02", "SEPTIN2"),
        ("Sept 2", "SEPTIN2"),
        ("2. Sep", "SEPTIN2"),
        ("2-Sep-20", "SEPTIN2"),
        ("2009-09-02", "SEPTIN2"),
        ("2009-09-02 00:00:00", "SEPTIN2"),
        ("3-Mar", "MARCHF3"),
        ("3. Mrz", "MARCHF3"),
        ("3-mars", "MARCHF3"),
        ("15-Sep", "SELENOF"),
        ("1-Dec", "DELEC1"),
        ("1-Dez", "DELEC1"),
    ],
)
def test_unambiguous_dates_are_read_right_and_told(date: str, gene: str) -> None:
    found = named(GeneMap(), "TP53", date)
    assert found.names == ("TP53", gene)
    assert found.dates == ((1, date, gene),)


@pytest.mark.parametrize(
    ("date", "meant"),
    [
        ("1-Mar", "MARCHF1 or MTARC1"),
        ("Mar-02", "MARCHF2 or MTARC2"),
        ("2001-03-01", "MARCHF1 or MTARC1"),
        ("3/1/2001", "cannot be told"),
        ("01.03.2001", "cannot be told"),
        ("4-Oct", "cannot be told"),
        ("13-Sep", "cannot be told"),
        ("#NAME?", "cannot be told"),
        ("44075", "SEPTIN1"),
    ],
)
def test_other_dates_are_refused_with_place_and_gene(date: str, meant: str) -> None:
    with pytest.raises(InputError, match=meant) as caught:
        named(GeneMap(), "TP53", "KRAS", date)
    assert caught.value.row == 4


def test_a_column_of_entrez_ids_is_no_column_of_dates() -> None:
    assert names(GeneMap(), "44075", "7157", "3845") == ("entrez:44075", "entrez:7157", "entrez:3845")


def test_symbols_are_not_taken_for_dates() -> None:
    symbols = ("MARK1", "SEPSECS", "DECR1", "NOV", "MAY1", "FEB1", "APR3", "JUN", "OCT4", "DEC2", "SEP-RS", "H2-K1")
    assert all(gene_of_date(symbol) is None for symbol in symbols)


def test_serials_are_days_that_a_gene_is_named_after() -> None:
    assert genes_of_serial("43891") == ("MARCHF1", "MTARC1")  # 1 March 2020
    assert genes_of_serial("43890") is None
    assert genes_of_serial("٤٣٨٩١") is None


@pytest.mark.parametrize("wrong", ["ENSMUSG00000000001", "ENST00000000233", "ENSP00000000233.5"])
def test_transcripts_and_other_species_are_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="not a human gene id"):
        named(GeneMap(), "TP53", wrong)


def test_read_gene_map_and_back_through_its_table(write: Callable[..., Path]) -> None:
    path = write(
        "genes.tsv",
        "ensembl_gene_id\tsymbol\tbiotype\nENSG00000000003.4\tTSPAN6\tx\nENSG00000000005\t\tx\n",
        gz=True,
    )
    genes = read_gene_map(path)
    again = GeneMap.from_table(genes.table)
    for one in (genes, again):
        assert len(one) == 2
        assert one.table.column_names == ["ensembl", "symbol", "entrez"]
        assert names(one, "ENSG00000000003", "ENSG00000000005") == ("TSPAN6", "ENSG00000000005")


def test_gene_map_needs_its_columns(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="column of symbols"):
        read_gene_map(write("genes.tsv", "ensembl\tbiotype\nENSG00000000003\tx\n"))
    with pytest.raises(InputError, match="'symbol' is missing"):
        GeneMap.from_table(pa.table({"ensembl": ["ENSG00000000003"]}))


def test_gene_map_that_contradicts_itself(write: Callable[..., Path]) -> None:
    path = write("genes.tsv", "ensembl\tsymbol\nENSG00000000003\tA\nENSG00000000003\tB\n")
    with pytest.raises(InputError, match="'A' above and 'B' here") as caught:
        read_gene_map(path)
    assert caught.value.row == 3
