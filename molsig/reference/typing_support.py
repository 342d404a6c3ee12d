"""Where a support set comes from: a patient column, a file, or pairs of patient and type."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import InputError, NotFoundError, UsageError
from molsig.index.near import near
from molsig.index.stamp import database_stamp, file_stamp
from molsig.ingest.samples import parse_barcode
from molsig.ingest.support_table import read_support
from molsig.retrieval.route import selected
from molsig.retrieval.support import Example, SupportSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.index.search import Searcher
    from molsig.index.store import Store


Support = str | Path | Mapping[str, str]
"""A patient column, a file, or types by patient."""

HELD = 8
"""Support sets that are kept for the next call."""

_NAMED = ("text", "boolean", "integer")
"""Types of columns whose values can be types."""


class SupportShelf:
    """Support sets of one reference; the same object as long as reference and file are as they were.

    Threads may share it.
    """

    def __init__(self, store: Store, searcher: Searcher) -> None:
        self._store = store
        self._searcher = searcher
        self._lock = threading.Lock()
        self._held: dict[tuple[object, ...], tuple[object, SupportSet]] = {}

    def get(self, given: Support, *, where: str | None) -> SupportSet:
        """The support set that is meant.

        Parameters
        ----------
        given
            A patient column, a file of patients (or samples) and types, or types by patient.
        where
            SQL condition on the patients of a column.

        Raises
        ------
        UsageError
            There is no such column or file, or nobody has a value in the column.
        InputError
            The file is wrong, or names a patient who is not stored.
        NotFoundError
            A patient of a mapping is not stored, or nobody meets `where`.
        """
        column = given if isinstance(given, str) and given in self._store.columns() else None
        if column is None and where is not None:
            raise UsageError("--where chooses among the patients of a column, not among those of a file")
        path = None if column is not None or isinstance(given, Mapping) else Path(given)
        what = tuple(sorted(given.items())) if isinstance(given, Mapping) else str(given)
        key = (column, what, where)
        # A stamp that is None cannot vouch for anything yet.
        stamp = (database_stamp(self._store.database), () if path is None else file_stamp([path]))
        with self._lock:
            kept = self._held.get(key)
        if kept is not None and kept[0] == stamp and None not in stamp:
            return kept[1]
        if column is not None:
            support = self._of_column(column, where)
        elif isinstance(given, Mapping):
            support = self._of_mapping(given)
        else:
            assert path is not None
            support = self._of_file(path)
        with self._lock:
            self._held.pop(key, None)
            while len(self._held) >= HELD:
                self._held.pop(next(iter(self._held)))
            self._held[key] = (stamp, support)
        return support

    def _of_column(self, column: str, where: str | None) -> SupportSet:
        kind = self._store.columns()[column]
        if kind not in _NAMED:
            raise UsageError(f"--support {column}: the column holds a {kind}, and types need names")
        patients = selected(self._store, where) or self._store.patient_ids()
        values = self._store.column(column, patients)
        examples = [
            Example(patient, str(value), patient)
            for patient, value in zip(patients, values, strict=True)
            if value is not None
        ]
        if not examples:
            of = "" if where is None else f" who meets --where {where!r}"
            raise UsageError(f"--support {column}: the column is empty: no patient{of} has a value")
        return SupportSet.of(examples, named=False)

    def _of_mapping(self, given: Mapping[str, str]) -> SupportSet:
        known = self._store.patient_ids()
        if unknown := sorted(given.keys() - set(known)):
            more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
            raise NotFoundError(f"support sample {unknown[0]!r} is no stored patient{near(unknown[0], known)}{more}")
        return SupportSet.of(Example(patient, str(name), patient) for patient, name in given.items())

    def _of_file(self, path: Path) -> SupportSet:
        if not path.exists():
            columns = list(self._store.columns())
            raise UsageError(
                f"--support {path}: there is neither a file nor a patient column of that name"
                f"{near(str(path), columns)}; columns: {', '.join(columns) or 'none'}"
            )
        table = read_support(path)
        patients = self._store.patient_ids()
        known = set(patients)
        samples = self._samples() if table.by_sample else {}
        found: dict[str, tuple[Example, int]] = {}
        for record, (name, label) in enumerate(zip(table.names, table.types, strict=True)):
            example = _stored(name, label, known, samples, by_sample=table.by_sample)
            if example is None:
                close = near(name, patients if len(patients) <= _COMPARED else ())
                what = "sample or patient" if table.by_sample else "patient"
                raise InputError(
                    f"no {what} {name!r} is stored{close}",
                    file=path,
                    row=table.row_of(record),
                    hint="Support samples are stored ones: ingest it first, or remove the line",
                )
            first, place = found.setdefault(example.name, (example, record))
            if first.type != label:
                raise InputError(
                    f"{name} stands for {label!r} here and for {first.type!r} in row {table.row_of(place)}",
                    file=path,
                    row=table.row_of(record),
                    hint="A sample is an example of one type",
                )
        return SupportSet.of(example for example, _ in found.values())

    def _samples(self) -> dict[str, str]:
        """Patient of each stored sample."""
        found: dict[str, str] = {}
        for space in self._store.active_spaces().values():
            rows = self._searcher.view(space).rows
            found.update(zip(rows["sample"].to_pylist(), rows["patient"].to_pylist(), strict=True))
        return found


_COMPARED = 100_000
"""Patients among whom a name that is nearly the same is looked for, at most."""


def _stored(
    name: str, label: str, patients: set[str], samples: Mapping[str, str], *, by_sample: bool
) -> Example | None:
    """The stored sample of that name, else the patient; barcodes count as far as they are known.

    Where samples are named, a barcode of one that is not stored is nobody's: the patient may have others, of other
    tissue.
    """
    barcode = parse_barcode(name)
    names: Sequence[str] = (name,) if barcode is None else (name, barcode.full, barcode.sample)
    for one in names:
        if one in samples:
            return Example(one, label, samples[one], is_sample=True)
    # Of a sample's barcode only a table of patients means the patient.
    if barcode is not None and (not by_sample or barcode.full == barcode.patient):
        names = (name, barcode.patient)
    else:
        names = (name,)
    for one in names:
        if one in patients:
            return Example(one, label, one)
    return None
