"""The summed aggregate of each patient, recomputed from the rows it sums in the transaction that changes them.

A patient's aggregate is the plain sum of their vectors over the active spaces, from all samples but normal ones:
adjacent normal tissue is stored and searched in its own space and says nothing of the tumour. The sum runs in float64
in the order of space, sample and item, so it does not depend on the order in which the rows were committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import integers, integers_to_arrow, vectors_from_arrow, vectors_to_arrow

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    from numpy.typing import NDArray

CHUNK_ROWS = 20_000
"""Rows summed at a time (60 MB of float32); a patient is never split."""

SHORT_RUN = 16
"""Up to this many rows of a patient are summed for all patients together; more (tiles) patient by patient."""

# The rows an aggregate sums, stated once: `verify` recomputes from the same rows.
_COUNTS = (
    "JOIN samples s ON s.sample = e.sample JOIN spaces p ON p.space = e.space WHERE p.active AND s.kind <> 'normal'"
)
SUMMED = f"FROM embeddings e {_COUNTS}"


def sums(
    connection: duckdb.DuckDBPyConnection, patients: pa.Array | pa.ChunkedArray
) -> Iterator[tuple[pa.Array, NDArray[np.int64], NDArray[np.float32]]]:
    """Sum the vectors of `patients`, some thousand rows at a time.

    Yields
    ------
    tuple
        Patients (sorted; those without a row to sum are left out), the numbers of rows summed, the sums as float32
        (n, 768).
    """
    connection.register("asked", pa.table({"patient": patients}))
    counts = connection.sql(
        f"SELECT e.patient AS patient, count(*) AS rows {SUMMED} AND e.patient IN (SELECT patient FROM asked)"  # noqa: S608
        " GROUP BY 1 ORDER BY 1"
    ).to_arrow_table()
    connection.unregister("asked")
    ends = np.cumsum(integers(counts["rows"]))
    start = 0
    while start < counts.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK_ROWS, side="right")))
        yield _sum_of(connection, counts["patient"].slice(start, stop - start))
        start = stop


def _sum_of(
    connection: duckdb.DuckDBPyConnection, patients: pa.ChunkedArray
) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.float32]]:
    connection.register("chunk", pa.table({"patient": patients}))
    rows = connection.sql(
        "SELECT e.patient AS patient, e.space AS space, e.sample AS sample, e.item AS item, e.vector AS vector"  # noqa: S608
        f" {SUMMED} AND e.patient IN (SELECT patient FROM chunk)"
    ).to_arrow_table()
    connection.unregister("chunk")
    vectors = vectors_from_arrow(rows["vector"])
    return _sum_rows(rows.drop_columns(["vector"]), vectors, np.arange(len(vectors)))


def _sum_rows(
    rows: pa.Table, vectors: NDArray[np.float32], places: NDArray[np.int64]
) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.float32]]:
    """Sum rows (patient, space, sample, item) by patient, whatever order they come in.

    The vector of a row is that at its place in `vectors`.
    """
    keys = rows.combine_chunks()
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    names = keys["patient"].take(order).combine_chunks().dictionary_encode()
    names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    codes = integers(names.indices)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    parts = np.diff(np.r_[starts, len(codes)])
    return names.dictionary, parts, _add_up(vectors, places[integers(order)], starts, parts)


def _add_up(
    vectors: NDArray[np.float32], order: NDArray[np.int64], starts: NDArray[np.int64], parts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Sum runs of `parts` rows from `starts` in `order`; how a run is summed depends on its length alone."""
    total = vectors[order[starts]].astype(np.float64)
    short = parts <= SHORT_RUN
    for turn in range(1, int(parts[short].max(initial=1))):
        runs = np.flatnonzero(short & (parts > turn))
        total[runs] += vectors[order[starts[runs] + turn]]
    for run in np.flatnonzero(~short):
        total[run] = vectors[order[starts[run] : starts[run] + parts[run]]].sum(axis=0, dtype=np.float64)
    return total.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Given:
    """Rows (n, patient, space, sample, item) that the open transaction has stored; `n` is their place in `vectors`."""

    rows: pa.Table
    vectors: NDArray[np.float32]


