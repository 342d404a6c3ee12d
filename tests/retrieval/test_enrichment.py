"""Enrichment against numbers calculated by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from molsig.errors import InputError, UsageError
from molsig.retrieval.enrichment import enriched

POOL = [f"G{i:02}" for i in range(20)]
SETS = {"first": POOL[:5], "middle": POOL[3:13], "rest": POOL[14:], "one": POOL[:1]}


def by_hand(k: int, size: int, drawn: int, pool: int) -> float:
    """P(X >= k) by counting draws."""
    ways = sum(comb(size, i) * comb(pool - size, drawn - i) for i in range(k, min(size, drawn) + 1))
    return float(Fraction(ways, comb(pool, drawn)))


def test_p_and_q_are_those_of_a_hand_calculation() -> None:
    found = enriched(POOL[:4], SETS, POOL, least=2)
    by = {one.name: one for one in found.sets}
    # Four of twenty drawn, all four in a set of five: C(5,4) / C(20,4) = 5 / 4845.
    assert by["first"].p == pytest.approx(5 / 4845, rel=1e-12)
    assert by["middle"].p == pytest.approx(by_hand(1, 10, 4, 20), rel=1e-12)
    assert by["rest"].p == 1
    # Three tests: the smallest p times 3, the next times 3 / 2 and not above the last.
    assert by["first"].q == pytest.approx(3 * 5 / 4845, rel=1e-12)
    assert by["middle"].q == pytest.approx(min(1, 1.5 * by["middle"].p), rel=1e-12)
    assert [one.name for one in found.sets] == ["first", "middle", "rest"]
    assert by["first"].hits == ("G00", "G01", "G02", "G03")
    assert by["first"].expected == pytest.approx(1)
    assert by["first"].fold == pytest.approx(4)
    assert by["rest"].hits == ()
    assert (found.genes, found.background, found.too_small, found.too_large) == (4, 20, 1, 0)
    assert found.significant() == 1


def test_the_background_decides() -> None:
    narrow = enriched(POOL[:4], SETS, POOL[:5], least=2)
    assert narrow.sets[0].p == 1
    default = enriched(POOL[:4], SETS, least=2)
    assert default.background == 19  # G13 is in no set
    wide = enriched([*POOL[:4], "ELSE"], SETS, POOL, least=2)
    assert wide.outside == ("ELSE",)
    assert wide.sets[0].p == pytest.approx(5 / 4845)


def test_what_cannot_be_tested_is_told() -> None:
    with pytest.raises(InputError, match="none of the 1 genes is in the gene sets: ENSG1 beside G00"):
        enriched(["ENSG1"], SETS)
    with pytest.raises(InputError, match="none of the 1 genes is in the background"):
        enriched(["ENSG1"], SETS, POOL)
    with pytest.raises(InputError, match="no gene of the sets is in the background"):
        enriched(["A"], SETS, ["A", "B"])
    with pytest.raises(InputError, match="none of the 4 sets has 15 to 500 genes"):
        enriched(POOL[:4], SETS, POOL, least=15)
    with pytest.raises(UsageError, match="sets of 3 to 2 genes"):
        enriched(POOL[:4], SETS, POOL, least=3, most=2)
