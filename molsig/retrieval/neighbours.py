"""How near found patients are to a query in each modality on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store


class Neighbours:
    """Vectors of some patients, read once for all the queries that found them.

    Parameters
    ----------
    store
        The reference's truth.
    spaces
        Spaces to compare in.
    patients
        Ids of found patients.
    """

    def __init__(self, store: Store, spaces: Sequence[str], patients: Sequence[str]) -> None:
        rows, vectors = store.vectors_by_patient(patients, spaces)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = vectors / np.where(norms > 0, norms, 1.0)
        self._rows: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(rows["space"].to_pylist(), rows["patient"].to_pylist(), strict=True)):
            self._rows.setdefault(key, []).append(row)

    def cosines(self, space: str, query: NDArray[np.float32], patients: Sequence[str]) -> dict[str, float]:
        """Best cosine of each patient's rows in `space` with `query` (float32, shape (768,)); no row, no entry."""
        norm = float(np.linalg.norm(query))
        if norm == 0:
            return {}
        unit = query / norm
        rows = {patient: self._rows[space, patient] for patient in patients if (space, patient) in self._rows}
        return {patient: float((self._unit[chosen] @ unit).max()) for patient, chosen in rows.items()}
