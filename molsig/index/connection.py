"""Short connections to the DuckDB file, so that readers and a writer in any number of threads and processes take turns.

DuckDB lets many processes read a file or one write it, never both, and refuses two configurations of one file within a
process. So nothing here stays open: a read or a commit opens the file, does its work and closes it; the reads of a
short command may share one opening (`kept_open`). Who may open the file when is in `turns.py`; whoever meets DuckDB's
own lock tries again.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb

from molsig.errors import DamagedError, LockedError, UsageError
from molsig.index.checkpoint import checkpoint, put_back, undo_of
from molsig.index.turns import commit_waits, lock_of, pauses, turnstile
from molsig.index.whole_file import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 30.0
"""Seconds to try before giving up on a file that others hold."""

# No extension is ever fetched, and a name in a statement never means a Python variable.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
# Vectors do not compress; trying costs more than half of the insert time. The log is written into the file when DuckDB
# is told to and never by itself, because of what `checkpoint` does before.
_WRITING = {**_CONFIG, "force_compression": "uncompressed", "checkpoint_threshold": "1TB"}

ROW_GROUP = 8192
"""Rows that DuckDB lays out together: 25 MB of vectors. A full group goes to its place in the file while the insert is
still running; rows of one that is not full are written twice, to the log and to the file. At DuckDB's own 122,880 rows
that is nearly every row of a commit. Files with groups of any size are read and written alike."""


# Connections of one process share a database instance; one that is just being made or unmade is not fit to be joined.
_opening = threading.Lock()


def _forget_lock() -> None:
    global _opening
    _opening = threading.Lock()


# A forked child inherits the lock in the state some other thread left it in; it starts with a fresh one.
os.register_at_fork(after_in_child=_forget_lock)

_DAMAGE = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)


@contextmanager
def reading(database: Path, *, patience: float = PATIENCE) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open `database` read-only for the length of the block; one state of the data is seen throughout.

    Raises
    ------
    LockedError
        Another process kept it open for writing for `patience` seconds.
    DamagedError
        DuckDB cannot read the file.
    """
    kept = _kept.of.get(database)
    if kept is None:
        with _opened(database, patience) as connection, damage_told(database):
            yield connection
    else:
        with kept.read(patience) as connection, damage_told(database):
            yield connection


@contextmanager
def kept_open(database: Path) -> Iterator[None]:
    """Let what this thread reads of `database` within the block share one opening, made by the first of it.

    Opening and closing cost 15 ms, which a short command has not got several times over. For work of a second at most:
    a commit of another process waits for the next read within the block, which lets it go first, or for the end. A
    commit of this thread ends the keeping before it opens the file for writing.
    """
    if database in _kept.of:
        yield
        return
    kept = _kept.of[database] = _Kept(database)
    try:
        yield
    finally:
        _kept.of.pop(database, None)
        kept.let_go()


def is_kept_open(database: Path) -> bool:
    """Whether this thread keeps a database open: others must not be waited for that may want to open it too.

    They would wait for a commit that waits for the end of the keeping.
    """
    return database in _kept.of


