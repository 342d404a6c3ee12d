"""`molsig explain`: why a stored patient is the neighbour of another, or of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json, print_table
from molsig.cli.progress import progress_bar

if TYPE_CHECKING:
    from molsig.retrieval.explanation import Explanation, Features, Shared


def explain(
    reference: options.Reference,
    hit: Annotated[str, typer.Option("--hit", help="The stored patient who was found.")],
    patient: Annotated[
        str | None, typer.Option("--patient", "-p", help="The patient asked about: stored, or one in the files.")
    ] = None,
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
    hit_cohort: Annotated[
        Path | None,
        typer.Option("--hit-cohort", help="A cohort.toml with the files the hit was measured in, if others."),
    ] = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    modality: Annotated[
        list[str] | None, typer.Option("--modality", help="Use only these modalities of the query. Repeatable.")
    ] = None,
    fusion: Annotated[str, typer.Option("--fusion", help="As in query: evidence, weighted, sum, single or auto.")] = (
        "auto"
    ),
    top: Annotated[
        int, typer.Option("--top", min=1, help="Features told for the similarity; half as many against it.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the patients that the pair is compared with.")] = 0,
    allow_missing: options.AllowMissing = False,
    device: options.Device = "auto",
    json: options.Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures.")] = None,
) -> None:
    """Say why two patients are neighbours: the evidence of each modality, and the features that carry it.

    A reference keeps vectors, not measurements: give the files that were ingested once more (--rna FILE, --mutations
    FILE, --reports FILE ...), and the genes, mutations, miRNAs, sentences and tiles are told. Without --patient the
    files are those of the new patient who is asked about.
    """
    from molsig.reference import Reference

    check_target(html, (".html",), "--html")
    given = options.cohort_of(
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
        found = Reference.open(reference).explain(
            hit,
            patient,
            cohort=given,
            hit_cohort=hit_cohort,
            modality=modality,
            fusion=fusion,
            top=top,
            seed=seed,
            allow_missing=allow_missing,
            device=device,
            choice=options.choice_of(report_model=report_model, tile_weights=tile_weights),
            progress=progress,
        )
    for line in found.notes:
        note(f"  note: {line}")
    if html is not None:
        from molsig.evaluate.explain_page import page

        html.write_text(page(found), encoding="utf-8")
        note(f"Wrote {html}.")
    if json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Explanation) -> None:
    print(found.headline())
    print_table(
        "",
        [
            {
                "modality": one.modality,
                "nats": None if one.nats is None else round(one.nats, 2),
                "cosine": round(one.cosine, 3),
                "more alike than % of pairs": None if one.percentile is None else round(one.percentile, 2),
                "carried by": ", ".join(feature.name for feature in one.features.speak_for[:4]) if one.features else "",
            }
            for one in found.shared
        ],
    )
    for one in found.shared:
        _print_shared(found, one)


def _print_shared(found: Explanation, one: Shared) -> None:
    if one.features is not None:
        of = one.features
        print_table(
            f"{one.modality}: what carries {of.score:.3f}, the likeness beyond {of.reference} (values: {of.unit})",
            [
                {
                    "": "for" if feature.contribution > 0 else "against",
                    "feature": feature.name,
                    "part": f"{feature.contribution:+.3f}",
                    found.query: _value(of, feature.query),
                    found.hit: _value(of, feature.hit),
                    "mutated in": None if feature.frequency is None else f"{feature.frequency:.1%}",
                }
                for feature in (*of.speak_for, *of.against)
            ],
        )
        print(f"  {one.rest_said()}\n")
    if one.items:
        print_table(
            f"{one.modality}: closest, by what is beyond the common",
            [
                {
                    "cosine": round(pair.cosine, 3),
                    "beyond": f"{pair.beyond:+.2f}",
                    found.query: pair.query_text or pair.query_item,
                    found.hit: pair.hit_text or pair.hit_item,
                    "": "nearest by cosine" if pair.nearest else "",
                }
                for pair in one.items
            ],
        )
    for line in one.told:
        note(f"  {one.modality}: {line}")


def _value(of: Features, value: float | None) -> str | None:
    if value is None:
        return None
    return ("mutated" if value else "-") if of.binary else f"{value:+.1f}"
