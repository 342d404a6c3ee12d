"""Patients into folds that keep groups (submitting sites) whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_GROUPS = 3
"""A class with fewer groups than this is dealt out patient by patient: its only group cannot be held out."""
MOST_OF_A_CLASS = 0.6
"""The same, where one group holds more than this share of the class."""


def group_folds(
    classes: NDArray[np.int64], groups: NDArray[np.str_] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """Fold of each patient, 0 to `folds` - 1; a group stays whole wherever the rest can still teach its classes.

    Groups are dealt out largest first, each to the fold that has fewest patients of its commonest class so far.

    Parameters
    ----------
    classes
        Class of each patient, (n,).
    groups
        Group of each patient, (n,); None deals out single patients.
    """
    rng = np.random.default_rng(seed)
    n = len(classes)
    if groups is None:
        unit = np.arange(n)
    else:
        _, unit = np.unique(groups, return_inverse=True)
        loose = np.zeros(n, dtype=bool)
        for one in np.unique(classes):
            rows = np.flatnonzero(classes == one)
            sizes = np.bincount(unit[rows])
            loose[rows] = (sizes > 0).sum() < FEWEST_GROUPS or sizes.max() > MOST_OF_A_CLASS * len(rows)
        unit = np.where(loose, unit.max(initial=0) + 1 + np.arange(n), unit)
        _, unit = np.unique(unit, return_inverse=True)
    units = int(unit.max(initial=-1)) + 1
    counts = np.zeros((units, int(classes.max(initial=-1)) + 1))
    np.add.at(counts, (unit, classes), 1)
    load = np.zeros((folds, counts.shape[1]))
    fold = np.zeros(units, dtype=np.int64)
    # A random order among equals; then the largest first, so that small ones even out what they leave.
    order = rng.permutation(units)
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    for one in order:
        commonest = int(counts[one].argmax())
        fold[one] = int(np.lexsort((load.sum(axis=1), load[:, commonest]))[0])
        load[fold[one]] += counts[one]
    return np.asarray(fold[unit], dtype=np.int64)
