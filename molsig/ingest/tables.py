"""Small tables with one record a row (patients, samples, genes, ids, reports): text or Parquet, columns as Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import InputError
from molsig.ingest.delimited import line_of, read_columns
from molsig.ingest.dialect import MISSING, sniff
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import file_kind
from molsig.ingest.parquet import read_parquet_batches
from molsig.ingest.samples import (
    KIND_COLUMNS,
    PATIENT_COLUMNS,
    SAMPLE_COLUMNS,
    SampleTable,
    find_column,
    parse_barcode,
    parse_kind,
)
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.ingest.dialect import Dialect
    from molsig.ingest.limits import Limits
    from molsig.types import Progress, SampleKind


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A table as it stands in its file.

    Attributes
    ----------
    data
        One column per name; strings where the file is text, its own types where it is Parquet.
    row_of
        Gives the row of the file that the i-th record starts in.
    """

    file: str | Path
    names: tuple[str, ...]
    data: pa.Table
    is_text: bool
    decimal: str
    row_of: Callable[[int], int]

    def strings(self, position: int) -> list[str | None]:
        """A column as text without blanks around it; missing cells as None."""
        column = self.data.column(position)
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            raise InputError(
                f"the column holds {column.type}, and text is needed", file=self.file, column=self.names[position]
            )
        texts = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string())).to_pylist()
        return [None if text is None or text in MISSING else text for text in texts]


def read_records_table(
    path: str | Path, limits: Limits = DEFAULT_LIMITS, *, comment: str = "#", progress: Progress = silent
) -> RecordTable:
    """Read a TSV, CSV or Parquet table whole.

    Raises
    ------
    InputError
        The file is not such a table, is damaged, has unnamed or repeated columns, or no rows.
    """
    if file_kind(path, limits) == "parquet":
        schema, rows, batches = read_parquet_batches(path, limits)
        names = tuple(schema.names)
        table = pa.Table.from_batches(batches, schema)
        row_of: Callable[[int], int] = (1).__add__
        is_text, decimal = False, "."
    else:
        dialect = sniff(path, limits, comment=comment)
        names = tuple(name.strip() for name in dialect.header)
        types = dict.fromkeys(range(len(names)), pa.large_string())
        table = read_columns(path, dialect, types, limits, multiline=True, progress=progress)
        rows = table.num_rows
        row_of = partial(_line, path, dialect, limits)
        is_text, decimal = True, dialect.decimal
    if rows == 0:
        raise InputError("holds a header and no rows", file=path)
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not name:
            raise InputError(f"column {position + 1} has no name", file=path, hint="Name it, or remove it")
        if name in seen:
            raise InputError("there are two columns of this name", file=path, column=name, hint="Rename one of them")
        seen.add(name)
    return RecordTable(path, names, table, is_text, decimal, row_of)


def read_sample_table(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> SampleTable:
    """Read a table of samples: columns ``sample``, ``patient`` and, if wanted, ``kind``.

    Raises
    ------
    InputError
        A column is missing, an id is empty, a kind is not known, or a sample is there twice with different entries.
    """
    table = read_records_table(path, limits)
    sample = find_column(table.names, SAMPLE_COLUMNS)
    patient = find_column(table.names, PATIENT_COLUMNS)
    if sample is None or patient is None:
        raise InputError(
            f"a sample table needs the columns 'sample' and 'patient'; it has {', '.join(table.names[:10])}",
            file=path,
        )
    kind = find_column(table.names, KIND_COLUMNS)
    patients = table.strings(patient)
    kinds = table.strings(kind) if kind is not None else [None] * len(patients)
    rows: dict[str, tuple[str, SampleKind | None]] = {}
    for i, (one, owner, word) in enumerate(zip(table.strings(sample), patients, kinds, strict=True)):
        if one is None or owner is None:
            problem = "a sample without an id" if one is None else f"sample {one!r} without a patient"
            raise InputError(problem, file=path, row=table.row_of(i))
        parsed = None if word is None else parse_kind(word)
        if word is not None and parsed is None:
            raise InputError(
                f"{word!r} is no kind of sample",
                file=path,
                row=table.row_of(i),
                hint="Use tumour, normal, metastasis, recurrence or other",
            )
        barcode = parse_barcode(owner)
        entry = (owner if barcode is None else barcode.patient, parsed)
        if rows.setdefault(one, entry) != entry:
            raise InputError(f"sample {one!r} is there twice with different entries", file=path, row=table.row_of(i))
    return SampleTable(str(path), rows)


def _line(path: str | Path, dialect: Dialect, limits: Limits, record: int) -> int:
    return line_of(path, dialect, record, limits)
