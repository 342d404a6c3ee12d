"""A support set made ready for queries: its vectors, how pairs are scored, and what scores are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import NotFoundError
from molsig.retrieval.labelled_pairs import group_codes, labelled_examples
from molsig.retrieval.pair_scores import PairScore
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.retrieval.route import TUMOUR_KINDS
from molsig.retrieval.support import MOST_PER_TYPE, having_any, support_vectors
from molsig.retrieval.type_calibration import (
    EPISODES,
    MOST_SHOTS,
    PER_TYPE,
    Fits,
    Temperature,
    fit_temperature,
    fits_of,
    left_out_scores,
    pooled,
)
from molsig.retrieval.type_episodes import Episodes, draw_episodes
from molsig.retrieval.type_scores import DRAWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.pair_scores import PairScorer
    from molsig.retrieval.support import SupportSet

    Array = NDArray[np.float64]

FEWEST_KNOWN = 19
"""Samples of the support set from which on they say what fits: a p-value of .05 can be reached."""
FEWEST_EPISODES = 20
HIDDEN_PARTS = 3
"""Parts the learned types are dealt into; those of a part play types that have not been learned."""


@dataclass(frozen=True, eq=False)
class Comparing:
    """What is compared, and on whom it is calibrated.

    Attributes
    ----------
    fusion, modalities
        See `molsig.retrieval.pair_scores`.
    learned
        What was learned of the reference.
    scorer
        Pair head of the encoder of the only modality.
    label, groups
        Patient columns: types that calibrate, and what is kept apart (the submitting site).
    kind
        Kind of samples that stand for a patient: ``auto`` for all but normal ones, ``any``, or one kind.
    shots
        Examples of a type that are drawn, at most; None for `MOST_PER_TYPE`.
    seed
        Of all draws.
    """

    fusion: str
    modalities: tuple[str, ...]
    learned: Learned | None
    scorer: PairScorer | None
    label: str | None
    groups: str | None
    kind: str
    shots: int | None
    seed: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of samples that stand for a patient."""
        if self.kind == "any":
            return (*TUMOUR_KINDS, "normal")
        return TUMOUR_KINDS if self.kind == "auto" else (self.kind,)

    def score(self, some: PatientVectors, hidden: frozenset[str] = frozenset()) -> PairScore:
        """How pairs are scored; `some` patients give the mean profile."""
        return PairScore.fitted(self.fusion, self.modalities, self.learned, some, hidden=hidden, scorer=self.scorer)


@dataclass(frozen=True, eq=False)
class Ready:
    """A support set ready to be compared with queries of some modalities.

    Attributes
    ----------
    support
        Examples that have any of the modalities.
    vectors, examples
        Theirs, as they are and as `score` takes them, row by row.
    uniform
        What choices of examples are drawn by, (draws, types).
    learned_types
        See `Typing`.
    """

    support: SupportSet
    vectors: PatientVectors
    examples: NDArray[np.float32]
    score: PairScore
    temperature: Temperature
    fits: Fits
    uniform: Array
    learned_types: bool | None
    notes: tuple[str, ...]


def make_ready(store: Store, searcher: Searcher, support: SupportSet, how: Comparing) -> Ready:
    """Read the examples, learn what their scores are worth.

    Raises
    ------
    NotFoundError
        A type has no example with any of the modalities.
    """
    active = store.active_spaces()
    spaces = {modality: active[modality] for modality in how.modalities}
    has = having_any(searcher, spaces, support, how.kinds)
    _check_types(support, has, how)
    notes: tuple[str, ...] = ()
    if not has.all():
        rows = np.flatnonzero(has)
        notes = (
            f"{len(has) - len(rows):,} of {len(has):,} support samples have no {_or(how.modalities)} and were left out",
        )
        support = support.take(rows)
    # Drawn among those who can be compared.
    support = support.drawn(MOST_PER_TYPE if how.shots is None else how.shots, how.seed)
    vectors = _read(searcher, spaces, support, how.kinds, mean=how.scorer is not None)

    views = [searcher.view(space) for space in spaces.values()]
    known = None if how.label is None else labelled_examples(store, views, how.label, how.seed)
    theirs = None
    if known is not None:
        theirs = _read(searcher, spaces, known, TUMOUR_KINDS, mean=how.scorer is not None)
    learned_types = None
    if how.fusion == "evidence":
        assert how.learned is not None
        assert how.learned.evidence is not None
        learned_types = set(support.types) <= set(how.learned.evidence.classes)
    score = how.score(vectors if theirs is None else theirs)
    examples = score.prepared(vectors)

    few = support.drawn(PER_TYPE, how.seed)
    rows = np.flatnonzero(np.isin(vectors.patients, [one.name for one in few.examples]))
    own = score.scores(examples[rows], examples[rows])
    groups = group_codes(store, how.groups, few.patients.tolist())
    sizes = np.bincount(support.codes)
    shots = int(np.clip(np.median(sizes), 1, MOST_SHOTS))

    asked: Episodes | None = None
    temperature: Temperature | None = None
    if known is not None and theirs is not None:
        apart = group_codes(store, how.groups, known.patients.tolist())
        hidden = learned_types is False
        asked = _labelled_episodes(known, theirs, apart, how, hidden, ways=len(sizes), shots=shots)
        if len(asked) >= FEWEST_EPISODES:
            temperature = fit_temperature(
                asked, source="reference", label=how.label, patients=len(known), ways=_ways(asked)
            )
    if temperature is None and sizes.min() > 1:
        inner = draw_episodes(
            own,
            few.codes,
            groups,
            ways=len(sizes),
            shots=max(1, min(shots, int(np.median(np.bincount(few.codes))) - 1)),
            episodes=EPISODES,
            random=np.random.default_rng(how.seed),
        )
        if len(inner) >= FEWEST_EPISODES:
            temperature = fit_temperature(inner, source="support", label=None, patients=len(few), ways=len(sizes))
    if temperature is None:
        spread = float(own[few.codes[:, None] != few.codes].std()) or 1.0
        temperature = Temperature(spread, spread, "none")
        asked = None

    fits = _fits(own, few, groups, sizes, asked, temperature)
    uniform = np.random.default_rng(how.seed).random((DRAWS, len(sizes)))
    return Ready(support, vectors, examples, score, temperature, fits, uniform, learned_types, notes)


