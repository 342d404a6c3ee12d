"""Landmark genes as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molsig.evaluate.marker_document import document, listing

if TYPE_CHECKING:
    from molsig.reference.landmark_report import LandmarkReport
    from molsig.retrieval.enrichment import Enrichment

COLUMNS = (
    "held out", "method", "patients", "genes", "MAE", "PCC", "pass", "common genes", "MAE there", "PCC there",
)  # fmt: skip


def page(found: LandmarkReport, rich: Enrichment | None, top: int) -> str:
    """The whole page: how well other genes are told, the landmarks, the sets they are rich in; no sample is named."""
    shown = min(top, found.n)
    sections = [
        (
            "How well the other genes are told",
            "<p>Ranking and inference saw none of the held-out patients. Common genes are landmarks of no method in "
            "the table. A gene passes if fewer than one in a hundred of the other genes correlate better with what was "
            "predicted for it.</p>"
            + listing(
                COLUMNS,
                [
                    (
                        one.held_out.replace("_", " "),
                        one.method,
                        one.patients,
                        f"{one.genes:,}",
                        _text(one.mae),
                        _text(one.pcc),
                        "" if one.significant is None else f"{one.significant:.1%}",
                        f"{one.common_genes:,}",
                        _text(one.common_mae),
                        _text(one.common_pcc),
                    )
                    for one in found.scores
                ],
                words=("held out", "method"),
            ),
        )
    ]
    if found.stability is not None:
        steady = found.stability
        sections.append(
            (
                "How steady the choice is",
                f"<p>Draws of four fifths of the patients share landmarks with a Jaccard index of {steady.mean:.3f} "
                f"({len(steady.jaccard)} pairs of draws); chance gives {steady.chance:.3f}.</p>",
            )
        )
    sections.append(
        (
            f"The first {shown} of {found.n:,} landmarks",
            listing(
                ("rank", "gene", "mean", "deviation"),
                [(row["rank"], row["gene"], row["mean"], row["deviation"]) for row in found.rows()[:shown]],
                words=("gene",),
            ),
        )
    )
    if rich is not None:
        sections.append(
            (
                f"Gene sets: {rich.significant():,} of {len(rich.sets):,} have more landmarks than by chance (q < .05)",
                listing(
                    ("set", "hits", "size", "fold", "p", "q"),
                    [
                        (one.name, len(one.hits), one.size, f"{one.fold:.2f}", f"{one.p:.1e}", f"{one.q:.1e}")
                        for one in rich.sets[:top]
                    ],
                    words=("set",),
                ),
            )
        )
    lead = (
        f"{found.n:,} of {len(found.genes):,} genes, ranked by {found.method} on {found.samples:,} samples of "
        f"{found.patients:,} patients; the others told by {found.inference}."
    )
    return document("Landmark genes", lead, found.notes, sections, verb="landmarks")


def _text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4f}"
