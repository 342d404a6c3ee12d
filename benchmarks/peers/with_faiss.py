"""faiss as it is: bare arrays from a flat and from an HNSW index, filters by a bitmap selector."""

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


class Flat(Basic):
    """float32, every row compared."""

    needs = ("faiss",)
    gives = ARRAYS
    filters = True

    def build(self, task: Task, folder: Path) -> None:
        """Add all vectors and write the index."""
        import faiss

        faiss.omp_set_num_threads(THREADS)
        index = self.made(task.base.shape[1])
        index.add(np.ascontiguousarray(task.base))
        faiss.write_index(index, str(folder / "index.faiss"))
        np.save(folder / "draw.npy", task.columns["draw"].to_numpy())

    def made(self, dims: int) -> Any:
        """The empty index."""
        import faiss

        return faiss.IndexFlatIP(dims)

    def open(self, task: Task, folder: Path) -> None:
        """Read the index."""
        import faiss

        faiss.omp_set_num_threads(THREADS)
        self.index = faiss.read_index(str(folder / "index.faiss"))
        self.draw = np.load(folder / "draw.npy")

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Rows and scores."""
        rows, scores = self.many(query[None], width)
        return rows[0], scores[0]

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Rows and scores of a batch."""
        # The bitmap stays referenced until the search is over: faiss keeps no copy.
        bitmap = None if width is None else np.packbits(self.draw < width, bitorder="little")
        scores, rows = self.index.search(queries, K, params=self.parameters(bitmap))
        return rows, scores

    def parameters(self, bitmap: NDArray[np.uint8] | None) -> Any:
        """Of one search."""
        import faiss

        return None if bitmap is None else faiss.SearchParameters(sel=self.selector(bitmap))

    def selector(self, bitmap: NDArray[np.uint8]) -> Any:
        """The rows that may be found."""
        import faiss

        return faiss.IDSelectorBitmap(len(self.draw), faiss.swig_ptr(bitmap))


class Hnsw(Flat):
    """A graph over fp16, as molsig builds it."""

    knobs: Sequence[Any] = EFS

    def made(self, dims: int) -> Any:
        """The empty graph."""
        import faiss

        index = faiss.IndexHNSWSQ(dims, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return index

    def turn(self, knob: Any) -> None:
        """Set efSearch."""
        self.ef = knob

    def parameters(self, bitmap: NDArray[np.uint8] | None) -> Any:
        """efSearch, and the rows that may be found."""
        import faiss

        if bitmap is None:
            return faiss.SearchParametersHNSW(efSearch=self.ef)
        return faiss.SearchParametersHNSW(efSearch=self.ef, sel=self.selector(bitmap))
