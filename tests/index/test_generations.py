"""Index files: when they are built, what they promise, and that a damaged one never answers."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molsig.errors import DamagedError, NotFoundError, UsageError
from molsig.evaluate.clustered import Mixture
from molsig.index import building, forget, generations, manifest, pca_sq8, structure
from molsig.index.manifest import MANIFEST, folder_of, generation_info, read_manifest
from molsig.index.opened import OpenGeneration
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.index.verify import verify
from molsig.types import DIM
from tests.room import run_with_room


def names(count: int, prefix: str = "P") -> list[str]:
    return [f"{prefix}{number:04d}" for number in range(count)]


@pytest.fixture
def built(store: Store, encoded) -> Store:
    with store.writer("test") as writer:
        writer.commit([encoded(names(300))])
        writer.build_indexes()
    return store


def test_an_index_is_built_when_it_is_needed_and_not_before(built: Store, encoded) -> None:
    with built.writer("test") as writer:
        assert writer.build_indexes() == []
        writer.commit([encoded(names(20, "Q"), seed=1)])
        assert writer.build_indexes() == [], "a tail of 6 % is searched exactly"
        writer.commit([encoded(names(20, "R"), seed=2)])
        assert [info.space for info in writer.build_indexes()] == ["rna-test", "sum"]
        assert [info.generation for info in writer.build_indexes(["sum"], force=True)] == [3]
        with pytest.raises(UsageError, match="did you mean 'rna-test'"):
            writer.build_indexes(["rna-tset"])
        with pytest.raises(UsageError, match="method"):
            writer.build_indexes(method="annoy")
    files = sorted(path.name for path in folder_of(built.index_dir, "sum").iterdir())
    assert files == ["000003.rows", "000003.structure", "000003.vectors", MANIFEST]


def test_a_generation_with_many_dead_rows_is_built_anew(built: Store, encoded) -> None:
    with built.writer("test") as writer:
        changed = encoded(names(30), seed=7, digest="new")
        writer.commit([changed], replace=True)
        info = read_manifest(built.index_dir, "rna-test")
        with built.reading() as connection:
            state = generations.coverage(info, generations.ids_of(connection, "rna-test"))
        assert (state.rows, state.tail, state.dead) == (300, 30, 30)
        assert "gone" in building.what_is_due(built, "rna-test").why
        assert {info.space for info in writer.build_indexes()} == {"rna-test", "sum"}


def test_the_manifest_tells_what_was_built(built: Store) -> None:
    info = built.spaces()[0].generation
    assert (info.rows, info.dims, info.method, info.chosen, info.trained_on) == (300, DIM, "pca-sq8", "auto", 300)
    assert info.recall >= 0.99
    assert info.recall_queries == 30
    assert info.snapshot == built.snapshot()
    folder = folder_of(built.index_dir, "rna-test")
    assert sum((folder / name).stat().st_size for name in info.files) == info.size
    generation = OpenGeneration(built.index_dir, info)
    assert generation.structure().rows == 300
    ids, vectors = built.vectors("rna-test")
    np.testing.assert_array_equal(generation.file.ids, ids)
    np.testing.assert_array_equal(generation.file.read(np.arange(300)), vectors)


def clustered(rows: int) -> np.ndarray:
    return Mixture(centres=40).draw(rows, 1, seed=0)[0]


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq", "hnsw"])
def test_every_structure_finds_what_its_manifest_says(store: Store, encoded, method: str) -> None:
    told: list[tuple[str, int, int | None]] = []
    vectors = clustered(4_100)
    with store.writer("test") as writer:
        writer.commit([encoded(names(4_000), vectors=vectors[:4_000])])
        (info,) = writer.build_indexes(
            ["rna-test"], method=method, progress=lambda step, done, total: told.append((step, done, total))
        )
        assert writer.build_indexes(["rna-test"]) == [], "what was asked for stays"
    assert (info.method, info.chosen, info.recall_queries) == (method, method, 400)
    assert info.recall >= 0.995
    assert told[0] == ("index rna-test: vectors", 0, 4_000)
    assert told[-1] == ("index rna-test", 4_000, 4_000)
    searcher = Searcher(store)
    exact, found = (searcher.search("rna-test", vectors[4_000:], 10, method=how) for how in ("exact", "index"))
    assert found.method == method
    shared = [
        len({hit.patient for hit in a} & {hit.patient for hit in b})
        for a, b in zip(exact.hits, found.hits, strict=True)
    ]
    assert np.mean(shared) >= 9.85
    assert {hit for hits in found.hits for hit in hits if hit in exact.hits[0]} <= set(exact.hits[0])


def test_the_structure_that_suits_the_vectors_is_kept(store: Store, encoded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few directions tell clustered rows apart; without clusters none leads, and neighbours lie in all cells."""
    spread = np.random.default_rng(1).standard_normal((5_000, DIM)).astype(np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded(names(5_000), vectors=clustered(5_000))])
        (few,) = writer.build_indexes(["rna-test"])
        assert (few.method, few.chosen, few.parameters["directions"]) == ("pca-sq8", "auto", 32)
        monkeypatch.setattr(pca_sq8, "_compiled", None)
        assert writer.build_indexes(["rna-test"]) == [], "what serves is not built anew for want of a compiler"
        assert writer.build_indexes(["rna-test"], force=True)[0].method == "ivf-rabitq"
        monkeypatch.undo()
        writer.commit([encoded(names(5_000), modality="mutation", vectors=spread)])
        (flat,) = writer.build_indexes(["mutation-test"])
        assert (flat.method, flat.chosen) == ("rabitq", "auto")
        assert writer.build_indexes(["rna-test", "mutation-test"]) == []


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq", "hnsw"])
def test_a_generation_grows_by_what_is_new(store: Store, encoded, method: str) -> None:
    vectors = clustered(3_000)
    with store.writer("test") as writer:
        writer.commit([encoded(names(1_500), vectors=vectors[:1_500])])
        (first,) = writer.build_indexes(["rna-test"], method=method)
        writer.commit([encoded(names(1_000, "Q"), vectors=vectors[1_500:2_500])])
        (grown,) = writer.build_indexes(["rna-test"])
        assert (grown.rows, grown.trained_on, grown.vectors) == (2_500, 1_500, first.vectors)
        assert grown.structure.name != first.structure.name
        assert grown.recall_queries == 100
        assert grown.recall >= 0.99
        (anew,) = writer.build_indexes(["rna-test"], force=True)
        assert (anew.trained_on, anew.vectors) == (2_500, "000003.vectors")
        writer.commit([encoded(names(500, "R"), vectors=vectors[2_500:])])
        writer.build_indexes()
    assert all(check.ok for check in verify(store))
    searcher = Searcher(store)
    exact, found = (searcher.search("rna-test", vectors[::50], 1, method=how) for how in ("exact", "index"))
    assert found.method == method
    assert [hits[0].patient for hits in found.hits] == [hits[0].patient for hits in exact.hits]


