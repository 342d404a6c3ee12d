"""From labelled samples to what a metric encoder is made of: network, head, card."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from molsig.encoders import pair_head
from molsig.encoders.device import choose_device
from molsig.encoders.fitting import described
from molsig.encoders.metric_training import (
    SAMPLES_PER_TYPE,
    TYPES_PER_BATCH,
    ContrastiveSettings,
    SiameseSettings,
    train_contrastive,
    train_siamese,
)
from molsig.encoders.whitening import SHRINKAGE, Whitening, within_class_whitening

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from molsig.encoders.choice import Metric
    from molsig.encoders.disk import Contents
    from molsig.encoders.fitting import Job
    from molsig.types import Progress

_CHUNK = 512


def fit(
    job: Job,
    x: NDArray[np.float32],
    kinds: NDArray[np.int64],
    metric: Metric,
    settings: SiameseSettings | ContrastiveSettings | None,
    *,
    seed: int,
    epochs: int | None,
    device: str,
    progress: Progress,
) -> Contents:
    """Fit the network and its pair head, and describe them.

    Parameters
    ----------
    x, kinds
        Standardised samples and the numbers of their types.
    epochs
        Passes over the samples that a stage of training may take at most; None for the settings' steps.
    """
    place = choose_device(device)
    told: dict[str, Any]
    tensors: dict[str, NDArray[np.float32]] = {}
    network: torch.nn.Module
    if metric == "siamese":
        chosen = _shortened(settings if isinstance(settings, SiameseSettings) else SiameseSettings(), len(x), epochs)
        network, history = train_siamese(x, kinds, chosen, seed=seed, device=place, progress=progress, name=job.name)
        told = chosen.to_dict()
        tensors["head.monotone"] = np.array([float(chosen.monotone)], dtype=np.float32)
    elif metric == "contrastive":
        how = settings if isinstance(settings, ContrastiveSettings) else ContrastiveSettings()
        if epochs is not None:
            how = replace(how, steps=min(how.steps, _steps(len(x), epochs)))
        network, history = train_contrastive(x, kinds, how, seed=seed, device=place, progress=progress, name=job.name)
        told = how.to_dict()
        # The refined metric hardly differs from the one it starts from, whose folds are quick.
        tensors[pair_head.LOGISTIC] = pair_head.fit_logistic(_whitening_of(x, kinds), kinds, seed)
    else:
        progress(f"whiten for {job.name}", 0, None)
        network, history = Whitening.fitted(x, kinds).to(place), {}
        told = {"shrinkage": SHRINKAGE}
        tensors[pair_head.LOGISTIC] = pair_head.fit_logistic(_whitening_of(x, kinds), kinds, seed)
    vectors = _embedded(network, x, place)
    tensors |= {f"net.{key}": value.cpu().numpy().copy() for key, value in network.state_dict().items()} | job.around
    tensors["output.scale"] = np.array([1 / math.sqrt(np.square(vectors).sum(axis=1).mean())], dtype=np.float32)
    return described(job, tensors, told, history | dict(job.notes), seed=seed, device=place)


def _steps(n: int, epochs: int) -> int:
    return max(1, math.ceil(n * epochs / (TYPES_PER_BATCH * SAMPLES_PER_TYPE)))


def _shortened(settings: SiameseSettings, n: int, epochs: int | None) -> SiameseSettings:
    if epochs is None:
        return settings
    most = _steps(n, epochs)
    return replace(
        settings,
        classify_steps=min(settings.classify_steps, most),
        pair_steps=min(settings.pair_steps, most),
        project_steps=min(settings.project_steps, most),
    )


def _whitening_of(
    x: NDArray[np.float32], kinds: NDArray[np.int64]
) -> Callable[[NDArray[np.bool_]], Callable[[NDArray[np.int64]], NDArray[np.float32]]]:
    def fitted(seen: NDArray[np.bool_]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
        weight = within_class_whitening(x[seen], kinds[seen]).astype(np.float32)
        return lambda rows: np.asarray(x[rows] @ weight.T)

    return fitted


def _embedded(network: Any, x: NDArray[np.float32], place: str) -> NDArray[np.float64]:
    with torch.inference_mode():
        parts = [network.embed(torch.from_numpy(x[i : i + _CHUNK]).to(place)).cpu() for i in range(0, len(x), _CHUNK)]
    return torch.cat(parts).double().numpy()
