"""Learn the evidence for a label.

All that is learnt about weights and errors is learnt out of fold: on patients whose submitting site the heads did not
see. The errors that calibrate conformal sets come from weights that did not see the patient either. Patients whose
class cannot be told without their own hospital teach heads but no weights: they would make everything look easier than
it is. The others stand for them, class by class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.calibration import Quantiles, calibrators, class_weights, subset_code
from molsig.retrieval.evidence import EvidenceModel
from molsig.retrieval.familiarity import Familiarity, far_off, signs, weigh_signs
from molsig.retrieval.folds import group_folds, tied_to_group
from molsig.retrieval.heads import VIEWS, class_log_prior, log_softmax
from molsig.retrieval.out_of_fold import ask_out_of_fold
from molsig.retrieval.stacking import fit_stack
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.out_of_fold import Answers, OutOfFold
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.retrieval.stacking import Stack
    from molsig.types import Progress

    Array = NDArray[np.float64]

FOLDS = 5
FEWEST_OF_A_CLASS = 5
"""Patients below which a class is not learnt: they could not be in every fold."""
FEWEST_OF_A_MODALITY = 50
"""Labelled patients below which a modality gives no evidence."""
FEWEST_FAIR = 200
"""Patients whose hospital can be held out below which weights and errors are learnt on all."""
MOST_MODALITIES = 8
"""Every set of assays has weights of its own: of more modalities, those with most patients are taken."""


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
    patients_of = {m: int(known.present[m].sum()) for m in known.modalities}
    most = sorted(patients_of, key=lambda m: -patients_of[m])[:MOST_MODALITIES]
    modalities = [m for m in known.modalities if m in most and patients_of[m] >= FEWEST_OF_A_MODALITY]
    if not modalities:
        raise InputError(f"no modality has {FEWEST_OF_A_MODALITY} patients with a label: nothing can be learnt")
    known = known.only(modalities)
    some = np.flatnonzero(known.matrix_present().any(axis=1))
    known, y, rows = known.take(some), y[some], rows[some]
    sites = None if groups is None else groups[rows]
    fold = group_folds(y, sites, FOLDS, seed)
    found = ask_out_of_fold(known, y, fold, len(classes), progress)
    fair = np.ones(len(y), dtype=bool) if sites is None else ~tied_to_group(y, sites)
    if fair.sum() < FEWEST_FAIR:
        fair[:] = True
    progress("learn weights", len(modalities) + 1, len(modalities) + 2)
    model = _weighed(tuple(str(one) for one in classes), found, known, y, fold, fair)
    progress("learn weights", len(modalities) + 2, len(modalities) + 2)
    return model


def _weighed(
    classes: tuple[str, ...],
    found: OutOfFold,
    known: PatientVectors,
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    fair: NDArray[np.bool_],
) -> EvidenceModel:
    """Weights and quantiles from out-of-fold answers about the patients that are `fair`."""
    modalities = tuple(found.heads)
    present = known.matrix_present().T
    log_prior = class_log_prior(y, len(classes))
    needs = np.repeat(1 << np.arange(len(modalities)), len(VIEWS))
    if found.joint is not None:
        needs = np.append(needs, sum(1 << place for place, m in enumerate(modalities) if m in found.joint.modalities))
    evidence = found.answers.evidence
    stack = fit_stack(evidence, present, needs, y, log_prior, fair)
    # Weights that have seen a patient are a little too good for it: its errors are measured with others'.
    crossed = [
        fit_stack(evidence[:, rest], present[:, rest], needs, y[rest], log_prior, fair[rest])
        for rest in (np.flatnonzero(fold != one) for one in range(FOLDS))
    ]
    ask = _Crossed(crossed, fold, log_prior)
    information = np.zeros(len(modalities))
    for place in range(len(modalities)):
        some = np.flatnonzero(present[place])
        alone = np.zeros((len(modalities), len(some)), dtype=bool)
        alone[place] = True
        told = ask.log_posterior(evidence, alone, some)[np.arange(len(some)), y[some]] - log_prior[y[some]]
        information[place] = max(0.0, float(told.mean()))
    codes = subset_code(present)
    nonconformity: dict[int, Quantiles] = {}
    for code in range(1, 1 << len(modalities)):
        chosen, shares = _standing_in(code, codes, y, fair)
        if len(chosen):
            held = _having(code, len(modalities), len(chosen))
            log_p = ask.log_posterior(evidence, held, chosen)[np.arange(len(chosen)), y[chosen]]
            nonconformity[code] = Quantiles.of(1 - np.exp(log_p), shares)
    rows = np.flatnonzero(fair)
    own, right = ask.log_posterior(evidence, present[:, rows], rows), y[rows]
    scores = {
        "patients": len(rows),
        "accuracy": float((own.argmax(axis=1) == right).mean()),
        "log_loss": float(-own[np.arange(len(rows)), right].mean()),
    }
    familiarity = _familiarity(found, present, information, y, fair, ask)
    return EvidenceModel(
        classes, found.heads, found.joint, stack, log_prior, information, nonconformity, familiarity, scores
    )


class _Crossed:
    """Weights that did not see a patient's fold."""

    def __init__(self, stacks: Sequence[Stack], fold: NDArray[np.int64], log_prior: Array) -> None:
        self._stacks, self._fold, self._log_prior = stacks, fold, log_prior

    def log_posterior(
        self,
        evidence: Array,
        held: NDArray[np.bool_],
        rows: NDArray[np.int64],
        without: NDArray[np.int64] | None = None,
    ) -> Array:
        """Log-probabilities for some patients as if they had the assays `held`, (rows, classes).

        `without` names a class of each that cannot be, (rows,).
        """
        out = np.zeros((len(rows), len(self._log_prior)))
        for one, stack in enumerate(self._stacks):
            mine = np.flatnonzero(self._fold[rows] == one)
            out[mine] = stack.logits(evidence[:, rows[mine]], held[:, mine], self._log_prior)
        if without is not None:
            out[np.arange(len(rows)), without] = -np.inf
        return log_softmax(out)


