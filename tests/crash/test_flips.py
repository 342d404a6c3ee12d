"""Flipped bits in index, manifest, weights, card and database: told by verify, and never answered from."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from crash_checks import command, finish, start
from crash_cohort import SPACES
from safetensors.numpy import save_file

from molsig.index.manifest import MANIFEST, VECTORS, folder_of, read_manifest
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import SUM_SPACE

FLIPS = 40
DATABASE_FLIPS = 60


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A small reference with indexes and an encoder's folder."""
    folder = tmp_path_factory.mktemp("flips")
    assert finish(start("ingest", folder / "r.molsig", folder / "log", 0, 8)) == 0
    store = Store.open(folder / "r.molsig")
    encoder = store.encoders_dir / SPACES["rna"]
    encoder.mkdir()
    save_file({"weight": np.arange(20_000, dtype=np.float32)}, encoder / "model.safetensors")
    (encoder / "card.json").write_text(json.dumps({"name": "crash", "genes": ["TP53", "KRAS"]}))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in encoder.iterdir()}
    with store.writer("crash test") as writer:
        writer.put_encoder(SPACES["rna"], "rna", "crash", {"name": "crash"}, hashes)
    return store


def flipped(sound: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(sound)
    damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def flip_everywhere(store: Store, path: Path, check: str, count: int, space: str | None) -> None:
    """Flip one bit of `path` at a time: `check` fails each time, and only then."""
    chance = random.Random(path.name)
    sound = path.read_bytes()
    query = store.vectors(space)[1][:2] if space else None
    expected = Searcher(store).search(space, query, 5, method="exact").hits if space else None
    try:
        for _ in range(count):
            path.write_bytes(flipped(sound, chance))
            failed = [found.name for found in verify(store) if not found.ok]
            assert failed == [check]
            if space:
                result = Searcher(store).search(space, query, 5, method="index")
                assert result.hits == expected
                # A damaged row that no query meets goes unseen until `verify` or the next writer reads it.
                if not path.name.endswith(VECTORS) or result.notes:
                    assert result.method == "exact"
                    assert result.notes
    finally:
        path.write_bytes(sound)
    assert all(found.ok for found in verify(store))


def flip_files(store: Store, count: int) -> None:
    for space in (SPACES["rna"], SUM_SPACE):
        folder = folder_of(store.index_dir, space)
        for name in read_manifest(store.index_dir, space).files:
            flip_everywhere(store, folder / name, f"index {space}", count, space)
        flip_everywhere(store, folder / MANIFEST, f"index {space}", count, space)
    encoder = store.encoders_dir / SPACES["rna"]
    for name in ("model.safetensors", "card.json"):
        flip_everywhere(store, encoder / name, f"encoder {SPACES['rna']}", count, None)


def content(store: Store) -> str:
    """A hash of everything that can be read."""
    told = hashlib.sha256()
    for info in store.spaces():
        told.update(repr((info.space, info.rows, info.active, store.rows(info.space).to_pylist())).encode())
        told.update(store.vectors(info.space)[1].tobytes())
    told.update(repr((store.attributes(store.patient_ids()).to_pylist(), store.encoders(), store.ingests())).encode())
    return told.hexdigest()


def flip_database(store: Store, tmp_path: Path, count: int) -> Counter[str]:
    """Flip one bit of the database at a time, each looked at by a process of its own.

    DuckDB checks the sum of each block it reads, and verify reads all that hold something. A flip in what holds nothing
    (a free block, the older of the two headers, padding) may pass; then the content has to be the same to the bit.
    """
    chance = random.Random(5)
    sound, before = store.database.read_bytes(), content(store)
    outcome: Counter[str] = Counter()
    try:
        for _ in range(count):
            store.database.write_bytes(flipped(sound, chance))
            done = subprocess.run(
                command("check", store.path, tmp_path / "log"), capture_output=True, text=True, check=False, timeout=120
            )
            if done.returncode == 0 and all(ok for _, ok, _ in json.loads(done.stdout)):
                assert content(store) == before, "a flip in the database changed what is read and was not told"
                outcome["harmless"] += 1
            else:
                assert done.returncode == 0 or "DamagedError" in done.stderr, done.stderr
                outcome["told"] += 1
    finally:
        store.database.write_bytes(sound)
    assert content(store) == before
    return outcome


@pytest.mark.crash
def test_every_flip_in_a_derived_or_copied_file_is_told(reference: Store) -> None:
    flip_files(reference, FLIPS)
    print(f"  {6 * FLIPS} flips in indexes, manifests, weights and card: all told", file=sys.__stderr__)


@pytest.mark.crash
def test_every_flip_in_the_database_is_told_or_harmless(reference: Store, tmp_path: Path) -> None:
    outcome = flip_database(reference, tmp_path, DATABASE_FLIPS)
    print(f"  {DATABASE_FLIPS} flips in the database: {dict(outcome)}", file=sys.__stderr__)
    assert outcome["told"]


def test_some_flips_are_told(reference: Store, tmp_path: Path) -> None:
    flip_files(reference, 1)
    flip_database(reference, tmp_path, 3)
