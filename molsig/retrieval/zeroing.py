"""How many inputs must be zeroed before a network changes its call: stability and similarity of classes (D2).

After Fiosina et al., Deep learning for sRNA metadata, section 2.3.4. Of a sample i of class k and each other class k',
inputs j are ordered by

    D2[j] = C[i, j, k] - C[i, j, k']        (C: DeepLIFT scores, of the whole sample)

largest first, and set to zero one after the other until the call changes from k to k' (similarity), or to any class
but k (stability). Both are counted for every sample and k', and averaged over the samples of a class.

Other than in the study, or not said there: only samples that are called rightly are asked, as no other call can
change from k; an input that is zero already is not counted; and of a sample whose call never changes, or never to k',
nothing is averaged: how many did change is kept beside the average. No call comes to a class that the sample's network
has not learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]
    Counts = NDArray[np.int64]

NEVER = -1
_FIRST, _MOST = 8, 64
"""Steps that are tried at once: first, when most calls change, and later."""
_NUMBERS = 2**23
"""Inputs of one pass."""


@dataclass(frozen=True, eq=False)
class Zeroed:
    """Inputs zeroed until the calls of some samples changed.

    Attributes
    ----------
    places, codes
        Which of the explained samples, and their class, (n,) each.
    to_any, to_that
        For each other class k', in whose order inputs are zeroed: how many until the call is no longer the sample's
        class, and until it is k', (n, classes); `NEVER` where that does not come to pass, and for the own class.
    """

    places: Rows
    codes: Rows
    to_any: Counts
    to_that: Counts

    @classmethod
    def nobody(cls, n_classes: int) -> Zeroed:
        """Of no samples yet."""
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros((0, n_classes), dtype=np.int64)
        return cls(none, none, nothing, nothing)

    def with_more(self, places: Rows, found: tuple[Rows, Counts, Counts]) -> Zeroed:
        """These samples and more, from `zeroed_until`."""
        codes, to_any, to_that = found
        return Zeroed(
            np.concatenate([self.places, places]),
            np.concatenate([self.codes, codes]),
            np.concatenate([self.to_any, to_any]),
            np.concatenate([self.to_that, to_that]),
        )

    @property
    def samples(self) -> Counts:
        """How many of each class, (classes,)."""
        return np.bincount(self.codes, minlength=self.to_any.shape[1])

    def stability(self) -> tuple[Array, Array]:
        """By class and the class in whose order is zeroed, (classes, classes): mean until the call is any other.

        Beside it the share of the samples whose call does change. NaN where none does, and on the diagonal.
        """
        return self._pairs(self.to_any)

    def similarity(self) -> tuple[Array, Array]:
        """By class and other class, (classes, classes): mean until the call is that one; and of which share it gets so.

        Classes are the more alike the fewer inputs it takes.
        """
        return self._pairs(self.to_that)

    def fewest(self) -> Array:
        """Mean of the fewest inputs by which the call of a sample changes, in whichever order, (classes,)."""
        return self._averaged(_or_never(self.to_any).min(axis=1)[:, None])[0][:, 0]

    def nearest(self) -> Rows:
        """The class that the calls of each class come to by fewest inputs, most often; -1 where to none, (classes,)."""
        steps = _or_never(self.to_that)
        some = np.isfinite(steps).any(axis=1)
        votes = np.zeros((steps.shape[1], steps.shape[1]), dtype=np.int64)
        np.add.at(votes, (self.codes[some], steps[some].argmin(axis=1)), 1)
        return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)

    def _pairs(self, steps: Counts) -> tuple[Array, Array]:
        means, share = self._averaged(_or_never(steps))
        np.fill_diagonal(share, np.nan)
        return means, share

    def _averaged(self, steps: Array) -> tuple[Array, Array]:
        """Mean over the samples of each class that change, and their share, (classes, columns) each."""
        changes = np.isfinite(steps)
        sums, changed = (np.zeros((self.to_any.shape[1], steps.shape[1])) for _ in range(2))
        np.add.at(sums, self.codes, np.where(changes, steps, 0))
        np.add.at(changed, self.codes, changes)
        with np.errstate(invalid="ignore"):
            return sums / changed, changed / self.samples[:, None]


def _or_never(steps: Counts) -> Array:
    return np.where(steps == NEVER, np.inf, steps)


def zeroed_until(
    layers: nn.Module, inputs: NDArray[np.float32], scores: NDArray[np.float32], codes: Rows
) -> tuple[Rows, Counts, Counts]:
    """Zero inputs until calls change.

    Every sample, class k' and a run of steps are one batch; pairs of sample and k' leave once the call is k'.

    Parameters
    ----------
    layers
        Logits of inputs, (n, classes).
    inputs
        Samples that it calls by their class, (n, inputs).
    scores
        DeepLIFT scores, (n, inputs, classes).
    codes
        Class of each sample, (n,).

    Returns
    -------
    tuple
        `codes`, and `to_any` and `to_that` of `Zeroed`, (n, classes) each.
    """
    n, n_inputs, n_classes = scores.shape
    to_any, to_that = (np.full((n, n_classes), NEVER, dtype=np.int64) for _ in range(2))
    sample, target = np.nonzero(np.arange(n_classes) != codes[:, None])
    for some in np.array_split(np.arange(len(sample)), -(-len(sample) * n_inputs // _NUMBERS) or 1):
        rows, against = sample[some], target[some]
        differences = scores[rows, :, codes[rows]] - scores[rows, :, against]
        there = inputs[rows] != 0
        order = np.argsort(np.where(there, -differences, np.inf), axis=1, kind="stable")
        rank = np.empty(order.shape, dtype=np.int32)
        np.put_along_axis(rank, order, np.arange(n_inputs, dtype=np.int32)[None], axis=1)
        any_, that = _steps(layers, inputs[rows], rank, there.sum(axis=1), codes[rows], against)
        to_any[rows, against], to_that[rows, against] = any_, that
    return codes, to_any, to_that


def _steps(
    layers: nn.Module, inputs: NDArray[np.float32], rank: NDArray[np.int32], last: Rows, own: Rows, against: Rows
) -> tuple[Rows, Rows]:
    """First step at which each row's call is not its own class, and at which it is `against`, (rows,) each.

    At step s the inputs of rank below s are zero; `last` is the last step of each row.
    """
    any_, that = np.full(len(inputs), NEVER), np.full(len(inputs), NEVER)
    left, start, run = np.flatnonzero(last > 0), 0, _FIRST
    while len(left):
        steps = np.arange(start + 1, start + run + 1)
        for part in np.array_split(left, -(-len(left) * run * inputs.shape[1] // _NUMBERS)):
            calls = _calls(layers, inputs[part], rank[part], steps)
            in_time = steps <= last[part, None]
            for found, hit in ((any_, calls != own[part, None]), (that, calls == against[part, None])):
                hit &= in_time
                first = hit.any(axis=1) & (found[part] == NEVER)
                found[part[first]] = steps[hit[first].argmax(axis=1)]
        start += run
        run = min(2 * run, _MOST)
        left = left[(that[left] == NEVER) & (last[left] > start)]
    return any_, that


def _calls(layers: nn.Module, inputs: NDArray[np.float32], rank: NDArray[np.int32], steps: Rows) -> Rows:
    """Class called of each row after each number of steps, (rows, steps)."""
    import torch

    device = next(layers.parameters()).device
    with torch.inference_mode():
        x = torch.from_numpy(inputs).to(device)[:, None]
        kept: Tensor = torch.from_numpy(rank).to(device)[:, None] >= torch.from_numpy(steps).to(device)[:, None]
        calls: Tensor = layers((x * kept).reshape(-1, inputs.shape[1])).argmax(dim=1)
    return np.asarray(calls.cpu().numpy()).reshape(len(inputs), len(steps))
