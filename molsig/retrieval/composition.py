"""What a summed vector was made of: which modalities, how many vectors of each, and whether it is such a sum at all.

Two parts answer. The likelihood of `molsig.retrieval.mixture` says which modalities are in a sum and whether something
is in it that is of none of them; the network of `molsig.retrieval.recogniser`, which sees the vector and how its energy
spreads over the modalities' directions (`molsig.retrieval.bands`), counts. Which modalities are in is weighed from both
(`molsig.retrieval.composition_presence`). `molsig.retrieval.composition_fit` fits all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.composition_presence import LIKELIHOOD_ALONE, log_odds, probabilities
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.bands import Bands
    from molsig.retrieval.mixture import Mixture
    from molsig.retrieval.recogniser import Counter

Verdict = Literal["known", "partly unknown", "unknown", "too long", "empty"]

FALSE_ALARM = 0.01
"""Share of sums of known vectors that may be taken for something else, by each of two signs."""

_Z90 = 1.645


@dataclass(frozen=True)
class Composition:
    """What one vector is found to be made of.

    Attributes
    ----------
    counts
        Vectors of each modality, 0 where it is absent.
    estimates
        The same, not rounded.
    intervals
        Counts between which the true one lies in 90 % of held-out sums with such an estimate.
    probabilities
        That the modality is in the sum at all.
    foreign
        How much is in it that is of no known modality, in vectors of mean length.
    residual
        Squared distance from the sum that is expected of known modalities alone, per dimension: about 1 for such sums.
    rarity
        Share of held-out sums of known vectors that are as odd as this one or odder.
    verdict
        ``known``; ``partly unknown`` or ``unknown`` where it is not such a sum, with or without a known part; ``too
        long`` where it is of many more vectors than were learnt, so that nothing of this is sure; ``empty`` for a
        vector of zeros.
    notes
        What is to be said about it.
    """

    counts: Mapping[str, int]
    estimates: Mapping[str, float]
    intervals: Mapping[str, tuple[int, int]]
    probabilities: Mapping[str, float]
    foreign: float
    residual: float
    rarity: float
    verdict: Verdict
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """What held-out sums of known vectors look like to a recogniser.

    Attributes
    ----------
    presence
        Weights of the likelihood, the network and a constant in the log-odds of a modality, float64 (m, 3).
    error
        Coefficients (a, b) of the squared error of a count, a + b * estimate, by modality: float64 (m, 2).
    residuals, evidences
        Sorted residuals, and nats in favour of a foreign part, of held-out sums.
    """

    presence: NDArray[np.float64]
    error: NDArray[np.float64]
    residuals: NDArray[np.float64]
    evidences: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A fitted recogniser: `recognise` answers.

    Attributes
    ----------
    counts
        Numbers of vectors in the sums it has learnt.
    left_out
        Modalities that had too few patients to be learnt, with the number of them.
    """

    mixture: Mixture
    bands: Bands
    counter: Counter
    calibration: Calibration
    counts: tuple[int, ...]
    left_out: Mapping[str, int]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it can tell apart."""
        return self.mixture.modalities

    def recognise(self, vectors: NDArray[np.float32]) -> list[Composition]:
        """Say of each vector, (k, 768), what it is made of.

        Raises
        ------
        InputError
            A vector is not of 768 finite numbers.
        """
        return _answers(self, checked(vectors))


def checked(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors as float32 (k, 768), or raise `InputError`."""
    found = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    if found.ndim != 2 or found.shape[1] != DIM:
        raise InputError(f"a vector has {DIM} numbers, not {found.shape[-1]}")
    if not np.isfinite(found).all():
        raise InputError("a vector has a number that is not finite")
    return found


def _answers(recogniser: Recogniser, vectors: NDArray[np.float32]) -> list[Composition]:
    mixture, calibration = recogniser.mixture, recogniser.calibration
    names, largest = mixture.modalities, max(recogniser.counts)
    presence = mixture.presence(vectors)
    estimates = recogniser.counter.predict(recogniser.bands.inputs(vectors))
    odds = log_odds(mixture, presence)
    sure = probabilities(calibration.presence, odds, estimates)
    foreign = presence.foreign[:, None]
    amounts = mixture.amounts(vectors, np.concatenate([presence.present, foreign], axis=1))[0]
    # Beyond what the network has seen it would be guessing; the likelihood's own estimate has no such bound.
    far = amounts.sum(axis=1) > 1.5 * largest
    present = np.where(far[:, None], presence.present, sure > 0.5)
    sure = np.where(far[:, None], probabilities(np.tile(LIKELIHOOD_ALONE, (len(names), 1)), odds, estimates), sure)
    closed = mixture.amounts(vectors, np.concatenate([present, foreign], axis=1))[0]
    residual = mixture.amounts(vectors, np.concatenate([presence.alone, np.zeros_like(foreign)], axis=1))[1]
    estimates = np.where(present, np.where(far[:, None], closed[:, :-1], np.maximum(estimates, 0.5)), 0.0)
    counts = np.where(present, np.maximum(1, np.rint(estimates)), 0).astype(np.int64)
    half = _Z90 * np.sqrt(calibration.error[:, 0] + calibration.error[:, 1] * estimates)
    low = np.where(present, np.maximum(1, np.rint(estimates - half)), 0).astype(np.int64)
    high = np.where(present, np.maximum(low, np.rint(estimates + half)), 0).astype(np.int64)
    rarity = np.minimum(
        2 * np.minimum(_above(calibration.residuals, residual), _below(calibration.residuals, residual)),
        _above(calibration.evidences, presence.foreign_evidence),
    ).clip(0, 1)
    empty = np.abs(vectors).max(axis=1) == 0
    answers = []
    for i in range(len(vectors)):
        if empty[i]:
            none = dict.fromkeys(names, 0)
            zero = dict.fromkeys(names, 0.0)
            answers.append(
                Composition(
                    none, zero, dict.fromkeys(names, (0, 0)), zero, 0.0, 0.0, 0.0, "empty", ("nothing was summed",)
                )
            )
            continue
        odd = rarity[i] < FALSE_ALARM
        some = closed[i, -1] < 4 * closed[i, :-1].sum()
        verdict: Verdict = "known" if not odd else "partly unknown" if some else "unknown"
        if far[i] and closed[i, :-1].sum() > max(1.5 * largest, closed[i, -1]):
            verdict = "too long"
        notes = []
        if odd and residual[i] < calibration.residuals[0]:
            notes.append("shorter than any sum of known vectors: a mean, or scaled to unit length?")
        if far[i]:
            notes.append(
                f"like {closed[i].sum():.0f} vectors, more than the {largest} that were learnt: all of this is rough"
            )
        if verdict == "too long":
            notes.append("sentences or tiles of one patient resemble each other: their sum looks longer than it is")
        answers.append(
            Composition(
                dict(zip(names, counts[i].tolist(), strict=True)),
                dict(zip(names, estimates[i].tolist(), strict=True)),
                {name: (int(low[i, m]), int(high[i, m])) for m, name in enumerate(names)},
                dict(zip(names, sure[i].tolist(), strict=True)),
                float(closed[i, -1]),
                float(residual[i]),
                float(rarity[i]),
                verdict,
                tuple(notes),
            )
        )
    return answers


def _above(held: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of sorted held-out values that are at least as large."""
    share: NDArray[np.float64] = 1 - np.searchsorted(held, values, side="left") / len(held)
    return share


def _below(held: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of sorted held-out values that are at most as large."""
    share: NDArray[np.float64] = np.searchsorted(held, values, side="right") / len(held)
    return share
