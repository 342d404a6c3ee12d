"""An encoder's folder: model.safetensors, card.json, features.txt. What is read is what was written, or an error."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.encoders.card import Card
from molsig.errors import DamagedError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

WEIGHTS, CARD, FEATURES = "model.safetensors", "card.json", "features.txt"
FILES = (WEIGHTS, CARD, FEATURES)

ENCODED = "encoded"
"""Use of a feature that goes into the vector; any other use is the reason why it does not."""

Tensors = dict[str, "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class Contents:
    """What an encoder's folder holds.

    Attributes
    ----------
    tensors
        float32 arrays by name: ``net.*`` for the network, ``input.*`` and ``output.*`` for what surrounds it.
    uses
        Every feature of the fit in order, with its use: ``encoded``, or why it is not.
    """

    card: Card
    tensors: Tensors
    uses: Mapping[str, str]

    @property
    def encoded(self) -> tuple[str, ...]:
        """Features in the order of the network's input."""
        return tuple(name for name, use in self.uses.items() if use == ENCODED)


def weights_bytes(tensors: Tensors) -> bytes:
    """Serialise tensors; the same tensors give the same bytes."""
    import numpy as np
    from safetensors.numpy import save

    # safetensors writes memory as it lies: a transposed array would come back with its numbers in another order.
    data: bytes = save({name: np.ascontiguousarray(one) for name, one in tensors.items()})
    return data


def features_bytes(uses: Mapping[str, str]) -> bytes:
    """One line per feature: its name, a tab, its use."""
    for name in uses:
        if not name or any(mark in name for mark in "\t\n\r"):
            raise InputError("a feature name is empty or holds a tab or a line break", column=name)
    return "".join(f"{name}\t{use}\n" for name, use in uses.items()).encode()


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def files_sha256(folder: Path) -> dict[str, str]:
    """Hex SHA-256 of each file of an encoder's folder, for whoever keeps them to compare with later.

    Raises
    ------
    DamagedError
        A file is missing.
    """
    return {name: sha256(_read(folder / name)) for name in FILES}


def save(contents: Contents, folder: Path) -> None:
    """Write the three files into `folder` and have the disk keep them; the caller renames the folder into place."""
    parts = {
        WEIGHTS: weights_bytes(contents.tensors),
        FEATURES: features_bytes(contents.uses),
        CARD: contents.card.to_bytes(),
    }
    for name, data in parts.items():
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(folder: Path, expected: Mapping[str, str] | None = None) -> Contents:
    """Read an encoder's folder.

    Parameters
    ----------
    expected
        Hex SHA-256 by file name, as `files_sha256` gave them; the card vouches for the other two files in any case.

    Raises
    ------
    DamagedError
        A file is missing or is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    parts = {name: _read(folder / name) for name in FILES}
    for name in FILES if expected is not None else ():
        _compare(folder / name, parts[name], (expected or {}).get(name))
    card = Card.from_bytes(parts[CARD], folder / CARD)
    for name in (WEIGHTS, FEATURES):
        _compare(folder / name, parts[name], card.files.get(name))
    try:
        tensors: Tensors = load_tensors(parts[WEIGHTS])
        rows = [line.split("\t") for line in parts[FEATURES].decode().splitlines()]
        uses = dict(rows)
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"{folder} cannot be read: {error}. {_REMEDY}") from None
    contents = Contents(card, tensors, uses)
    if len(contents.encoded) != card.n_features or len(uses) != len(rows):
        raise DamagedError(f"{folder / FEATURES} does not list the {card.n_features} features of the card. {_REMEDY}")
    return contents


_REMEDY = "Restore the folder from a backup or fit the encoder again"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from None


def _compare(path: Path, data: bytes, expected: str | None) -> None:
    if sha256(data) != expected:
        raise DamagedError(f"{path} is not what was written: its SHA-256 differs. {_REMEDY}")
