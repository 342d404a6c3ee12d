"""Support files: which stored patient or sample is an example of which type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.errors import InputError
from molsig.ingest.limits import DEFAULT_LIMITS
from molsig.ingest.samples import PATIENT_COLUMNS, SAMPLE_COLUMNS, find_column
from molsig.ingest.tables import read_records_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.ingest.limits import Limits

TYPE_COLUMNS = ("type", "cancer_type", "tumour_type", "tumor_type", "subtype", "class", "label", "diagnosis")
"""What the column of types may be called."""


@dataclass(frozen=True, slots=True)
class SupportTable:
    """A support file as it stands.

    Attributes
    ----------
    names, types
        Parallel: the id of a patient or of a sample, and what it is an example of.
    by_sample
        Whether the file names samples.
    row_of
        Gives the row of the file that the i-th record starts in.
    """

    file: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    by_sample: bool
    row_of: Callable[[int], int]


def read_support(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> SupportTable:
    """Read a table of support samples: TSV, CSV or Parquet with a column ``patient`` or ``sample``, and ``type``.

    Where there are both, the sample counts.

    Raises
    ------
    InputError
        A column is missing, or a cell is empty.
    """
    table = read_records_table(path, limits)
    sample, patient = find_column(table.names, SAMPLE_COLUMNS), find_column(table.names, PATIENT_COLUMNS)
    kind = find_column(table.names, TYPE_COLUMNS)
    who = patient if sample is None else sample
    if who is None or kind is None:
        raise InputError(
            "a support file needs a column 'patient' (or 'sample') and a column 'type'; it has "
            f"{', '.join(table.names[:10])}",
            file=path,
        )
    names, types = [], []
    for i, (name, label) in enumerate(zip(table.strings(who), table.strings(kind), strict=True)):
        if name is None or label is None:
            column = table.names[who if name is None else kind]
            raise InputError("an empty cell", file=path, row=table.row_of(i), column=column, hint="Remove the line")
        names.append(name)
        types.append(label)
    return SupportTable(str(path), tuple(names), tuple(types), sample is not None, table.row_of)
