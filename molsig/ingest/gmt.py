"""Gene sets as GMT files have them, and lists of genes to look for in such sets.

GMT (Broad Institute): one set a line, parted by tabs: its name, a description, its genes. A list of genes is a text
file of one gene a line, or a table with a column of genes; where that table tells which genes are ``landmark``, these
are the list and all of its genes are those that could have been chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.genes import ENSEMBL_COLUMNS, ENTREZ_COLUMNS, SYMBOL_COLUMNS, GeneMap
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import TextStream, file_kind
from molsig.ingest.samples import find_column
from molsig.ingest.tables import read_records_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from molsig.ingest.limits import Limits

GENE_COLUMNS = ("gene", *SYMBOL_COLUMNS, *ENSEMBL_COLUMNS, *ENTREZ_COLUMNS, "feature")
"""What the column of genes may be called."""
CHOSEN_COLUMNS = ("landmark", "chosen", "selected")
"""What the column may be called that tells which genes of a table are the list."""
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class GeneSet:
    """One set: its genes by their canonical names, each once, in the order of the file."""

    name: str
    description: str
    genes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GeneList:
    """Genes by their canonical names, each once.

    Attributes
    ----------
    genes
        In the order of the file.
    candidates
        Genes that could have been chosen, where the file tells.
    repeated
        Entries that name a gene once more.
    """

    file: str
    genes: tuple[str, ...]
    candidates: tuple[str, ...] | None
    repeated: int


def read_gene_sets(
    path: str | Path, *, genes: GeneMap | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[GeneSet, ...]:
    """Read a GMT file (plain, gzip or zstd).

    Parameters
    ----------
    genes
        Gene names to bring ids to; without it symbols stand for themselves.

    Raises
    ------
    InputError
        With its row: a line that is no set, a set without a name or a gene, a name that is there twice, an id that is
        no human gene.
    """
    heads: list[tuple[str, str, int]] = []
    ids: list[str] = []
    rows: list[int] = []
    ends: list[int] = []
    seen: dict[str, int] = {}
    for row, line in _lines(path, limits):
        name, *others = (cell.strip() for cell in line.split("\t"))
        members = [one for one in others[1:] if one]
        if not others:
            raise InputError(
                f"{name[:40]!r} is no gene set: a name, a description and genes are needed, parted by tabs",
                file=path,
                row=row,
            )
        if not name:
            raise InputError("a gene set without a name", file=path, row=row)
        if not members:
            raise InputError(f"the set {name!r} has no gene", file=path, row=row, hint="Remove the line")
        if name in seen:
            raise InputError(
                f"the set {name!r} was there in row {seen[name]} already", file=path, row=row, hint="Rename one of them"
            )
        seen[name] = row
        heads.append((name, others[0], row))
        ids += members
        rows += [row] * len(members)
        ends.append(len(ids))
    if not heads:
        raise InputError("holds no gene set", file=path)
    names = (genes or GeneMap()).canonical(ids, file=path, row_of=rows.__getitem__).names
    out, start = [], 0
    for (name, description, row), end in zip(heads, ends, strict=True):
        members = list(dict.fromkeys(one for one in names[start:end] if one is not None))
        if not members:
            raise InputError(f"no gene of the set {name!r} has a name", file=path, row=row, hint="Remove the line")
        out.append(GeneSet(name, description, tuple(members)))
        start = end
    return tuple(out)


def read_gene_list(path: str | Path, *, genes: GeneMap | None = None, limits: Limits = DEFAULT_LIMITS) -> GeneList:
    """Read a list of genes: one a line, or a table (TSV, CSV, Parquet) with a column of genes.

    Raises
    ------
    InputError
        No column of genes, a cell that does not say yes or no, an id that is no human gene, or no gene at all.
    """
    if file_kind(path, limits) == "parquet" or _is_table(path, limits):
        ids, rows, chosen = _from_table(path, limits)
    else:
        listed = list(_lines(path, limits, comment="#"))
        if listed and find_column([listed[0][1]], GENE_COLUMNS) is not None:
            listed = listed[1:]
        ids, rows, chosen = [line.strip() for _, line in listed], [row for row, _ in listed], None
    names = (genes or GeneMap()).canonical(ids, file=path, row_of=rows.__getitem__).names
    kept = [one for i, one in enumerate(names) if one is not None and (chosen is None or chosen[i])]
    if not kept:
        raise InputError("names no gene", file=path)
    listed_once = tuple(dict.fromkeys(kept))
    candidates = None if chosen is None else tuple(dict.fromkeys(one for one in names if one is not None))
    return GeneList(str(path), listed_once, candidates, len(kept) - len(listed_once))


def _lines(path: str | Path, limits: Limits, comment: str | None = None) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    with TextStream(path, limits) as stream:
        row = 0
        while (raw := stream.read_line()) is not None:
            row += 1
            line = raw.decode()
            if line.strip() and not (comment and line.startswith(comment)):
                yield row, line


def _is_table(path: str | Path, limits: Limits) -> bool:
    first = next(_lines(path, limits, comment="#"), None)
    return first is not None and any(mark in first[1] for mark in "\t,;")


def _from_table(path: str | Path, limits: Limits) -> tuple[list[str], Sequence[int], list[bool] | None]:
    """Ids, their rows, and which of them are the list where the table tells."""
    table = read_records_table(path, limits)
    column = find_column(table.names, GENE_COLUMNS)
    if column is None:
        raise InputError(
            f"a table of genes needs a column 'gene' or 'symbol'; it has {', '.join(table.names[:10])}", file=path
        )
    ids = [one or "" for one in table.strings(column)]
    rows = [table.row_of(i) for i in range(len(ids))]
    told = find_column(table.names, CHOSEN_COLUMNS)
    if told is None:
        return ids, rows, None
    chosen = []
    for i, word in enumerate(table.strings(told)):
        plain = (word or "").lower()
        if plain not in (*_YES, *_NO):
            raise InputError(
                f"{word!r} does not say whether the gene is of the list",
                file=path,
                row=rows[i],
                column=table.names[told],
                hint="Use true or false",
            )
        chosen.append(plain in _YES)
    return ids, rows, chosen
