"""Search through a structure, with filters, deletes and a tail of newer rows.

With a filter a structure that selects is searched among the kept rows only, in the nearest cells that have any: a
condition on the cancer type keeps or drops whole groups of rows that lie together, and what is kept may be far from the
query. Any other structure is searched deeper and what it proposes is filtered afterwards. If that leaves enough
patients, they are those that an unfiltered search of that depth finds; if not, the query is left to exact search over
the kept rows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.arrays import distinct
from molsig.index.at_once import at_once
from molsig.index.best_rows import best_rows
from molsig.index.exact import search_exact
from molsig.index.hits import Ranked, of_one
from molsig.index.scoring import Found, both_directions, leaders, score_pairs
from molsig.index.structure import K, faiss, inner_products, threads_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.index.opened import OpenGeneration
    from molsig.index.scoring import Queries
    from molsig.index.structure import CellsWith
    from molsig.index.view import SpaceView

DEEPEST_SHARE = 50
"""A structure is asked for no more than one in this many of the rows in play: beyond, scanning those is as quick."""

ROUNDS = 24
"""So often rows of further patients are looked for before a query is searched exactly."""

MANY = 200
"""More proposed rows than these of patients with several are sifted in float32 before they are scored."""

FURTHER = 5
"""Rows proposed for each neighbour beyond the ten that the depth was tuned for: recall@200 of real patients is .986."""

ROUGHLY, ROUGH_DEPTH = 2, 128
"""As `FURTHER` where the last of many neighbours need not be right, and the tuned depth up to which they are added to
it, unless a filter holds that the structure cannot look after: recall@200 of real patients is .93 to .98."""

FILTERED, UNEVEN = 1.5, 2.5
"""With a filter so many times as many rows are proposed, where it keeps some of every cell's rows alike; up to both
together where it keeps more of some cells than of others: what is left may lie close together, far from the query.
Measured recall@10: see docs/speed.md."""

SIFTED = 0.75
"""This share of the tuned depth a filter has to keep of what a structure proposes that cannot select: fewer are left of
rows far from the query, among which as many as these would have to be compared again."""

FILTERED_CELLS, UNEVEN_CELLS = 5, 11
"""With a filter so many times as many cells are opened, of those with kept rows; up to both together where it keeps
more of some cells than of others, which may leave nothing near the query. Measured recall@10: see docs/speed.md."""

SHARE_OF_QUERIES = 32
"""Queries from which on a thread of its own is worth its start: some milliseconds of work."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Placed:
    """A generation seen from a view.

    `places` holds the position in the view of each of its rows, int64, -1 for one that was deleted or is out of play,
    and is None where every row is at the position of its number; `covered` and `patients` count the rows and patients
    that are left; `kept` has a bit for each row that is in play, None for all. `reached` is how many patients single
    queries for so many neighbours, roughly or not, wanted before, how deep and how far they went.
    """

    view: SpaceView
    generation: OpenGeneration
    places: NDArray[np.int64] | None
    covered: int
    patients: int
    kept: NDArray[np.uint8] | None = None
    cells: CellsWith | None = None
    reached: dict[tuple[int, bool], tuple[int, int, int]] = field(default_factory=dict, repr=False)
    _last: list[tuple[NDArray[np.bool_], Placed]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, view: SpaceView, generation: OpenGeneration) -> Placed:
        """Place a generation's rows in a view."""
        ids = generation.file.ids
        if len(ids) <= len(view.ids) and np.array_equal(view.ids[: len(ids)], ids):
            patients = len(view.patients) if len(ids) == len(view.ids) else _distinct(view.codes[: len(ids)])
            return cls(view, generation, None, len(ids), patients)
        if not len(view.ids):
            return cls(view, generation, np.full(len(ids), -1, np.int64), 0, 0)
        places = np.minimum(np.searchsorted(view.ids, ids), len(view.ids) - 1)
        places[view.ids[places] != ids] = -1
        alive = places[places >= 0]
        return cls(view, generation, places, len(alive), _distinct(view.codes[alive]))

    def within(self, mask: NDArray[np.bool_] | None) -> Placed:
        """Return the same with only the rows that `mask` keeps in play."""
        if mask is None:
            return self
        last = self._last[0] if self._last else None
        if last is None or last[0] is not mask:
            places = np.arange(self.covered) if self.places is None else self.places
            places = np.where((places >= 0) & mask[places], places, -1)
            left = places >= 0
            alive = places[left]
            bits, cells = np.packbits(left, bitorder="little"), self.generation.structure().cells_with(left)
            patients = _distinct(self.view.codes[alive])
            found = Placed(self.view, self.generation, places, len(alive), patients, bits, cells)
            self._last[:] = [last := (mask, found)]
        return last[1]

    def mask(self) -> NDArray[np.bool_]:
        """Return which rows are in play, bool (rows,), to be written to."""
        return np.ones(self.covered, bool) if self.places is None else self.places >= 0

    def rows_of(self, patients: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows in play of patients, given by their codes."""
        positions = self.view.positions_of_codes(patients)
        if self.places is None:
            return positions[positions < self.covered]
        rows = self._row_at[positions]
        return rows[rows >= 0]

    @cached_property
    def short(self) -> bool:
        """Whether single queries may go the short way: each row is another patient's, and none came later."""
        return self.view.one_each and not len(self.newer) and self.covered > 0

    @cached_property
    def in_play(self) -> NDArray[np.uint8] | None:
        """What a structure that selects is told: `kept`, or without a filter a bit for each row not deleted."""
        if self.kept is not None or self.places is None:
            return self.kept
        return np.packbits(self.places >= 0, bitorder="little")

    @cached_property
    def codes_of_rows(self) -> NDArray[np.int32]:
        """The patient of each row, int32 (rows,) or longer; of those out of play it says nothing."""
        return self.view.codes if self.places is None else self.view.codes[self.places]

    @cached_property
    def newer(self) -> NDArray[np.int64]:
        """Positions of the view's rows that came after the generation, int64 (m,)."""
        first = int(np.searchsorted(self.view.ids, self.generation.info.high_water, side="right"))
        return np.arange(first, len(self.view.ids))

    @cached_property
    def _row_at(self) -> NDArray[np.int64]:
        """The row at each position of the view, -1 for none."""
        assert self.places is not None
        rows = np.full(len(self.view.ids), -1, np.int64)
        alive = np.flatnonzero(self.places >= 0)
        rows[self.places[alive]] = alive
        return rows

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of proposed rows, of any shape; -1 for none."""
        if self.places is None:
            return rows
        return np.where(rows < 0, -1, self.places[rows])


def _distinct(codes: NDArray[np.int32]) -> int:
    return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def search_structure(
    placed: Placed,
    queries: Queries,
    k: int,
    mask: NDArray[np.bool_] | None,
    *,
    rough: bool = False,
) -> tuple[Found, NDArray[np.int64]]:
    """Return rows that hold the k best patients of queries (q, 768) of any length, and the numbers of those for whom
    too few are found.

    Raises
    ------
    InputError
        A query is not finite, is zero, or not 768 long.
    DamagedError
        A row that was proposed is not what was written.
    """
    view, tail = placed.view, placed.newer
    tail = tail if mask is None or not len(tail) else tail[mask[tail]]
    placed = placed.within(mask)
    if not placed.covered:
        return Found.joined([]), np.arange(len(queries))
    shares = _shares(len(queries))
    threads = len(queries) if len(shares) == 1 else 1
    tasks = [partial(_propose_in_parts, placed, queries, begin, end, k, rough, threads) for begin, end in shares]
    parts: list[Found] = []
    left: list[NDArray[np.int64]] = []
    for first, some, served, short in itertools.chain.from_iterable(at_once(tasks)):
        left.append(short + first)
        if len(tail) and len(short) < len(some):
            newer = search_exact(view, tail, some, k)
            keep = ~np.isin(newer.queries, short)
            served.append(Found(newer.queries[keep], newer.positions[keep], newer.scores[keep], 0))
        parts += [found.shifted(first) if first else found for found in served]
    joined = Found.joined(parts)
    # Of the newer rows each query looks at all.
    joined = replace(joined, proposed=joined.proposed + len(tail)) if len(tail) else joined
    return joined, np.concatenate([_NONE, *left])


def _shares(queries: int) -> list[tuple[int, int]]:
    """Where the queries of each thread begin and end: with many of them each thread does all there is to its share.

    faiss's own threads share each step and wait for one another in between, busily, in the way of what comes next.
    """
    parts = max(1, min(faiss().omp_get_max_threads(), queries // SHARE_OF_QUERIES))
    return list(itertools.pairwise(queries * part // parts for part in range(parts + 1)))


def _propose_in_parts(
    placed: Placed,
    queries: Queries,
    begin: int,
    end: int,
    k: int,
    rough: bool,
    threads: int,
) -> list[tuple[int, NDArray[np.float64], list[Found], NDArray[np.int64]]]:
    """As `_propose`, for some queries: of each part the first one's number, all directions, and what was found."""
    done = []
    at_a_time = placed.generation.structure().at_a_time
    for first in range(begin, end, at_a_time):
        directions, rounded = both_directions(queries[first : min(end, first + at_a_time)], first)
        with threads_for(threads):
            done.append((first, directions, *_propose(placed, directions, rounded, k, rough=rough)))
    return done


def _propose(
    placed: Placed, directions: NDArray[np.float64], queries: NDArray[np.float32], k: int, *, rough: bool
) -> tuple[list[Found], NDArray[np.int64]]:
    """Return what was found for the directions with enough patients, and the numbers of the others.

    The queries are the directions, rounded.
    """
    view, info, structure = placed.view, placed.generation.info, placed.generation.structure()
    rows = len(placed.generation.file)
    selects = structure.selects
    enough, depth = _depth(placed, k, rough=rough)
    deepest = max(depth, placed.covered // DEEPEST_SHARE)
    left = np.arange(len(queries))
    done: list[Found] = []
    few_cells = rough
    while len(left) and depth <= deepest:
        effort = structure.effort_for(info.effort, _share(placed, depth, rough=few_cells), depth)
        proposed = structure.search(queries[left], depth, effort, placed.in_play, placed.cells)
        positions = placed.positions(proposed)
        full = np.flatnonzero(_patients(view, positions) >= enough)
        if len(full):
            whole = len(full) == len(left)
            done.append(
                _scored(
                    placed,
                    proposed if whole else proposed[full],
                    positions if whole else positions[full],
                    directions,
                    queries,
                    left[full],
                    k,
                    rough=rough,
                )
            )
            if whole:
                return done, left[:0]
            proposed, left = np.delete(proposed, full, axis=0), np.delete(left, full)
        if few_cells and selects and len(left):
            few_cells = False
            if structure.effort_for(info.effort, _share(placed, depth, rough=False), depth) > effort:
                continue
        if depth >= rows:
            break
        if selects and not view.one_each and len(left):
            more = [_further(placed, queries[q], some, enough, depth) for q, some in zip(left, proposed, strict=True)]
            for row, some in zip(left.tolist(), more, strict=True):
                if some is not None:
                    one = some[None]
                    where, number = placed.positions(one), np.array([row])
                    done.append(_scored(placed, one, where, directions, queries, number, k, rough=rough))
            return done, left[[some is None for some in more]]
        depth *= 4
    return done, left


def _depth(placed: Placed, k: int, *, rough: bool) -> tuple[int, int]:
    """Return how many patients are looked for, and how many rows are proposed at first to find them."""
    enough, depth = _wanted(placed, k, rough=rough)
    if not placed.generation.structure().selects:
        if placed.kept is not None and placed.view.one_each:
            enough = min(placed.patients, max(enough, int(SIFTED * placed.generation.info.depth)))
        return enough, int(depth * len(placed.generation.file) / placed.covered)
    return enough, math.ceil(int(depth) * _deeper(placed))


def _deeper(placed: Placed) -> float:
    """Return how many times as many rows are proposed because of a filter, by a structure that looks after it."""
    return 1.0 if placed.cells is None else FILTERED + UNEVEN * min(placed.cells.uneven, 1)


def _wanted(placed: Placed, k: int, *, rough: bool) -> tuple[int, float]:
    """Return how many patients are looked for, and how many rows in play it takes to find them."""
    tuned, further = placed.generation.info.depth, max(0, k - K)
    # What proposes whatever a filter keeps or not has nothing to spare: those kept may be the far ones of them.
    lean = rough and (placed.kept is None or placed.cells is not None)
    # Some more patients than asked for: shortened vectors may have put the last of them in another order.
    enough = min(placed.patients, k + (0 if lean else max(2, k // 4)))
    if lean:
        # A great depth is tuned where many of the nearest look alike: it holds most of these neighbours already.
        tuned = max(tuned, min(tuned, ROUGH_DEPTH) + ROUGHLY * further)
    else:
        tuned += (ROUGHLY if rough else FURTHER) * further
    # As many rows as give that many patients, where they are spread evenly.
    return enough, max(tuned, (1.2 if lean else 1.5) * enough * min(placed.covered / placed.patients, 4))


def _share(placed: Placed, depth: int, *, rough: bool) -> float:
    """Return how much more effort than the tuned one a search of this depth takes, in what is in play.

    Roughly, the tuned cells will do (`effort_for` opens more only where they hold few rows for this depth): recall@200
    of invented vectors .986 (.992 in twice as many cells), of real sentences .982 (.986 in all of them).
    """
    share = 1.0 if rough else depth / (_deeper(placed) * placed.generation.info.depth)
    if placed.cells is None:
        return share
    return share * (FILTERED_CELLS + UNEVEN_CELLS * min(placed.cells.uneven, 1))


def reach(placed: Placed, k: int, *, rough: bool) -> tuple[int, int, int]:
    """Return how many patients a single query looks for, and how deep and how far it goes at first."""
    known = placed.reached.get((k, rough))
    if known is None:
        enough, depth = _depth(placed, k, rough=rough)
        effort = placed.generation.structure().effort_for(
            placed.generation.info.effort, _share(placed, depth, rough=rough), depth
        )
        known = placed.reached[k, rough] = enough, min(depth, len(placed.generation.file)), effort
    return known


def search_one(placed: Placed, query: NDArray[np.float32], k: int, *, rough: bool) -> Ranked | None:
    """As `search_structure`, for one query (1, 768) of any length where the way is `short`: with less ado.

    None where too few are found, which `search_structure` looks further for.

    Raises
    ------
    InputError
        The query is not finite, is zero, or not 768 long.
    DamagedError
        A row that was proposed is not what was written.
    """
    file, structure, places = placed.generation.file, placed.generation.structure(), placed.places
    enough, depth, effort = placed.reached.get((k, rough)) or reach(placed, k, rough=rough)
    directions, rounded = both_directions(query)
    with threads_for(1):
        if places is None:
            proposed = structure.search(rounded, depth, effort)
            rows = proposed[0]
            if len(rows) < k or rows[-1] < 0:
                return None
        else:
            rows = structure.search(rounded, depth, effort, placed.in_play, placed.cells)[0]
            rows = rows[rows >= 0]
            rows = rows[places[rows] >= 0]
            if len(rows) < enough:
                return None
            proposed, k = rows[None], min(k, len(rows))
        file.check(rows)
        found, scores = best_rows(file, placed.codes_of_rows, directions, rounded, proposed, k)
    positions = found[0] if places is None else places[found[0]]
    return Ranked(placed.view, 1, *of_one(k), positions, scores[0])


def _further(
    placed: Placed, query: NDArray[np.float32], found: NDArray[np.int64], enough: int, depth: int
) -> NDArray[np.int64] | None:
    """Return the rows found and those of further patients, at least `enough` in all; None if there are no more.

    The nearest tiles or sentences are often those of a few patients. What these have is taken out of play, and the next
    search finds the best rows of others, in twice as many cells.
    """
    view, structure = placed.view, placed.generation.structure()
    kept = placed.mask()
    effort = structure.effort_for(placed.generation.info.effort, _share(placed, depth, rough=False), depth)
    parts, patients = [], np.empty(0, np.int64)
    for _ in range(ROUNDS):
        found = found[found >= 0]
        fresh = distinct(view.codes[placed.positions(found)].astype(np.int64))
        fresh = fresh[~np.isin(fresh, patients)]
        wider = structure.effort_for(effort, 2, depth)
        if not len(fresh) and wider == effort:
            return None
        parts.append(found)
        patients = np.concatenate([patients, fresh])
        if len(patients) >= enough:
            return np.concatenate(parts)
        kept[placed.rows_of(fresh)] = False
        effort = wider
        found = structure.search(query[None], depth, effort, np.packbits(kept, bitorder="little"), placed.cells)[0]
    return None


def _patients(view: SpaceView, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many patients are among each row of positions, int64 (q,)."""
    if view.one_each:
        return np.asarray(np.count_nonzero(positions >= 0, axis=1), np.int64)
    codes = np.where(positions >= 0, view.codes[positions], -1)
    codes.sort(axis=1)
    changes = np.count_nonzero(codes[:, 1:] != codes[:, :-1], axis=1)
    found: NDArray[np.int64] = changes + (codes[:, 0] >= 0)
    return found


def _scored(
    placed: Placed,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    directions: NDArray[np.float64],
    queries: NDArray[np.float32],
    numbers: NDArray[np.int64],
    k: int,
    *,
    rough: bool,
) -> Found:
    """Score what was proposed to some queries, a row of `rows` each; what cannot be among the best is left out."""
    file, view, depth = placed.generation.file, placed.view, rows.shape[1]
    valid = positions >= 0
    whole = bool(valid.all())
    there = rows if whole else np.where(valid, rows, 0)
    file.check(there)
    if len(numbers) < len(queries):
        directions, queries = directions[numbers], queries[numbers]
    if view.one_each:
        proposed = rows if whole else np.where(valid, rows, -1)
        best, scores = best_rows(file, placed.codes_of_rows, directions, queries, proposed, k)
        some, ranks = np.nonzero(best >= 0)
        found = placed.positions(best[some, ranks])
        return Found(numbers[some], found, scores[some, ranks], depth, ranked=True)
    if depth > MANY:
        fast = inner_products(queries, file.matrix, there)
        fast /= file.short_lengths[there]
        some, columns = _leaders_of_patients(fast, positions, view, k)
        if rough:
            return Found(numbers[some], positions[some, columns], fast[some, columns], depth)
    else:
        some, columns = np.nonzero(valid)
    chosen = rows[some, columns]
    exact = score_pairs(directions, some, file.matrix, chosen, file.facts.lengths[chosen])
    return Found(numbers[some], positions[some, columns], exact, depth)


def _leaders_of_patients(
    fast: NDArray[np.float32], positions: NDArray[np.int64], view: SpaceView, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where in `fast` the best rows of the k best patients of each query are, within its slack."""
    parts = []
    for scores, places in zip(fast, positions, strict=True):
        valid = np.flatnonzero(places >= 0)
        parts.append(valid[leaders(scores[valid], view.codes[places[valid]], k)])
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts]), np.concatenate(parts)
