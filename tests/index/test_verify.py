"""verify sees what is wrong: one damage at a time, each told by its own check."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from molsig.errors import DamagedError
from molsig.index.connection import writing
from molsig.index.store import Store
from molsig.index.verify import _checked, verify


@pytest.fixture
def whole(store: Store, encoded) -> Store:
    """A reference with everything in it."""
    folder = store.encoders_dir / "rna-test"
    folder.mkdir()
    save_file({"weight": np.arange(2_000, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "card.json").write_text('{"name": "rna-vae"}')
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    with store.writer("test") as writer:
        writer.put_encoder("rna-test", "rna", "rna-vae", {"name": "rna-vae"}, hashes)
        writer.commit([encoded([f"P{n}" for n in range(40)]), encoded(["P1"], kind="normal", seed=1)])
        writer.put_patients(pa.table({"patient": ["P1", "P2"], "age": [1, 2]}))
        writer.build_indexes()
    return store


def failed(store: Store) -> set[str]:
    return {check.name for check in verify(store) if not check.ok}


def test_a_sound_reference_passes_every_check(whole: Store) -> None:
    checks = verify(whole)
    assert [check.name for check in checks] == [
        *("format", "database", "rows", "vectors", "aggregates", "index rna-test", "index sum", "encoder rna-test")
    ]
    assert all(check.ok for check in checks)
    assert "40 aggregates" in checks[4].detail


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE embeddings SET id = 3 WHERE id = 4", "rows"),
        ("UPDATE embeddings SET id = 9999 WHERE id = 4", "rows"),
        ("INSERT INTO embeddings SELECT 9, * EXCLUDE (id) FROM embeddings WHERE id = 4", "rows"),
        ("UPDATE embeddings SET patient = 'P9' WHERE id = 4", "rows"),
        ("UPDATE embeddings SET space = 'x' WHERE id = 4", "rows"),
        ("DELETE FROM samples WHERE sample = 'P4-01'", "rows"),
        ("DELETE FROM patients WHERE patient = 'P4'", "rows"),
        ("INSERT INTO patients VALUES ('P4', 1)", "rows"),
        ("UPDATE samples SET kind = 'tumor' WHERE sample = 'P4-01'", "rows"),
        ("INSERT INTO attributes VALUES ('nobody', 3)", "rows"),
        ("INSERT INTO spaces VALUES ('rna-2', 'rna', true, 0)", "rows"),
        ("UPDATE state SET snapshot = 0", "rows"),
        ("DELETE FROM state", "rows"),
        (
            "UPDATE embeddings SET vector = list_transform(range(768), lambda i: 'nan')::FLOAT[768] WHERE id = 4",
            "vectors",
        ),
        (
            "UPDATE embeddings SET vector = list_transform(range(768), lambda i: 1)::FLOAT[768] WHERE id = 4",
            "aggregates",
        ),
        ("UPDATE aggregates SET parts = 2 WHERE patient = 'P4'", "aggregates"),
        ("DELETE FROM aggregates WHERE patient = 'P4'", "aggregates"),
        ("UPDATE samples SET kind = 'normal' WHERE sample = 'P4-01'", "aggregates"),
        ("UPDATE spaces SET purged = 99 WHERE space = 'rna-test'", "index rna-test"),
        ("UPDATE meta SET value = '0' WHERE key = 'format'", "format"),
    ],
)
def test_each_damage_is_told_by_its_check(whole: Store, statement: str, check: str) -> None:
    with writing(whole.database) as connection:
        connection.execute(statement)
    assert check in failed(whole)


def test_encoder_files_are_held_against_their_hashes(whole: Store) -> None:
    folder = whole.encoders_dir / "rna-test"
    chance = random.Random(0)
    for name in ("model.safetensors", "card.json"):
        sound = (folder / name).read_bytes()
        for _ in range(4):
            damaged = bytearray(sound)
            damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
            (folder / name).write_bytes(damaged)
            assert failed(whole) == {"encoder rna-test"}
        (folder / name).write_bytes(sound)
    (folder / "card.json").unlink()
    assert failed(whole) == {"encoder rna-test"}


def test_a_missing_index_is_no_damage(whole: Store) -> None:
    shutil.rmtree(whole.index_dir)
    assert failed(whole) == set()
    assert [c.detail for c in verify(whole) if c.name == "index sum"] == ["not built: searches are exact"]


def test_a_database_cut_short_is_told(whole: Store) -> None:
    content = whole.database.read_bytes()
    whole.database.write_bytes(content[: len(content) // 2])
    checks = verify(whole)
    assert not all(check.ok for check in checks)
    whole.database.write_bytes(b"")
    with pytest.raises(DamagedError):
        Store.open(whole.path)


def test_a_database_that_is_missing_is_told(whole: Store, tmp_path: Path) -> None:
    whole.database.rename(tmp_path / "away")
    assert failed(whole) == {"database"}


def test_a_file_that_goes_while_it_is_looked_at_is_a_failed_check() -> None:
    def look() -> str:
        raise FileNotFoundError(2, "No such file", "index/000015.structure")

    found = _checked("index", look)
    assert not found.ok
    assert "000015.structure is missing" in found.detail
