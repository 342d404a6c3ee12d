"""Patient columns: whatever the user's tables hold, in one wide table beside `patient`.

Column names are the user's own, compared as SQL compares them (the case of a-z does not count). A column has one of
six types; where two tables disagree the column is widened to the narrowest type that keeps every value: integer and
number to number, date and timestamp to timestamp, anything else to text. A missing value never overwrites a known one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, UsageError
from molsig.index.connection import first
from molsig.index.near import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    from numpy.typing import NDArray

TYPES = {
    "BOOLEAN": "boolean",
    "BIGINT": "integer",
    "DOUBLE": "number",
    "VARCHAR": "text",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
}
"""DuckDB type of a stored column -> the name it is told by."""

LONGEST_NAME = 200
PREDICTED = "predicted:"
"""What the names of exported predictions begin with."""
EXACT_INTEGERS = 2**53

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_LARGE_INTEGERS = {"UBIGINT", "HUGEINT", "UHUGEINT"}
_TIMESTAMPS = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"}


@dataclass(frozen=True, slots=True)
class PatientChange:
    """What a patient table changed.

    Attributes
    ----------
    new, changed, unchanged
        Patients by what became of their columns.
    conflicts
        Patients for whom a value differs from the stored one, which was kept.
    columns_added
        Names of columns that did not exist.
    widened
        (column, type before, type now) of columns whose type no longer held every value.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    columns_added: tuple[str, ...] = ()
    widened: tuple[tuple[str, str, str], ...] = ()
    conflicts: int = 0


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Return `name` as SQL compares it: a-z without case."""
    return "".join(c.lower() if c.isascii() else c for c in name)


def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return the user's columns and the names of their types, in the order they came."""
    return {name: TYPES[kind] for name, kind in _stored(connection).items()}


