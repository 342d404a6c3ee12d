"""The variational autoencoder of tiles: what a tile looks like, without where in it anything is.

    b_k    = the bands of a Laplacian pyramid of the tile, in colour and in optical density       fixed convolutions
    t      = moments of colour and bands over all places: 71 numbers                              `describe`
    x      = C (t - m) / s                        40 principal components of the fitted tiles, scaled by variance^(1/4)
    h      = gelu(layernorm(W1 x + b1))
    q(z|x) = N(W2 h + b2, diag(exp(W3 h + b3)))                                                   z has 768 dimensions
    p(x|z) = N(V2 gelu(layernorm(V1 z + c1)) + c2, 0.3^2 I)
    p(z)   = N(0, I)

A tile is an arbitrary cut of a tissue: what it shows is a texture, and two tiles of one tissue have no pixel in common.
A network that has to reconstruct pixels spends its code on where things are, and needs more tiles than a cohort of a
few slides has: a convolutional one of 64 x 64 pixels found the tissue class less often than the mean colour does
(``benchmarks.tiles``). Statistics of filter responses describe textures well (Heeger and Bergen 1995; Portilla and
Simoncelli 2000). The scaling by variance^(1/4) stands half-way between plain components, of which stain intensity is
nearly all there is, and whitened ones, in which noise is as loud as tissue.

The embedding of a tile is the mean of q(z|x). This is what stands in when the weights of a pathology model are not at
hand; it is fitted to a cohort in a minute and knows of that cohort's stain and scanner only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from molsig.types import DIM

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 256
EPOCHS = 200
PATIENCE = 40
SIGMA = 0.3
"""Standard deviation of p(x|z); x has variance 1 on average."""
COMPONENTS = 40
BANDS = 4
EDGE = 128
"""Tiles are described at this edge: one micrometre a pixel for tiles of 256 at 0.5."""

_CHANNELS = ("red", "green", "blue")
_PAIRS = ((0, 1), (0, 2), (1, 2))
_SMALL = 1e-3


def names() -> tuple[str, ...]:
    """What the numbers of `describe` are, in their order."""
    found = [f"{what} {one}" for what in ("mean", "spread", "density mean", "density spread") for one in _CHANNELS]
    found += [f"density correlation {_CHANNELS[i]} {_CHANNELS[j]}" for i, j in _PAIRS]
    for what in ("strength", "density strength", "peakedness", "unevenness"):
        found += [f"{what} {one} band {band}" for band in range(BANDS) for one in _CHANNELS]
    for what in ("red-blue correlation", "density red-blue correlation"):
        found += [f"{what} band {band}" for band in range(BANDS)]
    return tuple(found)


def describe(pixels: Tensor) -> Tensor:
    """Texture statistics of tiles.

    Parameters
    ----------
    pixels
        uint8 RGB, (n, edge, edge, 3).

    Returns
    -------
    Tensor
        float32, (n, 71), finite for any tile; `names` says what they are.
    """
    x = functional.interpolate(pixels.permute(0, 3, 1, 2).float() / 255, size=(EDGE, EDGE), mode="area")
    # Beer and Lambert: stain adds up in optical density. 8 keeps black finite.
    density = -torch.log((x * 255 + 8) / 263)
    colour_bands, density_bands = _bands(x), _bands(density)
    parts = [x.mean((2, 3)), _spread(x), density.mean((2, 3)), _spread(density)]
    centred = density - density.mean((2, 3), keepdim=True)
    parts += [_correlation(centred, i, j) for i, j in _PAIRS]
    parts += [torch.log(band.abs().mean((2, 3)) + _SMALL) for band in colour_bands]
    parts += [torch.log(band.abs().mean((2, 3)) + _SMALL) for band in density_bands]
    parts += [_peakedness(band) for band in colour_bands]
    parts += [_unevenness(band) for band in colour_bands]
    parts += [_correlation(band, 0, 2) for band in colour_bands]
    parts += [_correlation(band, 0, 2) for band in density_bands]
    return torch.cat(parts, dim=1)


def _bands(image: Tensor) -> list[Tensor]:
    """A Laplacian pyramid (Burt and Adelson 1983) without its last level: structures of 1, 2, 4 and 8 pixels."""
    found = []
    for _ in range(BANDS):
        coarse = functional.avg_pool2d(image, 2)
        found.append(image - functional.interpolate(coarse, scale_factor=2, mode="bilinear"))
        image = coarse
    return found


def _spread(image: Tensor) -> Tensor:
    return image.std((2, 3))


def _correlation(band: Tensor, i: int, j: int) -> Tensor:
    both = (band[:, i] * band[:, j]).mean((1, 2))
    alone = band[:, i].square().mean((1, 2)) * band[:, j].square().mean((1, 2))
    return (both / (alone.sqrt() + 1e-7))[:, None]


def _peakedness(band: Tensor) -> Tensor:
    """How much of a band's energy sits in few places: log ratio of quadratic and linear mean."""
    return torch.log(band.square().mean((2, 3)).sqrt() + _SMALL) - torch.log(band.abs().mean((2, 3)) + _SMALL)


def _unevenness(band: Tensor) -> Tensor:
    """How much a band's strength differs from place to place."""
    local = functional.avg_pool2d(band.abs(), 8 if band.shape[-1] >= EDGE // 2 else 4)
    return torch.log(_spread(local) + _SMALL)


class TileVAE(nn.Module):
    """Gaussian variational autoencoder of texture statistics.

    Parameters
    ----------
    n_components
        Length of x.
    hidden
        Width of both hidden layers.
    """

    def __init__(self, n_components: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(n_components, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.mean = nn.Linear(hidden, DIM)
        self.log_variance = nn.Linear(hidden, DIM)
        self.decoder = nn.Sequential(nn.Linear(DIM, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.output = nn.Linear(hidden, n_components)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)

    def embed(self, x: Tensor) -> Tensor:
        """Mean of q(z|x), (batch, 768)."""
        mean: Tensor = self.mean(self.hidden(x))
        return mean

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (batch, 768)."""
        h = self.hidden(x)
        return self.mean(h), self.log_variance(h).clamp(-10.0, 4.0)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Mean of p(x|z), (batch, n_components)."""
        x: Tensor = self.output(self.decoder(z))
        return x

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) in nats without its constant, (batch,)."""
        error: Tensor = (self.reconstruct(z) - x).square().sum(dim=1) / (2 * SIGMA**2)
        return error
