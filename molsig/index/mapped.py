"""Pages of mapped files that stay in this process, up to a limit for all files together.

To map a page again costs a query more than to compare a row of it, so what was looked at stays mapped. Beyond the limit
parts of all files go, one after the other in turn. Pages that go stay in the system's cache.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from contextlib import suppress
from pathlib import Path

MAPPED = 2 << 30
"""Bytes of files that may stay mapped in this process; what other code maps counts too."""
SHORT = 256 << 20
"""Bytes of a file up to which it stays mapped as a whole."""

_OFTEN = 256
"""After so many rows here and there the limit is looked at: the system maps 64 KB around each, or up to 2 MB where its
cache holds so much in one piece."""
_PART = 32 << 20
"""Bytes that go at a time."""
_STATE = Path("/proc/self/statm")

_lock = threading.Lock()
_open: weakref.WeakSet[MappedPages] = weakref.WeakSet()


class MappedPages:
    """One mapped file, of which parts may go.

    Parameters
    ----------
    mapped
        The file.
    row_bytes
        Bytes of a row of it.
    """

    def __init__(self, mapped: mmap.mmap, row_bytes: int) -> None:
        self._mapped = mapped
        self._row_bytes = row_bytes
        self._touched = 0
        self._next = 0
        with _lock:
            _open.add(self)

    def touch(self, rows: int) -> None:
        """Note that some rows are about to be looked at."""
        self._touched += rows
        if self._touched > _OFTEN:
            self._touched = 0
            _keep_within_limit()

    def read_ahead(self, start: int, stop: int) -> None:
        """Have the system read rows that follow one another at once: by itself it fetches page after page."""
        if hasattr(mmap, "MADV_WILLNEED"):
            begin = start * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
            self._mapped.madvise(mmap.MADV_WILLNEED, begin, min(stop * self._row_bytes, len(self._mapped)) - begin)

    def let_go(self) -> None:
        """Unmap all of it."""
        self._unmap(0, len(self._mapped))

    def let_go_part(self) -> None:
        """Unmap the next part."""
        end = min(self._next + _PART, len(self._mapped))
        self._unmap(self._next, end)
        self._next = end if end < len(self._mapped) else 0

    def parts(self) -> int:
        """How many there are."""
        return -(-len(self._mapped) // _PART)

    def _unmap(self, begin: int, end: int) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def resident() -> int | None:
    """Bytes of files that are mapped in this process; None where the system does not tell (elsewhere than on Linux)."""
    with suppress(OSError):
        return int(_STATE.read_text().split()[2]) * mmap.PAGESIZE
    return None


def _keep_within_limit() -> None:
    with _lock:
        now = resident()
        if now is None or now <= MAPPED:
            return
        files = list(_open)
        # A sixteenth less than the limit, so that this is not called for at once again; one round at most.
        for _ in range(max(one.parts() for one in files)):
            for one in files:
                one.let_go_part()
            now = resident()
            if now is None or now <= MAPPED - MAPPED // 16:
                return
