"""Batches to a device and back: the next is prepared and sent while this one is computed.

On CUDA a thread prepares batches ahead, copies them into pinned memory and sends them on a stream of its own; results
come back on a third. On other devices one batch follows another in the caller's thread, unless it asks otherwise. What
is computed, and in which order, is the same in either case. The CUDA part was written where no CUDA device was at hand
and has not been run yet; see docs/gpu.md.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    Work = Callable[[Any], Tensor]

T = TypeVar("T")

LEAST_COSINE = 0.999
"""Cosine that a vector of bfloat16 products is to have with the one of float32 at least; seen on a sample of rows."""

CHECKED = 32
"""Rows that are computed both ways before bfloat16 is used; they may use up `_SHARE` of what the rest is allowed."""

_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How batches go through a kind of device.

    Attributes
    ----------
    ahead
        Batches that a thread prepares before they are needed; with 0 the caller's own thread does, each in its turn.
    low
        Whether matrix products are computed in bfloat16 where that leaves the vectors within `LEAST_COSINE`.
    """

    ahead: int = 0
    low: bool = False


PLANS = {"cuda": Plan(ahead=2, low=True)}
"""By kind of device; any other has the plain plan."""


def plan_of(device: torch.device) -> Plan:
    """The plan of a device."""
    return PLANS.get(device.type, Plan())


def stream(batches: Iterable[Any], work: Work, device: torch.device, ahead: int) -> Iterator[NDArray[np.float32]]:
    """Compute batches on a device, in their order, without gradients.

    Parameters
    ----------
    batches
        Tensors on the host, or mappings of them; made one at a time, by another thread if `ahead` is over 0.
    work
        Called in the caller's thread with the same on the device; gives a tensor there.
    ahead
        See `Plan`.

    Yields
    ------
    NDArray[np.float32]
        What `work` gave, on the host; the array is the receiver's.

    Raises
    ------
    Exception
        Whatever `batches` or `work` raise, when that batch's turn has come.
    """
    import torch

    lane = _lane(device)
    waiting: deque[Any] = deque()
    with closing(made_ahead(map(lane.send, batches), ahead)) as sent:
        for batch in sent:
            # Left before every yield: the mode is the thread's, not the generator's.
            with torch.inference_mode():
                waiting.append(lane.fetch(work(lane.take(batch))))
            # While a thread works ahead, a result is waited for only once the next batch has been set going.
            if len(waiting) > min(ahead, 1):
                yield lane.wait(waiting.popleft())
        while waiting:
            yield lane.wait(waiting.popleft())


def upload(batches: Iterable[Any], device: torch.device, ahead: int) -> Generator[Any]:
    """The batches on a device, in their order; made and sent ahead as by `stream`."""
    lane = _lane(device)
    with closing(made_ahead(map(lane.send, batches), ahead)) as sent:
        yield from map(lane.take, sent)


def made_ahead(items: Iterator[T], ahead: int) -> Generator[T]:
    """The same items in the same order; a thread makes up to `ahead` of them before they are asked for."""
    if not ahead:
        yield from items
        return
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="molsig-ahead") as thread:
        coming = deque(thread.submit(next, items, end) for _ in range(ahead))
        try:
            while (item := coming.popleft().result()) is not end:
                coming.append(thread.submit(next, items, end))
                yield item
        finally:
            for one in coming:
                one.cancel()


