"""What one modality says of a label: log-likelihood ratios from its vectors and from its neighbours.

Three views of a vector x, each giving log p(class | x) - log p(class) for every class:

- ``linear``: multinomial logistic regression, classes weighted by the inverse square root of their size;
- ``gaussian``: linear discriminant analysis with a shrunken common covariance, its scores flattened by a constant;
- ``neighbours``: classes of the nearest stored patients, smoothed towards the class frequencies.

A fourth, ``joint``, is a logistic regression on the vectors of two modalities side by side: it hears what they only
say together. None is trusted as it is: `molsig.retrieval.stacking` weighs them by how they do on patients of other
hospitals.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

VIEWS = ("linear", "gaussian", "neighbours")
FLOOR = -10.0
"""Lowest log-probability of a class: a view that errs may not outvote all others for ever."""

PENALTY = 0.03
"""Inverse strength of the logistic regression's L2 penalty, for inputs of unit variance on average."""
STEPS = 60
KEPT_VARIANCE = 0.999
"""Share of the variance whose directions the logistic regression looks at."""
SHRINKAGE = 0.1
"""Weight of the spherical covariance beside the measured one."""
FLATTENED = 0.15
"""Factor on the discriminant scores, which are far too sure in 768 dimensions; stacking does the rest."""
NEIGHBOURS = 15
SPREAD_OF_NORMS = 3.0
"""Where the 95th percentile of the vectors' lengths is so many times the 5th, they are sums of many items (sentences,
tiles) and their length counts the items: vectors are brought to length 1."""


@dataclass(frozen=True, eq=False)
class Head:
    """The linear views of one modality, ready for new vectors.

    Attributes
    ----------
    unit
        Whether vectors are brought to length 1 first.
    mean, scale
        Taken away from the vectors, (768,), and their common divisor.
    linear, gaussian
        Weights (769, classes) each; the last row is the intercept.
    log_prior
        Log frequency of the classes among the fitted patients, (classes,).
    """

    unit: bool
    mean: Array
    scale: float
    linear: Array
    gaussian: Array
    log_prior: Array

    def standardised(self, vectors: NDArray[np.float32]) -> Array:
        """Vectors (n, 768) as the weights take them."""
        x = _prepared(vectors, self.unit)
        x -= self.mean
        x /= self.scale
        return x

    def evidence(self, vectors: NDArray[np.float32]) -> Array:
        """Log-likelihood ratios of vectors (n, 768) in the two views, (2, n, classes)."""
        return self.of_standardised(self.standardised(vectors))

    def of_standardised(self, x: Array) -> Array:
        """The same of vectors that `standardised` gave."""
        scores = (x @ self._both[:-1] + self._both[-1]).reshape(len(x), 2, -1)
        return _ratios(scores, self.log_prior).swapaxes(0, 1)

    @cached_property
    def _both(self) -> Array:
        """The weights of both views side by side, (769, 2 classes): one product instead of two."""
        flattened = FLATTENED * self.gaussian
        flattened[-1] += self.log_prior
        return np.concatenate([self.linear, flattened], axis=1)


@dataclass(frozen=True, eq=False)
class JointHead:
    """The joint view of two modalities.

    Attributes
    ----------
    modalities
        Which two.
    linear
        Weights for the standardised vectors of both side by side, (1537, classes); the last row is the intercept.
    log_prior
        Log frequency of the classes among the fitted patients, (classes,).
    """

    modalities: tuple[str, str]
    linear: Array
    log_prior: Array

    def evidence(self, standardised: Array) -> Array:
        """Log-likelihood ratios of standardised vectors side by side, (n, 1536) to (n, classes)."""
        return _ratios(standardised @ self.linear[:-1] + self.linear[-1], self.log_prior)


def fit_joint_head(
    modalities: tuple[str, str], standardised: Array, classes: NDArray[np.int64], n_classes: int
) -> JointHead:
    """Fit the joint view of patients who have both modalities; `standardised` as in `JointHead.evidence`."""
    from scipy.linalg import block_diag

    # Each modality's own directions side by side: to look for those of both costs eight times as much.
    axes = block_diag(*(_axes(half) for half in np.hsplit(standardised, 2)))
    weights = _logistic(standardised, axes, classes, n_classes)
    return JointHead(modalities, weights, class_log_prior(classes, n_classes))


