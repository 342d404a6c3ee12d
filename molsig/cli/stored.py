"""`molsig query REFERENCE --patient ID`, answered without waiting for the machinery that parses every command line.

Building the command line of all verbs takes typer as long as the query itself takes. A query by stored patients in its
plain spelling is therefore read here. Whatever is spelled otherwise, or wrongly, is left to typer, which means the same
and knows what to say; a test compares the two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molsig.cli.output import check_target, note, print_answer, print_json, save
from molsig.cli.quick import keep_pandas_out
from molsig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from molsig.retrieval.answer import Answer


def ask(
    reference: Path,
    patient: Sequence[str],
    *,
    k: int = 10,
    where: str | None = None,
    vote: Sequence[str] | None = None,
    modality: Sequence[str] | None = None,
    fusion: str = "auto",
    kind: str = "auto",
    exact: bool = False,
    error: float = 0.1,
    columns: str | None = None,
    json: bool = False,
    output: Path | None = None,
) -> bool:
    """Print or write the stored patients nearest to some stored patients; return whether there are any."""
    check_target(output)
    keep_pandas_out()
    from molsig.reference import Reference

    answers = Reference.query_once(
        reference,
        patient,
        k=k,
        where=where,
        vote=vote or (),
        modality=modality,
        fusion=fusion,
        kind=kind,
        method="exact" if exact else "auto",
        error=error,
    )
    return show(answers, columns=columns, json=json, output=output)


def show(answers: Sequence[Answer], *, columns: str | None, json: bool, output: Path | None) -> bool:
    """Print answers, or write them to `output`; return whether there is a hit in any."""
    if columns is not None and (json or output is not None):
        raise UsageError("--columns chooses columns of the printed table; --json and --output have them all")
    if output is not None:
        save(answers, output)
        note(f"Wrote {len(answers):,} answers to {output}.")
    elif json:
        from molsig.retrieval.answer import documents

        print_json(documents(answers))
    else:
        for answer in answers:
            print_answer(answer, None if columns is None else [name.strip() for name in columns.split(",")])
    found = any(answer.hits for answer in answers)
    if not found:
        note("Nothing found: no stored patient is left to compare with.")
    return found


def _count(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdigit() and int(word) >= 1 else None


def _rate(word: str) -> float | None:
    plain = word.isascii() and word.replace(".", "", 1).isdigit()
    return float(word) if plain and 0.001 <= float(word) <= 0.5 else None


_SWITCHES = {"--exact": "exact", "--json": "json"}
_REPEATED = {"--patient": "patient", "-p": "patient", "--vote": "vote", "--modality": "modality"}
_SINGLE: dict[str, tuple[str, Callable[[str], object]]] = {
    "--k": ("k", _count),
    "-k": ("k", _count),
    "--where": ("where", str),
    "--fusion": ("fusion", str),
    "--kind": ("kind", str),
    "--error": ("error", _rate),
    "--columns": ("columns", str),
    "--output": ("output", Path),
    "-o": ("output", Path),
}


def asked(words: Sequence[str]) -> dict[str, Any] | None:
    """Read the words after `molsig` as arguments of `ask`; None where typer has to read them."""
    if words[:1] != ["query"]:
        return None
    read: dict[str, Any] = {}
    places = []
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-"):
            places.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag in _SWITCHES and not equals:
            read[_SWITCHES[flag]] = True
            continue
        if not equals:
            value = next(rest, "")
        elif not flag.startswith("--"):
            return None
        # Nothing, or what looks like another flag: a slip, as likely as not.
        if not value or value.startswith("-"):
            return None
        if flag in _REPEATED:
            read.setdefault(_REPEATED[flag], []).append(value)
        elif flag in _SINGLE:
            name, convert = _SINGLE[flag]
            if (converted := convert(value)) is None:
                return None
            read[name] = converted
        else:
            return None
    place = places or [os.environ.get("MOLSIG_REFERENCE", "")]
    if len(place) != 1 or not place[0] or "patient" not in read:
        return None
    return {"reference": Path(place[0]), **read}
