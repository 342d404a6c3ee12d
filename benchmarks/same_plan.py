"""molsig beside the faiss that it searches with, in the very same plan: ``python -m benchmarks.same_plan``.

The vectors are those of `benchmarks.peers`. molsig ingests and indexes them; then raw faiss searches the same structure
in memory, with as many cells and proposed rows as molsig's tuning chose, and refines them from float32 vectors in
memory by faiss's own `IndexRefine`. That gives bare arrays: molsig checks the state of the files, orders by cosines
summed in float64, and gives records (one query) or a table (a batch) with ids and patient columns. Both take turns;
told are the median of single queries, the best batch, and how often as long molsig takes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers.task import K, Task, make
from benchmarks.peers.with_molsig import MODALITY, Molsig
from molsig.index.search import EXACT_ROWS
from molsig.index.structure import faiss, threads_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROUNDS = 5


def raw(structure: Any, effort: int, depth: int, vectors: NDArray[np.float32]) -> Callable[..., NDArray[np.int64]]:
    """Search of a structure of molsig's, refined from vectors that are copied into faiss; gives rows (q, K)."""
    module = faiss()
    fine = module.IndexFlatIP(vectors.shape[1])
    fine.add(np.ascontiguousarray(vectors))
    index = module.IndexRefine(structure._index, fine)
    inner = None
    if structure.method == "ivf-rabitq":
        inner = module.IVFRaBitQSearchParameters()
        inner.nprobe = effort
    how = module.IndexRefineSearchParameters(k_factor=depth / K, base_index_params=inner)
    # All of it is kept beside the search: faiss holds it by its address.
    kept = (fine, index, inner, how)

    def search(queries: NDArray[np.float32]) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = kept[1].search(queries, K, params=kept[3])[1]
        return rows

    return search


def measured(task: Task, folder: Path, rounds: int) -> dict[str, Any]:
    """Microseconds a query, one by one and in a batch, of both."""
    if len(task.base) <= EXACT_ROWS:
        raise SystemExit(f"molsig searches {len(task.base):,} patients exactly: ask for more than {EXACT_ROWS:,}")
    engine = Molsig()
    engine.build(task, folder)
    engine.open(task, folder)
    searcher = engine.reference._searcher
    view = searcher.view(engine.reference._store.active_spaces()[MODALITY])
    generation = view.generation
    assert generation is not None
    structure, info = generation.structure(), generation.info
    ask = raw(structure, info.effort, info.depth, generation.file.matrix)
    ways: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "molsig": (lambda query: engine.one(query, None), lambda queries: engine.many(queries, None)),
        "faiss": (lambda query: ask(query[None]), ask),
    }
    one: dict[str, list[float]] = {name: [] for name in ways}
    batch: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (single, many) in ways.items():
            # faiss is quicker on one thread here, which molsig gives it for few queries.
            with threads_for(1):
                for query in task.tuning[:20]:
                    single(query)
                taken = []
                for query in task.queries:
                    started = time.perf_counter()
                    single(query)
                    taken.append(time.perf_counter() - started)
            one[name].append(1e6 * float(np.median(taken)))
            started = time.perf_counter()
            many(task.queries)
            batch[name].append(1e6 * (time.perf_counter() - started) / len(task.queries))
    truth = task.truth["queries/none"]
    return {
        "patients": len(task.base),
        "structure": info.method,
        "cells": info.effort if info.method == "ivf-rabitq" else None,
        "depth": info.depth,
        "recall": {
            "molsig": _recall(engine.rows_of_many(engine.many(task.queries, None)), truth),
            "faiss": _recall([_patients(view, rows) for rows in ask(task.queries)], truth),
        },
        "one_us": {name: round(float(np.median(times)), 1) for name, times in one.items()},
        "batch_us": {name: round(min(times), 1) for name, times in batch.items()},
        "one_ratio": round(float(np.median(np.divide(one["molsig"], one["faiss"]))), 2),
        "batch_ratio": round(min(batch["molsig"]) / min(batch["faiss"]), 2),
    }


def _patients(view: Any, rows: NDArray[np.int64]) -> list[int]:
    """Numbers of the patients of some rows: a row's number is its position, as nothing was deleted."""
    return [int(name[1:]) for name in view.texts["patient"].at(rows)]


def _recall(found: Any, truth: NDArray[np.int64]) -> float:
    shared = [len(set(rows) & set(best.tolist())) for rows, best in zip(found, truth, strict=True)]
    return round(float(np.mean(shared)) / K, 4)


def as_text(lines: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    table = [
        "| patients | plan | recall@10 molsig / faiss | one query, us | ratio | in a batch, us | ratio |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for one in lines:
        cells = "" if one["cells"] is None else f"{one['cells']} cells, "
        plan = f"{one['structure']}, {cells}{one['depth']} rows"
        single, batch = one["one_us"], one["batch_us"]
        table.append(
            f"| {one['patients']:,} | {plan} | {one['recall']['molsig']:.4f} / {one['recall']['faiss']:.4f}"
            f" | {single['molsig']:.0f} / {single['faiss']:.0f} | {one['one_ratio']:.2f}"
            f" | {batch['molsig']:.1f} / {batch['faiss']:.1f} | {one['batch_ratio']:.2f} |"
        )
    return "\n".join(table)


def main(argv: list[str] | None = None) -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000", help="sizes, parted by commas")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    lines = []
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory(prefix="same-plan-") as scratch:
            place = Path(scratch) / "task"
            make(place, rows, options.queries, options.seed)
            lines.append(measured(Task.load(place), Path(scratch), options.rounds))
    print(json.dumps(lines, indent=1) if options.json else as_text(lines))


if __name__ == "__main__":
    main()
