"""The pictures of an evaluation's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molsig.evaluate.report import HELD_OUT, RANDOM
from molsig.evaluate.svg import Dots, Series, dots, lines, matrix, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.evaluate.bootstrap import Figure
    from molsig.evaluate.report import Evaluation, Part

BIGGEST = 16
"""Labels of the confusion matrix; the rest is one row and one column."""
FEWEST_IN_BIN = 10
"""Bars of a reliability diagram with fewer patients are not drawn: they are noise."""


def against_missing(found: Evaluation, scheme: str, figure: str, name: str) -> str:
    """A figure against the share of missing assays, one line per method; the scale spans all schemes."""
    drawn = []
    for method in found.methods:
        parts = [p for share in found.settings.missing if (p := found.part(scheme, method, share))]
        drawn.append(_series(method, [p.missing for p in parts], [p.overall.figures[figure] for p in parts]))
    right = max(*found.settings.missing, 0.1)
    ends = [end for part in found.parts for end in _known(part.overall.figures[figure])]
    scale = ticks(min(ends), max(ends))
    x_label = "share of the query's assays taken away"
    return lines(name, drawn, x_label, name, x_range=(0.0, right), y_range=(scale[0], scale[-1]))


def reliability(parts: Sequence[Part]) -> str:
    """Accuracy against confidence, one line per method; on the diagonal a probability means what it says."""
    drawn = []
    for part in parts:
        bars = [bar for bar in part.reliability if bar.n >= FEWEST_IN_BIN]
        points = [(b.confidence, b.accuracy, b.accuracy_low, b.accuracy_high) for b in bars]
        columns = [tuple(value or 0.0 for value in column) for column in zip(*points, strict=True)]
        drawn.append(Series(part.method, *columns) if columns else Series(part.method, (), ()))
    title = "Reliability diagram"
    return lines(
        title, drawn, "probability of the call", "share of calls that were right", y_range=(0, 1), diagonal=True
    )


def coverage(parts: Sequence[Part]) -> str:
    """Accuracy over the surest patients against how many they are."""
    drawn = [
        _series(part.method, [p.coverage for p in part.coverage], [p.accuracy for p in part.coverage]) for part in parts
    ]
    return lines("Accuracy against coverage", drawn, "share of patients that are called, surest first", "accuracy")


def conformal(parts: Sequence[Part]) -> str:
    """Coverage of the conformal sets against what was promised."""
    drawn = [
        _series(part.method, [p.nominal for p in part.conformal], [p.coverage for p in part.conformal])
        for part in parts
    ]
    low = _least_nominal(parts)
    name = "share of sets that hold the true label"
    return lines("Conformal coverage", drawn, "promised", name, x_range=(low, 1), y_range=(low, 1), diagonal=True)


def set_sizes(parts: Sequence[Part]) -> str:
    """Mean size of the conformal sets against what was promised."""
    drawn = [
        _series(part.method, [p.nominal for p in part.conformal], [p.size for p in part.conformal]) for part in parts
    ]
    low = _least_nominal(parts)
    return lines("Size of conformal sets", drawn, "promised coverage", "labels in a set, mean", x_range=(low, 1))


def confusion(part: Part) -> str:
    """Calls by true label, the commonest labels one by one."""
    labels, table = part.confusion.labels, part.confusion.table
    if len(labels) <= BIGGEST:
        return matrix("Confusion matrix", labels, labels, table)
    some = range(BIGGEST)
    rows = [[*(table[i][j] for j in some), sum(table[i][BIGGEST:])] for i in some]
    rest = [sum(row[j] for row in table[BIGGEST:]) for j in some]
    names = [*labels[:BIGGEST], f"{len(labels) - BIGGEST} others"]
    return matrix(
        "Confusion matrix", names, names, [*rows, [*rest, sum(sum(row[BIGGEST:]) for row in table[BIGGEST:])]]
    )


def leaks(found: Evaluation) -> str:
    """What can be told from the neighbours beside the label, and what chance would tell."""
    rows = []
    for one in sorted(found.leaks, key=lambda leak: leak.scheme != RANDOM):
        for meter in one.meters:
            value, low, high = _known(meter.told)
            marks = (_known(meter.chance_same_label)[0], _known(meter.chance_commonest)[0])
            rows.append(Dots(f"{meter.name}, {one.method}, {SHORT[one.scheme]}", value, low, high, marks))
    rows.sort(key=lambda row: row.name.partition(",")[0])
    name = "share of patients whose value the majority of neighbours has"
    return dots("Leak meters", rows, name, "told", ("chance, same label", "always the commonest"))


SHORT = {HELD_OUT: "held out", RANDOM: "random"}
"""Schemes in a word or two."""


def _least_nominal(parts: Sequence[Part]) -> float:
    return min((p.nominal for part in parts for p in part.conformal), default=0.5)


def _series(name: str, x: Sequence[float], figures: Sequence[Figure]) -> Series:
    """Points whose figure is defined."""
    some = [(at, *_known(figure)) for at, figure in zip(x, figures, strict=True) if figure.value is not None]
    return Series(name, *(tuple(column) for column in zip(*some, strict=True))) if some else Series(name, (), ())


def _known(figure: Figure) -> tuple[float, float, float]:
    """Value and interval; the value alone where no resample gave one."""
    value = 0.0 if figure.value is None else figure.value
    return value, value if figure.low is None else figure.low, value if figure.high is None else figure.high
