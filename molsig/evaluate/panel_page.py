"""A panel of features as pictures, and as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.marker_document import document, figure, listing
from molsig.evaluate.marker_pictures import POINTS_OF_TYPE, by_type, curve, on_a_plane

if TYPE_CHECKING:
    from molsig.evaluate.panel import Panel

SHOWN_ROWS = 50
"""Features of the heat map."""

WORDS = {
    "forward": "forward selection, each the one with which the nearest neighbour does best beside those before it",
    "discrimination": "what each tells of the types beyond those before it",
}


def draw(panel: Panel, *, seed: int = 0) -> dict[str, str]:
    """Accuracy against features, tumours on the panel, and its features by type."""
    types = np.array(panel.of.types)[panel.rows]
    x = panel.of.inputs[panel.rows]
    shown = panel.chosen[:SHOWN_ROWS]
    names = [panel.of.features[i] for i in shown]
    sizes = [one.features for one in panel.curve]
    return {
        "accuracy": curve(
            "Accuracy against features",
            {
                f"chosen, {panel.held_out} held out": (sizes, [one.held_out for one in panel.curve]),
                "where they were chosen": (sizes, [one.chosen_on for one in panel.curve]),
                f"at random, {panel.held_out} held out": (sizes, [one.random for one in panel.curve]),
            },
        ),
        "tsne": on_a_plane(
            f"t-SNE of {{}} tumours on {len(panel.chosen)} features", x[:, panel.chosen], types, seed=seed
        ),
        "heatmap": by_type(f"{len(shown)} features by {panel.of.label}", names, panel.types, x[:, shown], types),
    }


def page(panel: Panel, pictures: dict[str, str]) -> str:
    """The whole page, pictures inline."""
    held = (
        "one third of the types held out of the choosing in turn"
        if panel.held_out == "types"
        else "one third of the patients held out of the choosing in turn"
    )
    whole = panel.curve[-1]
    by_size = listing(
        ("features", f"{panel.held_out} held out", "parts", "where chosen", "at random"),
        [
            (
                f"{one.features:,}" + (" (all)" if one is whole else ""),
                f"{one.held_out:.3f}",
                f"{one.low:.3f} to {one.high:.3f}",
                f"{one.chosen_on:.3f}",
                f"{one.random:.3f}",
            )
            for one in panel.curve
        ],
    )
    features = listing(
        ("rank", "feature", "chosen in, of 3 parts"),
        [(row["rank"], row["feature"], row["chosen_in"]) for row in panel.rows_of_features()],
        words=("feature",),
    )
    shown = min(len(panel.chosen), SHOWN_ROWS)
    return document(
        f"A panel of {len(panel.chosen)} features for {panel.of.label}",
        f"Chosen of {len(panel.of.features):,} features of {panel.of.encoder} on the tumours of {len(panel.types)} "
        f"types by {WORDS[panel.by]}. {panel.said()[0].upper()}{panel.said()[1:]}.",
        panel.notes,
        [
            (
                "How many are enough",
                figure(
                    pictures["accuracy"],
                    f"Nearest neighbour by cosine, {panel.ways} types to choose from, one sample of each; {held}.",
                )
                + by_size,
            ),
            (
                f"Tumours on the {len(panel.chosen)} features",
                figure(
                    pictures["tsne"],
                    f"t-SNE of standardised values by cosine, at most {POINTS_OF_TYPE} tumours of a type.",
                ),
            ),
            (
                f"The first {shown} by type",
                figure(
                    pictures["heatmap"],
                    "Mean of the standardised values of a type; like features and like types stand beside each other.",
                ),
            ),
            ("The panel", features),
        ],
    )
