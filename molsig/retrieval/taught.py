"""Encoders that learned a label from stored patients, and what that does to figures about this label.

Whitening, the contrastive metric and the Siamese network pull tumours of one type together whose types they were told.
Among these very patients neighbours of a type are nearer than a new patient's will be, and what is measured or
calibrated on them is too good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from molsig.index.store import Store

SAME = 2
"""Values that a label has to share with what an encoder learned to be taken for the same label."""


@dataclass(frozen=True, slots=True)
class Taught:
    """An encoder in use that was told types.

    Attributes
    ----------
    space, modality
        Which one.
    types
        What it was told, sorted.
    """

    space: str
    modality: str
    types: tuple[str, ...]

    def known(self, values: Iterable[object], least: int = SAME) -> tuple[str, ...]:
        """Those of some values that it has learned, sorted; none where they are fewer than `least`."""
        shared = {str(one) for one in values} & set(self.types)
        return tuple(sorted(shared)) if len(shared) >= least else ()


def taught_encoders(store: Store) -> tuple[Taught, ...]:
    """Encoders in use that learned from labels, by modality; their cards say so."""
    active = set(store.active_spaces().values())
    return tuple(
        Taught(row.space, row.modality, tuple(sorted(told)))
        for row in sorted(store.encoders(), key=lambda row: row.modality)
        if row.space in active and (told := row.card.get("training", {}).get("samples_by_type"))
    )
