"""Predict a patient column: fold by fold to measure and calibrate, then with all who have a value for those without.

A method says, for labels, log-likelihood ratios of each class by each of its voices; how they are weighed is learned
out of fold by `molsig.retrieval.stacking`, which also brings back how common the classes are, and conformal sets are
calibrated as `molsig.retrieval.calibration` does. Numbers get intervals as in `molsig.retrieval.numbers`. What is
learned about errors comes from whole submitting sites held out where these are known; folds of single patients are
measured beside them (the two validations of Fiosina et al., section 2.3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from molsig.errors import InputError
from molsig.retrieval.annotation_scores import score_labels, score_numbers
from molsig.retrieval.calibration import Quantiles, calibrators, prediction_sets, subset_code
from molsig.retrieval.folds import group_folds
from molsig.retrieval.heads import class_log_prior, log_softmax
from molsig.retrieval.numbers import NumberVote
from molsig.retrieval.stacking import fit_stack
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.retrieval.annotation_scores import LabelScores, NumberScores
    from molsig.retrieval.stacking import Stack
    from molsig.types import Progress

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

FOLDS = 5
HELD_OUT, RANDOM = "groups_held_out", "random"


class Annotator(Protocol):
    """A way of predicting a column, over a fixed list of patients."""

    @property
    def name(self) -> str:
        """``neighbours``, ``network`` or ``forest``."""
        ...

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which voice speaks of which patient, (voices, patients)."""
        ...

    def tell(self, taught: Rows, codes: Rows, n_classes: int, asked: Rows) -> Array:
        """Log-likelihood ratios of the classes for the rows `asked`, learned from `taught`: (voices, asked, classes).

        `codes` are the classes of `taught`, (taught,). What a voice says of a patient it does not know is not used.
        """
        ...

    def estimate(self, taught: Rows, values: Array, asked: Rows) -> tuple[Array, Array]:
        """Numbers for the rows `asked` and how far what they are made of lies apart, (asked,) each."""
        ...


@dataclass(frozen=True, eq=False)
class Labels:
    """Probabilities of labels and conformal sets, (n, classes) each."""

    probabilities: Array
    sets: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Estimates, and how far their intervals reach to both sides, (n,) each; inf where no interval can be promised."""

    estimates: Array
    reach: Array


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method makes of a column.

    Attributes
    ----------
    method
        Its name.
    scores
        By scheme, the first being the one that errors were learned from.
    known
        By scheme: predictions for those who have a value, by models that learned from other folds.
    raw
        By scheme, for labels: what is likeliest of those who have one if all are taken for equally common, (n,).
    asked
        Predictions for those without.
    """

    method: str
    scores: Mapping[str, LabelScores | NumberScores]
    known: Mapping[str, Labels | Numbers]
    raw: Mapping[str, Rows]
    asked: Labels | Numbers


def schemes_of(codes: Rows, groups: NDArray[np.str_] | None, *, folds: int = FOLDS, seed: int = 0) -> dict[str, Rows]:
    """Folds of patients, (n,) by scheme: whole groups held out, if there are at least so many, and at random."""
    at_random = {RANDOM: group_folds(codes, None, folds, seed)}
    if groups is None or len(np.unique(groups[groups != ""])) < folds:
        return at_random
    # No group is let go of, whatever it holds: that would flatter.
    return {HELD_OUT: group_folds(codes, groups, folds, seed, loosen=False)} | at_random


def predict_labels(
    method: Annotator,
    known: Rows,
    codes: Rows,
    n_classes: int,
    asked: Rows,
    schemes: Mapping[str, Rows],
    *,
    error: float,
    progress: Progress = silent,
) -> Outcome:
    """Labels of a column.

    Parameters
    ----------
    known, codes
        Rows of the method with a label, and which it is, (n,) each.
    asked
        Rows without one.
    schemes
        From `schemes_of`.
    error
        Error rate of the sets.

    Raises
    ------
    InputError
        In every fold there is a single class to learn from.
    """
    present = method.present
    steps = sum(int(fold.max()) + 1 for fold in schemes.values()) + bool(len(asked))
    done = 0
    scores: dict[str, LabelScores | NumberScores] = {}
    raw = {}
    models: list[_Calibrated] = []
    of_known: dict[str, Labels | Numbers] = {}
    for scheme, fold in schemes.items():
        evidence = np.zeros((len(present), len(known), n_classes))
        answerable = np.zeros(len(known), dtype=bool)
        learned = False
        for one in range(int(fold.max()) + 1):
            taught, held = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
            there = np.unique(codes[taught])
            answerable[held] = np.isin(codes[held], there)
            if len(there) > 1 and len(held):
                evidence[:, held] = method.tell(known[taught], codes[taught], n_classes, known[held])
                learned = True
            elif len(there) == 1:
                # Nothing to tell apart: the only class there is, the others as rare as one that nobody of so many has.
                evidence[:, held] = np.where(np.arange(n_classes) == there[0], 0.0, -np.log(len(taught) + 1))
            done += 1
            progress(f"annotate {method.name}", done, steps)
        if not learned:
            raise InputError(
                "nobody's label can be learned without their own fold", hint="Name other groups, or more patients"
            )
        model = _Calibrated(evidence, present[:, known], codes, fold, answerable)
        told = model.out_of_fold(error)
        scores[scheme] = score_labels(codes, told.probabilities, told.sets, answerable)
        raw[scheme] = np.where(answerable, (evidence * present[:, known, None]).sum(axis=0).argmax(axis=1), -1)
        models.append(model)
        of_known[scheme] = told
    nobody = np.zeros((0, n_classes))
    found = Labels(nobody, nobody.astype(bool))
    if len(asked):
        found = models[0].of(method.tell(known, codes, n_classes, asked), present[:, asked], error)
        progress(f"annotate {method.name}", steps, steps)
    return Outcome(method.name, scores, of_known, raw, found)


