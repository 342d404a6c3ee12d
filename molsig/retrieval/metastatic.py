"""Features that differ between metastases and primary tumours of the same types, and how well they tell the two apart.

How well is measured out of fold, whole patients held out, the ranking made anew in every fold: the first features of a
list that was made of all samples tell those samples too well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.differential import LEAST, comparable, differential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.differential import Differential
    from molsig.types import SampleId

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

FOLDS = 5
SIZES = (10, 20, 50, 100)
"""How many of the first features tell metastases, out of fold."""


@dataclass(frozen=True, slots=True)
class Telling:
    """Area under the ROC curve of a Gaussian naive Bayes on the first features: mean, lowest and highest fold."""

    features: int
    auc: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Metastatic:
    """What differs in metastases.

    Attributes
    ----------
    features
        Names of those that were compared: measured in all compared samples, and above noise.
    whole
        Differences pooled over types, metastases less primary tumours, with t and q.
    by_type
        Difference of the means within each type, (features,).
    samples, types, metastasis
        What was compared: row of the given matrix, type, and whether it is a metastasis, (n,).
    values
        Their values, (n, features).
    averaged
        Samples beyond the first of their patient, type and kind: they were averaged with it.
    twice
        Patients with a metastasis and a primary tumour.
    telling
        How well the first features tell, out of fold; none where there are too few patients for folds.
    left_out
        Features that were not compared.
    """

    features: tuple[str, ...]
    whole: Differential
    by_type: dict[str, Array]
    samples: Rows
    types: NDArray[np.str_]
    metastasis: NDArray[np.bool_]
    values: Array
    averaged: int
    twice: int
    telling: tuple[Telling, ...]
    left_out: int


def metastatic(
    values: NDArray[np.floating],
    features: Sequence[str],
    samples: Sequence[SampleId],
    types: Sequence[str],
    *,
    least: float = 0.0,
    seed: int = 0,
) -> Metastatic:
    """Compare metastases with primary tumours within types.

    Parameters
    ----------
    values
        (n, features), on the scale differences are to be told on; NaN where not measured.
    samples, types
        Of each row; other kinds than ``tumour`` and ``metastasis`` are passed over.
    least
        Features whose mean and deviation are both below are left out: of those that hardly ever rise above noise a few
        outliers make a t as great as any.
    seed
        Of the folds.

    Raises
    ------
    InputError
        No type has enough of both, or no feature is measured in all of them.
    """
    kinds = np.array([one.kind for one in samples])
    rows = np.flatnonzero(np.isin(kinds, ["tumour", "metastasis"]))
    of, marked = np.asarray(types, dtype=str)[rows], kinds[rows] == "metastasis"
    if not marked.any():
        raise InputError(
            "none of the labelled samples is a metastasis",
            hint="Which samples are is read from TCGA barcodes (06, 07) or the column `kind` of --samples FILE",
        )
    rows, of, marked, owner, values = _one_of_each(rows, of, marked, samples, values)
    both = comparable(of.tolist(), marked.tolist())
    if not both:
        have = ", ".join(f"{name} ({n})" for name, n in Counter(of[marked].tolist()).most_common(6))
        raise InputError(
            f"no type has metastases of {LEAST} patients and primary tumours of {LEAST}, which are compared within "
            f"types; metastases there are: {have}"
        )
    # Which features are measured depends on which samples are compared.
    there = np.isin(of, list(both))
    rows, of, marked, block = rows[there], of[there], marked[there], values[there]
    kept = np.flatnonzero(~np.isnan(block).any(axis=0))
    spread, mean = block[:, kept].std(axis=0), block[:, kept].mean(axis=0)
    kept = kept[(spread > 0) & ((spread >= least) | (mean >= least))]
    if not len(kept):
        raise InputError(f"no feature is measured in all {len(rows):,} samples and rises above noise in any of them")
    block = block[:, kept]
    patients = np.array([samples[row].patient for row in rows.tolist()])
    averaged = int((np.bincount(owner, minlength=len(there))[there] - 1).sum())
    return Metastatic(
        features=tuple(features[i] for i in kept.tolist()),
        whole=differential(block, of.tolist(), marked.tolist()),
        by_type={
            name: block[(of == name) & marked].mean(axis=0) - block[(of == name) & ~marked].mean(axis=0)
            for name in both
        },
        samples=rows,
        types=of,
        metastasis=marked,
        values=block,
        averaged=averaged,
        twice=len(np.intersect1d(patients[marked], patients[~marked])),
        telling=_telling(block, of, marked, patients, seed),
        left_out=values.shape[1] - len(kept),
    )


def _one_of_each(
    rows: Rows,
    types: NDArray[np.str_],
    marked: NDArray[np.bool_],
    samples: Sequence[SampleId],
    values: NDArray[np.floating],
) -> tuple[Rows, NDArray[np.str_], NDArray[np.bool_], Rows, Array]:
    """The first sample of each patient, type and kind, its type and kind, whose each sample is, and mean values.

    Several samples of a patient tell as little of others as one does; counted singly they would make anything differ.
    """
    names = np.array([samples[row].patient for row in rows.tolist()])
    keys = np.stack([names, types, marked.astype(str)])
    _, first, owner = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    owner, first = place[owner.ravel()], first[order]
    total = np.zeros((len(first), values.shape[1]))
    np.add.at(total, owner, np.asarray(values[rows], dtype=np.float64))
    mean = total / np.bincount(owner)[:, None]
    return rows[first], types[first], marked[first], owner, mean


def _telling(
    x: Array, types: NDArray[np.str_], marked: NDArray[np.bool_], patients: NDArray[np.str_], seed: int
) -> tuple[Telling, ...]:
    """Rank, centre by type and fit on four fifths of the patients, judge on the others."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.naive_bayes import GaussianNB

    if min(len(np.unique(patients[marked])), len(np.unique(patients[~marked]))) < 2 * FOLDS:
        return ()
    sizes = sorted({min(n, x.shape[1]) for n in SIZES})
    found: dict[int, list[float]] = {n: [] for n in sizes}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fit, judge in folds.split(x, marked, patients):
        try:
            order = differential(x[fit], types[fit].tolist(), marked[fit].tolist()).ranking()
        except InputError:
            return ()
        centred = x.copy()
        for name in np.unique(types):
            # A type that is all in the fold that judges is centred by itself: its labels are not looked at.
            own = types[fit] == name
            centred[types == name] -= x[fit][own].mean(axis=0) if own.any() else x[types == name].mean(axis=0)
        if len(np.unique(marked[judge])) < 2:
            return ()
        for n in sizes:
            some = order[:n]
            told = GaussianNB().fit(centred[fit][:, some], marked[fit]).predict_log_proba(centred[judge][:, some])
            found[n].append(float(roc_auc_score(marked[judge], told[:, 1] - told[:, 0])))
    return tuple(Telling(n, float(np.mean(one)), min(one), max(one)) for n, one in found.items())
