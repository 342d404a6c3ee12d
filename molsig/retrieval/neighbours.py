"""How near found patients are to a query in each modality on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store


class Neighbours:
    """Vectors of some patients in one space, read once for all the queries that found them.

    Parameters
    ----------
    store
        The reference's truth.
    space
        Space to compare in.
    patients
        Ids of found patients.
    """

    def __init__(self, store: Store, space: str, patients: Sequence[str]) -> None:
        rows = store.rows(space)
        rows = rows.filter(pc.is_in(rows["patient"], pa.array(patients, pa.string())))
        ids, vectors = store.vectors(space, rows["id"].to_numpy())
        owner = dict(zip(rows["id"].to_pylist(), rows["patient"].to_pylist(), strict=True))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = vectors / np.where(norms > 0, norms, 1.0)
        self._rows: dict[str, list[int]] = {}
        for row, number in enumerate(ids.tolist()):
            self._rows.setdefault(owner[number], []).append(row)

    def cosines(self, query: NDArray[np.float32], patients: Sequence[str]) -> dict[str, float]:
        """Best cosine of each patient's rows with `query` (float32, shape (768,)); without a row, no entry."""
        norm = float(np.linalg.norm(query))
        if norm == 0:
            return {}
        unit = query / norm
        return {p: float((self._unit[self._rows[p]] @ unit).max()) for p in patients if p in self._rows}
