"""How alike two patients are in one modality beside pairs of patients drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.retrieval.patient_vectors import summed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.view import SpaceView

    Rows = NDArray[np.int64]

MOST_PATIENTS = 1000
MOST_ROWS = 20_000
"""Of patients drawn: whoever has many rows, such as sentences or tiles, makes them fewer."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows of patients drawn from a space: their positions in the view, and whose each is, from 0."""

    positions: Rows
    owners: Rows

    @property
    def patients(self) -> int:
        """How many."""
        return int(self.owners[-1]) + 1 if len(self.owners) else 0


def draw(view: SpaceView, kinds: Sequence[str], left_out: Sequence[str], seed: int) -> Drawn:
    """Patients with samples of some kinds in random order, until there are enough of them or of their rows."""
    rows = view.in_play(None, (), kinds).rows
    rows = np.arange(len(view.ids)) if rows is None else rows
    rows = rows[~np.isin(view.codes[rows], view.codes_of(left_out))]
    codes, owner = np.unique(view.codes[rows], return_inverse=True)
    place = np.empty(len(codes), dtype=np.int64)
    place[np.random.default_rng(seed).permutation(len(codes))] = np.arange(len(codes))
    order = np.argsort(place[owner], kind="stable")
    rows, of = rows[order], place[owner][order]
    most = int(np.searchsorted(of, MOST_PATIENTS))
    if most > MOST_ROWS:
        # Whole patients only, but the first one in any case.
        most = max(int(np.searchsorted(of, of[MOST_ROWS])), int(np.searchsorted(of, 1)))
    return Drawn(rows[:most], of[:most])


def share_less_alike(view: SpaceView, drawn: Drawn, cosine: float) -> tuple[float | None, int]:
    """Share of the pairs of drawn patients whose summed vectors have a lower cosine, and how many pairs there are."""
    if drawn.patients < 2:
        return None, 0
    sums, _ = summed(drawn.patients, drawn.owners, drawn.positions, view.vectors.take)
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    found = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float((found < cosine).mean()), len(found)
