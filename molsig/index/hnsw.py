"""HNSW graphs in FAISS: built, tuned on held-out rows, turned into bytes and back.

The only module that imports faiss. Vectors are scaled to unit length, so the inner product is the cosine, and kept as
fp16 in the graph; the search that uses it scores its candidates again in float32. Malkov and Yashunin,
doi 10.1109/TPAMI.2018.2889473.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.errors import DamagedError, MissingExtraError
from molsig.types import DIM, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.types import Progress

METHOD = "hnsw-fp16"
LINKS = 32
EF_CONSTRUCTION = 200
K = 10
"""Recall is measured at this depth."""

TARGET_RECALL = 0.995
HELD_OUT = 500
DEPTH = 2 * K
"""Rows asked of the graph for K neighbours; their float32 scores decide."""

EF_LADDER = (24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_FEW = 200
_BLOCK_ROWS = 50_000
_ADD_ROWS = 4096
# Scores this close are ties: which of the tied rows is found does not count against recall.
_TIE = 1e-5


@dataclass(frozen=True)
class Graph:
    """A graph that can be searched, and the row id of each of its positions, int64 (n,)."""

    ids: NDArray[np.int64]
    _index: Any
    _inner: Any

    def search(self, queries: NDArray[np.float32], depth: int, ef: int) -> NDArray[np.int64]:
        """Return positions of about the `depth` nearest rows of each unit query, best first, -1 where there is none."""
        faiss = _faiss()
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef, depth))
        found: tuple[Any, NDArray[np.int64]] = self._inner.search(
            np.ascontiguousarray(queries), min(depth, len(self.ids)), params=parameters
        )
        return found[1]


@dataclass(frozen=True)
class Built:
    """A finished graph as bytes, and what was measured of it."""

    data: NDArray[np.uint8]
    sha256: str
    rows: int
    ef_search: int
    recall: float
    queries: int
    faiss: str


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the rows of (n, 768) to length 1; a row of zeros stays."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    norms[norms == 0] = 1
    scaled: NDArray[np.float32] = (vectors / norms[:, None]).astype(np.float32)
    return scaled


def build(
    ids: NDArray[np.int64],
    take: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    *,
    seed: int = 0,
    step: str = "index",
    progress: Progress = silent,
) -> Built:
    """Build a graph over rows, and tune its search.

    A sample of the rows is held out until the others are in. How many of their exact neighbours among those the graph
    finds is measured, and the smallest `ef_search` that reaches recall@10 of .995 is kept; then they are added too.
    Under 200 rows all are added first and each is searched for its neighbours, itself left out.

    Parameters
    ----------
    ids
        The row ids.
    take
        Gives the vectors of some of them, float32 (n, 768).
    seed
        Of the choice of held-out rows.
    """
    faiss = _faiss()
    graph = faiss.IndexHNSWSQ(DIM, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    index = faiss.IndexIDMap(graph)
    few = len(ids) < _FEW
    aside = np.zeros(len(ids), bool)
    held = len(ids) if few else min(HELD_OUT, len(ids) // 10)
    aside[np.random.default_rng(seed).choice(len(ids), held, replace=False)] = True
    queries = unit(take(ids[aside]))
    rest = ids if few else ids[~aside]
    exact = np.empty((held, 0), np.float32)
    for start in range(0, len(rest), _BLOCK_ROWS):
        block = rest[start : start + _BLOCK_ROWS]
        vectors = unit(take(block))
        exact = _best(np.concatenate([exact, _scores(queries, ids[aside], vectors, block)], axis=1))
        for first in range(0, len(block), _ADD_ROWS):
            progress(step, index.ntotal, len(ids))
            index.add_with_ids(vectors[first : first + _ADD_ROWS], block[first : first + _ADD_ROWS])
    ef, recall = _tune(graph, rest, take, queries, ids[aside], exact)
    if not few:
        index.add_with_ids(queries, ids[aside])
    progress(step, len(ids), len(ids))
    data = faiss.serialize_index(index)
    return Built(data, hashlib.sha256(data.data).hexdigest(), len(ids), ef, recall, held, str(faiss.__version__))


def load(path: Path, size: int, sha256: str) -> Graph:
    """Load a graph if its file is the one that was written.

    Raises
    ------
    DamagedError
        The file's size or hash is another.
    FileNotFoundError
        There is no such file.
    """
    data = np.fromfile(path, dtype=np.uint8)
    # FAISS itself accepts most flipped bits.
    if len(data) != size or hashlib.sha256(data.data).hexdigest() != sha256:
        raise DamagedError(f"{path}: not the file that was written, its hash does not match")
    faiss = _faiss()
    index = faiss.deserialize_index(data)
    ids = faiss.vector_to_array(index.id_map).astype(np.int64)
    return Graph(ids, index, faiss.downcast_index(index.index))


def _tune(
    graph: Any,
    ids: NDArray[np.int64],
    take: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    exact: NDArray[np.float32],
) -> tuple[int, float]:
    """Return the smallest ef that reaches the target recall, and that recall; the largest ef if none does.

    `exact` holds the scores of each query's K nearest rows, -inf where there are fewer. A row found counts if it scores
    as high as the last of them, so that one of many equal rows is as good as another.
    """
    faiss = _faiss()
    possible = np.isfinite(exact).sum(axis=1)
    if not possible.any():
        return EF_LADDER[0], 1.0
    last = np.where(np.isfinite(exact), exact, np.inf).min(axis=1)
    recall = 0.0
    for ef in EF_LADDER:
        _, positions = graph.search(
            queries, min(DEPTH, len(ids)), params=faiss.SearchParametersHNSW(efSearch=max(ef, DEPTH))
        )
        rows = np.unique(positions[positions >= 0])
        scores = _scores(queries, own, unit(take(ids[rows])), ids[rows])
        found = np.full(positions.shape, -np.inf, np.float32)
        hit = positions >= 0
        found[hit] = np.take_along_axis(scores, np.searchsorted(rows, positions), axis=1)[hit]
        matched = (_best(found) >= last[:, None] - _TIE).sum(axis=1)
        recall = float(np.minimum(matched, possible).sum() / possible.sum())
        if recall >= TARGET_RECALL:
            return ef, recall
    return EF_LADDER[-1], recall


def _scores(
    queries: NDArray[np.float32], own: NDArray[np.int64], vectors: NDArray[np.float32], ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the cosines of unit queries and unit vectors, -inf where a query meets its own row."""
    scores: NDArray[np.float32] = queries @ vectors.T
    scores[own[:, None] == ids[None, :]] = -np.inf
    return scores


def _best(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the K highest of each row, highest first; fewer where there are fewer columns."""
    part = -np.partition(-scores, K - 1, axis=1)[:, :K] if scores.shape[1] > K else scores
    return -np.sort(-part, axis=1)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError("An HNSW index", "cpu") from error
    return faiss
