"""Neighbours of queries: choose the space, search it, explain and label each hit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.answer import Answer
from molsig.retrieval.fused import FusedHit, fused_search
from molsig.retrieval.learned import too_good_for
from molsig.retrieval.neighbours import Neighbours
from molsig.retrieval.route import (
    FUSIONS,
    TUMOUR_KINDS,
    check_kind,
    check_summable,
    fusion_of,
    kinds_of,
    selected,
    space_of,
)
from molsig.retrieval.vote import ERROR, evidence_call, number_call, vote
from molsig.types import SUM_SPACE, Hit, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from molsig.index.hits import RowHit
    from molsig.index.search import Searcher
    from molsig.index.search_result import SearchResult
    from molsig.index.store import Store
    from molsig.retrieval.fused import Fused
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.memory import PatientMemory
    from molsig.retrieval.route import Query
    from molsig.types import Call


def find(
    store: Store,
    searcher: Searcher,
    queries: Sequence[Query],
    *,
    k: int = 10,
    where: str | None = None,
    votes: Iterable[str] = (),
    fusion: str = "auto",
    kind: str = "auto",
    method: str = "auto",
    learned: Learned | None = None,
    memory: PatientMemory | None = None,
    error: float = ERROR,
    among: tuple[str, ...] | None = None,
) -> list[Answer]:
    """Answer each query with its `k` nearest stored patients.

    Queries that go to the same space are searched in one batch. A query of one modality is compared in that modality's
    own space; one of several is summed and compared with the patients' summed aggregates (the study's aggregation,
    doi 10.1101/2025.05.14.653900). Where something has been `learned` of how to fuse, it is used instead: evidence for
    a label, or weights; what stored patients say by it is kept in `memory` between calls. Where `among` names patients,
    only they are found, whatever `where` says; who is near a query, which the evidence looks at, stays as it is.

    Raises
    ------
    NotFoundError
        `where` leaves no patient.
    UsageError
        An unknown column, fusion or kind.
    """
    if k < 1:
        raise UsageError(f"--k {k}: at least 1 neighbour is needed")
    if not 0 < error < 1:
        raise UsageError(f"--error {error:g}: an error rate lies between 0 and 1")
    if fusion not in FUSIONS:
        raise UsageError(f"--fusion {fusion}: choose one of {', '.join(FUSIONS)}")
    check_kind(kind)
    columns = list(dict.fromkeys(votes))
    known = store.columns() if columns else {}
    for column in columns:
        if column not in known:
            raise UsageError(f"--vote {column}: there is no such patient column; there are {', '.join(known)}")
    allowed = selected(store, where) if among is None else among

    found: dict[int, _Found] = {}
    routes: dict[tuple[str, str, tuple[str, ...] | None], list[int]] = {}
    for position, query in enumerate(queries):
        chosen = fusion_of(query, fusion, kind, learned)
        space = space_of(query, chosen, kind)
        routes.setdefault((space, chosen, None if space == SUM_SPACE else kinds_of(query, kind)), []).append(position)
    if any(space == SUM_SPACE for space, *_ in routes):
        check_summable(store, queries)
    for (space, chosen, kinds), positions in routes.items():
        some = [queries[p] for p in positions]
        if chosen in ("evidence", "weighted"):
            assert learned is not None
            fused = fused_search(
                store,
                searcher,
                some,
                learned,
                k=k,
                allowed=allowed,
                kinds=kinds or TUMOUR_KINDS,
                evidence=chosen == "evidence",
                method=method,
                memory=memory,
            )
            found |= {p: _Found.of(one, chosen, kinds) for p, one in zip(positions, fused, strict=True)}
            continue
        targets = np.stack([aggregate(query.vectors.values()) for query in some])
        # Each query leaves out its own few patients: ask for that many more, so that one batch serves them all.
        spare = max(len(query.exclude) for query in some)
        result = searcher.search(space, targets, k + spare, patients=allowed, kinds=kinds, method=method)
        for row, position in enumerate(positions):
            kept = [hit for hit in result.hits[row] if hit.patient not in queries[position].exclude]
            found[position] = _Found(tuple(kept[:k]), (result,), result.candidates, chosen, kinds)

    # One look at the store for all answers: their hits' columns and vectors.
    patients = sorted({hit.patient for one in found.values() for hit in one.hits})
    numeric = [column for column in columns if known[column] in ("integer", "number")]
    voters = {patient for one in found.values() for patient in one.voters()} if numeric else set()
    numbers = {row["patient"]: row for row in store.attributes(sorted(voters), numeric).to_pylist()} if numeric else {}
    attributes = store.records(patients)
    spaces = sorted({space for query in queries for space in query.spaces.values()})
    neighbours = Neighbours(store, searcher, spaces, patients)
    asked = _Asked(columns, numeric, learned, error, attributes, numbers, neighbours, allowed is not None)
    return [_answer(query, found[position], asked) for position, query in enumerate(queries)]


@dataclass(frozen=True)
class _Asked:
    """What all queries of a call share: the columns to vote on, and what was read of the patients that were found."""

    columns: list[str]
    numeric: list[str]
    learned: Learned | None
    error: float
    attributes: Mapping[str, Mapping[str, object]]
    numbers: Mapping[str, Mapping[str, object]]
    neighbours: Neighbours
    filtered: bool


@dataclass(frozen=True)
class _Found:
    hits: Sequence[RowHit | FusedHit]
    results: Sequence[SearchResult]
    candidates: int
    fusion: str
    kinds: tuple[str, ...] | None
    fused: Fused | None = None

    @classmethod
    def of(cls, fused: Fused, fusion: str, kinds: tuple[str, ...] | None) -> _Found:
        return cls(fused.hits, fused.results, fused.candidates, fusion, kinds, fused)

    def voters(self) -> tuple[str, ...]:
        """Who may vote on numbers."""
        hits = tuple(hit.patient for hit in self.hits)
        return hits if self.fused is None else self.fused.alike() + hits

    def plan(self) -> Plan:
        """How it was searched: of several searches the least sure one."""
        first = max(self.results, key=lambda one: (one.method != "exact", -one.recall))
        return Plan(
            fusion=self.fusion,
            method=first.method,
            recall=min(one.recall for one in self.results),
            rows=sum(one.rows for one in self.results),
            candidates=self.candidates,
            snapshot=first.snapshot,
            reason=first.reason,
        )


def _answer(query: Query, found: _Found, asked: _Asked) -> Answer:
    patients = [hit.patient for hit in found.hits]
    cosines = {
        modality: asked.neighbours.cosines(space, aggregate([query.vectors[modality]]), patients)
        for modality, space in query.spaces.items()
    }
    hits = tuple(
        _hit(rank, hit, {m: by[hit.patient] for m, by in cosines.items() if hit.patient in by}, asked.attributes)
        for rank, hit in enumerate(found.hits, 1)
    )
    said = list(query.notes)
    if found.fused is not None and found.fused.posterior is not None and query.stored:
        said.append(too_good_for(query.name))
    if query.normal and found.kinds == ("normal",):
        said.append("normal tissue, compared with normal samples; --kind any compares with all")
    if strangers := sum(not hit.modalities for hit in hits):
        said.append(
            f"{strangers} hits share no modality with the query: their sums point the same way by length alone; "
            "--modality asks one modality on its own"
        )
    told = dict.fromkeys(line for result in found.results for line in result.notes)
    return Answer(
        query=query.name,
        modalities=tuple(query.vectors),
        hits=hits,
        calls={column: _call(column, hits, found.fused, found.kinds, asked) for column in asked.columns},
        plan=found.plan(),
        notes=(*said, *told),
    )


def _call(column: str, hits: Sequence[Hit], fused: Fused | None, kinds: tuple[str, ...] | None, asked: _Asked) -> Call:
    """What is said of a column: by learned evidence, by the mean of numbers, or by the hits' vote."""
    learned = asked.learned if fused is not None else None
    by_evidence = learned is not None and learned.evidence is not None and column == learned.label
    if column in asked.numeric and not by_evidence:
        alike = [hit.patient for hit in hits] if fused is None else fused.alike()
        values = [one for patient in alike if isinstance(one := asked.numbers[patient].get(column), int | float)]
        # Errors were learned of the nearest of all patients: a filter may leave those whose numbers are all alike.
        unlike = asked.filtered or kinds not in (None, TUMOUR_KINDS)
        known = None if learned is None or unlike else learned.numbers.get(column)
        return number_call(column, values, known, asked.error)
    call = vote(column, hits, {hit.patient: hit.attributes.get(column) for hit in hits})
    if by_evidence and fused is not None and fused.posterior is not None:
        assert learned is not None
        assert learned.evidence is not None
        return evidence_call(call, fused, learned.evidence, asked.error)
    return call


def _hit(
    rank: int,
    hit: RowHit | FusedHit,
    cosines: Mapping[str, float],
    attributes: Mapping[str, Mapping[str, object]],
) -> Hit:
    known = attributes.get(hit.patient, {})
    if isinstance(hit, FusedHit):
        brought = max(hit.nats, key=hit.nats.__getitem__) if hit.nats else None
        return Hit(
            rank,
            hit.patient,
            hit.score,
            probability=hit.probability,
            modalities=cosines,
            nats=hit.nats,
            brought_by=brought,
            attributes=known,
        )
    return Hit(rank, hit.patient, hit.score, sample=hit.sample, modalities=cosines, attributes=known)
