"""How quick the structures of an index are on this machine, and from how many vectors each is the quicker one."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.evaluate.clustered import Mixture
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.types import Encoded, SampleId, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.index.search_result import SearchResult
    from molsig.types import Progress

K = 10
SPACE = "rna-bench"
STRUCTURES = ("pca-sq8", "rabitq", "ivf-rabitq", "hnsw")
BATCH_ROWS = 5_000
WARM = 5
SINGLE = 200
"""Queries asked one by one; all are asked as a batch."""


@dataclass(frozen=True)
class Speed:
    """One structure at one size; times in milliseconds, `batch_qps` in queries a second."""

    rows: int
    method: str
    recall: float
    p50_ms: float
    p99_ms: float
    batch_qps: float
    build_s: float


def measure_structures(
    sizes: Sequence[int],
    structures: Sequence[str] = STRUCTURES,
    *,
    queries: int = 500,
    seed: int = 7,
    progress: Progress = silent,
) -> Iterator[Speed]:
    """Search invented vectors of growing number with every structure, in a reference that is removed afterwards.

    Recall@10 is measured against exact search, over the batch. A structure that cannot serve a size is left out.

    Raises
    ------
    UsageError
        A size or the number of queries is under 1.
    """
    if not sizes or min(sizes) < 1 or queries < 1:
        raise UsageError("give sizes and queries of at least 1")
    vectors, _, asked = Mixture().draw(max(sizes), queries, seed)
    for size in sorted(set(sizes)):
        with tempfile.TemporaryDirectory(prefix="molsig-bench-") as folder:
            store = Store.create(Path(folder) / "bench.molsig")
            _fill(store, vectors[:size])
            exact, speed = _measured(Searcher(store), asked, "exact")
            truth = _patients(exact)
            yield Speed(size, "exact", 1.0, *speed, 0.0)
            for method in structures:
                with store.writer("bench") as writer:
                    started = time.perf_counter()
                    writer.build_indexes([SPACE], method=method, progress=progress)
                    built = time.perf_counter() - started
                found, speed = _measured(Searcher(store), asked, "index")
                if found.method != method:
                    continue
                hits = sum(len(a & b) for a, b in zip(truth, _patients(found), strict=True))
                yield Speed(size, method, hits / sum(map(len, truth)), *speed, built)


def crossover(speeds: Sequence[Speed], one: str, other: str) -> int | None:
    """Return the fewest rows from which the structure `other` answers single queries sooner than `one`.

    Between two measured sizes it is where the lines through their logarithms meet; None where `one` is the quicker at
    the largest size that both were measured at.
    """
    times = {method: {s.rows: s.p50_ms for s in speeds if s.method == method} for method in (one, other)}
    sizes = sorted(times[one].keys() & times[other].keys())
    gaps = [float(np.log(times[one][size] / times[other][size])) for size in sizes]
    for place, gap in enumerate(gaps):
        if gap > 0 and all(later > 0 for later in gaps[place:]):
            if not place:
                return sizes[0]
            share = -gaps[place - 1] / (gap - gaps[place - 1])
            low, high = np.log(sizes[place - 1]), np.log(sizes[place])
            return round(float(np.exp(low + share * (high - low))))
    return None


def _patients(found: SearchResult) -> list[set[str]]:
    return [{hit.patient for hit in hits} for hits in found.hits]


def _measured(
    searcher: Searcher, queries: NDArray[np.float32], method: str
) -> tuple[SearchResult, tuple[float, float, float]]:
    """What a batch found, and p50 and p99 of single queries and the rate of the batch."""
    for query in queries[:WARM]:
        searcher.search(SPACE, query[None], K, method=method)
    times = []
    for query in queries[:SINGLE]:
        started = time.perf_counter()
        searcher.search(SPACE, query[None], K, method=method)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    found = searcher.search(SPACE, queries, K, method=method)
    rate = len(queries) / (time.perf_counter() - started)
    return found, (1e3 * float(np.median(times)), 1e3 * float(np.percentile(times, 99)), rate)


def _fill(store: Store, vectors: NDArray[np.float32]) -> None:
    """Store vectors, one patient each."""
    samples = tuple(SampleId(f"P{row:07d}-01", f"P{row:07d}") for row in range(len(vectors)))
    with store.writer("bench") as writer:
        for start in range(0, len(vectors), BATCH_ROWS):
            some = samples[start : start + BATCH_ROWS]
            digests = tuple(f"{row:064x}" for row in range(start, start + len(some)))
            block = vectors[start : start + len(some)]
            writer.commit([Encoded("rna", SPACE, some, ("",) * len(some), block, digests)])
        writer.checkpoint()
