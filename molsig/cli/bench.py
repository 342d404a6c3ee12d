"""`molsig bench`: how quick search is on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError


def bench(
    rows: Annotated[
        str, typer.Option("--rows", help="Numbers of vectors, parted by commas.")
    ] = "1000,3000,10000,30000,100000",
    structures: Annotated[
        str,
        typer.Option("--structures", help="Parted by commas, beside exact search: pca-sq8, rabitq, ivf-rabitq, hnsw."),
    ] = "pca-sq8,rabitq,ivf-rabitq",
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries of the batch; 200 are asked singly.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same vectors.")] = 7,
    json: options.Json = False,
) -> None:
    """Measure the structures of the index on invented vectors, and tell from how many on each is the quicker one.

    Needs no reference and no data; about two minutes for the sizes given by default. With hnsw, whose graph takes long
    to build, some minutes more.
    """
    from molsig.evaluate.speed import STRUCTURES, crossover, measure_structures
    from molsig.index.search import EXACT_ROWS
    from molsig.index.structure import ALWAYS_FLAT

    sizes = _sizes(rows)
    chosen = structures.split(",")
    if unknown := sorted(set(chosen) - set(STRUCTURES)):
        raise UsageError(f"--structures {unknown[0]}: choose of {', '.join(STRUCTURES)}")
    with progress_bar() as progress:
        found = list(measure_structures(sizes, chosen, queries=queries, seed=seed, progress=progress))
    pairs = [("exact", chosen[0], EXACT_ROWS), ("rabitq", "ivf-rabitq", ALWAYS_FLAT)]
    meets = [
        {"from": one, "to": other, "quicker_from": crossover(found, one, other), "used_above": used}
        for one, other, used in pairs
    ]
    if json:
        print_json({"structures": [asdict(one) for one in found], "crossovers": meets})
        return
    print_table("Search for 10 neighbours of 768 dimensions, structure by structure", [asdict(one) for one in found])
    for (one, other, used), meeting in zip(pairs, meets, strict=True):
        start = meeting["quicker_from"]
        told = "not quicker at these sizes" if start is None else f"quicker from {start:,} rows on"
        note(f"One query at a time, {other} is {told} than {one}; molsig considers it above {used:,}.")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(one) for one in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise UsageError(f"--rows {text}: give numbers of at least 1, parted by commas, e.g. 1000,10000")
    return sizes
