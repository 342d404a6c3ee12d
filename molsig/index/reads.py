"""What is read of an open database: spaces, rows, vectors, encoders, as Arrow tables and numpy arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from molsig.errors import NotFoundError
from molsig.index.arrays import integers, integers_to_arrow, stacked, vectors_from_arrow
from molsig.index.connection import first
from molsig.index.counters import counters
from molsig.index.manifest import generation_info
from molsig.types import DIM, SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb
    from numpy.typing import NDArray

    from molsig.index.manifest import GenerationInfo

_READ_ROWS = 2048
"""Rows handed over at a time (6 MB): their copy is made while they are in the cache."""


@dataclass(frozen=True, slots=True)
class SpaceInfo:
    """One space: how many rows of how many patients it holds, and the FAISS generation over it.

    `active` spaces enter the patients' sums; `purged` is the snapshot of the last forget that took rows of it.
    """

    space: str
    modality: str
    rows: int
    patients: int
    active: bool
    purged: int = 0
    generation: GenerationInfo | None = None


class SpaceName(NamedTuple):
    """A space that has rows, its modality, and whether it enters the patients' sums."""

    space: str
    modality: str
    active: bool


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """An encoder as the database knows it: its card and the SHA-256 of each file in its folder under ``encoders/``."""

    space: str
    modality: str
    name: str
    card: Mapping[str, Any]
    files_sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class IngestRow:
    """An ingest that was finished: the digest of its inputs, when it ended (UTC, ISO 8601), what it said."""

    digest: str
    finished: str
    summary: Mapping[str, Any]
    files: tuple[str, ...]
    snapshot: int


def snapshot_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the commit counter of an open database."""
    return counters(connection)[0]


def spaces_of(connection: duckdb.DuckDBPyConnection, index_dir: Path) -> list[SpaceInfo]:
    """Return the spaces of an open database that have rows, the sum last."""
    found = connection.execute(
        "SELECT p.space, p.modality, c.rows, c.patients, p.active, p.purged FROM spaces p JOIN ("
        " SELECT space, count(*) AS rows, count(DISTINCT patient) AS patients FROM embeddings GROUP BY space"
        " UNION ALL SELECT ?, count(*), count(DISTINCT patient) FROM aggregates HAVING count(*) > 0"
        ") c ON c.space = p.space ORDER BY p.space = ?, p.modality, p.space",
        [SUM_SPACE, SUM_SPACE],
    ).fetchall()
    return [
        SpaceInfo(space, modality, rows, patients, active, purged, generation_info(index_dir, space))
        for space, modality, rows, patients, active, purged in found
    ]


def space_names_of(connection: duckdb.DuckDBPyConnection) -> list[SpaceName]:
    """Return the same spaces but the sum by name, which takes a quarter of the time: their rows are not counted."""
    found = connection.execute(
        "SELECT space, modality, active FROM spaces WHERE space IN (SELECT DISTINCT space FROM embeddings)"
        " ORDER BY modality, space"
    ).fetchall()
    return [SpaceName(*one) for one in found]


def rows_of(connection: duckdb.DuckDBPyConnection, space: str) -> pa.Table:
    """Return the rows of a space of an open database as (id, patient, sample, kind, item), by id."""
    if space == SUM_SPACE:
        return connection.sql(
            "SELECT id, patient, NULL::VARCHAR AS sample, 'tumour' AS kind, NULL::VARCHAR AS item"
            " FROM aggregates ORDER BY id"
        ).to_arrow_table()
    return connection.sql(
        "SELECT e.id AS id, e.patient AS patient, e.sample AS sample, s.kind AS kind, e.item AS item"
        " FROM embeddings e JOIN samples s ON s.sample = e.sample WHERE e.space = ? ORDER BY e.id",
        params=[space],
    ).to_arrow_table()


def vectors_of(
    connection: duckdb.DuckDBPyConnection, space: str, ids: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return row ids and vectors of an open database, as `Store.vectors` does."""
    table = "aggregates" if space == SUM_SPACE else "embeddings"
    condition, params = ("true", []) if space == SUM_SPACE else ("space = ?", [space])
    if ids is None:
        count = first(connection, f"SELECT count(*) FROM {table} WHERE {condition}", params)  # noqa: S608
        rows = connection.sql(f"SELECT id, vector FROM {table} WHERE {condition}", params=params)  # noqa: S608
        found, vectors = stacked(rows.to_arrow_reader(_READ_ROWS), count[0] if count else 0)
        # Rows come in the order they were inserted, which is that of their ids unless the file was compacted.
        if np.any(found[1:] < found[:-1]):
            order = np.argsort(found)
            found, vectors = found[order], vectors[order]
        return found, vectors
    wanted = np.asarray(ids, dtype=np.int64)
    unique, inverse = np.unique(wanted, return_inverse=True)
    if not len(unique):
        return wanted, np.empty((0, DIM), np.float32)
    # Ids grow with the file, so their range leaves most of it unread.
    connection.register("wanted", pa.table({"id": integers_to_arrow(unique)}))
    rows = connection.sql(
        f"SELECT id, vector FROM {table} WHERE {condition} AND id BETWEEN ? AND ?"  # noqa: S608
        " AND id IN (SELECT id FROM wanted)",
        params=[*params, int(unique[0]), int(unique[-1])],
    ).to_arrow_table()
    connection.unregister("wanted")
    found = integers(rows["id"])
    if len(found) != len(unique):
        missing = np.setdiff1d(unique, found)
        raise NotFoundError(f"space {space!r} has no row {', '.join(map(str, missing[:5].tolist()))}")
    order = np.argsort(found)
    return wanted, vectors_from_arrow(rows["vector"])[order[inverse]]


def recognised(
    connection: duckdb.DuckDBPyConnection,
    space: str,
    samples: Sequence[str],
    items: Sequence[str],
    digests: Sequence[str],
) -> NDArray[np.bool_]:
    """Return which of some records are stored in a space of an open database with the same digest."""
    given = pa.table(
        {
            "n": integers_to_arrow(np.arange(len(samples))),
            "sample": pa.array(samples, pa.string()),
            "item": pa.array(items, pa.string()),
            "digest": pa.array(digests, pa.string()),
        }
    )
    same = np.zeros(given.num_rows, bool)
    connection.register("given", given)
    found = connection.sql(
        "SELECT g.n AS n FROM given g SEMI JOIN (SELECT sample, item, digest FROM embeddings WHERE space = ?) e"
        " ON e.sample = g.sample AND e.item = g.item AND e.digest = g.digest",
        params=[space],
    ).to_arrow_table()
    connection.unregister("given")
    same[integers(found["n"])] = True
    return same


def encoders_of(connection: duckdb.DuckDBPyConnection) -> list[EncoderRow]:
    """Return the encoders of an open database, by space."""
    found = connection.execute("SELECT space, modality, name, card, files FROM encoders ORDER BY space").fetchall()
    return [
        EncoderRow(space, modality, name, json.loads(card), json.loads(files))
        for space, modality, name, card, files in found
    ]
