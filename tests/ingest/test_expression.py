"""One matrix, whatever file it comes in; and a place for everything that is wrong with it."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molsig.errors import InputError, UsageError
from molsig.ingest.expression import read_expression
from molsig.ingest.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from molsig.ingest.genes import GeneMap

GENES = ["TP53", "KRAS", "EGFR", "MYC", "GAPDH"]
SAMPLES = ["TCGA-OR-A5J1-01A", "TCGA-OR-A5J2-01A", "TCGA-OR-A5J3-11A"]
LOG2 = np.array(
    [[1.5, 2.25, 0.0, 8.125, 14.5], [3.0, 0.5, 6.75, 7.0, 13.25], [0.0, 0.0, 9.5, 1.25, 12.0]], dtype=np.float32
)


def table(values: Any, samples: list[str], genes: list[str], *, across: bool, delimiter: str = "\t") -> str:
    values = np.asarray(values)
    rows, names, cells = (genes, samples, values.T) if across else (samples, genes, values)
    corner = "gene" if across else "sample"
    lines = [[corner, *names], *([name, *map(_cell, row)] for name, row in zip(rows, cells, strict=True))]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def _cell(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


TEXT = table(LOG2, SAMPLES, GENES, across=False)


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_what_is_read(write: Callable[..., Path]) -> None:
    matrix = read_expression(write("f.tsv", TEXT))
    assert matrix.modality == "rna"
    assert matrix.features == tuple(GENES)
    assert [sample.sample for sample in matrix.samples] == SAMPLES
    assert matrix.scale == "log2"
    assert matrix.values.dtype == np.float32
    np.testing.assert_array_equal(matrix.values, LOG2)
    report = matrix.report
    assert (report.rows, report.samples, report.patients, report.features) == (3, 3, 3, 5)
    assert (report.id_type, report.scale, report.orientation) == ("symbol", "log2", "samples-down")
    assert report.kinds == {"normal": 1, "tumour": 2}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.lists(st.one_of(st.just(np.nan), st.floats(0, 20, width=32)), min_size=5, max_size=5), min_size=2, max_size=4
    ).filter(lambda rows: all(not np.isnan(row).all() for row in rows) and np.nanmax(rows) % 1 > 0),
    across=st.booleans(),
    delimiter=st.sampled_from("\t,;"),
    packing=st.sampled_from(["plain", "gzip", "zstd", "utf-16", "crlf", "bom", "quoted"]),
)
def test_the_same_matrix_from_every_shape(
    tmp_path: Path, values: list[list[float]], across: bool, delimiter: str, packing: str
) -> None:
    array = np.array(values, dtype=np.float32)
    samples = [f"TCGA-OR-A5J{i}-01A" for i in range(len(values))]
    text = table(array, samples, GENES, across=across, delimiter=delimiter)
    if packing == "quoted":
        text = "".join(delimiter.join(f'"{c}"' for c in line.split(delimiter)) + "\n" for line in text.splitlines())
    data = {
        "gzip": lambda: gzip.compress(text.encode()),
        "zstd": lambda: pa.Codec("zstd").compress(text.encode(), asbytes=True),
        "utf-16": lambda: text.encode("utf-16"),
        "crlf": lambda: text.replace("\n", "\r\n").encode(),
        "bom": lambda: text.encode("utf-8-sig"),
    }.get(packing, text.encode)()
    path = tmp_path / "f"
    path.write_bytes(data)
    matrix = read_expression(path, scale="log2")
    np.testing.assert_array_equal(matrix.values, array)
    assert [sample.sample for sample in matrix.samples] == samples
    assert matrix.features == tuple(GENES)
    assert matrix.report.orientation == ("samples-across" if across else "samples-down")


def test_parquet_both_ways_round(tmp_path: Path) -> None:
    down = parquet(tmp_path / "d", {"sample": SAMPLES, **{g: LOG2[:, i] for i, g in enumerate(GENES)}})
    # pandas puts its index last, under this name
    across = parquet(tmp_path / "a", {**{s: LOG2[i] for i, s in enumerate(SAMPLES)}, "__index_level_0__": GENES})
    for path in (down, across):
        np.testing.assert_array_equal(read_expression(path).values, LOG2)


def test_parquet_types(tmp_path: Path) -> None:
    columns = {
        "sample": pa.array(SAMPLES).dictionary_encode(),
        "batch": pa.array([True, False, True]),
        "TP53": pa.array([100, None, 3], pa.int64()),
        "KRAS": pa.array([1, 2, 3], pa.uint8()),
        "EGFR": pa.array([None, None, None], pa.null()),
    }
    matrix = read_expression(parquet(tmp_path / "f", columns), scale="raw")
    np.testing.assert_array_equal(
        matrix.values, np.array([[100, 1, np.nan], [np.nan, 2, np.nan], [3, 3, np.nan]], dtype=np.float32)
    )
    assert "columns not used: batch" in matrix.report.notes


def test_decimal_commas(write: Callable[..., Path]) -> None:
    text = table(LOG2, SAMPLES, GENES, across=False, delimiter=";").replace(".", ",")
    np.testing.assert_array_equal(read_expression(write("f.csv", text)).values, LOG2)


def test_names_of_the_rows_left_without_a_header_by_r(write: Callable[..., Path]) -> None:
    text = table(LOG2, SAMPLES, GENES, across=True).removeprefix("gene\t")
    np.testing.assert_array_equal(read_expression(write("f.tsv", text)).values, LOG2)


@pytest.mark.parametrize("comment", ["# made by\n", "#1\n\n", "## a\n# b\n"])
def test_comments_above_the_header(write: Callable[..., Path], comment: str) -> None:
    np.testing.assert_array_equal(read_expression(write("f.tsv", comment + TEXT)).values, LOG2)


def test_a_header_that_looks_like_a_comment(write: Callable[..., Path]) -> None:
    np.testing.assert_array_equal(read_expression(write("f.tsv", "#" + TEXT)).values, LOG2)


GCT_VALUES = table(LOG2, SAMPLES, GENES, across=True).splitlines()


def gct(version: str, *, rows: int = 5) -> str:
    body = [line.split("\t") for line in GCT_VALUES]
    with_notes = [[line[0], "Description" if i == 0 else "na", *line[1:]] for i, line in enumerate(body)]
    lines = ["\t".join(line) for line in with_notes]
    if version == "#1.3":
        lines[0:1] = [lines[0], "sample_type\tna\ttumour\ttumour\tnormal", "patient\tna\tP1\tP2\tP3"]
        return "\n".join([version, f"{rows}\t3\t1\t2", *lines]) + "\n"
    return "\n".join([version, f"{rows}\t3", *lines]) + "\n"


@pytest.mark.parametrize("version", ["#1.2", "#1.3"])
def test_gct(write: Callable[..., Path], version: str) -> None:
    matrix = read_expression(write("f.gct", gct(version), gz=True))
    np.testing.assert_array_equal(matrix.values, LOG2)
    assert matrix.features == tuple(GENES)
    assert matrix.report.kinds == {"normal": 1, "tumour": 2}


def test_gct_1_3_names_patients(write: Callable[..., Path]) -> None:
    text = gct("#1.3").replace("TCGA-OR-A5J", "S")
    matrix = read_expression(write("f.gct", text))
    assert [(s.patient, s.kind) for s in matrix.samples] == [("P1", "tumour"), ("P2", "tumour"), ("P3", "normal")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (gct("#1.2", rows=6), "5 rows of values, and the second line speaks of 6"),
        ("#1.2\nfive\t3\n", "holds 2 counts"),
        ("#1.3\n1\t1\t1\n", "holds 4 counts"),
        ("#1.2\n5\t4\n" + gct("#1.2").split("\n", 2)[2], "5 columns, and the second line speaks of 6"),
        ("#1.2\n1\t1\n", "ends within its header"),
        ("#1.2\n1\t999999999\n", "more than the limit"),
    ],
)
def test_gct_that_contradicts_itself(write: Callable[..., Path], text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_expression(write("f.gct", text))


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
def test_h5ad(tmp_path: Path, form: str) -> None:
    anndata = pytest.importorskip("anndata")
    import pandas as pd
    from scipy import sparse

    values = {"dense": np.asarray, "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[form](LOG2)
    obs = pd.DataFrame(
        {"patient": ["P1", "P2", "P2"], "kind": ["tumour", "tumour", "normal"]}, index=["S1", "S2", "S3"]
    )
    data = anndata.AnnData(X=values, obs=obs, var=pd.DataFrame(index=GENES))
    data.layers["twice"] = values * 2
    data.write_h5ad(tmp_path / "f.h5ad")
    matrix = read_expression(tmp_path / "f.h5ad")
    np.testing.assert_array_equal(matrix.values, LOG2)
    assert [(s.sample, s.patient, s.kind) for s in matrix.samples] == [
        ("S1", "P1", "tumour"),
        ("S2", "P2", "tumour"),
        ("S3", "P2", "normal"),
    ]
    np.testing.assert_array_equal(read_expression(tmp_path / "f.h5ad", layer="twice").values, 2 * LOG2)
    with pytest.raises(InputError, match="no layer 'counts'; it has twice"):
        read_expression(tmp_path / "f.h5ad", layer="counts")


def test_natural_logarithms_of_scanpy_are_undone(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    linear = np.exp2(LOG2) - 1
    data = anndata.AnnData(X=np.log1p(linear), obs=pd.DataFrame(index=SAMPLES), var=pd.DataFrame(index=GENES))
    data.uns["log1p"] = {}
    data.write_h5ad(tmp_path / "f.h5ad")
    matrix = read_expression(tmp_path / "f.h5ad")
    np.testing.assert_allclose(matrix.values, LOG2, atol=1e-4)
    assert "log1p of scanpy undone" in matrix.report.notes


# Which way round


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize(
    ("samples", "genes_used"),
    [
        (["TCGA-OR-A5J1-01A", "TCGA-OR-A5J2-01A"], ["X1", "X2", "X3"]),
        (["S1", "S2"], ["ENSG00000000003.1", "ENSG00000000005.2", "ENSG00000000419.3"]),
        (["S1", "S2"], ["A|1", "B|2", "?|3"]),
        (["S1", "S2"], ["TP53", "KRAS", "EGFR"]),
        (["S1", "S2"], ["TSPAN6", "TNMD", "DPM1"]),
    ],
)
def test_orientation_is_seen_from_the_ids(
    write: Callable[..., Path], genes: GeneMap, samples: list[str], genes_used: list[str], across: bool
) -> None:
    values = [[1.5, 2.5, 0.25], [3.5, 0.5, 6.5]]
    text = table(values, samples, genes_used, across=across).replace("gene\t", "id\t").replace("sample\t", "id\t")
    matrix = read_expression(write("f.tsv", text), genes=genes)
    np.testing.assert_array_equal(matrix.values, np.array(values, dtype=np.float32))


def test_orientation_that_nothing_tells(write: Callable[..., Path]) -> None:
    path = write("f.tsv", "id\tA1\tA2\nB1\t1.5\t2.5\nB2\t0.5\t3\n")
    with pytest.raises(InputError, match=r"cannot tell whether samples go down or across.*orientation='samples-down'"):
        read_expression(path)
    assert read_expression(path, orientation="samples-down").features == ("A1", "A2")
    assert read_expression(path, orientation="samples-across").features == ("B1", "B2")


def test_orientation_that_is_contradicted(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="gene ids: samples-down; the name of the id column: samples-across"):
        read_expression(write("f.tsv", "gene\tA|1\tB|2\nS1\t1.5\t2.5\nS2\t0.5\t3\n"))


# Columns that are no features


def test_columns_beside_the_features(write: Callable[..., Path]) -> None:
    text = "sample\tpatient\tsequencer\tage\tTP53\tKRAS\tEGFR\nS1\tP1\tHiSeq\t61\t1.5\t2\t3\nS2\tP1\tGA\t62\t2\t3\t4\n"
    matrix = read_expression(write("f.tsv", text))
    assert matrix.features == ("TP53", "KRAS", "EGFR")
    assert {sample.patient for sample in matrix.samples} == {"P1"}
    assert "columns not used: sequencer, age" in matrix.report.notes


def test_feature_counts_output(write: Callable[..., Path]) -> None:
    text = (
        "# Program:featureCounts\n"
        "Geneid\tChr\tStart\tEnd\tStrand\tLength\tS1\tS2\n"
        "ENSG00000000003\tX;X\t1;5\t3;9\t-;-\t4536\t100\t7\n"
        "ENSG00000000005\tX\t1\t3\t+\t1476\t0\t3\n"
        "N_unmapped\t\t\t\t\t0\t5000\t5000\n"
        "__no_feature\t\t\t\t\t0\t5000\t5000\n"
        "ERCC-00002\tE\t1\t2\t+\t9\t70\t3\n"
    )
    matrix = read_expression(write("f.txt", text))
    assert [sample.sample for sample in matrix.samples] == ["S1", "S2"]
    assert matrix.features == ("ENSG00000000003", "ENSG00000000005")
    assert any("3 summary or spike-in rows left out" in note for note in matrix.report.notes)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        (
            "TCGA-OR-A5J1-01A.rna_seq.augmented_star_gene_counts.tsv",
            "# gene-model: GENCODE v36\n"
            "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\ttpm_unstranded\n"
            "N_unmapped\t\t\t99\t99\t99\t\n"
            "ENSG00000000003.15\tTSPAN6\tprotein_coding\t700\t3\t4\t1.5\n"
            "ENSG00000000005.6\tTNMD\tprotein_coding\t3\t1\t2\t0.1\n",
            [700, 3],
        ),
        (
            "TCGA-OR-A5J1-01A.genes.results",
            "gene_id\ttranscript_id(s)\tlength\teffective_length\texpected_count\tTPM\tFPKM\n"
            "ENSG00000000003\tENST00000373020\t1000\t900.5\t70.5\t1.5\t2\n"
            "ENSG00000000005\tENST00000373031\t1000\t900.5\t7\t0.5\t1\n",
            [70.5, 7],
        ),
    ],
)
def test_the_output_of_a_quantifier_is_one_sample(
    write: Callable[..., Path], genes: GeneMap, name: str, text: str, values: list[float]
) -> None:
    matrix = read_expression(write(name, text), genes=genes)
    assert [sample.sample for sample in matrix.samples] == ["TCGA-OR-A5J1-01A"]
    assert matrix.features == ("TSPAN6", "TNMD")
    np.testing.assert_allclose(matrix.values, np.log2(np.array([values]) + 1), rtol=1e-6)
    assert any(note.startswith("columns not used:") and "tpm" in note.lower() for note in matrix.report.notes)


def test_star_output_without_a_header_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="without a header"):
        read_expression(write("ReadsPerGene.out.tab", "N_unmapped\t9\t9\t9\nENSG00000000003\t1\t2\t3\n"))


def test_cbioportal_rows_without_a_symbol_take_their_entrez_id(write: Callable[..., Path]) -> None:
    text = "Hugo_Symbol\tEntrez_Gene_Id\tS1\tS2\nTP53\t7157\t1.5\t2\n\t100\t3\t4\n"
    assert read_expression(write("f.txt", text)).features == ("TP53", "entrez:100")


def test_text_column_that_starts_empty_is_still_text(write: Callable[..., Path]) -> None:
    rows = "".join(f"S{i}\t{'' if i < 60 else 'late'}\t{i}.5\t2\t3\n" for i in range(150))
    matrix = read_expression(write("f.tsv", "sample\tremark\tTP53\tKRAS\tEGFR\n" + rows), scale="linear")
    assert matrix.features == ("TP53", "KRAS", "EGFR")


def test_kind_column_and_kinds_wanted(write: Callable[..., Path]) -> None:
    path = write("f.tsv", "sample\tkind\tTP53\tKRAS\tEGFR\nS1\ttumour\t1.5\t2\t3\nS2\tnormal\t2\t3\t4\n")
    assert read_expression(path).report.kinds == {"normal": 1, "tumour": 1}
    only = read_expression(path, kinds=["normal"])
    assert [sample.sample for sample in only.samples] == ["S2"]
    np.testing.assert_array_equal(only.values, [[2, 3, 4]])
    with pytest.raises(InputError, match="no sample is metastasis"):
        read_expression(path, kinds=["metastasis"])
    with pytest.raises(UsageError, match="no kind of sample"):
        read_expression(path, kinds=["healthy"])  # type: ignore[list-item]


def test_sample_type_is_a_kind_only_where_all_of_it_reads_so(write: Callable[..., Path]) -> None:
    text = "sample\tsample_type\tTP53\tKRAS\tEGFR\nS1\tRNA\t1.5\t2\t3\nS2\tRNA\t2\t3\t4\n"
    assert "columns not used: sample_type" in read_expression(write("f.tsv", text)).report.notes


def test_sample_table_joins(write: Callable[..., Path]) -> None:
    samples = write("s.csv", "sample,patient,kind\nS1,P1,normal\nS2,P1,tumour\n")
    path = write("f.tsv", "sample\tTP53\tKRAS\tEGFR\nS1\t1.5\t2\t3\nS2\t2\t3\t4\n")
    matrix = read_expression(path, sample_table=samples)
    assert matrix.report.joined == 2
    assert matrix.report.patients == 1
    assert [sample.kind for sample in matrix.samples] == ["normal", "tumour"]


# Duplicates


def test_duplicate_genes_are_summed_on_the_linear_scale(write: Callable[..., Path], genes: GeneMap) -> None:
    ids = ["ENSG00000000003.1", "ENSG00000000005.2", "ENSG00000000003.1_PAR_Y"]
    for values, scale in (([[3.0, 100.0, 4.0], [1.0, 50.5, 0.0]], "tpm"), ([[2.0, 6.6, 2.4], [1.0, 5.7, 0.0]], "log2")):
        matrix = read_expression(write("f.tsv", table(values, ["S1", "S2"], ids, across=True)), genes=genes)
        assert matrix.features == ("TSPAN6", "TNMD")
        linear = np.array(values) if scale == "tpm" else np.exp2(values) - 1
        expected = np.log2(np.column_stack([linear[:, 0] + linear[:, 2], linear[:, 1]]) + 1)
        np.testing.assert_allclose(matrix.values, expected, rtol=1e-6)
        assert matrix.report.duplicates == 1


def test_duplicates_missing_in_part(write: Callable[..., Path], genes: GeneMap) -> None:
    values = [[np.nan, 7.5, 99.5], [np.nan, 8.5, np.nan]]
    ids = ["ENSG00000000003.1", "ENSG00000000005.1", "TSPAN6"]
    matrix = read_expression(write("f.tsv", table(values, ["S1", "S2"], ids, across=True)), genes=genes)
    np.testing.assert_allclose(matrix.values, np.log2([[100.5, 8.5], [np.nan, 9.5]]), rtol=1e-6)


def test_duplicates_of_raw_values_are_averaged(write: Callable[..., Path], genes: GeneMap) -> None:
    ids = ["TSPAN6|7105", "TNMD", "ENSG00000000003"]
    text = table([[-1.0, 5.0, 2.0], [1.0, 1.0, np.nan]], ["S1", "S2"], ids, across=True)
    matrix = read_expression(write("f.tsv", text), genes=genes, scale="raw")
    np.testing.assert_array_equal(matrix.values, [[0.5, 5.0], [1.0, 1.0]])
    assert matrix.scale == "raw"


def test_a_sample_twice_with_the_same_values_is_taken_once(write: Callable[..., Path]) -> None:
    text = TEXT + TEXT.splitlines()[1] + "\n"
    matrix = read_expression(write("f.tsv", text))
    assert len(matrix.samples) == 3
    assert any("1 samples were there twice" in note for note in matrix.report.notes)


# Scale


def transcriptome(n_samples: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.floor(rng.gamma(0.5, 400, size=(n_samples, 10_050)))


IDS = [f"G{i}|{i + 1}" for i in range(10_050)]


def read_values(write: Callable[..., Path], values: Any, **options: Any) -> Any:
    samples = [f"S{i}" for i in range(len(values))]
    return read_expression(write("f.tsv", table(values, samples, IDS[: len(values[0])], across=True)), **options)


def test_counts_are_seen_and_scaled_to_the_library(write: Callable[..., Path]) -> None:
    counts = transcriptome()
    matrix = read_values(write, counts)
    assert matrix.report.scale == "counts"
    np.testing.assert_allclose((np.exp2(matrix.values.astype(float)) - 1).sum(axis=1), 2e7, rtol=1e-4)


@pytest.mark.parametrize("change", ["depth", "tpm", "log2"])
def test_whole_transcriptomes_do_not_depend_on_depth_or_unit(write: Callable[..., Path], change: str) -> None:
    counts = transcriptome()
    changed = {
        "depth": counts * [[3], [7]],
        "tpm": counts / counts.sum(axis=1, keepdims=True) * 1e6,
        "log2": np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e6 + 1),
    }[change]
    np.testing.assert_allclose(read_values(write, changed).values, read_values(write, counts).values, atol=2e-4)


def test_a_sample_does_not_depend_on_its_neighbours(write: Callable[..., Path]) -> None:
    counts = transcriptome(3)
    np.testing.assert_array_equal(read_values(write, counts).values[1:2], read_values(write, counts[1:2]).values)


def test_counts_of_a_panel_lose_their_depth_and_say_so(write: Callable[..., Path]) -> None:
    counts = transcriptome()[:, :60]
    matrix = read_values(write, counts)
    np.testing.assert_allclose((np.exp2(matrix.values.astype(float)) - 1).mean(axis=1), 1000, rtol=1e-4)
    np.testing.assert_allclose(read_values(write, counts * 5).values, matrix.values, atol=1e-4)
    assert any("60 genes are a panel" in note for note in matrix.report.notes)


def test_few_counts_keep_their_depth_with_a_warning(write: Callable[..., Path]) -> None:
    matrix = read_values(write, [[100.0, 7.0, 0.0]])
    np.testing.assert_allclose(matrix.values, np.log2([[101, 8, 1]]), rtol=1e-6)
    assert "sequencing depth stays" in matrix.report.warnings[0]


def test_linear_panels_keep_their_level(write: Callable[..., Path]) -> None:
    matrix = read_values(write, [[100.5, 7.0, 0.0]])
    assert matrix.report.scale == "linear"
    np.testing.assert_allclose(matrix.values, np.log2([[101.5, 8, 1]]), rtol=1e-6)


def test_log2_with_slightly_negative_values_is_log2_of_x_plus_one(write: Callable[..., Path]) -> None:
    values = np.full((20, 100), 5.5)
    values[0, 0] = -1.5
    matrix = read_values(write, values)
    assert matrix.values[0, 0] == 0
    assert matrix.values[1, 1] == np.float32(5.5)
    assert any("negative values are set to 0" in note for note in matrix.report.notes)


def test_log2_without_plus_one_has_its_floor_at_minus_two(write: Callable[..., Path]) -> None:
    values = np.array([[-11.0, -2.0, -1.0, 0.0, 10.0, 15.0, 8.0, 9.0, 9.0, 9.5]] * 2)
    values[:, 5:] += np.arange(2)[:, None]
    matrix = read_values(write, values)
    expected = np.log2(np.array([0, 0, 0.25, 0.75, 1023.75]) + 1)
    np.testing.assert_allclose(matrix.values[0, :5], expected, rtol=1e-6)
    assert any("values below -2 count as -2" in note for note in matrix.report.notes)


def test_centred_values_are_refused_unless_raw(write: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).standard_normal((20, 50))
    with pytest.raises(InputError, match="look centred"):
        read_values(write, values)
    raw = read_values(write, values, scale="raw")
    assert raw.scale == "raw"
    np.testing.assert_allclose(raw.values, values, rtol=1e-6)


@pytest.mark.parametrize("values", [[[1.0, 2.0, 3.0]], [[0.5, 2.0, 42.5]]])
def test_a_range_that_could_be_anything_is_asked_about(write: Callable[..., Path], values: list[list[float]]) -> None:
    with pytest.raises(InputError, match="could be log2 or linear"):
        read_values(write, values)


def test_a_scale_that_cannot_be(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="cannot be a log2"):
        read_values(write, [[100.0, 2.0, 3.0]], scale="log2")
    with pytest.raises(UsageError, match="scale='ln' is not known"):
        read_values(write, [[100.0, 2.0, 3.0]], scale="ln")


def test_expected_counts_with_fractions_are_told(write: Callable[..., Path]) -> None:
    matrix = read_values(write, [[100.5, 2.0, 3.0]], scale="counts")
    assert any("fractions" in warning for warning in matrix.report.warnings)


# Missing values


def test_missing_stays_missing(write: Callable[..., Path]) -> None:
    text = "sample\tTP53\tKRAS\tEGFR\nS1\t\tNA\t1.5\nS2\tNaN\tnull\t2.5\nS3\tN/A\t3.5\t#N/A\n"
    matrix = read_expression(write("f.tsv", text))
    expected = np.array([[np.nan, np.nan, 1.5], [np.nan, np.nan, 2.5], [np.nan, 3.5, np.nan]])
    np.testing.assert_array_equal(matrix.values, expected.astype(np.float32))
    assert "6 values are missing and stay missing" in matrix.report.notes


# What is wrong, and where


@pytest.mark.parametrize(
    ("text", "problem", "row", "column"),
    [
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\nS2\t1\t2\n", "3 cells, and the header has 4", 3, None),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\nS2\t1\t2\t3\t4\n", "5 cells", 3, None),
        ("#c\n\nsample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\n\nS2\t1\tx\t3\nS3\t1\t2\t3\n", "'x' is not a number", 6, "KRAS"),
        ("sample;TP53;KRAS;EGFR\nS1;1,5;2;3\nS2;1.234,5;2;3\n", "'1.234,5' is not a number", 3, "TP53"),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\nS2\t1\tinf\t3\n", "infinite", 3, "KRAS"),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\nS2\t1\t1e39\t3\n", "too large for single precision", 3, "KRAS"),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t100\t2\t3\nS2\t1\t-5\t3\n", "-5 is negative", 3, "KRAS"),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1.5\t2\t3\nS1\t2\t2\t3\n", "there twice, first in row 2", 3, None),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1.5\t2\t3\n\t2\t2\t3\n", "without an id", 3, "sample"),
        ("gene\tS1\tS1\nTP53\t1.5\t2\nKRAS\t2\t2\n", "'S1' is there twice", 1, "S1"),
        ("sample\tTP53\tKRAS\tEGFR\nS1\t1.5\t2\t3\nS2\t\t\t\n", "'S2' has no measured value", 3, None),
        ("gene\tS1\nTP53\t1.5\n1-Mar\t2\nKRAS\t2\n", "MARCHF1 or MTARC1", 3, None),
        ("sample\tTP53\t1-Mar\tKRAS\tEGFR\nS1\t1.5\t2\t3\t4\n", "MARCHF1 or MTARC1", 1, "1-Mar"),
        ("sample\tTP53\t\tEGFR\nS1\t1\t2\t3\n", "column 3 has no name", 1, None),
        ('sample,TP53,KRAS\nS1,1,2\n"S2,1,2\nS3,1,2\n', "never closed", 3, None),
        ('sample,TP53,KRAS\nS1,1,2\nS2,"1"x,2\n', "not a proper row", 3, None),
        ("sample\tTP53\tKRAS\n", "header and no rows", None, None),
        ("only one line without a delimiter", "one column", 1, None),
        ("# nothing\n# else\n", "no header", None, None),
        ("0.5\t1.5\t2.5\n0.1\t0.2\t0.3\n", "numbers, not column names", 1, None),
        ("sample\tname\nS1\tx\n", "no column of numbers", None, None),
        ("A\tB\n1\t2\n", "no column names the rows", None, None),
        ("gene\tS1\nENSMUSG00000000001\t1.5\n", "not a human gene id", 2, None),
        ("gene\tS1\n?\t1.5\n?\t2.5\n", "no feature has a name", None, None),
    ],
)
def test_errors_say_where(
    write: Callable[..., Path], text: str, problem: str, row: int | None, column: str | None
) -> None:
    path = write("f.tsv", text)
    with pytest.raises(InputError, match=problem) as caught:
        read_expression(path)
    assert (caught.value.file, caught.value.row, caught.value.column) == (str(path), row, column)


def test_a_failed_assay_is_named(write: Callable[..., Path]) -> None:
    counts = transcriptome()
    counts[1] = 0
    with pytest.raises(InputError, match="'S1' is zero in every feature"):
        read_values(write, counts)


def test_rows_are_right_in_files_of_many_blocks(write: Callable[..., Path]) -> None:
    lines = [f"S{i}\t{i % 7}.5\t2\t3" for i in range(400_000)]
    lines[399_000] = "S399000\tx\t2\t3"
    with pytest.raises(InputError, match="'x' is not a number") as caught:
        read_expression(write("f.tsv", "sample\tTP53\tKRAS\tEGFR\n" + "\n".join(lines)))
    assert caught.value.row == 399_002


def test_hostile_shapes(write: Callable[..., Path], tmp_path: Path) -> None:
    million = "sample\t" + "\t".join(map(str, range(1_000_000))) + "\n"
    with pytest.raises(InputError, match="1,000,001 columns, more than the limit of 100,000"):
        read_expression(write("f.tsv", million))
    with pytest.raises(InputError, match="column 2 has a name of 20,000 characters"):
        read_expression(write("f.tsv", "sample\t" + "x" * 20_000 + "\nS1\t1\n"))
    huge = f"sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\n{'y' * 2_000_000}\t1\t2\t3\n"
    with pytest.raises(InputError, match=r"more than the limit of 1,000,000|longer than the limit") as caught:
        read_expression(write("f.tsv", huge))
    assert caught.value.row == 3
    digits = f"sample\tTP53\tKRAS\tEGFR\nS1\t1\t2\t3\nS2\t{'1' * 6_000_000}\t2\t3\n"
    with pytest.raises(InputError) as caught:
        read_expression(write("f.tsv", digits))
    assert caught.value.row == 3
    with pytest.raises(InputError, match="cells"):
        read_expression(write("f.tsv", TEXT), limits=Limits(max_cells=10))
    path = parquet(tmp_path / "p", {"sample": pa.array(["S"] * 1000), "TP53": pa.array(np.zeros(1000))})
    with pytest.raises(InputError, match="1,000 rows, more than the limit of 999"):
        read_expression(path, limits=Limits(max_rows=999))


def test_hostile_parquet(tmp_path: Path, write: Callable[..., Path]) -> None:
    nested = {"sample": SAMPLES, "junk": pa.array([[{"a": [1]}], [], None])}
    with pytest.raises(InputError, match="neither numbers nor text") as caught:
        read_expression(parquet(tmp_path / "n", nested))
    assert caught.value.column == "junk"
    whole = parquet(tmp_path / "w", {"sample": SAMPLES, "TP53": [1.5, 2, 3]}).read_bytes()
    for data in (whole[:-30], whole[:40] + b"\xff" * 60 + whole[100:], b"PAR1"):
        with pytest.raises(InputError, match="damaged"):
            read_expression(write("cut", data))


def test_hostile_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "f", "w") as file:
        file["X"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(InputError, match="leads to another file"):
        read_expression(tmp_path / "f")
    with h5py.File(tmp_path / "g", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(InputError, match="no AnnData"):
        read_expression(tmp_path / "g")
    (tmp_path / "h").write_bytes((tmp_path / "g").read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        read_expression(tmp_path / "h")


def test_an_array_is_no_expression_matrix(write: Callable[..., Path]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, LOG2)
    with pytest.raises(InputError, match="without gene names"):
        read_expression(write("f.npy", buffer.getvalue()))


def test_proteins_keep_their_names_and_values(write: Callable[..., Path]) -> None:
    text = "sample\t14-3-3_beta\t4E-BP1\t53BP1\nS1\t-0.5\t1\t2\nS2\t0.25\t-1\t0\n"
    matrix = read_expression(write("f.tsv", text), modality="protein", scale="raw")
    assert matrix.modality == "protein"
    assert matrix.features == ("14-3-3_beta", "4E-BP1", "53BP1")
    np.testing.assert_array_equal(matrix.values, [[-0.5, 1, 2], [0.25, -1, 0]])


def test_decimal_mark_that_shows_late(write: Callable[..., Path]) -> None:
    rows = "".join(f"S{i};{i};2;3{',5' if i == 140 else ''}\n" for i in range(150))
    matrix = read_expression(write("f.csv", "sample;TP53;KRAS;EGFR\n" + rows), scale="linear")
    np.testing.assert_allclose(matrix.values[140], np.log2([141, 3, 4.5]), rtol=1e-6)


def test_a_stray_quote_does_not_swallow_samples(write: Callable[..., Path]) -> None:
    text = 'sample,TP53,KRAS\nS1,1.5,2\n"S2,1,2\nS3",1,2\nS4,1,2\n'
    with pytest.raises(InputError, match="several lines") as caught:
        read_expression(write("f.csv", text))
    assert caught.value.row == 3
