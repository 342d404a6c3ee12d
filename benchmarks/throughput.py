"""Speed of every encoder against what the processor can do: ``python -m benchmarks.throughput --data DIR``.

1. Fit and encode of each modality's file, a process each, so that its peak memory is its own. The floor is the number
   of floating-point operations of all matrix products and convolutions, counted by torch in a second, untimed run,
   over the speed of one single-precision product of 1,024 x 1,024 measured beside it on as many threads.
2. One new sample, cold: ``molsig query REF --rna one.tsv`` from the start of the process to its end, on a reference of
   the whole cohort (whose encoders were trained for two epochs: the time of a query does not depend on that).

Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.modalities import ENCODERS
from molsig.encoders.choice import ModelChoice
from molsig.ingest.expression import read_expression
from molsig.ingest.tiles import read_tiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from molsig.types import Records

EDGE = 1024
SENTENCES = 512
"""Sentences that the text model encodes here; all reports would take most of an hour."""


@dataclass(frozen=True)
class Speed:
    """One encoder. Seconds of the wall; floors are seconds too; memory in MB."""

    encoder: str
    rows: int
    features: int
    epochs: int | None
    read_s: float
    fit_s: float
    fit_floor_s: float
    encode_s: float
    encode_floor_s: float
    rows_a_second: float
    peak_mb: float
    threads: int


def _wide(data: Path) -> Records:
    return read_expression(data / "tcga" / "rna_3556genes_log2_tumour_normal.parquet")


def _tiles(data: Path) -> Records:
    return read_tiles(data / "tiles" / "monuseg_tcga", source_mpp=0.25)


def _sentences(data: Path) -> Records:
    from dataclasses import replace

    from molsig.ingest.reports import read_reports

    every = read_reports(data / "tcga" / "reports.csv.gz")
    rows = np.sort(np.random.default_rng(0).permutation(len(every.texts))[:SENTENCES])
    return replace(
        every,
        samples=tuple(every.samples[i] for i in rows),
        items=tuple(every.items[i] for i in rows),
        texts=tuple(every.texts[i] for i in rows),
    )


def sources(weights: Path | None, model: str | None) -> dict[str, tuple[Callable[[Path], Records], ModelChoice]]:
    """What is measured, by name."""
    found: dict[str, tuple[Callable[[Path], Records], ModelChoice]] = dict(ENCODERS)
    found["rna, 3,556 genes"] = (_wide, ModelChoice())
    found["tile, VAE"] = (_tiles, ModelChoice(tile_model="vae"))
    if weights is not None:
        choice = ModelChoice(tile_model="tf_efficientnet_lite0", tile_weights=weights)
        found["tile, efficientnet-lite0"] = (_tiles, choice)
    if model is not None:
        found["report, float32"] = (_sentences, ModelChoice(text_model=model))
        found["report, bfloat16"] = (_sentences, ModelChoice(text_model=model, text_precision="bfloat16"))
    return found


def product_speed() -> float:
    """Floating-point operations a second of one large single-precision product: the best of many."""
    import torch

    left, right = torch.randn(EDGE, EDGE), torch.randn(EDGE, EDGE)
    best = np.inf
    for _ in range(60):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * EDGE**3 / best


def _operations(work: Callable[[], object]) -> int:
    """Floating-point operations of the products and convolutions that some work does in torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def measure(name: str, data: Path, weights: Path | None, model: str | None) -> Speed:
    """Time one encoder, then count its operations."""
    import torch

    from molsig.encoders.encoder import fit_encoder

    read, choice = sources(weights, model)[name]
    start = time.perf_counter()
    records = read(data)
    have = time.perf_counter()
    fit = partial(fit_encoder, records, choice=choice)
    encoder = fit()
    fitted = time.perf_counter()
    n = len(encoder.encode(records, allow_missing=True).vectors)
    encoded = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    speed = product_speed()
    epochs = encoder.card.training.get("epochs")
    if epochs is None or "error_by_latent_size" in encoder.card.training:
        fit_operations = _operations(fit)
    else:
        # Counting slows a fit down; epochs are alike, so two short fits tell of a long one.
        one, two = (_operations(partial(fit, epochs=few)) for few in (1, 2))
        fit_operations = one + (two - one) * (epochs - 1)
    encode_operations = _operations(lambda: encoder.encode(records, allow_missing=True))
    return Speed(
        name,
        n,
        encoder.card.n_features,
        epochs,
        round(have - start, 2),
        round(fitted - have, 2),
        round(fit_operations / speed, 3),
        round(encoded - fitted, 3),
        round(encode_operations / speed, 4),
        round(n / (encoded - fitted), 1),
        round(peak),
        torch.get_num_threads(),
    )


