"""Labels from concatenated aggregates: the study's classifier, run again and again on new splits and new draws.

After doi 10.1101/2025.05.14.653900, Classification Model: patient-level sums side by side, 80/20 splits, at least 30
runs, mean and spread. The study does not describe its network; this one has one hidden layer. Beyond the study, whole
submitting sites can be held out: a patient is then never told with the help of others from the same hospital.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.sampling import sample_patients
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.pool import Pool
    from molsig.types import Progress

RUNS = 30
HIDDEN = 128
DROPOUT = 0.3
EPOCHS = 15
BATCH = 128

SHARE = 0.2
"""Share of each class that is asked about."""
MOST = 0.35
"""No site goes among those asked about that would take more than this share of its commonest class there."""


@dataclass(frozen=True)
class RunScores:
    """Scores of many runs.

    Attributes
    ----------
    classes
        Labels, sorted.
    f1
        By run and class, float64 (runs, classes); NaN where no patient of the class was asked about.
    accuracy, balanced
        By run, float64 (runs,).
    confusion
        Answers by true label and answer, summed over the runs, int64 (classes, classes).
    """

    classes: tuple[str, ...]
    f1: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    balanced: NDArray[np.float64]
    confusion: NDArray[np.int64]


def classify_aggregates(
    pool: Pool,
    labels: Sequence[str | None],
    n: int,
    repeats: int,
    *,
    sites: Sequence[str | None] | None = None,
    runs: int = RUNS,
    seed: int = 0,
    progress: Progress = silent,
) -> RunScores:
    """Tell a label from patients' concatenated sums, each run on a new draw and a new split of the patients.

    Parameters
    ----------
    pool
        Vectors to draw from.
    labels
        A label per patient of `pool.patients`, or None; patients without one are left out.
    n, repeats
        Vectors per sum (sample count) and sums per patient (sampling repeats).
    sites
        A submitting site per patient of `pool.patients`, or None where it is unknown: whole sites are then held out. A
        patient of no known site is a site of their own. Without it patients are split at random.

    Raises
    ------
    UsageError
        There are not at least two labels with five patients each, or in some run the sites cannot be parted so that
        two labels or more are on both sides.
    """
    for name, given in (("labels", labels), ("sites", labels if sites is None else sites)):
        if len(given) != len(pool.patients):
            raise UsageError(f"{len(given)} {name} for the {len(pool.patients)} patients of the pool")
    held = np.unique(pool.patient)
    names, counts = np.unique([labels[i] for i in held if labels[i] is not None], return_counts=True)
    classes = tuple(str(name) for name in names[counts >= 5])
    if len(classes) < 2:
        raise UsageError("a label is told from aggregates where at least two values have five patients or more")
    place = {name: i for i, name in enumerate(classes)}
    code = np.array([-1 if one is None else place.get(one, -1) for one in labels])
    known = pool.of_patients(np.flatnonzero(code >= 0))
    site = None if sites is None else _site_codes(sites)
    confusion = np.zeros((runs, len(classes), len(classes)), np.int64)
    for run in range(runs):
        sums = sample_patients(known, n, repeats, seed=seed + run)
        y = code[sums.group]
        rng = np.random.default_rng(seed + run)
        test = _fifth(y, rng) if site is None else _fifth_by_site(y, site[sums.group], rng)
        found = _fit_and_ask(sums.vectors[~test], y[~test], sums.vectors[test], len(classes), seed + run)
        np.add.at(confusion[run], (y[test], found), 1)
        progress(f"classify, n {n}, repeats {repeats}", run + 1, runs)
    right = np.einsum("rii->ri", confusion)
    asked, said = confusion.sum(axis=2), confusion.sum(axis=1)
    was_asked = asked > 0
    return RunScores(
        classes,
        np.where(was_asked, 2 * right / np.maximum(asked + said, 1), np.nan),
        right.sum(axis=1) / asked.sum(axis=1),
        (right / np.maximum(asked, 1)).sum(axis=1) / was_asked.sum(axis=1),
        confusion.sum(axis=0),
    )


def _site_codes(sites: Sequence[str | None]) -> NDArray[np.int64]:
    names, codes = np.unique(["" if one is None else str(one) for one in sites], return_inverse=True)
    codes = codes.astype(np.int64)
    alone = np.array([one is None for one in sites], bool)
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes


def _fifth(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A fifth of each class, at random."""
    order = np.lexsort((rng.random(len(y)), y))
    sorted_y = y[order]
    first = np.searchsorted(sorted_y, sorted_y)
    test = np.empty(len(y), bool)
    test[order] = (np.arange(len(y)) - first) % 5 == 0
    return test


def _fifth_by_site(y: NDArray[np.int64], site: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whole sites, at random, until they hold about a fifth of each class.

    Raises
    ------
    UsageError
        Fewer than two classes are on both sides.
    """
    _, unit = np.unique(site, return_inverse=True)
    counts = np.zeros((unit.max() + 1, y.max() + 1), np.int64)
    np.add.at(counts, (unit, y), 1)
    total, filled = counts.sum(axis=0), np.zeros(counts.shape[1], np.int64)
    held_out = np.zeros(len(counts), bool)
    for one in rng.permutation(len(counts)):
        commonest = counts[one].argmax()
        after = filled[commonest] + counts[one, commonest]
        if filled[commonest] < SHARE * total[commonest] and after <= MOST * total[commonest]:
            held_out[one] = True
            filled += counts[one]
    if ((filled > 0) & (filled < total)).sum() < 2:
        raise UsageError("whole sites cannot be held out: too few sites have sent patients of two labels")
    return held_out[unit]


def _fit_and_ask(
    x: NDArray[np.float32], y: NDArray[np.int64], asked: NDArray[np.float32], classes: int, seed: int
) -> NDArray[np.int64]:
    import torch
    from torch import nn
    from torch.nn import functional

    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    inputs, targets = torch.from_numpy((x - centre) / scale), torch.from_numpy(y)
    order = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, classes),
        )
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
        for _ in range(EPOCHS):
            for rows in np.array_split(order.permutation(len(x)), max(1, len(x) // BATCH)):
                chosen = torch.from_numpy(rows)
                loss = functional.cross_entropy(network(inputs[chosen]), targets[chosen])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        network.eval()
        with torch.inference_mode():
            found: NDArray[np.int64] = network(torch.from_numpy((asked - centre) / scale)).argmax(dim=1).numpy()
    return found
