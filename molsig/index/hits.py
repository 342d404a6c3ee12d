"""Hits of a batch of queries, kept as columns; objects and tables are made of them when they are asked for."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.index.arrays import floats_to_arrow, integers_to_arrow, numbered
from molsig.index.names import names_at, one_chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.scoring import Found
    from molsig.index.view import SpaceView


@lru_cache(maxsize=8)
def of_one(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The query, 0, and the rank, from 1, of each hit of a single query, shared: not to be written to."""
    queries, ranks = np.zeros(count, np.int64), np.arange(1, count + 1)
    queries.flags.writeable = ranks.flags.writeable = False
    return queries, ranks


@dataclass(frozen=True, slots=True)
class RowHit:
    """A patient found by one query, through their best row; a row of the sum space has no sample and no item."""

    patient: str
    sample: str | None
    item: str | None
    score: float
    id: int


@dataclass(frozen=True, eq=False)
class Ranked:
    """The best patients of each query, by query and rank.

    Attributes
    ----------
    view
        Whose rows they are.
    count
        How many queries there were.
    queries, ranks, positions
        Of each hit, int64 (m,): number of its query from 0, rank from 1, position of its row in the view.
    scores
        float32 (m,).
    """

    view: SpaceView
    count: int
    queries: NDArray[np.int64]
    ranks: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, view: SpaceView, count: int, found: Found, k: int) -> Ranked:
        """The best row of each of the `k` best patients of each query; equal scores by patient and then by row."""
        queries, positions, scores = found.queries, found.positions, found.scores
        if found.ranked:
            return cls(view, count, queries, 1 + numbered(queries), positions, scores)
        patients = view.codes[positions]
        order = np.lexsort((positions, patients, -scores, queries))
        if not view.one_each:
            # Of each patient, what comes first.
            keys = queries[order] * len(view.patients) + patients[order]
            order = order[np.sort(np.unique(keys, return_index=True)[1])]
        queries = queries[order]
        ranks = 1 + numbered(queries)
        kept = ranks <= k
        order = order[kept]
        return cls(view, count, queries[kept], ranks[kept], positions[order], scores[order])

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Of each hit the position of its patient among the view's, int64 (m,)."""
        return self.view.codes[self.positions].astype(np.int64)

    def told(self, columns: Sequence[str]) -> dict[str, list[str | None]]:
        """What columns of the view's rows say of the hits."""
        if not len(self.positions):
            return {name: [] for name in columns}
        texts, rows = self.view.texts, self.positions.tolist()
        return {name: texts[name].at(rows) for name in columns}

    def patients(self, begin: int, end: int) -> list[str]:
        """The patients of hits `begin` to `end`."""
        return names_at(self.view.patients, self.codes[begin:end])

    def ends(self) -> list[int]:
        """Where the hits of each query begin, and the end of all."""
        found: list[int] = np.searchsorted(self.queries, np.arange(self.count + 1)).tolist()
        return found

    def hits(self) -> tuple[tuple[RowHit, ...], ...]:
        """As objects, for each query."""
        told = self.told(("patient", "sample", "item")).values()
        columns = (*told, self.scores.tolist(), self.view.ids[self.positions].tolist())
        made = [RowHit(*row) for row in zip(*columns, strict=True)]
        return tuple(tuple(made[a:b]) for a, b in itertools.pairwise(self.ends()))

    def arrays(self) -> list[pa.Array]:
        """As columns: query, rank, patient, sample, item, score."""
        places = integers_to_arrow(self.positions)
        columns = [one_chunk(self.view.rows[name]) for name in ("patient", "sample", "item")]
        told = [pa.nulls(len(places), one.type) if one.null_count == len(one) else one.take(places) for one in columns]
        return [integers_to_arrow(self.queries), integers_to_arrow(self.ranks), *told, floats_to_arrow(self.scores)]

    def table(self) -> pa.Table:
        """As (query, rank, patient, sample, item, score, id)."""
        ids = integers_to_arrow(self.view.ids[self.positions])
        names = ["query", "rank", "patient", "sample", "item", "score", "id"]
        return pa.Table.from_arrays([*self.arrays(), ids], names=names)
