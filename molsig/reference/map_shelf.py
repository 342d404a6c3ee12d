"""Maps that were fitted for a question, kept in the folder of the reference: derived, and of weights only."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from molsig.encoders.disk import load
from molsig.errors import DamagedError
from molsig.index.verify import Check

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from molsig.encoders.map_encoder import DeepMap
    from molsig.index.store import Store
    from molsig.types import FeatureMatrix, Progress

RECIPE = 2
"""Raised when maps are fitted in another way: kept ones are then not used any more."""
MAPS = "maps"


def kept_map(
    store: Store,
    matrix: FeatureMatrix,
    network: str,
    epochs: int | None,
    seed: int,
    refit: bool,
    device: str,
    progress: Progress,
) -> tuple[DeepMap, bool, tuple[str, ...]]:
    """The map of these very samples, kept from an earlier question or fitted now."""
    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.encoder import fit_encoder, load_encoder
    from molsig.encoders.map_encoder import DeepMap

    identity = {
        "recipe": RECIPE,
        "network": network,
        "epochs": epochs,
        "seed": seed,
        "modality": matrix.modality,
        "scale": matrix.scale,
        "samples": _digest(f"{one.sample}\t{one.patient}\t{one.kind}" for one in matrix.samples),
        "features": _digest(matrix.features),
        "values": hashlib.sha256(np.ascontiguousarray(matrix.values).tobytes()).hexdigest(),
    }
    folder = store.path / MAPS / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    if folder.exists() and not refit:
        try:
            kept = load_encoder(folder, device=device)
        except DamagedError as error:
            raise DamagedError(f"{error} (a kept map: delete {folder}, or give --refit to fit it anew)") from error
        if not isinstance(kept, DeepMap):
            raise DamagedError(f"{folder} holds no map. Delete it: a new one is fitted when it is next asked for")
        return kept, False, ()
    choice = ModelChoice(networks={matrix.modality: network})
    fitted = fit_encoder(matrix, seed=seed, epochs=epochs, device=device, choice=choice, progress=progress)
    assert isinstance(fitted, DeepMap)
    try:
        _keep(fitted, folder)
    except OSError as error:
        return fitted, True, (f"the map could not be kept in {folder} ({error.strerror}): it will be fitted again",)
    return fitted, True, ()


def drop_maps(store: Store) -> None:
    """Delete all kept maps: their nodes were fitted to patients who may not be stored any more."""
    shutil.rmtree(store.path / MAPS, ignore_errors=True)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _keep(fitted: DeepMap, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    for leftover in folder.parent.glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = folder.parent / f".{folder.name}-{uuid4().hex[:8]}"
    unfinished.mkdir()
    try:
        fitted.save(unfinished)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def check_maps(store: Store) -> list[Check]:
    """Whether the files of kept maps are what was written; nothing where there are none."""
    folders = sorted(one for one in (store.path / MAPS).glob("*") if not one.name.startswith("."))
    if not folders:
        return []
    damaged = []
    for folder in folders:
        try:
            load(folder)
        except DamagedError as error:
            damaged.append(str(error))
    return [Check("maps", not damaged, "; ".join(damaged) or f"{len(folders)}: hashes match")]
