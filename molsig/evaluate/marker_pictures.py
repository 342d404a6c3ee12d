"""Pictures of markers as SVG text: samples on a plane, features by types, accuracy against how many features."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.svg import COLOURS, Series, _svg, _text, lines, number, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_WARM, _COLD = (213, 94, 0), (0, 114, 178)
"""Above and below the mean."""
POINTS_OF_TYPE = 60
"""Samples of a type on the plane."""
DEEPEST = 2.0
"""Standard deviations at which a colour of the heat map is full."""

FONT = "svg{font:12px system-ui,sans-serif;background:#fff}text{fill:#1c2430}.grid{stroke:#e3e7ed}.axis{stroke:#7b8794}"


def standing_alone(picture: str) -> str:
    """An SVG picture as a file of its own."""
    return picture.replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    ).replace("</title>", f"</title><style>{FONT}</style>", 1)  # fmt: skip


def on_a_plane(title: str, x: NDArray[np.floating], types: NDArray[np.str_], *, seed: int) -> str:
    """At most `POINTS_OF_TYPE` samples of each type by t-SNE; `{}` in the title becomes how many they are."""
    random = np.random.default_rng(seed)
    some = np.concatenate(
        [random.permutation(np.flatnonzero(types == one))[:POINTS_OF_TYPE] for one in np.unique(types)]
    )
    return plane(title.format(f"{len(some):,}"), tsne(x[some], seed=seed), types[some].tolist())


def by_type(
    title: str, features: Sequence[str], names: Sequence[str], x: NDArray[np.floating], types: NDArray[np.str_]
) -> str:
    """Heat map of the mean of each feature (columns of `x`) over the samples of each of some types."""
    means = np.stack([x[types == name].mean(axis=0, dtype=np.float64) for name in names], axis=1)
    return heat_map(title, features, names, means)


def plane(title: str, points: Array, types: Sequence[str], *, size: float = 640.0) -> str:
    """Samples on a plane (n, 2), coloured and shaped by type; a type's name stands at its median."""
    names = sorted(set(types))
    low, high = points.min(axis=0), points.max(axis=0)
    edge = 26.0
    at = edge + (points - low) / np.maximum(high - low, 1e-9) * (size - 2 * edge)
    at[:, 1] = size - at[:, 1]
    kind = np.asarray(types)
    parts = []
    for i, name in enumerate(names):
        some = at[kind == name]
        marks = "".join(_mark(x, y, i) for x, y in some.tolist())
        parts.append(
            f'<g fill="{COLOURS[i % len(COLOURS)]}" fill-opacity=".65"><title>{escape(name)}</title>{marks}</g>'
        )
    tags = _apart([(name, *np.median(at[kind == name], axis=0).tolist()) for name in names])
    halo = 'style="paint-order:stroke;stroke:#fff;stroke-width:3px;font-weight:600"'
    parts += [
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" {halo}>{escape(name)}</text>' for name, x, y in tags
    ]
    return _svg(title, size, size, parts)


