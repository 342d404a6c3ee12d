"""Records into the truth: what is not stored yet is encoded and committed, whole patients at a time."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from molsig.reference.encoding import ReadyVectors
from molsig.types import items_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.encoders.encoder import Encoder
    from molsig.index.batches import Conflict
    from molsig.index.store import Store
    from molsig.index.writer import Writer
    from molsig.types import Progress, Records

BATCH_PATIENTS = 1024
"""Patients per transaction: small enough to lose little when killed, large enough for a fast commit."""

READY_PATIENTS = 16_384
"""The same where all vectors are ready: nothing is computed for them, and small commits cost as much as large ones."""

BATCH_ROWS = 32_768
"""Vectors per transaction (100 MB), so that memory does not grow with the tiles of its patients; one patient with more
of them is a transaction of their own."""


@dataclass(frozen=True)
class Committed:
    """What became of the records: vectors added by modality, and the counts of `IngestReport`."""

    added: Mapping[str, int]
    skipped: int
    replaced: int
    conflicts: tuple[Conflict, ...]


def commit_records(
    store: Store,
    writer: Writer,
    modal: Sequence[Records],
    encoders: Sequence[Encoder | ReadyVectors],
    *,
    replace: bool,
    allow_missing: bool,
    progress: Progress,
) -> Committed:
    """Encode and commit what is not stored yet, each kind of records with the encoder at its place."""
    fresh = [_fresh(store, one, encoder) for one, encoder in zip(modal, encoders, strict=True)]
    skipped = sum(len(one.samples) - len(rows) for one, rows in zip(modal, fresh, strict=True))
    added = dict.fromkeys((one.modality for one in modal), 0)
    replaced = 0
    conflicts: list[Conflict] = []
    patients = 0
    ready = all(isinstance(encoder, ReadyVectors) for encoder in encoders)
    for begin, patients, chosen in _batches(modal, fresh, READY_PATIENTS if ready else BATCH_PATIENTS):
        progress("encode and commit", begin, patients)
        batch = [
            encoder.encode(one, rows=rows.tolist(), allow_missing=allow_missing)
            for one, encoder, rows in zip(modal, encoders, chosen, strict=True)
            if len(rows)
        ]
        result = writer.commit(batch, replace=replace)
        for modality, n in result.added.items():
            added[modality] += n
        skipped += result.skipped
        replaced += result.replaced
        conflicts += result.conflicts
    progress("encode and commit", patients, patients)
    return Committed(added, skipped, replaced, tuple(conflicts))


def _fresh(store: Store, records: Records, encoder: Encoder | ReadyVectors) -> NDArray[np.int64]:
    """Return the rows that are not stored with the same input."""
    samples = list(map(attrgetter("sample"), records.samples))
    return np.flatnonzero(~store.recognised(encoder.space, samples, items_of(records), encoder.digests(records)))


def _batches(
    modal: Sequence[Records], fresh: Sequence[NDArray[np.int64]], most: int
) -> Iterator[tuple[int, int, list[NDArray[np.int64]]]]:
    """Yield, for one transaction after the other, the patients before it, all patients, and its rows of each modality.

    Patients go in the order of their ids.
    """
    owners = [np.fromiter(map(attrgetter("patient"), one.samples), object, len(one.samples)) for one in modal]
    patients = sorted({patient for whose, rows in zip(owners, fresh, strict=True) for patient in whose[rows].tolist()})
    number_of = {patient: number for number, patient in enumerate(patients)}
    ordered, starts = [], []
    for whose, rows in zip(owners, fresh, strict=True):
        numbers = np.fromiter(map(number_of.__getitem__, whose[rows]), np.int64, len(rows))
        order = np.argsort(numbers, kind="stable")
        ordered.append(rows[order])
        starts.append(np.searchsorted(numbers[order], np.arange(len(patients) + 1)))
    before = np.sum(starts, axis=0) if starts else np.zeros(1, np.int64)
    begin = 0
    while begin < len(patients):
        fitting = int(np.searchsorted(before, before[begin] + BATCH_ROWS, side="right")) - 1
        end = min(begin + most, max(begin + 1, fitting), len(patients))
        yield begin, len(patients), [rows[at[begin] : at[end]] for rows, at in zip(ordered, starts, strict=True)]
        begin = end
