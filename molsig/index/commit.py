"""What a batch changes: decided against what is stored, then written in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import InputError, UsageError
from molsig.index import aggregates
from molsig.index.arrays import booleans, integers, integers_to_arrow, vectors_to_arrow
from molsig.index.batches import CommitResult, Conflict
from molsig.index.connection import first, transaction
from molsig.index.counters import counters, set_counters
from molsig.index.faults import reached

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    from numpy.typing import NDArray

    from molsig.index.batches import Incoming


@dataclass(frozen=True, slots=True)
class _Decision:
    """What to do with a batch.

    `insert` are positions in it, `delete` ids of stored rows that are stored anew, `rekinded` the stored samples
    (sample, patient, kind) that turn out to be another kind of specimen.
    """

    insert: NDArray[np.int64]
    delete: NDArray[np.int64]
    rekinded: pa.Table
    added: Mapping[str, int]
    skipped: int
    conflicts: tuple[Conflict, ...]


def commit(connection: duckdb.DuckDBPyConnection, incoming: Incoming, *, replace: bool) -> CommitResult:
    """Store a checked batch, as `Writer.commit` tells."""
    connection.register("incoming", incoming.rows)
    try:
        _check_against_store(connection)
        decision = _decide(connection, replace=replace)
        if len(decision.insert) or decision.rekinded.num_rows:
            with transaction(connection):
                _write(connection, incoming, decision)
                reached("commit.before")
            reached("commit.after")
    finally:
        connection.unregister("incoming")
    return CommitResult(
        added=decision.added,
        skipped=decision.skipped,
        replaced=len(decision.delete),
        conflicts=decision.conflicts,
        snapshot=counters(connection)[0],
    )


def _check_against_store(connection: duckdb.DuckDBPyConnection) -> None:
    moved = first(
        connection,
        "SELECT i.sample, s.patient, i.patient FROM incoming i JOIN samples s ON s.sample = i.sample"
        " WHERE s.patient <> i.patient ORDER BY i.n LIMIT 1",
    )
    if moved:
        sample, stored, given = moved
        raise InputError(
            f"sample {sample!r} is stored for patient {stored!r} and given for {given!r}",
            hint=f"Mend the sample table, or forget {stored!r} first",
        )
    other = first(
        connection,
        "SELECT i.space, p.modality, i.modality FROM incoming i JOIN spaces p ON p.space = i.space"
        " WHERE p.modality <> i.modality ORDER BY i.n LIMIT 1",
    )
    if other:
        raise UsageError(f"space {other[0]!r} holds {other[1]} vectors and is given {other[2]} vectors")


def _decide(connection: duckdb.DuckDBPyConnection, *, replace: bool) -> _Decision:
    # Of several records under one name the first counts, or the last where they replace each other. A batch with such
    # is rare, and telling their turns takes longer than all the rest.
    order = "DESC" if replace else "ASC"
    names = first(
        connection,
        "SELECT (SELECT count(*) FROM (SELECT DISTINCT space, sample, item FROM incoming)), count(*) FROM incoming",
    )
    turn, given, window = "1", "i.digest", ""
    if names is None or names[0] != names[1]:
        turn, given = "row_number() OVER w", "first_value(i.digest) OVER w"
        window = f" WINDOW w AS (PARTITION BY i.space, i.sample, i.item ORDER BY i.n {order})"
    rows = connection.sql(
        "SELECT i.n AS n, i.modality AS modality, i.space AS space, i.sample AS sample, i.item AS item,"  # noqa: S608
        f" i.digest AS digest, {turn} AS turn, coalesce(e.digest, {given}) AS known, e.id AS id"
        " FROM incoming i LEFT JOIN (SELECT id, space, sample, item, digest FROM embeddings"
        "  WHERE sample IN (SELECT sample FROM incoming) AND space IN (SELECT space FROM incoming)) e"
        f" ON e.space = i.space AND e.sample = i.sample AND e.item = i.item{window} ORDER BY i.n"
    ).to_arrow_table()
    counts = integers(rows["turn"]) == 1
    stored = booleans(rows["id"].is_valid())
    same = booleans(pc.equal(rows["digest"], rows["known"]))
    add = counts & ~stored
    anew = counts & stored & ~same if replace else np.zeros(len(counts), bool)
    differs = ~same & ~add & ~anew & (not replace)
    told = rows.take(_where(differs)).select(["space", "sample", "item", "known", "digest"]).to_pylist()
    conflicts = [Conflict(r["space"], r["sample"], r["item"], "record", r["known"], r["digest"]) for r in told]
    rekinded, kind_conflicts = _settle_kinds(connection, order, replace=replace)
    return _Decision(
        insert=np.flatnonzero(add | anew),
        delete=integers(rows["id"].take(_where(anew))),
        rekinded=rekinded,
        added=dict(Counter(rows["modality"].take(_where(add)).to_pylist())),
        skipped=int(np.sum(~add & ~anew & ~differs)),
        conflicts=(*conflicts, *kind_conflicts),
    )


def _where(mask: NDArray[np.bool_]) -> pa.Array:
    return integers_to_arrow(np.flatnonzero(mask))


def _settle_kinds(
    connection: duckdb.DuckDBPyConnection, order: str, *, replace: bool
) -> tuple[pa.Table, list[Conflict]]:
    """Return the stored samples to call another kind, and the kinds given that stay unheard."""
    samples = connection.sql(
        f"SELECT i.sample AS sample, i.patient AS patient, first(i.kind ORDER BY i.n {order}) AS kind,"  # noqa: S608
        " any_value(s.kind) AS stored, list(DISTINCT i.kind ORDER BY i.kind) AS given"
        " FROM incoming i LEFT JOIN samples s ON s.sample = i.sample GROUP BY 1, 2"
        " HAVING count(DISTINCT i.kind) > 1 OR any_value(s.kind) <> any_value(i.kind) ORDER BY 1"
    ).to_arrow_table()
    if replace:
        known = samples.filter(pc.is_valid(samples["stored"]))
        moved = known.filter(pc.not_equal(known["kind"], known["stored"]))
        return moved.select(["sample", "patient", "kind"]), []
    conflicts = []
    for row in samples.to_pylist():
        kept = row["stored"] or row["kind"]
        conflicts += [Conflict("", row["sample"], "", "kind", kept, kind) for kind in row["given"] if kind != kept]
    return samples.slice(0, 0).select(["sample", "patient", "kind"]), conflicts


def _write(connection: duckdb.DuckDBPyConnection, incoming: Incoming, decision: _Decision) -> None:
    snapshot, next_id = counters(connection)
    snapshot += 1
    everything = len(decision.insert) == incoming.rows.num_rows
    chosen = incoming.rows if everything else incoming.rows.take(integers_to_arrow(decision.insert))
    vectors = incoming.vectors if everything else incoming.vectors[decision.insert]
    fresh = chosen.append_column("id", integers_to_arrow(np.arange(next_id, next_id + len(vectors))))
    fresh = fresh.append_column("vector", vectors_to_arrow(vectors))
    touched = pa.chunked_array([*chosen["patient"].chunks, *decision.rekinded["patient"].chunks], pa.string()).unique()
    if len(decision.delete):
        connection.register("gone", pa.table({"id": integers_to_arrow(decision.delete)}))
        connection.execute("DELETE FROM embeddings WHERE id IN (SELECT id FROM gone)")
        connection.unregister("gone")
    if decision.rekinded.num_rows:
        connection.register("rekinded", decision.rekinded)
        connection.execute("UPDATE samples SET kind = r.kind FROM rekinded r WHERE r.sample = samples.sample")
        connection.unregister("rekinded")
    connection.register("fresh", fresh)
    # The first space of a modality is the one that is summed.
    connection.execute(
        "INSERT INTO spaces SELECT space, modality,"
        " row_number() OVER (PARTITION BY modality ORDER BY n) = 1 AND modality NOT IN (SELECT modality FROM spaces), 0"
        " FROM (SELECT space, modality, min(n) AS n FROM fresh GROUP BY 1, 2)"
        " WHERE space NOT IN (SELECT space FROM spaces) ORDER BY n"
    )
    connection.execute(
        "INSERT INTO patients SELECT patient, ? FROM fresh WHERE patient NOT IN (SELECT patient FROM patients)"
        " GROUP BY patient ORDER BY min(n)",
        [snapshot],
    )
    # A sample's kind is the first one given with it; all of them agree unless a conflict was told.
    connection.execute(
        "INSERT INTO samples SELECT sample, any_value(patient), first(kind ORDER BY n), ? FROM fresh"
        " WHERE sample NOT IN (SELECT sample FROM samples) GROUP BY sample ORDER BY min(n)",
        [snapshot],
    )
    connection.execute(
        "INSERT INTO embeddings SELECT id, space, patient, sample, item, digest, ?, vector FROM fresh", [snapshot]
    )
    connection.unregister("fresh")
    reached("commit.rows")
    keys = chosen.select(["patient", "space", "sample", "item"])
    given = aggregates.Given(keys.add_column(0, "n", integers_to_arrow(np.arange(len(vectors)))), vectors)
    next_id = aggregates.refresh(connection, touched, next_id=next_id + len(vectors), snapshot=snapshot, given=given)
    set_counters(connection, snapshot, next_id)
