"""How near found patients are to a query in each modality on its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.scoring import SLACK, directions, score_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store


SIFTED = 4
"""Rows a patient, on average, from which on only those are compared precisely that may be the best."""

_SHORT = 1e-30
_NONE = np.empty(0, np.int64)


class Neighbours:
    """Vectors of some patients, read once for all the queries that found them.

    Parameters
    ----------
    store, searcher
        The reference; spaces that the searcher has at hand are not read again.
    spaces
        Spaces to compare in.
    patients
        Ids of found patients.
    """

    def __init__(self, store: Store, searcher: Searcher, spaces: Sequence[str], patients: Sequence[str]) -> None:
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._rows: dict[str, Mapping[str, Sequence[int]]] = {}
        unread = []
        for space in spaces:
            view = searcher.held(space)
            if view is None:
                unread.append(space)
                continue
            positions = view.rows_of_each(patients)
            ends = list(itertools.accumulate(map(len, positions.values()), initial=0))
            self._rows[space] = dict(zip(positions, itertools.starmap(range, itertools.pairwise(ends)), strict=True))
            self._vectors[space] = view.vectors.take(np.concatenate([_NONE, *positions.values()]))
        if unread:
            found, vectors = store.vectors_by_patient(patients, unread)
            owners, of = found["patient"].to_pylist(), found["space"].to_pylist()
            for space in unread:
                listed: dict[str, list[int]] = {}
                for row, (patient, one) in enumerate(zip(owners, of, strict=True)):
                    if one == space:
                        listed.setdefault(patient, []).append(row)
                self._rows[space], self._vectors[space] = listed, vectors

    def cosines(self, space: str, query: NDArray[np.float32], patients: Sequence[str]) -> dict[str, float]:
        """Best cosine of each patient's rows in `space` with `query` (float32, shape (768,)); no row, no entry."""
        if not query.any():
            return {}
        held = self._rows[space]
        rows = {patient: held[patient] for patient in patients if patient in held}
        if not rows:
            return {}
        chosen = np.array([row for own in rows.values() for row in own], np.int64)
        vectors, counts = self._vectors[space], np.fromiter(map(len, rows.values()), np.int64, len(rows))
        if len(chosen) > SIFTED * len(rows):
            chosen, counts = _leading(directions(query[None])[0], vectors, chosen, counts)
        scores = score_pairs(directions(query[None]), np.zeros_like(chosen), vectors, chosen)
        if len(chosen) > len(rows):
            scores = np.maximum.reduceat(scores, np.cumsum(counts) - counts)
        return dict(zip(rows, scores.tolist(), strict=True))


def _leading(
    direction: NDArray[np.float64], vectors: NDArray[np.float32], rows: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return those rows that may be their patient's best, and how many of each: fast float32 cosines tell the others.

    Parameters
    ----------
    rows, counts
        Rows of `vectors`, patient by patient, and how many each has.
    """
    # Of one query all vectors are meant; a product of matrices would wake further threads for it.
    every = len(vectors) <= 2 * len(rows)
    some = vectors if every else vectors[rows]
    squares = np.vecdot(some, some)
    # Squares this small are not precise, or have become 0: such a row is compared whatever its cosine seems to be.
    short = squares < _SHORT
    squares[short] = 1
    fast = np.vecdot(some, direction.astype(np.float32)) / np.sqrt(squares)
    if every:
        fast, short = fast[rows], short[rows]
    starts = np.cumsum(counts) - counts
    leading = short | (fast >= np.repeat(np.maximum.reduceat(fast, starts) - SLACK, counts))
    return rows[leading], np.add.reduceat(leading, starts, dtype=np.int64)
