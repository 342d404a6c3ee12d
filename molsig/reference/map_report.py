"""What `Reference.map` found: a map and those who live on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.retrieval.landing import NodeLabels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.encoders.map_encoder import DeepMap
    from molsig.retrieval.activation import Activations, CrowdedNode
    from molsig.retrieval.landing import Landing
    from molsig.types import SampleId


@dataclass(frozen=True, slots=True)
class MapReport:
    """A map with those who live on it.

    Attributes
    ----------
    encoder
        The map, `lattice` and all.
    samples, types, nodes, distances
        Who they are, the label of each, the number of their node and the distance to it.
    landings
        Where the samples of a query came down.
    activations, crowded
        What the latent code of each class rests on, and what classes that meet at a node share; None and empty where
        the measurements are not at hand.
    fitted
        Whether it was fitted for this question.
    taught
        Labels that the encoder of the stored vectors it is made of was told; empty for a map of measurements.
    """

    encoder: DeepMap
    label: str
    source: str
    samples: tuple[SampleId, ...]
    types: tuple[str | None, ...]
    nodes: NDArray[np.int64]
    distances: NDArray[np.float64]
    landings: tuple[Landing, ...]
    activations: Activations | None
    crowded: tuple[CrowdedNode, ...]
    fitted: bool
    taught: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def neoplastic(self) -> NDArray[np.bool_]:
        """Whether each sample is of a tumour, (n,)."""
        return np.array([one.kind != "normal" for one in self.samples], dtype=bool)

    def classes(self) -> tuple[str | None, ...]:
        """Label and neoplasticity of each sample in one."""
        return classes_of(self.samples, self.types)

    def living(self, of: Sequence[str | None]) -> NodeLabels:
        """Members of each node by some label of the samples."""
        return NodeLabels.of(self.nodes, of, len(self.encoder.nodes))

    def to_dict(self, *, members: bool = False) -> dict[str, Any]:
        """Stable keys for `--json`; no sample is named but those of the query, unless `members` are asked for."""
        living = self.living(self.classes())
        labels, columns = living.labels(), self.encoder.lattice[1]
        ridges = self.encoder.u_matrix().ravel()
        nodes: list[dict[str, Any]] = []
        for node in np.unique(self.nodes).tolist():
            one: dict[str, Any] = {
                "node": [node // columns, node % columns],
                "label": labels[node],
                "members": living.members(node),
                "ridge": round(float(ridges[node]), 4),
            }
            if members:
                one["samples"] = [self.samples[i].sample for i in np.flatnonzero(self.nodes == node)]
            nodes.append(one)
        return {
            "map": self.encoder.space,
            "modality": self.encoder.modality,
            "label": self.label,
            "source": self.source,
            "fitted": self.fitted,
            "taught": list(self.taught),
            "lattice": list(self.encoder.lattice),
            "samples": len(self.samples),
            "normals": int((~self.neoplastic).sum()),
            "nodes": nodes,
            "crowded": [one.to_dict() for one in self.crowded],
            "activations": {}
            if self.activations is None
            else {name: self.activations.top(name) for name in self.activations.classes},
            "landings": [one.to_dict() for one in self.landings],
            "notes": list(self.notes),
        }


def classes_of(samples: Sequence[SampleId], types: Sequence[str | None]) -> tuple[str | None, ...]:
    """Label and neoplasticity in one: ``LIHC`` of tumours, ``LIHC normal`` of others; None where there is no label."""
    return tuple(
        None if kind is None else f"{kind} normal" if one.kind == "normal" else kind
        for one, kind in zip(samples, types, strict=True)
    )
