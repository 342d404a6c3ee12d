"""Scores of candidate rows, the same from every plan, and the best row of each patient.

A score is the cosine of a query and a stored float32 vector, summed in float64 and rounded to float32: it depends on
nothing but the two vectors, so equal vectors tie whichever way they were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REFINE_ROWS = 64
"""Rows scored at a time: as float64 they and their queries fit into the processor's cache."""
SHARED = 4
"""Rows of each query from which on it is read once for all of them."""
# The fast float32 product is off by less than this from the final score: 768 rounding errors in it and in the length.
SLACK = 1e-4


@dataclass(frozen=True, eq=False)
class Found:
    """Rows proposed for some queries, in no order.

    Attributes
    ----------
    queries, positions
        Of each, int64 (m,): number of its query, position of the row in the view.
    scores
        Final scores, float32 (m,).
    """

    queries: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Several, of the same or of different queries."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([_NO_ROWS, *(part.queries for part in parts)]),
            np.concatenate([_NO_ROWS, *(part.positions for part in parts)]),
            np.concatenate([_NO_SCORES, *(part.scores for part in parts)]),
        )


_NO_ROWS = np.empty(0, np.int64)
_NO_SCORES = np.empty(0, np.float32)


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
    norms = np.sqrt(np.vecdot(given, given))
    # What is not a number fails both comparisons.
    if len(norms) == 1:
        usual = 0 < norms.item() < np.inf
    else:
        usual = not len(norms) or bool(norms.min() > 0 and norms.max() < np.inf)
    if not usual:
        usable = np.isfinite(norms) & (norms > 0)
        raise InputError("a query vector is zero or not finite", row=int(np.argmin(usable)) + 1)
    unit: NDArray[np.float64] = given / norms[:, None]
    return unit


def score_pairs(
    directions: NDArray[np.float64],
    queries: NDArray[np.int64],
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    norms: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Return the cosine of direction `queries[i]` and row `rows[i]` for each i, float32 (m,); a row of zeros scores 0.

    Parameters
    ----------
    norms
        What `precise_lengths` says of the rows, float64 (m,), where that is known.
    """
    if len(directions) == 1 and norms is not None and len(rows) <= REFINE_ROWS:
        # One query's, the usual case, as below.
        found = vectors.take(rows, axis=0).astype(np.float64)
        cosines: NDArray[np.float32] = (np.vecdot(found, directions[0]) / norms).astype(np.float32)
        return cosines
    if norms is not None and len(rows) > REFINE_ROWS and (several := _same_of_each(queries)) is not None:
        scores = np.empty(len(rows), np.float32)
        queries_at_once = max(1, REFINE_ROWS // several.shape[1])
        for start in range(0, len(several), queries_at_once):
            places = several[start : start + queries_at_once]
            asked = directions.take(queries[places[:, 0]], axis=0)[:, None, :]
            scores[places] = np.vecdot(vectors.take(rows[places], axis=0).astype(np.float64), asked) / norms[places]
        others = np.ones(len(rows), bool)
        others[several] = False
        left = np.flatnonzero(others)
        if len(left):
            scores[left] = _one_by_one(directions, queries[left], vectors, rows[left], norms[left])
        return scores
    return _one_by_one(directions, queries, vectors, rows, norms)


def _same_of_each(queries: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return where as many pairs of each query are, (q, m), so that it is read once for all of them.

    None where the pairs of a query do not follow one another, or one has so few that nothing is gained.
    """
    steps = queries[1:] - queries[:-1]
    if steps.min(initial=0) < 0:
        return None
    starts = np.flatnonzero(np.concatenate([[True], steps > 0]))
    fewest = int(np.diff(starts, append=len(queries)).min())
    return None if fewest < SHARED else starts[:, None] + np.arange(min(fewest, REFINE_ROWS))


def _one_by_one(
    directions: NDArray[np.float64],
    queries: NDArray[np.int64],
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    norms: NDArray[np.float64] | None,
) -> NDArray[np.float32]:
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), REFINE_ROWS):
        some = slice(start, start + REFINE_ROWS)
        # vecdot sums each pair by itself and always alike; a product of matrices may sum by where a row happens to lie.
        found = vectors.take(rows[some], axis=0).astype(np.float64)
        lengths = _lengths(found) if norms is None else norms[some]
        asked = directions[0] if len(directions) == 1 else directions.take(queries[some], axis=0)
        scores[some] = np.vecdot(found, asked) / lengths
    return scores


def precise_lengths(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the lengths of rows as float64, 1 for a row of zeros."""
    found = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), REFINE_ROWS):
        some = slice(start, start + REFINE_ROWS)
        found[some] = _lengths(vectors[some].astype(np.float64))
    return found


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    found[found == 0] = 1
    return found


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths of rows as float32, 1 for a row of zeros."""
    found: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    found[found == 0] = 1
    return found


def first_of_each(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return for each code where it comes first, int64 (n,)."""
    if not len(codes):
        return np.empty(0, np.int64)
    # Only the places of codes that are there are written and read.
    place = np.empty(int(codes.max()) + 1, np.int64)
    place[codes] = len(codes)
    np.minimum.at(place, codes, np.arange(len(codes)))
    found: NDArray[np.int64] = place[codes]
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
        ranked, first = scores[order], first_of_each(codes[order])
        bests = ranked[first == np.arange(len(first))]
        cut = bests[k - 1] - SLACK if len(bests) >= k else -np.inf
        if whole or ranked[-1] < cut:
            chosen: NDArray[np.int64] = order[(ranked >= cut) & (ranked >= ranked[first] - SLACK)]
            return chosen
        depth = min(len(scores), 4 * depth)


def leaders_of_all(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `leaders`, for many queries at once, where every row is another patient.

    Parameters
    ----------
    scores
        float32, shape (q, n), off by less than `SLACK`; -inf for what does not count.

    Returns
    -------
    tuple
        Queries and positions of the leaders, int64 (m,) each, by query.
    """
    n = scores.shape[1]
    leading = scores > -np.inf
    if n > k:
        leading &= scores >= (np.partition(scores, n - k, axis=1)[:, n - k] - SLACK)[:, None]
    queries, positions = np.nonzero(leading)
    return queries, positions
