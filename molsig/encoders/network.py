"""Encoders around a network that was fitted to a cohort: its input is made in batches, its means are the vectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.encoder import Encoder
from molsig.errors import DamagedError
from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.encoders.encoder import Rows
    from molsig.types import Progress, Records


class NetworkEncoder(Encoder):
    """An encoder whose weights are a network with a method `embed`."""

    @abstractmethod
    def _inputs(self, records: Records, rows: Rows) -> NDArray[Any]:
        """Input of the network: float32, (n_rows, n_features), finite; pixels where that is what a model takes."""

    @abstractmethod
    def _build(self) -> Any:
        """The untrained `torch.nn.Module` that the weights belong to."""

    def _vectors(self, records: Records, rows: Rows, progress: Progress) -> NDArray[np.float32]:
        vectors = np.empty((len(rows), DIM), dtype=np.float32)
        for batch in self._batches(records, len(rows)):
            vectors[batch] = self._embed(self._inputs(records, rows[batch]))
            progress(f"encode {self.modality}", batch.stop, len(rows))
        return vectors

    def _embed(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Scaled mean of q(z|x), (n, 768)."""
        import torch

        from molsig.encoders.device import choose_device

        if self._running is None:
            # Without storage, so that no weights are drawn from the user's random state only to be replaced.
            with torch.device("meta"):
                network = self._build()
            prefix = "net."
            weights = {
                name.removeprefix(prefix): torch.from_numpy(value)
                for name, value in self._contents.tensors.items()
                if name.startswith(prefix)
            }
            try:
                network.load_state_dict(weights, assign=True)
            except RuntimeError as error:
                raise DamagedError(f"the weights of {self.space} do not fit its card: {error}") from None
            self._running = network.eval().to(choose_device(self._device))
        device = next(self._running.parameters()).device
        with torch.inference_mode():
            means = self._running.embed(torch.from_numpy(inputs).to(device)).cpu().numpy()
        vectors: NDArray[np.float32] = means * self._contents.tensors["output.scale"]
        return vectors