@contextmanager
def _opened(database: Path, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    _must_be_there(database)
    with lock_of(database).shared():
        connection = None
        while connection is None:
            with turnstile(database, commit=False, patience=patience):
                if not undo_of(database).exists():
                    connection = _connect(database, read_only=True, patience=patience)
            if connection is None:
                with turnstile(database, commit=True, patience=patience):
                    put_back(database)
        try:
            yield connection
        finally:
            _close(connection)


class _Kept:
    """One opening that several reads of a thread share, one after the other or one within the other."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._opening = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._readers = 0
        self._failed = False

    @contextmanager
    def read(self, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self._readers and self._connection is not None and (self._failed or commit_waits(self._database)):
            self.let_go()
        if self._connection is None:
            self._connection = self._opening.enter_context(_opened(self._database, patience))
        # A connection of its own: results that another read has not fetched yet stay.
        with self._connection.cursor() as connection:
            self._readers += 1
            try:
                yield connection
            except BaseException:
                # After some errors DuckDB refuses all that follows; the next read opens anew.
                self._failed = True
                raise
            finally:
                self._readers -= 1

    def let_go(self) -> None:
        self._connection, self._failed = None, False
        self._opening.close()


class _KeptByThread(threading.local):
    def __init__(self) -> None:
        self.of: dict[Path, _Kept] = {}


_kept = _KeptByThread()


@contextmanager
def writing(database: Path, *, patience: float = PATIENCE) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open `database` for writing for the length of the block, alone in this process and among all others.

    Leaving it checkpoints, so that a reader does not replay the log. Only the holder of the writer lock calls this.
    """
    _stop_keeping(database)
    _must_be_there(database)
    with lock_of(database).alone(), turnstile(database, commit=True, patience=patience), _bytes_of(database) as file:
        put_back(database)
        connection = _connect(database, read_only=False, patience=patience)
        try:
            with damage_told(database):
                connection.execute("PRAGMA disable_checkpoint_on_shutdown")
                yield connection
            with damage_told(database, kept="what was committed stays in its log"):
                checkpoint(connection, database, file)
        finally:
            _close(connection)


def write_log(database: Path) -> None:
    """Write what a writer that died left in the log into `database`."""
    with writing(database):
        pass


@contextmanager
def alone(database: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep every reader out of `database` without opening it, so that the file itself can be exchanged."""
    _stop_keeping(database)
    with lock_of(database).alone(), turnstile(database, commit=True, patience=patience):
        yield


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block wrote, or nothing of it."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        # After a fatal error DuckDB has rolled back by itself and refuses the statement.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def first(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] | None = None
) -> tuple[Any, ...] | None:
    """Run a query and return its first row, or None; nothing of the result is left pending on the connection."""
    rows = connection.execute(query, parameters).fetchall()
    return rows[0] if rows else None


def connect_to(database: Path) -> duckdb.DuckDBPyConnection:
    """Open a file for writing; one that is not there is made.

    The size of row groups can only be given to ATTACH, so the file is attached to an instance of its own.
    """
    connection = duckdb.connect(config={**_WRITING, "temp_directory": str(spill_of(database))})
    try:
        _without_bars(connection)
        connection.execute(f"ATTACH {literal(database)} AS reference (ROW_GROUP_SIZE {ROW_GROUP})")
        connection.execute("USE reference")
    except BaseException:
        connection.close()
        raise
    return connection


def _without_bars(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Keep DuckDB from drawing bars of its own on the output of a notebook or an interactive Python."""
    connection.execute("SET enable_progress_bar = false")
    return connection


def spill_of(database: Path) -> Path:
    """Return the folder of what a writer of `database` has no memory for; it is a writer's alone, and goes with it."""
    return database.with_name(f"{database.name}.spill")


def literal(path: Path) -> str:
    """Write a path as an SQL string, for statements that take no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def _stop_keeping(database: Path) -> None:
    """Close what this thread keeps open, which would wait for itself."""
    if (kept := _kept.of.get(database)) is not None:
        kept.let_go()


@contextmanager
def _bytes_of(database: Path) -> Iterator[BinaryIO]:
    try:
        file = database.open("rb")
    except PermissionError as error:
        raise UsageError(f"{database}: cannot be opened: {error}") from error
    with file:
        yield file


def _must_be_there(database: Path) -> None:
    if not database.is_file():
        raise DamagedError(f"{database.parent}: not a molsig reference, {database.name} is missing")


def _connect(database: Path, *, read_only: bool, patience: float) -> duckdb.DuckDBPyConnection:
    problem = ""
    for pause in pauses(patience):
        try:
            with _opening:
                if not read_only:
                    return connect_to(database)
                return _without_bars(duckdb.connect(str(database), read_only=True, config=_CONFIG))
        except duckdb.ConnectionException as error:
            problem = f"this process holds it open through another duckdb connection ({error})"
        except duckdb.Error as error:
            problem = str(error)
            if "Unique file handle conflict" in problem:
                problem = f"this process holds it open through another duckdb connection ({error})"
            elif "Could not set lock" not in problem:
                if "Permission denied" in problem or "Cannot open file" in problem:
                    raise UsageError(f"{database}: cannot be opened: {error}") from error
                raise DamagedError(f"{database}: DuckDB cannot open it: {error}") from error
        time.sleep(pause)
    raise LockedError(f"{database.parent}: busy for {patience:g} s: {problem}")


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    with _opening:
        connection.close()


@contextmanager
def damage_told(database: Path, *, kept: str = "nothing of this step was stored") -> Iterator[None]:
    """Raise what DuckDB says of a full disk as `OSError`, of damage as `DamagedError`."""
    try:
        yield
    except duckdb.Error as error:
        # DuckDB tells of a full disk, quota or file size limit in the system's words, under several names of its own.
        if any(os.strerror(reason) in str(error) for reason in FULL):
            raise OSError(
                f"{database}: the disk is full, {kept}; free some space and give the same command again ({error})"
            ) from error
        # A checksum that does not match comes as the root of DuckDB's exceptions, what it has a name for as another.
        if type(error) is duckdb.Error or isinstance(error, _DAMAGE):
            raise DamagedError(f"{database}: DuckDB cannot read or write it: {error}") from error
        raise