def read(connection: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> pa.Table:
    """Return `patient` and the columns `wanted` (names as stored) of every patient."""
    chosen = "".join(f", a.{quoted(name)} AS {quoted(name)}" for name in wanted)
    return connection.sql(
        f"SELECT p.patient AS patient{chosen} FROM patients p LEFT JOIN attributes a ON a.patient = p.patient"  # noqa: S608
    ).to_arrow_table()


def read_for(
    connection: duckdb.DuckDBPyConnection, patients: Sequence[str], wanted: Sequence[str] | None = None
) -> pa.Table:
    """Return `patient` and columns of `patients` in their order; null where nothing is known."""
    names = names_of(list(_stored(connection)), wanted)
    chosen = "".join(f", a.{quoted(name)} AS {quoted(name)}" for name in names)
    asked = pa.table({"place": pa.array(range(len(patients)), pa.int64()), "patient": pa.array(patients, pa.string())})
    connection.register("asked", asked)
    try:
        found = connection.sql(
            f"SELECT q.patient AS patient{chosen} FROM asked q LEFT JOIN attributes a ON a.patient = q.patient"  # noqa: S608
            " ORDER BY q.place"
        )
        return found.to_arrow_table()
    finally:
        connection.unregister("asked")


def names_of(known: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the columns `wanted` as they are stored, without `patient`; all that are known by default.

    Raises
    ------
    UsageError
        A column does not exist.
    """
    if wanted is None:
        return list(known)
    stored = {folded(name): name for name in known}
    unknown = [name for name in wanted if folded(name) not in stored and folded(name) != "patient"]
    if unknown:
        told = ", ".join(f"{name!r}{near(name, list(known))}" for name in unknown)
        raise UsageError(f"no patient column {told}; known: {', '.join(known) or 'none'}")
    return [stored[folded(n)] for n in wanted if folded(n) != "patient"]


def check_table(table: pa.Table) -> pa.Table:
    """Return a patient table that can be stored, `patient` as plain strings.

    Raises
    ------
    InputError
        No `patient` column, an empty or repeated patient, or a column name that SQL cannot hold or tell apart.
    """
    seen: dict[str, str] = {}
    for name in table.column_names:
        if not name.strip() or "\0" in name or len(name) > LONGEST_NAME:
            raise InputError("a column name is empty, too long or holds a NUL character", column=name[:LONGEST_NAME])
        if folded(name).strip().startswith(PREDICTED):
            raise InputError(
                "the column holds predictions of molsig, which are never stored as recorded values",
                column=name,
                hint="Leave it out, or name it otherwise if it holds what somebody found out",
            )
        other = seen.setdefault(folded(name), name)
        if other is not name:
            raise InputError(f"two columns differ in case only: {other!r} and {name!r}", column=name, hint="Rename one")
    if "patient" not in table.column_names:
        hint = f"Rename {seen['patient']!r}" if "patient" in seen else "Name the column with the patient ids `patient`"
        raise InputError("the patient table has no column 'patient'", column="patient", hint=hint)
    patients = table["patient"].cast(pa.string())
    values = patients.to_pylist()
    if not all(values):
        raise InputError(
            "a patient id is empty", row=1 + next(i for i, v in enumerate(values) if not v), column="patient"
        )
    if len(set(values)) < len(values):
        twice = next(value for place, value in enumerate(values) if value in set(values[:place]))
        raise InputError(f"patient {twice!r} has several rows", column="patient", hint="Give one row a patient")
    return table.set_column(table.column_names.index("patient"), "patient", patients)


def classes_among(values: Sequence[object], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the place of each value, as text, among some classes, int64 (n,); -1 for None and for any other value."""
    number = {name: place for place, name in enumerate(classes)}
    return np.array([-1 if value is None else number.get(str(value), -1) for value in values], np.int64)


def upsert(connection: duckdb.DuckDBPyConnection, table: pa.Table, *, replace: bool) -> PatientChange:
    """Merge a checked patient table into the stored columns, inside the caller's transaction.

    The wide table is written anew: DuckDB does not mix changes of a table's columns and of its rows in one transaction.
    """
    connection.register("incoming", table)
    try:
        return _upsert(connection, replace=replace)
    finally:
        connection.unregister("incoming")


def _upsert(connection: duckdb.DuckDBPyConnection, *, replace: bool) -> PatientChange:
    stored = _stored(connection)
    given = _given(connection)
    spelled = {folded(name): name for name in stored}
    target = dict(stored)
    for name, kind in given.items():
        known = spelled.get(folded(name), name)
        if kind is None:
            target.setdefault(known, "VARCHAR")
        elif known not in stored or not _has_value(connection, known):
            target[known] = kind
        else:
            target[known] = _wider(connection, known, name, stored[known], kind)
    added = tuple(name for name in target if name not in stored)
    widened = tuple(
        (name, TYPES[kind], TYPES[target[name]])
        for name, kind in stored.items()
        if kind != target[name] and _has_value(connection, name)
    )

    for name, before_kind, now in widened:
        if now == "text" and not replace:
            raise InputError(
                f"the column is stored as {before_kind} and the table has other text in it",
                column=name,
                hint="Mend the table, name the column otherwise, or replace the stored values with --replace",
            )

    def cast(name: str) -> str:
        return f"CAST({_without_nan(f'i.{quoted(name)}', given[name])} AS {target[spelled.get(folded(name), name)]})"

    merged, filled, differs = [], [], []
    from_incoming = {spelled.get(folded(name), name): cast(name) for name in given}
    for name, kind in target.items():
        before = f"CAST(a.{quoted(name)} AS {kind})" if name in stored else "NULL"
        if name in from_incoming:
            incoming = from_incoming[name]
            first_choice = (incoming, before) if replace else (before, incoming)
            merged.append(f"coalesce({', '.join(first_choice)}) AS {quoted(name)}")
            filled.append(f"({incoming} IS NOT NULL AND {before} IS NULL)")
            differs.append(f"({incoming} <> {before})")
        else:
            merged.append(f"{before} AS {quoted(name)}")
    counts = first(
        connection,
        "SELECT count(*) FILTER (a.patient IS NULL),"  # noqa: S608
        f" count(*) FILTER (a.patient IS NOT NULL AND ({' OR '.join(filled + differs * replace) or 'false'})),"
        f" count(*) FILTER (a.patient IS NOT NULL AND ({' OR '.join(differs) or 'false'})), count(*)"
        " FROM incoming i LEFT JOIN attributes a ON a.patient = i.patient",
    )
    assert counts is not None
    new, changed, differing, rows = counts
    conflicts = 0 if replace else differing
    change = PatientChange(new, changed, rows - new - changed, added, widened, conflicts)
    if new or changed or target != stored:
        chosen = "".join(f", {column}" for column in merged)
        connection.execute(
            f"CREATE TABLE merged AS SELECT coalesce(a.patient, i.patient) AS patient{chosen}"  # noqa: S608
            " FROM attributes a FULL JOIN incoming i ON a.patient = i.patient ORDER BY 1"
        )
        connection.execute("DROP TABLE attributes")
        connection.execute("ALTER TABLE merged RENAME TO attributes")
    return change


def _stored(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    # duckdb_columns() tells the same, in 15 ms: it describes all that DuckDB brings along first.
    found = connection.execute("SELECT name, type FROM pragma_table_info('attributes') ORDER BY cid").fetchall()
    return {name: kind for name, kind in found if name != "patient"}


def _given(connection: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    """Return the type each incoming column is to be stored in; None where it holds no value to tell from."""
    kinds: dict[str, str | None] = {}
    for name, kind, *_ in connection.execute("DESCRIBE SELECT * FROM incoming").fetchall():
        if name == "patient":
            continue
        column = _without_nan(quoted(name), kind)
        filled = first(connection, f"SELECT count({column}) FROM incoming")  # noqa: S608
        if not filled or not filled[0]:
            kinds[name] = None
        elif kind in _INTEGERS:
            kinds[name] = "BIGINT"
        elif kind in _LARGE_INTEGERS:
            fits = first(
                connection,
                f"SELECT bool_and(TRY_CAST({column} AS BIGINT) IS NOT NULL) FROM incoming WHERE {column} IS NOT NULL",  # noqa: S608
            )
            kinds[name] = "BIGINT" if fits and fits[0] else "VARCHAR"
        elif kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
            kinds[name] = "DOUBLE"
        elif kind in _TIMESTAMPS:
            kinds[name] = "TIMESTAMP"
        elif kind in ("BOOLEAN", "DATE"):
            kinds[name] = kind
        else:
            kinds[name] = "VARCHAR"
    return kinds


def _has_value(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    filled = first(connection, f"SELECT count({quoted(name)}) FROM attributes")  # noqa: S608
    return bool(filled and filled[0])


def _without_nan(column: str, kind: str | None) -> str:
    """Return an expression that reads NaN, which is how tables made by numpy say missing, as null."""
    return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END" if kind in ("FLOAT", "DOUBLE") else column


def _wider(connection: duckdb.DuckDBPyConnection, known: str, name: str, one: str, other: str) -> str:
    kinds = {one, other}
    if len(kinds) == 1:
        return one
    if kinds == {"DATE", "TIMESTAMP"}:
        return "TIMESTAMP"
    if kinds == {"BIGINT", "DOUBLE"}:
        table, column = ("attributes", known) if one == "BIGINT" else ("incoming", name)
        largest = first(connection, f"SELECT max(abs({quoted(column)}::HUGEINT)) FROM {table}")  # noqa: S608
        return "DOUBLE" if largest and largest[0] <= EXACT_INTEGERS else "VARCHAR"
    return "VARCHAR"