def test_a_full_disk_leaves_the_index_that_was_there(built: Store, encoded) -> None:
    """Of a new index and of one that grows: it is told, the old one answers, and the same command finishes."""
    query = built.vectors("rna-test")[1][:2]
    expected = Searcher(built).search("rna-test", query, 5, method="index")
    command = [sys.executable, "-m", "molsig", "index", str(built.path)]
    for more, room in (("--force", 100_000), (None, 1_000_000)):
        if more is None:
            with built.writer("test") as writer:
                writer.commit([encoded(names(60, "Q"), seed=1)])
        done = run_with_room([*command, *([more] if more else [])], room)
        assert done.returncode == 4, done.stderr
        assert "disk is full" in done.stderr
        assert str(folder_of(built.index_dir, "rna-test")) in done.stderr
        assert "Traceback" not in done.stderr
        found = Searcher(built).search("rna-test", query[:1], 1, method="index")
        assert (found.method, found.notes) == (expected.method, ())
        assert found.hits[0][0] == expected.hits[0][0]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert all(check.ok for check in verify(built))


def test_what_a_dead_writer_appended_is_cut_off(built: Store, encoded) -> None:
    info = read_manifest(built.index_dir, "rna-test")
    path = folder_of(built.index_dir, "rna-test") / info.vectors
    with path.open("ab") as handle:
        handle.write(b"half of a row")
    assert Searcher(built).search("rna-test", built.vectors("rna-test")[1][:1], 1, method="index").notes == ()
    with built.writer("test") as writer:
        writer.commit([encoded(names(60, "Q"), seed=1)])
        writer.build_indexes()
    assert path.stat().st_size == 360 * 4 * DIM
    assert all(check.ok for check in verify(built))


