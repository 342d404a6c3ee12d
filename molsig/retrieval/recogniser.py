"""The recogniser network: which modalities, and how many vectors of each, a sum was made of.

    h    = dropout(relu(batchnorm(W x + b)))      two shared layers
    y_m  = w_m relu(V_m h + a_m) + c_m            one branch per modality

x is the summed vector, or that and what the closed-form likelihood says of it (`molsig.retrieval.mixture`); y_m is the
number of vectors of modality m over the largest count learnt. After doi 10.1101/2025.05.14.653900, Recognizer Network
Architecture and Training Procedure: shared layers, branches, mean square error, Adam at 1e-3, dropout, batch
normalisation. The study states no sizes; these are small enough for a processor. The epoch that does best on sums of
held-back patients is kept. The study's baseline, a logistic regression per modality, is here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from molsig.errors import DamagedError, MolsigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.types import Progress

SHARED = (256, 128)
BRANCH = 32
DROPOUT = 0.1
LEARNING_RATE = 1e-3
BATCH = 128
EPOCHS = 16


class RecogniserNetwork(nn.Module):
    """Shared layers and one branch per modality.

    Parameters
    ----------
    n_inputs
        Length of x.
    n_modalities
        Number of branches.
    """

    def __init__(self, n_inputs: int, n_modalities: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for into, out in zip((n_inputs, *SHARED), SHARED, strict=False):
            steps += [nn.Linear(into, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.shared = nn.Sequential(*steps)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(SHARED[-1], BRANCH), nn.ReLU(), nn.Linear(BRANCH, 1)) for _ in range(n_modalities)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised counts, (batch, modalities)."""
        h = self.shared(x)
        return torch.cat([branch(h) for branch in self.branches], dim=1)


@dataclass(frozen=True, eq=False)
class Counter:
    """A trained network with the scaling around it.

    Attributes
    ----------
    network
        In evaluation mode, on the CPU.
    centre, scale
        Mean and standard deviation of each input in training, float32 (inputs,).
    largest
        The count that 1 stands for.
    losses
        Mean square error on held-back sums, epoch by epoch.
    """

    network: RecogniserNetwork
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    largest: int
    losses: tuple[float, ...] = ()

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Counts, not rounded, float64 (k, modalities)."""
        with torch.inference_mode():
            found = self.network(_scaled(inputs, self.centre, self.scale))
        counts: NDArray[np.float64] = found.numpy().astype(np.float64) * self.largest
        return counts

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All that is learnt, by name."""
        weights = {f"net.{name}": value.numpy().astype(np.float32) for name, value in self.network.state_dict().items()}
        return weights | {"input.centre": self.centre, "input.scale": self.scale}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]], modalities: int, largest: int) -> Counter:
        """Bring a counter back.

        Raises
        ------
        DamagedError
            The tensors do not make a network of that many branches.
        """
        try:
            centre, scale = tensors["input.centre"], tensors["input.scale"]
            network = RecogniserNetwork(len(centre), modalities)
            weights = {
                name.removeprefix("net."): torch.from_numpy(np.array(value))
                for name, value in tensors.items()
                if name.startswith("net.")
            }
            network.load_state_dict(weights)
        except (KeyError, RuntimeError) as error:
            raise DamagedError(f"the weights of a recogniser do not fit its card: {error}") from None
        return cls(network.eval(), centre, scale, largest)


def train_counter(
    inputs: NDArray[np.float32],
    counts: NDArray[np.int64],
    held_inputs: NDArray[np.float32],
    held_counts: NDArray[np.int64],
    *,
    seed: int,
    progress: Progress,
    epochs: int = EPOCHS,
) -> Counter:
    """Train a network on sums whose composition is known.

    Parameters
    ----------
    inputs, held_inputs
        float32 (k, inputs), of patients to learn from and of others who choose the epoch.
    counts, held_counts
        int64 (k, modalities).
    seed
        Rules weights, order and dropout.

    Raises
    ------
    MolsigError
        The loss is no finite number any more.
    """
    largest = int(counts.sum(axis=1).max())
    centre = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    # An input that never varies says nothing: left at its centre.
    scale = np.maximum(inputs.std(axis=0, dtype=np.float64), 1e-9).astype(np.float32)
    x, held_x = (_scaled(part, centre, scale) for part in (inputs, held_inputs))
    y, held_y = (torch.from_numpy(part.astype(np.float32) / largest) for part in (counts, held_counts))
    order = np.random.default_rng(seed)
    losses: list[float] = []
    best: dict[str, Tensor] = {}
    # Dropout and first weights draw from torch's global state, which is given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecogniserNetwork(inputs.shape[1], counts.shape[1])
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        steps = max(1, len(x) // BATCH) * epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for epoch in range(1, epochs + 1):
            network.train()
            # Batches of equal size: normalisation over a last batch of one would fail.
            for rows in np.array_split(order.permutation(len(x)), max(1, len(x) // BATCH)):
                chosen = torch.from_numpy(rows)
                loss = functional.mse_loss(network(x[chosen]), y[chosen])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
            network.eval()
            with torch.no_grad():
                losses.append(float(functional.mse_loss(network(held_x), held_y)))
            if not np.isfinite(losses[-1]):
                raise MolsigError(f"training of the recogniser diverged in epoch {epoch}: the loss is not finite")
            if losses[-1] == min(losses):
                best = {name: value.detach().clone() for name, value in network.state_dict().items()}
            progress("train recogniser", epoch, epochs)
    network.load_state_dict(best)
    return Counter(network.eval(), centre, scale, largest, tuple(losses))


@dataclass(frozen=True, eq=False)
class LogisticBaseline:
    """One logistic regression per modality on the summed vector: is it there or not."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def fit(
        cls, vectors: NDArray[np.float32], present: NDArray[np.bool_], *, penalty: float = 1e-4
    ) -> LogisticBaseline:
        """Minimise the mean log-loss and `penalty` times the squared weights, by L-BFGS, all modalities together."""
        centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = np.maximum(vectors.std(axis=0, dtype=np.float64), 1e-9).astype(np.float32)
        x, y = _scaled(vectors, centre, scale), torch.from_numpy(present.astype(np.float32))
        weights = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
        bias = torch.zeros(y.shape[1], requires_grad=True)
        optimiser = torch.optim.LBFGS([weights, bias], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            fit = functional.binary_cross_entropy_with_logits(x @ weights + bias, y)
            total: Tensor = fit + penalty * weights.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        return cls(weights.detach().numpy(), bias.detach().numpy(), centre, scale)

    def predict(self, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each modality is there, bool (k, modalities)."""
        there: NDArray[np.bool_] = (vectors - self.centre) / self.scale @ self.weights + self.bias > 0
        return there


def _scaled(inputs: NDArray[np.float32], centre: NDArray[np.float32], scale: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray((inputs - centre) / scale, dtype=np.float32))
