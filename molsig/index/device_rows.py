"""Rows on a torch device: at unit length, rounded for fast products, in blocks. See `torch_search`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import InputError
from molsig.streaming import plan_of, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    Matrix = NDArray[np.float32]
    Dtype = Literal["float32", "float16", "bfloat16"]

HELD_ROWS = 1 << 17
"""Rows in a block of `DeviceRows`."""

MAKING = 28
"""Bytes on the device for a number of a row that is not held, while it is brought to unit length and rounded."""


@dataclass(frozen=True, eq=False)
class Block:
    """Rows on the device: at unit length, rounded, and the most that rounding moved one."""

    start: int
    fine: Tensor
    low: Tensor
    lost: float


class DeviceRows:
    """Rows held on a device for many searches: six bytes a number in float16.

    Parameters
    ----------
    rows
        float32, (n, width), finite; or a function that gives them in blocks.
    device
        A name that `torch.device` takes.
    dtype
        Of the products: by default float16 on CUDA and float32 elsewhere.

    Raises
    ------
    InputError
        A row is not finite.
    """

    def __init__(self, rows: Matrix | Callable[[], Iterable[Matrix]], device: str, dtype: Dtype | None = None) -> None:
        import torch

        self.device = torch.device(device)
        self.dtype = dtype_of(self.device, dtype)
        with torch.inference_mode():
            self._blocks = list(blocks_of(rows, self.device, self.dtype, HELD_ROWS))

    def blocks(self) -> Iterator[Block]:
        """The rows in their order."""
        return iter(self._blocks)

    def __len__(self) -> int:
        return sum(len(block.low) for block in self._blocks)


def dtype_of(device: torch.device, name: Dtype | None) -> torch.dtype:
    import torch

    found: torch.dtype = getattr(torch, name or ("float16" if device.type == "cuda" else "float32"))
    return found


def blocks_of(
    rows: Matrix | Callable[[], Iterable[Matrix]], device: torch.device, dtype: torch.dtype, most: int
) -> Iterator[Block]:
    """Blocks of at most so many rows; on CUDA the next is read and sent while one is worked with."""
    import torch

    def parts() -> Iterator[Tensor]:
        for given in rows() if callable(rows) else [rows]:
            for start in range(0, len(given), most):
                part = given[start : start + most]
                host = torch.empty(part.shape, pin_memory=device.type == "cuda")
                host.numpy()[:] = part
                yield host

    start = 0
    with closing(upload(parts(), device, min(1, plan_of(device).ahead))) as there:
        for part in there:
            # By the largest number first, so that squares neither overflow nor vanish.
            part /= part.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            length = torch.linalg.vector_norm(part, dim=1, keepdim=True)
            part /= torch.where(length == 0, 1, length)
            low = part.to(dtype)
            lost = float(torch.linalg.vector_norm(part - low.float(), dim=1).max())
            if not np.isfinite(lost):
                raise InputError(f"one of the vectors {start + 1:,} to {start + len(part):,} is not finite")
            yield Block(start, part, low, lost)
            start += len(part)
