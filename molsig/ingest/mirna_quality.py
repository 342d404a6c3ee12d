"""Which miRNA libraries are good enough to learn from: reads, interquartile range, size of the class; what and why.

After the Deep Neural Map study (doi:10.1186/s12859-022-04559-4, Methods): samples under one million reads are left out,
outliers by the interquartile-range method, and classes of tissue and neoplasticity of fewer than 10 samples. The study
does not say of what the range is taken. Here it is the logarithm of the reads, a technical figure. By the number of
detected miRNAs 71 % of the testicular tumours of TCGA would go, for what is their biology.

The rules are for what an encoder learns from. What is stored is the user's to say: of the leukaemias of TCGA 87 % have
fewer than a million reads, and a reference without them would call the next one something else.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

LEAST_READS = 1_000_000

WHISKER = 1.5
"""Interquartile ranges beyond the quartiles from which on a sample is an outlier (Tukey 1977)."""

SMALLEST_CLASS = 10

FEWEST_SAMPLES = 20
"""Below so many samples quartiles say nothing of outliers."""

_SHOWN = 5


def low_quality(matrix: FeatureMatrix) -> dict[int, str]:
    """Rows that should be left out, and why; none where the file holds no counts."""
    if matrix.reads is None:
        return {}
    reasons = {
        int(row): f"fewer than {LEAST_READS:,} reads ({matrix.reads[row]:,.0f})"
        for row in np.flatnonzero(matrix.reads < LEAST_READS)
    }
    good = np.setdiff1d(np.arange(len(matrix.samples)), list(reasons))
    if len(good) < FEWEST_SAMPLES:
        return reasons
    figure = np.log10(np.maximum(matrix.reads, 1))
    low, high = _fences(figure[good])
    for row in good[(figure[good] < low) | (figure[good] > high)]:
        reasons[int(row)] = f"outlier in log10 reads ({figure[row]:.4g}, others {low:.4g} to {high:.4g})"
    return reasons


def small_classes(matrix: FeatureMatrix, tissue: Mapping[str, str], without: Collection[int] = ()) -> dict[int, str]:
    """Rows whose class, tissue of the patient and kind of the sample, has too few samples; unknown tissues pass.

    `without` are rows that count for nothing, since they are left out already.
    """
    classes = [
        (tissue[one.patient], "normal" if one.kind == "normal" else "neoplastic")
        if one.patient in tissue and row not in without
        else None
        for row, one in enumerate(matrix.samples)
    ]
    sizes = Counter(classes)
    return {
        row: f"class of fewer than {SMALLEST_CLASS} samples ({one[0]} {one[1]}, {sizes[one]})"
        for row, one in enumerate(classes)
        if one is not None and sizes[one] < SMALLEST_CLASS
    }


def told(matrix: FeatureMatrix, reasons: Mapping[int, str]) -> tuple[str, ...]:
    """One line for each kind of reason, with how many samples it concerns and the first of them."""
    groups: dict[str, list[int]] = {}
    for row, reason in reasons.items():
        groups.setdefault(reason.partition(" (")[0], []).append(row)
    lines = []
    for reason, rows in groups.items():
        names = ", ".join(f"{matrix.samples[row].sample} ({reasons[row].partition(' (')[2]}" for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
        lines.append(f"{len(rows):,} samples, {reason}: {names}{more}")
    return tuple(lines)


def _fences(figure: NDArray[np.float64]) -> tuple[float, float]:
    first, third = np.quantile(figure, [0.25, 0.75])
    reach = WHISKER * (third - first)
    return float(first - reach), float(third + reach)
