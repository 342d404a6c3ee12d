"""A self-organising map: nodes on a lattice, each with a place in latent space, neighbours with neighbouring places.

    c(z)   = the node nearest to z                                                        the winner
    h_j(c) = exp(-|l_j - l_c|^2 / 2 s^2)       l: place on the lattice, s: width           the neighbourhood
    w_j   += rate * sum over a batch of h_j(c(z)) (z - w_j)                                Kohonen's rule

The width shrinks exponentially from half the lattice's longer side to `LAST_WIDTH` over the epochs, so that the map
first unfolds as a whole and then settles. Nodes start on the plane of the two main components of the samples, which
makes the map the same on every run and spares it the folds of a random start.

After T. Kohonen (Self-Organizing Maps, 2001) with the settings of the Deep Neural Map
(doi:10.1186/s12859-022-04559-4, Methods, "Self-Organizing Map Pre-Training"): Gaussian neighbourhood that shrinks in
time, learning rate .005, batches of 64. A batch moves a node by the sum of its samples' pulls, which at this rate
stays below the whole way: 64 x .005 < 1. The start is other than there, where weights are drawn from [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from molsig.errors import UsageError
from molsig.types import silent

if TYPE_CHECKING:
    from torch import Tensor

    from molsig.types import Progress

LAST_WIDTH = 0.5
"""Width of the neighbourhood in the last epoch, in steps of the lattice: a next neighbour then moves by .14."""


@dataclass(frozen=True, slots=True)
class SomSettings:
    """How a map is trained; the defaults are the paper's but for the epochs."""

    epochs: int = 150
    batch_size: int = 64
    learning_rate: float = 0.005
    last_width: float = LAST_WIDTH

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


@dataclass(slots=True)
class SomHistory:
    """Mean distance to the winning node by epoch; `best_epoch` counts from 1 and is the one whose nodes were kept."""

    best_epoch: int = 0
    train_distance: list[float] = field(default_factory=list)
    validation_distance: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, rounded to four digits after the point."""
        return {
            "epochs": len(self.train_distance),
            "best_epoch": self.best_epoch,
            "train_distance": [round(one, 4) for one in self.train_distance],
            "validation_distance": [round(one, 4) for one in self.validation_distance],
        }


class SelfOrganisingMap(nn.Module):
    """Nodes on a rectangular lattice.

    Parameters
    ----------
    rows, columns
        Sides of the lattice; node number r * columns + c lies at (r, c).
    latent
        Units of the vectors it maps.
    """

    places: Tensor

    def __init__(self, rows: int, columns: int, latent: int) -> None:
        super().__init__()
        if rows < 1 or columns < 1:
            raise UsageError(f"a lattice has at least one node, not {rows} x {columns}")
        self.rows, self.columns = rows, columns
        self.nodes = nn.Parameter(torch.zeros(rows * columns, latent))
        number = torch.arange(rows * columns)
        self.register_buffer("places", torch.stack([number // columns, number % columns], dim=1).float())

    def forward(self, z: Tensor) -> Tensor:
        """Distance of each vector to each node, (batch, nodes)."""
        distances: Tensor = self.squared(z).sqrt()
        return distances

    def squared(self, z: Tensor) -> Tensor:
        """Its square, which has a slope where a vector lies on a node, (batch, nodes)."""
        # By the matrix product, with the mean taken off, in which float32 loses least.
        centre = self.nodes.mean(dim=0)
        near, far = z - centre, self.nodes - centre
        squared = near.square().sum(dim=1, keepdim=True) + far.square().sum(dim=1) - 2 * near @ far.T
        return squared.clamp_min(0)

    def winners(self, z: Tensor) -> Tensor:
        """Nearest node of each vector, (batch,), the first of equally near ones."""
        nearest: Tensor = self(z).argmin(dim=1)
        return nearest

    def neighbourhood(self, winners: Tensor, width: float) -> Tensor:
        """How much each node moves with each winner: 1 for itself, falling with the distance on the lattice."""
        apart = (self.places[winners][:, None, :] - self.places[None]).square().sum(dim=2)
        return torch.exp(-apart / (2 * width * width))

    @torch.no_grad()
    def spread(self, z: Tensor) -> None:
        """Put the nodes on the plane of the two main components of `z`, (n, latent), the longer side on the first."""
        centre = z.mean(dim=0)
        _, scales, axes = torch.linalg.svd(z - centre, full_matrices=False)
        scales, axes = _two(scales / math.sqrt(max(1, len(z) - 1)), axes)
        # The sign of a component is a matter of the library: let its largest entry be positive.
        axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
        sides = torch.tensor([self.rows, self.columns], device=z.device, dtype=z.dtype)
        steps = 2 * self.places / (sides - 1).clamp_min(1) - (sides > 1).to(z.dtype)
        order = [0, 1] if self.rows >= self.columns else [1, 0]
        self.nodes.copy_(centre + steps @ (scales[:, None] * axes)[order] * 1.5)

    @torch.no_grad()
    def learn(self, z: Tensor, rate: float, width: float) -> None:
        """Move the nodes by one batch."""
        pull = self.neighbourhood(self.winners(z), width)
        self.nodes.add_(pull.T @ z - pull.sum(dim=0)[:, None] * self.nodes, alpha=rate)

    @torch.no_grad()
    def distance(self, z: Tensor, size: int = 4096) -> Tensor:
        """Distance of each vector to its winning node, (n,)."""
        return torch.cat([self(z[start : start + size]).amin(dim=1) for start in range(0, len(z), size)])


def train_som(
    lattice: SelfOrganisingMap,
    z: Tensor,
    held_back: Tensor,
    settings: SomSettings,
    *,
    seed: int,
    progress: Progress = silent,
    name: str = "map",
) -> SomHistory:
    """Fit the nodes to vectors and leave the map with the nodes of its best epoch.

    Parameters
    ----------
    z, held_back
        Vectors to learn from, and those whose mean distance to their winning node chooses the epoch, (n, latent);
        with none of the latter the last epoch is kept.
    seed
        Rules the order of the samples.
    """
    history = SomHistory()
    lattice.spread(z)
    order = torch.Generator().manual_seed(seed)
    first = max(lattice.rows, lattice.columns) / 2
    shrinking = min(1.0, settings.last_width / first)
    best, kept = math.inf, lattice.nodes.detach().clone()
    for epoch in range(settings.epochs):
        width = first * shrinking ** (epoch / max(1, settings.epochs - 1))
        shuffled = torch.randperm(len(z), generator=order).to(z.device)
        for start in range(0, len(z), settings.batch_size):
            lattice.learn(z[shuffled[start : start + settings.batch_size]], settings.learning_rate, width)
        history.train_distance.append(float(lattice.distance(z).mean()))
        told = history.train_distance[-1]
        if len(held_back):
            told = float(lattice.distance(held_back).mean())
            history.validation_distance.append(told)
        if told < best or not len(held_back):
            best, kept, history.best_epoch = told, lattice.nodes.detach().clone(), epoch + 1
        progress(f"unfold {name}", epoch + 1, settings.epochs)
    with torch.no_grad():
        lattice.nodes.copy_(kept)
    return history


def _two(scales: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Length and direction of two components; a second one of no length where there is only one."""
    if len(scales) >= 2:
        return scales[:2], axes[:2]
    return torch.cat([scales, torch.zeros_like(scales)])[:2], torch.cat([axes, axes])[:2]
