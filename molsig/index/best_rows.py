"""The best of the rows that a structure proposed, where each is of another patient: scored finally, best first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from molsig.index import cosines
from molsig.index.arrays import numbered
from molsig.index.scoring import SLACK, leaders_of_all
from molsig.index.structure import inner_products

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stored(Protocol):
    """Rows that can be compared."""

    @property
    def matrix(self) -> NDArray[np.float32]:
        """Their vectors, (n, 768)."""
        ...

    @property
    def lengths(self) -> NDArray[np.float64]:
        """As `precise_lengths` gives them, (n,)."""
        ...


def best_rows(
    stored: Stored,
    codes: NDArray[np.int32],
    directions: NDArray[np.float64],
    rounded: NDArray[np.float32],
    rows: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `k` best of the proposed rows of each query, equal scores by patient, and their scores.

    Parameters
    ----------
    stored
        Holds the rows, which were checked.
    codes
        The patient of each of these, int32 (n,) or longer.
    directions, rounded
        The queries at unit length, float64 and float32 (q, 768).
    rows
        Proposed rows, int64 (q, depth), -1 for none; no patient twice in one line.

    Returns
    -------
    tuple
        Rows, int64 (q, k), -1 for none, and scores, float32 (q, k), 0 for those; where k is more than depth, that many.
    """
    k = max(1, min(k, rows.shape[1]))
    best = cosines.best_of_rows()
    if best is None:
        return _by_sifting(stored, codes, directions, rounded, rows, k)
    found, scores = np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32)
    asked = np.ascontiguousarray(rows)
    best(directions, rounded, stored.matrix, stored.lengths, codes, asked, found, scores, k, SLACK)
    return found, scores


def _by_sifting(
    stored: Stored,
    codes: NDArray[np.int32],
    directions: NDArray[np.float64],
    rounded: NDArray[np.float32],
    rows: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """As compiled: numpy takes long over a row, so that only those are scored that float32 leaves in question."""
    there = rows >= 0
    some = rows if there.all() else np.where(there, rows, 0)
    fast = inner_products(rounded, stored.matrix, some)
    fast /= stored.lengths[some].astype(np.float32)
    fast[~there] = -np.inf
    queries, columns = leaders_of_all(fast, k)
    chosen = rows[queries, columns]
    exact = cosines.cosines(directions, queries, stored.matrix, chosen, stored.lengths[chosen])
    order = np.lexsort((codes[chosen], -exact, queries))
    queries = queries[order]
    ranks = numbered(queries)
    kept = ranks < k
    found, scores = np.full((len(rows), k), -1, np.int64), np.zeros((len(rows), k), np.float32)
    places = queries[kept], ranks[kept]
    found[places], scores[places] = chosen[order][kept], exact[order][kept]
    return found, scores
