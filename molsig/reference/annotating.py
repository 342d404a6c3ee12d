"""Predict a patient column for those without a value, from a file of measurements or from the stored vectors."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molsig import __version__
from molsig.errors import NotFoundError, UsageError
from molsig.index import attributes
from molsig.reference.annotation_data import METHODS, column_of, of_file, of_vectors
from molsig.reference.annotation_explained import check_column, check_explainable, explain
from molsig.reference.annotation_report import AnnotationReport, Prediction, Validation
from molsig.reference.learning import GROUPS, LABEL
from molsig.retrieval.annotation import FOLDS, Numbers, predict_labels, predict_numbers, schemes_of
from molsig.retrieval.annotation_scores import (
    LabelScores,
    commonest_elsewhere,
    mean_elsewhere,
    score_calls,
    score_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.ingest.cohort import Cohort
    from molsig.reference.annotation_data import AnnotationOptions, Column, Subjects
    from molsig.retrieval.annotation import Annotator, Labels, Outcome
    from molsig.types import Progress


def annotate(store: Store, cohort: Cohort, how: AnnotationOptions, progress: Progress) -> AnnotationReport:
    """Measure, predict, and write if that is asked for; see `Reference.annotate`."""
    if how.method not in (None, "auto", *METHODS):
        raise UsageError(f"--method {how.method}: choose among {', '.join(METHODS)} and auto")
    if not 0 < how.error < 1:
        raise UsageError(f"--error {how.error:g}: give a share above 0 and below 1, e.g. 0.1")
    if how.explain:
        check_explainable(how, cohort)
    columns = store.columns()
    field = column_name(columns, how.field)
    group = _default(columns, GROUPS) if how.group is None else _group_name(columns, how.group)
    beside = _default(columns, LABEL)
    if how.group is not None and group == field:
        raise UsageError(f"--group {group}: that is what is predicted; name another column")
    group, beside = (None if one == field else one for one in (group, beside))
    snapshot = store.snapshot()
    found = of_file(store, cohort, how, progress) if cohort.sources() else of_vectors(store, how)
    column = column_of(store, found.patients, field, columns[field], how)
    if how.explain:
        check_column(column, field)
    asked = _chosen(store, found.patients, column, how)
    groups = None if group is None else _texts(store, found, column, group)
    schemes = schemes_of(column.codes, groups, seed=how.seed)
    if how.group is not None and groups is not None and len(schemes) == 1:
        n = len(np.unique(groups[groups != ""]))
        raise UsageError(
            f"--group {how.group}: those with a recorded {field} have {n} values of it, and to hold whole ones out at "
            f"least {FOLDS} are needed"
        )
    outcomes = [_predict(one, column, asked, schemes, how, progress) for one in found.methods]
    best = min(outcomes, key=lambda one: next(iter(one.scores.values())).loss)
    rules = {"commonest": np.full(len(column.known), "")}
    if beside is not None:
        rules[f"{beside} alone"] = _texts(store, found, column, beside)
    validation = tuple(_validation(outcomes, rules, column, schemes))
    source = dict(found.source) | {
        "snapshot": snapshot,
        "learned_from": len(column.known),
        "seed": how.seed,
        "cuts": list(how.cuts),
        "groups": group if len(schemes) > 1 else None,
        "validation": {one.scheme: round(_headline(one), 4) for one in validation if one.method == best.method},
        "taught": {one.modality: list(one.known(column.classes)) for one in found.taught},
        "molsig": __version__,
    }
    first = next(iter(schemes.items()))
    explanation = explain(found, column, *first, group, how, progress) if how.explain else None
    predictions = tuple(_predictions(best, column, found.patients, asked, how.recorded, set(how.patients)))
    notes = [*found.notes, *column.notes, *_taught_notes(found, column, field)]
    if explanation is not None and explanation.at_random:
        notes.append(
            f"explained with a random fold held out, as all others of the label are of their {group}: "
            f"{', '.join(explanation.at_random)}"
        )
    if group is None or len(schemes) == 1:
        notes.append("no groups to hold out: patients of one hospital stand on both sides, which flatters")
    if not predictions:
        who = "each patient that was named" if how.patients else "every patient that can be told about"
        why = "that is not learned" if how.recorded else "already: --recorded says what would be predicted"
        notes.append(f"{who} has a recorded {field} {why}")
    report = AnnotationReport(
        field, column.classes, best.method, how.error, predictions, validation, source,
        datetime.datetime.now(datetime.UTC).date().isoformat(), 0, tuple(notes), explanation,
    )  # fmt: skip
    return _written(store, report, progress) if how.write else report


def column_name(columns: Mapping[str, str], field: str) -> str:
    """A patient column's name as it is stored. `UsageError` if there is none."""
    found = attributes.names_of(list(columns), [field])
    if not found:
        raise UsageError(f"--field {field}: that is who a patient is, not what is told of them")
    return found[0]


def _group_name(columns: Mapping[str, str], group: str) -> str:
    found = attributes.names_of(list(columns), [group])
    if not found:
        raise UsageError(f"--group {group}: a patient is always held out whole; name another column")
    return found[0]


