"""`molsig map`: samples laid out so that like ones are neighbours, and new ones landed among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.reference.map_report import MapReport


def draw_map(
    reference: options.Reference,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Which modality is mapped: mirna, rna, report ...")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="Patient column that is shown on the map.")] = "cancer_type",
    rna: options.Rna = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    mirna: options.Mirna = None,
    matrix: options.Matrix = None,
    matrix_scale: options.MatrixScale = None,
    genes: options.Genes = None,
    samples: options.SampleTable = None,
    query: Annotated[
        Path | None, typer.Option("--query", help="Samples to land on the map: a file of the same modality.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the map as a page to look at.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Write the map as one SVG picture.")] = None,
    members: Annotated[
        bool, typer.Option("--members", help="Name the samples of each node in the page and in JSON.")
    ] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="Train for as many epochs as the study: 3,500, 1,500 and 1,250.")
    ] = False,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Most epochs of each stage.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Rules the fit.")] = 0,
    refit: Annotated[bool, typer.Option("--refit", help="Fit a new map although there is one.")] = False,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Draw a Deep Neural Map of a modality, and say who lives where a new sample lands.

    A reference keeps vectors, not measurements: give the file that was ingested once more (--mirna FILE), and the map
    is made of what was measured and tells what it rests on. Without a file it is made of the stored vectors. A map is
    fitted once, in minutes, and kept with the reference. The page counts samples and names none unless told to.
    """
    from molsig.reference import Reference

    check_target(html, (".html",), "--html")
    check_target(figure, (".svg",), "--figure")
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
    given = [one.modality for one in cohort.sources()]
    asked = modality or (given[0] if len(given) == 1 else None)
    landing = {} if query is None else _query(asked, query, rna_scale, rna_orientation, matrix_scale)
    with progress_bar() as progress:
        found = Reference.open(reference).map(
            label,
            cohort,
            modality=modality,
            query=None if query is None else options.cohort_of(cohort=None, genes=genes, samples=samples, **landing),
            network="map-paper" if paper else "map",
            epochs=epochs,
            seed=seed,
            refit=refit,
            device=device,
            progress=progress,
        )
    for line in found.notes:
        note(f"  note: {line}")
    if html is not None or figure is not None:
        from molsig.evaluate.map_page import page
        from molsig.evaluate.map_pictures import pictures, sheet

        drawn = pictures(found)
        if html is not None:
            html.write_text(page(found, drawn, members=members), encoding="utf-8")
            note(f"Wrote {html}.")
        if figure is not None:
            figure.write_text(sheet(found, drawn), encoding="utf-8")
            note(f"Wrote {figure}.")
    if json:
        print_json(found.to_dict(members=members))
        return
    _print(found)


def _print(found: MapReport) -> None:
    rows, columns = found.encoder.lattice
    if found.landings:
        print_table(
            f"Landings on the {rows} x {columns} map of {found.encoder.modality}",
            [
                {
                    "sample": one.sample,
                    "node": f"[{one.row}, {one.column}]",
                    "label": one.label or "none",
                    "stranger than": f"{one.strangeness:.1%}",
                    "who lives there": one.says(),
                }
                for one in found.landings
            ],
        )
        return
    living = found.living(found.classes())
    labels = living.labels()
    lines: list[dict[str, object]] = []
    for place, name in enumerate(living.names):
        mine = living.counts[:, place]
        own = sum(int(n) for n, label in zip(mine, labels, strict=True) if label == name)
        lines.append(
            {
                "class": name,
                "samples": int(mine.sum()),
                "nodes": int((mine > 0).sum()),
                "labelled nodes": sum(label == name for label in labels),
                "on these": f"{own / max(1, int(mine.sum())):.0%}",
            }
        )
    print_table(
        f"{len(found.samples):,} samples of {found.encoder.modality} on {rows} x {columns} nodes "
        f"({found.encoder.space}, made of {found.source})",
        lines,
    )


def _query(
    modality: str | None, path: Path, rna_scale: str, rna_orientation: str, matrix_scale: Sequence[str] | None
) -> dict[str, Any]:
    """What `options.cohort_of` is given so that a query is read as the file of its modality is."""
    if modality is None:
        raise UsageError("--query: say of which modality with --modality")
    flag = {"report": "reports", "mutation": "mutations", "tile": "tiles", "mirna": "mirna"}.get(modality)
    if flag is not None:
        return {flag: path}
    if modality == "rna":
        return {"rna": path, "rna_scale": rna_scale, "rna_orientation": rna_orientation}
    scales = [one for one in matrix_scale or () if one.partition("=")[0] == modality]
    return {"matrix": [f"{modality}={path}"], "matrix_scale": scales or None}
