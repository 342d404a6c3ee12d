"""Encoders that were loaded, kept for the next file: checking the hashes of weights takes longer than encoding."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molsig.index.stamp import file_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from molsig.encoders.choice import ModelChoice
    from molsig.encoders.encoder import Encoder


@dataclass(frozen=True, eq=False)
class _Loaded:
    stamp: tuple[object, ...]
    asked: tuple[str, Mapping[str, str], ModelChoice]
    encoder: Encoder


class EncoderShelf:
    """The last encoder of each folder; one whose files have changed is loaded, and checked, again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[Path, _Loaded] = {}

    def load(self, folder: Path, *, device: str, sha256: Mapping[str, str], choice: ModelChoice) -> Encoder:
        """As `molsig.encoders.encoder.load_encoder`."""
        from molsig.encoders.encoder import load_encoder

        with self._lock:
            asked = (device, dict(sha256), choice)
            stamp = file_stamp(folder / name for name in sorted(sha256))
            known = self._loaded.get(folder)
            if known is not None and known.stamp == stamp and known.asked == asked:
                return known.encoder
            encoder = load_encoder(folder, device=device, sha256=sha256, choice=choice)
            self._loaded.pop(folder, None)
            if stamp is not None:
                self._loaded[folder] = _Loaded(stamp, asked, encoder)
            return encoder
