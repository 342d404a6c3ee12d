"""Encoding and search on a CUDA device against what it could do: ``python -m benchmarks.gpu [--json FILE]``.

1. The device: gigabytes a second that it copies within itself and from the host (pinned and not), operations a second
   of one large product in float32 and in bfloat16. All floors below are from these, measured in the same run.
2. How much of sending a batch is hidden behind computing the one before (`molsig.streaming`).
3. Every encoder (`benchmarks.gpu_encoders`): rows a second in float32 and in bfloat16, the floor of its products, and
   how far the two lie apart.
4. Search (`molsig.index.torch_search`) over rows held on the device: queries a second by batch and number of rows; and,
   for the largest batch, over rows that come from the host each time. The floor is the largest of reading the rounded
   rows once, of the products of the batch, and of sending the rows from pinned memory where they are not held.
   Agreement: share of the queries whose ten best, rescored as every plan does it, are those of float64 products on the
   CPU, in their order.

Vectors, tiles, sentences and weights are drawn from seeds: speed does not depend on them. Nothing else should run on
the machine. Without CUDA it ends with code 2; ``--device cpu`` runs all of it at small sizes, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.gpu_device import LARGE, SMALL, best_of, measure_device, measure_overlap
from benchmarks.gpu_encoders import encoders
from molsig.index.device_rows import DeviceRows
from molsig.index.scoring import directions, score_pairs
from molsig.index.torch_search import propose
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.gpu_device import Device, Overlap, Sizes
    from benchmarks.gpu_encoders import Encoding

K = 10
CHECKED = 100
"""Queries of each search that are compared with the answer of the CPU."""


@dataclass(frozen=True)
class Search:
    """One batch of queries over all rows."""

    rows: int
    queries: int
    held: bool
    seconds: float
    queries_a_second: float
    floor_s: float
    of_floor: float
    again: int
    checked: int
    agreement: float


def vectors(rows: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors in wide clusters, about as near to each other as patients are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((64, DIM), dtype=np.float32)
    found = np.empty((rows, DIM), dtype=np.float32)
    for start in range(0, rows, 65_536):
        part = found[start : start + 65_536]
        rng.standard_normal(dtype=np.float32, out=part)
        part += centres[rng.integers(0, 64, len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return found


def exact(x: NDArray[np.float32], asked: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Positions of the ten best of each query: by float64 products, then by the scores that are final."""
    kept: list[list[NDArray[np.int64]]] = [[] for _ in asked]
    for start in range(0, len(x), 65_536):
        products = asked @ x[start : start + 65_536].astype(np.float64).T
        least = np.partition(products, -min(K, products.shape[1]), axis=1)[:, -min(K, products.shape[1])]
        for query, (own, low) in enumerate(zip(products, least, strict=True)):
            kept[query].append(start + np.flatnonzero(own >= low - 1e-6))
    found = []
    for direction, parts in zip(asked, kept, strict=True):
        places = np.concatenate(parts)
        scores = score_pairs(direction[None], np.zeros(len(places), np.int64), x, places)
        found.append(places[np.lexsort((places, -scores))[:K]])
    return found


def measure_search(device: torch.device, sizes: Sizes, speeds: Device, memory: int) -> Iterator[Search]:
    """Every batch over every number of rows."""
    for rows in sizes.rows:
        x = vectors(rows, 2)
        asked = directions(vectors(max(sizes.queries), 3))
        truth = exact(x, asked[:CHECKED])
        there = DeviceRows(x, str(device), "float16")
        for queries, held in [*((one, True) for one in sizes.queries), (max(sizes.queries), False)]:
            some = asked[:queries]
            search = partial(propose, there, some, K, memory=memory)
            if not held:
                search = partial(propose, x, some, K, device=str(device), dtype="float16", memory=memory)
            seconds, found = best_of(sizes.rounds, device, search), search()
            final = score_pairs(some, found.queries, x, found.positions)
            order = np.lexsort((found.positions, -final, found.queries))
            starts = np.searchsorted(found.queries[order], np.arange(queries))
            same = [
                found.positions[order[start : start + K]].tolist() == one.tolist()
                for start, one in zip(starts.tolist(), truth, strict=False)
            ]
            reading = 2 * x.size / (speeds.copy_gb_s * 1e9)
            products = 2 * x.size * queries / (speeds.bfloat16_tflops * 1e12)
            floor = max(reading, products, 0 if held else x.nbytes / (speeds.pinned_gb_s * 1e9))
            yield Search(
                rows,
                queries,
                held,
                seconds,
                queries / seconds,
                floor,
                floor / seconds,
                found.again,
                len(same),
                float(np.mean(same)),
            )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows]) + "\n"