def _taught_notes(found: Subjects, column: Column, field: str) -> Iterator[str]:
    """What a reader has to know where the vectors come from encoders that were told a label."""
    for one in found.taught:
        if known := one.known(column.classes):
            yield (
                f"the {one.modality} encoder ({one.space}) has learned {len(known)} values of {field} from stored "
                "patients, held-out ones likely among them: figures, probabilities and sets are too good"
            )
        else:
            yield (
                f"the {one.modality} encoder ({one.space}) was told labels of stored patients: as far as {field} goes "
                "with these, figures, probabilities and sets are too good"
            )


def _default(columns: Mapping[str, str], name: str) -> str | None:
    return name if name in columns else None


def _chosen(store: Store, patients: Sequence[str], column: Column, how: AnnotationOptions) -> NDArray[np.int64]:
    """Rows without a value to predict for: all, or those of the patients that are named."""
    if not how.patients:
        return column.missing
    if unknown := sorted(set(how.patients) - set(patients)):
        stored = set(store.patient_ids())
        why = "has nothing to be told by" if unknown[0] in stored else "is not stored, nor in the file"
        raise NotFoundError(f"{unknown[0]} {why}")
    return column.missing[np.isin(np.asarray(patients)[column.missing], how.patients)]


def _texts(store: Store, found: Subjects, column: Column, name: str) -> NDArray[np.str_]:
    """Another column of those with a value, "" where unknown."""
    values = store.column(name, [found.patients[row] for row in column.known.tolist()])
    return np.array(["" if one is None else str(one) for one in values], dtype=np.str_)


def _predict(
    method: Annotator,
    column: Column,
    asked: NDArray[np.int64],
    schemes: Mapping[str, NDArray[np.int64]],
    how: AnnotationOptions,
    progress: Progress,
) -> Outcome:
    if column.numbers is not None:
        return predict_numbers(method, column.known, column.numbers, asked, schemes, error=how.error, progress=progress)
    return predict_labels(
        method, column.known, column.codes, len(column.classes), asked, schemes, error=how.error, progress=progress
    )


def _validation(
    outcomes: Sequence[Outcome],
    rules: Mapping[str, NDArray[np.str_]],
    column: Column,
    schemes: Mapping[str, NDArray[np.int64]],
) -> Iterator[Validation]:
    for scheme, fold in schemes.items():
        for one in outcomes:
            yield Validation(scheme, one.method, one.scores[scheme])
        for name, beside in rules.items():
            if column.numbers is not None:
                estimates = mean_elsewhere(beside, column.numbers, fold)
                yield Validation(scheme, name, score_numbers(column.numbers, estimates))
            else:
                called = commonest_elsewhere(beside, column.codes, fold, len(column.classes))
                everyone = np.ones(len(called), dtype=bool)
                yield Validation(scheme, name, score_calls(column.codes, called, everyone))


def _headline(one: Validation) -> float:
    """Accuracy, or the mean error of numbers."""
    return one.scores.accuracy if isinstance(one.scores, LabelScores) else one.scores.error


def _predictions(
    best: Outcome,
    column: Column,
    patients: Sequence[str],
    asked: NDArray[np.int64],
    recorded: bool,
    named: set[str],
) -> Iterator[Prediction]:
    """Predictions by patient: of those without a value, and of those with one if they are wanted."""
    of_known = next(iter(best.known.values()))
    wanted = [(patients[row], best.asked, place, None) for place, row in enumerate(asked.tolist())]
    if recorded:
        wanted += [
            (patients[row], of_known, place, column.recorded[row])
            for place, row in enumerate(column.known.tolist())
            if not named or patients[row] in named
        ]
    for patient, said, place, record in sorted(wanted, key=lambda one: one[0]):
        yield _prediction(patient, said, place, column.classes, record)


def _prediction(
    patient: str, said: Labels | Numbers, place: int, classes: Sequence[str], record: str | None
) -> Prediction:
    if isinstance(said, Numbers):
        value, reach = float(said.estimates[place]), float(said.reach[place])
        low, high = (value - reach, value + reach) if np.isfinite(reach) else (None, None)
        return Prediction(patient, value, None, None, (), low, high, record)
    probabilities, chosen = said.probabilities[place], said.sets[place]
    order = [int(one) for one in np.argsort(-probabilities, kind="stable") if chosen[one]]
    names = tuple(classes[one] for one in order)
    value_told = names[0] if len(names) == 1 else None
    return Prediction(patient, value_told, names[0], float(probabilities[order[0]]), names, None, None, record)


def _written(store: Store, report: AnnotationReport, progress: Progress) -> AnnotationReport:
    """Store the predictions of stored patients beside what is recorded."""
    stored = set(store.patient_ids())
    rows = [
        {
            "patient": one.patient,
            "field": report.field,
            "value": None if one.value is None else str(one.value),
            "likeliest": one.likeliest,
            "probability": one.probability,
            "alternatives": list(one.alternatives),
            "low": one.low,
            "high": one.high,
            "error": report.error,
            "method": report.method,
            "source": dict(report.source),
            "created": report.created,
        }
        for one in report.predictions
        if one.patient in stored
    ]
    notes = report.notes
    if left := len(report.predictions) - len(rows):
        notes = (*notes, f"{left:,} patients of the file are not stored: their predictions were not written")
    if rows:
        with store.writer("annotate", progress=progress) as writer:
            writer.put_predictions(rows)
    return replace(report, written=len(rows), notes=notes)
