"""What a device does at best, and how far sending hides behind computing; the first part of `benchmarks.gpu`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from molsig.streaming import stream, upload
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Sizes:
    """How much of everything is measured."""

    edge: int
    copied: int
    batches: int
    batch_rows: int
    rows: tuple[int, ...]
    queries: tuple[int, ...]
    scale: int
    rounds: int


LARGE = Sizes(8192, 1 << 30, 64, 4096, (100_000, 1_000_000), (1, 10, 100, 1_000, 10_000), 100, 5)
SMALL = Sizes(128, 1 << 22, 4, 64, (500, 3_000), (1, 10, 50), 1, 1)


@dataclass(frozen=True)
class Device:
    """What the device does at best; gigabytes and teraoperations a second."""

    name: str
    torch: str
    copy_gb_s: float
    pinned_gb_s: float
    pageable_gb_s: float
    float32_tflops: float
    bfloat16_tflops: float


@dataclass(frozen=True)
class Overlap:
    """Seconds for the same batches: sent only, computed only, one after the other, and streamed.

    `hidden` is the share of the shorter of the first two that streaming saves; None where nothing is sent.
    """

    batches: int
    megabytes_each: float
    send_s: float
    compute_s: float
    in_turn_s: float
    streamed_s: float
    hidden: float | None


def best_of(rounds: int, device: torch.device, work: Callable[[], object]) -> float:
    """Least seconds of some work, after once that does not count."""
    found = np.inf
    for turn in range(rounds + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        if turn:
            found = min(found, time.perf_counter() - start)
    return float(found)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_device(device: torch.device, sizes: Sizes) -> Device:
    """The figures that all floors are made of."""
    there = torch.empty(sizes.copied, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    host = torch.empty(sizes.copied, dtype=torch.uint8)
    pinned = host.pin_memory() if device.type == "cuda" else host
    # Read once and written once.
    copy = 2 * sizes.copied / best_of(sizes.rounds, device, lambda: other.copy_(there))
    sent = [sizes.copied / best_of(sizes.rounds, device, lambda one=one: there.copy_(one)) for one in (pinned, host)]
    speed = []
    for kind in (torch.float32, torch.bfloat16):
        left, right = (torch.randn(sizes.edge, sizes.edge, device=device).to(kind) for _ in range(2))
        speed.append(2 * sizes.edge**3 / best_of(sizes.rounds, device, lambda a=left, b=right: a @ b))
    return Device(
        torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        torch.__version__,
        copy / 1e9,
        sent[0] / 1e9,
        sent[1] / 1e9,
        speed[0] / 1e12,
        speed[1] / 1e12,
    )


def measure_overlap(device: torch.device, sizes: Sizes) -> Overlap:
    """Batches whose products take about as long as their way to the device."""
    rng = np.random.default_rng(0)
    given = [rng.random((sizes.batch_rows, 3 * DIM), dtype=np.float32) for _ in range(sizes.batches)]
    weight = torch.randn(3 * DIM, 3 * DIM, device=device)
    there = torch.from_numpy(given[0]).to(device)
    send = best_of(sizes.rounds, device, lambda: list(upload(map(torch.from_numpy, given), device, 0)))
    once = best_of(sizes.rounds, device, lambda: there @ weight) * sizes.batches
    turns = min(100, max(1, round(send / once)))

    def work(x: torch.Tensor) -> torch.Tensor:
        for _ in range(turns):
            y = x @ weight
        return y[:, :DIM]

    def through(ahead: int) -> None:
        for _ in stream(map(torch.from_numpy, given), work, device, ahead):
            pass

    compute = best_of(sizes.rounds, device, lambda: [work(there) for _ in given])
    in_turn, streamed = (best_of(sizes.rounds, device, lambda ahead=ahead: through(ahead)) for ahead in (0, 2))
    hidden = None if device.type == "cpu" else (send + compute - streamed) / min(send, compute)
    return Overlap(sizes.batches, given[0].nbytes / 1e6, send, compute, in_turn, streamed, hidden)
