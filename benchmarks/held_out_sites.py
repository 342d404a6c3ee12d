"""Ten nearest neighbours on hospitals the encoder never saw: ``python -m benchmarks.held_out_sites --data DIR``.

For each modality, split and seed: encoders are fitted on the patients outside the part that is asked about, those
patients are the gallery, and each tumour of the part is typed by the vote of its ten nearest neighbours (cosine). The
baseline sees the same patients: standardise, 100 principal components, the same vote. ``--part validation`` fits on the
training part alone and asks about the validation part; that is what settings were chosen on. The test part was asked
about once, at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.splits import cell, read_labels, score, split_at_random, split_by_site, vote
from molsig.encoders.disk import ENCODED
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.mutation import MutatedGenes, choose_genes
from molsig.ingest.expression import read_expression
from molsig.ingest.mirna import read_mirna
from molsig.ingest.mutations import read_maf
from molsig.types import FeatureMatrix, MutationSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.splits import Label, Score

READERS: dict[str, Callable[[Path], FeatureMatrix | MutationSet]] = {
    "rna": lambda data: read_expression(data / "tcga" / "rna_90genes_log2.tsv.gz"),
    "mirna": lambda data: read_mirna(data / "tcga" / "mirna_counts.parquet"),
    "mutation": lambda data: read_maf(data / "tcga" / "mutations.maf.gz"),
}
SPLITS = {"site": split_by_site, "random": split_at_random}
COMPONENTS = 100


@dataclass(frozen=True)
class Row:
    """Scores of one modality on one split, each as top-1 and balanced accuracy."""

    modality: str
    split: str
    seed: int
    gallery: int
    queries: int
    vae: Score
    pca: Score
    chance: Score
    seconds: float
    best_epoch: int


def take(records: FeatureMatrix | MutationSet, rows: NDArray[np.int64]) -> FeatureMatrix | MutationSet:
    """Records of some samples; genes and features stay."""
    samples = tuple(records.samples[row] for row in rows)
    if isinstance(records, FeatureMatrix):
        return FeatureMatrix(
            records.modality, samples, records.features, records.values[rows], records.scale, records.report
        )
    place = np.full(len(records.samples), -1, dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    kept = place[records.sample_index] >= 0
    return MutationSet(
        samples,
        records.genes,
        place[records.sample_index[kept]],
        records.gene_index[kept],
        records.silent[kept],
        records.report,
    )


def principal_components(
    records: FeatureMatrix | MutationSet, gallery: NDArray[np.int64], queries: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Baseline vectors of queries and gallery, fitted on the gallery.

    Matrices: features measured in every sample of the file, standardised. Mutations: the indicator matrix of the
    encoder's genes, centred only, since standardising lifts the rarest gene to the level of TP53.
    """
    if isinstance(records, FeatureMatrix):
        x = records.values[:, ~np.isnan(records.values).any(axis=0)].astype(np.float64)
        deviation = x[gallery].std(axis=0)
        x = (x[:, deviation > 1e-6] - x[gallery].mean(axis=0)[deviation > 1e-6]) / deviation[deviation > 1e-6]
    else:
        part = take(records, gallery)
        assert isinstance(part, MutationSet)
        uses = choose_genes(part, MutatedGenes.of(part, include_silent=False))
        column_of = np.full(len(records.genes), -1, dtype=np.int64)
        encoded = [i for i, use in enumerate(uses.values()) if use == ENCODED]
        column_of[encoded] = np.arange(len(encoded))
        genes = MutatedGenes.of(records, include_silent=False)
        x = genes.dense(np.arange(len(records.samples)), column_of, len(encoded)).astype(np.float64)
        x -= x[gallery].mean(axis=0)
    _, axes = np.linalg.eigh(x[gallery].T @ x[gallery])
    scores = (x @ axes[:, ::-1][:, :COMPONENTS]).astype(np.float32)
    return scores[queries], scores[gallery]


def measure(records: FeatureMatrix | MutationSet, labels: dict[str, Label], split: str, seed: int, part: str) -> Row:
    """Fit, encode and score one modality on one split."""
    start = time.perf_counter()
    place = SPLITS[split](labels, seed)
    fitted = {"train"} if part == "validation" else {"train", "validation"}
    tumour = [one.kind == "tumour" for one in records.samples]
    where = [place.get(one.patient, "") if ok else "" for one, ok in zip(records.samples, tumour, strict=True)]
    gallery = np.array([row for row, one in enumerate(where) if one in fitted])
    queries = np.array([row for row, one in enumerate(where) if one == part])
    types = [labels[records.samples[row].patient].cancer_type for row in gallery]
    truth = [labels[records.samples[row].patient].cancer_type for row in queries]
    encoder = fit_encoder(take(records, gallery), seed=seed)
    known = encoder.encode(records, rows=gallery.tolist(), allow_missing=True).vectors
    asked = encoder.encode(records, rows=queries.tolist(), allow_missing=True).vectors
    commonest = Counter(types).most_common(1)[0][0]
    baseline = principal_components(records, gallery, queries)
    return Row(
        records.modality,
        split,
        seed,
        len(gallery),
        len(queries),
        vae=score(vote(asked, known, types), truth),
        pca=score(vote(*baseline, types), truth),
        chance=score([commonest] * len(truth), truth),
        seconds=round(time.perf_counter() - start, 1),
        best_epoch=encoder.card.training["best_epoch"],
    )


def main() -> None:
    """Print one line per modality and split: mean over the seeds, and their spread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/")
    parser.add_argument("--modality", nargs="+", choices=sorted(READERS), default=list(READERS))
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=list(SPLITS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--json", action="store_true", help="every run as JSON on stdout instead of the table")
    options = parser.parse_args()
    labels = read_labels(options.data / "tcga" / "clinical.tsv")
    rows = []
    for modality in options.modality:
        records = READERS[modality](options.data)
        for split in options.split:
            for seed in range(options.seeds):
                rows.append(measure(records, labels, split, seed, options.part))
                print(rows[-1], file=sys.stderr, flush=True)
    if options.json:
        shown = [asdict(row) | {key: getattr(row, key)._asdict() for key in ("vae", "pca", "chance")} for row in rows]
        print(json.dumps({"part": options.part, "k": 10, "rows": shown}, indent=1))
        return
    print(
        f"10-NN vote, cosine; top-1 / balanced accuracy on {options.part} patients; mean (largest - smallest) of seeds"
    )
    print(f"{'modality':10}{'split':8}{'seeds':>6}{'gallery':>9}{'queries':>9}  " + "".join(f"{n:30}" for n in _NAMES))
    for modality in options.modality:
        for split in options.split:
            some = [row for row in rows if (row.modality, row.split) == (modality, split)]
            sizes = f"{np.mean([r.gallery for r in some]):9.0f}{np.mean([r.queries for r in some]):9.0f}"
            cells = "".join(f"{cell([getattr(row, name) for row in some]):30}" for name in _NAMES)
            print(f"{modality:10}{split:8}{len(some):6}{sizes}  {cells}")


_NAMES = ("vae", "pca", "chance")


if __name__ == "__main__":
    main()
