"""`molsig landmarks`: the few genes that the others can be told from, and how well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json, print_table, save_as
from molsig.cli.progress import progress_bar
from molsig.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.reference.landmark_report import LandmarkReport, SetScores
    from molsig.reference.rebuilding import Rebuilt
    from molsig.retrieval.enrichment import Enrichment


def landmarks(
    reference: options.Reference,
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
    n: Annotated[int, typer.Option("--n", min=1, help="How many landmark genes.")] = 943,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="greedy, autoencoder (with DeepLIFT, as in the study), variance, medoids (as L1000), pca, random; "
            "auto: the best of them on patients held back. Default: what did best on real data.",
        ),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Measure the other methods, too.")] = False,
    inference: Annotated[
        str, typer.Option("--inference", help="What tells the other genes: ridge, or dgex (a deep network).")
    ] = "ridge",
    resamples: Annotated[
        int, typer.Option("--resamples", min=0, help="Draw the patients so often and say how alike the choices are.")
    ] = 0,
    group: Annotated[
        str | None, typer.Option("--group", help="Patient column whose values are held out whole; site, if stored.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Of the autoencoder; 100, as in the study.")
    ] = None,
    gene_sets: Annotated[
        Path | None, typer.Option("--gene-sets", help="Say which sets of this GMT file the landmarks are rich in.")
    ] = None,
    rebuild: Annotated[
        Path | None,
        typer.Option("--rebuild", help="Make this new reference, its encoder fitted to the landmarks alone."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Patient column that both references are asked about; cancer_type, if stored."),
    ] = None,
    device: options.Device = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of parts, draws, networks and clusters.")] = 0,
    top: Annotated[int, typer.Option("--top", min=1, help="Genes and sets that the terminal and the page show.")] = 20,
    json: options.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write all genes, landmarks marked: .csv, .json or .parquet.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page.")] = None,
) -> None:
    """Find the few genes that the others can be told from, and measure how well on patients held out.

    A reference keeps vectors, not measurements: give the file that was ingested once more. Genes are ranked and the
    inference of the others is fitted on four fifths of the patients and judged on the rest, whole sites at a time and
    one by one; the list is then ranked on all.

    With --rebuild, a new reference is made whose encoder is given the landmarks alone, and what is gained in size and
    speed and lost in accuracy stands side by side.
    """
    from molsig.reference import Reference

    check_target(output, (".csv", ".json", ".parquet"))
    check_target(html, (".html",), "--html")
    if rebuild is not None:
        from molsig.reference.rebuilding import check_target as check_reference

        check_reference(rebuild)
    sets = None
    if gene_sets is not None:
        from molsig.ingest.genes import read_gene_map
        from molsig.ingest.gmt import read_gene_sets

        sets = read_gene_sets(gene_sets, genes=None if genes is None else read_gene_map(genes))
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
    asked = None
    if label is not None or rebuild is not None:
        columns = stored.info()["columns"]
        if label is not None and label not in columns:
            raise UsageError(f"--label {label}: there is no such patient column; there are {', '.join(columns)}")
        asked = label or ("cancer_type" if "cancer_type" in columns else None)
    rich: Enrichment | None = None
    made: Rebuilt | None = None
    kept: list[dict[str, Any]] = []
    with progress_bar() as progress:
        found = stored.landmarks(
            cohort,
            n=n,
            method=method,
            compare=compare,
            inference=inference,
            resamples=resamples,
            group=group,
            modality=modality,
            epochs=epochs,
            seed=seed,
            device=device,
            progress=progress,
        )
        notes = list(found.notes)
        if sets is not None:
            from molsig.retrieval.enrichment import enriched

            try:
                rich = enriched(found.landmarks, {one.name: one.genes for one in sets}, found.genes)
            except InputError as error:
                notes.append(f"{gene_sets}: {error}")
        document = found.to_dict() | {"notes": notes} | ({} if rich is None else {"enriched": _sets(rich, None)})
        # What is found is written before what may fail for other reasons.
        _write(document, found, rich, top, output, html)
        if rebuild is not None:
            made = stored.rebuild(rebuild, found, cohort, label=label, seed=seed, device=device, progress=progress)
            if asked is not None:
                from molsig.evaluate.rebuilt import accuracy

                try:
                    kept = accuracy(stored, Reference.open(rebuild), asked, made.modality, seed=seed, progress=progress)
                except (InputError, UsageError) as error:
                    notes.append(f"how well {asked} is told before and after was not measured: {error}")
            document |= {"notes": notes, "rebuilt": made.to_dict() | {"accuracy": kept}}
            if output is not None and output.suffix == ".json":
                _write(document, found, rich, top, output, None)
    for line in notes:
        note(f"  note: {line}")
    for written in (output, html):
        if written is not None:
            note(f"Wrote {written}.")
    if json:
        print_json(document)
        return
    _print(found, rich, top)
    if made is not None:
        from molsig.evaluate.rebuilt import costs

        print_table(f"{made.path}, on {made.landmarks:,} landmarks, beside {reference}", costs(made))
        if kept:
            print_table(f"How well {made.modality} tells the label, held out", kept)


def _write(
    document: dict[str, Any],
    found: LandmarkReport,
    rich: Enrichment | None,
    top: int,
    output: Path | None,
    html: Path | None,
) -> None:
    if output is not None:
        save_as(output, lambda: document | {"ranking": found.rows()}, str, [found.rows()])
    if html is not None:
        from molsig.evaluate.landmark_page import page

        html.write_text(page(found, rich, top), encoding="utf-8")


def _print(found: LandmarkReport, rich: Enrichment | None, top: int) -> None:
    print_table(
        f"The first {min(top, found.n)} of {found.n:,} landmarks out of {len(found.genes):,} genes, by {found.method}",
        [{k: row[k] for k in ("rank", "gene", "mean", "deviation")} for row in found.rows()[: min(top, found.n)]],
    )
    print_table(f"The other genes of held-out patients, told by {found.inference}", score_rows(found.scores))
    if found.validation:
        print_table(
            "Mean error on patients held back, by which the method was chosen",
            [{"method": name, "MAE": f"{error:.4f}"} for name, error in found.validation.items()],
        )
    if found.stability is not None:
        one = found.stability
        print(
            f"Landmarks of {found.method} on draws of four fifths of the patients have a Jaccard index of "
            f"{one.mean:.3f} ({one.chance:.3f} by chance)."
        )
    if rich is not None:
        print_table(
            f"{rich.significant():,} of {len(rich.sets):,} gene sets have more landmarks than by chance (q < .05)",
            _sets(rich, top),
        )


def score_rows(scores: Sequence[SetScores]) -> list[dict[str, object]]:
    """A row for each method and way of holding out, figures as text."""

    def text(figure: float | None) -> str | None:
        return None if figure is None else f"{figure:.4f}"

    return [
        {
            "held out": one.held_out.replace("_", " "),
            "method": one.method,
            "patients": one.patients,
            "genes": one.genes,
            "MAE": text(one.mae),
            "PCC": text(one.pcc),
            "pass": None if one.significant is None else f"{one.significant:.1%}",
            "common genes": one.common_genes,
            "MAE there": text(one.common_mae),
            "PCC there": text(one.common_pcc),
            "chosen less this": None if one.against is None else f"{one.against.difference:+.4f}",
        }
        for one in scores
    ]


def _sets(rich: Enrichment, top: int | None) -> list[dict[str, Any]]:
    return [
        {"set": one.name, "hits": len(one.hits), "size": one.size, "fold": round(one.fold, 2), "p": one.p, "q": one.q}
        for one in rich.sets[:top]
    ]
