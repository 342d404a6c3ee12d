"""One derived file, written whole or not at all.

It is written under another name, fsynced and renamed. Whoever dies in between leaves a file that nobody reads; the
next writer removes it. A writer holds a lock on its file as long as it lives, so one that can be locked is a leftover.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from molsig.index.faults import reached
from molsig.index.manifest import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room."""


def write_whole(path: Path, content: bytes, *, step: str) -> None:
    """Put `content` in the place of a file; what was there before stays until the new one is complete.

    Parameters
    ----------
    step
        Name of the places where a test may let this process die: ``<step>.write`` and ``<step>.rename``.

    Raises
    ------
    OSError
        It cannot be written; nothing has changed. A full disk is called so.
    """
    path.parent.mkdir(exist_ok=True)
    prefix = f".{path.name}."
    for leftover in path.parent.glob(f"{prefix}*"):
        _remove_leftover(leftover)
    unfinished = path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            reached(f"{step}.write")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            reached(f"{step}.rename")
            unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise told_if_full(path, error) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _remove_leftover(path: Path) -> None:
    """Remove an unfinished file unless the one who writes it is alive."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def told_if_full(path: Path, error: OSError) -> OSError:
    """Return an error that says what to do, where the disk is full; any other as it is."""
    if error.errno not in FULL:
        return error
    return OSError(
        f"{path}: the disk is full, it was not written and what was there before stays; free some space and give the "
        f"same command again ({error.strerror})"
    )
