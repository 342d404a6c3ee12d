"""Pictures of an explanation as SVG text: evidence by modality, and what features contribute beside their values."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from molsig.evaluate.svg import COLOURS, _marker, _svg, _text, number, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.retrieval.explanation import Feature, Features, Shared

FOR, AGAINST = COLOURS[2], COLOURS[1]
QUERY, HIT = 0, 3
"""Marker and colour of either patient: a circle and a triangle, told apart in grey print too."""
_ROW, _CHARACTER = 21.0, 6.9
_BARS, _VALUES, _GAP = 300.0, 250.0, 40.0
_FOOT = 46.0
CLIP = 5.0
"""Standard deviations at which an encoder cuts values off."""


def evidence(shared: Sequence[Shared]) -> str:
    """Bars of nats, one a modality."""
    told = [one for one in shared if one.nats is not None]
    values = [one.nats or 0.0 for one in told]
    names = [one.modality for one in told]
    marks = ticks(min(0.0, *values), max(0.0, *values))
    left, head, width = 18 + _CHARACTER * max(map(len, names)), 8.0, 640.0
    across = _Scale(marks[0], marks[-1], left, width - 60)
    floor = head + _ROW * len(told)
    parts = [*_grid(across, marks, head, floor), _zero(across, head, floor)]
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        y = head + _ROW * place
        parts.append(_text(name, left - 8, y + 15, "end"))
        parts.append(_bar(across, value, y, f"{name}: {value:+.2f} nats"))
        parts.append(_text(f"{value:+.2f}", across(max(value, 0.0)) + 6, y + 15, "start"))
    parts.append(_text("nats of evidence that both are of one type", across.middle, floor + 38, "middle", "name"))
    return _svg("Evidence by modality", width, floor + _FOOT, parts)


def contributions(of: Features, query: str, hit: str) -> str:
    """A bar for what each feature contributes, and beside it the values of both patients."""
    rows = (*of.speak_for, *of.against)
    binary = of.binary
    ends = [0.0, *(row.contribution for row in rows)]
    marks = ticks(min(ends), max(ends), 5)
    left, head = 18 + _CHARACTER * max((len(row.name) for row in rows), default=4), 30.0
    bars = _Scale(marks[0], marks[-1], left, left + _BARS)
    floor = head + _ROW * len(rows)
    start = left + _BARS + _GAP
    scale = range(2) if binary else range(-int(CLIP), int(CLIP) + 1)
    values = _Scale(scale[0], scale[-1], start + 14, start + (90 if binary else _VALUES) - 14)
    parts = [*_grid(bars, marks, head, floor), _zero(bars, head, floor)]
    if binary:
        parts += [_text(word, values(at), floor + 17, "middle") for at, word in ((0, "no"), (1, "yes"))]
    else:
        parts += [*_grid(values, scale, head, floor), _zero(values, head, floor)]
    for place, row in enumerate(rows):
        y = head + _ROW * place
        parts.append(_text(row.name, left - 8, y + 15, "end"))
        parts.append(_bar(bars, row.contribution, y, f"{row.name}: {row.contribution:+.3f}"))
        parts += _both(row, values, y + _ROW / 2, binary)
    parts += _names(query, hit, left)
    parts.append(_text("contribution to the likeness", bars.middle, floor + 38, "middle", "name"))
    unit = "mutated" if binary else of.unit
    parts.append(_text(unit, values.middle, floor + 38, "middle", "name"))
    width = values.end + 30 + max(0.0, 3.3 * len(unit) - (values.end - values.start) / 2)
    return _svg("Contributions of features", max(width, left + 420), floor + _FOOT, parts)


def _names(query: str, hit: str, left: float) -> list[str]:
    """Whose marker is which."""
    second = left + 34 + _CHARACTER * len(query)
    return [
        _marker(left + 6, 12, QUERY, 4.5),
        _text(query, left + 16, 16, "start"),
        _marker(second, 12, HIT, 4.5),
        _text(hit, second + 10, 16, "start"),
    ]


def _both(row: Feature, values: _Scale, y: float, binary: bool) -> list[str]:
    """The two patients' values, joined by a line where there are two."""
    known = [(mark, value) for mark, value in ((QUERY, row.query), (HIT, row.hit)) if value is not None]
    parts = []
    if len(known) == 2:
        ends = (values(known[0][1]), values(known[1][1]))
        parts.append(f'<line class="axis" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    apart = 3.5 if len(known) == 2 and abs(known[0][1] - known[1][1]) < (0.5 if binary else 0.25) else 0.0
    for side, (mark, value) in zip((-1, 1), known, strict=False):
        said = ("mutated" if value else "not mutated") if binary else f"{value:+.2f}"
        often = "" if row.frequency is None else f", mutated in {row.frequency:.1%} of the file's samples"
        drawn = _marker(values(value), y + side * apart, mark, 4.5)
        parts.append(f"<g><title>{escape(row.name)}: {said}{often}</title>{drawn}</g>")
    return parts


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    def __call__(self, value: float) -> float:
        share = min(max((value - self.low) / ((self.high - self.low) or 1.0), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


def _grid(scale: _Scale, marks: Sequence[float], head: float, floor: float) -> list[str]:
    parts = []
    for mark in marks:
        x = scale(mark)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{head}" y2="{floor}"/>')
        parts.append(_text(number(mark), x, floor + 17, "middle"))
    return parts


def _zero(scale: _Scale, head: float, floor: float) -> str:
    return f'<line class="axis" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="{head}" y2="{floor}"/>'


def _bar(scale: _Scale, value: float, y: float, said: str) -> str:
    first, last = sorted((scale(0), scale(value)))
    colour = FOR if value >= 0 else AGAINST
    return (
        f'<rect x="{first:.1f}" y="{y + 3:.1f}" width="{max(last - first, 0.8):.1f}" height="{_ROW - 6}" '
        f'fill="{colour}"><title>{escape(said)}</title></rect>'
    )
