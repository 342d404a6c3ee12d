"""The card of an encoder: what it is, what it was fitted on and how the fit went. No patient is named in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from molsig.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CARD_FORMAT = 1

_REMEDY = "Restore it from a backup or fit the encoder again"

_OUTSIDE_IDENTITY = ("created", "molsig_version", "device", "inputs", "hash")


@dataclass(frozen=True, slots=True)
class Card:
    """Provenance of one fitted encoder.

    Attributes
    ----------
    name, version
        Name of the encoder (``rna-vae``) and version of its recipe; a change of the recipe raises the version.
    created
        ISO date of the fit.
    device
        Where it was fitted.
    n_samples, n_patients
        What it was fitted on, its validation share included.
    n_features
        Features that are encoded; `dropped` counts the others by reason.
    scale
        Scale of the values the encoder expects (``log2``, ``raw``, or ``binary`` for mutations).
    architecture, hyperparameters
        Layer sizes and training settings by name. An encoder on weights given from outside tells under ``called`` what
        they are called; its identity is the hashes of their files, neither that name nor the licence of the weights.
    training
        ``epochs`` run, ``best_epoch`` (1-based; the weights kept), and per epoch the mean reconstruction loss and KL
        divergence in nats per sample of both shares; ``active_units`` counts latent units whose posterior mean varies
        by more than 0.01 over the samples (Burda et al. 2016), ``effective_dimensions`` is the participation ratio,
        ``explained_variance`` the share of the variance of held-back samples that their reconstruction explains.
    inputs
        SHA-256 of the input files by name, where the caller gave them.
    files
        SHA-256 of the files that lie beside the card.
    hash
        Identity of the encoder: the files beside it and all that shapes a vector, but neither date nor machine.
    """

    name: str
    version: int
    modality: str
    created: str
    molsig_version: str
    seed: int
    device: str
    n_samples: int
    n_patients: int
    n_features: int
    dropped: Mapping[str, int]
    scale: str
    architecture: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    training: Mapping[str, Any]
    files: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    licence: str = "as the data it was fitted on"
    format: int = CARD_FORMAT
    hash: str = ""

    def identity(self) -> str:
        """Hex SHA-256 of what makes this encoder itself."""
        content = {key: value for key, value in asdict(self).items() if key not in _OUTSIDE_IDENTITY}
        if "called" in self.architecture:
            content["architecture"] = {key: value for key, value in self.architecture.items() if key != "called"}
            del content["licence"]
        return _checksum(content)

    @property
    def space(self) -> str:
        """Name of the space its vectors live in."""
        return f"{self.name}-{self.hash[:10]}"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def to_bytes(self) -> bytes:
        """The one way this card is written, with a checksum of all of it; reading compares byte by byte."""
        content = {"card": asdict(self), "sha256": _checksum(asdict(self))}
        return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, place: Path) -> Card:
        """Read a card back.

        Raises
        ------
        DamagedError
            It is no card of this format, a field is missing or of the wrong type, or its hash does not match.
        """
        try:
            content = json.loads(data)
        except ValueError as error:
            raise DamagedError(
                f"{place} is not JSON: {error}. Restore it from a backup or fit the encoder again"
            ) from None
        content, checksum = (content.get("card"), content.get("sha256")) if isinstance(content, dict) else (None, None)
        if not isinstance(content, dict):
            raise DamagedError(f"{place} is not a card. {_REMEDY}")
        if isinstance(content.get("format"), int) and content["format"] > CARD_FORMAT:
            raise DamagedError(f"{place} has card format {content['format']}; this molsig reads up to {CARD_FORMAT}")
        _check_fields(content, place)
        card = cls(**content)
        if checksum != _checksum(content) or card.identity() != card.hash or card.to_bytes() != data:
            raise DamagedError(f"{place} is not as it was written. {_REMEDY}")
        return card


_JSON_TYPES: Mapping[str, type] = {"str": str, "int": int, "Mapping": dict}


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _check_fields(content: Mapping[str, Any], place: Path) -> None:
    names = {one.name for one in fields(Card)}
    if odd := names.symmetric_difference(content):
        raise DamagedError(f"{place}: missing or unknown fields: {', '.join(sorted(odd))}. {_REMEDY}")
    for one in fields(Card):
        expected = _JSON_TYPES[str(one.type).partition("[")[0]]
        value: Any = content[one.name]
        if not isinstance(value, expected) or isinstance(value, bool):
            raise DamagedError(f"{place}: field {one.name!r} is not of type {expected.__name__}. {_REMEDY}")
        if isinstance(value, dict) and one.name in {"dropped", "files", "inputs"}:
            kind = int if one.name == "dropped" else str
            if not all(isinstance(item, kind) for item in value.values()):
                raise DamagedError(f"{place}: a value of {one.name!r} is not of type {kind.__name__}. {_REMEDY}")
