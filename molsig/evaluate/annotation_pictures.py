"""What a network's calls rest on as SVG: scores of classes and of samples, and of how many inputs a call hangs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from molsig.evaluate.marker_pictures import heat_map, like_beside_like, shade
from molsig.evaluate.svg import _svg, _text, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.reference.annotation_explanation_report import ExplanationReport, OfPatient

    Array = NDArray[np.float64]
    Rows = NDArray[np.int64]

SHOWN = 80
"""Inputs that are drawn, unless that is fewer than `FEWEST` of each class."""
FEWEST, MOST = 3, 20
SAMPLES = 320
"""Samples that are drawn, unless that is fewer than `FEWEST_SAMPLES` of each class."""
FEWEST_SAMPLES = 8
OF_PATIENT = 25
"""Inputs that are drawn of a single patient."""
_LEVELS = 12
"""Steps of a colour on the map of samples."""
_FULL = 98
"""Percentile of the sizes of the scores at which a colour is full."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Classes and inputs in the order they are drawn in: like classes side by side, inputs below their class."""

    classes: Rows
    features: Rows

    @classmethod
    def of(cls, report: ExplanationReport) -> Shown:
        """The inputs that speak most for each class that has samples."""
        there = np.flatnonzero(np.isfinite(report.found.by_class).all(axis=1))
        classes = there[like_beside_like(report.found.by_class[there])]
        each = min(max(SHOWN // len(classes), FEWEST), MOST)
        tops = [report.found.top(code, each).tolist() for code in classes.tolist()]
        return cls(classes, np.array(list(dict.fromkeys(one for top in tops for one in top)), dtype=np.int64))


def pictures(report: ExplanationReport, *, members: bool = False) -> dict[str, str]:
    """By what they are called: ``classes``, ``samples``, ``similarity``, ``stability``.

    Of two classes there is no ``stability``: a call that changes comes to the other one. Without `members` nobody is
    named.
    """
    shown = Shown.of(report)
    drawn = {"classes": of_classes(report, shown), "samples": of_samples(report, shown, members=members)}
    zeroed = report.found.zeroed
    names = [report.classes[code] for code in shown.classes.tolist()]
    at = np.ix_(shown.classes, shown.classes)
    for name, title, (means, share) in (
        ("similarity", "Inputs zeroed until the call of one class is another", zeroed.similarity()),
        ("stability", "Inputs zeroed until the call is any other class", zeroed.stability()),
    ):
        if name == "similarity" or len(names) > 2:
            drawn[name] = of_zeroed(title, names, means[at], share[at], report.inputs)
    return drawn


def of_classes(report: ExplanationReport, shown: Shown) -> str:
    """D1, inputs by classes."""
    table = report.found.by_class[np.ix_(shown.classes, shown.features)].T
    return heat_map(
        f"DeepLIFT scores of {len(shown.features)} inputs by class (D1)",
        [report.features[one] for one in shown.features.tolist()],
        [report.classes[one] for one in shown.classes.tolist()],
        table,
        deepest=_full(table),
        unit="of the logit",
        ordered=True,
    )


def of_patient(report: ExplanationReport, one: OfPatient) -> str:
    """Scores of a single patient, inputs by classes."""
    first = one.top(OF_PATIENT)
    order = first[np.argsort(-one.scores[first, report.classes.index(one.called)], kind="stable")]
    table = one.scores[order].astype(np.float64)
    return heat_map(
        f"DeepLIFT scores of {one.patient}",
        [report.features[place] for place in order.tolist()],
        report.classes,
        table,
        deepest=_full(table),
        unit="of the logit",
        ordered=True,
    )


def of_samples(report: ExplanationReport, shown: Shown, *, members: bool) -> str:
    """Inputs by samples, grouped by class, each sample's score for its own class less the mean over the others."""
    each = max(SAMPLES // len(shown.classes), FEWEST_SAMPLES)
    groups = [_drawn(report, code, each) for code in shown.classes.tolist()]
    n = sum(map(len, groups))
    tall, gap = 13.0, 3.0
    wide = max(3.0, min(14.0, 860 / n))
    names = [report.features[one] for one in shown.features.tolist()]
    left, head = (
        16 + 6.9 * max(map(len, names)),
        26 + 6.2 * max(len(report.classes[one]) for one in shown.classes.tolist()),
    )
    deepest = _full(report.found.scores[np.ix_(np.concatenate(groups), shown.features)])
    bottom = head + tall * len(names)
    parts = [_text(name, left - 6, head + tall * i + 10, "end") for i, name in enumerate(names)]
    x = left
    paths: dict[int, list[str]] = {}
    for code, rows in zip(shown.classes.tolist(), groups, strict=True):
        middle = x + wide * len(rows) / 2 + 4
        parts.append(
            f'<text transform="translate({middle:.1f} {head - 12:.1f}) rotate(-90)">'
            f"{escape(report.classes[code])}</text>"
        )
        depths = report.found.scores[np.ix_(rows, shown.features)] / deepest
        steps = np.rint(np.clip(depths, -1, 1) * _LEVELS).astype(int)
        for j, i in zip(*(one.tolist() for one in np.nonzero(steps)), strict=True):
            box = f"M{x + wide * j:.1f} {head + tall * i:.1f}h{wide:.1f}v{tall - 0.6:.1f}h-{wide:.1f}z"
            paths.setdefault(int(steps[j, i]), []).append(box)
        for j, row in enumerate(rows.tolist()):
            call = int(report.found.called[row])
            said = f"{report.classes[code]}, called {report.classes[call]}"
            if members:
                said = f"{report.patients[row]}: {said}"
            if call != code:
                parts.append(f'<circle cx="{x + wide * (j + 0.5):.1f}" cy="{head - 5:.1f}" r="2" fill="#1c2430"/>')
            parts.append(
                f'<rect x="{x + wide * j:.1f}" y="{head:.1f}" width="{wide:.1f}" height="{bottom - head:.1f}" '
                f'fill="#f6f7f9"><title>{escape(said)}</title></rect>'
            )
        x += wide * len(rows) + gap
    parts += [
        f'<path pointer-events="none" fill="{shade(step / _LEVELS)}" d="{"".join(boxes)}"/>'
        for step, boxes in sorted(paths.items())
    ]
    for k, depth in enumerate(np.linspace(-1, 1, 9).tolist()):
        parts.append(
            f'<rect x="{left + 16 * k:.1f}" y="{bottom + 12:.1f}" width="16" height="10" fill="{shade(depth)}"/>'
        )
    parts.append(_text(f"-{number(deepest)} to {number(deepest)} of the logit", left + 152, bottom + 21, "start"))
    return _svg(f"DeepLIFT scores of {n} held-out samples", max(x + 16, left + 330), bottom + 40, parts)


def of_zeroed(title: str, names: Sequence[str], means: Array, share: Array, most: int) -> str:
    """A matrix of D2: from the class of the row to that of the column; the darker, the fewer inputs."""
    cell = 32.0
    left, head = 14 + 6.6 * max(map(len, names)), 18 + 6.6 * max(map(len, names))
    parts = []
    for j, name in enumerate(names):
        x = left + cell * (j + 0.5) + 4
        parts.append(f'<text transform="translate({x:.1f} {head - 7:.1f}) rotate(-90)">{escape(name)}</text>')
    for i, name in enumerate(names):
        y = head + cell * i
        parts.append(_text(name, left - 8, y + cell / 2 + 4, "end"))
        for j, other in enumerate(names):
            if i == j:
                continue
            value, changed = float(means[i, j]), float(share[i, j])
            never = not np.isfinite(value)
            depth = 0.0 if never else changed * max(0.0, 1 - np.log(value) / np.log(most + 1))
            said = (
                "no sample rightly called"
                if not np.isfinite(changed)
                else f"{changed:.0%} of the calls change" + ("" if never else f", after {value:.1f} inputs on average")
            )
            parts.append(
                f'<rect x="{left + cell * j:.1f}" y="{y:.1f}" width="{cell - 1}" height="{cell - 1}" '
                f'fill="{shade(-depth) if depth > 0 else "#f6f7f9"}">'
                f"<title>{escape(name)} to {escape(other)}: {said}</title></rect>"
            )
            if not never:
                ink = "#fff" if depth > 0.55 else ("#1c2430" if changed >= 0.5 else "#8b95a3")
                parts.append(
                    f'<text class="count" text-anchor="middle" x="{left + cell * (j + 0.5):.1f}" '
                    f'y="{y + cell / 2 + 4:.1f}" pointer-events="none" style="fill:{ink}">'
                    f"{value:.{0 if value >= 10 else 1}f}</text>"
                )
    return _svg(title, left + cell * len(names) + 14, head + cell * len(names) + 10, parts)


def _drawn(report: ExplanationReport, code: int, most: int) -> Rows:
    """The first samples of a class, by how much the drawn inputs say for it."""
    mine = np.flatnonzero(report.found.codes == code)[:most]
    return mine[np.argsort(-report.found.scores[mine].sum(axis=1), kind="stable")]


def _full(scores: NDArray[np.floating]) -> float:
    """Where a colour is full: rounded to two digits, so that a legend can say it."""
    size = float(np.percentile(np.abs(scores), _FULL)) or 1.0
    return float(f"{size:.2g}")
