"""Report texts as tables and JSON lines hold them: one row each, with whose it is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.opening import TextStream, file_kind
from molsig.ingest.samples import PATIENT_COLUMNS, SAMPLE_COLUMNS, find_column
from molsig.ingest.tables import read_records_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.types import Progress

TEXT_COLUMNS = ("text", "report", "report_text", "pathology_report", "path_report", "content", "body", "note")

ReportRow = tuple[int, str | None, str | None, str | None]
"""Row of the file, sample, patient, text."""


def read_table(
    path: str | Path, text_column: str | None, limits: Limits, progress: Progress
) -> tuple[Iterator[ReportRow], Callable[[int], int]]:
    """Read a CSV, TSV or Parquet table; also gives the row in the file of each record."""
    table = read_records_table(path, limits, comment="\0", progress=progress)
    sample, patient = find_column(table.names, SAMPLE_COLUMNS), find_column(table.names, PATIENT_COLUMNS)
    if sample is None and patient is None:
        sample = find_column(table.names, ("patient_filename", "filename", "file_name"))
    if sample is None and patient is None:
        raise InputError(
            f"no column names the patient or the sample; the columns are {', '.join(table.names[:12])}", file=path
        )
    text = _text_position(table.names, text_column, path)
    nothing: list[str | None] = [None] * table.data.num_rows
    rows = zip(
        range(table.data.num_rows),
        nothing if sample is None else table.strings(sample),
        nothing if patient is None else table.strings(patient),
        table.strings(text),
        strict=True,
    )
    return rows, table.row_of


def _text_position(names: tuple[str, ...], text_column: str | None, path: str | Path) -> int:
    if text_column is not None:
        if text_column in names:
            return names.index(text_column)
        raise InputError(f"there is no column {text_column!r}; the columns are {', '.join(names[:12])}", file=path)
    position = find_column(names, TEXT_COLUMNS)
    if position is None:
        raise InputError(
            f"no column holds the text; the columns are {', '.join(names[:12])}",
            file=path,
            hint="Call it 'text', or say which column it is",
        )
    return position


def is_json(path: str | Path, limits: Limits) -> bool:
    """Whether a text file starts as JSON does."""
    if file_kind(path, limits) == "parquet":
        return False
    with TextStream(path, limits) as stream:
        return stream.read(64).lstrip().startswith((b"{", b"["))


def read_json_lines(
    path: str | Path, text_column: str | None, limits: Limits, progress: Progress
) -> Iterator[ReportRow]:
    """Read one JSON object a line."""
    number = 0
    with TextStream(path, limits, step=f"read {os.path.basename(path)}", progress=progress) as stream:  # noqa: PTH119
        while (line := stream.read_line()) is not None:
            number += 1
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"the line is not JSON ({error})",
                    file=path,
                    row=number,
                    hint="Write one object a line (JSON lines)",
                ) from None
            if not isinstance(entry, dict):
                raise InputError("the line is not a JSON object", file=path, row=number)
            names = tuple(entry)
            sample, patient = find_column(names, SAMPLE_COLUMNS), find_column(names, PATIENT_COLUMNS)
            text = entry[names[_text_key(names, text_column, path, number)]]
            yield (
                number,
                _string(None if sample is None else entry[names[sample]], path, number),
                _string(None if patient is None else entry[names[patient]], path, number),
                _string(text, path, number),
            )


def _text_key(names: tuple[str, ...], text_column: str | None, path: str | Path, row: int) -> int:
    try:
        return _text_position(names, text_column, path)
    except InputError as error:
        raise InputError(error.problem, file=path, row=row, hint=error.hint) from None


def _string(value: object, path: str | Path, row: int) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"a {type(value).__name__} where text is needed", file=path, row=row)
