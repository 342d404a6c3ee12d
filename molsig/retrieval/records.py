"""Hits as dictionaries, for single queries asked one after the other: copies of what was made once of all rows.

To pick ten rows out of ten columns finds a hundred objects all over memory; a copied dictionary has them in one place.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from molsig.index.hits import Ranked
    from molsig.index.patient_columns import PatientColumns
    from molsig.index.view import SpaceView

MADE_CELLS = 1_000_000
"""Rows times columns up to which they are made (some 50 MB), once a `MADE_SHARE`-th of the rows was asked for."""
MADE_SHARE = 64


class Records:
    """Records of the rows of a view.

    Parameters
    ----------
    view
        Whose rows they are.
    said
        What is said of each of its patients, in their order.
    names
        How the columns are called: query, rank, patient, sample, item, score, and what is said.
    """

    def __init__(self, view: SpaceView, said: PatientColumns, names: Sequence[str]) -> None:
        self._view, self._said, self._names = view, said, tuple(names)
        self._asked = 0
        self._made: list[dict[str, Any]] | None = None

    def of(self, ranked: Ranked) -> list[dict[str, Any]] | None:
        """Return those of one query's hits; None until enough were asked for, or where all are too many."""
        made = self._made
        if made is None:
            rows = len(self._view.ids)
            self._asked += len(ranked.positions)
            if rows * len(self._names) > MADE_CELLS or rows > MADE_SHARE * self._asked:
                return None
            made = self._made = self._make(rows)
        rank, score = self._names[1], self._names[5]
        hits = zip(ranked.positions.tolist(), ranked.ranks.tolist(), ranked.scores.tolist(), strict=True)
        found = []
        for row, place, cosine in hits:
            one = made[row].copy()
            one[rank], one[score] = place, cosine
            found.append(one)
        return found

    def _make(self, rows: int) -> list[dict[str, Any]]:
        """As the first hit of the first query, without its score."""
        # The very texts that the view has listed by now.
        told = [self._view.texts[name].at(range(rows)) for name in ("patient", "sample", "item")]
        said = self._said.at(self._view.codes).lists()
        columns = zip([0] * rows, [0] * rows, *told, [0.0] * rows, *said, strict=True)
        return list(map(dict, map(zip, repeat(self._names), columns)))
