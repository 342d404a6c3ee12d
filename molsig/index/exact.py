"""Exact search over some or all rows of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.index.scoring import Found, leaders, leaders_of_all, score_pairs

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
