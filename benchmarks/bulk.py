"""Ready vectors into the truth and out again: ``python -m benchmarks.bulk [--rows 100000] [--sizes 50000 100000 ...]``.

1. One ingest taken apart: seconds, rows a second and how many times longer each step takes than writing the same bytes
   with numpy and fsync, which is measured before and after it (the longer is told too: disks differ from one second to
   the next). Vectors come out of the truth with `Store.vectors`, beside a plain copy of the same bytes.
2. ``molsig ingest`` as users have it, a process for each size: seconds and peak memory, with and without the indexes.

Vectors are random, 100 tiles a patient; time and memory do not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index import commit as commits
from molsig.index import connection, writer
from molsig.index.store import Store
from molsig.ingest.cohort import Cohort, digest_source
from molsig.ingest.vectors import read_vectors
from molsig.reference import Reference
from molsig.reference.committing import commit_records
from molsig.reference.encoding import ReadyVectors
from molsig.types import DIM, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TILES = 100
"""Tiles of each patient."""

_BLOCK = 16_384

Seconds = defaultdict[str, float]


def files(folder: Path, rows: int) -> dict[str, Path]:
    """The files of so many vectors: `path` and `ids`."""
    return {"path": folder / f"vectors-{rows}.npy", "ids": folder / f"ids-{rows}.tsv"}


def make(folder: Path, rows: int) -> None:
    """Write random vectors and their ids."""
    random = np.random.default_rng(rows)
    vectors, ids = files(folder, rows).values()
    mapped = np.lib.format.open_memmap(vectors, mode="w+", dtype=np.float32, shape=(rows, DIM))
    for start in range(0, rows, _BLOCK):
        stop = min(rows, start + _BLOCK)
        mapped[start:stop] = random.standard_normal((stop - start, DIM), dtype=np.float32)
    mapped.flush()
    lines = (f"P{i // TILES:06d}-01\tP{i // TILES:06d}\t{i % TILES},{i % 7}\n" for i in range(rows))
    with ids.open("w") as file:
        file.write("sample\tpatient\titem\n")
        file.writelines(lines)


def floor(folder: Path, vectors: np.ndarray) -> float:
    """Seconds to write vectors with numpy and wait until they are on disk."""
    path = folder / "floor.bin"
    start = time.perf_counter()
    with path.open("wb") as file:
        vectors.tofile(file)
        os.fsync(file.fileno())
    took = time.perf_counter() - start
    path.unlink()
    return took


@contextmanager
def timed(seconds: Seconds, step: str) -> Iterator[None]:
    """Add the length of the block to a step."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] += time.perf_counter() - start


