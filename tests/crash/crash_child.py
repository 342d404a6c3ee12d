"""The process that is killed: ``python crash_child.py ACTION REFERENCE LOG [--from N] [--to N]``.

It uses the public API alone, and appends a line to LOG, fsynced, after each call has returned: what stands there was
acknowledged. ``MOLSIG_FAULT`` (see `molsig.index.faults`) tells it where to die; without that the parent kills it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import crash_cohort
from crash_cohort import SPACES, Batch

from molsig.index import schema
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.reference import Reference


def acknowledge(log: Path, line: str) -> None:
    """Append a line and wait until it is on disk."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{line}\n".encode())
    os.fsync(handle)
    os.close(handle)


def ingest(path: Path, log: Path, first: int, last: int) -> None:
    """Commit batches `first` to `last`, skipping those stored; now and then patient columns and indexes."""
    store = Store.open(path) if (path / "reference.duckdb").exists() else Store.create(path)
    stored = set(store.stored(SPACES["rna"])["sample"].to_pylist())
    with store.writer("crash ingest") as writer:
        acknowledge(log, "started")
        for number in range(first, last):
            batch = Batch(number)
            if all(sample in stored for space, sample in batch.records() if space == SPACES["rna"]):
                continue
            if number % 3 == 0:
                writer.put_patients(batch.columns())
                acknowledge(log, f"columns {number}")
            writer.commit(batch.encoded())
            acknowledge(log, f"batch {number}")
            if number % 40 == 39:
                writer.build_indexes()
        writer.build_indexes()
        writer.record_ingest(f"batches {first} to {last}", {}, [])
        writer.checkpoint()
    acknowledge(log, "done")


def bulk(path: Path, log: Path, first: int, last: int) -> None:
    """Commit tiles by the thousand."""
    with Store.open(path).writer("crash bulk") as writer:
        for number in range(first, last):
            writer.commit([crash_cohort.bulk(number)])
            acknowledge(log, f"batch {number}")


def columns(path: Path, log: Path, first: int, last: int) -> None:
    """Put the patient columns of batches."""
    with Store.open(path).writer("crash columns") as writer:
        for number in range(first, last):
            writer.put_patients(Batch(number).columns())
            acknowledge(log, f"columns {number}")


def predict(path: Path, log: Path, first: int, last: int) -> None:
    """Put predictions of a patient column for the patients of batches, new ones each time."""
    with Store.open(path).writer("crash predictions") as writer:
        for number in range(first, last):
            batch = Batch(number)
            writer.put_patients(batch.columns())
            field = next(name for name in batch.columns().column_names if name != "patient")
            turn = str(time.time_ns())
            rows = [
                {
                    **dict.fromkeys(("value", "likeliest"), turn),
                    **dict.fromkeys(("probability", "low", "high"), None),
                    "patient": patient,
                    "field": field,
                    "alternatives": [],
                    "error": 0.1,
                    "method": "neighbours",
                    "source": {},
                    "created": "2026-01-01",
                }
                for patient in batch.columns()["patient"].to_pylist()
            ]
            writer.put_predictions(rows)
            acknowledge(log, f"predicted {number} {field} {turn}")


def index(path: Path, log: Path, first: int, last: int) -> None:
    """Build every index anew."""
    with Store.open(path).writer("crash index") as writer:
        writer.build_indexes(force=True)
    acknowledge(log, "indexed")


def forget(path: Path, log: Path, first: int, last: int) -> None:
    """Forget the first patient of batch `first` and leave nothing of them on disk."""
    patient = Batch(first).patients[0]
    with Store.open(path).writer("crash forget") as writer:
        writer.forget([patient], compact=True)
    acknowledge(log, f"forgot {patient}")


def create(path: Path, log: Path, first: int, last: int) -> None:
    """Make an empty reference."""
    Store.create(path)
    acknowledge(log, "created")


def migrate(path: Path, log: Path, first: int, last: int) -> None:
    """Open the reference with two formats more than there are: a column with values in it, and a further table."""
    add_migrations()
    Store.open(path)
    acknowledge(log, "migrated")


def add_migrations() -> None:
    """Teach this process two formats that do not exist yet."""
    newest = schema.newest_format()

    def with_length(connection: object) -> None:
        connection.execute("ALTER TABLE samples ADD COLUMN barcode_length BIGINT")  # type: ignore[attr-defined]
        connection.execute("UPDATE samples SET barcode_length = length(sample)")  # type: ignore[attr-defined]

    def with_kinds(connection: object) -> None:
        connection.execute("CREATE TABLE kinds AS SELECT DISTINCT kind FROM samples ORDER BY 1")  # type: ignore[attr-defined]

    schema.MIGRATIONS = {**schema.MIGRATIONS, newest + 1: with_length, newest + 2: with_kinds}


def learn(path: Path, log: Path, first: int, last: int) -> None:
    """Learn how to weigh the modalities, and write it down."""
    Reference.open(path).learn(labelled=False)
    acknowledge(log, "learned")


def check(path: Path, log: Path, first: int, last: int) -> None:
    """Print what verify finds, as JSON."""
    print(json.dumps([[check.name, check.ok, check.detail] for check in verify(Store.open(path))]))


ACTIONS = {
    action.__name__: action for action in (ingest, bulk, columns, predict, index, forget, create, migrate, learn, check)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("reference", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", dest="last", type=int, default=1)
    chosen = parser.parse_args()
    ACTIONS[chosen.action](chosen.reference, chosen.log, chosen.first, chosen.last)
    return 0


if __name__ == "__main__":
    sys.exit(main())
