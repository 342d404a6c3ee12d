"""Codes of eight bits a number along leading directions (PCA), all of them scanned, or those of the nearest cells.

Vectors of patients differ along far fewer than 768 directions: 32 to 256 numbers tell who is near whom better than one
bit of each dimension does, and take less to compare. How many directions that takes is measured on rows of a sample
that they were not learned from; vectors of which 256 do not tell enough are better off with RaBitQ. Cells are found
along the same directions.

Queries, directions and centres are rounded to whole steps. Sums of a query's products with directions fit into 32 bits,
those with codes and centres into the 24 bits that float32 holds exactly, and what else a cell is judged by is kept in
the file: the compiled way and the one through numpy propose the same rows, on every processor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.compiled import compiled_part
from molsig.index.structure import CellsWith, K, faiss, more_cells, numbers_of_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VERSION = 2
"""Of the compiled parts that are used."""
_compiled = compiled_part("_pca_sq8", VERSION)

DIRECTIONS = (32, 64, 96, 128, 192, 256)
"""How many may be kept: the fewest that tell enough."""
ENOUGH, SUITS, AMONG = 0.99, 0.98, 24
"""Directions are kept until the first share of the ten nearest rows of a sample is among the 24 nearest along them.
With all 256 the second share has to be, or the structure does not suit the vectors."""
ONE_CELL = 20_000
"""Up to so many rows all codes are scanned."""
TRAIN_PER_CELL, TRAIN_LEAST, TRAIN_MOST = 64, 20_000, 65_536
DEPTHS = (16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 512)
LANES = 16
"""Rows of a block: codes of two directions of all of them, then those of the next two."""

UNIT, SHORT_UNIT, CENTRE_UNIT = 32_000, 8_000, 1_000
"""Steps that a length of 1 is made of: of queries and directions; of queries along the directions; of centres."""
LARGEST = 127
"""The largest number of a code. 8,000 steps times the longest code (16 x 127) or centre (2,000) stay below 2^24."""
LONGEST = 8_100
"""No number of a query along a direction is larger: unit vectors have none above 8,015 after rounding."""
TRIED = 200
"""Rows of a sample that try how many directions are enough: no more than one in ten, and not those that teach them."""
_ITERATIONS = 10
# Scores this close are ties, as for the tuning of the search.
_TIE = 1e-5
_KINDS = {"I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F32": "<f4", "F64": "<f8"}
"""Kinds of numbers in files of safetensors, as numpy calls them."""

REFINED, OPENED, ALONG, NUMBERS = 30, 2, 200, 400
"""What it takes, in RaBitQ codes compared (10 ns), to compare a row's float32 vector, to open a cell and to bring a
query along the directions; and how many numbers of rows' codes or of centres are compared in the time of one."""


def compiled() -> bool:
    """Whether the compiled parts are there: without them the search takes longer than other structures do."""
    return _compiled is not None


def cells_for(rows: int) -> int:
    """Return 1 for few rows, else a power of two near the root of the rows."""
    return 1 if rows <= ONE_CELL else int(2 ** round(math.log2(1.5 * math.sqrt(rows))))


