"""molsig as a user has it: ready vectors and a patient table ingested, ids and columns back from `Reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.engine import RECORDS, Basic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

MODALITY = "rna"


class Molsig(Basic):
    """`Reference.nearest`: all answers of a call in one table. The planner chooses; there is nothing to tune."""

    needs = ("molsig", "faiss")
    gives = RECORDS
    filters = True

    def build(self, task: Task, folder: Path) -> None:
        """Write the vectors and columns as files, ingest them, build the index."""
        from molsig.reference import Reference

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(task.base.ravel()), task.base.shape[1])
        table = pa.table({"patient": task.columns["patient"], "vector": vectors})
        source = folder / "vectors.parquet"
        pq.write_table(table.replace_schema_metadata({"encoder": "benchmark"}), source, compression="none")
        pq.write_table(task.columns, folder / "patients.parquet")
        reference = Reference.create(folder / "peers.molsig")
        reference.ingest(vectors={MODALITY: source}, patients=folder / "patients.parquet", learn=False)
        # As ingest leaves it, less the input files, which are no part of a reference.
        source.unlink()
        (folder / "patients.parquet").unlink()

    def open(self, task: Task, folder: Path) -> None:
        """Open the reference and check its rows, as a server does before it answers."""
        from molsig.reference import Reference

        self.reference = Reference.open(folder / "peers.molsig")
        self.reference.warm()

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """Ten records."""
        return self.reference.nearest(MODALITY, query[None], where=_condition(width)).records()

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """A table of ten rows a query."""
        return self.reference.nearest(MODALITY, queries, where=_condition(width)).table

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [int(hit["patient"][1:]) for hit in answer]

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Row numbers."""
        rows: dict[int, list[int]] = {}
        for query, patient in zip(answer["query"].to_pylist(), answer["patient"].to_pylist(), strict=True):
            rows.setdefault(query, []).append(int(patient[1:]))
        return list(rows.values())


class MolsigAnswers(Molsig):
    """`Reference.query_vectors`: an `Answer` with its plan for each query, as the command line prints it."""

    def one(self, query: NDArray[np.float32], width: int | None) -> Any:
        """An `Answer`."""
        return self.reference.query_vectors({MODALITY: query}, where=_condition(width))

    def many(self, queries: NDArray[np.float32], width: int | None) -> Any:
        """One after the other: a query of several vectors is one patient's sum."""
        return [self.one(query, width) for query in queries]

    def rows_of_one(self, answer: Any) -> Sequence[int]:
        """Row numbers."""
        return [int(hit.patient[1:]) for hit in answer.hits]

    def rows_of_many(self, answer: Any) -> Sequence[Sequence[int]]:
        """Row numbers."""
        return [self.rows_of_one(one) for one in answer]


def _condition(width: int | None) -> str | None:
    return None if width is None else f"draw < {width}"
