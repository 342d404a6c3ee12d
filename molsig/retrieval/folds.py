"""Patients into folds that keep groups (submitting sites) whole.

Two callers deal differently: what is learned (`group_folds`) must see every class in training, so it lets go of groups
that hold too much of one; what is measured (`molsig.evaluate.folds`) never does. What a group is, is the same for both:
`numbered` and `joined`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_OF_A_CLASS = 0.6
"""Where one group holds more than this share of a class, the rest could not teach the class without it."""


def numbered(names: Sequence[str] | NDArray[np.str_], *, alone: str | None = None) -> NDArray[np.int64]:
    """Number the distinct names from 0; each row named `alone` gets a number of its own.

    A missing site is ``""``: patients without one have nothing in common, so ``alone=""`` keeps them apart.
    """
    _, codes = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    codes = codes.astype(np.int64)
    if alone is not None:
        single = np.asarray(names, dtype=str) == alone
        codes[single] = codes.max(initial=0) + 1 + np.arange(single.sum())
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def joined(groups: NDArray[np.int64], patients: Sequence[str] | None) -> NDArray[np.int64]:
    """Groups that share a patient, directly or over others, become one; numbered from 0."""
    if patients is None:
        return groups
    people = numbered(patients)
    units = groups
    while True:
        # The least group of each patient's rows, then the least of each group's rows, until nothing moves.
        least = np.full(people.max(initial=-1) + 1, len(groups))
        np.minimum.at(least, people, units)
        lowest = np.full(groups.max(initial=-1) + 1, len(groups))
        np.minimum.at(lowest, groups, least[people])
        moved = lowest[groups]
        if np.array_equal(moved, units):
            return np.unique(units, return_inverse=True)[1].astype(np.int64)
        units = moved


def tied_to_group(classes: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Patients whose group holds more than `MOST_OF_A_CLASS` of their class, bool (n,); ``""`` is no group.

    How well their class is told at another hospital cannot be known from them.
    """
    _, group = np.unique(groups, return_inverse=True)
    _, pair, sizes = np.unique(np.stack([classes, group]), axis=1, return_inverse=True, return_counts=True)
    most = sizes[pair.ravel()] > MOST_OF_A_CLASS * np.bincount(classes)[classes]
    return np.asarray((groups != "") & most)


def group_folds(
    classes: NDArray[np.int64], groups: NDArray[np.str_] | None, folds: int, seed: int, *, loosen: bool = True
) -> NDArray[np.int64]:
    """Fold of each patient, 0 to `folds` - 1; a group stays whole wherever the rest can still teach its class.

    Groups are dealt out largest first, each to the fold that has fewest patients of its commonest class so far.

    Parameters
    ----------
    classes
        Class of each patient, (n,).
    groups
        Group of each patient, (n,); ``""`` is a group of its own. None deals out single patients.
    loosen
        Deal out patients one by one who are `tied_to_group`: with that group held out nothing could be learned of their
        class. False keeps every group whole whatever it costs.
    """
    rng = np.random.default_rng(seed)
    n = len(classes)
    if groups is None:
        unit = np.arange(n)
    else:
        unit = numbered(groups, alone="")
        loose = tied_to_group(classes, groups) if loosen else np.zeros(n, dtype=bool)
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
