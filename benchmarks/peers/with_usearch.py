"""usearch: bare arrays from a graph over bf16; its Python interface has no filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.engine import ARRAYS, EF_CONSTRUCTION, EFS, LINKS, THREADS, Basic
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.peers.task import Task


class Usearch(Basic):
    """A graph over bf16, its quickest at this recall."""

    needs = ("usearch.index",)
    gives = ARRAYS
    filters = False
    knobs: Sequence[Any] = EFS

    def build(self, task: Task, folder: Path) -> None:
        """Add all vectors and save."""
        from usearch.index import Index

        index = Index(
            ndim=task.base.shape[1], metric="ip", dtype="bf16", connectivity=LINKS, expansion_add=EF_CONSTRUCTION
        )
        index.add(np.arange(len(task.base)), np.ascontiguousarray(task.base), threads=THREADS)
        index.save(str(folder / "index.usearch"))

    def open(self, task: Task, folder: Path) -> None:
        """Load the index."""
        from usearch.index import Index

        self.index = Index.restore(str(folder / "index.usearch"))

    def turn(self, knob: Any) -> None:
        """Set the expansion."""
        self.index.expansion_search = knob

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Rows and distances."""
        found = self.index.search(query, K, threads=1)
        return found.keys, found.distances

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Rows and distances of a batch."""
        found = self.index.search(queries, K, threads=THREADS)
        return found.keys, found.distances
