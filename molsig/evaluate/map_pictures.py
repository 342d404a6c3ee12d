"""A map as SVG: where tumours and normals live, which labels, how far nodes lie from their neighbours."""

from __future__ import annotations

import colorsys
import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.svg import COLOURS, _svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.reference.map_report import MapReport
    from molsig.retrieval.landing import Landing

    Array = NDArray[np.float64]

SIDE = 430.0
"""Width of a picture in pixels."""
STAR = 9.0
WARM, COLD, GREY = (213, 94, 0), (0, 114, 178), (45, 52, 62)
NAMED = 4
"""Nodes of a label from which on its name is written on the map."""
FONT = (
    "text{font:11px system-ui,sans-serif;fill:#1c2430}.cell{stroke:#eef1f5;stroke-width:.6}"
    ".name{font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:3px}.title{font-size:14px;font-weight:600}"
)


def palette(names: Sequence[str]) -> dict[str, str]:
    """A colour for each label: those of Okabe and Ito first, then hues a golden angle apart, darker and lighter."""
    found = {}
    for place, name in enumerate(names):
        if place < len(COLOURS):
            found[name] = COLOURS[place]
            continue
        hue, light = (0.08 + 0.618034 * place) % 1.0, (0.36, 0.52, 0.66)[place % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.62)
        found[name] = "#" + "".join(f"{round(255 * one):02x}" for one in (red, green, blue))
    return found


def pictures(report: MapReport) -> dict[str, str]:
    """The four pictures of a map by their names: ``neoplastic``, ``normal``, ``labels``, ``ridges``."""
    rows, columns = report.encoder.lattice
    living = report.living(report.types)
    colours = palette(living.names)
    tumours = report.living(["neoplastic" if one else "normal" for one in report.neoplastic])
    drawn = {}
    for name, colour in (("neoplastic", WARM), ("normal", COLD)):
        counts = tumours.counts[:, tumours.names.index(name)] if name in tumours.names else np.zeros(rows * columns)
        said = [f"{int(n):,} {name}" for n in counts]
        drawn[name] = shaded(
            "Neoplastic samples" if name == "neoplastic" else "Non-neoplastic samples",
            np.sqrt(counts).reshape(rows, columns),
            colour,
            said,
            report.landings,
        )
    drawn["labels"] = labelled(report, colours)
    ridges = report.encoder.u_matrix()
    drawn["ridges"] = shaded(
        "Distance to neighbouring nodes (U-matrix)",
        ridges - ridges.min(),
        GREY,
        [f"mean distance {one:.2f}" for one in ridges.ravel()],
        report.landings,
    )
    return drawn


def shaded(
    title: str, depth: Array, colour: tuple[int, int, int], said: Sequence[str], stars: Sequence[Landing]
) -> str:
    """Nodes shaded from white, at 0, to a colour, at the largest."""
    most = float(depth.max()) or 1.0
    cells = []
    rows, columns = depth.shape
    step = SIDE / columns
    for node, value in enumerate(depth.ravel().tolist()):
        shade = "#" + "".join(f"{round(255 + (end - 255) * value / most):02x}" for end in colour)
        cells.append(_cell(node, columns, step, shade, f"[{node // columns}, {node % columns}]: {said[node]}"))
    return _svg(title, SIDE, step * rows, [*cells, *_stars(stars, step)])


def labelled(report: MapReport, colours: Mapping[str, str]) -> str:
    """Each node with the label of its majority: a square of its neoplastic samples, a circle of the others.

    The larger, the more samples; of a node whose two commonest labels are equally many nothing is drawn.
    """
    rows, columns = report.encoder.lattice
    step = SIDE / columns
    labels = report.living(report.types).labels()
    living = report.living(report.classes())
    size = {name: place for place, name in enumerate(living.names)}
    most = math.sqrt(float(living.counts.max(initial=1)))
    cells, marks = [], []
    spots: dict[str, list[tuple[float, float]]] = {}
    for node in range(rows * columns):
        members = living.members(node)
        told = ", ".join(f"{n} {name}" for name, n in list(members.items())[:4]) or "nobody"
        cells.append(_cell(node, columns, step, "#fff", f"[{node // columns}, {node % columns}]: {told}"))
        label = labels[node]
        if label is None:
            continue
        x, y = (node % columns + 0.5) * step, (node // columns + 0.5) * step
        spots.setdefault(label, []).append((x, y))
        tumours, normals = (
            int(living.counts[node, size[name]]) if name in size else 0 for name in (label, f"{label} normal")
        )
        if tumours:
            r = step * (0.16 + 0.32 * math.sqrt(tumours) / most)
            marks.append(
                f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}" '
                f'fill="{colours[label]}"/>'
            )
        if normals:
            r = step * (0.16 + 0.32 * math.sqrt(normals) / most)
            marks.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colours[label]}" stroke="#fff" '
                'stroke-width="1.5"/>'
            )
    names = [
        f'<text class="name" x="{_inside(x, name):.1f}" y="{y + 4:.1f}" text-anchor="middle">{escape(name)}</text>'
        for name, x, y in _tags(spots)
    ]
    group = f'<g pointer-events="none">{"".join([*marks, *names])}</g>'
    return _svg("Labels of the nodes", SIDE, step * rows, [*cells, group, *_stars(report.landings, step)])


