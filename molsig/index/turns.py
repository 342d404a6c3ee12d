"""Who may open the database when: threads take turns by a lock of this process, processes by a file.

Between processes DuckDB's own lock on the database decides. The turnstile file keeps a stream of readers from starving
a commit: readers pass it while they open, a commit holds it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from molsig.errors import LockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TURNSTILE = "turnstile.lock"


class ReadersWriter:
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


_locks: dict[str, ReadersWriter] = {}
_locks_guard = threading.Lock()


def _forget_locks() -> None:
    global _locks_guard
    _locks.clear()
    _locks_guard = threading.Lock()


# A forked child inherits the locks in the state some other thread left them in; it starts with fresh ones.
os.register_at_fork(after_in_child=_forget_locks)


def lock_of(database: Path) -> ReadersWriter:
    """Return the lock that this process's threads share for a file, by whatever path."""
    with _locks_guard:
        return _locks.setdefault(os.path.realpath(database), ReadersWriter())


@contextmanager
def turnstile(database: Path, *, commit: bool, patience: float) -> Iterator[None]:
    """Hold the turnstile for the length of the block: a commit alone, readers together.

    Raises
    ------
    LockedError
        Another process holds it otherwise, and did for `patience` seconds.
    """
    how = fcntl.LOCK_EX if commit else fcntl.LOCK_SH
    try:
        handle = os.open(database.parent / TURNSTILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # A reference on a read-only medium that was copied without it; DuckDB's own lock still holds.
        yield
        return
    try:
        for pause in pauses(patience):
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


def commit_waits(database: Path) -> bool:
    """Whether another process holds the turnstile to commit, or is about to."""
    try:
        with turnstile(database, commit=False, patience=0.0):
            return False
    except LockedError:
        return True


def pauses(patience: float) -> Iterator[float]:
    """Growing pauses, 1 to 20 ms, until `patience` seconds have passed; at least one try."""
    end = time.monotonic() + patience
    pause = 0.001
    yield pause
    while time.monotonic() < end:
        pause = min(pause * 1.5, 0.02)
        yield pause
