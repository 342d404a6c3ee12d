"""What one search sees of a space: its rows at one snapshot, and their vectors as far as they are needed.

Rows are immutable and their ids are never used again, so when the truth has moved on only the rows that are new have to
be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import DamagedError
from molsig.index.arrays import integers
from molsig.index.generations import standing_of
from molsig.index.names import coded, names_of, names_to_arrow, one_chunk
from molsig.index.reads import rows_of, vectors_of
from molsig.index.texts import Texts
from molsig.index.vectors import ROW_BYTES, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.generations import Standing
    from molsig.index.opened import OpenGeneration
    from molsig.index.store import Store

AT_ONCE = 20_000
"""Vectors of a space up to this long are read together with its rows."""

PLAYS_HELD = 8
"""Conditions whose rows are held, of one byte for each row of the space and eight for each that is in play."""


@dataclass(frozen=True, eq=False)
class InPlay:
    """Rows of a view that a search may find: a mask, bool (n,), and their positions; None for all."""

    mask: NDArray[np.bool_] | None
    rows: NDArray[np.int64] | None

    @classmethod
    def of(cls, mask: NDArray[np.bool_] | None) -> InPlay:
        """Of a mask."""
        return cls(mask, None if mask is None else np.flatnonzero(mask))


@dataclass(frozen=True)
class SpaceView:
    """The rows of a space at one snapshot, by id.

    Attributes
    ----------
    standing
        Reference, snapshot and last purge that a generation has to agree with.
    ids
        Row ids, int64 (n,), sorted.
    patients
        Distinct patients, sorted.
    codes
        Position in `patients` of each row, int32 (n,); their order is that of the patient ids.
    rows
        The rows as (id, patient, sample, kind, item), in one chunk.
    vectors
        Their vectors.
    generation
        The generation that may answer for this state of the space, if there is one.
    """

    standing: Standing
    ids: NDArray[np.int64]
    patients: pa.Array
    codes: NDArray[np.int32]
    rows: pa.Table
    vectors: Vectors
    generation: OpenGeneration | None = None

    def in_play(
        self, patients: Collection[str] | None, exclude: Collection[str], kinds: Collection[str] | None
    ) -> InPlay:
        """Return which rows are in play.

        The last answers are kept for the same object again, where it cannot have changed: None or a tuple.
        """
        if exclude or not (patients is None or isinstance(patients, tuple)):
            return InPlay.of(self._allowed(patients, exclude, kinds))
        key = (id(patients), None if kinds is None else tuple(kinds))
        known = self._plays.get(key)
        if known is None:
            while len(self._plays) >= PLAYS_HELD:
                self._plays.pop(next(iter(self._plays)), None)
            # The patients are kept beside it: no other object takes their id meanwhile.
            known = self._plays[key] = (patients, InPlay.of(self._allowed(patients, exclude, kinds)))
        return known[1]

    @cached_property
    def _plays(self) -> dict[object, tuple[object, InPlay]]:
        return {}

    def _allowed(
        self, patients: Collection[str] | None, exclude: Collection[str], kinds: Collection[str] | None
    ) -> NDArray[np.bool_] | None:
        """Return which rows are in play, bool (n,), or None for all of them."""
        mask: NDArray[np.bool_] | None = None
        if patients is not None or exclude:
            wanted = np.ones(len(self.patients), bool)
            if patients is not None:
                wanted[:] = False
                wanted[self.codes_of(patients)] = True
            wanted[self.codes_of(exclude)] = False
            mask = wanted[self.codes]
        if kinds is not None:
            of_kind = self.of_kinds(kinds)
            mask = of_kind if mask is None else mask & of_kind
        return None if mask is None or mask.all() else mask

    def of_kinds(self, kinds: Collection[str], positions: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Return which rows are samples of some kinds, bool: of all (n,), or of those at some positions."""
        names, codes = self._kinds
        asked: NDArray[np.bool_] = np.array([name in kinds for name in names], bool)
        return asked[codes if positions is None else codes[positions]]

    def kinds_at(self, positions: NDArray[np.int64]) -> list[str]:
        """Return the kind of some rows."""
        names, codes = self._kinds
        return [names[code] for code in codes[positions].tolist()]

    @cached_property
    def _kinds(self) -> tuple[list[str], NDArray[np.int32]]:
        return coded(one_chunk(self.rows["kind"]))

    def positions_of(self, patients: Collection[str]) -> NDArray[np.int64]:
        """Return the positions of all rows of some patients, ascending."""
        return np.sort(self.positions_of_codes(self.codes_of(patients)))

    def rows_of_each(self, patients: Collection[str]) -> dict[str, NDArray[np.int64]]:
        """Return the positions of the rows of each of some patients who has any, in their order."""
        order, starts = self._by_patient
        code_of = self._code_of
        return {
            patient: order[starts[code] : starts[code + 1]]
            for patient in patients
            if (code := code_of.get(patient)) is not None
        }

    def positions_by_patient(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of all rows of some patients, patient by patient, and whose of them each is, from 0.

        Patients are given by their codes, -1 for one who has no row.
        """
        known = np.flatnonzero(codes >= 0)
        codes = codes[known]
        _, starts = self._by_patient
        return self.positions_of_codes(codes), np.repeat(known, starts[codes + 1] - starts[codes])

    def positions_of_codes(self, codes: NDArray[np.int64] | Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of all rows of patients given by their codes, patient by patient."""
        order, starts = self._by_patient
        if len(codes) == 1:
            return order[starts[codes[0]] : starts[codes[0] + 1]]
        asked = np.asarray(codes, np.int64)
        begins, counts = starts[asked], starts[asked + 1] - starts[asked]
        # Of each patient as many numbers that follow one another, from where that patient's begin.
        places = np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
        found: NDArray[np.int64] = order[places]
        return found

    @cached_property
    def texts(self) -> dict[str, Texts]:
        """Patient, sample and item of the rows."""
        return {name: Texts(self.rows[name].chunk(0)) for name in ("patient", "sample", "item")}

    @cached_property
    def one_each(self) -> bool:
        """Whether every row is another patient."""
        return len(self.patients) == len(self.ids)

    @cached_property
    def _by_patient(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions ordered by patient, and where in that order each patient's begin, with the end."""
        order = np.argsort(self.codes, kind="stable")
        return order, np.searchsorted(self.codes[order], np.arange(len(self.patients) + 1))

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {patient: code for code, patient in enumerate(names_of(self.patients))}

    def codes_of(self, patients: Collection[str]) -> list[int]:
        """Return the codes of those of `patients` that have a row."""
        code_of = self._code_of
        return [code_of[patient] for patient in patients if patient in code_of]

    def codes_or_none(self, patients: Sequence[str]) -> NDArray[np.int64]:
        """Return the code of each of some patients, int64 (n,); -1 for one who has no row."""
        code_of = self._code_of
        return np.array([code_of.get(patient, -1) for patient in patients], np.int64)


def load_view(
    store: Store,
    space: str,
    *,
    memory: int,
    opened: Callable[[Standing], OpenGeneration | None] = lambda standing: None,
    before: SpaceView | None = None,
) -> SpaceView | None:
    """Read the rows of a space as they are now; None for a space that does not exist.

    Parameters
    ----------
    opened
        Gives the generation that may answer for a state of the space, if there is one.
    before
        An earlier view, for what need not be read again.
    """
    with store.reading() as connection:
        standing = standing_of(connection, space)
        if standing is None:
            return None
        generation = opened(standing)
        if before is not None and before.standing == standing and before.generation is generation:
            return before
        file = None if generation is None else generation.file
        rows = rows_of(connection, space).combine_chunks()
        # A short space is searched exactly, so its vectors are wanted at once; reading them here spares opening again.
        read = before is None and file is None and rows.num_rows <= AT_ONCE and rows.num_rows * ROW_BYTES <= memory
        held, matrix = vectors_of(connection, space) if read else (None, None)
    ids = integers(rows["id"])
    if held is not None and not np.array_equal(held, ids):
        raise DamagedError(f"{store.path}: space {space!r} has vectors without their sample")
    patients, codes = coded(one_chunk(rows["patient"]))
    earlier = None if before is None else before.vectors
    vectors = Vectors(store, space, ids, memory=memory, matrix=matrix, file=file, before=earlier)
    return SpaceView(standing, ids, names_to_arrow(patients), codes, rows, vectors, generation)