def test_a_space_that_outgrows_its_structure_gets_another(
    built: Store, encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "NEVER_FLAT", 400)
    monkeypatch.setattr(structure, "ALWAYS_FLAT", 300)
    with built.writer("test") as writer:
        monkeypatch.setattr(pca_sq8, "_compiled", None)
        assert {info.method for info in writer.build_indexes(force=True)} == {"rabitq"}
        writer.commit([encoded(names(200, "Q"), seed=1)])
        assert {info.method for info in writer.build_indexes()} == {"ivf-rabitq"}
        writer.build_indexes(["sum"], method="hnsw")
        assert writer.build_indexes(["sum"], method="auto")[0].method == "ivf-rabitq"


def test_an_index_of_the_format_before_serves_and_keeps_what_was_chosen(store: Store, encoded) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded(names(300))])
        (info,) = writer.build_indexes(["rna-test"], method="rabitq")
    folder = folder_of(store.index_dir, "rna-test")
    old = replace(info.structure, name=info.structure.name.replace(".structure", ".faiss"))
    (folder / info.structure.name).rename(folder / old.name)
    (folder / MANIFEST).write_bytes(manifest._serialised(replace(info, structure=old), 2))
    query = store.vectors("rna-test")[1][:2]
    result = Searcher(store).search("rna-test", query, 5, method="index")
    assert (result.method, result.notes) == ("rabitq", ())
    assert all(check.ok for check in verify(store))
    with store.writer("test") as writer:
        assert writer.build_indexes(["rna-test"]) == []
        writer.commit([encoded(names(60, "Q"), seed=1)])
        (grown,) = writer.build_indexes(["rna-test"])
    assert (grown.method, grown.chosen, grown.rows) == ("rabitq", "rabitq", 360)
    assert json.loads((folder / MANIFEST).read_text())["format"] == manifest.MANIFEST_FORMAT
    assert not list(folder.glob("*.faiss"))


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
def test_deleted_rows_take_the_place_of_no_neighbour(store: Store, encoded, method: str) -> None:
    """A cohort of near copies is deleted, and the index is not built anew for it."""
    vectors = clustered(3_000)
    gone = names(60, "G")
    near = vectors[7] + 0.01 * np.random.default_rng(0).standard_normal((60, DIM)).astype(np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded(names(3_000), vectors=vectors), encoded(gone, vectors=near, digest="near")])
        writer.build_indexes(method=method)
    forget.delete(store.database, gone, compact=False)
    searcher = Searcher(store)
    exact, found = (
        [hit.patient for hit in searcher.search("rna-test", vectors[7:8], 10, method=how).hits[0]]
        for how in ("exact", "index")
    )
    assert len(set(exact) & set(found)) >= 9
    assert found[0] == "P0007"


