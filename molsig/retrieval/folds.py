"""Patients into folds that keep groups (submitting sites) whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_OF_A_CLASS = 0.6
"""Where one group holds more than this share of a class, the rest could not teach the class without it."""


def tied_to_group(classes: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Patients whose group holds more than `MOST_OF_A_CLASS` of their class, (n,); a group "" is one of its own.

    How well their class is told at another hospital cannot be known from them.
    """
    _, pair, sizes = np.unique(
        np.stack([classes.astype(np.str_), groups]), axis=1, return_inverse=True, return_counts=True
    )
    return np.asarray((groups != "") & (sizes[pair.ravel()] > MOST_OF_A_CLASS * np.bincount(classes)[classes]))


def group_folds(
    classes: NDArray[np.int64], groups: NDArray[np.str_] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """Fold of each patient, 0 to `folds` - 1; groups stay whole but for patients who are `tied_to_group`.

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
        loose = tied_to_group(classes, groups) | (groups == "")
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
