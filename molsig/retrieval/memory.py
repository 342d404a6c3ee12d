"""What stored patients say, in memory: their probabilities of each class and their fused vectors.

A fused query scores some hundreds of candidates. What they say depends on what is stored of them and on what was
learned, so it is worked out once for all patients and kept while neither has changed. The first query reads its
candidates only: one from the command line does not pay for patients it never meets. A reference that is too large for
the memory allowed is always answered so.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import distinct, integers, integers_to_arrow
from molsig.retrieval.patient_vectors import patients_with, summed
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
    from molsig.retrieval.evidence import EvidenceModel
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.patient_vectors import PatientVectors

    Array = NDArray[np.float64]

MEMORY = 2 << 30
"""Bytes that may be held: about 450,000 patients with four modalities and thirty classes."""

_SCATTERED = 20
"""Reading a patient by id costs about this many times as much as reading them with all the others."""
_AT_A_TIME = 2048


@dataclass(frozen=True, eq=False)
class Sayings:
    """What some stored patients say.

    Attributes
    ----------
    patients
        Ids, sorted.
    fused
        Weighted sums at length 1, float32 (n, 768).
    present
        Which modality of the evidence each has, (modalities, n).
    posterior
        Probability of each class, (n, classes).
    alone
        The same from each modality on its own, (modalities, n, classes).
    """

    patients: tuple[str, ...]
    fused: NDArray[np.float32]
    present: NDArray[np.bool_]
    posterior: Array
    alone: Array

    @classmethod
    def of(cls, learned: Learned, model: EvidenceModel | None, vectors: PatientVectors) -> Sayings:
        """Work out what patients say; without a model there are no classes."""
        fused = learned.weighted.fused(vectors)
        n = len(vectors)
        if model is None:
            return cls(vectors.patients, fused, np.zeros((0, n), bool), np.zeros((n, 0)), np.zeros((0, n, 0)))
        evidence, present = model.evidence(vectors), model.present(vectors)
        posterior = np.exp(model.log_posterior(evidence, present))
        return cls(vectors.patients, fused, present, posterior, model.alone(evidence))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each patient."""
        return {patient: row for row, patient in enumerate(self.patients)}


@dataclass(frozen=True, eq=False)
class _Held:
    """What all patients say, of one learned file and one state of each of its spaces."""

    learned: Learned
    views: Mapping[str, SpaceView]
    sayings: Sayings
    rows_in: dict[int, NDArray[np.int64]]
    """By view: the row of each of its patients, by code."""


