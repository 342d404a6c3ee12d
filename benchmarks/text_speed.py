"""How fast sentences become vectors: ``python -m benchmarks.text_speed --data DIR --model FOLDER [--sentences 400]``.

Sentences of the reports, drawn at random, on one thread, in float32 and in bfloat16 by turns; the best of the rounds
counts, in seconds of the processor, so that other work on the machine matters less. The floor is what that thread needs
for the model's matrix products alone, at the speed of one such product measured between the rounds.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from molsig.encoders.choice import PRECISIONS, ModelChoice
from molsig.encoders.encoder import fit_encoder
from molsig.ingest.reports import read_reports


def product_speed(precision: str) -> float:
    """Floating-point operations a second of a product of the shapes of a transformer."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = torch.randn(512, 768).to(kind), torch.randn(768, 3072).to(kind)
    best = np.inf
    for _ in range(40):
        start = time.process_time()
        torch.mm(left, right)
        best = min(best, time.process_time() - start)
    return 2 * 512 * 768 * 3072 / best


def main() -> None:
    """Print one line per precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--model", help="folder or name of the text model; all-mpnet-base-v2 by default")
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = read_reports(options.data / "tcga" / "reports.csv.gz")
    different = list({text: row for row, text in enumerate(records.texts)}.values())
    chosen = np.random.default_rng(0).choice(different, min(options.sentences, len(different)), replace=False).tolist()
    encoders = {}
    for one in PRECISIONS:
        choice = ModelChoice(text_model=options.model, text_precision=one)
        encoders[one] = fit_encoder(records, choice=choice, device="cpu")
        start = time.process_time()
        encoders[one].encode(records, rows=chosen[:8])
        print(f"{one}: first {time.process_time() - start:.1f} s", file=sys.stderr, flush=True)
    running = encoders["float32"]._running
    lengths = [
        len(ids) for ids in running.tokenizer([records.texts[row] for row in chosen], truncation=True)["input_ids"]
    ]
    weights = sum(one.numel() for name, one in running[0].auto_model.encoder.named_parameters() if one.ndim == 2)
    products = 2 * weights * sum(lengths)
    seconds = dict.fromkeys(PRECISIONS, np.inf)
    speed = dict.fromkeys(PRECISIONS, 0.0)
    vectors = {}
    for _ in range(options.rounds):
        for one in PRECISIONS:
            speed[one] = max(speed[one], product_speed(one))
            start = time.process_time()
            vectors[one] = encoders[one].encode(records, rows=chosen).vectors
            seconds[one] = min(seconds[one], time.process_time() - start)
            print(f"{one}: {seconds[one]:.1f} s", file=sys.stderr, flush=True)
    print(f"{len(chosen)} sentences, {sum(lengths):,} word pieces, {weights / 1e6:.1f} M weights in products")
    print(f"{'precision':12}{'sentences/s':>12}{'GFLOP/s':>9}{'of a product':>14}{'floor':>8}{'cosine, least':>15}")
    for one in PRECISIONS:
        floor = products / speed[one]
        cosine = float((vectors[one] * vectors["float32"]).sum(axis=1).min())
        print(f"{one:12}{len(chosen) / seconds[one]:12.1f}{products / seconds[one] / 1e9:9.1f}", end="")
        print(f"{speed[one] / 1e9:14.1f}{seconds[one] / floor:7.2f}x{cosine:15.6f}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
