"""N-way one-shot and few-shot episodes: which type is the query of, given one or a few samples of each of N types.

All rows are embedded, or all pairs are scored, once; after that an episode is a few numbers looked up in a matrix,
and 20,000 of them take a fraction of a second. In an episode no support sample is of the query's patient, and no two
support samples of a type are of one patient. The query's type stands at a random place among the N, so that a score
which cannot tell the types apart does not win by the order they stand in.

After the evaluation of CancerSiamese (doi:10.1186/s12859-021-04157-w, Results): 20,000 episodes, N of 6, 8 and 10,
types that no training has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse import coo_array

from molsig.errors import UsageError
from molsig.evaluate.bootstrap import DRAWS, LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.int64]
    Scores = NDArray[np.float32]

EPISODES = 20_000
WAYS = (5, 6, 8, 10)

Pooling = Literal["mean", "max"]
PairScore = Callable[["Rows", "Rows"], "Scores"]
"""Rows of n queries and m supports to their scores, (n, m): the higher, the more alike."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Questions: rows of a cohort, and which of the N types is right.

    Attributes
    ----------
    queries
        Row of each query, (n,).
    supports
        Rows of the support samples, (n, ways, shots).
    truth
        Place of the query's type among the ways, (n,).
    types, patients
        Type and patient of each row of the cohort, as numbers.
    names
        Name of each type.
    """

    queries: Rows
    supports: Rows
    truth: Rows
    types: Rows
    patients: Rows
    names: tuple[str, ...]

    @property
    def ways(self) -> int:
        """Types to choose from."""
        return int(self.supports.shape[1])

    @property
    def shots(self) -> int:
        """Support samples of each type."""
        return int(self.supports.shape[2])


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What a score reached.

    Episodes share patients and types, so that they are far from independent and the binomial interval of 20,000 of them
    is much too narrow. Both intervals here resample what was really drawn from the world.

    Attributes
    ----------
    accuracy
        Share of episodes that were answered right.
    patients
        95 % bootstrap interval over patients: an episode weighs as often as the query's patient and the patients of the
        support samples of the right type were drawn.
    types
        The same over the types of the queries: what to expect of other types. None where there are fewer than three.
    by_type
        Accuracy of the queries of each type.
    """

    ways: int
    shots: int
    episodes: int
    accuracy: float
    patients: tuple[float, float]
    types: tuple[float, float] | None
    by_type: dict[str, float]


def draw_episodes(
    types: Sequence[str],
    patients: Sequence[str],
    *,
    ways: int,
    shots: int = 1,
    episodes: int = EPISODES,
    queries: Sequence[int] | None = None,
    supports: Sequence[int] | None = None,
    seed: int = 0,
) -> Episodes:
    """Draw episodes: N types, one of them as the query's, a patient of it, and `shots` other patients of each type.

    Parameters
    ----------
    types, patients
        Type and patient of every row of a cohort.
    queries, supports
        Rows that may be asked about, and that may stand for their type; all by default. Metastases are typed against
        primary tumours by giving the one here and the other there.

    Raises
    ------
    UsageError
        There are fewer types with enough patients than `ways`, or none of them has queries.
    """
    n_rows = len(types)
    names, type_of = np.unique(np.asarray(types, dtype=str), return_inverse=True)
    _, patient_of = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    asked = np.arange(n_rows) if queries is None else np.unique(np.asarray(queries, dtype=np.int64))
    standing = np.arange(n_rows) if supports is None else np.unique(np.asarray(supports, dtype=np.int64))
    there, question = _Pool(type_of, patient_of, standing, len(names)), _Pool(type_of, patient_of, asked, len(names))
    # One patient more than the shots: the query's own may have to be passed over.
    usable = np.flatnonzero(there.units_of_type > shots)
    askable = usable[question.units_of_type[usable] > 0]
    if len(usable) < ways or not len(askable):
        raise UsageError(
            f"{ways}-way episodes of {shots} need {ways} types with more than {shots} patients, one of them with "
            f"queries: there are {len(usable)} types, {len(askable)} with queries"
        )
    random = np.random.default_rng(seed)
    right = random.choice(askable, episodes)
    # The others in random order, and the right one, whose key sorts last, put among them.
    keys = random.random((episodes, len(usable)))
    keys[np.arange(episodes), np.searchsorted(usable, right)] = 2.0
    chosen = usable[np.argsort(keys, axis=1)[:, :ways]]
    truth = random.integers(ways, size=episodes)
    chosen[:, -1] = chosen[np.arange(episodes), truth]
    chosen[np.arange(episodes), truth] = right

    units = question.draw(right, None, random)
    query = question.row(units, random)
    own = there.unit_of(right, patient_of[query])
    forbidden = np.full((episodes, ways), -1)
    forbidden[np.arange(episodes), truth] = own
    drawn = np.empty((episodes, ways, 0), dtype=np.int64)
    taken = forbidden[..., None]
    for _ in range(shots):
        fresh = there.draw(chosen, taken, random)[..., None]
        drawn, taken = np.concatenate([drawn, fresh], axis=2), np.concatenate([taken, fresh], axis=2)
    return Episodes(query, there.row(drawn, random), truth, type_of, patient_of, tuple(map(str, names)))


