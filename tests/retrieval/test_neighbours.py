"""Cosines of found patients, each through their best row, whether few or many rows are theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molsig.index.scoring import directions, score_pairs
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.retrieval.neighbours import Neighbours
from molsig.types import DIM, Encoded, SampleId


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 30])
def test_a_patient_s_cosine_is_that_of_their_best_row(tmp_path: Path, rows: int, held: bool) -> None:
    random = np.random.default_rng(rows)
    names = [f"P{n % 9}" for n in range(9 * rows)]
    samples = tuple(SampleId(f"{name}-01", name) for name in names)
    vectors = (random.standard_normal((len(names), DIM)) * random.uniform(0.1, 9, (len(names), 1))).astype(np.float32)
    # Two rows of a patient that are equal, and one that is all but so.
    if rows > 2:
        vectors[9], vectors[18] = vectors[0], vectors[0] * np.float32(1 + 1e-6)
    items = tuple(map(str, range(len(names))))
    store = Store.create(tmp_path / "r.molsig")
    with store.writer("test") as writer:
        writer.commit([Encoded("report", "space", samples, items, vectors, items)])
    searcher = Searcher(store)
    if held:
        searcher.view("space")
    asked = ["P7", "P0", "nobody", "P3"]
    query = (vectors[0] + 0.1 * random.standard_normal(DIM)).astype(np.float32)
    found = Neighbours(store, searcher, ["space"], asked).cosines("space", query, asked)
    every = np.arange(len(names))
    scores = score_pairs(directions(query[None]), np.zeros_like(every), vectors, every)
    expected = {
        name: max(s for s, own in zip(scores.tolist(), names, strict=True) if own == name) for name in asked[:2]
    }
    assert {name: found[name] for name in asked[:2]} == expected
    assert list(found) == ["P7", "P0", "P3"]


def test_a_best_row_too_short_for_float32_to_square_is_found(tmp_path: Path) -> None:
    vectors = np.random.default_rng(2).standard_normal((8, DIM)).astype(np.float32)
    query = vectors[3].copy()
    vectors[3] *= np.float32(1e-24)
    vectors[5] = 0
    items = tuple(map(str, range(8)))
    store = Store.create(tmp_path / "r.molsig")
    with store.writer("test") as writer:
        writer.commit([Encoded("report", "space", (SampleId("A-01", "A"),) * 8, items, vectors, items)])
    found = Neighbours(store, Searcher(store), ["space"], ["A"]).cosines("space", query, ["A"])
    assert found["A"] == pytest.approx(1.0)
