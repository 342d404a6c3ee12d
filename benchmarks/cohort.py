"""The commands of the README on the real cohorts: wall time and peak memory of each, as a user would run them.

    python -m benchmarks.cohort --data ../shared/data [--keep FOLDER] [--json]

Each command is a process of its own, so that imports and cold files are part of its time. The references are written
into a temporary folder unless `--keep` names one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

STORED = (
    *("TCGA-OR-A5J1", "TCGA-02-0047", "TCGA-05-4244", "TCGA-05-4249", "TCGA-BH-A0B3"),
    *("TCGA-A2-A0T2", "TCGA-B0-5697", "TCGA-G9-6363", "TCGA-AB-2803", "TCGA-DU-7014"),
)
"""Stored patients that are asked about; those a reference does not hold are left out by `present`."""


@dataclass(frozen=True)
class Run:
    """One finished command."""

    what: str
    command: str
    seconds: float
    peak_mb: float
    exit_code: int
    tail: str


def run(what: str, arguments: list[str], log: Path) -> Run:
    """Run `molsig` with `arguments` and measure it from outside."""
    start = time.perf_counter()
    with log.open("w") as out:
        child = subprocess.Popen([sys.executable, "-m", "molsig", *arguments], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    command = shlex.join(["molsig", *arguments])
    tail = "\n".join(log.read_text().strip().splitlines()[-12:])
    done = Run(what, command, round(seconds, 2), round(peak, 1), child.returncode, tail)
    print(f"{done.seconds:8.2f} s {done.peak_mb:8.0f} MB  exit {done.exit_code}  {what}", file=sys.stderr, flush=True)
    return done


def present(folder: Path, reference: str, wanted: tuple[str, ...], n: int) -> list[str]:
    """The first `n` stored patients with vectors, preferring those in `wanted`."""
    from molsig.index.store import Store
    from molsig.types import SUM_SPACE

    stored = Store.open(folder / reference).rows(SUM_SPACE)["patient"].to_pylist()
    return [*(p for p in wanted if p in set(stored)), *(p for p in sorted(stored) if p not in wanted)][:n]


def measure(data: Path, folder: Path) -> list[Run]:
    """Run every command in order; later ones use the references of earlier ones."""
    tcga, log = data / "tcga", folder / "last.log"
    main = str(folder / "tumours.molsig")
    first = ["ingest", main, "--rna", str(tcga / "rna_90genes_log2.tsv.gz")]
    first += ["--mutations", str(tcga / "mutations.maf.gz"), "--clinical", str(tcga / "clinical.tsv")]
    mirna = ["ingest", main, "--mirna", str(tcga / "mirna_counts.parquet")]
    runs = [
        run("help, cold", ["--help"], log),
        run("ingest RNA + mutations + clinical", first, log),
        run("add miRNA", mirna, log),
        run("the same ingest again", first, log),
    ]
    ten = [word for patient in present(folder, "tumours.molsig", STORED, 10) for word in ("--patient", patient)]
    new = ["--rna", str(tcga / "rna_20531genes_rsem.tsv.gz"), "--exclude-self"]
    where = ["--where", "sex = 'female' AND age > 60"]
    vote = ["--vote", "cancer_type"]
    runs += [
        run("one stored patient, cold", ["query", main, *ten[:2]], log),
        run("ten stored patients", ["query", main, *ten, *vote], log),
        run("ten stored patients, --where", ["query", main, *ten, *where, *vote], log),
        run("264 new RNA samples of another scale", ["query", main, *new, *vote, "--json"], log),
        run(
            "one reference from 3,556 genes",
            _own(folder, "genes3556", tcga / "rna_3556genes_log2_tumour_normal.parquet"),
            log,
        ),
        run("one reference from 20,531 genes", _own(folder, "genes20531", tcga / "rna_20531genes_rsem.tsv.gz"), log),
        run(
            "one reference from 56,537 genes",
            [
                *_own(folder, "genes56537", tcga / "rna_56537genes_counts.tsv.gz"),
                "--genes",
                str(data / "genes_ensembl105.tsv.gz"),
            ],
            log,
        ),
        run("info", ["info", main], log),
        run("verify", ["verify", main], log),
        run("export of the sums", ["export", main, "--output", str(folder / "sums.parquet")], log),
    ]
    return runs


def _own(folder: Path, name: str, rna: Path) -> list[str]:
    return ["ingest", str(folder / f"{name}.molsig"), "--rna", str(rna)]


def table(runs: list[Run]) -> str:
    """The runs as a Markdown table."""
    lines = ["| what | seconds | peak MB | exit |", "|---|---:|---:|---:|"]
    lines += [f"| {r.what} | {r.seconds:.2f} | {r.peak_mb:,.0f} | {r.exit_code} |" for r in runs]
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real cohorts")
    parser.add_argument("--keep", type=Path, help="write the references here and keep them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if not (options.data / "tcga").is_dir():
        print(f"skipped: the real cohorts are not at {options.data}")
        return
    with tempfile.TemporaryDirectory(prefix="molsig-bench-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        runs = measure(options.data, folder)
    print(json.dumps([asdict(r) for r in runs], indent=2) if options.json else table(runs))
    if any(r.exit_code for r in runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
