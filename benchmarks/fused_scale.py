"""Fused queries as a reference grows: ``python -m benchmarks.fused_scale [--sizes 5000,10000,100000] [--folder DIR]``.

Invented patients with RNA, mutation and miRNA vectors; what they have in common is their cluster, and cancer types are
groups of clusters. The evidence is learned on the first size and kept while patients are added, so that every size is
asked in the same way. Asked are new patients with all three, one by one, once what stored patients say is held (or,
where they are too many for the memory allowed, read for each query). Prints milliseconds by size, with the exponent of
the line through their logarithms: 1 would be a cost that grows as the patients do.
"""

from __future__ import annotations

import argparse
import json
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
    from collections.abc import Iterator

    from numpy.typing import NDArray

MODALITIES = ("rna", "mutation", "mirna")
TYPES = 30
SITES = 40
QUERIES = 200
_BLOCK = 50_000


class Patients:
    """Vectors that share their cluster over all modalities, drawn in the same way at any size."""

    def __init__(self, seed: int = 3) -> None:
        random = np.random.default_rng(seed)
        self._mixture = Mixture()
        shape = (self._mixture.centres, self._mixture.intrinsic)
        self._centres = {m: random.standard_normal(shape) for m in MODALITIES}
        self._turns = {m: np.linalg.qr(random.standard_normal((DIM, self._mixture.intrinsic)))[0].T for m in MODALITIES}
        self.type_of = random.integers(0, TYPES, self._mixture.centres)

    def draw(self, rows: int, seed: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
        """Clusters, and float32 vectors (rows, 768) of each modality."""
        random = np.random.default_rng(seed)
        mix = self._mixture
        cluster = random.integers(0, mix.centres, rows)
        vectors = {}
        for modality in MODALITIES:
            inner = self._centres[modality][cluster] + mix.spread * random.standard_normal((rows, mix.intrinsic))
            noise = mix.noise * np.linalg.norm(inner, axis=1, keepdims=True) / np.sqrt(DIM)
            block = inner @ self._turns[modality]
            vectors[modality] = (block + noise * random.standard_normal(block.shape)).astype(np.float32)
        return cluster, vectors


def grow(reference: Reference, drawn: Patients, folder: Path, start: int, stop: int, *, learn: bool) -> None:
    """Ingest the patients from `start` to `stop` as files."""
    for first, last in _parts(start, stop):
        cluster, vectors = drawn.draw(last - first, 1_000 + first)
        names = [f"P{number:08d}" for number in range(first, last)]
        types = [f"T{kind:02d}" for kind in drawn.type_of[cluster].tolist()]
        sites = [f"S{number % SITES:02d}" for number in range(first, last)]
        pq.write_table(pa.table({"patient": names, "cancer_type": types, "site": sites}), folder / "patients.parquet")
        sources = {}
        for modality, block in vectors.items():
            np.save(folder / f"{modality}.npy", block)
            (folder / f"{modality}.txt").write_text("\n".join(names) + "\n")
            sources[modality] = {"path": folder / f"{modality}.npy", "ids": folder / f"{modality}.txt"}
        reference.ingest(vectors=sources, patients=folder / "patients.parquet", learn=False)
    if learn:
        reference.learn("cancer_type", groups="site")


def _parts(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, _BLOCK):
        yield first, min(stop, first + _BLOCK)


def ask(path: Path, drawn: Patients, queries: int) -> dict[str, Any]:
    """Ask new patients one by one."""
    reference = Reference.open(path)
    clusters, vectors = drawn.draw(queries + 20, 7)
    asked = [{m: vectors[m][row] for m in MODALITIES} for row in range(queries + 20)]
    held = reference.warm("cancer_type")
    how: dict[str, Any] = {"vote": "cancer_type", "fusion": "evidence"}
    for one in asked[queries:]:
        reference.query_vectors(one, **how)
    times, right = [], 0
    for one, cluster in zip(asked[:queries], clusters.tolist(), strict=False):
        begin = time.perf_counter()
        answer = reference.query_vectors(one, **how)
        times.append(1e3 * (time.perf_counter() - begin))
        right += answer.calls["cancer_type"].label == f"T{drawn.type_of[cluster]:02d}"
    return {
        "held": held,
        "p50_ms": round(float(np.median(times)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "called_right": right / queries,
        "candidates": answer.plan.candidates,
    }


def main() -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5000,10000,30000,100000", help="patients, parted by commas, growing")
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = sorted({int(one) for one in options.sizes.split(",")})
    drawn, lines, before = Patients(), [], 0
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        reference = Reference.create(folder / "scale.molsig")
        for size in sizes:
            begin = time.perf_counter()
            grow(reference, drawn, folder, before, size, learn=not before)
            taken = time.perf_counter() - begin
            lines.append({"patients": size, "added_s": round(taken, 1), **ask(reference.path, drawn, options.queries)})
            before = size
    times = [one["p50_ms"] for one in lines]
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0]) if len(sizes) > 1 else float("nan")
    if options.json:
        print(json.dumps({"sizes": lines, "exponent": exponent}, indent=1))
        return
    print("| patients | p50 ms | p95 ms | called right | held in memory | candidates |\n|---:|---:|---:|---:|---|---:|")
    for one in lines:
        told = f"{one['p50_ms']} | {one['p95_ms']} | {one['called_right']:.3f} | {'yes' if one['held'] else 'no'}"
        print(f"| {one['patients']:,} | {told} | {one['candidates']:,} |")
    print(f"\nmilliseconds grow as patients to the power of {exponent:.2f}")


if __name__ == "__main__":
    main()
