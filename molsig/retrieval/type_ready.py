"""A support set made ready for queries: its vectors, how pairs are scored, and what scores are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from molsig.errors import NotFoundError
from molsig.retrieval.support import MOST_PER_TYPE, having_any
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
from molsig.retrieval.type_episodes import draw_episodes
from molsig.retrieval.type_labelled import FEWEST_EPISODES, group_codes, read_examples
from molsig.retrieval.type_scores import DRAWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.retrieval.pair_scores import PairScore
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.support import SupportSet
    from molsig.retrieval.type_labelled import Comparing, Labelled

    Array = NDArray[np.float64]

FEWEST_KNOWN = 19
"""Samples of the support set from which on they say what fits: a p-value of .05 can be reached."""


class AskLabelled(Protocol):
    """Gives what labelled patients tell of a way of comparing."""

    def __call__(self, how: Comparing, *, hidden: bool, ways: int, shots: int) -> Labelled | None: ...


@dataclass(frozen=True, eq=False)
class Ready:
    """A support set ready to be compared with queries of some modalities.

    Attributes
    ----------
    support
        Examples that have any of the modalities.
    vectors, examples
        Theirs, as they are and as `score` takes them, row by row.
    spare
        Examples that are compared only where the query's own is one of the type, (n,).
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
    spare: NDArray[np.bool_]
    uniform: Array
    learned_types: bool | None
    notes: tuple[str, ...]


def make_ready(store: Store, searcher: Searcher, support: SupportSet, how: Comparing, ask: AskLabelled) -> Ready:
    """Read the examples and find out what their scores are worth.

    `ask` gives what labelled patients tell; see `ask_labelled`.

    Raises
    ------
    NotFoundError
        A type that was named has no example with any of the modalities, or fewer than two types have.
    """
    spaces = how.spaces(store)
    has = having_any(searcher, spaces, support, how.kinds)
    empty = _empty_types(support, has, how)
    notes: tuple[str, ...] = ()
    if not has.all():
        rows = np.flatnonzero(has)
        gone = f", and with them {', '.join(empty)}" if empty else ""
        none_of_it = f"have no {_or(how.modalities)} and were left out{gone}"
        notes = (f"{len(has) - len(rows):,} of {len(has):,} support samples {none_of_it}",)
        support = support.take(rows)
    # Drawn among those who can be compared.
    support, spare = support.drawn_with_spare(MOST_PER_TYPE if how.shots is None else how.shots, how.seed)
    vectors = read_examples(searcher, spaces, support, how.kinds, mean=how.scorer is not None)
    learned_types = None
    if how.fusion == "evidence":
        assert how.learned is not None
        assert how.learned.evidence is not None
        learned_types = set(support.types) <= set(how.learned.evidence.classes)
    sizes = np.bincount(support.codes[~spare])
    shots = int(np.clip(np.median(sizes), 1, MOST_SHOTS))
    labelled = ask(how, hidden=learned_types is False, ways=len(sizes), shots=shots)
    score = how.score(vectors) if labelled is None else labelled.score
    examples = score.prepared(vectors)

    few = support.take(np.flatnonzero(~spare)).drawn(PER_TYPE, how.seed)
    rows = np.flatnonzero(np.isin(vectors.patients, [one.name for one in few.examples]))
    own = score.scores(examples[rows], examples[rows])
    groups = group_codes(store, how.groups, few.patients.tolist())
    temperature = _own_temperature(own, few, groups, shots, how.seed) if labelled is None else labelled.temperature
    fits = _fits(own, few, groups, labelled, temperature)
    uniform = np.random.default_rng(how.seed).random((DRAWS, len(sizes)))
    return Ready(support, vectors, examples, score, temperature, fits, spare, uniform, learned_types, notes)


def _own_temperature(own: Array, few: SupportSet, groups: NDArray[np.int64], shots: int, seed: int) -> Temperature:
    """From the support set's own samples, where each type has two; else the spread of scores between types."""
    sizes = np.bincount(few.codes)
    if sizes.min() > 1:
        asked = draw_episodes(
            own,
            few.codes,
            groups,
            ways=len(sizes),
            shots=max(1, min(shots, int(np.median(sizes)) - 1)),
            episodes=EPISODES,
            random=np.random.default_rng(seed),
            patients=_numbered(few.patients),
        )
        if len(asked) >= FEWEST_EPISODES:
            return fit_temperature(asked, source="support", label=None, patients=len(few), ways=len(sizes))
    spread = float(own[few.codes[:, None] != few.codes].std()) or 1.0
    return Temperature(spread, spread, "none")


def _fits(
    own: Array,
    few: SupportSet,
    groups: NDArray[np.int64],
    labelled: Labelled | None,
    temperature: Temperature,
) -> Fits:
    """By the support set's own samples where each type has two, else by labelled patients, else by pairs."""
    by_each_other = left_out_scores(own, few.codes, groups, temperature.one, _numbered(few.patients))
    if np.bincount(few.codes).min() > 1:
        fits = fits_of(by_each_other, few.codes, "support", few.patients)
        if len(fits.known) >= FEWEST_KNOWN:
            return fits
    if labelled is not None:
        asked = labelled.episodes
        return fits_of(pooled(asked.scores, temperature.one), asked.truth, "reference")
    alone = fits_of(by_each_other, few.codes, "pairs")
    nobody = np.zeros(0)
    if not len(alone.strangers):
        return Fits(nobody, nobody, "none")
    return Fits(nobody, alone.strangers, "pairs")


def _numbered(patients: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(patients, return_inverse=True)[1].astype(np.int64)


def _empty_types(support: SupportSet, has: NDArray[np.bool_], how: Comparing) -> list[str]:
    """Types that cannot be compared; an error where somebody named them, or where fewer than two are left."""
    left = np.bincount(support.codes[has], minlength=len(support.types))
    empty = [support.types[code] for code in np.flatnonzero(left == 0).tolist()]
    if empty and (support.named or len(empty) > len(support.types) - 2):
        size = int((support.codes == support.types.index(empty[0])).sum())
        samples = "its only support sample has no" if size == 1 else f"none of its {size:,} support samples has a"
        of_kind = "" if how.kind == "auto" else f" of a {how.kind} sample"
        more = f" (nor can {', '.join(empty[1:])})" if len(empty) > 1 else ""
        raise NotFoundError(
            f"type {empty[0]} cannot be compared{more}: {samples} {_or(how.modalities)} vector{of_kind}. Give others, "
            "or ask with other modalities"
        )
    return empty


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
