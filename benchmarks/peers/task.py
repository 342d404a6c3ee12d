"""What every engine is given: patients with vectors and columns, queries, conditions, and the exact answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molsig.evaluate.clustered import Mixture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

K = 10
TUNING = 200
"""Held-out queries that search parameters are tuned on; no figure is taken of them."""

WIDTHS = {"none": None, "10 %": 100, "1 %": 10, ".1 %": 1}
"""Conditions: patients whose `draw`, evenly 0 to 999, is below this."""

STAGES = np.array(["I", "II", "III", "IV"])
_BLOCK_ROWS = 50_000
_SPARE = 30
"""Rows that float32 proposes and float64 orders."""


@dataclass(frozen=True)
class Task:
    """One size of the benchmark, read from its folder.

    Attributes
    ----------
    base
        Vectors of unit length, float32 (n, 768), mapped from the file.
    columns
        Of each patient: patient, cancer_type, stage, age, draw.
    tuning, queries
        Vectors of unit length that are not stored.
    truth
        By ``set/condition``: rows of the `K` nearest that meet the condition, (q, K), -1 where there are fewer.
    """

    base: NDArray[np.float32]
    columns: pa.Table
    tuning: NDArray[np.float32]
    queries: NDArray[np.float32]
    truth: dict[str, NDArray[np.int64]]

    @classmethod
    def load(cls, folder: Path) -> Task:
        """Read what `make` wrote."""
        with np.load(folder / "truth.npz") as held:
            truth = dict(held)
        return cls(
            np.load(folder / "base.npy", mmap_mode="r"),
            pq.read_table(folder / "columns.parquet"),
            np.load(folder / "tuning.npy"),
            np.load(folder / "queries.npy"),
            truth,
        )


def make(folder: Path, rows: int, queries: int, seed: int, mixture: Mixture | None = None) -> None:
    """Draw a task and find its exact answers."""
    vectors, cluster, asked = (mixture or Mixture()).draw(rows, TUNING + queries, seed)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    random = np.random.default_rng(seed + 1)
    draw = random.permutation(rows) % 1000
    columns = pa.table(
        {
            "patient": [patient_of(row) for row in range(rows)],
            "cancer_type": [f"TYPE{one % 33:02d}" for one in cluster.tolist()],
            "stage": STAGES[random.integers(0, 4, rows)].tolist(),
            "age": random.integers(18, 95, rows),
            "draw": draw,
        }
    )
    truth = {}
    for name, width in WIDTHS.items():
        kept = np.arange(rows) if width is None else np.flatnonzero(draw < width)
        found = nearest(vectors, kept, asked)
        truth |= {f"tuning/{name}": found[:TUNING], f"queries/{name}": found[TUNING:]}
    folder.mkdir(parents=True)
    np.save(folder / "base.npy", vectors)
    np.save(folder / "tuning.npy", asked[:TUNING])
    np.save(folder / "queries.npy", asked[TUNING:])
    np.savez(folder / "truth.npz", **truth)
    pq.write_table(columns, folder / "columns.parquet")


def patient_of(row: int) -> str:
    """Id of the patient of a row."""
    return f"P{row:07d}"


def nearest(vectors: NDArray[np.float32], kept: NDArray[np.int64], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of the `K` largest inner products among `kept`, best first, ordered in float64; -1 where there are fewer."""
    best = np.full((len(queries), 0), -1, np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(kept), _BLOCK_ROWS):
        rows = kept[start : start + _BLOCK_ROWS]
        scores = np.concatenate([scores, queries @ vectors[rows].T], axis=1)
        best = np.concatenate([best, np.broadcast_to(rows, (len(queries), len(rows)))], axis=1)
        if scores.shape[1] > _SPARE:
            top = np.argpartition(-scores, _SPARE - 1, axis=1)[:, :_SPARE]
            scores, best = np.take_along_axis(scores, top, 1), np.take_along_axis(best, top, 1)
    found = np.full((len(queries), K), -1, np.int64)
    for query, rows in enumerate(best):
        exact = vectors[rows].astype(np.float64) @ queries[query].astype(np.float64)
        chosen = rows[np.lexsort((rows, -exact))][:K]
        found[query, : len(chosen)] = chosen
    return found
