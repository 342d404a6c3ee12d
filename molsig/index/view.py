"""What one search sees of a space: its rows at one snapshot, and their vectors as far as they are needed.

Rows are immutable and their ids are never used again, so when the truth has moved on only the rows that are new have to
be read.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.errors import DamagedError, NotFoundError
from molsig.index.arrays import booleans, integers
from molsig.index.generations import standing_of
from molsig.index.reads import rows_of, vectors_of
from molsig.index.scoring import lengths
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from molsig.index.generations import Standing
    from molsig.index.store import Store

ROW_BYTES = 4 * DIM
AT_ONCE = 20_000
"""Vectors of a space up to this long are read together with its rows."""

PLAYS_HELD = 8
"""Conditions whose rows are held, of one byte for each row of the space and eight for each that is in play."""

# Reading a row by its id costs about this many times as much as reading it with all the others.
_SCATTERED = 20
# Opening the database for that costs as much as so many of such rows.
_OPENING = 300


@dataclass(frozen=True, eq=False)
class InPlay:
    """Rows of a view that a search may find: a mask, bool (n,), and their positions; None for all."""

    mask: NDArray[np.bool_] | None
    rows: NDArray[np.int64] | None

    @classmethod
    def of(cls, mask: NDArray[np.bool_] | None) -> InPlay:
        """Of a mask."""
        return cls(mask, None if mask is None else np.flatnonzero(mask))


@dataclass(frozen=True)
class SpaceView:
    """The rows of a space at one snapshot, by id.

    Attributes
    ----------
    standing
        Reference, snapshot and last purge that a generation has to agree with.
    ids
        Row ids, int64 (n,), sorted.
    patients
        Distinct patients, sorted.
    codes
        Position in `patients` of each row, int32 (n,); their order is that of the patient ids.
    rows
        The rows as (id, patient, sample, kind, item), in one chunk.
    vectors
        Their vectors.
    """

    standing: Standing
    ids: NDArray[np.int64]
    patients: pa.Array
    codes: NDArray[np.int32]
    rows: pa.Table
    vectors: Vectors

    def in_play(
        self, patients: Collection[str] | None, exclude: Collection[str], kinds: Collection[str] | None
    ) -> InPlay:
        """Return which rows are in play.

        The last answers are kept for the same object again, where it cannot have changed: None or a tuple.
        """
        if exclude or not (patients is None or isinstance(patients, tuple)):
            return InPlay.of(self._allowed(patients, exclude, kinds))
        key = (id(patients), None if kinds is None else tuple(kinds))
        known = self._plays.get(key)
        if known is None:
            while len(self._plays) >= PLAYS_HELD:
                self._plays.pop(next(iter(self._plays)), None)
            # The patients are kept beside it: no other object takes their id meanwhile.
            known = self._plays[key] = (patients, InPlay.of(self._allowed(patients, exclude, kinds)))
        return known[1]

    @cached_property
    def _plays(self) -> dict[object, tuple[object, InPlay]]:
        return {}

    def _allowed(
        self, patients: Collection[str] | None, exclude: Collection[str], kinds: Collection[str] | None
    ) -> NDArray[np.bool_] | None:
        """Return which rows are in play, bool (n,), or None for all of them."""
        mask: NDArray[np.bool_] | None = None
        if patients is not None or exclude:
            wanted = np.ones(len(self.patients), bool)
            if patients is not None:
                wanted[:] = False
                wanted[self._codes_of(patients)] = True
            wanted[self._codes_of(exclude)] = False
            mask = wanted[self.codes]
        if kinds is not None:
            of_kind = booleans(pc.is_in(self.rows["kind"], value_set=pa.array(list(kinds), pa.string())))
            mask = of_kind if mask is None else mask & of_kind
        return None if mask is None or mask.all() else mask

    def positions_of(self, patients: Collection[str]) -> NDArray[np.int64]:
        """Return the positions of all rows of some patients, ascending."""
        order, starts = self._by_patient
        codes = self._codes_of(patients)
        parts = [order[starts[code] : starts[code + 1]] for code in codes]
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    @cached_property
    def one_each(self) -> bool:
        """Whether every row is another patient."""
        return len(self.patients) == len(self.ids)

    @cached_property
    def _by_patient(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions ordered by patient, and where in that order each patient's begin, with the end."""
        order = np.argsort(self.codes, kind="stable")
        return order, np.searchsorted(self.codes[order], np.arange(len(self.patients) + 1))

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {patient: code for code, patient in enumerate(self.patients.to_pylist())}

    def _codes_of(self, patients: Collection[str]) -> list[int]:
        """Return the codes of those of `patients` that have a row."""
        code_of = self._code_of
        return [code_of[patient] for patient in patients if patient in code_of]


