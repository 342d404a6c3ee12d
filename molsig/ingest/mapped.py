"""Vectors that lie in files rather than in memory: their pages come when they are looked at and go again."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK_ROWS = 1024
"""Rows looked at together: 3 MB at 768 dimensions, which stay in the cache from one look to the next."""


def blocks(vectors: NDArray[np.float32], rows: int = BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield vectors some rows at a time, each block with the number of its first row.

    Of an array that is mapped from a file no more than about 100 MB stay in memory.
    """
    kept = 0
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows]
        yield start, block
        kept += block.nbytes
        if kept > _KEPT_BYTES:
            release(vectors)
            kept = 0
    release(vectors)


_KEPT_BYTES = 100 << 20
_IN_MEMORY = 256 << 20


def room(rows: int, width: int, file: str | Path) -> NDArray[np.float32]:
    """Return an array to be filled with what is read from a file, float32 (rows, width).

    A large one lies in a temporary file that has no name, so that memory stays flat and nothing is left behind.

    Raises
    ------
    InputError
        The folder of temporary files has no room for it.
    """
    size = 4 * rows * width
    if size <= _IN_MEMORY:
        return np.empty((rows, width), np.float32)
    with tempfile.TemporaryFile(prefix="molsig-") as spill:
        try:
            # What is only promised, and then lacks when it is written to, would end the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(spill.fileno(), 0, size)
            else:
                for start in range(0, size, 1 << 20):
                    spill.write(bytes(min(1 << 20, size - start)))
                spill.flush()
            mapped = mmap.mmap(spill.fileno(), size)
        except OSError as error:
            raise InputError(
                f"its vectors need {size:,} bytes in {tempfile.gettempdir()} while they are read ({error.strerror})",
                file=file,
                hint="Make room there, name another folder by TMPDIR, or save them as NPY, which is read in place",
            ) from None
    return np.ndarray((rows, width), np.float32, buffer=mapped)


def release(vectors: NDArray[np.float32]) -> None:
    """Let the pages of a mapped array go; they are read again where they are wanted. Any other array stays as it is."""
    owner: object = vectors
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
