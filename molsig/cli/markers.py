"""`molsig markers`: which genes make tumours of one type alike, how few of them do, and what differs in metastases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.marker_output import Found, MetastaticFound, PanelFound, SaliencyFound
from molsig.cli.output import note, print_json
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

METHOD, PAIRS = "guided", 3000


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
    select: Annotated[
        int | None,
        typer.Option("--select", min=1, help="Choose so many features that keep one-shot typing, and measure them."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="How --select chooses: forward (by the nearest neighbour, default) or discrimination."
        ),
    ] = None,
    metastatic: Annotated[
        bool, typer.Option("--metastatic", help="Rank by how metastases differ from primary tumours of their type.")
    ] = False,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Most matched pairs of a type.")] = PAIRS,
    method: Annotated[str, typer.Option("--method", help="guided (backpropagation) or gradient.")] = METHOD,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws: pairs, parts, episodes, folds.")] = 0,
    device: options.Device = "auto",
    json: options.Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Write the pictures as SVG into this folder.")] = None,
) -> None:
    """Rank the genes by what they do for pairs of tumours of one type, over all types and for each.

    With --select N, choose the N genes that keep one-shot typing, each beside those before it, and measure them on
    types that were held out of the choosing; with --metastatic, rank the genes by how metastases differ from primary
    tumours of the same types.

    A reference keeps vectors, not measurements: give the file that was ingested once more. Encoders that learned from
    types (`--network rna=whitened` and the like) say most.
    """
    from molsig.reference import Reference

    asked = _what_is_asked(select=select, metastatic=metastatic, by=by, encoder=encoder, method=method, pairs=pairs)
    if html is not None:
        options.check_page(html)
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
    stored = Reference.open(reference)
    files: dict[str, Any] = {"modality": modality, "seed": seed}
    with progress_bar() as progress:
        if asked == "panel":
            assert select is not None
            found: Found = PanelFound(
                stored.marker_panel(
                    label,
                    cohort,
                    most=select,
                    by=by or "forward",
                    encoder=encoder,
                    device=device,
                    progress=progress,
                    **files,
                )
            )
        elif asked == "metastatic":
            found = MetastaticFound(stored.metastatic_markers(label, cohort, progress=progress, **files))
        else:
            found = SaliencyFound(
                stored.markers(
                    label,
                    cohort,
                    encoder=encoder,
                    pairs=pairs,
                    method=method,
                    device=device,
                    progress=progress,
                    **files,
                )
            )
    for line in found.notes:
        note(f"  note: {line}")
    if html is not None or figure is not None:
        from molsig.evaluate.marker_document import save_pictures

        pictures, page = found.drawn(top, seed)
        if html is not None:
            html.write_text(page, encoding="utf-8")
            note(f"Wrote {html}.")
        if figure is not None:
            note(f"Wrote {', '.join(map(str, save_pictures(pictures, figure)))}.")
    if json:
        print_json(found.document(top))
    else:
        found.print(top)


def _what_is_asked(
    *, select: int | None, metastatic: bool, by: str | None, encoder: str | None, method: str, pairs: int
) -> str:
    """Saliency, a panel or metastases; options of the others are slips."""
    if select is not None and metastatic:
        raise UsageError("--select and --metastatic are two questions: ask one at a time")
    if by is not None and select is None:
        raise UsageError(f"--by {by} goes with --select N")
    if (select is not None or metastatic) and (method, pairs) != (METHOD, PAIRS):
        raise UsageError("--method and --pairs rule the ranking by saliency: leave out --select and --metastatic")
    if metastatic and encoder is not None:
        raise UsageError("--metastatic compares measurements, no encoder is asked: leave out --encoder")
    if metastatic:
        return "metastatic"
    return "saliency" if select is None else "panel"
