"""What some stored patients say of a label and of the weighted fusion, by what was learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.names import names_at, names_of
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
        view = views[space]
        positions, of = view.positions_by_patient(patients)
        counted = ~view.of_kinds(("normal",))[positions]
        positions, of = positions[counted], of[counted]
        found[modality] = summed(len(patients), of, positions, view.vectors.take)
    return patients_with(patients, found)


def rows_of(sayings: Sayings, view: SpaceView) -> NDArray[np.int64]:
    """The row of each patient of a view, by code, int64; -1 for who says nothing."""
    return np.array([sayings.row_of.get(patient, -1) for patient in names_of(view.patients)], np.int64)


def rows_proposed(
    sayings: Sayings, proposed: Sequence[Sequence[tuple[SpaceView, NDArray[np.int64]]]]
) -> dict[int, NDArray[np.int64]]:
    """The same by view, of the patients who were proposed only."""
    rows_in: dict[int, NDArray[np.int64]] = {}
    for some in proposed:
        for view, codes in some:
            rows = rows_in.setdefault(id(view), np.full(len(view.patients), -1, np.int64))
            rows[codes] = [sayings.row_of.get(patient, -1) for patient in names_at(view.patients, codes)]
    return rows_in
