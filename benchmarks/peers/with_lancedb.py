"""LanceDB: records from an IVF_HNSW_SQ index of one partition, filters before the search."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.peers.engine import EF_CONSTRUCTION, LINKS, RECORDS, THREADS, Records
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

SHOWN = ["id", "patient", "cancer_type", "stage", "age", "draw", "_distance"]


class Lance(Records):
    """Knobs are (ef, refine factor)."""

    needs = ("lancedb",)
    gives = RECORDS
    filters = True
    knobs: Sequence[Any] = ((32, 0), (64, 0), (64, 2), (128, 2), (128, 4), (256, 4), (512, 8), (1024, 16))

    def build(self, task: Task, folder: Path) -> None:
        """Create the table, its vector index and an index of the column that conditions name."""
        os.environ["LANCE_CPU_THREADS"] = str(THREADS)
        import lancedb

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(task.base.ravel()), task.base.shape[1])
        table = task.columns.add_column(0, "id", pa.array(range(len(task.base)))).append_column("vector", vectors)
        made = lancedb.connect(str(folder)).create_table("patients", table)
        made.create_index(
            metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=1, m=LINKS, ef_construction=EF_CONSTRUCTION
        )
        made.create_scalar_index("draw")

    def open(self, task: Task, folder: Path) -> None:
        """Open the table."""
        os.environ["LANCE_CPU_THREADS"] = str(THREADS)
        import lancedb

        self.table = lancedb.connect(str(folder)).open_table("patients")

    def turn(self, knob: Any) -> None:
        """Set ef and the refine factor."""
        self.ef, self.refine = knob

    def one(self, query: NDArray[np.float32], width: int | None) -> list[dict[str, Any]]:
        """Records."""
        asked = self.table.search(query).metric("cosine").nprobes(1).ef(self.ef).select(SHOWN).limit(K)
        if self.refine:
            asked = asked.refine_factor(self.refine)
        if width is not None:
            asked = asked.where(f"draw < {width}", prefilter=True)
        return asked.to_arrow().to_pylist()
