"""Names in Arrow columns of text, read from the column's buffers: numbered, listed, picked.

pyarrow's own ways (`take`, `dictionary_encode`, `pyarrow.compute`) load a module of wrappers for it, 30 ms that a query
from the command line does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LONGEST = 64
"""Bytes of a name up to which names are compared side by side; columns with longer ones are left to Arrow."""


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, copied only if it lies in several pieces."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def names_of(column: pa.Array) -> list[str]:
    """Return a column of text without nulls as a list."""
    offsets, data = _buffers(column)
    ends = offsets.tolist()
    begins = ends[:-1]
    whole = str(data[ends[0] : ends[-1]], "utf-8")
    if len(whole) == ends[-1] - ends[0]:
        # Of ASCII, as ids are, bytes are characters.
        first = ends[0]
        return [whole[begin - first : end - first] for begin, end in zip(begins, ends[1:], strict=True)]
    return [str(data[begin:end], "utf-8") for begin, end in zip(begins, ends[1:], strict=True)]


def names_at(column: pa.Array, places: NDArray[np.integer]) -> list[str]:
    """Return some values of a column of text without nulls."""
    offsets, data = _buffers(column)
    begins, ends = offsets[places].tolist(), offsets[places + 1].tolist()
    return [str(data[begin:end], "utf-8") for begin, end in zip(begins, ends, strict=True)]


def names_to_arrow(names: Sequence[str]) -> pa.StringArray:
    """Return names as a column; `pa.array` imports pandas, as `arrays` tells."""
    texts = [name.encode() for name in names]
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([len(text) for text in texts], out=ends[1:])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


def coded(column: pa.Array) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct values of a column of text without nulls, sorted as their bytes are, and the place of each
    row's among them, int32 (n,)."""
    rows = _side_by_side(column)
    if rows is None:
        return _coded_by_arrow(column)
    changes = np.ones(len(rows), bool)
    changes[1:] = rows[1:] != rows[:-1]
    starts = np.flatnonzero(changes)
    run = rows[starts]
    if bool((run[1:] > run[:-1]).all()):
        # Each name's rows follow one another, name after name: a row's code is the number of changes before it.
        return names_at(column, starts), np.cumsum(changes, dtype=np.int32) - np.int32(1)
    # With the index asked for, numpy does not look for masked arrays, whose module takes 8 ms to load.
    _, firsts, codes = np.unique(run, return_index=True, return_inverse=True)
    lengths = np.diff(np.append(starts, len(rows)))
    return names_at(column, starts[firsts]), np.repeat(codes.astype(np.int32), lengths)


def _side_by_side(column: pa.Array) -> NDArray[np.bytes_] | None:
    """Names as numpy's own fixed-width bytes; None where those would not keep them apart, or would be very wide."""
    offsets, data = _buffers(column)
    lengths = np.diff(offsets)
    width = int(lengths.max(initial=1))
    if width > LONGEST:
        return None
    texts = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    if bool((lengths == width).all()):
        return texts.view(f"S{width}")
    # numpy ends a name at the zeros that fill it up.
    if not texts.all():
        return None
    filled = np.zeros((len(lengths), width), np.uint8)
    filled[np.arange(width) < lengths[:, None]] = texts
    return filled.view(f"S{width}")[:, 0]


def _coded_by_arrow(column: pa.Array) -> tuple[list[str], NDArray[np.int32]]:
    encoded = column.dictionary_encode()
    names: list[str] = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: names[place].encode())
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    codes = np.frombuffer(encoded.indices.buffers()[1], np.int32, len(column), 4 * encoded.indices.offset)
    return [names[place] for place in order], rank[codes]


def _buffers(column: pa.Array) -> tuple[NDArray[np.integer], memoryview]:
    """As `text_buffers`, of a column without nulls."""
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} names are null")
    return text_buffers(column)


def text_buffers(column: pa.Array) -> tuple[NDArray[np.integer], memoryview]:
    """Where the texts of a column begin and end, (n + 1,), and the bytes they lie in; nulls have any.

    Raises
    ------
    TypeError
        It is not of type ``string`` or ``large_string``.
    """
    wide = pa.types.is_large_string(column.type)
    if not (wide or pa.types.is_string(column.type)):
        raise TypeError(f"a column of {column.type}, expected text")
    kind = np.dtype(np.int64 if wide else np.int32)
    _, offsets, data = column.buffers()
    if not len(column):
        return np.zeros(1, kind), memoryview(b"")
    return np.frombuffer(offsets, kind, len(column) + 1, column.offset * kind.itemsize), memoryview(
        b"" if data is None else data
    )
