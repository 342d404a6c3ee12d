"""An encoder whose vectors have a place on a lattice: the Deep Neural Map of `deep_map`, put to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.expression import ExpressionEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.encoders.encoder import Rows
    from molsig.types import Records


JUDGED = "map.judged"
"""Among the tensors of a map: distance and error of the samples that judged it."""


class DeepMap(ExpressionEncoder):
    """Encoder of a matrix whose vectors have a place on a lattice."""

    def _build(self) -> Any:
        from molsig.encoders.deep_map import DeepMapNetwork

        told = self.card.architecture
        return DeepMapNetwork(len(self.features), told["latent"], tuple(told["lattice"]))

    @property
    def lattice(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.card.architecture["lattice"]
        return int(rows), int(columns)

    @property
    def nodes(self) -> NDArray[np.float32]:
        """Place of each node in latent space, (rows * columns, latent); number r * columns + c lies at (r, c)."""
        return self._contents.tensors["net.som.nodes"]

    def place(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Where on the lattice vectors of this encoder land.

        Parameters
        ----------
        vectors
            As `encode` gives them, (n, 768).

        Returns
        -------
        node : ndarray
            Number of the winning node of each, (n,).
        distance : ndarray
            Distance to it in latent units, (n,).
        """
        tensors = self._contents.tensors
        latent = vectors.astype(np.float64) / float(tensors["output.scale"][0]) @ tensors["net.lift"].T
        nodes = self.nodes.astype(np.float64)
        winners, distances = np.empty(len(latent), dtype=np.int64), np.empty(len(latent))
        for start in range(0, len(latent), 1024):
            z = latent[start : start + 1024]
            squared = np.square(z).sum(axis=1)[:, None] + np.square(nodes).sum(axis=1) - 2 * z @ nodes.T
            winners[start : start + 1024] = squared.argmin(axis=1)
            distances[start : start + 1024] = np.sqrt(np.maximum(squared.min(axis=1), 0))
        return winners, distances

    def node_errors(self, records: Records, rows: Rows) -> NDArray[np.float64]:
        """Mean square difference between the input of some rows and the profile of their winning node, (n,).

        A sample unlike all that the map was fitted to need not lie far from every node: normalised layers keep the
        latent units of anything within bounds. Its values then differ from those its node stands for.
        """
        import torch

        network = self.network()
        device = next(network.parameters()).device
        found = np.empty(len(rows))
        with torch.inference_mode():
            for start in range(0, len(rows), 512):
                x = self.network_inputs(records, rows[start : start + 512])
                found[start : start + 512] = network.node_error(torch.from_numpy(x).to(device)).double().cpu().numpy()
        return found

    @property
    def judged(self) -> int:
        """How many samples kept back from the fit strangeness is told by."""
        return int(self._judged().shape[1])

    def strangeness(
        self, distances: NDArray[np.float64], errors: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Share of samples held back from the fit, and itself, that fit their node better, 0 to n / (n + 1), (n,).

        By the distance to the node or, where `errors` are given too, by whichever of the two is the stranger. By one of
        them a sample like those held back is stranger than a share s with a probability of at most 1 - s, however few
        they are (conformal rank: Vovk, Gammerman and Shafer 2005); by either, at most twice that.
        """
        asked = [distances, *([] if errors is None else [errors])]
        found = [
            np.searchsorted(np.sort(theirs), one, side="left") / (len(theirs) + 1)
            for theirs, one in zip(self._judged(), asked, strict=False)
        ]
        return np.asarray(np.max(found, axis=0))

    def _judged(self) -> NDArray[np.float64]:
        """Distance and error of the held-back samples, (2, n); an older map has quantiles of either, 1,001 of them."""
        tensors = self._contents.tensors
        return tensors.get(JUDGED, tensors["net.quantiles"]).astype(np.float64)

    def u_matrix(self) -> NDArray[np.float64]:
        """Mean distance of each node to its next neighbours, (rows, columns): ridges part what differs (Ultsch)."""
        rows, columns = self.lattice
        grid = self.nodes.astype(np.float64).reshape(rows, columns, -1)
        total, counts = np.zeros((rows, columns)), np.zeros((rows, columns))
        down = np.linalg.norm(grid[1:] - grid[:-1], axis=2)
        across = np.linalg.norm(grid[:, 1:] - grid[:, :-1], axis=2)
        for step, one, other in (
            (down, np.s_[1:], np.s_[:-1]),
            (across, np.s_[:, 1:], np.s_[:, :-1]),
        ):
            for side in (one, other):
                total[side] += step
                counts[side] += 1
        return total / np.maximum(counts, 1)
