"""Encoders of a reference: into its folder when fitted, out of it when needed; ready vectors beside them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.encoders.choice import ModelChoice
from molsig.errors import NotFoundError, UsageError
from molsig.index.manifest import sync_directory
from molsig.ingest.mapped import release
from molsig.types import Encoded, VectorSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Encoder
    from molsig.index.store import Store
    from molsig.index.writer import Writer
    from molsig.ingest.cohort import Cohort
    from molsig.ingest.genes import GeneMap
    from molsig.reference.encoder_shelf import EncoderShelf
    from molsig.types import PatientTable, Records


class ReadyVectors:
    """Vectors of a user's own encoder in the place of one: nothing to fit, nothing to encode."""

    def __init__(self, records: VectorSet) -> None:
        self.space = records.encoder
        self.modality = records.modality
        self._hashed: tuple[VectorSet, tuple[str, ...]] | None = None

    def card(self) -> dict[str, Any]:
        """What little is known of an encoder that ran elsewhere."""
        return {"name": self.space, "modality": self.modality, "ready": True}

    def digests(self, records: Records) -> tuple[str, ...]:
        """Hex SHA-256 of each vector, computed once."""
        ready = _ready(records)
        if self._hashed is None or self._hashed[0] is not ready:
            # SHA-256 lets other threads run, and takes longer than reading the vectors.
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                found = pool.map(partial(_hashes, ready.vectors), range(0, len(ready.vectors), _HASHED_ROWS))
                self._hashed = ready, tuple(chain.from_iterable(found))
        return self._hashed[1]

    def encode(self, records: Records, *, rows: Sequence[int] | None = None, allow_missing: bool = False) -> Encoded:
        """The chosen rows as they are."""
        ready = _ready(records)
        chosen = range(len(ready.samples)) if rows is None else rows
        digests = self.digests(ready)
        # What the batch before this one mapped is stored by now.
        release(ready.vectors)
        return Encoded(
            modality=self.modality,
            space=self.space,
            samples=tuple(map(ready.samples.__getitem__, chosen)),
            items=tuple(map(ready.items.__getitem__, chosen)),
            vectors=_taken(ready.vectors, np.fromiter(chosen, np.int64, len(chosen))),
            digests=tuple(map(digests.__getitem__, chosen)),
        )


def _taken(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some rows; those that follow each other are not copied."""
    if len(rows) and (rows[1:] == rows[:-1] + 1).all():
        return vectors[rows[0] : rows[-1] + 1]
    return vectors[rows]


_HASHED_ROWS = 4096


def _hashes(vectors: NDArray[np.float32], start: int) -> list[str]:
    found = [hashlib.sha256(row).hexdigest() for row in np.ascontiguousarray(vectors[start : start + _HASHED_ROWS])]
    release(vectors)
    return found


def _ready(records: Records) -> VectorSet:
    if not isinstance(records, VectorSet):
        raise TypeError(f"{records.report.file} holds records to encode, not ready vectors")
    return records


PLACES = "models.json"
"""Where given weights were found, by space: a convenience of this machine, checked by hash and never trusted."""


def model_places(store: Store) -> dict[str, str]:
    """Path of the given weights by space, as noted when they were last used."""
    try:
        found = json.loads((store.encoders_dir / PLACES).read_text())
    except (OSError, ValueError):
        return {}
    return {str(space): str(place) for space, place in found.items()} if isinstance(found, dict) else {}


def remember_place(store: Store, encoder: Encoder, choice: ModelChoice) -> None:
    """Note where the given weights of an encoder lie, so that a query need not be told."""
    place = choice.text_model if encoder.modality == "report" else choice.tile_weights
    if place is None or not Path(place).exists() or not encoder.card.architecture.get("kind"):
        return
    noted = model_places(store) | {encoder.space: str(Path(place).resolve())}
    fresh = store.encoders_dir / f"{PLACES}.new"
    fresh.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")
    fresh.rename(store.encoders_dir / PLACES)


def _with_place(choice: ModelChoice, modality: str, place: str | None) -> ModelChoice:
    if place is None or not Path(place).exists():
        return choice
    if modality == "report" and choice.text_model is None:
        return replace(choice, text_model=Path(place))
    if modality == "tile" and choice.tile_weights is None:
        return replace(choice, tile_weights=Path(place))
    return choice


def load_encoders(
    store: Store,
    modalities: Iterable[str],
    device: str,
    choice: ModelChoice | None = None,
    shelf: EncoderShelf | None = None,
) -> dict[str, Encoder]:
    """Load the encoder in use of each of `modalities` that has one with weights; each file's hash is checked.

    From the `shelf` where one was loaded before and its files are as they were.
    """
    wanted = set(modalities)
    entered = [row for row in store.encoders() if row.modality in wanted and row.files_sha256]
    if not entered:
        return {}
    from molsig.reference.encoder_shelf import EncoderShelf

    shelf = shelf or EncoderShelf()
    active = {space.space for space in store.spaces() if space.active}
    chosen = {row.modality: row for row in entered}
    # One that was entered but whose first vectors are not committed yet has no active space.
    chosen |= {row.modality: row for row in entered if row.space in active}
    places = model_places(store)
    return {
        modality: shelf.load(
            store.encoders_dir / row.space,
            device=device,
            sha256=row.files_sha256,
            choice=_with_place(choice or ModelChoice(), modality, places.get(row.space)),
        )
        for modality, row in chosen.items()
    }


def install_encoder(store: Store, writer: Writer, encoder: Encoder) -> None:
    """Write an encoder's folder beside the others and enter it in the truth, in that order.

    The folder is filled under a temporary name and renamed, so that a folder of the final name is always whole. One
    left by an ingest that was killed before it could be entered is replaced: the truth did not know it yet.
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
    sync_directory(store.encoders_dir)
    writer.put_encoder(encoder.space, encoder.modality, encoder.card.name, encoder.card.to_dict(), files_sha256(final))


def encoder_for(encoders: dict[str, Encoder], modality: str) -> Encoder:
    """The encoder of `modality`, or `NotFoundError` that lists those there are."""
    try:
        return encoders[modality]
    except KeyError:
        have = ", ".join(sorted(encoders)) or "none of the modalities asked for"
        raise NotFoundError(
            f"the reference has no encoder for {modality} (it has: {have}); ingest a cohort of it first"
        ) from None


def gene_map(store: Store | None, cohort: Cohort) -> GeneMap | None:
    """The gene table the user names, else the one kept in the reference, else None."""
    from molsig.ingest.genes import GeneMap, read_gene_map

    if cohort.genes is not None:
        return read_gene_map(cohort.genes)
    table = None if store is None else store.genes()
    return None if table is None else GeneMap.from_table(table)


def unique_modalities(records: Iterable[Records | PatientTable]) -> None:
    """Raise `UsageError` where two files give the same modality."""
    seen: dict[str, str] = {}
    for one in records:
        modality = one.report.modality
        if modality in seen:
            raise UsageError(
                f"{modality} is given twice, by {seen[modality]} and {one.report.file}: give them one by one"
            )
        seen[modality] = one.report.file