class _Calibrated:
    """Weights of voices and errors of labels, from out-of-fold evidence (voices, n, classes)."""

    def __init__(
        self, evidence: Array, present: NDArray[np.bool_], codes: Rows, fold: Rows, answerable: NDArray[np.bool_]
    ) -> None:
        self._evidence, self._present = evidence, present
        self._codes, self._fold, self._answerable = codes, fold, answerable
        self._log_prior = class_log_prior(codes, evidence.shape[2])
        self._assays = subset_code(present)
        # Weights that have seen a patient are a little too good for it: its errors are measured with others'.
        self._crossed = [self._fitted(np.flatnonzero(fold != one)) for one in range(int(fold.max()) + 1)]
        self._stack = self._fitted(np.arange(len(codes)))

    def _fitted(self, rows: Rows) -> Stack:
        needs = 1 << np.arange(len(self._present))
        evidence, present = self._evidence[:, rows], self._present[:, rows]
        return fit_stack(evidence, present, needs, self._codes[rows], self._log_prior, self._answerable[rows])

    def _probabilities(self, rows: Rows, present: NDArray[np.bool_]) -> Array:
        """What other folds' weights make of some patients, as if they had what is `present`, (rows, classes)."""
        out = np.empty((len(rows), len(self._log_prior)))
        for one, stack in enumerate(self._crossed):
            mine = np.flatnonzero(self._fold[rows] == one)
            logits = stack.logits(self._evidence[:, rows[mine]], present[:, mine], self._log_prior)
            out[mine] = np.exp(log_softmax(logits))
        return out

    def _quantiles(self, among: NDArray[np.bool_], wanted: Rows) -> dict[int, Quantiles]:
        """Nonconformity of the right label among some patients, for the sets of assays `wanted`."""
        out = {}
        for code in np.unique(wanted).tolist():
            able = calibrators(code, self._assays, among)
            able = able[among[able]]
            if len(able):
                having = ((code >> np.arange(len(self._present))) & 1).astype(bool)
                told = self._probabilities(able, np.repeat(having[:, None], len(able), axis=1))
                out[code] = Quantiles.of(1 - told[np.arange(len(able)), self._codes[able]])
        return out

    def out_of_fold(self, error: float) -> Labels:
        """What is said of the patients themselves, by what other folds taught."""
        probabilities = self._probabilities(np.arange(len(self._codes)), self._present)
        sets = np.empty(probabilities.shape, dtype=bool)
        for one in range(len(self._crossed)):
            held = np.flatnonzero(self._fold == one)
            quantiles = self._quantiles((self._fold != one) & self._answerable, self._assays[held])
            sets[held] = _sets(probabilities[held], self._assays[held], quantiles, error)
        return Labels(probabilities, sets)

    def of(self, evidence: Array, present: NDArray[np.bool_], error: float) -> Labels:
        """What is said of others."""
        probabilities = np.exp(log_softmax(self._stack.logits(evidence, present, self._log_prior)))
        assays = subset_code(present)
        return Labels(probabilities, _sets(probabilities, assays, self._quantiles(self._answerable, assays), error))


def _sets(probabilities: Array, assays: Rows, quantiles: Mapping[int, Quantiles], error: float) -> NDArray[np.bool_]:
    """Conformal sets; the likeliest label is in each."""
    sets = prediction_sets(probabilities, assays, quantiles, error)
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def predict_numbers(
    method: Annotator,
    known: Rows,
    values: Array,
    asked: Rows,
    schemes: Mapping[str, Rows],
    *,
    error: float,
    progress: Progress = silent,
) -> Outcome:
    """Numbers of a column; parameters as in `predict_labels`, `values` being the numbers of those `known`, (n,)."""
    steps = sum(int(fold.max()) + 1 for fold in schemes.values()) + bool(len(asked))
    done = 0
    scores: dict[str, LabelScores | NumberScores] = {}
    votes: list[NumberVote] = []
    of_known: dict[str, Labels | Numbers] = {}
    for scheme, fold in schemes.items():
        estimates, spreads = np.empty(len(known)), np.empty(len(known))
        plain = np.empty(len(known))
        for one in range(int(fold.max()) + 1):
            taught, held = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
            estimates[held], spreads[held] = method.estimate(known[taught], values[taught], known[held])
            plain[held] = values[taught].mean()
            done += 1
            progress(f"annotate {method.name}", done, steps)
        missed = np.abs(estimates - values)
        typical = float(np.median(spreads)) or float(np.std(values))
        relative = missed / (spreads + typical)
        vote = NumberVote(typical, Quantiles.of(relative), float(missed.mean()), float(np.abs(plain - values).mean()))
        reach = np.empty(len(known))
        for one in np.unique(fold):
            held = fold == one
            reach[held] = Quantiles.of(relative[~held]).bound(error) * (spreads[held] + typical)
        scores[scheme] = score_numbers(values, estimates, reach)
        votes.append(vote)
        of_known[scheme] = Numbers(estimates, reach)
    found = Numbers(np.zeros(0), np.zeros(0))
    if len(asked):
        said, apart = method.estimate(known, values, asked)
        found = Numbers(said, votes[0].residuals.bound(error) * (apart + votes[0].typical))
        progress(f"annotate {method.name}", steps, steps)
    return Outcome(method.name, scores, of_known, {}, found)
