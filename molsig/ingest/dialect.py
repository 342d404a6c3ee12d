"""How a text table is written: its delimiter, its header, its decimal mark, found from its first lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.opening import TextStream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molsig.ingest.limits import Limits

MISSING = ("", "NA", "N/A", "NaN", "nan", "na", "n/a", "NULL", "null", "#N/A")
"""Cells that stand for a value that was not measured."""

_SAMPLED_LINES = 50
_SAMPLED_BYTES = 1 << 23
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*|\s*[-+]?inf(inity)?\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written.

    Attributes
    ----------
    header
        Column names as they stand; the first is empty where R left out the name of the row names.
    first_line
        1-based line of the first record.
    sample
        Cells of the first records, to judge columns by.
    """

    delimiter: str
    quoted: bool
    decimal: str
    header: tuple[str, ...]
    first_line: int
    sample: tuple[tuple[str, ...], ...]

    @property
    def header_line(self) -> int:
        return self.first_line - 1


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number, with a decimal point or comma."""
    return _NUMBER.fullmatch(cell) is not None


def sniff(path: str | Path, limits: Limits, *, row_names: bool = False, comment: str = "#") -> Dialect:
    """Find the header and the delimiter from the first lines.

    Lines that start with `comment` above the header are skipped, unless the last of them is itself the header.
    With `row_names`, a header that is one name short gets an empty one in front, for so R writes row names. Double
    quotes wrap cells in comma and semicolon tables, and in tab tables whose header has them.

    Raises
    ------
    InputError
        No header, one column only, an unnamed or over-long column, more columns than the limit.
    """
    with TextStream(path, limits) as stream:
        lines = _first_lines(stream)
    skipped = 0
    while skipped < len(lines) and (not lines[skipped].strip() or lines[skipped].startswith(comment)):
        skipped += 1
    if skipped == len(lines):
        raise InputError("holds no header", file=path)
    if skipped > 0 and lines[skipped - 1].startswith(comment) and _is_header_of(lines[skipped - 1], lines[skipped]):
        skipped -= 1
        lines[skipped] = lines[skipped].removeprefix(comment)
    if lines[skipped].startswith("N_unmapped"):
        hint = "Put one above it, for instance: gene, the sample's id, and names for the other two columns"
        raise InputError("is STAR's ReadsPerGene without a header", file=path, row=skipped + 1, hint=hint)
    delimiter = _delimiter(lines[skipped], path, skipped + 1)
    quoted = delimiter != "\t" or '"' in lines[skipped]
    header = split_line(lines[skipped], delimiter, quoted)
    sample = [split_line(line, delimiter, quoted) for line in lines[skipped + 1 :] if line.strip()]
    if row_names and sample and all(len(row) == len(header) + 1 for row in sample[:5]):
        header = ["", *header]
    _check_header(header, path, skipped + 1, limits)
    comma = any(_DECIMAL_COMMA.fullmatch(cell) for row in sample for cell in row)
    point = any("." in cell and is_number(cell) for row in sample for cell in row)
    return Dialect(
        delimiter=delimiter,
        quoted=quoted,
        decimal="," if delimiter != "," and comma and not point else ".",
        header=tuple(header),
        first_line=skipped + 2,
        sample=tuple(tuple(row) for row in sample),
    )


def split_line(line: str, delimiter: str, quoted: bool) -> list[str]:
    """Split one line into cells, without complaint about a quote left open: `diagnose` finds those."""
    if not quoted or '"' not in line:
        return line.split(delimiter)
    cells: list[str] = []
    place = 0
    while True:
        if line.startswith('"', place):
            end = place + 1
            while (end := line.find('"', end)) >= 0 and line.startswith('""', end):
                end += 2
            if end < 0:
                cells.append(line[place + 1 :])
                return cells
            tail = line.find(delimiter, end)
            cells.append(line[place + 1 : end].replace('""', '"') + line[end + 1 : tail if tail >= 0 else None])
        else:
            tail = line.find(delimiter, place)
            cells.append(line[place : tail if tail >= 0 else None])
        if tail < 0:
            return cells
        place = tail + 1


def column_label(dialect: Dialect, position: int) -> str:
    """A column's name for messages; its number where it has no name."""
    return dialect.header[position] or f"number {position + 1}"


def _first_lines(stream: TextStream) -> list[str]:
    lines: list[str] = []
    size = 0
    past_comments = 0
    # cBioPortal and GDC files open with a few comment lines; a VCF-like preamble of thousands is not a table.
    while past_comments <= _SAMPLED_LINES and size < _SAMPLED_BYTES and len(lines) < 1000:
        line = stream.read_line()
        if line is None:
            break
        lines.append(line.decode("utf-8"))
        size += len(line)
        past_comments += not lines[-1].startswith("#")
    return lines


def _is_header_of(comment: str, line: str) -> bool:
    """Whether a line that looks like a comment is the header of the numeric line under it."""
    for delimiter in ("\t", ";", ","):
        names, cells = comment.split(delimiter), line.split(delimiter)
        if len(names) == len(cells) > 1:
            numbers = sum(is_number(cell) or cell in MISSING for cell in cells[1:])
            return numbers * 2 >= len(cells) - 1 and not any(is_number(name) for name in names[1:])
    return False


def _delimiter(header: str, path: str | Path, row: int) -> str:
    outside = re.sub(r'"[^"]*"', '""', header)
    for delimiter in ("\t", ";", ","):
        if delimiter in outside:
            return delimiter
    raise InputError(
        "the header has one column: no tab, semicolon or comma in it",
        file=path,
        row=row,
        hint="molsig reads tables delimited by tab, comma or semicolon",
    )


def _check_header(header: Sequence[str], path: str | Path, row: int, limits: Limits) -> None:
    if len(header) > limits.max_columns:
        limits.check_shape(0, len(header), path)
    for position, name in enumerate(header):
        if len(name) > min(limits.max_cell_chars, 10_000):
            raise InputError(f"column {position + 1} has a name of {len(name):,} characters", file=path, row=row)
        if position and not name.strip():
            raise InputError(
                f"column {position + 1} has no name", file=path, row=row, hint="Name it, or remove the empty column"
            )
    if len(header) > 2 and all(is_number(name) and not name.strip().isdigit() for name in header[1:]):
        raise InputError("the first line holds numbers, not column names", file=path, row=row, hint="Add a header")
