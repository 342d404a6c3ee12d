"""Milvus Lite: Milvus in a file, records with their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.engine import EF_CONSTRUCTION, EFS, LINKS, RECORDS, Basic
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

BATCH = 2000
ASKED_AT_ONCE = 250
SHOWN = ["patient", "cancer_type", "stage", "age", "draw"]
PATIENT = {"grpc.keepalive_time_ms": 2**31 - 1}
"""By default the client asks every ten seconds whether the server is there, and repeats calls that take minutes."""


class MilvusLite(Basic):
    """A graph over float32."""

    needs = ("pymilvus", "milvus_lite")
    gives = RECORDS
    filters = True
    knobs: Sequence[Any] = EFS[:-1]

    def build(self, task: Task, folder: Path) -> None:
        """Insert in batches, index, load."""
        from pymilvus import DataType, MilvusClient

        client = MilvusClient(str(folder / "milvus.db"), grpc_options=PATIENT)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=task.base.shape[1])
        for name in ("patient", "cancer_type", "stage"):
            schema.add_field(name, DataType.VARCHAR, max_length=32)
        for name in ("age", "draw"):
            schema.add_field(name, DataType.INT64)
        client.create_collection("patients", schema=schema)
        for start in range(0, len(task.base), BATCH):
            records = task.columns.slice(start, BATCH).to_pylist()
            vectors = np.asarray(task.base[start : start + BATCH])
            client.insert(
                "patients",
                [record | {"id": start + i, "vector": vectors[i]} for i, record in enumerate(records)],
            )
        client.flush("patients")
        how = client.prepare_index_params()
        how.add_index(
            "vector",
            index_type="HNSW",
            metric_type="COSINE",
            params={"M": LINKS, "efConstruction": EF_CONSTRUCTION},
        )
        client.create_index("patients", how)
        client.load_collection("patients")
        client.close()

    def open(self, task: Task, folder: Path) -> None:
        """Open the file and load the collection."""
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(folder / "milvus.db"), grpc_options=PATIENT)
        self.client.load_collection("patients")

    def turn(self, knob: Any) -> None:
        """Set ef."""
        self.how = {"metric_type": "COSINE", "params": {"ef": knob}}

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Records."""
        return self._ask(query[None], width)[0]

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """Records, some hundred queries a call."""
        parts = range(0, len(queries), ASKED_AT_ONCE)
        return [hits for start in parts for hits in self._ask(queries[start : start + ASKED_AT_ONCE], width)]

    def _ask(self, queries: NDArray[np.float32], width: int | None) -> Any:
        return self.client.search(
            "patients",
            queries.tolist(),
            filter="" if width is None else f"draw < {width}",
            limit=K,
            search_params=self.how,
            output_fields=SHOWN,
        )

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [int(hit["id"]) for hit in answer]

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Row numbers."""
        return [self.rows_of_one(hits) for hits in answer]

    def close(self) -> None:
        """Close the file."""
        self.client.close()
