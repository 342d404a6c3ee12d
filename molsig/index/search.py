"""The planner: exact search where few rows are in play, the structure of the index otherwise, the same final scores.

All plans propose rows; `scoring` scores them from the float32 vectors, the best row of each patient counts, and equal
scores are ordered by patient id. Rows newer than the index are searched exactly and merged, deleted ones are never
proposed.
"""

from __future__ import annotations

import operator
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError, MissingExtraError, UsageError
from molsig.index.approximate import Placed, reach, search_structure
from molsig.index.exact import HeldRows, search_exact
from molsig.index.generations import unusable
from molsig.index.hits import Ranked
from molsig.index.manifest import MANIFEST, folder_of, read_manifest
from molsig.index.near import near
from molsig.index.opened import OpenGeneration
from molsig.index.scoring import Found, as_queries, directions, score_pairs
from molsig.index.search_result import SearchResult
from molsig.index.single import HeldSpace, Single, question
from molsig.index.stamp import database_stamp, stamp_of
from molsig.index.vectors import StaleViewError
from molsig.index.view import load_view
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from molsig.index.generations import Standing
    from molsig.index.scoring import Queries
    from molsig.index.store import Store
    from molsig.index.view import InPlay, SpaceView

METHODS = ("auto", "exact", "index")

EXACT_ROWS = 2_000
"""Up to this many rows in play are searched exactly: below, proposing rows takes as long as scoring them all."""

DEVICE_QUERIES = 64
"""From so many queries on an exact search runs on the device, where there is one."""

TAKEN_ROWS = 16_384

LEAST_RECALL = 0.99
"""An index measured below this is not used unless it is asked for."""

SINGLES_HELD = 64
"""Ways of asking a single query that are kept."""

WAYS_HELD = 8
"""Conditions of which ways are kept: for each, where the index has its rows, or up to `EXACT_ROWS` vectors (6 MB)."""

MEMORY = 4 << 30
"""Bytes of vectors a `Searcher` may hold per space by default."""


@dataclass(frozen=True)
class _Plan:
    """What will be done: through the structure of `placed`, or exactly where there is none."""

    reason: str
    notes: tuple[str, ...] = ()
    placed: Placed | None = None


