"""Learn the evidence for a label.

All that is learnt about weights and errors is learnt out of fold: on patients whose submitting site the heads did not
see. The errors that calibrate conformal sets come from weights that did not see the patient either.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.calibration import Quantiles, calibrators, class_weights, subset_code
from molsig.retrieval.evidence import EvidenceModel, fused_strangeness, side_by_side, voices_of
from molsig.retrieval.folds import group_folds, tied_to_group
from molsig.retrieval.heads import (
    NEIGHBOURS,
    VIEWS,
    class_log_prior,
    fit_head,
    fit_joint_head,
    log_softmax,
    neighbour_evidence,
)
from molsig.retrieval.neighbourhood import neighbourhood
from molsig.retrieval.stacking import fit_stack
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.heads import Head, JointHead
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.types import Progress

    Array = NDArray[np.float64]

FOLDS = 5
FEWEST_OF_A_CLASS = 5
"""Patients below which a class is not learnt: they could not be in every fold."""
FEWEST_OF_A_MODALITY = 50
"""Labelled patients below which a modality gives no evidence."""
FEWEST_OF_A_PAIR = 200
"""Labelled patients with both modalities below which they have no joint view."""
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
    fold = group_folds(y, None if groups is None else groups[rows], FOLDS, seed)
    n_classes = len(classes)
    evidence = voices_of(len(modalities), True, len(y), n_classes)
    nearness: dict[str, Array] = {}
    heads: dict[str, list[Head]] = {}
    steps = len(modalities) + 2
    for place, modality in enumerate(modalities):
        progress(f"learn {modality}", place, steps)
        voices = evidence[place * len(VIEWS) : (place + 1) * len(VIEWS)]
        heads[modality], near = _one_modality(known, modality, y, fold, n_classes, voices)
        if near is not None:
            nearness[modality] = near
    progress("learn pairs", len(modalities), steps)
    pair = _pair(known, modalities, evidence[:: len(VIEWS)], y)
    joint = None if pair is None else _two_modalities(known, pair, heads, y, fold, n_classes, evidence[-1])
    if joint is None:
        evidence = evidence[:-1]
    progress("learn weights", len(modalities) + 1, steps)
    own = {modality: of_folds[-1] for modality, of_folds in heads.items()}
    # Patients whose class cannot be told without their own hospital would make everything look easier than it is.
    fair = np.ones(len(y), dtype=bool) if groups is None else ~tied_to_group(y, groups[rows])
    if fair.sum() < FEWEST_FAIR:
        fair[:] = True
    names_of = tuple(str(one) for one in classes)
    found = _calibrated(names_of, own, joint, evidence, known, y, fold, fair, nearness)
    progress("learn weights", steps, steps)
    return found


def _one_modality(
    known: PatientVectors,
    modality: str,
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    n_classes: int,
    voices: Array,
) -> tuple[list[Head], Array | None]:
    """Heads of the folds and, last, of all; how near patients are to others. Fills `voices`, (views, n, classes)."""
    block, held = known.vectors[modality], known.present[modality]
    final = fit_head(block[held], y[held], n_classes)
    near = None if final.unit else np.full(len(y), -1.0)
    heads = []
    for one in range(FOLDS):
        taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
        if not len(taught):
            heads.append(final)
            continue
        head = fit_head(block[taught], y[taught], n_classes, unit=final.unit)
        heads.append(head)
        voices[:2, asked] = head.evidence(block[asked])
        if near is not None:
            counts, near[asked] = neighbourhood(block[asked], block[taught], y[taught], n_classes, NEIGHBOURS)
            voices[2, asked] = neighbour_evidence(counts, head.log_prior)
    return [*heads, final], near


def _pair(known: PatientVectors, modalities: list[str], linear: Array, y: NDArray[np.int64]) -> tuple[str, str] | None:
    """The two modalities that most is to be gained from together: what they tell, times the patients who have both."""
    rows = np.arange(len(y))
    tells = {m: max(0.0, float(linear[i, rows, y][known.present[m]].mean())) for i, m in enumerate(modalities)}
    worth: dict[tuple[str, str], float] = {}
    for one, other in combinations(modalities, 2):
        both = int((known.present[one] & known.present[other]).sum())
        if both >= FEWEST_OF_A_PAIR:
            worth[one, other] = both * (tells[one] + tells[other])
    return max(worth, key=worth.__getitem__) if worth else None


def _two_modalities(
    known: PatientVectors,
    pair: tuple[str, str],
    heads: Mapping[str, list[Head]],
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    n_classes: int,
    voice: Array,
) -> JointHead:
    """The joint head of all patients; fills `voice`, (n, classes), out of fold."""
    held = known.present[pair[0]] & known.present[pair[1]]
    for one in range(FOLDS):
        taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
        if len(taught) and len(asked):
            of_fold = {m: heads[m][one] for m in pair}
            head = fit_joint_head(pair, side_by_side(known, of_fold, pair, taught), y[taught], n_classes)
            voice[asked] = head.evidence(side_by_side(known, of_fold, pair, asked))
    rows = np.flatnonzero(held)
    final = {m: heads[m][-1] for m in pair}
    return fit_joint_head(pair, side_by_side(known, final, pair, rows), y[rows], n_classes)


def _calibrated(
    classes: tuple[str, ...],
    heads: Mapping[str, Head],
    joint: JointHead | None,
    evidence: Array,
    known: PatientVectors,
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    fair: NDArray[np.bool_],
    nearness: Mapping[str, Array],
) -> EvidenceModel:
    """Weights and quantiles from out-of-fold evidence; of the patients that are `fair`, who stand for all."""
    present = known.matrix_present().T
    log_prior = class_log_prior(y, len(classes))
    needs = np.repeat(1 << np.arange(len(heads)), len(VIEWS))
    if joint is not None:
        needs = np.append(needs, sum(1 << place for place, m in enumerate(heads) if m in joint.modalities))
    stack = fit_stack(evidence, present, needs, y, log_prior, fair)
    # Weights that have seen a patient are a little too good for it: its errors are measured with others'.
    crossed = []
    for one in range(FOLDS):
        rest = np.flatnonzero(fold != one)
        crossed.append(fit_stack(evidence[:, rest], present[:, rest], needs, y[rest], log_prior, fair[rest]))

    def log_p(held: NDArray[np.bool_], rows: NDArray[np.int64]) -> Array:
        out = np.zeros((len(rows), len(classes)))
        for one, weights in enumerate(crossed):
            mine = np.flatnonzero(fold[rows] == one)
            out[mine] = log_softmax(weights.logits(evidence[:, rows[mine]], held[:, mine], log_prior))
        return out

    information = np.zeros(len(heads))
    unfamiliar: dict[str, Quantiles] = {}
    for place, modality in enumerate(heads):
        some = np.flatnonzero(present[place])
        alone = np.zeros((len(heads), len(some)), dtype=bool)
        alone[place] = True
        told = log_p(alone, some)[np.arange(len(some)), y[some]] - log_prior[y[some]]
        information[place] = max(0.0, float(told.mean()))
        if modality in nearness:
            unfamiliar[modality] = Quantiles.of(1 - nearness[modality][some])
    codes = subset_code(present)
    nonconformity: dict[int, Quantiles] = {}
    strange: dict[int, Quantiles] = {}
    for code in range(1, 1 << len(heads)):
        able = calibrators(code, codes, fair)
        chosen = able[fair[able]]
        if not len(chosen):
            continue
        shares = class_weights(y[able], fair[able], len(classes))
        held = np.repeat(((code >> np.arange(len(heads))) & 1).astype(bool)[:, None], len(chosen), axis=1)
        probability = np.exp(log_p(held, chosen)[np.arange(len(chosen)), y[chosen]])
        nonconformity[code] = Quantiles.of(1 - probability, shares)
        near = {m: of[chosen] for m, of in nearness.items()}
        raw = fused_strangeness(tuple(heads), near, held, unfamiliar, information)
        if not np.isnan(raw).any():
            strange[code] = Quantiles.of(raw, shares)
    own = log_p(present[:, fair], np.flatnonzero(fair))
    right = y[fair]
    scores = {
        "patients": len(right),
        "accuracy": float((own.argmax(axis=1) == right).mean()),
        "log_loss": float(-own[np.arange(len(right)), right].mean()),
    }
    return EvidenceModel(
        classes, heads, joint, stack, log_prior, information, nonconformity, unfamiliar, strange, scores
    )
