"""Intel's Scalable Vector Search: bare arrays from a Vamana graph over fp16; no filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.engine import ARRAYS, EFS, THREADS, Basic
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

PARTS = ("config", "graph", "data")


class Vamana(Basic):
    """A graph over fp16; its own compressions (LVQ, LeanVec) end the process on processors that are not Intel's."""

    needs = ("svs",)
    gives = ARRAYS
    filters = False
    knobs: Sequence[Any] = EFS

    def build(self, task: Task, folder: Path) -> None:
        """Build and save."""
        import svs

        how = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=64, window_size=128)
        data = task.base.astype(np.float16)
        index = svs.Vamana.build(how, data, svs.DistanceType.MIP, num_threads=THREADS)
        index.save(*(str(folder / part) for part in PARTS))

    def open(self, task: Task, folder: Path) -> None:
        """Load the graph."""
        import svs

        config, graph, data = (str(folder / part) for part in PARTS)
        loader = svs.VectorDataLoader(data, svs.DataType.float16, dims=task.base.shape[1])
        self.index = svs.Vamana(
            config, svs.GraphLoader(graph), loader, svs.DistanceType.MIP, query_type=svs.DataType.float32
        )
        self.index.num_threads = THREADS

    def turn(self, knob: Any) -> None:
        """Set the window."""
        self.index.search_window_size = knob

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Rows and scores."""
        rows, scores = self.index.search(query[None], K)
        return rows[0], scores[0]

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Rows and scores of a batch."""
        return self.index.search(queries, K)
