"""A recogniser's folder: model.safetensors and card.json. What is read is what was written, or an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from molsig.errors import DamagedError
from molsig.retrieval.bands import Bands
from molsig.retrieval.composition import Calibration, Recogniser
from molsig.retrieval.mixture import Mixture
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS, CARD = "model.safetensors", "card.json"

FORMAT = 2


def save_recogniser(recogniser: Recogniser, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write a recogniser and keep it under `folder`, all of it or nothing; return its card.

    Parameters
    ----------
    folder
        Where it is to be found; one that lies there is replaced.
    about
        What the card tells beside what the recogniser itself knows: plain JSON types.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    from safetensors.numpy import save

    mixture, calibration = recogniser.mixture, recogniser.calibration
    tensors: dict[str, NDArray[Any]] = {
        **recogniser.counter.tensors(),
        "mixture.means": mixture.means,
        "mixture.covariances": mixture.covariances,
        "bands.axes": recogniser.bands.axes,
        "calibration.presence": calibration.presence,
        "calibration.error": calibration.error,
        "calibration.residuals": calibration.residuals,
        "calibration.evidences": calibration.evidences,
    }
    # safetensors writes memory as it lies: a transposed array would come back with its numbers in another order.
    data: bytes = save({name: np.ascontiguousarray(one) for name, one in tensors.items()})
    card = {
        **about,
        "format": FORMAT,
        "modalities": list(recogniser.modalities),
        "left_out": dict(recogniser.left_out),
        "counts": list(recogniser.counts),
        "spread": mixture.spread,
        "largest": recogniser.counter.largest,
        "losses": [round(loss, 6) for loss in recogniser.counter.losses],
        "files": {WEIGHTS: hashlib.sha256(data).hexdigest()},
    }
    folder.parent.mkdir(exist_ok=True)
    unfinished = folder.parent / f".{folder.name}-{uuid4().hex[:8]}"
    unfinished.mkdir()
    try:
        for name, content in ((WEIGHTS, data), (CARD, _card_bytes(card))):
            with (unfinished / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return card


def read_card(folder: Path) -> dict[str, Any] | None:
    """Return the card of a recogniser, or None where there is none or one of an older format, which is not used.

    Raises
    ------
    DamagedError
        It is not as it was written, or of a newer format.
    """
    if not folder.exists():
        return None
    try:
        content = json.loads((folder / CARD).read_bytes())
        card = content["card"]
        whole = _card_bytes(card) == (folder / CARD).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{folder / CARD} is missing or no card. {_remedy(folder)}") from None
    if not whole or not isinstance(card, dict):
        raise DamagedError(f"{folder / CARD} is not as it was written. {_remedy(folder)}")
    if card.get("format") in range(1, FORMAT):
        return None
    if card.get("format") != FORMAT:
        raise DamagedError(f"{folder} has format {card.get('format')}; this molsig reads {FORMAT}. {_remedy(folder)}")
    return card


def load_recogniser(folder: Path) -> tuple[Recogniser, dict[str, Any]]:
    """Bring a recogniser back with its card.

    Raises
    ------
    DamagedError
        Something is missing or is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from molsig.retrieval.recogniser import Counter

    card = read_card(folder)
    if card is None:
        raise DamagedError(f"there is no recogniser at {folder}")
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise DamagedError(f"{folder / WEIGHTS} cannot be read: {error.strerror}. {_remedy(folder)}") from None
    if hashlib.sha256(data).hexdigest() != card["files"][WEIGHTS]:
        raise DamagedError(f"{folder / WEIGHTS} is not what was written: its SHA-256 differs. {_remedy(folder)}")
    try:
        tensors = load(data)
        names = tuple(card["modalities"])
        if tensors["mixture.covariances"].shape != (len(names), DIM, DIM):
            raise DamagedError(f"{folder}: the covariances do not fit the card. {_remedy(folder)}")
        return Recogniser(
            Mixture(names, tensors["mixture.means"], tensors["mixture.covariances"], float(card["spread"])),
            Bands(tensors["bands.axes"]),
            Counter.from_tensors(tensors, len(names), int(card["largest"])),
            Calibration(
                tensors["calibration.presence"],
                tensors["calibration.error"],
                tensors["calibration.residuals"],
                tensors["calibration.evidences"],
            ),
            tuple(card["counts"]),
            card["left_out"],
        ), card
    except (SafetensorError, KeyError) as error:
        raise DamagedError(f"{folder} cannot be read: {error}. {_remedy(folder)}") from None


def _card_bytes(card: Mapping[str, Any]) -> bytes:
    plain = json.dumps(card, sort_keys=True, allow_nan=False)
    content = {"card": card, "sha256": hashlib.sha256(plain.encode()).hexdigest()}
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _remedy(folder: Path) -> str:
    return f"Delete {folder}: a new one is fitted when it is next asked for"
