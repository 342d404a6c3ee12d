"""A measured table before it is known which way round it lies: its text, its numbers, and places for messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import InputError
from molsig.ingest.delimited import NotNumericError, line_of, read_columns
from molsig.ingest.dialect import MISSING, is_number, sniff
from molsig.ingest.genes import ENSEMBL_COLUMNS, ENTREZ_COLUMNS, SYMBOL_COLUMNS
from molsig.ingest.parquet import read_parquet_batches
from molsig.ingest.samples import KIND_COLUMNS, PATIENT_COLUMNS, SAMPLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.ingest.dialect import Dialect
    from molsig.ingest.limits import Limits
    from molsig.types import Progress

FEATURE_COLUMNS = (
    *ENSEMBL_COLUMNS,
    *SYMBOL_COLUMNS,
    "feature",
    "feature_id",
    "name",
    "mirna",
    "mirna_id",
    "gene_symbols",
    "probe",
    "genes",
)
_ID_NAMES = frozenset(SAMPLE_COLUMNS + PATIENT_COLUMNS + KIND_COLUMNS + FEATURE_COLUMNS + ENTREZ_COLUMNS) | {
    *("", "__index_level_0__", "index", "unnamed:_0"),
    *("chr", "chrom", "chromosome", "start", "end", "strand"),
}
_BLOCK_COLUMNS = 256


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as it stands in its file.

    Attributes
    ----------
    names
        All column names.
    texts
        Position -> cells of a text column, missing ones as None.
    numbers
        Positions of the numeric columns; `data` holds them in this order as float32.
    row_of
        Gives the row of the file that the i-th record starts in.
    header_row
        Row of the column names.
    """

    file: str | Path
    names: tuple[str, ...]
    texts: dict[int, list[str | None]]
    numbers: tuple[int, ...]
    data: pa.Table
    rows: int
    row_of: Callable[[int], int]
    header_row: int | None

    def matrix(self, positions: Sequence[int], *, transposed: bool) -> NDArray[np.float32]:
        """Numeric columns as a C-ordered float32 array, missing as NaN: rows by columns, or the other way round."""
        order = {position: i for i, position in enumerate(self.numbers)}
        shape = (len(positions), self.rows) if transposed else (self.rows, len(positions))
        values = np.empty(shape, dtype=np.float32)
        for start in range(0, len(positions), _BLOCK_COLUMNS):
            chosen = positions[start : start + _BLOCK_COLUMNS]
            columns = [_as_float(self.data.column(order[position])) for position in chosen]
            if transposed:
                for i, column in enumerate(columns):
                    values[start + i] = column
            else:
                values[:, start : start + len(chosen)] = np.column_stack(columns)
        return values


def read_text_grid(path: str | Path, limits: Limits, *, progress: Progress) -> Grid:
    """Read TSV or CSV; columns whose cells are mostly no numbers are text.

    Raises
    ------
    InputError
        See `molsig.ingest.delimited.read_columns`.
    """
    dialect = sniff(path, limits, row_names=True)
    return read_dialect_grid(path, dialect, limits, progress=progress)


def read_dialect_grid(path: str | Path, dialect: Dialect, limits: Limits, *, progress: Progress) -> Grid:
    """Read a text table whose header and delimiter are known."""
    text = _text_positions(dialect)
    other_mark = dialect.delimiter != ","
    while True:
        types = {
            position: pa.large_string() if position in text else pa.float32() for position in range(len(dialect.header))
        }
        try:
            table = read_columns(path, dialect, types, limits, progress=progress)
            break
        except NotNumericError as error:
            if _is_mostly_text(path, dialect, error.position, limits):
                text.add(error.position)
            elif other_mark and error.other_mark:
                # The first rows held whole numbers only, so that the decimal mark was a guess.
                other_mark = False
                dialect = replace(dialect, decimal="." if dialect.decimal == "," else ",")
            else:
                raise
    numbers = tuple(position for position in range(len(dialect.header)) if position not in text)
    return Grid(
        file=path,
        names=tuple(name.strip() for name in dialect.header),
        texts={position: _one_line(_as_text(table.column(str(position))), path, dialect) for position in sorted(text)},
        numbers=numbers,
        data=table.select([str(position) for position in numbers]),
        rows=_some(table.num_rows, path),
        row_of=partial(_line, path, dialect, limits),
        header_row=dialect.header_line,
    )


