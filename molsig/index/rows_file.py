"""The vectors of a generation as one mapped file: read where they lie, each row checked before it is first used.

A generation proposes rows, and their final scores need the float32 vectors. Reading those from the truth by id costs
milliseconds; here they are mapped into memory row after row. The file is derived like the generation, and grows at its
end: a later generation of the same space takes it over and appends what is new. Ids, lengths and checksums of the rows
lie in a smaller file beside it, which is read and hashed as a whole. A checksum is a sum of the row's 64-bit words,
each times an odd number of its own, modulo 2^64, with the row's id as one word more: a change of any one word always
shows, any other change all but surely.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError
from molsig.index.arrays import distinct
from molsig.index.mapped import SHORT, MappedPages
from molsig.index.scoring import precise_lengths
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.index.manifest import NamedFile

ROW_BYTES = 4 * DIM
_WORDS = ROW_BYTES // 8

_BLOCK_ROWS = 256
"""Rows compared with their checksums or copied at a time: 768 KB stay in the processor's cache."""
_AHEAD_ROWS = 8_192


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Turn 1, 2, 3 ... into odd numbers that have nothing in common (SplitMix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


_FACTORS = _mixed(np.arange(1, _WORDS + 2, dtype=np.uint64))


def checksums(ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the checksums of rows, uint64 (n,)."""
    words = np.ascontiguousarray(vectors).view(np.uint64)
    found: NDArray[np.uint64] = np.einsum("ij,j->i", words, _FACTORS[:-1]) + ids.astype(np.uint64) * _FACTORS[-1]
    return found


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What is known of the rows of a file: ids, int64 ascending; lengths, float64 (1 for a row of zeros); checksums."""

    ids: NDArray[np.int64]
    lengths: NDArray[np.float64]
    sums: NDArray[np.uint64]

    @classmethod
    def of(cls, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> RowFacts:
        """Of some rows."""
        return cls(ids, precise_lengths(vectors), checksums(ids, vectors))

    @classmethod
    def joined(cls, parts: Iterable[RowFacts]) -> RowFacts:
        """Several, one after the other."""
        several = list(parts)
        return cls(
            np.concatenate([part.ids for part in several]),
            np.concatenate([part.lengths for part in several]),
            np.concatenate([part.sums for part in several]),
        )

    def serialised(self) -> bytes:
        """As bytes: all ids, all lengths, all checksums, little-endian."""
        return b"".join(
            (self.ids.astype("<i8").tobytes(), self.lengths.astype("<f8").tobytes(), self.sums.astype("<u8").tobytes())
        )

    @classmethod
    def read(cls, folder: Path, file: NamedFile) -> RowFacts:
        """Read a file of them.

        Raises
        ------
        DamagedError
            It is not the file that was written.
        FileNotFoundError
            There is no such file.
        """
        data = file.read(folder)
        rows, rest = divmod(len(data), 24)
        if rest:
            raise DamagedError(f"{folder / file.name}: {len(data)} bytes are no whole number of rows")
        ids, lengths, sums = (data[part * 8 * rows : (part + 1) * 8 * rows] for part in range(3))
        return cls(ids.view("<i8"), lengths.view("<f8"), sums.view("<u8"))


@dataclass(eq=False)
class RowsFile:
    """Rows on disk, mapped.

    Attributes
    ----------
    path
        The file; it may be longer than what is mapped.
    facts
        Ids, lengths and checksums.
    matrix
        float32 (n, 768): touch only what `check` has let pass.
    pages
        Those of them that are mapped, of a file that is not short.
    short_lengths
        The lengths as float32.
    """

    path: Path
    facts: RowFacts
    matrix: NDArray[np.float32]
    pages: MappedPages | None = field(default=None, repr=False)
    short_lengths: NDArray[np.float32] = field(init=False)
    _checked: NDArray[np.bool_] = field(init=False, repr=False)
    _all: bool = field(init=False, default=False, repr=False)

    def __post_init__(self) -> None:
        self.short_lengths = self.facts.lengths.astype(np.float32)
        self._checked = np.zeros(len(self), bool)

    def __len__(self) -> int:
        return len(self.facts.ids)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Row ids, int64 (n,), ascending."""
        return self.facts.ids

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths of the rows, float64 (n,), 1 for a row of zeros."""
        return self.facts.lengths

    @classmethod
    def open(cls, path: Path, facts: RowFacts) -> RowsFile:
        """Map the first rows of a file.

        Raises
        ------
        DamagedError
            It is shorter than it should be.
        FileNotFoundError
            There is no such file.
        """
        wanted = len(facts.ids) * ROW_BYTES
        with path.open("rb") as handle:
            if os.fstat(handle.fileno()).st_size < wanted:
                raise DamagedError(f"{path}: shorter than the {len(facts.ids):,} rows it should hold")
            # Copy on write: faiss asks for an array that could be written to, and what is written stays in memory.
            mapped = mmap.mmap(handle.fileno(), wanted, access=mmap.ACCESS_COPY) if wanted else None
        if mapped is None:
            return cls(path, facts, np.empty((0, DIM), np.float32))
        matrix = np.frombuffer(mapped, np.float32).reshape(-1, DIM)
        if wanted <= SHORT:
            return cls(path, facts, matrix)
        if hasattr(mmap, "MADV_RANDOM"):
            # Some rows here and there are wanted: reading ahead would fetch a hundred kilobytes for each.
            mapped.madvise(mmap.MADV_RANDOM)
        return cls(path, facts, matrix, MappedPages(mapped, ROW_BYTES))

    def check(self, rows: NDArray[np.int64]) -> None:
        """Make sure that some rows, of any shape, are what was written.

        Raises
        ------
        DamagedError
            One is not.
        """
        if self.pages is not None:
            self.pages.touch(rows.size)
        if self._all:
            return
        new = self._checked[rows]
        if new.all():
            return
        fresh = distinct(rows[~new])
        for start in range(0, len(fresh), _BLOCK_ROWS):
            some = fresh[start : start + _BLOCK_ROWS]
            self._compare(some, self.matrix[_as_slice(some)])
        self._all = bool(len(fresh) > _AHEAD_ROWS and self._checked.all())

    def check_all(self) -> None:
        """Make sure that all rows are what was written; `DamagedError` if not."""
        for start in range(0, len(self), _AHEAD_ROWS):
            left = start + np.flatnonzero(~self._checked[start : start + _AHEAD_ROWS])
            if len(left) and self.pages is not None:
                self.pages.read_ahead(start, start + 2 * _AHEAD_ROWS)
            for first in range(0, len(left), _BLOCK_ROWS):
                self.check(left[first : first + _BLOCK_ROWS])
        self._all = True

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a copy of some rows, checked; `DamagedError` as `check`."""
        found = np.empty((len(rows), DIM), np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            some, part = rows[start : start + _BLOCK_ROWS], found[start : start + _BLOCK_ROWS]
            where = _as_slice(some)
            if self.pages is not None:
                self.pages.touch(len(some))
                if isinstance(where, slice):
                    self.pages.read_ahead(where.start, where.stop)
            if isinstance(where, slice):
                part[:] = self.matrix[where]
            else:
                # Straight to where they belong, which another mode than this would not do.
                self.matrix.take(where, axis=0, out=part, mode="clip")
            if not self._all and not self._checked[some].all():
                # The copy itself is compared, while it is in the processor's cache.
                self._compare(some, part)
        return found

    def let_go(self) -> None:
        """Unmap what was looked at so far, of a file that is not short."""
        if self.pages is not None:
            self.pages.let_go()

    def _compare(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Make sure that `vectors` are what was written as some rows."""
        wrong = checksums(self.ids[rows], vectors) != self.facts.sums[rows]
        if wrong.any():
            raise DamagedError(f"{self.path}: row {int(rows[np.argmax(wrong)])} is not what was written")
        self._checked[rows] = True


def _as_slice(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Rows that follow one another as a slice, which copies nothing; others as they are."""
    if not len(rows) or rows[-1] - rows[0] != len(rows) - 1 or not bool((rows[1:] - rows[:-1] == 1).all()):
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


class RowsWriter:
    """Appends rows to a file, after the first `kept` that a generation already has there.

    What lies behind them was left by a writer that died and is cut off.
    """

    def __init__(self, path: Path, kept: RowFacts | None = None) -> None:
        self._parts = [] if kept is None else [kept]
        rows = 0 if kept is None else len(kept.ids)
        self._handle = path.open("r+b" if rows else "wb")
        self._handle.truncate(rows * ROW_BYTES)
        self._handle.seek(0, os.SEEK_END)

    def append(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Write rows with ids above all before."""
        self._parts.append(RowFacts.of(ids, vectors))
        self._handle.write(np.ascontiguousarray(vectors, dtype=np.float32).data)

    def close(self) -> RowFacts:
        """Wait until all is on disk, and return what is known of all rows."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()
        nothing = RowFacts(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint64))
        return RowFacts.joined([nothing, *self._parts])
