"""What searches find under conditions: ``python -m benchmarks.conditions REF``.

In each space of a reference, rows that are stored ask for the nearest of those patients that meet a condition. Some
conditions are of the reference's own columns: a value that many patients have, all but that one, numbers below the
median and in the upper quarter. Others are drawn: so many patients at random, or rather those on one side of a line
through the vectors, which keeps more of what lies here than of what lies there, up to only the one side. A row found
counts if it scores as high as the last of the exact neighbours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.search import Searcher
from molsig.index.store import Store
from molsig.types import SUM_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHARES = (0.5, 0.1, 0.03)
SLANTS = (0.0, 1.0, 3.0, np.inf)
"""How much likelier patients are kept the further they lie to one side, in standard deviations; without end, only those
that lie furthest."""
VALUES, MOST_VALUES = 2, 100
"""Of a column of texts the most frequent values are asked for, unless it has so many that they are names."""
TIE = 1e-6


@dataclass(frozen=True)
class Line:
    """One condition in one space."""

    space: str
    rows: int
    condition: str
    kept: int
    method: str
    recall: float
    queries_per_s: float


def of_columns(store: Store) -> dict[str, list[str]]:
    """The patients of each condition on the reference's own columns."""
    patients = store.patient_ids()
    columns = store.attributes(patients)
    wheres = []
    for name, kind in store.columns().items():
        known = [value for value in columns[name].to_pylist() if value is not None]
        quoted = '"' + name.replace('"', '""') + '"'
        if kind == "text":
            values = Counter(known)
            if len(values) <= MOST_VALUES:
                texts = ["'" + value.replace("'", "''") + "'" for value, _ in values.most_common(VALUES)]
                wheres += [f"{quoted} {sign} {text}" for text in texts for sign in ("=", "<>")]
        elif known and kind in ("number", "integer"):
            median, upper = np.quantile(np.array(known, float), (0.5, 0.75))
            wheres += [f"{quoted} < {median:g}", f"{quoted} >= {upper:g}"]
    return {where: list(store.select_patients(where)) for where in wheres}


def drawn(
    vectors: NDArray[np.float32], patients: NDArray[np.str_], random: np.random.Generator
) -> Iterator[tuple[str, list[str]]]:
    """The patients of conditions that know nothing but the vectors, (n, 768), of each patient the first."""
    names, first = np.unique(patients, return_index=True)
    for share in SHARES:
        for slant in SLANTS:
            there = vectors[first] @ random.standard_normal(vectors.shape[1])
            there = (there - there.mean()) / (there.std() or 1.0)
            # The largest of such draws are a sample without replacement, with these logarithms of weights.
            keys = there if np.isinf(slant) else slant * there + random.gumbel(size=len(names))
            kept = np.argsort(-keys, kind="stable")[: round(share * len(names))]
            told = "one side" if np.isinf(slant) else f"slant {slant:g}" if slant else "at random"
            yield f"{share:.0%} {told}", names[kept].tolist()


def measured(store: Store, queries: int, k: int, seed: int) -> Iterator[Line]:
    """Ask under all conditions that leave any patient; what few rows are left of is searched exactly by itself."""
    searcher = Searcher(store)
    told = of_columns(store)
    for name, space in {**store.active_spaces(), SUM_SPACE: SUM_SPACE}.items():
        random = np.random.default_rng(seed)
        rows = store.rows(space)
        vectors = store.vectors(space, rows["id"].to_numpy())[1]
        asking = random.permutation(np.flatnonzero(vectors.any(axis=1)))[:queries]
        asked = np.ascontiguousarray(vectors[np.sort(asking)])
        conditions = {**told, **dict(drawn(vectors, rows["patient"].to_numpy().astype(str), random))}
        for condition, patients in conditions.items():
            # Once before, which looks the patients up.
            if not searcher.search(space, asked[:1], k, patients=patients).rows:
                continue
            started = time.perf_counter()
            found = searcher.search(space, asked, k, patients=patients)
            rate = len(asked) / (time.perf_counter() - started)
            if found.method == "exact":
                continue
            exact = searcher.search(space, asked, k, patients=patients, method="exact")
            near = wanted = 0
            for hits, best in zip(found.hits, exact.hits, strict=True):
                near += min(len(best), sum(hit.score >= best[-1].score - TIE for hit in hits))
                wanted += len(best)
            yield Line(name, len(vectors), condition, found.rows, found.method, near / wanted, rate)


def as_text(lines: list[Line]) -> str:
    """A line for each space as Markdown, and the condition under which least is found."""
    table = [
        "| vectors | rows | structure | conditions | recall, mean | least | under | queries/s, median |",
        "|---|---:|---|---:|---:|---:|---|---:|",
    ]
    for space in dict.fromkeys(one.space for one in lines):
        some = [one for one in lines if one.space == space]
        least = min(some, key=lambda one: one.recall)
        mean = np.mean([one.recall for one in some])
        rate = np.median([one.queries_per_s for one in some])
        methods = " and ".join(dict.fromkeys(one.method for one in some))
        table.append(
            f"| {space} | {least.rows:,} | {methods} | {len(some)} | {mean:.4f} | {least.recall:.4f}"
            f" | {least.condition} ({least.kept:,} rows) | {rate:,.0f} |"
        )
    return "\n".join(table)


def main(argv: list[str] | None = None) -> None:
    """Print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--queries", type=int, default=200, help="of each space")
    parser.add_argument("-k", type=int, default=10, help="neighbours")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="every condition, as JSON")
    options = parser.parse_args(argv)
    lines = list(measured(Store.open(options.reference), options.queries, options.k, options.seed))
    print(json.dumps([asdict(line) for line in lines], indent=1) if options.json else as_text(lines))


if __name__ == "__main__":
    main()
