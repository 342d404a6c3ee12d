"""The Deep Neural Map: an autoencoder whose latent layer is mapped onto a lattice, fitted in three stages.

    1  autoencoder     as `mirna_autoencoder`: mean square error, latent size by the error on held-back patients
    2  map             as `som`: nodes unfold over the latent units z of the frozen autoencoder
    3  both            loss = |x - x'|^2 / n + w |z - w_c|^2 / n_latent            c: the node that wins z
                       and the nodes by Kohonen's rule, the gradient of  w sum_j h_j(c) |z - w_j|^2 / n_latent

No stage looks at a label. After "Deep Neural Maps" (Pesteie et al. 2018) as the miRNA study has it
(doi:10.1186/s12859-022-04559-4, Methods, "Autoencoder Pre-Training" to "AE and SOM Fine-Tuning"): `PAPER` has its
epochs, 3,500 / 1,500 / 1,250, of each stage the best on held-back patients. Other than there: `MEASURED` has far fewer,
nodes start on the plane of the main components, and in stage 3 the nodes move by Adam, as the weights do, in a
neighbourhood that has stopped shrinking. Stage 3 may also draw z together as a whole, which serves the second term
without making the map any better; the card tells distances before and after both as they are and beside the spread
of z.

The paper does not say how its lattice was chosen. Here sides around those that give 5 sqrt(n) nodes (Vesanto and
Alhoniemi 2000) are tried: the one that held-back samples lie nearest to, of those where at most `MOST_EMPTY` of them
land on a node without any other sample, of which nothing could be said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from molsig.encoders.device import choose_device
from molsig.encoders.fitting import described_network, seeded
from molsig.encoders.map_encoder import JUDGED
from molsig.encoders.mirna_autoencoder import MirnaAutoencoder, choose_size, settings_of
from molsig.encoders.som import SelfOrganisingMap, SomSettings, train_som
from molsig.encoders.training import split_groups, train
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.encoders.disk import Contents
    from molsig.encoders.fitting import Job
    from molsig.encoders.training import Settings
    from molsig.types import Progress

SIDES = (0.5, 1.0, 1.5, 2.0)
"""Numbers of nodes that are tried, in units of 5 sqrt(n)."""
MOST_EMPTY = 0.01
"""Share of held-back samples that may land on a node without a sample."""
TRIAL_EPOCHS = 40
"""Epochs of each trial of a lattice."""
QUANTILES = 1001
"""Points that the distributions of held-back distances and errors are kept as."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long each stage is trained at most, and how much the distance to the winner counts in the third.

    Attributes
    ----------
    patience
        Epochs without a better held-back loss after which the first and third stage stop.
    weight
        w above.
    """

    epochs: int
    som: SomSettings
    joint_epochs: int
    joint_rate: float = 3e-4
    weight: float = 0.3
    patience: int = 10
    sides: tuple[int, ...] = ()

    def first(self, epochs: int | None) -> Settings:
        """Of the first stage."""
        return replace(settings_of(epochs or self.epochs), patience=self.patience)

    def joint(self, epochs: int | None) -> Settings:
        """Of the third stage; not more epochs than were asked for."""
        most = self.joint_epochs if epochs is None else min(epochs, self.joint_epochs)
        return replace(settings_of(most), learning_rate=self.joint_rate, patience=self.patience)


MEASURED = Recipe(epochs=80, som=SomSettings(epochs=150), joint_epochs=30)
"""What 9,000 samples are trained with in a few minutes of one core; see docs/map.md for what it reaches."""
PAPER = Recipe(epochs=3500, som=SomSettings(epochs=1500), joint_epochs=1250, patience=1000)
"""As many epochs as in the paper."""


class DeepMapNetwork(MirnaAutoencoder):
    """An autoencoder and the lattice its latent units are mapped onto.

    Parameters
    ----------
    sides
        Rows and columns of the lattice.
    weight, width
        Of the third stage: how much the distance counts, and the neighbourhood that moves with a winner.
    """

    quantiles: Tensor

    def __init__(
        self, n_features: int, latent: int, sides: tuple[int, int], weight: float = 0.0, width: float = 1.0
    ) -> None:
        super().__init__(n_features, latent)
        self.som = SelfOrganisingMap(*sides, latent)
        self.weight, self.width = weight, width
        # Filled in maps that were fitted before their judges were kept (`map_encoder.JUDGED`), which can be read still.
        self.register_buffer("quantiles", torch.zeros(2, QUANTILES))

    def reconstruction_loss(self, x: Tensor, z: Tensor) -> Tensor:
        """Mean square error and the weighted distance to the winner, (batch,); in training that of the nodes too."""
        loss = super().reconstruction_loss(x, z)
        far = self.som.squared(z.detach())
        winners = far.argmin(dim=1)
        loss = loss + self.weight * (z - self.som.nodes[winners].detach()).square().mean(dim=1)
        if self.training:
            pull = self.som.neighbourhood(winners, self.width)
            loss = loss + self.weight * (pull * far).sum(dim=1) / z.shape[1]
        return loss

    def node_error(self, x: Tensor) -> Tensor:
        """Mean square difference between x and what the decoder makes of its winning node, (batch,)."""
        nodes = self.som.nodes[self.som.winners(self.encoder(x))]
        return super().reconstruction_loss(x, nodes)


def fit_deep_map(
    job: Job,
    n_features: int,
    recipe: Recipe,
    seed: int,
    epochs: int | None,
    device: str,
    groups: Sequence[str] | None,
    progress: Progress,
) -> Contents:
    """Fit the three stages; see `molsig.encoders.encoder.fit_encoder`.

    Parameters
    ----------
    epochs
        Most epochs of each stage, where fewer than the recipe's are wanted.
    """
    place = choose_device(device)

    def batches(rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(job.inputs(rows)).to(place)

    first = recipe.first(epochs)
    latent, errors = choose_size(
        n_features, job, first, seed=seed, device=device, validation_groups=groups, progress=progress
    )
    rows, held_back = split_groups(job.samples, groups, first.validation_share, seed)
    plain: Any = seeded(lambda: MirnaAutoencoder(n_features, latent), seed).to(place)
    history = train(plain, batches, rows, held_back, first, seed=seed, progress=progress, name=job.name)

    z, z_held = _latent(plain, batches, rows), _latent(plain, batches, held_back)
    som = recipe.som if epochs is None else replace(recipe.som, epochs=min(epochs, recipe.som.epochs))
    sides, tried = choose_lattice(z, z_held, som, recipe.sides, seed=seed, progress=progress, name=job.name)
    model = DeepMapNetwork(n_features, latent, sides, recipe.weight, som.last_width).to(place)
    model.load_state_dict(plain.state_dict(), strict=False)
    unfolded = train_som(model.som, z, z_held, som, seed=seed, progress=progress, name=job.name)

    judged = held_back if len(held_back) else rows
    before = _fit_of(model, batches, judged)
    joint = recipe.joint(epochs)
    together = train(model, batches, rows, held_back, joint, seed=seed, progress=progress, name=f"{job.name}, jointly")
    with torch.no_grad():
        distances = model.som.distance(_latent(model, batches, judged))
        errors_of = [model.node_error(batches(judged[start : start + 512])) for start in range(0, len(judged), 512)]
        both = torch.stack([distances, torch.cat(errors_of)])
    told = {
        "error_by_latent_size": errors,
        "lattices": tried,
        "map": unfolded.to_dict(),
        "joint": together.to_dict() | {"before": before, "after": _fit_of(model, batches, judged)},
    }
    job = replace(job, around=dict(job.around) | {JUDGED: both.float().cpu().numpy()})
    named = replace(job, architecture={"latent": latent, "lattice": list(sides)}, notes=dict(job.notes) | told)
    settings = first.to_dict() | {
        "map": som.to_dict(),
        "joint": {"weight": recipe.weight, "epochs": joint.epochs, "learning_rate": joint.learning_rate},
    }
    return described_network(
        model, batches, rows, held_back, named, settings, history.to_dict(), seed=seed, device=place
    )


def choose_lattice(
    z: Tensor,
    held_back: Tensor,
    settings: SomSettings,
    sides: Sequence[int],
    *,
    seed: int,
    progress: Progress,
    name: str,
) -> tuple[tuple[int, int], dict[str, dict[str, float]]]:
    """Sides of the lattice, and what each that was tried came to.

    Parameters
    ----------
    z, held_back
        Latent units of the samples to learn from, and of those that judge.
    sides
        What to choose from; by default around 5 sqrt(n) nodes.
    """
    usual = [max(2, round(math.sqrt(share * 5 * math.sqrt(len(z))))) for share in SIDES]
    candidates = sorted(set(sides or usual))
    if not len(held_back) or len(candidates) == 1:
        side = usual[SIDES.index(1.0)] if len(candidates) > 1 else candidates[0]
        return (side, side), {}
    short = replace(settings, epochs=min(settings.epochs, TRIAL_EPOCHS))
    tried: dict[str, dict[str, float]] = {}
    for number, side in enumerate(candidates):
        progress(f"try lattices of {name}", number, len(candidates))
        lattice = SelfOrganisingMap(side, side, z.shape[1]).to(z.device)
        train_som(lattice, z, held_back, short, seed=seed, progress=silent)
        taken = torch.bincount(lattice.winners(z), minlength=side * side)
        empty = (taken[lattice.winners(held_back)] == 0).float().mean()
        tried[str(side)] = {
            "distance": round(float(lattice.distance(held_back).mean()), 4),
            "empty": round(float(empty), 4),
        }
    progress(f"try lattices of {name}", len(candidates), len(candidates))
    allowed = [side for side in candidates if tried[str(side)]["empty"] <= MOST_EMPTY] or candidates[:1]
    side = min(allowed, key=lambda one: tried[str(one)]["distance"])
    return (side, side), tried


@torch.inference_mode()
def _latent(model: MirnaAutoencoder, batches: Any, rows: NDArray[np.int64]) -> Tensor:
    """Latent units of some rows, (n, latent)."""
    parts = [model.encoder(batches(rows[start : start + 512])) for start in range(0, len(rows), 512)]
    width = int(model.lift.shape[0])
    return torch.cat(parts).clone() if parts else torch.zeros(0, width, device=model.lift.device)


@torch.inference_mode()
def _fit_of(model: DeepMapNetwork, batches: Any, rows: NDArray[np.int64]) -> dict[str, float]:
    """Error of reconstruction, distance to the winner, and its square beside the variance of z."""
    z = _latent(model, batches, rows)
    parts = [slice(start, start + 512) for start in range(0, len(rows), 512)]
    error = sum(float((model.reconstruct(z[part]) - batches(rows[part])).square().mean(dim=1).sum()) for part in parts)
    distance = model.som.distance(z)
    spread = float((z - z.mean(dim=0)).square().sum(dim=1).mean())
    return {
        "reconstruction": round(error / len(rows), 4),
        "distance": round(float(distance.mean()), 4),
        "share_of_variance": round(float(distance.square().mean()) / spread, 4) if spread > 0 else 0.0,
    }