def report(device: Device, overlap: Overlap, encodings: Sequence[Encoding], searches: Sequence[Search]) -> str:
    """All tables."""
    d, o = device, overlap
    parts = [f"{d.name}, torch {d.torch}.\n"]
    speeds = (d.copy_gb_s, d.pinned_gb_s, d.pageable_gb_s, d.float32_tflops, d.bfloat16_tflops)
    head = ("device", "copy GB/s", "from pinned GB/s", "from pageable GB/s", "float32 TFLOP/s", "bfloat16 TFLOP/s")
    parts.append(table(head, [(d.name, *(f"{one:,.3g}" for one in speeds))]))
    seconds = (o.send_s, o.compute_s, o.in_turn_s, o.streamed_s)
    head = ("batches", "MB each", "send s", "compute s", "in turn s", "streamed s", "hidden")
    hidden = "" if o.hidden is None else f"{o.hidden:.0%}"
    parts.append(table(head, [(o.batches, f"{o.megabytes_each:.1f}", *(f"{one:.4f}" for one in seconds), hidden)]))
    head = (
        "encoder",
        "rows",
        "precision",
        "seconds",
        "rows/s",
        "floor s",
        "of floor",
        "least cosine",
        "same 10 nearest",
    )
    parts.append(table(head, [one.cells() for one in encodings]))
    head = ("rows", "queries", "rows are", "seconds", "queries/s", "floor s", "of floor", "searched again", "agreement")
    cells = [
        (
            f"{one.rows:,}",
            f"{one.queries:,}",
            "held" if one.held else "sent",
            f"{one.seconds:.5f}",
            f"{one.queries_a_second:,.0f}",
            f"{one.floor_s:.5f}",
            f"{one.of_floor:.0%}",
            one.again,
            f"{one.agreement:.3f} of {one.checked}",
        )
        for one in searches
    ]
    parts.append(table(head, cells))
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the figures; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a trial at small sizes")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--model", help="folder of a text model; one with random weights by default")
    parser.add_argument("--tile-model", help="a timm model; its weights are drawn at random unless given")
    parser.add_argument("--tile-weights", type=Path, help="safetensors file of its weights")
    parser.add_argument("--memory", type=int, default=4 << 30, help="bytes on the device that a search may use")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device here; `--device cpu` tries the script at small sizes", file=sys.stderr)
        return 2
    sizes = LARGE if device.type == "cuda" else SMALL
    speeds = measure_device(device, sizes)
    print(f"{speeds.name}: copies {speeds.copy_gb_s:,.0f} GB/s", file=sys.stderr, flush=True)
    overlap = measure_overlap(device, sizes)
    encodings, searches = [], []
    floors = {"float32": speeds.float32_tflops * 1e12, "bfloat16": speeds.bfloat16_tflops * 1e12}
    given = (options.model, options.tile_model, options.tile_weights)
    for encoding in encoders(options.device, sizes.scale, sizes.rounds, floors, *given):
        encodings.append(encoding)
        print(f"{encoding.encoder}, {encoding.precision}: {encoding.rows_a_second:,.0f}/s", file=sys.stderr, flush=True)
    for search in measure_search(device, sizes, speeds, options.memory):
        searches.append(search)
        print(f"{search.rows:,} x {search.queries:,}: {search.queries_a_second:,.0f}/s", file=sys.stderr, flush=True)
    print(report(speeds, overlap, encodings, searches))
    if options.json:
        figures: dict[str, Any] = {"device": asdict(speeds), "overlap": asdict(overlap)}
        figures |= {"encoders": [asdict(one) for one in encodings], "search": [asdict(one) for one in searches]}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
