"""The variational autoencoder of expression matrices: a Gaussian model of standardised log expression.

    x      standardised, aligned log2(x + 1), one number per gene
    h      = gelu(layernorm(W1 x + b1))
    q(z|x) = N(S x + W2 h + b2, diag(exp(W3 h + b3)))          z has 768 dimensions
    p(x|z) = N(V2 gelu(layernorm(V1 z + c1)) + c2, sigma^2 I)
    p(z)   = N(0, I)

The linear path S carries what principal components would carry; the hidden layer bends it. With unit variance in p(x|z)
and standardised genes nearly all latent dimensions fall back to the prior (posterior collapse, Lucas et al. 2019,
arXiv:1911.02469): a small fixed sigma states that a gene is known better than its spread over all tumours, and keeps
them in use. The embedding of a sample is the mean of q(z|x).

After the RNA VAE of "Aggregating multimodal cancer data across unaligned embedding spaces maintains tumor of origin
signal" (doi:10.1101/2025.05.14.653900): 768 dimensions; two stages, pre-training and fine-tuning; KL term warmed up
from 0 over one epoch (kappa = 1). The paper does not say what tells the stages apart: here fine-tuning goes on from the
best pre-trained weights with less than a third of the learning rate and the full KL term, on the same samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from molsig.types import DIM

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 512
NOISE = 0.2
"""Standard deviation sigma of p(x|z), in units of each gene's own standard deviation."""


class ExpressionVAE(nn.Module):
    """Gaussian variational autoencoder with a linear path past its hidden layer.

    Parameters
    ----------
    n_features
        Length of x.
    hidden
        Width of both hidden layers.
    noise
        sigma of p(x|z).
    """

    def __init__(self, n_features: int, hidden: int = HIDDEN, noise: float = NOISE) -> None:
        super().__init__()
        self.noise = noise
        self.linear = nn.Linear(n_features, DIM, bias=False)
        self.hidden = nn.Sequential(nn.Linear(n_features, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.mean = nn.Linear(hidden, DIM)
        self.log_variance = nn.Linear(hidden, DIM)
        self.decoder = nn.Sequential(
            nn.Linear(DIM, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, n_features)
        )
        # A posterior that starts narrow lets the first epoch learn to reconstruct before the KL term weighs in.
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)

    def embed(self, x: Tensor) -> Tensor:
        """Mean of q(z|x), (batch, 768)."""
        mean: Tensor = self.linear(x) + self.mean(self.hidden(x))
        return mean

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (batch, 768)."""
        h = self.hidden(x)
        return self.linear(x) + self.mean(h), self.log_variance(h).clamp(-10.0, 4.0)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Mean of p(x|z), (batch, n_features)."""
        x: Tensor = self.decoder(z)
        return x

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) in nats, up to the constant of the normal density, (batch,)."""
        errors = functional.mse_loss(self.reconstruct(z), x, reduction="none").sum(dim=1)
        return errors / (2 * self.noise**2) + x.shape[1] * math.log(self.noise)
