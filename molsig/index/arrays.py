"""Columns between numpy and Arrow without a loop over their values.

pyarrow's own conversions (`pa.array` of a numpy array, `Array.to_numpy`) import pandas, a third of a second that a
query does not have; these go through the buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def vectors_to_arrow(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Wrap float32 (n, 768) as a column of FLOAT[768]."""
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)
    values = pa.Array.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(values, DIM)


def vectors_from_arrow(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a column of FLOAT[768] as float32 (n, 768)."""
    flat: NDArray[np.float32] = _joined([_flat(chunk) for chunk in _chunks(column)], np.float32)
    return flat.reshape(-1, DIM)


def stacked(batches: Iterable[pa.RecordBatch], rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Fill one array with the ids and vectors of batches (id, vector) of `rows` rows together, as they arrive."""
    ids, vectors = np.empty(rows, np.int64), np.empty((rows, DIM), np.float32)
    end = 0
    for batch in batches:
        start, end = end, end + batch.num_rows
        ids[start:end] = _numbers(batch["id"], np.int64)
        vectors[start:end].reshape(-1)[:] = _flat(batch["vector"])
    if end != rows:
        raise ValueError(f"{end} rows came, {rows} were told")
    return ids, vectors


def integers_to_arrow(values: NDArray[np.int64]) -> pa.Int64Array:
    """Wrap int64 (n,) as a column."""
    flat = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(flat), [None, pa.py_buffer(flat)])


def floats_to_arrow(values: NDArray[np.float32]) -> pa.FloatArray:
    """Wrap float32 (n,) as a column."""
    flat = np.ascontiguousarray(values, dtype=np.float32)
    return pa.Array.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])


def integers(column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return an integer column without nulls as int64 (n,)."""
    kind = np.dtype(str(column.type))
    return _joined([_numbers(chunk, kind).astype(np.int64, copy=False) for chunk in _chunks(column)], np.int64)


def booleans(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return a boolean column without nulls as bool (n,)."""
    return _joined([_bits(chunk) for chunk in _chunks(column)], np.bool_)


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sorted distinct values of an array of any shape; numpy's own `unique` loads numpy.ma for it, 20 ms."""
    ordered = np.sort(values, axis=None)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def numbered(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of the same value come before each, int64 (n,); `values` ascend."""
    found: NDArray[np.int64] = np.arange(len(values)) - np.searchsorted(values, values)
    return found


def _chunks(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return [column] if isinstance(column, pa.Array) else column.chunks


def _flat(column: pa.FixedSizeListArray) -> NDArray[np.float32]:
    """The numbers of all lists; the column's own `flatten` loads `pyarrow.compute`, 30 ms."""
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} vectors are null")
    width = column.type.list_size
    return _numbers(column.values.slice(column.offset * width, len(column) * width), np.float32)


def _numbers(values: pa.Array, kind: Any) -> NDArray[Any]:
    if values.null_count:
        raise ValueError(f"{values.null_count} of {len(values)} values are null")
    if not len(values):
        return np.empty(0, kind)
    width = np.dtype(kind).itemsize
    return np.frombuffer(values.buffers()[1], dtype=kind, count=len(values), offset=values.offset * width)


def _bits(values: pa.BooleanArray) -> NDArray[np.bool_]:
    if values.null_count:
        raise ValueError(f"{values.null_count} of {len(values)} values are null")
    if not len(values):
        return np.empty(0, np.bool_)
    end = values.offset + len(values)
    packed = np.frombuffer(values.buffers()[1], dtype=np.uint8, count=(end + 7) // 8)
    return np.unpackbits(packed, count=end, bitorder="little")[values.offset :].view(np.bool_)


def _joined(parts: list[NDArray[Any]], kind: Any) -> NDArray[Any]:
    if not parts:
        return np.empty(0, kind)
    return np.concatenate(parts)
