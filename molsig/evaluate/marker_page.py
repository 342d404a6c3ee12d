"""Markers of an encoder as one HTML page, or as pictures in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.episodes import draw_episodes
from molsig.evaluate.marker_pictures import curve, heat_map, plane, standing_alone, tsne
from molsig.evaluate.marker_selection import accuracies, by_discrimination, fewest, sizes_up_to
from molsig.evaluate.page import STYLE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from molsig.reference.marking import MarkerReport

EPISODES = 5000
FEWEST_WAYS, MOST_WAYS = 3, 10
SHOWN_ROWS = 50
"""Features of the heat map."""
MOST_CHOSEN = 100
"""Features that are chosen for what each tells of the types beyond the others."""
POINTS_OF_TYPE = 60
"""Tumours of a type on the plane."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of the markers of a report; `enough` is how many features keep 1-NN within 1 point of all of them."""

    plane: str
    heat_map: str
    curve: str | None
    ways: int
    enough: int | None


def draw(report: MarkerReport, top: int, *, seed: int = 0) -> Drawn:
    """Samples on the `top` features, those features by type, and accuracy against how many are used."""
    rows = report.tumours()
    types = np.array(report.types)[rows]
    x = report.inputs[rows]
    order = report.markers.ranking()
    best = order[:top]
    random = np.random.default_rng(seed)
    some = np.concatenate(
        [random.permutation(np.flatnonzero(types == one))[:POINTS_OF_TYPE] for one in np.unique(types)]
    )
    names = report.markers.types
    shown = best[:SHOWN_ROWS]
    means = np.stack([x[types == name][:, shown].mean(axis=0) for name in names], axis=1).astype(np.float64)
    picture, ways, enough = _curve(report, rows, types, x, order, seed)
    title = f"{len(shown)} features by {report.label}"
    return Drawn(
        plane=plane(
            f"t-SNE of {len(some):,} tumours on {len(best)} features", tsne(x[some][:, best]), types[some].tolist()
        ),
        heat_map=heat_map(title, [report.markers.features[i] for i in shown], names, means),
        curve=picture,
        ways=ways,
        enough=enough,
    )


def _curve(
    report: MarkerReport,
    rows: NDArray[np.int64],
    types: NDArray[np.str_],
    x: NDArray[np.float32],
    order: NDArray[np.int64],
    seed: int,
) -> tuple[str | None, int, int | None]:
    ways = min(len(report.markers.types), MOST_WAYS)
    if ways < FEWEST_WAYS:
        return None, ways, None
    patients = [report.samples[row].patient for row in rows]
    asked = draw_episodes(types.tolist(), patients, ways=ways, episodes=EPISODES, seed=seed)
    sizes = sizes_up_to(len(order))
    random = np.random.default_rng(seed).permutation(len(order))
    found = accuracies(x, order, sizes, asked)
    by_chance = accuracies(x, random, sizes, asked)
    chosen = by_discrimination(x, types.tolist(), min(MOST_CHOSEN, len(order)))
    short = [size for size in sizes if size <= len(chosen)]
    told = accuracies(x, chosen, short, asked).tolist()
    drawn = curve(
        "Accuracy against features",
        {
            "by score": (sizes, found.tolist()),
            "each chosen beside those before it": (short, told),
            "in random order": (sizes, by_chance.tolist()),
        },
    )
    return drawn, ways, fewest(sizes, found)


def save_pictures(drawn: Drawn, folder: Path) -> list[Path]:
    """Write the pictures as SVG files into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in (("tsne", drawn.plane), ("heatmap", drawn.heat_map), ("accuracy", drawn.curve)):
        if picture is not None:
            written.append(folder / f"markers-{name}.svg")
            written[-1].write_text(standing_alone(picture), encoding="utf-8")
    return written


def page(report: MarkerReport, drawn: Drawn, top: int) -> str:
    """The whole page, pictures inline."""
    found = report.markers
    listed = min(top, len(found.features))
    title = f"Markers of {report.label}"
    head = (
        "rank",
        "feature",
        "share of the score",
        "times the average",
        f"on top in, of {len(found.types)}",
        "best in",
    )
    body = "".join(
        f"<tr><td>{row['rank']}</td><td>{escape(row['feature'])}</td><td>{row['score']:.2%}</td>"
        f"<td>{row['times_average']:.1f}</td><td>{row['top_in']}</td><td>{escape(row['best_in'])}</td></tr>"
        for row in report.rows(top)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    of_types = "".join(
        f"<tr><td>{escape(name)}</td><td>{samples:,}</td><td>{pairs:,}</td><td style='text-align:left'>"
        f"{escape(', '.join(found.features[i] for i in found.ranking(name)[:8]))}</td></tr>"
        for name, samples, pairs in zip(found.types, found.samples, found.pairs, strict=True)
    )
    seen = set(report.learned_from) & set(found.types)
    lesson = (
        f"{len(seen)} of these {len(found.types)} types are those the encoder learned from: the curve says how many "
        "features do, not how well types are told that nobody has seen."
    )
    accuracy = (
        ""
        if drawn.curve is None
        else f"<h2>How many are enough</h2><figure>{drawn.curve}<figcaption>Nearest neighbour by cosine, {drawn.ways} "
        f"types to choose from, one sample of each. {drawn.enough} features reach what all {len(found.features):,} "
        f"reach, less 1 point. {lesson}</figcaption></figure>"
    )
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(found.method)} saliency of the {escape(found.score)} of "
        f"{escape(report.encoder)}, averaged over {sum(found.pairs):,} matched pairs of {len(found.types)} types.</p>"
        + (f"<div class='notes'><ul>{notes}</ul></div>" if notes else "")
        + f"<h2>Tumours on the first {listed} features</h2><figure>{drawn.plane}<figcaption>t-SNE of standardised "
        f"values by cosine, at most {POINTS_OF_TYPE} tumours of a type.</figcaption></figure>"
        f"<h2>The first {min(listed, SHOWN_ROWS)} by type</h2><figure>{drawn.heat_map}<figcaption>Mean of the "
        "standardised values of a type; like features and like types stand beside each other.</figcaption></figure>"
        f"{accuracy}<h2>The first {listed}</h2>"
        "<div class='wide'><table><tr>"
        f"{''.join(f'<th>{escape(one)}</th>' for one in head)}</tr>{body}</table></div><h2>By type</h2>"
        "<div class='wide'>"
        f"<table><tr><th>type</th><th>tumours</th><th>pairs</th><th style='text-align:left'>first features</th></tr>"
        f"{of_types}</table></div><footer>molsig markers. Research use only.</footer></body></html>\n"
    )
