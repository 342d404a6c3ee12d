"""What the calls of the annotation network rest on, with names: `AnnotationReport.explanation`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from molsig.retrieval.annotate_explain import Explanation

    Array = NDArray[np.float64]

LISTED = 20
"""Inputs of a class, and of a patient, that JSON has."""


@dataclass(frozen=True, eq=False)
class OfPatient:
    """Why a patient who was asked about is called so.

    Attributes
    ----------
    called
        The class of the network's largest logit; what is predicted is calibrated afterwards and may differ.
    recorded
        As text; None where nothing is.
    scores
        DeepLIFT scores for the logit of each class less their mean over classes, float32 (features, classes).
    """

    patient: str
    called: str
    recorded: str | None
    scores: NDArray[np.float32]

    def top(self, n: int) -> NDArray[np.int64]:
        """The inputs whose scores differ most between classes, (n,)."""
        return np.argsort(-np.ptp(self.scores, axis=1), kind="stable")[:n]


@dataclass(frozen=True, eq=False)
class ExplanationReport:
    """DeepLIFT scores of samples and classes (D1), and of how many inputs a call hangs (D2).

    Attributes
    ----------
    features, classes
        Names of the inputs and of the classes.
    found
        The figures.
    patients
        Whom each explained sample is of.
    scheme, group
        ``groups_held_out`` or ``random``: how the explained samples were held out of the fit, and of which column
        whole groups were.
    named
        Patients that were asked about by name.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    found: Explanation
    patients: tuple[str, ...]
    scheme: str
    group: str | None
    named: tuple[OfPatient, ...]

    @property
    def inputs(self) -> int:
        """How many of the features the networks look at."""
        return int(self.found.used.sum())

    @property
    def held_out(self) -> str:
        """How the explained patients were held out, in words."""
        if self.scheme != "groups_held_out":
            return "at random"
        return f"with their {self.group}" + (f" ({', '.join(self.at_random)}: at random)" if self.at_random else "")

    @property
    def at_random(self) -> tuple[str, ...]:
        """Classes with patients who had to be held out at random: with their group nobody is left to learn from."""
        return tuple(self.classes[code] for code in np.unique(self.found.codes[self.found.at_random]).tolist())

    def first(self, code: int, n: int) -> list[dict[str, Any]]:
        """The inputs that speak most for a class: name, D1, and in which share of its samples they speak for it."""
        mine = self.found.scores[self.found.codes == code]
        return [
            {
                "feature": self.features[place],
                "d1": round(float(self.found.by_class[code, place]), 5),
                "speaks_for": round(float((mine[:, place] > 0).mean()), 4),
            }
            for place in self.found.top(code, n).tolist()
        ]

    def rows(self, n: int) -> list[dict[str, Any]]:
        """By class: samples, how many are called rightly, of how many inputs their call hangs, the first n inputs."""
        found = self.found
        fewest, nearest = found.zeroed.fewest(), found.zeroed.nearest()
        return [
            {
                "class": name,
                "samples": int((mine := found.codes == code).sum()),
                "right": int((found.called[mine] == code).sum()),
                "at_random": int(found.at_random[mine].sum()),
                "zeroed_samples": int(found.zeroed.samples[code]),
                "fewest_zeroed": _number(fewest[code]),
                "nearest": None if nearest[code] < 0 else self.classes[nearest[code]],
                "inputs": self.first(code, n),
            }
            for code, name in enumerate(self.classes)
        ]

    def to_dict(self, *, members: bool = False) -> dict[str, Any]:
        """Stable keys for `--json`; the explained patients are named only where `members` are asked for."""
        told = {
            "method": "deeplift",
            "reference": "zeros",
            "score": "logit",
            "held_out": self.scheme,
            "features": len(self.features),
            "inputs": self.inputs,
            "missed": self.found.missed,
            "classes": self.rows(LISTED),
        }
        for name, (means, share) in (
            ("stability", self.found.zeroed.stability()),
            ("similarity", self.found.zeroed.similarity()),
        ):
            told[name] = {"zeroed": _table(means), "share": _table(share)}
        told["patients"] = [
            {
                "patient": one.patient,
                "called": one.called,
                "recorded": one.recorded,
                "inputs": [
                    {
                        "feature": self.features[place],
                        "scores": dict(
                            zip(self.classes, np.round(one.scores[place].astype(np.float64), 5).tolist(), strict=True)
                        ),
                    }
                    for place in one.top(LISTED).tolist()
                ],
            }
            for one in self.named
        ]
        if members:
            told["samples"] = [
                {"patient": patient, "class": self.classes[code], "called": self.classes[call]}
                for patient, code, call in zip(
                    self.patients, self.found.codes.tolist(), self.found.called.tolist(), strict=True
                )
            ]
        return told


def _table(values: Array) -> list[list[float | None]]:
    return [[_number(one) for one in row] for row in values]


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
