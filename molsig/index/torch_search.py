"""Brute-force search on a torch device, for batches of many queries: rows among which the best of each query are.

Written for CUDA where no CUDA device was at hand: it has been run on the CPU only, by its tests. See docs/gpu.md.

Products of all queries and rows are computed in float16 on CUDA, where that is ten times as fast as float32, and each
query keeps the rows with the largest. These are refined in float32. Whether a row that was not kept could be among the
best is then seen from a bound on the error of the products: with x' and q' the rounded x and q,

    |x'.q' - x.q| <= |x' - x| + |x'| |q' - q|                                      |x| = |q| = 1; measured, not assumed
    a sum of d terms in float32 is off by less than d 2^-22, its rounding by no more than half an epsilon

Queries of which it could be are searched once more, for every row whose product may reach what they have found.
The refined scores are off by less than `scoring.SLACK`; the final ones are those of `scoring.score_pairs`:

    found = propose(vectors, directions, k, device="cuda")
    scores = score_pairs(directions, found.queries, vectors, found.positions)
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import UsageError
from molsig.index.device_rows import MAKING, DeviceRows, blocks_of, dtype_of
from molsig.index.scoring import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from molsig.index.device_rows import Block, Dtype, Matrix

MEMORY = 1 << 30
"""Bytes on the device that a search may use by default, beside rows that are held there."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Rows that hold the best of each query, ordered by query and position.

    Attributes
    ----------
    queries, positions
        int64, (m,) each: row `positions[i]` is proposed for query `queries[i]`.
    scores
        Cosines, float32 (m,), off by less than `SLACK`.
    again
        Queries that were searched a second time, because the first did not prove that it had missed nothing.
    """

    queries: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]
    again: int


def propose(
    rows: Matrix | Callable[[], Iterable[Matrix]] | DeviceRows,
    directions: NDArray[np.float64],
    k: int,
    *,
    device: str = "cpu",
    dtype: Dtype | None = None,
    memory: int = MEMORY,
) -> Proposal:
    """Find for each query rows that hold its k best, all that tie with the last of them within the slack included.

    Parameters
    ----------
    rows
        float32, (n, width), finite, of any length; or a function that gives them in blocks, each time it is called; or
        held rows, whose device and dtype hold then. A row of zeros scores 0.
    directions
        Queries at unit length, (q, width), as `scoring.directions` gives them.
    k
        Every row counts by itself: where a patient has several, ask for as many as may be needed.
    memory
        Bytes on the device for rows on their way and for products, which are cut into tiles that fit. What the queries
        have kept comes on top: some 60 k bytes each.

    Raises
    ------
    InputError
        A row is not finite.
    UsageError
        `k` is under 1, or the widths differ.
    """
    import torch

    if k < 1:
        raise UsageError(f"k is {k}, at least 1 is needed")
    if isinstance(rows, DeviceRows):
        place, kind = rows.device, rows.dtype
    else:
        place = torch.device(device)
        kind = dtype_of(place, dtype)
    share = max(1, memory // 2 // (MAKING * max(1, directions.shape[1])))

    def blocks() -> Iterator[Block]:
        return rows.blocks() if isinstance(rows, DeviceRows) else blocks_of(rows, place, kind, share)

    with torch.inference_mode(), _sums_in_float32(place):
        return _Search(blocks, directions, k, place, kind, memory // 2).run()


class _Search:
    """One call of `propose`."""

    def __init__(
        self,
        blocks: Callable[[], Iterator[Block]],
        directions: NDArray[np.float64],
        k: int,
        device: torch.device,
        dtype: torch.dtype,
        memory: int,
    ) -> None:
        import torch

        self._blocks, self._k, self._memory = blocks, k, memory
        self._asked = torch.from_numpy(directions.astype(np.float32)).to(device)
        self._low = self._asked.to(dtype)
        lost = torch.linalg.vector_norm(self._asked - self._low.float(), dim=1)
        self._lost = float(lost.max()) if len(lost) else 0.0
        self._error = 0.0

    def run(self) -> Proposal:
        import torch

        count, device = len(self._asked), self._asked.device
        depth = 4 * self._k + 64
        kept = torch.full((count, depth), -torch.inf, dtype=self._low.dtype, device=device)
        fine = torch.full((count, depth), -torch.inf, device=device)
        places = torch.full((count, depth), -1, dtype=torch.int64, device=device)
        n = 0
        for block in self._sound_blocks():
            self._keep_best(block, kept, fine, places)
            n += len(block.low)
        cut = _cut(fine, min(self._k, n)) if n else fine[:, 0]
        # What was not kept has no larger product than the least of what was.
        unsure = kept.min(dim=1).values.float() + self._error >= cut
        unsure &= n > depth
        found = (fine >= cut[:, None]) & (places >= 0) & ~unsure[:, None]
        queries, slots = found.nonzero(as_tuple=True)
        parts = [(queries, places[queries, slots], fine[queries, slots])]
        again = unsure.nonzero()[:, 0]
        if len(again):
            parts.append(self._all_over(again, cut))
        flat = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
        order = np.lexsort((flat[1], flat[0]))
        return Proposal(flat[0][order], flat[1][order], flat[2][order], len(again))

    def _sound_blocks(self) -> Iterator[Block]:
        """The blocks, each checked, and the error of its products counted in before they are made."""
        import torch

        width = self._asked.shape[1]
        for block in self._blocks():
            if block.low.shape[1] != width:
                raise UsageError(f"rows are {block.low.shape[1]} long, queries {width}")
            rounding = _cropped(block.low) + torch.finfo(block.low.dtype).eps
            error = block.lost + (1 + block.lost) * self._lost + width * 2**-22 + rounding
            self._error = max(self._error, error)
            yield block

    def _tiles(self, block: Block, queries: int, bytes_each: int) -> Iterator[slice]:
        step = max(1, self._memory // max(1, bytes_each * len(block.low)))
        return (slice(start, min(queries, start + step)) for start in range(0, queries, step))

    def _keep_best(self, block: Block, kept: Tensor, fine: Tensor, places: Tensor) -> None:
        """Merge a block's largest products into what each query has kept, and refine those that stay."""
        import torch

        for tile in self._tiles(block, len(kept), 8):
            products = self._low[tile] @ block.low.T
            values, columns = products.topk(min(kept.shape[1], len(block.low)), dim=1, sorted=False)
            kept[tile], chosen = torch.cat([kept[tile], values], 1).topk(kept.shape[1], dim=1, sorted=False)
            places[tile] = torch.cat([places[tile], columns + block.start], 1).gather(1, chosen)
            fine[tile] = torch.cat([fine[tile], torch.zeros_like(values, dtype=fine.dtype)], 1).gather(1, chosen)
            queries, slots = (places[tile] >= block.start).nonzero(as_tuple=True)
            queries = queries + tile.start
            fine[queries, slots] = self._refined(block, queries, places[queries, slots] - block.start)

    def _refined(self, block: Block, queries: Tensor, rows: Tensor) -> Tensor:
        """Cosines of pairs in float32; no matrix product, so no setting of torch lowers its precision."""
        import torch

        step = max(1, self._memory // (12 * self._asked.shape[1]))
        scores = torch.empty(len(queries), device=queries.device)
        for start in range(0, len(queries), step):
            some = slice(start, start + step)
            scores[some] = (self._asked[queries[some]] * block.fine[rows[some]]).sum(dim=1)
        return scores

    def _all_over(self, again: Tensor, cut: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every row of some queries whose score reaches their cut, which is at most that of their k best."""
        import torch

        low = self._low[again]
        # Rounded to the products' precision it may rise by half an epsilon.
        floor = (cut[again] - self._error - torch.finfo(low.dtype).eps).to(low.dtype)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for block in self._sound_blocks():
            for tile in self._tiles(block, len(again), 24):
                queries, rows = (low[tile] @ block.low.T >= floor[tile, None]).nonzero(as_tuple=True)
                queries = again[queries + tile.start]
                scores = self._refined(block, queries, rows)
                reach = scores >= cut[queries]
                parts.append((queries[reach], rows[reach] + block.start, scores[reach]))
        queries, places, scores = (torch.cat(column) for column in zip(*parts, strict=True))
        # More was found, so the k-th best may lie higher than what the first search knew of.
        order = torch.argsort(scores, descending=True, stable=True)
        order = order[torch.argsort(queries[order], stable=True)]
        queries, places, scores = queries[order], places[order], scores[order]
        first = torch.searchsorted(queries, again)
        last = torch.searchsorted(queries, again, right=True) - 1
        higher = torch.full_like(cut, -torch.inf)
        higher[again] = scores[torch.minimum(first + self._k - 1, last)] - 2 * SLACK
        near = scores >= higher[queries]
        return queries[near], places[near], scores[near]


def _cut(fine: Tensor, k: int) -> Tensor:
    """Score from which on a row may be among the k best: both it and the k-th may be off by the slack."""
    return fine.topk(k, dim=1).values[:, -1] - 2 * SLACK


def _cropped(low: Tensor) -> float:
    """What products of float32 lose where torch may have been told to compute them with fewer bits of each factor."""
    import torch

    if low.dtype != torch.float32:
        return 0.0
    if low.is_cuda:
        return 2**-9  # ten bits: TF32
    told = getattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision", None)
    told = told or torch.get_float32_matmul_precision()
    return 0.0 if told in {"none", "ieee", "highest"} else 2**-7  # seven bits: bfloat16


@contextmanager
def _sums_in_float32(device: torch.device) -> Iterator[None]:
    """Let cuBLAS add up products of 16 bits in float32 only, as the bound assumes; put back as it was."""
    import torch

    if device.type != "cuda":
        yield
        return
    settings: Any = torch.backends.cuda.matmul
    # Not every torch has the last, nor a second value that says whether a sum may be split.
    known = [name for name in _LOOSE if hasattr(settings, name)]
    before = [(getattr(settings, name), getattr(settings, f"{name}_split_k", None)) for name in known]

    def put(values: Iterable[bool]) -> None:
        for name, value, (_, split) in zip(known, values, before, strict=True):
            setattr(settings, name, value if split is None else (value, split))

    try:
        put(False for _ in known)
        yield
    finally:
        put(value for value, _ in before)


_LOOSE = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)
