"""RaBitQ codes, one bit a dimension: scanned all of them, or those of the nearest cells of an inverted file.

A code and two numbers say how near a vector is to a query, with an error that shrinks as the dimensions grow; 768 bits
put the ten nearest rows among the best few dozen of hundreds of thousands. Gao and Long, doi 10.1145/3654970. FAISS
scans 32 codes at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.cosines import UNIT, nearest_cells
from molsig.index.structure import CellsWith, faiss, more_cells, numbers_of_cells
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEPTHS = (32, 64, 128, 256, 512)
FINER_DEPTHS = (32, 40, 48, 64, 96, 128, 192, 256, 512)
"""Of cells. Where all codes are scanned a row more costs little, and what a filter keeps has to be among them."""
CODES_AT_ONCE = 32
TRAIN_PER_CELL = 64
TRAIN_FLAT = 20_000
_ITERATIONS = 10
PARAMETERS_HELD = 8
"""Sets of parameters that are kept: to make one, with its filter, takes as long as to open several cells."""

REFINED, CENTRE, OPENED = 30, 10, 300
"""What it takes to compare a row's float32 vector or a cell's centre, or to open a cell, in codes compared (10 ns).
For a cell a table of the query is made anew: 2.9 us, in batches, which share a flat scan better, twice as much."""


def cells_for(rows: int) -> int:
    """Return a power of two near the root of the rows: finding the cells then costs about as much as scanning some."""
    return int(2 ** max(0, round(math.log2(0.8 * math.sqrt(max(rows, 1))))))


class FlatRabitq:
    """All codes are scanned: nothing to tune but how many rows are proposed."""

    method = "rabitq"
    holds_out = False
    selects = False
    suits = True
    settles = False
    # What each proposes is still in the processor's cache when the next ones are scored.
    at_a_time = 64

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def empty(cls, rows: int) -> FlatRabitq:
        """Return a structure without rows."""
        module = faiss()
        return cls(module.IndexRaBitQFastScan(DIM, module.METRIC_INNER_PRODUCT, CODES_AT_ONCE, 1))

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> FlatRabitq:
        """Return it as it was serialised."""
        return cls(faiss().deserialize_index(data))

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self._index.ntotal)

    def efforts(self) -> Sequence[int]:
        """One: everything is scanned."""
        return (0,)

    def depths(self) -> Sequence[int]:
        """From 32 to 512."""
        return DEPTHS

    def parameters(self) -> dict[str, int]:
        """Bits of a code."""
        return {"bits": DIM}

    def sample(self, rows: int) -> int:
        """Return how many vectors the centre is the mean of."""
        return min(rows, TRAIN_FLAT)

    def train(self, vectors: NDArray[np.float32], seed: int) -> None:
        """Find the centre."""
        self._index.train(np.ascontiguousarray(vectors))

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Append rows; their numbers go on where those before ended."""
        if len(rows) and (rows[0] != self.rows or rows[-1] != self.rows + len(rows) - 1):
            raise ValueError(f"rows {rows[0]} to {rows[-1]} do not follow {self.rows} others")
        self._index.add(np.ascontiguousarray(vectors))

    def cells_with(self, rows: NDArray[np.bool_]) -> None:
        """None: there are no cells."""

    def search(
        self,
        queries: NDArray[np.float32],
        depth: int,
        effort: int,
        kept: NDArray[np.uint8] | None = None,
        cells: CellsWith | None = None,
    ) -> NDArray[np.int64]:
        """Scan all codes; `kept` and `cells` are ignored."""
        found: NDArray[np.int64] = self._index.search(np.ascontiguousarray(queries), min(depth, self.rows))[1]
        return found

    def effort_for(self, effort: int, share: float, depth: int) -> int:
        """The same."""
        return effort

    def cost(self, depth: int, effort: int) -> float:
        """All codes, and the rows proposed."""
        return self.rows + REFINED * depth

    def serialised(self) -> NDArray[np.uint8]:
        """As faiss writes it."""
        data: NDArray[np.uint8] = faiss().serialize_index(self._index)
        return data


