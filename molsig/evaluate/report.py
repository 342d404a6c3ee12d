"""What an evaluation found, as plain dataclasses that become one JSON document with stable keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molsig.errors import UsageError

if TYPE_CHECKING:
    from molsig.evaluate.bootstrap import Figure
    from molsig.evaluate.leaks import LeakMeter
    from molsig.evaluate.metrics import ReliabilityBin

FORMAT = 1
"""Raised when a key changes its meaning; keys may be added without."""

HELD_OUT, RANDOM = "groups_held_out", "random"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Settings:
    """How it was measured.

    Attributes
    ----------
    label, group
        The patient column that was called, and the one whose values were held out whole; None without the latter.
    folds, seed
        Folds of each scheme; the seed of folds, dropped assays, left-out labels and intervals.
    missing
        Shares of the assays that were taken from the patients asked about; the gallery keeps all of its own.
    depth
        Neighbours that a ranking (`map`) is looked at; None for the whole gallery.
    errors
        Error rates of the conformal sets.
    draws, level
        Of the bootstrap intervals: resamples of patients, and the share of them an interval holds.
    """

    label: str
    group: str | None
    folds: int
    seed: int
    missing: tuple[float, ...]
    depth: int | None
    errors: tuple[float, ...]
    draws: int
    level: float


@dataclass(frozen=True, slots=True)
class CohortFacts:
    """Who was asked about: labelled patients with vectors.

    `unlabelled` were left out altogether, `without_group` were dealt out one by one.
    """

    patients: int
    unlabelled: int
    labels: Mapping[str, int]
    groups: int
    without_group: int
    assays: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures over some patients.

    Attributes
    ----------
    patients
        How many were asked about.
    unanswerable
        Of these, how many have a label that nobody in their gallery has; they count as misses.
    figures
        By name, a `Figure` each. ``p@k`` share of right ones among k neighbours; ``map`` mean average precision;
        ``vote@k`` accuracy of the majority of k; ``call`` accuracy of the most probable label; ``macro_f1`` and
        ``balanced_accuracy`` of the call, and of ``vote@10``; ``ece`` expected calibration error of the call's
        probability; ``coverage_area`` mean accuracy over all coverages; ``conformal@p`` share of sets that hold the
        true label where p % were promised, and ``set_size@p`` their mean size.
    """

    patients: int
    unanswerable: int
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """Accuracy over the surest patients that make up a share of all."""

    coverage: float
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class ConformalPoint:
    """What sets at one error rate held: the promise is a coverage of at least `nominal`."""

    nominal: float
    coverage: Figure
    size: Figure
    empty: Figure
    single: Figure


@dataclass(frozen=True, slots=True)
class Confusion:
    """Calls by true label: `table[i][j]` patients of `labels[i]` were called `labels[j]`; commonest labels first."""

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One method under one scheme at one share of missing assays.

    `answerable` leaves out the patients whose label nobody in their gallery has, `by_assays` splits all of them by the
    modalities they were asked about with, commonest first.
    """

    scheme: str
    method: str
    missing: float
    overall: Scores
    answerable: Scores
    by_assays: Mapping[str, Scores]
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[CoveragePoint, ...]
    conformal: tuple[ConformalPoint, ...]
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first method less another, on the patients that both were asked about: above 0 the first is better.

    `assays` is what these patients were asked about with, `ALL` for all of them.
    """

    scheme: str
    missing: float
    assays: str
    method: str
    rival: str
    patients: int
    differences: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Unknown:
    """How well patients of labels that were left out of the gallery are told from the others by their strangeness.

    `left_out` names the labels of each fold; `patients` counts theirs among the `auroc`'s. Patients whose label is
    missing from the gallery by chance, as where one site has all of it, are neither known nor left out and not counted.
    """

    scheme: str
    method: str
    patients: int
    left_out: tuple[tuple[str, ...], ...]
    auroc: Figure


@dataclass(frozen=True, slots=True)
class Leaks:
    """Leak meters of one method under one scheme, no assay dropped."""

    scheme: str
    method: str
    meters: tuple[LeakMeter, ...]


@dataclass(frozen=True, slots=True)
class Taught:
    """An encoder that has learned values of the very label that is called, from the stored patients themselves.

    `methods` are those that look at its modality: their figures are better than they would be for new patients, which
    `warning` says in words.
    """

    space: str
    modality: str
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    warning: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of it. `notes` are what a careful reader should know before any figure; `taught` is told among them too."""

    settings: Settings
    cohort: CohortFacts
    parts: tuple[Part, ...]
    comparisons: tuple[Comparison, ...]
    unknown: tuple[Unknown, ...]
    leaks: tuple[Leaks, ...]
    notes: tuple[str, ...]
    taught: tuple[Taught, ...] = ()

    @property
    def too_good(self) -> frozenset[str]:
        """Methods that look at an encoder which has learned the label."""
        return frozenset(method for one in self.taught for method in one.methods)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order in which they were given."""
        return tuple(dict.fromkeys(part.method for part in self.parts))

    @property
    def schemes(self) -> tuple[str, ...]:
        """Schemes that were run, held-out groups first."""
        return tuple(dict.fromkeys(part.scheme for part in self.parts))

    def part(self, scheme: str, method: str, missing: float = 0.0) -> Part | None:
        """The part of one scheme, method and share; None where nobody could be asked."""
        wanted = (scheme, method, missing)
        return next((one for one in self.parts if (one.scheme, one.method, one.missing) == wanted), None)

    def to_dict(self) -> dict[str, Any]:
        """The stable shape of `--json`; numbers are rounded to six decimals."""
        from molsig import __version__

        document: dict[str, Any] = _rounded({"format": FORMAT, "molsig": __version__} | asdict(self))
        return document

    def to_html(self) -> str:
        """A whole page with pictures; no scripts, no outside links."""
        from molsig.evaluate.page import page

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write the page (.html) or the document (.json). `UsageError` for another ending."""
        ending = Path(path).suffix.lower()
        if ending == ".html":
            text = self.to_html()
        elif ending == ".json":
            text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        else:
            raise UsageError(f"{path}: an evaluation is written as .html or .json")
        Path(path).write_text(text, encoding="utf-8")

    def __repr__(self) -> str:
        return (
            f"<Evaluation of {self.settings.label}: {self.cohort.patients:,} patients, "
            f"{', '.join(self.methods)}; {', '.join(self.schemes)}>"
        )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(one) for one in value]
    return value
