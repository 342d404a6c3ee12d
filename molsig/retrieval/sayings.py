"""What some stored patients say of a label and of the weighted fusion, by what was learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import integers, integers_to_arrow
from molsig.retrieval.patient_vectors import patients_with, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.view import SpaceView
    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sayings:
    """What some stored patients say.

    Attributes
    ----------
    patients
        Ids, sorted.
    present
        Which modality of the evidence each has, (modalities, n).
    posterior
        Probability of each class, (n, classes).
    fused
        Weighted sums at length 1, float32 (n, 768); none where they are worked out when they are asked for.
    alone
        The posterior from each modality on its own, (modalities, n, classes); none where `fused` has none.
    read
        Works out what some patients say, in their order, where that is not held.
    """

    patients: tuple[str, ...]
    present: NDArray[np.bool_]
    posterior: Array
    fused: NDArray[np.float32]
    alone: Array
    read: Callable[[Sequence[str]], Sayings] | None = None

    @classmethod
    def of(cls, learned: Learned, model: EvidenceModel | None, vectors: PatientVectors) -> Sayings:
        """Work out what patients say; without a model there are no classes."""
        fused = learned.weighted.fused(vectors)
        n = len(vectors)
        if model is None:
            return cls(vectors.patients, np.zeros((0, n), bool), np.zeros((n, 0)), fused, np.zeros((0, n, 0)))
        evidence, present = model.evidence(vectors), model.present(vectors)
        posterior = np.exp(model.log_posterior(evidence, present))
        return cls(vectors.patients, present, posterior, fused, model.alone(evidence))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each patient."""
        return {patient: row for row, patient in enumerate(self.patients)}

    def fused_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weighted sums of some rows, float32 (m, 768)."""
        return self.fused[rows] if self.read is None else self._of(rows).fused

    def alone_of(self, rows: NDArray[np.int64]) -> Array:
        """The posterior of some rows from each modality on its own, (modalities, m, classes)."""
        return self.alone[:, rows] if self.read is None else self._of(rows).alone

    def _of(self, rows: NDArray[np.int64]) -> Sayings:
        assert self.read is not None
        return self.read([self.patients[row] for row in rows.tolist()])


def vectors_of(patients: Sequence[str], spaces: Mapping[str, str], views: Mapping[str, SpaceView]) -> PatientVectors:
    """What patients have in some spaces, summed; who has nothing is left out."""
    found = {}
    for modality, space in spaces.items():
        positions = views[space].positions_of(patients)
        rows = views[space].rows.take(integers_to_arrow(positions))
        found[modality] = summed(patients, rows, views[space].vectors.take(positions))
    return patients_with(patients, found)


def rows_of(sayings: Sayings, view: SpaceView) -> NDArray[np.int64]:
    """The row of each patient of a view, by code, int64; -1 for who says nothing."""
    names = pa.array(sayings.patients, pa.string())
    return integers(pc.index_in(view.patients, value_set=names).fill_null(-1))
