"""The convolutional VAE that tiles were first tried with, kept to be compared with `molsig.encoders.tile_vae`.

64 x 64 pixels, four strided convolutions, a 768-d latent, as many transposed steps back; or, pooled, the mean and
spread of the last feature maps in place of the maps themselves, which makes the latent blind to where things are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from molsig.encoders.training import Settings, split_groups, train
from molsig.types import DIM, SampleId, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

EDGE, WIDTH, GRID, SIGMA, CENTRE = 64, 32, 4, 0.1, 0.7


def _block(channels: int, into: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, into, 3, stride, 1), nn.GroupNorm(8, into), nn.GELU())


class PixelVAE(nn.Module):
    """Gaussian variational autoencoder of the pixels of a tile, float32 (n, 3, 64, 64) from 0 to 1."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        widths = (3, WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH)
        self.encoder = nn.Sequential(*(_block(a, b, 2) for a, b in pairwise(widths)))
        features = 8 * WIDTH if pooled else 4 * WIDTH * GRID**2
        self.hidden = nn.Sequential(nn.Linear(features, 256), nn.LayerNorm(256), nn.GELU())
        self.mean, self.log_variance = nn.Linear(256, DIM), nn.Linear(256, DIM)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        self.start = nn.Linear(DIM, 4 * WIDTH * GRID**2)
        back = ((4 * WIDTH, 4 * WIDTH), (4 * WIDTH, 2 * WIDTH), (2 * WIDTH, WIDTH), (WIDTH, WIDTH))
        steps = [layer for a, b in back for layer in (nn.Upsample(scale_factor=2), _block(a, b, 1))]
        self.decoder = nn.Sequential(*steps, nn.Conv2d(WIDTH, 3, 3, 1, 1))

    def _hidden(self, x: Tensor) -> Tensor:
        maps = self.encoder((x - CENTRE) / 0.2)
        flat = torch.cat([maps.mean((2, 3)), maps.std((2, 3))], 1) if self.pooled else maps.flatten(1)
        found: Tensor = self.hidden(flat)
        return found

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (batch, 768)."""
        h = self._hidden(x)
        return self.mean(h), self.log_variance(h).clamp(-10.0, 4.0)

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) in nats without its constant, (batch,)."""
        y = self.decoder(self.start(z).view(-1, 4 * WIDTH, GRID, GRID)) + CENTRE
        error: Tensor = (y - x).square().flatten(1).sum(1) / (2 * SIGMA**2)
        return error


def vectors_of(pixels: NDArray[np.uint8], seed: int, *, pooled: bool, epochs: int = 60) -> NDArray[np.float32]:
    """Fit to all tiles, turned and mirrored at random, and embed them: (n, 768)."""
    whole = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    small = functional.interpolate(whole, size=(EDGE, EDGE), mode="area")
    turns = torch.Generator().manual_seed(seed)

    def batches(rows: NDArray[np.int64]) -> Tensor:
        ways = torch.randint(8, (len(rows),), generator=turns).tolist()
        return torch.stack(
            [
                torch.rot90(one, way % 4, (1, 2)).flip(2) if way > 3 else torch.rot90(one, way, (1, 2))
                for one, way in zip(small[rows], ways, strict=True)
            ]
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PixelVAE(pooled=pooled)
    rows, held_back = split_groups([SampleId(str(i), str(i)) for i in range(len(small))], None, 0.1, seed)
    settings = Settings(epochs=epochs, batch_size=16, patience=epochs)
    train(model, batches, rows, held_back, settings, seed=seed, progress=silent, name="pixel VAE")
    with torch.inference_mode():
        mean: NDArray[np.float32] = model.posterior(small)[0].numpy()
    return mean
