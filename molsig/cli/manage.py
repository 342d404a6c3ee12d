"""Verbs that look after a reference: info, encoders, verify, doctor, forget, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molsig.cli import options
from molsig.cli.output import note, print_json, print_table
from molsig.cli.progress import progress_bar
from molsig.cli.quick import keep_pandas_out

if TYPE_CHECKING:
    from collections.abc import Mapping


def info(reference: options.Reference, json: options.Json = False) -> None:
    """Say what a reference holds."""
    from molsig.reference import Reference

    keep_pandas_out()
    facts = Reference.open(reference).info()
    if json:
        print_json(facts)
        return
    print(f"{reference}: {facts['patients']:,} patients, {facts['bytes'] / 1e6:,.1f} MB, format {facts['format']}")
    print_table(
        "Vectors",
        [
            {"modality": name, "vectors": m["rows"], "patients": m["patients"]}
            for name, m in facts["modalities"].items()
        ],
    )
    keys = ("space", "modality", "features", "samples", "epochs")
    if facts["predictions"]:
        print_table("Predicted columns, beside what is recorded (molsig annotate)", facts["predictions"])
    print_table("Encoders", [{key: encoder.get(key) for key in keys} for encoder in facts["encoders"]])
    print_table("Indexes", [{key: index.get(key) for key in INDEX_COLUMNS} for index in facts["indexes"]])


INDEX_COLUMNS = ("space", "method", "rows", "recall", "depth", "effort", "size", "built")


def encoders(reference: options.Reference, json: options.Json = False) -> None:
    """List the cards of the encoders: data, features, scale, epochs, losses, quality, licence, hash."""
    from molsig.reference import Reference

    keep_pandas_out()
    cards = Reference.open(reference).encoders()
    if json:
        print_json({"encoders": cards})
        return
    print_table(f"{reference}: {len(cards)} encoders", [_card_row(one) for one in cards])
    for one in cards:
        print("\n".join(_card_lines(one)), end="\n\n")


def _card_row(one: Mapping[str, Any]) -> dict[str, object]:
    card = one["card"]
    return {
        "space": one["space"],
        "in use": "yes" if one["active"] else "no",
        "samples": card.get("n_samples"),
        "features": card.get("n_features") or None,
        "scale": card.get("scale"),
        "explained": card.get("training", {}).get("explained_variance"),
    }


def _card_lines(one: Mapping[str, Any]) -> list[str]:
    """The rest of a card, as lines that fit a narrow terminal."""
    card = one["card"]
    training = card.get("training", {})
    lines = [f"{one['space']}: {one['modality']}, {card.get('n_patients', 0):,} patients"]
    if training.get("train_reconstruction"):
        fit = f"epoch {training['best_epoch']} of {training['epochs']}, loss {training['train_reconstruction'][-1]:.4g}"
        if held := training.get("validation_reconstruction"):
            fit += f", on {training['held_back_samples']:,} held-back samples {held[training['best_epoch'] - 1]:.4g}"
        lines.append(f"{fit}; {training['active_units']} active units")
    lines += [f"{n:,} features not encoded, {use}" for use, n in card.get("dropped", {}).items()]
    if statement := training.get("statement"):
        lines.append(statement)
    lines.append(f"licence: {card.get('licence', 'unknown')}; sha256 {card.get('hash', '')[:12]}")
    return [lines[0], *(f"  {line}" for line in lines[1:])]


def verify(reference: options.Reference, json: options.Json = False) -> None:
    """Check every promise the files make: hashes, coverage, sums, vectors. Ends with 4 where one is broken."""
    from molsig.reference import Reference

    checks = Reference.open(reference).verify()
    ok = all(check.ok for check in checks)
    if json:
        print_json({"ok": ok, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]})
    else:
        rows: list[dict[str, object]] = [
            {"": "ok" if c.ok else "BROKEN", "check": c.name, "detail": c.detail} for c in checks
        ]
        print_table(f"{reference}: {'all is well' if ok else 'DAMAGED'}", rows)
    if not ok:
        raise typer.Exit(4)


def doctor(
    reference: Annotated[
        Path | None,
        typer.Argument(envvar="MOLSIG_REFERENCE", metavar="[REFERENCE]", help="A reference to look at too."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Look over this machine and a reference: PASS, WARN or FAIL, and the line that mends it."""
    from molsig.reference.doctor import examine

    findings = examine(reference)
    if json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        rows: list[dict[str, object]] = [
            {"": f.status, "what": f.name, "found": f.found, "mend": f.mend or ""} for f in findings
        ]
        print_table("molsig doctor", rows)
    if any(f.status == "FAIL" for f in findings):
        raise typer.Exit(4)


def index(
    reference: options.Reference,
    force: Annotated[bool, typer.Option("--force", help="Build all anew, also those that serve.")] = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="pca-sq8, rabitq, ivf-rabitq or hnsw, kept from then on; auto: the vectors decide again.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Build or grow the search indexes that are missing, damaged or outgrown. They are derived; nothing can be lost."""
    from molsig.reference import Reference

    with progress_bar() as progress:
        built = Reference.open(reference).build_indexes(method=method, force=force, progress=progress)
    if json:
        print_json({"built": built})
    elif built:
        print_table("Built", [{key: one.get(key) for key in INDEX_COLUMNS} for one in built])
    else:
        print("Every index serves as it is.")


def forget(
    reference: options.Reference,
    patient: Annotated[list[str], typer.Option("--patient", "-p", help="Patient to forget. Repeatable.")],
    compact: Annotated[
        bool, typer.Option("--compact", help="Also rewrite the database, so that freed blocks hold nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Remove patients: their columns, vectors, aggregates and index entries."""
    from molsig.reference import Reference

    if not yes:
        typer.confirm(f"Remove {len(patient)} patient(s) from {reference}? This cannot be undone", abort=True, err=True)
    with progress_bar() as progress:
        result = Reference.open(reference).forget(patient, compact=compact, progress=progress)
    if json:
        print_json(result)
    else:
        print(f"Forgot {result['patients']:,} patients and {result['vectors']:,} vectors.")
        note("  The encoders were fitted with them among others and are kept. To be rid of that trace too, ingest")
        note("  the other patients into a new reference.")
        if not compact:
            note("  Freed blocks of the database may still hold old bytes; --compact rewrites it.")


def export(
    reference: options.Reference,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .parquet, .csv or .h5ad.")],
    space: Annotated[
        str, typer.Option("--space", help="A modality, a space, or sum: the summed aggregate of each patient.")
    ] = "sum",
    where: Annotated[str | None, typer.Option("--where", help="Only patients that meet this SQL condition.")] = None,
    json: options.Json = False,
) -> None:
    """Write vectors with their provenance and patient columns to a file."""
    from molsig.reference import Reference

    result = Reference.open(reference).export(output, space=space, where=where)
    if json:
        print_json(result)
    else:
        print(f"Wrote {result['rows']:,} rows of space {result['space']} to {output}.")
