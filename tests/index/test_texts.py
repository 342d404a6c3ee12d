"""Texts picked out of Arrow columns: the same as Arrow's own, whatever the column looks like."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.index.texts import Texts


@settings(deadline=None)
@given(
    st.lists(st.none() | st.text(max_size=5), max_size=20),
    st.sampled_from([pa.string(), pa.large_string()]),
    st.integers(0, 20),
    st.randoms(),
)
def test_texts_are_those_of_the_column(values, kind, first, chance) -> None:
    column = pa.array(values, kind).slice(min(first, len(values)))
    rows = [chance.randrange(len(column)) for _ in range(7)] if len(column) else []
    assert Texts(column).at(np.array(rows, np.int64)) == [column[row].as_py() for row in rows]


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_texts_asked_for_often_stay_the_same(missing: int) -> None:
    values = [None if n % 4 < missing else f"é{n % 7}" for n in range(200)]
    texts, rows = Texts(pa.array(values, pa.string())), np.arange(200)[::-1]
    for _ in range(4):
        assert texts.at(rows) == values[::-1]
        assert texts.at(rows[:2]) == values[::-1][:2]


def test_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        Texts(pa.array([1, 2]))
