"""Patients by the mean of their best rows are those that a scan of all rows finds."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.index.top_rows import search_by_mean
from molsig.types import DIM, Encoded, SampleId

KINDS = ("tumour", "normal")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, np.ndarray]:
    """6,000 tiles of 150 patients of one to eighty each, in clusters that patients share, and 12 queries."""
    random = np.random.default_rng(6)
    owner = np.sort(random.choice(150, 6_000, p=random.dirichlet(np.ones(150))))
    centres = random.standard_normal((30, DIM))
    vectors = (centres[(owner * 7 + random.integers(0, 5, 6_000)) % 30] + random.standard_normal((6_000, DIM))).astype(
        np.float32
    )
    samples = tuple(
        SampleId(f"S{who:03d}-{KINDS[n % 9 == 0]}", f"P{who:03d}", KINDS[n % 9 == 0]) for n, who in enumerate(owner)
    )
    store = Store.create(tmp_path_factory.mktemp("tiles") / "r.molsig")
    with store.writer("test") as writer:
        items, digests = tuple(map(str, range(6_000))), tuple(f"{n:064x}" for n in range(6_000))
        writer.commit([Encoded("tile", "tile-t", samples, items, vectors, digests)])
        writer.build_indexes(method="ivf-rabitq")
    return store, (centres[random.integers(0, 30, 12)] + random.standard_normal((12, DIM))).astype(np.float32)


def scan(store: Store, query: np.ndarray, k: int, top: int, kinds=None, patients=None) -> list[tuple[str, float]]:
    rows, (_, vectors) = store.rows("tile-t"), store.vectors("tile-t")
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = unit @ (query.astype(np.float64) / np.linalg.norm(query.astype(np.float64)))
    of: dict[str, list[float]] = {}
    for patient, kind, cosine in zip(rows["patient"].to_pylist(), rows["kind"].to_pylist(), cosines, strict=True):
        if (kinds is None or kind in kinds) and (patients is None or patient in patients):
            of.setdefault(patient, []).append(float(cosine))
    means = {patient: float(np.mean(sorted(found)[::-1][:top])) for patient, found in of.items()}
    return sorted(means.items(), key=lambda one: (-one[1], one[0]))[:k]


@pytest.mark.parametrize("method", ["exact", "index"])
@pytest.mark.parametrize(("top", "kinds", "share"), [(1, None, 1), (5, None, 1), (5, ("tumour",), 1), (12, None, 3)])
def test_means_are_those_of_a_scan(tiles, method: str, top: int, kinds, share: int) -> None:
    store, queries = tiles
    some = None if share == 1 else tuple(store.patient_ids()[::share])
    found = search_by_mean(Searcher(store), "tile-t", queries, 7, top, kinds=kinds, patients=some, method=method)
    for query, hits in zip(queries, found.hits, strict=True):
        expected = scan(store, query, 7, top, kinds, some)
        assert [hit.patient for hit in hits] == [patient for patient, _ in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], atol=1e-6)


def test_not_all_rows_are_read(tiles) -> None:
    store, queries = tiles
    found = search_by_mean(Searcher(store), "tile-t", queries, 2, 3, method="index")
    assert found.method == "ivf-rabitq"
    assert 0 < found.candidates < 3_000
    assert len(search_by_mean(Searcher(store), "tile-t", queries[:1], 900, 3).hits[0]) == len(store.patient_ids())
    assert search_by_mean(Searcher(store), "tile-t", queries[:0], 3, 3).hits == ()


def test_one_patient_with_many_like_tiles_does_not_hide_the_others(
    store: Store,
) -> None:
    """The nearest 3,000 rows are one patient's: the search goes on among the rows of the others."""
    random = np.random.default_rng(2)
    query = random.standard_normal(DIM).astype(np.float32)
    near = query + 0.05 * random.standard_normal((3_000, DIM)).astype(np.float32)
    own = random.standard_normal((60, DIM))[np.arange(3_000) % 60]
    far = (own + 0.3 * random.standard_normal((3_000, DIM))).astype(np.float32)
    samples = (SampleId("S-big", "P-big"),) * 3_000 + tuple(
        SampleId(f"S{n % 60}", f"P{n % 60:02d}") for n in range(3_000)
    )
    items, digests = tuple(map(str, range(6_000))), tuple(f"{n:064x}" for n in range(6_000))
    with store.writer("test") as writer:
        writer.commit([Encoded("tile", "tile-t", samples, items, np.concatenate([near, far]), digests)])
        writer.build_indexes(["tile-t"], method="ivf-rabitq")
    searcher = Searcher(store)
    exact, found = (searcher.search("tile-t", query[None], 10, method=method) for method in ("exact", "index"))
    assert found.method == "ivf-rabitq"
    assert not found.notes
    assert found.hits[0][0].patient == "P-big"
    ours, theirs = ({hit.patient for hit in one.hits[0]} for one in (found, exact))
    assert len(ours & theirs) >= 9
    narrow = searcher.search("tile-t", query[None], 5, method="index", kinds=("tumour",), exclude=["P-big"])
    assert "P-big" not in {hit.patient for hit in narrow.hits[0]}
