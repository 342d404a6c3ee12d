"""hnswlib: bare arrays; a filter is a Python function that is asked for every row the walk meets."""

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


class Hnswlib(Basic):
    """A graph over float32."""

    needs = ("hnswlib",)
    gives = ARRAYS
    filters = True
    knobs: Sequence[Any] = EFS

    def build(self, task: Task, folder: Path) -> None:
        """Add all vectors and save."""
        import hnswlib

        index = hnswlib.Index("ip", task.base.shape[1])
        index.init_index(len(task.base), M=LINKS, ef_construction=EF_CONSTRUCTION)
        index.add_items(task.base, num_threads=THREADS)
        index.save_index(str(folder / "index.bin"))
        np.save(folder / "draw.npy", task.columns["draw"].to_numpy())

    def open(self, task: Task, folder: Path) -> None:
        """Load the index."""
        import hnswlib

        self.index = hnswlib.Index("ip", task.base.shape[1])
        self.index.load_index(str(folder / "index.bin"))
        self.draw = np.load(folder / "draw.npy")

    def turn(self, knob: Any) -> None:
        """Set ef."""
        self.index.set_ef(knob)

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Rows and distances."""
        rows, distances = self._search(query, width, 1)
        return rows[0], distances[0]

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Rows and distances of a batch."""
        # With a Python filter threads wait for each other, as hnswlib's own documentation says.
        return self._search(queries, width, THREADS if width is None else 1)

    def _search(self, queries: NDArray[np.float32], width: int | None, threads: int) -> Any:
        if width is None:
            return self.index.knn_query(queries, K, num_threads=threads)
        kept = self.draw < width
        depth = min(K, int(kept.sum()))
        return self.index.knn_query(queries, depth, num_threads=threads, filter=lambda row: bool(kept[row]))
