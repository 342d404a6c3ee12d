"""Cosines and the best rows are the same bits compiled and by numpy, and those that their definition gives."""

from __future__ import annotations

import math
import shutil
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molsig.index import cosines, pca_sq8
from molsig.index.best_rows import best_rows
from molsig.index.scoring import both_directions, directions, precise_lengths, score_pairs
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RANDOM = np.random.default_rng(11)

compiled_only = pytest.mark.skipif(
    cosines.best_of_rows() is None, reason="molsig was installed without a compiler: nothing to compare with"
)


@pytest.mark.skipif(sysconfig.get_config_var("CC") is None, reason="Python does not say what it was compiled with")
def test_the_compiled_parts_are_there_where_a_compiler_is() -> None:
    compiler = shutil.which(str(sysconfig.get_config_var("CC")).split()[0])
    header = Path(sysconfig.get_path("include"), "Python.h")
    if compiler is None or not header.exists():
        pytest.skip("no C compiler, or no headers of Python")
    assert cosines.best_of_rows() is not None, "molsig/index/_cosines.c was not built: make setup says why"
    assert pca_sq8.compiled(), "molsig/index/_pca_sq8.c was not built: make setup says why"


@pytest.fixture
def by_numpy() -> Iterator[Any]:
    """Call something without the compiled parts."""

    def call(what: Any, *arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(cosines, "_compiled", None)
            return what(*arguments)

    return call


def folded(products: list[float]) -> float:
    """Add numbers up as the module says it does, one by one."""
    sums = [0.0] * cosines.LANES
    for number, product in enumerate(products):
        sums[number % cosines.LANES] += product
    while len(sums) > 1:
        half = len(sums) // 2
        sums = [sums[lane] + sums[lane + half] for lane in range(half)]
    return sums[0]


def test_scores_are_those_of_the_definition(by_numpy: Any) -> None:
    vectors = RANDOM.standard_normal((40, DIM)).astype(np.float32)
    asked = RANDOM.standard_normal((1, DIM)).astype(np.float32)
    numbers = asked[0].astype(float).tolist()
    length = math.sqrt(folded([x * x for x in numbers]))
    unit = [x / length for x in numbers]
    lengths = precise_lengths(vectors).tolist()
    expected = [
        np.float32(folded([x * y for x, y in zip(row, unit, strict=True)]) / own)
        for row, own in zip(vectors.astype(float).tolist(), lengths, strict=True)
    ]
    for way in (lambda what, *given: what(*given), by_numpy):
        direction = way(directions, asked)
        assert direction[0].tolist() == unit
        assert way(score_pairs, direction, np.zeros(40, np.int64), vectors, np.arange(40)).tolist() == expected


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 3, 700])
def test_directions_are_the_same_bits(count: int, kind: type, by_numpy: Any) -> None:
    given = (RANDOM.standard_normal((count, DIM)) * 10.0 ** RANDOM.integers(-9, 9, (count, 1))).astype(kind)
    for some in (given, given[::-1]):
        units, rounded = both_directions(some)
        other, other_rounded = by_numpy(both_directions, some)
        assert units.dtype == other.dtype == np.float64
        assert rounded.dtype == other_rounded.dtype == np.float32
        assert units.tobytes() == other.tobytes()
        assert rounded.tobytes() == other_rounded.tobytes()


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_the_first_vector_without_a_direction_is_told(bad: float, by_numpy: Any) -> None:
    given = RANDOM.standard_normal((9, DIM)).astype(np.float32)
    given[5], given[7] = bad, bad
    assert cosines.unit(given)[2] == by_numpy(cosines.unit, given)[2] == 5
    assert cosines.unit(given[:5])[2] == by_numpy(cosines.unit, given[:5])[2] == -1