def one_sample(data: Path, folder: Path) -> dict[str, Path]:
    """A file with one sample of each modality."""
    import pandas as pd

    found = {"rna": folder / "one_rna.tsv", "mirna": folder / "one_mirna.tsv", "mutations": folder / "one.maf"}
    rna = pd.read_csv(data / "tcga" / "rna_90genes_log2.tsv.gz", sep="\t", nrows=1)
    rna.to_csv(found["rna"], sep="\t", index=False)
    mirna = pd.read_parquet(data / "tcga" / "mirna_counts.parquet").head(1)
    mirna.to_csv(found["mirna"], sep="\t", index=False)
    with gzip.open(data / "tcga" / "mutations.maf.gz", "rt", encoding="utf-8") as maf:
        lines = [line for line in maf if not line.startswith("#")]
    column = lines[0].rstrip("\n").split("\t").index("Tumor_Sample_Barcode")
    names = [line.rstrip("\n").split("\t")[column] for line in lines]
    kept = (line for line, name in zip(lines, names, strict=True) if name in names[:2])
    found["mutations"].write_text("".join(kept), encoding="utf-8")
    return found


def cold(data: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of whole query commands with one new sample each."""
    tcga = data / "tcga"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        reference = str(folder / "cohort.molsig")
        molsig = [sys.executable, "-m", "molsig"]
        files = ["--rna", tcga / "rna_90genes_log2.tsv.gz", "--mirna", tcga / "mirna_counts.parquet"]
        files += ["--mutations", tcga / "mutations.maf.gz", "--clinical", tcga / "clinical.tsv"]
        subprocess.run([*molsig, "ingest", reference, *map(str, files), "--epochs", "2"], check=True, stdout=sys.stderr)
        found = {}
        for flag, path in one_sample(data, folder).items():
            command = [*molsig, "query", reference, f"--{flag}", str(path), "--vote", "cancer_type"]
            seconds = []
            for _ in range(rounds):
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - start)
            found[flag] = {"best_s": round(min(seconds), 2), "median_s": round(statistics.median(seconds), 2)}
        return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/ and tiles/")
    parser.add_argument("--weights", type=Path, help="safetensors of tf_efficientnet_lite0")
    parser.add_argument("--model", help="folder of the text model")
    parser.add_argument("--only", nargs="+", help="names of encoders, or cold")
    parser.add_argument("--rounds", type=int, default=7, help="cold queries per modality")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(options.one, options.data, options.weights, options.model))))
        return
    rows = []
    for name in sources(options.weights, options.model):
        if options.only and name not in options.only:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        child = [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:], "--one", name]
        rows.append(json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout))
    queries = cold(options.data, options.rounds) if not options.only or "cold" in options.only else {}
    if options.json:
        print(json.dumps({"encoders": rows, "cold": queries}, indent=1))
        return
    print("| encoder | rows x features | epochs | read s | fit s (floor) | encode s (floor) | rows/s | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        fit, encode = (f"{row[f'{key}_s']} ({row[f'{key}_floor_s']})" for key in ("fit", "encode"))
        shape = f"{row['rows']:,} x {row['features']:,}"
        print(
            f"| {row['encoder']} | {shape} | {row['epochs'] or ''} | {row['read_s']} | {fit} | {encode} | "
            f"{row['rows_a_second']:,.0f} | {row['peak_mb']:,.0f} |"
        )
    for flag, seconds in queries.items():
        print(f"\none new sample, cold, --{flag}: best {seconds['best_s']} s, median {seconds['median_s']} s", end="")
    print()


if __name__ == "__main__":
    main()
