"""One method against another on the same patients.

Two figures with overlapping intervals may still differ for certain, because both methods met the same easy and hard
patients. The difference is therefore taken patient by patient, and the interval is that of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.bootstrap import with_intervals
from molsig.evaluate.metrics import majority_vote, mean_of, precision_at
from molsig.evaluate.report import ALL, Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.evaluate.figures import Answers
    from molsig.evaluate.report import Settings

COMPARED = ("p@10", "vote@10", "call")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of asking one method about m patients.

    Attributes
    ----------
    rows
        Rows of the cohort, ascending, (m,).
    values
        The figures of `COMPARED` of each patient, (m, 3).
    assays
        What each was asked about with, (m,).
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    assays: NDArray[np.str_]

    @staticmethod
    def of(said: Answers, classes: int) -> Outcomes:
        """From a method's answers."""
        right = said.near == said.truth[:, None]
        vote = majority_vote(said.near, classes, 10) == said.truth
        call = said.probabilities.argmax(axis=1) == said.truth
        values = np.stack([precision_at(right, 10), vote, call], axis=1)
        order = np.argsort(said.rows)
        return Outcomes(said.rows[order], values[order], said.assays[order])


def compare(scheme: str, missing: float, outcomes: Mapping[str, Outcomes], how: Settings) -> list[Comparison]:
    """The first method against each of the others, over all patients both were asked about and by their assays."""
    names = list(outcomes)
    out = []
    for rival in names[1:]:
        first, second = outcomes[names[0]], outcomes[rival]
        _, at, rival_at = np.intersect1d(first.rows, second.rows, assume_unique=True, return_indices=True)
        difference, assays = first.values[at] - second.values[rival_at], first.assays[at]
        words, counts = np.unique(assays, return_counts=True)
        for word in (ALL, *words[np.argsort(-counts, kind="stable")].tolist()):
            some = difference if word == ALL else difference[assays == word]
            if not len(some):
                continue
            drawn = with_intervals({"d": mean_of(some)}, len(some), draws=how.draws, seed=how.seed, level=how.level)[
                "d"
            ]
            figures = dict(zip(COMPARED, drawn, strict=True))
            out.append(Comparison(scheme, missing, word, names[0], rival, len(some), figures))
    return out
