"""The planner: exact search where few rows are in play, HNSW otherwise, the same final scores from both.

Both plans propose rows; `scoring` scores them from the truth, the best row of each patient counts, and equal scores are
ordered by patient id. Rows newer than the index are searched exactly and merged, deleted ones are never proposed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from molsig.errors import DamagedError, MissingExtraError, UsageError
from molsig.index.approximate import PlacedGraph, search_graph
from molsig.index.exact import search_exact
from molsig.index.generations import unusable
from molsig.index.hits import Ranked
from molsig.index.manifest import folder_of, read_manifest
from molsig.index.near import near
from molsig.index.scoring import directions
from molsig.index.stamp import database_stamp
from molsig.index.view import StaleViewError, load_view
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.hits import RowHit
    from molsig.index.hnsw import Graph
    from molsig.index.manifest import GenerationInfo
    from molsig.index.scoring import Candidates
    from molsig.index.store import Store
    from molsig.index.view import InPlay, SpaceView

METHODS = ("auto", "exact", "hnsw")

EXACT_ROWS = 20_000
"""Up to this many rows in play are searched exactly: it takes some milliseconds, and faiss is not even imported."""

LEAST_RECALL = 0.99
"""An index measured below this is not used unless it is asked for."""

MEMORY = 4 << 30
"""Bytes of vectors a `Searcher` may hold per space by default."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a batch of queries found, and how.

    Attributes
    ----------
    ranked
        The best patients of each query, as columns; `hits` and `table()` tell of them.
    method
        ``exact`` or ``hnsw``.
    reason
        Why that plan.
    recall
        1.0 for exact search, else recall@10 as measured when the index was built.
    rows
        Rows in play: of the space, allowed by the filters.
    candidates
        Rows scored exactly, of the query that had most.
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


@dataclass(frozen=True)
class _Plan:
    """What will be done; `graph` and its manifest for an HNSW plan."""

    reason: str
    notes: tuple[str, ...] = ()
    info: GenerationInfo | None = None
    graph: Graph | None = None


