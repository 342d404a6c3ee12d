"""Encoders around a network that was fitted to a cohort: its input is made in batches, its means are the vectors."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.encoder import Encoder
from molsig.errors import DamagedError
from molsig.streaming import plan_of, stream
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Rows
    from molsig.types import Progress, Records


FEW = 64
"""Most samples that are encoded without torch, whose loading would take longer."""

_PREFIX = "net."


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
        few = len(rows) <= FEW and self._device in {"auto", "cpu"}
        batches = list(self._batches(records, len(rows)))
        inputs = (self._inputs(records, rows[batch]) for batch in batches)
        found = map(self._try_few, inputs) if few else self._embedded(inputs)
        for batch, means in zip(batches, found, strict=True):
            vectors[batch] = means
            vectors[batch] *= self._contents.tensors["output.scale"]
            progress(f"encode {self.modality}", batch.stop, len(rows))
        return vectors

    def _embed_few(self, inputs: NDArray[Any]) -> NDArray[np.float32] | None:
        """What `_embedded` gives of one batch, without torch; None where there is no such way."""
        return None

    def _try_few(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        try:
            means = self._embed_few(inputs)
        except (KeyError, ValueError) as error:
            raise self._misfit(error) from None
        return next(self._embedded(iter([inputs]))) if means is None else means

    def _misfit(self, error: Exception) -> DamagedError:
        return DamagedError(f"the weights of {self.space} do not fit its card: {error}")

    def _network_weights(self) -> dict[str, NDArray[np.float32]]:
        """Weights of the network by the names it has for them."""
        tensors = self._contents.tensors
        return {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}

    def _embedded(self, inputs: Iterator[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
        """Vectors of each batch of inputs before their scale, (n, 768); on CUDA `inputs` are made by another thread."""
        import torch

        network = self._network()
        device = next(network.parameters()).device
        plan = plan_of(device)
        work = self._products(plan).of(partial(self._compute, network), self.space)
        return stream(map(torch.from_numpy, inputs), work, device, plan.ahead)

    def _compute(self, network: Any, inputs: Any) -> Any:
        """What `network` makes of a batch, a tensor on its device: the mean of q(z|x)."""
        return network.embed(inputs)

    @property
    def scale(self) -> float:
        """What the output of the network is multiplied by to give a vector."""
        return float(self._contents.tensors["output.scale"][0])

    def network(self) -> Any:
        """The network with its weights, a `torch.nn.Module`, for those who ask what its output rests on."""
        return self._network()

    def network_inputs(self, records: Records, rows: Rows, *, allow_missing: bool = True) -> NDArray[Any]:
        """What the network is given of some rows: of a matrix standardised values, whose zero is the mean."""
        chosen = self._rows(records, rows.tolist())
        self._check_coverage(records, chosen, allow_missing)
        return self._inputs(records, chosen)

    def _network(self) -> Any:
        """The network with its weights, on its device."""
        if self._running is None:
            import torch

            from molsig.encoders.device import choose_device

            # Without storage, so that no weights are drawn from the user's random state only to be replaced.
            with torch.device("meta"):
                network = self._build()
            weights = {name: torch.from_numpy(value) for name, value in self._network_weights().items()}
            try:
                network.load_state_dict(weights, assign=True)
            except RuntimeError as error:
                raise self._misfit(error) from None
            self._running = network.eval().to(choose_device(self._device))
        return self._running
