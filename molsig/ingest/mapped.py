"""Files of vectors that are mapped rather than read: their pages come when they are looked at and go again."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def release(vectors: NDArray[np.float32]) -> None:
    """Let the pages of a mapped array go; they are read again where they are wanted. Any other array stays as it is."""
    owner: object = vectors
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
