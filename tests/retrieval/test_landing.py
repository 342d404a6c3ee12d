"""Labels of nodes: majority, ties, empty nodes; what a sample that lands is told."""

from __future__ import annotations

import numpy as np
import pytest

from molsig.errors import UsageError
from molsig.retrieval.landing import Landing, NodeLabels

NODES = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
LABELS = ["a", "a", "b", "a", "b", None, "c", "b", "a"]


def test_the_majority_labels_a_node_and_ties_and_empty_nodes_have_no_label() -> None:
    found = NodeLabels.of(NODES, LABELS, 5)
    assert found.names == ("a", "b", "c")
    assert found.counts.sum() == 8, "the sample without a label counts nowhere"
    assert found.labels() == ["a", None, None, None, None]
    assert found.members(0) == {"a": 2, "b": 1}
    assert found.members(2) == {}


def test_nodes_of_many_labels_are_found() -> None:
    found = NodeLabels.of(NODES, LABELS, 5)
    assert found.crowded().tolist() == [3]
    assert found.crowded(2).tolist() == [3, 0, 1]


def test_without_any_label_no_node_has_one() -> None:
    assert NodeLabels.of(NODES, [None] * 9, 4).labels() == [None] * 4


def test_labels_and_nodes_have_to_be_of_one_length() -> None:
    with pytest.raises(UsageError, match="8 labels for 9 samples"):
        NodeLabels.of(NODES, LABELS[:8], 4)


def test_a_landing_says_what_lives_there_or_that_nothing_fits() -> None:
    there = Landing("S-1", "S", 1, 2, 0.5, 0.2, True, "a", {"a": 3, "b": 1})
    assert there.says() == "4 live there: a 75%, b 25%"
    assert there.to_dict()["shares"] == {"a": 0.75, "b": 0.25}
    tie = Landing("S-1", "S", 1, 2, 0.5, 0.2, True, None, {"a": 1, "b": 1})
    assert tie.says().endswith("which is a tie")
    nobody = Landing("S-1", "S", 1, 2, 0.5, 0.2, True, None, {})
    assert nobody.says() == "nobody with a label lives there"
    assert nobody.shares == {}
    strange = Landing("S-1", "S", 1, 2, 9.0, 1.0, False, None, {"a": 3})
    assert strange.says().startswith("no node fits")
