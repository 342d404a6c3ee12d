"""The same specimens out of two pipelines: ``python -m benchmarks.cross_pipeline --data DIR``.

218 tumours are in two files: normalised RSEM by gene symbol, and raw counts of another pipeline by Ensembl id. An
encoder is fitted on one file; each shared specimen is then encoded from the other file, by itself, and has to find its
own vector among all of the first file's. Reported in both directions for each alignment the encoder offers, next to
plain correlation of standardised genes without and with the means of the whole query cohort taken off (the second is
not available to a single new patient).

The reader brings whole transcriptomes to one depth. To see what the alignment does by itself, the queries are also
asked at a twentieth of that depth, and the counts per kilobase of exon, which is what TPM and FPKM do to them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.alignment import ALIGNMENTS, align, fit_profile
from molsig.encoders.disk import ENCODED
from molsig.encoders.encoder import fit_encoder
from molsig.encoders.features import choose_features, gather, positions
from molsig.ingest.expression import read_expression
from molsig.ingest.genes import read_gene_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.types import Encoded, FeatureMatrix, SampleId


@dataclass(frozen=True)
class Found:
    """How often a specimen's nearest vector is its own; `margin` is the median lead over the best other cosine."""

    shared: int
    top1: float
    margin: float
    gallery: int


def read_pipelines(data: Path) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Both files as any user would read them; the gene table names the Ensembl ids."""
    genes = read_gene_map(data / "genes_ensembl105.tsv.gz")
    return (
        read_expression(data / "tcga" / "rna_20531genes_rsem.tsv.gz", genes=genes),
        read_expression(data / "tcga" / "rna_56537genes_counts.tsv.gz", genes=genes),
    )


def rescaled(records: FeatureMatrix, factor: NDArray[np.float64] | float) -> FeatureMatrix:
    """The same samples with every linear value times a factor, one for all genes or one each."""
    values = np.log2((np.exp2(records.values.astype(np.float64)) - 1) * factor + 1)
    return replace(records, values=values.astype(np.float32))


def per_kilobase(records: FeatureMatrix, gene_table: Path) -> NDArray[np.float64]:
    """1,000 / exonic length of each gene; the middle length where the table does not know the gene."""
    with gzip.open(gene_table, "rt", newline="") as file:
        length = {row["symbol"]: float(row["exonic_length"]) for row in csv.DictReader(file, delimiter="\t")}
    middle = float(np.median(list(length.values())))
    return np.array([1000 / length.get(name, middle) for name in records.features])


def self_retrieval(gallery: Encoded, queries: Encoded) -> Found:
    """Look each query specimen that the gallery has up in it (cosine)."""
    return _retrieve(gallery.samples, gallery.vectors, queries.samples, queries.vectors)


def _retrieve(
    stored: Sequence[SampleId], gallery: NDArray[np.float32], asked: Sequence[SampleId], queries: NDArray[np.float32]
) -> Found:
    place = {one.sample: row for row, one in enumerate(stored)}
    shared = [row for row, one in enumerate(asked) if one.sample in place]
    own = np.array([place[asked[row].sample] for row in shared])
    cosine = _unit(queries[shared]) @ _unit(gallery).T
    rows = np.arange(len(shared))
    mine = cosine[rows, own]
    others = cosine.copy()
    others[rows, own] = -2
    lead = mine - others.max(axis=1)
    return Found(len(shared), float((lead > 0).mean()), float(np.median(lead)), len(stored))


def correlation(gallery: FeatureMatrix, queries: FeatureMatrix, *, aligned: bool, centred: bool) -> Found:
    """Cosine of standardised genes, the encoder's own choice of them; genes the query file lacks are left out."""
    names = [name for name, use in choose_features(gallery).items() if use == ENCODED]
    there = positions(queries.features, names)
    names = [name for name, column in zip(names, there, strict=True) if column >= 0]
    x = gather(gallery.values, np.arange(len(gallery.samples)), positions(gallery.features, names))
    q = gather(queries.values, np.arange(len(queries.samples)), positions(queries.features, names))
    if aligned:
        profile = fit_profile(x)
        x, q = align(x, profile, "quantile"), align(q, profile, "quantile")
    mean, deviation = np.nanmean(x, axis=0), np.nanstd(x, axis=0) + 1e-3
    shift = np.nanmean(q, axis=0) if centred else mean
    x, q = np.nan_to_num((x - mean) / deviation), np.nan_to_num((q - shift) / deviation)
    return _retrieve(gallery.samples, x, queries.samples, q)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Print one line per method and direction."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tcga/ and genes_ensembl105.tsv.gz")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    options = parser.parse_args()
    rsem, counts = read_pipelines(options.data)
    rows: list[dict[str, object]] = []

    def tell(method: str, direction: str, found: Found, seconds: float = 0.0, **more: object) -> None:
        rows.append({"method": method, "direction": direction, **asdict(found), "seconds": round(seconds, 1), **more})
        print(f"{method}, {direction}: {found}", file=sys.stderr, flush=True)

    per_length = rescaled(counts, per_kilobase(counts, options.data / "genes_ensembl105.tsv.gz"))
    for direction, gallery, queries in (("counts in rsem", rsem, counts), ("rsem in counts", counts, rsem)):
        tell("correlation", direction, correlation(gallery, queries, aligned=False, centred=False))
        tell("correlation, query cohort centred", direction, correlation(gallery, queries, aligned=False, centred=True))
        tell("correlation, quantile", direction, correlation(gallery, queries, aligned=True, centred=False))
        for method in ALIGNMENTS:
            for seed in range(options.seeds):
                start = time.perf_counter()
                encoder = fit_encoder(gallery, seed=seed, alignment=method)
                found = self_retrieval(encoder.encode(gallery), encoder.encode(queries))
                report = encoder.contract(queries)
                seconds = time.perf_counter() - start
                tell(f"VAE, {method}", direction, found, seconds, seed=seed, matched=report.matched)
                others = {"a twentieth": rescaled(queries, 0.05)} | (
                    {"per kilobase": per_length} if queries is counts else {}
                )
                for how, changed in others.items():
                    found = self_retrieval(encoder.encode(gallery), encoder.encode(changed))
                    tell(f"VAE, {method}; queries {how}", direction, found, seed=seed)
    if options.json:
        print(json.dumps({"shared": rows[0]["shared"], "rows": rows}, indent=1))
        return
    print(f"{'method':40}{'direction':18}{'specimens':>10}{'found first':>13}{'margin':>9}{'s':>7}")
    for row in rows:
        line = f"{row['method']!s:40}{row['direction']!s:18}{row['shared']:>10}{row['top1']:>13.4f}"
        print(f"{line}{row['margin']:>9.3f}{row['seconds']:>7}")


if __name__ == "__main__":
    main()
