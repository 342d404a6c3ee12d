"""The best of a query's candidates, of whom only some have their cosines worked out."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.retrieval.fused import WITHIN, _best


@pytest.mark.parametrize("k", [1, 10, 70, 1000])
@pytest.mark.parametrize("spread", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("n", [0, 1, 40, 500])
def test_the_best_are_those_of_a_full_sort(n: int, spread: float, k: int) -> None:
    random = np.random.default_rng(n + k)
    # Rounded, so that some tie: of these the earlier candidate comes first.
    same = np.round(-spread * random.random(n), 1)
    cosines = np.round(random.uniform(-1, 1, n), 1)
    asked: list[int] = []

    def some(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return cosines[rows]

    rows, scores = _best(same, some, k)
    expected = np.round(same + WITHIN * cosines, 9)
    assert rows.tolist() == np.argsort(-expected, kind="stable")[:k].tolist()
    assert scores.tolist() == expected[rows].tolist()
    assert len(set(asked)) == len(asked)
    if (n, spread, k) == (500, 30.0, 10):
        assert len(asked) < 150, "who is of another class is not looked at"
