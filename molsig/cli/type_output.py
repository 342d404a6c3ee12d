"""Typings as tables for a terminal, or in a file."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from molsig.cli.output import print_table, save_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molsig.retrieval.type_answer import TypeScore, Typing

SURE = 0.995
MANY = 10
"""Answers up to which each has a table of its own."""


def print_typings(found: Sequence[Typing], top: int) -> None:
    """Few answers as a table of types each, many as one table; what holds for all of them is said once, at the end."""
    from molsig.retrieval.type_answer import said_of_source

    shared = [line for line in _lines(found[0]) if all(line in _lines(one) for one in found[1:])]
    if len(found) > MANY:
        print_table(_summary(found), [_called(one) for one in found])
        # What is said of some of them, by name, is said of how many; of choices only the table of one answer tells.
        said = Counter(
            re.sub(rf"(?<!\w){re.escape(one.query)}(?!\w)", "it", line)
            for one in found
            for line in (said_of_source(one.fit), *_lines(one))
            if line not in shared and not line.startswith("choice: ")
        )
        for line, n in said.most_common():
            of = "" if n == len(found) else f"{n:,} of {len(found):,}: "
            print(f"  {of}{line.removeprefix('note: ')}")
    else:
        for one in found:
            _print(one, top, shared)
    for line in shared:
        # Of choices only the table of one answer tells.
        if len(found) <= MANY or not line.startswith("choice: "):
            print(f"  {line}")
    print()


def _print(one: Typing, top: int, shared: Sequence[str]) -> None:
    """The types as a table, with what they are worth below."""
    from molsig.retrieval.type_answer import said_of_fit

    print_table(f"{one.query} ({' + '.join(one.modalities)}): {_said(one)}", [_row(t, one) for t in one.types[:top]])
    if left := one.types[top:]:
        print(f"  and {len(left)} more types, together {_probability(sum(t.probability for t in left))}")
    print(f"  {said_of_fit(one.fit)}")
    for line in _lines(one):
        if line not in shared:
            print(f"  {line}")
    print()


def _lines(one: Typing) -> list[str]:
    """What is said below a table and may hold for other answers too."""
    from molsig.retrieval.type_answer import said_of_temperature

    return [
        said_of_temperature(one.temperature),
        *(
            [f"choice: one example a type, {one.choices:,} choices; called: share of all choices that call the type"]
            if one.choices
            else []
        ),
        *(f"note: {line}" for line in one.notes),
        f"{sum(t.samples for t in one.types):,} samples of {len(one.types)} types",
        f"compared by fusion {one.fusion} ({one.similarity})",
    ]


def _summary(found: Sequence[Typing]) -> str:
    """How many samples were called what."""
    calls = Counter(one.type or "none of these" for one in found)
    return f"{len(found):,} samples: {', '.join(f'{n:,} {name}' for name, n in calls.most_common())}"


def _called(one: Typing) -> dict[str, object]:
    best, others = one.types[0], one.types[1:]
    return {
        "sample": one.query,
        "type": one.type or "none of these",
        "nearest": best.type,
        "probability": _probability(best.probability),
        "by": best.support,
        "similarity": f"{best.similarity:.3f}",
        "fits better than": "" if one.fit.p_value is None else f"{one.fit.p_value:.1%}",
        "next": f"{others[0].type} {_probability(others[0].probability)}" if others else "",
    }


def _said(one: Typing) -> str:
    best = one.types[0]
    sure = f">{SURE - 0.005:.2f}" if best.probability > SURE else f"{best.probability:.2f}"
    if one.fit.none:
        return f"none of these types (nearest {best.type})"
    return f"{best.type}, probability {sure}"


def _probability(value: float) -> str:
    """Three decimals; never 0 or 1, which no probability is."""
    if value > 0.9995:
        return ">0.999"
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def _row(type_: TypeScore, one: Typing) -> dict[str, object]:
    spread = type_.spread
    row: dict[str, object] = {
        "type": type_.type,
        "probability": _probability(type_.probability),
        "by": type_.support,
        "similarity": f"{type_.similarity:.3f}",
        "samples": type_.samples,
    }
    # Of one modality the cosine may be the similarity itself.
    for modality in one.modalities if one.similarity != "cosine" else ():
        cosine = type_.modalities.get(modality)
        row[f"cos_{modality}"] = "" if cosine is None else f"{cosine:.3f}"
    if spread is not None:
        row |= {
            "choice": f"{spread.mean:.2f} ± {spread.sd:.2f}",
            "5-95 %": f"{spread.low:.2f}-{spread.high:.2f}",
            "called": f"{spread.share:.1%}",
        }
    return row


def save_typings(found: Sequence[Typing], path: Path) -> None:
    """Write answers in the format that the ending of `path` names."""
    from molsig.retrieval.type_answer import documents, page

    save_as(path, lambda: documents(found), lambda: page(found), (one.rows() for one in found))
