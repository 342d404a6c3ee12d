"""Reads that share one opening of the database: as quick as one, and in nobody's way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import duckdb
import pytest

from molsig.errors import DamagedError, UsageError
from molsig.index import connection
from molsig.index.connection import kept_open
from molsig.index.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from molsig.types import Encoded

COMMIT = """
import sys, numpy as np
from molsig.index.store import Store
from molsig.types import Encoded, SampleId
vectors = np.ones((1, 768), np.float32)
store = Store.open(sys.argv[1])
with store.writer("other") as writer:
    print("writes", flush=True)
    writer.commit([Encoded("rna", "rna-test", (SampleId("Z-01", "Z"),), ("",), vectors, ("z",))])
"""


@pytest.fixture
def filled(store: Store, encoded: Callable[..., Encoded]) -> Store:
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B"])])
    return store


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether it was read-only, for each time that a database was opened."""
    found: list[bool] = []
    really = connection._connect

    def counted(*given: object, read_only: bool, patience: float) -> duckdb.DuckDBPyConnection:
        found.append(read_only)
        return really(*given, read_only=read_only, patience=patience)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "_connect", counted)
    return found


def test_reads_share_one_opening(filled: Store, openings: list[bool]) -> None:
    with kept_open(filled.database):
        assert openings == []
        assert Store.open(filled.path).patient_ids() == ["A", "B"]
        with filled.reading() as outer:
            rows = outer.execute("SELECT patient FROM patients ORDER BY patient")
            assert filled.snapshot() == 1
            assert rows.fetchall() == [("A",), ("B",)]
        with kept_open(filled.database):
            assert filled.snapshot() == 1
        assert filled.snapshot() == 1
    assert openings == [True]
    filled.snapshot()
    filled.snapshot()
    assert openings == [True] * 3


def test_a_commit_of_another_process_gets_in_between_two_reads(filled: Store) -> None:
    with kept_open(filled.database):
        assert filled.patient_ids() == ["A", "B"]
        with subprocess.Popen([sys.executable, "-c", COMMIT, filled.path], stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"writes\n"
            end = time.monotonic() + 20
            while filled.patient_ids() == ["A", "B"] and time.monotonic() < end:
                time.sleep(0.02)
            assert other.wait(20) == 0
        assert filled.patient_ids() == ["A", "B", "Z"]


def test_a_commit_of_another_process_gets_in_after_the_block(filled: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", COMMIT, filled.path], stdout=subprocess.PIPE) as other:
        with kept_open(filled.database):
            filled.snapshot()
            assert other.stdout is not None
            other.stdout.readline()
            time.sleep(0.2)
        assert other.wait(20) == 0
    assert filled.patient_ids() == ["A", "B", "Z"]


def test_a_commit_of_the_same_thread_does_not_wait_for_itself(
    filled: Store, encoded: Callable[..., Encoded], openings: list[bool]
) -> None:
    with kept_open(filled.database):
        assert filled.snapshot() == 1
        with filled.writer("test") as writer:
            writer.commit([encoded(["C"])])
        assert filled.patient_ids() == ["A", "B", "C"]
    assert False in openings


def test_other_threads_read_and_commit(filled: Store, encoded: Callable[..., Encoded]) -> None:
    def commit() -> None:
        with filled.writer("test") as writer:
            writer.commit([encoded(["C"])])

    with kept_open(filled.database):
        assert filled.snapshot() == 1
        reader = threading.Thread(target=filled.snapshot)
        reader.start()
        reader.join(20)
        assert not reader.is_alive()
        writer = threading.Thread(target=commit)
        writer.start()
        # This thread may go on while the other waits for it.
        for _ in range(20):
            assert filled.snapshot() == 1
            time.sleep(0.005)
    writer.join(20)
    assert not writer.is_alive()
    assert filled.patient_ids() == ["A", "B", "C"]


def test_after_a_failure_the_next_read_opens_anew(filled: Store, openings: list[bool]) -> None:
    with kept_open(filled.database):
        with pytest.raises(duckdb.Error), filled.reading() as reading:
            reading.execute("SELECT no_such_column FROM patients")
        assert filled.snapshot() == 1
        with pytest.raises(UsageError):
            filled.attributes(["A"], ["no such column"])
        assert filled.snapshot() == 1
    assert openings == [True] * 3


def test_what_cannot_be_opened_is_told(filled: Store) -> None:
    filled.database.write_bytes(b"not a database" * 1000)
    with kept_open(filled.database):
        for _ in range(2):
            with pytest.raises(DamagedError):
                filled.snapshot()
