"""A whole archive on one machine: ``python -m benchmarks.archive [--share 1.0] [--folder DIR] [--json]``.

As many vectors as the source study holds (3,558 of RNA, 3,189 of mutations, 204,765 of report sentences, 1,032,600 of
tiles; doi 10.1101/2025.05.14.653900), invented: clusters of few real dimensions, each patient's tiles and sentences
from five of them. They are written as files, ingested as users do it, indexes included, and searched. Each step is a
process of its own, so that its peak memory is its own; memory that is backed by a file, which the system can take back,
is told apart from the rest.

- ingest: seconds from files to indexes that answer, and peak memory;
- reopened: a new process, from the start of Python to the first answer, with the files in the system's cache and after
  they were put out of it;
- queries: ``Reference.nearest`` in the tiles and in the sentences, one by one and as a batch, patients with their
  columns and how far they agree with exact search; after `Reference.warm`, and, one by one, of rows that this process
  has never looked at, in the system's cache and on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from molsig.evaluate.clustered import Mixture
from molsig.reference import Reference
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

CORPUS = {"rna": 3_558, "mutation": 3_189, "report": 204_765, "tile": 1_032_600}
PATIENTS = 3_558
TILED = 1_033
"""Patients with tiles, some thousand each."""
CLUSTERS = 5
"""Clusters that a patient's tiles or sentences are from."""
K = 10
SINGLE, BATCH, JUDGED = 300, 1_000, 100
"""Queries asked one by one, as a batch, and of exact search too."""
_BLOCK = 16_384


def sizes(share: float) -> dict[str, int]:
    """Vectors of each modality, for a share of the archive."""
    return {modality: max(500, round(rows * share)) for modality, rows in CORPUS.items()}


def make(folder: Path, share: float) -> dict[str, Any]:
    """Write the files: vectors, ids, patient columns, and queries drawn the same way."""
    random = np.random.default_rng(0)
    mixture = Mixture()
    for number, (modality, rows) in enumerate(sizes(share).items()):
        many = modality in ("report", "tile")
        patients = max(50, round((TILED if modality == "tile" else PATIENTS) * share)) if many else rows
        vectors, cluster, queries = mixture.draw(rows, BATCH, number)
        owner = np.arange(rows) if not many else _owners(cluster, patients, random)
        order = np.argsort(owner, kind="stable")
        out = np.lib.format.open_memmap(folder / f"{modality}.npy", mode="w+", dtype=np.float32, shape=(rows, DIM))
        for start in range(0, rows, _BLOCK):
            out[start : start + _BLOCK] = vectors[order[start : start + _BLOCK]]
        out.flush()
        np.save(folder / f"{modality}-queries.npy", queries)
        names = [f"P{patient:05d}" for patient in owner[order].tolist()]
        table = pa.table(
            {"sample": [f"{name}-01" for name in names], "patient": names, "item": [str(row) for row in range(rows)]}
        )
        if not many:
            table = table.drop_columns(["item"])
        pa_csv.write_csv(table, folder / f"{modality}.tsv", pa_csv.WriteOptions(delimiter="\t", quoting_style="none"))
    everyone = [f"P{patient:05d}" for patient in range(max(rows for m, rows in sizes(share).items() if m == "rna"))]
    kinds = random.integers(0, 33, len(everyone))
    table = pa.table({"patient": everyone, "cancer_type": [f"T{kind:02d}" for kind in kinds.tolist()]})
    pa_csv.write_csv(table, folder / "patients.tsv", pa_csv.WriteOptions(delimiter="\t", quoting_style="none"))
    return {}