def _fits(
    own: Array,
    few: SupportSet,
    groups: NDArray[np.int64],
    sizes: NDArray[np.int64],
    asked: Episodes | None,
    temperature: Temperature,
) -> Fits:
    """By the support set's own samples where each type has two, else by labelled patients, else by pairs."""
    by_each_other = left_out_scores(own, few.codes, groups, temperature.one)
    if sizes.min() > 1:
        fits = fits_of(by_each_other, few.codes, "support")
        if len(fits.known) >= FEWEST_KNOWN:
            return fits
    if asked is not None and temperature.source == "reference":
        return fits_of(pooled(asked.scores, temperature.one), asked.truth, "reference")
    alone = fits_of(by_each_other, few.codes, "pairs")
    nobody = np.zeros(0)
    if not len(alone.strangers):
        return Fits(nobody, nobody, "none")
    return Fits(nobody, alone.strangers, "pairs")


def _labelled_episodes(
    known: SupportSet,
    vectors: PatientVectors,
    groups: NDArray[np.int64],
    how: Comparing,
    hidden: bool,
    *,
    ways: int,
    shots: int,
) -> Episodes:
    """Episodes among labelled patients; where `hidden`, their types play types that have not been learned."""
    random = np.random.default_rng(how.seed)
    dealt = random.permutation(len(known.types)) % (HIDDEN_PARTS if hidden else 1)
    parts = []
    for part in range(int(dealt.max()) + 1):
        rows = np.flatnonzero(dealt[known.codes] == part)
        codes = np.unique(known.codes[rows], return_inverse=True)[1]
        if not len(rows) or codes.max() == 0:
            continue
        own = vectors.take(rows)
        unknown = frozenset(np.array(known.types)[dealt == part].tolist()) if hidden else frozenset()
        score = how.score(vectors, unknown)
        prepared = score.prepared(own)
        parts.append(
            draw_episodes(
                score.scores(prepared, prepared),
                codes,
                groups[rows],
                ways=ways,
                shots=shots,
                episodes=EPISODES // (int(dealt.max()) + 1),
                random=random,
            )
        )
    if not parts:
        return Episodes(np.zeros((0, 1, shots)), np.zeros(0, dtype=np.int64))
    # Parts follow each other; every other episode is fitted on, so each part is on both sides.
    return Episodes.joined(parts)


def _ways(asked: Episodes) -> int:
    """Types that an episode mostly has."""
    return int(np.median(np.isfinite(asked.scores[..., 0]).sum(axis=1)))


def _read(
    searcher: Searcher, spaces: Mapping[str, str], support: SupportSet, kinds: Sequence[str], *, mean: bool
) -> PatientVectors:
    """Vectors of examples; their mean where an encoder judges them, who knows vectors but no sums."""
    vectors, counts = support_vectors(searcher, spaces, support, kinds)
    if not mean:
        return vectors
    averaged = {
        modality: (block / np.maximum(counts[modality], 1)[:, None]).astype(np.float32)
        for modality, block in vectors.vectors.items()
    }
    return PatientVectors(vectors.patients, averaged, vectors.present)


def _check_types(support: SupportSet, has: NDArray[np.bool_], how: Comparing) -> None:
    left = np.bincount(support.codes[has], minlength=len(support.types))
    empty = [support.types[code] for code in np.flatnonzero(left == 0).tolist()]
    if empty:
        size = int((support.codes == support.types.index(empty[0])).sum())
        samples = "its only support sample has no" if size == 1 else f"none of its {size} support samples has a"
        of_kind = "" if how.kind == "auto" else f" of a {how.kind} sample"
        more = f" (nor have {len(empty) - 1} other types)" if len(empty) > 1 else ""
        raise NotFoundError(
            f"type {empty[0]} cannot be compared: {samples} {_or(how.modalities)} vector{of_kind}{more}. Give others, "
            "or ask with other modalities"
        )


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