def _along(basis: NDArray[np.int16], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vectors @ (basis.T.astype(np.float32) / np.float32(UNIT))
    return found


@dataclass(frozen=True, eq=False)
class Learned:
    """What a sample of unit vectors taught.

    Attributes
    ----------
    basis
        The leading directions in steps of 1 / `UNIT`, int16 (d, 768).
    shift
        The mean of the sample along them, float32 (d,): codes are of what differs from it.
    step
        What 1 in a code is worth.
    centres
        Of the cells, along the directions, in steps of 1 / `CENTRE_UNIT`: whole numbers, float32 (cells, d).
    biases
        What a query's product with each centre is lessened by, float32 (cells,): the nearest has the largest then.
    """

    basis: NDArray[np.int16]
    shift: NDArray[np.float32]
    step: float
    centres: NDArray[np.float32]
    biases: NDArray[np.float32]

    @classmethod
    def of(
        cls, basis: NDArray[np.int16], shift: NDArray[np.float32], step: float, centres: NDArray[np.float32]
    ) -> Learned:
        """Round centres, (cells, d) in lengths of 1, and work out their biases.

        A bias is half the square length, and the product with the mean, which queries are not freed of.
        """
        steps = np.rint(centres * CENTRE_UNIT).astype(np.float32)
        exact = steps.astype(np.float64) / CENTRE_UNIT
        biases = 0.5 * np.einsum("ij,ij->i", exact, exact) + exact @ shift.astype(np.float64)
        return cls(basis, shift, step, steps, (biases * (SHORT_UNIT * CENTRE_UNIT)).astype(np.float32))

    def along(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what of unit vectors differs from the mean, along the directions, float32 (n, d)."""
        return _along(self.basis, vectors) - self.shift

    def codes(self, along: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the codes of rows, int8 (n, d)."""
        steps = np.rint(along / np.float32(self.step))
        found: NDArray[np.int8] = np.clip(steps, -LARGEST, LARGEST).astype(np.int8)
        return found

    @cached_property
    def in_blocks(self) -> NDArray[np.float32]:
        """The centres in blocks of `LANES`, direction by direction, float32 (blocks, d, `LANES`)."""
        cells, width = self.centres.shape
        padded = np.zeros((-(-cells // LANES) * LANES, width), np.float32)
        padded[:cells] = self.centres
        return aligned(padded.reshape(-1, LANES, width).transpose(0, 2, 1))

    @cached_property
    def padded_biases(self) -> NDArray[np.float32]:
        """The biases, and zeros as long as `in_blocks`."""
        found = np.zeros(-(-len(self.biases) // LANES) * LANES, np.float32)
        found[: len(self.biases)] = self.biases
        return found


@dataclass(frozen=True, eq=False)
class Blocks:
    """The rows of each cell, in blocks.

    Attributes
    ----------
    starts
        The first block of each cell, and the end of the last, int64 (cells + 1,).
    codes
        Int8 (blocks, d / 2, `LANES`, 2).
    rows
        Their numbers, -1 in what a cell's last block has to spare, int32 (blocks, `LANES`).
    """

    starts: NDArray[np.int64]
    codes: NDArray[np.int8]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, parts: Sequence[tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int32]]], cells: int) -> Blocks:
        """Put rows into so many cells: parts with their codes (n, d), cells and numbers (n,)."""
        cell_of = np.concatenate([some for _, some, _ in parts])
        sizes = np.bincount(cell_of, minlength=cells)
        starts = np.zeros(cells + 1, np.int64)
        np.cumsum(-(-sizes // LANES), out=starts[1:])
        places = np.empty(len(cell_of), np.int64)
        before = np.cumsum(sizes) - sizes
        places[np.argsort(cell_of, kind="stable")] = np.arange(len(places)) + np.repeat(
            LANES * starts[:-1] - before, sizes
        )
        pairs = parts[0][0].shape[1] // 2
        codes = aligned(np.broadcast_to(np.zeros(1, np.int8), (int(starts[-1]), pairs, LANES, 2)))
        numbers = np.full((int(starts[-1]), LANES), -1, np.int32)
        first = 0
        for some, _, rows in parts:
            block, lane = np.divmod(places[first : first + len(some)], LANES)
            codes[block, :, lane] = some.reshape(len(some), pairs, 2)
            numbers[block, lane] = rows
            first += len(some)
        return cls(starts, codes, numbers)

    @property
    def all_codes(self) -> NDArray[np.int8]:
        """Codes by place, int8 (n, d)."""
        blocks, pairs, lanes, two = self.codes.shape
        return self.codes.transpose(0, 2, 1, 3).reshape(blocks * lanes, pairs * two)

    @property
    def all_cells(self) -> NDArray[np.int64]:
        """Cells by place, int64 (n,)."""
        return np.repeat(np.arange(len(self.starts) - 1), LANES * np.diff(self.starts))

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return int(np.count_nonzero(self.rows >= 0))

    @cached_property
    def cell_of(self) -> NDArray[np.int32]:
        """The cell of each row, by its number, int32 (n,)."""
        numbers = self.rows.ravel()
        there = numbers >= 0
        found = np.empty(self.count, np.int32)
        found[numbers[there]] = self.all_cells[there]
        return found

    def lanes(self, meant: NDArray[np.bool_]) -> NDArray[np.uint16]:
        """A bit of each block for each of its rows that is meant, by their numbers; lowest first, uint16 (blocks,)."""
        there = (self.rows >= 0) & meant[np.maximum(self.rows, 0)]
        found: NDArray[np.uint16] = np.packbits(there, axis=1, bitorder="little").view("<u2")[:, 0].astype(np.uint16)
        return found

    def wide(self, cell: int) -> NDArray[np.float32]:
        """Codes of a cell by place, float32 (n, d): numpy multiplies whole numbers of eight bits one by one."""
        codes = self.codes[self.starts[cell] : self.starts[cell + 1]].astype(np.float32)
        return codes.transpose(0, 2, 1, 3).reshape(codes.shape[0] * LANES, codes.shape[1] * 2)


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins where a line of the processor's cache does."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    found = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def principal_directions(
    vectors: NDArray[np.float32], random: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Return the fewest leading directions of unit vectors that tell enough, float32 (d, 768), and how much they tell.

    They are those with the largest variance, of most of the vectors; the others, as queries, tell the share of their
    ten nearest that is among the `AMONG` nearest along the directions.
    """
    tried = np.zeros(len(vectors), bool)
    tried[random.choice(len(vectors), min(TRIED, len(vectors) // 10), replace=False)] = True
    queries, held = vectors[tried], vectors[~tried]
    mean = held.mean(axis=0, dtype=np.float64).astype(np.float32)
    moved = held - mean
    variances, directions = np.linalg.eigh((moved.T @ moved).astype(np.float64))
    basis = np.ascontiguousarray(directions[:, np.argsort(-variances, kind="stable")[: DIRECTIONS[-1]]].T, np.float32)
    if not len(queries):
        return basis, 1.0
    wanted, among = min(K, len(held)), min(AMONG, len(held))
    exact = queries @ held.T
    last = -np.partition(-exact, wanted - 1, axis=1)[:, wanted - 1]
    along, asked = moved @ basis.T, queries @ basis.T
    rough, told, count = np.zeros_like(exact), 0.0, 0
    for more in DIRECTIONS:
        rough += asked[:, count:more] @ along[:, count:more].T
        nearest = np.argpartition(-rough, among - 1, axis=1)[:, :among]
        found = (np.take_along_axis(exact, nearest, axis=1) >= last[:, None] - _TIE).sum(axis=1)
        told, count = float(np.minimum(found, wanted).mean() / wanted), more
        if told >= ENOUGH:
            break
    return basis[:count], told


class PcaSq8:
    """Rows in cells, by their codes along leading directions; its effort is how many cells are opened."""

    method = "pca-sq8"
    holds_out = False
    selects = True
    settles = True
    # Those that open the same cells share what it takes to read them.
    at_a_time = 512

    def __init__(self, cells: int, learned: Learned | None = None) -> None:
        self.cells = cells
        self._learned = learned
        self._blocks: Blocks | None = None
        # Since the blocks were made: codes, cells and numbers of rows.
        self._fresh: list[tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int32]]] = []
        self.told = 0.0

    @classmethod
    def empty(cls, rows: int) -> PcaSq8:
        """Return a structure without rows, with as many cells as `rows` make best use of."""
        return cls(cells_for(rows))

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> PcaSq8:
        """Return it as it was serialised."""
        held = _arrays(data)
        learned = Learned(held["basis"], held["shift"], float(held["step"][0]), held["centres"], held["biases"])
        found = cls(len(held["centres"]), learned)
        found.told = float(held["told"][0])
        found._blocks = Blocks(held["starts"], held["codes"], held["rows"])
        return found

    def serialised(self) -> NDArray[np.uint8]:
        """As a file of safetensors."""
        from safetensors.numpy import save

        learned, blocks = self._known(), self._whole()
        held = {name: getattr(learned, name) for name in ("basis", "shift", "centres", "biases")}
        held |= {name: getattr(blocks, name) for name in ("starts", "codes", "rows")}
        held |= {"step": np.array([learned.step]), "told": np.array([self.told])}
        return np.frombuffer(save(held), np.uint8)

    def _known(self) -> Learned:
        if self._learned is None:
            raise RuntimeError("nothing was learned yet: train it before rows are added or looked for")
        return self._learned

    def _whole(self) -> Blocks:
        """All rows in blocks. Threads may share it, while nobody adds any."""
        if self._blocks is None or self._fresh:
            parts = list(self._fresh)
            if (before := self._blocks) is not None:
                there = before.rows.ravel() >= 0
                parts.append((before.all_codes[there], before.all_cells[there], before.rows.ravel()[there]))
            none = np.empty((0, len(self._known().basis)), np.int8), np.empty(0, np.int64), np.empty(0, np.int32)
            self._blocks, self._fresh = Blocks.of(parts or [none], self.cells), []
        return self._blocks

    @property
    def suits(self) -> bool:
        """Whether the directions tell enough of who is near whom."""
        return self.told >= SUITS

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return self._whole().count

    def efforts(self) -> Sequence[int]:
        """From one cell to all of them, by about a third."""
        return numbers_of_cells(self.cells)

    def depths(self) -> Sequence[int]:
        """From 16 to 512."""
        return DEPTHS

    def parameters(self) -> dict[str, int]:
        """Directions kept, bits of each number, and cells."""
        return {"directions": len(self._known().basis), "bits": 8, "cells": self.cells}

    def sample(self, rows: int) -> int:
        """Return how many vectors the directions and cells are learned from."""
        return min(rows, max(TRAIN_LEAST, TRAIN_PER_CELL * self.cells), TRAIN_MOST)

    def train(self, vectors: NDArray[np.float32], seed: int) -> None:
        """Learn the directions, and the cells by k-means."""
        basis, self.told = principal_directions(vectors, np.random.default_rng(seed))
        steps = np.rint(basis * UNIT).astype(np.int16)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        shift = _along(steps, mean[None])[0]
        moved = _along(steps, vectors) - shift
        step = float(np.abs(moved).max(initial=0.0)) / LARGEST or 1.0
        centres = np.zeros((1, len(basis)), np.float32)
        if self.cells > 1:
            means = faiss().Kmeans(
                len(basis),
                self.cells,
                niter=_ITERATIONS,
                seed=seed + 1,
                min_points_per_centroid=1,
                max_points_per_centroid=len(vectors),
            )
            means.train(moved)
            centres = means.centroids
        self._learned = Learned.of(steps, shift, step, centres)
        self._blocks, self._fresh = None, []

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Put rows into their cells."""
        known = self._known()
        along = known.along(vectors)
        cells = np.zeros(len(rows), np.int64)
        if self.cells > 1:
            centres = faiss().IndexFlatL2(len(known.basis))
            centres.add(known.centres / np.float32(CENTRE_UNIT))
            cells = centres.search(along, 1)[1][:, 0]
        self._fresh.append((known.codes(along), cells, rows.astype(np.int32)))

    def cells_with(self, rows: NDArray[np.bool_]) -> CellsWith:
        """Of the cells, those of these rows, and where in their blocks these are."""
        blocks = self._whole()
        return replace(CellsWith.of(blocks.cell_of, rows, self.cells), lanes=blocks.lanes(rows))

    def search(
        self,
        queries: NDArray[np.float32],
        depth: int,
        effort: int,
        kept: NDArray[np.uint8] | None = None,
        cells: CellsWith | None = None,
    ) -> NDArray[np.int64]:
        """Scan the nearest cells, or the nearest of some; what is proposed to a query is in no order."""
        known, blocks = self._known(), self._whole()
        asked, effort = np.ascontiguousarray(queries), min(effort, self.cells)
        opened, lanes = (None, None) if cells is None else (cells.bits, cells.lanes)
        if _compiled is None:
            return _by_numpy(known, blocks, asked, min(depth, blocks.count), effort, kept, opened)
        found = np.empty((len(asked), min(depth, blocks.count)), np.int64)
        centres, biases = known.in_blocks, known.padded_biases
        starts, codes, rows = blocks.starts, blocks.codes, blocks.rows
        _compiled.propose(asked, known.basis, centres, biases, starts, codes, rows, kept, opened, lanes, found, effort)
        return found

    def effort_for(self, effort: int, share: float, depth: int) -> int:
        """As many times the cells, and no fewer than hold `HELD` times the rows that are wanted, up to all of them."""
        return more_cells(self.cells, self.rows, effort, share, depth)

    def cost(self, depth: int, effort: int) -> float:
        """The query's numbers, the centres of all cells, the cells opened, their codes, and the rows proposed."""
        centres = self.cells if self.cells > 1 else 0
        numbers = (centres + self.rows * effort / self.cells) * len(self._known().basis)
        return ALONG + OPENED * effort + numbers / NUMBERS + REFINED * depth


def _arrays(data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Copies of the arrays of a file of safetensors; its own reader makes two more on the way."""
    length = int(data[:8].view("<u8")[0])
    header = json.loads(data[8 : 8 + length].tobytes())
    found = {}
    for name in header.keys() - {"__metadata__"}:
        one = header[name]
        begin, end = (8 + length + place for place in one["data_offsets"])
        found[name] = aligned(data[begin:end].view(_KINDS[one["dtype"]]).reshape(one["shape"]))
    return found


def _by_numpy(
    known: Learned,
    blocks: Blocks,
    queries: NDArray[np.float32],
    depth: int,
    effort: int,
    kept: NDArray[np.uint8] | None,
    opened: NDArray[np.uint8] | None,
) -> NDArray[np.int64]:
    """As compiled; a loop over queries, not over rows."""
    asked = _numbers(known, queries)
    allowed = blocks.rows >= 0
    if kept is not None:
        bits = np.unpackbits(kept, bitorder="little").astype(bool)
        allowed &= (blocks.rows < len(bits)) & bits[np.clip(blocks.rows, 0, len(bits) - 1)]
    codes = blocks.wide(0) if len(known.centres) == 1 else None
    found = np.full((len(queries), depth), -1, np.int64)
    for query, cells in enumerate(_cells(known, asked, effort, opened)):
        spans = [slice(int(blocks.starts[cell]), int(blocks.starts[cell + 1])) for cell in cells]
        if not spans:
            continue
        there = np.concatenate([allowed[span].ravel() for span in spans])
        rows = np.concatenate([blocks.rows[span].ravel() for span in spans])[there].astype(np.int64)
        scores = np.concatenate([(blocks.wide(cell) if codes is None else codes) @ asked[query] for cell in cells])
        # The largest first, of equal ones the row that came first.
        keys = (scores[there].astype(np.int64) << 32) - rows
        best = np.argpartition(-keys, depth - 1)[:depth] if len(keys) > depth else np.arange(len(keys))
        found[query, : len(best)] = rows[best]
    return found


def _numbers(known: Learned, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries along the directions, whole numbers of steps, float32 (q, d)."""
    steps = np.nan_to_num(queries * np.float32(UNIT), nan=-UNIT).clip(-UNIT, UNIT)
    products = _rounded(steps, np.float32(0.5)).astype(np.float64) @ known.basis.T.astype(np.float64)
    numbers = _rounded(products * (SHORT_UNIT / (UNIT * UNIT)), 0.5)
    return numbers.clip(-LONGEST, LONGEST).astype(np.float32)


def _cells(
    known: Learned, asked: NDArray[np.float32], effort: int, opened: NDArray[np.uint8] | None
) -> list[NDArray[np.int64]]:
    """The nearest cells of each query, of those that may be opened."""
    cells = len(known.centres)
    if cells == 1:
        return [np.zeros(1, np.int64)] * len(asked)
    scores = (asked @ known.centres.T - known.biases).astype(np.int32)
    some = np.arange(cells) if opened is None else np.flatnonzero(np.unpackbits(opened, bitorder="little")[:cells])
    order = np.argsort(-scores[:, some].astype(np.int64), axis=1, kind="stable")[:, :effort]
    return list(some[order])


def _rounded(numbers: NDArray[Any], half: Any) -> NDArray[Any]:
    """To whole numbers, halves away from zero."""
    found: NDArray[Any] = np.trunc(numbers + np.where(numbers < 0, -half, half))
    return found
