"""Texts of an Arrow column that may be missing, picked here and there once and again.

For ten of them its own `take` costs several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.index.names import text_buffers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


LISTED_ROWS = 300_000
"""Texts up to which Python's own are made of all of them, once a `LISTED_SHARE`-th was asked for."""
LISTED_SHARE = 64


class Texts:
    """A column of text, read where it lies.

    Parameters
    ----------
    column
        Of type ``string`` or ``large_string``, in one chunk.
    """

    def __init__(self, column: pa.Array) -> None:
        self._column = column
        self._offsets, self._texts = text_buffers(column)
        self._missing = column.null_count
        self._asked = 0
        self._listed: list[str | None] | None = None

    def at(self, rows: Sequence[int]) -> list[str | None]:
        """Return the texts of some rows, None where there is none."""
        if self._missing == len(self._column):
            return [None] * len(rows)
        listed = self._listed
        if listed is not None:
            return [listed[row] for row in rows]
        self._asked += len(rows)
        if len(self._column) <= min(LISTED_ROWS, LISTED_SHARE * self._asked):
            self._listed = self._column.to_pylist()
        where = np.asarray(rows, np.int64)
        begins, ends = self._offsets[where].tolist(), self._offsets[where + 1].tolist()
        texts = self._texts
        found: list[str | None] = [str(texts[a:b], "utf-8") for a, b in zip(begins, ends, strict=True)]
        if self._missing:
            known = [self._column[row].is_valid for row in rows]
            return [text if there else None for text, there in zip(found, known, strict=True)]
        return found