class PatientMemory:
    """What stored patients say, worked out when it is asked for and held if it fits. Threads may share it.

    Parameters
    ----------
    store, searcher
        The reference; its state is that of the searcher's views.
    memory
        Bytes that may be held.
    """

    def __init__(self, store: Store, searcher: Searcher, *, memory: int = MEMORY) -> None:
        self._store = store
        self._searcher = searcher
        self._memory = memory
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._asked = 0

    def sayings(
        self,
        learned: Learned,
        proposed: Sequence[Sequence[tuple[SpaceView, NDArray[np.int64]]]],
        left_out: Sequence[Sequence[str]],
        *,
        evidence: bool = True,
    ) -> tuple[Sayings, list[NDArray[np.int64]]]:
        """What patients say who were proposed for some queries, and others, perhaps.

        Parameters
        ----------
        proposed
            For each query, patients as codes of views.
        left_out
            For each query, patients who are not meant.
        evidence
            Whether classes are asked for too, which `learned` then has evidence of.

        Returns
        -------
        sayings, rows
            For each query the rows of its patients, int64, ascending; who has nothing of it is left out.
        """
        count = sum(len(codes) for some in proposed for _, codes in some)
        with self._lock:
            held = self._current(learned)
            if held is None and count and self._worth_holding(learned, count):
                held = self._held = self._hold(learned)
            self._asked += count
        if held is None:
            sayings = self._read(learned, proposed, evidence=evidence)
            rows_in = {id(view): _rows_of(sayings, view) for some in proposed for view, _ in some}
        else:
            sayings = held.sayings
            rows_in = held.rows_in
            for some in proposed:
                for view, _ in some:
                    if id(view) not in rows_in:
                        rows_in[id(view)] = _rows_of(sayings, view)
        found = []
        for some, out in zip(proposed, left_out, strict=True):
            parts = [rows_in[id(view)][codes] for view, codes in some]
            rows = distinct(np.concatenate(parts)) if parts else np.empty(0, np.int64)
            rows = rows[int(np.searchsorted(rows, 0)) :]
            for patient in out:
                rows = rows[rows != sayings.row_of.get(patient, -1)]
            found.append(rows)
        return sayings, found

    def _read(
        self, learned: Learned, proposed: Sequence[Sequence[tuple[SpaceView, NDArray[np.int64]]]], *, evidence: bool
    ) -> Sayings:
        """Only what the patients say who were proposed."""
        names: set[str] = set()
        for some in proposed:
            for view, codes in some:
                names.update(view.patients.take(integers_to_arrow(distinct(codes))).to_pylist())
        views = {space: self._searcher.view(space) for space in learned.spaces.values()}
        vectors = _vectors_of(sorted(names), learned.spaces, views)
        return Sayings.of(learned, learned.evidence if evidence else None, vectors)

    def warm(self, learned: Learned) -> bool:
        """Hold what all patients say now; whether it fits."""
        with self._lock:
            if self._current(learned) is None and self._fits(learned):
                self._held = self._hold(learned)
            return self._held is not None

    def _current(self, learned: Learned) -> _Held | None:
        """What is held, if it is of this file and the spaces are as they were."""
        held = self._held
        if held is None:
            return None
        if held.learned is learned and all(self._searcher.view(space) is view for space, view in held.views.items()):
            return held
        self._held, self._asked = None, 0
        return None

    def _worth_holding(self, learned: Learned, patients: int) -> bool:
        # The spaces of the query have just been searched, so their views are there.
        views = [view for space in learned.spaces.values() if (view := self._searcher.held(space)) is not None]
        stored = max((len(view.patients) for view in views), default=0)
        often = self._asked * _SCATTERED > stored or patients > stored
        return often and self._fits(learned)

    def _fits(self, learned: Learned) -> bool:
        views = [self._searcher.view(space) for space in learned.spaces.values()]
        model = learned.evidence
        numbers = 0 if model is None else len(model.classes) * (1 + len(model.modalities))
        # No more patients than all spaces have together; each with a name and a place in a dictionary.
        patients = sum(len(view.patients) for view in views)
        return all(view.vectors.fits for view in views) and patients * (4 * DIM + 8 * numbers + 200) <= self._memory

    def _hold(self, learned: Learned) -> _Held:
        views = {space: self._searcher.view(space) for space in learned.spaces.values()}
        patients = sorted(set().union(*(view.patients.to_pylist() for view in views.values())))
        model = learned.evidence
        classes, modalities = (0, 0) if model is None else (len(model.classes), len(model.modalities))
        all_of_them = Sayings(
            (),
            np.empty((len(patients), DIM), np.float32),
            np.empty((modalities, len(patients)), bool),
            np.empty((len(patients), classes)),
            np.empty((modalities, len(patients), classes)),
        )
        names: list[str] = []
        for start in range(0, len(patients), _AT_A_TIME):
            some = patients[start : start + _AT_A_TIME]
            part = Sayings.of(learned, model, _vectors_of(some, learned.spaces, views))
            at = slice(len(names), len(names) + len(part.patients))
            all_of_them.fused[at], all_of_them.posterior[at] = part.fused, part.posterior
            all_of_them.present[:, at], all_of_them.alone[:, at] = part.present, part.alone
            names += part.patients
        sayings = replace(all_of_them, patients=tuple(names))
        return _Held(learned, views, sayings, {id(view): _rows_of(sayings, view) for view in views.values()})


def _vectors_of(patients: Sequence[str], spaces: Mapping[str, str], views: Mapping[str, SpaceView]) -> PatientVectors:
    """What patients have in some spaces, summed; who has nothing is left out."""
    found = {}
    for modality, space in spaces.items():
        positions = views[space].positions_of(patients)
        rows = views[space].rows.take(integers_to_arrow(positions))
        found[modality] = summed(patients, rows, views[space].vectors.take(positions))
    return patients_with(patients, found)


def _rows_of(sayings: Sayings, view: SpaceView) -> NDArray[np.int64]:
    """The row of each patient of a view, by code, int64; -1 for who says nothing."""
    names = pa.array(sayings.patients, pa.string())
    return integers(pc.index_in(view.patients, value_set=names).fill_null(-1))
