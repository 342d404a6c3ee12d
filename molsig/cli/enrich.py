"""`molsig enrich`: which gene sets a list of genes has more of than by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json, print_table, save_as

SHOWN_GENES = 8
"""Hits of a set that a terminal table names."""


def enrich(
    genes: Annotated[
        Path,
        typer.Argument(metavar="GENES", help="Genes: one a line, or a table with a column gene (TSV, CSV, Parquet)."),
    ],
    gene_sets: Annotated[Path, typer.Option("--gene-sets", help="Gene sets to look in: GMT.")],
    background: Annotated[
        Path | None,
        typer.Option(
            "--background",
            help="Genes that could have been in the list, same formats; else the table of the list where it has a "
            "column landmark, else all genes of the sets.",
        ),
    ] = None,
    names: options.Genes = None,
    min_size: Annotated[int, typer.Option("--min-size", min=1, help="Fewest genes of a set.")] = 10,
    max_size: Annotated[int, typer.Option("--max-size", min=1, help="Most genes of a set.")] = 500,
    top: Annotated[int, typer.Option("--top", min=1, help="Sets that are shown.")] = 20,
    json: options.Json = False,
    output: Annotated[Path | None, typer.Option("--output", help="Write all sets: .json, .csv or .parquet.")] = None,
) -> None:
    """Test which gene sets have more of a list of genes than by chance (hypergeometric, Benjamini-Hochberg).

    What chance gives depends on which genes could have been in the list: give them with --background. A table that
    `molsig landmarks` has written tells by itself. Nothing is fetched: the sets are those of your file.
    """
    check_target(output, (".json", ".csv", ".parquet"))
    from molsig.ingest.genes import read_gene_map
    from molsig.ingest.gmt import read_gene_list, read_gene_sets
    from molsig.retrieval.enrichment import enriched

    known = None if names is None else read_gene_map(names)
    asked = read_gene_list(genes, genes=known)
    sets = read_gene_sets(gene_sets, genes=known)
    if background is not None:
        given = read_gene_list(background, genes=known)
        pool, told = given.candidates or given.genes, str(background)
    elif asked.candidates is not None:
        pool, told = asked.candidates, f"all genes of {genes}"
    else:
        pool, told = None, f"all genes of {gene_sets}"
    found = enriched(asked.genes, {one.name: one.genes for one in sets}, pool, least=min_size, most=max_size)
    if pool is None:
        note("  note: no background is given, so all genes of the sets count as genes that could have been chosen.")
    if asked.repeated:
        note(f"  note: {asked.repeated:,} repeated genes of the list count once.")
    if found.outside:
        shown = ", ".join(found.outside[:5])
        note(f"  note: {len(found.outside):,} genes of the list are not in the background and count nowhere: {shown}")
    if found.too_small or found.too_large:
        note(
            f"  note: {found.too_small:,} sets with fewer than {min_size} and {found.too_large:,} with more than "
            f"{max_size} genes of the background were not tested."
        )
    rows = [
        {
            "set": one.name,
            "hits": len(one.hits),
            "size": one.size,
            "expected": one.expected,
            "fold": one.fold,
            "p": one.p,
            "q": one.q,
            "genes": list(one.hits),
        }
        for one in found.sets
    ]
    document: dict[str, Any] = {
        "genes": found.genes,
        "outside": list(found.outside),
        "background": {"genes": found.background, "of": told},
        "tested": len(rows),
        "too_small": found.too_small,
        "too_large": found.too_large,
        "sets": rows,
    }
    if output is not None:
        flat = [row | {"genes": " ".join(one.hits)} for row, one in zip(rows, found.sets, strict=True)]
        save_as(output, lambda: document, str, [flat])
        note(f"Wrote {output}.")
    if json:
        print_json(document)
        return
    print_table(
        f"{found.significant():,} of {len(rows):,} gene sets have more of {found.genes:,} genes than by chance "
        f"(q < .05); background: {found.background:,} genes, {told}",
        [
            {
                "set": one.name,
                "hits": f"{len(one.hits)} of {one.size}",
                "fold": f"{one.fold:.2f}",
                "p": f"{one.p:.1e}",
                "q": f"{one.q:.1e}",
                "genes": " ".join(one.hits[:SHOWN_GENES]) + (" ..." if len(one.hits) > SHOWN_GENES else ""),
            }
            for one in found.sets[:top]
        ],
    )
