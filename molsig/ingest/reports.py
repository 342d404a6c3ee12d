"""Free-text reports: CSV, JSON lines, Parquet, or a folder of .txt files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.opening import TextStream, file_kind
from molsig.ingest.samples import (
    PATIENT_COLUMNS,
    SAMPLE_COLUMNS,
    find_column,
    resolve_samples,
)
from molsig.ingest.tables import read_records_table, read_sample_table
from molsig.types import ContractReport, TextSet, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from molsig.ingest.limits import Limits
    from molsig.types import Progress

TEXT_COLUMNS = ("text", "report", "report_text", "pathology_report", "path_report", "content", "body", "note")

_FILE_OF_TCGA = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})\.[0-9A-F-]{36}", re.IGNORECASE)

_Row = tuple[int, str | None, str | None, str | None]
"""Row of the file, sample, patient, text."""


def read_reports(
    path: str | Path,
    *,
    text_column: str | None = None,
    sample_table: str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> TextSet:
    """Read reports; several of one sample are joined in their order with an empty line between.

    Parameters
    ----------
    path
        A CSV or TSV file, JSON lines (plain, gzip or zstd), Parquet, or a folder whose ``.txt`` files are named by
        patient or sample.
    text_column
        Column or key of the text; by default the first of ``text``, ``report``, ``report_text`` ... there is.

    Raises
    ------
    InputError
        With file and row: no id or text column, a row without an id, a line that is no JSON object, a report over
        `limits.max_cell_chars`, a link that leads out of the folder.
    """
    row_of: Callable[[int], int | None]
    if os.path.isdir(path):  # noqa: PTH112
        rows, row_of = _folder(Path(path), limits), _no_row
    elif _is_json(path, limits):
        rows, row_of = _json_lines(path, text_column, limits, progress), int
    else:
        rows, row_of = _table(path, text_column, limits, progress)
    return _assemble(path, rows, row_of, sample_table, limits)


def _assemble(
    path: str | Path,
    rows: Iterator[_Row],
    row_of: Callable[[int], int | None],
    sample_table: str | Path | None,
    limits: Limits,
) -> TextSet:
    texts: dict[str, list[str]] = {}
    owners: dict[str, str | None] = {}
    places: dict[str, int] = {}
    total = blank = repeated = 0
    for row, sample, patient, text in rows:
        total += 1
        one = sample or patient
        if not one:
            raise InputError("a report without a patient or sample", file=path, row=row_of(row))
        one = _without_uuid(one)
        patient = patient and _without_uuid(patient)
        if text is None or not text.strip():
            blank += 1
            continue
        if len(text) > limits.max_cell_chars:
            raise InputError(
                f"a report of {len(text):,} characters, more than the limit of {limits.max_cell_chars:,}",
                file=path,
                row=row_of(row),
            )
        if owners.setdefault(one, patient) != patient:
            raise InputError(
                f"sample {one!r} is of patient {owners[one]!r} in row {row_of(places[one])} and of {patient!r} here",
                file=path,
                row=row_of(row),
            )
        places.setdefault(one, row)
        parts = texts.setdefault(one, [])
        if text in parts:
            repeated += 1
        else:
            parts.append(text)
    if not texts:
        raise InputError("holds no report with text in it", file=path)
    ids = list(texts)
    first_rows = list(places.values())
    table = None if sample_table is None else read_sample_table(sample_table, limits)
    resolved = resolve_samples(
        ids,
        file=path,
        row_of=lambda i: row_of(first_rows[i]) or i + 1,
        patients=[owners[one] for one in ids],
        table=table,
    )
    notes = list(resolved.notes)
    joined = sum(len(parts) > 1 for parts in texts.values())
    if joined:
        notes.append(f"{joined:,} samples have several reports, joined in their order")
    warnings = list(resolved.warnings)
    if blank:
        warnings.append(f"{blank:,} reports are empty and left out")
    return TextSet(
        samples=resolved.samples,
        items=("0001",) * len(ids),
        texts=tuple("\n\n".join(parts) for parts in texts.values()),
        report=ContractReport(
            file=str(path),
            modality="report",
            rows=total,
            samples=len(ids),
            patients=resolved.patients,
            duplicates=repeated,
            kinds=resolved.kinds,
            joined=resolved.joined,
            notes=tuple(notes),
            warnings=tuple(warnings),
        ),
    )


def _table(
    path: str | Path, text_column: str | None, limits: Limits, progress: Progress
) -> tuple[Iterator[_Row], Callable[[int], int]]:
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


def _is_json(path: str | Path, limits: Limits) -> bool:
    if file_kind(path, limits) == "parquet":
        return False
    with TextStream(path, limits) as stream:
        return stream.read(64).lstrip().startswith((b"{", b"["))


def _json_lines(path: str | Path, text_column: str | None, limits: Limits, progress: Progress) -> Iterator[_Row]:
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


def _folder(folder: Path, limits: Limits) -> Iterator[_Row]:
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    if len(names) > limits.max_files:
        raise InputError(f"{len(names):,} files, more than the limit of {limits.max_files:,}", file=folder)
    reports = [name for name in names if name.lower().endswith(".txt")]
    if not reports:
        raise InputError("the folder holds no .txt file", file=folder)
    home = folder.resolve()
    for number, name in enumerate(reports):
        file = folder / name
        if not file.resolve().is_relative_to(home):
            raise InputError("is a link that leads out of the folder", file=file, hint="Put the file itself there")
        stem = name[: -len(".txt")]
        if file.is_file() and file.stat().st_size == 0:
            yield number, stem, None, None
            continue
        with TextStream(file, limits) as stream:
            text = stream.read(4 * limits.max_cell_chars + 4).decode("utf-8", errors="ignore")
        if len(text) > limits.max_cell_chars:
            raise InputError(f"a report longer than the limit of {limits.max_cell_chars:,} characters", file=file)
        yield number, stem, None, text


def _no_row(_: int) -> None:
    """Files of a folder have no rows."""


def _without_uuid(one: str) -> str:
    """TCGA-BP-5195.25c0b433-5557-4165-922e-2c1eac9c26f0 -> TCGA-BP-5195, as TCGA names its report files."""
    match = _FILE_OF_TCGA.fullmatch(one)
    return one if match is None else match[1].upper()
