"""What the calls of the annotation network rest on: what can be explained, and the explanation with names."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import MissingExtraError, UsageError
from molsig.reference.annotation_explanation_report import ExplanationReport, OfPatient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.ingest.cohort import Cohort
    from molsig.reference.annotation_data import AnnotationOptions, Column, Subjects
    from molsig.types import Progress


def check_explainable(how: AnnotationOptions, cohort: Cohort) -> None:
    """Refuse before anything is fitted.

    Raises
    ------
    UsageError
        Another method than the network, or no file of measurements.
    MissingExtraError
        captum is not installed.
    """
    if how.method != "network":
        raise UsageError(
            "--explain says what the network's calls rest on, and no other method's: give --method network as well"
        )
    if not cohort.sources():
        raise UsageError(
            "--explain needs measurements, and a reference keeps vectors: give the file that was ingested, "
            "e.g. --mirna FILE"
        )
    if importlib.util.find_spec("captum") is None:
        raise MissingExtraError("--explain", "explain")


def check_column(column: Column, field: str) -> None:
    """Refuse a number, which has no classes to tell apart. `UsageError`."""
    if column.numbers is not None:
        raise UsageError(
            f"--explain tells classes apart, and {field} is a number: cut it with --cuts 45,70 (ages: --intervals 2)"
        )


def explain(
    found: Subjects,
    column: Column,
    scheme: str,
    fold: NDArray[np.int64],
    group: str | None,
    how: AnnotationOptions,
    progress: Progress,
) -> ExplanationReport:
    """Explain what was fitted for the first scheme, on the patients that each network had not seen."""
    from molsig.retrieval.annotate_explain import KeptNetworks, explain_labels, scores_of_rows

    kept = found.methods[0]
    assert isinstance(kept, KeptNetworks)
    n_classes = len(column.classes)
    explained = explain_labels(kept, column.known, column.codes, n_classes, fold, seed=how.seed, progress=progress)
    named = np.flatnonzero(np.isin(found.patients, how.patients))
    if not how.recorded:
        named = named[np.isin(named, column.missing)]
    named = named[kept.first_able(named) != -1]
    scores, called = scores_of_rows(kept, named, n_classes)
    return ExplanationReport(
        features=found.features,
        classes=column.classes,
        found=explained,
        patients=tuple(found.patients[row] for row in explained.rows.tolist()),
        scheme=scheme,
        group=group,
        named=tuple(
            OfPatient(found.patients[row], column.classes[call], column.recorded[row], one)
            for row, call, one in zip(named.tolist(), called.tolist(), scores, strict=True)
        ),
    )
