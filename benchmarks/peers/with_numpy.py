"""Exact search with numpy alone: the yardstick of recall, and what no index has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.engine import ARRAYS, Basic
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.peers.task import Task


class Exact(Basic):
    """A matrix product and a partition."""

    needs = ("numpy",)
    gives = ARRAYS
    filters = True

    def build(self, task: Task, folder: Path) -> None:
        """Copy the vectors."""
        np.save(folder / "vectors.npy", task.base)
        np.save(folder / "draw.npy", task.columns["draw"].to_numpy())

    def open(self, task: Task, folder: Path) -> None:
        """Read them into memory."""
        self.vectors = np.load(folder / "vectors.npy")
        self.draw = np.load(folder / "draw.npy")

    def one(self, query: NDArray[np.float32], width: int | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and scores."""
        rows, scores = self.many(query[None], width)
        return rows[0], scores[0]

    def many(self, queries: NDArray[np.float32], width: int | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and scores of a batch."""
        kept = None if width is None else np.flatnonzero(self.draw < width)
        scores = queries @ (self.vectors if kept is None else self.vectors[kept]).T
        depth = min(K, scores.shape[1])
        top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
        top = np.take_along_axis(top, order, 1)
        return (top if kept is None else kept[top]), np.take_along_axis(scores, top, 1)