class Products:
    """Whether an encoder's matrix products are computed in bfloat16: settled by a sample of rows, then kept.

    Parameters
    ----------
    low
        True or False where it is known, None to compare the two on the first rows that come.
    """

    def __init__(self, low: bool | None) -> None:
        self.low = low

    def of(self, work: Work, owner: str) -> Work:
        """`work` in the precision that holds; `owner` is whom a warning tells of."""

        def run(batch: Any) -> Tensor:
            if self.low is None:
                # One in so many of all its rows, for neighbours are often alike.
                self.settle(work, _each(batch, lambda one: one[:: -(-len(one) // CHECKED)]), owner)
            return _low(work, batch) if self.low else work(batch)

        return run

    def settle(self, work: Work, sample: Any, owner: str) -> None:
        """Compare the two on a batch of some rows, on the device, unless it is known which holds."""
        if self.low is None:
            self.low = _close(work, sample, owner)


def _low(work: Work, batch: Any) -> Tensor:
    import torch

    first = next(one for one in (batch.values() if isinstance(batch, Mapping) else [batch]) if torch.is_tensor(one))
    with torch.autocast(first.device.type, dtype=torch.bfloat16):
        return work(batch)


def _close(work: Work, batch: Any, owner: str) -> bool:
    """Whether bfloat16 leaves each vector where it was, well within `LEAST_COSINE`; warns if not."""
    import torch

    with torch.inference_mode():
        # `work` may write into the dictionary it is given.
        exact, low = (
            run(_each(batch, lambda one: one)).double().cpu().numpy() for run in (work, lambda x: _low(work, x))
        )
    away = np.linalg.norm(low - exact, axis=1) / np.maximum(np.linalg.norm(exact, axis=1), np.finfo(np.float32).tiny)
    # Off by a share e of its length, a vector is turned by arcsin(e) at most: this bounds angle and length at once.
    if (away <= _SHARE * np.sqrt(1 - LEAST_COSINE**2)).all():
        return True
    warnings.warn(
        f"{owner} is computed in float32: bfloat16 moves a vector by {np.nanmax(away):.3f} of its length, which may "
        f"leave less than a cosine of {LEAST_COSINE} between the two",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def to_device(batch: Any, device: torch.device) -> Any:
    """A tensor, or what of a mapping is tensors, on a device."""
    return _each(batch, lambda one: one.to(device))


def _each(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    """A tensor changed, or a mapping as a dictionary, its tensors changed and what else is in it as it is."""
    import torch

    if isinstance(batch, Mapping):
        return {key: change(one) if torch.is_tensor(one) else one for key, one in batch.items()}
    return change(batch)


def _lane(device: torch.device) -> _PlainLane | _CudaLane:
    return _CudaLane(device) if device.type == "cuda" else _PlainLane(device)


class _PlainLane:
    """To a device that is sent to, computes and is fetched from in one order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def send(self, batch: Any) -> Any:
        return to_device(batch, self._device)

    def take(self, sent: Any) -> Any:
        return sent

    def fetch(self, result: Tensor) -> Any:
        return result.float().cpu()

    def wait(self, fetched: Any) -> NDArray[np.float32]:
        array: NDArray[np.float32] = fetched.numpy()
        return array


class _CudaLane:
    """To a CUDA device: sending, computing and fetching each on a stream of their own, from and to pinned memory.

    Pinned blocks are those of torch's host allocator, which gives a freed one out again only when the copies from it
    are done, so that a few of them serve all batches.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self._cuda: Any = torch.cuda
        self._empty = torch.empty
        self._device = device
        self._up, self._down = self._cuda.Stream(device), self._cuda.Stream(device)

    def send(self, batch: Any) -> Any:
        with self._cuda.stream(self._up):
            there = _each(batch, lambda one: one.pin_memory().to(self._device, non_blocking=True))
            return there, self._up.record_event()

    def take(self, sent: Any) -> Any:
        there, arrived = sent
        here = self._cuda.current_stream(self._device)
        here.wait_event(arrived)
        # Its memory is the upper stream's, which would give it out again while it is still computed with here.
        _each(there, lambda one: one.record_stream(here))
        return there

    def fetch(self, result: Tensor) -> Any:
        result = result.float()
        self._down.wait_event(self._cuda.current_stream(self._device).record_event())
        with self._cuda.stream(self._down):
            host = self._empty(result.shape, dtype=result.dtype, pin_memory=True)
            host.copy_(result, non_blocking=True)
            result.record_stream(self._down)
            return host, self._down.record_event()

    def wait(self, fetched: Any) -> NDArray[np.float32]:
        host, arrived = fetched
        arrived.synchronize()
        array: NDArray[np.float32] = host.numpy()
        return array
