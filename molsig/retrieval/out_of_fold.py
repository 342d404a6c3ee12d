"""What heads say of patients whose hospital they did not see: the ground on which weights and errors are learnt."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.evidence import side_by_side, voices_of
from molsig.retrieval.heads import NEIGHBOURS, VIEWS, fit_head, fit_joint_head, neighbour_evidence
from molsig.retrieval.neighbourhood import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.heads import Head, JointHead
    from molsig.retrieval.patient_vectors import PatientVectors
    from molsig.types import Progress

    Array = NDArray[np.float64]

FEWEST_OF_A_PAIR = 200
"""Patients with both modalities below which they have no joint view."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Evidence for some patients, and how near they are to others.

    Attributes
    ----------
    evidence
        Log-likelihood ratios, (voices, n, classes).
    nearness
        By modality that is compared: mean cosine of the nearest, (n,).
    """

    evidence: Array
    nearness: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Heads of all patients, and the answers of heads that did not see a patient's fold.

    Attributes
    ----------
    heads, joint
        Fitted to all patients.
    answers
        Out of fold.
    as_unknown
        The same, with each patient's own class taken out of the neighbours.
    """

    heads: Mapping[str, Head]
    joint: JointHead | None
    answers: Answers
    as_unknown: Answers


def ask_out_of_fold(
    known: PatientVectors, y: NDArray[np.int64], fold: NDArray[np.int64], n_classes: int, progress: Progress
) -> OutOfFold:
    """Fit heads to all patients and to all but each fold, and ask the latter about their fold.

    Parameters
    ----------
    known
        Patients with at least one modality.
    y
        Class of each, (n,).
    fold
        Fold of each, (n,), from 0.
    """
    modalities = known.modalities
    evidence = voices_of(len(modalities), True, len(y), n_classes)
    without = {}
    heads: dict[str, list[Head]] = {}
    near: dict[str, Array] = {}
    near_without: dict[str, Array] = {}
    for place, modality in enumerate(modalities):
        progress(f"learn {modality}", place, len(modalities) + 2)
        voices = evidence[place * len(VIEWS) : (place + 1) * len(VIEWS)]
        heads[modality] = _heads(known, modality, y, fold, n_classes, voices)
        if not heads[modality][-1].unit:
            around = [_neighbours(known, modality, y, fold, heads[modality], apart) for apart in (False, True)]
            (voices[2], near[modality]), (without[place], near_without[modality]) = around
    progress("learn pairs", len(modalities), len(modalities) + 2)
    pair = _pair(known, evidence[:: len(VIEWS)], y)
    joint = None
    if pair is None:
        evidence = evidence[:-1]
    else:
        joint, evidence[-1] = _joint(known, pair, heads, y, fold, n_classes)
    as_unknown = evidence.copy()
    for place, voice in without.items():
        as_unknown[place * len(VIEWS) + 2] = voice
    return OutOfFold(
        {modality: of_folds[-1] for modality, of_folds in heads.items()},
        joint,
        Answers(evidence, near),
        Answers(as_unknown, near_without),
    )


def _heads(
    known: PatientVectors,
    modality: str,
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    n_classes: int,
    voices: Array,
) -> list[Head]:
    """Heads of the folds and, last, of all; fills the first two of `voices`, (views, n, classes)."""
    block, held = known.vectors[modality], known.present[modality]
    final = fit_head(block[held], y[held], n_classes)
    heads = []
    for one in range(fold.max() + 1):
        taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
        # With all its patients in one fold a modality cannot be asked about them.
        heads.append(fit_head(block[taught], y[taught], n_classes, unit=final.unit) if len(taught) else final)
        if len(taught):
            voices[:2, asked] = heads[-1].evidence(block[asked])
    return [*heads, final]


def _neighbours(
    known: PatientVectors,
    modality: str,
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    heads: list[Head],
    apart: bool,
) -> tuple[Array, Array]:
    """What the neighbours in other folds say, (n, classes), and how near they are, (n,); `apart` without own class."""
    block, held = known.vectors[modality], known.present[modality]
    n_classes = len(heads[-1].log_prior)
    voice, near = np.zeros((len(y), n_classes)), np.full(len(y), -1.0)
    for one in range(fold.max() + 1):
        taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
        own = y[asked] if apart else None
        counts, near[asked] = neighbourhood(block[asked], block[taught], y[taught], n_classes, NEIGHBOURS, without=own)
        voice[asked] = neighbour_evidence(counts, heads[one].log_prior)
    return voice, near


def _pair(known: PatientVectors, linear: Array, y: NDArray[np.int64]) -> tuple[str, str] | None:
    """The two modalities that most is to be gained from together: what they tell, times the patients who have both."""
    rows = np.arange(len(y))
    modalities = known.modalities
    tells = {m: max(0.0, float(linear[i, rows, y][known.present[m]].mean())) for i, m in enumerate(modalities)}
    worth: dict[tuple[str, str], float] = {}
    for one, other in combinations(modalities, 2):
        both = int((known.present[one] & known.present[other]).sum())
        if both >= FEWEST_OF_A_PAIR:
            worth[one, other] = both * (tells[one] + tells[other])
    return max(worth, key=worth.__getitem__) if worth else None


def _joint(
    known: PatientVectors,
    pair: tuple[str, str],
    heads: Mapping[str, list[Head]],
    y: NDArray[np.int64],
    fold: NDArray[np.int64],
    n_classes: int,
) -> tuple[JointHead, Array]:
    """The joint head of all patients, and what those of the folds say, (n, classes)."""
    held = known.present[pair[0]] & known.present[pair[1]]
    voice = np.zeros((len(y), n_classes))
    for one in range(fold.max() + 1):
        taught, asked = np.flatnonzero(held & (fold != one)), np.flatnonzero(held & (fold == one))
        if len(taught) and len(asked):
            of_fold = {m: heads[m][one] for m in pair}
            head = fit_joint_head(pair, side_by_side(known, of_fold, pair, taught), y[taught], n_classes)
            voice[asked] = head.evidence(side_by_side(known, of_fold, pair, asked))
    rows = np.flatnonzero(held)
    final = {m: heads[m][-1] for m in pair}
    return fit_joint_head(pair, side_by_side(known, final, pair, rows), y[rows], n_classes), voice
