"""Arguments and options that several verbs share, declared once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from molsig.encoders.choice import ModelChoice
    from molsig.ingest.cohort import Cohort

Reference = Annotated[
    Path,
    typer.Argument(
        envvar="MOLSIG_REFERENCE", metavar="REFERENCE", help="Folder of the reference, e.g. tumours.molsig."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys on stdout.")]

Rna = Annotated[Path | None, typer.Option("--rna", help="Expression: TSV, CSV, Parquet, GCT, H5AD; gz or zst.")]
RnaScale = Annotated[
    str, typer.Option("--rna-scale", help="auto, counts, tpm, fpkm, rsem, linear, log2 or raw (z-scores as they are).")
]
RnaOrientation = Annotated[str, typer.Option("--rna-orientation", help="auto, samples-down or samples-across.")]
Mutations = Annotated[Path | None, typer.Option("--mutations", help="Somatic mutations: MAF, gz or zst.")]
Mirna = Annotated[Path | None, typer.Option("--mirna", help="miRNA read counts, same formats as --rna.")]
Matrix = Annotated[
    list[str] | None,
    typer.Option("--matrix", help="Any other measured matrix, such as protein levels: MODALITY=FILE. Repeatable."),
]
Reports = Annotated[
    Path | None, typer.Option("--reports", help="Pathology reports: CSV, JSONL, PDF or a folder of .txt and .pdf.")
]
ReportOcr = Annotated[
    str, typer.Option("--report-ocr", help="What reads scanned pages: auto, rapidocr, tesseract or none.")
]
ReportModel = Annotated[
    str | None,
    typer.Option("--report-model", help="Folder or name of a sentence-transformers model; all-mpnet-base-v2."),
]
MaskDiagnosis = Annotated[
    bool, typer.Option("--mask-diagnosis", help="Hide words that name the diagnosis from the report encoder.")
]
ReportPrecision = Annotated[
    str, typer.Option("--report-precision", help="float32, or bfloat16 where the processor has it: faster.")
]
Tiles = Annotated[
    Path | None, typer.Option("--tiles", help="A slide, an image, or a folder of them named by patient or sample.")
]
TileMpp = Annotated[float | None, typer.Option("--tile-mpp", help="Micrometres per pixel of the tiles; 0.5.")]
TileSourceMpp = Annotated[
    float | None, typer.Option("--tile-source-mpp", help="Micrometres per pixel of images that do not say.")
]
TileBackground = Annotated[
    str | None, typer.Option("--tile-background", help="What drops background: rgb, otsu, none.")
]
TileModel = Annotated[
    str | None,
    typer.Option("--tile-model", help="A timm model, or vae for a small one of the cohort's own; Prov-GigaPath."),
]
TileWeights = Annotated[Path | None, typer.Option("--tile-weights", help="Safetensors file of the tile model.")]
TruncateTo = Annotated[
    str, typer.Option("--truncate", help="Longer tile vectors to 768: last, first or pca (components of the cohort).")
]
Network = Annotated[
    list[str] | None,
    typer.Option(
        "--network",
        help="Network of a matrix: MODALITY=vae (default), autoencoder or map (Deep Neural Map); whitened, contrastive "
        "or siamese learn from types (--label). Repeatable.",
    ),
]
AllFeatures = Annotated[
    bool, typer.Option("--all-features", help="Encode features that whole groups of samples lack, too.")
]
NewEncoder = Annotated[
    list[str] | None,
    typer.Option("--new-encoder", help="Fit this modality's encoder anew and switch to it. Repeatable."),
]
Vectors = Annotated[
    list[str] | None,
    typer.Option("--vectors", help="Ready vectors of your own encoder: MODALITY=FILE (Parquet, NPY, H5). Repeatable."),
]
VectorIds = Annotated[
    list[str] | None,
    typer.Option("--vector-ids", help="Sample ids of an NPY file, one a line: MODALITY=FILE. Repeatable."),
]
VectorEncoder = Annotated[
    list[str] | None,
    typer.Option("--vector-encoder", help="Name of the encoder the vectors are of: MODALITY=NAME. Repeatable."),
]
MatrixScale = Annotated[
    list[str] | None,
    typer.Option("--matrix-scale", help="Scale of a matrix, raw for centred values: MODALITY=SCALE. Repeatable."),
]
Reduce = Annotated[
    list[str] | None,
    typer.Option("--reduce", help="How to bring vectors of more than 768 down: MODALITY=first|last|random."),
]
Genes = Annotated[Path | None, typer.Option("--genes", help="Table of Ensembl ids and symbols; kept in the reference.")]
SampleTable = Annotated[
    Path | None, typer.Option("--samples", help="Table of sample, patient and kind, for ids that are not barcodes.")
]
CohortFile = Annotated[
    Path | None, typer.Option("--cohort", help="A cohort.toml that names the files, instead of the flags.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Encode samples that lack over 20 % of an encoder's features.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def cohort_of(
    *,
    cohort: Path | None,
    rna: Path | None = None,
    rna_scale: str = "auto",
    rna_orientation: str = "auto",
    mutations: Path | None = None,
    mirna: Path | None = None,
    matrix: Sequence[str] | None = None,
    matrix_scale: Sequence[str] | None = None,
    clinical: Path | None = None,
    reports: Path | None = None,
    report_ocr: str = "auto",
    tiles: Path | None = None,
    tile_mpp: float | None = None,
    tile_source_mpp: float | None = None,
    tile_background: str | None = None,
    vectors: Sequence[str] | None = None,
    vector_ids: Sequence[str] | None = None,
    vector_encoder: Sequence[str] | None = None,
    reduce: Sequence[str] | None = None,
    genes: Path | None = None,
    samples: Path | None = None,
) -> Cohort:
    """Build the cohort from the flags, or read it from the file given instead of them."""
    from molsig.ingest.cohort import Cohort, read_cohort

    flags = (
        rna,
        mutations,
        mirna,
        matrix,
        matrix_scale,
        clinical,
        reports,
        tiles,
        vectors,
        vector_ids,
        vector_encoder,
        reduce,
        genes,
        samples,
        tile_mpp,
        tile_source_mpp,
        tile_background,
    )
    if cohort is not None:
        if any(flags) or any(one != "auto" for one in (rna_scale, rna_orientation, report_ocr)):
            raise UsageError("--cohort stands instead of the file flags: give one or the other")
        return read_cohort(cohort)
    files = _pairs("--vectors", vectors)
    ids = _extras("--vector-ids", vector_ids, "--vectors", files)
    names = _extras("--vector-encoder", vector_encoder, "--vectors", files)
    ways = _extras("--reduce", reduce, "--vectors", files)
    measured = _pairs("--matrix", matrix)
    scales = _extras("--matrix-scale", matrix_scale, "--matrix", measured)
    return Cohort.of(
        rna=rna,
        rna_options={
            name: value for name, value in (("scale", rna_scale), ("orientation", rna_orientation)) if value != "auto"
        },
        mutations=mutations,
        mirna=mirna,
        matrices={
            modality: {"path": Path(path)} | ({"scale": scales[modality]} if modality in scales else {})
            for modality, path in measured.items()
        },
        patients=clinical,
        reports=reports,
        tiles=tiles,
        tile_options={
            name: value
            for name, value in (
                ("mpp", tile_mpp),
                ("source_mpp", tile_source_mpp),
                ("background", tile_background),
            )
            if value is not None
        },
        report_options={} if report_ocr == "auto" else {"ocr": report_ocr},
        vectors={
            modality: {"path": Path(path)}
            | ({"ids": Path(ids[modality])} if modality in ids else {})
            | ({"encoder": names[modality]} if modality in names else {})
            | ({"reduce": ways[modality]} if modality in ways else {})
            for modality, path in files.items()
        },
        genes=genes,
        sample_table=samples,
    )


def choice_of(
    *,
    network: Sequence[str] | None = None,
    all_features: bool = False,
    report_model: str | None = None,
    mask_diagnosis: bool = False,
    report_precision: str = "float32",
    tile_model: str | None = None,
    tile_weights: Path | None = None,
    truncate: str = "last",
) -> ModelChoice:
    """Which network or given weights encode what, from the flags."""
    from molsig.encoders.choice import PRECISIONS, TRUNCATIONS, ModelChoice

    precision = next((one for one in PRECISIONS if one == report_precision), None)
    if precision is None:
        raise UsageError(f"--report-precision {report_precision}: use {' or '.join(PRECISIONS)}")
    shortened = next((one for one in TRUNCATIONS if one == truncate), None)
    if shortened is None:
        raise UsageError(f"--truncate {truncate}: use {', '.join(TRUNCATIONS)}")
    return ModelChoice(
        networks=_pairs("--network", network),
        all_features=all_features,
        text_model=None if report_model is None else _folder_or_name(report_model),
        mask_diagnosis=mask_diagnosis,
        text_precision=precision,
        tile_model=tile_model,
        tile_weights=tile_weights,
        truncate=shortened,
    )


def _folder_or_name(given: str) -> Path | str:
    return Path(given) if Path(given).exists() or os.sep in given else given


def _extras(flag: str, given: Sequence[str] | None, of: str, files: Mapping[str, str]) -> dict[str, str]:
    """Pairs that say more of files that another flag names."""
    pairs = _pairs(flag, given)
    for modality in pairs.keys() - files.keys():
        raise UsageError(f"{flag} {modality}=...: there is no {of} {modality}=FILE")
    return pairs


def _pairs(flag: str, given: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given or ():
        modality, equals, value = text.partition("=")
        if not equals or not modality or not value:
            raise UsageError(f"{flag} {text}: write MODALITY=VALUE, e.g. {flag} tile=uni.parquet")
        if modality in pairs:
            raise UsageError(f"{flag}: {modality} is given twice")
        pairs[modality] = value
    return pairs