@contextmanager
def watched(seconds: Seconds, places: list[tuple[Any, str, str]]) -> Iterator[None]:
    """Time every call of some functions (module, name, step) for the length of the block."""
    before = [(module, name, getattr(module, name)) for module, name, _ in places]

    def wrap(function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with timed(seconds, step):
                return function(*args, **options)

        return call

    for (module, name, function), (_, _, step) in zip(before, places, strict=True):
        setattr(module, name, wrap(function, step))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def take_apart(folder: Path, rows: int) -> dict[str, Any]:
    """Time the steps of one ingest; those of a commit are inside ``commit``, but for ``open and close``."""
    vectors, ids = files(folder, rows).values()
    plain = np.load(vectors)
    floors = [floor(folder, plain)]
    seconds: Seconds = defaultdict(float)
    source = Cohort.of(vectors={"tile": {"path": vectors, "ids": ids}}).vectors[0]
    with timed(seconds, "hash the files"):
        digest_source(source)
    with timed(seconds, "read and check"):
        records = read_vectors(vectors, modality="tile", ids=ids)
    ready = ReadyVectors(records)
    with timed(seconds, "hash each vector"):
        ready.digests(records)
    store = Store.create(folder / "apart.molsig")
    inside = [
        (writer, "lay_out", "- lay out, check"),
        (commits, "_check_against_store", "- compare with what is stored"),
        (commits, "_decide", "- compare with what is stored"),
        (commits, "_write", "- insert, sums included"),
        (commits.aggregates, "refresh", "  - sums"),
        (connection, "_connect", "- open and close"),
        (connection, "_close", "- open and close"),
    ]
    with store.writer("bulk") as held, watched(seconds, inside), timed(seconds, "commit"):
        commit_records(store, held, [records], [ready], replace=False, allow_missing=False, progress=silent)
    out: Seconds = defaultdict(float)
    for _ in range(3):
        with timed(out, "vectors"):
            _, read = store.vectors(records.encoder)
        with timed(out, "copy"):
            plain.copy()
    floors.append(floor(folder, plain))
    if not np.array_equal(np.sort(read[:, 0]), np.sort(plain[:, 0])):
        raise SystemExit("what came out is not what went in")
    return {
        "rows": rows,
        "floor_s": [round(one, 3) for one in floors],
        "steps_s": {step: round(took, 3) for step, took in seconds.items()},
        "out_s": {step: round(took / 3, 3) for step, took in out.items()},
    }


def whole(folder: Path, rows: int, *, index: bool) -> dict[str, Any]:
    """Ingest in this process, indexes included or not."""
    if not index:
        from molsig.index import building

        building.build_indexes = lambda *_, **__: []  # type: ignore[assignment]
    cohort = Cohort.of(vectors={"tile": files(folder, rows)})
    report = Reference.ingest_into(folder / f"{rows}-{index}.molsig", cohort)
    return {"rows": rows, "index": index, "seconds": report.seconds, "peak_mb": report.peak_mb}


def in_child(task: str, folder: Path, rows: int) -> Any:
    """Do one of `TASKS` in a process of its own, so that its peak memory is its own; this one stays small."""
    command = [sys.executable, "-m", "benchmarks.bulk", "--task", task, "--folder", str(folder), "--rows", str(rows)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


TASKS: dict[str, Callable[[Path, int], Any]] = {
    "make": make,
    "apart": take_apart,
    "truth": partial(whole, index=False),
    "index": partial(whole, index=True),
}


def show(parts: dict[str, Any], ingests: list[dict[str, Any]]) -> None:
    """Print both tables."""
    rows, low, high = parts["rows"], min(parts["floor_s"]), max(parts["floor_s"])
    print(f"{rows:,} vectors, {rows * DIM * 4 / 1e6:,.0f} MB; numpy write + fsync {low} to {high} s\n")
    print("| step | s | rows/s | x numpy write + fsync |\n|---|---:|---:|---:|")
    for step, took in parts["steps_s"].items():
        print(f"| {step} | {took:.2f} | {rows / took:,.0f} | {took / high:.1f} to {took / low:.1f} |")
    for step, took in parts["out_s"].items():
        print(f"| out: {step} | {took:.3f} | {rows / took:,.0f} | {rows * DIM * 4 / took / 1e9:.1f} GB/s |")
    print("\n| rows | indexes | s | rows/s | peak MB |\n|---:|---|---:|---:|---:|")
    for one in ingests:
        built = "built" if one["index"] else "left out"
        took = one["seconds"]
        print(f"| {one['rows']:,} | {built} | {took:.1f} | {one['rows'] / took:,.0f} | {one['peak_mb']:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[50_000, 100_000, 200_000])
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--index", action="store_true", help="build the indexes too in part 2")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](options.folder, options.rows)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        for rows in {options.rows, *options.sizes}:
            in_child("make", folder, rows)
        parts = in_child("apart", folder, options.rows)
        tasks = ["truth", "index"] if options.index else ["truth"]
        ingests = [in_child(task, folder, rows) for rows in options.sizes for task in tasks]
    if options.json:
        print(json.dumps({"apart": parts, "ingests": ingests}, indent=1))
    else:
        show(parts, ingests)


if __name__ == "__main__":
    main()
