"""How much each view of each modality counts, learned on patients of hospitals the views were not fitted on.

A patient's log-probabilities are

    log p(c) = alpha log prior(c) + n^-gamma  sum over present modalities m, views v of  w[m, v] e[m, v, c]  + constant

with e the log-likelihood ratios of `molsig.retrieval.heads` and n the number of present modalities. gamma takes back
what modalities say twice: 0 if they were independent given the class, 1 if they all said the same. The weights minimise
the mean log-loss over out-of-fold patients with the assays they have, and with a share of them taken away at random, so
that they hold for every set of assays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.heads import log_softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PULL = 1e-3
"""Strength of a pull of every weight towards an even share."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Fitted weights: (modalities, views), and the two numbers of the formula."""

    weights: Array
    gamma: float
    alpha: float

    def logits(self, evidence: Array, present: NDArray[np.bool_], log_prior: Array) -> Array:
        """Unnormalised log-probabilities, (n, classes).

        Parameters
        ----------
        evidence
            Shape (modalities, n, views, classes); anything where a modality is absent.
        present
            Shape (modalities, n).
        log_prior
            Shape (classes,).
        """
        return _discount(present, self.gamma)[:, None] * _weighed(self.weights, evidence, present) + (
            self.alpha * log_prior
        )


def fit_stack(
    evidence: Array, presents: Sequence[NDArray[np.bool_]], classes: NDArray[np.int64], log_prior: Array
) -> Stack:
    """Fit the weights on out-of-fold evidence.

    Parameters
    ----------
    evidence
        Shape (modalities, n, views, classes).
    presents
        Sets of assays to learn from, each (modalities, n).
    classes
        Right class of each patient, (n,).
    """
    from scipy.optimize import minimize

    m, _, v = evidence.shape[:3]
    start = np.concatenate([np.full(m * v, 1.0 / v), [0.3, 1.0]])
    bounds = [(0.0, 3.0)] * (m * v) + [(-0.2, 1.2), (0.2, 1.5)]
    found = minimize(
        loss_and_gradient,
        start,
        args=(evidence, presents, classes, log_prior),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 100},
    )
    return Stack(found.x[:-2].reshape(m, v), float(found.x[-2]), float(found.x[-1]))


def loss_and_gradient(
    theta: Array,
    evidence: Array,
    presents: Sequence[NDArray[np.bool_]],
    classes: NDArray[np.int64],
    log_prior: Array,
) -> tuple[float, Array]:
    """Mean log-loss of weights, and its gradient; `theta` holds the weights, gamma and alpha."""
    m, n, v = evidence.shape[:3]
    weights, gamma, alpha = theta[:-2].reshape(m, v), theta[-2], theta[-1]
    rows = np.arange(n)
    pull = theta[:-2] - 1.0 / v
    total = PULL * float(pull @ pull)
    gradient = np.concatenate([2 * PULL * pull, [0.0, 0.0]])
    for present in presents:
        held = np.maximum(present.sum(axis=0), 1)
        discount = _discount(present, gamma)
        weighed = discount[:, None] * _weighed(weights, evidence, present)
        log_p = log_softmax(weighed + alpha * log_prior)
        total -= float(log_p[rows, classes].mean()) / len(presents)
        error = np.exp(log_p)
        error[rows, classes] -= 1
        error /= n * len(presents)
        for modality in range(m):
            factor = error * (discount * present[modality])[:, None]
            gradient[modality * v : (modality + 1) * v] += np.einsum("nc,nvc->v", factor, evidence[modality])
        gradient[-2] -= float((error * weighed).sum(axis=1) @ np.log(held))
        gradient[-1] += float(error.sum(axis=0) @ log_prior)
    return total, gradient


def _weighed(weights: Array, evidence: Array, present: NDArray[np.bool_]) -> Array:
    total = np.zeros((evidence.shape[1], evidence.shape[3]))
    for modality in range(len(evidence)):
        said = np.einsum("v,nvc->nc", weights[modality], evidence[modality])
        total += np.where(present[modality][:, None], said, 0.0)
    return total


def _discount(present: NDArray[np.bool_], gamma: float) -> Array:
    return np.asarray(np.maximum(present.sum(axis=0), 1) ** -float(gamma))
