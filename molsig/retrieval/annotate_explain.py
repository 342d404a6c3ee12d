"""Which inputs the annotation network calls a class by: DeepLIFT scores of samples, and of classes (D1).

After Fiosina et al., Deep learning for sRNA metadata, section 2.3.4: C[i, j, k] is the DeepLIFT score of input j for
output k in sample i, against an input of zeros, and of a class k

    D1[j, k] = mean over samples i of class k of (C[i, j, k] - mean over k' != k of C[i, j, k'])

What is explained is the logit of a class, the output before the softmax: the softmax bends what the inputs add up to,
and saturates for the surest samples. Only differences between classes say what a call rests on, as whatever raises all
logits alike changes no probability; DeepLIFT's authors subtract the mean over classes for this (Shrikumar et al. 2017,
section 3.6), and D1 and D2 are such differences. Scores are those of `molsig.encoders.attribution`, which raises where
the parts do not add up.

Other than in the study: the samples explained are held out, and each is explained by a network that was fitted without
it: without its whole group, where groups are known and others have its class, else without a random fold. D1 is
averaged over the networks. An input that a network's filter left out has the score 0 there. And at most `MOST_OF_CLASS`
samples stand for a class.

Zero is the least value that an input had among the samples learned from (they are scaled from 0 to 1). An input that is
low has next to no score, however telling its absence may be: what speaks against the other classes by being absent
cannot be on top here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.attribution import attribute
from molsig.retrieval.zeroing import Zeroed, zeroed_until
from molsig.types import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from molsig.retrieval.annotate_network import FittedNetwork, Network
    from molsig.types import Progress

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

MOST_OF_CLASS = 100
"""Samples that D1 of a class is averaged over."""
MOST_ZEROED = 640
"""Samples of all classes together whose inputs are zeroed, if called rightly; or `FEWEST_ZEROED` of each if more."""
FEWEST_ZEROED = 20
_MOST_NUMBERS = 2**26
"""Scores that are held at a time: samples times inputs times classes."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A network with the rows that it was asked about, none of which it had seen, and the classes that it had."""

    asked: Rows
    taught: Rows
    fitted: FittedNetwork


