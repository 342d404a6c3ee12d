"""molsig beside the faiss that it searches with, in the very same plan: ``python -m benchmarks.same_plan``.

The vectors are those of `benchmarks.peers`. molsig ingests them and builds the index that it chooses by itself, and in
a second reference the best that faiss has for so many rows: RaBitQ codes, in cells above `NEVER_FLAT` rows. Raw faiss
searches that same structure in memory, with as many cells and proposed rows as molsig's tuning chose, and refines them
from float32 vectors in memory by faiss's own `IndexRefine`. That gives bare arrays: molsig checks the state of the
files, orders by cosines summed in float64, and gives records (one query) or a table (a batch) with ids and patient
columns. All take turns; told are the median of single queries, the best batch, and how often as long molsig takes, in
the same plan and in its own.
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
from molsig.evaluate.clustered import Mixture
from molsig.index.search import EXACT_ROWS
from molsig.index.structure import NEVER_FLAT, faiss, threads_for

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
    """Microseconds a query, one by one and in a batch, of the three."""
    if len(task.base) <= EXACT_ROWS:
        raise SystemExit(f"molsig searches {len(task.base):,} patients exactly: ask for more than {EXACT_ROWS:,}")
    own, same = Molsig(), Molsig()
    for engine, method in ((own, "auto"), (same, "rabitq" if len(task.base) <= NEVER_FLAT else "ivf-rabitq")):
        (folder / method).mkdir()
        engine.build(task, folder / method)
        engine.open(task, folder / method)
        if method != "auto":
            engine.reference.build_indexes(method=method)
            engine.reference.warm()
    chosen, (generation, view) = _indexed(own)[0].info, _indexed(same)
    structure, info = generation.structure(), generation.info
    ask = raw(structure, info.effort, info.depth, generation.file.matrix)
    ways: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "own": (lambda query: own.one(query, None), lambda queries: own.many(queries, None)),
        "molsig": (lambda query: same.one(query, None), lambda queries: same.many(queries, None)),
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
        "own": {"structure": chosen.method, **chosen.parameters, "opened": chosen.effort, "depth": chosen.depth},
        "structure": info.method,
        "cells": info.effort if info.method == "ivf-rabitq" else None,
        "depth": info.depth,
        "recall": {
            "own": _recall(own.rows_of_many(own.many(task.queries, None)), truth),
            "molsig": _recall(same.rows_of_many(same.many(task.queries, None)), truth),
            "faiss": _recall([_patients(view, rows) for rows in ask(task.queries)], truth),
        },
        "one_us": {name: round(float(np.median(times)), 1) for name, times in one.items()},
        "batch_us": {name: round(min(times), 1) for name, times in batch.items()},
        "one_ratio": {
            name: round(float(np.median(np.divide(one[name], one["faiss"]))), 2) for name in ("own", "molsig")
        },
        "batch_ratio": {name: round(min(batch[name]) / min(batch["faiss"]), 2) for name in ("own", "molsig")},
    }


def _indexed(engine: Molsig) -> tuple[Any, Any]:
    """The generation of an engine's modality, and the view that it is seen from."""
    reference = engine.reference
    view = reference._searcher.view(reference._store.active_spaces()[MODALITY])
    assert view.generation is not None
    return view.generation, view


def _patients(view: Any, rows: NDArray[np.int64]) -> list[int]:
    """Numbers of the patients of some rows: a row's number is its position, as nothing was deleted."""
    return [int(name[1:]) for name in view.texts["patient"].at(rows)]


def _recall(found: Any, truth: NDArray[np.int64]) -> float:
    shared = [len(set(rows) & set(best.tolist())) for rows, best in zip(found, truth, strict=True)]
    return round(float(np.mean(shared)) / K, 4)


def as_text(lines: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    table = [
        "| patients | plan | recall@10 | one query, us | of faiss | in a batch, us | of faiss |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for one in lines:
        cells = "" if one["cells"] is None else f"{one['cells']} cells, "
        same, own = f"{one['structure']}, {cells}{one['depth']} rows", one["own"]
        cells = f"{own['opened']} of {own['cells']} cells, " if "cells" in own else ""
        chosen = f"{own['structure']}, {cells}{own['depth']} rows"
        for name, plan in (
            ("own", f"molsig as it chooses: {chosen}"),
            ("molsig", f"molsig told to use {same}"),
            ("faiss", f"faiss, {same}"),
        ):
            ratios = [f"{one[what][name]:.2f}" if name != "faiss" else "1" for what in ("one_ratio", "batch_ratio")]
            table.append(
                f"| {one['patients']:,} | {plan} | {one['recall'][name]:.4f} | {one['one_us'][name]:.0f} | {ratios[0]}"
                f" | {one['batch_us'][name]:.1f} | {ratios[1]} |"
            )
    return "\n".join(table)


def main(argv: list[str] | None = None) -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000", help="sizes, parted by commas")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--intrinsic", type=int, default=Mixture.intrinsic, help="directions that vectors differ along")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    lines = []
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory(prefix="same-plan-") as scratch:
            place = Path(scratch) / "task"
            make(place, rows, options.queries, options.seed, Mixture(intrinsic=options.intrinsic))
            lines.append(measured(Task.load(place), Path(scratch), options.rounds))
    print(json.dumps(lines, indent=1) if options.json else as_text(lines))


if __name__ == "__main__":
    main()
