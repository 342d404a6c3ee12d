"""Delimited text as Arrow columns, and the place of whatever is wrong in it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv

from molsig.errors import InputError
from molsig.ingest.dialect import MISSING, column_label, is_number
from molsig.ingest.limits import MAX_LINE_BYTES
from molsig.ingest.opening import TextStream
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from molsig.ingest.dialect import Dialect
    from molsig.ingest.limits import Limits
    from molsig.types import Progress


_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon"}


def read_columns(
    path: str | Path,
    dialect: Dialect,
    types: Mapping[int, pa.DataType],
    limits: Limits,
    *,
    multiline: bool = False,
    progress: Progress = silent,
) -> pa.Table:
    """Read the columns named in `types` (position -> Arrow type) in one parallel pass; they come named by position.

    Missing cells are null in numeric columns and stay text in string columns. Blank lines are skipped.

    Raises
    ------
    InputError
        With row and column: a row of another length, a cell that is no number, an open quote, an over-long cell.
    NotNumericError
        The same for a cell that is no number, so that a caller may take its column for text instead.
    """
    width = len(dialect.header)
    step = f"read {_name(path)}"
    with TextStream(path, limits, step=step, progress=progress) as stream:
        for _ in range(dialect.header_line):
            stream.read_line()
        try:
            table = pa_csv.read_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pa_csv.ReadOptions(
                    column_names=[str(position) for position in range(width)],
                    block_size=_block_size(dialect, multiline),
                ),
                parse_options=_parse_options(dialect, multiline),
                convert_options=_convert_options(dialect, types),
            )
        except pa.ArrowInvalid as error:
            _explain(path, dialect, types, limits, error)
        quotes = stream.quotes
    limits.check_shape(table.num_rows, width, path)
    if multiline and dialect.quoted and quotes:
        _check_quotes(path, dialect, table.num_rows, limits)
    for position, kind in types.items():
        if not pa.types.is_floating(kind):
            _check_cells(table.column(str(position)), path, dialect, position, limits)
    return table


def stream_columns(
    path: str | Path,
    dialect: Dialect,
    types: Mapping[int, pa.DataType],
    limits: Limits,
    *,
    progress: Progress = silent,
) -> Iterator[pa.RecordBatch]:
    """Like `read_columns` for one-line records, in batches, so that memory does not grow with the file."""
    width = len(dialect.header)
    with TextStream(path, limits, step=f"read {_name(path)}", progress=progress) as stream:
        for _ in range(dialect.header_line):
            stream.read_line()
        rows = 0
        try:
            reader = pa_csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pa_csv.ReadOptions(
                    column_names=[str(position) for position in range(width)], block_size=_block_size(dialect, False)
                ),
                parse_options=_parse_options(dialect, multiline=False),
                convert_options=_convert_options(dialect, types),
            )
            for batch in reader:
                rows += batch.num_rows
                if rows > limits.max_rows:
                    limits.check_shape(rows, width, path)
                yield batch
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                _explain(path, dialect, types, limits, error)


_OPEN_QUOTE = 'Look for a quote that is not closed; inside quotes, write "" for "'


class NotNumericError(InputError):
    """A cell of a numeric column is no number.

    `position` is the column; `other_mark` says that the cell is a number with the other decimal mark.
    """

    def __init__(
        self, problem: str, *, position: int, other_mark: bool, file: str | Path, row: int, column: str, hint: str
    ) -> None:
        super().__init__(problem, file=file, row=row, column=column, hint=hint)
        self.position = position
        self.other_mark = other_mark


def records(path: str | Path, dialect: Dialect, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    """Go through the records one by one as (line, cells): slow and exact, to find places with.

    Raises
    ------
    InputError
        A quote is left open, or a cell is over `limits.max_cell_chars`.
    """
    with TextStream(path, limits) as stream:
        for _ in range(dialect.header_line):
            stream.read_line()
        text = io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), encoding="utf-8", newline="\n")
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
        reader = csv.reader(text, delimiter=dialect.delimiter, quoting=quoting, strict=True)
        before = csv.field_size_limit(limits.max_cell_chars)
        try:
            while True:
                line = dialect.header_line + reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise _csv_error(error, path, line, limits) from None
                if cells:
                    yield line, cells
        finally:
            csv.field_size_limit(before)


def line_of(path: str | Path, dialect: Dialect, record: int, limits: Limits) -> int:
    """The 1-based line at which the 0-based `record` starts."""
    for number, (line, _) in enumerate(records(path, dialect, limits)):
        if number == record:
            return line
    return dialect.first_line + record


def _block_size(dialect: Dialect, multiline: bool) -> int:
    # A block has to hold a whole record. Blocks of few records make chunks that cost more than the values in them.
    widest = max(sum(map(len, row)) + len(row) for row in (dialect.header, *dialect.sample))
    floor = 1 << 24 if multiline else 1 << 22
    return max(4 * widest, min(max(floor, 256 * widest), MAX_LINE_BYTES))


def _parse_options(dialect: Dialect, multiline: bool) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char='"' if dialect.quoted else False,
        newlines_in_values=multiline and dialect.quoted,
    )


def _convert_options(dialect: Dialect, types: Mapping[int, pa.DataType]) -> pa_csv.ConvertOptions:
    return pa_csv.ConvertOptions(
        check_utf8=False,  # TextStream has decoded every byte
        column_types={str(position): kind for position, kind in types.items()},
        include_columns=[str(position) for position in types],
        null_values=list(MISSING),
        strings_can_be_null=False,
        decimal_point=dialect.decimal,
    )


def _explain(
    path: str | Path, dialect: Dialect, types: Mapping[int, pa.DataType], limits: Limits, error: pa.ArrowInvalid
) -> None:
    """Find what Arrow stumbled over by reading the file again slowly, and raise it with its place."""
    width = len(dialect.header)
    numeric = [position for position, kind in types.items() if pa.types.is_floating(kind)]
    seen = 0
    for line, cells in records(path, dialect, limits):
        seen += 1
        if len(cells) != width:
            raise InputError(
                f"{len(cells):,} cells, and the header has {width:,}",
                file=path,
                row=line,
                hint="Every row needs as many cells as the header: look for a missing or an extra "
                + _NAMES[dialect.delimiter],
            ) from None
        for position in numeric:
            cell = cells[position]
            if cell not in MISSING and not _reads_as(cell, dialect.decimal):
                raise not_numeric(path, dialect, line, position, cell) from None
    if seen == 0:
        raise InputError("holds a header and no rows", file=path) from None
    raise InputError(f"cannot be read as a table ({error})", file=path) from None


def _check_quotes(path: str | Path, dialect: Dialect, rows: int, limits: Limits) -> None:
    """Go over a table with line breaks in its cells a second time: Arrow takes a quote left open for a long cell."""
    found = 0
    for line, cells in records(path, dialect, limits):
        found += 1
        if len(cells) != len(dialect.header):
            raise InputError(
                f"{len(cells):,} cells, and the header has {len(dialect.header):,}",
                file=path,
                row=line,
                hint=_OPEN_QUOTE,
            )
    if found != rows:
        raise InputError(f"{found:,} records, or {rows:,} read otherwise", file=path, hint=_OPEN_QUOTE)


def not_numeric(path: str | Path, dialect: Dialect, line: int, position: int, cell: str) -> NotNumericError:
    """The error for a cell that should be a number."""
    hint = "Put a number there, or leave it empty if it was not measured"
    if "," in cell and is_number(cell.replace(",", "")):
        hint = "Write numbers without thousands separators, all with a decimal point or all with a decimal comma"
    shown = cell if len(cell) <= 40 else cell[:40] + "..."
    return NotNumericError(
        f"{shown!r} is not a number",
        position=position,
        other_mark=is_number(cell),
        file=path,
        row=line,
        column=column_label(dialect, position),
        hint=hint,
    )


def _reads_as(cell: str, decimal: str) -> bool:
    if not is_number(cell):
        return False
    return decimal == "," or "," not in cell if decimal == "." else "." not in cell


def _check_cells(column: pa.ChunkedArray, path: str | Path, dialect: Dialect, position: int, limits: Limits) -> None:
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return
    lengths = pc.binary_length(column)
    longest = pc.max(lengths).as_py()
    if longest is not None and longest > limits.max_cell_chars:
        record = pc.index(lengths, longest).as_py()
        raise InputError(
            f"a cell of {longest:,} bytes, more than the limit of {limits.max_cell_chars:,}",
            file=path,
            row=dialect.first_line + record,
            column=column_label(dialect, position),
        )


def _csv_error(error: csv.Error, path: str | Path, line: int, limits: Limits) -> InputError:
    text = str(error)
    if "field larger" in text:
        return InputError(f"a cell longer than the limit of {limits.max_cell_chars:,} characters", file=path, row=line)
    if "unexpected end of data" in text:
        return InputError(
            "a quote opened here is never closed", file=path, row=line, hint='Close it, or write "" for "'
        )
    return InputError(f"not a proper row ({text})", file=path, row=line, hint='Inside quotes, write "" for "')


def _name(path: str | Path) -> str:
    return str(path).rpartition("/")[2]
