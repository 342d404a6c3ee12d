"""Which features of a matrix an expression encoder takes, and why the others stay out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from molsig.encoders.disk import ENCODED
from molsig.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from molsig.types import FeatureMatrix

MOST_FEATURES = 5000
"""Most features of one encoder; of more, well expressed ones go first, then those that vary most."""

SCATTERED_SHARE = 0.02
"""Share of the samples in which a feature may be unmeasured and still be encoded."""

BLOCK_FEATURES = 10
"""So many features, absent from exactly the same samples, were never on their platform: no scattered failure."""

LOWEST_MEAN = 1.0
"""Mean log2(x + 1) below which a feature is hardly expressed: its standardised values would be counting noise."""

WELL_EXPRESSED = 6.0
"""Mean log2(x + 1) from which a feature goes before weaker ones: about 3 reads per million in a transcriptome brought
to 20 million. Weaker genes vary by chance, and are the non-coding and lately named ones that other annotations lack."""

ABSENT = "not measured in every group of samples"
CONSTANT = "constant"
SILENT = "hardly expressed"
STEADY = f"weaker or less variable than the {MOST_FEATURES} kept"

_BLOCK_CELLS = 1 << 23


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows that hold about 8 million cells each, so that temporaries stay small beside a large matrix."""
    step = max(1, _BLOCK_CELLS // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def choose_features(matrix: FeatureMatrix, *, faint: bool = False, absent: bool = False) -> dict[str, str]:
    """Say of every feature whether it is encoded or why not.

    A feature that whole groups of samples lack is left out rather than filled in: in public cohorts what was not
    measured tells the tumour type, and an encoder would learn that instead of biology. Scattered gaps are tolerated.

    Parameters
    ----------
    faint
        Take hardly expressed features too, for a network whose input does not lift them to the level of the others.
    absent
        Take features that whole groups lack too; they are put at their mean where they are missing.

    Returns
    -------
    dict of str to str
        Use of each feature in the order of the matrix: ``encoded`` or a reason.

    Raises
    ------
    InputError
        A feature comes twice, a value is infinite, or fewer than two features are left.
    """
    if twice := [name for name, count in Counter(matrix.features).items() if count > 1]:
        raise InputError("the feature comes more than once", file=matrix.report.file, column=twice[0])
    missing, mean, deviation = _column_statistics(matrix)
    n = len(matrix.samples)
    lacking = missing > max(1.0, SCATTERED_SHARE * n)
    lacking |= _blocks(matrix, np.flatnonzero((missing > 0) & ~lacking))
    if absent:
        lacking = missing == n
    constant = ~lacking & ~(deviation > 1e-6)
    weak_on_average = mean < LOWEST_MEAN if matrix.scale == "log2" and not faint else np.zeros_like(lacking)
    silent = ~lacking & ~constant & weak_on_average
    candidates = np.flatnonzero(~(lacking | constant | silent))
    weak = mean[candidates] < WELL_EXPRESSED if matrix.scale == "log2" else np.zeros(len(candidates), dtype=bool)
    # lexsort is stable: features that tie keep the order of the file.
    steady = candidates[np.lexsort((-deviation[candidates], weak))[MOST_FEATURES:]]
    use = np.full(len(matrix.features), ENCODED, dtype=object)
    for reason, members in ((ABSENT, lacking), (CONSTANT, constant), (SILENT, silent), (STEADY, steady)):
        use[members] = reason
    uses = dict(zip(matrix.features, use.tolist(), strict=True))
    if sum(one == ENCODED for one in uses.values()) < 2:
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(uses.values()).items())
        raise InputError(
            f"fewer than two of the {len(uses)} features can be encoded ({counts or 'the file has none'})",
            file=matrix.report.file,
            hint="Check that samples and features are not swapped and that the file holds more than a few samples",
        )
    return uses


def absent_in_groups(matrix: FeatureMatrix) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Features that many samples lack together, as pairs of features and samples, the largest group of features first.

    Groups are told from each other by which samples lack them; at least `BLOCK_FEATURES` features make one.
    """
    few = max(1.0, SCATTERED_SHARE * len(matrix.samples))
    groups: dict[bytes, list[int]] = defaultdict(list)
    for column in range(len(matrix.features)):
        gaps = np.isnan(matrix.values[:, column])
        if gaps.sum() > few:
            groups[np.packbits(gaps).tobytes()].append(column)
    found = [np.array(columns) for columns in groups.values() if len(columns) >= BLOCK_FEATURES]
    found.sort(key=lambda columns: (-len(columns), columns[0]))
    return [(columns, np.flatnonzero(np.isnan(matrix.values[:, columns[0]]))) for columns in found]


def positions(features: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    """Column of each wanted feature, -1 where it is not there."""
    place = {name: column for column, name in enumerate(features)}
    return np.fromiter((place.get(name, -1) for name in wanted), dtype=np.int64, count=len(wanted))


def gather(values: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows and columns of a matrix as a new array, NaN where the column is -1."""
    there = columns >= 0
    if there.all():
        return values[rows[:, None], columns]
    out = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
    out[:, there] = values[rows[:, None], columns[there]]
    return out


def _column_statistics(
    matrix: FeatureMatrix,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Number of gaps, mean and standard deviation of each column; NaN for one without a value."""
    values = matrix.values
    n, width = values.shape
    missing = np.zeros(width, dtype=np.int64)
    total = np.zeros(width)
    for block in row_blocks(n, width):
        part = values[block]
        gaps = np.isnan(part)
        if np.isinf(part).any():
            row, column = np.argwhere(np.isinf(part))[0]
            raise InputError(
                f"an infinite value in sample {matrix.samples[block.start + row].sample}",
                file=matrix.report.file,
                column=matrix.features[column],
            )
        missing += gaps.sum(axis=0)
        total += np.where(gaps, 0, part).sum(axis=0, dtype=np.float64)
    count = np.where(missing < n, n - missing, np.nan)
    mean = total / count
    squares = np.zeros(width)
    for block in row_blocks(n, width):
        squares += np.nan_to_num(np.square(values[block] - mean)).sum(axis=0)
    return missing, mean, np.sqrt(squares / count)


def _blocks(matrix: FeatureMatrix, candidates: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Columns that share their gaps, in two samples or more, with at least `BLOCK_FEATURES` - 1 others."""
    alike: dict[bytes, list[int]] = defaultdict(list)
    for column in candidates:
        gaps = np.isnan(matrix.values[:, column])
        if gaps.sum() > 1:
            alike[np.packbits(gaps).tobytes()].append(int(column))
    found = np.zeros(len(matrix.features), dtype=bool)
    for columns in alike.values():
        found[columns] = len(columns) >= BLOCK_FEATURES
    return found
