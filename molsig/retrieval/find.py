"""Neighbours of queries: choose the space, search it, explain and label each hit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import NotFoundError, UsageError
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.answer import Answer
from molsig.retrieval.fused import FusedHit, fused_search
from molsig.retrieval.neighbours import Neighbours
from molsig.retrieval.vote import ERROR, evidence_call, number_call, vote
from molsig.types import SUM_SPACE, Hit, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import RowHit, Searcher, SearchResult
    from molsig.index.store import Store
    from molsig.retrieval.fused import Fused
    from molsig.retrieval.learned import Learned

FUSIONS = ("auto", "evidence", "weighted", "sum", "single")
TUMOUR_KINDS = ("tumour", "metastasis", "recurrence", "other")
"""Sample kinds that the default search looks at for a query that is not normal tissue."""


@dataclass(frozen=True)
class Query:
    """One question: the vectors of a patient or sample, per modality, each in its space.

    Attributes
    ----------
    name
        What the answer is headed with.
    vectors
        By modality: float32 of shape (n, 768).
    spaces
        By modality: the space those vectors belong to.
    normal
        Whether the specimen is normal tissue.
    exclude
        Stored patients that may not be found.
    stored
        Whether it is a stored patient's own vectors.
    notes
        Said again in the answer.
    """

    name: str
    vectors: Mapping[str, NDArray[np.float32]]
    spaces: Mapping[str, str]
    normal: bool = False
    exclude: tuple[str, ...] = ()
    stored: bool = False
    notes: tuple[str, ...] = field(default=())


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
    error: float = ERROR,
) -> list[Answer]:
    """Answer each query with its `k` nearest stored patients.

    Queries that go to the same space are searched in one batch. A query of one modality is compared in that modality's
    own space; one of several is summed and compared with the patients' summed aggregates (the study's aggregation,
    doi 10.1101/2025.05.14.653900). Where something has been `learned` of how to fuse, it is used instead: evidence for
    a label, or weights.

    Raises
    ------
    NotFoundError
        `where` leaves no patient.
    UsageError
        An unknown column, fusion or kind.
    """
    if k < 1:
        raise UsageError(f"--k {k}: at least 1 neighbour is needed")
    if fusion not in FUSIONS:
        raise UsageError(f"--fusion {fusion}: choose one of {', '.join(FUSIONS)}")
    check_kind(kind)
    columns = list(dict.fromkeys(votes))
    known = store.columns() if columns else {}
    for column in columns:
        if column not in known:
            raise UsageError(f"--vote {column}: there is no such patient column; there are {', '.join(known)}")
    allowed = None
    if where is not None:
        allowed = store.select_patients(where)
        if not allowed:
            raise NotFoundError(f"no stored patient meets --where {where!r}")

    found: dict[int, _Found] = {}
    routes: dict[tuple[str, str, tuple[str, ...] | None], list[int]] = {}
    for position, query in enumerate(queries):
        chosen = _fusion(query, fusion, kind, learned)
        space = _space(query, chosen, kind)
        routes.setdefault((space, chosen, None if space == SUM_SPACE else _kinds(query, kind)), []).append(position)
    if any(space == SUM_SPACE for space, *_ in routes):
        _check_summable(store, queries)
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
    voters = {
        patient
        for one in found.values()
        for patient in (one.fused.alike if one.fused is not None else ()) + tuple(hit.patient for hit in one.hits)
    }
    numbers = {row["patient"]: row for row in store.attributes(sorted(voters), numeric).to_pylist()} if numeric else {}
    attributes = {row.pop("patient"): row for row in store.attributes(patients).to_pylist()}
    spaces = sorted({space for query in queries for space in query.spaces.values()})
    neighbours = Neighbours(store, spaces, patients)
    return [
        _answer(queries[position], found[position], attributes, neighbours, columns, learned, error, numbers, numeric)
        for position in range(len(queries))
    ]


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


def _check_summable(store: Store, queries: Sequence[Query]) -> None:
    """Raise `UsageError` for vectors of a space that the stored sums have no part in: their cosine means nothing."""
    active = {info.space for info in store.spaces() if info.active}
    for query in queries:
        for modality, space in query.spaces.items():
            if space not in active:
                raise UsageError(
                    f"{query.name}: its {modality} vectors are of the space {space}, which is not in the stored sums "
                    f"(they hold {', '.join(sorted(active))})"
                )


def _fusion(query: Query, fusion: str, kind: str, learned: Learned | None) -> str:
    """The fusion that answers a query."""
    shared = [] if learned is None else [m for m, space in query.spaces.items() if learned.spaces.get(m) == space]
    telling = [
        m for m in shared if learned is not None and learned.evidence is not None and m in learned.evidence.heads
    ]
    if fusion in ("evidence", "weighted"):
        if learned is None or (fusion == "evidence" and learned.evidence is None):
            raise UsageError(f"--fusion {fusion}: nothing has been learned yet; run: molsig learn REF --label COLUMN")
        if not (telling if fusion == "evidence" else shared):
            raise UsageError(f"--fusion {fusion}: {query.name} has no modality that it was learned on")
        if query.normal or kind in ("any", "normal"):
            raise UsageError(f"--fusion {fusion} compares tumours: use --fusion single and --modality")
        return fusion
    if fusion != "auto":
        return fusion
    if learned is not None and shared and not query.normal and kind not in ("any", "normal"):
        if telling:
            return "evidence"
        if len(shared) > 1:
            return "weighted"
    return "single" if len(query.vectors) == 1 else "sum"


def _space(query: Query, chosen: str, kind: str) -> str:
    """The space a query is searched in; none in particular where several are."""
    if chosen in ("evidence", "weighted"):
        return ""
    if chosen == "sum":
        if query.normal:
            raise UsageError(
                f"{query.name} is normal tissue and summed aggregates hold tumours: leave out --fusion sum and choose "
                f"one of its modalities with --modality ({', '.join(query.vectors)})"
            )
        if kind not in ("auto", "any"):
            raise UsageError(
                f"--kind {kind}: summed aggregates hold all kinds of tumour samples together; choose one modality with "
                f"--modality ({', '.join(query.vectors)})"
            )
        return SUM_SPACE
    if len(query.vectors) > 1:
        raise UsageError(
            f"{query.name} has {', '.join(query.vectors)}: --fusion single needs one of them, named with --modality"
        )
    return next(iter(query.spaces.values()))


def _kinds(query: Query, kind: str) -> tuple[str, ...] | None:
    if kind == "any":
        return None
    if kind == "auto":
        return ("normal",) if query.normal else TUMOUR_KINDS
    return (kind,)


def check_kind(kind: str) -> None:
    """Raise `UsageError` unless `kind` says which samples to search."""
    if kind not in ("auto", "any", "normal", *TUMOUR_KINDS):
        raise UsageError(f"--kind {kind}: choose auto, any, normal, {', '.join(TUMOUR_KINDS)}")


def _answer(
    query: Query,
    found: _Found,
    attributes: Mapping[str, Mapping[str, object]],
    neighbours: Neighbours,
    columns: list[str],
    learned: Learned | None,
    error: float,
    numbers: Mapping[str, Mapping[str, object]],
    numeric: list[str],
) -> Answer:
    cosines = {
        modality: neighbours.cosines(space, aggregate([query.vectors[modality]]), [hit.patient for hit in found.hits])
        for modality, space in query.spaces.items()
    }
    hits = tuple(
        _hit(rank, hit, {m: by[hit.patient] for m, by in cosines.items() if hit.patient in by}, attributes)
        for rank, hit in enumerate(found.hits, 1)
    )
    said = list(query.notes)
    if found.fused is not None and found.fused.posterior is not None and query.stored:
        said.append(
            f"{query.name} is one of the patients that the evidence was learned from: probabilities are too good for it"
        )
    if query.normal and found.kinds == ("normal",):
        said.append("normal tissue, compared with normal samples; --kind any compares with all")
    if strangers := sum(not hit.modalities for hit in hits):
        said.append(
            f"{strangers} hits share no modality with the query: their sums point the same way by length alone; "
            "--modality asks one modality on its own"
        )
    calls = {}
    for column in columns:
        if column in numeric and (learned is None or column != learned.label):
            alike = [hit.patient for hit in hits] if found.fused is None else list(found.fused.alike)
            values = [number for patient in alike if isinstance(number := numbers[patient].get(column), int | float)]
            known = learned.numbers.get(column) if learned is not None and found.fused is not None else None
            calls[column] = number_call(column, values, known, error)
            continue
        call = vote(column, hits, {hit.patient: hit.attributes.get(column) for hit in hits})
        if found.fused is not None and learned is not None and learned.evidence is not None and column == learned.label:
            call = evidence_call(call, found.fused, learned.evidence, error)
        calls[column] = call
    told = dict.fromkeys(line for result in found.results for line in result.notes)
    return Answer(
        query=query.name,
        modalities=tuple(query.vectors),
        hits=hits,
        calls=calls,
        plan=found.plan(),
        notes=(*said, *told),
    )


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
