"""Chroma: records from its persistent client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.engine import EF_CONSTRUCTION, LINKS, RECORDS, THREADS, Basic
from benchmarks.peers.task import K, patient_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

BATCH = 2000
ASKED_AT_ONCE = 200


class Chroma(Basic):
    """A graph over float32 and SQLite."""

    needs = ("chromadb",)
    gives = RECORDS
    filters = True
    knobs: Sequence[Any] = (16, 32, 64, 128, 256, 512)

    def build(self, task: Task, folder: Path) -> None:
        """Add patients in batches."""
        how = {"space": "cosine", "max_neighbors": LINKS, "ef_construction": EF_CONSTRUCTION, "num_threads": THREADS}
        made = self._client(folder).create_collection("patients", embedding_function=None, configuration={"hnsw": how})
        for start in range(0, len(task.base), BATCH):
            some = slice(start, start + BATCH)
            records = task.columns.slice(start, BATCH).to_pylist()
            ids = [record.pop("patient") for record in records]
            made.add(ids=ids, embeddings=task.base[some], metadatas=records)

    def open(self, task: Task, folder: Path) -> None:
        """Open the collection."""
        self.client = self._client(folder)
        self.collection = self.client.get_collection("patients", embedding_function=None)
        self.row_of = {patient_of(row): row for row in range(len(task.base))}
        self.first = task.tuning[:1]

    def _client(self, folder: Path) -> Any:
        import chromadb

        return chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))

    def turn(self, knob: Any) -> None:
        """Set ef; the collection is opened anew to take it up."""
        self.collection.modify(configuration={"hnsw": {"ef_search": knob}})
        self.collection = self.client.get_collection("patients", embedding_function=None)
        self.many(self.first, None)

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Ids, distances and columns."""
        return self._ask(query[None], width)

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Ids, distances and columns, some hundred queries a call."""
        parts = range(0, len(queries), ASKED_AT_ONCE)
        return [self._ask(queries[start : start + ASKED_AT_ONCE], width) for start in parts]

    def _ask(self, queries: NDArray[np.float32], width: int | None) -> Any:
        where = None if width is None else {"draw": {"$lt": width}}
        return self.collection.query(
            query_embeddings=queries, n_results=K, where=where, include=["metadatas", "distances"]
        )

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [self.row_of[patient] for patient in answer["ids"][0]]

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Row numbers."""
        return [[self.row_of[patient] for patient in ids] for part in answer for ids in part["ids"]]
