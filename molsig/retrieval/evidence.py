"""Evidence for a label from whatever assays a patient has: posterior, conformal set, and how strange the patient is.

Each modality gives log-likelihood ratios (`heads`), which are weighed and added (`stacking`); a missing modality adds
nothing. All that is learnt about weights and errors is learnt out of fold: on patients whose submitting site the
heads did not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.calibration import Quantiles, calibrators, prediction_sets, subset_code
from molsig.retrieval.folds import group_folds
from molsig.retrieval.heads import NEIGHBOURS, VIEWS, class_log_prior, fit_head, log_softmax, neighbour_evidence
from molsig.retrieval.neighbourhood import neighbourhood
from molsig.retrieval.patient_vectors import drop_assays
from molsig.retrieval.stacking import fit_stack
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.heads import Head
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.stacking import Stack
    from molsig.types import Progress

    Array = NDArray[np.float64]

FOLDS = 5
FEWEST_OF_A_CLASS = 5
"""Patients below which a class is not learnt: they could not be in every fold."""
FEWEST_OF_A_MODALITY = 50
"""Labelled patients below which a modality gives no evidence."""
DROPPED = (0.2, 0.4, 0.6)
"""Shares of assays taken away at random while the weights are learnt."""


@dataclass(frozen=True, eq=False)
class EvidenceModel:
    """Everything a call needs but the neighbours.

    Attributes
    ----------
    classes
        Values of the label, sorted.
    heads
        By modality; their order is that of all arrays over modalities.
    stack
        Weights of modalities and views.
    log_prior
        Log frequency of the classes, (classes,).
    information
        Nats that each modality alone tells of the class on average, (modalities,), at least 0.
    nonconformity
        By set of assays (`subset_code`).
    unfamiliar
        By modality: how far patients are from their nearest ones, 1 - mean cosine. Modalities whose vectors are sums of
        many items (`Head.unit`) are not in it: they have no neighbours' view either.
    strange
        By set of assays: the fused strangeness.
    scores
        Out-of-fold accuracy and such, for the card.
    """

    classes: tuple[str, ...]
    heads: Mapping[str, Head]
    stack: Stack
    log_prior: Array
    information: Array
    nonconformity: Mapping[int, Quantiles]
    unfamiliar: Mapping[str, Quantiles]
    strange: Mapping[int, Quantiles]
    scores: Mapping[str, float]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that give evidence."""
        return tuple(self.heads)

    def present(self, vectors: PatientVectors) -> NDArray[np.bool_]:
        """Which patient has which modality, (modalities, n)."""
        absent = np.zeros(len(vectors), dtype=bool)
        return np.stack([vectors.present.get(modality, absent) for modality in self.heads])

    def evidence(self, vectors: PatientVectors, counts: Mapping[str, Array] | None = None) -> Array:
        """Log-likelihood ratios, (modalities, n, views, classes).

        Parameters
        ----------
        counts
            By modality: classes of the nearest neighbours, (n, classes); without them they say nothing.
        """
        out = np.zeros((len(self.heads), len(vectors), len(VIEWS), len(self.classes)))
        for place, (modality, head) in enumerate(self.heads.items()):
            held = np.flatnonzero(vectors.present.get(modality, np.zeros(len(vectors), dtype=bool)))
            if len(held):
                out[place, held, :2] = head.evidence(vectors.vectors[modality][held])
                if counts is not None and modality in self.unfamiliar:
                    out[place, held, 2] = neighbour_evidence(counts[modality][held], head.log_prior)
        return out

    def log_posterior(self, evidence: Array, present: NDArray[np.bool_]) -> Array:
        """Log-probability of each class, (n, classes); the class frequencies where a patient has nothing."""
        return log_softmax(self.stack.logits(evidence, present, self.log_prior))

    def sets(self, probabilities: Array, present: NDArray[np.bool_], error: float) -> NDArray[np.bool_]:
        """Conformal prediction sets at an error rate, bool (n, classes)."""
        return prediction_sets(probabilities, subset_code(present), self.nonconformity, error)

    def strangeness(self, nearness: Mapping[str, Array], present: NDArray[np.bool_]) -> Array:
        """Share of stored patients who are less strange than each patient, (n,); 1 is the strangest.

        NaN for a patient none of whose modalities can tell.

        Parameters
        ----------
        nearness
            By modality of `unfamiliar`: mean cosine of the nearest stored patients, (n,).
        """
        raw = fused_strangeness(self.modalities, nearness, present, self.unfamiliar, self.information)
        out = np.full(len(raw), np.nan)
        for code in np.unique(codes := subset_code(present)):
            rows = (codes == code) & ~np.isnan(raw)
            if int(code) in self.strange:
                out[rows] = self.strange[int(code)].share_below(raw[rows])
        return out


def fused_strangeness(
    modalities: Sequence[str],
    nearness: Mapping[str, Array],
    present: NDArray[np.bool_],
    unfamiliar: Mapping[str, Quantiles],
    information: Array,
) -> Array:
    """Mean over the present modalities of the share of patients that are less far off, weighed by information, (n,).

    NaN where none of the present modalities is in `unfamiliar`.
    """
    total, weight = np.zeros(present.shape[1]), np.zeros(present.shape[1])
    for place, modality in enumerate(modalities):
        if modality in unfamiliar:
            says = max(float(information[place]), 1e-6) * present[place]
            total += says * unfamiliar[modality].share_below(1 - nearness[modality])
            weight += says
    return np.asarray(np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan))


