"""Stored patients of known type, from whom it is learned how far similarities can be trusted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molsig.index.arrays import booleans, distinct, integers_to_arrow
from molsig.retrieval.route import TUMOUR_KINDS
from molsig.retrieval.support import Example, SupportSet
from molsig.retrieval.type_calibration import FEWEST, FEWEST_OF_A_TYPE, FEWEST_TYPES, PER_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from molsig.index.store import Store
    from molsig.index.view import SpaceView

LOOKED_AT = 50_000
"""Patients whose label is looked at, at most."""


def labelled_examples(store: Store, views: Sequence[SpaceView], label: str, seed: int) -> SupportSet | None:
    """Up to `PER_TYPE` patients of each value of a label column, who have the modalities; None where they are too few.

    Patients with all modalities where there are enough of them, else with any.
    """
    have = [_tumours_of(view) for view in views]
    for patients in (sorted(set.intersection(*have)), sorted(set.union(*have))):
        if len(patients) > LOOKED_AT:
            some = np.sort(np.random.default_rng(seed).choice(len(patients), LOOKED_AT, replace=False))
            patients = [patients[place] for place in some.tolist()]
        labels = ["" if value is None else str(value) for value in store.column(label, patients)]
        sizes = Counter(labels)
        found = SupportSet.of(
            Example(patient, value, patient)
            for patient, value in zip(patients, labels, strict=True)
            if value and sizes[value] >= FEWEST_OF_A_TYPE
        ).drawn(PER_TYPE, seed)
        if len(found) >= FEWEST and len(found.types) >= FEWEST_TYPES:
            return found
    return None


def group_codes(store: Store, groups: str | None, patients: Sequence[str]) -> NDArray[np.int64]:
    """Number of each patient's group, (n,); -1 where none is known."""
    if groups is None:
        return np.full(len(patients), -1)
    number: dict[object, int] = {None: -1}
    return np.array([number.setdefault(value, len(number)) for value in store.column(groups, patients)], dtype=np.int64)


def _tumours_of(view: SpaceView) -> set[str]:
    mask = booleans(pc.is_in(view.rows["kind"], value_set=pa.array(TUMOUR_KINDS, pa.string())))
    codes = distinct(view.codes[mask].astype(np.int64))
    return set(view.patients.take(integers_to_arrow(codes)).to_pylist())
