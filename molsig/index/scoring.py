"""Scores of candidate rows, the same from every plan, and the best row of each patient.

A score is the cosine of a query and a stored float32 vector, summed in float64 and rounded to float32: it depends on
nothing but the two vectors, so equal vectors tie whichever way they were found.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REFINE_ROWS = 512
# The fast float32 product is off by less than this from the final score: 768 rounding errors in it and in the length.
SLACK = 1e-4


@dataclass(frozen=True)
class Candidates:
    """Rows proposed for one query: their positions in the view, int64 (m,), and their final scores, float32 (m,)."""

    positions: NDArray[np.int64]
    scores: NDArray[np.float32]


def directions(queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return queries (q, 768) at unit length.

    Raises
    ------
    InputError
        One is not finite, is zero, or not 768 long.
    """
    given = np.asarray(queries, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != DIM:
        raise InputError(f"queries of shape {given.shape}, expected (q, {DIM})")
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", given, given))
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        raise InputError("a query vector is zero or not finite", row=int(np.argmin(usable)) + 1)
    unit: NDArray[np.float64] = given / norms[:, None]
    return unit


def score(direction: NDArray[np.float64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosines of one direction and some rows; a row of zeros scores 0."""
    return score_pairs(direction[None], np.zeros(len(vectors), np.int64), vectors, np.arange(len(vectors)))


def score_pairs(
    directions: NDArray[np.float64],
    queries: NDArray[np.int64],
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the cosine of direction `queries[i]` and row `rows[i]` for each i, float32 (m,)."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), REFINE_ROWS):
        some = slice(start, start + REFINE_ROWS)
        # einsum sums each row by itself and always alike; a BLAS may sum by where a row happens to lie.
        found = vectors[rows[some]].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", found, found))
        norms[norms == 0] = 1
        scores[some] = np.einsum("ij,ij->i", found, directions[queries[some]]) / norms
    return scores


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths of rows as float32, 1 for a row of zeros."""
    found: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    found[found == 0] = 1
    return found


def leaders(scores: NDArray[np.float32], codes: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """Return the positions among which, within the slack of `scores`, the best rows of the k best patients are.

    Parameters
    ----------
    scores
        float32, shape (n,), off by less than `SLACK`.
    codes
        Patient of each row, shape (n,).
    """
    depth = min(len(scores), 4 * k + 16)
    while True:
        whole = depth >= len(scores)
        top = np.arange(len(scores)) if whole else np.argpartition(-scores, depth - 1)[:depth]
        order = top[np.argsort(-scores[top], kind="stable")]
        _, firsts, patient = np.unique(codes[order], return_index=True, return_inverse=True)
        bests = np.sort(scores[order[firsts]])[::-1]
        cut = bests[k - 1] - SLACK if len(bests) >= k else -np.inf
        if whole or scores[order[-1]] < cut:
            ranked = scores[order]
            chosen: NDArray[np.int64] = order[(ranked >= cut) & (ranked >= ranked[firsts[patient]] - SLACK)]
            return chosen
        depth = min(len(scores), 4 * depth)


def leaders_of_all(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `leaders`, for many queries at once, where every row is another patient.

    Parameters
    ----------
    scores
        float32, shape (q, n), off by less than `SLACK`.

    Returns
    -------
    tuple
        Queries and positions of the leaders, int64 (m,) each, by query.
    """
    n = scores.shape[1]
    if n <= k:
        queries, positions = np.divmod(np.arange(scores.size), max(n, 1))
        return queries, positions
    last = np.partition(scores, n - k, axis=1)[:, n - k]
    queries, positions = np.nonzero(scores >= (last - SLACK)[:, None])
    return queries, positions


def join(parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of one query from several searches as one."""
    if len(parts) == 1:
        return parts[0]
    return Candidates(np.concatenate([p.positions for p in parts]), np.concatenate([p.scores for p in parts]))


def divided(
    count: int, queries: NDArray[np.int64], positions: NDArray[np.int64], scores: NDArray[np.float32]
) -> list[Candidates]:
    """Return flat candidates, ordered by query, as those of each of `count` queries."""
    bounds = np.searchsorted(queries, np.arange(count + 1)).tolist()
    return [Candidates(positions[a:b], scores[a:b]) for a, b in itertools.pairwise(bounds)]


def best_rows(candidates: Candidates, codes: NDArray[np.int32], k: int) -> Candidates:
    """Return the best row of each of the k best patients, best first, equal scores by patient and then by row."""
    patients = codes[candidates.positions]
    order = np.lexsort((candidates.positions, patients, -candidates.scores))
    _, firsts = np.unique(patients[order], return_index=True)
    chosen = order[np.sort(firsts)[:k]]
    return Candidates(candidates.positions[chosen], candidates.scores[chosen])
