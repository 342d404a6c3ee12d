"""`molsig query`: patients like this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molsig.cli import options
from molsig.cli.output import check_target
from molsig.cli.progress import progress_bar
from molsig.cli.quick import keep_pandas_out
from molsig.cli.stored import ask, show
from molsig.errors import UsageError


def query(
    reference: options.Reference,
    patient: Annotated[list[str] | None, typer.Option("--patient", "-p", help="A stored patient. Repeatable.")] = None,
    rna: options.Rna = None,
    mutations: options.Mutations = None,
    mirna: options.Mirna = None,
    reports: options.Reports = None,
    report_ocr: options.ReportOcr = "auto",
    report_model: options.ReportModel = None,
    tiles: options.Tiles = None,
    tile_mpp: options.TileMpp = None,
    tile_source_mpp: options.TileSourceMpp = None,
    tile_background: options.TileBackground = None,
    tile_weights: options.TileWeights = None,
    matrix: options.Matrix = None,
    matrix_scale: options.MatrixScale = None,
    vectors: options.Vectors = None,
    vector_ids: options.VectorIds = None,
    vector_encoder: options.VectorEncoder = None,
    reduce: options.Reduce = None,
    genes: options.Genes = None,
    samples: options.SampleTable = None,
    cohort: options.CohortFile = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Neighbours per query.")] = 10,
    where: Annotated[
        str | None, typer.Option("--where", help="SQL over patient columns: \"sex = 'female' AND age > 60\".")
    ] = None,
    vote: Annotated[
        list[str] | None, typer.Option("--vote", help="Patient column the neighbours vote on. Repeatable.")
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option("--modality", help="Use only these modalities of the query. Repeatable.")
    ] = None,
    fusion: Annotated[
        str,
        typer.Option(
            "--fusion",
            help="evidence (what molsig learn learned of a label), weighted, sum, single (one modality), or auto.",
        ),
    ] = "auto",
    kind: Annotated[
        str,
        typer.Option("--kind", help="Samples to search: auto (like with like), tumour, normal, metastasis, any."),
    ] = "auto",
    exclude_self: Annotated[
        bool, typer.Option("--exclude-self", help="Leave the query's own patient out of the answer to files.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Search exactly, whatever the planner would choose.")] = False,
    error: Annotated[
        float, typer.Option("--error", min=0.001, max=0.5, help="Error rate of the set of labels a vote comes with.")
    ] = 0.1,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Patient columns of the table, comma-separated.")
    ] = None,
    allow_missing: options.AllowMissing = False,
    device: options.Device = "auto",
    json: options.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write .json, .csv, .parquet or .html instead of printing.")
    ] = None,
) -> None:
    """Find the stored patients nearest to a stored patient, or to each new sample in the files given."""
    files = (rna, mutations, mirna, reports, tiles, matrix, vectors, cohort)
    if bool(patient) == any(files):
        raise UsageError(
            "give either --patient ID or the files of new samples "
            "(--rna, --mutations, --mirna, --reports, --tiles, --matrix, --vectors)"
        )
    check_target(output)
    if patient and (genes or samples or vector_ids or vector_encoder or reduce or matrix_scale or exclude_self):
        raise UsageError("--genes, --samples, --vector-..., --matrix-scale, --reduce and --exclude-self go with files")
    if patient:
        found = ask(
            reference,
            patient,
            k=k,
            where=where,
            vote=vote,
            modality=modality,
            fusion=fusion,
            kind=kind,
            exact=exact,
            error=error,
            columns=columns,
            json=json,
            output=output,
        )
    else:
        from molsig.reference import Reference

        keep_pandas_out()
        stored = Reference.open(reference)
        chosen = options.cohort_of(
            cohort=cohort,
            rna=rna,
            rna_scale=rna_scale,
            rna_orientation=rna_orientation,
            mutations=mutations,
            mirna=mirna,
            reports=reports,
            report_ocr=report_ocr,
            tiles=tiles,
            tile_mpp=tile_mpp,
            tile_source_mpp=tile_source_mpp,
            tile_background=tile_background,
            matrix=matrix,
            matrix_scale=matrix_scale,
            vectors=vectors,
            vector_ids=vector_ids,
            vector_encoder=vector_encoder,
            reduce=reduce,
            genes=genes,
            samples=samples,
        )
        with progress_bar() as progress:
            answers = stored.query_files(
                chosen,
                k=k,
                where=where,
                vote=vote or (),
                modality=modality,
                fusion=fusion,
                kind=kind,
                method="exact" if exact else "auto",
                error=error,
                exclude_self=exclude_self,
                allow_missing=allow_missing,
                device=device,
                choice=options.choice_of(report_model=report_model, tile_weights=tile_weights),
                progress=progress,
            )
        found = show(answers, columns=columns, json=json, output=output)
    if not found:
        raise typer.Exit(1)
