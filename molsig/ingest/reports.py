"""Free-text reports from tables, JSON lines, PDF and text files, cut into sentences."""

from __future__ import annotations

import os
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.ocr import check_ocr
from molsig.ingest.pdf import is_pdf
from molsig.ingest.report_files import ReportFiles
from molsig.ingest.report_tables import is_json, read_json_lines, read_table
from molsig.ingest.running_text import running_text
from molsig.ingest.samples import resolve_samples
from molsig.ingest.sentences import Splitter
from molsig.ingest.tables import read_sample_table
from molsig.types import ContractReport, TextSet, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from molsig.ingest.limits import Limits
    from molsig.ingest.ocr import Ocr
    from molsig.ingest.report_tables import ReportRow
    from molsig.types import Progress

_FILE_OF_TCGA = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})\.[0-9A-F-]{36}", re.IGNORECASE)


def read_reports(
    path: str | Path,
    *,
    text_column: str | None = None,
    sample_table: str | Path | None = None,
    ocr: Ocr = "auto",
    patients: Collection[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> TextSet:
    """Read reports, one row a sentence.

    Text is mended as `molsig.ingest.running_text.running_text` says and cut as `molsig.ingest.sentences.Splitter`
    says. Several reports of one sample follow each other in their order; the same text twice is taken once. The
    sentences of a sample are its items, ``0001`` onwards.

    Parameters
    ----------
    path
        A CSV or TSV file, JSON lines (plain, gzip or zstd), Parquet, a PDF named by patient or sample, or a folder
        whose ``.txt`` and ``.pdf`` files are.
    text_column
        Column or key of the text; by default the first of ``text``, ``report``, ``report_text`` ... there is.
    ocr
        What reads PDF pages without a text layer: ``tesseract``, ``rapidocr``, ``none`` (they are left out with a
        warning), or ``auto``: tesseract, or rapidocr with a warning where tesseract is not installed.
    patients
        Whose reports are cut into sentences, which takes most of the time; all by default.

    Raises
    ------
    InputError
        With file and row: no id or text column, a row without an id, a line that is no JSON object, a report over
        `limits.max_cell_chars`, a link that leads out of the folder; no report of `patients`; a PDF that is encrypted,
        damaged or over the limits, with its page.
    MissingExtraError
        The extra ``reports`` is not installed.
    UsageError
        `ocr` is none of these, or is tesseract, and that is not installed.
    """
    files = ReportFiles(check_ocr(ocr), limits, progress)
    row_of: Callable[[int], int | None]
    if os.path.isdir(path):  # noqa: PTH112
        rows, row_of = files.folder(Path(path)), _no_row
    elif is_pdf(path, limits):
        rows, row_of = files.one(Path(path)), _no_row
    elif is_json(path, limits):
        rows, row_of = read_json_lines(path, text_column, limits, progress), int
    else:
        rows, row_of = read_table(path, text_column, limits, progress)
    return _assemble(path, rows, row_of, sample_table, files, patients, limits, progress)


def _assemble(
    path: str | Path,
    rows: Iterator[ReportRow],
    row_of: Callable[[int], int | None],
    sample_table: str | Path | None,
    files: ReportFiles,
    patients: Collection[str] | None,
    limits: Limits,
    progress: Progress,
) -> TextSet:
    splitter = Splitter()
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
        if text is None or not any(map(str.isalnum, text)):
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
    wanted = [patients is None or one.patient in patients for one in resolved.samples]
    if not any(wanted):
        raise InputError(f"holds no report of {' or '.join(sorted(patients or ()))}", file=path)
    chosen = [sample for sample, one in zip(resolved.samples, wanted, strict=True) if one]
    sentences = _cut([some for some, one in zip(texts.values(), wanted, strict=True) if one], splitter, path, progress)
    lengths = [len(sentence) for some in sentences for sentence in some]
    notes = [
        f"{len(lengths):,} sentences, half of them over {statistics.median_low(lengths):,} characters, the longest "
        f"{max(lengths):,}",
        *resolved.notes,
        *files.notes,
    ]
    joined = sum(len(parts) > 1 for parts in texts.values())
    if joined:
        notes.append(f"{joined:,} samples have several reports, one after the other")
    warnings = [*resolved.warnings, *files.warnings]
    if blank:
        warnings.append(f"{blank:,} reports are empty and left out")
    return TextSet(
        samples=tuple(sample for sample, some in zip(chosen, sentences, strict=True) for _ in some),
        items=tuple(f"{number:04d}" for some in sentences for number in range(1, len(some) + 1)),
        texts=tuple(sentence for some in sentences for sentence in some),
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


def _cut(samples: list[list[str]], splitter: Splitter, path: str | Path, progress: Progress) -> list[list[str]]:
    """Sentences of each sample."""
    step = f"cut {os.path.basename(path)} into sentences"  # noqa: PTH119
    sentences = []
    for done, reports in enumerate(samples):
        progress(step, done, len(samples))
        sentences.append([sentence for report in reports for sentence in splitter.split(running_text(report))])
    progress(step, len(samples), len(samples))
    return sentences


def _no_row(_: int) -> None:
    """Files of a folder have no rows."""


def _without_uuid(one: str) -> str:
    """TCGA-BP-5195.25c0b433-5557-4165-922e-2c1eac9c26f0 -> TCGA-BP-5195, as TCGA names its report files."""
    match = _FILE_OF_TCGA.fullmatch(one)
    return one if match is None else match[1].upper()
