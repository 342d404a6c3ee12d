"""The variational autoencoder of somatic mutations (NETVAE in the source paper): a Bernoulli model of mutated genes.

    x      1 where a gene is mutated, 0 elsewhere
    h      = gelu(layernorm(W1 x + b1))
    q(z|x) = N(W2 h + b2, diag(exp(W3 h + b3)))                 z has 768 dimensions
    p(x|z) = prod_g Bernoulli(sigmoid(V2 gelu(layernorm(V1 z + c1)) + c2)_g)
    p(z)   = N(0, I)

The bias c2 starts at the log-odds of each gene's frequency, so that training spends nothing on learning it. Somatic
profiles are sparse and a few tumours carry thousands of mutations; the full weight of the KL term would leave nothing
but the burden in z, hence beta < 1 (Higgins et al. 2017). The embedding of a sample is the mean of q(z|x).

After "Aggregating multimodal cancer data across unaligned embedding spaces maintains tumor of origin signal"
(doi:10.1101/2025.05.14.653900): 768 dimensions, batches of 256, at most 50 epochs, patience 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from molsig.types import DIM

if TYPE_CHECKING:
    from torch import Tensor

HIDDEN = 512
EPOCHS = 50
BETA = 0.3
"""Final weight of the KL term."""


class MutationVAE(nn.Module):
    """Bernoulli variational autoencoder of a gene-by-sample mutation matrix.

    Parameters
    ----------
    n_genes
        Length of x.
    frequency
        Share of the fitted samples in which each gene is mutated, (n_genes,); not needed when weights are loaded.
    hidden
        Width of both hidden layers.
    """

    def __init__(self, n_genes: int, frequency: Tensor | None = None, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(n_genes, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.mean = nn.Linear(hidden, DIM)
        self.log_variance = nn.Linear(hidden, DIM)
        self.decoder = nn.Sequential(nn.Linear(DIM, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.logits = nn.Linear(hidden, n_genes)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -2.0)
        if not self.logits.weight.is_meta:
            # To draw normal numbers for a tensor without storage torch would load its compiler, which takes seconds.
            nn.init.normal_(self.logits.weight, std=0.005)
        if frequency is not None:
            with torch.no_grad():
                self.logits.bias.copy_(torch.logit(frequency.clamp(1e-4, 1 - 1e-4)))

    def embed(self, x: Tensor) -> Tensor:
        """Mean of q(z|x), (batch, 768)."""
        mean: Tensor = self.mean(self.hidden(x))
        return mean

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (batch, 768)."""
        h = self.hidden(x)
        return self.mean(h), self.log_variance(h).clamp(-10.0, 4.0)

    def reconstruct(self, z: Tensor) -> Tensor:
        """p(x = 1|z), (batch, n_genes)."""
        return torch.sigmoid(self.logits(self.decoder(z)))

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) in nats, (batch,)."""
        logits = self.logits(self.decoder(z))
        return functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
