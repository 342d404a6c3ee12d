"""Cosines of float32 rows with float64 directions: compiled where a compiler was at hand when molsig was installed, by
numpy elsewhere, to the same bits on every machine.

Products are made in float64 and added up in `LANES` sums, number i to sum i modulo `LANES`, which are then folded in
halves; the total is divided by the row's length and rounded to float32. A library's own product sums in an order that
depends on the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from molsig.index.compiled import compiled_part
from molsig.types import DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Of the compiled parts that are used."""
_compiled = compiled_part("_cosines", VERSION)

LANES = 32
UNIT = 32_000
"""Length of the longest centre of a cell in steps of 16 bits: products of two such lengths fit into 32."""
BLOCK_ROWS = 64
"""Rows that numpy multiplies at a time: as float64 they and their queries fit into the processor's cache."""


def best_of_rows() -> Any:
    """Return the compiled way to the best of proposed rows, which `best_rows` calls; None where it is not there."""
    return None if _compiled is None else _compiled.best


def nearest_cells() -> Any:
    """Return the compiled choice of cells for one query, which `IvfRabitq` calls; None where it is not there."""
    return None if _compiled is None else _compiled.cells


def unit(
    vectors: NDArray[np.float32] | NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float32], int]:
    """Return vectors (q, 768) at unit length, as float64 and float32, and the first that is zero or not finite, or -1.

    From that one on nothing is meant by them.
    """
    if _compiled is not None:
        given = _plain(vectors)
        units, rounded = np.empty(given.shape), np.empty(given.shape, np.float32)
        return units, rounded, _compiled.unit(given, units, rounded)
    units = np.array(vectors, np.float64)
    lengths = np.sqrt(_folded(units * units))
    # What is not a number fails both comparisons.
    bad = np.flatnonzero(~((lengths > 0) & (lengths < np.inf)))
    if len(bad):
        lengths[bad] = 1
    units /= lengths[:, None]
    return units, units.astype(np.float32), int(bad[0]) if len(bad) else -1


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the lengths of vectors (m, 768) as float64 (m,), 1 for one of zeros."""
    found = np.empty(len(vectors))
    if _compiled is not None:
        _compiled.lengths(_plain(vectors), found)
        return found
    for start in range(0, len(vectors), BLOCK_ROWS):
        some = vectors[start : start + BLOCK_ROWS].astype(np.float64)
        found[start : start + BLOCK_ROWS] = np.sqrt(_folded(some * some))
    found[found == 0] = 1
    return found


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """The same array as compiled code reads it: in one piece, each number where a number may begin."""
    return array if array.flags.carray else np.require(array, requirements=["C", "A"])


def cosines(
    directions: NDArray[np.float64],
    queries: NDArray[np.int64],
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    lengths: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the cosine of direction `queries[i]` and row `rows[i]`, which is `lengths[i]` long, for each i; (m,)."""
    scores = np.empty(len(rows), np.float32)
    if _compiled is not None:
        given: list[NDArray[Any]] = [directions, queries, vectors, rows, lengths]
        _compiled.pairs(*[_plain(one) for one in given], scores)
        return scores
    for start in range(0, len(rows), BLOCK_ROWS):
        some = slice(start, start + BLOCK_ROWS)
        found = vectors.take(rows[some], axis=0).astype(np.float64)
        found *= directions[0] if len(directions) == 1 else directions.take(queries[some], axis=0)
        scores[some] = _folded(found) / lengths[some]
    return scores


def _folded(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the last axis of (m, 768)."""
    parts = products.reshape(len(products), DIM // LANES, LANES)
    sums = parts[:, 0] + parts[:, 1]
    for number in range(2, DIM // LANES):
        sums += parts[:, number]
    width = LANES // 2
    while width:
        sums = sums[:, :width] + sums[:, width : 2 * width]
        width //= 2
    # Never -0.0, as where a sum begins with 0.
    sums += 0.0
    found: NDArray[np.float64] = sums[:, 0]
    return found
