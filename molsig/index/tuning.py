"""How deep and how widely a structure has to be searched for a recall@10 of .995, measured on rows it holds.

Rows are taken as queries, each left out of what it may find; those of a structure that would find a row it holds too
easily are held out until the others are in. A row found counts if it scores as high as the last of the exact
neighbours, so that one of many equal rows is as good as another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.structure import K, inner_products, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.index.rows_file import RowsFile
    from molsig.index.structure import Structure

TARGET_RECALL = 0.995
_SPARE = 0.002
"""What the search with all effort has to be above the target, so that a shallow one is not bought with width."""
_QUERIES = 50
_DEEP = 200
"""No more queries than these choose the depth, with all effort: a scan of every code takes longer than all the rest."""
# Scores this close are ties: which of the tied rows is found does not count against recall.
_TIE = 1e-5


@dataclass(frozen=True)
class Tuned:
    """The least depth and effort that reach the target, or the most there are; the recall there, and of how many."""

    depth: int
    effort: int
    recall: float
    queries: int


class Trial:
    """Rows as queries, and their exact neighbours as far as blocks of rows have been shown.

    Parameters
    ----------
    own
        The numbers of the rows, int64 (q,).
    vectors
        Their vectors, float32 (q, 768).
    """

    def __init__(self, own: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self.own = own
        self.queries = unit(vectors)
        self._best = np.empty((len(own), 0), np.float32)

    def show(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take note of which of these unit vectors are near."""
        scores = self.queries @ vectors.T
        scores[self.own[:, None] == rows[None, :]] = -np.inf
        self._best = _best(np.concatenate([self._best, scores], axis=1))

    def tune(self, structure: Structure, file: RowsFile) -> Tuned:
        """Search with more and more depth and effort until the target is reached."""
        best = self._best
        possible = np.isfinite(best).sum(axis=1)
        efforts, depths = list(structure.efforts()), list(structure.depths())
        if not possible.any():
            return Tuned(depths[0], efforts[0], 1.0, len(self.own))
        last = np.where(np.isfinite(best), best, np.inf).min(axis=1, initial=np.inf)

        def recall(depth: int, effort: int, step: int = 1) -> float:
            scores = self._scores(structure, file, depth, effort, step)
            matched = (scores >= last[::step, None] - _TIE).sum(axis=1)
            return float(np.minimum(matched, possible[::step]).sum() / max(1, possible[::step].sum()))

        # Without width there is nothing to spare for it; what filters leave of the rows proposed has to be enough, too.
        wanted = TARGET_RECALL + (_SPARE if len(efforts) > 1 or not structure.selects else 0)
        for depth in depths:
            if depth < depths[-1] and recall(depth, efforts[-1], 1 + len(self.own) // _DEEP) < wanted:
                continue
            # Recall grows with the effort: the least that does is found by halving, not one after the other.
            known: dict[int, float] = {}
            low, high = 0, len(efforts) - 1
            while low < high:
                middle = (low + high) // 2
                known[middle] = recall(depth, efforts[middle])
                low, high = (low, middle) if known[middle] >= TARGET_RECALL else (middle + 1, high)
            if low not in known:
                known[low] = recall(depth, efforts[low])
            if known[low] >= TARGET_RECALL:
                break
        return Tuned(depth, efforts[low], known[low], len(self.own))

    def _scores(self, structure: Structure, file: RowsFile, depth: int, effort: int, step: int) -> NDArray[np.float32]:
        """The best K cosines of what is proposed to every `step`-th query, -inf where there are fewer."""
        queries = self.queries[::step]
        rows = structure.search(queries, depth + 1, effort)
        valid = (rows >= 0) & (rows != self.own[::step, None])
        rows = np.where(valid, rows, 0)
        scores = np.empty(rows.shape, np.float32)
        # Some queries at a time, so that a large file is not mapped as a whole.
        for start in range(0, len(rows), _QUERIES):
            some = slice(start, start + _QUERIES)
            file.check(rows[some])
            scores[some] = inner_products(queries[some], file.matrix, rows[some]) / file.short_lengths[rows[some]]
            file.let_go()
        scores[~valid] = -np.inf
        return _best(scores)


def _best(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The K highest of each row, fewer where there are fewer columns."""
    if scores.shape[1] <= K:
        return scores
    part: NDArray[np.float32] = np.partition(scores, scores.shape[1] - K, axis=1)[:, -K:]
    return part
