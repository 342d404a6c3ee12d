"""What differs in metastases as pictures, and as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.marker_document import document, figure, listing
from molsig.evaluate.marker_pictures import POINTS_OF_TYPE, by_type, on_a_plane, volcano
from molsig.reference.metastases import Q

if TYPE_CHECKING:
    from molsig.reference.metastases import MetastaticReport

SHOWN_ROWS = 40
"""Features of the heat map."""


def draw(report: MetastaticReport, top: int, *, seed: int = 0) -> dict[str, str]:
    """Differences and their q, the first features by type and kind, and samples on the `top` features."""
    found = report.found
    order = found.whole.ranking()
    best, shown = order[:top], order[: min(top, SHOWN_ROWS)]
    unit = "log2" if report.scale == "log2" else "as measured"
    # In standard deviations from the primary tumours of the own type, which is what differs and not what the types are.
    centred = found.values.copy()
    for name in found.whole.types:
        own = found.types == name
        centred[own] -= found.values[own & ~found.metastasis].mean(axis=0)
    centred /= np.maximum(centred[~found.metastasis].std(axis=0), 1e-9)
    words = np.where(found.metastasis, "metastasis", "primary")
    groups = np.char.add(np.char.add(found.types, " "), words)
    return {
        "volcano": volcano(
            f"Metastases less primary tumours, {len(found.features):,} features",
            found.features,
            found.whole.difference,
            found.whole.q,
            unit,
        ),
        "heatmap": by_type(
            f"{len(shown)} features in metastases",
            [found.features[i] for i in shown],
            tuple(found.whole.types),
            centred[found.metastasis][:, shown],
            found.types[found.metastasis],
        ),
        "tsne": on_a_plane(f"t-SNE of {{}} samples on {len(best)} features", centred[:, best], groups, seed=seed),
    }


def page(report: MetastaticReport, pictures: dict[str, str], top: int) -> str:
    """The whole page, pictures inline."""
    found = report.found
    types = list(found.whole.types)
    rows = listing(
        ("rank", "feature", f"difference ({report.scale})", "t", "q", f"same sign in, of {len(types)}", *types),
        [
            (
                row["rank"],
                row["feature"],
                f"{row['difference']:+.2f}",
                f"{row['t']:+.1f}",
                f"{row['q']:.1e}",
                row["same_sign_in"],
                *(f"{row['by_type'][name]:+.2f}" for name in types),
            )
            for row in report.rows(top)
        ],
        words=("feature",),
    )
    sizes = ", ".join(f"{name} ({a:,} metastases, {b:,} primary)" for name, (a, b) in found.whole.types.items())
    said = report.said()
    return document(
        "What differs in metastases",
        f"Metastases less primary tumours within types of {report.label}: {sizes}. {report.significant:,} of "
        f"{len(found.features):,} features have a false discovery rate below {Q:g}. {said[0].upper()}{said[1:]}.",
        report.notes,
        [
            (
                "Differences",
                figure(
                    pictures["volcano"],
                    f"Means of metastases less those of primary tumours, pooled over types ({report.scale}); above the "
                    f"false discovery rate (Benjamini and Hochberg). Grey: q of {Q:g} or more.",
                ),
            ),
            (
                f"The first {min(top, len(found.features), SHOWN_ROWS)} in metastases of each type",
                figure(
                    pictures["heatmap"],
                    "Means of metastases in standard deviations from the primary tumours of their type; like features "
                    "stand beside each other.",
                ),
            ),
            (
                "Samples on the first features",
                figure(
                    pictures["tsne"],
                    f"t-SNE by cosine of the same values, at most {POINTS_OF_TYPE} samples of a group.",
                ),
            ),
            (f"The first {min(top, len(found.features))}", rows),
        ],
    )