def test_a_generation_that_grew_and_finds_less_is_built_anew(
    store: Store, encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directions learned of a few clusters tell nothing of what lies in others."""
    monkeypatch.setattr(pca_sq8, "DEPTHS", (16, 24))
    vectors = clustered(1_000)
    spread = np.random.default_rng(1).standard_normal((600, DIM)).astype(np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded(names(1_000), vectors=vectors)])
        (first,) = writer.build_indexes(["rna-test"])
        assert (first.method, first.parameters["directions"]) == ("pca-sq8", 32)
        writer.commit([encoded(names(600, "Q"), vectors=spread)])
        (grown,) = writer.build_indexes(["rna-test"])
    assert (grown.rows, grown.trained_on, grown.method) == (1_600, 1_600, "rabitq")
    assert grown.recall >= 0.99
    assert all(check.ok for check in verify(store))


def test_a_space_of_equal_vectors_is_searched_right(store: Store, encoded) -> None:
    same = np.tile(np.arange(DIM, dtype=np.float32), (400, 1))
    same[:3] = np.eye(3, DIM)
    with store.writer("test") as writer:
        writer.commit([encoded(names(400), vectors=same)])
        writer.build_indexes()
    hits = Searcher(store).search("rna-test", same[5:6], 4, method="index").hits[0]
    assert [hit.score for hit in hits] == [1.0] * 4


@pytest.mark.parametrize("what", ["structure", "facts", "vectors", "manifest"])
def test_a_flipped_bit_is_never_answered_from(built: Store, what: str) -> None:
    """Of every flip: verify tells it, the search says so and is exact, the next writer mends it."""
    info = read_manifest(built.index_dir, "rna-test")
    folder = folder_of(built.index_dir, "rna-test")
    files = dict(zip(("structure", "facts", "vectors"), info.files, strict=True))
    path = folder / files.get(what, MANIFEST)
    sound = path.read_bytes()
    query = built.vectors("rna-test")[1][:2]
    expected = Searcher(built).search("rna-test", query, 5, method="exact").hits
    chance = random.Random(0)
    for _ in range(8):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        assert not next(check for check in verify(built) if check.name == "index rna-test").ok
        result = Searcher(built).search("rna-test", query, 5, method="index")
        # A row of the vectors that nobody met may be damaged without harm.
        if what != "vectors" or result.notes:
            assert result.method == "exact"
            assert "exact search used" in result.notes[0]
        assert result.hits == expected
        assert Searcher(built).search("rna-test", query, 5, method="exact").hits == expected
    with built.writer("test") as writer:
        assert [info.space for info in writer.build_indexes()] == ["rna-test"]
    assert all(check.ok for check in verify(built))
    assert Searcher(built).search("rna-test", query, 5, method="index").method == "pca-sq8"


def test_what_a_dead_writer_left_is_cleaned(built: Store) -> None:
    folder = folder_of(built.index_dir, "rna-test")
    (folder / "000009.structure.new").write_bytes(b"half")
    (folder / "000008.structure").write_bytes(b"whole, without a manifest")
    (folder / f"{MANIFEST}.new").write_text("{}")
    (built.index_dir / "gone-space").mkdir()
    (built.index_dir / "gone-space" / "000001.structure").write_bytes(b"x")
    (built.path / "reference.duckdb.new").write_bytes(b"half a compaction")
    assert next(check.detail for check in verify(built) if check.name == "index files").startswith("4 left")
    with built.writer("test"):
        pass
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["000001.rows", "000001.structure", "000001.vectors", MANIFEST]
    assert not (built.index_dir / "gone-space").exists()
    assert not (built.path / "reference.duckdb.new").exists()


def test_an_index_of_another_reference_or_time_is_not_used(built: Store, encoded, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other.molsig")
    with other.writer("test") as writer:
        writer.commit([encoded(names(300), seed=3)])
    shutil.copytree(built.index_dir, other.index_dir, dirs_exist_ok=True)
    query = other.vectors("rna-test")[1][:1]
    result = Searcher(other).search("rna-test", query, 1, method="index")
    assert "another reference" in result.notes[0]
    assert result.hits[0][0].patient == "P0000"
    assert [check.detail for check in verify(other) if not check.ok]

    copy = shutil.copy(built.database, tmp_path / "old.duckdb")
    with built.writer("test") as writer:
        writer.commit([encoded(names(300, "Q"), seed=1)])
        writer.build_indexes()
    shutil.copy(copy, built.database)
    assert "put back from a copy" in Searcher(built).search("rna-test", query, 1, method="index").notes[0]


def test_forget_leaves_nothing_behind(built: Store, encoded) -> None:
    second = encoded(["P0007", "P0008"], modality="mutation", seed=4)
    with built.writer("test") as writer:
        writer.commit([second])
        writer.build_indexes()
        writer.record_ingest("digest", {}, [])
        vector = built.embeddings_of("P0007")[1]
        with pytest.raises(NotFoundError, match="'X', 'Y'"):
            writer.forget(["P0001", "X", "Y"])
        assert "P0001" in built.patient_ids()
        result = writer.forget(["P0007", "P0009"], compact=True)
    assert (result.patients, result.samples, result.embeddings) == (2, 2, 3)
    assert result.spaces == ("mutation-test", "rna-test")
    assert not built.has_ingest("digest"), "the same files may bring the patient back"
    for path in built.path.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"P0007" not in raw, path
            assert not any(row.tobytes()[:64] in raw for row in vector), path
    for info in built.spaces():
        ids = OpenGeneration(built.index_dir, info.generation).file.ids
        assert np.isin(ids, built.rows(info.space)["id"].to_numpy()).all()
    assert all(check.ok for check in verify(built))
    with built.writer("test") as writer:
        assert writer.commit([encoded(["P0007"])]).added == {"rna": 1}


def test_forgetting_keeps_the_structure_that_was_chosen(built: Store) -> None:
    with built.writer("test") as writer:
        writer.build_indexes(["rna-test"], method="hnsw")
        writer.forget(["P0003"])
    info = generation_info(built.index_dir, "rna-test")
    assert info is not None
    assert (info.method, info.chosen) == ("hnsw", "hnsw")


_FORGET = """
import sys
from molsig.index.store import Store
with Store.open(sys.argv[1]).writer("test") as writer:
    writer.forget(["P0007"], compact=True, first_of_all=lambda: print("first of all"))
"""


def test_a_disk_that_fills_while_patients_are_forgotten(built: Store) -> None:
    """They are gone all the same, it is said what is left to do, and the next writer does it."""
    room = built.database.stat().st_size // 2
    done = run_with_room([sys.executable, "-c", _FORGET, str(built.path)], room)
    assert done.returncode == 1
    assert done.stdout == "first of all\n"
    assert "OSError" in done.stderr.splitlines()[-1]
    assert "1 patients were forgotten" in done.stderr
    assert "molsig index" in done.stderr
    assert "P0007" not in built.patient_ids()
    assert not list(built.path.glob("*.new*"))
    with built.writer("test") as writer:
        writer.build_indexes()
    assert all(check.ok for check in verify(built))
    for path in built.path.rglob("*"):
        assert not path.is_file() or b"P0007" not in path.read_bytes(), path


def test_everyone_can_be_forgotten(built: Store) -> None:
    with built.writer("test") as writer:
        writer.forget(built.patient_ids(), compact=True)
    assert built.spaces() == []
    assert list(built.index_dir.iterdir()) == []
    assert all(check.ok for check in verify(built))


def test_a_manifest_of_another_shape_is_damaged(built: Store) -> None:
    path = folder_of(built.index_dir, "sum") / MANIFEST
    for text in ("", "[]", "null", "{}", '{"format": 1}', json.dumps({"checksum": "x", "format": 1}), "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DamagedError, match="damaged manifest"):
            read_manifest(built.index_dir, "sum")