class Searcher:
    """Searches the spaces of a reference; holds what it read until the reference changes. Threads may share it.

    Parameters
    ----------
    store
        The truth.
    memory
        Bytes of vectors it may hold per space that lie in no index; a longer space is read in parts by every exact
        search.
    device
        A torch device that exact searches of many queries run on, such as ``cuda``; see `torch_search`.
    """

    def __init__(self, store: Store, *, memory: int = MEMORY, device: str | None = None) -> None:
        self._store = store
        self._memory = memory
        self._device = device
        self._lock = threading.RLock()
        self._spaces: dict[str, HeldSpace] = {}
        self._manifests: dict[str, str] = {}
        self._singles: dict[object, Single] = {}
        self._asked_once: set[object] = set()

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
        rough: bool = False,
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
            ``auto`` plans; ``exact`` and ``index`` insist, though without an index that serves the search is exact.
        rough
            Whether some of the last of many neighbours may be missed and scores be those of float32: candidates that
            are scored by other means.

        Raises
        ------
        InputError
            A query is not finite, is zero, or not 768 long.
        UsageError
            No such space or method, or `k` is under 1.
        """
        kinds = None if kinds is None else tuple(kinds)
        # Patients in a tuple stay who they are.
        single = not exclude and (patients is None or isinstance(patients, tuple))
        single = single and np.ndim(queries) == 2 and len(queries) == 1
        asked = question(space, k, patients, kinds, method, rough=rough)
        if single and (before := self.again(asked)) is not None and (known := before.result(queries)) is not None:
            return known
        if method not in METHODS:
            raise UsageError(f"unknown search method {method!r}: choose one of {', '.join(METHODS)}")
        if k < 1:
            raise UsageError(f"k is {k}, at least 1 is needed")
        k = int(operator.index(k))
        given = as_queries(queries)
        while True:
            held = self._current(space)
            play = held.view.in_play(patients, exclude, None if space == SUM_SPACE else kinds)
            try:
                found = self._search(held, given, k, play, method, rough=rough)
                if single and not found.notes:
                    self._remember(asked, space, held, patients, play, k, found, rough=rough)
                return found
            except StaleViewError:
                # Rows were deleted meanwhile: the truth has moved on, and a fresh view does not have them.
                database_stamp(self._store.database, again=True)
                with self._lock:
                    self._spaces.pop(space, None)

    def again(self, question: object) -> Single | None:
        """Return the way that the last single query took which was asked so, if the reference is still as it was.

        A question is made by `question`, or is what was given to `keep_beside`.
        """
        known = self._singles.get(question)
        if known is None or known.serves(self._stamp(known.space)):
            return known
        with self._lock:
            self._singles.pop(question, None)
        return None

    def ways(self) -> list[Single]:
        """Return the ways that are kept, whether the reference is still as it was or not."""
        with self._lock:
            return list(self._singles.values())

    def keep_beside(self, question: object, way: Single, beside: object) -> None:
        """Let a question be answered on a way kept for another; what is said beside it is kept as long."""
        self._keep(question, replace(way, beside=beside))

    def _remember(
        self,
        asked: object,
        space: str,
        held: HeldSpace,
        patients: Collection[str] | None,
        play: InPlay,
        k: int,
        found: SearchResult,
        *,
        rough: bool,
    ) -> None:
        """Keep the way of a single query, if it is one that the next can go."""
        view = held.view
        way: Placed | HeldRows | None = None
        if found.method != "exact":
            placed = None if held.placed is None else held.placed.within(play.mask)
            # A query that had to look further says nothing of the next; too few hits are as few the next time.
            if placed is not None and placed.short and found.candidates == reach(placed, k, rough=rough)[1]:
                way = placed if placed.places is not None or len(found.ranked.positions) == k else None
        elif view.one_each and 0 < found.rows <= EXACT_ROWS:
            ways = [one.way for one in self.ways()]
            same = (w for w in ways if isinstance(w, HeldRows) and w.view is view and w.chosen is play.rows)
            way = next(same, None)
            # Their vectors are copied, which one query alone is not worth.
            if way is None and asked in self._asked_once:
                way = HeldRows.of(view, play.rows)
            while len(self._asked_once) >= SINGLES_HELD:
                self._asked_once.pop()
            self._asked_once.add(asked)
        if way is not None:
            one = Single(
                space,
                held.stamp,
                held,
                patients,
                way,
                k,
                rough,
                found.method,
                found.reason,
                found.recall,
                found.rows,
            )
            self._keep(asked, one)

    def _keep(self, question: object, way: Single) -> None:
        with self._lock:
            # Of a state that is past already nothing is kept.
            if self._spaces.get(way.space) is not way.held or way.held.stamp != way.stamp:
                return
            self._singles.pop(question, None)
            while len(self._singles) >= SINGLES_HELD:
                self._singles.pop(next(iter(self._singles)))
            self._singles[question] = way
            # What is known of a condition, or held of few rows, takes memory for each.
            own = [id(one.way) for one in self._singles.values() if one.way is not one.held.placed]
            while len(set(own)) > WAYS_HELD:
                self._singles = {other: one for other, one in self._singles.items() if id(one.way) != own[0]}
                own = [one for one in own if one != own[0]]

    def _search(
        self,
        held: HeldSpace,
        queries: Queries,
        k: int,
        play: InPlay,
        method: str,
        *,
        rough: bool,
    ) -> SearchResult:
        view = held.view
        rows = len(view.ids) if play.rows is None else len(play.rows)
        plan = self._plan(held, rows, method)
        parts: list[Found] = []
        left = len(queries)
        notes, used = plan.notes, None
        if plan.placed is not None:
            try:
                found, short = search_structure(plan.placed, queries, k, play.mask, rough=rough)
            except DamagedError as error:
                notes += self._give_up(held, error)
            else:
                used = plan.placed.generation.info if len(short) < len(queries) else None
                left = len(short)
                parts.append(found)
                if left:
                    rest = search_exact(view, play.rows, directions(queries[short]), k)
                    parts.append(rest.shifted(short))
                    notes += (
                        f"{left} of {len(queries)} queries searched exactly: the index has few kept rows near them",
                    )
        reason = plan.reason
        if not parts:
            wanted = directions(queries)
            if self._on_device(view, play, wanted):
                parts.append(self._exact_there(held, wanted, k))
                reason += f", on {self._device}"
            else:
                parts.append(search_exact(view, play.rows, wanted, k))
        if view.vectors.damage and not any(view.vectors.damage in note for note in notes):
            notes += self._give_up(held, view.vectors.damage)
        found = Found.joined(parts)
        return SearchResult(
            ranked=Ranked.of(view, len(queries), found, k),
            method="exact" if used is None else used.method,
            reason=reason,
            recall=1.0 if used is None else used.recall,
            rows=rows,
            candidates=rows if left else found.proposed,
            snapshot=view.standing.snapshot,
            notes=notes,
        )

    def _on_device(self, view: SpaceView, play: InPlay, wanted: NDArray[np.float64]) -> bool:
        return self._device is not None and len(wanted) >= DEVICE_QUERIES and play.rows is None and view.one_each

    def _exact_there(self, held: HeldSpace, wanted: NDArray[np.float64], k: int) -> Found:
        """Exact search over all rows on the device, which then holds them."""
        from molsig.index.device_rows import DeviceRows
        from molsig.index.torch_search import propose

        view = held.view
        assert self._device is not None
        with self._lock:
            if held.on_device is None:
                held.on_device = DeviceRows(
                    lambda: (vectors for _, vectors, _ in view.vectors.blocks(None)), self._device
                )
        found = propose(held.on_device, wanted, k)
        scores = np.empty(len(found.positions), np.float32)
        for start in range(0, len(scores), TAKEN_ROWS):
            some = slice(start, start + TAKEN_ROWS)
            rows, places = np.unique(found.positions[some], return_inverse=True)
            scores[some] = score_pairs(wanted, found.queries[some], view.vectors.take(rows), places)
        return Found(found.queries, found.positions, scores, len(view.ids))

    def _plan(self, held: HeldSpace, rows: int, method: str) -> _Plan:
        if method == "exact":
            return _Plan("asked for")
        if not rows or (method == "auto" and rows <= EXACT_ROWS):
            return _Plan(f"{rows:,} rows in play")
        view = held.view
        generation = view.generation
        if held.problem or generation is None:
            return _Plan("no index", (f"{held.problem}: exact search used",) if held.problem else ())
        if method == "auto" and generation.info.recall < LEAST_RECALL:
            return _Plan(f"the index finds only {generation.info.recall:.3f} of the neighbours")
        try:
            generation.structure()
        except FileNotFoundError:
            held.problem = f"the index of {generation.info.space!r} is missing its file"
            return _Plan("no index", (f"{held.problem}: exact search used",))
        except (DamagedError, MissingExtraError) as error:
            return _Plan("no index", self._give_up(held, error))
        with self._lock:
            if held.placed is None or held.placed.generation is not generation:
                held.placed = Placed.of(view, generation)
        return _Plan("asked for" if method == "index" else f"{rows:,} rows in play", (), held.placed)

    @staticmethod
    def _give_up(held: HeldSpace, error: object) -> tuple[str, ...]:
        """Search exactly from now on, and say why."""
        held.problem = str(error)
        return (f"{error}: exact search used",)

    def warm(self, space: str) -> None:
        """Read a space's index now and make sure of all its rows, so that queries find every row checked.

        Damage is noted: queries then search exactly, and say why.

        Raises
        ------
        UsageError
            No such space.
        """
        held = self._current(space)
        generation = held.view.generation
        if generation is None or held.problem:
            return
        try:
            generation.structure()
            generation.file.check_all()
        except FileNotFoundError as error:
            self._give_up(held, f"the index of {space!r} is missing its file {error.filename}")
        except (DamagedError, MissingExtraError) as error:
            self._give_up(held, error)

    def let_go(self) -> None:
        """Read every space anew when it is next asked for."""
        with self._lock:
            self._spaces.clear()
            self._singles.clear()
            self._asked_once.clear()

    def held(self, space: str) -> SpaceView | None:
        """Return the space as it is now if that needs no reading, else None."""
        with self._lock:
            held = self._spaces.get(space)
            return held.view if held is not None and held.stamp == self._stamp(space) is not None else None

    def view(self, space: str) -> SpaceView:
        """Return the space as it is now; the database is opened only if its file or the index has changed.

        Raises
        ------
        UsageError
            No such space.
        """
        return self._current(space).view

    def _current(self, space: str) -> HeldSpace:
        with self._lock:
            now = self._stamp(space)
            held = self._spaces.get(space)
            if held is not None and now is not None and held.stamp == now:
                return held
            before = None if held is None else held.view
            problems: list[str] = []

            def opened(standing: Standing) -> OpenGeneration | None:
                try:
                    return self._opened(space, standing, before)
                except FileNotFoundError as error:
                    problems.append(f"the index of {space!r} is missing its file {error.filename}")
                except DamagedError as error:
                    problems.append(str(error))
                except _UnusableError as error:
                    problems.append(str(error))
                return None

            view = load_view(self._store, space, memory=self._memory, opened=opened, before=before)
            if view is None:
                known = [info.space for info in self._store.spaces()]
                raise UsageError(
                    f"{self._store.path}: no space {space!r}{near(space, known)}; known: {', '.join(known)}"
                )
            if held is not None and view is before and view.generation is not None and not problems:
                # Nothing of the space has changed, and what is wrong with its index stays wrong.
                held.stamp = now
                return held
            # They hold what was read before.
            self._singles.clear()
            self._asked_once.clear()
            held = self._spaces[space] = HeldSpace(now, view, problems[0] if problems else None)
            return held

    def _opened(self, space: str, standing: Standing, before: SpaceView | None) -> OpenGeneration:
        """The generation that may answer; the one of the view before where it is the same."""
        info = read_manifest(self._store.index_dir, space)
        if info is None:
            raise _UnusableError(f"space {space!r} has no index")
        if problem := unusable(info, standing):
            raise _UnusableError(f"the index of {space!r} was not used, {problem}")
        if before is not None and before.generation is not None and before.generation.info == info:
            return before.generation
        return OpenGeneration(self._store.index_dir, info)

    def _stamp(self, space: str) -> tuple[object, ...] | None:
        path = self._manifests.get(space)
        if path is None:
            path = self._manifests[space] = str(folder_of(self._store.index_dir, space) / MANIFEST)
        database, manifest = database_stamp(self._store.database), stamp_of((path,))
        return None if database is None or manifest is None else (database, manifest)


class _UnusableError(Exception):
    """There is no generation, or none that may answer."""
