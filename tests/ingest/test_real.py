"""The readers on the real cohorts: nothing edited by hand, the facts of the data as its description tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.errors import InputError
from molsig.ingest.expression import read_expression
from molsig.ingest.genes import read_gene_map
from molsig.ingest.mirna import read_mirna
from molsig.ingest.mutations import read_maf
from molsig.ingest.patients import read_patients
from molsig.ingest.reports import read_reports
from molsig.ingest.sentences import is_fragment

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.ingest.genes import GeneMap
    from molsig.types import FeatureMatrix

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def ensembl(data_dir: Path) -> GeneMap:
    return read_gene_map(data_dir / "genes_ensembl105.tsv.gz")


@pytest.fixture(scope="module")
def rsem(data_dir: Path, ensembl: GeneMap) -> FeatureMatrix:
    return read_expression(data_dir / "tcga/rna_20531genes_rsem.tsv.gz", genes=ensembl)


@pytest.fixture(scope="module")
def counts(data_dir: Path, ensembl: GeneMap) -> FeatureMatrix:
    return read_expression(data_dir / "tcga/rna_56537genes_counts.tsv.gz", genes=ensembl)


def test_genes(ensembl: GeneMap) -> None:
    assert len(ensembl) == 62_800
    assert len(ensembl.symbols) == 39_620


def test_90_genes(data_dir: Path, ensembl: GeneMap) -> None:
    found = read_expression(data_dir / "tcga/rna_90genes_log2.tsv.gz", genes=ensembl)
    assert found.values.shape == (5623, 90)
    assert found.report.kinds == {"tumour": 5623}
    assert (found.report.scale, found.report.orientation) == ("log2", "samples-down")
    assert "entrez:6318" in found.features
    assert found.samples[0].sample == "TCGA-02-0047-01"
    assert found.values[0, found.features.index("DCN")] == np.float32(8.53)
    assert not np.isnan(found.values).any()
    assert found.values.min() == 0


def test_3556_genes_tumour_and_normal(data_dir: Path, ensembl: GeneMap) -> None:
    found = read_expression(data_dir / "tcga/rna_3556genes_log2_tumour_normal.parquet", genes=ensembl)
    assert found.values.shape == (1048, 3556)
    assert found.report.kinds == {"normal": 524, "tumour": 524}
    assert found.report.patients == 524
    assert np.isnan(found.values).sum() == 944
    assert np.nanmin(found.values) == 0
    assert any("values below -2 count as -2" in note for note in found.report.notes)


def test_20531_genes_rsem(rsem: FeatureMatrix) -> None:
    assert rsem.values.shape == (264, 20_530)  # SLC35E2 is there with two Entrez ids
    assert (rsem.report.id_type, rsem.report.orientation, rsem.report.scale) == (
        "symbol|entrez",
        "samples-across",
        "linear",
    )
    assert rsem.report.duplicates == 1
    assert rsem.report.kinds == {"normal": 12, "tumour": 252}


def test_56537_genes_counts(counts: FeatureMatrix) -> None:
    assert counts.values.shape[0] == 291
    assert (counts.report.id_type, counts.report.scale, counts.report.rows) == ("ensembl", "counts", 56_537)
    assert counts.values.shape[1] + counts.report.duplicates == 56_537


def test_a_specimen_finds_itself_in_the_other_pipeline(rsem: FeatureMatrix, counts: FeatureMatrix) -> None:
    shared = sorted({s.sample for s in rsem.samples} & {s.sample for s in counts.samples})
    assert len(shared) == 218
    genes = sorted(set(rsem.features) & set(counts.features))
    assert len(genes) > 17_000

    def chosen(matrix: FeatureMatrix) -> np.ndarray:
        rows = {s.sample: i for i, s in enumerate(matrix.samples)}
        columns = {g: i for i, g in enumerate(matrix.features)}
        return matrix.values[np.ix_([rows[s] for s in shared], [columns[g] for g in genes])].astype(np.float64)

    one, two = chosen(rsem), chosen(counts)
    # The units agree: half of the genes of the same specimen differ by less than a quarter of a doubling.
    expressed = one.mean(axis=0) > 5
    assert np.median(np.abs(one - two)[:, expressed]) < 0.25
    scaled = [(x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6) for x in (one, two)]
    unit = [
        (x - x.mean(axis=1, keepdims=True)) / np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=1)[:, None]
        for x in scaled
    ]
    found = (unit[0] @ unit[1].T).argmax(axis=1)
    assert (found == np.arange(218)).mean() >= 0.98


def test_mutations(data_dir: Path, ensembl: GeneMap) -> None:
    found = read_maf(data_dir / "tcga/mutations.maf.gz", genes=ensembl)
    assert found.report.rows == 1_328_109
    assert len(found.samples) == 7557
    assert found.report.warnings == ()
    keys = found.sample_index.astype(np.int64) << 33 | found.gene_index.astype(np.int64) << 1 | found.silent
    assert (np.diff(keys) > 0).all()
    tp53 = np.unique(found.sample_index[(found.gene_index == found.genes.index("TP53")) & ~found.silent])
    assert 2000 < len(tp53) < 3500
    assert 0.2 < found.silent.mean() < 0.3


def test_mirna_measured_in_every_type(data_dir: Path) -> None:
    found = read_mirna(data_dir / "tcga/mirna_counts.parquet")
    assert found.values.shape == (9353, 1071)
    assert found.report.kinds == {"metastasis": 366, "normal": 579, "recurrence": 24, "tumour": 8384}
    assert len({sample.sample for sample in found.samples}) == 9353
    missing = np.isnan(found.values)
    # Absent features can be the label: COAD, READ, OV and LAML have 705 columns, the others 1,046, all of them 680.
    assert (~missing.any(axis=0)).sum() == 680
    assert set((~missing).sum(axis=1)) == {705, 1046}
    linear = np.exp2(found.values[:200].astype(np.float64)) - 1
    np.testing.assert_allclose(np.nansum(linear, axis=1), 1e6, rtol=1e-4)


def test_reports(data_dir: Path) -> None:
    found = read_reports(data_dir / "tcga/reports.csv.gz")
    assert found.report.patients == found.report.samples == 1620
    assert len(set(found.samples)) == 1620
    assert 70_000 < len(found.texts) < 90_000
    lengths = np.array([len(text) for text in found.texts])
    assert 45 < np.median(lengths) < 70
    assert lengths.max() <= 1500
    # Pieces such as item letters are no sentences of their own, but where a report has nothing else.
    assert sum(map(is_fragment, found.texts)) < 20
    first = [text for sample, text in zip(found.samples, found.texts, strict=True) if sample == found.samples[0]]
    assert any('A. "Brain tissue (AF1)"' in text for text in first)
    assert found.items[: len(first)] == tuple(f"{i + 1:04d}" for i in range(len(first)))
    # Line ends of the scans are marked by a stop; few sentences still start in the middle of one.
    assert sum(text[0].islower() for text in found.texts) < 0.015 * len(found.texts)


def test_clinical(data_dir: Path) -> None:
    found = read_patients(data_dir / "tcga/clinical.tsv")
    table = found.table
    assert table.num_rows == 9638
    assert len(set(table.column("cancer_type").to_pylist())) == 33
    assert str(table.schema.field("age").type) == "double"
    assert set(table.column("sex").to_pylist()) <= {"male", "female", None}
    assert "[Not Applicable]" not in table.column("clinical_stage").to_pylist()
    assert table.column("clinical_stage").null_count > 5000


def test_protein_as_a_matrix_of_its_own(data_dir: Path) -> None:
    path = data_dir / "tcga/protein_rppa.tsv.gz"
    with pytest.raises(InputError, match="look centred"):
        read_expression(path, modality="protein")
    found = read_expression(path, modality="protein", scale="raw")
    assert found.report.rows == 5795
    assert len(found.samples) == 5746  # 49 samples are there twice, with the same values
    assert "14-3-3_beta" in found.features


@pytest.mark.parametrize("name", ["Khan_xtrain.csv", "NCI60data.npy", "Khan_ytest.csv"])
def test_files_that_name_no_genes_are_refused_with_advice(data_dir: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_expression(data_dir / "other" / name)
    assert caught.value.hint
