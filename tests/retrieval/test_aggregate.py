"""Summed aggregates as an algebra."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from molsig.retrieval.aggregate import aggregate
from molsig.types import DIM


def blocks_of(seed: int, sizes: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, DIM)).astype(np.float32) for n in sizes]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 4), max_size=5), st.randoms())
def test_the_order_and_grouping_of_the_parts_do_not_show(seed: int, sizes: list[int], random: object) -> None:
    blocks = blocks_of(seed, sizes)
    rows = [row[None] for block in blocks for row in block]
    random.shuffle(rows)  # type: ignore[attr-defined]
    np.testing.assert_allclose(aggregate(blocks), aggregate(rows), rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_an_aggregate_of_aggregates_is_the_aggregate_of_all(seed: int) -> None:
    first, second = blocks_of(seed, [3, 2])
    split = aggregate([aggregate([first])[None], aggregate([second])[None]])
    np.testing.assert_allclose(split, aggregate([first, second]), rtol=1e-5, atol=1e-5)


def test_nothing_sums_to_the_zero_vector() -> None:
    total = aggregate([])
    assert total.shape == (DIM,)
    assert total.dtype == np.float32
    assert not total.any()
