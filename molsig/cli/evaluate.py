"""`molsig evaluate`: how well a reference tells a label, measured on its own patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.output import check_target, note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

if TYPE_CHECKING:
    from molsig.evaluate.bootstrap import Figure
    from molsig.evaluate.report import Evaluation, Part, Scores

SHOWN = ("p@10", "vote@10", "call", "macro_f1", "map", "ece")
"""Figures of the terminal's table."""
MARK = " *"
"""Beside methods whose figures are too good, since an encoder has learned the label."""
ENDINGS = (".html", ".json")


def evaluate(
    reference: options.Reference,
    label: Annotated[str, typer.Option("--label", help="Patient column to call, e.g. cancer_type.")],
    group: Annotated[
        str | None, typer.Option("--group", help="Column whose values are held out whole; `site` if it is stored.")
    ] = None,
    fusion: Annotated[
        list[str] | None, typer.Option("--fusion", help="A fusion, or a modality on its own. Repeatable; all.")
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds of each scheme.")] = 5,
    missing: Annotated[
        str, typer.Option("--missing", help="Shares of the assays to take from the patients asked about.")
    ] = "0,0.2,0.4,0.6",
    leave_out: Annotated[
        str, typer.Option("--leave-out", help="Labels the gallery is without: how many per fold, or which (A,B).")
    ] = "3",
    meter: Annotated[
        list[str] | None, typer.Option("--meter", help="Column the neighbours should not tell. Repeatable.")
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", min=0, help="Neighbours that mAP looks at; 0 for the whole gallery.")
    ] = 1000,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Bootstrap resamples of each interval.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same folds and figures.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that share the work; one per processor, 4 at most."),
    ] = None,
    json: options.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page (.html) or all figures (.json).")
    ] = None,
) -> None:
    """Measure how well a label is told from stored patients, whole groups held out and at random, with intervals."""
    from molsig.reference import Reference

    check_target(output, ENDINGS)
    with progress_bar() as progress:
        found = Reference.open(reference).evaluate(
            label,
            group=group,
            fusion=fusion,
            folds=folds,
            missing=_shares(missing),
            left_out=int(leave_out) if leave_out.isdigit() else tuple(filter(None, leave_out.split(","))),
            meters=meter or (),
            depth=depth or None,
            draws=draws,
            workers=workers,
            seed=seed,
            progress=progress,
        )
    if output is not None:
        found.save(output)
        note(f"Wrote {output}.")
    if json:
        print_json(found.to_dict())
    elif output is None:
        _print(found)


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(one) for one in text.split(","))
    except ValueError:
        shares = (-1.0,)
    if not all(0 <= one < 1 for one in shares):
        raise UsageError(f"--missing {text}: give shares from 0 to below 1, parted by commas, e.g. 0,0.2,0.4")
    return shares


def _print(found: Evaluation) -> None:
    cohort, how = found.cohort, found.settings
    print(f"{how.label}: {cohort.patients:,} patients, {len(cohort.labels)} labels, {how.folds} folds, seed {how.seed}")
    # Before any figure: a table that is copied without its notes should carry the mark at least.
    warnings = [one.warning for one in found.taught]
    for line in warnings:
        print(f"  {MARK.strip()} {line}")
    for scheme in found.schemes:
        told = f"whole {how.group}s held out" if scheme == "groups_held_out" else "random folds"
        parts = [part for part in found.parts if part.scheme == scheme]
        print_table(f"\nCalled with {told}", [_row(part, part.overall, found.too_good) for part in parts])
        if any(part.overall.unanswerable for part in parts):
            rows = [_row(part, part.answerable, found.too_good) for part in parts]
            print_table(f"The same, {told}, only patients whose label somebody else has", rows)
    print_table(
        "Leak meters: how often the majority of neighbours tells what it should not",
        [
            {
                "property": meter.name,
                "scheme": one.scheme,
                "method": one.method,
                "patients": meter.told.n,
                "told": _figure(meter.told),
                "chance, same label": _figure(meter.chance_same_label),
                "commonest": _figure(meter.chance_commonest),
                "leak": _figure(meter.excess),
            }
            for one in found.leaks
            for meter in one.meters
        ],
    )
    if found.unknown:
        print_table(
            "Patients of labels that were left out, told by their strangeness",
            [
                {"scheme": one.scheme, "method": one.method, "patients": one.patients, "AUROC": _figure(one.auroc)}
                for one in found.unknown
            ],
        )
    for line in found.notes:
        if line not in warnings:
            print(f"  note: {line}")


def _row(part: Part, scores: Scores, too_good: frozenset[str]) -> dict[str, Any]:
    method = part.method + (MARK if part.method in too_good else "")
    return {"method": method, "missing": f"{part.missing:.0%}", "patients": scores.patients} | {
        name: _figure(scores.figures[name]) for name in SHOWN
    }


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return ""
    interval = "" if figure.low is None or figure.high is None else f" ({figure.low:.3f}-{figure.high:.3f})"
    return f"{figure.value:.3f}{interval}"
