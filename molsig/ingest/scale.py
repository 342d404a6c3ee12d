"""Units: counts, TPM, FPKM, RSEM and log2 values are recognised and brought to one scale, each sample by itself.

Everything linear ends as ``log2(x + 1)``. A whole transcriptome (10,000 genes or more) is first scaled so that the
sample sums to 20 million: two pipelines that quantify the same specimen then agree but for their own noise, whatever
the sequencing depth. 20 million is the median total of TCGA's normalised RSEM samples (17 to 31 million), so that gene
panels cut from such files, whose library size nobody knows any more, are on the same scale; at one million the + 1
would bend the weakly expressed genes against them.

Counts of a panel are scaled to a mean of 1,000 per gene, which is what a gene of a whole transcriptome then has. Other
values of a panel keep their level: what they were normalised by is no longer in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from molsig.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from molsig.ingest.orientation import RawMatrix

Scale = Literal["auto", "counts", "tpm", "fpkm", "rsem", "linear", "log2", "raw"]
SCALES: tuple[str, ...] = ("auto", "counts", "tpm", "fpkm", "rsem", "linear", "log2", "raw")

LIBRARY_GENES = 10_000
"""Genes from which on the sum of a sample is its library."""

PANEL_GENES = 50
"""Genes from which on the counts of a panel tell its sequencing depth."""

RNA_TOTAL = 2e7
PANEL_MEAN = 1e3
MIRNA_TOTAL = 1e6

LOG2_FLOOR = -2.0
"""log2(x) below this is set to it: pipelines differ in the floor they give to what was not detected."""

_LARGEST_LOG2 = 30.0
_SMALLEST_LINEAR = 50.0
_CENTRED_SHARE = 0.25
_BLOCK_CELLS = 1 << 22


@dataclass(frozen=True, slots=True)
class Judged:
    """What the numbers of a file are.

    Attributes
    ----------
    scale
        ``counts``, ``tpm``, ``fpkm``, ``rsem``, ``linear``, ``log2`` or ``raw``.
    floored
        log2 of x itself with a negative floor, rather than of x + 1.
    """

    scale: str
    floored: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Extremes and shares over all measured values of a matrix."""

    measured: int
    missing: int
    smallest: float
    largest: float
    negative: float
    below_minus_one: float
    at_smallest: float
    integers: bool


def measure(values: NDArray[np.float32]) -> Range:
    """Go over a matrix once. The largest value is NaN where nothing was measured."""
    smallest, largest, measured, integers = np.inf, -np.inf, 0, True
    negative = low = 0
    for _, block in blocks(values):
        known = block[~np.isnan(block)]
        if known.size == 0:
            continue
        measured += known.size
        smallest = min(smallest, float(known.min()))
        largest = max(largest, float(known.max()))
        negative += int((known < 0).sum())
        low += int((known < -1).sum())
        integers = integers and bool((known == np.rint(known)).all())
    if measured == 0:
        return Range(0, values.size, np.nan, np.nan, 0.0, 0.0, 0.0, False)
    floor = sum(int((block == np.float32(smallest)).sum()) for _, block in blocks(values))
    return Range(
        measured,
        values.size - measured,
        smallest,
        largest,
        negative / measured,
        low / measured,
        floor / measured,
        integers,
    )


