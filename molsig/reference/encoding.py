"""Encoders of a reference: into its folder when fitted, out of it when needed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from molsig.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from molsig.encoders.encoder import Encoder
    from molsig.index.store import Store, Writer


def load_encoders(store: Store, modalities: Iterable[str], device: str) -> dict[str, Encoder]:
    """Load the active encoder of each of `modalities` that has one with weights; each file's hash is checked."""
    from molsig.encoders.encoder import load_encoder

    wanted = set(modalities)
    active = {space.space for space in store.spaces() if space.active}
    fitted = {row.modality: row for row in store.encoders() if row.modality in wanted and row.files_sha256}
    # An encoder that was entered and whose first vectors are not committed yet has no space so far.
    fitted |= {row.modality: row for row in store.encoders() if row.space in active and row.modality in fitted}
    return {
        modality: load_encoder(store.encoders_dir / row.space, device=device, sha256=row.files_sha256)
        for modality, row in fitted.items()
    }


def install_encoder(store: Store, writer: Writer, encoder: Encoder) -> None:
    """Write an encoder's folder beside the others and enter it in the truth, in that order.

    The folder is filled under a temporary name and renamed, so that a folder of the final name is always whole. One left
    by an ingest that was killed before it could be entered is simply replaced: the truth did not know it yet.
    """
    from molsig.encoders.encoder import files_sha256

    store.encoders_dir.mkdir(exist_ok=True)
    final = store.encoders_dir / encoder.space
    with tempfile.TemporaryDirectory(prefix=".new-", dir=store.encoders_dir) as scratch:
        folder = Path(scratch) / encoder.space
        folder.mkdir()
        encoder.save(folder)
        if final.exists():
            shutil.rmtree(final)
        folder.rename(final)
    descriptor = os.open(store.encoders_dir, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    writer.put_encoder(
        encoder.space, encoder.modality, encoder.card.name, encoder.card.to_dict(), files_sha256(final)
    )


def encoder_for(encoders: dict[str, Encoder], modality: str) -> Encoder:
    """The encoder of `modality`, or `NotFoundError` that lists those there are."""
    try:
        return encoders[modality]
    except KeyError:
        have = ", ".join(sorted(encoders)) or "none"
        raise NotFoundError(f"the reference has no encoder for {modality} (it has: {have})") from None
