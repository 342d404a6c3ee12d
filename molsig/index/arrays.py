"""Vectors between numpy and Arrow without a loop over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray


def vectors_to_arrow(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Wrap float32 (n, 768) as an Arrow column of FLOAT[768] without a copy."""
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, type=pa.float32()), DIM)


def vectors_from_arrow(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a column of FLOAT[768] as float32 (n, 768); one copy, or none where there is one chunk."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks if len(chunk)]
    if not parts:
        return np.empty((0, DIM), np.float32)
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.astype(np.float32, copy=False).reshape(-1, DIM)


def integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return an integer column without nulls as int64 (n,)."""
    return np.asarray(column.to_numpy(), dtype=np.int64)
