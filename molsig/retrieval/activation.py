"""Which inputs the latent code of a map rests on: per sample, per class, at nodes where many classes meet.

    a_i(x) = sum over latent units k of |x_i dz_k/dx_i|,  divided by its sum over the inputs i

x_i is standardised: zero is the mean of the samples the map was fitted to. After the activation gradients of the Deep
Neural Map (doi:10.1186/s12859-022-04559-4, Methods, "miRNA activation gradient"), which sum |dz / dw| over the weights
w that leave an input. Of a first layer that is |x_i| times a figure that is the same for all inputs, so that it ranks
them by their values alone; here the gradient with regard to the input takes its place, and what the network does with
an input counts as well. Gradients are those of `molsig.encoders.attribution`.

At a node, as in Table 2 of the paper: of each class the samples that landed there are averaged, and the inputs that
make up the first 75 % of it are kept; those kept for all classes are shared, with an arrow where the node's samples of
every class are above, or below, the average of their class everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.map_encoder import DeepMap
    from molsig.types import FeatureMatrix, Progress

    Rows = NDArray[np.int64]

KEPT = 0.75
"""Share of the activation of a class that its highly activated inputs make up."""
MOST_OF_CLASS = 60
"""Samples of a class that its average is taken over."""
TOP = 10


@dataclass(frozen=True, slots=True)
class Activations:
    """Contributions of the inputs to the latent code.

    Attributes
    ----------
    features
        Names, in the order of the encoder's input.
    classes, samples
        Names of the classes, and how many samples the average of each is over.
    average, values
        Mean contribution, each row adding up to 1, and mean standardised value, by class, (classes, features).
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    samples: tuple[int, ...]
    average: NDArray[np.float64]
    values: NDArray[np.float64]

    def top(self, name: str, n: int = TOP) -> list[dict[str, Any]]:
        """The inputs that contribute most to a class: name, share, mean value in standard deviations."""
        place = self.classes.index(name)
        order = np.argsort(-self.average[place], kind="stable")[:n]
        return [
            {
                "feature": self.features[i],
                "share": round(float(self.average[place, i]), 5),
                "value": round(float(self.values[place, i]), 3),
            }
            for i in order
        ]

    def beside(self, one: str, other: str, n: int = TOP) -> dict[str, list[str]]:
        """Inputs among the first `n` of both classes, of the one only, and of the other only."""
        mine, theirs = ([row["feature"] for row in self.top(name, n)] for name in (one, other))
        return {
            "shared": [name for name in mine if name in theirs],
            one: [name for name in mine if name not in theirs],
            other: [name for name in theirs if name not in mine],
        }


@dataclass(frozen=True, slots=True)
class CrowdedNode:
    """A node where several classes meet.

    Attributes
    ----------
    members
        Samples by class.
    shared
        Inputs within the first 75 % of every class there, the largest first, each with ``up``, ``down`` or no trend
        against the averages of the classes.
    average_only
        Inputs within the first 75 % of every class's average, but of no class at this node, with the same trend.
    """

    row: int
    column: int
    members: dict[str, int]
    shared: tuple[tuple[str, str], ...]
    average_only: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "node": [self.row, self.column],
            "members": dict(self.members),
            "shared": [{"feature": name, "trend": trend} for name, trend in self.shared],
            "average_only": [{"feature": name, "trend": trend} for name, trend in self.average_only],
        }


def contributions(encoder: DeepMap, inputs: NDArray[np.float32], *, progress: Progress = silent) -> NDArray[np.float64]:
    """Contribution of each input to the latent code of each sample, rows adding up to 1, (n, features).

    Parameters
    ----------
    inputs
        As `DeepMap.network_inputs` gives them, (n, features).
    """
    from molsig.encoders.attribution import attribute

    network = encoder.network()
    total = np.zeros(inputs.shape)
    latent = encoder.nodes.shape[1]
    for unit in range(latent):
        found = attribute(network, inputs, method="gradient", score=lambda net, x, unit=unit: net.encoder(x)[:, unit])  # type: ignore[misc]
        total += np.abs(found.values * inputs)
        progress("activation gradients", unit + 1, latent)
    return np.asarray(total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12))


