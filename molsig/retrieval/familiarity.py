"""How strange a patient is: like nobody stored, or of a class that nobody stored has.

Two signs are weighed. Far off: how far a patient is from the nearest stored ones, modality by modality. Undecided: how
sure the call is. Their weights are learnt on patients who play unknown: each is asked about once more with their own
class taken out of the neighbours and out of the call, which is what a new class looks like, and a logistic regression
tells these answers from the true ones, every class counting the same. The score becomes a share: how many stored
patients with the same assays are less strange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.calibration import subset_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.calibration import Quantiles

    Array = NDArray[np.float64]

SUREST = 1e-4
"""Shares and probabilities are kept so far from 0 and 1 before their log-odds are taken."""


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What is known of being strange.

    Attributes
    ----------
    unfamiliar
        By modality: how far stored patients are from their nearest ones, 1 - mean cosine. Modalities whose vectors are
        sums of many items (`Head.unit`) are not in it.
    far
        By set of assays (`subset_code`): the mean over its modalities of the share of patients that are less far off.
    weights
        Of the log-odds of being far off and of the call, and an intercept, (3,).
    strange
        By set of assays: the weighed score.
    """

    unfamiliar: Mapping[str, Quantiles]
    far: Mapping[int, Quantiles]
    weights: Array
    strange: Mapping[int, Quantiles]

    def share_less_far(
        self,
        modalities: Sequence[str],
        information: Array,
        nearness: Mapping[str, Array],
        present: NDArray[np.bool_],
    ) -> Array:
        """Share of patients with the same assays who are less far off, (n,); one half where nothing can tell."""
        raw = far_off(modalities, information, nearness, present, self.unfamiliar)
        return _by_set(self.far, raw, subset_code(present))

    def strangeness(self, less_far: Array, log_posterior: Array, present: NDArray[np.bool_]) -> Array:
        """Share of stored patients with the same assays who are less strange, (n,); one half where nothing can tell.

        Parameters
        ----------
        less_far
            `share_less_far`, (n,).
        log_posterior
            Log-probability of each class, (n, classes).
        present
            Shape (modalities, n).
        """
        return _by_set(self.strange, signs(less_far, log_posterior) @ self.weights, subset_code(present))


def signs(less_far: Array, log_posterior: Array) -> Array:
    """The two signs as log-odds, and a one, (n, 3)."""
    return np.stack([_log_odds(less_far), _log_odds(np.exp(log_posterior.max(axis=1))), np.ones(len(less_far))], axis=1)


def weigh_signs(known: Array, playing: Array, shares: Array, playing_shares: Array) -> Array:
    """Weights that tell patients who play unknown from the others.

    Parameters
    ----------
    known, playing
        `signs` of the true answers and of those without the own class, (n, 3) and (m, 3).
    shares, playing_shares
        How much each counts; both sides are brought to the same sum.
    """
    from sklearn.linear_model import LogisticRegression

    target = np.repeat([0, 1], [len(known), len(playing)])
    counts = np.concatenate([shares / shares.sum(), playing_shares / playing_shares.sum()]) * len(known)
    model = LogisticRegression().fit(np.concatenate([known, playing])[:, :2], target, sample_weight=counts)
    return np.append(model.coef_[0], model.intercept_)


def far_off(
    modalities: Sequence[str],
    information: Array,
    nearness: Mapping[str, Array],
    present: NDArray[np.bool_],
    unfamiliar: Mapping[str, Quantiles],
) -> Array:
    """Mean over the present modalities of the share of patients that are less far off, weighed by information, (n,).

    NaN where none of the present modalities is in `unfamiliar`.
    """
    total, weight = np.zeros(present.shape[1]), np.zeros(present.shape[1])
    for place, modality in enumerate(modalities):
        if modality in unfamiliar and present[place].any():
            says = max(float(information[place]), 1e-6) * present[place]
            total += says * unfamiliar[modality].share_below(1 - nearness[modality])
            weight += says
    return np.asarray(np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan))


def _by_set(quantiles: Mapping[int, Quantiles], scores: Array, codes: NDArray[np.int64]) -> Array:
    out = np.full(len(scores), 0.5)
    for code in set(codes.tolist()):
        if code in quantiles:
            rows = np.flatnonzero((codes == code) & ~np.isnan(scores))
            out[rows] = quantiles[code].share_below(scores[rows])
    return out


def _log_odds(shares: Array) -> Array:
    kept = shares.clip(SUREST, 1 - SUREST)
    return np.asarray(np.log(kept / (1 - kept)))
