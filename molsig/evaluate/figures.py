"""From what a method answered, patient by patient, to the figures of a `Part`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.bootstrap import with_intervals
from molsig.evaluate.metrics import (
    accuracy_at_coverage,
    accuracy_in_bins,
    balanced_accuracy,
    calibration_error,
    confusion,
    macro_f1,
    majority_vote,
    mean_of,
    precision_at,
    reliability,
)
from molsig.evaluate.report import ConformalPoint, Confusion, CoveragePoint, Part, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.evaluate.bootstrap import Figure, Statistic
    from molsig.evaluate.report import Settings

PRECISION_AT = (1, 5, 10, 20)
VOTES_AT = (1, 3, 5, 10)
PROMISED = (0.8, 0.9, 0.95)
"""Nominal coverages that are figures of their own; the others are points of a curve."""
COVERAGES = np.arange(1, 21) / 20


@dataclass(frozen=True, eq=False)
class Answers:
    """What one method said of m patients.

    Attributes
    ----------
    rows
        Rows of the cohort that were asked about, (m,).
    truth
        Their labels as codes, (m,).
    neighbours
        Rows of the cohort that were found, best first, (m, at most 20).
    near
        Labels of these as codes, -1 without one.
    precision
        Average precision of the ranking, (m,).
    answerable
        Whether anybody in the gallery has the label, (m,).
    probabilities
        Of all labels, (m, classes).
    covered, sizes
        Whether the conformal set of each error rate holds the label, and its size, (m, errors).
    assays
        What each patient was asked about with, as a word, (m,).
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    near: NDArray[np.int64]
    precision: NDArray[np.float64]
    answerable: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    covered: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    assays: NDArray[np.str_]

    @staticmethod
    def together(some: Sequence[Answers]) -> Answers:
        """Answers of several blocks as one."""
        width = min(one.near.shape[1] for one in some)
        joined = {
            name: np.concatenate([getattr(one, name) for one in some])
            for name in Answers.__dataclass_fields__
            if name not in ("neighbours", "near")
        }
        return Answers(
            neighbours=np.concatenate([one.neighbours[:, :width] for one in some]),
            near=np.concatenate([one.near[:, :width] for one in some]),
            **joined,
        )

    def take(self, chosen: NDArray[np.bool_]) -> Answers:
        """Those of some patients."""
        return Answers(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


def part_of(scheme: str, method: str, missing: float, said: Answers, names: tuple[str, ...], how: Settings) -> Part:
    """All figures of one method under one scheme at one share of missing assays."""
    called = said.probabilities.argmax(axis=1)
    confidence = said.probabilities.max(axis=1)
    right = called == said.truth
    curves: dict[str, Statistic] = {
        "coverage": accuracy_at_coverage(confidence, right, COVERAGES),
        "bins": accuracy_in_bins(confidence, right),
        "sets": mean_of(said.covered),
        "sizes": mean_of(said.sizes.astype(np.float64)),
        "empty": mean_of(said.sizes == 0),
        "single": mean_of(said.sizes == 1),
    }
    drawn = with_intervals(curves, len(right), draws=how.draws, seed=how.seed, level=how.level)
    words, counts = np.unique(said.assays, return_counts=True)
    commonest = words[np.argsort(-counts, kind="stable")]
    overall = scores(said, len(names), how)
    # Nothing is left of a method that was asked only about labels it could not know: its figures stay those of all.
    split = said.answerable.any() and not said.answerable.all()
    return Part(
        scheme=scheme,
        method=method,
        missing=missing,
        overall=overall,
        answerable=scores(said.take(said.answerable), len(names), how) if split else overall,
        by_assays={str(word): scores(said.take(said.assays == word), len(names), how) for word in commonest},
        reliability=tuple(
            replace(bar, accuracy_low=figure.low, accuracy_high=figure.high)
            for bar, figure in zip(reliability(confidence, right), drawn["bins"], strict=True)
        ),
        coverage=tuple(
            CoveragePoint(float(share), figure) for share, figure in zip(COVERAGES, drawn["coverage"], strict=True)
        ),
        conformal=tuple(
            ConformalPoint(round(1 - error, 6), *point)
            for error, *point in zip(
                how.errors, drawn["sets"], drawn["sizes"], drawn["empty"], drawn["single"], strict=True
            )
        ),
        confusion=_confusion(said.truth, called, names),
    )


def scores(said: Answers, classes: int, how: Settings) -> Scores:
    """The single figures, over all of some answers."""
    same = said.near == said.truth[:, None]
    called = said.probabilities.argmax(axis=1)
    confidence = said.probabilities.max(axis=1)
    right = called == said.truth
    vote = {k: majority_vote(said.near, classes, k) for k in VOTES_AT}
    shown = [(i, f"{nominal:.0%}"[:-1]) for i, nominal in _promised(how)]
    means: dict[str, NDArray[np.float64]] = {f"p@{k}": precision_at(same, k) for k in PRECISION_AT}
    means["map"] = said.precision
    means |= {f"vote@{k}": np.asarray(vote[k] == said.truth, dtype=np.float64) for k in VOTES_AT}
    means["call"] = right.astype(np.float64)
    means |= {f"conformal@{name}": said.covered[:, i].astype(np.float64) for i, name in shown}
    means |= {f"set_size@{name}": said.sizes[:, i].astype(np.float64) for i, name in shown}
    last = VOTES_AT[-1]
    statistics: dict[str, Statistic] = {
        "means": mean_of(np.stack(list(means.values()), axis=1)),
        "macro_f1": macro_f1(said.truth, called, classes),
        "balanced_accuracy": balanced_accuracy(said.truth, called, classes),
        f"vote@{last}_macro_f1": macro_f1(said.truth, vote[last], classes),
        f"vote@{last}_balanced_accuracy": balanced_accuracy(said.truth, vote[last], classes),
        "ece": calibration_error(confidence, right),
        "coverage_area": _area(accuracy_at_coverage(confidence, right, COVERAGES)),
    }
    drawn = with_intervals(
        statistics, len(right), draws=how.draws, seed=how.seed, level=how.level, biased=frozenset({"ece"})
    )
    figures: dict[str, Figure] = dict(zip(means, drawn.pop("means"), strict=True))
    figures |= {name: figure[0] for name, figure in drawn.items()}
    return Scores(len(right), int((~said.answerable).sum()), figures)


def _promised(how: Settings) -> list[tuple[int, float]]:
    return [(i, 1 - error) for i, error in enumerate(how.errors) if round(1 - error, 6) in PROMISED]


def _area(curve: Statistic) -> Statistic:
    return lambda weights: np.asarray(curve(weights).mean(axis=1))


def _confusion(truth: NDArray[np.int64], called: NDArray[np.int64], names: tuple[str, ...]) -> Confusion:
    table = confusion(truth, called, len(names))
    held = np.flatnonzero((table.sum(axis=0) + table.sum(axis=1)) > 0)
    order = held[np.argsort(-table.sum(axis=1)[held], kind="stable")]
    rows = table[np.ix_(order, order)].tolist()
    return Confusion(tuple(names[i] for i in order), tuple(tuple(row) for row in rows))