def activations(
    encoder: DeepMap,
    matrix: FeatureMatrix,
    classes: Sequence[str | None],
    nodes: NDArray[np.int64],
    crowded: Sequence[int] = (),
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Activations, tuple[CrowdedNode, ...]]:
    """Average contributions of each class, and what the classes at some nodes share.

    Parameters
    ----------
    classes, nodes
        Class, None where it is not known, and node of each sample of the matrix.
    crowded
        Nodes to look at.
    seed
        Rules which samples of a large class are averaged, `MOST_OF_CLASS` of each.
    """
    random = np.random.default_rng(seed)
    of = np.array([one or "" for one in classes])
    names = tuple(sorted(set(of.tolist()) - {""}))
    averaged = {name: random.permutation(np.flatnonzero(of == name))[:MOST_OF_CLASS] for name in names}
    there = np.isin(nodes, np.array(crowded, dtype=np.int64)) & (of != "")
    rows = np.unique(np.concatenate([*averaged.values(), np.flatnonzero(there)]).astype(np.int64))
    inputs = encoder.network_inputs(matrix, rows)
    found = contributions(encoder, inputs, progress=progress)
    place = {int(row): i for i, row in enumerate(rows)}
    chosen = {name: [place[int(row)] for row in some] for name, some in averaged.items()}
    told = Activations(
        features=encoder.features,
        classes=names,
        samples=tuple(len(one) for one in chosen.values()),
        average=np.stack([found[some].mean(axis=0) for some in chosen.values()]),
        values=np.stack([inputs[some].mean(axis=0, dtype=np.float64) for some in chosen.values()]),
    )
    columns = encoder.lattice[1]
    looked_at = []
    for node in crowded:
        by_class = {
            name: found[[place[int(row)] for row in np.flatnonzero((nodes == node) & (of == name))]]
            for name in names
            if ((nodes == node) & (of == name)).any()
        }
        looked_at.append(crowded_node(told, int(node) // columns, int(node) % columns, by_class))
    return told, tuple(looked_at)


def crowded_node(told: Activations, row: int, column: int, by_class: dict[str, NDArray[np.float64]]) -> CrowdedNode:
    """What the classes at a node share.

    Parameters
    ----------
    by_class
        Contributions of the samples of each class that are there, (samples, features).
    """
    here = np.stack([some.mean(axis=0) for some in by_class.values()])
    usual = told.average[[told.classes.index(name) for name in by_class]]
    high_here, high_usually = _first(here), _first(usual)
    above, below = np.all(here > usual, axis=0), np.all(here < usual, axis=0)

    def named(mask: NDArray[np.bool_], size: NDArray[np.float64]) -> tuple[tuple[str, str], ...]:
        order = [i for i in np.argsort(-size, kind="stable").tolist() if mask[i]]
        return tuple((told.features[i], "up" if above[i] else "down" if below[i] else "") for i in order)

    members = sorted(((name, len(some)) for name, some in by_class.items()), key=lambda one: (-one[1], one[0]))
    return CrowdedNode(
        row,
        column,
        dict(members),
        named(np.all(high_here, axis=0), here.min(axis=0)),
        named(np.all(high_usually, axis=0) & ~np.any(high_here, axis=0), usual.min(axis=0)),
    )


def _first(shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The largest entries of each row that make up `KEPT` of it."""
    order = np.argsort(-shares, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(shares, order, axis=1), axis=1) - np.take_along_axis(shares, order, axis=1)
    kept = np.zeros(shares.shape, dtype=bool)
    np.put_along_axis(kept, order, before < KEPT * shares.sum(axis=1, keepdims=True), axis=1)
    return kept
