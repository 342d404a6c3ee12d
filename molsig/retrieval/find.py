"""Neighbours of queries: choose the space, search it, explain and label each hit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import NotFoundError, UsageError
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.answer import Answer
from molsig.retrieval.neighbours import Neighbours
from molsig.retrieval.vote import vote
from molsig.types import SUM_SPACE, Hit, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import RowHit, Searcher, SearchResult
    from molsig.index.store import Store

FUSIONS = ("auto", "sum", "single")
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
    notes
        Said again in the answer.
    """

    name: str
    vectors: Mapping[str, NDArray[np.float32]]
    spaces: Mapping[str, str]
    normal: bool = False
    exclude: tuple[str, ...] = ()
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
) -> list[Answer]:
    """Answer each query with its `k` nearest stored patients.

    Queries that go to the same space are searched in one batch. A query of one modality is compared in that modality's
    own space; one of several is summed and compared with the patients' summed aggregates (the study's aggregation,
    doi 10.1101/2025.05.14.653900).

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

    routes: dict[tuple[str, str, tuple[str, ...] | None], list[int]] = {}
    for position, query in enumerate(queries):
        space, chosen = _route(query, fusion, kind)
        kinds = None if space == SUM_SPACE else _kinds(query, kind)
        routes.setdefault((space, chosen, kinds), []).append(position)
    active = (
        {info.space for info in store.spaces() if info.active} if any(s == SUM_SPACE for s, *_ in routes) else set()
    )
    for query in queries:
        for modality, space in query.spaces.items() if active else ():
            if space not in active:
                raise UsageError(
                    f"{query.name}: its {modality} vectors are of the space {space}, which is not in the stored sums "
                    f"(they hold {', '.join(sorted(active))})"
                )
    found: dict[int, _Found] = {}
    for (space, chosen, kinds), positions in routes.items():
        targets = np.stack([aggregate(queries[p].vectors.values()) for p in positions])
        # Each query leaves out its own few patients: ask for that many more, so that one batch serves them all.
        spare = max(len(queries[p].exclude) for p in positions)
        result = searcher.search(space, targets, k + spare, patients=allowed, kinds=kinds, method=method)
        for row, position in enumerate(positions):
            kept = [hit for hit in result.hits[row] if hit.patient not in queries[position].exclude]
            found[position] = _Found(kept[:k], result, chosen, kinds)

    # One look at the store for all answers: their hits' columns and vectors.
    patients = sorted({hit.patient for one in found.values() for hit in one.hits})
    attributes = {row.pop("patient"): row for row in store.attributes(patients).to_pylist()}
    spaces = sorted({space for query in queries for space in query.spaces.values()})
    neighbours = Neighbours(store, spaces, patients)
    return [
        _answer(queries[position], found[position], attributes, neighbours, columns) for position in range(len(queries))
    ]


@dataclass(frozen=True)
class _Found:
    hits: Sequence[RowHit]
    result: SearchResult
    fusion: str
    kinds: tuple[str, ...] | None


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


def _route(query: Query, fusion: str, kind: str) -> tuple[str, str]:
    """The space a query is searched in, and the fusion that makes it so."""
    chosen = fusion if fusion != "auto" else ("single" if len(query.vectors) == 1 else "sum")
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
        return SUM_SPACE, chosen
    if len(query.vectors) > 1:
        raise UsageError(
            f"{query.name} has {', '.join(query.vectors)}: --fusion single needs one of them, named with --modality"
        )
    return next(iter(query.spaces.values())), chosen


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
) -> Answer:
    cosines = {
        modality: neighbours.cosines(space, aggregate([query.vectors[modality]]), [hit.patient for hit in found.hits])
        for modality, space in query.spaces.items()
    }
    hits = tuple(
        Hit(
            rank=rank,
            patient=hit.patient,
            score=hit.score,
            sample=hit.sample,
            modalities={modality: by[hit.patient] for modality, by in cosines.items() if hit.patient in by},
            attributes=attributes.get(hit.patient, {}),
        )
        for rank, hit in enumerate(found.hits, 1)
    )
    result = found.result
    said = list(query.notes)
    if query.normal and found.kinds == ("normal",):
        said.append("normal tissue, compared with normal samples; --kind any compares with all")
    if strangers := sum(not hit.modalities for hit in hits):
        said.append(
            f"{strangers} hits share no modality with the query: their sums point the same way by length alone; "
            "--modality asks one modality on its own"
        )
    return Answer(
        query=query.name,
        modalities=tuple(query.vectors),
        hits=hits,
        calls={c: vote(c, hits, {hit.patient: hit.attributes.get(c) for hit in hits}) for c in columns},
        plan=Plan(
            fusion=found.fusion,
            method=result.method,
            recall=result.recall,
            rows=result.rows,
            candidates=result.candidates,
            snapshot=result.snapshot,
            reason=result.reason,
        ),
        notes=(*said, *result.notes),
    )
