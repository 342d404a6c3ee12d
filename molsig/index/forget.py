"""Forgetting patients: gone from the truth in one transaction, then from every file derived from it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from molsig.errors import DamagedError, NotFoundError
from molsig.index.checkpoint import log_of
from molsig.index.connection import (
    ROW_GROUP,
    alone,
    connect_to,
    damage_told,
    first,
    literal,
    spill_of,
    transaction,
    write_log,
    writing,
)
from molsig.index.counters import counters, set_counters
from molsig.index.faults import reached
from molsig.index.manifest import sync_directory
from molsig.index.schema import DATABASE
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """What was deleted.

    Attributes
    ----------
    patients, samples, embeddings
        How many of each.
    spaces
        Spaces they had rows in; their indexes were built anew.
    compacted
        Whether the database file was rewritten, so that no freed block holds anything of them.
    """

    patients: int
    samples: int
    embeddings: int
    spaces: tuple[str, ...]
    compacted: bool


def delete(
    database: Path, patients: Sequence[str], *, compact: bool, first_of_all: Callable[[], None] | None = None
) -> ForgetResult:
    """Delete patients and everything that is theirs from the truth; `first_of_all` is called when all are known.

    The list of finished ingests goes with them: a file may be called after its patient, and the same files have to be
    able to bring the patients back.

    Raises
    ------
    NotFoundError
        Some are not stored; the message names all of those and nothing is deleted.
    """
    asked = pa.table({"patient": pa.array(dict.fromkeys(patients), pa.string())})
    with writing(database) as connection:
        connection.register("asked", asked)
        unknown = connection.execute(
            "SELECT patient FROM asked WHERE patient NOT IN (SELECT patient FROM patients) ORDER BY 1"
        ).fetchall()
        if unknown:
            names = ", ".join(repr(name) for (name,) in unknown)
            raise NotFoundError(f"{database.parent}: not stored, nothing was forgotten: {names}")
        if first_of_all is not None:
            first_of_all()
        spaces = connection.execute(
            "SELECT DISTINCT space FROM embeddings WHERE patient IN (SELECT patient FROM asked) ORDER BY 1"
        ).fetchall()
        affected = [space for (space,) in spaces]
        with transaction(connection):
            snapshot, next_id = counters(connection)
            counts = {}
            for table in ("embeddings", "aggregates", "samples", "attributes", "predictions", "patients"):
                gone = first(connection, f"DELETE FROM {table} WHERE patient IN (SELECT patient FROM asked)")  # noqa: S608
                counts[table] = int(gone[0]) if gone else 0
            connection.execute("DELETE FROM ingests")
            # The sum is always marked: it is what tells when something was last forgotten.
            connection.execute(
                "UPDATE spaces SET purged = ? WHERE space IN (SELECT unnest(?))", [snapshot + 1, [*affected, SUM_SPACE]]
            )
            set_counters(connection, snapshot + 1, next_id)
            if compact:
                connection.execute("UPDATE state SET compact_due = true")
            reached("forget.before")
        connection.unregister("asked")
        reached("forget.after")
    return ForgetResult(counts["patients"], counts["samples"], counts["embeddings"], tuple(affected), compact)


def compact(database: Path) -> None:
    """Rewrite the database into a new file and put it in the place of the old one, whole or not at all."""
    fresh = database.with_name(f"{DATABASE}.new")
    remove_leftovers(database)
    write_log(database)
    with alone(database):
        if log_of(database).exists():
            raise DamagedError(f"{database}: its log was not written into it; run molsig verify")
        try:
            _copy(database, fresh)
        except OSError:
            remove_leftovers(database)
            raise
        reached("compact.rename")
        fresh.rename(database)
        sync_directory(database.parent)
    reached("compact.after")


def _copy(database: Path, fresh: Path) -> None:
    with damage_told(fresh, kept="the database was not rewritten, and is as it was"):
        connection = duckdb.connect(
            config={"force_compression": "uncompressed", "temp_directory": str(spill_of(fresh))}
        )
        try:
            connection.execute(f"ATTACH {literal(database)} AS old (READ_ONLY)")
            connection.execute(f"ATTACH {literal(fresh)} AS fresh (ROW_GROUP_SIZE {ROW_GROUP})")
            connection.execute("COPY FROM DATABASE old TO fresh")
            connection.execute("UPDATE fresh.state SET compact_due = false")
            connection.execute("CHECKPOINT fresh")
        finally:
            connection.close()
        connect_to(fresh).close()


def remove_leftovers(database: Path) -> None:
    """Remove a new database file that was never put in place, and what a writer that died had spilled to disk."""
    fresh = database.with_name(f"{DATABASE}.new")
    for name in (fresh.name, f"{fresh.name}.wal"):
        database.with_name(name).unlink(missing_ok=True)
    for spilled in (spill_of(database), spill_of(fresh)):
        shutil.rmtree(spilled, ignore_errors=True)
