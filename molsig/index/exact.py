"""Exact search over some or all rows of a view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.best_rows import best_rows
from molsig.index.cosines import best_of_rows
from molsig.index.hits import Ranked, of_one
from molsig.index.scoring import Found, both_directions, leaders, leaders_of_all, precise_lengths, score_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.index.view import SpaceView

BLOCK_SCORES = 4_000_000
"""Scores computed at a time (16 MB)."""


def search_exact(
    view: SpaceView, positions: NDArray[np.int64] | None, directions: NDArray[np.float64], k: int
) -> Found:
    """Return rows that hold the k best patients of each direction among those at `positions` (None: all)."""
    parts: list[Found] = []
    for rows, vectors, lengths in view.vectors.blocks(positions):
        step = max(1, BLOCK_SCORES // len(rows))
        for start in range(0, len(directions), step):
            some = directions[start : start + step]
            products = _products(some.astype(np.float32), vectors)
            products /= lengths
            queries, chosen = _leaders(view, rows, products, k)
            scores = score_pairs(some, queries, vectors, chosen)
            parts.append(Found(queries + start, rows[chosen], scores, len(rows)))
    return Found.joined(parts)


@dataclass(frozen=True, eq=False)
class HeldRows:
    """Rows of a view, each another patient's, held for single queries that are compared with all of them.

    Attributes
    ----------
    view, chosen, positions
        Whose they are, which were asked for, None for all, and where they are, int64 (m,).
    matrix, lengths, codes
        Their vectors, float32 (m, 768), lengths, float64, and patients, int32 (m,).
    """

    view: SpaceView
    chosen: NDArray[np.int64] | None
    positions: NDArray[np.int64]
    matrix: NDArray[np.float32]
    lengths: NDArray[np.float64]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, view: SpaceView, positions: NDArray[np.int64] | None) -> HeldRows:
        """Those at `positions`, None for all; `StaleViewError` as `Vectors.take`."""
        rows = np.arange(len(view.ids)) if positions is None else positions
        matrix = np.ascontiguousarray(view.vectors.take(rows))
        return cls(view, positions, rows, matrix, precise_lengths(matrix), view.codes[rows])

    @cached_property
    def _every(self) -> NDArray[np.int64]:
        return np.arange(len(self.positions))[None]

    def search(self, query: NDArray[np.float32], k: int) -> Ranked:
        """As `search_exact`, for one query (1, 768) of any length.

        Raises
        ------
        InputError
            The query is not finite, is zero, or not 768 long.
        """
        directions, rounded = both_directions(query)
        if best_of_rows() is None:
            # numpy is as quick over all of them at once.
            return Ranked.of(self.view, 1, search_exact(self.view, self.chosen, directions, k), k)
        k = min(k, len(self.positions))
        found, scores = best_rows(self, self.codes, directions, rounded, self._every, k)
        return Ranked(self.view, 1, *of_one(k), self.positions[found[0]], scores[0])


def _leaders(
    view: SpaceView, rows: NDArray[np.int64], products: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if view.one_each:
        return leaders_of_all(products, k)
    codes = view.codes[rows]
    chosen = [leaders(fast, codes, k) for fast in products]
    return np.repeat(np.arange(len(chosen)), [len(some) for some in chosen]), np.concatenate(chosen)


def _products(directions: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    # One query is bound by memory. A product of matrices wakes further threads for it, which get in the way of others.
    if len(directions) == 1:
        one: NDArray[np.float32] = np.vecdot(vectors, directions[0])[None]
        return one
    return directions @ vectors.T
