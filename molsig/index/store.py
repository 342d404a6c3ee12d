"""The truth on disk: what is stored of patients, samples and embeddings, and how it is read.

Every reader opens the database for the length of one call and returns Arrow tables or numpy arrays; nothing is cached
here. Writing is in `writer`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from molsig.errors import DamagedError, NotFoundError, UsageError
from molsig.index import attributes, filters
from molsig.index.arrays import integers, vectors_from_arrow
from molsig.index.connection import TURNSTILE, connect_to, first, reading, writing
from molsig.index.faults import reached
from molsig.index.lock import writer_lock
from molsig.index.manifest import generation_info, sync_directory
from molsig.index.near import near
from molsig.index.schema import DATABASE, check_format, format_of, migrate
from molsig.types import DIM, SUM_SPACE, silent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    from numpy.typing import NDArray

    from molsig.index.manifest import GenerationInfo
    from molsig.index.writer import Writer as Writer
    from molsig.types import Progress


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


class Store:
    """The truth of one reference directory.

    Attributes
    ----------
    path
        The ``*.molsig`` directory.
    database
        Its DuckDB file.
    index_dir, encoders_dir
        Its folders of FAISS generations and of encoders.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.database = self.path / DATABASE
        self.index_dir = self.path / "index"
        self.encoders_dir = self.path / "encoders"

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Store:
        """Make an empty reference.

        Raises
        ------
        UsageError
            There is a reference at `path` already, or something else.
        """
        store = cls(Path(path))
        if store.database.exists():
            raise UsageError(f"{store.path}: there is a reference already")
        leftovers = {TURNSTILE, "writer.lock", "index", "encoders", f"{DATABASE}.new", f"{DATABASE}.new.wal"}
        try:
            if store.path.exists() and {entry.name for entry in store.path.iterdir()} - leftovers:
                raise UsageError(f"{store.path}: exists and is not a molsig reference")
            for folder in (store.path, store.index_dir, store.encoders_dir):
                folder.mkdir(parents=True, exist_ok=True)
            (store.path / TURNSTILE).touch()
        except (NotADirectoryError, PermissionError, FileExistsError) as error:
            raise UsageError(f"{store.path}: a reference cannot be made there: {error.strerror}") from error
        with writer_lock(store.path, "create"):
            if store.database.exists():
                raise UsageError(f"{store.path}: there is a reference already")
            fresh = store.path / f"{DATABASE}.new"
            for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
                leftover.unlink(missing_ok=True)
            connection = connect_to(fresh)
            try:
                migrate(connection, store.path)
            finally:
                connection.close()
            reached("create.rename")
            fresh.rename(store.database)
            sync_directory(store.path)
        return store

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Open a reference; one written in an older format is migrated first.

        Raises
        ------
        UsageError
            There is nothing at `path`.
        DamagedError
            What is there is not a reference, is damaged, or was written by a newer molsig.
        LockedError
            It has to be migrated and another process is writing to it.
        """
        store = cls(Path(path))
        if not store.path.exists():
            raise UsageError(f"{store.path}: there is no reference; make one with: molsig ingest {store.path} ...")
        with store.reading() as connection:
            outdated = check_format(format_of(connection, store.path), store.path)
        if outdated:
            with writer_lock(store.path, "migrate"), writing(store.database) as connection:
                migrate(connection, store.path)
        return store

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database read-only for the length of the block: one snapshot of it."""
        with reading(self.database) as connection:
            yield connection

    @contextmanager
    def writer(self, command: str, *, timeout: float = 0.0, progress: Progress = silent) -> Iterator[Writer]:
        """Hold the writer lock for the length of the block.

        Parameters
        ----------
        command
            What is being done, told to whoever finds the reference locked.
        timeout
            Seconds to wait for another writer.

        Raises
        ------
        LockedError
            Another process is writing; the message says which.
        """
        from molsig.index.writer import Writer as Writer

        with writer_lock(self.path, command, timeout=timeout):
            writer = Writer(self, progress=progress)
            writer.recover()
            yield writer

    def snapshot(self) -> int:
        """Return the commit counter."""
        with self.reading() as connection:
            return snapshot_of(connection)

    def spaces(self) -> list[SpaceInfo]:
        """Return every space that has rows, the sum last."""
        with self.reading() as connection:
            return spaces_of(connection, self.index_dir)

    def stored(self, space: str) -> pa.Table:
        """Return what is stored of a space as (sample, item, digest); an unknown space has no row."""
        with self.reading() as connection:
            return connection.sql(
                "SELECT sample, item, digest FROM embeddings WHERE space = ?", params=[space]
            ).to_arrow_table()

    def rows(self, space: str) -> pa.Table:
        """Return the rows of a space as (id, patient, sample, kind, item), by id.

        A row of the sum space has no sample and no item (null), and the kind ``tumour``.
        """
        with self.reading() as connection:
            return rows_of(connection, space)

    def vectors(
        self, space: str, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return row ids and their vectors, float32 (n, 768): all of a space by id, or those of `ids` in their order.

        Raises
        ------
        NotFoundError
            An id of `ids` is not a row of the space.
        """
        with self.reading() as connection:
            return vectors_of(connection, space, ids)

    def embeddings_of(self, patient: str) -> tuple[pa.Table, NDArray[np.float32]]:
        """Return a patient's rows as (id, space, modality, sample, kind, item) and their vectors, float32 (n, 768).

        Raises
        ------
        NotFoundError
            No such patient.
        """
        with self.reading() as connection:
            known = first(connection, "SELECT count(*) FROM patients WHERE patient = ?", [patient])
            if not known or not known[0]:
                raise NotFoundError(f"{self.path}: no patient {patient!r}{near(patient, self._patients(connection))}")
            rows = connection.sql(
                "SELECT e.id AS id, e.space AS space, p.modality AS modality, e.sample AS sample, s.kind AS kind,"
                " e.item AS item, e.vector AS vector FROM embeddings e JOIN samples s ON s.sample = e.sample"
                " JOIN spaces p ON p.space = e.space WHERE e.patient = ? ORDER BY e.id",
                params=[patient],
            ).to_arrow_table()
        return rows.drop_columns(["vector"]), vectors_from_arrow(rows["vector"])

    def select_patients(self, where: str | None = None) -> list[str]:
        """Return the patients for whom an SQL condition over the patient columns is true, sorted; all without one.

        Raises
        ------
        UsageError
            The condition is not one, uses what is not allowed in it, or names a column that does not exist.
        """
        with self.reading() as connection:
            if where is None:
                return self._patients(connection)
            return filters.select(
                where, attributes.columns(connection), lambda columns: attributes.read(connection, columns)
            )

    def patient_ids(self) -> list[str]:
        """Return the ids of all patients, sorted."""
        with self.reading() as connection:
            return self._patients(connection)

    def attributes(self, patients: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the columns of `patients` in their order, `patient` first; null where nothing is known.

        Raises
        ------
        UsageError
            A column does not exist.
        """
        with self.reading() as connection:
            return attributes.read_for(connection, patients, columns)

    def columns(self) -> dict[str, str]:
        """Return the user's patient columns and their types: text, integer, number, boolean, date or timestamp."""
        with self.reading() as connection:
            return attributes.columns(connection)

    def encoders(self) -> list[EncoderRow]:
        """Return the encoders, by space."""
        with self.reading() as connection:
            return encoders_of(connection)

    def genes(self) -> pa.Table | None:
        """Return the gene table as it was put, or None."""
        with self.reading() as connection:
            known = first(connection, "SELECT 1 FROM duckdb_tables() WHERE table_name = 'genes'")
            return connection.sql("SELECT * FROM genes").to_arrow_table() if known else None

    def has_ingest(self, digest: str) -> bool:
        """Return whether an ingest of these inputs was finished, and nothing was forgotten since."""
        with self.reading() as connection:
            done = first(
                connection,
                "SELECT 1 FROM ingests WHERE digest = ? AND snapshot > (SELECT max(purged) FROM spaces)",
                [digest],
            )
        return done is not None

    def ingests(self) -> list[IngestRow]:
        """Return the finished ingests, oldest first."""
        with self.reading() as connection:
            found = connection.execute(
                "SELECT digest, finished, summary, files, snapshot FROM ingests ORDER BY snapshot"
            ).fetchall()
        return [IngestRow(d, f, json.loads(s), tuple(json.loads(files)), n) for d, f, s, files, n in found]

    def info(self) -> dict[str, Any]:
        """Return what the reference holds: the JSON of ``molsig info``."""
        with self.reading() as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
            snapshot = snapshot_of(connection)
            spaces = spaces_of(connection, self.index_dir)
            encoders = encoders_of(connection)
            columns = attributes.columns(connection)
            counts = first(
                connection,
                "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM samples),"
                " (SELECT count(*) FROM ingests)",
            )
        if counts is None:
            raise DamagedError(f"{self.path}: the database answers nothing")
        modalities: dict[str, dict[str, Any]] = {}
        for space in spaces:
            if space.space != SUM_SPACE and (space.active or space.modality not in modalities):
                modalities[space.modality] = {"space": space.space, "rows": space.rows, "patients": space.patients}
        return {
            "format": int(meta["format"]),
            "reference": meta["reference"],
            "created": meta["created"],
            "snapshot": snapshot,
            "patients": counts[0],
            "samples": counts[1],
            "ingests": counts[2],
            "modalities": modalities,
            "spaces": [
                {
                    "space": space.space,
                    "modality": space.modality,
                    "rows": space.rows,
                    "patients": space.patients,
                    "active": space.active,
                }
                for space in spaces
            ],
            "columns": columns,
            "encoders": [{"space": e.space, "modality": e.modality, "name": e.name} for e in encoders],
            "indexes": [space.generation.summary() for space in spaces if space.generation is not None],
            "bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
        }

    @staticmethod
    def _patients(connection: duckdb.DuckDBPyConnection) -> list[str]:
        found = connection.sql("SELECT patient FROM patients ORDER BY patient").to_arrow_table()
        names: list[str] = found["patient"].to_pylist()
        return names


def snapshot_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the commit counter of an open database."""
    found = first(connection, "SELECT snapshot FROM state")
    if found is None:
        raise DamagedError("the database has lost its commit counter")
    return int(found[0])


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
        rows = connection.sql(f"SELECT id, vector FROM {table} WHERE {condition}", params=params).to_arrow_table()  # noqa: S608
        found, vectors = integers(rows["id"]), vectors_from_arrow(rows["vector"])
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
    connection.register("wanted", pa.table({"id": unique}))
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


def encoders_of(connection: duckdb.DuckDBPyConnection) -> list[EncoderRow]:
    """Return the encoders of an open database, by space."""
    found = connection.execute("SELECT space, modality, name, card, files FROM encoders ORDER BY space").fetchall()
    return [
        EncoderRow(space, modality, name, json.loads(card), json.loads(files))
        for space, modality, name, card, files in found
    ]
