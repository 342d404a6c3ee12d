"""Fused search in a reference: candidates from the index of each modality, then exact scores from what was learned.

For each of the query's modalities its index proposes patients; all of them are scored by `evidence` (probability of
being of the query's class, then nearness) or by `weighted` (cosine of the weighted sums). The nearest in each modality
also vote in the evidence and tell how familiar the query is; for that no filter holds, only the query's own patient is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.at_once import at_once
from molsig.index.connection import is_kept_open
from molsig.index.structure import ALONE
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.fusion import WITHIN
from molsig.retrieval.judging import Near, judge
from molsig.retrieval.memory import PatientMemory
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.retrieval.route import TUMOUR_KINDS
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.search_result import SearchResult
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
    from molsig.retrieval.judging import Judged
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.route import Query
    from molsig.retrieval.sayings import Sayings

    Array = NDArray[np.float64]

CANDIDATES = 200
"""Patients that each modality proposes for a query; as many as are asked for, if that is more."""

_LEAST = 1e-9
"""Added to probabilities before their logarithm is taken."""
_FIRST = 64
"""Candidates whose cosines are worked out to tell which others need theirs."""
_ABOVE = 1e-3
"""A cosine may be that much above 1, far more than rounding makes it."""
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
    near: dict[str, list[Near | None]] = {m: [None for _ in queries] for m in learned.spaces}
    spare = max(len(query.exclude) for query in queries)
    # Evidence was learned from all kinds together, as normal tissue was from its own.
    usual = kinds if "normal" in kinds else TUMOUR_KINDS
    rows_of = {m: rows for m in learned.spaces if len(rows := np.flatnonzero(asked.present[m]))}

    def search(modality: str) -> tuple[SearchResult, SearchResult]:
        space, targets = learned.spaces[modality], asked.vectors[modality][rows_of[modality]]
        find = partial(searcher.search, space, targets, max(CANDIDATES, k) + spare, method=method, rough=True)
        free = find(kinds=usual)
        return free, free if allowed is None and kinds == usual else find(patients=allowed, kinds=kinds)

    for modality, (free, bound) in _searched(
        store, searcher, learned.spaces, list(rows_of), search, len(queries)
    ).items():
        rows = rows_of[modality]
        ends, limits = free.ranked.ends(), bound.ranked.ends()
        for place, row in enumerate(rows.tolist()):
            near[modality][row] = Near(free.ranked, ends[place], ends[place + 1], queries[row].exclude)
            codes = bound.ranked.codes[limits[place] : limits[place + 1]]
            proposed[row].append((bound.ranked.view, codes))
            results[row].append(bound)
    memory = memory or PatientMemory(store, searcher)
    sayings, candidates = memory.sayings(learned, proposed, [query.exclude for query in queries], evidence=evidence)
    judged = None if model is None else judge(store, model, asked, near, learned.label or "")
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


def _searched(
    store: Store,
    searcher: Searcher,
    spaces: Mapping[str, str],
    modalities: Sequence[str],
    search: Callable[[str], tuple[SearchResult, SearchResult]],
    queries: int,
) -> dict[str, tuple[SearchResult, SearchResult]]:
    """Search each modality: of few queries at the same time, as faiss takes one processor for them.

    One after the other where spaces have yet to be read, or where this thread keeps the database open: another one that
    wants to read it may wait for a commit that waits for this one.
    """
    views: dict[str, SpaceView] = {}
    if len(modalities) > 1 and queries < ALONE and not is_kept_open(store.database):
        views = {m: view for m in modalities if (view := searcher.held(spaces[m])) is not None}
    if not views or len(views) < len(modalities):
        return {m: search(m) for m in modalities}
    longest_first = sorted(modalities, key=lambda m: -len(views[m].ids))
    found = dict(zip(longest_first, at_once([partial(search, m) for m in longest_first]), strict=True))
    return {m: found[m] for m in modalities}


def _ranked(
    stored: Sayings, own: NDArray[np.int64], direction: NDArray[np.float32], judged: Judged | None, k: int
) -> tuple[tuple[FusedHit, ...], Callable[[], tuple[str, ...]]]:
    """The best `k` of the candidates of a query, rows `own`, and all of them, nearest by the weighted fusion first."""

    def cosines(rows: NDArray[np.int64]) -> Array:
        # Row by row, not as a matrix product, whose rounding depends on how many rows there are.
        found: Array = np.einsum("nd,d->n", stored.fused_of(rows), direction).astype(np.float64)
        return found

    def alike() -> tuple[str, ...]:
        nearest = np.argsort(-cosines(own), kind="stable")
        return tuple(stored.patients[row] for row in own[nearest].tolist())

    if judged is None:
        near = cosines(own)
        best = np.argsort(-near, kind="stable")[:k]
        pairs = zip(own[best].tolist(), near[best].tolist(), strict=True)
        return tuple(FusedHit(stored.patients[row], cosine, None, {}) for row, cosine in pairs), alike
    same = np.einsum("nc,c->n", stored.posterior[own], judged.posterior[0])
    top, scores = _best(np.log(same + _LEAST), lambda some: cosines(own[some]), k)
    rows = own[top]
    # By modality: log p(same class) - log p(same class by chance), where both have it.
    by_modality = (stored.alone_of(rows) * judged.alone).sum(axis=2)
    nats = np.round(np.log(by_modality + _LEAST) - judged.chance, _DIGITS).T.tolist()
    shared = (stored.present[:, rows] & judged.present).T.tolist()
    told = zip(rows.tolist(), scores.tolist(), same[top].tolist(), nats, shared, strict=True)
    hits = tuple(
        FusedHit(
            stored.patients[row],
            score,
            round(probability, _DIGITS),
            {m: one for m, one, both in zip(judged.modalities, by, has, strict=True) if both},
        )
        for row, score, probability, by, has in told
    )
    return hits, alike


def _best(
    same: Array, cosines: Callable[[NDArray[np.int64]], Array], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `k` best by `same` + `WITHIN` times the cosine, best first, and their scores; of equals the earlier one.

    Reading the vectors that cosines are made of takes most of the time, so those of the most alike classes come first,
    and after them only of who could still be among the best with a cosine of 1.
    """
    scores = np.full(len(same), -np.inf)
    bar, known = _kth(same, max(_FIRST, k)), np.inf
    while True:
        some = np.flatnonzero((same >= bar) & (same < known))
        scores[some] = np.round(same[some] + WITHIN * cosines(some), _DIGITS)
        reached = _kth(scores, k)
        if known < np.inf or bar <= reached - WITHIN * (1 + _ABOVE):
            break
        bar, known = reached - WITHIN * (1 + _ABOVE), bar
    top = np.flatnonzero(scores >= reached)
    top = top[np.argsort(-scores[top], kind="stable")[:k]]
    return top, scores[top]


def _kth(values: Array, k: int) -> float:
    """The `k`-th largest of some values; the least where there are fewer."""
    if not len(values):
        return -np.inf
    place = max(0, len(values) - k)
    return float(np.partition(values, place)[place])


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
