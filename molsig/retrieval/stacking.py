"""How much to trust each voice: weights per set of assays, learnt on out-of-fold evidence.

A voice is one view of one modality, or a joint view of several. For a patient with the assays S the log-probability of
a class is, but for a constant,

    alpha_S log p(class) + sum over the voices v that S can speak with of w_Sv (log p(class | v) - log p(class))

Modalities repeat what others said, and do so differently in company: miRNA that stands alone deserves other weights
than miRNA beside RNA. Each set S has weights of its own, at least 0, learnt by maximum likelihood on the patients who
have at least S, their other assays hidden. They are pulled towards the mean of the weights of the sets that are one
assay smaller, so that sets few patients have still get sensible ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.calibration import class_weights, subset_code
from molsig.retrieval.heads import log_softmax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PULL = 5.0
"""Strength of the pull towards the smaller sets' weights, beside the summed log-loss of the patients."""
HIGHEST = 3.0
ALPHA = (0.2, 1.5)
STEPS = 60


@dataclass(frozen=True, eq=False)
class Stack:
    """Fitted weights.

    Attributes
    ----------
    needs
        Assays that each voice needs, as `subset_code`, (voices,).
    weights
        By set of assays: weight of each voice, 0 for those it cannot speak with, and last alpha, (voices + 1,).
    """

    needs: NDArray[np.int64]
    weights: Mapping[int, Array]

    def logits(self, evidence: Array, present: NDArray[np.bool_], log_prior: Array) -> Array:
        """Unnormalised log-probabilities, (n, classes).

        Parameters
        ----------
        evidence
            Log-likelihood ratios, (voices, n, classes); anything finite where a voice is mute.
        present
            Which patient has which modality, (modalities, n).
        log_prior
            Shape (classes,).
        """
        codes = subset_code(present)
        met = set(codes.tolist())
        if len(met) == 1 and (only := met.pop()):
            return _weighed(self.weights[only], evidence, log_prior)
        out = np.tile(log_prior, (evidence.shape[1], 1))
        for code in sorted(met):
            rows = np.flatnonzero(codes == code)
            if code:
                out[rows] = _weighed(self.weights[code], evidence[:, rows], log_prior)
        return out

    def logits_alone(self, evidence: Array, modalities: int, log_prior: Array) -> Array:
        """The same by each modality as if it were the only one, (modalities, n, classes)."""
        weights = np.stack([self.weights[1 << one] for one in range(modalities)])
        said = weights[:, :-1] @ evidence.reshape(len(evidence), -1)
        return np.asarray(said.reshape(modalities, *evidence.shape[1:]) + weights[:, -1, None, None] * log_prior)


def fit_stack(
    evidence: Array,
    present: NDArray[np.bool_],
    needs: NDArray[np.int64],
    classes: NDArray[np.int64],
    log_prior: Array,
    asked: NDArray[np.bool_] | None = None,
) -> Stack:
    """Fit the weights of every set of assays.

    Parameters
    ----------
    evidence
        Out of fold, (voices, n, classes).
    present
        Shape (modalities, n).
    needs
        As in `Stack`, (voices,).
    classes
        Right class of each patient, (n,).
    asked
        Who teaches, bool (n,); weighted, they stand for all (`class_weights`). All by default.
    """
    from scipy.optimize import minimize

    codes = subset_code(present)
    weights: dict[int, Array] = {}
    for code in sorted(range(1, 1 << len(present)), key=int.bit_count):
        voices = np.flatnonzero(needs & ~code == 0)
        start = _start(code, needs, weights)
        able = codes & code == code
        rows = np.flatnonzero(able if asked is None else able & asked)
        if len(rows):
            shares = class_weights(
                classes[able], (np.ones(len(codes), bool) if asked is None else asked)[able], len(log_prior)
            )
            some = np.ascontiguousarray(evidence[np.ix_(voices, rows)])
            found = minimize(
                loss_and_gradient,
                start[[*voices, -1]],
                args=(some, classes[rows], log_prior, start[voices], shares),
                jac=True,
                method="L-BFGS-B",
                bounds=[(0.0, HIGHEST)] * len(voices) + [ALPHA],
                options={"maxiter": STEPS},
            )
            start[[*voices, -1]] = found.x
        weights[code] = start
    return Stack(needs, weights)


def loss_and_gradient(
    theta: Array, evidence: Array, classes: NDArray[np.int64], log_prior: Array, target: Array, shares: Array
) -> tuple[float, Array]:
    """Mean log-loss of one set's weights, pulled towards `target`, and its gradient; `theta` ends with alpha.

    `shares` are how many patients each stands for, (n,).
    """
    n = float(shares.sum())
    rows = np.arange(len(classes))
    log_p = log_softmax(_weighed(theta, evidence, log_prior))
    pull = theta[:-1] - target
    loss = (PULL * float(pull @ pull) - float(shares @ log_p[rows, classes])) / n
    error = np.exp(log_p)
    error[rows, classes] -= 1
    error *= shares[:, None]
    slope = evidence.reshape(len(evidence), -1) @ error.ravel() + 2 * PULL * pull
    return loss, np.append(slope, float(error.sum(axis=0) @ log_prior)) / n


def _weighed(weights: Array, evidence: Array, log_prior: Array) -> Array:
    said = weights[:-1] @ evidence.reshape(len(evidence), -1)
    return np.asarray(said.reshape(evidence.shape[1:]) + weights[-1] * log_prior)


def _start(code: int, needs: NDArray[np.int64], weights: Mapping[int, Array]) -> Array:
    """Where the weights of a set are pulled to: the mean of the sets one assay smaller; alone, an even share."""
    smaller = [code & ~(1 << one) for one in range(code.bit_length()) if code >> one & 1]
    out = np.zeros(len(needs) + 1)
    out[-1] = 1.0
    if smaller == [0]:
        voices = needs == code
        out[:-1][voices] = 1.0 / max(1, int(voices.sum()))
        return out
    for voice, need in enumerate(needs.tolist()):
        # A joint voice that no smaller set could speak with starts mute.
        told = [weights[one][voice] for one in smaller if need & ~one == 0]
        out[voice] = float(np.mean(told)) if told else 0.0
    return out
