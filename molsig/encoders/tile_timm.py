"""The encoder of tiles around a timm model whose weights the user has: find, recognise, embed, bring to 768."""

from __future__ import annotations

import datetime
import re
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders import disk
from molsig.encoders.card import Card
from molsig.encoders.choice import TRUNCATIONS, ModelChoice
from molsig.encoders.tile import (
    MOST_SCALE_TILES,
    MOST_TILES,
    TileEncoder,
    choose_tiles,
    described_card,
    lower,
)
from molsig.encoders.timm_model import (
    PROV_GIGAPATH,
    Preprocessing,
    check_fits,
    create,
    dimensions,
    fill,
    model_named,
    prepare,
    preprocessing_of,
)
from molsig.encoders.weights import CONVERT, MODELS, find_weights, read_weights, sha256_of, shapes_of
from molsig.errors import DamagedError, InputError, UsageError
from molsig.geometry import isometry
from molsig.types import DIM, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from molsig.encoders.disk import Contents
    from molsig.encoders.encoder import Rows
    from molsig.encoders.timm_model import TileModel
    from molsig.types import Progress, Records, TileSet

VERSION = 1

_BATCH_PIXELS = {"cuda": 64 * 224 * 224, "other": 16 * 224 * 224}
"""Pixels that go through a model at once; a large transformer needs some 100 MB a tile besides its weights."""


