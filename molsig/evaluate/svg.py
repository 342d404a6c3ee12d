"""Charts as inline SVG text: lines with intervals, dots on a scale, a matrix. No library, no script, no outside link.

Colours are those of M. Okabe and K. Ito, which colour-blind readers can tell apart; line style and marker differ too,
so that a grey print serves as well. Text takes its font from the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#8c6d00")
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_CHARACTER = 6.6
"""Width of a character of a label in pixels, roughly: legends are wrapped by it."""
LEFT, RIGHT, TOP, BOTTOM = 50.0, 14.0, 10.0, 42.0


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points from left to right, with the ends of their intervals where they have some."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Dots:
    """One row of a dot chart: a figure with its interval, and marks to compare it with."""

    name: str
    value: float
    low: float
    high: float
    marks: tuple[float, ...]


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    size: tuple[float, float] = (440.0, 330.0),
) -> str:
    """A line chart; `diagonal` draws where y equals x. The y axis spans the data unless `y_range` says otherwise."""
    width, height = size
    every = [v for one in series for v in (*one.y, *one.low, *one.high)]
    low, high = y_range or (min(every, default=0.0), max(every, default=1.0))
    y_ticks = ticks(low, high)
    bottom, top = (low, high) if y_range else (min(low, y_ticks[0]), max(high, y_ticks[-1]))
    legend, legend_height = _legend([(one.name, i) for i, one in enumerate(series)], width)
    head = TOP + legend_height

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (min(max(y, bottom), top) - bottom) / ((top - bottom) or 1.0)
        return LEFT + across * (width - LEFT - RIGHT), height - BOTTOM - up * (height - BOTTOM - head)

    parts = [legend]
    for tick in y_ticks:
        _, y = at(x_range[0], tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(number(tick), LEFT - 6, y + 4, "end"))
    for tick in ticks(*x_range):
        x, _ = at(tick, bottom)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{height - BOTTOM}" y2="{height - BOTTOM + 4}"/>'
        )
        parts.append(_text(number(tick), x, height - BOTTOM + 17, "middle"))
    floor = height - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{floor}" y2="{floor}"/>')
    if diagonal:
        low_end, high_end = max(x_range[0], bottom), min(x_range[1], top)
        (x1, y1), (x2, y2) = at(low_end, low_end), at(high_end, high_end)
        parts.append(f'<line class="ideal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for i, one in enumerate(series):
        if one.low:
            edge = [*(at(x, y) for x, y in zip(one.x, one.high, strict=True))]
            edge += reversed([at(x, y) for x, y in zip(one.x, one.low, strict=True)])
            parts.append(f'<polygon points="{_points(edge)}" fill="{_colour(i)}" opacity=".16"/>')
        path = [at(x, y) for x, y in zip(one.x, one.y, strict=True)]
        parts.append(_polyline(path, i))
        parts += [_marker(x, y, i) for x, y in path]
    parts.append(_text(x_label, (LEFT + width - RIGHT) / 2, height - 6, "middle", "name"))
    middle = (head + height - BOTTOM) / 2
    parts.append(
        f'<text class="name" text-anchor="middle" transform="translate(13 {middle:.1f}) rotate(-90)">'
        f"{escape(y_label)}</text>"
    )
    return _svg(title, width, height, parts)


def dots(
    title: str,
    rows: Sequence[Dots],
    x_label: str,
    figure: str,
    marks: Sequence[str],
    *,
    x_range: tuple[float, float] = (0.0, 1.0),
    width: float = 900.0,
) -> str:
    """One row per figure: a dot with its interval on a common scale, and marks beside it, named by `marks`."""
    left = 14 + _CHARACTER * max((len(row.name) for row in rows), default=0)
    legend, legend_height = _legend([(figure, 0), *((name, i + 1) for i, name in enumerate(marks))], width, line=False)
    head, step = TOP + legend_height + 6, 24.0
    height = head + step * len(rows) + BOTTOM

    def at(x: float) -> float:
        return left + (min(max(x, x_range[0]), x_range[1]) - x_range[0]) / (x_range[1] - x_range[0]) * (
            width - left - RIGHT
        )

    parts = [legend]
    for tick in ticks(*x_range):
        x = at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{head}" y2="{height - BOTTOM}"/>')
        parts.append(_text(number(tick), x, height - BOTTOM + 17, "middle"))
    for i, row in enumerate(rows):
        y = head + step * (i + 0.5)
        parts.append(_text(row.name, left - 8, y + 4, "end"))
        parts += [_marker(at(mark), y, j + 1, 5.0) for j, mark in enumerate(row.marks)]
        parts.append(
            f'<line x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="{y}" y2="{y}" stroke="{COLOURS[0]}" '
            'stroke-width="2.5"/>'
        )
        parts.append(_marker(at(row.value), y, 0, 5.0))
    parts.append(_text(x_label, (left + width - RIGHT) / 2, height - 6, "middle", "name"))
    return _svg(title, width, height, parts)


def matrix(title: str, names: Sequence[str], columns: Sequence[str], table: Sequence[Sequence[int]]) -> str:
    """Counts as a shaded matrix: the shade is the share of the row, the number the count; `names` head the rows."""
    cell = 32.0
    left = 14 + _CHARACTER * max((len(name) for name in names), default=0)
    head = 18 + _CHARACTER * max((len(name) for name in columns), default=0)
    width, height = left + cell * len(columns) + RIGHT, head + cell * len(names) + 10
    parts = []
    for j, name in enumerate(columns):
        parts.append(
            f'<text transform="translate({left + cell * (j + 0.5) + 4:.1f} {head - 7:.1f}) rotate(-90)">'
            f"{escape(name)}</text>"
        )
    for i, (name, row) in enumerate(zip(names, table, strict=True)):
        y = head + cell * i
        parts.append(_text(name, left - 8, y + cell / 2 + 4, "end"))
        whole = sum(row) or 1
        for j, count in enumerate(row):
            share, x = count / whole, left + cell * j
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1}" height="{cell - 1}" fill="{_shade(share)}">'
                f"<title>{escape(name)} called {escape(columns[j])}: {count:,} ({share:.1%})</title></rect>"
            )
            if count:
                ink = "#fff" if share > 0.35 else "#1c2430"
                parts.append(
                    f'<text class="count" text-anchor="middle" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" '
                    f'style="fill:{ink}">{count:,}</text>'
                )
    return _svg(title, width, height, parts)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, about as many as asked for: steps of 1, 2 or 5 of a power of ten."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def number(value: float) -> str:
    """A figure without trailing zeros, thousands parted."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def _legend(names: Sequence[tuple[str, int]], width: float, *, line: bool = True) -> tuple[str, float]:
    """Names with their line or marker, wrapped to the width, and the height they take."""
    parts, x, row = [], LEFT, 0
    for name, i in names:
        need = 34 + _CHARACTER * len(name)
        if x > LEFT and x + need > width - RIGHT:
            x, row = LEFT, row + 1
        y = TOP + 8 + 18 * row
        if line:
            parts.append(_polyline([(x, y), (x + 22, y)], i))
        parts.append(_marker(x + 11, y, i))
        parts.append(_text(name, x + 28, y + 4, "start"))
        x += need + 10
    return "".join(parts), 18.0 * (row + 1) + 6


def _text(words: str, x: float, y: float, anchor: str, kind: str = "") -> str:
    of = f' class="{kind}"' if kind else ""
    return f'<text{of} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _polyline(points: Sequence[tuple[float, float]], i: int) -> str:
    dash = f' stroke-dasharray="{_DASHES[i % len(_DASHES)]}"' if i % len(_DASHES) else ""
    return f'<polyline points="{_points(points)}" fill="none" stroke="{_colour(i)}" stroke-width="2"{dash}/>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _marker(x: float, y: float, i: int, r: float = 3.4) -> str:
    """A circle, square, diamond or triangle."""
    colour, shape = _colour(i), i % 4
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'
    if shape == 1:
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}" fill="{colour}"/>'
    reach = 1.35 * r
    corners = (
        [(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)]
        if shape == 2
        else [(x, y - reach), (x + reach, y + r), (x - reach, y + r)]
    )
    return f'<polygon points="{_points(corners)}" fill="{colour}"/>'


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _shade(share: float) -> str:
    """White to blue; a square root lifts the small shares, which are the errors one looks for."""
    depth = math.sqrt(share)
    return "#" + "".join(
        f"{round(255 + (end - 255) * depth):02x}" for end in (int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5))
    )