class _Pool:
    """Rows that may be drawn, as units of one patient of one type, the units of a type side by side."""

    def __init__(self, type_of: Rows, patient_of: Rows, rows: Rows, n_types: int) -> None:
        self._stride = int(patient_of.max(initial=0)) + 1
        key = type_of[rows] * self._stride + patient_of[rows]
        order = np.argsort(key, kind="stable")
        self._rows = rows[order]
        self._keys, self._first, self._size = np.unique(key[order], return_index=True, return_counts=True)
        self.units_of_type = np.bincount(self._keys // self._stride, minlength=n_types)
        self._begin = np.concatenate([[0], np.cumsum(self.units_of_type)[:-1]])

    def unit_of(self, kind: Rows, patient: Rows) -> Rows:
        """Unit of a type and a patient, -1 where there is none."""
        wanted = kind * self._stride + patient
        place = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.asarray(np.where(self._keys[place] == wanted, place, -1))

    def draw(self, kind: Rows, taken: Rows | None, random: np.random.Generator) -> Rows:
        """One unit of each type of `kind`, all but those `taken` (last axis; -1 is none) equally likely."""
        free = self.units_of_type[kind] if taken is None else self.units_of_type[kind] - (taken >= 0).sum(axis=-1)
        unit = self._begin[kind] + (random.random(kind.shape) * free).astype(np.int64)
        if taken is not None:
            for one in np.moveaxis(np.sort(taken, axis=-1), -1, 0):
                unit += (one >= 0) & (unit >= one)
        return unit

    def row(self, units: Rows, random: np.random.Generator) -> Rows:
        """One row of each unit."""
        place = self._first[units] + (random.random(units.shape) * self._size[units]).astype(np.int64)
        return np.asarray(self._rows[place])


def cosine(vectors: NDArray[np.floating]) -> PairScore:
    """Score pairs of rows of an (n, d) embedding by their cosine."""
    unit = np.asarray(vectors, dtype=np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return lambda queries, supports: unit[queries] @ unit[supports].T


def euclidean(vectors: NDArray[np.floating]) -> PairScore:
    """Score pairs of rows of an (n, d) embedding by their squared Euclidean distance, less of it being better."""
    held = np.asarray(vectors, dtype=np.float32)
    length = np.square(held).sum(axis=1)
    return lambda queries, supports: (
        2 * held[queries] @ held[supports].T - length[queries][:, None] - length[supports][None, :]
    )


def answer_episodes(
    episodes: Episodes,
    score: PairScore | NDArray[np.floating],
    *,
    pooling: Pooling = "mean",
    draws: int = DRAWS,
    seed: int = 0,
) -> EpisodeResult:
    """Ask each episode for the type whose support samples score best.

    Parameters
    ----------
    score
        An (n, d) embedding of the cohort's rows, compared by cosine, or a function of pairs, which is called once with
        all queries and all supports.
    pooling
        How the scores of several support samples of a type become one.
    """
    function = score if callable(score) else cosine(score)
    queries, query_at = np.unique(episodes.queries, return_inverse=True)
    supports, support_at = np.unique(episodes.supports, return_inverse=True)
    table = np.asarray(function(queries, supports), dtype=np.float32)
    if table.shape != (len(queries), len(supports)) or not np.isfinite(table).all():
        raise UsageError("a pair score has to give one finite number for each query and support sample")
    scores = table[query_at[:, None, None], support_at.reshape(episodes.supports.shape)]
    pooled = scores.mean(axis=2) if pooling == "mean" else scores.max(axis=2)
    best = pooled == pooled.max(axis=1, keepdims=True)
    # A draw between k types is 1/k of a right answer.
    right = best[np.arange(len(best)), episodes.truth] / best.sum(axis=1)
    return _result(episodes, right, draws, seed)


def _result(episodes: Episodes, right: NDArray[np.float64], draws: int, seed: int) -> EpisodeResult:
    kinds = episodes.types[episodes.queries]
    seen = np.unique(kinds)
    own = np.take_along_axis(episodes.supports, episodes.truth[:, None, None], axis=1)[:, 0, :]
    people, number = np.unique(
        np.concatenate([episodes.patients[episodes.queries][:, None], episodes.patients[own]], axis=1),
        return_inverse=True,
    )
    number = number.reshape(len(right), -1)
    # An episode's weight is that of the query's patient times the mean of its right supports': bilinear in the weights.
    place = np.repeat(number[:, 0], episodes.shots), number[:, 1:].ravel()
    shape = len(people), len(people)
    hits = coo_array((np.repeat(right, episodes.shots), place), shape=shape).tocsr()
    asked = coo_array((np.ones(right.size * episodes.shots), place), shape=shape).tocsr()
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws).astype(np.float64)
    over_patients = _ratio(((weights @ hits) * weights).sum(axis=1), ((weights @ asked) * weights).sum(axis=1))
    weights = random.multinomial(len(seen), np.full(len(seen), 1 / len(seen)), size=draws).astype(np.float64)
    of_type = np.searchsorted(seen, kinds)
    over_types = _ratio(weights @ np.bincount(of_type, weights=right), weights @ np.bincount(of_type))
    return EpisodeResult(
        ways=episodes.ways,
        shots=episodes.shots,
        episodes=len(right),
        accuracy=float(right.mean()),
        patients=_interval(over_patients),
        types=_interval(over_types) if len(seen) > 2 else None,
        by_type={episodes.names[kind]: float(right[kinds == kind].mean()) for kind in seen},
    )


def _ratio(some: NDArray[np.float64], every: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(some, every, out=np.full(len(some), np.nan), where=every > 0))


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