def fit_evidence(
    vectors: PatientVectors,
    labels: NDArray[np.str_],
    groups: NDArray[np.str_] | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> EvidenceModel:
    """Learn what the modalities say of a label.

    Parameters
    ----------
    vectors
        Patients, labelled or not.
    labels
        One per patient, ``""`` where unknown.
    groups
        Submitting site of each patient, kept whole between folds; None holds out single patients.

    Raises
    ------
    InputError
        Fewer than two classes have enough patients, or no modality has.
    """
    names, sizes = np.unique(labels[labels != ""], return_counts=True)
    classes = names[sizes >= FEWEST_OF_A_CLASS]
    if len(classes) < 2:
        raise InputError(f"fewer than two classes have {FEWEST_OF_A_CLASS} patients each: nothing can be learnt")
    rows = np.flatnonzero(np.isin(labels, classes))
    known = vectors.take(rows)
    y = np.searchsorted(classes, labels[rows])
    modalities = [m for m in known.modalities if known.present[m].sum() >= FEWEST_OF_A_MODALITY]
    if not modalities:
        raise InputError(f"no modality has {FEWEST_OF_A_MODALITY} patients with a label: nothing can be learnt")
    known = known.only(modalities)
    some = np.flatnonzero(known.matrix_present().any(axis=1))
    known, y, rows = known.take(some), y[some], rows[some]
    fold = group_folds(y, None if groups is None else groups[rows], FOLDS, seed)
    n_classes = len(classes)
    evidence = np.zeros((len(modalities), len(y), len(VIEWS), n_classes))
    nearness: dict[str, Array] = {}
    heads: dict[str, Head] = {}
    for place, modality in enumerate(modalities):
        progress(f"learn {modality}", place, len(modalities))
        block, held = known.vectors[modality], known.present[modality]
        heads[modality] = fit_head(block[held], y[held], n_classes)
        items = heads[modality].unit
        if not items:
            nearness[modality] = np.full(len(y), -1.0)
        for one in range(FOLDS):
            taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
            if not len(asked) or not len(taught):
                continue
            head = fit_head(block[taught], y[taught], n_classes, unit=items)
            evidence[place, asked, :2] = head.evidence(block[asked])
            if not items:
                counts, near = neighbourhood(block[asked], block[taught], y[taught], n_classes, NEIGHBOURS)
                evidence[place, asked, 2] = neighbour_evidence(counts, head.log_prior)
                nearness[modality][asked] = near
    progress("learn weights", len(modalities), len(modalities))
    return _calibrated(classes, heads, evidence, known, y, nearness, seed)


def _calibrated(
    classes: NDArray[np.str_],
    heads: Mapping[str, Head],
    evidence: Array,
    known: PatientVectors,
    y: NDArray[np.int64],
    nearness: Mapping[str, Array],
    seed: int,
) -> EvidenceModel:
    """Weights and quantiles from out-of-fold evidence."""
    present = known.matrix_present().T
    log_prior = class_log_prior(y, len(classes))
    fewer = [drop_assays(known, share, seed + i).matrix_present().T for i, share in enumerate(DROPPED)]
    stack = fit_stack(evidence, [present, *fewer], y, log_prior)
    at = np.arange(len(y))

    def log_p(held: NDArray[np.bool_]) -> Array:
        return log_softmax(stack.logits(evidence, held, log_prior))

    information = np.zeros(len(heads))
    unfamiliar: dict[str, Quantiles] = {}
    for place, modality in enumerate(heads):
        alone = np.zeros_like(present)
        alone[place] = present[place]
        some = np.flatnonzero(present[place])
        information[place] = max(0.0, float((log_p(alone)[some, y[some]] - log_prior[y[some]]).mean()))
        if modality in nearness:
            unfamiliar[modality] = Quantiles.of(1 - nearness[modality][some])
    codes = subset_code(present)
    nonconformity: dict[int, Quantiles] = {}
    strange: dict[int, Quantiles] = {}
    for code in range(1, 1 << len(heads)):
        chosen, _ = calibrators(code, codes)
        if not len(chosen):
            continue
        held = np.zeros_like(present)
        held[:, chosen] = ((code >> np.arange(len(heads))) & 1).astype(bool)[:, None]
        probability = np.exp(log_p(held)[chosen, y[chosen]])
        nonconformity[code] = Quantiles.of(1 - probability)
        raw = fused_strangeness(tuple(heads), nearness, held, unfamiliar, information)[chosen]
        if not np.isnan(raw).any():
            strange[code] = Quantiles.of(raw)
    own = log_p(present)
    scores = {
        "patients": len(y),
        "accuracy": float((own.argmax(axis=1) == y).mean()),
        "log_loss": float(-own[at, y].mean()),
    }
    return EvidenceModel(
        tuple(str(one) for one in classes),
        heads,
        stack,
        log_prior,
        information,
        nonconformity,
        unfamiliar,
        strange,
        scores,
    )