def fit_head(
    vectors: NDArray[np.float32], classes: NDArray[np.int64], n_classes: int, *, unit: bool | None = None
) -> Head:
    """Fit both linear views.

    Parameters
    ----------
    vectors
        Shape (n, 768).
    classes
        Shape (n,), values below `n_classes`; a class without a patient gets the lowest probability.
    unit
        Whether vectors are brought to length 1; None asks `sums_of_items`.
    """
    unit = sums_of_items(vectors) if unit is None else unit
    x = _prepared(vectors, unit)
    mean = x.mean(axis=0)
    x -= mean
    scale = float(x.std()) or 1.0
    x /= scale
    log_prior = class_log_prior(classes, n_classes)
    return Head(
        unit, mean, scale, _logistic(x, _axes(x), classes, n_classes), _discriminant(x, classes, n_classes), log_prior
    )


def sums_of_items(vectors: NDArray[np.float32]) -> bool:
    """Whether the lengths of vectors differ so much that they count items."""
    low, high = np.percentile(np.linalg.norm(vectors, axis=1), [5, 95])
    return bool(high > SPREAD_OF_NORMS * low)


def class_log_prior(classes: NDArray[np.int64], n_classes: int) -> Array:
    """Log frequency of each class, half a patient added to each."""
    counts = np.bincount(classes, minlength=n_classes) + 0.5
    return np.asarray(np.log(counts / counts.sum()))


def neighbour_evidence(shares: Array, log_prior: Array, neighbours: int = NEIGHBOURS) -> Array:
    """Log-likelihood ratios from how many of the nearest stored patients are of each class, (n, classes) to the same.

    One patient of average frequencies is added to the counts, so that no class is impossible.
    """
    voters = shares.sum(axis=1, keepdims=True)
    smoothed = np.log((shares + np.exp(log_prior)) / (voters + 1))
    return np.asarray(np.maximum(smoothed, FLOOR) - log_prior)


def _ratios(scores: Array, log_prior: Array) -> Array:
    return np.asarray(np.maximum(log_softmax(scores), FLOOR) - log_prior)


def log_softmax(scores: Array) -> Array:
    """Log-probabilities of scores, (..., classes)."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _prepared(vectors: NDArray[np.float32], unit: bool) -> Array:
    x = vectors.astype(np.float64)
    if unit:
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return x


def _logistic(x: Array, axes: Array, classes: NDArray[np.int64], n_classes: int) -> Array:
    """Weights and, last, intercepts, (dimensions + 1, classes); only the directions `axes` are looked at."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    counts = np.bincount(classes, minlength=n_classes)
    found = np.flatnonzero(counts)
    weights = {int(one): float(np.sqrt(len(classes) / (len(found) * counts[one]))) for one in found}
    out = np.zeros((x.shape[1] + 1, n_classes))
    out[-1] = FLOOR
    if len(found) < 2:
        out[-1, found] = 0.0
        return out
    # The products are too small to be shared out: a second thread makes them slower.
    with warnings.catch_warnings(), threadpool_limits(limits=1, user_api="blas"):
        # Stopped early, and in single precision, it is as good a view as any; stacking measures what it is worth.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=PENALTY, max_iter=STEPS, class_weight=weights).fit(
            (x @ axes).astype(np.float32), classes
        )
    if len(found) == 2:
        out[:-1, found[1]], out[-1, found[1]] = axes @ model.coef_[0], model.intercept_[0]
        out[-1, found[0]] = 0.0
    else:
        out[:-1, found], out[-1, found] = axes @ model.coef_.T, model.intercept_
    return out


def _axes(x: Array) -> Array:
    """Directions that hold `KEPT_VARIANCE` of centred rows, orthonormal columns, (dimensions, kept).

    A penalty does not mind a rotation, and what hardly varies gets no weight: fewer dimensions, the same answer.
    """
    variance, axes = np.linalg.eigh(x.T @ x)
    share = np.cumsum(variance[::-1]) / max(float(variance.sum()), 1e-12)
    return np.asarray(axes[:, ::-1][:, : int(np.searchsorted(share, KEPT_VARIANCE)) + 1])


def _discriminant(x: Array, classes: NDArray[np.int64], n_classes: int) -> Array:
    counts = np.bincount(classes, minlength=n_classes)
    means = np.zeros((n_classes, x.shape[1]))
    np.add.at(means, classes, x)
    means /= np.maximum(counts, 1)[:, None]
    within = x - means[classes]
    covariance = within.T @ within / max(1, len(x) - int((counts > 0).sum()))
    sphere = float(np.trace(covariance)) / len(covariance) or 1.0
    covariance *= 1 - SHRINKAGE
    covariance[np.diag_indices(len(covariance))] += SHRINKAGE * sphere
    weights = np.linalg.solve(covariance, means.T)
    intercept = -0.5 * np.einsum("cd,dc->c", means, weights)
    intercept[counts == 0] = FLOOR / FLATTENED
    return np.concatenate([weights, intercept[None]])
