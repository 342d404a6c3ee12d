"""The commit counter and the next free row id, which both only ever grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molsig.errors import DamagedError
from molsig.index.connection import first

if TYPE_CHECKING:
    import duckdb


def counters(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Return the commit counter and the next free row id."""
    found = first(connection, "SELECT snapshot, next_id FROM state")
    if found is None:
        raise DamagedError("the database has lost its commit counter")
    return int(found[0]), int(found[1])


def set_counters(connection: duckdb.DuckDBPyConnection, snapshot: int, next_id: int) -> None:
    """Store the commit counter and the next free row id, inside the transaction they count."""
    connection.execute("UPDATE state SET snapshot = ?, next_id = ?", [snapshot, next_id])


def count_commit(connection: duckdb.DuckDBPyConnection) -> int:
    """Count a commit that takes no row ids, inside its transaction, and return its number."""
    snapshot, next_id = counters(connection)
    set_counters(connection, snapshot + 1, next_id)
    return snapshot + 1
