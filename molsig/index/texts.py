"""Texts of an Arrow column, picked here and there: for ten of them its own `take` costs several times as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Texts:
    """A column of text, read where it lies.

    Parameters
    ----------
    column
        Of type ``string`` or ``large_string``, in one chunk.
    """

    def __init__(self, column: pa.Array) -> None:
        wide = pa.types.is_large_string(column.type)
        if not (wide or pa.types.is_string(column.type)):
            raise TypeError(f"a column of {column.type}, expected text")
        self._column = column
        _, offsets, texts = column.buffers()
        kind = np.int64 if wide else np.int32
        many = len(column) + 1
        self._offsets: NDArray[np.integer] = np.frombuffer(offsets, kind, many, column.offset * kind().itemsize)
        self._texts = memoryview(b"" if texts is None else texts)
        self._missing = column.null_count

    def at(self, rows: NDArray[np.int64]) -> list[str | None]:
        """Return the texts of some rows, None where there is none."""
        if self._missing == len(self._column):
            return [None] * len(rows)
        begins, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        texts = self._texts
        found: list[str | None] = [str(texts[a:b], "utf-8") for a, b in zip(begins, ends, strict=True)]
        if self._missing:
            known = [self._column[row].is_valid for row in rows.tolist()]
            return [text if there else None for text, there in zip(found, known, strict=True)]
        return found