def _familiarity(
    found: OutOfFold,
    present: NDArray[np.bool_],
    information: Array,
    y: NDArray[np.int64],
    fair: NDArray[np.bool_],
    ask: _Crossed,
) -> Familiarity:
    """What it looks like to be known, and to be of a class that nobody has."""
    modalities = tuple(found.heads)
    codes = subset_code(present)
    unfamiliar = {}
    for modality, near in found.answers.nearness.items():
        some = np.flatnonzero(present[modalities.index(modality)])
        unfamiliar[modality] = Quantiles.of(1 - near[some])
    far: dict[int, Quantiles] = {}
    for code in range(1, 1 << len(modalities)):
        chosen, shares = _standing_in(code, codes, y, fair)
        held = _having(code, len(modalities), len(chosen))
        nearness = {m: of[chosen] for m, of in found.answers.nearness.items()}
        raw = far_off(modalities, information, nearness, held, unfamiliar)
        if len(chosen) and not np.isnan(raw).any():
            far[code] = Quantiles.of(raw, shares)
    partly = Familiarity(unfamiliar, far, np.zeros(3), {})

    def seen(
        answers: Answers, held: NDArray[np.bool_], rows: NDArray[np.int64], out: NDArray[np.int64] | None
    ) -> Array:
        near = {m: of[rows] for m, of in answers.nearness.items()}
        less_far = partly.share_less_far(modalities, information, near, held)
        return signs(less_far, ask.log_posterior(answers.evidence, held, rows, out))

    rows = np.flatnonzero(fair)
    known = seen(found.answers, present[:, rows], rows, None)
    playing = seen(found.as_unknown, present[:, rows], rows, y[rows])
    a_class_each = 1 / np.bincount(y[rows])[y[rows]]
    weights = weigh_signs(known, playing, class_weights(y, fair, int(y.max()) + 1), a_class_each)
    strange: dict[int, Quantiles] = {}
    for code in range(1, 1 << len(modalities)):
        chosen, shares = _standing_in(code, codes, y, fair)
        if len(chosen):
            score = seen(found.answers, _having(code, len(modalities), len(chosen)), chosen, None) @ weights
            strange[code] = Quantiles.of(score, shares)
    return Familiarity(unfamiliar, far, weights, strange)


def _standing_in(
    code: int, codes: NDArray[np.int64], y: NDArray[np.int64], fair: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Array]:
    """Fair patients that calibrate a set of assays, and how many each stands for."""
    able = calibrators(code, codes, fair)
    return able[fair[able]], class_weights(y[able], fair[able], int(y.max()) + 1)


def _having(code: int, modalities: int, n: int) -> NDArray[np.bool_]:
    """A set of assays, for each of n patients, (modalities, n)."""
    return np.repeat(((code >> np.arange(modalities)) & 1).astype(bool)[:, None], n, axis=1)
