"""Brute-force search by torch: proposals hold the best rows, and what is refined and rescored is the exact answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from molsig.errors import InputError, UsageError
from molsig.index.device_rows import DeviceRows
from molsig.index.scoring import SLACK, directions, score_pairs
from molsig.index.torch_search import MEMORY, Proposal, propose
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
KINDS = ("random", "clusters", "tied", "duplicates", "zeros", "lengths")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cohort(kind: str, rows: int = 1500) -> np.ndarray:
    """Vectors that are hard in some way to order."""
    rng = np.random.default_rng(KINDS.index(kind))
    x = rng.standard_normal((rows, DIM))
    if kind == "clusters":
        # Neighbours lie closer together than float16 can tell apart.
        x = rng.standard_normal((12, DIM))[rng.integers(0, 12, rows)] + 0.01 * x
    elif kind == "tied":
        # Few different directions: of every one some 60 rows, of which no two need have the same length.
        x = rng.standard_normal((25, DIM))[rng.integers(0, 25, rows)] * rng.integers(1, 4, (rows, 1))
    elif kind == "duplicates":
        x[rng.permutation(rows)[:700]] = x[0]
    elif kind == "zeros":
        x[rng.permutation(rows)[:900]] = 0
        x[:, 0] -= 5
    elif kind == "lengths":
        # Squares of the longest are beyond float32, of the shortest nothing.
        x *= 10.0 ** rng.integers(-28, 29, (rows, 1))
    return x.astype(np.float32)


def asked(x: np.ndarray, count: int = 40) -> np.ndarray:
    """Directions near some rows and far from all."""
    rng = np.random.default_rng(9)
    near = x[rng.integers(0, len(x), count // 2)].astype(np.float64)
    near /= np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-300)
    near += rng.standard_normal(near.shape) / 50
    return directions(np.concatenate([near, rng.standard_normal(near.shape)]).astype(np.float32))


def check(found: Proposal, x: np.ndarray, queries: np.ndarray, k: int) -> None:
    """Whether the k best of the proposed rows are the k best of all, ties by position included."""
    assert (np.diff(found.queries) >= 0).all()
    pairs = found.queries * len(x) + found.positions
    assert (np.diff(pairs) > 0).all()
    final = score_pairs(queries, found.queries, x, found.positions)
    assert np.abs(found.scores - final).max(initial=0) < SLACK / 10
    everywhere = np.arange(len(x))
    for number, query in enumerate(queries):
        own = found.queries == number
        positions, scores = found.positions[own], final[own]
        exact = score_pairs(query[None], np.zeros(len(x), np.int64), x, everywhere)
        order = np.lexsort((everywhere, -exact))[:k]
        best = np.lexsort((positions, -scores))[:k]
        assert positions[best].tolist() == order.tolist()
        assert scores[best].tobytes() == exact[order].tobytes()
        # All that is within the slack of the last, and nothing that is far from it.
        assert np.isin(np.flatnonzero(exact >= exact[order[-1]] - SLACK / 2), positions).all()
        assert scores.min() >= exact[order[-1]] - 3 * SLACK


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_rows_are_found(kind: str, dtype: str, device: str) -> None:
    x = cohort(kind)
    queries = asked(x)
    found = propose(x, queries, 5, device=device, dtype=dtype)  # type: ignore[arg-type]
    check(found, x, queries, 5)


def test_what_low_precision_cannot_prove_is_searched_again() -> None:
    for kind, least in (("random", 0), ("duplicates", 1), ("clusters", 20)):
        x = cohort(kind)
        queries = asked(x)
        found = propose(x, queries, 5, dtype="float16")
        assert found.again >= least
        assert (found.again > 0) == (least > 0)
        check(found, x, queries, 5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_closer_together_than_products_can_tell(dtype: str, seed: int, device: str) -> None:
    """Cosines from .600 to .601 with a query of three numbers, whose own rounding shifts all products by more."""
    rng = np.random.default_rng(seed)
    rows = 3000
    towards = np.zeros((1, DIM), np.float32)
    towards[0, :3] = rng.uniform(1, 2, 3)
    towards = directions(towards)
    aside = rng.standard_normal((rows, DIM))
    aside -= (aside @ towards[0])[:, None] * towards
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    cosine = rng.permutation(np.linspace(0.6, 0.601, rows))[:, None]
    x = (cosine * towards + np.sqrt(1 - cosine**2) * aside).astype(np.float32)
    found = propose(x, towards, 5, device=device, dtype=dtype)  # type: ignore[arg-type]
    assert found.again == 1
    check(found, x, towards, 5)


@pytest.mark.parametrize("memory", [1 << 18, 3 << 20, MEMORY])
@pytest.mark.parametrize("kind", ["random", "clusters", "duplicates"])
def test_tiles_change_nothing(kind: str, memory: int) -> None:
    x = cohort(kind)
    queries = asked(x)
    whole = propose(x, queries, 7, dtype="float16")
    found = propose(x, queries, 7, dtype="float16", memory=memory)
    assert np.array_equal(found.queries, whole.queries)
    assert np.array_equal(found.positions, whole.positions)
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-6)
    check(found, x, queries, 7)


class _Largest(TorchDispatchMode):
    """Bytes of the largest tensor that a matrix product, a search for what reached a cut, or a refinement gives."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket._qualified_op_name in {f"aten::{one}" for one in ("mm", "matmul", "mul", "nonzero")}:
            self.bytes = max(self.bytes, found.nbytes)
        return found


