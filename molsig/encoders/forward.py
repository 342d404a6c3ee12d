"""What the plain networks' `embed` computes, in numpy: a few samples are encoded before torch would have been loaded.

Loading torch takes longer than all the rest of a query with one new sample. Each function takes a network's weights by
the names of its `state_dict` and gives the same vectors as the module, up to the rounding of single precision. Weights
that do not fit each other raise KeyError or ValueError.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Weights = Mapping[str, Array]

_EPSILON = 1e-5
"""What `torch.nn.LayerNorm` adds to the variance."""

_erf = np.frompyfunc(math.erf, 1, 1)


def expression(weights: Weights, x: Array) -> Array:
    """`ExpressionVAE.embed`: (n, n_features) to (n, 768)."""
    return x @ weights["linear.weight"].T + _dense(weights, "mean", _normalised(weights, "hidden", 0, x))


def mutation(weights: Weights, x: Array) -> Array:
    """`MutationVAE.embed`: (n, n_genes) to (n, 768)."""
    return _dense(weights, "mean", _normalised(weights, "hidden", 0, x))


def autoencoder(weights: Weights, x: Array) -> Array:
    """`MirnaAutoencoder.embed`: (n, n_features) to (n, 768)."""
    x = _normalised(weights, "encoder", 0, x)
    x = _normalised(weights, "encoder", 3, x)
    return _dense(weights, "encoder.6", x) @ weights["lift"]


def whitening(weights: Weights, x: Array) -> Array:
    """`Whitening.embed`: (n, n_features) to (n, 768)."""
    return _dense(weights, "linear", x)


def _normalised(weights: Weights, name: str, first: int, x: Array) -> Array:
    """gelu(layernorm(W x + b)): layers number `first` and `first` + 1 of a sequence, and the activation."""
    x = _dense(weights, f"{name}.{first}", x)
    x = x - x.mean(axis=1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
    x = x * weights[f"{name}.{first + 1}.weight"] + weights[f"{name}.{first + 1}.bias"]
    return x * np.float32(0.5) * (1 + cast("Array", _erf(x * np.float32(math.sqrt(0.5)))).astype(np.float32))


def _dense(weights: Weights, name: str, x: Array) -> Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
