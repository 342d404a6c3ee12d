"""Questions to one method: fold by fold, block by block, at every share of missing assays."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.figures import PRECISION_AT, Answers
from molsig.evaluate.leaks import assay_sets
from molsig.evaluate.metrics import average_precision
from molsig.retrieval.method import Selective

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.report import Settings
    from molsig.retrieval.method import Fitted, Method
    from molsig.retrieval.patient_vectors import PatientVectors

BLOCK = 512
"""Patients asked about at once."""


@dataclass(frozen=True, eq=False)
class Heard:
    """All that one method said of some folds: its answers by share of missing assays, strangeness by fold.

    `findable` tells who of the cohort it could have found, (n,).
    """

    said: Mapping[float, Answers]
    strange: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]
    findable: NDArray[np.bool_]

    @staticmethod
    def together(folds: Sequence[Heard]) -> Heard:
        """What was heard of several folds as one."""
        shares = dict.fromkeys(share for one in folds for share in one.said)
        return Heard(
            {share: Answers.together([one.said[share] for one in folds if share in one.said]) for share in shares},
            tuple(told for one in folds for told in one.strange),
            np.all([one.findable for one in folds], axis=0),
        )


@dataclass(frozen=True, eq=False)
class Questions:
    """What stays the same over all methods and folds.

    Attributes
    ----------
    vectors, labels, groups
        The patients asked about, each with a label, (n,).
    truth, names
        Labels as codes, (n,), and their names, sorted.
    how
        Settings of the evaluation.
    left_out
        By fold: labels that the gallery is without when strangers are asked about; empty for none.
    kept
        By share of missing assays and modality: who keeps theirs, (n,).
    """

    vectors: PatientVectors
    labels: NDArray[np.str_]
    truth: NDArray[np.int64]
    names: tuple[str, ...]
    groups: NDArray[np.str_]
    how: Settings
    left_out: tuple[tuple[str, ...], ...]
    kept: dict[float, Mapping[str, NDArray[np.bool_]]]

    def fit(self, method: Method, stored: NDArray[np.int64]) -> Fitted:
        return method.fit(self.vectors.take(stored), self.labels[stored], self.groups[stored])

    def hear(self, method: Method, fold: NDArray[np.int64], one: int) -> Heard:
        """Ask a method about the patients of one fold."""
        findable = np.ones(len(fold), dtype=bool)
        said: dict[float, list[Answers]] = defaultdict(list)
        for share, answers in self.ask(method, fold, one, findable):
            said[share].append(answers)
        strange = (self.strangeness(method, fold, one),) if self.left_out else ()
        return Heard({share: Answers.together(some) for share, some in said.items()}, strange, findable)

    def blocks(
        self, fitted: Fitted, asked: NDArray[np.int64], share: float
    ) -> Iterator[tuple[NDArray[np.int64], PatientVectors]]:
        """Rows and vectors of the patients that can be answered, some at a time."""
        for start in range(0, len(asked), BLOCK):
            rows = asked[start : start + BLOCK]
            queries = self.vectors.take(rows).keep({m: held[rows] for m, held in self.kept[share].items()})
            if isinstance(fitted, Selective):
                can = fitted.answers(queries)
                rows, queries = rows[can], queries if can.all() else queries.take(np.flatnonzero(can))
            if len(rows):
                yield rows, queries

    def ask(
        self, method: Method, fold: NDArray[np.int64], one: int, findable: NDArray[np.bool_]
    ) -> Iterator[tuple[float, Answers]]:
        """Answers about the patients of one fold, block by block, at every share of missing assays.

        Marks in `findable` who of the gallery cannot be found.
        """
        stored, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        fitted = self.fit(method, stored)
        if isinstance(fitted, Selective):
            findable[stored] = fitted.answers(self.vectors.take(stored))
        place = [self.names.index(name) for name in fitted.classes]
        relevant = np.bincount(self.truth[stored], minlength=len(self.names))
        for share in self.how.missing:
            for rows, queries in self.blocks(fitted, asked, share):
                found, _ = fitted.nearest(queries, self.how.depth or len(stored))
                near, truth = stored[found], self.truth[rows]
                probabilities = fitted.probabilities(queries)
                over_all = np.zeros((len(rows), len(self.names)))
                over_all[:, place] = probabilities
                sets = np.zeros((len(self.how.errors), len(rows), len(self.names)), dtype=bool)
                for i, error in enumerate(self.how.errors):
                    sets[i][:, place] = fitted.sets(queries, probabilities, error)
                top = near[:, : max(PRECISION_AT)]
                yield (
                    share,
                    Answers(
                        rows=rows,
                        truth=truth,
                        neighbours=top,
                        near=self.truth[top],
                        precision=average_precision(self.truth[near] == truth[:, None], relevant[truth]),
                        answerable=relevant[truth] > 0,
                        probabilities=over_all,
                        covered=sets[:, np.arange(len(rows)), truth].T,
                        sizes=sets.sum(axis=2).T,
                        assays=assay_sets(queries.modalities, queries.matrix_present()),
                    ),
                )

    def strangeness(
        self, method: Method, fold: NDArray[np.int64], one: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Strangeness of the patients of a fold to a gallery without some labels, and who has one of these.

        Patients whose label the gallery is without for another reason are left out.
        """
        gone = np.isin(self.labels, self.left_out[one])
        stored = np.flatnonzero((fold != one) & ~gone)
        fitted = self.fit(method, stored)
        asked = np.flatnonzero((fold == one) & (gone | np.isin(self.truth, self.truth[stored])))
        found = [(fitted.strangeness(queries), gone[rows]) for rows, queries in self.blocks(fitted, asked, 0.0)]
        return (
            np.concatenate([f[0] for f in found] or [np.zeros(0)]),
            np.concatenate([f[1] for f in found] or [np.zeros(0, dtype=bool)]),
        )
