"""How far type scores can be trusted: the temperature of their softmax, and how well a sample has to fit.

Temperature (Guo et al. 2017, arXiv:1706.04599): fitted by maximum likelihood on episodes of the reference's labelled
patients with as many examples a type as the support set has. "None of these": a query fits worse than all but a share
`error` of samples whose type is in the support set (a conformal p-value, Vovk et al. 2005). Samples whose own type is
taken out say how many strangers are told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.type_episodes import barred_pairs
from molsig.retrieval.type_scores import softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.type_episodes import Episodes

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

EPISODES = 2_000
PER_TYPE = 30
"""Patients of a type that calibrate, at most."""
MOST_SHOTS = 10
"""Examples a type from which on more change nothing in how scores are to be read."""
FEWEST_TYPES = 3
FEWEST_OF_A_TYPE = 3
FEWEST = 30
"""Patients below which nothing is calibrated on them."""
BINS = 15
_GRID = 41
_SPAN = 100.0
"""Temperatures are looked for from the scores' standard deviation over this to ten times it."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """Temperatures of similarities and of type scores, and where they come from.

    Attributes
    ----------
    one
        For single examples; also the width of the kernel of several.
    several
        For type scores of as many examples as there are.
    source
        ``reference`` (labelled patients), ``support`` (its own samples) or ``none``: not calibrated.
    ways, shots
        Types and examples a type of the episodes.
    accuracy, ece, log_loss
        Of the episodes that were not fitted on: share right, expected calibration error, nats.
    """

    one: float
    several: float
    source: str
    label: str | None = None
    patients: int = 0
    types: int = 0
    ways: int = 0
    shots: int = 1
    accuracy: float | None = None
    ece: float | None = None
    log_loss: float | None = None


@dataclass(frozen=True, eq=False)
class Fits:
    """How well samples fit whose type is among the examples, and how well others.

    Attributes
    ----------
    known
        Best type score of samples of the types, sorted; empty where nobody can be asked.
    strangers
        The same with their own type taken out, sorted.
    source
        ``support``, ``reference``, ``pairs`` (no type has two examples: only how alike different types are is known)
        or ``none``.
    known_of, strangers_of
        Whose scores these are, where one of them may ask.
    """

    known: Array
    strangers: Array
    source: str
    known_of: NDArray[np.str_] | None = None
    strangers_of: NDArray[np.str_] | None = None

    def without(self, patients: Sequence[str]) -> Fits:
        """What the others say: who asks is not compared with their own score."""
        if self.known_of is None or self.strangers_of is None or not len(patients):
            return self
        known, strangers = ~np.isin(self.known_of, patients), ~np.isin(self.strangers_of, patients)
        return Fits(self.known[known], self.strangers[strangers], self.source)

    def p_value(self, score: float) -> float | None:
        """Conformal: of the types' own samples, and the query, the share that fits no better."""
        if not len(self.known):
            return None
        return float((np.searchsorted(self.known, score, side="right") + 1) / (len(self.known) + 1))

    def stranger_p(self, score: float) -> float | None:
        """Of samples of other types, and the query, the share that fits at least as well."""
        if not len(self.strangers):
            return None
        better = len(self.strangers) - np.searchsorted(self.strangers, score, side="left")
        return float((better + 1) / (len(self.strangers) + 1))

    def none(self, score: float, error: float) -> bool:
        """Whether a query fits no type; with pairs alone, whether it is less alike than different types mostly are."""
        if self.source == "pairs":
            return score <= float(np.median(self.strangers))
        p_value = self.p_value(score)
        return p_value is not None and p_value <= error

    def told(self, error: float) -> float | None:
        """Share of strangers who are told to be none of the types at this error rate."""
        if not len(self.strangers) or not len(self.known):
            return None
        limit = int(np.floor(error * (len(self.known) + 1))) - 1
        if limit < 0:
            return 0.0
        return float(np.searchsorted(self.strangers, self.known[limit], side="left") / len(self.strangers))


