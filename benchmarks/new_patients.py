"""What index structures find for patients they have never seen: ``python -m benchmarks.new_patients REF``.

Of each space of a reference, one patient in five asks for the nearest rows of the other four. Their rows are stored in
a reference of its own, each structure in turn is built and tuned on them as for any reference, and searched. A row
found counts if it scores as high as the last of the exact neighbours, so that one of many equal rows (sentences that
stand in many reports) is as good as another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recall import SPACE, fill
from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 10
STRUCTURES = ("pca-sq8", "rabitq", "ivf-rabitq")
HELD_OUT = 5
"""One patient in so many asks."""
TIMED = 300
TIE = 1e-6


@dataclass(frozen=True)
class Line:
    """One structure on one space; `own_recall` is that of rows it holds, by which it was tuned."""

    space: str
    rows: int
    queries: int
    structure: str
    learned: dict[str, object]
    opened: int
    compared: int
    own_recall: float
    recall: float
    p50_us: float


def parted(
    store: Store, space: str, queries: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of four patients in five, and of the others as many as may ask, drawn, (n, 768) each."""
    rows = store.rows(space)
    vectors = store.vectors(space, rows["id"].to_numpy())[1]
    _, patient = np.unique(rows["patient"].to_numpy(), return_inverse=True)
    count = int(patient.max()) + 1
    asks = np.isin(patient, random.choice(count, count // HELD_OUT, replace=False))
    chosen = random.permutation(np.flatnonzero(asks & vectors.any(axis=1)))[:queries]
    return np.ascontiguousarray(vectors[~asks]), np.ascontiguousarray(vectors[chosen])


def measured(space: str, held: NDArray[np.float32], queries: NDArray[np.float32], structures: list[str]) -> list[Line]:
    """Build each structure over the vectors that are held, and ask it."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="new-patients-") as folder:
        store = Store.create(Path(folder) / "held.molsig")
        fill(store, held)
        exact = Searcher(store).search(SPACE, queries, K, method="exact")
        last = np.array([hits[-1].score for hits in exact.hits])
        for structure in structures:
            with store.writer("benchmark") as writer:
                info = writer.build_indexes([SPACE], method=structure, force=True)[0]
            searcher = Searcher(store)
            searcher.warm(SPACE)
            found = searcher.search(SPACE, queries, K, method="index")
            if found.method != structure:
                raise RuntimeError(f"{space}: {structure} was to be searched, {found.method} was: {found.reason}")
            near = [sum(hit.score >= least - TIE for hit in hits) for hits, least in zip(found.hits, last, strict=True)]
            times = []
            for query in queries[:TIMED]:
                started = time.perf_counter()
                searcher.search(SPACE, query[None], K, method="index")
                times.append(1e6 * (time.perf_counter() - started))
            line = Line(
                space,
                len(held),
                len(queries),
                structure,
                info.parameters,
                info.effort,
                info.depth,
                info.recall,
                float(np.minimum(near, K).mean()) / K,
                float(np.median(times)),
            )
            lines.append(line)
    return lines


def as_text(lines: list[Line]) -> str:
    """The figures as Markdown."""
    table = [
        "| vectors | rows | structure | rows compared | tuned to | recall@10 of new patients | one query, us |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for one in lines:
        learned = [f"{one.learned['directions']} directions"] if "directions" in one.learned else []
        if one.learned.get("cells", 1) != 1:
            learned.append(f"{one.opened} of {one.learned['cells']} cells")
        structure = f"{one.structure} ({', '.join(learned)})" if learned else one.structure
        table.append(
            f"| {one.space} | {one.rows:,} | {structure} | {one.compared} | {one.own_recall:.4f} | {one.recall:.4f}"
            f" | {one.p50_us:.0f} |"
        )
    return "\n".join(table)


def main(argv: list[str] | None = None) -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--structures", default=",".join(STRUCTURES), help="parted by commas")
    parser.add_argument("--queries", type=int, default=1000, help="at most, of each space")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    store, random = Store.open(options.reference), np.random.default_rng(options.seed)
    lines: list[Line] = []
    for name, space in {**store.active_spaces(), SUM_SPACE: SUM_SPACE}.items():
        held, queries = parted(store, space, options.queries, random)
        lines += measured(name, held, queries, options.structures.split(","))
    print(json.dumps([asdict(line) for line in lines], indent=1) if options.json else as_text(lines))


if __name__ == "__main__":
    main()