def read_parquet_grid(path: str | Path, limits: Limits) -> Grid:
    """Read Parquet: string columns are text, numeric and boolean-free columns are numbers.

    Raises
    ------
    InputError
        Damaged, over the limits, or a column of a type that is neither text nor number.
    """
    schema, rows, batches = read_parquet_batches(path, limits)
    text: list[int] = []
    numbers: list[int] = []
    for position, one in enumerate(schema):
        kind = one.type.value_type if pa.types.is_dictionary(one.type) else one.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
            text.append(position)
        elif pa.types.is_null(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
            (text if _plain(one.name) in _ID_NAMES else numbers).append(position)
        elif pa.types.is_decimal(kind):
            numbers.append(position)
        elif pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
            text.append(position)
        else:
            raise InputError(
                f"the column holds {one.type}, neither numbers nor text",
                file=path,
                column=one.name,
                hint="Ready vectors are read with modality and --vectors, not as an expression matrix",
            )
    measured: list[pa.RecordBatch] = []
    texts: dict[int, list[str | None]] = {position: [] for position in text}
    fields = pa.schema([(str(position), pa.float32()) for position in numbers])
    for batch in batches:
        columns = [_cast(batch.column(position), pa.float32()) for position in numbers]
        measured.append(pa.RecordBatch.from_arrays(columns, schema=fields))
        for position in text:
            texts[position] += _as_text(_cast(batch.column(position), pa.large_string()))
    return Grid(
        file=path,
        names=tuple(schema.names),
        texts=texts,
        numbers=tuple(numbers),
        data=pa.Table.from_batches(measured, fields),
        rows=_some(rows, path),
        row_of=(1).__add__,
        header_row=None,
    )


def _text_positions(dialect: Dialect) -> set[int]:
    text = set()
    for position, name in enumerate(dialect.header):
        # A sample may well be called "case": only the first columns can be ids by their name alone.
        if position < 8 and _plain(name) in _ID_NAMES:
            text.add(position)
            continue
        cells = [row[position] for row in dialect.sample if position < len(row) and row[position] not in MISSING]
        if sum(not is_number(cell) for cell in cells) * 2 > len(cells):
            text.add(position)
    return text


def _is_mostly_text(path: str | Path, dialect: Dialect, position: int, limits: Limits) -> bool:
    column = read_columns(path, dialect, {position: pa.large_string()}, limits).column(str(position))
    known = column.filter(pc.invert(pc.is_in(column, pa.array(MISSING, pa.large_string()))))
    numeric = pc.match_substring_regex(known, r"^\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*$")
    return bool(pc.sum(numeric).as_py() * 2 < len(known))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(kind, safe=False)


def _as_text(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    texts = pc.utf8_trim_whitespace(column).to_pylist()
    return [None if text is None or text in MISSING else text for text in texts]


def _one_line(cells: list[str | None], path: str | Path, dialect: Dialect) -> list[str | None]:
    for i, cell in enumerate(cells):
        if cell is not None and "\n" in cell:
            raise InputError(
                "a cell goes over several lines", file=path, row=dialect.first_line + i, hint="Look for a stray quote"
            )
    return cells


def _as_float(column: pa.ChunkedArray) -> NDArray[np.float32]:
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    return np.asarray(column.to_numpy(), dtype=np.float32)


def _some(rows: int, path: str | Path) -> int:
    if rows == 0:
        raise InputError("holds a header and no rows", file=path)
    return rows


def _line(path: str | Path, dialect: Dialect, limits: Limits, record: int) -> int:
    return line_of(path, dialect, record, limits)
