"""Whether a modality is in a sum: what the likelihood and the network say of it, weighed on held-back sums.

The Gaussian likelihood is sure of itself where sums are short, the network where they are long; each errs on other
sums. A logistic regression per modality on both errs on fewer, and its answer is a probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.mixture import Mixture, Presence

    Array = NDArray[np.float64]

LIKELIHOOD_ALONE = (1.0, 0.0, 0.0)
"""Weights where held-back sums do not teach any: all of them have the modality, or none has."""

_SCALE = 10.0


def log_odds(mixture: Mixture, presence: Presence) -> Array:
    """Nats by which the best set with a modality beats the best without it, pressed together, float64 (k, m).

    Vectors are not Gaussian: hundreds of nats are not as sure as they sound, so beyond about ten only their logarithm
    counts.
    """
    members = mixture.membership()[:, :-1]
    found = presence.log_likelihood
    nats = [found[:, held].max(axis=1) - found[:, ~held].max(axis=1) for held in members.T]
    pressed: Array = np.arcsinh(np.stack(nats, axis=1) / _SCALE)
    return pressed


def fit_weights(odds: Array, estimates: Array, present: NDArray[np.bool_]) -> Array:
    """Weights of the likelihood, of the network's count, and a constant, by modality: float64 (m, 3).

    Parameters
    ----------
    odds, estimates, present
        (k, modalities): `log_odds`, counts of the network, and the truth.
    """
    from sklearn.linear_model import LogisticRegression

    weights = []
    for m in range(present.shape[1]):
        truth = present[:, m]
        if truth.all() or not truth.any():
            weights.append(np.array(LIKELIHOOD_ALONE))
            continue
        # Little shrinkage: it keeps weights finite where a line parts all sums.
        fitted = LogisticRegression(C=100.0, max_iter=1000).fit(np.stack([odds[:, m], estimates[:, m]], axis=1), truth)
        weights.append(np.append(fitted.coef_[0], fitted.intercept_))
    return np.stack(weights)


def probabilities(weights: Array, odds: Array, estimates: Array) -> Array:
    """Probability that each modality is in, float64 (k, m)."""
    said = weights[:, 0] * odds + weights[:, 1] * estimates + weights[:, 2]
    found: Array = 0.5 * (1 + np.tanh(said / 2))
    return found
