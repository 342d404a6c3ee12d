"""Gene names: symbols, ``SYMBOL|entrez``, Entrez and Ensembl ids, all brought to one canonical name."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.samples import find_column
from molsig.ingest.spreadsheet import RENAMED, gene_of_date, genes_of_serial
from molsig.ingest.tables import read_records_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from molsig.ingest.limits import Limits

ENSEMBL_COLUMNS = ("ensembl", "ensembl_gene_id", "ensembl_id", "ensembl_gene", "gene_id", "geneid")
SYMBOL_COLUMNS = ("symbol", "hugo_symbol", "gene_symbol", "hgnc_symbol", "gene_name", "external_gene_name", "gene")
ENTREZ_COLUMNS = ("entrez", "entrez_id", "entrez_gene_id", "entrezgene_id", "entrezgene", "ncbi_gene_id")

_ENSEMBL = re.compile(r"(ENSG\d{11})(\.\d+)?(_PAR_Y)?([|_;,: ].*)?")
_OTHER_ENSEMBL = re.compile(r"ENS([A-Z]{3,4})?(G|T|P|E)\d{11}(\.\d+)?")
_WITH_ENTREZ = re.compile(r"([^|]*)\|(\d+)")
_ENTREZ = re.compile(r"(?:entrez[:_ ]?)?(\d{1,9})", re.IGNORECASE)
_UNKNOWN = ("", "?", "NA", "N/A", "nan", "NaN", "null", ".", "-", "Unknown", "unknown")


@dataclass(frozen=True, slots=True)
class Named:
    """Canonical names of the genes of a file, in its order; None where a row names no gene.

    Attributes
    ----------
    id_type
        ``symbol``, ``symbol|entrez``, ``ensembl``, ``ensembl.version`` or ``entrez``: what most ids are.
    dates
        Names that a spreadsheet had turned into dates and that could be read right: (position, as found, gene).
    """

    names: tuple[str | None, ...]
    id_type: str
    dates: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True)
class GeneMap:
    """Ensembl ids, symbols and Entrez ids of the same genes.

    The canonical name of a gene is its symbol where that is known, else its Ensembl id without version, else
    ``entrez:NNN``. Without any entries, symbols stand for themselves.

    Attributes
    ----------
    table
        Arrow table with the string columns ``ensembl``, ``symbol``, ``entrez``, null where not known.
    """

    table: pa.Table = field(
        default_factory=lambda: pa.table({n: pa.array([], pa.string()) for n in ("ensembl", "symbol", "entrez")})
    )

    @classmethod
    def from_table(cls, table: pa.Table) -> GeneMap:
        """Build the map from an Arrow table with columns ensembl and symbol, and entrez if known.

        Raises
        ------
        InputError
            A column is missing.
        """
        columns = {}
        for name in ("ensembl", "symbol", "entrez"):
            if name in table.column_names:
                text = pc.utf8_trim_whitespace(pc.cast(table.column(name), pa.string()))
                columns[name] = pc.if_else(pc.is_in(text, pa.array(["", "NA", "nan"])), None, text)
            elif name == "entrez":
                columns[name] = pa.nulls(table.num_rows, pa.string())
            else:
                raise InputError(f"a gene table needs the columns 'ensembl' and 'symbol'; {name!r} is missing")
        columns["ensembl"] = pc.replace_substring_regex(columns["ensembl"], r"\.\d+(_PAR_Y)?$", "")
        return cls(pa.table(columns))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Every symbol of the map."""
        return frozenset(self.table.column("symbol").drop_null().to_pylist())

    @cached_property
    def _by_ensembl(self) -> dict[str, str]:
        return self._pairs("ensembl")

    @cached_property
    def _by_entrez(self) -> dict[str, str]:
        return self._pairs("entrez")

    @cached_property
    def _by_capitals(self) -> dict[str, str]:
        """C1ORF112 -> C1orf112, where exactly one symbol reads so in capitals."""
        mixed = [symbol for symbol in self.symbols if symbol != symbol.upper()]
        times = Counter(map(str.upper, mixed))
        return {symbol.upper(): symbol for symbol in mixed if times[symbol.upper()] == 1}

    def _pairs(self, key: str) -> dict[str, str]:
        both = zip(self.table.column(key).to_pylist(), self.table.column("symbol").to_pylist(), strict=True)
        return {one: symbol for one, symbol in both if one and symbol}

    def symbol(self, name: str) -> str:
        """The present symbol for a symbol as found in a file."""
        if name in self.symbols:
            return name
        renamed = RENAMED.get(name)
        if renamed is not None and (not self.symbols or renamed in self.symbols):
            return renamed
        return self._by_capitals.get(name, name)

    def recognises(self, name: str) -> bool:
        """Whether an id is surely a gene: by its form, or because the map holds it."""
        return (
            _ENSEMBL.fullmatch(name) is not None
            or _WITH_ENTREZ.fullmatch(name) is not None
            or name in self.symbols
            or name in self._by_capitals
        )

    def canonical(
        self, ids: Sequence[str], *, file: str | Path, row_of: Callable[[int], int | None], as_column: bool = False
    ) -> Named:
        """Name the genes of a file.

        Parameters
        ----------
        row_of
            Gives the row that the i-th id stands in.
        as_column
            Whether the ids are column names, so that messages name the column.

        Raises
        ------
        InputError
            A date that could have been several genes, a spreadsheet error, transcript or non-human ids.
        """
        kinds: Counter[str] = Counter()
        names: list[str | None] = []
        dates: list[tuple[int, str, str]] = []
        serials: list[tuple[int, str, tuple[str, ...]]] = []
        for i, raw in enumerate(ids):
            one = raw.strip()
            name, kind = self._name(one)
            if kind == "date":
                genes = gene_of_date(one) or ()
                if len(genes) != 1:
                    raise _date_error(one, genes, file, row_of(i), one if as_column else None)
                name = self.symbol(genes[0])
                dates.append((i, one, name))
            elif kind == "wrong":
                raise InputError(
                    f"{one!r} is not a human gene id",
                    file=file,
                    row=row_of(i),
                    column=one if as_column else None,
                    hint="molsig compares human genes: summarise transcripts to genes, map other species to human",
                )
            elif kind == "entrez" and (days := genes_of_serial(one)) is not None:
                serials.append((i, one, days))
            kinds[kind] += 1
            names.append(name)
        if serials and kinds["entrez"] - len(serials) < 0.5 * len(ids):
            i, one, days = serials[0]
            raise _date_error(one, days, file, row_of(i), one if as_column else None)
        kinds.pop("none", None)
        kinds.pop("date", None)
        return Named(tuple(names), max(kinds, key=kinds.__getitem__, default="symbol"), tuple(dates))

    def _name(self, one: str) -> tuple[str | None, str]:
        if one.startswith("ENS"):
            if match := _ENSEMBL.fullmatch(one):
                return self._by_ensembl.get(match[1], match[1]), "ensembl.version" if match[2] else "ensembl"
            if _OTHER_ENSEMBL.fullmatch(one):
                return None, "wrong"
        if match := _WITH_ENTREZ.fullmatch(one):
            return self._with_entrez(match[1].strip(), match[2]), "symbol|entrez"
        if one in _UNKNOWN:
            return None, "none"
        if match := _ENTREZ.fullmatch(one):
            return self._by_entrez.get(match[1], f"entrez:{match[1]}"), "entrez"
        if (one[0].isdigit() or "-" in one or one[-1].isdigit() or one[0] == "#") and one not in self.symbols:
            dated = gene_of_date(one)
            if dated is not None:
                return None, "date"
        return self.symbol(one), "symbol"

    def _with_entrez(self, symbol: str, entrez: str) -> str:
        known = self._by_entrez.get(entrez)
        if known is not None:
            return known
        if symbol in _UNKNOWN or gene_of_date(symbol) is not None:
            return f"entrez:{entrez}"
        return self.symbol(symbol)


