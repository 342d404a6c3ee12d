"""One-shot typing: the type of a new sample, from one, a few or all examples of each.

After CancerSiamese (doi:10.1186/s12859-021-04157-w): a query is compared with a support set of types no training has
seen. Here any fusion can compare, several examples of a type speak together, probabilities are calibrated, and a query
may be none of the types.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from molsig.errors import NotFoundError, UsageError
from molsig.retrieval.aggregate import aggregate
from molsig.retrieval.learned import too_good_for
from molsig.retrieval.neighbourhood import unit
from molsig.retrieval.pair_scores import PairScorer
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.retrieval.route import FUSIONS, check_kind, check_summable, fusion_of, space_of
from molsig.retrieval.type_answer import Fit, Spread, TypeScore, Typing
from molsig.retrieval.type_labelled import Comparing, ask_labelled
from molsig.retrieval.type_ready import make_ready
from molsig.retrieval.type_scores import Groups, best_examples, softmax, spread_of_choices, type_scores
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.route import Query
    from molsig.retrieval.support import SupportSet
    from molsig.retrieval.type_labelled import Labelled
    from molsig.retrieval.type_ready import Ready

    Array = NDArray[np.float64]

T = TypeVar("T")

HELD = 8
"""Support sets that are kept ready, each for the modalities of some queries; and what labelled patients told."""

ScorerOf = Callable[[str], PairScorer | None]
"""Gives the pair head of the encoder in use for a modality, if it has one."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a call asks of all its queries.

    Attributes
    ----------
    learned
        What was learned of how to fuse.
    label
        Patient column whose values calibrate; None for none.
    groups
        Patient column whose values are kept apart, such as the submitting site.
    fusion, kind
        As in queries; `kind` is that of the samples that stand for patients of the support set.
    shots
        Examples of a type that are drawn, at most.
    error
        Share of right samples that may be called none of the types.
    seed
        Of the draws that calibrate and that spreads are measured on.
    """

    learned: Learned | None
    label: str | None
    groups: str | None
    fusion: str = "auto"
    kind: str = "auto"
    shots: int | None = None
    error: float = 0.05
    seed: int = 0


class Typist:
    """Types queries; keeps what it made of support sets until the reference changes. Threads may share it."""

    def __init__(self, store: Store, searcher: Searcher) -> None:
        self._store = store
        self._searcher = searcher
        self._kept: _Kept[Ready] = _Kept()
        self._labelled: _Kept[Labelled | None] = _Kept()

    def type(self, queries: Sequence[Query], support: SupportSet, asked: Asked, scorer_of: ScorerOf) -> list[Typing]:
        """Type each query; its own patient is never an example.

        Raises
        ------
        UsageError
            A fusion or kind does not exist or does not go with the query, or there is but one type.
        NotFoundError
            A type has no example that has any of a query's modalities, or none but the query itself is left.
        """
        if not 0 < asked.error < 1:
            raise UsageError(f"--error {asked.error:g}: an error rate lies between 0 and 1")
        check_kind(asked.kind)
        if asked.fusion not in FUSIONS:
            raise UsageError(f"--fusion {asked.fusion}: choose one of {', '.join(FUSIONS)}")
        if len(support.types) < 2:
            only = support.types[0] if support.types else "none at all"
            raise UsageError(f"the support set has one type only ({only}): at least two are needed to choose from")
        check_summable(self._store, queries)
        routes: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for number, query in enumerate(queries):
            fusion, compared = self._route(query, asked)
            routes.setdefault((fusion, compared), []).append(number)
        found: dict[int, Typing] = {}
        for (fusion, compared), numbers in routes.items():
            # Measured beside it, a pair head types no better than the cosine of its encoder's vectors (docs/typing.md).
            scorer = scorer_of(compared[0]) if asked.fusion == "single" else None
            ready = self._ready(support, fusion, compared, asked, scorer)
            vectors = _vectors_of([queries[number] for number in numbers], compared, mean=scorer is not None)
            scores = ready.score.scores(ready.score.prepared(vectors), ready.examples)
            for row, number in enumerate(numbers):
                found[number] = _typing(queries[number], ready, vectors.take([row]), scores[row], asked)
        return [found[number] for number in range(len(queries))]

    @staticmethod
    def _route(query: Query, asked: Asked) -> tuple[str, tuple[str, ...]]:
        """The fusion of a query and what is compared."""
        modalities = tuple(sorted(query.vectors))
        fusion = fusion_of(query, asked.fusion, "auto", asked.learned)
        if fusion not in ("evidence", "weighted"):
            space_of(query, fusion, "auto")
            return fusion, modalities
        assert asked.learned is not None
        return fusion, tuple(m for m in modalities if m in asked.learned.spaces)

    def _ready(
        self,
        support: SupportSet,
        fusion: str,
        modalities: tuple[str, ...],
        asked: Asked,
        scorer: PairScorer | None,
    ) -> Ready:
        learned = asked.learned if fusion in ("evidence", "weighted") else None
        how = Comparing(
            fusion, modalities, learned, scorer, asked.label, asked.groups, asked.kind, asked.shots, asked.seed
        )
        spaces = how.spaces(self._store)
        views = [self._searcher.view(space) for space in spaces.values()]
        same = (fusion, modalities, asked.label, asked.groups, asked.seed)

        def ask(how: Comparing, *, hidden: bool, ways: int, shots: int) -> Labelled | None:
            return self._labelled.get(
                (*same, hidden, ways, shots),
                (learned, scorer, *views),
                lambda: ask_labelled(self._store, self._searcher, how, hidden=hidden, ways=ways, shots=shots),
            )

        return self._kept.get(
            (*same, id(support), asked.kind, asked.shots),
            (support, learned, scorer, *views),
            lambda: make_ready(self._store, self._searcher, support, how, ask),
        )


class _Kept(Generic[T]):
    """The last things that were made, as long as the very same objects are there that they were made of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[object, ...], tuple[tuple[object, ...], T]] = {}

    def get(self, key: tuple[object, ...], of: tuple[object, ...], make: Callable[[], T]) -> T:
        with self._lock:
            held = self._held.get(key)
        if held is not None and all(one is other for one, other in zip(held[0], of, strict=True)):
            return held[1]
        made = make()
        with self._lock:
            self._held.pop(key, None)
            while len(self._held) >= HELD:
                self._held.pop(next(iter(self._held)))
            self._held[key] = (of, made)
        return made


