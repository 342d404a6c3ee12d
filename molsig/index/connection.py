"""Short connections to the DuckDB file, so that readers and a writer in any number of threads and processes take turns.

DuckDB lets many processes read a file or one write it, never both, and refuses two configurations of one file within a
process. So nothing here stays open: a read or a commit opens the file, does its work and closes it. Within a process a
readers-writer lock orders the threads. Between processes DuckDB's own file lock decides; whoever meets it tries again.
A turnstile file keeps a stream of readers from starving a commit: readers pass it while they open, a commit holds it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb

from molsig.errors import DamagedError, LockedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 30.0
"""Seconds to try before giving up on a file that others hold."""

TURNSTILE = "turnstile.lock"

# No extension is ever fetched, and a name in a statement never means a Python variable.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
# Vectors do not compress; trying costs more than half of the insert time.
_WRITING = {**_CONFIG, "force_compression": "uncompressed"}

ROW_GROUP = 8192
"""Rows that DuckDB lays out together: 25 MB of vectors. A full group goes to its place in the file while the insert is
still running; rows of one that is not full are written twice, to the log and to the file. At DuckDB's own 122,880 rows
that is nearly every row of a commit. Files with groups of any size are read and written alike."""


# DuckDB tells of a full disk, quota or file size limit in the system's words, under several names of its own.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_DAMAGE = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)


class _ReadersWriter:
    """A lock that many readers share and a writer has alone; a waiting writer goes before new readers."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: not self._writing and not self._readers)
            finally:
                self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()


_locks: dict[str, _ReadersWriter] = {}
_locks_guard = threading.Lock()
# Connections of one process share a database instance; one that is just being made or unmade is not fit to be joined.
_opening = threading.Lock()


def _forget_locks() -> None:
    global _opening, _locks_guard
    _locks.clear()
    _opening, _locks_guard = threading.Lock(), threading.Lock()


# A forked child inherits the locks in the state some other thread left them in; it starts with fresh ones.
os.register_at_fork(after_in_child=_forget_locks)


def _lock_of(database: Path) -> _ReadersWriter:
    with _locks_guard:
        return _locks.setdefault(os.path.realpath(database), _ReadersWriter())


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
    with _lock_of(database).shared():
        with _turnstile(database, fcntl.LOCK_SH, patience):
            connection = _connect(database, read_only=True, patience=patience)
        try:
            with _damage_told(database):
                yield connection
        finally:
            _close(connection)


@contextmanager
def writing(database: Path, *, patience: float = PATIENCE) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open `database` for writing for the length of the block, alone in this process and among all others.

    Closing it checkpoints, so that a reader does not replay the log. Only the holder of the writer lock calls this.
    """
    with _lock_of(database).alone(), _turnstile(database, fcntl.LOCK_EX, patience):
        connection = _connect(database, read_only=False, patience=patience)
        try:
            with _damage_told(database):
                yield connection
        finally:
            _close(connection)


@contextmanager
def alone(database: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep every reader out of `database` without opening it, so that the file itself can be exchanged."""
    with _lock_of(database).alone(), _turnstile(database, fcntl.LOCK_EX, patience):
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
        connection.execute(f"ATTACH {literal(database)} AS reference (ROW_GROUP_SIZE {ROW_GROUP})")
        connection.execute("USE reference")
    except BaseException:
        connection.close()
        raise
    return connection


def spill_of(database: Path) -> Path:
    """Return the folder of what a writer of `database` has no memory for; it is a writer's alone, and goes with it."""
    return database.with_name(f"{database.name}.spill")


def literal(path: Path) -> str:
    """Write a path as an SQL string, for statements that take no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


@contextmanager
def _turnstile(database: Path, how: int, patience: float) -> Iterator[None]:
    try:
        handle = os.open(database.parent / TURNSTILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # A reference on a read-only medium that was copied without it; DuckDB's own lock still holds.
        yield
        return
    try:
        for pause in _pauses(patience):
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(pause)
        else:
            raise LockedError(f"{database.parent}: busy for {patience:g} s; another process is committing to it")
        yield
    finally:
        os.close(handle)


def _connect(database: Path, *, read_only: bool, patience: float) -> duckdb.DuckDBPyConnection:
    if not database.is_file():
        raise DamagedError(f"{database.parent}: not a molsig reference, {database.name} is missing")
    problem = ""
    for pause in _pauses(patience):
        try:
            with _opening:
                if not read_only:
                    return connect_to(database)
                return duckdb.connect(str(database), read_only=True, config=_CONFIG)
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
def _damage_told(database: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if any(os.strerror(reason) in str(error) for reason in _FULL):
            raise OSError(
                f"{database}: the disk is full, nothing of this step was stored; free some space and give the same "
                f"command again ({error})"
            ) from error
        # A checksum that does not match comes as the root of DuckDB's exceptions, what it has a name for as another.
        if type(error) is duckdb.Error or isinstance(error, _DAMAGE):
            raise DamagedError(f"{database}: DuckDB cannot read or write it: {error}") from error
        raise


def _pauses(patience: float) -> Iterator[float]:
    """Growing pauses, 1 to 20 ms, until `patience` seconds have passed; at least one try."""
    end = time.monotonic() + patience
    pause = 0.001
    yield pause
    while time.monotonic() < end:
        pause = min(pause * 1.5, 0.02)
        yield pause
