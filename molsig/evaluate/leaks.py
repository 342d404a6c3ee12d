"""Leak meters: what the neighbours give away that is not about the tumour.

Neighbours of a good method are alike in their tumour. If they also tell the hospital that sent the specimen, the
machine that sequenced it or which assays were done, beyond what follows from the tumour, then the method measures
those too, and its scores on patients of the same hospitals promise more than it can keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.bootstrap import DRAWS, with_intervals
from molsig.evaluate.metrics import majority_vote, mean_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.evaluate.bootstrap import Figure

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class LeakMeter:
    """How far one property can be told from the nearest neighbours.

    Attributes
    ----------
    name
        The property: a column, or ``assays``, the set of a patient's modalities.
    values
        Distinct values among the queries.
    neighbours
        How many voted.
    told
        Share of queries whose property the majority of neighbours has.
    chance_same_label
        The same after each neighbour was replaced by a patient of its label drawn at random from the same gallery:
        what follows from finding the right label alone.
    chance_commonest
        Share of the queries that have the commonest value: what always saying that one would reach.
    excess
        `told` less `chance_same_label`, patient by patient; the leak.
    shared, shared_chance
        Mean share of neighbours that have the query's value, and the same of the patients drawn at random.
    held_out
        Queries left out because nobody in their gallery has their value, as with whole sites held out.
    """

    name: str
    values: int
    neighbours: int
    told: Figure
    chance_same_label: Figure
    chance_commonest: Figure
    excess: Figure
    shared: Figure
    shared_chance: Figure
    held_out: int


def leak_meter(
    name: str,
    values: NDArray[np.str_],
    labels: NDArray[np.str_],
    queries: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    fold: NDArray[np.int64],
    *,
    findable: NDArray[np.bool_] | None = None,
    k: int = NEIGHBOURS,
    seed: int = 0,
    draws: int = DRAWS,
) -> LeakMeter | None:
    """Measure one property.

    Parameters
    ----------
    name
        What the property is called.
    values, labels
        Of every patient of the cohort, (n,); "" where it is not known.
    queries, neighbours
        Rows of the patients asked about, (m,), and of their neighbours, best first, (m, at least k).
    fold
        Fold of every patient, (n,): the gallery of a query is everybody in another fold.
    findable
        Who can be found at all, (n,), as only those with an assay by that assay; everybody by default. Patients drawn
        at random are drawn among them.
    k
        Neighbours that vote.
    seed, draws
        For the patients drawn at random and for the intervals.

    Returns
    -------
    None where no query has a value that its gallery could tell.
    """
    names, code = np.unique(values, return_inverse=True)
    code = np.where(values == "", -1, code).astype(np.int64)
    near = neighbours[:, :k]
    known = code[queries] >= 0
    tellable = known & _in_gallery(code, fold, queries, len(names))
    if not tellable.any():
        return None
    rows, near = queries[tellable], near[tellable]
    drawn = _same_label(near, labels, np.where(findable, fold, -1) if findable is not None else fold, fold[rows], seed)
    own = code[rows]
    told = majority_vote(code[near], len(names), k) == own
    chance = majority_vote(code[drawn], len(names), k) == own
    commonest = own == np.bincount(own).argmax()
    figures = with_intervals(
        {
            "told": mean_of(told),
            "chance_same_label": mean_of(chance),
            "chance_commonest": mean_of(commonest),
            "excess": mean_of(told.astype(np.float64) - chance),
            "shared": mean_of((code[near] == own[:, None]).mean(axis=1)),
            "shared_chance": mean_of((code[drawn] == own[:, None]).mean(axis=1)),
        },
        len(rows),
        draws=draws,
        seed=seed,
    )
    return LeakMeter(
        name=name,
        values=len(np.unique(own)),
        neighbours=near.shape[1],
        held_out=int(known.sum() - tellable.sum()),
        **{key: figure[0] for key, figure in figures.items()},
    )


def _in_gallery(
    code: NDArray[np.int64], fold: NDArray[np.int64], queries: NDArray[np.int64], n_values: int
) -> NDArray[np.bool_]:
    """Whether somebody outside a query's fold has its value."""
    known = code >= 0
    count = np.zeros((n_values, int(fold.max()) + 1), dtype=np.int64)
    np.add.at(count, (code[known], fold[known]), 1)
    elsewhere = count.sum(axis=1, keepdims=True) - count
    return np.asarray(elsewhere[code[queries], fold[queries]] > 0)


def _same_label(
    near: NDArray[np.int64],
    labels: NDArray[np.str_],
    fold: NDArray[np.int64],
    asked_in: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """For each neighbour a random patient of its label from the gallery of that query's fold, shape as `near`.

    Patients of fold -1 are in no gallery; a neighbour whose label only such patients have stays itself.
    """
    rng = np.random.default_rng(seed)
    kind = np.unique(labels, return_inverse=True)[1]
    by_label = np.argsort(kind, kind="stable")
    drawn = np.empty_like(near)
    for one in np.unique(asked_in):
        of_fold = asked_in == one
        gallery = by_label[(fold[by_label] != one) & (fold[by_label] >= 0)]
        size = np.bincount(kind[gallery], minlength=int(kind.max()) + 1)
        start = np.cumsum(size) - size
        wanted = kind[near[of_fold]]
        pick = start[wanted] + (rng.random(wanted.shape) * size[wanted]).astype(np.int64)
        drawn[of_fold] = np.where(size[wanted] > 0, gallery[np.minimum(pick, len(gallery) - 1)], near[of_fold])
    return drawn


def assay_sets(modalities: tuple[str, ...], present: NDArray[np.bool_]) -> NDArray[np.str_]:
    """The modalities of each patient as one word such as ``mutation+rna``; `present` is bool (n, modalities)."""
    kinds, of = np.unique(present, axis=0, return_inverse=True)
    words = ["+".join(m for m, held in zip(modalities, row, strict=True) if held) for row in kinds]
    return np.array(words, dtype=str)[of.reshape(-1)]
