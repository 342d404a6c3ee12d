"""Many vectors of one modality against the stored ones: all answers in one table, nothing voted or fused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import UsageError
from molsig.index.patient_columns import told_as
from molsig.index.stamp import one_look
from molsig.index.top_rows import search_by_mean
from molsig.retrieval.route import TUMOUR_KINDS, check_kind, selected
from molsig.types import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.hits import Ranked
    from molsig.index.patient_columns import PatientColumns
    from molsig.index.search import Searcher
    from molsig.index.store import Store


@dataclass(frozen=True, eq=False)
class Nearest:
    """Neighbours of a batch of vectors.

    Attributes
    ----------
    ranked
        The hits as columns.
    attributes
        The patients' columns.
    plan
        How it was searched.
    notes
        What a careful reader should know.
    """

    ranked: Ranked
    attributes: PatientColumns
    plan: Plan
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ranked.queries)

    @cached_property
    def table(self) -> pa.Table:
        """One row a hit, by query and rank.

        ``query`` (number of the vector, from 0), ``rank`` (from 1), ``patient``, ``sample``, ``item``, ``score``
        (cosine), then the patient's columns; one that is named as a column of ours becomes ``patient.NAME``.
        """
        hits = self.ranked.table().drop_columns(["id"])
        both = [*hits.columns, *self.attributes.arrays()]
        return type(hits).from_arrays(both, names=[*hits.column_names, *self._names(hits.column_names)])

    def records(self) -> list[dict[str, Any]]:
        """The rows of `table` as dictionaries, without making it: quicker where there are few."""
        ours: dict[str, list[Any]] = {
            "query": self.ranked.queries.tolist(),
            "rank": self.ranked.ranks.tolist(),
            **self.ranked.told(("patient", "sample", "item")),
            "score": self.ranked.scores.tolist(),
        }
        theirs = self.attributes.lists()
        names = [*ours, *self._names(list(ours))]
        return [dict(zip(names, row, strict=True)) for row in zip(*ours.values(), *theirs, strict=True)]

    def _names(self, taken: Sequence[str]) -> list[str]:
        return [told_as(name, taken) for name in self.attributes.names]


def nearest(
    store: Store,
    searcher: Searcher,
    modality: str,
    vectors: NDArray[np.float32],
    *,
    k: int = 10,
    where: str | None = None,
    kind: str = "auto",
    method: str = "auto",
    columns: Sequence[str] | None = None,
    top: int = 1,
) -> Nearest:
    """Find the `k` stored patients nearest to each vector, in the space in use for its modality.

    A patient with several vectors counts with the best one, or with the mean of the `top` best.

    Raises
    ------
    UsageError
        The modality, a column or the kind is unknown, or `k` or `top` is under 1.
    InputError
        A vector is not finite, is zero, or not 768 long.
    NotFoundError
        `where` leaves no patient.
    """
    check_kind(kind)
    if top < 1:
        raise UsageError(f"top is {top}, at least 1 is needed")
    with one_look():
        return _nearest(store, searcher, modality, vectors, k, where, kind, method, columns, top)


def _nearest(
    store: Store,
    searcher: Searcher,
    modality: str,
    vectors: NDArray[np.float32],
    k: int,
    where: str | None,
    kind: str,
    method: str,
    columns: Sequence[str] | None,
    top: int,
) -> Nearest:
    spaces = store.active_spaces()
    if modality not in spaces:
        raise UsageError(f"no {modality} vectors are stored; there are {', '.join(sorted(spaces))}")
    allowed = selected(store, where)
    kinds = None if kind == "any" else TUMOUR_KINDS if kind == "auto" else (kind,)
    asked = np.atleast_2d(vectors)
    if top == 1:
        found = searcher.search(spaces[modality], asked, k, patients=allowed, kinds=kinds, method=method)
    else:
        found = search_by_mean(searcher, spaces[modality], asked, k, top, patients=allowed, kinds=kinds, method=method)
    known = store.attributes_of(found.ranked.view.patients, found.ranked.codes, columns)
    plan = Plan("single", found.method, found.recall, found.rows, found.candidates, found.snapshot, found.reason)
    return Nearest(found.ranked, known, plan, found.notes)
