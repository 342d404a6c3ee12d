"""Gene sets and lists of genes, good and bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from molsig.errors import InputError
from molsig.ingest.genes import GeneMap
from molsig.ingest.gmt import read_gene_list, read_gene_sets

MAP = GeneMap.from_table(
    pa.table(
        {"ensembl": ["ENSG00000141510", "ENSG00000012048"], "symbol": ["TP53", "BRCA1"], "entrez": ["7157", "672"]}
    )
)


def written(folder: Path, text: str, name: str = "sets.gmt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_sets_are_read(tmp_path: Path) -> None:
    text = "REPAIR\thttp://x\tTP53\tBRCA1\t\tTP53\n\nOTHER\t\tMYC\n"
    plain = read_gene_sets(written(tmp_path, text))
    assert [(one.name, one.description, one.genes) for one in plain] == [
        ("REPAIR", "http://x", ("TP53", "BRCA1")),
        ("OTHER", "", ("MYC",)),
    ]
    packed = tmp_path / "sets.gmt.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_gene_sets(packed) == plain


def test_ids_are_brought_to_symbols(tmp_path: Path) -> None:
    sets = read_gene_sets(written(tmp_path, "A\tx\tENSG00000141510.16\t672\n"), genes=MAP)
    assert sets[0].genes == ("TP53", "BRCA1")
    found = read_gene_list(written(tmp_path, "7157\nBRCA1\n", "list.txt"), genes=MAP)
    assert found.genes == ("TP53", "BRCA1")


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        ("A\tx\tTP53\nB TP53 MYC\n", "is no gene set", 2),
        ("A\tx\tTP53\n\n\tx\tMYC\n", "without a name", 3),
        ("A\tx\tTP53\nB\tx\t\t\n", "has no gene", 2),
        ("A\tx\tTP53\nB\tx\tMYC\nA\ty\tKRAS\n", "in row 1 already", 3),
        ("A\tx\tTP53\nB\tx\tENSMUSG00000059552\n", "not a human gene", 2),
        ("A\tx\tTP53\nB\tx\t---\tNA\n", None, None),
        ("A\tx\tNA\n", "has a name", 1),
    ],
)
def test_bad_sets_are_refused_with_their_row(tmp_path: Path, text: str, message: str | None, row: int | None) -> None:
    path = written(tmp_path, text)
    if message is None:
        assert read_gene_sets(path)[1].genes == ("---",)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_gene_sets(path)
    assert caught.value.row == row


def test_files_without_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        read_gene_sets(written(tmp_path, ""))
    with pytest.raises(InputError, match="holds no gene set"):
        read_gene_sets(written(tmp_path, "\n\n"))


def test_lists_of_all_kinds(tmp_path: Path) -> None:
    lines = read_gene_list(written(tmp_path, "# mine\nGene\nTP53\n\nMYC\nTP53\n", "list.txt"))
    assert (lines.genes, lines.candidates, lines.repeated) == (("TP53", "MYC"), None, 1)
    table = read_gene_list(written(tmp_path, "rank,gene,score\n1,TP53,.5\n2,MYC,.4\n", "list.csv"))
    assert (table.genes, table.candidates) == (("TP53", "MYC"), None)
    told = read_gene_list(written(tmp_path, "gene\tlandmark\nTP53\ttrue\nMYC\tfalse\nKRAS\tTrue\n", "list.tsv"))
    assert (told.genes, told.candidates) == (("TP53", "KRAS"), ("TP53", "MYC", "KRAS"))
    stored = tmp_path / "list.parquet"
    parquet.write_table(pa.table({"feature": ["TP53", "MYC"], "landmark": [True, False]}), stored)
    assert read_gene_list(stored).genes == ("TP53",)


def test_bad_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a column 'gene'"):
        read_gene_list(written(tmp_path, "rank,score\n1,2\n", "list.csv"))
    with pytest.raises(InputError, match="names no gene"):
        read_gene_list(written(tmp_path, "gene\nNA\n", "list.txt"))
    with pytest.raises(InputError, match="does not say whether") as caught:
        read_gene_list(written(tmp_path, "gene,landmark\nTP53,true\nMYC,perhaps\n", "list.csv"))
    assert (caught.value.row, caught.value.column) == (3, "landmark")
