"""Many vectors of one modality against the stored ones: all answers in one table, nothing voted or fused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import UsageError
from molsig.index.at_once import at_once
from molsig.index.patient_columns import told_as
from molsig.index.single import question
from molsig.index.stamp import one_look
from molsig.index.top_rows import search_by_mean
from molsig.retrieval.records import Records
from molsig.retrieval.route import TUMOUR_KINDS, check_kind, selected
from molsig.types import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.hits import Ranked
    from molsig.index.patient_columns import PatientColumns
    from molsig.index.search import Searcher
    from molsig.index.single import Single
    from molsig.index.store import Store
    from molsig.index.view import SpaceView


OURS = ("query", "rank", "patient", "sample", "item", "score")
"""Columns of every answer."""

MANY_HITS = 2_000
"""From so many on two threads make the columns of a table."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Neighbours of a batch of vectors.

    Attributes
    ----------
    ranked
        The hits as columns.
    said
        The patients' columns, of each hit or, where `of_all`, of each patient of the view.
    plan
        How it was searched.
    notes
        What a careful reader should know.
    made
        Records of the rows, for one query among many.
    """

    ranked: Ranked
    said: PatientColumns
    plan: Plan
    notes: tuple[str, ...]
    of_all: bool = False
    made: Records | None = None

    def __len__(self) -> int:
        return len(self.ranked.queries)

    @cached_property
    def attributes(self) -> PatientColumns:
        """The patients' columns, of each hit."""
        return self.said.at(self.ranked.codes) if self.of_all else self.said

    @cached_property
    def table(self) -> pa.Table:
        """One row a hit, by query and rank.

        ``query`` (number of the vector, from 0), ``rank`` (from 1), ``patient``, ``sample``, ``item``, ``score``
        (cosine), then the patient's columns; one that is named as a column of ours becomes ``patient.NAME``.
        """
        import pyarrow as pa

        parts = (self.ranked.arrays, self.attributes.arrays)
        ours, theirs = at_once(parts) if len(self) >= MANY_HITS else [part() for part in parts]
        return pa.Table.from_arrays([*ours, *theirs], names=_headed(self.said.names))

    def records(self) -> list[dict[str, Any]]:
        """The rows of `table` as dictionaries, without making it: quicker where there are few."""
        hits = self.ranked
        if self.made is not None and (known := self.made.of(hits)) is not None:
            return known
        names = _headed(self.said.names)
        told = hits.told(("patient", "sample", "item"))
        numbers = hits.queries.tolist(), hits.ranks.tolist()
        columns = (*numbers, *told.values(), hits.scores.tolist(), *self.attributes.lists())
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


@lru_cache(maxsize=64)
def _headed(theirs: tuple[str, ...]) -> tuple[str, ...]:
    """Our columns and those of the patients, as they are called."""
    return (*OURS, *(told_as(name, OURS) for name in theirs))


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
    asked = vectors if np.ndim(vectors) == 2 else np.atleast_2d(vectors)
    columns = None if columns is None else tuple(columns)
    ours = None
    if top == 1 and len(asked) == 1:
        ours = "nearest", modality, k, where, kind, method, columns
        before = searcher.again(ours)
        if before is not None and (known := _again(before, asked)) is not None:
            return known
    if top < 1:
        raise UsageError(f"top is {top}, at least 1 is needed")
    with one_look():
        spaces = store.active_spaces()
        space = spaces.get(modality)
        if space is None:
            raise UsageError(f"no {modality} vectors are stored; there are {', '.join(sorted(spaces))}")
        allowed = selected(store, where)
        kinds = None if kind == "any" else TUMOUR_KINDS if kind == "auto" else (kind,)
        if top == 1:
            found = searcher.search(space, asked, k, patients=allowed, kinds=kinds, method=method)
        else:
            found = search_by_mean(searcher, space, asked, k, top, patients=allowed, kinds=kinds, method=method)
        told = store.attributes_of(found.ranked.view.patients, found.ranked.codes, columns)
        plan = Plan("single", found.method, found.recall, found.rows, found.candidates, found.snapshot, found.reason)
        if ours is not None:
            _keep(store, searcher, ours, question(space, k, allowed, kinds, method), plan, columns)
    return Nearest(found.ranked, told, plan, found.notes)


@dataclass(frozen=True, eq=False)
class _Beside:
    """What does not change from one single query to the next: what is said of all patients, and the plan."""

    said: PatientColumns
    plan: Plan
    made: Records


def _keep(
    store: Store, searcher: Searcher, ours: object, theirs: object, plan: Plan, columns: Sequence[str] | None
) -> None:
    """Let the next vector that is asked alike take the way of this one, if it can."""
    way = searcher.again(theirs)
    if way is None or way.candidates != plan.candidates:
        return
    view = way.held.view
    said = store.attributes_of_all(view.patients, columns)
    if said is not None:
        searcher.keep_beside(ours, way, _Beside(said, plan, _made(searcher, view, said)))


def _made(searcher: Searcher, view: SpaceView, said: PatientColumns) -> Records:
    """Records of a view's rows, the same for all questions that are told the same."""
    for way in searcher.ways():
        other = way.beside
        if not isinstance(other, _Beside) or way.held.view is not view:
            continue
        if other.said.table is said.table and other.said.names == said.names:
            return other.made
    return Records(view, said, _headed(said.names))


def _again(way: Single, asked: NDArray[np.float32]) -> Nearest | None:
    """What one query finds on a way that was kept, None where it does not lead there."""
    ranked, beside = way.ranked(asked), way.beside
    if ranked is None or not isinstance(beside, _Beside):
        return None
    return Nearest(ranked, beside.said, beside.plan, (), of_all=True, made=beside.made)
