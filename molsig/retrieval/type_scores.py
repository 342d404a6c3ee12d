"""From the similarity of single examples to one score a type, and what another choice of examples would have said.

A type's score is a soft maximum over its examples, T log mean exp(s / T): the similarity itself where there is one
example, the log of a kernel density estimate where there are many. It is the density whose softmax is the posterior of
types that are equally common, with the similarity's temperature T as the kernel's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

DRAWS = 1_000
"""Choices of one example a type that a spread is measured on; all of them where there are no more."""
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class Groups:
    """Examples by type, those of a type side by side.

    Attributes
    ----------
    codes
        Type of each example, ascending, (n,).
    begin, sizes
        Where those of each type begin and how many they are, (types,); no type is empty.
    """

    codes: Rows
    begin: Rows
    sizes: Rows

    @classmethod
    def of(cls, codes: Rows) -> Groups:
        """From ascending codes 0, 1, ... of which none is left out."""
        sizes = np.bincount(codes)
        return cls(codes, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64), sizes.astype(np.int64))

    def __len__(self) -> int:
        return len(self.sizes)


def type_scores(scores: Array, groups: Groups, temperature: float) -> Array:
    """The soft best of each type's examples, (types,), from the scores of all examples, (n,)."""
    peak = np.maximum.reduceat(scores, groups.begin)
    total = np.add.reduceat(np.exp((scores - peak[groups.codes]) / temperature), groups.begin)
    return np.asarray(peak + temperature * np.log(total / groups.sizes))


def best_examples(scores: Array, groups: Groups) -> Rows:
    """The most similar example of each type, (types,); of equal ones the first."""
    order = np.lexsort((-scores, groups.codes))
    return np.asarray(order[groups.begin])


def softmax(scores: Array, temperature: float) -> Array:
    """Probabilities over the last axis."""
    shifted = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def calling_share(scores: Array, groups: Groups) -> Array:
    """Share of all choices of one example a type in which each type is the most similar one, (types,).

    Exact, without going through the choices: an example calls its type where of every other type a less similar one
    was chosen, which happens with the product of the shares of these. Equal scores count for the earlier example.
    """
    order = np.lexsort((np.arange(len(scores))[::-1], scores))
    ranked = np.zeros((len(scores), len(groups)))
    ranked[np.arange(len(scores)), groups.codes[order]] = 1.0
    # In ascending order: of each type the share that comes before.
    before = (np.cumsum(ranked, axis=0) - ranked) / groups.sizes
    before[np.arange(len(scores)), groups.codes[order]] = 1.0
    called = before.prod(axis=1)
    return np.asarray(np.bincount(groups.codes[order], weights=called, minlength=len(groups)) / groups.sizes)


@dataclass(frozen=True, eq=False)
class SpreadOfChoices:
    """Each type's probability over choices of one example a type, (types,) each.

    `exhausted` says whether these were all choices there are; `choices` how many were looked at.
    """

    mean: Array
    sd: Array
    low: Array
    high: Array
    share: Array
    choices: int
    exhausted: bool


def spread_of_choices(scores: Array, groups: Groups, temperature: float, uniform: Array) -> SpreadOfChoices:
    """How probabilities from a single example of each type spread over the choice of the examples.

    Parameters
    ----------
    scores
        Similarity of each example, (n,).
    temperature
        That of a single example.
    uniform
        Numbers in [0, 1) that choices are drawn by, (draws, types); not looked at where all choices are no more.
    """
    ways = float(np.prod(groups.sizes.astype(np.float64)))
    exhausted = ways <= len(uniform)
    if exhausted:
        within = np.stack(np.unravel_index(np.arange(int(ways)), tuple(groups.sizes.tolist())), axis=1)
    else:
        within = (uniform * groups.sizes).astype(np.int64)
    drawn = softmax(scores[groups.begin + within], temperature)
    low, high = np.quantile(drawn, INTERVAL, axis=0)
    return SpreadOfChoices(
        drawn.mean(axis=0), drawn.std(axis=0), low, high, calling_share(scores, groups), len(drawn), exhausted
    )
