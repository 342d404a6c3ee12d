"""What some stored patients say of a label and of the weighted fusion, by what was learned."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.names import names_at, names_of
from molsig.retrieval.patient_vectors import patients_with, summed
from molsig.types import DIM

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
    unheld
        Works out `fused` and `alone` where they are not held.
    """

    patients: tuple[str, ...]
    present: NDArray[np.bool_]
    posterior: Array
    fused: NDArray[np.float32]
    alone: Array
    unheld: Unheld | None = None

    @classmethod
    def of(
        cls, learned: Learned, model: EvidenceModel | None, vectors: PatientVectors, *, whole: bool = True
    ) -> Sayings:
        """Work out what patients say; without a model there are no classes.

        Parameters
        ----------
        whole
            Whether `fused` and `alone` are wanted too; else they have no rows.
        """
        n = len(vectors)
        fused = learned.weighted.fused(vectors) if whole else np.empty((0, DIM), np.float32)
        if model is None:
            return cls(vectors.patients, np.zeros((0, n), bool), np.zeros((n, 0)), fused, np.zeros((0, n, 0)))
        evidence, present = model.evidence(vectors), model.present(vectors)
        posterior = np.exp(model.log_posterior(evidence, present))
        alone = model.alone(evidence) if whole else np.empty((len(present), 0, len(model.classes)))
        return cls(vectors.patients, present, posterior, fused, alone)

    def row(self, patient: str) -> int:
        """The row of a patient; -1 for one who says nothing."""
        row = bisect_left(self.patients, patient)
        return row if row < len(self.patients) and self.patients[row] == patient else -1

    def fused_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weighted sums of some rows, float32 (m, 768)."""
        return self.fused[rows] if self.unheld is None else self.unheld.fused(rows)

    def alone_of(self, rows: NDArray[np.int64]) -> Array:
        """The posterior of some rows from each modality on its own, (modalities, m, classes)."""
        return self.alone[:, rows] if self.unheld is None else self.unheld.alone(rows)


@dataclass(frozen=True, eq=False)
class Unheld:
    """What takes too much memory to be held of all patients, worked out for some rows: either without the other."""

    learned: Learned
    model: EvidenceModel
    vectors: Callable[[NDArray[np.int64]], PatientVectors]

    def fused(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weighted sums, float32 (m, 768)."""
        return self.learned.weighted.fused(self.vectors(rows))

    def alone(self, rows: NDArray[np.int64]) -> Array:
        """The posterior from each modality on its own, (modalities, m, classes)."""
        return self.model.alone(self.model.evidence(self.vectors(rows)))


def vectors_of(
    patients: Sequence[str], codes: Mapping[str, NDArray[np.int64]], views: Mapping[str, SpaceView]
) -> PatientVectors:
    """What patients have in some views, summed; who has nothing is left out.

    Parameters
    ----------
    codes
        By modality, the code of each in its view, int64 (n,); -1 for who is not in it.
    views
        By modality.
    """
    found = {}
    for modality, view in views.items():
        positions, of = view.positions_by_patient(codes[modality])
        counted = ~view.of_kinds(("normal",), positions)
        if not counted.all():
            positions, of = positions[counted], of[counted]
        found[modality] = summed(len(patients), of, positions, view.vectors.take)
    return patients_with(patients, found)


def rows_of(sayings: Sayings, view: SpaceView) -> NDArray[np.int64]:
    """The row of each patient of a view, by code, int64; -1 for who says nothing."""
    row_of = {patient: row for row, patient in enumerate(sayings.patients)}
    return np.array([row_of.get(patient, -1) for patient in names_of(view.patients)], np.int64)


def rows_proposed(
    sayings: Sayings, proposed: Sequence[Sequence[tuple[SpaceView, NDArray[np.int64]]]]
) -> dict[int, NDArray[np.int64]]:
    """The same by view, of the patients who were proposed only."""
    rows_in: dict[int, NDArray[np.int64]] = {}
    row_of = {patient: row for row, patient in enumerate(sayings.patients)}
    for some in proposed:
        for view, codes in some:
            rows = rows_in.setdefault(id(view), np.full(len(view.patients), -1, np.int64))
            rows[codes] = [row_of.get(patient, -1) for patient in names_at(view.patients, codes)]
    return rows_in