def _apart(tags: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Names moved down until none lies over another."""
    placed: list[tuple[str, float, float]] = []
    for name, x, y in sorted(tags, key=lambda tag: tag[2]):
        wide = 3.6 * len(name)
        while any(abs(x - px) < wide + 3.6 * len(other) and abs(y - py) < 13 for other, px, py in placed):
            y += 3
        placed.append((name, x, y))
    return placed


def _mark(x: float, y: float, i: int) -> str:
    """Shape changes after every round of colours, so that 32 types differ."""
    shape = i // len(COLOURS) % 4
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
    if shape == 1:
        return f'<rect x="{x - 2.3:.1f}" y="{y - 2.3:.1f}" width="4.6" height="4.6"/>'
    if shape == 2:
        return f'<path d="M{x:.1f} {y - 3.4:.1f}l3 5.4h-6z"/>'
    return f'<path d="M{x:.1f} {y - 3.6:.1f}l3.4 3.6l-3.4 3.6l-3.4 -3.6z"/>'


def heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    table: Array,
    *,
    deepest: float = DEEPEST,
    unit: str = "sd from the mean",
    ordered: bool = False,
) -> str:
    """Signed values, features in rows and types in columns, both in an order that puts like beside like.

    Parameters
    ----------
    deepest, unit
        Value at which a colour is full, and what values are counted in.
    ordered
        They are in the order that is wanted.
    """
    order, across = (
        (list(range(len(rows))), list(range(len(columns))))
        if ordered
        else (like_beside_like(table), like_beside_like(table.T))
    )
    tall, wide = 13.0, 24.0
    left = 16 + 6.9 * max(map(len, rows))
    head = 16 + 6.2 * max(map(len, columns))
    width, height = max(left + wide * len(columns) + 16, left + 330), head + tall * len(rows) + 40
    parts = []
    for j, column in enumerate(across):
        x = left + wide * (j + 0.5) + 4
        parts.append(
            f'<text transform="translate({x:.1f} {head - 6:.1f}) rotate(-90)">{escape(columns[column])}</text>'
        )
    for i, row in enumerate(order):
        y = head + tall * i
        parts.append(_text(rows[row], left - 6, y + 10, "end"))
        for j, column in enumerate(across):
            value = float(table[row, column])
            said = f"{escape(rows[row])}, {escape(columns[column])}: {value:+.2f}"
            parts.append(
                f'<rect x="{left + wide * j:.1f}" y="{y:.1f}" width="{wide - 0.6}" height="{tall - 0.6}" '
                f'fill="{shade(value / deepest)}"><title>{said}</title></rect>'
            )
    foot = head + tall * len(rows) + 12
    for k, value in enumerate(np.linspace(-deepest, deepest, 9).tolist()):
        parts.append(
            f'<rect x="{left + 16 * k:.1f}" y="{foot:.1f}" width="16" height="10" fill="{shade(value / deepest)}"/>'
        )
    parts.append(_text(f"-{number(deepest)} to {number(deepest)} {unit}", left + 152, foot + 9, "start"))
    return _svg(title, width, height, parts)


def like_beside_like(table: Array) -> list[int]:
    """Order of the rows by average linkage of their correlation, leaves in their best order."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(table) < 3:
        return list(range(len(table)))
    centred = table - table.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    order: list[int] = leaves_list(linkage(unit, "average", optimal_ordering=True)).tolist()
    return order


def shade(value: float) -> str:
    """From cold, at -1 and below, over white to warm, at 1 and above."""
    depth = min(abs(value), 1.0)
    end = _WARM if value > 0 else _COLD
    return "#" + "".join(f"{round(255 + (one - 255) * depth):02x}" for one in end)


def curve(title: str, series: dict[str, tuple[Sequence[int], Sequence[float]]]) -> str:
    """Accuracy against the number of features, evenly spaced in its logarithm."""
    drawn = [
        Series(name, tuple(float(np.log10(n)) for n in sizes), tuple(values))
        for name, (sizes, values) in series.items()
    ]
    every = [x for one in drawn for x in one.x]
    low, high = np.floor(min(every) * 2) / 2, max(every)
    return lines(title, drawn, "log10 of the number of features", "accuracy of 1-NN, one shot", x_range=(low, high))


def volcano(title: str, names: Sequence[str], difference: Array, q: Array, unit: str, *, named: int = 12) -> str:
    """Features by their difference and -log10 q; those of the smallest q are named, of q above .05 pale."""
    width, height, left, foot, head = 640.0, 460.0, 54.0, 44.0, 16.0
    up = -np.log10(np.maximum(q, 1e-300))
    reach = max(float(np.abs(difference).max()) * 1.08, 1e-9)
    across, tall = ticks(-reach, reach), ticks(0.0, max(float(up.max()), 1.5))
    wide, top = max(-across[0], across[-1]), tall[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x + wide) / (2 * wide) * (width - left - 14),
            height - foot - y / top * (height - foot - head),
        )

    parts = []
    for tick in tall:
        _, y = at(0, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 14}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(number(tick), left - 6, y + 4, "end"))
    for tick in across:
        x, _ = at(tick, 0)
        parts.append(_text(number(tick), x, height - foot + 17, "middle"))
    middle, floor = at(0, 0)
    parts.append(f'<line class="axis" x1="{left}" x2="{width - 14}" y1="{floor:.1f}" y2="{floor:.1f}"/>')
    parts.append(f'<line class="axis" x1="{middle:.1f}" x2="{middle:.1f}" y1="{head}" y2="{floor:.1f}"/>')
    first = np.argsort(q, kind="stable")[:named].tolist()
    tags = []
    for place in np.argsort(-q, kind="stable").tolist():
        x, y = at(float(difference[place]), float(up[place]))
        told = q[place] < 0.05
        ink = (COLOURS[1] if difference[place] > 0 else COLOURS[0]) if told else "#b5bdc8"
        said = f"{escape(names[place])}: {difference[place]:+.2f}, q {q[place]:.1e}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ink}" fill-opacity=".75"><title>{said}</title></circle>'
        )
        if told and place in first:
            tags.append((names[place], x, y))
    for name, x, y in _apart([(name, x, y - 8) for name, x, y in tags]):
        # Where points crowd near the floor their names would run over the axis; hovering tells them.
        if y < floor - 24:
            parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" '
                f'style="paint-order:stroke;stroke:#fff;stroke-width:3px">{escape(name)}</text>'
            )
    parts.append(_text(f"difference, {unit}", (left + width) / 2, height - 8, "middle", "name"))
    parts.append(
        f'<text class="name" text-anchor="middle" transform="translate(14 {height / 2}) rotate(-90)">-log10 q</text>'
    )
    return _svg(title, width, height, parts)


def tsne(x: NDArray[np.floating], *, seed: int = 0) -> Array:
    """Two coordinates of each row by t-SNE on cosine distances, started from the principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    data = np.asarray(x, dtype=np.float64)
    unit = data / np.maximum(np.linalg.norm(data, axis=1, keepdims=True), 1e-9)
    start = PCA(min(2, *unit.shape), random_state=seed, svd_solver="full").fit_transform(unit)
    # One feature spans a line.
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    perplexity = float(min(30, max(2, (len(data) - 1) // 4)))
    return np.asarray(
        TSNE(2, init=start, perplexity=perplexity, random_state=seed).fit_transform(unit), dtype=np.float64
    )
