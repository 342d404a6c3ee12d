"""Scores of candidate rows, the same from every plan, and the best row of each patient.

A score is the cosine of a query and a stored float32 vector, summed in float64 and rounded to float32: it depends on
nothing but the two vectors, so equal vectors tie whichever way they were found.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.index import cosines
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Queries = NDArray[np.float32] | NDArray[np.float64]

# The fast float32 product is off by less than this from the final score: 768 rounding errors in it and in the length.
# So it is for rows longer than 1e-40; what a file of vectors may hold is longer.
SLACK = 1e-4


@dataclass(frozen=True, eq=False)
class Found:
    """Rows proposed for some queries.

    Attributes
    ----------
    queries, positions
        Of each, int64 (m,): number of its query, position of the row in the view.
    scores
        Final scores, float32 (m,).
    proposed
        How many rows were looked at for the query that had most.
    ranked
        Whether they come by query and rank, the best row of each patient alone and no more than were asked for; else
        in no order.
    """

    queries: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]
    proposed: int
    ranked: bool = False

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Several, of the same or of different queries."""
        if len(parts) == 1:
            return parts[0]
        ends = [(part.queries[0], part.queries[-1]) for part in parts if len(part.queries)]
        return cls(
            np.concatenate([_NO_ROWS, *(part.queries for part in parts)]),
            np.concatenate([_NO_ROWS, *(part.positions for part in parts)]),
            np.concatenate([_NO_SCORES, *(part.scores for part in parts)]),
            max((part.proposed for part in parts), default=0),
            all(part.ranked for part in parts) and all(a[1] < b[0] for a, b in itertools.pairwise(ends)),
        )

    def shifted(self, queries: NDArray[np.int64] | int) -> Found:
        """The same of other queries: of those so many further, or of those with these numbers, in ascending order."""
        numbers = self.queries + queries if isinstance(queries, int) else queries[self.queries]
        return replace(self, queries=numbers)


_FLOAT32 = np.dtype(np.float32)
_NO_ROWS = np.empty(0, np.int64)
_NO_SCORES = np.empty(0, np.float32)


def directions(queries: Queries) -> NDArray[np.float64]:
    """Return queries (q, 768) at unit length.

    Raises
    ------
    InputError
        One is not finite, is zero, or not 768 long.
    """
    return both_directions(queries)[0]


def as_queries(given: object) -> Queries:
    """Return an array (q, 768) in one of the precisions that are compared; `InputError` for another shape."""
    queries = np.asarray(given)
    if queries.ndim != 2 or queries.shape[1] != DIM:
        raise InputError(f"queries of shape {queries.shape}, expected (q, {DIM})")
    return queries if queries.dtype == _FLOAT32 else queries.astype(np.float64, copy=False)


def both_directions(queries: Queries, before: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """As `directions`, and the same rounded to float32; `before` so many other queries came, for the message."""
    units, rounded, bad = cosines.unit(as_queries(queries))
    if bad >= 0:
        raise InputError("a query vector is zero or not finite", row=before + bad + 1)
    return units, rounded


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
    return cosines.cosines(
        directions, queries, vectors, rows, precise_lengths(vectors, rows) if norms is None else norms
    )


def precise_lengths(vectors: NDArray[np.float32], rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return the lengths of all or some rows as float64, 1 for a row of zeros."""
    if rows is None:
        return cosines.lengths(vectors)
    found = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), cosines.BLOCK_ROWS):
        some = slice(start, start + cosines.BLOCK_ROWS)
        found[some] = cosines.lengths(vectors.take(rows[some], axis=0))
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
