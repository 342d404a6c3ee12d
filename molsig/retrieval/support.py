"""The support set of one-shot typing: stored samples that stand for types, one, a few or all of each.

Types are whatever the user says they are: nothing is trained, so one that was added a minute ago is as good as others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import booleans, integers, integers_to_arrow
from molsig.retrieval.patient_vectors import PatientVectors, summed
from molsig.retrieval.route import TUMOUR_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from molsig.index.search import Searcher

MOST_PER_TYPE = 1_000
"""Support samples of a type beyond which some are drawn: more of them tell no more and take memory."""


@dataclass(frozen=True, slots=True)
class Example:
    """One support sample: all that is stored of a patient but normal tissue, or one sample of theirs."""

    name: str
    type: str
    patient: str
    is_sample: bool = False


@dataclass(frozen=True, eq=False)
class SupportSet:
    """Examples by type and name: the order they were given in does not show.

    Attributes
    ----------
    examples
        Sorted.
    types
        Sorted names.
    codes
        Type of each example, (n,).
    named
        Whether somebody chose them: a type that cannot be compared is then an error, and left out otherwise.
    """

    examples: tuple[Example, ...]
    types: tuple[str, ...]
    codes: NDArray[np.int64]
    named: bool = True

    @classmethod
    def of(cls, examples: Iterable[Example], *, named: bool = True) -> SupportSet:
        """Sort examples; the same one twice counts once."""
        ordered = tuple(sorted(dict.fromkeys(examples), key=lambda one: (one.type, one.name)))
        types = tuple(dict.fromkeys(one.type for one in ordered))
        place = {name: code for code, name in enumerate(types)}
        return cls(ordered, types, np.array([place[one.type] for one in ordered], dtype=np.int64), named)

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each example."""
        return np.array([one.patient for one in self.examples], dtype=np.str_)

    @cached_property
    def rows_of(self) -> dict[str, list[int]]:
        """Examples of each patient."""
        found: dict[str, list[int]] = {}
        for row, one in enumerate(self.examples):
            found.setdefault(one.patient, []).append(row)
        return found

    def take(self, rows: NDArray[np.int64]) -> SupportSet:
        """Some of the examples; a type that has none left is gone."""
        return SupportSet.of((self.examples[row] for row in rows.tolist()), named=self.named)

    def drawn(self, shots: int, seed: int) -> SupportSet:
        """At most `shots` examples of each type; which ones does not depend on the other types."""
        found, spare = self.drawn_with_spare(shots, seed)
        return found.take(np.flatnonzero(~spare))

    def drawn_with_spare(self, shots: int, seed: int) -> tuple[SupportSet, NDArray[np.bool_]]:
        """As `drawn`, with one more example of each type that has more, of another patient; which ones these are."""
        kept, spare = [np.empty(0, dtype=np.int64)], np.zeros(len(self), dtype=bool)
        for code, name in enumerate(self.types):
            rows = np.flatnonzero(self.codes == code)
            if len(rows) > shots:
                random = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])])
                chosen = random.choice(rows, shots, replace=False)
                others = rows[~np.isin(self.patients[rows], self.patients[chosen])]
                more = random.choice(others, min(1, len(others)), replace=False)
                spare[more] = True
                rows = np.sort(np.concatenate([chosen, more]))
            kept.append(rows)
        rows = np.concatenate(kept)
        return self.take(rows), spare[rows]


def support_vectors(
    searcher: Searcher,
    spaces: Mapping[str, str],
    support: SupportSet,
    kinds: Sequence[str] = TUMOUR_KINDS,
) -> tuple[PatientVectors, dict[str, NDArray[np.int64]]]:
    """Read the vectors of the examples.

    Parameters
    ----------
    spaces
        By modality, the space to read.
    kinds
        Kinds of samples that stand for a patient; of an example that is a sample the kind does not matter.

    Returns
    -------
    vectors : PatientVectors
        A row for each example, all zeros and not present where it has nothing.
    counts : dict
        By modality, how many vectors were summed, (n,).
    """
    names = [one.name for one in support.examples]
    vectors, present, counts = {}, {}, {}
    for modality, space in spaces.items():
        positions, keys = _rows_of(searcher, space, support, kinds)
        at = integers(pc.index_in(keys, value_set=pa.array(names, pa.string()))).astype(np.int64)
        vectors[modality], present[modality] = summed(len(names), at, positions, searcher.view(space).vectors.take)
        counts[modality] = np.bincount(at, minlength=len(names)).astype(np.int64)
    return PatientVectors(tuple(names), vectors, present), counts


def having_any(
    searcher: Searcher, spaces: Mapping[str, str], support: SupportSet, kinds: Sequence[str] = TUMOUR_KINDS
) -> NDArray[np.bool_]:
    """Which examples have a vector in any of some spaces, bool (n,); no vector is read."""
    names = pa.array([one.name for one in support.examples], pa.string())
    found = np.zeros(len(support), dtype=bool)
    for space in spaces.values():
        _, keys = _rows_of(searcher, space, support, kinds)
        found |= booleans(pc.is_in(names, value_set=keys))
    return found


def _rows_of(
    searcher: Searcher, space: str, support: SupportSet, kinds: Sequence[str]
) -> tuple[NDArray[np.int64], pa.Array]:
    """Positions of the examples' rows in a space, and the name of the example each belongs to."""
    samples = pa.array([one.name for one in support.examples if one.is_sample], pa.string())
    whole = pa.array([one.name for one in support.examples if not one.is_sample], pa.string())
    view = searcher.view(space)
    positions = view.positions_of(set(support.patients.tolist()))
    rows = view.rows.take(integers_to_arrow(positions))
    named = booleans(pc.is_in(rows["sample"], value_set=samples))
    of_kind = booleans(pc.is_in(rows["kind"], value_set=pa.array(list(kinds), pa.string())))
    counted = booleans(pc.is_in(rows["patient"], value_set=whole)) & of_kind
    places = [np.flatnonzero(named), np.flatnonzero(counted)]
    keys = [
        rows[column].take(integers_to_arrow(place)).combine_chunks()
        for column, place in zip(("sample", "patient"), places, strict=True)
    ]
    return positions[np.concatenate(places)], pa.concat_arrays([_flat(one) for one in keys])


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of strings."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.cast(pa.string())