def fit_temperature(episodes: Episodes, *, source: str, label: str | None, patients: int, ways: int) -> Temperature:
    """Fit both temperatures on every other episode and measure them on the rest."""
    shots = episodes.scores.shape[2]
    fitted, tested = np.arange(len(episodes)) % 2 == 0, np.arange(len(episodes)) % 2 == 1
    one = _likeliest(episodes.scores[fitted, :, 0], episodes.truth[fitted])
    scores = pooled(episodes.scores, one)
    several = one if shots == 1 else _likeliest(scores[fitted], episodes.truth[fitted])
    told = softmax(scores[tested], several)
    truth = episodes.truth[tested]
    return Temperature(
        one,
        several,
        source,
        label,
        patients,
        len(np.unique(episodes.truth)),
        ways,
        shots,
        float((told.argmax(axis=1) == truth).mean()),
        expected_calibration_error(told, truth),
        _loss(scores[tested], truth, several),
    )


def pooled(scores: Array, temperature: float) -> Array:
    """Type scores of episodes, (episodes, types), from those of examples; what is not there does not count."""
    peak = scores.max(axis=-1)
    shift = np.where(np.isfinite(peak), peak, 0.0)
    total = np.exp((scores - shift[..., None]) / temperature).sum(axis=-1)
    count = np.isfinite(scores).sum(axis=-1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(count > 0, shift + temperature * np.log(total / np.maximum(count, 1)), -np.inf))


def fits_of(scores: Array, truth: Rows, source: str, patients: NDArray[np.str_] | None = None) -> Fits:
    """What is to be expected of new samples from type scores of labelled ones, (n, types), of `patients`.

    A sample without an example of its own type, -inf, is asked as a stranger only.
    """
    rows = np.arange(len(scores))
    own = scores[rows, truth]
    best = scores.max(axis=1)
    others = scores.copy()
    others[rows, truth] = -np.inf
    strangers = others.max(axis=1)
    asked, strange = np.flatnonzero(np.isfinite(own)), np.flatnonzero(np.isfinite(strangers))
    asked, strange = asked[np.argsort(best[asked])], strange[np.argsort(strangers[strange])]
    whose = (None, None) if patients is None else (patients[asked], patients[strange])
    return Fits(best[asked], strangers[strange], source, *whose)


def left_out_scores(
    scores: Array, codes: Rows, groups: Rows, temperature: float, patients: Rows | None = None
) -> Array:
    """Type scores of each example by the others, (n, types): none by their own patient or group; -inf where empty.

    Parameters
    ----------
    scores
        All pairs, (n, n).
    codes
        Type of each, ascending.
    """
    allowed = np.where(barred_pairs(groups, patients), -np.inf, scores)
    parts = [pooled(allowed[:, None, codes == code], temperature) for code in range(int(codes.max()) + 1)]
    return np.concatenate(parts, axis=1)


def expected_calibration_error(probabilities: Array, truth: Rows, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over bins of equal width of the best probability."""
    best = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((best * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=right - best, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(truth)))


def _likeliest(scores: Array, truth: Rows) -> float:
    """The temperature that makes the right types likeliest: a coarse grid, then a fine one."""
    spread = float(scores[np.isfinite(scores)].std()) or 1.0
    low, high = np.log(spread / _SPAN), np.log(10 * spread)
    for _ in range(2):
        grid = np.linspace(low, high, _GRID)
        losses = [_loss(scores, truth, float(np.exp(one))) for one in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    return float(np.exp(grid[best]))


def _loss(scores: Array, truth: Rows, temperature: float) -> float:
    peak = scores.max(axis=1)
    total = np.log(np.exp((scores - peak[:, None]) / temperature).sum(axis=1))
    return float((total - (scores[np.arange(len(truth)), truth] - peak) / temperature).mean())
