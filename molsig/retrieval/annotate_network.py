"""The study's network: three hidden layers between scaled measurements and a label, or a number.

Fiosina et al., Deep learning for sRNA metadata, section 2.3.1: 1000, 250 and 250 neurons with ReLU, drop-out .5, .4 and
.4, softmax, cross-entropy, Adam, 50 epochs in batches of 30. For a number the last layer has one neuron, and the
squared error of the standardised number is the loss; the study cuts numbers into intervals instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.annotate_inputs import Scaler
from molsig.retrieval.heads import FLOOR, class_log_prior, log_softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

HIDDEN = (1000, 250, 250)
DROPOUT = (0.5, 0.4, 0.4)
EPOCHS = 50
BATCH = 30


@dataclass(frozen=True, eq=False)
class Network:
    """The network over measurements or vectors of patients.

    Attributes
    ----------
    values
        float32 (patients, features).
    """

    values: NDArray[np.float32]
    seed: int = 0
    epochs: int = EPOCHS
    device: str = "cpu"
    name: str = "network"

    @property
    def present(self) -> NDArray[np.bool_]:
        """One voice, which everybody has, (1, patients)."""
        return np.ones((1, len(self.values)), dtype=bool)

    def tell(self, taught: Rows, codes: Rows, n_classes: int, asked: Rows) -> Array:
        """Log-likelihood ratios of the classes, (1, asked, classes)."""
        import torch
        from torch.nn import functional

        scores = self._fitted(taught, torch.from_numpy(codes), n_classes, asked, functional.cross_entropy)
        return np.asarray(np.maximum(log_softmax(scores), FLOOR) - class_log_prior(codes, n_classes))[None]

    def estimate(self, taught: Rows, values: Array, asked: Rows) -> tuple[Array, Array]:
        """Numbers, (asked,), and nothing about how far each can be trusted: zeros, (asked,)."""
        import torch
        from torch.nn import functional

        centre, scale = float(values.mean()), float(values.std()) or 1.0
        targets = torch.from_numpy(((values - centre) / scale).astype(np.float32))[:, None]
        found = self._fitted(taught, targets, 1, asked, functional.mse_loss)[:, 0] * scale + centre
        return found, np.zeros(len(asked))

    def _fitted(
        self,
        taught: Rows,
        targets: torch.Tensor,
        outputs: int,
        asked: Rows,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Array:
        """What the last layer says of those asked about, (asked, outputs)."""
        import torch

        network, scaler = self.trained(taught, targets, outputs, loss)
        with torch.inference_mode():
            found = network(torch.from_numpy(scaler(self.values[asked])).to(self.device))
        return np.asarray(found.cpu().numpy(), dtype=np.float64)

    def trained(
        self,
        taught: Rows,
        targets: torch.Tensor,
        outputs: int,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> tuple[torch.nn.Sequential, Scaler]:
        """The layers in evaluation mode, each bend a module of its own, and what scales their input."""
        import torch

        scaler = Scaler.fit(self.values[taught])
        inputs = torch.from_numpy(scaler(self.values[taught])).to(self.device)
        targets = targets.to(self.device)
        order = np.random.default_rng(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _layers(inputs.shape[1], outputs).to(self.device)
            optimiser = torch.optim.Adam(network.parameters(), fused=True)
            for _ in range(self.epochs):
                shuffled = torch.from_numpy(order.permutation(len(taught))).to(self.device)
                for start in range(0, len(taught), BATCH):
                    rows = shuffled[start : start + BATCH]
                    optimiser.zero_grad(set_to_none=True)
                    loss(network(inputs[rows]), targets[rows]).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
        return network.eval(), scaler


def _layers(inputs: int, outputs: int) -> torch.nn.Sequential:
    from torch import nn

    parts: list[nn.Module] = []
    for width, share in zip(HIDDEN, DROPOUT, strict=True):
        parts += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(share)]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, outputs))
