"""Every encoder beside plain baselines on unseen hospitals: ``python -m benchmarks.modalities --data DIR``.

For each encoder, split and seed, fitted on the patients outside the part that is asked about:

- the vote of ten nearest neighbours (cosine) and a linear probe (logistic regression) on the 768-d vectors;
- the same vote on principal components of the raw features, as many as the vectors have or the features allow;
- logistic regression on the raw features.

The penalty of each regression is chosen on the validation part; ``--part validation`` asks about that part instead of
the test part and fits on the training part alone, for choosing settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.held_out_sites import READERS, SPLITS, take
from benchmarks.splits import cell, read_labels, score, vote
from molsig.encoders.choice import ModelChoice
from molsig.encoders.disk import ENCODED
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.mutation import MutatedGenes, choose_genes
from molsig.ingest.expression import read_expression
from molsig.types import DIM, FeatureMatrix, MutationSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.splits import Label, Score

ENCODERS: dict[str, tuple[Callable[[Path], FeatureMatrix | MutationSet], ModelChoice]] = {
    "rna": (READERS["rna"], ModelChoice()),
    "mirna": (READERS["mirna"], ModelChoice()),
    "mirna-ae": (READERS["mirna"], ModelChoice(networks={"mirna": "autoencoder"})),
    "mutation": (READERS["mutation"], ModelChoice()),
    "protein": (
        lambda data: read_expression(data / "tcga" / "protein_rppa.tsv.gz", modality="protein", scale="raw"),
        ModelChoice(),
    ),
}
PENALTIES = (0.01, 0.1, 1.0)
NAMES = ("knn", "probe", "pca_knn", "raw_logistic")


@dataclass(frozen=True)
class Row:
    """Scores of one encoder on one split, each as top-1 and balanced accuracy."""

    encoder: str
    split: str
    seed: int
    gallery: int
    queries: int
    knn: Score
    probe: Score
    pca_knn: Score
    raw_logistic: Score
    fit_seconds: float
    encode_seconds: float


def raw_features(records: FeatureMatrix | MutationSet, gallery: NDArray[np.int64]) -> NDArray[np.float32]:
    """Baseline features of all samples, prepared on the gallery alone.

    Matrices: features measured in every sample, standardised. Mutations: which of the encoder's genes are mutated,
    centred.
    """
    if isinstance(records, FeatureMatrix):
        x = records.values[:, ~np.isnan(records.values).any(axis=0)].astype(np.float64)
        deviation = x[gallery].std(axis=0)
        kept = deviation > 1e-6
        return np.asarray((x[:, kept] - x[gallery][:, kept].mean(axis=0)) / deviation[kept], dtype=np.float32)
    part = take(records, gallery)
    assert isinstance(part, MutationSet)
    uses = choose_genes(part, MutatedGenes.of(part, include_silent=False))
    encoded = [i for i, use in enumerate(uses.values()) if use == ENCODED]
    column_of = np.full(len(records.genes), -1, dtype=np.int64)
    column_of[encoded] = np.arange(len(encoded))
    genes = MutatedGenes.of(records, include_silent=False)
    dense = genes.dense(np.arange(len(records.samples)), column_of, len(encoded))
    return np.asarray(dense - dense[gallery].mean(axis=0), dtype=np.float32)


def components(x: NDArray[np.float32], gallery: NDArray[np.int64]) -> NDArray[np.float32]:
    """Principal components fitted on the gallery, `DIM` or as many as there are features."""
    centred = x - x[gallery].mean(axis=0)
    _, axes = np.linalg.eigh(centred[gallery].T.astype(np.float64) @ centred[gallery])
    return np.asarray(centred @ axes[:, ::-1][:, :DIM], dtype=np.float32)


def logistic(
    x: NDArray[np.floating],
    types: NDArray[np.str_],
    fitted: NDArray[np.int64],
    validation: NDArray[np.int64],
    queries: NDArray[np.int64],
) -> list[str]:
    """Answers of a logistic regression whose penalty does best on `validation`, then fitted to both parts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # A regression that stops at the largest number of steps is as good as any for a baseline.
    warnings.simplefilter("ignore", ConvergenceWarning)
    # In single precision lbfgs gives up its line search early, far from the optimum.
    x = x.astype(np.float64)
    scale = 1 / x[fitted].std()
    found = {}
    for penalty in PENALTIES if len(validation) else ():
        model = LogisticRegression(C=penalty, max_iter=60).fit(x[fitted] * scale, types[fitted])
        found[penalty] = float((model.predict(x[validation] * scale) == types[validation]).mean())
    best = max(found, key=found.__getitem__) if found else PENALTIES[1]
    both = np.concatenate([fitted, validation])
    model = LogisticRegression(C=best, max_iter=150).fit(x[both] * scale, types[both])
    return [str(one) for one in model.predict(x[queries] * scale)]


