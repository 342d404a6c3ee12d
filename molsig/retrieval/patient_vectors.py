"""The vectors of many patients in memory: one 768-d vector per modality, or none where a patient lacks the assay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.index.names import coded, one_chunk
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store

_AT_A_TIME = 512
"""Vectors of patients with several that are read at a time (1.5 MB): they are summed while they are in the cache."""


@dataclass(frozen=True, eq=False)
class PatientVectors:
    """Patients and what is known of each, modality by modality.

    Attributes
    ----------
    patients
        Ids, one per row.
    vectors
        By modality: float32 (n, 768), the sum of a patient's vectors of that modality; zeros where there is none.
    present
        By modality: bool (n,), whether the patient has that modality.
    """

    patients: tuple[str, ...]
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        n = len(self.patients)
        if self.vectors.keys() != self.present.keys():
            raise UsageError("vectors and present name different modalities")
        for modality, block in self.vectors.items():
            if block.shape != (n, DIM) or self.present[modality].shape != (n,):
                raise UsageError(f"{modality}: {block.shape} vectors for {n} patients of {DIM} dimensions")

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, sorted."""
        return tuple(sorted(self.vectors))

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> PatientVectors:
        """Some patients, in the order of `rows`."""
        chosen = np.asarray(rows, dtype=np.int64)
        return PatientVectors(
            tuple(self.patients[row] for row in chosen),
            {modality: block[chosen] for modality, block in self.vectors.items()},
            {modality: held[chosen] for modality, held in self.present.items()},
        )

    def only(self, modalities: Sequence[str]) -> PatientVectors:
        """The same patients with some of the modalities."""
        return PatientVectors(
            self.patients,
            {modality: self.vectors[modality] for modality in modalities},
            {modality: self.present[modality] for modality in modalities},
        )

    def keep(self, kept: Mapping[str, NDArray[np.bool_]]) -> PatientVectors:
        """The same patients without the assays that `kept` marks False: bool (n,) by modality, others stay."""
        present = {m: held & kept.get(m, np.True_) for m, held in self.present.items()}
        return PatientVectors(
            self.patients,
            {m: np.where(present[m][:, None], block, np.float32(0)) for m, block in self.vectors.items()},
            present,
        )

    def matrix_present(self) -> NDArray[np.bool_]:
        """Which patient has which of `modalities`, (n, modalities)."""
        return np.stack([self.present[modality] for modality in self.modalities], axis=1)

    def sums(self) -> NDArray[np.float32]:
        """Summed aggregate of each patient, float32 (n, 768)."""
        total = np.zeros((len(self), DIM))
        for modality in self.modalities:
            total += self.vectors[modality]
        return total.astype(np.float32)


def drop_assays(vectors: PatientVectors, share: float, seed: int) -> PatientVectors:
    """Take away each assay with probability `share`; a patient who would be left with none keeps one of theirs.

    Every patient with an assay keeps at least one, drawn at random, so that the same patients can be asked about at
    every share.
    """
    rng = np.random.default_rng(seed)
    held = vectors.matrix_present()
    draw = rng.random(held.shape)
    kept = held & (draw >= share)
    # Of those left with nothing the assay with the largest draw stays: a random one.
    bare = held.any(axis=1) & ~kept.any(axis=1)
    last = np.where(held, draw, -1.0).argmax(axis=1)
    kept[np.flatnonzero(bare), last[bare]] = True
    return vectors.keep({modality: kept[:, i] for i, modality in enumerate(vectors.modalities)})


