"""faiss as it is: bare arrays from flat, HNSW and RaBitQ indexes, filters by a bitmap selector."""

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


TRAINED_ON = 50_000


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


class FlatRabitq(Flat):
    """One-bit codes, all of them scanned, the best refined from fp16: what molsig does in short spaces."""

    filters = False
    knobs: Sequence[Any] = (2, 3, 4, 6, 9, 13, 20, 30, 50)

    def build(self, task: Task, folder: Path) -> None:
        """Train and add."""
        import faiss

        faiss.omp_set_num_threads(THREADS)
        base = self.base(*task.base.shape)
        fine = faiss.IndexScalarQuantizer(base.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexRefine(base, fine)
        vectors = np.ascontiguousarray(task.base)
        few = np.random.default_rng(0).choice(len(vectors), min(len(vectors), TRAINED_ON), replace=False)
        index.train(vectors[np.sort(few)])
        index.add(vectors)
        faiss.write_index(index, str(folder / "index.faiss"))
        np.save(folder / "draw.npy", task.columns["draw"].to_numpy())

    def base(self, rows: int, dims: int) -> Any:
        """The codes, empty."""
        import faiss

        return faiss.index_factory(dims, "RaBitQfs", faiss.METRIC_INNER_PRODUCT)

    def turn(self, knob: Any) -> None:
        """Set how many times as many rows as asked for are refined."""
        self.further = knob

    def parameters(self, bitmap: NDArray[np.uint8] | None) -> Any:
        """The depth."""
        import faiss

        return faiss.IndexRefineSearchParameters(k_factor=self.further)


class IvfRabitq(FlatRabitq):
    """The codes of the nearest cells: what molsig does in long ones."""

    filters = True
    knobs: Sequence[Any] = tuple(
        (cells, further) for cells in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256) for further in (4, 6, 10)
    )

    def base(self, rows: int, dims: int) -> Any:
        """As many cells as molsig has."""
        import faiss

        from molsig.index.rabitq import cells_for

        return faiss.index_factory(dims, f"IVF{cells_for(rows)},RaBitQfs", faiss.METRIC_INNER_PRODUCT)

    def turn(self, knob: Any) -> None:
        """Set cells, and how many times as many rows as asked for are refined."""
        self.cells, self.further = knob

    def parameters(self, bitmap: NDArray[np.uint8] | None) -> Any:
        """Cells, depth, and the rows that may be found."""
        import faiss

        inner = faiss.IVFRaBitQSearchParameters()
        inner.nprobe = self.cells
        if bitmap is not None:
            # Kept here too: faiss holds the selector by its address.
            self._selector = self.selector(bitmap)
            inner.sel = self._selector
        self._inner = inner
        return faiss.IndexRefineSearchParameters(k_factor=self.further, base_index_params=inner)
