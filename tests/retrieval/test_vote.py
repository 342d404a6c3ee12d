"""The vote of neighbours over a label column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molsig.retrieval.vote import vote
from molsig.types import Hit

LABELS = st.sampled_from(["BRCA", "LUAD", None])
SCORES = st.floats(-1, 1, allow_nan=False)


def hits_of(*scores: float) -> list[Hit]:
    return [Hit(rank=i + 1, patient=f"P{i}", score=s) for i, s in enumerate(scores)]


def test_the_heavier_label_wins_over_the_more_frequent_one() -> None:
    call = vote("type", hits_of(0.9, 0.1, 0.1), {"P0": "BRCA", "P1": "LUAD", "P2": "LUAD"})
    assert call.label == "BRCA"
    assert call.share == pytest.approx(0.9 / 1.1)
    assert call.voters == 3
    assert list(call.classes) == ["BRCA", "LUAD"]


def test_a_share_is_not_called_a_probability() -> None:
    call = vote("type", hits_of(0.9), {"P0": "BRCA"})
    assert call.probability is None
    assert call.set is None


def test_patients_without_the_label_do_not_vote() -> None:
    call = vote("type", hits_of(0.9, 0.5), {"P0": None, "P1": "LUAD"})
    assert (call.label, call.share, call.voters) == ("LUAD", 1.0, 1)


@pytest.mark.parametrize("labels", [{}, {"P0": None}])
def test_no_voter_gives_unknown_and_no_label(labels: dict[str, object]) -> None:
    call = vote("type", hits_of(0.9), labels)
    assert call.label is None
    assert call.unknown is True


def test_opposite_neighbours_have_no_voice() -> None:
    call = vote("type", hits_of(0.2, -0.9), {"P0": "BRCA", "P1": "LUAD"})
    assert (call.label, call.share) == ("BRCA", 1.0)


def test_a_tie_goes_to_the_label_of_the_nearer_neighbour() -> None:
    call = vote("type", hits_of(0.5, 0.5), {"P0": "LUAD", "P1": "BRCA"})
    assert call.label == "LUAD"


@given(st.lists(st.tuples(SCORES, LABELS), max_size=12))
def test_shares_are_a_distribution_over_the_labels_seen(votes: list[tuple[float, str | None]]) -> None:
    ranked = sorted(votes, key=lambda v: -v[0])
    hits = hits_of(*(score for score, _ in ranked))
    call = vote("type", hits, {f"P{i}": label for i, (_, label) in enumerate(ranked)})
    if call.classes:
        assert sum(call.classes.values()) == pytest.approx(1.0)
        assert call.classes[str(call.label)] == max(call.classes.values()) == pytest.approx(call.share)
    assert set(call.classes) <= {label for _, label in ranked if label}
