"""From a network and its input to what an encoder is made of: training, unit of length, card."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from molsig.encoders import disk
from molsig.encoders.card import Card
from molsig.encoders.device import choose_device
from molsig.encoders.training import split_groups, train
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.training import Settings
    from molsig.types import Progress, SampleId

VARYING = 0.01
"""Variance of its posterior mean above which a latent unit counts as active (Burda et al. 2016, arXiv:1509.00519)."""

_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Job:
    """Everything about a fit but the network.

    Attributes
    ----------
    samples
        The samples that are fitted, in the order of the input's rows.
    inputs
        Gives the network's input of some rows, float32.
    uses
        Every feature and its use, see `disk.Contents`.
    around
        Tensors kept beside the network's: what prepares its input.
    notes
        What else the card's `training` tells.
    """

    name: str
    version: int
    modality: str
    scale: str
    samples: Sequence[SampleId]
    inputs: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    uses: Mapping[str, str]
    around: disk.Tensors
    architecture: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)


def fit(
    build: Callable[[], torch.nn.Module],
    job: Job,
    settings: Settings,
    *,
    seed: int,
    device: str,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> disk.Contents:
    """Train the network that `build` makes and describe it.

    Raises
    ------
    MolsigError
        Training diverged.
    """
    place = choose_device(device)

    def batches(rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(job.inputs(rows)).to(place)

    model = seeded(build, seed).to(place)
    rows, held_back = split_groups(job.samples, validation_groups, settings.validation_share, seed)
    history = train(model, batches, rows, held_back, settings, seed=seed, progress=progress, name=job.name)
    return described_network(
        model, batches, rows, held_back, job, settings.to_dict(), history.to_dict(), seed=seed, device=place
    )


def described_network(
    model: Any,
    batches: Callable[[NDArray[np.int64]], torch.Tensor],
    rows: NDArray[np.int64],
    held_back: NDArray[np.int64],
    job: Job,
    settings: Mapping[str, Any],
    history: Mapping[str, Any],
    *,
    seed: int,
    device: str,
) -> disk.Contents:
    """A trained network as what an encoder is made of: its unit of length, how much it keeps, its card."""
    means = _means(model, batches, len(job.samples))
    tensors = {f"net.{key}": value.cpu().numpy().copy() for key, value in model.state_dict().items()} | job.around
    tensors["output.scale"] = np.array([1 / np.sqrt(np.square(means).sum(axis=1).mean())], dtype=np.float32)
    quality = _usage(means) | _explained(model, batches, rows, held_back)
    training = {"held_back_samples": len(held_back), **quality, **history, **dict(job.notes)}
    return described(job, tensors, settings, training, seed=seed, device=device)


def described(
    job: Job,
    tensors: disk.Tensors,
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    seed: int,
    device: str,
) -> disk.Contents:
    """What was fitted, with its card.

    Parameters
    ----------
    settings
        Of the training, by name; the card keeps them with the job's own.
    """
    card = Card(
        name=job.name,
        version=job.version,
        modality=job.modality,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        molsig_version=metadata.version("molsig"),
        seed=seed,
        device=device,
        n_samples=len(job.samples),
        n_patients=len({one.patient for one in job.samples}),
        n_features=sum(use == disk.ENCODED for use in job.uses.values()),
        dropped={use: n for use, n in sorted(Counter(job.uses.values()).items()) if use != disk.ENCODED},
        scale=job.scale,
        architecture=dict(job.architecture),
        hyperparameters=dict(settings) | dict(job.hyperparameters),
        training=dict(training),
        files={
            disk.WEIGHTS: disk.sha256(disk.weights_bytes(tensors)),
            disk.FEATURES: disk.sha256(disk.features_bytes(job.uses)),
        },
    )
    return disk.Contents(replace(card, hash=card.identity()), tensors, job.uses)


def seeded(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """What `build` makes from `seed`, the user's own random state left as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _means(model: Any, batches: Callable[[NDArray[np.int64]], torch.Tensor], n: int) -> NDArray[np.float64]:
    out = np.empty((n, DIM))
    with torch.inference_mode():
        for start in range(0, n, _CHUNK):
            rows = np.arange(start, min(n, start + _CHUNK))
            out[rows] = model.embed(batches(rows)).cpu().numpy()
    return out


def _usage(means: NDArray[np.float64]) -> dict[str, float]:
    """How much of the latent space the fitted samples fill."""
    covariance = np.cov(means, rowvar=False)
    # Participation ratio: (sum of eigenvalues)^2 / sum of squared eigenvalues, which are traces and need no spectrum.
    spread = float(np.square(covariance).sum())
    return {
        "active_units": int((means.var(axis=0) > VARYING).sum()),
        "effective_dimensions": round(float(np.trace(covariance)) ** 2 / spread, 2) if spread > 0 else 0.0,
    }


def _explained(
    model: Any,
    batches: Callable[[NDArray[np.int64]], torch.Tensor],
    rows: NDArray[np.int64],
    held_back: NDArray[np.int64],
) -> dict[str, float]:
    """Share of the input's variance that its reconstruction explains on samples no weight was fitted to.

    1 - sum of |x - E[x|z]|^2 / sum of |x - m|^2, with z the embedding before its lift and m the mean of the fitted
    samples; 0 is no better than m, 1 is perfect. Where x is yes or no it is the Brier skill score.
    """
    if not len(held_back):
        return {}

    def blocks(some: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        return (batches(some[start : start + _CHUNK]) for start in range(0, len(some), _CHUNK))

    error = spread = 0.0
    with torch.inference_mode():
        mean = sum(x.double().sum(dim=0) for x in blocks(rows)) / len(rows)
        for x in blocks(held_back):
            error += float((x - model.reconstruct(model.posterior(x)[0])).double().square().sum())
            spread += float((x - mean).square().sum())
    return {"explained_variance": round(1 - error / spread, 4)} if spread > 0 else {}
