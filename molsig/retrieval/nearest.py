"""Many vectors of one modality against the stored ones: all answers in one table, nothing voted or fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molsig.errors import UsageError
from molsig.retrieval.route import TUMOUR_KINDS, check_kind, selected
from molsig.types import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from molsig.index.search import Searcher
    from molsig.index.store import Store


@dataclass(frozen=True)
class Nearest:
    """Neighbours of a batch of vectors.

    Attributes
    ----------
    table
        One row a hit, by query and rank: ``query`` (number of the vector, from 0), ``rank`` (from 1), ``patient``,
        ``sample``, ``item``, ``score`` (cosine), then the patient's columns.
    plan
        How it was searched.
    notes
        What a careful reader should know.
    """

    table: pa.Table
    plan: Plan
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def nearest(
    store: Store,
    searcher: Searcher,
    modality: str,
    vectors: NDArray[np.float32],
    *,
    k: int = 10,
    where: str | None = None,
    kind: str = "auto",
    method: str = "auto",
    columns: Sequence[str] | None = None,
) -> Nearest:
    """Find the `k` stored patients nearest to each vector, in the space in use for its modality.

    Raises
    ------
    UsageError
        The modality, a column or the kind is unknown, or `k` is under 1.
    InputError
        A vector is not finite, is zero, or not 768 long.
    NotFoundError
        `where` leaves no patient.
    """
    check_kind(kind)
    spaces = store.active_spaces()
    if modality not in spaces:
        raise UsageError(f"no {modality} vectors are stored; there are {', '.join(sorted(spaces))}")
    allowed = selected(store, where)
    kinds = None if kind == "any" else TUMOUR_KINDS if kind == "auto" else (kind,)
    found = searcher.search(spaces[modality], np.atleast_2d(vectors), k, patients=allowed, kinds=kinds, method=method)
    hits = found.table().drop_columns(["id"])
    plan = Plan("single", found.method, found.recall, found.rows, found.candidates, found.snapshot, found.reason)
    return Nearest(_with_columns(store, hits, columns), plan, found.notes)


def _with_columns(store: Store, hits: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """The hits with the columns of their patients; one that is named as a column of ours becomes ``patient.NAME``."""
    known = store.attributes(hits["patient"].to_pylist(), columns)
    taken = set(hits.column_names)
    names = [f"patient.{name}" if name in taken else name for name in known.column_names[1:]]
    both = [*hits.columns, *known.columns[1:]]
    return type(hits).from_arrays(both, names=[*hits.column_names, *names])