class TimmEncoder(TileEncoder):
    """A frozen model of timm; its weights stay where the user keeps them and are recognised by their SHA-256."""

    def __init__(self, contents: Contents, device: str = "auto", choice: ModelChoice | None = None) -> None:
        super().__init__(contents, device)
        self._choice = choice or ModelChoice()
        self.use(self._choice)
        said = self.card.architecture["preprocessing"]
        self._how = Preprocessing(**{**said, "mean": tuple(said["mean"]), "std": tuple(said["std"])})

    def _inputs(self, records: Records, rows: Rows) -> NDArray[np.uint8]:
        return self._tiles(records).pixels(rows.tolist())

    def _build(self) -> Any:
        return create(self.card.architecture["architecture"], self.card.architecture["options"])

    def _weights(self) -> Path:
        """Where the weights lie now; what the user says goes before what is found."""
        given = self._choice.tile_weights
        if given is not None:
            return Path(given)
        name = self.card.architecture["model"]
        found = find_weights(name, self.card.architecture["repositories"])
        if found is None:
            raise DamagedError(
                f"{self.space} needs the weights of {name}, which are not copied into a reference and were not found. "
                f"Put them at ${MODELS}/{name}/model.safetensors, or name their file"
            )
        return found

    def _network(self) -> Any:
        if self._running is None:
            from molsig.encoders.device import choose_device

            tensors = read_weights(self._weights(), self.card.architecture["weights_sha256"])
            network = self._build()
            try:
                network = fill(
                    network, tensors, self.card.architecture["architecture"], self.card.architecture["options"]
                )
            except RuntimeError as error:
                raise DamagedError(
                    f"timm {metadata.version('timm')} makes another {self.card.architecture['model']} than timm "
                    f"{self.card.architecture['timm']} did, with which {self.space} was made: {error}"
                ) from None
            self._running = network.to(choose_device(self._device))
        return self._running

    def _compute(self, network: Any, inputs: Any) -> Any:
        import torch

        step = max(1, _BATCH_PIXELS["cuda" if inputs.is_cuda else "other"] // self._how.crop**2)
        device = str(inputs.device)
        parts = (prepare(inputs[start : start + step], self._how, device) for start in range(0, len(inputs), step))
        return torch.cat([network(part).float() for part in parts])

    def _raw(self, pixels: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The model's own vectors of batches of tiles, (n, dims)."""
        return super()._embedded(pixels)

    def _embedded(self, inputs: Iterator[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
        truncate = self.card.hyperparameters["truncate"]
        return (lower(raw, self._contents.tensors, truncate) for raw in self._raw(inputs))


def fit_timm(tiles: TileSet, choice: ModelChoice, seed: int, device: str, progress: Progress = silent) -> TimmEncoder:
    """Make an encoder of a given model: nothing is trained but, if asked for, principal components.

    Raises
    ------
    InputError
        No weights, a pickle, or weights of another model.
    UsageError
        A name that timm does not know, or no such way to bring vectors down.
    """
    if choice.truncate not in TRUNCATIONS:
        raise UsageError(f"truncate={choice.truncate!r} is not known: use {', '.join(TRUNCATIONS)}")
    model = PROV_GIGAPATH if choice.tile_model is None else model_named(choice.tile_model)
    weights = _weights_of(model, choice)
    network = create(model.architecture, model.options)
    check_fits(network, shapes_of(weights), weights, model.name)
    how = preprocessing_of(model, network)
    dims = dimensions(network, how)
    card = _card(model, network, how, dims, weights, tiles, choice.truncate, seed, device)
    # A first encoder gives the model's own vectors, from which the rest is computed.
    first = TimmEncoder(disk.Contents(card, {}, {}), device, replace(choice, tile_weights=weights))
    pca = choice.truncate == "pca" and dims > DIM
    rows = choose_tiles(tiles, MOST_TILES if pca else MOST_SCALE_TILES, seed)
    parts: list[NDArray[np.float32]] = []
    for part in first._raw(tiles.pixels(rows[start : start + 64].tolist()) for start in range(0, len(rows), 64)):
        parts.append(part)
        progress(f"put {model.name} to use", min(64 * len(parts), len(rows)), len(rows))
    raw = np.concatenate(parts)
    if not np.isfinite(raw).all() or not raw.any():
        raise InputError(
            f"gives vectors of {model.name} that are zero or not finite",
            file=weights,
            hint="The weights are damaged, or of another model with the same shapes",
        )
    tensors: disk.Tensors = {}
    if dims < DIM:
        tensors["output.lift"] = isometry(dims, DIM, seed).astype(np.float32)
    elif pca:
        mean = raw.mean(axis=0, dtype=np.float64)
        # The full basis: with fewer tiles than 768 the rest of the directions keeps what new tiles have beyond these.
        _, _, basis = np.linalg.svd(raw - mean, full_matrices=len(raw) < DIM)
        tensors["output.mean"] = mean.astype(np.float32)
        tensors["output.components"] = np.ascontiguousarray(basis[:DIM], dtype=np.float32)
    lowered = lower(raw, tensors, choice.truncate).astype(np.float64)
    tensors["output.scale"] = np.array([1 / np.sqrt(np.square(lowered).sum(axis=1).mean())], dtype=np.float32)
    statement = f"{model.name}, with weights that were given; nothing was trained" + (
        f" but components of {len(rows)} tiles" if pca else ""
    )
    card = replace(
        card,
        files={
            disk.WEIGHTS: disk.sha256(disk.weights_bytes(tensors)),
            disk.FEATURES: disk.sha256(disk.features_bytes({})),
        },
    )
    contents = disk.Contents(described_card(card, tiles, len(rows), statement), tensors, {})
    done = TimmEncoder(contents, device, replace(choice, tile_weights=weights))
    done._running = first._running
    return done


def _weights_of(model: TileModel, choice: ModelChoice) -> Path:
    if choice.tile_weights is not None:
        if not Path(choice.tile_weights).is_file():
            raise InputError("no such file of weights", file=choice.tile_weights)
        return Path(choice.tile_weights)
    found = find_weights(model.name, model.repositories)
    if found is None:
        raise InputError(
            f"no weights of {model.name} were found, and none are fetched",
            hint=f"Put them at ${MODELS}/{model.name}/model.safetensors, name their file, or use the model 'vae', "
            f"which is fitted to the cohort. A pickle (.bin, .pth) is not read: {CONVERT[0].lower()}{CONVERT[1:]}",
        )
    return found


def _card(
    model: TileModel,
    network: Any,
    how: Preprocessing,
    dims: int,
    weights: Path,
    tiles: TileSet,
    truncate: str,
    seed: int,
    device: str,
) -> Card:
    from molsig.encoders.device import choose_device

    reduction = truncate if dims > DIM else ("lift" if dims < DIM else "none")
    return Card(
        name="tile-" + re.sub(r"[^a-z0-9.-]+", "-", model.name.lower()),
        version=VERSION,
        modality=tiles.modality,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        molsig_version=metadata.version("molsig"),
        seed=seed,
        device=choose_device(device),
        n_samples=0,
        n_patients=0,
        n_features=0,
        dropped={},
        scale="rgb",
        architecture={
            "kind": "timm",
            "model": model.name,
            "architecture": model.architecture,
            "options": dict(model.options),
            "repositories": list(model.repositories),
            "dimensions": dims,
            "preprocessing": {**asdict(how), "mean": list(how.mean), "std": list(how.std)},
            "timm": metadata.version("timm"),
            "weights_sha256": sha256_of(weights),
        },
        hyperparameters={"tile": tiles.size, "mpp": tiles.mpp, "truncate": truncate, "reduction": reduction},
        training={},
        files={},
        licence=model.licence or str(network.pretrained_cfg.get("license") or "as its publisher states"),
    )
