"""A store for one query after another: the small tables that each of them needs are read once per state of the file.

Opening DuckDB takes some 20 ms, which a query has not got several times over. What is held is given out as long as the
database's file is the one it was read from, so a commit by any process is seen by the next query.
"""

from __future__ import annotations

import threading
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from molsig.index import attributes, filters
from molsig.index.arrays import integers
from molsig.index.connection import first
from molsig.index.manifest import MANIFEST
from molsig.index.names import names_at, names_of, one_chunk
from molsig.index.patient_columns import PatientColumns
from molsig.index.stamp import database_stamp, file_stamp
from molsig.index.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from molsig.index.reads import EncoderRow, SpaceInfo, SpaceName

    T = TypeVar("T")

HELD_CELLS = 10_000_000
"""Patients times columns up to which the patient columns are held (some hundred megabytes); longer ones are read for
the patients that are asked for."""


LISTED_CELLS = 1_000_000
"""Of these at most Python's own objects are made once (some tens of megabytes), which answers a few patients sooner."""

HELD_CONDITIONS = 8
"""Conditions whose patients are held."""


class RememberedStore(Store):
    """The same answers as a `Store`, with less reading. Threads may share it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._seen: tuple[object, ...] | None = None
        self._known: dict[object, object] = {}

    def spaces(self) -> list[SpaceInfo]:
        """As `Store.spaces`; the manifests of generations, which are files of their own, are watched too."""
        manifests = file_stamp(sorted(self.index_dir.glob(f"*/{MANIFEST}")))
        return super().spaces() if manifests is None else list(self._once(("spaces", manifests), super().spaces))

    def active_spaces(self) -> Mapping[str, str]:
        """As `Store.active_spaces`."""
        return self._once("active spaces", lambda: MappingProxyType(super(RememberedStore, self).active_spaces()))

    def space_names(self) -> list[SpaceName]:
        """As `Store.space_names`."""
        return list(self._once("space names", super().space_names))

    def columns(self) -> dict[str, str]:
        """As `Store.columns`."""
        return dict(self._once("columns", super().columns))

    def patient_ids(self) -> list[str]:
        """As `Store.patient_ids`."""
        return list(self._once("patients", super().patient_ids))

    def select_patients(self, where: str | None = None) -> Sequence[str]:
        """As `Store.select_patients`; the same tuple for a condition that was met lately."""
        if where is None:
            return self.patient_ids()
        lately: dict[str, tuple[str, ...]] = self._once("conditions", dict)
        found = lately.get(where)
        if found is None:
            found = tuple(self._select(where))
            while len(lately) >= HELD_CONDITIONS:
                lately.pop(next(iter(lately)), None)
            lately[where] = found
        return found

    def _select(self, where: str) -> Sequence[str]:
        held = self._attributes()
        if held is None:
            return super().select_patients(where)
        return filters.select(where, self.columns(), lambda names: held.table.select(["patient", *names]))

    def encoders(self) -> list[EncoderRow]:
        """As `Store.encoders`."""
        return list(self._once("encoders", super().encoders))

    def genes(self) -> pa.Table | None:
        """As `Store.genes`."""
        return self._once("genes", super().genes)

    def attributes(self, patients: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """As `Store.attributes`."""
        held = self._attributes()
        if held is None:
            return super().attributes(patients, columns)
        names = attributes.names_of(held.names, columns)
        rows = pa.array([held.row_of.get(patient) for patient in patients], pa.int64())
        # Column by column: a table's own `take` costs several times as much.
        found = [held.table[n].chunk(0).take(rows) if len(held.table) else held.table[n].take(rows) for n in names]
        return pa.table([pa.array(patients, pa.string()), *found], names=["patient", *names])

    def records(self, patients: Sequence[str]) -> dict[str, dict[str, Any]]:
        """As `Store.records`; the first time what is said of these patients alone is read."""
        held = self._attributes() if self._again("records") else None
        if held is None:
            return {row.pop("patient"): row for row in super().attributes(patients).to_pylist()}
        if held.values is None:
            return {row.pop("patient"): row for row in self.attributes(patients).to_pylist()}
        names, values = list(held.values), list(held.values.values())
        rows = [held.row_of.get(patient) for patient in patients]
        return {
            patient: dict.fromkeys(names)
            if row is None
            else dict(zip(names, [one[row] for one in values], strict=True))
            for patient, row in zip(patients, rows, strict=True)
        }

    def attributes_of(
        self, patients: pa.Array, places: NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> PatientColumns:
        """As `Store.attributes_of`; where the same `patients` stand is looked up once."""
        held = self._attributes()
        if held is None:
            return super().attributes_of(patients, places, columns)
        every, complete = held.rows_of(patients)
        rows = every[places]
        if not complete and len(rows) and rows.min() < 0:
            # Committed since the columns were read: told as they are now.
            return super().attributes_of(patients, places, columns)
        return PatientColumns(held.named(columns), held.table, rows, held.values)

    def attributes_of_all(self, patients: pa.Array, columns: Sequence[str] | None = None) -> PatientColumns | None:
        """As `Store.attributes_of_all`."""
        held = self._attributes()
        if held is None:
            return None
        every, complete = held.rows_of(patients)
        return PatientColumns(held.named(columns), held.table, every, held.values) if complete else None

    def classes_of(
        self, name: str, classes: Sequence[str], patients: pa.Array, places: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """As `Store.classes_of`; from the second time on all of the same `patients` are looked up once."""
        held = self._once(("column", name), lambda: self._whole_column(name))
        if held is None:
            return super().classes_of(name, classes, patients, places)
        if not self._again(("classes", name)):
            return attributes.classes_among([held.get(one) for one in names_at(patients, places)], classes)
        looked_up: dict[object, tuple[pa.Array, NDArray[np.int64]]] = self._once("classes", dict)
        key = (name, tuple(classes), id(patients))
        known = looked_up.get(key)
        if known is None:
            while len(looked_up) >= HELD_CONDITIONS:
                looked_up.pop(next(iter(looked_up)), None)
            # The patients are kept beside it: no other object takes their id meanwhile.
            of_all = attributes.classes_among([held.get(one) for one in names_of(patients)], classes)
            known = looked_up[key] = (patients, of_all)
        return known[1][places]

    def column(self, name: str, patients: Sequence[str]) -> list[object]:
        """As `Store.column`; one column is read and held by itself."""
        held = self._once(("column", name), lambda: self._whole_column(name))
        return super().column(name, patients) if held is None else [held.get(patient) for patient in patients]

    def _attributes(self) -> _Attributes | None:
        """All patient columns; None where they are too many."""
        return self._once("attributes", self._all_attributes)

    def _whole_column(self, name: str) -> dict[str, object] | None:
        """One column by patient; None where they are too many."""
        with self.reading() as connection:
            rows = first(connection, "SELECT count(*) FROM patients")
            if rows is None or 2 * rows[0] > HELD_CELLS:
                return None
            known = attributes.names_of(list(attributes.columns(connection)), [name])
            table = attributes.read(connection, known)
        return dict(zip(names_of(one_chunk(table["patient"])), table[-1].to_pylist(), strict=True))

    def _all_attributes(self) -> _Attributes | None:
        with self.reading() as connection:
            names = list(attributes.columns(connection))
            rows = first(connection, "SELECT count(*) FROM patients")
            if rows is None or rows[0] * (len(names) + 1) > HELD_CELLS:
                return None
            return _Attributes(attributes.read(connection, names).combine_chunks())

    def _again(self, what: object) -> bool:
        """Whether something is asked for that was asked for before, in this state of the database."""
        asked: set[object] = self._once("asked", set)
        known = what in asked
        asked.add(what)
        return known

    def _once(self, what: object, read: Callable[[], T]) -> T:
        """What was read of this state of the database, else what `read` gives now."""
        now = database_stamp(self.database)
        with self._lock:
            if now is not self._seen or now is None:
                if now is None or now != self._seen:
                    self._known.clear()
                # The same object next time in the same query, which is the quicker to compare.
                self._seen = now
            if what in self._known:
                return cast("T", self._known[what])
        found = read()
        with self._lock:
            # Kept only if the file is still the one it was before the reading.
            if now is not None and now == self._seen and now == database_stamp(self.database, again=True):
                self._known[what] = found
        return found


class _Attributes:
    """All patient columns of one state of the database, and what was made of them so far."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.names: tuple[str, ...] = tuple(table.column_names[1:])
        self._rows: dict[int, tuple[pa.Array, tuple[NDArray[np.int64], bool]]] = {}

    def named(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        """Those of the columns that are asked for; errors as `Store.attributes`."""
        return self.names if columns is None else tuple(attributes.names_of(self.names, columns))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each patient."""
        return {patient: row for row, patient in enumerate(self.table["patient"].to_pylist())}

    @cached_property
    def values(self) -> dict[str, list[Any]] | None:
        """The columns as lists; None where they are too long for that."""
        if self.table.num_rows * self.table.num_columns > LISTED_CELLS:
            return None
        # What is said of many patients is one object: a query that tells of some finds it in the processor's cache.
        return {name: _shared(self.table[name].to_pylist()) for name in self.names}

    def rows_of(self, patients: pa.Array) -> tuple[NDArray[np.int64], bool]:
        """The row of each of some patients, -1 for none, and whether all have one; looked up once for one array."""
        known = self._rows.get(id(patients))
        if known is None:
            while len(self._rows) >= HELD_CONDITIONS:
                self._rows.pop(next(iter(self._rows)), None)
            import pyarrow.compute as pc  # 30 ms, which a query from the command line does not need

            # The patients are kept beside it: no other object takes their id meanwhile.
            found = pc.index_in(patients, value_set=self.table["patient"])
            rows = integers(found.fill_null(-1))
            known = self._rows[id(patients)] = (patients, (rows, not found.null_count))
        return known[1]


def _shared(values: list[Any]) -> list[Any]:
    """The same values, equal texts as one object."""
    known: dict[str, str] = {}
    return [known.setdefault(value, value) if isinstance(value, str) else value for value in values]


def remembered(store: Store) -> RememberedStore:
    """Return a store of the same reference that remembers."""
    return store if isinstance(store, RememberedStore) else RememberedStore(store.path)
