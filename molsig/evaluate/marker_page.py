"""Markers of an encoder as pictures, and as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.episodes import draw_episodes
from molsig.evaluate.marker_document import document, figure, listing
from molsig.evaluate.marker_pictures import POINTS_OF_TYPE, by_type, curve, on_a_plane
from molsig.evaluate.marker_selection import accuracies, fewest, most_discriminating, sizes_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.reference.marking import MarkerReport

EPISODES = 5000
FEWEST_WAYS, MOST_WAYS = 3, 10
SHOWN_ROWS = 50
"""Features of the heat map."""
MOST_CHOSEN = 100
"""Features that are chosen for what each tells of the types beyond the others."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of the markers of a report; `enough` is how many features keep 1-NN within 1 point of all of them."""

    plane: str
    heat_map: str
    curve: str | None
    ways: int
    enough: int | None

    def pictures(self) -> dict[str, str | None]:
        """By what they are called."""
        return {"tsne": self.plane, "heatmap": self.heat_map, "accuracy": self.curve}


def draw(report: MarkerReport, top: int, *, seed: int = 0) -> Drawn:
    """Samples on the `top` features, those features by type, and accuracy against how many are used."""
    rows = report.tumours()
    types = np.array(report.types)[rows]
    x = report.inputs[rows]
    order = report.markers.ranking()
    best, shown = order[:top], order[: min(top, SHOWN_ROWS)]
    names = [report.features[i] for i in shown]
    picture, ways, enough = _curve(report, rows, types, x, order, seed)
    return Drawn(
        plane=on_a_plane(f"t-SNE of {{}} tumours on {len(best)} features", x[:, best], types, seed=seed),
        heat_map=by_type(f"{len(shown)} features by {report.label}", names, report.markers.types, x[:, shown], types),
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
    chosen = most_discriminating(x, types.tolist(), min(MOST_CHOSEN, len(order)))
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


def page(report: MarkerReport, drawn: Drawn, top: int) -> str:
    """The whole page, pictures inline."""
    found = report.markers
    listed = min(top, len(found.features))
    on_top = f"on top in, of {len(found.types)}"
    rows = listing(
        ("rank", "feature", "share of the score", "times the average", on_top, "best in"),
        [
            (
                row["rank"],
                row["feature"],
                f"{row['score']:.2%}",
                f"{row['times_average']:.1f}",
                row["top_in"],
                row["best_in"],
            )
            for row in report.rows(top)
        ],
        words=("feature", "best in"),
    )
    of_types = listing(
        ("type", "tumours", "pairs", "first features"),
        [
            (name, f"{samples:,}", f"{pairs:,}", ", ".join(found.features[i] for i in found.ranking(name)[:8]))
            for name, samples, pairs in zip(found.types, found.samples, found.pairs, strict=True)
        ],
        words=("type", "first features"),
    )
    seen = set(report.learned_from) & set(found.types)
    lesson = (
        f"{len(seen)} of these {len(found.types)} types are those the encoder learned from, and the features are "
        "chosen on the types that are asked about: molsig markers --select tells how well a panel does on types that "
        "it was not chosen on."
    )
    enough = (
        []
        if drawn.curve is None
        else [
            (
                "How many are enough",
                figure(
                    drawn.curve,
                    f"Nearest neighbour by cosine, {drawn.ways} types to choose from, one sample of each. "
                    f"{drawn.enough} features reach what all {len(found.features):,} reach, less 1 point. {lesson}",
                ),
            )
        ]
    )
    return document(
        f"Markers of {report.label}",
        f"{found.method} saliency of the {found.score} of {report.encoder}, averaged over {sum(found.pairs):,} matched "
        f"pairs of {len(found.types)} types.",
        report.notes,
        [
            (
                f"Tumours on the first {listed} features",
                figure(
                    drawn.plane,
                    f"t-SNE of standardised values by cosine, at most {POINTS_OF_TYPE} tumours of a type.",
                ),
            ),
            (
                f"The first {min(listed, SHOWN_ROWS)} by type",
                figure(
                    drawn.heat_map,
                    "Mean of the standardised values of a type; like features and like types stand beside each other.",
                ),
            ),
            *enough,
            (f"The first {listed}", rows),
            ("By type", of_types),
        ],
    )