class Searcher:
    """Searches the spaces of a reference; holds what it read until the reference changes. Threads may share it.

    Parameters
    ----------
    store
        The truth.
    memory
        Bytes of vectors it may hold per space; a longer space is read in parts by every exact search.
    """

    def __init__(self, store: Store, *, memory: int = MEMORY) -> None:
        self._store = store
        self._memory = memory
        self._lock = threading.Lock()
        self._views: dict[str, tuple[object, SpaceView]] = {}
        self._graphs: dict[str, tuple[str, Graph]] = {}
        self._places: dict[str, PlacedGraph] = {}

    def search(
        self,
        space: str,
        queries: NDArray[np.float32],
        k: int,
        *,
        patients: Collection[str] | None = None,
        exclude: Collection[str] = (),
        kinds: Collection[str] | None = None,
        method: str = "auto",
    ) -> SearchResult:
        """Find for each query the `k` nearest patients by cosine, each through their best row.

        Parameters
        ----------
        queries
            float32, shape (q, 768), of any length.
        patients
            Those allowed, such as `Store.select_patients` gives; all by default.
        exclude
            Patients left out.
        kinds
            Kinds of specimen allowed; all by default. The sum space has no kinds and ignores them.
        method
            ``auto`` plans; ``exact`` and ``hnsw`` insist, though without an index that can be used the search is exact.

        Raises
        ------
        InputError
            A query is not finite, is zero, or not 768 long.
        UsageError
            No such space or method, or `k` is under 1.
        """
        if method not in METHODS:
            raise UsageError(f"unknown search method {method!r}: choose one of {', '.join(METHODS)}")
        if k < 1:
            raise UsageError(f"k is {k}, at least 1 is needed")
        wanted = directions(queries)
        while True:
            view = self.view(space)
            play = view.in_play(patients, exclude, None if space == SUM_SPACE else kinds)
            try:
                return self._search(space, view, wanted, k, play, method)
            except StaleViewError:
                # Rows were deleted meanwhile: the truth has moved on, and a fresh view does not have them.
                with self._lock:
                    self._views.pop(space, None)

    def _search(
        self,
        space: str,
        view: SpaceView,
        wanted: NDArray[np.float64],
        k: int,
        play: InPlay,
        method: str,
    ) -> SearchResult:
        mask, kept = play.mask, play.rows
        rows = len(view.ids) if kept is None else len(kept)
        plan = self._plan(space, view, rows, method)
        reason, notes = plan.reason, plan.notes
        found: list[Candidates | None] = [None] * len(wanted)
        if plan.graph is not None and plan.info is not None:
            found = search_graph(self._placed(space, view, plan.graph), plan.info, wanted, k, mask)
        left = [query for query, candidates in enumerate(found) if candidates is None]
        if left:
            for query, candidates in zip(left, search_exact(view, kept, wanted[left], k), strict=True):
                found[query] = candidates
        by_graph = len(left) < len(wanted)
        if plan.graph is not None and left:
            notes += (f"{len(left)} of {len(wanted)} queries searched exactly: the index has few kept rows near them",)
        done = [candidates for candidates in found if candidates is not None]
        return SearchResult(
            ranked=Ranked.of(view, done, k),
            method="hnsw" if by_graph else "exact",
            reason=reason,
            recall=plan.info.recall if by_graph and plan.info is not None else 1.0,
            rows=rows,
            candidates=rows if left else max((len(candidates.positions) for candidates in done), default=0),
            snapshot=view.standing.snapshot,
            notes=notes,
        )

    def _plan(self, space: str, view: SpaceView, rows: int, method: str) -> _Plan:
        if method == "exact":
            return _Plan("asked for")
        if not rows or (method == "auto" and rows <= EXACT_ROWS):
            return _Plan(f"{rows:,} rows in play")
        try:
            info = read_manifest(self._store.index_dir, space)
            if info is None:
                return _Plan("no index", (f"space {space!r} has no index: exact search used",))
            if problem := unusable(info, view.standing):
                return _Plan("no index", (f"the index of {space!r} was not used, {problem}: exact search used",))
            if method == "auto" and info.recall < LEAST_RECALL:
                return _Plan(f"the index finds only {info.recall:.3f} of the neighbours")
            graph = self._graph(space, info)
        except FileNotFoundError:
            return _Plan("no index", (f"the index of {space!r} is missing its file: exact search used",))
        except (DamagedError, MissingExtraError) as error:
            return _Plan("no index", (f"{error}: exact search used",))
        return _Plan("asked for" if method == "hnsw" else f"{rows:,} rows in play", (), info, graph)

    def held(self, space: str) -> SpaceView | None:
        """Return the space as it is now if that needs no reading, else None."""
        with self._lock:
            now = database_stamp(self._store.database)
            stamp, view = self._views.get(space, (None, None))
            return view if now is not None and stamp == now else None

    def view(self, space: str) -> SpaceView:
        """Return the space as it is now; the database is opened only if its file has changed.

        Raises
        ------
        UsageError
            No such space.
        """
        with self._lock:
            now = database_stamp(self._store.database)
            stamp, view = self._views.get(space, (None, None))
            if view is not None and now is not None and stamp == now:
                return view
            view = load_view(self._store, space, memory=self._memory, before=view)
            if view is None:
                known = [info.space for info in self._store.spaces()]
                raise UsageError(
                    f"{self._store.path}: no space {space!r}{near(space, known)}; known: {', '.join(known)}"
                )
            self._views[space] = (now, view)
            return view

    def _graph(self, space: str, info: GenerationInfo) -> Graph:
        from molsig.index.hnsw import load

        with self._lock:
            key, graph = self._graphs.get(space, ("", None))
            if graph is None or key != info.sha256:
                self._graphs.pop(space, None)
                graph = load(folder_of(self._store.index_dir, space) / info.file, info.size, info.sha256)
                self._graphs[space] = (info.sha256, graph)
            return graph

    def _placed(self, space: str, view: SpaceView, graph: Graph) -> PlacedGraph:
        with self._lock:
            placed = self._places.get(space)
            if placed is None or placed.view is not view or placed.graph is not graph:
                placed = self._places[space] = PlacedGraph.of(view, graph)
            return placed
