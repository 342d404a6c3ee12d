"""What summed aggregates tell of the tumour: ``python -m benchmarks.aggregates REFERENCE [--json F] [--picture P]``.

After doi 10.1101/2025.05.14.653900 (Unsupervised clustering, Tumor of Origin Identification) on patient-level sums of a
reference: n of a patient's vectors, summed, r times, side by side.

- classes from aggregates: the six types of the study by default, and the TMB class; 80/20 splits of patients at random,
  new splits and draws in each run; mean and standard deviation over the runs, F1 per class;
- Gaussian mixtures with one component per type: ARI and NMI; the picture shows two principal components;
- pairs of patients of one type against pairs of two: cosine, Euclidean distance, dot product.

The TMB class is told, as in the study, from sums that mutation vectors are part of. Splits are at random, as there:
whole submitting sites held out are harder (see ``molsig evaluate``).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
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

    from molsig.retrieval.clustering import Clustering
    from molsig.retrieval.pool import Pool

STUDY_TYPES = ("BRCA", "BLCA", "LUAD", "STAD", "THCA", "COAD")
GRID = ((1, 1), (3, 1), (3, 3), (5, 5), (10, 5))
"""Sample counts and repeats."""


def labels_of(store: Store, pool: Pool, column: str, wanted: Sequence[str] | None) -> list[str | None]:
    """A label per patient of the pool, None for those that are not wanted."""
    values = store.attributes(list(pool.patients), [column])[column].to_pylist()
    return [None if one is None or (wanted and str(one) not in wanted) else str(one) for one in values]


def classify(pool: Pool, labels: list[str | None], column: str, runs: int) -> list[dict[str, Any]]:
    """One row per sample count and repeats."""
    rows = []
    for n, repeats in GRID:
        start = time.perf_counter()
        scores = classify_aggregates(pool, labels, n, repeats, runs=runs)
        f1 = scores.f1
        row = {
            "label": column,
            "n": n,
            "repeats": repeats,
            "runs": runs,
            "patients": int(scores.confusion.sum()) // runs * 5,
            "accuracy": [float(scores.accuracy.mean()), float(scores.accuracy.std())],
            "balanced": [float(scores.balanced.mean()), float(scores.balanced.std())],
            "macro_f1": [float(f1.mean(axis=1).mean()), float(f1.mean(axis=1).std())],
            "f1": {c: [float(f1[:, i].mean()), float(f1[:, i].std())] for i, c in enumerate(scores.classes)},
            "confusion": scores.confusion.tolist(),
            "seconds": time.perf_counter() - start,
        }
        rows.append(row)
        each = "  ".join(f"{name} {mean:.3f}" for name, (mean, _) in row["f1"].items())
        accuracy, balanced = row["accuracy"], row["balanced"]
        print(
            f"{column:<12} n {n:>2} x {repeats}  accuracy {accuracy[0]:.3f} +- {accuracy[1]:.3f}  balanced "
            f"{balanced[0]:.3f} +- {balanced[1]:.3f}  F1 {each}  ({row['seconds']:.0f} s)",
            flush=True,
        )
    return rows


def compare(
    pool: Pool, labels: list[str | None]
) -> tuple[list[dict[str, Any]], list[tuple[str, Clustering, list[str]]]]:
    """Clusters and distances for each sample count and repeats."""
    rows, pictures = [], []
    for n, repeats in GRID:
        sums = sample_patients(pool, n, repeats, seed=0)
        names = [str(labels[code]) for code in sums.group]
        found = cluster(sums.vectors, names)
        pairs = [asdict(one) for one in pair_distances(sums.vectors, names)]
        rows.append({"n": n, "repeats": repeats, "ari": found.ari, "nmi": found.nmi, "pairs": pairs})
        pictures.append((f"n {n}, {repeats} times: ARI {found.ari:.2f}", found, names))
        told = "  ".join(
            f"{one['metric']} {one['intra'][0]:.3f} / {one['inter'][0]:.3f} (d {one['separation']:.2f})"
            for one in pairs
        )
        print(
            f"clusters     n {n:>2} x {repeats}  ARI {found.ari:.3f}  NMI {found.nmi:.3f}  same / other: {told}",
            flush=True,
        )
    return rows, pictures


def draw(pictures: Sequence[tuple[str, Clustering, list[str]]], file: Path) -> None:
    """Two principal components of each aggregate: true types above, components of the mixture below."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(pictures), figsize=(3.4 * len(pictures), 6.6), squeeze=False)
    for column, (title, found, names) in enumerate(pictures):
        types = sorted(set(names))
        for row, codes in enumerate((np.array([types.index(name) for name in names]), found.cluster)):
            place = axes[row, column]
            for code in np.unique(codes):
                chosen = codes == code
                place.scatter(*found.plane[chosen].T, s=3, color=f"C{code}", label=types[code] if row == 0 else None)
            place.set_xticks([])
            place.set_yticks([])
        axes[0, column].set_title(title, fontsize=9)
    axes[0, 0].set_ylabel("type")
    axes[1, 0].set_ylabel("mixture component")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=4, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run all parts and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--modality", nargs="+", help="modalities to draw from; all by default")
    parser.add_argument("--label", default="cancer_type")
    parser.add_argument("--types", nargs="*", default=list(STUDY_TYPES), help="values of the label; none for all")
    parser.add_argument("--tmb", default="tmb_class", help="second label, of the same patients")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    store = Store.open(options.reference)
    pool = load_pool(store, options.modality)
    labels = labels_of(store, pool, options.label, options.types)
    pool = pool.of_patients(np.flatnonzero([one is not None for one in labels]))
    print(f"{pool.patients_per_modality()}", file=sys.stderr)
    clusters, pictures = compare(pool, labels)
    if options.picture is not None:
        draw(pictures, options.picture)
    rows = classify(pool, labels, options.label, options.runs)
    if options.tmb in store.columns():
        rows += classify(pool, labels_of(store, pool, options.tmb, None), options.tmb, options.runs)
    if options.json is not None:
        options.json.write_text(json.dumps({"clusters": clusters, "classification": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