@pytest.mark.parametrize("pairs", [0, 1, 63, 64, 65, 2_000])
def test_pairs_score_the_same_bits(pairs: int, by_numpy: Any) -> None:
    vectors = RANDOM.standard_normal((300, DIM)).astype(np.float32)
    vectors[17] = 0
    asked = directions(RANDOM.standard_normal((9, DIM)).astype(np.float32))
    queries, rows = RANDOM.integers(0, 9, pairs), RANDOM.integers(0, 300, pairs)
    given = (asked, queries, vectors, rows)
    scores = score_pairs(*given)
    assert scores.tobytes() == by_numpy(score_pairs, *given).tobytes()
    assert np.array_equal(scores, score_pairs(*given, precise_lengths(vectors)[rows]))
    assert (scores[rows == 17] == 0).all()
    # Not in one piece.
    assert np.array_equal(score_pairs(asked, queries, vectors[::2], rows // 2), score_pairs(*given[:3], rows // 2 * 2))


def rows_file(vectors: NDArray[np.float32]) -> Any:
    """What `best_rows` looks at of a file of rows."""
    lengths = precise_lengths(vectors)
    return SimpleNamespace(matrix=vectors, lengths=lengths)


@compiled_only
@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 60), st.sampled_from([1, 2, 10, 70]), st.floats(0, 0.9)
)
def test_the_best_rows_are_those_of_a_plain_sort(seed: int, queries: int, depth: int, k: int, missing: float) -> None:
    random = np.random.default_rng(seed)
    # Many rows are alike, some all but alike, so that scores tie or differ in the last bit.
    vectors = random.standard_normal((6, DIM)).astype(np.float32)[random.integers(0, 6, 80)]
    vectors[::3, 5] += random.choice([0, 1e-6, 1e-3], 27).astype(np.float32)
    vectors[7] = 0
    codes = random.permutation(80).astype(np.int32)
    file = rows_file(vectors)
    asked, rounded = both_directions(random.standard_normal((queries, DIM)).astype(np.float32))
    rows = np.array([random.permutation(80)[:depth] for _ in range(queries)], np.int64)
    rows[random.random(rows.shape) < missing] = -1
    compiled = best_rows(file, codes, asked, rounded, rows, k)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cosines, "_compiled", None)
        sifted = best_rows(file, codes, asked, rounded, rows, k)
    for number, line in enumerate(rows):
        some = line[line >= 0]
        scores = score_pairs(asked, np.full(len(some), number), vectors, some)
        order, most = np.lexsort((codes[some], -scores))[:k], min(k, depth)
        for found, own in (compiled, sifted):
            assert found[number].tolist() == [*some[order].tolist(), *[-1] * (most - len(order))]
            assert own[number].tolist() == [*scores[order].tolist(), *[0.0] * (most - len(order))]


@compiled_only
def test_the_nearest_cells_are_chosen_best_first() -> None:
    choose = cosines.nearest_cells()
    centres = directions(RANDOM.standard_normal((300, DIM)).astype(np.float32))
    steps = np.rint(centres * cosines.UNIT).astype(np.int16)
    for query in both_directions(RANDOM.standard_normal((30, DIM)).astype(np.float32))[1]:
        cells = np.empty(40, np.int64)
        choose(query, steps, cells)
        products = centres @ query
        assert len(set(cells.tolist())) == 40
        # 16 bits may swap what differs by less than they tell apart.
        assert np.abs(products[cells] - np.sort(products)[::-1][:40]).max() < 1e-4


@compiled_only
def test_the_longest_vectors_along_one_axis_do_not_overflow() -> None:
    choose, cells = cosines.nearest_cells(), np.empty(2, np.int64)
    steps = np.zeros((2, DIM), np.int16)
    steps[:, 3] = cosines.UNIT, -cosines.UNIT
    for sign, order in ((1, [0, 1]), (-1, [1, 0])):
        query = np.zeros(DIM, np.float32)
        query[3] = sign
        choose(query, steps, cells)
        assert cells.tolist() == order


