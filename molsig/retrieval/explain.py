"""Why two samples are near in one modality: the features that carry the similarity of their vectors.

    s(q, h) = cos(f(q) - f(0), f(h) - f(0))

f is the encoder's network, 0 its reference input: the mean of the samples it was fitted on, or of mutations a tumour
without any. What all samples have in common is thus taken off, as `weighted` fusion does, and the parts of the features
add up to s itself, not to its difference from what an average patient has with everybody. Each sample is explained on
its own, the other one and both lengths held fast:

    a(q) = attribution of  (f(x) - f(0)) . (f(h) - f(0)) / (|f(q) - f(0)| |f(h) - f(0)|)  at x = q from x = 0

and a(h) likewise. Either adds up to s; a feature's contribution is the mean of the two, or what there is where only
one of the two was measured. A feature in which both leave the reference the same way speaks for the similarity, one in
which they leave it in opposite ways against it.

Both at once, from a pair of reference inputs, would explain nothing: the cosine of a sample with itself is 1, so every
pair would start from likeness. The cosine itself, whose lengths move with x, has no value at the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.encoders.network import NetworkEncoder

    Array = NDArray[np.float64]

_NOTHING = 1e-4
"""Share of its own length that a vector has to move from the reference's to be told from it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one of the two samples.

    Attributes
    ----------
    vector
        Its vector, (768,).
    inputs
        What the network is given of it, (n_features,); None where it was not measured again.
    """

    name: str
    vector: NDArray[np.float32]
    inputs: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What each feature contributes to the similarity of a pair.

    Attributes
    ----------
    features
        Names, in the order of the encoder's input.
    contributions
        Mean over the samples that were measured, (n_features,); they add up to `score`.
    query, hit
        Those of each sample, None where it was not measured.
    score
        s above.
    missed
        Most that the parts of a sample miss of it, as a share.
    """

    features: tuple[str, ...]
    contributions: Array
    query: Array | None
    hit: Array | None
    score: float
    method: str
    missed: float


def carried(encoder: NetworkEncoder, query: Known, hit: Known) -> Carried:
    """Divide the similarity of two samples among the features of those that were measured, one at least.

    Raises
    ------
    InputError
        The vector of a sample is that of the reference input, so that nothing tells it from an average patient.
    MolsigError
        The parts do not add up (`molsig.encoders.attribution`).
    """
    import torch

    network = encoder.network()
    width = len(encoder.features)
    with torch.no_grad():
        parameter = next(network.parameters())
        at_reference = network.embed(torch.zeros(1, width, device=parameter.device))[0].double().cpu().numpy()
    ways = [one.vector.astype(np.float64) / encoder.scale - at_reference for one in (query, hit)]
    lengths = [float(np.linalg.norm(way)) for way in ways]
    for one, length in zip((query, hit), lengths, strict=True):
        if length < _NOTHING * max(*lengths, float(np.linalg.norm(at_reference))):
            raise InputError(f"{one.name}: none of what {encoder.space} looks at differs from its reference input")
    score = float(ways[0] @ ways[1] / (lengths[0] * lengths[1]))
    parts: list[Array | None] = []
    methods, missed = [], 0.0
    for one, other in ((query, ways[1]), (hit, ways[0])):
        if one.inputs is None:
            parts.append(None)
            continue
        found, method, share = _of_one(network, one.inputs, at_reference, other / (lengths[0] * lengths[1]))
        parts.append(found)
        methods.append(method)
        missed = max(missed, share)
    there = [part for part in parts if part is not None]
    return Carried(
        features=tuple(encoder.features),
        contributions=np.mean(there, axis=0),
        query=parts[0],
        hit=parts[1],
        score=score,
        method=methods[0],
        missed=missed,
    )


def _of_one(network: Any, inputs: NDArray[np.float32], at_reference: Array, way: Array) -> tuple[Array, str, float]:
    """Contributions of the inputs of one sample, the method, and the share of the score that they miss."""
    import torch

    from molsig.encoders.attribution import attribute, method_of

    direction, origin = torch.from_numpy(way), torch.from_numpy(at_reference)

    def along(module: Any, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = (module.embed(x) - origin.to(x)) @ direction.to(x)
        return found

    row = inputs[None]
    method = method_of(network, row, along)
    found = attribute(network, row, method=method, score=along, reference=np.zeros(len(inputs)))
    assert found.missed is not None
    share = abs(float(found.missed[0])) / max(abs(float(found.scores[0])), 1e-12)
    return found.values[0].astype(np.float64), method, share
