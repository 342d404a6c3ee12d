"""The vectors of the rows of a view: mapped from the generation's file, else read from the truth as they are needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError, NotFoundError
from molsig.index.scoring import lengths
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from molsig.index.rows_file import RowsFile
    from molsig.index.store import Store

    Block = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]

ROW_BYTES = 4 * DIM
BLOCK_ROWS = 65_536

# Reading a row by its id costs about this many times as much as reading it with all the others.
_SCATTERED = 20
# Opening the database for that costs as much as so many of such rows.
_OPENING = 300


class StaleViewError(Exception):
    """The truth has lost rows that a view still holds; a fresh view answers."""


class Vectors:
    """Vectors of the rows of a view.

    What the generation's file covers is taken from there, row by row checked. Other rows are read from the truth: by id
    while few are asked for, all of them into memory after that.

    Parameters
    ----------
    memory
        Bytes that may be held of rows read from the truth; where they are longer they are always read in parts.
    matrix
        All vectors, where they were read already.
    file
        Rows of a generation of the space.
    before
        Vectors of an earlier view of the space, whose rows need not be read again.
    """

    def __init__(
        self,
        store: Store,
        space: str,
        ids: NDArray[np.int64],
        *,
        memory: int,
        matrix: NDArray[np.float32] | None = None,
        file: RowsFile | None = None,
        before: Vectors | None = None,
    ) -> None:
        self._store = store
        self._space = space
        self.ids = ids
        self.damage: str | None = None
        """What is wrong with the file, once something was found to be."""
        self._lock = threading.Lock()
        self._asked = 0
        self._lengths: NDArray[np.float32] | None = None
        self._subset: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]] | None = None
        self._place_rows(file, memory, matrix)
        if before is not None and before._matrix is not None and self.fits and self._matrix is None:
            self._carry_over(before)

    def _place_rows(self, file: RowsFile | None, memory: int, matrix: NDArray[np.float32] | None) -> None:
        self._memory = memory
        self._file = file
        if file is None:
            self._prefix, self._in_file = 0, None
            self._own = self.ids
        else:
            places = np.minimum(np.searchsorted(file.ids, self.ids), max(len(file) - 1, 0))
            known = file.ids[places] == self.ids if len(file) else np.zeros(len(self.ids), bool)
            # Without dead rows a row's number in the file is its position here: nothing has to be looked up.
            straight = int(known.sum()) == len(file) and bool(known[: len(file)].all())
            self._prefix = len(file) if straight else 0
            self._in_file = None if straight else np.where(known, places, -1)
            self._own = self.ids[len(file) :] if straight else self.ids[~known]
        self._matrix = matrix
        self.fits = len(self._own) * ROW_BYTES <= memory

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at `positions`, float32 (m, 768)."""
        file = self._file
        if file is None:
            return self._take_own(positions)
        rows = self._rows(positions)
        covered = rows >= 0
        try:
            if covered.all():
                return file.read(rows)
            found = np.empty((len(positions), DIM), np.float32)
            found[covered] = file.read(rows[covered])
        except DamagedError as error:
            self._distrust(error)
            return self.take(positions)
        found[~covered] = self._take_own(np.searchsorted(self._own, self.ids[positions[~covered]]))
        return found

    def blocks(self, positions: NDArray[np.int64] | None) -> Iterator[Block]:
        """Yield all rows, or those at `positions`, as (positions, vectors, lengths), in blocks that fit into memory.

        Nothing is copied of what lies in memory or in the file as it is asked for.
        """
        count = len(self.ids) if positions is None else len(positions)
        if not count:
            return
        if positions is not None and count <= BLOCK_ROWS:
            yield positions, *self._held_subset(positions)
            return
        if positions is None and self._file is None and self.fits:
            yield np.arange(count), *self._all_own()
            return
        for start in range(0, count, BLOCK_ROWS):
            stop = min(count, start + BLOCK_ROWS)
            rows = np.arange(start, stop) if positions is None else positions[start:stop]
            file = self._file
            if positions is None and file is not None and stop <= self._prefix:
                try:
                    file.check(rows)
                except DamagedError as error:
                    self._distrust(error)
                else:
                    yield rows, file.matrix[start:stop], file.short_lengths[start:stop]
                    continue
            vectors = self.take(rows)
            yield rows, vectors, lengths(vectors)

    def _held_subset(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The vectors at `positions` and their lengths; the last ones are kept for the next query."""
        kept = self._subset
        if kept is None or not (kept[0] is positions or np.array_equal(kept[0], positions)):
            vectors = self.take(positions)
            kept = self._subset = (positions, vectors, lengths(vectors))
        return kept[1], kept[2]

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers in the file, -1 for a row that is not in it."""
        if self._in_file is not None:
            return self._in_file[positions]
        return np.where(positions < self._prefix, positions, -1)

    def _take_own(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of rows that are not in the file, by their places among those."""
        with self._lock:
            self._asked += len(places) + _OPENING
            wanted = self._asked * _SCATTERED > len(self._own)
        if self.fits and (wanted or self._matrix is not None):
            return self._all_own()[0][places]
        return self._read(self._own[places])

    def _all_own(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """All vectors that are not in the file, and their lengths."""
        with self._lock:
            if self._matrix is None and self._file is None:
                ids, vectors = self._store.vectors(self._space)
                # The truth may have moved on since the view was made.
                self._matrix = vectors if np.array_equal(ids, self.ids) else vectors[_places(ids, self.ids)]
            elif self._matrix is None:
                self._matrix = self._read(self._own)
            if self._lengths is None:
                self._lengths = lengths(self._matrix)
            return self._matrix, self._lengths

    def _read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            return self._store.vectors(self._space, ids)[1]
        except NotFoundError as error:
            raise StaleViewError(str(error)) from error

    def _distrust(self, error: DamagedError) -> None:
        """Read everything from the truth from now on."""
        with self._lock:
            self.damage = str(error)
            self._lengths = self._subset = None
            self._place_rows(None, self._memory, None)

    def _carry_over(self, before: Vectors) -> None:
        """Take over what an earlier view has read of the rows that are not in the file."""
        assert before._matrix is not None
        places = np.minimum(np.searchsorted(before._own, self._own), max(len(before._own) - 1, 0))
        fresh = before._own[places] != self._own if len(before._own) else np.ones(len(self._own), bool)
        if not len(self._own) or fresh.mean() > 0.5:
            return
        joined = np.empty((len(self._own), DIM), np.float32)
        joined[~fresh] = before._matrix[places[~fresh]]
        joined[fresh] = self._read(self._own[fresh])
        self._matrix = joined


def _places(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of `wanted` in `ids`, both sorted; `StaleViewError` if some are gone."""
    places = np.searchsorted(ids, wanted)
    if len(wanted) and (places[-1] >= len(ids) or not np.array_equal(ids[places], wanted)):
        raise StaleViewError("rows were deleted while they were searched")
    return places
