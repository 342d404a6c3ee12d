"""GCT 1.2 and 1.3, the matrix formats of the Broad Institute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.dialect import Dialect, split_line
from molsig.ingest.grid import read_dialect_grid
from molsig.ingest.opening import TextStream
from molsig.ingest.orientation import orient
from molsig.ingest.samples import KIND_COLUMNS, PATIENT_COLUMNS, find_column

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.ingest.genes import GeneMap
    from molsig.ingest.limits import Limits
    from molsig.ingest.orientation import RawMatrix
    from molsig.types import Progress

_SAMPLED_ROWS = 50


def read_gct(path: str | Path, genes: GeneMap, limits: Limits, progress: Progress) -> RawMatrix:
    """Read a GCT file: features down, samples across; 1.3 may tell the samples' patients and kinds above the values.

    Raises
    ------
    InputError
        The counts in its second line do not fit what follows, or see `molsig.ingest.delimited.read_columns`.
    """
    with TextStream(path, limits) as stream:
        version = _line(stream, path, 1)[0]
        sizes = _line(stream, path, 2)
        wanted = 2 if version.startswith("#1.2") else 4
        numbers = [int(one) for one in sizes[:wanted] if one.strip().isdigit()]
        if len(numbers) != wanted:
            raise InputError(f"the second line of a GCT file holds {wanted} counts", file=path, row=2)
        n_rows, n_samples = numbers[:2]
        n_row_notes, n_sample_notes = (1, 0) if wanted == 2 else (numbers[2], numbers[3])
        limits.check_shape(n_rows + n_sample_notes, 1 + n_row_notes + n_samples, path)
        header = _line(stream, path, 3)
        if len(header) != 1 + n_row_notes + n_samples:
            raise InputError(
                f"{len(header):,} columns, and the second line speaks of {1 + n_row_notes + n_samples:,}",
                file=path,
                row=3,
            )
        first = 1 + n_row_notes
        notes = {}
        for i in range(n_sample_notes):
            cells = _line(stream, path, 4 + i)
            if len(cells) != len(header):
                raise InputError(f"{len(cells):,} cells, and the header has {len(header):,}", file=path, row=4 + i)
            notes[cells[0]] = [cell.strip() or None for cell in cells[first:]]
        sample = [split_line(line.decode("utf-8"), "\t", False) for line in iter(stream.read_line, None)][
            :_SAMPLED_ROWS
        ]
    # The columns between the id and the samples are notes on the features, whatever they are called.
    names = ["gene", *(f"note: {name}" for name in header[1:first]), *header[first:]]
    masked = [[row[0], *("text" for _ in row[1:first]), *row[first:]] for row in sample]
    dialect = Dialect(
        delimiter="\t",
        quoted=False,
        decimal=".",
        header=tuple(names),
        first_line=4 + n_sample_notes,
        sample=tuple(map(tuple, masked)),
    )
    raw = orient(read_dialect_grid(path, dialect, limits, progress=progress), "samples-across", genes)
    if raw.rows != n_rows:
        raise InputError(
            f"{raw.rows:,} rows of values, and the second line speaks of {n_rows:,}",
            file=path,
            row=2,
            hint="The file may have been cut short: copy it again",
        )
    known = list(notes)
    patient, kind = find_column(known, PATIENT_COLUMNS), find_column(known, KIND_COLUMNS)
    return replace(
        raw,
        patients=None if patient is None else tuple(notes[known[patient]]),
        kinds=None if kind is None else tuple(notes[known[kind]]),
    )


def _line(stream: TextStream, path: str | Path, row: int) -> list[str]:
    line = stream.read_line()
    if line is None:
        raise InputError("the file ends within its header", file=path, row=row)
    return split_line(line.decode("utf-8"), "\t", False)
