"""The writer lock: one ingest at a time, and whoever comes second is told who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from molsig.errors import LockedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITER_LOCK = "writer.lock"


@contextmanager
def writer_lock(directory: Path, command: str, *, timeout: float = 0.0) -> Iterator[None]:
    """Hold the writer lock of the reference in `directory` for the length of the block.

    The lock is a `flock`: it ends with the process, so a killed ingest leaves nothing to clean up. The file's text only
    says who wrote last.

    Parameters
    ----------
    command
        What the writer does, for the one who is told to wait, such as ``molsig ingest``.
    timeout
        Seconds to wait for another writer.

    Raises
    ------
    LockedError
        Another process, or another thread of this one, is writing.
    """
    path = directory / WRITER_LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"{path}: cannot be opened for writing: {error.strerror}") from error
    try:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise LockedError(f"{directory}: {_holder(handle)}; wait for it to end, or end it") from None
                time.sleep(0.05)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": command,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode() + b"\n", 0)
        yield
    finally:
        # Closing alone would leave the lock with a child forked meanwhile.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        held = json.loads(os.pread(handle, 4096, 0))
        return f"`{held['command']}` (process {held['pid']} on {held['host']}, since {held['since']}) is writing to it"
    except (ValueError, KeyError, TypeError):
        return "another process is writing to it"
