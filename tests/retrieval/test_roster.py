"""The patients of several views together: each found again in every view that has them, and with their own vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from molsig.index.names import names_of
from molsig.index.search import Searcher
from molsig.reference import Reference
from molsig.retrieval.patient_vectors import load_patient_vectors
from molsig.retrieval.roster import Roster
from molsig.retrieval.sayings import vectors_of

if TYPE_CHECKING:
    from pathlib import Path

    from molsig.index.view import SpaceView


@pytest.fixture(scope="module")
def views(built: Path) -> dict[str, SpaceView]:
    reference = Reference.open(built)
    searcher = Searcher(reference._store)
    return {info.modality: searcher.view(info.space) for info in reference._store.spaces() if info.active}


def test_each_patient_is_found_in_every_view(views: dict[str, SpaceView]) -> None:
    held = {modality: names_of(view.patients) for modality, view in views.items()}
    assert len({tuple(names) for names in held.values()}) > 1
    roster = Roster.of(views)
    assert roster.names == sorted(set().union(*held.values()))
    for modality, names in held.items():
        assert [roster.names[number] for number in roster.numbers[modality].tolist()] == names
        codes = roster.codes(modality)
        assert [names[code] if code >= 0 else None for code in codes.tolist()] == [
            patient if patient in names else None for patient in roster.names
        ]
        assert codes.tolist() == views[modality].codes_or_none(roster.names).tolist()


def test_of_views_with_the_same_patients_nothing_is_sorted(views: dict[str, SpaceView]) -> None:
    view = next(iter(views.values()))
    roster = Roster.of({"one": view, "other": view})
    assert roster.names == names_of(view.patients)
    assert roster.codes("other").tolist() == list(range(len(view.patients)))


def test_vectors_of_a_roster_are_those_that_are_stored(built: Path, views: dict[str, SpaceView]) -> None:
    roster = Roster.of(views)
    found = vectors_of(roster.names, {modality: roster.codes(modality) for modality in views}, views)
    stored = load_patient_vectors(Reference.open(built)._store)
    assert found.patients == stored.patients
    for modality in views:
        np.testing.assert_array_equal(found.present[modality], stored.present[modality])
        np.testing.assert_array_equal(found.vectors[modality], stored.vectors[modality])
