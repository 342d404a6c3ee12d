"""Approximate search through an HNSW graph, with filters, deletes and a tail of newer rows.

With a filter the graph is searched deeper and what it proposes is filtered afterwards. If that leaves enough patients,
they are those that an unfiltered search of that depth finds; if not, the query is left to exact search over the kept
rows. Searching the graph through a selector would find next to nothing where the kept rows lie far from the query, and
nothing would tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.exact import search_exact
from molsig.index.scoring import divided, join, score_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.index.hnsw import Graph
    from molsig.index.manifest import GenerationInfo
    from molsig.index.scoring import Candidates
    from molsig.index.view import SpaceView

DEEPEST_SHARE = 50
"""The graph is walked no deeper than one in this many of the rows in play: beyond, scanning those is as quick."""

QUERIES_AT_A_TIME = 512


@dataclass(frozen=True)
class PlacedGraph:
    """A graph seen from a view.

    `places` holds the position in the view of each row of the graph, int64, -1 for one that was deleted or is out of
    play; `covered` and `patients` count the rows and patients that are left.
    """

    view: SpaceView
    graph: Graph
    places: NDArray[np.int64]
    covered: int
    patients: int
    _last: list[tuple[NDArray[np.bool_], PlacedGraph]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, view: SpaceView, graph: Graph) -> PlacedGraph:
        """Place a graph's rows in a view."""
        if not len(view.ids):
            return cls._counted(view, graph, np.full(len(graph.ids), -1, np.int64))
        places = np.minimum(np.searchsorted(view.ids, graph.ids), len(view.ids) - 1)
        places[view.ids[places] != graph.ids] = -1
        return cls._counted(view, graph, places)

    def within(self, mask: NDArray[np.bool_] | None) -> PlacedGraph:
        """Return the same with only the rows that `mask` keeps in play."""
        if mask is None:
            return self
        last = self._last[0] if self._last else None
        if last is None or last[0] is not mask:
            found = self._counted(self.view, self.graph, np.where(mask[self.places], self.places, -1))
            self._last[:] = [last := (mask, found)]
        return last[1]

    @classmethod
    def _counted(cls, view: SpaceView, graph: Graph, places: NDArray[np.int64]) -> PlacedGraph:
        codes = view.codes[places[places >= 0]]
        return cls(view, graph, places, len(codes), int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0)


def search_graph(
    placed: PlacedGraph,
    info: GenerationInfo,
    directions: NDArray[np.float64],
    k: int,
    mask: NDArray[np.bool_] | None,
) -> list[Candidates | None]:
    """Return candidates for each direction, or None where the graph proposes too few of the rows in play."""
    view = placed.view
    placed = placed.within(mask)
    if not placed.covered:
        return [None] * len(directions)
    tail = np.arange(int(np.searchsorted(view.ids, info.high_water, side="right")), len(view.ids))
    tail = tail if mask is None else tail[mask[tail]]
    # Some more patients than asked for: fp16 may have put the last of them in another order.
    enough = min(placed.patients, k + max(2, k // 4))
    # As many rows as give that many patients where kept rows are spread evenly; twice k where all are kept.
    spread = min(placed.covered / placed.patients, 8) * len(placed.places) / placed.covered
    start = int(max(2 * k, 1.5 * enough * spread))
    found: list[Candidates | None] = []
    for first in range(0, len(directions), QUERIES_AT_A_TIME):
        some = directions[first : first + QUERIES_AT_A_TIME]
        proposed = _propose(placed, info.ef_search, some, start, enough)
        scored = _scored(view, proposed, some)
        if len(tail):
            newer = search_exact(view, tail, some, k)
            scored = [None if a is None else join([a, b]) for a, b in zip(scored, newer, strict=True)]
        found += scored
    return found


def _propose(
    placed: PlacedGraph,
    ef: int,
    directions: NDArray[np.float64],
    depth: int,
    enough: int,
) -> list[NDArray[np.int64] | None]:
    """Return positions in the view for each direction, of at least `enough` patients; None if the walk gives fewer."""
    proposed: list[NDArray[np.int64] | None] = [None] * len(directions)
    queries = directions.astype(np.float32)
    left = np.arange(len(directions))
    deepest = max(depth, placed.covered // DEEPEST_SHARE)
    while len(left) and depth <= deepest:
        nodes = placed.graph.search(queries[left], depth, max(ef, 2 * depth))
        short = []
        for query, row in zip(left.tolist(), nodes, strict=True):
            rows = placed.places[row[row >= 0]]
            rows = rows[rows >= 0]
            patients = len(rows) if placed.view.one_each else len(set(placed.view.codes[rows].tolist()))
            if patients >= enough:
                proposed[query] = rows
            else:
                short.append(query)
        if depth >= len(placed.places):
            break
        left = np.array(short, np.int64)
        depth *= 4
    return proposed


def _scored(
    view: SpaceView, proposed: list[NDArray[np.int64] | None], directions: NDArray[np.float64]
) -> list[Candidates | None]:
    served = [query for query, positions in enumerate(proposed) if positions is not None]
    rows = [positions for positions in proposed if positions is not None]
    if not rows:
        return [None] * len(proposed)
    positions = np.concatenate(rows)
    queries = np.repeat(np.array(served, np.int64), [len(some) for some in rows])
    vectors, places = view.vectors.gather(positions)
    scored = divided(len(proposed), queries, positions, score_pairs(directions, queries, vectors, places))
    return [None if one is None else found for one, found in zip(proposed, scored, strict=True)]
