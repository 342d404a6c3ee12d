"""Patient tables: one row per patient, any columns, types found out, missing kept missing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.samples import PATIENT_COLUMNS, find_column, parse_barcode
from molsig.ingest.tables import read_records_table
from molsig.types import ContractReport, PatientTable, silent

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.ingest.limits import Limits
    from molsig.ingest.tables import RecordTable
    from molsig.types import Progress

MISSING_WORDS = (
    *("", "na", "n/a", "#n/a", "nan", "null", "'--", "not reported"),
    *("[not available]", "[not applicable]", "[unknown]", "[not evaluated]", "[discrepancy]", "[completed]"),
)
"""Cells of a patient table that mean missing, whatever their case."""

_INTEGER = r"^[-+]?(0|[1-9]\d{0,17})$"
_FLOAT = r"^[-+]?((0|[1-9]\d{0,17})(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"


def read_patients(
    path: str | Path, *, key: str | None = None, limits: Limits = DEFAULT_LIMITS, progress: Progress = silent
) -> PatientTable:
    """Read a table of patients: TSV, CSV (plain, gzip or zstd) or Parquet.

    Columns of text are typed: integer, float, boolean (true, false), date (YYYY-MM-DD), else text. Numbers with leading
    zeros are ids and stay text. The words of `MISSING_WORDS` become null.

    Parameters
    ----------
    key
        Column of patient ids; by default the first of ``patient``, ``bcr_patient_barcode``, ``case_id`` ... there is.

    Returns
    -------
    PatientTable
        With the string column ``patient`` first. Rows of one patient that do not contradict each other are merged.

    Raises
    ------
    InputError
        No such column, a row without a patient, two column names that differ in case only, or rows of one patient that
        contradict each other.
    """
    records = read_records_table(path, limits, progress=progress)
    position = _key(records, key)
    _check_names(records, position)
    patients: list[str] = []
    for i, one in enumerate(records.strings(position)):
        if one is None:
            raise InputError(
                "a row without a patient", file=path, row=records.row_of(i), column=records.names[position]
            )
        barcode = parse_barcode(one)
        patients.append(one if barcode is None else barcode.patient)
    columns: dict[str, pa.ChunkedArray] = {"patient": pa.chunked_array([pa.array(patients, pa.string())])}
    for i, name in enumerate(records.names):
        if i != position:
            columns[name] = _typed(records, i)
    table, merged = _merge(pa.table(columns), records)
    notes = [f"{merged:,} rows merged into another row of their patient"] if merged else []
    if records.names[position] != "patient":
        notes.append(f"patients are named by the column {records.names[position]!r}")
    return PatientTable(
        table=table,
        report=ContractReport(
            file=str(path),
            modality="patients",
            rows=len(patients),
            samples=0,
            patients=table.num_rows,
            features=table.num_columns - 1,
            duplicates=merged,
            notes=tuple(notes),
        ),
    )


def _key(records: RecordTable, key: str | None) -> int:
    wanted = PATIENT_COLUMNS if key is None else (key.strip().lower().replace(" ", "_"),)
    position = find_column(records.names, wanted)
    if position is None:
        asked = "no column names the patients" if key is None else f"there is no column {key!r}"
        raise InputError(
            f"{asked}; the columns are {', '.join(records.names[:12])}",
            file=records.file,
            hint="Call it 'patient', or say which column it is",
        )
    return position


def _check_names(records: RecordTable, position: int) -> None:
    seen: dict[str, str] = {"patient": records.names[position]}
    for i, name in enumerate(records.names):
        other = seen.setdefault(name.lower(), name)
        if i != position and (other != name or name.lower() == "patient"):
            raise InputError(
                f"this column and {other!r} would have one name, for case does not count in queries",
                file=records.file,
                column=name,
                hint="Rename one of them",
            )


def _typed(records: RecordTable, position: int) -> pa.ChunkedArray:
    column = records.data.column(position)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        text = pc.utf8_trim_whitespace(pc.cast(column, pa.large_string()))
        missing = pc.is_in(pc.utf8_lower(text), pa.array(MISSING_WORDS, pa.large_string()))
        text = pc.if_else(missing, pa.scalar(None, pa.large_string()), text)
        return _inferred(text, records.decimal) if records.is_text else pc.cast(text, pa.string())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(numbers), numbers, None)
    if pa.types.is_integer(kind):
        return pc.cast(column, pa.int64())
    if pa.types.is_null(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return column
    raise InputError(
        f"the column holds {kind}, which cannot describe a patient",
        file=records.file,
        column=records.names[position],
        hint="Use numbers, text, booleans or dates",
    )


def _inferred(text: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    known = text.drop_null()
    if len(known) == 0:
        return pc.cast(text, pa.string())
    if _all_match(known, _INTEGER):
        return pc.cast(pc.replace_substring_regex(text, r"^\+", ""), pa.int64())
    numbers, plain = known, text
    if decimal == ",":
        numbers, plain = (pc.replace_substring(one, ",", ".") for one in (known, text))
    if _all_match(numbers, _FLOAT):
        return pc.cast(pc.replace_substring_regex(plain, r"^\+", ""), pa.float64())
    if pc.all(pc.is_in(pc.utf8_lower(known), pa.array(["true", "false"], pa.large_string()))).as_py():
        return pc.equal(pc.utf8_lower(text), "true")
    if _all_match(known, _DATE):
        try:
            return pc.cast(text, pa.date32())
        except pa.ArrowInvalid:
            pass  # 2020-13-45 looks like a date and is none: text
    return pc.cast(text, pa.string())


def _all_match(known: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(known, pattern)).as_py())


def _merge(table: pa.Table, records: RecordTable) -> tuple[pa.Table, int]:
    """One row per patient: what one row leaves out another may say, but not otherwise."""
    places: dict[str, list[int]] = defaultdict(list)
    for i, patient in enumerate(table.column("patient").to_pylist()):
        places[patient].append(i)
    merged = table.num_rows - len(places)
    if merged == 0:
        return table, 0
    order = [rows[0] for rows in places.values()]
    result = {}
    several = {slot: rows for slot, rows in enumerate(places.values()) if len(rows) > 1}
    for name in table.column_names:
        column = table.column(name)
        values = column.take(pa.array(order)).to_pylist()
        for slot, rows in several.items():
            values[slot] = _agreed(column, rows, name, table, records)
        result[name] = pa.array(values, column.type)
    return pa.table(result), merged


def _agreed(column: pa.ChunkedArray, rows: list[int], name: str, table: pa.Table, records: RecordTable) -> object:
    told: object = None
    where = rows[0]
    for row in rows:
        value = column[row].as_py()
        if value is None or value == told:
            continue
        if told is not None:
            raise InputError(
                f"patient {table.column('patient')[row].as_py()!r} has {told!r} in row {records.row_of(where)} "
                f"and {value!r} here",
                file=records.file,
                row=records.row_of(row),
                column=name,
                hint="Keep one row per patient, or correct one of them",
            )
        told, where = value, row
    return told
