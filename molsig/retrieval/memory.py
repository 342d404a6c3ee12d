"""What stored patients say, in memory: their probabilities of each class and their fused vectors.

A fused query scores some hundreds of candidates. What they say depends on what is stored of them and on what was
learned, so it is worked out once for all patients and kept while neither has changed. The first query reads its
candidates only: one from the command line does not pay for patients it never meets. Where all of it is too much for the
memory allowed, the probabilities are kept, a tenth of it, and fused vectors are made of those few candidates whose
classes leave them in question; where even that is too much, every query reads its candidates.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.index.arrays import distinct
from molsig.index.names import names_at
from molsig.retrieval.roster import Roster
from molsig.retrieval.sayings import Sayings, Unheld, rows_of, rows_proposed, vectors_of
from molsig.types import DIM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store
    from molsig.index.view import SpaceView
    from molsig.retrieval.learned import Learned
    from molsig.retrieval.patient_vectors import PatientVectors

MEMORY = 2 << 30
"""Bytes that may be held: about 500,000 patients with three modalities and thirty classes, and their probabilities of
nearly five million."""

_NAMED = 200
"""Bytes of a patient's name and its place in a dictionary."""

_EAGER, _SCATTERED = 20, 2
"""What all patients say is worked out once this many times the candidates so far are more than they are: of those up to
`_SOON`, which takes a few seconds, by the second query or so; of more when it has cost as much to read candidates."""
_SOON = 20_000
_AT_A_TIME = 1024
"""Patients whose vectors are read and judged at a time: more leave the processor's cache, and the products of fewer are
too short to be shared out among threads."""


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
        self._counted: tuple[list[int], list[SpaceView], int] | None = None
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
            rows_in = rows_proposed(sayings, proposed)
        else:
            sayings = held.sayings
            rows_in = held.rows_in
            for some in proposed:
                for view, _ in some:
                    if id(view) not in rows_in:
                        rows_in[id(view)] = rows_of(sayings, view)
        found = []
        for some, out in zip(proposed, left_out, strict=True):
            parts = [rows_in[id(view)][codes] for view, codes in some]
            rows = distinct(np.concatenate(parts)) if parts else np.empty(0, np.int64)
            rows = rows[int(np.searchsorted(rows, 0)) :]
            for patient in out:
                rows = rows[rows != sayings.row(patient)]
            found.append(rows)
        return sayings, found

    def _read(
        self, learned: Learned, proposed: Sequence[Sequence[tuple[SpaceView, NDArray[np.int64]]]], *, evidence: bool
    ) -> Sayings:
        """Only what the patients say who were proposed."""
        names: set[str] = set()
        for some in proposed:
            for view, codes in some:
                names.update(names_at(view.patients, distinct(codes)))
        patients = sorted(names)
        views = {modality: self._searcher.view(space) for modality, space in learned.spaces.items()}
        known = {modality: view.codes_or_none(patients) for modality, view in views.items()}
        vectors = vectors_of(patients, known, views)
        return Sayings.of(learned, learned.evidence if evidence else None, vectors)

    def warm(self, learned: Learned) -> bool:
        """Hold what all patients say now; whether it fits."""
        with self._lock:
            if self._current(learned) is None and self._fits(learned):
                self._held = self._hold(learned)
            held = self._held
        if held is not None:
            self._look_up(held)
        return held is not None

    def _look_up(self, held: _Held) -> None:
        """Make the tables that the next query would make: where patients are, and of which class."""
        model, nobody = held.learned.evidence, np.empty(0, np.int64)
        self._store.records(())
        for view in held.views.values():
            view.rows_of_each(())
            if model is not None and held.learned.label in self._store.columns():
                self._store.classes_of(held.learned.label, model.classes, view.patients, nobody)

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
        often = self._asked * (_EAGER if stored <= _SOON else _SCATTERED) > stored or patients > stored
        return often and self._fits(learned)

    def _fits(self, learned: Learned) -> bool:
        return self._how(learned) is not None

    def _how(self, learned: Learned) -> bool | None:
        """Whether fused vectors fit too; None where not even probabilities do."""
        by_space = {space: self._searcher.view(space) for space in learned.spaces.values()}
        views = list(by_space.values())
        if not all(view.vectors.fits for view in views):
            return None
        model = learned.evidence
        classes, modalities = (0, 0) if model is None else (len(model.classes), len(model.modalities))
        lean = 8 * classes + modalities + _NAMED
        whole = lean + 4 * DIM + 8 * classes * modalities
        # No more patients than all spaces have together, nor fewer than the longest has.
        least, most = max(len(view.patients) for view in views), sum(len(view.patients) for view in views)
        if self._memory // whole < most and least <= self._memory // lean:
            most = self._count(by_space)
        if most * whole <= self._memory:
            return True
        return False if model is not None and most * lean <= self._memory else None

    def _count(self, views: Mapping[str, SpaceView]) -> int:
        """How many patients some views have together."""
        of = [id(view) for view in views.values()]
        if self._counted is None or self._counted[0] != of:
            # The views are kept beside it: no others take their ids meanwhile.
            self._counted = of, list(views.values()), len(Roster.of(views).names)
        return self._counted[2]

    def _hold(self, learned: Learned) -> _Held | None:
        """Work out what all patients say, None where that does not fit any more."""
        whole = self._how(learned)
        if whole is None:
            return None
        views = {space: self._searcher.view(space) for space in learned.spaces.values()}
        roster = Roster.of(views)
        names = roster.names
        of_space = {space: roster.codes(space) for space in views}
        codes = {modality: of_space[space] for modality, space in learned.spaces.items()}
        by_modality = {modality: views[space] for modality, space in learned.spaces.items()}
        model = learned.evidence
        classes, modalities = (0, 0) if model is None else (len(model.classes), len(model.modalities))
        n = len(names)
        fused = np.empty((n if whole else 0, DIM), np.float32)
        alone = np.empty((modalities, n if whole else 0, classes))
        present, posterior = np.empty((modalities, n), bool), np.empty((n, classes))

        def vectors_at(numbers: NDArray[np.int64]) -> PatientVectors:
            some = [names[number] for number in numbers.tolist()]
            return vectors_of(some, {m: one[numbers] for m, one in codes.items()}, by_modality)

        kept: list[str] = []
        for start in range(0, n, _AT_A_TIME):
            part = Sayings.of(learned, model, vectors_at(np.arange(start, min(n, start + _AT_A_TIME))), whole=whole)
            at = slice(len(kept), len(kept) + len(part.patients))
            posterior[at], present[:, at] = part.posterior, part.present
            if whole:
                fused[at], alone[:, at] = part.fused, part.alone
            kept += part.patients
        some = slice(0, len(kept))
        # Who has normal samples alone says nothing.
        row_of = np.arange(n) if len(kept) == n else _places(names, kept)
        number_of = np.flatnonzero(row_of >= 0)
        unheld = None
        if not whole:
            # Probabilities alone are held of what has classes only.
            assert model is not None
            unheld = Unheld(learned, model, lambda rows: vectors_at(number_of[rows]))
        held = Sayings(tuple(kept), present[:, some], posterior[some], fused[some], alone[:, some], unheld)
        return _Held(learned, views, held, {id(view): row_of[roster.numbers[space]] for space, view in views.items()})


def _places(names: Sequence[str], kept: Sequence[str]) -> NDArray[np.int64]:
    """Where each of some names is among those kept, both in the same order, int64 (n,); -1 for others."""
    still = set(kept)
    found = np.array([name in still for name in names], bool)
    return np.where(found, np.cumsum(found) - 1, -1)
