"""What an engine has to offer to be measured, and what engines have in common."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

THREADS = os.cpu_count() or 1
LINKS = 32
EF_CONSTRUCTION = 200
"""Every HNSW graph is built alike, M = 32."""

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)

ARRAYS, RECORDS = "arrays", "records"
"""What an answer is: row numbers and scores in arrays, or ids with scores and patient columns as a user reads them."""


class Engine(Protocol):
    """An engine under measurement. `build` and `open` are called in two processes, one after the other.

    Attributes
    ----------
    needs
        Modules that have to be importable.
    gives
        ``arrays`` or ``records``.
    filters
        Whether a condition can be given to a search.
    knobs
        Settings of the search from quick to thorough; one of None where there is nothing to set.
    """

    needs: ClassVar[tuple[str, ...]]
    gives: ClassVar[str]
    filters: ClassVar[bool]
    knobs: Sequence[Any]

    def build(self, task: Task, folder: Path) -> None:
        """Store the vectors, and the columns if it can, in `folder`, and index them."""

    def open(self, task: Task, folder: Path) -> None:
        """Open what `build` left."""

    def turn(self, knob: Any) -> None:
        """Set the search."""

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Answer one query, only patients with `draw` below `width` if one is given; timed."""

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Answer a batch with all processors; timed."""

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers in an answer of `one`; not timed."""

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Row numbers in an answer of `many`; not timed."""

    def close(self) -> None:
        """Let go."""


class Basic:
    """Defaults: no knob, nothing to close, answers that are row numbers."""

    knobs: Sequence[Any] = (None,)

    def turn(self, knob: Any) -> None:
        """Nothing to set."""

    def close(self) -> None:
        """Nothing to let go."""

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """The answer is (rows, scores)."""
        return [int(row) for row in answer[0][:K]]

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """The answer is (rows, scores) of all queries."""
        return [[int(row) for row in rows[:K]] for rows in answer[0]]


class ByThreads(Basic):
    """For an engine that takes one query a call: a batch is that many calls from as many threads as processors."""

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Answers of `one`, in order."""
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(lambda query: self.one(query, width), queries))

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Answer one query."""
        raise NotImplementedError

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Each is an answer of `one`."""
        return [self.rows_of_one(one) for one in answer]


class Records(ByThreads):
    """Answers are lists of dicts with the key `id`, the row number."""

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [int(hit["id"]) for hit in answer]