class IvfRabitq:
    """The codes of the cells nearest to the query are scanned; its effort is how many cells."""

    method = "ivf-rabitq"
    holds_out = False
    selects = True
    suits = True
    settles = False
    # Those that open the same cells share what it takes to scan them.
    at_a_time = 512

    def __init__(self, index: Any) -> None:
        self._index = index
        self._last: dict[tuple[int, int, int], Any] = {}
        # By depth and effort, what a single query needs: to make the parameters takes as long as to open three cells.
        self._ones: dict[tuple[int, int], tuple[int, NDArray[np.float32], Any, Any]] = {}
        self._centres: NDArray[np.int16] | None = None
        self._cell_of: NDArray[np.int32] | None = None

    @classmethod
    def empty(cls, rows: int) -> IvfRabitq:
        """Return a structure without rows, with as many cells as `rows` make best use of."""
        module = faiss()
        cells, metric = cells_for(rows), module.METRIC_INNER_PRODUCT
        return cls(module.IndexIVFRaBitQFastScan(module.IndexFlatIP(DIM), DIM, cells, metric, CODES_AT_ONCE, True, 1))

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> IvfRabitq:
        """Return it as it was serialised."""
        return cls(faiss().deserialize_index(data))

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(self._index.nlist)

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self._index.ntotal)

    def efforts(self) -> Sequence[int]:
        """From one cell to all of them, by about a third."""
        return numbers_of_cells(self.cells)

    def depths(self) -> Sequence[int]:
        """From 32 to 512."""
        return FINER_DEPTHS

    def parameters(self) -> dict[str, int]:
        """Bits of a code, and cells."""
        return {"bits": DIM, "cells": self.cells}

    def sample(self, rows: int) -> int:
        """Return how many vectors the cells are learned from."""
        return min(rows, TRAIN_PER_CELL * self.cells)

    def train(self, vectors: NDArray[np.float32], seed: int) -> None:
        """Learn the cells by k-means."""
        self._ones.clear()
        self._centres = None
        self._index.cp.seed = seed + 1
        self._index.cp.niter = _ITERATIONS
        # With fewer rows than faiss would like a cell it prints so; nobody asked.
        self._index.cp.min_points_per_centroid = 1
        self._index.train(np.ascontiguousarray(vectors))

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Put rows into their cells."""
        self._ones.clear()
        self._index.add_with_ids(np.ascontiguousarray(vectors), np.ascontiguousarray(rows))

    def cells_with(self, rows: NDArray[np.bool_]) -> CellsWith:
        """Of the cells, those of these rows."""
        if self._cell_of is None or len(self._cell_of) != self.rows:
            self._cell_of = self._cells_of_rows()
        return CellsWith.of(self._cell_of, rows, self.cells)

    def _cells_of_rows(self) -> NDArray[np.int32]:
        """The cell of each row, by its number."""
        module, lists = faiss(), self._index.invlists
        found = np.empty(self.rows, np.int32)
        for cell in range(self.cells):
            if count := lists.list_size(cell):
                found[module.rev_swig_ptr(lists.get_ids(cell), count)] = cell
        return found

    def search(
        self,
        queries: NDArray[np.float32],
        depth: int,
        effort: int,
        kept: NDArray[np.uint8] | None = None,
        cells: CellsWith | None = None,
    ) -> NDArray[np.int64]:
        """Scan the nearest cells, or the nearest of some."""
        asked = np.ascontiguousarray(queries)
        if len(asked) == 1 and kept is None and (choose := nearest_cells()) is not None:
            return self._search_one(asked, depth, effort, choose)
        opened = None if cells is None else cells.bits
        _, rows = self._index.search(asked, min(depth, self.rows), params=self._parameters(effort, kept, opened))
        found: NDArray[np.int64] = rows
        return found

    def _parameters(
        self, effort: int, kept: NDArray[np.uint8] | None = None, cells: NDArray[np.uint8] | None = None
    ) -> Any:
        """How many cells are opened, and where given which rows and cells are in play; the last ones are kept."""
        key = (effort, id(kept), id(cells))
        known = self._last.get(key)
        if known is not None:
            return known
        module = faiss()
        how = module.IVFRaBitQSearchParameters()
        how.nprobe = effort
        if kept is not None:
            how.sel = selector = module.IDSelectorBitmap(8 * len(kept), module.swig_ptr(kept))
            where = opened = None
            if cells is not None:
                where = module.SearchParameters()
                where.sel = opened = module.IDSelectorBitmap(8 * len(cells), module.swig_ptr(cells))
                how.quantizer_params = where
            # faiss holds all of these by their addresses, and none of them gives its id to another.
            how.held_for_it = (kept, selector, cells, where, opened)
        for old in list(self._last)[: max(0, len(self._last) + 1 - PARAMETERS_HELD)]:
            self._last.pop(old, None)  # of several threads each may
        self._last[key] = how
        return how

    def _search_one(self, query: NDArray[np.float32], depth: int, effort: int, choose: Any) -> NDArray[np.int64]:
        """Choose the cells by centres of 16 bits a number: what one query takes is mostly memory read.

        A batch compares whole centres, in one product of matrices.
        """
        pointer, centres = faiss().swig_ptr, self._centres
        if centres is None:
            centres = self._centres = self._shortened()
        known = self._ones.get((depth, effort))
        if known is None:
            # How near the cells are is of no account to codes of this kind.
            near = np.zeros(effort, np.float32)
            known = self._ones[depth, effort] = (min(depth, self.rows), near, pointer(near), self._parameters(effort))
        most, _, nowhere, how = known
        cells = np.empty(effort, np.int64)
        choose(query, centres, cells)
        scores, rows = np.empty((1, most), np.float32), np.empty((1, most), np.int64)
        # faiss's own wrapper takes no parameters here.
        self._index.search_preassigned_c(
            1, pointer(query), most, pointer(cells), nowhere, pointer(scores), pointer(rows), False, how
        )
        return rows

    def _shortened(self) -> NDArray[np.int16]:
        """The centres in steps of which the longest is `UNIT` long, int16 (cells, 768).

        What all have in common changes the order of none, and would leave few steps to tell them apart by.
        """
        centres = faiss().downcast_index(self._index.quantizer).reconstruct_n(0, self.cells)
        centres -= centres.mean(axis=0)
        longest = float(np.sqrt(np.einsum("ij,ij->i", centres, centres)).max(initial=0.0))
        found: NDArray[np.int16] = np.rint(centres * (UNIT / (longest or 1.0))).astype(np.int16)
        return found

    def effort_for(self, effort: int, share: float, depth: int) -> int:
        """As many times the cells, and no fewer than hold `HELD` times the rows that are wanted, up to all of them."""
        return more_cells(self.cells, self.rows, effort, share, depth)

    def cost(self, depth: int, effort: int) -> float:
        """The centres of all cells, the cells opened, their codes, and the rows proposed."""
        codes = self.rows * effort / self.cells
        return CENTRE * self.cells + OPENED * effort + codes + REFINED * depth

    def serialised(self) -> NDArray[np.uint8]:
        """As faiss writes it."""
        data: NDArray[np.uint8] = faiss().serialize_index(self._index)
        return data
