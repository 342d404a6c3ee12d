"""Fused search in a reference: candidates from the index of each modality, then exact scores from what was learned.

For each of the query's modalities its index proposes patients; all of them are scored by `evidence` (probability of
being of the query's class, then nearness) or by `weighted` (cosine of the weighted sums). The nearest in each modality
also vote in the evidence and tell how familiar the query is; for that no filter holds, only the query's own patient is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.hits import Ranked
    from molsig.index.search import Searcher
    from molsig.index.search_result import SearchResult
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
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
        Gives all candidates, nearest by the weighted fusion first: who votes on numbers.
    """

    hits: tuple[FusedHit, ...]
    posterior: Array | None
    strange: float | None
    present: NDArray[np.bool_]
    alike: Callable[[], tuple[str, ...]] = tuple
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
    proposed: list[list[tuple[SpaceView, NDArray[np.int64]]]] = [[] for _ in queries]
    results: list[list[SearchResult]] = [[] for _ in queries]
    near: dict[str, list[_Near]] = {m: [_NOBODY for _ in queries] for m in learned.spaces}
    spare = max(len(query.exclude) for query in queries)
    for modality, space in learned.spaces.items():
        rows = np.flatnonzero(asked.present[modality])
        if not len(rows):
            continue
        targets = asked.vectors[modality][rows]
        search = partial(searcher.search, space, targets, CANDIDATES + spare, kinds=kinds, method=method, rough=True)
        free = search()
        bound = free if allowed is None else search(patients=allowed)
        ends, limits = free.ranked.ends(), bound.ranked.ends()
        for place, row in enumerate(rows.tolist()):
            near[modality][row] = _Near(free.ranked, ends[place], ends[place + 1], queries[row].exclude)
            codes = bound.ranked.codes[limits[place] : limits[place + 1]]
            proposed[row].append((bound.ranked.view, codes))
            results[row].append(bound)
    memory = memory or PatientMemory(store, searcher)
    sayings, candidates = memory.sayings(learned, proposed, [query.exclude for query in queries], evidence=evidence)
    judged = None if model is None else _judged(store, model, asked, near, learned.label or "")
    directions = learned.weighted.fused(asked)
    found = []
    for row in range(len(queries)):
        own = candidates[row]
        hits, alike = _ranked(sayings, own, directions[row], None if judged is None else judged.of(row), k)
        if judged is None:
            found.append(Fused(hits, None, None, np.zeros(0, bool), alike, tuple(results[row]), len(own)))
            continue
        present = judged.present[:, row]
        strange = float(judged.strange[row])
        found.append(Fused(hits, judged.posterior[row], strange, present, alike, tuple(results[row]), len(own)))
    return found


@dataclass(frozen=True, eq=False)
class _Near:
    """The patients nearest to a query in one modality, nearest first: hits `begin` to `end`, some left out."""

    ranked: Ranked | None
    begin: int
    end: int
    left_out: Sequence[str]
    _read: dict[int, list[str]] = field(default_factory=dict, repr=False)

    def patients(self) -> Iterator[Sequence[str]]:
        """Some after the other, as many at a time as may vote."""
        for start in range(self.begin, self.end, NEIGHBOURS):
            yield [patient for patient in self._names(start) if patient not in self.left_out]

    def nearness(self) -> float:
        """Mean cosine of the nearest; -1 where there is nobody."""
        scores: list[float] = []
        for start in range(self.begin, self.end, NEIGHBOURS):
            names = self._names(start)
            assert self.ranked is not None
            own = self.ranked.scores[start : start + len(names)].tolist()
            scores += [score for name, score in zip(names, own, strict=True) if name not in self.left_out]
            if len(scores) >= STRANGE_AFTER:
                break
        return float(np.mean(scores[:STRANGE_AFTER])) if scores else -1.0

    def _names(self, start: int) -> list[str]:
        if start not in self._read:
            assert self.ranked is not None
            self._read[start] = self.ranked.patients(start, min(start + NEIGHBOURS, self.end))
        return self._read[start]


_NOBODY = _Near(None, 0, 0, ())


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
    stored: Sayings, own: NDArray[np.int64], direction: NDArray[np.float32], judged: _Judged | None, k: int
) -> tuple[tuple[FusedHit, ...], Callable[[], tuple[str, ...]]]:
    """The best `k` of the candidates of a query, rows `own`, and all of them, nearest by the weighted fusion first."""
    # Row by row, not as a matrix product, whose rounding depends on how many rows there are.
    cosines = np.einsum("nd,d->n", stored.fused[own], direction).astype(np.float64)
    nearest = np.argsort(-cosines, kind="stable")

    def alike() -> tuple[str, ...]:
        return tuple(stored.patients[row] for row in own[nearest].tolist())

    if judged is None:
        best = nearest[:k]
        pairs = zip(own[best].tolist(), cosines[best].tolist(), strict=True)
        return tuple(FusedHit(stored.patients[row], cosine, None, {}) for row, cosine in pairs), alike
    same = (stored.posterior[own] * judged.posterior).sum(axis=1)
    scores = np.round(np.log(same + _LEAST) + WITHIN * cosines, _DIGITS)
    top = np.argsort(-scores, kind="stable")[:k]
    # By modality: log p(same class) - log p(same class by chance), where both have it.
    by_modality = (stored.alone[:, own[top]] * judged.alone).sum(axis=2)
    nats = np.round(np.log(by_modality + _LEAST) - judged.chance, _DIGITS)
    shared = stored.present[:, own[top]] & judged.present
    hits = tuple(
        FusedHit(
            stored.patients[own[row]],
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
    near: Mapping[str, Sequence[_Near]],
    label: str,
) -> _Judged:
    """What the model makes of the queries and of who is near them."""
    n = len(asked)
    number = {name: i for i, name in enumerate(model.classes)}
    counts: dict[str, Array] = {}
    nearness: dict[str, Array] = {}
    for modality in model.compared:
        counts[modality] = np.zeros((n, len(model.classes)))
        nearness[modality] = np.array([one.nearness() for one in near[modality]])
        for row, one in enumerate(near[modality]):
            voters: list[int] = []
            for some in one.patients():
                voters += [number[str(value)] for value in store.column(label, some) if str(value) in number]
                if len(voters) >= NEIGHBOURS:
                    break
            np.add.at(counts[modality], (row, voters[:NEIGHBOURS]), 1)
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
