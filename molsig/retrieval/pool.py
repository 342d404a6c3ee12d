"""All vectors that aggregates can be drawn from: one row per embedding, with its modality and its patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store

MOST_ROWS = 100_000
"""Most rows of a modality that are read into a pool: sentences and tiles can be many, and so many show their spread."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Embeddings of several modalities and whose they are.

    Attributes
    ----------
    modalities
        Names, in the order of the codes.
    patients
        Ids, in the order of the codes.
    vectors
        float32 (n, 768).
    modality, patient
        Codes of each row, int64 (n,).
    """

    modalities: tuple[str, ...]
    patients: tuple[str, ...]
    vectors: NDArray[np.float32]
    modality: NDArray[np.int64]
    patient: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.vectors)
        if self.vectors.ndim != 2 or self.vectors.shape[1] != DIM:
            raise UsageError(f"a pool holds vectors of {DIM} dimensions, not an array of shape {self.vectors.shape}")
        if self.modality.shape != (n,) or self.patient.shape != (n,):
            raise UsageError(f"{n} vectors need {n} modalities and patients")

    @classmethod
    def of(cls, vectors: Mapping[str, NDArray[np.float32]], patients: Mapping[str, Sequence[str]]) -> Pool:
        """Put arrays by modality together.

        Parameters
        ----------
        vectors
            By modality: (n_m, 768).
        patients
            By modality: the patient of each row.

        Raises
        ------
        UsageError
            Rows and patients differ in number, or the modalities do.
        """
        if vectors.keys() != patients.keys():
            raise UsageError("vectors and patients name different modalities")
        names = tuple(sorted(vectors))
        for name in names:
            if len(vectors[name]) != len(patients[name]):
                raise UsageError(f"{name}: {len(vectors[name])} vectors of {len(patients[name])} patients")
        owners = np.concatenate([np.asarray(patients[name], dtype=str) for name in names] or [np.empty(0, "U1")])
        ids, codes = np.unique(owners, return_inverse=True)
        blocks = [np.asarray(vectors[name], dtype=np.float32).reshape(-1, DIM) for name in names]
        return cls(
            names,
            tuple(str(one) for one in ids),
            np.concatenate(blocks) if blocks else np.empty((0, DIM), np.float32),
            np.repeat(np.arange(len(names)), [len(block) for block in blocks]).astype(np.int64),
            codes.astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Pool:
        """Some of the rows; codes keep their meaning."""
        return Pool(self.modalities, self.patients, self.vectors[rows], self.modality[rows], self.patient[rows])

    def of_patients(self, codes: NDArray[np.int64]) -> Pool:
        """The rows of some patients."""
        return self.take(np.isin(self.patient, codes))

    def only(self, modalities: Sequence[str]) -> Pool:
        """The rows of some modalities, which are coded anew in the order given."""
        if unknown := [name for name in modalities if name not in self.modalities]:
            raise UsageError(f"the pool has no {unknown[0]} vectors; it has {', '.join(self.modalities)}")
        new = np.full(len(self.modalities), -1, np.int64)
        new[[self.modalities.index(name) for name in modalities]] = np.arange(len(modalities))
        kept = new[self.modality] >= 0
        rows = self.take(kept)
        return Pool(tuple(modalities), self.patients, rows.vectors, new[rows.modality], rows.patient)

    def patients_per_modality(self) -> dict[str, int]:
        """How many patients have vectors of each modality."""
        return {name: len(np.unique(self.patient[self.modality == code])) for code, name in enumerate(self.modalities)}

    def holdings(self) -> NDArray[np.bool_]:
        """Which patient has which modality, (patients, modalities)."""
        held = np.zeros((len(self.patients), len(self.modalities)), bool)
        held[self.patient, self.modality] = True
        return held


def load_pool(store: Store, modalities: Sequence[str] | None = None, *, most: int = MOST_ROWS, seed: int = 0) -> Pool:
    """Read the vectors that aggregates sum: active spaces, every sample but normal ones.

    Parameters
    ----------
    store
        The reference's truth.
    modalities
        Modalities to read; all by default.
    most
        Most rows per modality; of more, so many are drawn at random.
    seed
        Rules that draw.

    Raises
    ------
    UsageError
        A modality is not stored.
    """
    spaces = store.active_spaces()
    wanted = sorted(spaces) if modalities is None else list(modalities)
    if unknown := [modality for modality in wanted if modality not in spaces]:
        raise UsageError(f"no {unknown[0]} vectors are stored; there are {', '.join(sorted(spaces)) or 'none'}")
    vectors: dict[str, NDArray[np.float32]] = {}
    patients: dict[str, Sequence[str]] = {}
    for modality in wanted:
        rows = store.rows(spaces[modality])
        chosen = np.flatnonzero(np.array(rows["kind"].to_pylist(), dtype=object) != "normal")
        if len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
        table = rows.take(chosen)
        ids = np.asarray(table["id"].to_numpy(), dtype=np.int64)
        vectors[modality] = store.vectors(spaces[modality], ids)[1]
        patients[modality] = table["patient"].to_pylist()
    return Pool.of(vectors, patients)


@dataclass(frozen=True)
class Split:
    """Codes of the patients of each part, sorted."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_patients(pool: Pool, seed: int, *, share: float = 0.2) -> Split:
    """Set aside a fifth of the patients for testing and a fifth of the others for validation.

    The study splits 80/20 and the larger part 80/20 again (doi 10.1101/2025.05.14.653900, Validation and Testing); here
    it is patients that are split, so that no vector of a patient is on two sides. Patients with the same set of
    modalities are shared out alike: a modality that few have is in every part.
    """
    held = pool.holdings()
    known = np.flatnonzero(held.any(axis=1))
    kind = held[known] @ (1 << np.arange(held.shape[1]))
    order = known[np.lexsort((np.random.default_rng(seed).random(len(known)), kind))]
    test = _every(len(order), share)
    rest = order[~test]
    validation = _every(len(rest), share)
    return Split(np.sort(rest[~validation]), np.sort(rest[validation]), np.sort(order[test]))


def _every(n: int, share: float) -> NDArray[np.bool_]:
    """True for `share` of n places, evenly spread."""
    steps = np.floor(np.arange(n + 1) * share + 0.5)
    chosen: NDArray[np.bool_] = np.diff(steps) > 0
    return chosen
