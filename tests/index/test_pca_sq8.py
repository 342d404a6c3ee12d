"""Codes along leading directions: the same rows by every way, those of a float64 scan, and what they do not suit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from molsig.evaluate.clustered import Mixture
from molsig.index import pca_sq8
from molsig.index.pca_sq8 import LANES, PcaSq8
from molsig.index.rabitq import FlatRabitq
from molsig.index.structure import unit
from molsig.types import DIM

WIDEST = 3

needs_compiled = pytest.mark.skipif(not pca_sq8.compiled(), reason="the compiled parts were not built")


def filled(rows: int, cells: int, seed: int = 0, *, intrinsic: int = 32) -> tuple[PcaSq8, NDArray[np.float32]]:
    """A structure over clustered vectors, and 40 queries."""
    vectors, _, queries = Mixture(centres=20, intrinsic=intrinsic).draw(rows, 40, seed)
    structure = PcaSq8(cells)
    structure.train(unit(vectors), seed)
    structure.add(unit(vectors), np.arange(rows))
    return structure, unit(queries)


def lines(found: NDArray[np.int64]) -> list[list[int]]:
    """What was proposed to each query, by number."""
    return [sorted(row.tolist()) for row in found]


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(pca_sq8, "_compiled", None)
        yield


@needs_compiled
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 900),
    cells=st.sampled_from([1, 1, 3, 17, 40]),
    depth=st.integers(1, 300),
    effort=st.integers(1, 40),
    seed=st.integers(0, 5),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]),
    intrinsic=st.sampled_from([20, 90, 250]),
    narrower=st.booleans(),
)
def test_every_way_proposes_the_same_rows(
    rows: int, cells: int, depth: int, effort: int, seed: int, share: float | None, intrinsic: int, narrower: bool
) -> None:
    """Compiled for every processor, query by query and in a batch, and by numpy; under filters and not."""
    structure, queries = filled(rows, min(cells, rows), seed, intrinsic=intrinsic)
    kept = opened = None
    if share is not None:
        random = np.random.default_rng(seed)
        there = random.random(rows) < share
        opened = structure.cells_with(there)
        # What is taken out of play later is still told of.
        kept = np.packbits(there & (random.random(rows) < (0.7 if narrower else 1.0)), bitorder="little")
    built = pca_sq8._compiled
    try:
        answers = []
        for level in range(WIDEST + 1):
            built.use(level)
            answers.append(lines(structure.search(queries, depth, effort, kept, opened)))
            one_by_one = [structure.search(query[None], depth, effort, kept, opened) for query in queries[:9]]
            assert lines(np.concatenate(one_by_one)) == answers[-1][:9]
        assert all(answer == answers[0] for answer in answers)
        if opened is not None:
            built.use(WIDEST)
            unaware = replace(opened, lanes=None)
            assert lines(structure.search(queries, depth, effort, kept, unaware)) == answers[0]
        pca_sq8._compiled = None
        assert lines(structure.search(queries, depth, effort, kept, opened)) == answers[0]
    finally:
        pca_sq8._compiled = built
        built.use(WIDEST)


@pytest.mark.parametrize("way", ["compiled", "by_numpy"])
def test_what_is_proposed_are_the_best_codes_of_the_nearest_cells(way: str, request: pytest.FixtureRequest) -> None:
    """As told in `pca_sq8`, step by step in float64."""
    if way == "by_numpy":
        request.getfixturevalue("by_numpy")
    elif not pca_sq8.compiled():
        pytest.skip("the compiled parts were not built")
    rows, effort, depth = 700, 4, 25
    structure, queries = filled(rows, 20)
    known, blocks = structure._known(), structure._whole()
    numbers, cells = blocks.rows.ravel(), blocks.all_cells
    basis = known.basis.astype(np.float64) / pca_sq8.UNIT
    centres = known.centres.astype(np.float64) / pca_sq8.CENTRE_UNIT
    codes = blocks.all_codes.astype(np.float64)
    found = structure.search(queries, depth, effort)
    for query, proposed in zip(queries.astype(np.float64), found, strict=True):
        along = basis @ query
        distances = ((along - known.shift - centres) ** 2).sum(axis=1)
        nearest = np.argsort(distances)[:effort]
        there = np.isin(cells, nearest) & (numbers >= 0)
        scores = np.where(there, codes @ along, -np.inf)
        best = numbers[np.argsort(-scores)[: min(depth, int(there.sum()))]]
        # A query is rounded to steps of 1 / 8,000: the last places may go to another of nearly equal rows.
        assert len(set(best.tolist()) & set(proposed[proposed >= 0].tolist())) >= len(best) - 1


def test_few_directions_tell_enough_where_there_are_few() -> None:
    structure, queries = filled(3_000, 1)
    assert structure.parameters() == {"directions": 32, "bits": 8, "cells": 1}
    assert structure.suits
    assert structure.cost(16, 1) < structure.cost(32, 1) < FlatRabitq.empty(3_000).cost(32, 0) + 3_000
    vectors = unit(Mixture(centres=20).draw(3_000, 40, 0)[0])
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found = structure.search(queries, 20, 1)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]) >= 9.9


def test_vectors_without_leading_directions_are_left_to_others() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((3_000, DIM)).astype(np.float32))
    structure = PcaSq8(1)
    structure.train(vectors, 0)
    structure.add(vectors, np.arange(3_000))
    assert structure.parameters()["directions"] == pca_sq8.DIRECTIONS[-1]
    assert not structure.suits


@pytest.mark.parametrize("cells", [1, 12])
def test_it_is_read_as_it_was_written_and_grows(cells: int) -> None:
    structure, queries = filled(500, cells)
    again = PcaSq8.from_bytes(structure.serialised())
    assert (again.rows, again.cells, again.told, again.parameters()) == (
        500,
        cells,
        structure.told,
        structure.parameters(),
    )
    np.testing.assert_array_equal(again.search(queries, 30, 5), structure.search(queries, 30, 5))
    np.testing.assert_array_equal(again.serialised(), structure.serialised())
    more = unit(Mixture(centres=20).draw(730, 1, 0)[0])[500:]
    again.add(more[:100], np.arange(500, 600))
    assert again.rows == 600
    again.add(more[100:], np.arange(600, 730))
    at_once = PcaSq8.from_bytes(structure.serialised())
    at_once.add(more, np.arange(500, 730))
    assert again.rows == at_once.rows == 730
    assert lines(again.search(queries, 300, 12)) == lines(at_once.search(queries, 300, 12))
    assert set(again.search(queries[:1], 730, cells)[0].tolist()) == set(range(730))


def test_codes_begin_where_a_line_of_the_cache_does() -> None:
    structure, _ = filled(90, 3)
    for one in (structure, PcaSq8.from_bytes(structure.serialised())):
        blocks = one._whole()
        assert blocks.codes.ctypes.data % 64 == 0
        assert blocks.codes.shape[1:] == (len(one._known().basis) // 2, LANES, 2)
        assert blocks.count == 90


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((1, DIM), np.float32),
        np.zeros((50, DIM), np.float32),
        np.tile(np.eye(1, DIM, dtype=np.float32), (50, 1)),
        np.concatenate([np.tile(np.eye(1, DIM, dtype=np.float32), (60, 1)), -np.eye(5, DIM, dtype=np.float32)]),
    ],
    ids=["one", "zeros", "equal", "opposite"],
)
@pytest.mark.parametrize("cells", [1, 5])
def test_odd_vectors_are_served(vectors: NDArray[np.float32], cells: int) -> None:
    vectors = unit(vectors)
    structure = PcaSq8(min(cells, len(vectors)))
    structure.train(vectors, 0)
    structure.add(vectors, np.arange(len(vectors)))
    found = structure.search(unit(np.ones((5, DIM), np.float32)), len(vectors), structure.cells)
    assert lines(found) == [list(range(len(vectors)))] * 5
    assert structure.rows == len(vectors)


def test_nothing_is_answered_before_anything_is_learned() -> None:
    with pytest.raises(RuntimeError, match="train it before"):
        PcaSq8(1).search(np.ones((1, DIM), np.float32), 3, 1)
    empty = PcaSq8(1)
    empty.train(unit(Mixture(centres=3).draw(30, 1, 0)[0]), 0)
    assert empty.search(np.ones((2, DIM), np.float32), 3, 1).shape == (2, 0)


@needs_compiled
def test_the_largest_numbers_there_can_be_are_summed_exactly() -> None:
    """Codes of +-127 along 256 directions, and queries that lie along them: sums reach 2^24 and no further."""
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((600, DIM)).astype(np.float32))
    structure = PcaSq8(1)
    structure.train(vectors, 0)
    structure.add(vectors, np.arange(600))
    known, blocks = structure._known(), structure._whole()
    assert len(known.basis) == 256
    blocks.codes[:] = np.where(random.random(blocks.codes.shape) < 0.5, -127, 127)
    own = blocks.all_codes[:40].astype(np.float64) @ (known.basis.astype(np.float64) / pca_sq8.UNIT)
    queries = unit(own.astype(np.float32))
    numbers = pca_sq8._numbers(known, queries).astype(np.int64)
    scores = numbers @ blocks.all_codes.astype(np.int64).T
    assert 15_000_000 < scores.max() < 1 << 24
    found = structure.search(queries, 1, 1)[:, 0]
    np.testing.assert_array_equal(found, np.argmax(np.where(blocks.rows.ravel() >= 0, scores, 0), axis=1))
    np.testing.assert_array_equal(found, np.arange(40))


@pytest.mark.parametrize("way", ["compiled", "by_numpy"])
def test_what_is_no_direction_harms_nothing(way: str, request: pytest.FixtureRequest) -> None:
    if way == "by_numpy":
        request.getfixturevalue("by_numpy")
    structure, _ = filled(300, 5)
    odd = np.stack([np.full(DIM, value, np.float32) for value in (np.nan, np.inf, -np.inf, 1e30, -1.0, 0.0)])
    with np.errstate(invalid="ignore", over="ignore"):
        found = structure.search(odd, 20, 3)
    assert found.shape == (6, 20)
    assert found.max() < 300
    assert (structure.search(odd, 20, 3, None, structure.cells_with(np.zeros(300, bool))) == -1).all()


@pytest.mark.parametrize("cells", [1, 12])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 1.0])
def test_it_is_told_where_in_its_blocks_rows_lie(cells: int, share: float) -> None:
    structure, _ = filled(700, cells)
    meant = np.random.default_rng(1).random(700) < share
    told, blocks = structure.cells_with(meant), structure._whole()
    assert told.lanes is not None
    bits = told.lanes[:, None] >> np.arange(LANES) & 1
    assert set(blocks.rows[bits == 1].tolist()) == set(np.flatnonzero(meant).tolist())
    # One cell cannot tell whether what is kept lies apart.
    assert told.uneven == 1 if cells == 1 else told.uneven < 1


@needs_compiled
def test_arrays_that_do_not_go_together_are_refused() -> None:
    structure, queries = filled(100, 4)
    known, blocks = structure._known(), structure._whole()
    found = np.empty((len(queries), 5), np.int64)
    good = [
        queries,
        known.basis,
        known.in_blocks,
        known.padded_biases,
        blocks.starts,
        blocks.codes,
        blocks.rows,
        None,
        None,
        None,
        found,
        2,
    ]
    propose = pca_sq8._compiled.propose
    propose(*good)
    wrong = {
        0: queries[:, 1:],
        1: known.basis[:, :5].copy(),
        2: known.in_blocks[:, :3].copy(),
        3: known.padded_biases[1:],
        4: blocks.starts[::-1].copy(),
        5: blocks.codes[1:],
        6: blocks.rows[1:],
        8: np.zeros(0, np.uint8),
        9: np.zeros(len(blocks.rows) - 1, np.uint16),
        10: found[:, 0][:7].copy(),
        11: 5,
    }
    for place, value in wrong.items():
        with pytest.raises((ValueError, BufferError)):
            propose(*good[:place], value, *good[place + 1 :])
    for place, value in {
        0: queries.astype(np.float64),
        5: blocks.codes.view(np.uint8),
        9: blocks.rows,
        11: "2",
    }.items():
        with pytest.raises(TypeError):
            propose(*good[:place], value, *good[place + 1 :])
    with pytest.raises(TypeError, match="11 arrays"):
        propose(*good[:3])
    # Bits for fewer rows than there are keep none of the others.
    propose(*good[:7], np.full(2, 255, np.uint8), None, None, found, 4)
    assert found.max() < 16