def load_patient_vectors(store: Store, modalities: Sequence[str] | None = None) -> PatientVectors:
    """Read the vectors that aggregates sum: active spaces, every sample but normal ones.

    Parameters
    ----------
    store
        The reference's truth.
    modalities
        Modalities to read; all by default.

    Raises
    ------
    UsageError
        A modality is not stored.
    """
    spaces = store.active_spaces()
    wanted = sorted(spaces) if modalities is None else list(modalities)
    if unknown := [modality for modality in wanted if modality not in spaces]:
        raise UsageError(f"no {unknown[0]} vectors are stored; there are {', '.join(sorted(spaces))}")
    patients = store.patient_ids()
    number_of = {patient: number for number, patient in enumerate(patients)}
    found: dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}
    for modality in wanted:
        rows = store.rows(spaces[modality])
        _, block = store.vectors(spaces[modality])
        names, codes = coded(one_chunk(rows["patient"]))
        kinds, kind = coded(one_chunk(rows["kind"]))
        counted = np.flatnonzero(np.array([name != "normal" for name in kinds], bool)[kind])
        of = np.array([number_of[name] for name in names], np.int64)[codes[counted]]
        found[modality] = summed(len(patients), of, counted, block.__getitem__)
    return patients_with(patients, found)


def summed(
    patients: int,
    of: NDArray[np.int64],
    places: NDArray[np.int64],
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sum the vectors that patients have in one space.

    Parameters
    ----------
    patients
        How many there are.
    of
        Whose each vector is, (vectors,), below `patients`.
    places
        By what `read` knows it, (vectors,).
    read
        Gives the vectors at some places, float32 (m, 768).

    Returns
    -------
    sums, present
        float32 (patients, 768), summed in float64 in the order of `of`, and who has any, (patients,).
    """
    counts = np.bincount(of, minlength=patients)
    order = places[np.argsort(of, kind="stable")]
    ends = np.cumsum(counts)
    alone = np.flatnonzero(counts == 1)
    if len(alone) == patients:
        return read(order), np.ones(patients, bool)
    total = np.zeros((patients, DIM), dtype=np.float32)
    total[alone] = read(order[ends[alone] - 1])
    several = np.flatnonzero(counts > 1)
    reach = np.cumsum(counts[several])
    first, done = 0, 0
    while first < len(several):
        stop = max(first + 1, int(np.searchsorted(reach, done + _AT_A_TIME, side="right")))
        some = several[first:stop]
        vectors = read(np.concatenate([order[ends[one] - counts[one] : ends[one]] for one in some]))
        for one, end in zip(some.tolist(), (reach[first:stop] - done).tolist(), strict=True):
            # Down the rows, one after the other: no rounding depends on which other patients are summed.
            total[one] = np.add.reduce(vectors[end - counts[one] : end], axis=0, dtype=np.float64)
        first, done = stop, int(reach[stop - 1])
    return total, counts > 0


def patients_with(
    patients: Sequence[str], found: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]
) -> PatientVectors:
    held = np.zeros(len(patients), dtype=bool)
    for _, present in found.values():
        held |= present
    vectors = PatientVectors(
        tuple(patients),
        {m: block for m, (block, _) in found.items()},
        {m: present for m, (_, present) in found.items()},
    )
    return vectors if held.all() else vectors.take(np.flatnonzero(held))


def nearest_rows(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `k` best columns of each row, best first; of equal scores the earlier column comes first.

    Returns
    -------
    columns, scores
        Shape (n, min(k, columns)).
    """
    n = scores.shape[1]
    k = min(k, n)
    if k < n:
        rough = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        # Equal scores at the edge: take the earliest columns that reach the k-th score.
        edge = np.take_along_axis(scores, rough, axis=1).min(axis=1, keepdims=True)
        ties = (scores == edge).sum(axis=1) > (np.take_along_axis(scores, rough, axis=1) == edge).sum(axis=1)
        for row in np.flatnonzero(ties):
            rough[row] = np.argsort(-scores[row], kind="stable")[:k]
    else:
        rough = np.broadcast_to(np.arange(n), scores.shape).copy()
    rough.sort(axis=1)
    found = np.take_along_axis(scores, rough, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(rough, order, axis=1).astype(np.int64), np.take_along_axis(found, order, axis=1)
