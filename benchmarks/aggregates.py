"""What summed aggregates tell of the tumour: ``python -m benchmarks.aggregates REFERENCE [--json F] [--picture P]``.

After doi 10.1101/2025.05.14.653900 (Unsupervised clustering, Tumor of Origin Identification) on patient-level sums of a
reference: n of a patient's vectors, summed, r times, side by side.

- classes from aggregates: the six types of the study by default, and the TMB class; with ``--subtypes COLUMN`` also the
  values of a column within each type that has two or more of them with 100 patients each; 80/20 splits of patients at
  random and with whole submitting sites held out, new splits and draws in each run; mean and standard deviation over
  the runs, F1 per class;
- Gaussian mixtures with one component per type: ARI and NMI; the picture shows two principal components;
- pairs of patients of one type against pairs of two: cosine, Euclidean distance, dot product.

The TMB class is told, as in the study, from sums that mutation vectors are part of. The encoders of a reference have
seen all its patients, without labels; the classifiers have not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.store import Store
from molsig.retrieval.classification import RUNS, classify_aggregates
from molsig.retrieval.clustering import cluster, pair_distances
from molsig.retrieval.pool import load_pool
from molsig.retrieval.sampling import sample_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.retrieval.clustering import Clustering, Covariance
    from molsig.retrieval.pool import Pool

STUDY_TYPES = ("BRCA", "BLCA", "LUAD", "STAD", "THCA", "COAD")
GRID = ((1, 1), (3, 1), (3, 3), (5, 5), (10, 5))
"""Sample counts and repeats."""

COVARIANCES: tuple[Covariance, ...] = ("tied", "full", "diag")
"""Of the mixtures that are fitted; the first is in the picture."""

PARTS = ("clusters", "types", "tmb", "subtypes")


def labels_of(store: Store, pool: Pool, column: str, wanted: Sequence[str] | None) -> list[str | None]:
    """A label per patient of the pool, None for those that are not wanted."""
    values = store.attributes(list(pool.patients), [column])[column].to_pylist()
    return [None if one is None or (wanted and str(one) not in wanted) else str(one) for one in values]


def subtypes_of(types: Sequence[str | None], values: Sequence[str | None], fewest: int) -> dict[str, list[str | None]]:
    """By type: the value of each of its patients where `fewest` of the type have that value, None for all others.

    Types in which fewer than two values are so common are left out.
    """
    sizes = Counter(zip(types, values, strict=True))
    common = {key for key, n in sizes.items() if n >= fewest and None not in key}
    several = [kind for kind, n in Counter(kind for kind, _ in common).items() if n > 1]
    return {
        str(one): [
            value if kind == one and (kind, value) in common else None
            for kind, value in zip(types, values, strict=True)
        ]
        for one in sorted(map(str, several))
    }


def classify(
    pool: Pool,
    labels: list[str | None],
    column: str,
    sites: list[str | None] | None,
    runs: int,
    grid: Sequence[tuple[int, int]] = GRID,
) -> list[dict[str, Any]]:
    """One row per sample count and repeats; whole sites are held out where they are given."""
    rows = []
    for n, repeats in grid:
        start = time.perf_counter()
        scores = classify_aggregates(pool, labels, n, repeats, sites=sites, runs=runs)
        row = {
            "label": column,
            "split": "random" if sites is None else "site",
            "n": n,
            "repeats": repeats,
            "runs": runs,
            "patients": sum(labels[i] in scores.classes for i in np.unique(pool.patient)),
            "accuracy": _moments(scores.accuracy),
            "balanced": _moments(scores.balanced),
            "macro_f1": _moments(np.nanmean(scores.f1, axis=1)),
            "f1": {c: _moments(scores.f1[:, i]) for i, c in enumerate(scores.classes)},
            "confusion": scores.confusion.tolist(),
            "seconds": time.perf_counter() - start,
        }
        rows.append(row)
        print(
            f"{column:<12} {row['split']:<6} n {n:>2} x {repeats}  accuracy {_told(row['accuracy'])}  balanced "
            f"{_told(row['balanced'])}  macro F1 {_told(row['macro_f1'])}  ({row['patients']} patients, "
            f"{row['seconds']:.0f} s)\n    F1 " + ", ".join(f"{name} {_told(one)}" for name, one in row["f1"].items()),
            flush=True,
        )
    return rows


def _moments(values: NDArray[np.float64]) -> list[float | None]:
    """Mean and standard deviation of what is a number; None where nothing is."""
    known = values[np.isfinite(values)]
    return [float(known.mean()), float(known.std())] if len(known) else [None, None]


def _told(moments: Sequence[float | None]) -> str:
    mean, spread = moments
    return "-" if mean is None else f"{mean:.3f} +- {spread:.3f}"


def compare(
    pool: Pool, labels: list[str | None], grid: Sequence[tuple[int, int]] = GRID
) -> tuple[list[dict[str, Any]], list[tuple[str, Clustering, list[str]]]]:
    """Clusters and distances for each sample count and repeats."""
    rows, pictures = [], []
    for n, repeats in grid:
        sums = sample_patients(pool, n, repeats, seed=0)
        names = [str(labels[code]) for code in sums.group]
        found = {one: cluster(sums.vectors, names, covariance=one) for one in COVARIANCES}
        agreement = {one: {"ari": it.ari, "nmi": it.nmi} for one, it in found.items()}
        pairs = [asdict(one) for one in pair_distances(sums.vectors, names)]
        rows.append({"n": n, "repeats": repeats, "patients": len(sums), "mixture": agreement, "pairs": pairs})
        shown = found[COVARIANCES[0]]
        pictures.append((f"{n} vectors, {repeats} x: ARI {shown.ari:.2f}, NMI {shown.nmi:.2f}", shown, names))
        print(
            f"clusters     n {n:>2} x {repeats}  ARI / NMI "
            + ", ".join(f"{one} {it.ari:.3f} / {it.nmi:.3f}" for one, it in found.items())
            + f"  ({len(sums)} patients)\n    pairs of the same / another label: "
            + ", ".join(
                f"{one['metric']} {one['intra'][0]:.3f} / {one['inter'][0]:.3f} (d {one['separation']:.2f})"
                for one in pairs
            ),
            flush=True,
        )
    return rows, pictures


def draw(pictures: Sequence[tuple[str, Clustering, list[str]]], file: Path) -> None:
    """Two principal components of each aggregate: true types above, components of the mixture below.

    A mixture's component has the colour of the type that most of its patients would have, were the components given
    to the types one to one.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from scipy.optimize import linear_sum_assignment

    figure, axes = plt.subplots(2, len(pictures), figsize=(3.2 * len(pictures) + 1, 6.4), squeeze=False)
    types = sorted({name for _, _, names in pictures for name in names})
    colours = np.array([plt.get_cmap("tab10" if len(types) <= 10 else "tab20")(i) for i in range(len(types))])
    order = np.random.default_rng(0)
    for column, (title, found, names) in enumerate(pictures):
        true = np.array([types.index(name) for name in names])
        overlap = np.zeros((len(types), len(types)))
        np.add.at(overlap, (found.cluster, true), 1)
        given = linear_sum_assignment(-overlap)[1]
        # Drawn in random order, or the last type would hide the others; the farthest patients are left to the edge.
        mixed = order.permutation(len(true))
        low, high = np.percentile(found.plane, [0.5, 99.5], axis=0)
        room = 0.1 * (high - low)
        for place, codes in zip(axes[:, column], (true, given[found.cluster]), strict=True):
            place.scatter(*found.plane[mixed].T, s=4, alpha=0.6, linewidths=0, c=colours[codes[mixed]])
            place.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
            place.set(xticks=[], yticks=[])
            place.set_xlabel("first principal component", fontsize=8)
        axes[0, column].set_title(title, fontsize=9)
    for place, name in zip(axes[:, 0], ("type", "component of the mixture"), strict=True):
        place.set_ylabel(f"{name}\nsecond principal component", fontsize=8)
    dots = [plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in colours]
    figure.legend(dots, types, loc="center right", fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0, 1 - 0.9 / (3.2 * len(pictures) + 1), 1))
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run all parts and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--modality", nargs="+", help="modalities to draw from; all by default")
    parser.add_argument("--complete", action="store_true", help="patients with all of these modalities, of the types")
    parser.add_argument("--label", default="cancer_type")
    parser.add_argument("--types", nargs="*", default=list(STUDY_TYPES), help="values of the label; none for all")
    parser.add_argument("--tmb", default="tmb_class", help="second label, of the same patients")
    parser.add_argument("--subtypes", help="column of subtypes, told within each type, such as histological_type")
    parser.add_argument("--fewest", type=int, default=100, help="patients that a subtype needs")
    parser.add_argument("--split", nargs="+", choices=("random", "site"), default=["random", "site"])
    parser.add_argument("--site", default="site", help="column that `--split site` keeps whole")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--grid", nargs="+", type=_grid, default=list(GRID), help="such as 3x3: count x repeats")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    store = Store.open(options.reference)
    whole = load_pool(store, options.modality)
    labels = labels_of(store, whole, options.label, options.types)
    wanted = np.array([one is not None for one in labels])
    if options.complete:
        wanted &= whole.holdings().all(axis=1)
    pool = whole.of_patients(np.flatnonzero(wanted))
    print(f"{pool.patients_per_modality()}", file=sys.stderr)
    clusters: list[dict[str, Any]] = []
    if "clusters" in options.only:
        clusters, pictures = compare(pool, labels, options.grid)
        if options.picture is not None:
            draw(pictures, options.picture)
    asked: list[tuple[str, Pool, list[str | None]]] = []
    if "types" in options.only:
        asked.append((options.label, pool, labels))
    if "tmb" in options.only and options.tmb in store.columns():
        asked.append((options.tmb, pool, labels_of(store, pool, options.tmb, None)))
    if "subtypes" in options.only and options.subtypes is not None:
        types = labels_of(store, whole, options.label, None)
        values = labels_of(store, whole, options.subtypes, None)
        asked += [(name, whole, some) for name, some in subtypes_of(types, values, options.fewest).items()]
    sites = labels_of(store, whole, options.site, None) if "site" in options.split else None
    rows: list[dict[str, Any]] = []
    for name, drawn_from, some in asked:
        for split in options.split:
            rows += classify(drawn_from, some, name, sites if split == "site" else None, options.runs, options.grid)
            keep(options.json, clusters, rows)
    keep(options.json, clusters, rows)


def keep(file: Path | None, clusters: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Write what has been measured so far."""
    if file is not None:
        file.write_text(json.dumps({"clusters": clusters, "classification": rows}, indent=1) + "\n")


def _grid(text: str) -> tuple[int, int]:
    n, _, repeats = text.partition("x")
    return int(n), int(repeats)


if __name__ == "__main__":
    main()
