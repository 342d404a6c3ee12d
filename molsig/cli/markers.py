"""`molsig markers`: which genes make tumours of one type alike to an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError


def markers(
    reference: options.Reference,
    label: Annotated[str, typer.Option("--label", help="Patient column that tells the type, e.g. cancer_type.")],
    rna: options.Rna = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    mirna: options.Mirna = None,
    matrix: options.Matrix = None,
    matrix_scale: options.MatrixScale = None,
    genes: options.Genes = None,
    samples: options.SampleTable = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Which of the files, where several are given: rna, mirna ...")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Space of the encoder (`molsig encoders`); the one in use.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Features that are listed and drawn.")] = 100,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Most matched pairs of a type.")] = 3000,
    method: Annotated[str, typer.Option("--method", help="guided (backpropagation) or gradient.")] = "guided",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Rules which pairs are drawn.")] = 0,
    device: options.Device = "auto",
    json: options.Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Write the pictures as SVG into this folder.")] = None,
) -> None:
    """Rank the genes by what they do for pairs of tumours of one type, over all types and for each.

    A reference keeps vectors, not measurements: give the file that was ingested once more. Encoders that learned from
    types (`--network rna=whitened` and the like) say most.
    """
    from molsig.reference import Reference

    if html is not None:
        _check_page(html)
    if figure is not None and figure.exists() and not figure.is_dir():
        raise UsageError(f"--figure {figure}: it is a file, a folder is needed")
    cohort = options.cohort_of(
        cohort=None,
        rna=rna,
        rna_scale=rna_scale,
        rna_orientation=rna_orientation,
        mirna=mirna,
        matrix=matrix,
        matrix_scale=matrix_scale,
        genes=genes,
        samples=samples,
    )
    with progress_bar() as progress:
        found = Reference.open(reference).markers(
            label,
            cohort,
            modality=modality,
            encoder=encoder,
            pairs=pairs,
            method=method,
            seed=seed,
            device=device,
            progress=progress,
        )
    for line in found.notes:
        note(f"  note: {line}")
    if html is not None or figure is not None:
        from molsig.evaluate.marker_page import draw, page, save_pictures

        drawn = draw(found, top, seed=seed)
        if html is not None:
            html.write_text(page(found, drawn, top), encoding="utf-8")
            note(f"Wrote {html}.")
        if figure is not None:
            note(f"Wrote {', '.join(map(str, save_pictures(drawn, figure)))}.")
    if json:
        print_json(found.to_dict(top))
        return
    rows: list[dict[str, object]] = [
        {
            "rank": row["rank"],
            "feature": row["feature"],
            "times average": f"{row['times_average']:.1f}",
            f"on top in, of {len(found.markers.types)}": row["top_in"],
            "best in": row["best_in"],
        }
        for row in found.rows(top)
    ]
    print_table(
        f"{len(found.markers.features):,} features of {found.encoder} by {found.markers.method} saliency of the "
        f"{found.markers.score}, {sum(found.markers.pairs):,} matched pairs of {len(found.markers.types)} types",
        rows,
    )


def _check_page(path: Path) -> None:
    if path.suffix.lower() != ".html":
        raise UsageError(f"--html {path}: give a name ending in .html")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--html {path}: {'it is a folder' if path.is_dir() else 'its folder does not exist'}")