def measure(name: str, data: Path, labels: dict[str, Label], split: str, seed: int, part: str) -> Row:
    """Fit, encode and score one encoder on one split."""
    read, choice = ENCODERS[name]
    records = read(data)
    place = SPLITS[split](labels, seed)
    where = np.array([place.get(one.patient, "") if one.kind == "tumour" else "" for one in records.samples])
    types = np.array([labels[one.patient].cancer_type if one.patient in labels else "" for one in records.samples])
    train, validation = np.flatnonzero(where == "train"), np.flatnonzero(where == "validation")
    queries = np.flatnonzero(where == part)
    if part == "validation":
        validation = validation[:0]
    gallery = np.sort(np.concatenate([train, validation]))
    start = time.perf_counter()
    encoder = fit_encoder(take(records, gallery), seed=seed, choice=choice)
    fitted = time.perf_counter()
    asked = np.concatenate([gallery, queries])
    vectors = np.zeros((len(records.samples), DIM), dtype=np.float32)
    vectors[asked] = encoder.encode(records, rows=asked.tolist(), allow_missing=True).vectors
    encoded = time.perf_counter()
    truth = types[queries].tolist()
    raw = raw_features(records, gallery)
    axes = components(raw, gallery)
    known = types[gallery].tolist()
    return Row(
        name,
        split,
        seed,
        len(gallery),
        len(queries),
        knn=score(vote(vectors[queries], vectors[gallery], known), truth),
        probe=score(logistic(vectors, types, train, validation, queries), truth),
        pca_knn=score(vote(axes[queries], axes[gallery], known), truth),
        raw_logistic=score(logistic(raw, types, train, validation, queries), truth),
        fit_seconds=round(fitted - start, 1),
        encode_seconds=round(encoded - fitted, 2),
    )


def main() -> None:
    """Print one line per encoder and split: mean over the seeds, and their spread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--encoder", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=list(SPLITS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--json", action="store_true", help="every run as JSON on stdout instead of the table")
    options = parser.parse_args()
    labels = read_labels(options.data / "tcga" / "clinical.tsv")
    rows = []
    for name in options.encoder:
        for split in options.split:
            for seed in range(options.seeds):
                rows.append(measure(name, options.data, labels, split, seed, options.part))
                print(rows[-1], file=sys.stderr, flush=True)
    if options.json:
        shown = [asdict(row) | {key: getattr(row, key)._asdict() for key in NAMES} for row in rows]
        print(json.dumps({"part": options.part, "rows": shown}, indent=1))
        return
    print(f"top-1 / balanced accuracy on {options.part} patients; mean of the seeds (largest - smallest)\n")
    print("| encoder | held out | 10-NN | linear probe | PCA 10-NN | logistic on raw | fit s | encode s |")
    print("|---|---|---|---|---|---|---:|---:|")
    for name in options.encoder:
        for split in options.split:
            some = [row for row in rows if (row.encoder, row.split) == (name, split)]
            cells = " | ".join(cell([getattr(row, key) for row in some]) for key in NAMES)
            seconds = f"{np.mean([r.fit_seconds for r in some]):.0f} | {np.mean([r.encode_seconds for r in some]):.1f}"
            print(f"| {name} | {split} | {cells} | {seconds} |")


if __name__ == "__main__":
    main()
