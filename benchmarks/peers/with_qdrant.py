"""Qdrant Edge: Qdrant's shard in this process, records with their payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.engine import EF_CONSTRUCTION, EFS, LINKS, RECORDS, THREADS, ByThreads
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

BATCH = 2000


class QdrantEdge(ByThreads):
    """A graph over float32, optimised into one segment, with an index of the column that conditions name."""

    needs = ("qdrant_edge",)
    gives = RECORDS
    filters = True
    knobs: Sequence[Any] = EFS

    def build(self, task: Task, folder: Path) -> None:
        """Upsert points in batches, index the column, optimise."""
        import qdrant_edge as q

        shard = q.EdgeShard.create(
            str(folder),
            q.EdgeConfig(
                vectors=q.EdgeVectorParams(size=task.base.shape[1], distance=q.Distance.Cosine),
                hnsw_config=q.HnswIndexConfig(
                    m=LINKS, ef_construct=EF_CONSTRUCTION, full_scan_threshold=1000, max_indexing_threads=THREADS
                ),
                optimizers=q.EdgeOptimizersConfig(
                    default_segment_number=1, indexing_threshold=1000, max_segment_size=5_000_000
                ),
            ),
        )
        shard.update(q.UpdateOperation.create_field_index("draw", q.PayloadSchemaType.Integer))
        for start in range(0, len(task.base), BATCH):
            vectors = task.base[start : start + BATCH].tolist()
            records = task.columns.slice(start, BATCH).to_pylist()
            points = [q.Point(start + i, vector, records[i]) for i, vector in enumerate(vectors)]
            shard.update(q.UpdateOperation.upsert_points(points))
        while shard.optimize():
            pass
        shard.flush()
        shard.close()

    def open(self, task: Task, folder: Path) -> None:
        """Load the shard."""
        import qdrant_edge as q

        self.q = q
        self.shard = q.EdgeShard.load(str(folder))

    def turn(self, knob: Any) -> None:
        """Set ef."""
        self.how = self.q.SearchParams(hnsw_ef=knob)

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Points with their payload."""
        q = self.q
        kept = None
        if width is not None:
            kept = q.Filter(must=[q.FieldCondition("draw", range=q.RangeFloat(lt=width))])
        asked = q.SearchRequest(
            query=q.Query.Nearest(query.tolist()), limit=K, params=self.how, filter=kept, with_payload=True
        )
        return [{"id": hit.id, "score": hit.score, **hit.payload} for hit in self.shard.search(asked)]

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [int(hit["id"]) for hit in answer]

    def close(self) -> None:
        """Close the shard."""
        self.shard.close()