def _owners(cluster: NDArray[np.int64], patients: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A patient for each vector, of those who have its cluster."""
    clusters = int(cluster.max()) + 1
    have = np.stack([random.choice(clusters, CLUSTERS, replace=False) for _ in range(patients)])
    owner = np.empty(len(cluster), np.int64)
    for number in range(clusters):
        own = np.flatnonzero(cluster == number)
        among = np.flatnonzero((have == number).any(axis=1))
        owner[own] = random.choice(among if len(among) else patients, len(own))
    return owner


class Peak:
    """The most memory that this process had, in MB, looked at every 50 ms: what no file backs, and what one does."""

    def __init__(self) -> None:
        self.step = ""
        self._most = {"RssAnon": (0.0, ""), "RssFile": (0.0, "")}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in self._most:
                    self._most[name] = max(self._most[name], (int(rest.split()[0]) / 1e3, self.step))

    def told(self) -> dict[str, Any]:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
        (anonymous, during), (file, when) = self._most["RssAnon"], self._most["RssFile"]
        return {
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
            "peak_anonymous_mb": round(anonymous),
            "peak_anonymous_during": during,
            "peak_file_mb": round(file),
            "peak_file_during": when,
        }


def ingest(folder: Path, share: float) -> dict[str, Any]:
    """Files to a reference that answers."""
    peak = Peak()
    seen: dict[str, float] = {}
    last = [time.perf_counter(), "read"]

    def progress(step: str, done: int, total: int | None) -> None:
        now = time.perf_counter()
        seen[str(last[1])] = seen.get(str(last[1]), 0.0) + now - float(last[0])
        last[:] = [now, step]
        peak.step = step

    reference = Reference.create(folder / "archive.molsig")
    vectors = {m: {"path": folder / f"{m}.npy", "ids": folder / f"{m}.tsv"} for m in CORPUS}
    start = time.perf_counter()
    reference.ingest(vectors=vectors, patients=folder / "patients.tsv", learn=False, progress=progress)
    seconds = time.perf_counter() - start
    progress("", 0, None)
    facts = reference.info()
    return {
        "seconds": round(seconds, 1),
        **peak.told(),
        "gb": round(facts["bytes"] / 1e9, 2),
        "steps_s": {step: round(took, 1) for step, took in seen.items() if took >= 0.5},
        "indexes": [
            {key: one[key] for key in ("space", "method", "rows", "depth", "effort", "recall")}
            for one in facts["indexes"]
        ],
    }


def reopen(folder: Path, share: float) -> dict[str, Any]:
    """One query, of a process that has nothing yet."""
    query = np.load(folder / "tile-queries.npy")[0]
    start = time.perf_counter()
    reference = Reference.open(folder / "archive.molsig")
    opened = time.perf_counter()
    found = reference.nearest("tile", query)
    assert len(found) == K
    return {"open_s": round(opened - start, 3), "first_answer_s": round(time.perf_counter() - start, 3)}


def query(folder: Path, share: float) -> dict[str, Any]:
    """Queries of a process that has answered before: from the disk, of rows never looked at, and after `warm`."""
    reference = Reference.open(folder / "archive.molsig")
    peak = Peak()
    told: dict[str, Any] = {}
    asked = {modality: np.load(folder / f"{modality}-queries.npy") for modality in ("tile", "report", "rna")}
    for modality, some in asked.items():
        from_disk = _timed(reference, modality, some[-SINGLE:])
        remember(folder / "archive.molsig" / "index")
        _timed(reference, modality, some[-20:])
        first = _timed(reference, modality, some[:SINGLE])
        told[modality] = {"from_disk_p50_ms": _median(from_disk), "first_met_p50_ms": _median(first)}
    start = time.perf_counter()
    reference.warm()
    warming = time.perf_counter() - start
    for modality, some in asked.items():
        times = _timed(reference, modality, some[SINGLE : 2 * SINGLE])
        start = time.perf_counter()
        found = reference.nearest(modality, some)
        took = time.perf_counter() - start
        exact = reference.nearest(modality, some[:JUDGED], method="exact")
        told[modality] |= {
            "plan": found.plan.method,
            "rows": found.plan.rows,
            "recall": round(_agreement(exact.table, found.table), 4),
            "p50_ms": _median(times),
            "p99_ms": round(float(np.percentile(times, 99)), 3),
            "batch_per_s": round(len(some) / took),
        }
    return told | {"warming_s": round(warming, 2)} | peak.told()


def _timed(reference: Reference, modality: str, asked: NDArray[np.float32]) -> list[float]:
    """Milliseconds of one query after the other."""
    times = []
    for one in asked:
        start = time.perf_counter()
        reference.nearest(modality, one)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _median(times: list[float]) -> float:
    return round(float(np.median(times)), 3)


def _agreement(exact: pa.Table, found: pa.Table) -> float:
    """The share of exact search's patients who were found."""

    def pairs(table: pa.Table) -> Iterator[tuple[int, str]]:
        return zip(table["query"].to_pylist(), table["patient"].to_pylist(), strict=True)

    truth = set(pairs(exact))
    return len(truth & set(pairs(found))) / len(truth)


def remember(folder: Path) -> None:
    """Read the files once, so that the system has them in its cache."""
    for path in folder.rglob("*.vectors"):
        with path.open("rb") as file:
            while file.read(16 << 20):
                pass


def forget_cache(folder: Path) -> None:
    """Put the reference's files out of the system's cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


TASKS: dict[str, Callable[[Path, float], dict[str, Any]]] = {
    "make": make,
    "ingest": ingest,
    "reopen": reopen,
    "query": query,
}


def in_child(task: str, folder: Path, share: float) -> Any:
    """Do one of `TASKS` in a process of its own, and tell how long that took as a whole."""
    command = [sys.executable, "-m", "benchmarks.archive", "--task", task, "--folder", str(folder)]
    start = time.perf_counter()
    done = subprocess.run([*command, "--share", str(share)], check=True, stdout=subprocess.PIPE, text=True)
    return {"process_s": round(time.perf_counter() - start, 2)} | json.loads(done.stdout)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the archive; 0.01 is over in seconds")
    parser.add_argument("--folder", type=Path, help="where to write, some 12 GB; a temporary folder by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task](options.folder, options.share)))
        return
    told: dict[str, Any] = {"vectors": sum(sizes(options.share).values())}
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        in_child("make", folder, options.share)
        told["ingest"] = in_child("ingest", folder, options.share)
        told["reopened"] = in_child("reopen", folder, options.share)
        forget_cache(folder / "archive.molsig")
        told["reopened from disk"] = in_child("reopen", folder, options.share)
        forget_cache(folder / "archive.molsig")
        told["queries"] = in_child("query", folder, options.share)
    print(json.dumps(told, indent=1) if options.json else as_text(told))


def as_text(told: dict[str, Any]) -> str:
    """The figures as Markdown."""
    done, queries = told["ingest"], told["queries"]
    lines = [
        f"{told['vectors']:,} vectors ingested and indexed in {done['seconds']:.0f} s, peak {done['peak_mb']:,} MB"
        f" ({done['peak_anonymous_mb']:,} MB backed by no file), {done['gb']} GB on disk",
        f"reopened: first answer {told['reopened']['first_answer_s']} s after `Reference.open`, the process as a whole"
        f" {told['reopened']['process_s']} s; from a cold disk {told['reopened from disk']['first_answer_s']} and"
        f" {told['reopened from disk']['process_s']} s",
        f"queries: `warm` {queries['warming_s']} s, peak {queries['peak_mb']:,} MB,"
        f" {queries['peak_anonymous_mb']:,} MB backed by no file",
        "",
        "| modality | rows | plan | agreement with exact | p50 ms | p99 ms | in a batch | p50 ms of rows first met |"
        " p50 ms from the disk |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for modality in ("tile", "report", "rna"):
        one = queries[modality]
        lines.append(
            f"| {modality} | {one['rows']:,} | {one['plan']} | {one['recall']:.3f} | {one['p50_ms']} | {one['p99_ms']}"
            f" | {one['batch_per_s']:,}/s | {one['first_met_p50_ms']} | {one['from_disk_p50_ms']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
