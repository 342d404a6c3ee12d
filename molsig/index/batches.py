"""What a commit is given, checked and laid out as one Arrow table."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molsig.errors import InputError, UsageError
from molsig.index.arrays import integers_to_arrow
from molsig.types import DIM, SUM_SPACE, check_modality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.types import Encoded, SampleId

LARGEST = 1e15
"""Largest magnitude of a vector's component."""

BLOCK_ROWS = 2048
"""Vectors looked at together: few enough to stay in the cache."""

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
    for encoded in batch:
        _check(encoded)
    _check_modalities(batch)
    tables = [_columns(encoded) for encoded in batch]
    _check_samples([samples for samples, _ in tables])
    rows = pa.concat_tables([_NO_ROWS, *(rows for _, rows in tables)])
    rows = rows.add_column(0, "n", integers_to_arrow(np.arange(rows.num_rows)))
    parts = [np.asarray(encoded.vectors, dtype=np.float32) for encoded in batch]
    vectors = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, DIM), np.float32), *parts])
    return Incoming(rows, vectors)


_NO_ROWS = pa.schema(
    [(name, pa.string()) for name in ("space", "modality", "patient", "sample", "kind", "item", "digest")]
).empty_table()


def _columns(encoded: Encoded) -> tuple[list[SampleId], pa.Table]:
    """Return the distinct samples of a part, in the order they come, and its rows."""
    count = len(encoded.samples)
    # Readers make one object per sample, however many tiles it has: told apart by identity, no row is looked at.
    marks = np.fromiter(map(id, encoded.samples), np.int64, count)
    _, firsts, codes = np.unique(marks, return_index=True, return_inverse=True)
    places = integers_to_arrow(codes)
    samples = [encoded.samples[first] for first in firsts.tolist()]
    whose = {
        name: pa.array([getattr(sample, name) for sample in samples], pa.string()).take(places)
        for name in ("patient", "sample", "kind")
    }
    rows = pa.table(
        {
            "space": pa.repeat(pa.scalar(encoded.space, pa.string()), count),
            "modality": pa.repeat(pa.scalar(encoded.modality, pa.string()), count),
            **whose,
            "item": pa.array(encoded.items, pa.string()),
            "digest": pa.array(encoded.digests, pa.string()),
        }
    )
    return [samples[place] for place in np.argsort(firsts).tolist()], rows


def _check(encoded: Encoded) -> None:
    check_modality(encoded.modality)
    check_space(encoded.space)
    count = len(encoded.samples)
    where = f"{encoded.modality} vectors of space {encoded.space!r}"
    if encoded.vectors.shape != (count, DIM):
        raise InputError(f"{where}: shape {encoded.vectors.shape} for {count} samples, expected ({count}, {DIM})")
    if len(encoded.items) != count or len(encoded.digests) != count:
        raise UsageError(f"{where}: {count} samples, {len(encoded.items)} items and {len(encoded.digests)} digests")
    for start in range(0, count, BLOCK_ROWS):
        block = encoded.vectors[start : start + BLOCK_ROWS]
        # Either comparison is false for NaN as well; the bound keeps every sum and square of stored values finite.
        if block.min() >= -LARGEST and block.max() <= LARGEST:
            continue
        first = start + int(np.argmin((np.abs(block) <= LARGEST).all(axis=1)))
        raise InputError(
            f"{where}: a value is not finite or beyond {LARGEST:g}, in row {first + 1:,},"
            f" of sample {encoded.samples[first].sample!r}"
        )


def _check_samples(parts: Sequence[Sequence[SampleId]]) -> None:
    patient_of: dict[str, str] = {}
    for one in chain.from_iterable(parts):
        if not one.patient or not one.sample:
            raise InputError(f"an embedding has an empty id: patient {one.patient!r}, sample {one.sample!r}")
        if one.kind not in KINDS:
            raise InputError(
                f"sample {one.sample!r}: unknown kind of specimen {one.kind!r}", hint=f"Use one of {', '.join(KINDS)}"
            )
        before = patient_of.setdefault(one.sample, one.patient)
        if before != one.patient:
            raise InputError(f"sample {one.sample!r} is given for two patients, {before!r} and {one.patient!r}")


def _check_modalities(batch: Sequence[Encoded]) -> None:
    modality_of: dict[str, str] = {}
    for encoded in batch:
        before = modality_of.setdefault(encoded.space, encoded.modality)
        if before != encoded.modality:
            raise UsageError(
                f"space {encoded.space!r} is given for two modalities, {before!r} and {encoded.modality!r}"
            )
