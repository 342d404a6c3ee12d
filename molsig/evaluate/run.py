"""The evaluation itself: every method, fold by fold, asked about patients it has not been fitted on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.evaluate.asking import Heard, Questions
from molsig.evaluate.bootstrap import DRAWS, LEVEL
from molsig.evaluate.compare import Outcomes, compare
from molsig.evaluate.figures import part_of
from molsig.evaluate.folds import leave_groups_out, random_folds
from molsig.evaluate.leaks import assay_sets, leak_meter
from molsig.evaluate.report import HELD_OUT, RANDOM, CohortFacts, Evaluation, Leaks, Settings
from molsig.evaluate.strangers import known_from_unknown, labels_to_leave_out
from molsig.evaluate.workers import each, workers_for
from molsig.retrieval.patient_vectors import drop_assays
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.report import Comparison, Part, Unknown
    from molsig.retrieval.method import Method
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.types import Progress

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
    workers: int | None = None,
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
    workers
        Processes that share the work, each with memory for a fold; by default one per processor up to `MOST` where the
        cohort is large (`molsig.evaluate.workers`). They change no figure.
    progress
        Called with the folds done.

    Raises
    ------
    UsageError
        A share is not from 0 to below 1, there are fewer than two labels or too few groups or patients for the folds,
        or nobody has a label that is to be left out.
    """
    if wrong := [share for share in missing if not 0 <= share < 1]:
        raise UsageError(f"{wrong[0]} is no share of missing assays: give one from 0 to below 1")
    how = Settings(label, group, folds, seed, tuple(sorted({0.0, *missing})), depth, tuple(errors), draws, LEVEL)
    kept = np.flatnonzero((cohort.labels != "") & cohort.vectors.matrix_present().any(axis=1))
    labels = cohort.labels[kept]
    names, truth = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise UsageError(f"{label}: {len(names)} labels among {len(kept)} patients with vectors; at least 2 are needed")
    run = Questions(
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
    comparisons: list[Comparison] = []
    unknown: list[Unknown] = []
    leaks: list[Leaks] = []
    workers = workers or workers_for(len(kept))
    for number, (scheme, fold) in enumerate(schemes.items()):
        done = number * len(methods) * folds
        questions = [(run, method, fold, one) for method in methods for one in range(folds)]
        of_folds = []
        for one_heard in each(Questions.hear, questions, workers):
            of_folds.append(one_heard)
            progress("evaluating", done + len(of_folds), len(schemes) * len(questions))
        heard = {
            method.name: Heard.together(of_folds[place * folds : (place + 1) * folds])
            for place, method in enumerate(methods)
        }
        del of_folds
        figures = [
            (scheme, name, share, said, run.names, how)
            for name, told in heard.items()
            for share, said in told.said.items()
        ]
        parts += each(part_of, figures, workers)
        for name, told in heard.items():
            if found := known_from_unknown(scheme, name, told.strange, run.left_out, how):
                unknown.append(found)
            if near := told.said.get(0.0):
                meters = (
                    leak_meter(
                        *(column, values, labels, near.rows, near.neighbours, fold),
                        findable=told.findable,
                        seed=seed,
                        draws=draws,
                    )
                    for column, values in (columns | {"assays": assays}).items()
                )
                leaks.append(Leaks(scheme, name, tuple(meter for meter in meters if meter is not None)))
        for share in how.missing:
            outcomes = {
                name: Outcomes.of(told.said[share], len(run.names))
                for name, told in heard.items()
                if share in told.said
            }
            comparisons += compare(scheme, share, outcomes, how)
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
        comparisons=tuple(comparisons),
        unknown=tuple(unknown),
        leaks=tuple(leaks),
        notes=_notes(run, schemes),
    )


def _notes(run: Questions, schemes: Mapping[str, NDArray[np.int64]]) -> tuple[str, ...]:
    group = run.how.group or "group"
    notes = []
    if HELD_OUT not in schemes:
        notes.append("no groups were named: random folds only, which flatter every method that knows the hospital")
    elif bare := int((run.groups == "").sum()):
        notes.append(f"{bare:,} patients without a {group} were dealt out one by one")
    for scheme, fold in schemes.items():
        count = np.zeros((len(run.names), run.how.folds), dtype=np.int64)
        np.add.at(count, (run.truth, fold), 1)
        lost = (count.sum(axis=1, keepdims=True) - count)[run.truth, fold] == 0
        if lost.any():
            which = ", ".join(run.names[i] for i in np.unique(run.truth[lost]))
            told = f"whole {group}s held out" if scheme == HELD_OUT else "random folds"
            notes.append(
                f"{told}: nobody else has the label of {lost.sum():,} patients ({which}); they count as misses"
            )
    if not run.left_out:
        notes.append("no label was left out: known against unknown was not measured")
    return tuple(notes)
