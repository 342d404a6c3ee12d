"""Writing to a reference: one transaction per call, acknowledged only after COMMIT."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from molsig.errors import UsageError
from molsig.index import aggregates, attributes, building, forget, generations, predictions
from molsig.index.batches import check_space, lay_out
from molsig.index.commit import commit
from molsig.index.connection import first, transaction, write_log, writing
from molsig.index.counters import count_commit, counters, set_counters
from molsig.index.faults import reached
from molsig.index.manifest import generation_info
from molsig.types import SUM_SPACE, check_modality, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from molsig.index.attributes import PatientChange
    from molsig.index.batches import CommitResult
    from molsig.index.forget import ForgetResult
    from molsig.index.manifest import GenerationInfo
    from molsig.index.store import Store
    from molsig.types import Encoded, Progress


class Writer:
    """The one writer of a reference; `Store.writer` gives it while the writer lock is held."""

    def __init__(self, store: Store, *, progress: Progress = silent) -> None:
        self.store = store
        self._progress = progress

    def commit(self, batch: Sequence[Encoded], *, replace: bool = False) -> CommitResult:
        """Store a batch of vectors in one transaction, with their samples, patients and aggregates.

        A record that is stored already (same space, sample and item) is skipped when its digest is the same. With
        another digest it is kept as stored and told as a conflict, or stored anew under a new id where `replace` is
        set. Of several records under one name in the batch the first counts, or the last where `replace` is set.

        The first space of a modality is active, that is, summed into the patients' aggregates; a further one is stored
        beside it until `activate` is called.

        Raises
        ------
        InputError
            A vector is not finite, an id is empty, a sample is stored for another patient.
        UsageError
            A space is stored for another modality, or a name is not allowed.
        """
        incoming = lay_out(batch)
        reached("commit.begin")
        with writing(self.store.database) as connection:
            return commit(connection, incoming, replace=replace)

    def put_patients(self, table: pa.Table, *, replace: bool = False) -> PatientChange:
        """Merge a patient table (a column `patient`, one row each, and any other columns) into what is stored.

        New columns are added and missing values filled in. A value that differs from the stored one is kept as stored
        and told as a conflict, unless `replace` is set; a null overwrites nothing. A column whose type no longer holds
        every value is widened, to text only where `replace` is set.

        Raises
        ------
        InputError
            No `patient` column, an empty or repeated patient, column names SQL cannot tell apart, or text in a column
            of numbers or dates.
        """
        checked = attributes.check_table(table)
        with writing(self.store.database) as connection, transaction(connection):
            change = attributes.upsert(connection, checked, replace=replace)
            connection.register("incoming", checked.select(["patient"]))
            connection.execute(
                "INSERT INTO patients SELECT patient, (SELECT snapshot + 1 FROM state) FROM incoming"
                " WHERE patient NOT IN (SELECT patient FROM patients)"
            )
            connection.unregister("incoming")
            if change.new or change.changed or change.columns_added or change.widened:
                count_commit(connection)
            reached("attributes.before")
        return change

    def put_predictions(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store predictions beside the patient columns, in the place of earlier ones; recorded values stay as they are.

        Parameters
        ----------
        rows
            Dictionaries of `molsig.index.predictions.COLUMNS`.

        Raises
        ------
        NotFoundError
            A patient is not stored; nothing is written.
        UsageError
            There is no such patient column.
        """
        with writing(self.store.database) as connection, transaction(connection):
            predictions.put(connection, rows, count_commit(connection))
            reached("predictions.before")

    def drop_predictions(self, field: str) -> int:
        """Delete the predictions of a column and return how many there were."""
        with writing(self.store.database) as connection, transaction(connection):
            gone = predictions.drop(connection, field)
            if gone:
                count_commit(connection)
        return gone

    def put_encoder(
        self, space: str, modality: str, name: str, card: Mapping[str, Any], files_sha256: Mapping[str, str]
    ) -> None:
        """Record the encoder of a space: its card and the SHA-256 of each file in its folder ``encoders/<name>``.

        Raises
        ------
        UsageError
            The space has another encoder: a space is one encoder version.
        """
        check_space(space)
        check_modality(modality)
        row = (space, modality, name, json.dumps(card, sort_keys=True), json.dumps(dict(files_sha256), sort_keys=True))
        with writing(self.store.database) as connection, transaction(connection):
            stored = first(
                connection, "SELECT space, modality, name, card, files FROM encoders WHERE space = ?", [space]
            )
            if stored is None:
                snapshot = count_commit(connection)
                connection.execute("INSERT INTO encoders VALUES (?, ?, ?, ?, ?, ?)", [*row, snapshot])
            elif stored != row:
                raise UsageError(
                    f"space {space!r} belongs to encoder {stored[2]!r}; another encoder makes another space"
                )

    def put_genes(self, table: pa.Table) -> None:
        """Store the gene table (any columns), in place of the one before."""
        with writing(self.store.database) as connection, transaction(connection):
            connection.register("incoming", table)
            connection.execute("DROP TABLE IF EXISTS genes")
            connection.execute("CREATE TABLE genes AS SELECT * FROM incoming")
            connection.unregister("incoming")
            count_commit(connection)

    def record_ingest(
        self, digest: str, summary: Mapping[str, Any], files: Sequence[str], *, supersedes: bool = False
    ) -> None:
        """Note that an ingest is finished, so that the same inputs are recognised the next time.

        With `supersedes` it replaced stored values, so that none of the earlier ones counts as done any more.
        """
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        with writing(self.store.database) as connection, transaction(connection):
            snapshot = count_commit(connection)
            connection.execute("DELETE FROM ingests WHERE digest = ? OR ?", [digest, supersedes])
            connection.execute(
                "INSERT INTO ingests VALUES (?, ?, ?, ?, ?)",
                [digest, json.dumps(summary, sort_keys=True), json.dumps(list(files)), finished, snapshot],
            )

    def activate(self, space: str) -> None:
        """Make `space` the one of its modality that is summed into the aggregates, and sum anew.

        Raises
        ------
        UsageError
            No such space.
        """
        with writing(self.store.database) as connection, transaction(connection):
            found = first(connection, "SELECT modality, active FROM spaces WHERE space = ?", [space])
            if found is None or space == SUM_SPACE:
                raise UsageError(f"{self.store.path}: no space {space!r}")
            modality, active = found
            if active:
                return
            touched = connection.sql(
                "SELECT DISTINCT e.patient AS patient FROM embeddings e JOIN spaces p ON p.space = e.space"
                " WHERE p.modality = ? ORDER BY 1",
                params=[modality],
            ).to_arrow_table()["patient"]
            connection.execute("UPDATE spaces SET active = (space = ?) WHERE modality = ?", [space, modality])
            snapshot = count_commit(connection)
            _, next_id = counters(connection)
            next_id = aggregates.refresh(connection, touched, next_id=next_id, snapshot=snapshot)
            set_counters(connection, snapshot, next_id)

    def forget(
        self,
        patients: Sequence[str],
        *,
        compact: bool = False,
        first_of_all: Callable[[], None] | None = None,
        progress: Progress | None = None,
    ) -> ForgetResult:
        """Delete patients with everything that is theirs, and build the indexes that held them anew.

        Parameters
        ----------
        compact
            Rewrite the database file as well, so that none of its freed blocks holds anything of them. Without it the
            blocks are free and not yet overwritten.
        first_of_all
            Called when it is known that all are stored: to remove what else was made of them.

        Raises
        ------
        NotFoundError
            Some are not stored; the message names all of those and nothing is deleted.
        OSError
            They were deleted, and there is no room for what comes after.
        """
        known = [info.space for info in self.store.spaces()]
        before = {space: generation_info(self.store.index_dir, space) for space in known}
        result = forget.delete(self.store.database, patients, compact=compact, first_of_all=first_of_all)
        try:
            generations.clean(self.store)
            try:
                if compact:
                    forget.compact(self.store.database)
            finally:
                self._build_again([*result.spaces, SUM_SPACE], before, progress or self._progress)
        except OSError as error:
            raise OSError(
                f"{self.store.path}: {result.patients:,} patients were forgotten; what comes after is not all done, "
                f"and `molsig index` does it when there is room ({error})"
            ) from error
        return result

    def _build_again(
        self, spaces: Sequence[str], before: Mapping[str, GenerationInfo | None], progress: Progress
    ) -> None:
        """Build the indexes of spaces, where they still are, in the way that was chosen for them."""
        remaining = {info.space for info in self.store.spaces()}
        by_method: dict[str | None, list[str]] = {}
        for space in spaces:
            if space in remaining:
                info = before.get(space)
                by_method.setdefault(None if info is None else info.chosen, []).append(space)
        for method, some in by_method.items():
            building.build_indexes(self.store, some, method=method, progress=progress)

    def build_indexes(
        self,
        spaces: Sequence[str] | None = None,
        *,
        force: bool = False,
        method: str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[GenerationInfo]:
        """Build or grow the generations that are missing, damaged or outgrown, and return those.

        A generation is outgrown when more than 10 % of its space or 4,000 rows are newer: these are added to it. It is
        built anew when 5 % of its rows are gone or its space has become four times as long.

        Parameters
        ----------
        spaces
            Only these; all, the sum included, by default.
        force
            Build even what serves.
        method
            ``auto``, ``pca-sq8``, ``rabitq``, ``ivf-rabitq`` or ``hnsw``, kept for these spaces; None leaves what was.
        seed
            Of the sample that recall is measured on.
        """
        return building.build_indexes(
            self.store, spaces, force=force, method=method, seed=seed, progress=progress or self._progress
        )

    def checkpoint(self) -> None:
        """Write the log into the database file."""
        write_log(self.store.database)

    def recover(self) -> None:
        """Finish what a writer that died left undone: an index file without a manifest, a compaction."""
        forget.remove_leftovers(self.store.database)
        generations.clean(self.store)
        with self.store.reading() as connection:
            due = first(connection, "SELECT compact_due FROM state")
        if due and due[0]:
            forget.compact(self.store.database)
