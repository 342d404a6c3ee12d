"""The truth on disk: what is stored of patients, samples and embeddings, and how it is read.

Every reader opens the database for the length of one call and returns Arrow tables or numpy arrays; nothing is cached
here. Writing is in `writer`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import DamagedError, NotFoundError, UsageError
from molsig.index import attributes, filters, predictions
from molsig.index.arrays import integers_to_arrow, vectors_from_arrow
from molsig.index.connection import connect_to, damage_told, first, reading, spill_of, writing
from molsig.index.faults import reached
from molsig.index.lock import writer_lock
from molsig.index.manifest import sync_directory
from molsig.index.near import near
from molsig.index.patient_columns import PatientColumns
from molsig.index.reads import (
    IngestRow,
    encoders_of,
    recognised,
    rows_of,
    snapshot_of,
    space_names_of,
    spaces_of,
    vectors_of,
)
from molsig.index.schema import DATABASE, check_format, format_of, migrate
from molsig.index.turns import TURNSTILE
from molsig.types import SUM_SPACE, silent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.reads import (
        EncoderRow,
        SpaceInfo,
        SpaceName,
    )
    from molsig.index.writer import Writer as Writer
    from molsig.types import Progress


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
        leftovers.add(spill_of(store.path / f"{DATABASE}.new").name)
        try:
            if store.path.exists() and {entry.name for entry in store.path.iterdir()} - leftovers:
                raise UsageError(f"{store.path}: exists and is not a molsig reference")
            # Patients' data: nobody else on the machine reads what is below, unless the user opens it.
            store.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (store.index_dir, store.encoders_dir):
                folder.mkdir(exist_ok=True)
            (store.path / TURNSTILE).touch()
        except (NotADirectoryError, PermissionError, FileExistsError) as error:
            raise UsageError(f"{store.path}: a reference cannot be made there: {error.strerror}") from error
        with writer_lock(store.path, "create"):
            if store.database.exists():
                raise UsageError(f"{store.path}: there is a reference already")
            fresh = store.path / f"{DATABASE}.new"
            for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
                leftover.unlink(missing_ok=True)
            with damage_told(fresh):
                connection = connect_to(fresh)
                try:
                    migrate(connection, store.path)
                    # Closing writes the log out too, but says nothing where the disk has no room for it.
                    connection.execute("CHECKPOINT")
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

    def space_names(self) -> list[SpaceName]:
        """Return every space but the sum that has rows, by modality; not how many, which `spaces` counts."""
        with self.reading() as connection:
            return space_names_of(connection)

    def stored(self, space: str) -> pa.Table:
        """Return what is stored of a space as (sample, item, digest); an unknown space has no row."""
        with self.reading() as connection:
            return connection.sql(
                "SELECT sample, item, digest FROM embeddings WHERE space = ?", params=[space]
            ).to_arrow_table()

    def recognised(
        self, space: str, samples: Sequence[str], items: Sequence[str], digests: Sequence[str]
    ) -> NDArray[np.bool_]:
        """Return which of some records are stored in a space with the same digest, bool (n,)."""
        with self.reading() as connection:
            return recognised(connection, space, samples, items, digests)

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

    def embeddings_of(self, patients: str | Sequence[str]) -> tuple[pa.Table, NDArray[np.float32]]:
        """Return patients' rows as (id, space, modality, patient, sample, kind, item) and vectors, float32 (n, 768).

        Raises
        ------
        NotFoundError
            A patient is not stored.
        """
        asked = [patients] if isinstance(patients, str) else list(dict.fromkeys(patients))
        with self.reading() as connection:
            known = connection.execute(
                "SELECT patient FROM patients WHERE patient IN (SELECT unnest(?::VARCHAR[]))", [asked]
            ).fetchall()
            if unknown := sorted(set(asked) - {patient for (patient,) in known}):
                close = near(unknown[0], self._patients(connection))
                raise NotFoundError(f"{self.path}: no patient {', '.join(map(repr, unknown))}{close}")
            rows = connection.sql(
                "SELECT e.id AS id, e.space AS space, p.modality AS modality, e.patient AS patient, e.sample AS sample,"
                " s.kind AS kind, e.item AS item, e.vector AS vector FROM embeddings e JOIN samples s"
                " ON s.sample = e.sample JOIN spaces p ON p.space = e.space"
                " WHERE e.patient IN (SELECT unnest(?::VARCHAR[])) ORDER BY e.id",
                params=[asked],
            ).to_arrow_table()
        return rows.drop_columns(["vector"]), vectors_from_arrow(rows["vector"])

    def vectors_by_patient(
        self, patients: Sequence[str], spaces: Sequence[str]
    ) -> tuple[pa.Table, NDArray[np.float32]]:
        """Return the rows that some patients have in some spaces as (space, patient) and vectors, float32 (n, 768)."""
        with self.reading() as connection:
            rows = connection.sql(
                "SELECT space, patient, vector FROM embeddings WHERE patient IN (SELECT unnest(?::VARCHAR[]))"
                " AND space IN (SELECT unnest(?::VARCHAR[])) ORDER BY id",
                params=[list(patients), list(spaces)],
            ).to_arrow_table()
        return rows.drop_columns(["vector"]), vectors_from_arrow(rows["vector"])

    def active_spaces(self) -> Mapping[str, str]:
        """Return the space in use of each modality."""
        return {one.modality: one.space for one in self.space_names() if one.active}

    def select_patients(self, where: str | None = None) -> Sequence[str]:
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

    def records(self, patients: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return all columns of some patients, as a dictionary of each; None where nothing is known."""
        return {row.pop("patient"): row for row in self.attributes(patients).to_pylist()}

    def attributes_of(
        self, patients: pa.Array, places: NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> PatientColumns:
        """Return the columns of those of `patients` at some places; errors as `attributes`."""
        found = self.attributes(patients.take(integers_to_arrow(places)).to_pylist(), columns)
        return PatientColumns(tuple(found.column_names[1:]), found, np.arange(found.num_rows))

    def attributes_of_all(self, patients: pa.Array, columns: Sequence[str] | None = None) -> PatientColumns | None:
        """As `attributes_of`, of all of the patients; None where that would have to be read."""
        return None

    def column(self, name: str, patients: Sequence[str]) -> list[object]:
        """Return what one column says of `patients`, in their order; None where nothing is known.

        Raises
        ------
        UsageError
            There is no such column.
        """
        told: list[object] = self.attributes(patients, [name])[-1].to_pylist()
        return told

    def classes_of(
        self, name: str, classes: Sequence[str], patients: pa.Array, places: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return which of `classes` a column says of those of `patients` at some places, int64 (m,); -1 for none."""
        return attributes.classes_among(
            self.column(name, patients.take(integers_to_arrow(places)).to_pylist()), classes
        )

    def columns(self) -> dict[str, str]:
        """Return the user's patient columns and their types: text, integer, number, boolean, date or timestamp."""
        with self.reading() as connection:
            return attributes.columns(connection)

    def predictions(self, field: str | None = None) -> pa.Table:
        """Return the predictions that were written, of one column or all; see `molsig.index.predictions.COLUMNS`."""
        with self.reading() as connection:
            return predictions.read(connection, field)

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
            predicted = predictions.told(connection)
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
            "predictions": predicted,
            "encoders": [{"space": e.space, "modality": e.modality, "name": e.name} for e in encoders],
            "indexes": [space.generation.summary() for space in spaces if space.generation is not None],
            "bytes": sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()),
        }

    @staticmethod
    def _patients(connection: duckdb.DuckDBPyConnection) -> list[str]:
        found = connection.sql("SELECT patient FROM patients ORDER BY patient").to_arrow_table()
        names: list[str] = found["patient"].to_pylist()
        return names
