"""HNSW graphs over fp16 vectors. Malkov and Yashunin, doi 10.1109/TPAMI.2018.2889473.

At eighteen times the memory of RaBitQ codes and ten times the building; for those who ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.structure import K, faiss
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.structure import CellsWith

LINKS = 32
EF_CONSTRUCTION = 200
EF_LADDER = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


class Hnsw:
    """A graph; its effort is ``efSearch``."""

    method = "hnsw"
    holds_out = True
    selects = False
    suits = True
    settles = False
    at_a_time = 64

    def __init__(self, index: Any) -> None:
        module = faiss()
        self._index = index
        self._graph = module.downcast_index(index.index)
        # Rows that are held out while the graph is measured are added last, so its nodes are not in the rows' order.
        self._rows: NDArray[np.int64] = module.vector_to_array(index.id_map).astype(np.int64)

    @classmethod
    def empty(cls, rows: int) -> Hnsw:
        """Return a graph without nodes."""
        module = faiss()
        graph = module.IndexHNSWSQ(DIM, module.ScalarQuantizer.QT_fp16, LINKS, module.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = EF_CONSTRUCTION
        return cls(module.IndexIDMap(graph))

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> Hnsw:
        """Return a graph as it was serialised."""
        return cls(faiss().deserialize_index(data))

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return int(self._index.ntotal)

    def efforts(self) -> Sequence[int]:
        """``efSearch`` from 24 to 1,024."""
        return EF_LADDER

    def depths(self) -> Sequence[int]:
        """One: fp16 hardly changes the order."""
        return (2 * K,)

    def parameters(self) -> dict[str, int]:
        """Links of a node, and width of the search while building."""
        return {"m": LINKS, "ef_construction": EF_CONSTRUCTION}

    def sample(self, rows: int) -> int:
        """Return 0: fp16 needs no training."""
        return 0

    def train(self, vectors: NDArray[np.float32], seed: int) -> None:
        """Do nothing."""

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Link rows into the graph."""
        self._index.add_with_ids(np.ascontiguousarray(vectors), rows)
        self._rows = np.concatenate([self._rows, rows])

    def cells_with(self, rows: NDArray[np.bool_]) -> None:
        """None: there are no cells."""

    def search(
        self,
        queries: NDArray[np.float32],
        depth: int,
        effort: int,
        kept: NDArray[np.uint8] | None = None,
        cells: CellsWith | None = None,
    ) -> NDArray[np.int64]:
        """Walk the graph; `kept` and `cells` are ignored.

        A walk among selected nodes finds next to nothing where they lie far from the query, and nothing would tell.
        """
        how = faiss().SearchParametersHNSW(efSearch=max(effort, depth))
        _, nodes = self._graph.search(np.ascontiguousarray(queries), min(depth, len(self._rows)), params=how)
        found: NDArray[np.int64] = np.where(nodes < 0, -1, self._rows[nodes])
        return found

    def effort_for(self, effort: int, share: float, depth: int) -> int:
        """At least twice the depth."""
        return max(effort, 2 * depth)

    def cost(self, depth: int, effort: int) -> float:
        """Not comparable: a graph is built only where it was asked for."""
        return float("inf")

    def serialised(self) -> NDArray[np.uint8]:
        """As faiss writes it."""
        data: NDArray[np.uint8] = faiss().serialize_index(self._index)
        return data
