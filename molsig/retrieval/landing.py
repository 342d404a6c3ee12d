"""What lives at the nodes of a map: members, the label of the majority, what a sample that lands there is told.

After the Deep Neural Map (doi:10.1186/s12859-022-04559-4, Methods, "Model evaluation"): a node has the label that most
of its training samples have; a node without samples, or with two labels that are equally common, has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRANGE = 0.99
"""Share of held-back samples that fit their node better, from which on no node is said to fit."""


@dataclass(frozen=True, slots=True)
class NodeLabels:
    """How many members of each label every node has.

    Attributes
    ----------
    names
        The labels, sorted.
    counts
        Members by node and label, (nodes, labels).
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, nodes: NDArray[np.int64], labels: Sequence[str | None], n_nodes: int) -> NodeLabels:
        """Count members; those without a label count nowhere.

        Parameters
        ----------
        nodes
            Node of each sample, (n,).
        """
        if len(nodes) != len(labels):
            raise UsageError(f"there are {len(labels)} labels for {len(nodes)} samples")
        names = tuple(sorted({one for one in labels if one is not None}))
        number = {name: place for place, name in enumerate(names)}
        counts = np.zeros((n_nodes, len(names)), dtype=np.int64)
        known = np.array([number.get(one, -1) if one is not None else -1 for one in labels], dtype=np.int64)
        np.add.at(counts, (nodes[known >= 0], known[known >= 0]), 1)
        return cls(names, counts)

    def labels(self) -> list[str | None]:
        """Label of each node by the majority of its members; None where it is empty or two are equally common."""
        if not self.names:
            return [None] * len(self.counts)
        first = self.counts.argmax(axis=1)
        most = self.counts.max(axis=1)
        single = (self.counts == most[:, None]).sum(axis=1) == 1
        return [
            self.names[place] if clear and n else None
            for place, n, clear in zip(first.tolist(), most.tolist(), single.tolist(), strict=True)
        ]

    def members(self, node: int) -> dict[str, int]:
        """Members of a node by label, the commonest first."""
        row = self.counts[node]
        order = np.argsort(-row, kind="stable")
        return {self.names[place]: int(row[place]) for place in order if row[place]}

    def crowded(self, least: int = 3) -> NDArray[np.int64]:
        """Nodes with members of at least so many labels, those of most labels first."""
        labels = (self.counts > 0).sum(axis=1)
        some = np.flatnonzero(labels >= least)
        return some[np.lexsort((some, -self.counts[some].sum(axis=1), -labels[some]))]


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a sample landed, and what lives there.

    Attributes
    ----------
    row, column
        Place of its node on the lattice.
    distance
        To the node, in latent units.
    strangeness
        Share of held-back samples that fit their node better; from `STRANGE` on no node `fits`.
    label
        Of the node; None where it has none, and where no node fits.
    members
        Of the node by label.
    """

    sample: str
    patient: str
    row: int
    column: int
    distance: float
    strangeness: float
    fits: bool
    label: str | None
    members: dict[str, int]

    @property
    def shares(self) -> dict[str, float]:
        """Members as shares of all of them."""
        whole = sum(self.members.values())
        return {name: n / whole for name, n in self.members.items()}

    def says(self) -> str:
        """The landing in a sentence."""
        if not self.fits:
            return f"no node fits: {self.strangeness:.1%} of the samples kept back from the fit are nearer to theirs"
        if not self.members:
            return "nobody with a label lives there"
        first = ", ".join(f"{name} {share:.0%}" for name, share in list(self.shares.items())[:3])
        tie = "" if self.label is not None else ", which is a tie"
        return f"{sum(self.members.values())} live there: {first}{tie}"

    def to_dict(self) -> dict[str, Any]:
        """Stable keys for `--json`."""
        return {
            "sample": self.sample,
            "patient": self.patient,
            "node": [self.row, self.column],
            "distance": round(self.distance, 4),
            "strangeness": round(self.strangeness, 4),
            "fits": self.fits,
            "label": self.label,
            "members": dict(self.members),
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
        }