def refresh(
    connection: duckdb.DuckDBPyConnection,
    patients: pa.Array | pa.ChunkedArray,
    *,
    next_id: int,
    snapshot: int,
    given: Given | None = None,
) -> int:
    """Bring the aggregates of `patients` up to their rows, inside the caller's transaction.

    An aggregate that changes is a new row with a new id; one that does not keeps its row. Patients all of whose rows
    are `given` are summed from there; the rows of others are read.

    Returns
    -------
    int
        The next free row id.
    """
    connection.register("touched", pa.table({"patient": patients}))
    stored = connection.sql(
        "SELECT patient, id, parts, vector FROM aggregates WHERE patient IN (SELECT patient FROM touched)"
    ).to_arrow_table()
    connection.unregister("touched")
    stored_vectors = vectors_from_arrow(stored["vector"])
    stored_ids = integers(stored["id"])
    stored_parts = integers(stored["parts"])
    kept = np.zeros(stored.num_rows, bool)
    fresh: list[tuple[pa.Array, NDArray[np.int64], NDArray[np.float32]]] = []
    for names, parts, vectors in _sums(connection, patients, given, snapshot):
        places = integers(pc.fill_null(pc.index_in(names, value_set=stored["patient"].combine_chunks()), -1))
        same = places >= 0
        found = places[same]
        same[same] = (stored_parts[found] == parts[same]) & (stored_vectors[found] == vectors[same]).all(axis=1)
        kept[places[same]] = True
        changed = ~same
        fresh.append((names.take(integers_to_arrow(np.flatnonzero(changed))), parts[changed], vectors[changed]))
    _delete(connection, stored_ids[~kept])
    for names, parts, vectors in fresh:
        if not len(names):
            continue
        rows = pa.table(
            {
                "id": integers_to_arrow(np.arange(next_id, next_id + len(names))),
                "patient": names,
                "parts": integers_to_arrow(parts),
                "snapshot": integers_to_arrow(np.full(len(names), snapshot)),
                "vector": vectors_to_arrow(vectors),
            }
        )
        connection.register("fresh", rows)
        connection.execute("INSERT INTO aggregates SELECT id, patient, parts, snapshot, vector FROM fresh")
        connection.unregister("fresh")
        next_id += len(names)
    return next_id


def _sums(
    connection: duckdb.DuckDBPyConnection,
    patients: pa.Array | pa.ChunkedArray,
    given: Given | None,
    snapshot: int,
) -> Iterator[tuple[pa.Array, NDArray[np.int64], NDArray[np.float32]]]:
    """As `sums`; vectors at hand are not read back."""
    if given is None:
        yield from sums(connection, patients)
        return
    connection.register("touched", pa.table({"patient": patients}))
    known = connection.sql(
        "SELECT DISTINCT patient FROM embeddings WHERE snapshot < ? AND patient IN (SELECT patient FROM touched)",
        params=[snapshot],
    ).to_arrow_table()["patient"]
    connection.unregister("touched")
    connection.register("given", given.rows)
    connection.register("known", pa.table({"patient": known}))
    rows = connection.sql(
        "SELECT e.n AS n, e.patient AS patient, e.space AS space, e.sample AS sample, e.item AS item FROM given e"  # noqa: S608
        f" {_COUNTS} AND e.patient NOT IN (SELECT patient FROM known)"
    ).to_arrow_table()
    connection.unregister("given")
    connection.unregister("known")
    if rows.num_rows:
        yield _sum_rows(rows.drop_columns(["n"]), given.vectors, integers(rows["n"]))
    yield from sums(connection, known)


def _delete(connection: duckdb.DuckDBPyConnection, ids: NDArray[np.int64]) -> None:
    if len(ids):
        connection.register("gone", pa.table({"id": integers_to_arrow(ids)}))
        connection.execute("DELETE FROM aggregates WHERE id IN (SELECT id FROM gone)")
        connection.unregister("gone")
