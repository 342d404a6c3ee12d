"""Fused queries as a reference grows: ``python -m benchmarks.fused_scale [--sizes 5000,20000,...] [--folder DIR]``.

Invented patients with vectors of RNA, mutations and miRNA, or of what ``--modalities`` names; what they have in common
is their cluster, and cancer types are groups of clusters. The evidence is learned on the first size and kept while
patients are added, so that every size is asked in the same way. Asked are new patients with all modalities, one by one,
once what stored patients say is held (as far as the memory allowed goes). Prints milliseconds by size, with the
exponent of the line through their logarithms: 1 would be a cost that grows as the patients do.

A size is the one before it, copied, and what is added to it. A million patients take half an hour or more to make and
some 60 GB while they are made, 25 GB after; with ``--keep`` they stay in the folder and are asked again by the next
call. Each size is made and asked in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molsig.evaluate.clustered import Mixture
from molsig.reference import Reference
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MODALITIES = ("rna", "mutation", "mirna")
TYPES = 30
SITES = 40
QUERIES = 200
WARMING = 20
"""Queries asked before those that are timed."""
_BLOCK = 10_000


class Patients:
    """Vectors that share their cluster over all modalities, drawn in the same way at any size.

    Parameters
    ----------
    types
        How many cancer types they have.
    modalities
        What each of them has a vector of.
    """

    def __init__(self, types: int = TYPES, modalities: Sequence[str] = MODALITIES, seed: int = 3) -> None:
        self.modalities = tuple(modalities)
        random = np.random.default_rng(seed)
        self._mixture = Mixture()
        shape = (self._mixture.centres, self._mixture.intrinsic)
        self._centres = {m: random.standard_normal(shape) for m in modalities}
        self._turns = {m: np.linalg.qr(random.standard_normal((DIM, self._mixture.intrinsic)))[0].T for m in modalities}
        self.type_of = random.integers(0, types, self._mixture.centres)

    def draw(self, rows: int, seed: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
        """Clusters, and float32 vectors (rows, 768) of each modality."""
        random = np.random.default_rng(seed)
        mix = self._mixture
        cluster = random.integers(0, mix.centres, rows)
        vectors = {}
        for modality in self.modalities:
            inner = self._centres[modality][cluster] + mix.spread * random.standard_normal((rows, mix.intrinsic))
            noise = mix.noise * np.linalg.norm(inner, axis=1, keepdims=True) / np.sqrt(DIM)
            block = random.standard_normal((rows, DIM), dtype=np.float32)
            block *= noise.astype(np.float32)
            block += inner.astype(np.float32) @ self._turns[modality].astype(np.float32)
            vectors[modality] = block
        return cluster, vectors


def grow(reference: Reference, folder: Path, start: int, stop: int, drawn: Patients) -> None:
    """Ingest the patients from `start` to `stop` as files, all at once: the indexes are built once."""
    clusters = np.empty(stop - start, np.int64)
    shape = (stop - start, DIM)
    blocks = {
        modality: np.lib.format.open_memmap(folder / f"{modality}.npy", mode="w+", dtype=np.float32, shape=shape)
        for modality in drawn.modalities
    }
    for first in range(0, len(clusters), _BLOCK):
        some = slice(first, min(first + _BLOCK, len(clusters)))
        clusters[some], vectors = drawn.draw(some.stop - first, 1_000 + start + first)
        for modality, block in vectors.items():
            blocks[modality][some] = block
            blocks[modality].flush()
    del blocks
    numbers = range(start, stop)
    names = [f"P{number:08d}" for number in numbers]
    kinds = [f"T{kind:02d}" for kind in drawn.type_of[clusters].tolist()]
    sites = [f"S{number % SITES:02d}" for number in numbers]
    pq.write_table(pa.table({"patient": names, "cancer_type": kinds, "site": sites}), folder / "patients.parquet")
    (folder / "ids.txt").write_text("\n".join(names) + "\n")
    sources = {m: {"path": folder / f"{m}.npy", "ids": folder / "ids.txt"} for m in drawn.modalities}
    reference.ingest(vectors=sources, patients=folder / "patients.parquet", learn=False)


def make(folder: Path, size: int, before: int, drawn: Patients) -> dict[str, Any]:
    """Make the reference of a size from the one of `before` patients, which is none where that is 0."""
    unfinished = folder / f"{size}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    begin = time.perf_counter()
    place = unfinished / "scale.molsig"
    if before:
        shutil.copytree(place_of(folder, before), place)
        reference = Reference.open(place)
    else:
        reference = Reference.create(place)
    grow(reference, unfinished, before, size, drawn)
    if not before:
        reference.learn("cancer_type", groups="site")
    place.rename(place_of(folder, size))
    shutil.rmtree(unfinished)
    return {"added_s": round(time.perf_counter() - begin, 1), "making_peak_mb": _peak_mb()}


def place_of(folder: Path, size: int) -> Path:
    """The reference of a size."""
    return folder / f"{size}.molsig"


def ask(folder: Path, size: int, queries: int, drawn: Patients) -> dict[str, Any]:
    """Ask new patients one by one."""
    reference = Reference.open(place_of(folder, size))
    if (stored := {one["modality"] for one in reference.encoders()}) != set(drawn.modalities):
        raise SystemExit(f"{place_of(folder, size)} has {', '.join(sorted(stored))}: ask for these, or choose a folder")
    clusters, vectors = drawn.draw(queries + WARMING, 7)
    asked = [{m: vectors[m][row] for m in drawn.modalities} for row in range(queries + WARMING)]
    begin = time.perf_counter()
    held = reference.warm("cancer_type")
    warming = time.perf_counter() - begin
    how: dict[str, Any] = {"vote": "cancer_type", "fusion": "evidence"}
    for one in asked[queries:]:
        reference.query_vectors(one, **how)
    times, right, candidates = [], 0, []
    for one, cluster in zip(asked[:queries], clusters.tolist(), strict=False):
        begin = time.perf_counter()
        answer = reference.query_vectors(one, **how)
        times.append(1e3 * (time.perf_counter() - begin))
        right += answer.calls["cancer_type"].label == f"T{drawn.type_of[cluster]:02d}"
        candidates.append(answer.plan.candidates)
    return {
        "patients": size,
        "held": held,
        "warming_s": round(warming, 1),
        "p50_ms": round(float(np.median(times)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "called_right": right / queries,
        "candidates": round(float(np.median(candidates))),
        "asking_peak_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _in_child(*words: object) -> dict[str, Any]:
    """Do one task in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fused_scale", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5000,20000,60000,200000", help="patients, parted by commas, growing")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--types", type=int, default=TYPES, help="cancer types")
    parser.add_argument("--modalities", default=",".join(MODALITIES), help="parted by commas; report is another")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--keep", action="store_true", help="leave what was made in the folder, and use what is there")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.task:
        task, size, other = options.task[0], int(options.task[1]), int(options.task[2])
        drawn = Patients(options.types, options.modalities.split(","))
        print(json.dumps({"make": make, "ask": ask}[task](options.folder, size, other, drawn)))
        return
    words = ("--types", options.types, "--modalities", options.modalities)
    sizes = sorted({int(one) for one in options.sizes.split(",")})
    if options.keep:
        if options.folder is None:
            parser.error("--keep needs a --folder")
        options.folder.mkdir(parents=True, exist_ok=True)
        lines = measured(options.folder, sizes, options.queries, words, keep=True)
    else:
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            lines = measured(Path(place), sizes, options.queries, words, keep=False)
    times = [one["p50_ms"] for one in lines]
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0]) if len(sizes) > 1 else float("nan")
    if options.json:
        print(json.dumps({"sizes": lines, "exponent": exponent}, indent=1))
        return
    print(as_text(lines))
    if len(sizes) > 1:
        print(f"\nmilliseconds grow as patients to the power of {exponent:.2f}")


def measured(
    folder: Path, sizes: Sequence[int], queries: int, words: Sequence[object], *, keep: bool
) -> list[dict[str, Any]]:
    """Make and ask every size; `words` say what patients are like."""
    lines, before, shared = [], 0, ("--folder", folder, *words)
    for size in sizes:
        made: dict[str, Any] = {"added_s": None, "making_peak_mb": None}
        if not place_of(folder, size).exists():
            made = _in_child(*shared, "--task", "make", size, before)
        if before and not keep:
            shutil.rmtree(place_of(folder, before))
        lines.append(_in_child(*shared, "--task", "ask", size, queries) | made)
        before = size
    return lines


def as_text(lines: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    head = "| patients | p50 ms | p95 ms | called right | candidates | held in memory | loading s | peak MB |"
    table = [head, "|---:|---:|---:|---:|---:|---|---:|---:|"]
    for one in lines:
        held = "yes" if one["held"] else "no"
        table.append(
            f"| {one['patients']:,} | {one['p50_ms']} | {one['p95_ms']} | {one['called_right']:.3f}"
            f" | {one['candidates']:,} | {held} | {one['warming_s']} | {one['asking_peak_mb']:,} |"
        )
    return "\n".join(table)


if __name__ == "__main__":
    main()
