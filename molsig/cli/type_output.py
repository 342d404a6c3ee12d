"""Typings as tables for a terminal, or in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molsig.cli.output import print_table, save_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from molsig.retrieval.type_answer import TypeScore, Typing

SURE = 0.995


def print_typing(one: Typing, top: int) -> None:
    """The types as a table, with what they are worth below."""
    from molsig.retrieval.type_answer import said_of_fit, said_of_temperature

    print_table(
        f"{one.query} ({' + '.join(one.modalities)}): {_said(one)}", [_row(t, one.modalities) for t in one.types[:top]]
    )
    if left := one.types[top:]:
        print(f"  and {len(left)} more types, together {sum(t.probability for t in left):.3f}")
    print(f"  {said_of_fit(one.fit)}")
    print(f"  {said_of_temperature(one.temperature)}")
    if one.choices:
        print(f"  choice: one example a type, {one.choices:,} choices; called: share of all choices that call the type")
    for line in one.notes:
        print(f"  note: {line}")
    print(
        f"  {sum(t.samples for t in one.types):,} samples of {len(one.types)} types compared by fusion {one.fusion} "
        f"({one.similarity})\n"
    )


def _said(one: Typing) -> str:
    best = one.types[0]
    sure = f">{SURE - 0.005:.2f}" if best.probability > SURE else f"{best.probability:.2f}"
    if one.fit.none:
        return f"none of these types (nearest {best.type})"
    return f"{best.type}, probability {sure}"


def _row(one: TypeScore, modalities: Sequence[str]) -> dict[str, object]:
    spread = one.spread
    row: dict[str, object] = {
        "type": one.type,
        "probability": round(one.probability, 3),
        "by": one.support,
        "similarity": round(one.similarity, 3),
        "samples": one.samples,
    }
    for modality in modalities:
        cosine = one.modalities.get(modality)
        row[f"cos_{modality}"] = None if cosine is None else round(cosine, 3)
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