@compiled_only
def test_arrays_that_do_not_fit_are_refused() -> None:
    best = cosines.best_of_rows()
    vectors = RANDOM.standard_normal((5, DIM)).astype(np.float32)
    asked, rounded = both_directions(vectors[:2])
    codes, lengths = np.arange(5, dtype=np.int32), precise_lengths(vectors)
    rows = np.array([[0, 1, 2], [2, 3, 4]])
    good = {
        "asked": asked,
        "rounded": rounded,
        "vectors": vectors,
        "lengths": lengths,
        "codes": codes,
        "rows": rows,
        "found": np.empty((2, 2), np.int64),
        "scores": np.empty((2, 2), np.float32),
        "k": 2,
        "slack": 1e-4,
    }
    best(*good.values())
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (IndexError, {"rows": rows + 1}),
        (TypeError, {"vectors": vectors.astype(np.float64)}),
        (TypeError, {"rows": rows.astype(np.int32)}),
        (TypeError, {"codes": codes.astype(np.uint32)}),
        (ValueError, {"lengths": lengths[:4]}),
        (ValueError, {"codes": codes[:4]}),
        (ValueError, {"rounded": rounded[:1]}),
        (ValueError, {"rows": rows[:, :2].ravel()[:3].copy()}),
        (ValueError, {"found": np.empty((1, 2), np.int64)}),
        (ValueError, {"scores": np.empty((2, 3), np.float32)}),
        (ValueError, {"k": 0}),
        (ValueError, {"found": _read_only(np.empty((2, 2), np.int64))}),
        (TypeError, {"k": "two"}),
    ]
    before = [sys.getrefcount(one) for one in good.values()][:8]
    for error, other in wrong:
        with pytest.raises(error):
            best(*(good | other).values())
    with pytest.raises(TypeError, match="8 arrays"):
        best(asked)
    # Nothing of a refused call stays held.
    assert [sys.getrefcount(one) for one in good.values()][:8] == before


def _read_only(array: NDArray[np.int64]) -> NDArray[np.int64]:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("count", [0, 1, 64, 65, 300])
def test_lengths_are_the_same_bits_wherever_a_row_lies(count: int, by_numpy: Any) -> None:
    vectors = RANDOM.standard_normal((count, DIM)).astype(np.float32)
    vectors[count // 2 :][:1] = 0
    found = precise_lengths(vectors)
    assert found.tobytes() == by_numpy(precise_lengths, vectors).tobytes()
    order = RANDOM.permutation(count)
    assert found[order].tobytes() == precise_lengths(vectors, order).tobytes()
    assert (found[count // 2 :][:1] == 1).all()
    np.testing.assert_allclose(found[: count // 2], np.linalg.norm(vectors[: count // 2].astype(np.float64), axis=1))


def test_zeros_have_no_sign_that_depends_on_the_way(by_numpy: Any) -> None:
    zeros, none = np.zeros((1, DIM), np.float32), np.zeros(1, np.int64)
    asked = directions(-np.ones((1, DIM), np.float32))
    for way in (lambda what, *given: what(*given), by_numpy):
        assert not np.signbit(way(score_pairs, asked, none, zeros, none)[0])


@pytest.mark.parametrize("count", [1, 2])
def test_vectors_that_lie_anywhere_in_a_file_are_read(count: int) -> None:
    records = np.zeros(count, [("id", "S13"), ("v", "f4", (DIM,))])
    records["v"] = RANDOM.standard_normal((count, DIM))
    plain = np.array(records["v"])
    assert directions(records["v"]).tobytes() == directions(plain).tobytes()
    every = np.arange(count)
    assert score_pairs(directions(plain), every, records["v"], every) == pytest.approx(1)


@compiled_only
def test_numbers_of_numpy_count_as_numbers() -> None:
    vectors = RANDOM.standard_normal((5, DIM)).astype(np.float32)
    asked, rounded = both_directions(vectors[:1])
    rows = np.arange(5)[None]
    found = best_rows(rows_file(vectors), np.arange(5, dtype=np.int32), asked, rounded, rows, np.int64(3))[0]
    assert found[0][0] == 0
