"""Poor miRNA libraries are found and told."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from molsig.ingest.mirna import read_mirna
from molsig.ingest.mirna_quality import low_quality, small_classes, told
from molsig.types import FeatureMatrix

IDS = [f"hsa-mir-{i}" for i in range(1, 121)]


def library(tmp_path: Path, n: int = 60, poor: dict[int, float] | None = None) -> FeatureMatrix:
    rng = np.random.default_rng(0)
    values = np.floor(rng.gamma(2.0, 20_000, size=(n, len(IDS))))
    for row, share in (poor or {}).items():
        values[row] = np.floor(values[row] * share)
    path = tmp_path / "m.parquet"
    names = [f"TCGA-AA-{i:04d}-01A" for i in range(n)]
    pq.write_table(pa.table({"sample": names, **{name: values[:, i] for i, name in enumerate(IDS)}}), path)
    return read_mirna(path)


def test_reads_are_kept_of_counts(tmp_path: Path) -> None:
    matrix = library(tmp_path)
    assert matrix.reads is not None
    assert matrix.reads.shape == (60,)
    assert matrix.reads.min() > 1e6


def test_too_few_reads_and_outliers_are_found_and_named(tmp_path: Path) -> None:
    matrix = library(tmp_path, poor={3: 0.1, 7: 6.0})
    reasons = low_quality(matrix)
    assert set(reasons) == {3, 7}
    few, outlier = told(matrix, reasons)
    assert few.startswith("1 samples, fewer than 1,000,000 reads: TCGA-AA-0003")
    assert outlier.startswith("1 samples, outlier in log10 reads: TCGA-AA-0007")


def test_small_classes_are_found_and_patients_of_unknown_tissue_pass(tmp_path: Path) -> None:
    matrix = library(tmp_path, n=30)
    tissue = {one.patient: "liver" if i < 9 else "lung" for i, one in enumerate(matrix.samples[:28])}
    reasons = small_classes(matrix, tissue)
    assert set(reasons) == set(range(9))
    assert reasons[0] == "class of fewer than 10 samples (liver neoplastic, 9)"
    assert set(small_classes(matrix, tissue, without=range(12, 28))) == {*range(12)}


def test_values_that_are_no_counts_pass(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"
    rng = np.random.default_rng(0)
    lines = ["sample\t" + "\t".join(IDS)]
    lines += [f"TCGA-AA-{i:04d}-01A\t" + "\t".join(f"{v:.3f}" for v in rng.gamma(2, 2, len(IDS))) for i in range(5)]
    path.write_text("\n".join(lines) + "\n")
    matrix = read_mirna(path)
    assert matrix.reads is None
    assert not low_quality(matrix)
