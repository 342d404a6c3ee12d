"""miRNA counts per million, and nothing invented for what was not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molsig.errors import InputError
from molsig.ingest.expression import read_expression
from molsig.ingest.mirna import read_mirna

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = [f"hsa-mir-{i}" for i in range(1, 121)]


def counts(seed: int = 0) -> np.ndarray:
    return np.floor(np.random.default_rng(seed).gamma(0.5, 2000, size=(3, len(IDS))))


def test_counts_per_million(tmp_path: Path) -> None:
    values = counts()
    path = tmp_path / "m.parquet"
    pq.write_table(
        pa.table(
            {
                "sample": ["TCGA-OR-A5J1-01A", "TCGA-OR-A5J2-06A", "TCGA-OR-A5J3-11A"],
                "patient": ["TCGA-OR-A5J1", "TCGA-OR-A5J2", "TCGA-OR-A5J3"],
                "sequencer": ["a", "b", "c"],
                **{name: values[:, i].astype(int) for i, name in enumerate(IDS)},
            }
        ),
        path,
    )
    matrix = read_mirna(path)
    assert matrix.modality == "mirna"
    assert matrix.features == tuple(IDS)
    expected = np.log2(values / values.sum(axis=1, keepdims=True) * 1e6 + 1)
    np.testing.assert_allclose(matrix.values, expected, rtol=1e-5)
    assert matrix.report.kinds == {"metastasis": 1, "normal": 1, "tumour": 1}
    assert "columns not used: sequencer" in matrix.report.notes


def test_an_absent_mirna_is_missing_and_not_zero(write: Callable[..., Path]) -> None:
    values = counts()
    rows = [[name, *map(str, row)] for name, row in zip(IDS, values.T.astype(int), strict=True)]
    rows[0][2] = ""
    text = "\n".join("\t".join(row) for row in [["mirna", "S1", "S2", "S3"], *rows])
    matrix = read_mirna(write("m.tsv", text))
    assert np.isnan(matrix.values[1, 0])
    assert np.isnan(matrix.values).sum() == 1
    known = values[1, 1:]
    np.testing.assert_allclose(matrix.values[1, 1:], np.log2(known / known.sum() * 1e6 + 1), rtol=1e-5)


def test_other_features_are_left_out(write: Callable[..., Path]) -> None:
    text = "sample\thsa-mir-21\thsa-let-7a-1\tMIMAT0000076\tage_score\nS1\t100\t200\t3\t7\nS2\t1\t2\t3\t4\n"
    matrix = read_mirna(write("m.tsv", text))
    assert matrix.features == ("hsa-mir-21", "hsa-let-7a-1", "MIMAT0000076")
    assert "1 features that are no human miRNA left out" in matrix.report.notes


def test_genes_are_no_mirnas(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="only 0 of 3 features are human miRNAs"):
        read_mirna(write("m.tsv", "sample\tTP53\tKRAS\tEGFR\nS1\t100\t2\t3\n"))


def test_a_negative_count(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="-1 is negative, and counts cannot be") as caught:
        read_mirna(write("m.tsv", "sample\thsa-mir-21\thsa-mir-22\nS1\t100\t2\nS2\t5\t-1\n"), scale="counts")
    assert (caught.value.row, caught.value.column) == (3, "hsa-mir-22")


def test_mirnas_given_as_rna_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mirna.tsv"
    file.write_text("sample\thsa-mir-21\thsa-mir-155\thsa-let-7a-1\nA\t100\t3\t50\nB\t120\t5\t70\n")
    with pytest.raises(InputError, match="miRNA"):
        read_expression(file)
