"""Fused search in a reference: candidates from the index of each modality, then exact scores from what was learned.

For each of the query's modalities its index proposes patients; all of them are scored by `evidence` (probability of
being of the query's class, then nearness) or by `weighted` (cosine of the weighted sums). The nearest in each modality
also vote in the evidence and tell how familiar the query is; for that no filter holds, only the query's own patient is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.fusion import WITHIN
from molsig.retrieval.heads import NEIGHBOURS
from molsig.retrieval.neighbourhood import STRANGE_AFTER
from molsig.retrieval.patient_vectors import PatientVectors, some_patient_vectors
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher, SearchResult
    from molsig.index.store import Store
    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.route import Query

    Array = NDArray[np.float64]

CANDIDATES = 200
"""Patients that each modality proposes for a query."""


@dataclass(frozen=True)
class FusedHit:
    """A patient with their score: nats for `evidence`, a cosine for `weighted`."""

    patient: str
    score: float
    probability: float | None
    nats: Mapping[str, float]


@dataclass(frozen=True)
class Fused:
    """What one query found.

    Attributes
    ----------
    hits
        Best first.
    posterior
        Probability of each class, (classes,); None for `weighted`.
    strange
        Share of stored patients who are less strange than the query; None where none of its modalities can tell.
    present
        Which of the model's modalities the query has, (modalities,).
    alike
        All candidates, nearest by the weighted fusion first: who votes on numbers.
    """

    hits: tuple[FusedHit, ...]
    posterior: Array | None
    strange: float | None
    present: NDArray[np.bool_]
    alike: tuple[str, ...] = ()
    results: tuple[SearchResult, ...] = field(default=())
    candidates: int = 0


def fused_search(
    store: Store,
    searcher: Searcher,
    queries: Sequence[Query],
    learned: Learned,
    *,
    k: int,
    allowed: Sequence[str] | None,
    kinds: tuple[str, ...],
    evidence: bool,
    method: str = "auto",
) -> list[Fused]:
    """Find the `k` best patients of each query.

    Parameters
    ----------
    queries
        Each with at least one modality of `learned`.
    allowed
        Patients that may be found; None for all.
    kinds
        Kinds of samples that propose patients.
    evidence
        Whether to score by evidence (which `learned` then holds) or by weights alone.
    """
    model = learned.evidence if evidence else None
    asked = _vectors_of(queries, learned.spaces)
    proposed: list[set[str]] = [set() for _ in queries]
    results: list[list[SearchResult]] = [[] for _ in queries]
    near: dict[str, list[list[tuple[str, float]]]] = {m: [[] for _ in queries] for m in learned.spaces}
    spare = max(len(query.exclude) for query in queries)
    for modality, space in learned.spaces.items():
        rows = np.flatnonzero(asked.present[modality])
        if not len(rows):
            continue
        targets = asked.vectors[modality][rows]
        free = searcher.search(space, targets, CANDIDATES + spare, kinds=kinds, method=method)
        bound = free
        if allowed is not None:
            bound = searcher.search(space, targets, CANDIDATES + spare, patients=allowed, kinds=kinds, method=method)
        for place, row in enumerate(rows.tolist()):
            own = queries[row].exclude
            near[modality][row] = [(hit.patient, hit.score) for hit in free.hits[place] if hit.patient not in own]
            proposed[row] |= {hit.patient for hit in bound.hits[place]} - set(own)
            results[row].append(bound)
    everyone = sorted(set().union(*proposed))
    stored = some_patient_vectors(store, everyone, learned.spaces) if everyone else None
    posterior: Array | None = None
    strange: Array | None = None
    nats: dict[str, Array] = {}
    same = np.zeros((len(queries), 0))
    if model is not None:
        posterior, strange, alone = _judged(store, model, asked, near, learned.label or "")
        if stored is not None:
            theirs = model.evidence(stored)
            same = posterior @ np.exp(model.log_posterior(theirs, model.present(stored))).T
            nats = _nats(model, alone, asked, theirs, stored)
    cosines = np.zeros((len(queries), 0))
    if stored is not None:
        cosines = (learned.weighted.fused(asked) @ learned.weighted.fused(stored).T).astype(np.float64)
    patients = () if stored is None else stored.patients
    column_of = {patient: i for i, patient in enumerate(patients)}
    scores = cosines if model is None else np.log(same + 1e-9) + WITHIN * cosines
    found = []
    for row in range(len(queries)):
        columns: list[int] = sorted(column_of[patient] for patient in proposed[row] if patient in column_of)
        best = sorted(columns, key=lambda column: -scores[row, column])[:k]
        hits = tuple(
            FusedHit(
                patients[column],
                float(scores[row, column]),
                None if model is None else float(same[row, column]),
                {m: float(by[row, column]) for m, by in nats.items() if not np.isnan(by[row, column])},
            )
            for column in best
        )
        how_strange = None if strange is None or np.isnan(strange[row]) else float(strange[row])
        present = np.zeros(0, bool) if model is None else model.present(asked)[:, row]
        own_posterior = None if posterior is None else posterior[row]
        alike = tuple(patients[column] for column in sorted(columns, key=lambda column: -cosines[row, column]))
        found.append(Fused(hits, own_posterior, how_strange, present, alike, tuple(results[row]), len(columns)))
    return found


def _vectors_of(queries: Sequence[Query], spaces: Mapping[str, str]) -> PatientVectors:
    """Queries as rows; vectors of other spaces are left out."""
    vectors = {modality: np.zeros((len(queries), DIM), dtype=np.float32) for modality in spaces}
    present = {modality: np.zeros(len(queries), dtype=bool) for modality in spaces}
    for row, query in enumerate(queries):
        for modality, block in query.vectors.items():
            if spaces.get(modality) == query.spaces[modality]:
                vectors[modality][row] = aggregate([block])
                present[modality][row] = True
    return PatientVectors(tuple(query.name for query in queries), vectors, present)


def _judged(
    store: Store,
    model: EvidenceModel,
    asked: PatientVectors,
    near: Mapping[str, Sequence[Sequence[tuple[str, float]]]],
    label: str,
) -> tuple[Array, Array, Array]:
    """Posterior, strangeness and evidence of the queries."""
    n = len(asked)
    named = sorted({patient for rows in near.values() for row in rows for patient, _ in row})
    labels = dict(zip(named, store.attributes(named, [label])[label].to_pylist(), strict=True)) if named else {}
    number = {name: i for i, name in enumerate(model.classes)}
    counts: dict[str, Array] = {}
    nearness: dict[str, Array] = {}
    for modality in model.unfamiliar:
        counts[modality] = np.zeros((n, len(model.classes)))
        nearness[modality] = np.full(n, -1.0)
        for row, hits in enumerate(near[modality]):
            voters = [number[str(labels[p])] for p, _ in hits if str(labels[p]) in number][:NEIGHBOURS]
            np.add.at(counts[modality], (row, voters), 1)
            if hits:
                nearness[modality][row] = np.mean([score for _, score in hits[:STRANGE_AFTER]])
    present = model.present(asked)
    evidence = model.evidence(asked, counts)
    posterior = np.exp(model.log_posterior(evidence, present))
    return posterior, model.strangeness(nearness, present), evidence


def _nats(
    model: EvidenceModel, asked: Array, queries: PatientVectors, theirs: Array, stored: PatientVectors
) -> dict[str, Array]:
    """By modality: log p(same class) - log p(same class by chance), (queries, candidates); NaN where not shared."""
    chance = float(np.log(np.square(np.exp(model.log_prior)).sum()))
    out = {}
    for place, modality in enumerate(model.modalities):
        left, right = queries.present[modality], stored.present[modality]
        alone = np.zeros((len(model.modalities), 1), dtype=bool)
        alone[place] = True
        ours = np.exp(model.log_posterior(asked, np.broadcast_to(alone, (len(alone), len(queries)))))
        held = np.exp(model.log_posterior(theirs, np.broadcast_to(alone, (len(alone), len(stored)))))
        said = np.log(ours @ held.T + 1e-9) - chance
        out[modality] = np.where(left[:, None] & right[None], said, np.nan)
    return out
