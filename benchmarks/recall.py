"""Recall and speed of every search plan, on clustered vectors: ``python -m benchmarks.recall``.

Needs no data. Draws vectors from a Gaussian mixture of low intrinsic dimension (uneven clusters, isotropic noise),
stores them in a reference of its own, builds the index and searches it through `Searcher` as every query does:
unfiltered, with filters that keep a random share of the patients, and with filters that keep or drop whole clusters,
which is what a condition on the cancer type does. The truth is a float64 scan of the rows in play. Queries are drawn
like the rows and are not stored. Figures are of a warm `Searcher`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.evaluate.clustered import Mixture
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.types import DIM, Encoded, SampleId

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 10
SPACE = "rna-benchmark"
BATCH = 5_000


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    filter: str
    rows: int
    plan: str
    recall: float
    p50_ms: float
    queries_per_s: float


def fill(store: Store, vectors: NDArray[np.float32]) -> dict[str, float]:
    """Store the vectors, one patient each, build the index, and return the seconds of each step."""
    patients = [f"P{place:07d}" for place in range(len(vectors))]
    samples = tuple(SampleId(f"{patient}-01", patient) for patient in patients)
    seconds: dict[str, float] = {}
    with store.writer("benchmark") as writer:
        started = time.perf_counter()
        for start in range(0, len(vectors), BATCH):
            part = slice(start, start + BATCH)
            count = len(samples[part])
            digests = tuple(f"{place:064x}" for place in range(start, start + count))
            writer.commit([Encoded("rna", SPACE, samples[part], ("",) * count, vectors[part], digests)])
        writer.checkpoint()
        seconds["commit"] = time.perf_counter() - started
        writer.put_patients(pa.table({"patient": patients}))
        started = time.perf_counter()
        built = writer.build_indexes([SPACE], progress=_progress)
        seconds["build"] = time.perf_counter() - started
    seconds["measured_recall"] = built[0].recall
    seconds["depth"], seconds["effort"] = built[0].depth, built[0].effort
    return seconds


def filters(cluster: NDArray[np.int64], seed: int) -> dict[str, NDArray[np.bool_] | None]:
    """Return the filters: random shares, a few whole clusters, all but a few whole clusters."""
    random = np.random.default_rng(seed)
    shares = {f"{share:.1%} at random": random.random(len(cluster)) < share for share in (0.5, 0.1, 0.01, 0.001)}
    some = random.choice(cluster.max() + 1, (cluster.max() + 1) // 4, replace=False)
    whole = np.isin(cluster, some)
    return {"none": None, **shares, "1 in 4 clusters": whole, "3 in 4 clusters": ~whole}


def measure(
    searcher: Searcher,
    name: str,
    kept: NDArray[np.bool_] | None,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    method: str = "auto",
) -> Line:
    """Search with one filter: recall@10 and rate over all queries as a batch, latency one at a time."""
    rows = np.arange(len(vectors)) if kept is None else np.flatnonzero(kept)
    patients = None if kept is None else [f"P{row:07d}" for row in rows]
    truth = _nearest(vectors[rows], queries, rows)
    searcher.search(SPACE, queries, K, patients=patients, method=method)
    started = time.perf_counter()
    result = searcher.search(SPACE, queries, K, patients=patients, method=method)
    rate = len(queries) / (time.perf_counter() - started)
    found = 0
    for hits, best in zip(result.hits, truth, strict=True):
        found += len({int(hit.patient[1:]) for hit in hits} & set(best.tolist()))
    times = []
    for query in queries[:100]:
        started = time.perf_counter()
        searcher.search(SPACE, query[None], K, patients=patients, method=method)
        times.append(time.perf_counter() - started)
    recall = found / sum(len(best) for best in truth)
    return Line(name, result.rows, result.method, recall, float(np.median(times)) * 1e3, rate)


def _nearest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], rows: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    nearest = []
    for start in range(0, len(queries), 50):
        scores = queries[start : start + 50].astype(np.float64) @ vectors.T.astype(np.float64) / lengths
        nearest += [rows[np.argsort(-line, kind="stable")[:K]] for line in scores]
    return nearest


def _progress(step: str, done: int, total: int | None) -> None:
    print(f"\r{step}: {done:,} of {total or 0:,}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit status tells whether every plan reached recall@10 of .99."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    chosen = parser.parse_args(arguments)
    vectors, cluster, queries = Mixture().draw(chosen.rows, chosen.queries, chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "benchmark.molsig")
        seconds = fill(store, vectors)
        print(file=sys.stderr)
        searcher = Searcher(store)
        lines = [
            measure(searcher, name, kept, vectors, queries) for name, kept in filters(cluster, chosen.seed).items()
        ]
        lines.append(measure(searcher, "none, exact asked for", None, vectors, queries, "exact"))
    if chosen.json:
        print(
            json.dumps({"rows": chosen.rows, "dims": DIM, "k": K, **seconds, "plans": [asdict(line) for line in lines]})
        )
    else:
        print(
            f"{chosen.rows:,} x {DIM} clustered vectors, {chosen.queries} queries; stored in {seconds['commit']:.1f} s,"
            f" index built in {seconds['build']:.1f} s (recall@10 {seconds['measured_recall']:.4f} on held-out rows,"
            f" depth {seconds['depth']:.0f}, effort {seconds['effort']:.0f})\n"
        )
        print("| filter | rows in play | plan | recall@10 | p50 ms | queries/s in a batch |\n|---|---|---|---|---|---|")
        for line in lines:
            told = f"{line.recall:.4f} | {line.p50_ms:.2f} | {line.queries_per_s:,.0f}"
            print(f"| {line.filter} | {line.rows:,} | {line.plan} | {told} |")
    return 0 if all(line.recall >= 0.99 for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
