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
    ] = "1000,3000,10000,30000",
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries of the batch; 200 are asked singly.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same vectors.")] = 7,
    json: options.Json = False,
) -> None:
    """Measure every structure of the index on invented vectors, and tell from how many on exact search is the slower.

    Needs no reference and no data; about a minute for the sizes given by default, some minutes for 100,000.
    """
    from molsig.evaluate.speed import crossover, measure_structures

    sizes = _sizes(rows)
    with progress_bar() as progress:
        found = list(measure_structures(sizes, queries=queries, seed=seed, progress=progress))
    meets, used = crossover(found)
    if json:
        print_json({"structures": [asdict(one) for one in found], "crossover": meets, "exact_up_to": used})
        return
    print_table("Search for 10 neighbours of 768 dimensions, structure by structure", [asdict(one) for one in found])
    told = (
        f"is the quickest at every size up to {max(sizes):,}" if meets is None else f"is the slower from {meets:,} on"
    )
    note(f"One query at a time, exact search {told}; molsig searches exactly up to {used:,} rows in play.")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(one) for one in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise UsageError(f"--rows {text}: give numbers of at least 1, parted by commas, e.g. 1000,10000")
    return sizes