@dataclass(frozen=True, eq=False)
class KeptNetworks:
    """The network as a method of annotation that keeps what it fits, to be explained afterwards."""

    network: Network
    fits: list[Fit] = field(default_factory=list)

    @property
    def name(self) -> str:
        """``network``."""
        return self.network.name

    @property
    def present(self) -> NDArray[np.bool_]:
        """As of the network."""
        return self.network.present

    def tell(self, taught: Rows, codes: Rows, n_classes: int, asked: Rows) -> Array:
        """As the network, which is kept."""
        fitted = self.network.fit_labels(taught, codes, n_classes)
        self.fits.append(Fit(asked, np.unique(codes), fitted))
        return fitted.tell(codes, self.network.values[asked])

    def estimate(self, taught: Rows, values: Array, asked: Rows) -> tuple[Array, Array]:
        """As the network; numbers are not explained."""
        return self.network.estimate(taught, values, asked)

    def first_able(self, rows: Rows, codes: Rows | None = None) -> Rows:
        """Of each row the first fit that was asked about it and had seen its class; -1 where there is none.

        Without `codes` any class will do.
        """
        fit = np.full(len(rows), -1)
        for place, one in enumerate(self.fits):
            asked = np.isin(rows, one.asked) & (fit == -1)
            fit[asked if codes is None else asked & np.isin(codes, one.taught)] = place
        return fit

    def whole_folds(self, known: Rows, fold: Rows) -> NDArray[np.bool_]:
        """Which fits were asked about one of these folds, all of it and nobody else, (fits,)."""
        folds = [known[fold == one] for one in np.unique(fold)]
        return np.array([any(np.array_equal(np.sort(fit.asked), some) for some in folds) for fit in self.fits], bool)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the calls of some samples rest on.

    Attributes
    ----------
    rows, codes, called
        Which rows of the method were explained, their class, and the class of their largest logit, (n,) each. What
        `predict_labels` makes of the network is calibrated afterwards and may differ.
    at_random
        Which samples were explained by a network that had seen others of their group: with it held out nobody else had
        their class, or all others had one, (n,).
    scores
        C of each sample for its class less the mean over the others, float32 (n, features).
    by_class
        D1, (classes, features); NaN for a class without samples.
    zeroed
        D2, of some of those samples whose call is right.
    used
        Whether any of the networks looks at a feature, (features,).
    missed
        Largest share of a logit's difference from that of zeros that the scores of a sample miss.
    """

    rows: Rows
    codes: Rows
    called: Rows
    at_random: NDArray[np.bool_]
    scores: NDArray[np.float32]
    by_class: Array
    zeroed: Zeroed
    used: NDArray[np.bool_]
    missed: float

    def top(self, code: int, n: int) -> Rows:
        """The inputs that speak most for a class, at most n; none that speaks against it."""
        scores = self.by_class[code]
        order: Rows = np.argsort(-scores, kind="stable")[:n]
        return order[: int((scores[order] > 0).sum())]


def explain_labels(
    kept: KeptNetworks,
    known: Rows,
    codes: Rows,
    n_classes: int,
    fold: Rows,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Explanation:
    """Explain held-out samples of every class.

    Parameters
    ----------
    kept
        What `predict_labels` was run with.
    known, codes
        Rows with a label, and which it is, (n,) each.
    fold
        Of each, by the first scheme.
    seed
        Rules which samples stand for a class that has many.

    Raises
    ------
    MolsigError
        The scores of a sample do not add up.
    MissingExtraError
        captum is not installed.
    """
    fit = kept.first_able(known, codes)
    chosen = _drawn(np.where(fit == -1, -1, codes), n_classes, MOST_OF_CLASS, seed)
    rows, of = known[chosen], codes[chosen]
    values = kept.network.values
    scores = np.zeros((len(rows), values.shape[1]), dtype=np.float32)
    called = np.full(len(rows), -1, dtype=np.int64)
    zeroed = Zeroed.nobody(n_classes)
    tried = np.zeros(len(rows), dtype=bool)
    tried[_drawn(of, n_classes, max(FEWEST_ZEROED, MOST_ZEROED // n_classes), seed)] = True
    used = np.zeros(values.shape[1], dtype=bool)
    missed, done = 0.0, 0
    for place, fitted in enumerate(one.fitted for one in kept.fits):
        mine = np.flatnonzero(fit[chosen] == place)
        inputs = len(fitted.scaler.kept)
        for part in np.array_split(mine, -(-len(mine) * inputs * n_classes // _MOST_NUMBERS) or 1):
            if not len(part):
                continue
            scaled = fitted.scaler(values[rows[part]])
            found, gap = class_scores(fitted.layers, scaled, n_classes)
            used[fitted.scaler.kept] = True
            missed = max(missed, gap)
            called[part] = fitted.outputs(values[rows[part]]).argmax(axis=1)
            own = found[np.arange(len(part)), :, of[part]]
            others = (found.sum(axis=2) - own) / (n_classes - 1)
            scores[np.ix_(part, fitted.scaler.kept)] = own - others
            right = np.flatnonzero(tried[part] & (called[part] == of[part]))
            zeroed = zeroed.with_more(
                part[right], zeroed_until(fitted.layers, scaled[right], found[right], of[part[right]])
            )
            done += len(part)
            progress("explain", done, len(rows))
    sizes = np.bincount(of, minlength=n_classes)
    sums = np.zeros((n_classes, scores.shape[1]))
    np.add.at(sums, of, scores)
    with np.errstate(invalid="ignore"):
        by_class = sums / sizes[:, None]
    at_random = ~kept.whole_folds(known, fold)[fit[chosen]]
    return Explanation(rows, of, called, at_random, scores, by_class, zeroed, used, missed)


def scores_of_rows(kept: KeptNetworks, rows: Rows, n_classes: int) -> tuple[NDArray[np.float32], Rows]:
    """Scores of single samples for each class less their mean over classes, (n, features, classes), and calls, (n,).

    `rows` are some that `kept` was asked about; each is explained by the first network that was.
    """
    values = kept.network.values
    scores = np.zeros((len(rows), values.shape[1], n_classes), dtype=np.float32)
    called = np.full(len(rows), -1, dtype=np.int64)
    fit = kept.first_able(rows)
    for place in np.unique(fit).tolist():
        mine, fitted = np.flatnonzero(fit == place), kept.fits[place].fitted
        found, _ = class_scores(fitted.layers, fitted.scaler(values[rows[mine]]), n_classes)
        scores[np.ix_(mine, fitted.scaler.kept)] = found - found.mean(axis=2, keepdims=True)
        called[mine] = fitted.outputs(values[rows[mine]]).argmax(axis=1)
    return scores, called


def class_scores(layers: nn.Module, inputs: NDArray[np.float32], n_classes: int) -> tuple[NDArray[np.float32], float]:
    """DeepLIFT scores of each sample's inputs for the logit of each class, (n, inputs, classes).

    And the largest share of a difference of logits that they miss, which is next to nothing: a score that misses more
    than a thousandth raises `MolsigError`.
    """
    found = np.empty((*inputs.shape, n_classes), dtype=np.float32)
    zeros = np.zeros(inputs.shape[1])
    missed = 0.0
    for code in range(n_classes):

        def logit(network: nn.Module, x: Tensor, code: int = code) -> Tensor:
            out: Tensor = network(x)[:, code]
            return out

        said = attribute(layers, inputs, method="deeplift", score=logit, reference=zeros)
        found[..., code] = said.values
        assert said.missed is not None
        differs = np.abs(said.values.sum(axis=1, dtype=np.float64) - said.missed)
        missed = max(missed, float((np.abs(said.missed) / np.maximum(differs, 1e-6)).max(initial=0.0)))
    return found, missed


def _drawn(codes: Rows, n_classes: int, most: int, seed: int) -> Rows:
    """At most so many places of each class, by class."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [np.sort(random.permutation(np.flatnonzero(codes == code))[:most]) for code in range(n_classes)]
    )
