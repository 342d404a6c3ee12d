"""Exact search over some or all rows of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.index.scoring import Candidates, divided, join, leaders, leaders_of_all, lengths, score, score_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from molsig.index.view import SpaceView

BLOCK_ROWS = 65_536
BLOCK_SCORES = 4_000_000
"""Scores computed at a time (16 MB)."""


def search_exact(
    view: SpaceView, positions: NDArray[np.int64] | None, directions: NDArray[np.float64], k: int
) -> list[Candidates]:
    """Return for each direction candidates that hold the k best patients among the rows at `positions` (None: all)."""
    parts: list[list[Candidates]] = [[] for _ in directions]
    for rows, vectors, sizes in _blocks(view, positions):
        codes = view.codes[rows]
        step = max(1, BLOCK_SCORES // len(rows))
        for start in range(0, len(directions), step):
            some = directions[start : start + step]
            products = _products(some.astype(np.float32), vectors)
            products /= sizes
            if view.one_each:
                queries, chosen = leaders_of_all(products, k)
                scores = score_pairs(some, queries, vectors, chosen)
                for offset, found in enumerate(divided(len(some), queries, rows[chosen], scores)):
                    parts[start + offset].append(found)
                continue
            for offset, fast in enumerate(products):
                chosen = leaders(fast, codes, k)
                parts[start + offset].append(Candidates(rows[chosen], score(some[offset], vectors[chosen])))
    nothing = Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
    return [join(several) if several else nothing for several in parts]


def _products(directions: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    # One query is bound by memory: BLAS is no faster, and its threads wait for each other on a busy machine.
    if len(directions) == 1:
        one: NDArray[np.float32] = np.einsum("ij,j->i", vectors, directions[0])[None]
        return one
    return directions @ vectors.T


def _blocks(
    view: SpaceView, positions: NDArray[np.int64] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
    """Yield rows, their vectors and lengths: at once where the space fits into memory, in parts otherwise."""
    count = len(view.ids) if positions is None else len(positions)
    if not count:
        return
    if positions is None and view.vectors.fits:
        yield np.arange(count), *view.vectors.matrix()
        return
    if positions is not None and count <= BLOCK_ROWS:
        yield positions, *view.vectors.subset(positions)
        return
    for start in range(0, count, BLOCK_ROWS):
        stop = min(count, start + BLOCK_ROWS)
        rows = np.arange(start, stop) if positions is None else positions[start:stop]
        vectors = view.vectors.take(rows)
        yield rows, vectors, lengths(vectors)
