"""Tables of an evaluation's page: figures by the assays patients have, and method against method."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from molsig.evaluate.bootstrap import Figure
    from molsig.evaluate.report import Comparison, Evaluation, Part

FEWEST_BY_ASSAYS = 20
"""Sets of assays with fewer patients are left to the JSON document."""
SHOWN = (("p@10", "P@10"), ("vote@10", "Vote of 10"))
"""Figures of these tables."""


def by_assays(found: Evaluation, scheme: str, told: str) -> str:
    """Figures of each method for each set of assays; `told` says the scheme in words."""
    out = []
    for missing in found.settings.missing:
        parts = [part for method in found.methods if (part := found.part(scheme, method, missing))]
        for figure, name in SHOWN:
            rows = _by_assays_table(parts, figure)
            shown = " open" if missing == found.settings.missing[0] else ""
            out.append(
                f"<details{shown}><summary>{name}, {missing:.0%} of the assays taken away</summary>{rows}</details>"
            )
    return (
        f"<p>With {told}. Within a row all methods are asked about the same patients; bold is the "
        f"best of a row. Rows with fewer than {FEWEST_BY_ASSAYS} patients are in the JSON document.</p>{''.join(out)}"
    )


def comparisons(found: Evaluation, scheme: str, told: str) -> str:
    """What the first method gains over each of the others; `told` says the scheme in words."""
    first = found.methods[0]
    out = []
    for missing in found.settings.missing:
        some = [one for one in found.comparisons if (one.scheme, one.missing) == (scheme, missing)]
        rivals = list(dict.fromkeys(one.rival for one in some))
        by = {(one.assays, one.rival): one for one in some if one.patients >= FEWEST_BY_ASSAYS}
        for figure, name in SHOWN:
            body = [
                f"<tr><td>{escape(word)}</td>{''.join(_difference(by.get((word, r)), figure) for r in rivals)}</tr>"
                for word in dict.fromkeys(word for word, _ in by)
            ]
            heading = f"{name}, {missing:.0%} of the assays taken away"
            shown = " open" if missing == found.settings.missing[0] else ""
            differences = table(["assays", *(f"less {rival}" for rival in rivals)], body)
            out.append(f"<details{shown}><summary>{heading}</summary>{differences}</details>")
    return (
        f"<p>What {escape(first)} gains over each other method on the patients that both were asked about, with "
        f"{told}. The interval is that of the difference, patient by patient; &#9650; and &#9660; mark "
        f"those that leave out zero.</p>{''.join(out)}"
    )


def _by_assays_table(parts: Sequence[Part], figure: str) -> str:
    words = dict.fromkeys(word for part in parts for word in part.by_assays)
    body = []
    for word in words:
        held = [part.by_assays.get(word) for part in parts]
        n = max(one.patients for one in held if one is not None)
        if n < FEWEST_BY_ASSAYS:
            continue
        best = max(one.figures[figure].value or 0.0 for one in held if one is not None)
        cells = [
            "<td></td>" if one is None else cell(one.figures[figure], one.figures[figure].value == best) for one in held
        ]
        body.append(f"<tr><td>{escape(word)}</td><td>{n:,}</td>{''.join(cells)}</tr>")
    return table(["assays", "patients", *(part.method for part in parts)], body)


def _difference(one: Comparison | None, figure: str) -> str:
    if one is None:
        return "<td></td>"
    f = one.differences[figure]
    value, low, high = f.value or 0.0, f.low or 0.0, f.high or 0.0
    mark = "&#9650; " if low > 0 else "&#9660; " if high < 0 else ""
    return f"<td>{mark}{value:+.3f}<small>{low:+.3f} to {high:+.3f}; {one.patients:,}</small></td>"


def cell(figure: Figure, bold: bool = False) -> str:
    """A cell with the value and, below it, its interval."""
    value = f"<b>{number(figure.value)}</b>" if bold else number(figure.value)
    interval = "" if figure.low is None else f"<small>{number(figure.low)} to {number(figure.high)}</small>"
    return f"<td>{value}{interval}</td>"


def number(value: float | None) -> str:
    """Three decimals; nothing for what is not defined."""
    return "" if value is None else f"{value:.3f}"


def table(head: Iterable[str], body: Sequence[str]) -> str:
    """A table that scrolls sideways where it is wider than the page; `body` holds whole rows."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
