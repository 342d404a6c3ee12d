"""How near found patients are to a query in each modality on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molsig.index.names import names_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store


class Neighbours:
    """Vectors of some patients, read once for all the queries that found them.

    Parameters
    ----------
    store, searcher
        The reference; spaces that the searcher has at hand are not read again.
    spaces
        Spaces to compare in.
    patients
        Ids of found patients.
    """

    def __init__(self, store: Store, searcher: Searcher, spaces: Sequence[str], patients: Sequence[str]) -> None:
        self._unit: dict[str, NDArray[np.float32]] = {}
        self._rows: dict[tuple[str, str], list[int]] = {}
        views = {space: searcher.held(space) for space in spaces}
        if unread := [space for space, view in views.items() if view is None]:
            rows, vectors = store.vectors_by_patient(patients, unread)
            owners, read = rows["patient"].to_pylist(), np.array(rows["space"].to_pylist(), dtype=np.str_)
            for space in unread:
                chosen = np.flatnonzero(read == space)
                self._add(space, [owners[row] for row in chosen], vectors[chosen])
        for space, view in views.items():
            if view is not None:
                positions = view.positions_of(patients)
                of = names_at(view.patients, view.codes[positions].astype(np.int64))
                self._add(space, of, view.vectors.take(positions))

    def _add(self, space: str, patients: Sequence[str], vectors: NDArray[np.float32]) -> None:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit[space] = np.asarray(vectors / np.where(norms > 0, norms, 1.0), dtype=np.float32)
        for row, patient in enumerate(patients):
            self._rows.setdefault((space, patient), []).append(row)

    def cosines(self, space: str, query: NDArray[np.float32], patients: Sequence[str]) -> dict[str, float]:
        """Best cosine of each patient's rows in `space` with `query` (float32, shape (768,)); no row, no entry."""
        norm = float(np.linalg.norm(query))
        if norm == 0:
            return {}
        unit = query / norm
        rows = {patient: self._rows[space, patient] for patient in patients if (space, patient) in self._rows}
        return {patient: float((self._unit[space][chosen] @ unit).max()) for patient, chosen in rows.items()}
