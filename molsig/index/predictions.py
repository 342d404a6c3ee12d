"""Predicted patient columns: beside the recorded ones in a table of their own, each value with where it came from.

A prediction never becomes a patient column: conditions, votes and learning do not see it. There is one of a patient and
a column; a newer one takes its place. Columns of a file whose names begin as those of exported predictions do are
refused by `molsig.index.attributes`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from molsig.errors import NotFoundError, UsageError
from molsig.index import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

COLUMNS = (
    *("patient", "field", "value", "likeliest", "probability", "alternatives", "low", "high", "error", "method"),
    *("source", "created"),
)
"""Of what is stored: `value` is null where it cannot be told, `alternatives` a JSON list of the labels of the set,
`low` and `high` the ends of a number's interval, `source` a JSON object of how it was made."""


def put(connection: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]], snapshot: int) -> None:
    """Store predictions, in the place of earlier ones of the same patients and columns, in the caller's transaction.

    Parameters
    ----------
    rows
        Dictionaries of `COLUMNS`; `alternatives` and `source` as Python objects.

    Raises
    ------
    NotFoundError
        A patient is not stored.
    UsageError
        There is no such patient column.
    """
    for field in {row["field"] for row in rows} - set(attributes.columns(connection)):
        raise UsageError(f"no patient column {field!r}: there is nothing that the predictions could stand beside")
    told = [
        {**row, "alternatives": json.dumps(row["alternatives"]), "source": json.dumps(row["source"], sort_keys=True)}
        for row in rows
    ]
    kinds = dict.fromkeys(("probability", "low", "high", "error"), pa.float64())
    incoming = pa.table({name: pa.array([row[name] for row in told], kinds.get(name, pa.string())) for name in COLUMNS})
    connection.register("incoming", incoming)
    try:
        unknown = connection.execute(
            "SELECT DISTINCT patient FROM incoming WHERE patient NOT IN (SELECT patient FROM patients) ORDER BY 1"
        ).fetchall()
        if unknown:
            raise NotFoundError(f"not stored, no prediction was written: {', '.join(repr(one) for (one,) in unknown)}")
        connection.execute("DELETE FROM predictions WHERE (patient, field) IN (SELECT patient, field FROM incoming)")
        connection.execute(
            f"INSERT INTO predictions SELECT {', '.join(COLUMNS)}, ? FROM incoming ORDER BY field, patient",  # noqa: S608
            [snapshot],
        )
    finally:
        connection.unregister("incoming")


def drop(connection: duckdb.DuckDBPyConnection, field: str) -> int:
    """Delete the predictions of a column, in the caller's transaction, and return how many there were."""
    gone = connection.execute("DELETE FROM predictions WHERE field = ?", [field]).fetchone()
    return int(gone[0]) if gone else 0


def read(connection: duckdb.DuckDBPyConnection, field: str | None = None) -> pa.Table:
    """Return what is stored, as `COLUMNS`, by column and patient; of one column only if it is named."""
    return connection.sql(
        f"SELECT {', '.join(COLUMNS)} FROM predictions WHERE ? IS NULL OR field = ? ORDER BY field, patient",  # noqa: S608
        params=[field, field],
    ).to_arrow_table()


def told(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Return how many predictions there are of each column, by method and date, and how many told a value."""
    found = connection.execute(
        "SELECT field, method, created, count(*), count(value) FROM predictions GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [dict(zip(("field", "method", "created", "patients", "told"), row, strict=True)) for row in found]