def blocks(values: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Rows of a matrix in blocks of some megabytes."""
    rows = max(1, _BLOCK_CELLS // max(1, values.shape[1]))
    for start in range(0, values.shape[0], rows):
        part = slice(start, min(start + rows, values.shape[0]))
        yield part, values[part]


def judge(raw: RawMatrix, scale: Scale, found: Range) -> Judged:
    """Tell what the numbers are, or check what the user says they are.

    Raises
    ------
    InputError
        Centred values (z-scores), negative counts, or a range that could be either linear or log2.
    """
    if scale == "raw":
        return Judged("raw", floored=False)
    if scale == "auto":
        scale = _guess(raw, found)
    if scale == "log2":
        return _judge_log2(raw, found)
    if found.negative:
        sample, feature = first_place(raw, lambda block: block < 0)
        row, column = raw.place(sample, feature)
        raise InputError(
            f"{raw.values[sample, feature]:g} is negative, and {scale} cannot be",
            file=raw.file,
            row=row,
            column=column,
            hint="Give the scale that the file has: log2, or raw for centred values",
        )
    warnings: tuple[str, ...] = ()
    if scale == "counts" and not found.integers:
        warnings = ("counts with fractions: taken as expected counts (RSEM, salmon)",)
    return Judged(scale, floored=False, warnings=warnings)


def _guess(raw: RawMatrix, found: Range) -> Scale:
    if found.negative:
        if found.largest > _LARGEST_LOG2:
            return "linear"  # judge() then names the negative cell
        if found.negative > _CENTRED_SHARE and found.at_smallest < 0.01:
            raise InputError(
                f"{found.negative:.0%} of the values are negative: they look centred (z-scores), and what "
                "was taken away cannot be brought back",
                file=raw.file,
                hint="Give the file before centring, or scale='raw' to use the values as they are",
            )
        return "log2"
    if found.integers and found.largest >= _LARGEST_LOG2:
        return "counts"
    if found.largest > _SMALLEST_LINEAR:
        return "linear"
    if found.largest <= _LARGEST_LOG2 and not found.integers:
        return "log2"
    raise InputError(
        f"values from {found.smallest:g} to {found.largest:g} could be log2 or linear",
        file=raw.file,
        hint="Say which with scale='log2', 'counts', 'tpm', 'fpkm', 'rsem' or 'linear'",
    )


def _judge_log2(raw: RawMatrix, found: Range) -> Judged:
    if found.largest > _LARGEST_LOG2:
        raise InputError(
            f"a value of {found.largest:g} cannot be a log2 expression", file=raw.file, hint="Give its scale"
        )
    if found.below_minus_one >= 0.001:
        note = (
            f"log2 without + 1, lowest {found.smallest:.3g}: values below {LOG2_FLOOR:g} count as {LOG2_FLOOR:g}, "
            "which is taken as not detected (0)"
        )
        return Judged("log2", floored=True, notes=(note,))
    notes: tuple[str, ...] = ()
    if found.negative:
        notes = (f"log2(x + 1): {found.negative:.2%} negative values are set to 0",)
    warnings: tuple[str, ...] = ()
    if len(raw.feature_ids) >= LIBRARY_GENES and found.largest < 11.5:
        warnings = (
            f"the largest value is {found.largest:.3g}, low for log2: if these are natural or decadic logarithms, "
            "undo them and ingest linear values",
        )
    return Judged("log2", floored=False, notes=notes, warnings=warnings)


def first_place(raw: RawMatrix, wrong: Callable[[NDArray[np.float32]], NDArray[np.bool_]]) -> tuple[int, int]:
    """(sample, feature) of the first value for which `wrong` holds."""
    for part, block in blocks(raw.values):
        hits = np.argwhere(wrong(block))
        if len(hits):
            return part.start + int(hits[0][0]), int(hits[0][1])
    raise AssertionError("no such value")


def bring_to_log2(
    raw: RawMatrix, judged: Judged, slots: NDArray[np.intp], n_features: int, total: float | None
) -> NDArray[np.float32]:
    """Bring all samples to ``log2(x + 1)``, duplicate features summed on the linear scale, each sample by itself.

    Parameters
    ----------
    slots
        Position of each feature of the file among the `n_features` of the result; -1 for one to leave out.
    total
        Sum to scale each sample to before the logarithm; None leaves its library size as it is.

    Returns
    -------
    NDArray
        float32, shape (n_samples, n_features). On the ``raw`` scale duplicates are averaged and nothing else is done.

    Raises
    ------
    InputError
        A sample in which nothing was measured, or in which everything is zero although it is to be scaled.
    """
    kept = np.flatnonzero(slots >= 0)
    order = kept[np.argsort(slots[kept], kind="stable")]
    starts = np.flatnonzero(np.diff(slots[order], prepend=-1))
    duplicated = len(order) != n_features
    straight = not duplicated and len(order) == len(slots) and bool((order == np.arange(len(slots))).all())
    values = raw.values
    result = values if straight else np.empty((values.shape[0], n_features), dtype=np.float32)
    for part, block in blocks(values):
        chosen = block if straight else block[:, order]
        _check_measured(raw, part, chosen)
        if judged.scale == "raw":
            result[part] = _combine(chosen.astype(np.float64), starts, mean=True) if duplicated else chosen
            continue
        if judged.scale == "log2" and not judged.floored and not duplicated and total is None:
            # Untouched but for negative noise, so that reading a panel gives back the numbers of its file.
            np.maximum(chosen, 0, out=result[part])
            continue
        linear = _linear(chosen.astype(np.float64), judged)
        if duplicated:
            linear = _combine(linear, starts, mean=False)
        if total is not None:
            linear *= total / _library(raw, part, linear)[:, None]
        result[part] = np.log2(linear + 1)
    return result


def _linear(block: NDArray[np.float64], judged: Judged) -> NDArray[np.float64]:
    if judged.scale != "log2":
        return block
    if judged.floored:
        floor = np.exp2(LOG2_FLOOR)
        return np.asarray(np.maximum(np.exp2(np.maximum(block, LOG2_FLOOR)) - floor, 0))
    return np.asarray(np.maximum(np.exp2(block) - 1, 0))


def _combine(block: NDArray[np.float64], starts: NDArray[np.intp], *, mean: bool) -> NDArray[np.float64]:
    missing = np.isnan(block)
    counts = np.add.reduceat((~missing).astype(np.int32), starts, axis=1)
    summed = np.add.reduceat(np.where(missing, 0, block), starts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, summed / counts if mean else summed, np.nan)


def _check_measured(raw: RawMatrix, part: slice, block: NDArray[np.float32]) -> None:
    empty = np.flatnonzero(np.isnan(block).all(axis=1))
    if len(empty):
        sample = part.start + int(empty[0])
        raise InputError(
            f"sample {raw.sample_ids[sample]!r} has no measured value",
            file=raw.file,
            row=raw.sample_row(sample),
            hint="Remove it from the file",
        )


def _library(raw: RawMatrix, part: slice, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.nansum(linear, axis=1)
    if not sums.all():
        sample = part.start + int(np.flatnonzero(sums == 0)[0])
        raise InputError(
            f"sample {raw.sample_ids[sample]!r} is zero in every feature",
            file=raw.file,
            row=raw.sample_row(sample),
            hint="Remove it: the assay has failed",
        )
    return np.asarray(sums)
