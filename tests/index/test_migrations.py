"""A reference written in an older format opens, and keeps every row."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from molsig.errors import LockedError
from molsig.index import schema
from molsig.index.lock import writer_lock
from molsig.index.store import Store
from molsig.index.verify import verify

FORMAT_1 = Path(__file__).with_name("format_1.sql")


def write_archived(path: Path, script: Path) -> None:
    """Write a reference as an older molsig did: by the statements kept from it."""
    path.mkdir()
    with duckdb.connect(str(path / "reference.duckdb")) as connection:
        for statement in re.split(r";\n", script.read_text()):
            if statement.strip():
                connection.execute(statement)


def test_format_1_opens(tmp_path: Path) -> None:
    """What format 1 was is kept as SQL, rows and all, apart from the code; it opens whatever the format is by then."""
    write_archived(tmp_path / "old.molsig", FORMAT_1)
    store = Store.open(tmp_path / "old.molsig")
    assert store.info()["format"] == schema.newest_format()
    assert store.patient_ids() == ["TCGA-02-0001", "TCGA-02-0003"]
    ids, vectors = store.vectors("rna-vae-0123abcd")
    assert ids.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(vectors[:, 0], [0.5, 1.0, 1.5])
    assert store.rows("sum")["patient"].to_pylist() == ["TCGA-02-0001", "TCGA-02-0003"]
    assert store.select_patients("sex = 'female' AND \"age at diagnosis\" > 50") == ["TCGA-02-0003"]
    assert store.encoders()[0].card == {"name": "rna-vae"}
    assert store.has_ingest("abc")
    with store.writer("test") as writer:
        writer.put_patients(pa.table({"patient": ["TCGA-02-0001"], "stage": ["II"]}))
        writer.build_indexes()
    failed = [check for check in verify(store) if not check.ok]
    assert [check.name for check in failed] == ["encoder rna-vae-0123abcd"], "its weights are not archived"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two formats after the newest, and the steps that were taken."""
    taken: list[int] = []
    newest = schema.newest_format()

    def step(number: int, statement: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
        def migration(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(statement)
            taken.append(number)

        return migration

    added = {
        newest + 1: step(newest + 1, "ALTER TABLE samples ADD COLUMN site VARCHAR"),
        newest + 2: step(newest + 2, "UPDATE samples SET site = substr(sample, 1, 1)"),
    }
    monkeypatch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, **added})
    return taken


def test_pending_migrations_are_run_in_order_and_once(tmp_path: Path, encoded, request: pytest.FixtureRequest) -> None:
    store = Store.create(tmp_path / "r.molsig")
    with store.writer("test") as writer:
        writer.commit([encoded(["A", "B"])])
    taken = request.getfixturevalue("later")
    newest = schema.newest_format()
    opened = Store.open(store.path)
    assert taken == [newest - 1, newest]
    assert opened.info()["format"] == newest
    with opened.reading() as connection:
        assert connection.execute("SELECT site FROM samples ORDER BY 1").fetchall() == [("A",), ("B",)]
    Store.open(store.path)
    assert taken == [newest - 1, newest]
    assert Store.create(tmp_path / "fresh.molsig").info()["format"] == newest
    assert all(check.ok for check in verify(opened))


def test_a_migration_that_fails_leaves_the_format_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = schema.newest_format()

    def broken(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("CREATE TABLE half (x INT)")
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, newest + 1: broken})
        with pytest.raises(RuntimeError):
            Store.open(store.path)
    assert Store.open(store.path).info()["format"] == newest
    with store.reading() as connection:
        assert connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == []


def test_a_reference_that_is_written_to_is_not_migrated(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = Store.create(tmp_path / "r.molsig")
    request.getfixturevalue("later")
    with writer_lock(store.path, "molsig ingest"), pytest.raises(LockedError, match="molsig ingest"):
        Store.open(store.path)
