"""What a commit is given, checked and laid out as one Arrow table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, UsageError
from molsig.index.arrays import integers_to_arrow
from molsig.types import DIM, SUM_SPACE, check_modality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.types import Encoded

LARGEST = 1e15
"""Largest magnitude of a vector's component."""

KINDS = ("tumour", "normal", "metastasis", "recurrence", "other")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A record that differs from what is stored under the same name; what was stored stays.

    `what` is ``record`` (the digests of the input differ) or ``kind`` (the sample was stored as another kind of
    specimen; `space` and `item` are empty then).
    """

    space: str
    sample: str
    item: str
    what: str
    stored: str
    given: str


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What one commit changed.

    Attributes
    ----------
    added
        New rows by modality.
    skipped
        Rows that were stored already, with the same input digest.
    replaced
        Rows stored anew because their input changed and `replace` was asked for.
    conflicts
        Rows kept as stored although their input differs.
    snapshot
        The commit counter after it.
    """

    added: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    replaced: int = 0
    conflicts: tuple[Conflict, ...] = ()
    snapshot: int = 0


@dataclass(frozen=True, slots=True)
class Incoming:
    """A checked batch: rows (n, space, modality, patient, sample, kind, item, digest), float32 vectors (n, 768)."""

    rows: pa.Table
    vectors: NDArray[np.float32]


def check_space(space: str) -> None:
    """Raise `UsageError` if `space` cannot name a space of stored vectors."""
    if not space or space == SUM_SPACE or len(space) > 200 or not space.isprintable():
        raise UsageError(f"{space!r} cannot name a space: use 1 to 200 printable characters, not 'sum'")


def lay_out(batch: Sequence[Encoded]) -> Incoming:
    """Check every part of a batch and join them.

    Raises
    ------
    InputError
        A vector is not finite or not 768 long, an id is empty, a sample is said to be of two patients.
    UsageError
        The parts of an `Encoded` differ in length, or a name is not allowed.
    """
    columns: dict[str, list[str]] = {
        name: [] for name in ("space", "modality", "patient", "sample", "kind", "item", "digest")
    }
    for encoded in batch:
        _check(encoded)
        count = len(encoded.samples)
        columns["space"] += [encoded.space] * count
        columns["modality"] += [encoded.modality] * count
        columns["patient"] += [sample.patient for sample in encoded.samples]
        columns["sample"] += [sample.sample for sample in encoded.samples]
        columns["kind"] += [sample.kind for sample in encoded.samples]
        columns["item"] += encoded.items
        columns["digest"] += encoded.digests
    _check_names(columns)
    rows = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    rows = rows.add_column(0, "n", integers_to_arrow(np.arange(rows.num_rows)))
    parts = [np.asarray(encoded.vectors, dtype=np.float32) for encoded in batch]
    vectors = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, DIM), np.float32), *parts])
    return Incoming(rows, vectors)


def _check(encoded: Encoded) -> None:
    check_modality(encoded.modality)
    check_space(encoded.space)
    count = len(encoded.samples)
    where = f"{encoded.modality} vectors of space {encoded.space!r}"
    if encoded.vectors.shape != (count, DIM):
        raise InputError(f"{where}: shape {encoded.vectors.shape} for {count} samples, expected ({count}, {DIM})")
    if len(encoded.items) != count or len(encoded.digests) != count:
        raise UsageError(f"{where}: {count} samples, {len(encoded.items)} items and {len(encoded.digests)} digests")
    # The comparison is false for NaN as well; the bound keeps every sum and square of stored values finite.
    usable = (np.abs(encoded.vectors) <= LARGEST).all(axis=1)
    if not usable.all():
        first = int(np.argmin(usable))
        raise InputError(
            f"{where}: {count - int(usable.sum())} hold a value that is not finite or beyond {LARGEST:g},"
            f" the first is of sample {encoded.samples[first].sample!r}"
        )


def _check_names(columns: Mapping[str, Sequence[str]]) -> None:
    patient_of: dict[str, str] = {}
    for patient, sample, kind in zip(columns["patient"], columns["sample"], columns["kind"], strict=True):
        if not patient or not sample:
            raise InputError(f"an embedding has an empty id: patient {patient!r}, sample {sample!r}")
        if kind not in KINDS:
            raise InputError(
                f"sample {sample!r}: unknown kind of specimen {kind!r}", hint=f"Use one of {', '.join(KINDS)}"
            )
        if patient_of.setdefault(sample, patient) != patient:
            raise InputError(f"sample {sample!r} is given for two patients, {patient_of[sample]!r} and {patient!r}")
    modality_of: dict[str, str] = {}
    for space, modality in zip(columns["space"], columns["modality"], strict=True):
        if modality_of.setdefault(space, modality) != modality:
            raise UsageError(f"space {space!r} is given for two modalities, {modality_of[space]!r} and {modality!r}")
