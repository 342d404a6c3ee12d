"""What similarities are worth, from stored patients of known type: labelled ones of the reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import booleans, distinct, integers_to_arrow
from molsig.retrieval.pair_scores import PairScore
from molsig.retrieval.patient_vectors import PatientVectors
from molsig.retrieval.route import TUMOUR_KINDS
from molsig.retrieval.support import Example, SupportSet, support_vectors
from molsig.retrieval.type_calibration import (
    EPISODES,
    FEWEST,
    FEWEST_OF_A_TYPE,
    FEWEST_TYPES,
    PER_TYPE,
    fit_temperature,
)
from molsig.retrieval.type_episodes import Episodes, draw_episodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.pair_scores import PairScorer
    from molsig.retrieval.type_calibration import Temperature

LOOKED_AT = 50_000
"""Patients whose label is looked at, at most."""
FEWEST_EPISODES = 20
SHARES = (0.0, 0.1, 0.2, 0.35, 0.5)
"""Weights of the evidence profiles that are tried: none of them, or as much as the weighted sums at most."""
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

    def spaces(self, store: Store) -> dict[str, str]:
        """The space in use of each modality."""
        active = store.active_spaces()
        return {modality: active[modality] for modality in self.modalities}

    def score(self, some: PatientVectors, hidden: frozenset[str] = frozenset()) -> PairScore:
        """How pairs are scored; `some` patients give the mean profile."""
        return PairScore.fitted(self.fusion, self.modalities, self.learned, some, hidden=hidden, scorer=self.scorer)


@dataclass(frozen=True, eq=False)
class Labelled:
    """What labelled patients tell of a way of comparing.

    Attributes
    ----------
    score
        How pairs are scored.
    episodes
        Scores of questions with known answers; None where too few can be asked.
    temperature
        Fitted on them.
    """

    score: PairScore
    episodes: Episodes
    temperature: Temperature


def ask_labelled(
    store: Store, searcher: Searcher, how: Comparing, *, hidden: bool, ways: int, shots: int
) -> Labelled | None:
    """Ask labelled patients for each other's types; None where there are too few of them.

    Parameters
    ----------
    hidden
        Whether their types play types that have not been learned.
    ways, shots
        Types and examples a type of an episode, as far as there are so many.
    """
    if how.label is None:
        return None
    spaces = how.spaces(store)
    known = labelled_examples(store, [searcher.view(space) for space in spaces.values()], how.label, how.seed)
    if known is None:
        return None
    vectors = read_examples(searcher, spaces, known, TUMOUR_KINDS, mean=how.scorer is not None)
    parts = _parts(known, vectors, group_codes(store, how.groups, known.patients.tolist()), how, hidden)
    if not parts:
        return None
    found: Labelled | None = None
    least = np.inf
    for share in SHARES if how.fusion == "evidence" else (1.0,):
        asked = _episodes(parts, share, ways=ways, shots=shots, seed=how.seed)
        if len(asked) < FEWEST_EPISODES:
            return None
        typical = int(np.median(np.isfinite(asked.scores[..., 0]).sum(axis=1)))
        temperature = fit_temperature(asked, source="reference", label=how.label, patients=len(known), ways=typical)
        assert temperature.log_loss is not None
        if temperature.log_loss < least:
            least = temperature.log_loss
            found = Labelled(replace(how.score(vectors), share=share), asked, temperature)
    return found


@dataclass(frozen=True, eq=False)
class _Part:
    """Patients of some types: scores of all pairs by each thing that is compared, (parts, n, n), types and groups."""

    scores: NDArray[np.float64]
    codes: NDArray[np.int64]
    groups: NDArray[np.int64]


def _parts(
    known: SupportSet, vectors: PatientVectors, groups: NDArray[np.int64], how: Comparing, hidden: bool
) -> list[_Part]:
    """All types together, or dealt out: those of a part are hidden from their own comparisons."""
    dealt = np.random.default_rng(how.seed).permutation(len(known.types)) % (HIDDEN_PARTS if hidden else 1)
    out = []
    for part in range(int(dealt.max()) + 1):
        rows = np.flatnonzero(dealt[known.codes] == part)
        codes = np.unique(known.codes[rows], return_inverse=True)[1]
        if len(rows) and codes.max() > 0:
            names = frozenset(np.array(known.types)[dealt == part].tolist()) if hidden else frozenset()
            score = how.score(vectors, names)
            pairs = np.stack([score.scores(one, one) for one in score.parts(vectors.take(rows))])
            out.append(_Part(pairs, codes.astype(np.int64), groups[rows]))
    return out


def _episodes(parts: Sequence[_Part], share: float, *, ways: int, shots: int, seed: int) -> Episodes:
    """Episodes within each part; the same ones for every share."""
    random = np.random.default_rng(seed)
    weights = (share, 1 - share)
    return Episodes.joined(
        [
            draw_episodes(
                sum(weight * scores for weight, scores in zip(weights, part.scores, strict=False)),
                part.codes,
                part.groups,
                ways=ways,
                shots=shots,
                episodes=EPISODES // len(parts),
                random=random,
            )
            for part in parts
        ]
    )


def read_examples(
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


def labelled_examples(store: Store, views: Sequence[SpaceView], label: str, seed: int) -> SupportSet | None:
    """Up to `PER_TYPE` patients of each value of a label column, who have the modalities; None where they are too few.

    Patients with all modalities where there are enough of them, else with any.
    """
    have = [_tumours_of(view) for view in views]
    for patients in (sorted(set.intersection(*have)), sorted(set.union(*have))):
        if len(patients) > LOOKED_AT:
            some = np.sort(np.random.default_rng(seed).choice(len(patients), LOOKED_AT, replace=False))
            patients = [patients[place] for place in some.tolist()]
        labels = ["" if value is None else str(value) for value in store.column(label, patients)]
        sizes = Counter(labels)
        found = SupportSet.of(
            Example(patient, value, patient)
            for patient, value in zip(patients, labels, strict=True)
            if value and sizes[value] >= FEWEST_OF_A_TYPE
        ).drawn(PER_TYPE, seed)
        if len(found) >= FEWEST and len(found.types) >= FEWEST_TYPES:
            return found
    return None


def group_codes(store: Store, groups: str | None, patients: Sequence[str]) -> NDArray[np.int64]:
    """Number of each patient's group, (n,); -1 where none is known."""
    if groups is None:
        return np.full(len(patients), -1)
    number: dict[object, int] = {None: -1}
    return np.array([number.setdefault(value, len(number)) for value in store.column(groups, patients)], dtype=np.int64)


def _tumours_of(view: SpaceView) -> set[str]:
    mask = booleans(pc.is_in(view.rows["kind"], value_set=pa.array(TUMOUR_KINDS, pa.string())))
    codes = distinct(view.codes[mask].astype(np.int64))
    return set(view.patients.take(integers_to_arrow(codes)).to_pylist())