def _inside(x: float, name: str) -> float:
    """Where a name is centred so that neither end is cut off at the border; a letter is some 7 pixels wide."""
    half = 3.5 * len(name)
    return min(max(x, half), max(half, SIDE - half))


def sheet(report: MapReport, drawn: Mapping[str, str]) -> str:
    """All four pictures on one sheet with a legend, an SVG file of its own."""
    rows, columns = report.encoder.lattice
    tall, gap, head = SIDE * rows / columns, 26.0, 26.0
    colours = palette(report.living(report.types).names)
    across = 9
    foot = 18.0 * -(-len(colours) // across) + 30
    width, height = 2 * SIDE + 3 * gap, 2 * (tall + head) + 3 * gap + foot
    parts = []
    for place, picture in enumerate(drawn.values()):
        x, y = gap + (place % 2) * (SIDE + gap), gap + (place // 2) * (tall + head + gap)
        title = picture.partition("<title>")[2].partition("</title>")[0]
        inner = picture[picture.index("<svg ") :].replace("<svg ", f'<svg x="{x:.0f}" y="{y + head:.0f}" ', 1)
        parts += [f'<text class="title" x="{x:.0f}" y="{y + 16:.0f}">{title}</text>', inner]
    top = height - foot
    for place, (name, colour) in enumerate(colours.items()):
        x, y = gap + (place % across) * (width - 2 * gap) / across, top + 18 * (place // across)
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="11" height="11" fill="{colour}"/>'
            f'<text x="{x + 16:.0f}" y="{y + 10:.0f}">{escape(name)}</text>'
        )
    parts.append(
        f'<text x="{gap:.0f}" y="{height - 10:.0f}">Squares: neoplastic, circles: not. {len(report.samples):,} samples '
        f"of {escape(report.encoder.modality)}, {rows} x {columns} nodes.</text>"
    )
    body = _svg(f"Deep Neural Map of {report.encoder.modality}", width, height, [f"<style>{FONT}</style>", *parts])
    return body.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" ', 1)


def _cell(node: int, columns: int, step: float, colour: str, said: str) -> str:
    return (
        f'<rect class="cell" data-n="{node}" x="{node % columns * step:.1f}" y="{node // columns * step:.1f}" '
        f'width="{step:.1f}" height="{step:.1f}" fill="{colour}" stroke="#eef1f5"><title>{escape(said)}</title></rect>'
    )


def _stars(landings: Sequence[Landing], step: float) -> list[str]:
    """The samples of a query: a star each, hollow where no node fits."""
    drawn = []
    for one in landings:
        x, y, r = (one.column + 0.5) * step, (one.row + 0.5) * step, min(0.62 * step, STAR)
        points = " ".join(
            f"{x + (r if k % 2 == 0 else 0.42 * r) * math.sin(math.pi * k / 5):.1f},"
            f"{y - (r if k % 2 == 0 else 0.42 * r) * math.cos(math.pi * k / 5):.1f}"
            for k in range(10)
        )
        fill = "#111" if one.fits else "none"
        drawn.append(
            f'<polygon class="star" points="{points}" fill="{fill}" stroke="#111" stroke-width="1.2" '
            f'pointer-events="none"/>'
        )
    return drawn


def _tags(spots: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[str, float, float]]:
    """Where names are written: at the node of a label that lies nearest to all of its others, none over another."""
    placed: list[tuple[str, float, float]] = []
    for name, some in sorted(spots.items(), key=lambda one: -len(one[1])):
        if len(some) < NAMED:
            continue
        at = np.array(some)
        far = np.abs(at[:, None] - at[None]).sum(axis=2).sum(axis=1)
        for place in np.argsort(far, kind="stable").tolist():
            x, y = at[place].tolist()
            if all(abs(x - px) > 4 * (len(name) + len(other)) or abs(y - py) > 13 for other, px, py in placed):
                placed.append((name, x, y))
                break
    return placed
