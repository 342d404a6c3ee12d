"""Patients by the mean of their best few rows: a tissue seen in several tiles counts more than one lucky tile.

The mean of a patient's best rows is at most their best one. Patients are therefore looked at in the order of their best
row, each through all of their rows, until the k-th best mean is no less than the best row of whoever comes next: those
who are left cannot be among the k best (Fagin, Lotem and Naor 2003, doi 10.1016/S0022-0000(03)00026-6). Of a million
tiles some ten thousand are read.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.hits import Ranked
from molsig.index.scoring import directions, score_pairs
from molsig.index.vectors import StaleViewError
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.search_result import SearchResult
    from molsig.index.view import SpaceView

FIRST = 4
"""Patients proposed at first, for each that is asked for; twice as many each time that is not enough."""


def search_by_mean(
    searcher: Searcher,
    space: str,
    queries: NDArray[np.float32],
    k: int,
    top: int,
    *,
    patients: Collection[str] | None = None,
    exclude: Collection[str] = (),
    kinds: Collection[str] | None = None,
    method: str = "auto",
) -> SearchResult:
    """Find for each query the `k` patients with the largest mean cosine over their `top` best rows.

    Who has fewer rows in play counts with those. The rows of a hit are those of the best one; parameters and errors are
    those of `Searcher.search`.
    """
    how = {"patients": patients, "exclude": exclude, "kinds": kinds}
    most = FIRST * k
    while True:
        found = searcher.search(space, queries, most, method=method, **how)  # type: ignore[arg-type]
        # What is deleted meanwhile is seen by the search that is then made again.
        view = found.ranked.view
        mask = view.in_play(patients, exclude, None if space == SUM_SPACE else kinds).mask
        asked = zip(directions(queries), _proposed(found.ranked), strict=True)
        try:
            done = [_best(view, mask, direction, *some, k, top, whole=len(some[0]) < most) for direction, some in asked]
        except StaleViewError:
            continue
        if all(one is not None for one in done):
            break
        most *= 2
    ours = [one for one in done if one is not None]
    counts = np.array([len(one[1]) for one in ours], np.int64)
    ranked = Ranked(
        view,
        len(ours),
        np.repeat(np.arange(len(ours)), counts),
        np.concatenate([np.empty(0, np.int64), *(1 + np.arange(count) for count in counts.tolist())]),
        np.concatenate([np.empty(0, np.int64), *(one[1] for one in ours)]),
        np.concatenate([np.empty(0, np.float32), *(one[2] for one in ours)]),
    )
    return replace(found, ranked=ranked, candidates=max((one[0] for one in ours), default=0))


def _proposed(ranked: Ranked) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Of each query the patients, as codes, the position of the best row of each, and its score, best first."""
    ends = ranked.ends()
    for begin, end in itertools.pairwise(ends):
        yield ranked.codes[begin:end], ranked.positions[begin:end], ranked.scores[begin:end]


def _best(
    view: SpaceView,
    mask: NDArray[np.bool_] | None,
    direction: NDArray[np.float64],
    codes: NDArray[np.int64],
    positions: NDArray[np.int64],
    bests: NDArray[np.float32],
    k: int,
    top: int,
    *,
    whole: bool,
) -> tuple[int, NDArray[np.int64], NDArray[np.float32]] | None:
    """Rows read, positions and means of the k best patients; None if one who was not proposed could be among them.

    `whole` says that there are no other patients.
    """
    means: list[float] = []
    read = 0
    for code, best in zip(codes.tolist(), bests.tolist(), strict=True):
        if len(means) >= k and sorted(means, reverse=True)[k - 1] >= best:
            break
        rows = view.positions_of_codes([code])
        rows = rows if mask is None else rows[mask[rows]]
        vectors = view.vectors.take(rows)
        none = np.zeros(len(rows), np.int64)
        scores = score_pairs(direction[None], none, vectors, np.arange(len(rows)))
        means.append(float(np.sort(scores)[::-1][:top].mean(dtype=np.float64)))
        read += len(rows)
    else:
        if not whole:
            return None
    found = np.array(means, np.float32)
    order = np.lexsort((codes[: len(found)], -found))[:k]
    return read, positions[order], found[order]
