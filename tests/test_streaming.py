"""Batches on their way: their order, what is made ahead, what becomes of errors, and when bfloat16 is taken."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from molsig.streaming import LEAST_COSINE, PLANS, Plan, Products, made_ahead, plan_of, stream, upload

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
"""CUDA, too, where it is: nothing here is skipped, so that nothing seems to have been seen that was not."""

SOON = 20.0
"""Seconds after which what should have happened in another thread will not."""


def batches(count: int) -> list[torch.Tensor]:
    return [torch.randn(3, 5, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("molsig-ahead")]


def test_only_cuda_is_streamed_by_default() -> None:
    assert plan_of(CPU) == plan_of(torch.device("mps")) == Plan(ahead=0, low=False)
    assert plan_of(torch.device("cuda", 1)) == PLANS["cuda"] == Plan(ahead=2, low=True)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_results_come_in_order_whatever_is_made_ahead(count: int, ahead: int, device: torch.device) -> None:
    given = batches(count)
    found = list(stream(iter(given), lambda x: x * x + 1, device, ahead))
    assert len(found) == count
    for one, x in zip(found, given, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, (x * x + 1).numpy(), rtol=1e-6)
    assert threads() == []
    for there, x in zip(upload(iter(given), device, ahead), given, strict=True):
        assert there.device.type == device.type
        assert torch.equal(there.cpu(), x)
    assert threads() == []


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_large_batches_are_not_mixed_up_on_their_way(device: torch.device) -> None:
    """Memory of one batch is used again for a later one, though not before it is done with."""
    size, count = 1 << 18, 24
    work = [np.full(size, float(i), np.float32) for i in range(count)]
    given = (torch.from_numpy(one) for one in work)

    def slow(x: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            x = x + 1
        return x

    for i, one in enumerate(stream(given, slow, device, 2)):
        assert (one == i + 20).all()


def test_dictionaries_keep_what_is_no_tensor() -> None:
    given = [{"ids": torch.arange(4.0) + i, "kind": "text"} for i in range(3)]
    found = list(stream(given, lambda x: x["ids"] * len(x["kind"]), CPU, 2))
    np.testing.assert_array_equal(found, [[0, 4, 8, 12], [4, 8, 12, 16], [8, 12, 16, 20]])


def test_the_next_batch_is_made_while_one_is_computed() -> None:
    made = [threading.Event() for _ in range(5)]
    makers = set()

    def make() -> Iterator[torch.Tensor]:
        for i, event in enumerate(made):
            makers.add(threading.current_thread().name)
            event.set()
            yield torch.full((1,), float(i))

    def work(x: torch.Tensor) -> torch.Tensor:
        # The third is made in spite of the first not being done, or this would wait in vain.
        assert made[min(int(x) + 2, 4)].wait(SOON)
        return x

    assert [int(one[0]) for one in stream(make(), work, CPU, 2)] == [0, 1, 2, 3, 4]
    assert all(one.startswith("molsig-ahead") for one in makers)
    assert {one.name for one in threading.enumerate()}.isdisjoint(makers)


def test_no_more_is_made_than_was_asked_for() -> None:
    given = iter(range(100))
    ahead = made_ahead(given, 3)
    assert [next(ahead) for _ in range(4)] == [0, 1, 2, 3]
    ahead.close()
    # Four were taken, three more at most had been begun.
    assert next(given) <= 7
    assert threads() == []


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_comes_when_its_batch_is_due(ahead: int) -> None:
    def make() -> Iterator[torch.Tensor]:
        yield from batches(3)
        raise OSError("the slide is gone")

    found = []
    with pytest.raises(OSError, match="the slide is gone"):
        found.extend(stream(make(), lambda x: x, CPU, ahead))
    assert len(found) >= 2
    assert threads() == []

    def fail(x: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(stream(iter(batches(9)), fail, CPU, ahead))
    assert threads() == []


def test_a_stream_that_is_left_early_ends_its_thread() -> None:
    one = stream(iter(batches(50)), lambda x: x, CPU, 2)
    next(one)
    assert len(threads()) == 1
    one.close()  # type: ignore[attr-defined]
    assert threads() == []


@pytest.mark.parametrize("ahead", [0, 2])
def test_modes_hold_for_the_work_alone(ahead: int) -> None:
    told = []

    def work(x: torch.Tensor) -> torch.Tensor:
        told.append((torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))
        return x @ x.T

    for _ in stream(iter(batches(4)), Products(True).of(work, "it"), CPU, ahead):
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
    assert told == [(True, True)] * 4


def test_bfloat16_is_taken_where_it_is_close() -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    given = [torch.randn(100, 64, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    seen = []

    def work(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x @ weight

    products = Products(None)
    found = np.concatenate(list(stream(iter(given), products.of(work, "it"), CPU, 2)))
    assert products.low is True
    # One row in four of the first batch both ways, and then no more comparing.
    assert seen == [25, 25, 100, 100, 100]
    exact = (torch.cat(given) @ weight).numpy()
    cosine = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert LEAST_COSINE <= cosine.min() < 1 - 1e-7
    assert list(stream(iter(given), Products(False).of(lambda x: x @ weight, "it"), CPU, 2))[2].tobytes() == (
        (given[2] @ weight).numpy().tobytes()
    )


@pytest.mark.parametrize("spoil", ["angle", "infinite"])
def test_float32_stays_where_bfloat16_is_off_and_says_so(spoil: str) -> None:
    x = torch.linspace(1, 2, 8).repeat(4, 1)
    x[:, 0] = 1e30 if spoil == "infinite" else 1
    # Differences of large numbers that nearly cancel, and a product beyond what float32 holds once it is rounded up.
    weight = torch.ones(8, 2) * (3.4028e8 if spoil == "infinite" else 1)
    offset = 0.0 if spoil == "infinite" else float(x[0].sum()) - 1e-3

    def work(given: torch.Tensor) -> torch.Tensor:
        return given @ weight - offset

    products = Products(None)
    with pytest.warns(RuntimeWarning, match="rna-vae-1 is computed in float32: bfloat16 moves a vector by"):
        (found,) = stream(iter([x]), products.of(work, "rna-vae-1"), CPU, 0)
    assert products.low is False
    np.testing.assert_array_equal(found, work(x).numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(stream(iter([x]), products.of(work, "rna-vae-1"), CPU, 0))