def _vectors_of(queries: Sequence[Query], modalities: Sequence[str], *, mean: bool) -> PatientVectors:
    """Queries as rows; each has all the modalities."""
    vectors = {modality: np.zeros((len(queries), DIM), dtype=np.float32) for modality in modalities}
    for row, query in enumerate(queries):
        for modality in modalities:
            block = query.vectors[modality]
            vectors[modality][row] = aggregate([block]) / np.float32(len(block) if mean else 1)
    present = {modality: np.ones(len(queries), dtype=bool) for modality in modalities}
    return PatientVectors(tuple(query.name for query in queries), vectors, present)


def _typing(query: Query, ready: Ready, vectors: PatientVectors, scores: Array, asked: Asked) -> Typing:
    """The answer to one query, from its similarity to all examples, (n,)."""
    support = ready.support
    rows, notes = _without(query, ready)
    codes, own = np.unique(support.codes[rows], return_inverse=True)
    if len(codes) < 2:
        raise NotFoundError(f"{query.name}: without its own samples the support set has no two types left")
    groups, scores = Groups.of(own.astype(np.int64)), scores[rows]
    known = ready.temperature
    by_type = type_scores(scores, groups, known.one)
    probabilities = softmax(by_type, known.several)
    best = best_examples(scores, groups)
    several = bool((groups.sizes > 1).any())
    spread = spread_of_choices(scores, groups, known.one, ready.uniform[:, codes]) if several else None
    cosines = _cosines(ready, vectors, rows[best])
    types = []
    for place in np.lexsort((codes, -by_type)).tolist():
        example = support.examples[rows[best[place]]]
        types.append(
            TypeScore(
                type=support.types[codes[place]],
                probability=float(probabilities[place]),
                support=example.name,
                patient=example.patient,
                similarity=float(scores[best[place]]),
                samples=int(groups.sizes[place]),
                modalities={m: float(of[place]) for m, of in cosines.items() if not np.isnan(of[place])},
                spread=None
                if spread is None
                else Spread(
                    float(spread.mean[place]),
                    float(spread.sd[place]),
                    float(spread.low[place]),
                    float(spread.high[place]),
                    float(spread.share[place]),
                ),
            )
        )
    return Typing(
        query=query.name,
        modalities=ready.score.modalities,
        types=tuple(types),
        fit=_fit(ready, float(by_type.max()), asked.error, query.exclude),
        temperature=known,
        fusion=ready.score.fusion,
        similarity=ready.score.told,
        learned_types=ready.learned_types,
        choices=0 if spread is None else spread.choices,
        notes=notes,
    )


def _without(query: Query, ready: Ready) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Examples that are not of the query's own patient, and what is to be told."""
    support = ready.support
    own = np.array([row for patient in query.exclude for row in support.rows_of.get(patient, ())], dtype=np.int64)
    # Where examples were drawn, one more of the type stands in for the query's own.
    there = ~ready.spare | np.isin(support.codes, support.codes[own[~ready.spare[own]]])
    there[own] = False
    rows = np.flatnonzero(there)
    notes = [*query.notes, *ready.notes]
    if (~ready.spare[own]).any():
        left_of = np.bincount(support.codes[rows], minlength=len(support.types))
        lost = [name for name, size in zip(support.types, left_of.tolist(), strict=True) if not size]
        gone = f"; {', '.join(lost)} has no other and is not among the types" if lost else ""
        own_patient = f"{query.name} is of a patient of the support set, whose samples were left out{gone}"
        notes.append(f"{query.name} is a support sample itself and was left out{gone}" if query.stored else own_patient)
    if left := [modality for modality in query.vectors if modality not in ready.score.modalities]:
        notes.append(f"{', '.join(left)} was not compared: nothing was learned of it")
    if query.normal:
        notes.append("normal tissue, compared with the support samples as they are")
    if query.stored and ready.score.fusion == "evidence":
        notes.append(too_good_for(query.name))
    return rows, tuple(notes)


def _cosines(ready: Ready, vectors: PatientVectors, rows: NDArray[np.int64]) -> dict[str, Array]:
    """Cosine with some examples in each modality, NaN where they have it not."""
    out = {}
    for modality in ready.score.modalities:
        told = unit(ready.vectors.vectors[modality][rows]) @ unit(vectors.vectors[modality])[0]
        out[modality] = np.where(ready.vectors.present[modality][rows], told, np.nan).astype(np.float64)
    return out


def _fit(ready: Ready, score: float, error: float, own: Sequence[str]) -> Fit:
    fits = ready.fits.without(own)
    # Labelled patients are asked about more than once.
    known = ready.temperature.patients if fits.source == "reference" else len(fits.known)
    return Fit(
        none=fits.none(score, error),
        score=score,
        p_value=fits.p_value(score),
        error=error,
        stranger_p=fits.stranger_p(score),
        told=fits.told(error),
        source=fits.source,
        samples=len(fits.strangers) if fits.source == "pairs" else known,
    )
