"""The autoencoder of the landmark-gene study: 500-100-500 sigmoid units, mean absolute error, a little dropout.

    x   log expression less its mean, over its standard deviation, gene by gene
    h1  = dropout(sigmoid(W1 x + b1))        500 units
    z   = sigmoid(W2 h1 + b2)                100 units, the bottleneck
    h2  = dropout(sigmoid(W3 z + b3))        500 units
    x'  = W4 h2 + b4

    loss = mean |x - x'| + 1e-6 |W|^2        by Adam, 100 epochs, 10 % dropout

After the landmark-gene study that sets its autoencoder and DeepLIFT against L1000 ("D1000"; Methods, "AutoEncoder").
Inputs are scaled because a sigmoid is: thousands of raw log values, all positive, add up to tens and leave every hidden
unit at 0 or 1, where it learns nothing. The paper's values lie between 4 and 15, and what was done to them before the
first layer is not told. The last layer is linear, since scaled values lie beyond 0 and 1 on both sides. The paper tells
neither batch size, learning rate nor where the dropout is: here it is after the hidden layers, the bottleneck is left
whole.

Each non-linearity is a module of its own, called once a pass, so that attribution can hook each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from molsig.encoders.fitting import seeded
from molsig.encoders.training import Settings, train
from molsig.types import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.encoders.training import History
    from molsig.types import Progress

WIDTHS = (500, 100)
"""Units of the hidden layers and of the bottleneck."""
DROPOUT = 0.1
PENALTY = 1e-6
"""alpha of the L2 penalty alpha |W|^2, whose gradient is twice alpha W."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an autoencoder is trained.

    Attributes
    ----------
    dropout
        Share of the units of both hidden layers that is left out of a step.
    """

    epochs: int
    batch: int
    learning_rate: float
    dropout: float = DROPOUT

    def settings(self) -> Settings:
        """For the training loop."""
        return Settings(
            epochs=self.epochs,
            batch_size=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=2 * PENALTY,
            decoupled_decay=False,
        )


PAPER = Recipe(epochs=100, batch=32, learning_rate=1e-3)
"""What the paper tells; batch and rate are the defaults of the library it used (Keras).

With 718 samples 300 epochs reconstruct validation patients better (MAE .480 for .511), a rate of 3e-3 or no dropout a
little better; the genes that come out on top do not tell the others any better for it. See docs/landmarks.md.
"""


class LandmarkAutoencoder(nn.Module):
    """Autoencoder of expression profiles with a narrow sigmoid bottleneck.

    Parameters
    ----------
    n_genes
        Length of x.
    widths
        Units of the hidden layers and of the bottleneck.
    """

    def __init__(self, n_genes: int, widths: tuple[int, int] = WIDTHS, dropout: float = DROPOUT) -> None:
        super().__init__()
        hidden, latent = widths
        self.encoder = nn.Sequential(
            nn.Linear(n_genes, hidden), nn.Sigmoid(), nn.Dropout(dropout), nn.Linear(hidden, latent), nn.Sigmoid()
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.Sigmoid(), nn.Dropout(dropout), nn.Linear(hidden, n_genes)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def posterior(self, x: Tensor) -> tuple[Tensor, None]:
        """Bottleneck units, (batch, latent), known without doubt."""
        return self.encoder(x), None

    def reconstruct(self, z: Tensor) -> Tensor:
        """x', (batch, n_genes)."""
        x: Tensor = self.decoder(z)
        return x

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """Mean absolute error over the genes, (batch,)."""
        return (self.reconstruct(z) - x).abs().mean(dim=1)


@dataclass(frozen=True, slots=True)
class Fitted:
    """An autoencoder with the scale of its inputs.

    Attributes
    ----------
    mean, deviation
        Of each gene over the samples it was fitted on, (n_genes,): x = (value - mean) / deviation.
    """

    network: LandmarkAutoencoder
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    history: History

    def scaled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """x of log expression, float32 (n, n_genes)."""
        return (values - self.mean) / self.deviation

    def bottleneck(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """z of log expression, (n, latent)."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self.network.encoder(torch.from_numpy(self.scaled(values))).numpy()
        return found

    def reconstructed(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """x' of log expression on the scale of log expression, (n, n_genes)."""
        with torch.inference_mode():
            x = self.network.decoder(self.network.encoder(torch.from_numpy(self.scaled(values)))).numpy()
        return np.asarray(x * self.deviation + self.mean, dtype=np.float32)


def fit(
    values: NDArray[np.float32],
    *,
    widths: tuple[int, int] = WIDTHS,
    recipe: Recipe = PAPER,
    seed: int = 0,
    progress: Progress = silent,
) -> Fitted:
    """Fit the autoencoder to log expression.

    Parameters
    ----------
    values
        (n, n_genes), float32, no NaN. A gene that does not vary is left at 0.

    Raises
    ------
    MolsigError
        Training diverged.
    """
    mean, deviation = scale_of(values)
    x = torch.from_numpy((values - mean) / deviation)
    network = seeded(lambda: LandmarkAutoencoder(x.shape[1], widths, recipe.dropout), seed)
    assert isinstance(network, LandmarkAutoencoder)
    rows = np.arange(len(x))
    # Dropout draws from torch's own random state, which is the user's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        history = train(
            network,
            lambda some: x[torch.from_numpy(some)],
            rows,
            rows[:0],
            recipe.settings(),
            seed=seed,
            progress=progress,
            name="landmark autoencoder",
        )
    return Fitted(network, mean, deviation, history)


def scale_of(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each gene; a deviation of 1 for one that does not vary."""
    mean = values.mean(axis=0, dtype=np.float64)
    deviation = values.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.where(deviation > FLAT, deviation, 1.0).astype(np.float32)


FLAT = 1e-6
"""Standard deviation up to which a gene does not vary."""
