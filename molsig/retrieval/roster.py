"""The patients of several views together, numbered in the order of their names."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.index.names import coded, names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from molsig.index.view import SpaceView


@dataclass(frozen=True, eq=False)
class Roster:
    """Who is in any of some views.

    Attributes
    ----------
    names
        Ids, sorted.
    numbers
        By space, the number of each of its view's patients, int64 (patients of the view,), ascending.
    """

    names: list[str]
    numbers: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, views: Mapping[str, SpaceView]) -> Roster:
        """The patients of views by space, at least one."""
        columns = [view.patients for view in views.values()]
        if all(column.equals(columns[0]) for column in columns[1:]):
            return cls(names_of(columns[0]), dict.fromkeys(views, np.arange(len(columns[0]))))
        names, codes = coded(pa.concat_arrays(columns))
        ends = np.cumsum([0, *map(len, columns)])
        parts = (codes[begin:end].astype(np.int64) for begin, end in itertools.pairwise(ends))
        return cls(names, dict(zip(views, parts, strict=True)))

    def codes(self, space: str) -> NDArray[np.int64]:
        """The code that each patient has in the view of a space, int64 (n,); -1 for who is not in it."""
        numbers = self.numbers[space]
        found = np.full(len(self.names), -1, np.int64)
        found[numbers] = np.arange(len(numbers))
        return found
