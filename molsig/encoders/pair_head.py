"""The probability that two vectors are of one type, in numpy: a stored pair is judged without torch.

Two kinds of head: logistic in the cosine, fitted on types that its metric has not seen, and the similarity head of the
Siamese network (`siamese_network.SimilarityHead`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.network import _PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Vectors = NDArray[np.float32]

LOGISTIC = "head.logistic"
"""Tensor of a slope and an intercept."""

FOLDS = 4
"""Groups of types; a metric fitted without each of them is judged on its types."""
_MOST_OF_TYPE = 60
"""Samples of a type that pairs are made of."""


def cosine_logits(logistic: NDArray[np.floating], a: Vectors, b: Vectors) -> Array:
    """Logits of all pairs, (n, m), from their cosines."""
    slope, intercept = (float(one) for one in logistic)
    return np.asarray(slope * (_unit(a) @ _unit(b).T) + intercept, dtype=np.float64)


def siamese_logits(tensors: Mapping[str, Vectors], a: Vectors, b: Vectors) -> Array:
    """Logits of all pairs, (n, m), by the similarity head of vectors that are divided by their scale.

    The first layer is linear in the squared difference, W (a - b)^2 = W a^2 - 2 (W a) b + W b^2, so that no array of
    all differences is made.
    """
    weight = {name: tensors[f"{_PREFIX}vector_head.{name}"] for name in _HEAD}
    sign = -1.0
    if tensors["head.monotone"][0] > 0:
        weight |= {name: np.abs(one) for name, one in weight.items() if name.endswith("weight")}
    else:
        sign = 1.0
    scale = float(tensors["output.scale"][0])
    a, b = a / np.float32(scale), b / np.float32(scale)
    first = weight["dense1.weight"]
    of_a, of_b = np.square(a) @ first.T, np.square(b) @ first.T + weight["dense1.bias"]
    out = np.empty((len(a), len(b)))
    for row, vector in enumerate(a):
        h = np.maximum(of_a[row] + of_b - 2 * (b @ (first * vector).T), 0)
        h = np.maximum(h @ weight["dense2.weight"].T + weight["dense2.bias"], 0)
        out[row] = sign * (h @ weight["out.weight"][0]) + weight["out.bias"][0]
    return out


_HEAD = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias", "out.weight", "out.bias")


def probability(logits: Array) -> Array:
    """Logits to probabilities, in float64 and without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def fit_logistic(
    fit_metric: Callable[[NDArray[np.bool_]], Callable[[NDArray[np.int64]], Vectors]],
    kinds: NDArray[np.int64],
    seed: int,
) -> Vectors:
    """Slope and intercept of the probability, of cosines among types that the metric was not fitted on.

    Matched and mismatched pairs count half each, and every type, or pair of types, as much as the others.

    Parameters
    ----------
    fit_metric
        Fits the metric to the samples that are marked, and gives what turns rows into vectors.
    kinds
        Type of each sample as a number from 0 on.
    """
    random = np.random.default_rng(seed)
    n_types = int(kinds.max()) + 1
    fold_of = np.empty(n_types, dtype=np.int64)
    fold_of[random.permutation(n_types)] = np.arange(n_types) % min(FOLDS, max(1, n_types // 2))
    cosines, same, weights = [], [], []
    for fold in np.unique(fold_of):
        judged = np.flatnonzero(fold_of == fold)
        seen = fold_of[kinds] != fold
        # With types enough for one fold only, there is nothing else to judge on.
        vectors_of = fit_metric(seen if seen.any() else ~seen)
        rows = np.concatenate([random.permutation(np.flatnonzero(kinds == one))[:_MOST_OF_TYPE] for one in judged])
        unit = _unit(vectors_of(rows))
        first, second = np.triu_indices(len(rows), 1)
        a, b = kinds[rows[first]], kinds[rows[second]]
        cosines.append((unit @ unit.T)[first, second].astype(np.float64))
        same.append(a == b)
        _, group, sizes = np.unique(
            np.minimum(a, b) * n_types + np.maximum(a, b), return_inverse=True, return_counts=True
        )
        weights.append(1.0 / sizes[group])
    cosine, matched, weight = np.concatenate(cosines), np.concatenate(same), np.concatenate(weights)
    for side in (matched, ~matched):
        weight[side] /= 2 * max(weight[side].sum(), 1e-12)
    return _newton(cosine, matched, weight).astype(np.float32)


def _newton(x: Array, y: NDArray[np.bool_], weight: Array) -> Array:
    """Weighted logistic regression on one variable, with a weak pull of the slope to 0 that separable pairs need."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    pull = np.diag([1e-5, 1e-8])
    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = probability(design @ beta)
        gradient = design.T @ (weight * (p - y)) + pull @ beta
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + pull
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        beta = beta - step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12)))
