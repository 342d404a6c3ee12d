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
    both = comparable(of.tolist(), marked.tolist())
    if not both:
        have = ", ".join(f"{name} ({n})" for name, n in Counter(of[marked].tolist()).most_common(6))
        raise InputError(
            f"no type has {LEAST} metastases and {LEAST} primary tumours, which are compared within types; metastases "
            f"there are: {have}"
        )
    # Which features are measured depends on which samples are compared.
    there = np.isin(of, list(both))
    rows, of, marked = rows[there], of[there], marked[there]
    block = np.asarray(values[rows], dtype=np.float64)
    kept = np.flatnonzero(~np.isnan(block).any(axis=0))
    spread, mean = block[:, kept].std(axis=0), block[:, kept].mean(axis=0)
    kept = kept[(spread > 0) & ((spread >= least) | (mean >= least))]
    if not len(kept):
        raise InputError(f"no feature is measured in all {len(rows):,} samples and rises above noise in any of them")
    block = block[:, kept]
    patients = np.array([samples[row].patient for row in rows.tolist()])
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
        twice=len(np.intersect1d(patients[marked], patients[~marked])),
        telling=_telling(block, of, marked, patients, seed),
        left_out=values.shape[1] - len(kept),
    )


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
