"""What the calls of the annotation network rest on, as one HTML page; nothing is fetched.

The page counts patients; those it was made of are named where that was asked for, and those asked about by name.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from molsig.evaluate.annotation_pictures import of_patient
from molsig.evaluate.marker_document import document, listing
from molsig.retrieval.annotate_explain import MOST_OF_CLASS
from molsig.retrieval.annotation_scores import LabelScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from molsig.reference.annotation_explanation_report import ExplanationReport
    from molsig.reference.annotation_report import AnnotationReport

LISTED = 5
"""Inputs that the table has of each class."""

_CAPTIONS = {
    "classes": (
        "Which inputs speak for which class",
        "D1: DeepLIFT scores for the logit of a class less the mean of the scores for the others, averaged over its "
        "patients. Warm: as high as it is there, the input speaks for the class; cold: against it. Inputs stand below "
        "the class they say most for.",
    ),
    "samples": (
        "Patient by patient",
        "A column is a patient, their score for their own class less the mean of the others. A dot above: called "
        "otherwise. Where one class shows several patterns, its average hides them.",
    ),
    "similarity": (
        "How many inputs part one class from another",
        "D2, similarity. Inputs are set to zero, first those that say most for the class of the row rather than for "
        "that of the column, until the call is that of the column; mean over the patients called rightly whose call "
        "gets there. The darker, the fewer inputs and the more patients; grey figures: fewer than half of "
        "them; empty: none, with all inputs zero.",
    ),
    "stability": (
        "How many inputs a call hangs on",
        "D2, stability. The same, until the call is any other class than that of the row.",
    ),
}
_OF_CLASSES = (
    "Speak for it: the largest scores (D1). To change a call: inputs set to zero until the network calls a patient "
    "otherwise, in the order that takes fewest; mean over the patients it calls rightly. Comes to: the other class "
    "that takes fewest, of most patients."
)
_OF_PATIENT = (
    "Scores of one patient's inputs for each class, less their mean over the classes: the inputs that part the classes "
    "most. Predictions are calibrated afterwards and may differ from the network's call."
)


def page(report: AnnotationReport, drawn: Mapping[str, str], *, members: bool = False) -> str:
    """The whole page.

    Parameters
    ----------
    report
        With an explanation.
    drawn
        What `molsig.evaluate.annotation_pictures.pictures` made.
    members
        Whether `drawn` names the patients it is made of.
    """
    found = report.explanation
    assert found is not None
    named = (
        "This page names patients: treat it as you treat the cohort."
        if members
        else "This page counts patients and names none"
        + (" but those asked about." if found.named else ".")
        + " A column of the map of patients still shows what one of them is."
    )
    zero = (
        "Scores are compared with an input of zeros, the least value of each feature among the patients learned from: "
        "a feature that is low has next to no score, however telling its absence may be. What is explained is the "
        "network, not the biology: it may call by anything that goes with the class in this cohort."
    )
    sections = [
        ("How often the network is right about patients it has not seen", _validation(report)),
        ("Class by class", _said(_OF_CLASSES) + _classes(found)),
        *((heading, _said(words) + drawn[name]) for name, (heading, words) in _CAPTIONS.items() if name in drawn),
        *(
            (f"Why {one.patient} is called {one.called}", _said(_OF_PATIENT) + of_patient(found, one))
            for one in found.named
        ),
    ]
    return document(
        f"What calls of {report.field} rest on",
        f"{len(found.found.rows):,} patients with a recorded {report.field}, at most {MOST_OF_CLASS} of a class, each "
        f"explained by a network that was fitted without them (held out {found.held_out}). {found.inputs:,} of "
        f"{len(found.features):,} features, {report.source['inputs']}. DeepLIFT scores of logits.",
        [*report.notes, zero, named],
        sections,
        verb="annotate",
    )


def _validation(report: AnnotationReport) -> str:
    told = {"groups_held_out": f"whole {report.source['groups']}s held out", "random": "random folds"}
    rows = [
        (one.method, told[one.scheme], f"{one.scores.accuracy:.3f}", f"{one.scores.balanced:.3f}")
        for one in report.validation
        if isinstance(one.scores, LabelScores)
    ]
    return listing(("method", "patients", "accuracy", "balanced"), rows, words=("method", "patients"))


def _classes(found: ExplanationReport) -> str:
    return listing(
        ("class", "explained", "right", "to change a call", "comes to", "speak for it"),
        _cells(found),
        words=("class", "comes to", "speak for it"),
    )


def _said(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def _cells(found: ExplanationReport) -> Iterator[tuple[object, ...]]:
    for row in found.rows(LISTED):
        fewest = row["fewest_zeroed"]
        yield (
            row["class"],
            f"{row['samples']:,}",
            f"{row['right']:,}",
            "" if fewest is None else f"{fewest:.1f}",
            row["nearest"] or "",
            ", ".join(one["feature"] for one in row["inputs"]),
        )
