"""Patient columns of hits, given as Python's lists or as Arrow's arrays, whichever is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molsig.index.arrays import integers_to_arrow

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FEW = 32
"""Values of so many hits are taken from their columns one by one, which for ten takes a third of the time."""


def told_as(name: str, taken: Collection[str]) -> str:
    """How a patient column is called beside columns of ours: ``patient.NAME`` where its own name is taken."""
    return f"patient.{name}" if name in taken else name


@dataclass(frozen=True, eq=False)
class PatientColumns:
    """Columns of the patients of some hits.

    Attributes
    ----------
    names
        Of the columns.
    table
        Holds them, for some patients.
    rows
        The row of each hit in it, int64 (m,).
    values
        By name: a whole column as a list, where there is one already.
    """

    names: tuple[str, ...]
    table: pa.Table
    rows: NDArray[np.int64]
    values: dict[str, list[Any]] | None = None

    def at(self, places: NDArray[np.integer]) -> PatientColumns:
        """The same of some of the hits."""
        return PatientColumns(self.names, self.table, self.rows[places], self.values)

    def arrays(self) -> list[pa.ChunkedArray | pa.Array]:
        """Each column as Arrow, a value a hit."""
        rows = integers_to_arrow(self.rows)
        # A chunk's own `take` costs a fraction of the table's.
        return [
            self.table[name].chunk(0).take(rows) if self.table[name].num_chunks == 1 else self.table[name].take(rows)
            for name in self.names
        ]

    def lists(self) -> Sequence[list[Any]]:
        """Each column as a list, a value a hit."""
        if self.values is None and len(self.rows) > FEW:
            return [column.to_pylist() for column in self.arrays()]
        rows = self.rows.tolist()
        if self.values is None:
            columns = [self.table[name] for name in self.names]
            columns = [column.chunk(0) if column.num_chunks == 1 else column for column in columns]
            return [[column[row].as_py() for row in rows] for column in columns]
        return [[values[row] for row in rows] for values in map(self.values.__getitem__, self.names)]
