"""How many latent units an autoencoder gets: as many as reconstruct held-back patients best."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from molsig.encoders.device import choose_device
from molsig.encoders.fitting import seeded
from molsig.encoders.training import split_groups, train
from molsig.types import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from molsig.encoders.fitting import Job
    from molsig.encoders.training import Settings
    from molsig.types import Progress


def choose_latent(
    build: Callable[[int], torch.nn.Module],
    sizes: Sequence[int],
    job: Job,
    settings: Settings,
    *,
    epochs: int,
    seed: int,
    device: str,
    validation_groups: Sequence[str] | None,
    progress: Progress,
) -> tuple[int, dict[str, float]]:
    """Train each size for a few epochs and compare the errors on held-back patients.

    Returns
    -------
    size : int
        The one with the smallest error on held-back patients; on all, where there are too few to hold any back.
    errors : dict of str to float
        Error by size, as kept in the card.
    """
    place = choose_device(device)

    def batches(rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(job.inputs(rows)).to(place)

    rows, held_back = split_groups(job.samples, validation_groups, settings.validation_share, seed)
    short = replace(settings, epochs=epochs)
    errors: dict[str, float] = {}
    for number, size in enumerate(sizes):
        progress(f"try latent sizes of {job.name}", number, len(sizes))
        model = seeded(lambda size=size: build(size), seed).to(place)  # type: ignore[misc]
        history = train(model, batches, rows, held_back, short, seed=seed, progress=silent, name=job.name)
        told = history.validation_reconstruction or history.train_reconstruction
        errors[str(size)] = round(min(told), 5)
    progress(f"try latent sizes of {job.name}", len(sizes), len(sizes))
    return min(sizes, key=lambda size: errors[str(size)]), errors
