"""`molsig type`: the type of a sample, from examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json
from molsig.cli.progress import progress_bar
from molsig.cli.quick import keep_pandas_out
from molsig.errors import UsageError


def type_samples(
    reference: options.Reference,
    support: Annotated[
        str,
        typer.Option(
            "--support",
            help="Examples of each type: a patient column, or a table of patient (or sample) and type.",
        ),
    ],
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
    shots: Annotated[
        int | None, typer.Option("--shots", min=1, help="Draw so many examples of each type; all by default.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="SQL over patient columns: who of the column may be an example.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="Patient column that calibrates probabilities; the support column, or cancer_type."
        ),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option("--modality", help="Compare only these modalities. Repeatable.")
    ] = None,
    fusion: Annotated[
        str,
        typer.Option("--fusion", help="evidence (learned by molsig learn), weighted, sum, single, or auto."),
    ] = "auto",
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="Samples that stand for a patient: auto (all but normal), tumour, metastasis, any."
        ),
    ] = "auto",
    error: Annotated[
        float,
        typer.Option(
            "--error", min=0.001, max=0.5, help="Share of right samples that may be told to be none of these."
        ),
    ] = 0.05,
    top: Annotated[int, typer.Option("--top", min=1, help="Types that the table shows.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")] = 0,
    allow_missing: options.AllowMissing = False,
    device: options.Device = "auto",
    json: options.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write .json, .csv, .parquet or .html instead of printing.")
    ] = None,
) -> None:
    """Tell the type of new samples, or of stored patients, from one, a few or all examples of each type.

    Nothing is trained: a type that was added a minute ago will do. Prints a probability for each type, the example
    behind it, how much the choice of examples matters, and whether the sample fits any of the types at all. A sample
    is never compared with its own patient. Ends with 1 if every sample is none of the types.
    """
    from molsig.cli.type_output import print_typings, save_typings
    from molsig.reference import Reference

    files = (rna, mutations, mirna, reports, tiles, matrix, vectors, cohort)
    if bool(patient) == any(files):
        raise UsageError(
            "give either --patient ID or the files of new samples "
            "(--rna, --mutations, --mirna, --reports, --tiles, --matrix, --vectors)"
        )
    check_target(output)
    if patient and (genes or samples or vector_ids or vector_encoder or reduce or matrix_scale):
        raise UsageError("--genes, --samples, --vector-..., --matrix-scale and --reduce go with files")
    keep_pandas_out()
    stored = Reference.open(reference)
    chosen = None
    if not patient:
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
        found = stored.type_samples(
            support,
            patient or None,
            cohort=chosen,
            shots=shots,
            seed=seed,
            where=where,
            label=label,
            modality=modality,
            fusion=fusion,
            kind=kind,
            error=error,
            allow_missing=allow_missing,
            device=device,
            choice=options.choice_of(report_model=report_model, tile_weights=tile_weights),
            progress=progress,
        )
    if output is not None:
        save_typings(found, output)
        note(f"Wrote {len(found):,} answers to {output}.")
    elif json:
        from molsig.retrieval.type_answer import documents

        print_json(documents(found))
    else:
        print_typings(found, top)
    if all(one.fit.none for one in found):
        raise typer.Exit(1)
