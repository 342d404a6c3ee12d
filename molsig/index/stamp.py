"""Whether files are still what they were when they were read: cheap to ask before every query."""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import TypeAlias

    Looks: TypeAlias = dict[Path, tuple[object, ...] | None]

# A file's time stamp tells of a later change only once the clock has moved on from it.
_CLOCK_GRAIN_NS = 50_000_000


def file_stamp(paths: Iterable[Path | str]) -> tuple[object, ...] | None:
    """Return what changes whenever one of some files does; None while a further change might not show.

    A file that is not there counts as such.
    """
    return stamp_of([str(path) for path in paths])


def database_stamp(database: Path, *, again: bool = False) -> tuple[object, ...] | None:
    """Return the stamp of a DuckDB file and its log; within `one_look` the first one, unless asked to look again."""
    known = _looked.known
    if known is None:
        return _state_of(database)
    if again or database not in known:
        known[database] = _state_of(database)
    return known[database]


def _state_of(database: Path) -> tuple[object, ...] | None:
    file, log = _files_of(database)
    # Between commits there is no log: to ask whether it is there costs less than to be told that it is not.
    return stamp_of((file, log) if os.access(log, os.F_OK) else (file,))


@lru_cache(maxsize=64)
def _files_of(database: Path) -> tuple[str, str]:
    return str(database), f"{database}.wal"


class one_look:  # noqa: N801 (a context manager that is used like a function; a generator costs several times as much)
    """Let this thread ask the system once for the stamp of a database, however often one query wants to know it.

    Parameters
    ----------
    shared
        What another thread has `looked_at` in its look, to go on with.
    """

    def __init__(self, shared: Looks | None = None) -> None:
        self._shared = shared

    def __enter__(self) -> None:
        self._outer = _looked.known
        if self._outer is None:
            _looked.known = {} if self._shared is None else self._shared

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _looked.known = self._outer


def looked_at() -> Looks | None:
    """What this thread has seen in its present look, None outside of one."""
    return _looked.known


class _Looked(threading.local):
    known: Looks | None = None


_looked = _Looked()


def stamp_of(paths: Sequence[str]) -> tuple[object, ...] | None:
    """As `file_stamp`."""
    told: list[object] = []
    now = time.time_ns()
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116 (a Path costs as much again, and this is asked several times a query)
        except FileNotFoundError:
            continue
        changed = found.st_mtime_ns
        if now - changed < _CLOCK_GRAIN_NS:
            return None
        told += (path, found.st_ino, found.st_size, changed, found.st_ctime_ns)
    return tuple(told)
