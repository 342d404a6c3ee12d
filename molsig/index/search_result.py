"""What a batch of queries found, and how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from molsig.index.hits import Ranked, RowHit


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a batch of queries found, and how.

    Attributes
    ----------
    ranked
        The best patients of each query, as columns; `hits` and `table()` tell of them.
    method
        ``exact``, or the structure that proposed rows: ``pca-sq8``, ``rabitq``, ``ivf-rabitq`` or ``hnsw``.
    reason
        Why that plan.
    recall
        1.0 for exact search, else recall@10 as measured when the index was built.
    rows
        Rows in play: of the space, allowed by the filters.
    candidates
        Rows looked at, of the query that had most.
    snapshot
        The commit that was searched.
    notes
        What the user should know, such as a damaged index that was not used.
    """

    ranked: Ranked
    method: str
    reason: str
    recall: float
    rows: int
    candidates: int
    snapshot: int
    notes: tuple[str, ...] = ()

    @cached_property
    def hits(self) -> tuple[tuple[RowHit, ...], ...]:
        """For each query its best patients, best first; fewer than `k` where fewer are in play."""
        return self.ranked.hits()

    def table(self) -> pa.Table:
        """Return all hits as (query, rank, patient, sample, item, score, id)."""
        return self.ranked.table()
