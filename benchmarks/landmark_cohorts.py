"""Cohorts of the landmark benchmark: which samples are learned from, which are asked, and the other pipeline beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.cross_pipeline import per_kilobase, read_pipelines, rescaled
from benchmarks.splits import read_labels, split_at_random, split_by_site
from molsig.encoders.features import LOWEST_MEAN
from molsig.ingest.expression import read_expression

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

    Matrix = NDArray[np.float32]
    Rows = NDArray[np.int64]

SPLITS = {"random": split_at_random, "site": split_by_site}


@dataclass(frozen=True)
class Split:
    """Samples to learn from and samples of other patients, genes measured in all of them and expressed in the first.

    Attributes
    ----------
    train, test
        log2(x + 1), (samples, genes).
    patients
        Of each training sample.
    asked
        Barcodes of the test samples.
    """

    genes: tuple[str, ...]
    train: Matrix
    test: Matrix
    patients: list[str]
    asked: list[str]
    types: list[str]


def read(data: Path, cohort: str) -> FeatureMatrix:
    """`panel`: 3,556 genes of 1,048 samples; `transcriptome`: 20,531 genes of 264."""
    if cohort == "panel":
        return read_expression(data / "tcga" / "rna_3556genes_log2_tumour_normal.parquet")
    return read_pipelines(data)[0]


def split(matrix: FeatureMatrix, data: Path, how: str, seed: int, part: str = "test") -> Split:
    """Hold out a fifth of the patients, or whole sites; with `part` validation, hold those out and leave test aside."""
    labels = read_labels(data / "tcga" / "clinical.tsv")
    of = [one.patient for one in matrix.samples]
    place = SPLITS[how]({one: labels[one] for one in of if one in labels}, seed)
    learned = {"train"} if part == "validation" else {"train", "validation"}
    rows = np.array([i for i, one in enumerate(of) if place.get(one) in learned])
    asked = np.array([i for i, one in enumerate(of) if place.get(one) == part])
    whole = ~np.isnan(matrix.values).any(axis=0)
    kept = np.flatnonzero(whole & (matrix.values[rows].mean(axis=0) >= LOWEST_MEAN))
    return Split(
        tuple(matrix.features[i] for i in kept),
        np.ascontiguousarray(matrix.values[np.ix_(rows, kept)]),
        np.ascontiguousarray(matrix.values[np.ix_(asked, kept)]),
        [of[i] for i in rows],
        [matrix.samples[i].sample for i in asked],
        [labels[of[i]].cancer_type for i in asked],
    )


@dataclass(frozen=True)
class Other:
    """The held-out specimens as the other pipeline has them.

    Attributes
    ----------
    genes
        Positions in the split's genes of those that the other file has, too.
    same
        Positions of the specimens among the split's test samples.
    as_read, per_kilobase
        log2(x + 1) of them, (specimens, genes): counts brought to one depth, and divided by exonic length before.
    """

    genes: Rows
    same: Rows
    as_read: Matrix
    per_kilobase: Matrix


def other_pipeline(data: Path, one: Split) -> Other:
    """Find the test specimens of a split of the transcriptome among the raw counts of the other pipeline."""
    counts = read_pipelines(data)[1]
    by_length = rescaled(counts, per_kilobase(counts, data / "genes_ensembl105.tsv.gz"))
    column = {name: i for i, name in enumerate(counts.features)}
    row = {sample.sample: i for i, sample in enumerate(counts.samples)}
    genes = np.array([i for i, name in enumerate(one.genes) if name in column])
    same = np.array([i for i, name in enumerate(one.asked) if name in row])
    place = np.ix_([row[one.asked[i]] for i in same], [column[one.genes[i]] for i in genes])
    return Other(genes, same, counts.values[place], by_length.values[place])
