"""`molsig annotate`: predict a patient column for those who have no value in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.cli import options
from molsig.cli.output import check_folder, check_target, note, print_json, print_table, save_as
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.reference.annotation_explanation_report import ExplanationReport
    from molsig.reference.annotation_report import AnnotationReport, Validation

ENDINGS = (".json", ".csv", ".parquet")
_NAMED = 3
_INPUTS = 5


def annotate(
    reference: options.Reference,
    field: Annotated[str, typer.Option("--field", help="Patient column to predict, e.g. sex, age, tissue.")],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="neighbours (stored vectors; the default without a file), forest (the default with one), network "
            "(minutes), or auto: measure all, take the best.",
        ),
    ] = None,
    intervals: Annotated[
        int | None, typer.Option("--intervals", help="Age in 2, 3 or 4 intervals instead of in years.")
    ] = None,
    cuts: Annotated[
        str | None, typer.Option("--cuts", help="Intervals of any number: where they end, e.g. 45,70.")
    ] = None,
    rna: options.Rna = None,
    rna_scale: options.RnaScale = "auto",
    rna_orientation: options.RnaOrientation = "auto",
    mirna: options.Mirna = None,
    matrix: options.Matrix = None,
    matrix_scale: options.MatrixScale = None,
    genes: options.Genes = None,
    samples: options.SampleTable = None,
    modality: Annotated[
        list[str] | None,
        typer.Option("--modality", help="Only these stored vectors, or which of several files. Repeatable."),
    ] = None,
    patient: Annotated[
        list[str] | None, typer.Option("--patient", "-p", help="Predict for this patient only. Repeatable.")
    ] = None,
    recorded: Annotated[
        bool,
        typer.Option("--recorded", help="Also for patients with a record, by models that have not seen them."),
    ] = False,
    group: Annotated[
        str | None, typer.Option("--group", help="Column whose values are held out whole; `site` if it is stored.")
    ] = None,
    error: Annotated[
        float, typer.Option("--error", min=0.001, max=0.5, help="Share of sets that may miss the right value.")
    ] = 0.1,
    top: Annotated[int, typer.Option("--top", min=0, help="Predictions that the table shows.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, network and forest.")] = 0,
    device: options.Device = "auto",
    write: Annotated[
        bool, typer.Option("--write", help="Store the predictions beside the recorded values, which stay as they are.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say which measurements the calls of the network rest on (--method network)."),
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the explanation as a page to look at.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Write its pictures as SVG into this folder.")] = None,
    members: Annotated[
        bool, typer.Option("--members", help="Name the patients it is made of, in the page and in JSON.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Delete the stored predictions of the column instead.")] = False,
    json: options.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all predictions: .csv, .parquet or .json.")
    ] = None,
) -> None:
    """Predict missing values of a patient column, with calibrated probabilities, and say how well that works.

    Prints how often each method is right about patients it has not seen, at hospitals it has not seen and at random,
    beside what the commonest value and the cancer type alone would give. Where the value cannot be told at the error
    rate, it says so. Recorded values are never changed. With --explain, say what the network's calls rest on.
    """
    from molsig.reference import Reference

    if drop:
        narrowed = {
            "--patient": patient, "--write": write, "--recorded": recorded, "--method": method, "--explain": explain,
            "--output": output, "--html": html, "--figure": figure, "--modality": modality, "--group": group,
            "--rna": rna, "--mirna": mirna, "--matrix": matrix,
        }  # fmt: skip
        if others := [flag for flag, given in narrowed.items() if given]:
            raise UsageError(f"--drop deletes all predictions of a column and goes without {', '.join(others)}")
        gone = Reference.open(reference).drop_predictions(field)
        if json:
            print_json({"field": field, "dropped": gone})
        else:
            print(f"Deleted {gone:,} predictions of {field}; what is recorded was not touched.")
        return
    check_target(output, ENDINGS)
    check_target(html, (".html",), "--html")
    check_folder(figure, "--figure")
    for flag, given in (("--html", html), ("--figure", figure), ("--members", members)):
        if given and not explain:
            raise UsageError(f"{flag} goes with --explain")
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
        found = Reference.open(reference).annotate(
            field,
            cohort,
            method=method,
            cuts=_cuts(intervals, cuts),
            modality=modality,
            patients=patient or (),
            recorded=recorded,
            group=group,
            error=error,
            seed=seed,
            device=device,
            write=write,
            explain=explain,
            progress=progress,
        )
    for line in found.notes:
        note(f"  note: {line}")
    if write:
        note(f"Stored {found.written:,} predictions of {found.field} beside what is recorded.")
    if output is not None:
        save_as(output, lambda: found.to_dict(members=members), str, [found.rows()], found.columns())
        note(f"Wrote {len(found.predictions):,} predictions to {output}.")
    if html is not None or figure is not None:
        _draw(found, html, figure, members)
    if json:
        print_json(found.to_dict(members=members))
    else:
        _print(found, top)


def _draw(found: AnnotationReport, html: Path | None, figure: Path | None, members: bool) -> None:
    from molsig.evaluate.annotation_page import page
    from molsig.evaluate.annotation_pictures import pictures
    from molsig.evaluate.marker_document import save_pictures

    assert found.explanation is not None
    drawn = pictures(found.explanation, members=members)
    if html is not None:
        html.write_text(page(found, drawn, members=members), encoding="utf-8")
        note(f"Wrote {html}.")
    if figure is not None:
        note(f"Wrote {', '.join(map(str, save_pictures(drawn, figure, verb='annotate')))}.")


def _cuts(intervals: int | None, cuts: str | None) -> tuple[float, ...]:
    from molsig.retrieval.intervals import AGE_CUTS

    if intervals is not None and cuts is not None:
        raise UsageError("--intervals and --cuts both say where to cut: give one of them")
    if intervals is not None:
        if intervals not in AGE_CUTS:
            raise UsageError(f"--intervals {intervals}: ages are cut into 2, 3 or 4; other cuts: --cuts 45,70")
        return AGE_CUTS[intervals]
    try:
        return tuple(float(one) for one in cuts.split(",")) if cuts is not None else ()
    except ValueError:
        raise UsageError(f"--cuts {cuts}: give ascending numbers parted by commas, e.g. 45,70") from None


def _print(found: AnnotationReport, top: int) -> None:
    places = _decimals(found.validation)
    for scheme in dict.fromkeys(one.scheme for one in found.validation):
        held = f"whole {found.source['groups']}s held out" if scheme == "groups_held_out" else "random folds"
        rows = [_row(one, places) for one in found.validation if one.scheme == scheme]
        print_table(f"{found.field} told of {found.source['learned_from']:,} patients with a record, {held}", rows)
    if found.explanation is not None:
        _print_explanation(found.field, found.explanation)
    if not found.predictions:
        return
    shown = found.predictions[:top]
    people = len(found.predictions)
    said = f", {found.told:,} told, {people - found.told:,} cannot be told" if found.classes else ""
    print_table(
        f"{found.field} predicted by {found.method} for {people:,} patients{said} (error {found.error:g})",
        [
            {
                "patient": one.patient,
                "predicted": f"{one.value:.{places}f}" if isinstance(one.value, float) else one.value or "cannot tell",
                "probability": None if one.probability is None else f"{one.probability:.2f}",
                "set": _some(one.alternatives) if one.value is None else None,
                "interval": _interval(one.low, one.high, places),
                "recorded": one.recorded,
            }
            for one in shown
        ],
    )
    if people > top:
        print(f"  and {people - top:,} more: --output FILE or --json has all")


def _print_explanation(field: str, found: ExplanationReport) -> None:
    print_table(
        f"What the network calls {field} by: DeepLIFT scores of {len(found.found.rows):,} patients, held out "
        f"{found.held_out}",
        [
            {
                field: row["class"],
                "explained": row["samples"],
                "right": row["right"],
                "to change a call": None if row["fewest_zeroed"] is None else f"{row['fewest_zeroed']:.1f}",
                "comes to": row["nearest"],
                "speak for it": ", ".join(one["feature"] for one in row["inputs"]),
            }
            for row in found.rows(_INPUTS)
        ],
    )
    for one in found.named:
        first = ", ".join(found.features[place] for place in one.top(_INPUTS).tolist())
        print(f"  {one.patient} is called {one.called}; the classes are parted most by {first}")


def _interval(low: float | None, high: float | None, places: int) -> str | None:
    return None if low is None or high is None else f"{low:.{places}f} to {high:.{places}f}"


def _decimals(validation: Sequence[Validation]) -> int:
    """Decimal places that two digits of the least mean error of numbers take; 1 for labels."""
    from molsig.retrieval.annotation_scores import NumberScores

    errors = [one.scores.error for one in validation if isinstance(one.scores, NumberScores) and one.scores.error > 0]
    return max(0, 1 - math.floor(math.log10(min(errors)))) if errors else 1


def _row(one: Validation, places: int) -> dict[str, object]:
    from molsig.retrieval.annotation_scores import LabelScores

    scores = one.scores
    if not isinstance(scores, LabelScores):
        return {
            "method": one.method.replace("commonest", "mean of all"),
            "mean error": f"{scores.error:.{places + 1}f}",
            "correlation": None if scores.correlation is None else f"{scores.correlation:.3f}",
            "intervals hold": None if scores.covered is None else f"{scores.covered:.3f}",
            "width": None if scores.width is None else f"{scores.width:.{places}f}",
        }
    return {
        "method": one.method,
        "accuracy": f"{scores.accuracy:.3f}",
        "balanced": f"{scores.balanced:.3f}",
        "told": None if scores.told is None else f"{scores.told:.1%}",
        "of these right": None if scores.told_right is None else f"{scores.told_right:.3f}",
        "sets hold": None if scores.covered is None else f"{scores.covered:.3f}",
        "calibration error": None if scores.calibration_error is None else f"{scores.calibration_error:.3f}",
    }


def _some(labels: Sequence[str]) -> str:
    """Name the likeliest labels of a set, as many as a line has room for."""
    rest = len(labels) - _NAMED
    return " or ".join(labels) if rest < 2 else f"{' or '.join(labels[:_NAMED])} or {rest} others"
