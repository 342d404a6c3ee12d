"""Writing DuckDB's log into its file so that the file survives a death in the middle of it.

A checkpoint writes rows to blocks that nothing refers to, and then names them in the directory of the file: blocks of
metadata, each of 64 parts, of which it uses those that are free. Such a block is written in place and has one checksum
for all its parts. Whoever dies in the middle of that write leaves a block that DuckDB refuses, and with it the file,
although no part in use has changed. So these blocks and the headers are copied to a file beside the database first, and
removed when the checkpoint is through. Whoever finds that file puts them back if the headers are still the same, which
are what a checkpoint writes last. The log is whole until then.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from molsig.errors import DamagedError, LockedError, UsageError
from molsig.index.faults import reached
from molsig.index.manifest import sync_directory
from molsig.index.whole_file import told_if_full, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

_HEADERS = 3 * 4096
"""Bytes before block 0: what the file is, and two headers that checkpoints write in turn."""

_START = struct.Struct("<8sqq")
"""A mark, the bytes of a block, how many blocks there are; then their numbers, the headers and the blocks. All that
comes after its own SHA-256."""

_MARK = b"molsigU1"


def undo_of(database: Path) -> Path:
    """Return the file that is there while a checkpoint of `database` is under way."""
    return database.with_name(f"{database.name}.undo")


def log_of(database: Path) -> Path:
    """Return the file of what is committed and not yet in `database` itself."""
    return database.with_name(f"{database.name}.wal")


def checkpoint(connection: duckdb.DuckDBPyConnection, database: Path, file: BinaryIO) -> None:
    """Write the log of the database in use into its file, if there is anything in the log.

    Parameters
    ----------
    file
        `database`, opened before DuckDB did and closed after: to close it in between would let go of DuckDB's lock,
        which belongs to the process and not to the one who took it.

    Raises
    ------
    OSError
        There is no room for the copy. The log stays as it is, and so does all that is committed.
    """
    log = log_of(database)
    if not (log.exists() and log.stat().st_size):
        return
    numbers = connection.execute("SELECT block_id FROM pragma_metadata_info() ORDER BY 1").fetchall()
    ((size,),) = connection.execute(
        "SELECT block_size FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchall()
    undo = undo_of(database)
    write_whole(undo, _packed(file, [number for (number,) in numbers], size), step="checkpoint")
    reached("checkpoint.begin")
    connection.execute("CHECKPOINT")
    reached("checkpoint.end")
    undo.unlink()


def put_back(database: Path) -> None:
    """Undo the checkpoint of `database` that somebody died in, if there is one; one that was through is left as it is.

    The caller keeps the other processes of molsig out.

    Raises
    ------
    DamagedError
        What was copied cannot be read.
    LockedError
        Another program has the database open.
    UsageError
        It may not be written to.
    """
    undo = undo_of(database)
    try:
        headers, blocks = _unpacked(undo)
    except FileNotFoundError:
        return
    try:
        with database.open("r+b") as file:
            # As DuckDB keeps others out.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.read(_HEADERS) == headers:
                for place, block in blocks:
                    file.seek(place)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        undo.unlink()
        sync_directory(database.parent)
    except BlockingIOError:
        raise LockedError(f"{database}: open in another program; close it there and try again") from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(
                f"{database}: somebody died while writing to it, and it has to be put right before it can be read;"
                f" copy it to where you may write, or let somebody who may give: molsig verify {database.parent}"
            ) from error
        raise told_if_full(database, error) from error


def _packed(file: BinaryIO, numbers: Sequence[int], size: int) -> bytes:
    """Copy the headers and some blocks out of a database."""
    parts = [_START.pack(_MARK, size, len(numbers)), struct.pack(f"<{len(numbers)}q", *numbers), _at(file, 0, _HEADERS)]
    parts.extend(_at(file, _HEADERS + number * size, size) for number in numbers)
    content = b"".join(parts)
    return hashlib.sha256(content).digest() + content


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, place)


def _unpacked(undo: Path) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    """Return the headers and, with their places in the file, the blocks that were copied."""
    content = undo.read_bytes()
    digest, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != digest or not content.startswith(_MARK):
        raise DamagedError(
            f"{undo}: damaged, so that a checkpoint somebody died in cannot be undone; restore the reference from a"
            " copy. Without this file the database may still open: move it away and give molsig verify"
        )
    _, size, count = _START.unpack_from(content)
    numbers = struct.unpack_from(f"<{count}q", content, _START.size)
    start = _START.size + 8 * count
    headers, rest = content[start : start + _HEADERS], content[start + _HEADERS :]
    places = ((_HEADERS + number * size, rest[k * size : (k + 1) * size]) for k, number in enumerate(numbers))
    return headers, places
