"""How long a fused query takes: ``python -m benchmarks.fused_latency REFERENCE [--data DIR]``.

One process, one query after another, as a server or a notebook asks. The reference has learned evidence for
``cancer_type``; every query votes on it with ``--fusion evidence``. Asked are

- new patients with one vector of each modality (``--modality``; RNA, miRNA and mutation by default): stored vectors
  (sums where a patient has several) turned a little, under no stored name;
- stored patients who have them all;
- with ``--data``, new samples from small files, read and encoded for each query;
- new patients once more, many in one call, and with nothing held between queries.

Prints one JSON document: median and 95th percentile in milliseconds, and where the time of a new patient goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from molsig.reference import Reference
from molsig.retrieval.memory import PatientMemory
from molsig.retrieval.patient_vectors import load_patient_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MODALITIES = ("rna", "mirna", "mutation")
HOW: dict[str, Any] = {"vote": "cancer_type", "fusion": "evidence"}
TURNED = 0.1
"""Length of the noise that is added to a stored vector, as a share of it: nobody's own vector, but not far from it."""
STEPS = {
    "search in each modality": ("search.py", "search"),
    "what candidates say": ("memory.py", "sayings"),
    "what the query says": ("judging.py", "judge"),
    "rank candidates": ("fused.py", "_ranked"),
    "cosines of the hits": ("neighbours.py", "__init__"),
    "patient columns": ("remembered.py", "records"),
    "spaces in use": ("remembered.py", "spaces"),
    "what was learned": ("shelf.py", "all"),
    "answer": ("find.py", "_answer"),
}


def timed(ask: Callable[[Any], object], asked: Sequence[Any]) -> dict[str, float]:
    """Median and 95th percentile of single calls, in milliseconds."""
    taken = []
    for one in asked:
        start = time.perf_counter()
        ask(one)
        taken.append(1000 * (time.perf_counter() - start))
    return {"queries": len(taken), "median_ms": round(float(np.median(taken)), 1), "p95_ms": _p95(taken)}


def _p95(taken: Sequence[float]) -> float:
    return round(float(np.percentile(taken, 95)), 1)


def turned(block: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vectors with some noise, (n, 768)."""
    noise = rng.standard_normal(block.shape).astype(np.float32)
    noise *= TURNED * np.linalg.norm(block, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(block + noise)


def breakdown(ask: Callable[[Any], object], asked: Sequence[Any]) -> dict[str, float]:
    """Milliseconds per query of each step, by the profiler (which slows all of them)."""
    profile = cProfile.Profile()
    # The profiler sees this thread alone: it searches all modalities, one after the other.
    with patch("molsig.index.at_once._processors", lambda: 1):
        profile.enable()
        for one in asked:
            ask(one)
        profile.disable()
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    out = {"all": 0.0}
    for step, (file, name) in STEPS.items():
        spent = sum(one[3] for (path, _, called), one in stats.items() if called == name and path.endswith(file))
        out[step] = round(1000 * spent / len(asked), 2)
    out["all"] = round(1000 * max(one[3] for one in stats.values()) / len(asked), 2)
    return out


def small_files(data: Path, folder: Path, patients: Sequence[str]) -> list[dict[str, Path]]:
    """For each patient their RNA, miRNA and mutations as files of one sample."""
    import gzip

    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = {patient: folder / patient for patient in patients}
    for place in wanted.values():
        place.mkdir()
    for name, source in (("rna.tsv", "rna_90genes_log2.tsv.gz"), ("mutations.maf", "mutations.maf.gz")):
        with gzip.open(data / "tcga" / source, "rt") as lines:
            head = next(line for line in lines if not line.startswith("#"))
            at = head.rstrip("\n").split("\t").index("patient" if name == "rna.tsv" else "Tumor_Sample_Barcode")
            found: dict[str, list[str]] = {patient: [] for patient in wanted}
            for line in lines:
                patient = line.split("\t", at + 1)[at].strip()[:12]
                if patient in found and (name != "rna.tsv" or not found[patient]):
                    found[patient].append(line)
        for patient, some in found.items():
            (wanted[patient] / name).write_text(head + "".join(some))
    table = pq.read_table(data / "tcga" / "mirna_counts.parquet")
    for patient, place in wanted.items():
        rows = table.filter(pc.starts_with(table["sample"], f"{patient}-01"))
        pq.write_table(rows.slice(0, 1), place / "mirna.parquet")
    return [
        {"rna": place / "rna.tsv", "mirna": place / "mirna.parquet", "mutations": place / "mutations.maf"}
        for place in wanted.values()
    ]


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--data", type=Path, help="folder that holds tcga/: new samples from files too")
    parser.add_argument("--modality", nargs="+", default=list(MODALITIES))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)

    reference = Reference.open(options.reference)
    vectors = load_patient_vectors(reference._store, options.modality)
    able = np.flatnonzero(vectors.matrix_present().all(axis=1))
    drawn = np.sort(rng.choice(able, options.queries, replace=len(able) < options.queries))
    blocks = {modality: turned(vectors.vectors[modality][drawn], rng) for modality in options.modality}
    new = [{modality: block[row] for modality, block in blocks.items()} for row in range(len(drawn))]
    stored = [vectors.patients[row] for row in drawn.tolist()]
    told: dict[str, Any] = {"patients": len(reference._store.patient_ids()), "able": len(able)}
    del vectors

    def ask_new(one: dict[str, NDArray[np.float32]]) -> object:
        return reference.query_vectors(one, **HOW)

    start = time.perf_counter()
    ask_new(new[0])
    told["first_query_ms"] = round(1000 * (time.perf_counter() - start), 1)
    start = time.perf_counter()
    told["held"] = reference.warm("cancer_type")
    told["warming_ms"] = round(1000 * (time.perf_counter() - start), 1)
    ask_new(new[0])
    told["new"] = timed(ask_new, new)
    told["stored"] = timed(lambda one: reference.query(one, **HOW), stored)
    told["stored, all in one call"] = _together(lambda: reference.query_many(stored, **HOW), len(stored))
    told["steps of a new patient, profiled"] = breakdown(ask_new, new)
    if options.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            files = small_files(options.data, Path(folder), list(dict.fromkeys(stored))[: options.files])

            def ask_files(one: dict[str, Path]) -> object:
                answers = reference.query_files(**one, exclude_self=True, **HOW)
                if len(answers[0].modalities) != len(MODALITIES):
                    raise SystemExit(f"{one['rna'].parent.name}: only {answers[0].modalities} could be read")
                return answers

            ask_files(files[0])
            told["new, from files"] = timed(ask_files, files)
    reference._memory = PatientMemory(reference._store, reference._searcher, memory=0)
    told["new, nothing held"] = timed(ask_new, new[: max(1, options.queries // 10)])
    print(json.dumps(told, indent=1))


def _together(ask: Callable[[], Sequence[object]], n: int) -> dict[str, float]:
    start = time.perf_counter()
    ask()
    return {"queries": n, "ms_per_query": round(1000 * (time.perf_counter() - start) / n, 1)}


if __name__ == "__main__":
    main()
