"""Every plan finds what a plain scan finds."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molsig.errors import InputError, UsageError
from molsig.evaluate.clustered import Mixture
from molsig.index import cosines, exact, forget, pca_sq8, search, vectors, view
from molsig.index.pca_sq8 import PcaSq8
from molsig.index.rabitq import FlatRabitq, IvfRabitq
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.index.structure import CellsWith, faiss
from molsig.types import DIM, SUM_SPACE, Encoded, SampleId

KINDS = ("tumour", "normal", "metastasis")


def scan(store: Store, space: str, query, k: int, patients=None, exclude=(), kinds=None) -> list[tuple[str, float]]:
    """The k best patients by the book: float64 cosines of all rows, best row each, equal scores by patient."""
    rows, (_, vectors) = store.rows(space), store.vectors(space)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1) * np.linalg.norm(query.astype(np.float64))
    scores = (vectors.astype(np.float64) @ query.astype(np.float64) / np.where(norms == 0, 1, norms)).astype(np.float32)
    best: dict[str, float] = {}
    for patient, kind, score in zip(
        rows["patient"].to_pylist(), rows["kind"].to_pylist(), scores.tolist(), strict=True
    ):
        if (patients is not None and patient not in patients) or patient in exclude:
            continue
        if kinds is not None and space != SUM_SPACE and kind not in kinds:
            continue
        best[patient] = max(best.get(patient, -2.0), score)
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]


def agree(hits, expected: list[tuple[str, float]]) -> None:
    assert len(hits) == len(expected)
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], atol=1e-6)
    for hit, (patient, score) in zip(hits, expected, strict=True):
        # Rounding may swap neighbours whose scores differ by less than it.
        assert hit.patient == patient or any(abs(score - other) < 2e-6 for p, other in expected if p == hit.patient)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[Encoded], int, int]:
    """Some samples of some patients with several items, few distinct values so that scores tie, and where to cut it."""
    seed = draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    count = draw(st.integers(1, 60))
    patients = random.integers(0, draw(st.integers(1, 40)), count)
    parts = []
    for place in range(count):
        sample = SampleId(f"S{place}", f"P{patients[place]:02d}", KINDS[random.integers(3)])
        items = [str(item) for item in range(random.integers(1, 4))]
        vectors = random.integers(-1, 2, (len(items), DIM)).astype(np.float32) if draw(st.booleans()) else None
        if vectors is None:
            vectors = np.tile(np.eye(1, DIM, random.integers(3), dtype=np.float32) * 5, (len(items), 1))
        digests = tuple(f"{place}:{item}" for item in items)
        parts.append(Encoded("rna", "rna-t", (sample,) * len(items), tuple(items), vectors, digests))
    return parts, draw(st.integers(0, count)), seed


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(cohorts(), st.integers(1, 12), st.data())
def test_search_equals_a_scan_on_any_store(tmp_path_factory, cohort, k: int, data) -> None:
    parts, cut, seed = cohort
    store = Store.create(tmp_path_factory.mktemp("search") / "r.molsig")
    random = np.random.default_rng(seed)
    with store.writer("test") as writer:
        writer.commit(parts[:cut])
        writer.build_indexes()
        writer.commit(parts[cut:])
        everyone = store.patient_ids()
        gone = data.draw(st.sets(st.sampled_from(everyone), max_size=2))
        if gone and data.draw(st.booleans()):
            # Deleted as `forget` does it, but without the index being built anew: its rows are dead in it.
            forget.delete(store.database, sorted(gone), compact=False)
    everyone = store.patient_ids() or ["none"]
    patients = data.draw(st.none() | st.sets(st.sampled_from(everyone)))
    exclude = data.draw(st.sets(st.sampled_from(everyone), max_size=3))
    kinds = data.draw(st.none() | st.sets(st.sampled_from(KINDS), min_size=1))
    queries = np.stack([random.integers(-1, 2, DIM), np.eye(1, DIM, 1)[0]]).astype(np.float32)
    queries[:, 0] += 0.5
    searcher = Searcher(store)
    for space in ("rna-t", SUM_SPACE):
        for method in ("auto", "exact", "index"):
            result = searcher.search(space, queries, k, patients=patients, exclude=exclude, kinds=kinds, method=method)
            for query, hits in zip(queries, result.hits, strict=True):
                agree(hits, scan(store, space, query, k, patients, exclude, kinds))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, np.ndarray]:
    """3,000 clustered rows of 1,500 patients with an index, and 30 queries."""
    random = np.random.default_rng(3)
    centres = random.standard_normal((20, DIM))
    cluster = random.integers(0, 20, 3_030)
    vectors = (centres[cluster] + random.standard_normal((3_030, DIM))).astype(np.float32)
    samples = tuple(SampleId(f"S{n}", f"P{n % 1500:04d}") for n in range(3_000))
    store = Store.create(tmp_path_factory.mktemp("large") / "r.molsig")
    with store.writer("test") as writer:
        writer.commit([Encoded("rna", "rna-t", samples, ("",) * 3_000, vectors[:3_000], tuple(map(str, range(3_000))))])
        writer.build_indexes()
    return store, vectors[3_000:3_020]


def recall(store: Store, result, queries, **filters) -> float:
    found = [
        len({hit.patient for hit in hits} & {patient for patient, _ in scan(store, "rna-t", query, 10, **filters)}) / 10
        for query, hits in zip(queries, result.hits, strict=True)
    ]
    return float(np.mean(found))


def test_the_planner_chooses_by_the_rows_in_play(large, monkeypatch: pytest.MonkeyPatch) -> None:
    store, queries = large
    searcher = Searcher(store)
    monkeypatch.setattr(search, "EXACT_ROWS", 3_000)
    assert searcher.search("rna-t", queries, 10).method == "exact"
    monkeypatch.setattr(search, "EXACT_ROWS", 500)
    wide = searcher.search("rna-t", queries, 10)
    assert wide.method == "rabitq"
    assert 0.99 <= wide.recall <= 1
    assert wide.candidates < 1_000
    assert recall(store, wide, queries) >= 0.99
    few = set(store.patient_ids()[::10])
    narrow = searcher.search("rna-t", queries, 10, patients=few)
    assert (narrow.method, narrow.rows, narrow.recall) == ("exact", 300, 1.0)
    assert recall(store, narrow, queries, patients=few) == 1.0
    half = set(store.patient_ids()[::2])
    filtered = searcher.search("rna-t", queries, 10, patients=half)
    assert filtered.method == "rabitq"
    assert recall(store, filtered, queries, patients=half) >= 0.99
    assert {hit.patient for hits in filtered.hits for hit in hits} <= half


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
def test_cells_without_kept_rows_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Conditions that keep whole groups far from most queries, and some patients at random."""
    monkeypatch.setattr(pca_sq8, "ONE_CELL", 1_000)
    random = np.random.default_rng(5)
    rows = 8_000
    centres = random.standard_normal((40, DIM))
    cluster = random.integers(0, 40, rows + 30)
    vectors = (centres[cluster] + random.standard_normal((rows + 30, DIM))).astype(np.float32)
    store = Store.create(tmp_path / "r.molsig")
    samples = tuple(SampleId(f"S{n}", f"P{n:04d}") for n in range(rows))
    with store.writer("test") as writer:
        writer.commit([Encoded("rna", "rna-t", samples, ("",) * rows, vectors[:rows], tuple(map(str, range(rows))))])
        writer.build_indexes(method=method)
    monkeypatch.setattr(search, "EXACT_ROWS", 100)
    searcher, queries = Searcher(store), vectors[rows:]
    structure = searcher.view("rna-t").generation.structure()
    cells_in_all = structure.cells
    assert cells_in_all > 50
    for kept in (cluster[:rows] < 8, cluster[:rows] == 3, random.random(rows) < 0.1, np.zeros(rows, bool)):
        cells = np.unpackbits(structure.cells_with(kept).bits, count=cells_in_all, bitorder="little").astype(bool)
        # Every kept row is proposed where its cells alone may be opened, and nothing where they may not.
        bits = np.packbits(kept, bitorder="little")
        there, elsewhere = (
            structure.search(
                queries[:1], rows, cells_in_all, bits, CellsWith(np.packbits(some, bitorder="little"), 0.0)
            )
            for some in (cells, ~cells)
        )
        assert set(there[there >= 0].tolist()) == set(np.flatnonzero(kept).tolist())
        assert (elsewhere < 0).all()
        if kept.any():
            some = {f"P{n:04d}" for n in np.flatnonzero(kept)}
            found = searcher.search("rna-t", queries, 10, patients=some)
            assert found.method == method
            assert recall(store, found, queries, patients=some) >= 0.99


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
@pytest.mark.parametrize("dropped", [1, 2, 5])
def test_a_condition_that_drops_the_query_s_own_cluster_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped: int, method: str
) -> None:
    """Of 200 clusters: what is left lies evenly over the cells, but for those next to the query."""
    monkeypatch.setattr(pca_sq8, "ONE_CELL", 1_000)
    rows, mixture = 12_000, Mixture(centres=200)
    held, cluster, _ = mixture.draw(rows, 0, 7)
    store = Store.create(tmp_path / "r.molsig")
    samples = tuple(SampleId(f"S{n}", f"P{n:05d}") for n in range(rows))
    with store.writer("test") as writer:
        writer.commit([Encoded("rna", "rna-t", samples, ("",) * rows, held, tuple(map(str, range(rows))))])
        writer.build_indexes(method=method)
    monkeypatch.setattr(search, "EXACT_ROWS", 100)
    searcher = Searcher(store)
    kept = cluster >= dropped
    queries = held[~kept][:30]
    some = {f"P{n:05d}" for n in np.flatnonzero(kept)}
    found = searcher.search("rna-t", queries, 10, patients=some, method="index")
    assert found.method == method
    assert recall(store, found, queries, patients=some) >= 0.99
    structure = searcher.view("rna-t").generation.structure()
    assert structure.cells_with(kept).uneven > 1
    for share in (0.1, 0.5, 0.9):
        by_chance = np.random.default_rng(1).random(rows) < share
        assert structure.cells_with(by_chance).uneven < 0.3
        # What is kept lies near the queries as well: fewer rows are proposed.
        some = {f"P{n:05d}" for n in np.flatnonzero(by_chance)}
        evenly = searcher.search("rna-t", queries, 10, patients=some, method="index")
        assert evenly.method == method
        assert evenly.candidates < found.candidates
        assert recall(store, evenly, queries, patients=some) >= 0.99


