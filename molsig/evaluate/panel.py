"""A panel: the few features that keep one-shot typing, in the order of choosing, and how well they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from molsig.evaluate.marker_selection import fewest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.reference.measured import EncoderInputs

    Rows = NDArray[np.int64]

PARTS = 3
"""Parts that types, or patients, are dealt into; each is held out of the choosing once."""
LOST = 0.01
"""Accuracy that a panel may lose and be enough."""


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy of 1-NN by cosine on the first features of a panel.

    Attributes
    ----------
    held_out, low, high
        Of what was held out of the choosing: mean, lowest and highest part.
    chosen_on
        Of what the panel was chosen on, which is too good.
    random
        Of as many features drawn at random, on what was held out.
    """

    features: int
    held_out: float
    low: float
    high: float
    chosen_on: float
    random: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Chosen features, and how well they do.

    Attributes
    ----------
    of
        The tumours, and their standardised values.
    rows
        Rows of `of` that chose and judged.
    by
        ``forward`` or ``discrimination``.
    chosen
        Places of the features, in the order in which they were chosen.
    agreed
        In how many of the parts each was chosen too, within as many features.
    held_out
        ``types`` or ``patients``: what no part's panel was chosen on.
    parts
        Names of the types that were held out together; one entry with all of them where patients were.
    ways
        Types to choose from in an episode.
    curve
        By number of features; the last one is all features.
    """

    of: EncoderInputs
    rows: Rows
    by: str
    chosen: Rows
    agreed: tuple[int, ...]
    held_out: Literal["types", "patients"]
    parts: tuple[tuple[str, ...], ...]
    ways: int
    curve: tuple[Point, ...]
    notes: tuple[str, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """Types that were asked about."""
        return tuple(sorted(name for part in self.parts for name in part))

    @property
    def enough(self) -> Point | None:
        """The fewest features within `LOST` of all of them on what was held out; None where no panel is.

        Read off the curve that is told, whose highs and lows by chance it follows.
        """
        sizes = [one.features for one in self.curve]
        found = fewest(sizes, np.array([one.held_out for one in self.curve]), LOST)
        return next((one for one in self.curve[:-1] if one.features == found), None)

    def rows_of_features(self) -> list[dict[str, Any]]:
        """One dict a feature, in the order of choosing."""
        return [
            {"rank": rank, "feature": self.of.features[place], "chosen_in": agreed}
            for rank, (place, agreed) in enumerate(zip(self.chosen.tolist(), self.agreed, strict=True), 1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Stable keys for `--json`."""
        enough = self.enough
        return {
            "encoder": self.of.encoder,
            "modality": self.of.modality,
            "label": self.of.label,
            "file": self.of.file,
            "by": self.by,
            "features": len(self.of.features),
            "types": list(self.types),
            "held_out": self.held_out,
            "parts": [list(part) for part in self.parts],
            "ways": self.ways,
            "curve": [
                {
                    "features": one.features,
                    "held_out": one.held_out,
                    "low": one.low,
                    "high": one.high,
                    "chosen_on": one.chosen_on,
                    "random": one.random,
                }
                for one in self.curve
            ],
            "enough": None if enough is None else enough.features,
            "panel": self.rows_of_features(),
            "notes": list(self.notes),
        }

    def said(self) -> str:
        """How the panel does, as one line."""
        whole, last = self.curve[-1], self.curve[-2]
        what = "types" if self.held_out == "types" else "patients"
        told = (
            f"{last.features} features reach {last.held_out:.3f} on {what} that were held out, all "
            f"{whole.features:,} reach {whole.held_out:.3f}"
        )
        enough = self.enough
        if enough is None or enough is last:
            return told
        return f"{told} and the first {enough.features} {enough.held_out:.3f}"
