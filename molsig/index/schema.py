"""The tables of a reference and the numbered migrations that make them.

A new reference goes through the same migrations as an old one that is opened: number 1 makes the tables of format 1 in
an empty file. To change the format, add a function and its number to `MIGRATIONS`; never change one that was released.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb

from molsig.errors import DamagedError
from molsig.index.connection import transaction
from molsig.index.faults import reached
from molsig.types import DIM, SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATABASE = "reference.duckdb"

Migration = Callable[[duckdb.DuckDBPyConnection], None]


def _format_1(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the first tables.

    `embeddings` are immutable rows with ids that grow and are never used again. `aggregates` hold one such row per
    patient, the sum of theirs. `attributes` has a column for each of the user's, beside `patient`. `spaces.purged` is
    the snapshot of the last forget that took rows of the space: an index file made before it still holds them.
    """
    connection.execute("CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    connection.execute(
        "CREATE TABLE state (snapshot BIGINT NOT NULL, next_id BIGINT NOT NULL, compact_due BOOLEAN NOT NULL)"
    )
    connection.execute("CREATE TABLE patients (patient VARCHAR NOT NULL, snapshot BIGINT NOT NULL)")
    connection.execute(
        "CREATE TABLE samples"
        " (sample VARCHAR NOT NULL, patient VARCHAR NOT NULL, kind VARCHAR NOT NULL, snapshot BIGINT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE spaces"
        " (space VARCHAR NOT NULL, modality VARCHAR NOT NULL, active BOOLEAN NOT NULL, purged BIGINT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE embeddings (id BIGINT NOT NULL, space VARCHAR NOT NULL, patient VARCHAR NOT NULL,"
        " sample VARCHAR NOT NULL, item VARCHAR NOT NULL, digest VARCHAR NOT NULL, snapshot BIGINT NOT NULL,"
        f" vector FLOAT[{DIM}] NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE aggregates (id BIGINT NOT NULL, patient VARCHAR NOT NULL, parts BIGINT NOT NULL,"
        f" snapshot BIGINT NOT NULL, vector FLOAT[{DIM}] NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE encoders (space VARCHAR NOT NULL, modality VARCHAR NOT NULL, name VARCHAR NOT NULL,"
        " card VARCHAR NOT NULL, files VARCHAR NOT NULL, snapshot BIGINT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE ingests (digest VARCHAR NOT NULL, summary VARCHAR NOT NULL, files VARCHAR NOT NULL,"
        " finished VARCHAR NOT NULL, snapshot BIGINT NOT NULL)"
    )
    connection.execute("CREATE TABLE attributes (patient VARCHAR NOT NULL)")
    connection.execute("INSERT INTO state VALUES (0, 0, false)")
    connection.execute("INSERT INTO spaces VALUES (?, ?, false, 0)", [SUM_SPACE, SUM_SPACE])
    connection.execute(
        "INSERT INTO meta VALUES ('product', 'molsig'), ('reference', ?), ('created', ?)",
        [uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds")],
    )


def _format_2(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table of predicted columns, which stands beside `attributes`."""
    connection.execute(
        "CREATE TABLE predictions (patient VARCHAR NOT NULL, field VARCHAR NOT NULL, value VARCHAR, likeliest VARCHAR,"
        " probability DOUBLE, alternatives VARCHAR NOT NULL, low DOUBLE, high DOUBLE, error DOUBLE NOT NULL,"
        " method VARCHAR NOT NULL, source VARCHAR NOT NULL, created VARCHAR NOT NULL, snapshot BIGINT NOT NULL)"
    )


MIGRATIONS: Mapping[int, Migration] = {1: _format_1, 2: _format_2}
"""What leads to each format from the one before it."""


def format_of(connection: duckdb.DuckDBPyConnection, directory: Path) -> int:
    """Return the format number of an open database: 0 for an empty one.

    Raises
    ------
    DamagedError
        The database is not a molsig reference.
    """
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except duckdb.CatalogException:
        # Only asked where there is no such table: a list of all of them takes 10 ms.
        if not connection.execute("SELECT 1 FROM duckdb_tables()").fetchall():
            return 0
        raise DamagedError(f"{directory}: not a molsig reference, {DATABASE} holds other tables") from None
    try:
        if meta["product"] != "molsig":
            raise KeyError("product")
        return int(meta["format"])
    except (KeyError, ValueError):
        raise DamagedError(f"{directory}: not a molsig reference, {DATABASE} does not say its format") from None


def newest_format() -> int:
    """Return the number of the format this molsig writes."""
    return max(MIGRATIONS)


def check_format(found: int, directory: Path) -> bool:
    """Return whether a reference of format `found` has to be migrated.

    Raises
    ------
    DamagedError
        It was written by a newer molsig.
    """
    if found > newest_format():
        raise DamagedError(
            f"{directory}: written in format {found}, this molsig reads formats up to {newest_format()};"
            " update it: pip install -U molsig"
        )
    return found < newest_format()


def migrate(connection: duckdb.DuckDBPyConnection, directory: Path) -> list[int]:
    """Bring an open database to the newest format, one transaction per step, and return the steps taken."""
    taken = []
    for number in range(format_of(connection, directory) + 1, newest_format() + 1):
        with transaction(connection):
            MIGRATIONS[number](connection)
            connection.execute("DELETE FROM meta WHERE key = 'format'")
            connection.execute("INSERT INTO meta VALUES ('format', ?)", [str(number)])
            reached("migrate.before")
        reached("migrate.after")
        taken.append(number)
    return taken