def test_a_filter_far_from_the_query_is_searched_exactly(large, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbours of a query are all filtered out: an index walk finds none of the kept rows."""
    store, queries = large
    monkeypatch.setattr(search, "EXACT_ROWS", 10)
    near = {patient for patient, _ in scan(store, "rna-t", queries[0], 400)}
    far = set(store.patient_ids()) - near
    result = Searcher(store).search("rna-t", queries[:1], 10, patients=far)
    assert recall(store, result, queries[:1], patients=far) == 1.0
    assert result.method == "exact"
    assert "searched exactly" in result.notes[0]


def test_many_queries_and_parts_give_the_answers_of_one(large, monkeypatch: pytest.MonkeyPatch) -> None:
    store, queries = large
    whole = {m: Searcher(store).search("rna-t", queries, 7, method=m) for m in ("exact", "index")}
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 700)
    monkeypatch.setattr(exact, "BLOCK_SCORES", 5_000)
    for kind in (FlatRabitq, IvfRabitq, PcaSq8):
        monkeypatch.setattr(kind, "at_a_time", 4)
    for method, result in whole.items():
        parts = Searcher(store, memory=0)
        assert parts.search("rna-t", queries, 7, method=method).hits == result.hits
        assert tuple(parts.search("rna-t", q[None], 7, method=method).hits[0] for q in queries) == result.hits
    for exact_hits, graph_hits in zip(whole["exact"].hits, whole["index"].hits, strict=True):
        ours = {hit.patient: hit for hit in graph_hits}
        assert all(ours[hit.patient] == hit for hit in exact_hits if hit.patient in ours), "one row, one score"


def test_a_device_gives_the_same_answers(store: Store, encoded) -> None:
    """Here the device is the processor: on CUDA the same code runs, see docs/gpu.md."""
    random = np.random.default_rng(4)
    vectors = random.integers(-2, 3, (700, DIM)).astype(np.float32)
    vectors[100:160] = vectors[0]
    with store.writer("test") as writer:
        writer.commit([encoded([f"P{n:03d}" for n in range(700)], vectors=vectors)])
        writer.build_indexes()
        writer.commit([encoded([f"Q{n:03d}" for n in range(20)], seed=3)])
    queries = np.concatenate([vectors[:60], random.standard_normal((60, DIM)).astype(np.float32)])
    plain = Searcher(store).search("rna-test", queries, 8, method="exact")
    there = Searcher(store, device="cpu")
    found = there.search("rna-test", queries, 8, method="exact")
    assert found.hits == plain.hits
    assert (plain.reason, found.reason) == ("asked for", "asked for, on cpu")
    assert there.search("rna-test", queries[:3], 8, method="exact").reason == "asked for"


def test_a_space_without_an_index_is_read_whole_after_a_few_filtered_queries(
    large, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queries = Store(shutil.copytree(large[0].path, tmp_path / "r.molsig")), large[1]
    some = tuple(store.patient_ids()[:100])
    monkeypatch.setattr(view, "AT_ONCE", 0)
    shutil.rmtree(store.index_dir / "rna-t")
    read: list[int | None] = []
    of_store = type(store).vectors

    def counted(self, space, ids=None):
        read.append(None if ids is None else len(ids))
        return of_store(self, space, ids)

    monkeypatch.setattr(type(store), "vectors", counted)
    searcher = Searcher(store)
    once = [
        searcher.search("rna-t", query[None], 5, patients=some[place:]).hits[0] for place, query in enumerate(queries)
    ]
    few = len(store.vectors("rna-t")[0]) // (vectors._SCATTERED * vectors._OPENING)
    assert read.count(None) == 2, "by the searcher, and by this test"
    assert read.index(None) <= few + 1
    assert once[0] == Searcher(store).search("rna-t", queries[:1], 5, patients=some).hits[0]


def test_equal_scores_are_ordered_by_patient(store: Store, encoded) -> None:
    names = ["b", "a", "D", "c", "é", "0"]
    same = np.ones((6, DIM), np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded(names, vectors=same)])
        writer.build_indexes()
    for method in ("exact", "index"):
        hits = Searcher(store).search("rna-test", same[:1], 4, method=method).hits[0]
        assert [hit.patient for hit in hits] == sorted(names)[:4]


def test_a_commit_is_seen_by_the_next_query(store: Store, encoded) -> None:
    searcher = Searcher(store)
    query = np.random.default_rng(9).standard_normal((1, DIM)).astype(np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded([f"P{n}" for n in range(50)])])
        writer.build_indexes()
        for number in range(8):
            for method in ("exact", "index"):
                searcher.search("rna-test", query, 3, method=method)
            result = writer.commit([encoded([f"new{number}"], vectors=query, seed=number)])
            for method in ("exact", "index"):
                found = searcher.search("rna-test", query, 100, method=method)
                assert found.snapshot == result.snapshot
                assert {f"new{n}" for n in range(number + 1)} <= {hit.patient for hit in found.hits[0]}
        assert found.hits[0][0].score == pytest.approx(1.0)
        writer.forget(["new3"])
        for method in ("exact", "index"):
            assert "new3" not in {hit.patient for hit in searcher.search("rna-test", query, 100, method=method).hits[0]}


def one_each(store: Store, encoded, queries: int) -> np.ndarray:
    """Commit and index 3,000 patients with one clustered row each; returns further vectors."""
    random = np.random.default_rng(4)
    cluster = random.integers(0, 20, 3_000 + queries)
    vectors = random.standard_normal((20, DIM))[cluster] + random.standard_normal((len(cluster), DIM))
    with store.writer("test") as writer:
        writer.commit([encoded([f"P{n}" for n in range(3_000)], vectors=vectors[:3_000].astype(np.float32))])
        writer.build_indexes()
    return vectors[3_000:].astype(np.float32)


def settled(store: Store) -> Searcher:
    """A searcher once the clock has moved on from the last commit: until then every query looks at the files anew."""
    searcher, deadline = Searcher(store), time.monotonic() + 30
    while searcher.held("rna-test") is None and time.monotonic() < deadline:
        searcher.view("rna-test")
    return searcher


@contextmanager
def planned_no_more() -> Iterator[None]:
    """Let every search fail that does not take the way of one before."""

    def planned(*_: object, **__: object) -> None:
        pytest.fail("planned anew")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Searcher, "_search", planned)
        yield


def test_a_query_asked_again_takes_the_same_way_until_something_changes(store: Store, encoded) -> None:
    queries = one_each(store, encoded, 6)[:, None]
    expected = Searcher(store).search("rna-test", queries[:, 0], 7)
    searcher = settled(store)
    first = searcher.search("rna-test", queries[0], 7)
    assert first.method == expected.method != "exact"
    with planned_no_more():
        for number, query in enumerate(queries):
            again = searcher.search("rna-test", query, 7)
            assert again.hits[0] == expected.hits[number]
            assert (again.method, again.reason, again.recall, again.rows, again.snapshot, again.notes) == (
                first.method,
                first.reason,
                first.recall,
                first.rows,
                first.snapshot,
                first.notes,
            )
        for other in (
            {"k": 8},
            {"k": 7, "method": "exact"},
            {"k": 7, "exclude": ("P1",)},
            {"k": 7, "patients": ("P1",)},
        ):
            with pytest.raises(pytest.fail.Exception, match="planned anew"):
                searcher.search("rna-test", queries[0], **other)
        with pytest.raises(InputError, match="zero or not finite"):
            searcher.search("rna-test", np.zeros((1, DIM), np.float32), 7)
    with store.writer("test") as writer:
        writer.commit([encoded(["new"], vectors=queries[1], seed=1)])
    assert searcher.search("rna-test", queries[1], 7).hits[0][0].patient == "new"


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq", "hnsw"])
@pytest.mark.parametrize("several", [False, True])
def test_threads_change_nothing_of_an_answer(store: Store, encoded, method: str, several: bool) -> None:
    queries = one_each(store, encoded, 150)
    with store.writer("test") as writer:
        if several:
            writer.commit([encoded([f"P{n}" for n in range(40)], vectors=queries[:40], seed=3, digest="second")])
        writer.build_indexes(method=method, force=True)
        writer.commit([encoded(["late"], vectors=queries[90:91], seed=5)])
    module, answers = faiss(), []
    before = module.omp_get_max_threads()
    try:
        for threads in (1, 2, 3, 16):
            module.omp_set_num_threads(threads)
            found = Searcher(store).search("rna-test", queries, 7, method="index")
            assert found.method == method
            answers.append(found.hits)
            assert module.omp_get_max_threads() == threads
            bad = queries.copy()
            bad[[130, 140]] = 0
            with pytest.raises(InputError, match="row 131") as told:
                Searcher(store).search("rna-test", bad, 7, method="index")
            assert told.value.row == 131
            assert module.omp_get_max_threads() == threads
    finally:
        module.omp_set_num_threads(before)
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][90][0].patient == "late"
    assert share_of(answers[0], Searcher(store).search("rna-test", queries, 7, method="exact").hits, 7) > 0.97


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq"])
def test_an_answer_does_not_need_the_compiled_parts(store: Store, encoded, method: str) -> None:
    queries = one_each(store, encoded, 80)
    with store.writer("test") as writer:
        writer.build_indexes(method=method, force=True)
    answers = []
    for compiled in (True, False):
        with pytest.MonkeyPatch.context() as patched:
            if not compiled:
                patched.setattr(cosines, "_compiled", None)
                patched.setattr(pca_sq8, "_compiled", None)
            searcher = settled(store)
            answers.append([searcher.search("rna-test", queries, 7, method=plan).hits for plan in ("index", "exact")])
            answers[-1] += [searcher.search("rna-test", query[None], 7, method="index").hits for query in queries[:9]]
    assert answers[0][:2] == answers[1][:2]
    # One query may open another cell by centres of 16 bits; what both find scores the same.
    for one, other in zip(answers[0][2:], answers[1][2:], strict=True):
        scores = {hit.patient: hit.score for hit in other[0]}
        shared = [hit for hit in one[0] if hit.patient in scores]
        assert len(shared) >= 5
        assert all(hit.score == scores[hit.patient] for hit in shared)


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
def test_the_first_single_queries_may_come_at_the_same_time(
    store: Store, encoded, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca_sq8, "ONE_CELL", 1_000)
    queries = one_each(store, encoded, 8)
    with store.writer("test") as writer:
        writer.build_indexes(method=method, force=True)
    expected = settled(store)
    alone = [expected.search("rna-test", query[None], 7, method="index").hits for query in queries]
    for _ in range(5):
        searcher, start = settled(store), threading.Barrier(len(queries))

        def ask(number: int, searcher: Searcher = searcher, start: threading.Barrier = start) -> object:
            start.wait()
            return searcher.search("rna-test", queries[number][None], 7, method="index").hits

        with ThreadPoolExecutor(len(queries)) as threads:
            assert list(threads.map(ask, range(len(queries)))) == alone


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq", "hnsw"])
@pytest.mark.parametrize("kept", [40, 1_500, 2_600])
def test_under_a_filter_a_single_query_is_answered_as_in_a_batch(store: Store, encoded, method: str, kept: int) -> None:
    queries = one_each(store, encoded, 12)
    with store.writer("test") as writer:
        writer.build_indexes(method=method, force=True)
        writer.forget(["P7", "P2999"])
    searcher = settled(store)
    allowed = tuple(f"P{n}" for n in range(kept))
    for k in (5, 60):
        batch = searcher.search("rna-test", queries, k, patients=allowed)
        for _ in range(2):
            alone = [searcher.search("rna-test", query[None], k, patients=allowed) for query in queries]
            assert [one.hits[0] for one in alone] == list(batch.hits)
        for one in alone:
            assert (one.method, one.reason, one.recall, one.rows) == (
                batch.method,
                batch.reason,
                batch.recall,
                batch.rows,
            )
        with planned_no_more():
            again = [searcher.search("rna-test", query[None], k, patients=allowed) for query in queries]
            with pytest.raises(pytest.fail.Exception, match="planned anew"):
                searcher.search("rna-test", queries[:1], k, patients=(*allowed, "P2700"))
        assert [one.hits[0] for one in again] == list(batch.hits)
    with store.writer("test") as writer:
        writer.commit([encoded(["P3"], vectors=queries[:1], items=["second"])])
    assert searcher.search("rna-test", queries[:1], 5, patients=allowed).hits[0][0].patient == "P3"


def test_ways_are_kept_for_few_filters_only(store: Store, encoded) -> None:
    queries, searcher = one_each(store, encoded, 1), settled(store)
    for first in range(2 * search.WAYS_HELD):
        allowed = tuple(f"P{n}" for n in range(first, first + 50))
        for _ in range(3):
            assert len(searcher.search("rna-test", queries, 3, patients=allowed).hits[0]) == 3
    assert len({id(one.way) for one in searcher.ways()}) <= search.WAYS_HELD


@pytest.mark.parametrize("rows", [1_900, 3_000])
@pytest.mark.parametrize("compiled", [True, False])
def test_rows_are_held_once_whatever_is_asked_of_them(
    store: Store, encoded, rows: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With compiled parts or without: up to so many rows are compared one by one."""
    if not compiled:
        monkeypatch.setattr(cosines, "_compiled", None)
    vectors = np.random.default_rng(3).standard_normal((rows, DIM)).astype(np.float32)
    with store.writer("test") as writer:
        writer.commit([encoded([f"P{n}" for n in range(rows)], vectors=vectors)])
    searcher, allowed = settled(store), tuple(f"P{n}" for n in range(1_800))
    for _ in range(3):
        for k in range(1, 2 * search.WAYS_HELD):
            found = searcher.search("rna-test", vectors[k : k + 1], k, patients=allowed)
            assert found.hits[0][0].patient == f"P{k}"
            assert (found.candidates, found.notes) == (1_800, ())
    assert len({id(one.way) for one in searcher.ways()}) == 1
    assert len(searcher.ways()) == 2 * search.WAYS_HELD - 1
    with planned_no_more():
        searcher.search("rna-test", vectors[:1], 3, patients=allowed)


@pytest.mark.parametrize("k", [2_999, 3_000, 3_001, 2**40, np.int64(5)])
def test_any_number_of_neighbours_may_be_asked_for(store: Store, encoded, k: int) -> None:
    queries = one_each(store, encoded, 3)
    searcher = settled(store)
    batch = searcher.search("rna-test", queries, k, method="index")
    assert all(len(hits) == min(k, 3_000) for hits in batch.hits)
    for _ in range(3):
        alone = searcher.search("rna-test", queries[:1], k, method="index")
        assert alone.hits[0] == batch.hits[0]
        assert alone.candidates == batch.candidates <= 3_000


def test_rows_that_came_later_are_counted_among_those_looked_at(store: Store, encoded) -> None:
    queries = one_each(store, encoded, 45)
    before = settled(store).search("rna-test", queries, 5).candidates
    with store.writer("test") as writer:
        writer.commit([encoded([f"late{n}" for n in range(40)], vectors=queries[:40], seed=1)])
    for asked in (queries, queries[:1]):
        assert settled(store).search("rna-test", asked, 5).candidates == before + 40


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
@pytest.mark.parametrize("k", [10, 200, 1_500])
def test_a_rough_search_finds_as_many_and_nearly_the_same(
    store: Store, encoded, k: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca_sq8, "ONE_CELL", 1_000)
    queries = one_each(store, encoded, 20)
    with store.writer("test") as writer:
        writer.build_indexes(method=method, force=True)
    searcher = settled(store)
    exact = searcher.search("rna-test", queries, k, method="exact").hits
    for known in (False, True):
        with planned_no_more() if known and k < 1_500 else nullcontext():
            rough = [searcher.search("rna-test", query[None], k, method="index", rough=True) for query in queries]
        for one, best in zip(rough, exact, strict=True):
            assert len({hit.patient for hit in one.hits[0]}) == k
            assert [hit.score for hit in one.hits[0]] == sorted((hit.score for hit in one.hits[0]), reverse=True)
            assert one.hits[0][0].patient == best[0].patient
        assert share_of([one.hits[0] for one in rough], exact, k) > 0.9
    assert share_of(searcher.search("rna-test", queries, k, method="index", rough=True).hits, exact, k) > 0.9


def share_of(found, expected, k: int) -> float:
    """The mean share of the expected patients that were found."""
    of_each = [
        len({hit.patient for hit in some} & {hit.patient for hit in best}) / k
        for some, best in zip(found, expected, strict=True)
    ]
    return float(np.mean(of_each))


def test_a_batch_is_not_held_after_it_was_answered(store: Store, encoded) -> None:
    queries, searcher = one_each(store, encoded, 30), settled(store)
    for asked in (queries, queries[:1]):
        found = searcher.search("rna-test", asked, 7)
        assert found.hits
        known = weakref.ref(found)
        del found
        gc.collect()
        assert known() is None


@pytest.mark.parametrize("method", ["pca-sq8", "ivf-rabitq"])
@pytest.mark.parametrize("shared", [300, 1000])
def test_single_queries_find_as_much_as_a_batch_where_vectors_have_much_in_common(
    store: Store, encoded, shared: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pca_sq8, "ONE_CELL", 1_000)
    random = np.random.default_rng(4)
    vectors = random.standard_normal((400, DIM))[random.integers(0, 400, 5_060)] + random.standard_normal((5_060, DIM))
    vectors[:, 7] += shared
    with store.writer("test") as writer:
        writer.commit([encoded([f"P{n}" for n in range(5_000)], vectors=vectors[:5_000].astype(np.float32))])
        writer.build_indexes(method=method)
    queries, searcher = vectors[5_000:].astype(np.float32), settled(store)
    exact = searcher.search("rna-test", queries, 10, method="exact").hits
    batch = share_of(searcher.search("rna-test", queries, 10, method="index").hits, exact, 10)
    single = [searcher.search("rna-test", query[None], 10, method="index").hits[0] for query in queries]
    assert share_of(single, exact, 10) >= batch - 0.01
    with planned_no_more():
        again = [searcher.search("rna-test", query[None], 10, method="index").hits[0] for query in queries]
    assert again == single


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq"])
def test_a_rough_search_under_a_filter_finds_what_lies_far_from_the_query(store: Store, encoded, method: str) -> None:
    random = np.random.default_rng(5)
    cluster = random.integers(0, 20, 5_040)
    vectors = random.standard_normal((20, DIM))[cluster] + random.standard_normal((5_040, DIM))
    vectors = vectors.astype(np.float32)
    with store.writer("test") as writer:
        for kind, first in (("tumour", 0), ("normal", 10)):
            rows = np.flatnonzero((cluster[:5_000] >= first) & (cluster[:5_000] < first + 10))
            writer.commit([encoded([f"{kind}{row}" for row in rows], vectors=vectors[rows], kind=kind, digest=kind)])
        writer.build_indexes(method=method)
    queries, searcher = vectors[5_000:][cluster[5_000:] >= 10], Searcher(store)
    exact = searcher.search("rna-test", queries, 200, method="exact", kinds=("tumour",)).hits
    rough = searcher.search("rna-test", queries, 200, method="index", kinds=("tumour",), rough=True)
    assert rough.method == method
    assert share_of(rough.hits, exact, 200) > 0.8


def test_a_row_damaged_between_two_queries_is_told_of(store: Store, encoded) -> None:
    queries, searcher = one_each(store, encoded, 2)[:, None], settled(store)
    exact = Searcher(store).search("rna-test", queries[1], 3, method="exact")
    for _ in range(2):
        assert not searcher.search("rna-test", queries[0], 3).notes
    file = next((store.index_dir / "rna-test").glob("*.vectors"))
    row = int(exact.hits[0][0].patient[1:])
    with file.open("r+b") as handle:
        handle.seek(row * 4 * DIM)
        handle.write(b"\x01")
    found = searcher.search("rna-test", queries[1], 3)
    assert found.hits == exact.hits
    assert found.method == "exact"
    assert any("is not what was written" in note for note in found.notes)
    assert searcher.search("rna-test", queries[0], 3).method == "exact"


def test_the_sum_has_its_own_index(store: Store, encoded) -> None:
    rna, mutation = encoded(["A", "B", "C"]), encoded(["A", "B"], modality="mutation", seed=1)
    with store.writer("test") as writer:
        writer.commit([rna, mutation, encoded(["N"], kind="normal", seed=5)])
        writer.build_indexes()
    query = (rna.vectors[1] + mutation.vectors[1])[None]
    result = Searcher(store).search(SUM_SPACE, query, 5, method="index", kinds=("normal",))
    assert [hit.patient for hit in result.hits[0]][:1] == ["B"]
    assert len(result.hits[0]) == 3
    assert result.hits[0][0].sample is None
    assert result.method == "pca-sq8"
    assert result.table().column_names == ["query", "rank", "patient", "sample", "item", "score", "id"]


def test_bad_queries_are_refused(store: Store, encoded) -> None:
    with store.writer("test") as writer:
        writer.commit([encoded(["A"])])
    searcher = Searcher(store)
    good = np.ones((1, DIM), np.float32)
    for query in (np.zeros((1, DIM)), np.full((1, DIM), np.nan), np.full((1, DIM), np.inf)):
        with pytest.raises(InputError, match="zero or not finite"):
            searcher.search("rna-test", query.astype(np.float32), 3)
    for shape in (good[0], good[0, 0], good[None]):
        with pytest.raises(InputError, match="expected"):
            searcher.search("rna-test", shape, 3)
    with pytest.raises(UsageError, match="did you mean 'rna-test'"):
        searcher.search("rna-tset", good, 3)
    with pytest.raises(UsageError, match="at least 1"):
        searcher.search("rna-test", good, 0)
    with pytest.raises(UsageError, match="search method"):
        searcher.search("rna-test", good, 1, method="fast")
    assert searcher.search("rna-test", good, 3, patients=[]).hits == ((),)
    assert searcher.search("rna-test", good[:0], 3).hits == ()


def test_threads_may_share_a_searcher(large) -> None:
    store, queries = large
    searcher = Searcher(store)
    expected = {m: Searcher(store).search("rna-t", queries, 5, method=m).hits for m in ("index", "exact")}
    problems: list[object] = []

    def ask(place: int) -> None:
        for method in ("index", "exact"):
            hits = searcher.search("rna-t", queries[place : place + 1], 5, method=method).hits[0]
            if hits != expected[method][place]:
                problems.append((place, method))

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_a_query_of_a_small_space_imports_neither_faiss_nor_torch(large) -> None:
    program = (
        "import sys, numpy\nfrom molsig.index.store import Store\nfrom molsig.index.search import Searcher\n"
        "store = Store.open(sys.argv[1])\n"
        "_, vectors = store.embeddings_of('P0003')\n"
        "some = store.patient_ids()[:900]\n"
        "result = Searcher(store).search('rna-t', vectors[:1], 3, patients=some)\n"
        "assert result.hits[0][0].patient == 'P0003', result\n"
        "heavy = {'faiss', 'torch', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program, large[0].path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", ["pca-sq8", "rabitq", "ivf-rabitq", "hnsw"])
def test_filters_that_keep_or_drop_whole_groups_lose_nothing(
    store: Store, encoded, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As a condition on the cancer type does: what is kept of others lies far from the query, and close together."""
    monkeypatch.setattr(search, "EXACT_ROWS", 100)
    vectors, cluster, queries = Mixture(centres=40).draw(6_000, 60, seed=5)
    names = [f"P{n:04d}" for n in range(6_000)]
    with store.writer("test") as writer:
        writer.commit([encoded(names, vectors=vectors)])
        writer.build_indexes(["rna-test"], method=method)
    searcher = Searcher(store)
    for kept in (cluster % 4 == 0, cluster % 4 > 0):
        some = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
        exact, found = (
            searcher.search("rna-test", queries, 10, patients=some, method=how) for how in ("exact", "index")
        )
        shared = [
            len({hit.patient for hit in a} & {hit.patient for hit in b})
            for a, b in zip(exact.hits, found.hits, strict=True)
        ]
        assert np.mean(shared) >= 9.9