class Vectors:
    """Vectors of the rows of a view: read by id while few are asked for, all of them into memory after that.

    Parameters
    ----------
    memory
        Bytes that may be held; a longer space is always read in parts.
    matrix
        All of them, where they were read already.
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
        before: Vectors | None = None,
    ) -> None:
        self._store = store
        self._space = space
        self.ids = ids
        self.fits = len(ids) * ROW_BYTES <= memory
        self._lock = threading.Lock()
        self._asked = 0
        self._matrix = matrix
        self._lengths: NDArray[np.float32] | None = None
        self._subset: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]] | None = None
        if before is not None and before._matrix is not None and self.fits:
            self._carry_over(before.ids, before._matrix)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at `positions`, float32 (m, 768)."""
        with self._lock:
            self._asked += len(positions) + _OPENING
            wanted = self._asked * _SCATTERED > len(self.ids)
        if self.fits and (wanted or self._matrix is not None):
            return self.matrix()[0][positions]
        return self._read(self.ids[positions])

    def gather(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return vectors among which those at `positions` are, and where in them; nothing is copied that is held."""
        with self._lock:
            held = self._matrix
        if held is not None:
            return held, positions
        distinct, places = np.unique(positions, return_inverse=True)
        return self.take(distinct), places

    def subset(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the vectors at `positions` and their lengths; the last ones are kept for the next query."""
        kept = self._subset
        if kept is None or not (kept[0] is positions or np.array_equal(kept[0], positions)):
            vectors = self.take(positions)
            kept = self._subset = (positions, vectors, lengths(vectors))
        return kept[1], kept[2]

    def matrix(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all vectors, float32 (n, 768), and their lengths; only where they fit."""
        with self._lock:
            if self._matrix is None:
                ids, vectors = self._store.vectors(self._space)
                # The truth may have moved on since the view was made.
                self._matrix = vectors if np.array_equal(ids, self.ids) else vectors[_places(ids, self.ids)]
            if self._lengths is None:
                self._lengths = lengths(self._matrix)
            return self._matrix, self._lengths

    def _read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            return self._store.vectors(self._space, ids)[1]
        except NotFoundError as error:
            raise StaleViewError(str(error)) from error

    def _carry_over(self, ids: NDArray[np.int64], matrix: NDArray[np.float32]) -> None:
        fresh = ~np.isin(self.ids, ids, assume_unique=True)
        if fresh.mean() > 0.5:
            return
        joined = np.empty((len(self.ids), DIM), np.float32)
        joined[~fresh] = matrix[np.searchsorted(ids, self.ids[~fresh])]
        joined[fresh] = self._read(self.ids[fresh])
        self._matrix = joined


def load_view(store: Store, space: str, *, memory: int, before: SpaceView | None = None) -> SpaceView | None:
    """Read the rows of a space as they are now; None for a space that does not exist."""
    with store.reading() as connection:
        standing = standing_of(connection, space)
        if standing is None:
            return None
        if before is not None and before.standing == standing:
            return before
        rows = rows_of(connection, space).combine_chunks()
        # A short space is searched exactly, so its vectors are wanted at once; reading them here spares opening again.
        read = before is None and rows.num_rows <= AT_ONCE and rows.num_rows * ROW_BYTES <= memory
        held, matrix = vectors_of(connection, space) if read else (None, None)
    ids = integers(rows["id"])
    if held is not None and not np.array_equal(held, ids):
        raise DamagedError(f"{store.path}: space {space!r} has vectors without their sample")
    encoded = rows["patient"].combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int32)
    rank[integers(order)] = np.arange(len(order), dtype=np.int32)
    codes = rank[integers(encoded.indices)]
    vectors = Vectors(store, space, ids, memory=memory, matrix=matrix, before=before.vectors if before else None)
    return SpaceView(standing, ids, encoded.dictionary.take(order), codes, rows, vectors)


def _places(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of `wanted` in `ids`, both sorted.

    Raises
    ------
    StaleViewError
        Some are gone.
    """
    places = np.searchsorted(ids, wanted)
    if len(wanted) and (places[-1] >= len(ids) or not np.array_equal(ids[places], wanted)):
        raise StaleViewError("rows were deleted while they were searched")
    return places


class StaleViewError(Exception):
    """The truth has lost rows that a view still holds; a fresh view answers."""
