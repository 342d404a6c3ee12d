"""`molsig learn`: how the modalities of a reference are to be fused."""

from __future__ import annotations

from typing import Annotated

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar


def learn(
    reference: options.Reference,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Patient column to learn; cancer_type if there is one."),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Column that is kept whole between folds; site if there is one.")
    ] = None,
    no_label: Annotated[bool, typer.Option("--no-label", help="Learn weights only, from no label.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the folds.")] = 0,
    json: options.Json = False,
) -> None:
    """Learn how to fuse the modalities: what each says of a label, out of fold, with calibrated errors.

    Queries use it from then on: hits are ranked by evidence, votes on the label carry a probability, a conformal set
    and "unknown". Give it again after new encoders or many new patients.
    """
    from molsig.reference import Reference

    with progress_bar() as progress:
        found = Reference.open(reference).learn(
            label, groups=group, labelled=not no_label, seed=seed, progress=progress
        )
    if json:
        print_json(found)
        return
    rows: list[dict[str, object]] = [
        {
            "modality": modality,
            "weight without labels": weight,
            "nats about the label": found.get("modalities", {}).get(modality, {}).get("information_nats"),
        }
        for modality, weight in found["weights"].items()
    ]
    print_table(f"{reference}: learned {found['label'] or 'weights, without a label'}", rows)
    if held := found.get("held_out"):
        kept = f"whole values of {found['groups']} held out" if found["groups"] else "single patients held out"
        note(
            f"Out of fold ({kept}), {held['patients']:,.0f} patients: {held['accuracy']:.3f} right, log-loss "
            f"{held['log_loss']:.3f}, {len(found['classes'])} classes. The encoders have seen all these patients."
        )
    for modality, types in found["taught"].items():
        note(
            f"  note: the {modality} encoder has learned {len(types)} of the {len(found['classes'])} classes from "
            "these patients' labels: out-of-fold scores are better than of new patients, and probabilities somewhat "
            "too sure"
        )
