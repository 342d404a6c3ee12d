"""`molsig ingest`: files into a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.cli.quick import keep_pandas_out

if TYPE_CHECKING:
    from molsig.reference.ingestion import IngestReport
    from molsig.types import ContractReport


def ingest(
    reference: options.Reference,
    rna: options.Rna = None,
    mutations: options.Mutations = None,
    mirna: options.Mirna = None,
    tiles: options.Tiles = None,
    tile_mpp: options.TileMpp = None,
    tile_source_mpp: options.TileSourceMpp = None,
    tile_background: options.TileBackground = None,
    tile_weights: options.TileWeights = None,
    matrix: options.Matrix = None,
    matrix_scale: options.MatrixScale = None,
    clinical: Annotated[Path | None, typer.Option("--clinical", help="Patient columns: TSV, CSV or Parquet.")] = None,
    reports: options.Reports = None,
    report_ocr: options.ReportOcr = "auto",
    report_model: options.ReportModel = None,
    report_precision: options.ReportPrecision = "float32",
    mask_diagnosis: options.MaskDiagnosis = False,
    vectors: options.Vectors = None,
    vector_ids: options.VectorIds = None,
    vector_encoder: options.VectorEncoder = None,
    reduce: options.Reduce = None,
    genes: options.Genes = None,
    samples: options.SampleTable = None,
    cohort: options.CohortFile = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and report what was understood; write nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace samples that are stored with other values.")
    ] = False,
    allow_missing: options.AllowMissing = False,
    include_silent: Annotated[bool, typer.Option("--include-silent", help="Encode silent mutations too.")] = False,
    tile_model: options.TileModel = None,
    truncate: options.TruncateTo = "last",
    network: options.Network = None,
    all_features: options.AllFeatures = False,
    new_encoder: options.NewEncoder = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="Learn from the types in this patient column: --network whitened where none is named."
        ),
    ] = None,
    learn: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Learn to fuse and to call cancer_type, where that is due.")
    ] = True,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the encoders' training.")] = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Most epochs an encoder trains.")] = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Bring a cohort into a reference; the reference is made if it is not there.

    The first file of a modality trains its encoder, later ones are encoded by it. What is stored already is skipped, so
    an ingest that was stopped is finished by giving the same command again. --new-encoder fits one anew: all samples
    are embedded into a new space, which takes the place of the old one at once when it is complete.
    """
    # A reader of expression may be handed a data frame, ready vectors are not.
    if vectors and not (rna or matrix or cohort):
        keep_pandas_out()
    from molsig.reference import Reference

    chosen = options.cohort_of(
        cohort=cohort,
        rna=rna,
        rna_scale=rna_scale,
        rna_orientation=rna_orientation,
        mutations=mutations,
        mirna=mirna,
        matrix=matrix,
        matrix_scale=matrix_scale,
        clinical=clinical,
        reports=reports,
        report_ocr=report_ocr,
        tiles=tiles,
        tile_mpp=tile_mpp,
        tile_source_mpp=tile_source_mpp,
        tile_background=tile_background,
        vectors=vectors,
        vector_ids=vector_ids,
        vector_encoder=vector_encoder,
        reduce=reduce,
        genes=genes,
        samples=samples,
    )
    choice = options.choice_of(
        network=network,
        all_features=all_features,
        report_model=report_model,
        mask_diagnosis=mask_diagnosis,
        report_precision=report_precision,
        tile_model=tile_model,
        tile_weights=tile_weights,
        truncate=truncate,
    )
    with progress_bar() as progress:
        report = Reference.ingest_into(
            reference,
            chosen,
            dry_run=dry_run,
            replace=replace,
            allow_missing=allow_missing,
            include_silent=include_silent,
            seed=seed,
            epochs=epochs,
            device=device,
            choice=choice,
            new_encoders=tuple(new_encoder or ()),
            learn=learn,
            label=label,
            progress=progress,
        )
    if json:
        print_json(report.to_dict())
    else:
        show(report)


def show(report: IngestReport) -> None:
    """The contract of each file, then what was done."""
    if report.contracts:
        print_table("What was read", [_row(contract) for contract in report.contracts])
    for contract in report.contracts:
        for line in contract.notes:
            note(f"  {contract.modality}: {line}")
        for line in contract.warnings:
            note(f"  {contract.modality} WARNING: {line}")
    for line in report.warnings:
        note(f"  WARNING: {line}")
    if report.dry_run:
        print("Dry run: nothing was written.")
    elif report.unchanged:
        print(f"Nothing to do: these very files are in the reference already ({report.seconds:.1f} s).")
    else:
        added = ", ".join(f"{n:,} {modality}" for modality, n in report.added.items()) or "no"
        if report.replaced:
            added += f", {report.replaced:,} in the place of others"
        print(
            f"Stored {added} vectors; {report.skipped:,} were there already. "
            + "".join(f"Patient columns: {n:,} {what}. " for what, n in report.columns.items() if n)
            + f"{report.seconds:.1f} s, {report.peak_mb:,.0f} MB at most"
            + (f", encoders on {report.device}." if report.device else ".")
        )
        if report.learned:
            print("Learned to fuse the modalities and to call cancer_type (another column: molsig learn).")


def _row(contract: ContractReport) -> dict[str, object]:
    return {
        "modality": contract.modality,
        "file": Path(contract.file).name,
        "samples": contract.samples or None,
        "patients": contract.patients,
        "kinds": ", ".join(f"{n:,} {kind}" for kind, n in contract.kinds.items()),
        "features": contract.features,
        "duplicates": contract.duplicates or None,
        "matched": contract.matched,
        "missing": contract.missing,
        "ids": contract.id_type,
        "scale": contract.scale,
        "joined": contract.joined,
    }
