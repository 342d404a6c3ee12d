"""What `molsig markers` found, as a table for a terminal, a document, pictures and a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from molsig.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from molsig.evaluate.panel import Panel
    from molsig.reference.marking import MarkerReport
    from molsig.reference.metastases import MetastaticReport

    Drawings = tuple[Mapping[str, str | None], str]


class Found(Protocol):
    """An answer of the verb."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        ...

    def drawn(self, top: int, seed: int) -> Drawings:
        """Pictures by what they are called, and the page with them."""
        ...

    def document(self, top: int) -> dict[str, Any]:
        """For `--json`."""
        ...

    def print(self, top: int) -> None:
        """On stdout."""
        ...


@dataclass(frozen=True)
class SaliencyFound:
    """Features ranked by saliency."""

    report: MarkerReport

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the report."""
        return self.report.notes

    def drawn(self, top: int, seed: int) -> Drawings:
        """Three pictures."""
        from molsig.evaluate.marker_page import draw, page

        drawn = draw(self.report, top, seed=seed)
        return drawn.pictures(), page(self.report, drawn, top)

    def document(self, top: int) -> dict[str, Any]:
        """With the ranking of each type."""
        return self.report.to_dict(top)

    def print(self, top: int) -> None:
        """The ranking over all types."""
        found = self.report.markers
        rows: list[dict[str, object]] = [
            {
                "rank": row["rank"],
                "feature": row["feature"],
                "times average": f"{row['times_average']:.1f}",
                f"on top in, of {len(found.types)}": row["top_in"],
                "best in": row["best_in"],
            }
            for row in self.report.rows(top)
        ]
        print_table(
            f"{len(found.features):,} features of {self.report.encoder} by {found.method} saliency of the "
            f"{found.score}, {sum(found.pairs):,} matched pairs of {len(found.types)} types",
            rows,
        )


@dataclass(frozen=True)
class PanelFound:
    """A panel of features."""

    panel: Panel

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the panel."""
        return self.panel.notes

    def drawn(self, top: int, seed: int) -> Drawings:
        """Three pictures, of the whole panel."""
        from molsig.evaluate.panel_page import draw, page

        pictures = draw(self.panel, seed=seed)
        return pictures, page(self.panel, pictures)

    def document(self, top: int) -> dict[str, Any]:
        """All of it: how many features there are was asked for."""
        return self.panel.to_dict()

    def print(self, top: int) -> None:
        """The curve, then the features in the order of choosing."""
        panel = self.panel
        whole = panel.curve[-1]
        print_table(
            f"1-NN by cosine, {panel.ways} types to choose from, one sample of each: {panel.said()}",
            [
                {
                    "features": f"{one.features:,}{' (all)' if one is whole else ''}",
                    f"{panel.held_out} held out": f"{one.held_out:.3f}",
                    "parts": f"{one.low:.3f}-{one.high:.3f}",
                    "where chosen": f"{one.chosen_on:.3f}",
                    "at random": f"{one.random:.3f}",
                }
                for one in panel.curve
            ],
        )
        print_table(
            f"{len(panel.chosen)} of {len(panel.of.features):,} features of {panel.of.encoder} in the order of "
            f"choosing ({panel.by})",
            [
                {"rank": row["rank"], "feature": row["feature"], "chosen in, of 3 parts": row["chosen_in"]}
                for row in panel.rows_of_features()
            ],
        )


@dataclass(frozen=True)
class MetastaticFound:
    """What differs in metastases."""

    report: MetastaticReport

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the report."""
        return self.report.notes

    def drawn(self, top: int, seed: int) -> Drawings:
        """Three pictures."""
        from molsig.evaluate.metastatic_page import draw, page

        pictures = draw(self.report, top, seed=seed)
        return pictures, page(self.report, pictures, top)

    def document(self, top: int) -> dict[str, Any]:
        """The first features, with what they tell."""
        return self.report.to_dict(top)

    def print(self, top: int) -> None:
        """The first features by |t|."""
        report, found = self.report, self.report.found
        sizes = ", ".join(f"{name} {a:,} against {b:,}" for name, (a, b) in found.whole.types.items())
        print_table(
            f"{report.significant:,} of {len(found.features):,} features differ (q < .05) between metastases and "
            f"primary tumours of one type: {sizes}",
            [
                {
                    "rank": row["rank"],
                    "feature": row["feature"],
                    f"difference ({report.scale})": f"{row['difference']:+.2f}",
                    "t": f"{row['t']:+.1f}",
                    "q": f"{row['q']:.1e}",
                    f"same sign in, of {len(found.by_type)}": row["same_sign_in"],
                }
                for row in report.rows(top)
            ],
        )
        print(f"  {report.said()}")
