"""Fused search in a reference: candidates from the index of each modality, then exact scores from what was learned.

For each of the query's modalities its index proposes patients; all of them are scored by `evidence` (probability of
being of the query's class, then nearness) or by `weighted` (cosine of the weighted sums). The nearest in each modality
also vote in the evidence and tell how familiar the query is; for that no filter holds, only the query's own patient is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.fusion import WITHIN
from molsig.retrieval.heads import NEIGHBOURS
from molsig.retrieval.memory import PatientMemory, one_by_one
from molsig.retrieval.neighbourhood import STRANGE_AFTER
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher, SearchResult
    from molsig.index.store import Store
    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.memory import Sayings
    from molsig.retrieval.route import Query

    Array = NDArray[np.float64]

CANDIDATES = 200
"""Patients that each modality proposes for a query."""

_LEAST = 1e-9
"""Added to probabilities before their logarithm is taken."""
_DIGITS = 9
"""What is told is rounded to these, which hides how many patients were worked out together."""


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
        Share of stored patients who are less strange than the query; None for `weighted`.
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
    memory: PatientMemory | None = None,
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
    memory
        What stored patients say, as far as it is known from earlier queries.
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
            left_out = set(queries[row].exclude)
            near[modality][row] = [(h.patient, h.score) for h in free.hits[place] if h.patient not in left_out]
            proposed[row] |= {hit.patient for hit in bound.hits[place]} - left_out
            results[row].append(bound)
    everyone = sorted(set().union(*proposed))
    memory = memory or PatientMemory(store, searcher)
    sayings = memory.sayings(learned, everyone, evidence=evidence)
    judged = None if model is None else _judged(store, model, asked, near, learned.label or "")
    directions = learned.weighted.fused(asked)
    row_of = {patient: row for row, patient in enumerate(sayings.patients)}
    found = []
    for row in range(len(queries)):
        own = np.array(sorted(row_of[patient] for patient in proposed[row] if patient in row_of), dtype=np.int64)
        stored = sayings.take(own)
        hits, alike = _ranked(stored, directions[row], None if judged is None else judged.of(row), k)
        if judged is None:
            found.append(Fused(hits, None, None, np.zeros(0, bool), alike, tuple(results[row]), len(own)))
            continue
        present = judged.present[:, row]
        strange = float(judged.strange[row])
        found.append(Fused(hits, judged.posterior[row], strange, present, alike, tuple(results[row]), len(own)))
    return found


@dataclass(frozen=True, eq=False)
class _Judged:
    """What was made of queries.

    Attributes
    ----------
    modalities
        Those of the evidence.
    posterior
        Probability of each class, (queries, classes).
    strange
        Share of stored patients who are less strange, (queries,).
    present
        Which of the modalities each query has, (modalities, queries).
    alone
        The posterior by each modality on its own, (modalities, queries, classes).
    chance
        Log-probability that two patients are of the same class by chance.
    """

    modalities: tuple[str, ...]
    posterior: Array
    strange: Array
    present: NDArray[np.bool_]
    alone: Array
    chance: float

    def of(self, row: int) -> _Judged:
        """One query, its axis kept."""
        one = slice(row, row + 1)
        return replace(
            self,
            posterior=self.posterior[one],
            strange=self.strange[one],
            present=self.present[:, one],
            alone=self.alone[:, one],
        )


def _ranked(
    stored: Sayings, direction: NDArray[np.float32], judged: _Judged | None, k: int
) -> tuple[tuple[FusedHit, ...], tuple[str, ...]]:
    """The best `k` of the candidates of one query, and all of them, nearest by the weighted fusion first."""
    # Row by row, not as a matrix product, whose rounding depends on how many rows there are.
    cosines = np.einsum("nd,d->n", stored.fused, direction).astype(np.float64)
    alike = tuple(stored.patients[row] for row in np.argsort(-cosines, kind="stable").tolist())
    if judged is None:
        best = np.argsort(-cosines, kind="stable")[:k].tolist()
        return tuple(FusedHit(stored.patients[row], float(cosines[row]), None, {}) for row in best), alike
    same = (stored.posterior * judged.posterior).sum(axis=1)
    scores = np.round(np.log(same + _LEAST) + WITHIN * cosines, _DIGITS)
    top = np.argsort(-scores, kind="stable")[:k]
    # By modality: log p(same class) - log p(same class by chance), where both have it.
    by_modality = (stored.alone[:, top] * judged.alone).sum(axis=2)
    nats = np.round(np.log(by_modality + _LEAST) - judged.chance, _DIGITS)
    shared = stored.present[:, top] & judged.present
    hits = tuple(
        FusedHit(
            stored.patients[row],
            float(scores[row]),
            round(float(same[row]), _DIGITS),
            {m: float(nats[i, place]) for i, m in enumerate(judged.modalities) if shared[i, place]},
        )
        for place, row in enumerate(top.tolist())
    )
    return hits, alike


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
) -> _Judged:
    """What the model makes of the queries and of who is near them."""
    n = len(asked)
    named = sorted({patient for rows in near.values() for row in rows for patient, _ in row})
    labels = dict(zip(named, store.attributes(named, [label])[label].to_pylist(), strict=True)) if named else {}
    number = {name: i for i, name in enumerate(model.classes)}
    counts: dict[str, Array] = {}
    nearness: dict[str, Array] = {}
    for modality in model.compared:
        counts[modality] = np.zeros((n, len(model.classes)))
        nearness[modality] = np.full(n, -1.0)
        for row, hits in enumerate(near[modality]):
            voters = [number[str(labels[p])] for p, _ in hits if str(labels[p]) in number][:NEIGHBOURS]
            np.add.at(counts[modality], (row, voters), 1)
            if hits:
                nearness[modality][row] = np.mean([score for _, score in hits[:STRANGE_AFTER]])
    present = model.present(asked)
    evidence = model.evidence(asked, counts)
    log_posterior = model.log_posterior(evidence, present)
    return _Judged(
        model.modalities,
        np.exp(log_posterior),
        model.strangeness(nearness, present, log_posterior),
        present,
        one_by_one(model, evidence),
        float(np.log(np.square(np.exp(model.log_prior)).sum())),
    )
