"""Patients into folds, whole groups at a time or at random.

A submitting site is a batch: what a method learned at one hospital it may not find at the next. With whole sites held
out a query never meets a patient of its own site; random folds, reported beside them, show what that is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.folds import joined, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def leave_groups_out(
    labels: Sequence[str] | NDArray[np.str_],
    groups: Sequence[str] | NDArray[np.str_],
    n_folds: int = 5,
    *,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """The fold of each row; rows of one group, and rows of one patient, always share it.

    Groups that share a patient are one unit. Units are dealt one after the other, those that hold most of a label
    first, each to the fold that has least of the unit's labels so far; every label counts the same, whatever its size.
    Equal units are dealt in random order.

    Parameters
    ----------
    labels
        Label of each row, balanced over the folds; "" where there is none.
    groups
        Group of each row; a row with "" is a group of its own.
    n_folds
        At least 2.
    seed
        Same seed, same folds.
    patients
        Patient of each row, where one has several rows; each row its own by default.

    Returns
    -------
    int64 (n,), 0 to `n_folds` - 1.

    Raises
    ------
    UsageError
        There are fewer units than folds.
    """
    kind = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    unit = joined(numbered(groups, alone=""), patients)
    n_units, n_labels = int(unit.max(initial=-1)) + 1, int(kind.max(initial=-1)) + 1
    _check(n_folds, n_units, "groups")
    counts = np.zeros((n_units, n_labels))
    np.add.at(counts, (unit, kind), 1.0)
    sizes = counts.sum(axis=1)
    shares = counts / counts.sum(axis=0)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(n_units)
    order = shuffled[np.argsort(-shares.max(axis=1)[shuffled], kind="stable")]
    held, people = np.zeros((n_folds, n_labels)), np.zeros(n_folds)
    fold_of = np.empty(n_units, dtype=np.int64)
    for one in order:
        # The sum of squared shares over folds and labels grows least where this product is least.
        crowding = held @ shares[one]
        best = np.flatnonzero(crowding <= crowding.min() + 1e-12)
        fold = int(best[people[best].argmin()])
        fold_of[one] = fold
        held[fold] += shares[one]
        people[fold] += sizes[one]
    return fold_of[unit]


def random_folds(
    labels: Sequence[str] | NDArray[np.str_],
    n_folds: int = 5,
    *,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """The fold of each row, patients drawn at random within their label, whatever their site.

    Each label's patients are shuffled and dealt out in turn, so that folds differ by at most one patient of a label. A
    patient with rows of several labels is dealt with the first in alphabetical order. Parameters, result and errors as
    in `leave_groups_out`.
    """
    kind = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    unit = np.arange(len(kind)) if patients is None else numbered(patients)
    n_units = int(unit.max(initial=-1)) + 1
    _check(n_folds, n_units, "patients")
    first = np.full(n_units, len(kind))
    np.minimum.at(first, unit, kind)
    shuffled = np.random.default_rng(seed).permutation(n_units)
    order = shuffled[np.argsort(first[shuffled], kind="stable")]
    fold_of = np.empty(n_units, dtype=np.int64)
    # Dealing goes on from one label to the next, so that whole folds differ by at most one patient too.
    fold_of[order] = np.arange(n_units) % n_folds
    return fold_of[unit]


def _check(n_folds: int, n_units: int, what: str) -> None:
    if n_folds < 2:
        raise UsageError(f"{n_folds} folds: at least 2 are needed, one to ask about and one to answer from")
    if n_units < n_folds:
        raise UsageError(f"{n_units} {what} cannot fill {n_folds} folds: ask for fewer folds")