@pytest.mark.parametrize("memory", [1 << 19, 2 << 20])
@pytest.mark.parametrize("held", [False, True])
def test_tiles_fit_into_the_memory_given(memory: int, held: bool) -> None:
    x = cohort("clusters")
    queries = asked(x, 400)
    rows = DeviceRows(x, "cpu", "float16") if held else x
    for given, most in ((memory, memory // 2), (MEMORY, MEMORY)):
        with _Largest() as largest:
            found = propose(rows, queries, 2, dtype="float16", memory=given)
        assert found.again > 0
        assert largest.bytes <= most
    # With room enough, all rows and queries at once.
    assert largest.bytes >= 2 * len(x) * len(queries)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_blocks_and_held_rows_give_what_the_matrix_gives(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = cohort("clusters")
    queries = asked(x)
    whole = propose(x, queries, 3, dtype=dtype)  # type: ignore[arg-type]
    asked_for = []

    def blocks() -> Iterator[np.ndarray]:
        asked_for.append(True)
        for part in np.split(x, [1, 1, 400, 1100]):
            part.flags.writeable = False
            yield part

    monkeypatch.setattr("molsig.index.device_rows.HELD_ROWS", 333)
    held = DeviceRows(x, "cpu", dtype)  # type: ignore[arg-type]
    assert len(held) == len(x)
    for found in (propose(blocks, queries, 3, dtype=dtype), propose(held, queries, 3)):  # type: ignore[arg-type]
        assert np.array_equal(found.queries, whole.queries)
        assert np.array_equal(found.positions, whole.positions)
        check(found, x, queries, 3)
    # Once for all queries, and once more only for those that needed it.
    assert len(asked_for) == 1 + (whole.again > 0)


def test_reading_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from molsig import streaming

    x = cohort("random")
    queries = asked(x)
    monkeypatch.setitem(streaming.PLANS, "cpu", streaming.Plan(ahead=2))
    check(propose(x, queries, 5, dtype="float16", memory=1 << 20), x, queries, 5)


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 6, 100])
def test_few_rows_and_no_queries(rows: int) -> None:
    x = cohort("random")[:rows]
    queries = asked(cohort("random"), 4)
    found = propose(x, queries, 5)
    if rows:
        check(found, x, queries, 5)
    assert len(found.positions) >= 4 * min(rows, 5)
    nothing = propose(x, queries[:0], 5)
    assert (len(nothing.queries), len(nothing.positions), len(nothing.scores), nothing.again) == (0, 0, 0, 0)


def test_more_are_asked_for_than_there_are() -> None:
    x = cohort("random", 300)
    queries = asked(x, 4)
    found = propose(x, queries, 400, dtype="bfloat16")
    assert np.array_equal(found.positions, np.tile(np.arange(300), 4))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_off_by_less_than_their_bound(dtype: str, device: str) -> None:
    """The proof stands on this: look at the products themselves."""
    from molsig.index.torch_search import _Search, _sums_in_float32

    most = {"float32": 3e-4, "float16": 3e-3, "bfloat16": 2e-2}[dtype]
    if (device, dtype) == ("cuda", "float32"):
        most += 2**-9
    for kind in KINDS:
        x = cohort(kind, 400)
        queries = asked(x)
        held = DeviceRows(x, device, dtype)  # type: ignore[arg-type]
        search = _Search(held.blocks, queries, 5, held.device, held.dtype, MEMORY)
        (block,) = search._sound_blocks()
        with _sums_in_float32(held.device):
            products = (search._low @ block.low.T).double().cpu().numpy()
        unit = x.astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
        off = np.abs(products - queries @ unit.T).max()
        assert off < search._error < most
        if dtype != "float32":
            assert off > search._error / 100


def test_a_lowered_precision_of_float32_is_reckoned_with() -> None:
    before = torch.get_float32_matmul_precision()
    x = cohort("clusters")
    queries = asked(x)
    assert propose(x, queries, 5).again < 20
    try:
        torch.set_float32_matmul_precision("medium")
        found = propose(x, queries, 5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert found.again >= 20
    check(found, x, queries, 5)


def test_settings_of_cublas_are_put_back() -> None:
    from molsig.index.torch_search import _LOOSE, _sums_in_float32

    settings = torch.backends.cuda.matmul
    before = [getattr(settings, name) for name in _LOOSE]
    assert any(before)

    def fail() -> None:
        with _sums_in_float32(torch.device("cuda")):
            assert not any(getattr(settings, name) for name in _LOOSE)
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert [getattr(settings, name) for name in _LOOSE] == before
    with _sums_in_float32(torch.device("cpu")):
        assert [getattr(settings, name) for name in _LOOSE] == before


def test_what_cannot_be_searched_is_refused() -> None:
    x = cohort("random", 300)
    queries = asked(x, 4)
    with pytest.raises(UsageError, match="k is 0, at least 1 is needed"):
        propose(x, queries, 0)
    with pytest.raises(UsageError, match="rows are 767 long, queries 768"):
        propose(x[:, 1:], queries, 3)
    for wrong in (np.nan, np.inf):
        x[170, 3] = wrong
        with pytest.raises(InputError, match="one of the vectors 1 to 300 is not finite"):
            propose(x, queries, 3, dtype="float16")
