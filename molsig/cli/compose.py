"""`molsig compose`: what a summed vector was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.errors import UsageError

if TYPE_CHECKING:
    from molsig.reference.composing import Composed


def compose(
    reference: options.Reference,
    vector: Annotated[
        Path | None, typer.Option("--vector", help="A summed vector: .npy, or text with 768 numbers; or several.")
    ] = None,
    patient: Annotated[
        list[str] | None, typer.Option("--patient", "-p", help="A stored patient's own sum. Repeatable.")
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit the recogniser anew.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Rules the fit of the recogniser.")] = 0,
    json: options.Json = False,
) -> None:
    """Say which modalities a summed vector was made of, how many vectors of each, and whether it is such a sum."""
    from molsig.reference import Reference

    if (vector is None) == (not patient):
        raise UsageError("give either --vector FILE or --patient ID")
    stored = Reference.open(reference)
    with progress_bar() as progress:
        report = stored.compose(vector, patients=patient or (), refit=refit, seed=seed, progress=progress)
    if json:
        print_json(report.to_dict())
        return
    for one in report.answers:
        _print(one)
    for line in report.notes:
        note(f"  note: {line}")
    learnt = report.card["counts"]
    note(
        f"  recogniser {report.card['hash']}{' (just fitted)' if report.fitted else ''}: sums of {min(learnt)} to "
        f"{max(learnt)} vectors of {', '.join(report.card['modalities'])}"
    )


_VERDICTS = {
    "known": "a sum of known vectors",
    "partly unknown": "NOT ONLY a sum of known vectors",
    "unknown": "NO sum of known vectors",
    "too long": "LONGER than any sum that was learnt: what follows is a guess",
    "empty": "nothing was summed",
}


def _print(one: Composed) -> None:
    found = one.found
    rows: list[dict[str, object]] = [
        {
            "modality": name,
            "vectors": found.counts[name],
            "estimate": round(found.estimates[name], 2),
            "90 %": "-".join(map(str, dict.fromkeys(found.intervals[name]))),
            "probability": round(found.probabilities[name], 3),
            "stored": None if one.stored is None else one.stored.get(name, 0),
        }
        for name in found.counts
    ]
    print_table(f"{one.query}: {_VERDICTS[found.verdict]}", rows)
    print(
        f"  residual {found.residual:.3g}; {found.rarity:.1%} of held-out sums are as odd; foreign part "
        f"{found.foreign:.2g} vectors"
    )
    for line in found.notes:
        print(f"  note: {line}")
    if one.stored and (missed := {name: n for name, n in one.stored.items() if name not in found.counts}):
        print("  stored too: " + ", ".join(f"{n} {name}" for name, n in missed.items()))
    print()
