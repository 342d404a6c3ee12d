"""Columns between numpy and Arrow: any type, slice and number of chunks, without pyarrow.compute."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.index.arrays import booleans, integers, integers_to_arrow, vectors_from_arrow, vectors_to_arrow
from molsig.types import DIM

SLICES = st.tuples(st.integers(0, 40), st.integers(0, 40))


@settings(deadline=None)  # The first array asks for pandas.
@given(
    st.lists(st.integers(0, 120), max_size=40),
    st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]),
    SLICES,
)
def test_integers_of_any_width_are_read_through_any_slice(values: list[int], kind: str, cut: tuple[int, int]) -> None:
    column = pa.array(values, pa.type_for_alias(kind))
    found = integers(column.slice(*cut))
    assert found.dtype == np.int64
    assert found.tolist() == values[cut[0] : sum(cut)]
    several = pa.chunked_array([column, column.slice(*cut)], type=column.type)
    assert integers(several).tolist() == values + values[cut[0] : sum(cut)]


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=40), SLICES)
def test_booleans_are_read_through_any_slice(values: list[bool], cut: tuple[int, int]) -> None:
    column = pa.array(values, pa.bool_())
    found = booleans(column.slice(*cut))
    assert found.dtype == np.bool_
    assert found.tolist() == values[cut[0] : sum(cut)]
    several = pa.chunked_array([column, column.slice(*cut)], type=column.type)
    assert booleans(several).tolist() == values + values[cut[0] : sum(cut)]


def test_vectors_are_read_through_any_slice() -> None:
    vectors = np.random.default_rng(0).standard_normal((6, DIM), dtype=np.float32)
    column = vectors_to_arrow(vectors)
    np.testing.assert_array_equal(vectors_from_arrow(column), vectors)
    np.testing.assert_array_equal(vectors_from_arrow(column.slice(2, 3)), vectors[2:5])
    several = pa.chunked_array([column.slice(4), column.slice(1, 1).slice(0), column.slice(6)])
    np.testing.assert_array_equal(vectors_from_arrow(several), vectors[[4, 5, 1]])
    with pytest.raises(ValueError, match="1 of 2 vectors are null"):
        vectors_from_arrow(pa.array([vectors[0].tolist(), None], column.type))


def test_a_column_without_a_chunk_is_empty() -> None:
    assert integers(pa.chunked_array([], pa.int32())).dtype == np.int64
    assert booleans(pa.chunked_array([], pa.bool_())).dtype == np.bool_


def test_a_null_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="1 of 2 values are null"):
        integers(pa.array([1, None], pa.int64()))
    with pytest.raises(ValueError, match="1 of 2 values are null"):
        booleans(pa.array([True, None], pa.bool_()))


def test_there_and_back() -> None:
    values = np.array([-(2**62), 0, 5], np.int64)
    assert np.array_equal(integers(integers_to_arrow(values)), values)


def test_reading_them_does_not_load_pyarrow_compute() -> None:
    program = (
        "import sys, duckdb\nfrom molsig.index.arrays import booleans, integers\n"
        "table = duckdb.sql('SELECT range::INTEGER AS i, range > 1 AS b FROM range(3)').to_arrow_table()\n"
        "assert integers(table['i']).tolist() == [0, 1, 2] and booleans(table['b']).tolist() == [False, False, True]\n"
        "assert 'pyarrow.compute' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
