"""Which items of two patients are alike beyond what all such items are, and how alike a pair is among pairs."""

from __future__ import annotations

import numpy as np

from molsig.retrieval.explain_items import closest
from molsig.types import DIM

RNG = np.random.default_rng(3)


def near(way: np.ndarray, n: int, spread: float) -> np.ndarray:
    """Vectors around a direction."""
    return (way + RNG.normal(0, spread, (n, DIM)) / np.sqrt(DIM)).astype(np.float32)


def test_what_stands_in_every_report_comes_last() -> None:
    formalin, liver, *rest = np.linalg.qr(RNG.normal(size=(DIM, 12)))[0].T
    query = np.concatenate([near(formalin, 1, 0.1), near(liver, 1, 0.5), near(rest[0], 1, 0.3)])
    hit = np.concatenate([near(rest[1], 1, 0.3), near(formalin, 1, 0.1), near(liver, 1, 0.5)])
    others = np.concatenate([near(formalin, 40, 0.1), *(near(one, 10, 0.3) for one in rest[2:])])
    found = closest(query, hit, others, 1)
    assert [(one.query, one.hit, one.nearest) for one in found] == [(1, 2, False), (0, 1, True)]
    assert found[1].cosine > found[0].cosine
    assert found[0].beyond > found[1].beyond
    # Without anybody else nothing is common.
    alone = closest(query, hit, others[:0], 2)
    assert [(one.query, one.hit) for one in alone] == [(0, 1), (1, 2)]
    assert alone[0].beyond == 2 * alone[0].cosine


def test_no_item_is_taken_twice() -> None:
    query, hit = near(np.ones(DIM), 2, 5.0), near(np.ones(DIM), 4, 5.0)
    found = closest(query, hit, near(np.ones(DIM), 30, 5.0), 10)
    taken = found[:2]
    assert len({one.query for one in taken}) == len({one.hit for one in taken}) == 2
    assert sum(one.nearest for one in found) == 1
