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
    if fusion not in FUSIONS:
        raise UsageError(f"--fusion {fusion}: choose one of {', '.join(FUSIONS)}")
    columns = list(dict.fromkeys(votes))
    unknown = [column for column in columns if column not in store.columns()]
    if unknown:
        raise UsageError(
            f"--vote {unknown[0]}: there is no such patient column; there are {', '.join(store.columns())}"
        )
    allowed = None
    if where is not None:
        allowed = store.select_patients(where)
        if not allowed:
            raise NotFoundError(f"no stored patient meets --where {where!r}")

    routes: dict[tuple[str, str, tuple[str, ...] | None], list[int]] = {}
    for position, query in enumerate(queries):
        space, chosen = _route(query, fusion)
        kinds = None if space == SUM_SPACE else _kinds(query, kind)
        routes.setdefault((space, chosen, kinds), []).append(position)
    found: dict[int, _Found] = {}
    for (space, chosen, kinds), positions in routes.items():
        targets = np.stack([aggregate(queries[p].vectors.values()) for p in positions])
        # Each query leaves out its own few patients: ask for that many more, so that one batch serves them all.
        spare = max(len(queries[p].exclude) for p in positions)
        result = searcher.search(space, targets, k + spare, patients=allowed, kinds=kinds, method=method)
        for row, position in enumerate(positions):
            kept = [hit for hit in result.hits[row] if hit.patient not in queries[position].exclude]
            found[position] = _Found(kept[:k], result, chosen)

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


def _route(query: Query, fusion: str) -> tuple[str, str]:
    """The space a query is searched in, and the fusion that makes it so."""
    chosen = fusion if fusion != "auto" else ("single" if len(query.vectors) == 1 else "sum")
    if chosen == "sum":
        if query.normal:
            raise UsageError(
                f"{query.name} is normal tissue and summed aggregates hold tumours: choose one of its modalities with "
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
    if kind not in (*TUMOUR_KINDS, "normal"):
        raise UsageError(f"--kind {kind}: choose auto, any, normal, {', '.join(TUMOUR_KINDS)}")
    return (kind,)


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
    normal = ("normal tissue, compared with normal samples; --kind any compares with all",) if query.normal else ()
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
        notes=(*query.notes, *normal, *result.notes),
    )