def read_gene_map(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> GeneMap:
    """Read a table of genes (TSV, CSV, Parquet): Ensembl ids, symbols, and Entrez ids if it has them.

    Columns are known by their usual names: ``ensembl_gene_id``, ``symbol``, ``hgnc_symbol``, ``gene_name``,
    ``entrez_id`` and the like.

    Raises
    ------
    InputError
        It has no column of Ensembl ids or of symbols, or one id stands for two symbols.
    """
    table = read_records_table(path, limits)
    columns: dict[str, pa.Array] = {}
    for name, wanted in (("ensembl", ENSEMBL_COLUMNS), ("symbol", SYMBOL_COLUMNS), ("entrez", ENTREZ_COLUMNS)):
        position = find_column(table.names, wanted)
        if position is not None:
            columns[name] = pa.array(table.strings(position), pa.string())
        elif name != "entrez":
            raise InputError(
                f"a gene table needs a column of {'Ensembl ids' if name == 'ensembl' else 'symbols'}, for instance "
                f"{wanted[0]!r} or {wanted[1]!r}; it has {', '.join(table.names[:10])}",
                file=path,
            )
    genes = GeneMap.from_table(pa.table(columns))
    for key in ("ensembl", "entrez"):
        _check_unique(genes.table, key, path, table.row_of)
    return genes


def _check_unique(table: pa.Table, key: str, path: str | Path, row_of: Callable[[int], int]) -> None:
    seen: Mapping[str, str] = {}
    pairs = zip(table.column(key).to_pylist(), table.column("symbol").to_pylist(), strict=True)
    seen = {}
    for i, (one, symbol) in enumerate(pairs):
        if one and symbol and seen.setdefault(one, symbol) != symbol:
            raise InputError(f"{one} is {seen[one]!r} above and {symbol!r} here", file=path, row=row_of(i))


def _date_error(
    found: str, genes: tuple[str, ...], file: str | Path, row: int | None, column: str | None
) -> InputError:
    meant = f"it was probably {' or '.join(genes)}" if genes else "which gene it was cannot be told"
    return InputError(
        f"gene name {found!r} is what a spreadsheet makes of a gene; {meant}",
        file=file,
        row=row,
        column=column,
        hint="Put the gene's name back, and import gene columns into spreadsheets as text",
    )
