"""The evaluation itself: every method, fold by fold, asked about patients it has not been fitted on."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.evaluate.bootstrap import DRAWS, LEVEL
from molsig.evaluate.figures import PRECISION_AT, Answers, part_of
from molsig.evaluate.folds import leave_groups_out, random_folds
from molsig.evaluate.leaks import assay_sets, leak_meter
from molsig.evaluate.metrics import average_precision
from molsig.evaluate.report import HELD_OUT, RANDOM, CohortFacts, Evaluation, Leaks, Settings
from molsig.evaluate.strangers import known_from_unknown, labels_to_leave_out
from molsig.retrieval.method import Selective
from molsig.retrieval.patient_vectors import drop_assays
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.report import Part, Unknown
    from molsig.retrieval.method import Fitted, Method
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.types import Progress

BLOCK = 512
"""Patients asked about at once."""
MISSING = (0.0, 0.2, 0.4, 0.6)
ERRORS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
DEPTH = 1000
LEFT_OUT = 3


@dataclass(frozen=True, eq=False)
class Labelled:
    """A cohort to evaluate on.

    Attributes
    ----------
    vectors
        Patients and their vectors.
    labels
        Label of each, (n,); patients without one ("") are left out.
    groups
        Group of each, such as the submitting site, (n,), "" where unknown; None if there are no groups.
    columns
        Further columns that neighbours should not tell, such as the sequencer, by name, (n,) each.
    """

    vectors: PatientVectors
    labels: NDArray[np.str_]
    groups: NDArray[np.str_] | None
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


def evaluate(
    cohort: Labelled,
    methods: Sequence[Method],
    *,
    label: str,
    group: str | None = None,
    folds: int = 5,
    seed: int = 0,
    missing: Sequence[float] = MISSING,
    depth: int | None = DEPTH,
    errors: Sequence[float] = ERRORS,
    left_out: int | Sequence[str] = LEFT_OUT,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> Evaluation:
    """Ask every method about every labelled patient, with whole groups held out and with random folds.

    Parameters
    ----------
    cohort
        Who is known, and what.
    methods
        Each is fitted on the patients outside a fold and asked about those inside.
    label, group
        Names of the columns, for the record.
    folds, seed
        Folds of each scheme; same seed, same result.
    missing
        Shares of the assays to take from the patients asked about; 0 is always among them.
    depth
        Neighbours that mean average precision looks at; None for the whole gallery.
    errors
        Error rates of conformal sets.
    left_out
        Labels to leave out of the gallery, so that their patients should seem strange: how many, drawn anew for each
        fold, or which; 0 for none.
    draws
        Resamples of an interval.
    progress
        Called with the folds done.

    Raises
    ------
    UsageError
        Fewer than two labels, too few groups or patients for the folds, or a label to leave out that nobody has.
    """
    how = Settings(label, group, folds, seed, tuple(sorted({0.0, *missing})), depth, tuple(errors), draws, LEVEL)
    kept = np.flatnonzero((cohort.labels != "") & cohort.vectors.matrix_present().any(axis=1))
    labels = cohort.labels[kept]
    names, truth = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"{label}: {len(names)} labels among {len(kept)} patients with vectors; at least 2 are needed")
    run = _Run(
        vectors=cohort.vectors.take(kept),
        labels=labels,
        truth=truth.astype(np.int64),
        names=tuple(names.tolist()),
        groups=np.full(len(kept), "") if cohort.groups is None else cohort.groups[kept],
        how=how,
        left_out=labels_to_leave_out(labels, left_out, folds, seed),
        kept={},
    )
    for share in how.missing:
        dropped = drop_assays(run.vectors, share, seed) if share else run.vectors
        run.kept[share] = dropped.present
    schemes = {RANDOM: random_folds(labels, folds, seed=seed)}
    if cohort.groups is not None:
        schemes = {HELD_OUT: leave_groups_out(labels, run.groups, folds, seed=seed)} | schemes
    columns = ({group or "group": run.groups} if cohort.groups is not None else {}) | {
        name: values[kept] for name, values in cohort.columns.items()
    }
    assays = assay_sets(run.vectors.modalities, run.vectors.matrix_present())
    parts: list[Part] = []
    unknown: list[Unknown] = []
    leaks: list[Leaks] = []
    total, done = len(schemes) * len(methods) * folds, 0
    for scheme, fold in schemes.items():
        for method in methods:
            said: dict[float, list[Answers]] = defaultdict(list)
            strange: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
            findable = np.ones(len(kept), dtype=bool)
            for one in range(folds):
                for share, answers in run.ask(method, fold, one, findable):
                    said[share].append(answers)
                if run.left_out:
                    strange.append(run.strangeness(method, fold, one))
                done += 1
                progress("evaluating", done, total)
            whole = {share: Answers.together(some) for share, some in said.items()}
            parts += [part_of(scheme, method.name, s, answers, run.names, how) for s, answers in whole.items()]
            if strange and (told := known_from_unknown(scheme, method.name, strange, run.left_out, how)):
                unknown.append(told)
            if 0.0 in whole:  # unless nobody could be asked
                near = whole[0.0]
                meters = (
                    leak_meter(
                        n, v, labels, near.rows, near.neighbours, fold, findable=findable, seed=seed, draws=draws
                    )
                    for n, v in (columns | {"assays": assays}).items()
                )
                leaks.append(Leaks(scheme, method.name, tuple(meter for meter in meters if meter is not None)))
    return Evaluation(
        settings=how,
        cohort=CohortFacts(
            patients=len(kept),
            unlabelled=int((cohort.labels == "").sum()),
            labels=dict(Counter(labels.tolist()).most_common()),
            groups=len(set(run.groups.tolist()) - {""}),
            without_group=0 if cohort.groups is None else int((run.groups == "").sum()),
            assays=dict(Counter(assays.tolist()).most_common()),
        ),
        parts=tuple(parts),
        unknown=tuple(unknown),
        leaks=tuple(leaks),
        notes=_notes(run, cohort.groups is not None),
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same over all methods and folds; `kept` says by share of missing assays who keeps which."""

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
        place = np.searchsorted(self.names, fitted.classes)
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
                    sets[i][:, place] = fitted.sets(probabilities, error)
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
        """Strangeness of the patients of a fold to a gallery without some labels, and who has one of these."""
        gone = np.isin(self.labels, self.left_out[one])
        fitted = self.fit(method, np.flatnonzero((fold != one) & ~gone))
        found = [
            (fitted.strangeness(queries), gone[rows])
            for rows, queries in self.blocks(fitted, np.flatnonzero(fold == one), 0.0)
        ]
        return (
            np.concatenate([f[0] for f in found] or [np.zeros(0)]),
            np.concatenate([f[1] for f in found] or [np.zeros(0, dtype=bool)]),
        )


def _notes(run: _Run, grouped: bool) -> tuple[str, ...]:
    notes = []
    if not grouped:
        notes.append("no groups were named: random folds only, which flatter every method that knows the hospital")
    if not run.left_out:
        notes.append("no label was left out: known against unknown was not measured")
    if grouped and (bare := int((run.groups == "").sum())):
        notes.append(f"{bare:,} patients without a {run.how.group or 'group'} were dealt out one by one")
    return tuple(notes)
